// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {TestToken} from "../src/TestToken.sol";
import {Fixture} from "./support/Fixture.sol";
import {Greedy, OddToken} from "./support/Strangers.sol";

/// @title Coins out: claims and the operator's fees, and what recipients and tokens may try
contract ClaimTest is Fixture {
    uint256 private constant ATTACKS = 16;

    bytes private reentered = abi.encodePacked(ILedger.Reentered.selector);

    /// @dev ALICE may claim 0.25 ether and 250 of the token, BOB 1 ether.
    function setUp() public {
        deployWithQueue();
        commitFixtures(1, 5);
        proveFixtures(1, 4);
        settleFixture(2, 0, 1);
        settleFixture(4, 0, 2);
    }

    function claim(address account, uint16 id, address to) private {
        vm.prank(account);
        rollup.claim(id, to);
    }

    function refuses(address account, uint16 id, address to, bytes memory error) private {
        vm.expectRevert(error);
        claim(account, id, to);
    }

    /// @dev Token 2 of the fixtures turns odd.
    function becomeOdd() private returns (OddToken) {
        vm.etch(address(token), address(new OddToken()).code);
        return OddToken(address(token));
    }

    /// @dev Every entry point, with arguments that would go through if it were not for the lock.
    function attacks(address to) private view returns (bytes[] memory all) {
        all = new bytes[](ATTACKS);
        bytes[ATTACKS] memory list = [
            abi.encodeCall(IRollup.claim, (NATIVE, to)),
            abi.encodeCall(IRollup.deposit, (1, ALICE)),
            abi.encodeCall(IRollup.depositToken, (TOKEN, 1, 1, ALICE)),
            abi.encodeCall(IRollup.listToken, (to)),
            abi.encodeCall(IRollup.claimFees, (to)),
            abi.encodeCall(IRollup.commit, (commitOf(6))),
            abi.encodeCall(IRollup.prove, (oldCommitments(5), proofsOf(5, 5))),
            abi.encodeCall(IRollup.settle, (proofOf(2).record, choicesOf(2), wordsOf(2), 0, 1)),
            abi.encodeCall(IRollup.settleRefunds, (proofOf(2).record, choicesOf(2), wordsOf(2), 4, 3, entriesOf(3, 4))),
            abi.encodeCall(IRollup.revertTo, (4, proofOf(4).record, ENTRIES)),
            abi.encodeCall(IRollup.freeze, ()),
            abi.encodeCall(IRollup.exit, (1, 1 << 168, to, oldCommitments(5), [uint256(1), 2])),
            abi.encodeCall(IRollup.refund, (1, entriesOf(1, 1))),
            abi.encodeCall(IRollup.requestExit, (1)),
            abi.encodeCall(IRollup.requestRotation, (1, 9)),
            abi.encodeCall(IRollup.commitAndProve, (commitOf(6), oldCommitments(5), proofsOf(5, 5)))
        ];
        for (uint256 i; i < ATTACKS; ++i) {
            all[i] = list[i];
        }
    }

    // ---- claims ----

    function test_nothing_or_to_nobody() public {
        refuses(address(this), NATIVE, address(this), abi.encodeWithSelector(ILedger.NothingToClaim.selector));
        refuses(ALICE, NATIVE, address(0), abi.encodeWithSelector(ILedger.RecipientIsZero.selector));
        claim(ALICE, NATIVE, ALICE);
        refuses(ALICE, NATIVE, ALICE, abi.encodeWithSelector(ILedger.NothingToClaim.selector));
    }

    function test_recipient_that_calls_back_is_locked_out() public {
        Greedy greedy = new Greedy(rollup);
        bytes[] memory all = attacks(address(greedy));
        for (uint256 i; i < ATTACKS; ++i) {
            greedy.set(all[i], false);
            vm.prank(OPERATOR);
            rollup.claimFees(address(greedy));
            vm.assertEq(greedy.seen(), reentered);
            // something to pay the next time
            rollup.listToken{value: LISTING_FEE}(address(new TestToken()));
        }
        greedy.set(all[0], false);
        claim(ALICE, NATIVE, address(greedy));
        vm.assertEq(greedy.seen(), reentered);
        vm.assertEq(rollup.escrow(NATIVE), 19.75 ether);
    }

    function test_token_that_calls_back_while_it_is_paid_out_is_locked_out() public {
        bytes[] memory all = attacks(address(this));
        OddToken odd = becomeOdd();
        for (uint256 i; i < ATTACKS; ++i) {
            odd.callBack(address(rollup), all[i]);
            claimUndone();
            vm.assertEq(rollup.claimable(TOKEN, ALICE), 250 ether);
        }
    }

    error Undone(bytes seen);

    /// @dev Claims in a call that is undone: there is one credit for all attacks.
    function claimUndone() private {
        try this.claimThenFail() {}
        catch (bytes memory reason) {
            vm.assertEq(reason, abi.encodeWithSelector(Undone.selector, reentered));
        }
    }

    function claimThenFail() external {
        claim(ALICE, TOKEN, ALICE);
        revert Undone(OddToken(address(token)).seen());
    }

    function test_recipient_that_refuses() public {
        Greedy greedy = new Greedy(rollup);
        greedy.set("", true);
        refuses(BOB, NATIVE, address(greedy), abi.encodeWithSelector(ILedger.TransferFailed.selector, NATIVE));
        vm.assertEq(rollup.claimable(NATIVE, BOB), 1 ether);
        vm.prank(OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(ILedger.TransferFailed.selector, NATIVE));
        rollup.claimFees(address(greedy));
    }

    function test_answers_of_tokens() public {
        OddToken odd = becomeOdd();
        bytes[4] memory refusals = [abi.encode(false), abi.encode(2), bytes(hex"01"), abi.encode(type(uint256).max)];
        for (uint256 i; i < 4; ++i) {
            odd.say(refusals[i]);
            refuses(ALICE, TOKEN, ALICE, abi.encodeWithSelector(ILedger.TransferFailed.selector, TOKEN));
        }
        odd.say("");
        claim(ALICE, TOKEN, ALICE);
        vm.assertEq(odd.balanceOf(ALICE), 250 ether);
        vm.assertEq(rollup.escrow(TOKEN), 750 ether);
    }

    function test_token_with_a_fee_pays_less_out_than_left() public {
        OddToken odd = becomeOdd();
        odd.keep(10);
        claim(ALICE, TOKEN, ALICE);
        // the whole claim left the contract, and the token's fee is the claimant's
        vm.assertEq(odd.balanceOf(ALICE), 225 ether);
        vm.assertEq(odd.balanceOf(address(rollup)), 750 ether);
        vm.assertEq(rollup.escrow(TOKEN), 750 ether);
    }

    function test_token_that_took_coins_back() public {
        OddToken odd = becomeOdd();
        odd.burn(address(rollup), 800 ether);
        refuses(ALICE, TOKEN, ALICE, abi.encodeWithSelector(ILedger.TransferFailed.selector, TOKEN));
        vm.assertEq(rollup.claimable(TOKEN, ALICE), 250 ether);
        odd.mint(address(rollup), 50 ether);
        claim(ALICE, TOKEN, ALICE);
        vm.assertEq(odd.balanceOf(ALICE), 250 ether);
    }

    /// @dev Supported: what the token adds to everybody's balance is nobody's, and stays.
    function test_token_that_adds_coins_credits_nobody() public {
        OddToken odd = becomeOdd();
        odd.mint(address(rollup), 500 ether);
        claim(ALICE, TOKEN, ALICE);
        vm.assertEq(odd.balanceOf(ALICE), 250 ether);
        vm.assertEq(odd.balanceOf(address(rollup)), 1250 ether);
        vm.assertEq(rollup.escrow(TOKEN), 750 ether);
        refuses(ALICE, TOKEN, ALICE, abi.encodeWithSelector(ILedger.NothingToClaim.selector));
    }

    /// @dev Supported: whom the token blocks claims to another account, and nobody else is held up.
    function test_token_that_blocks_an_account() public {
        OddToken odd = becomeOdd();
        odd.forbid(ALICE);
        refuses(ALICE, TOKEN, ALICE, abi.encodeWithSelector(ILedger.TransferFailed.selector, TOKEN));
        vm.assertEq(rollup.claimable(TOKEN, ALICE), 250 ether);
        claim(BOB, NATIVE, BOB);
        claim(ALICE, TOKEN, address(0xfee));
        vm.assertEq(odd.balanceOf(address(0xfee)), 250 ether);
    }

    /// @dev Nothing that the contract can help: the coins wait, and those of every other token leave.
    function test_token_that_blocks_the_contract() public {
        OddToken odd = becomeOdd();
        odd.forbid(address(rollup));
        refuses(ALICE, TOKEN, ALICE, abi.encodeWithSelector(ILedger.TransferFailed.selector, TOKEN));
        claim(ALICE, NATIVE, ALICE);
        vm.assertEq(rollup.claimable(TOKEN, ALICE), 250 ether);
        odd.forbid(address(0));
        claim(ALICE, TOKEN, ALICE);
    }

    function test_token_whose_code_is_gone() public {
        vm.etch(address(token), "");
        refuses(ALICE, TOKEN, ALICE, abi.encodeWithSelector(ILedger.TransferFailed.selector, TOKEN));
    }

    /// @dev The turnstile is behind what is proven: a proof that pays out more than came in is stopped here.
    function test_more_than_came_in() public {
        vm.record();
        rollup.escrow(TOKEN);
        vm.store(address(rollup), slotRead(), bytes32(uint256(249 ether)));
        vm.assertEq(rollup.escrow(TOKEN), 249 ether);
        refuses(ALICE, TOKEN, ALICE, abi.encodeWithSelector(ILedger.EscrowExceeded.selector, TOKEN, 250 ether, 249 ether));
    }

    // ---- fees ----

    function test_fees_are_the_operators_and_paid_once() public {
        address to = address(0xfee);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotOperator.selector));
        rollup.claimFees(to);
        vm.prank(OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(ILedger.RecipientIsZero.selector));
        rollup.claimFees(address(0));
        // a queue fee is earned when its entry is proven
        rollup.deposit{value: QUEUE_FEE + 1}(9, BOB);
        uint256 earned = LISTING_FEE + ENTRIES * QUEUE_FEE;
        vm.assertEq(rollup.feesEarned(), earned);
        vm.expectEmit(address(rollup));
        emit ILedger.FeesClaimed(earned, to);
        vm.prank(OPERATOR);
        rollup.claimFees(to);
        vm.assertEq(to.balance, earned);
        vm.assertEq(rollup.feesEarned(), 0);
        vm.prank(OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NothingToClaim.selector));
        rollup.claimFees(to);
    }
}
