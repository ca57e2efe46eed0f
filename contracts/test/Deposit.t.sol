// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {TestToken} from "../src/TestToken.sol";
import {Fixture} from "./support/Fixture.sol";
import {OddToken} from "./support/Strangers.sol";

/// @title Coins in: deposits, the registry of tokens, deadlines of the queue
contract DepositTest is Fixture {
    address private constant OWNER = address(0xb0b);
    uint256 private constant CAP = 1 << 112;

    function setUp() public {
        deploy();
    }

    function list(address erc20) private returns (uint16) {
        return rollup.listToken{value: LISTING_FEE}(erc20);
    }

    /// @dev A token of this kind, listed, with coins of ours.
    function odd() private returns (OddToken erc20, uint16 id) {
        erc20 = new OddToken();
        erc20.mint(address(this), 100);
        id = list(address(erc20));
    }

    function refuses(uint256 value, uint256 key, address owner, bytes memory error) private {
        vm.expectRevert(error);
        rollup.deposit{value: value}(key, owner);
    }

    function refusesToken(uint16 id, uint256 amount, uint256 value, bytes memory error) private {
        vm.expectRevert(error);
        rollup.depositToken{value: value}(id, amount, 9, OWNER);
    }

    // ---- the native coin ----

    function testFuzz_native_deposit_is_queued_and_escrowed(uint112 amount, uint256 key, address owner) public {
        // as much as the cap allows
        amount = uint112(1 + amount % (CAP - 1));
        key = 1 + key % (R - 1);
        if (owner == address(0)) owner = OWNER;
        vm.deal(address(this), QUEUE_FEE + amount);
        bytes32 before = rollup.queueDigest(0);
        vm.expectEmit(address(rollup));
        emit ILedger.Queued(1, 1, address(this), NATIVE, amount, 0, owner, key);
        rollup.deposit{value: QUEUE_FEE + amount}(key, owner);
        ILedger.QueueEntry memory entry = ILedger.QueueEntry(1, address(this), NATIVE, amount, 0, owner, key);
        vm.assertEq(rollup.queueLength(), 1);
        vm.assertEq(rollup.escrow(NATIVE), amount);
        vm.assertEq(rollup.queueDigest(1), keccak256(abi.encode(before, keccak256(abi.encode(entry)))));
        vm.assertEq(rollup.queueDeadline(1), block.timestamp + 7 days);
    }

    function test_what_a_deposit_must_be() public {
        refuses(QUEUE_FEE - 1, 9, OWNER, abi.encodeWithSelector(ILedger.WrongFee.selector, QUEUE_FEE - 1, QUEUE_FEE));
        refuses(QUEUE_FEE, 9, OWNER, abi.encodeWithSelector(ILedger.NothingDeposited.selector));
        refuses(QUEUE_FEE + 1, 0, OWNER, abi.encodeWithSelector(ILedger.KeyOutOfRange.selector, 0));
        refuses(QUEUE_FEE + 1, R, OWNER, abi.encodeWithSelector(ILedger.KeyOutOfRange.selector, R));
        refuses(QUEUE_FEE + 1, 9, address(0), abi.encodeWithSelector(ILedger.OwnerIsZero.selector));
        refusesToken(9, 1, QUEUE_FEE, abi.encodeWithSelector(ILedger.TokenNotListed.selector, 9));
        refusesToken(NATIVE, 1, QUEUE_FEE, abi.encodeWithSelector(ILedger.TokenNotListed.selector, NATIVE));
        refusesToken(0, 1, QUEUE_FEE, abi.encodeWithSelector(ILedger.TokenNotListed.selector, 0));
        refusesToken(TOKEN, 1, QUEUE_FEE + 1, abi.encodeWithSelector(ILedger.WrongFee.selector, QUEUE_FEE + 1, QUEUE_FEE));
    }

    function test_supply_of_the_native_coin_is_capped() public {
        vm.deal(address(this), 4 * CAP);
        refuses(QUEUE_FEE + CAP, 9, OWNER, abi.encodeWithSelector(ILedger.SupplyCapReached.selector, NATIVE));
        rollup.deposit{value: QUEUE_FEE + CAP - 1}(9, OWNER);
        refuses(QUEUE_FEE + 1, 9, OWNER, abi.encodeWithSelector(ILedger.SupplyCapReached.selector, NATIVE));
    }

    // ---- deadlines ----

    /// @dev The circuits of the fixtures hold one request of each kind: one entry an hour.
    function testFuzz_deadlines(uint16[24] memory pauses) public {
        uint256[25] memory expected;
        uint256 time = 1_000_000;
        for (uint256 i = 1; i <= 24; ++i) {
            time += pauses[i - 1] % 3 hours;
            vm.warp(time);
            rollup.deposit{value: QUEUE_FEE + 1}(9, OWNER);
            expected[i] = time + 7 days;
            if (i > 1 && expected[i - 1] + 1 hours > expected[i]) expected[i] = expected[i - 1] + 1 hours;
            vm.assertEq(rollup.queueDeadline(i), expected[i]);
        }
        vm.assertEq(rollup.queueDeadline(25), 0);
    }

    function test_flood_moves_its_own_deadlines_back() public {
        for (uint256 i; i < 5; ++i) {
            rollup.deposit{value: QUEUE_FEE + 1}(9, OWNER);
        }
        uint256 start = block.timestamp + 7 days;
        vm.assertEq(rollup.queueDeadline(1), start);
        vm.assertEq(rollup.queueDeadline(2), start + 1 hours);
        vm.assertEq(rollup.queueDeadline(5), start + 4 hours);
    }

    // ---- tokens ----

    function test_supply_of_a_token_is_capped() public {
        token.mint(address(this), 4 * CAP);
        token.approve(address(rollup), type(uint256).max);
        refusesToken(TOKEN, CAP, QUEUE_FEE, abi.encodeWithSelector(ILedger.SupplyCapReached.selector, TOKEN));
        rollup.depositToken{value: QUEUE_FEE}(TOKEN, CAP - 1, 9, OWNER);
        refusesToken(TOKEN, 1, QUEUE_FEE, abi.encodeWithSelector(ILedger.SupplyCapReached.selector, TOKEN));
    }

    function test_registry() public {
        vm.assertEq(rollup.tokenId(address(token)), TOKEN);
        vm.assertEq(rollup.tokenAddress(TOKEN), address(token));
        vm.assertEq(rollup.tokenAddress(NATIVE), address(0));
        vm.assertEq(rollup.lastToken(), TOKEN);
        vm.expectRevert(abi.encodeWithSelector(ILedger.TokenAlreadyListed.selector, TOKEN));
        list(address(token));
        vm.expectRevert(abi.encodeWithSelector(ILedger.TokenHasNoCode.selector, OWNER));
        list(OWNER);
        vm.expectRevert(abi.encodeWithSelector(ILedger.WrongFee.selector, LISTING_FEE + 1, LISTING_FEE));
        rollup.listToken{value: LISTING_FEE + 1}(address(this));
        address next = address(new TestToken());
        vm.expectEmit(address(rollup));
        emit ILedger.TokenListed(3, next);
        vm.assertEq(list(next), 3);
        vm.assertEq(rollup.lastToken(), 3);
    }

    function test_registry_that_is_full() public {
        vm.record();
        rollup.lastToken();
        bytes32 slot = slotRead();
        // the number's 16 bits are the slot's highest
        vm.store(address(rollup), slot, bytes32(uint256(type(uint16).max - 1) << 240));
        vm.assertEq(rollup.lastToken(), type(uint16).max - 1);
        vm.assertEq(list(address(new TestToken())), type(uint16).max);
        address next = address(new TestToken());
        vm.expectRevert(abi.encodeWithSelector(ILedger.TokenRegistryFull.selector));
        list(next);
    }

    function test_contract_lists_itself() public {
        uint16 id = list(address(rollup));
        // it has no balances to ask for, so nothing can be deposited
        refusesToken(id, 1, QUEUE_FEE, "");
        vm.assertEq(rollup.escrow(id), 0);
        vm.assertEq(rollup.queueLength(), 0);
    }

    function testFuzz_token_with_a_fee_credits_what_arrives(uint112 asked, uint8 percent) public {
        (OddToken erc20, uint16 id) = odd();
        percent %= 100;
        asked = uint112(100 + asked % (CAP - 100));
        erc20.mint(address(this), asked);
        erc20.keep(percent);
        uint256 arrives = asked - uint256(asked) * percent / 100;
        ILedger.QueueEntry memory entry = ILedger.QueueEntry(1, address(this), id, uint112(arrives), 0, OWNER, 9);
        rollup.depositToken{value: QUEUE_FEE}(id, asked, 9, OWNER);
        vm.assertEq(rollup.escrow(id), arrives);
        vm.assertEq(rollup.queueDigest(1), keccak256(abi.encode(bytes32(0), keccak256(abi.encode(entry)))));
    }

    function test_token_of_which_nothing_arrives() public {
        (OddToken erc20, uint16 id) = odd();
        erc20.keep(100);
        refusesToken(id, 100, QUEUE_FEE, abi.encodeWithSelector(ILedger.NothingDeposited.selector));
        erc20.keep(0);
        refusesToken(id, 0, QUEUE_FEE, abi.encodeWithSelector(ILedger.NothingDeposited.selector));
    }

    function test_token_that_returns_nothing_is_supported() public {
        (, uint16 id) = odd();
        rollup.depositToken{value: QUEUE_FEE}(id, 100, 9, OWNER);
        vm.assertEq(rollup.escrow(id), 100);
    }

    function test_token_that_refuses() public {
        (OddToken erc20, uint16 id) = odd();
        erc20.say(abi.encode(false));
        refusesToken(id, 1, QUEUE_FEE, abi.encodeWithSelector(ILedger.TransferFailed.selector, id));
        erc20.say("");
        refusesToken(id, 101, QUEUE_FEE, abi.encodeWithSelector(ILedger.TransferFailed.selector, id));
    }

    function test_token_that_calls_back_is_locked_out() public {
        (OddToken erc20, uint16 id) = odd();
        erc20.callBack(address(rollup), abi.encodeCall(IRollup.depositToken, (id, 1, 1, address(this))));
        rollup.depositToken{value: QUEUE_FEE}(id, 1, 9, OWNER);
        vm.assertEq(erc20.seen(), abi.encodeWithSelector(ILedger.Reentered.selector));
        vm.assertEq(rollup.queueLength(), 1);
    }
}
