// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Fixture} from "./support/Fixture.sol";
import {Harness} from "./support/Harness.sol";

/// @title Leaving a frozen contract with what its last proven state holds
contract ExitTest is Fixture {
    address private constant FEES = address(bytes20(hex"A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2A2"));
    uint256 private constant GAS = 1_000_000;

    uint256[6] private last;
    /// Read once: parsing the file in every fuzz run would take most of the time.
    Exit[4] private exits;

    /// @dev All batches are proven, and nobody serves the seventh entry of the queue.
    function setUp() public {
        deployWithQueue();
        commitFixtures(1, BATCHES);
        proveFixtures(1, BATCHES);
        freezeForGood();
        last = proofOf(BATCHES).record.header.commitments;
        for (uint256 place; place < 4; ++place) {
            exits[place] = exitOf(BATCHES, place);
        }
    }

    function leave(Exit memory exit) private {
        uint256[6] memory commitments = last;
        rollup.exit(exit.idx, exit.dyn, exit.owner, commitments, exit.opening);
    }

    function refuses(Exit memory exit, bytes memory error) private {
        uint256[6] memory commitments = last;
        vm.expectRevert(error);
        rollup.exit{gas: GAS}(exit.idx, exit.dyn, exit.owner, commitments, exit.opening);
    }

    function refusesOpening(Exit memory exit) private {
        refuses(exit, abi.encodeWithSelector(ILedger.OpeningInvalid.selector));
    }

    function claimed(address account, uint16 id) private {
        if (rollup.claimable(id, account) == 0) return;
        vm.prank(account);
        rollup.claim(id, account);
    }

    // ---- what goes through ----

    function test_every_slot_leaves_once() public {
        for (uint256 place; place < 4; ++place) {
            Exit memory exit = exitOf(BATCHES, place);
            (uint16 id, uint256 amount) = (uint16(exit.dyn >> 168), uint128(exit.dyn));
            uint256 before = rollup.claimable(id, exit.owner);
            vm.assertFalse(rollup.exited(exit.idx));
            vm.expectEmit(address(rollup));
            emit ILedger.Exited(exit.idx, exit.owner, id, amount);
            // by anybody; the coins are the owner's
            vm.prank(address(0xabc));
            leave(exit);
            vm.assertEq(rollup.claimable(id, exit.owner), before + amount);
            vm.assertTrue(rollup.exited(exit.idx));
            refuses(exit, abi.encodeWithSelector(ILedger.AlreadyExited.selector, exit.idx));
        }
        vm.assertTrue(!rollup.exited(0) && !rollup.exited(4) && !rollup.exited(257));
    }

    /// @dev The state's coins, the withdrawals, the refund of batch 2 and the deposit that nobody served: to the last wei.
    function test_everybody_leaves_and_nothing_is_left() public {
        for (uint256 place; place < 4; ++place) {
            leave(exitOf(BATCHES, place));
        }
        settleFixture(2, 0, 1);
        settleFixture(4, 0, 2);
        settleRefundsFixture(2, 4, 4);
        ILedger.QueueEntry[] memory left = new ILedger.QueueEntry[](1);
        left[0] = ILedger.QueueEntry(1, address(this), NATIVE, 1, 0, BOB, 9);
        rollup.refund(7, left);
        for (uint16 id = NATIVE; id <= TOKEN; ++id) {
            claimed(ALICE, id);
            claimed(BOB, id);
            claimed(FEES, id);
            claimed(address(this), id);
            vm.assertEq(rollup.escrow(id), 0);
        }
        vm.assertEq(token.balanceOf(address(rollup)), 0);
        vm.assertEq(address(rollup).balance, rollup.feesEarned());
    }

    /// @dev k = 17: the point of a slot beyond 2^16, and the L1 state's own size.
    function test_slot_of_a_larger_state() public {
        deployFor("k17");
        for (uint256 index = 1; index <= 2; ++index) {
            enqueue(index);
        }
        commitFixtures(1, 2);
        proveFixtures(1, 2);
        freezeForGood();
        last = proofOf(2).record.header.commitments;
        Exit memory exit = exitOf(2, 1);
        vm.assertEq(exit.idx, 100_000);
        exit.idx ^= 1 << 16;
        refusesOpening(exit);
        exit.idx ^= 1 << 16;
        leave(exit);
        vm.assertEq(rollup.claimable(NATIVE, ALICE), uint128(exit.dyn));
    }

    // ---- what does not ----

    function test_before_a_freeze() public {
        deployWithQueue();
        vm.assertFalse(rollup.frozen());
        Exit memory exit = exitOf(BATCHES, 0);
        refuses(exit, abi.encodeWithSelector(ILedger.NotFrozen.selector));
    }

    function test_slot_out_of_range() public {
        Exit memory exit = exitOf(BATCHES, 0);
        uint256[5] memory slots = [uint256(0), 1 << 16, exit.idx | 1 << 16, exit.idx | 1 << 24, type(uint256).max];
        for (uint256 i; i < 5; ++i) {
            exit.idx = slots[i];
            refuses(exit, abi.encodeWithSelector(ILedger.SlotOutOfRange.selector, slots[i]));
        }
    }

    function test_dyn_out_of_range() public {
        Exit memory exit = exitOf(BATCHES, 0);
        // the last one is the same field element
        uint256[4] memory wrong = [0, exit.dyn % (1 << 168), exit.dyn | 1 << 184, exit.dyn + R];
        for (uint256 i; i < 4; ++i) {
            exit.dyn = wrong[i];
            refuses(exit, abi.encodeWithSelector(ILedger.DynOutOfRange.selector, wrong[i]));
        }
    }

    function test_owner_that_is_nobody() public {
        Exit memory exit = exitOf(BATCHES, 0);
        exit.owner = address(0);
        refuses(exit, abi.encodeWithSelector(ILedger.OwnerIsZero.selector));
    }

    function test_commitments_of_another_state() public {
        Exit memory exit = exitOf(BATCHES - 1, 0);
        uint256[6] memory old = oldCommitments(BATCHES);
        vm.expectRevert(abi.encodeWithSelector(ILedger.OldCommitmentsMismatch.selector));
        rollup.exit(exit.idx, exit.dyn, exit.owner, old, exit.opening);
    }

    function test_what_a_slot_held_earlier() public {
        // slot 1 was richer before it paid
        Exit memory exit = exitOf(5, 0);
        vm.assertTrue(uint128(exit.dyn) > uint128(exitOf(BATCHES, 0).dyn));
        refusesOpening(exit);
        exit.opening = exitOf(BATCHES, 0).opening;
        refusesOpening(exit);
    }

    function testFuzz_another_dyn(uint256 place, uint256 bit) public {
        Exit memory exit = exits[place % 4];
        // a bit of balance, nonce or the token's upper half, which leaves a token
        exit.dyn ^= 1 << bit % 168 << (bit & 1) * 16;
        if (exit.dyn >> 168 == 0) exit.dyn |= 1 << 183;
        refusesOpening(exit);
    }

    function testFuzz_another_owner(uint256 place, address owner) public {
        Exit memory exit = exits[place % 4];
        if (owner == address(0) || owner == exit.owner) owner = address(0xbad);
        exit.owner = owner;
        refusesOpening(exit);
    }

    function testFuzz_another_slot(uint256 place, uint16 idx) public {
        Exit memory exit = exits[place % 4];
        if (idx == 0 || idx == exit.idx) idx = 4;
        exit.idx = idx;
        refusesOpening(exit);
    }

    function testFuzz_another_opening(uint256 place, uint256 scalar) public {
        Exit memory exit = exits[place % 4];
        (uint256 x, uint256 y) = newHarness().mul(1, 2, scalar);
        exit.opening = [x, y];
        refusesOpening(exit);
    }

    function test_opening_of_another_slot_or_of_nothing() public {
        Exit memory exit = exitOf(BATCHES, 0);
        exit.opening = exitOf(BATCHES, 1).opening;
        refusesOpening(exit);
        exit = exitOf(BATCHES, 0);
        exit.opening[1] = P - exit.opening[1];
        refusesOpening(exit);
        exit.opening = [uint256(0), 0];
        refusesOpening(exit);
    }

    function test_opening_off_the_curve() public {
        Exit memory exit = exitOf(BATCHES, 0);
        (uint256 x, uint256 y) = (exit.opening[0], exit.opening[1]);
        exit.opening = [x, addmod(y, 1, P)];
        refuses(exit, abi.encodeWithSelector(ILedger.PointNotOnCurve.selector, 0, ILedger.Point.Opening, x, exit.opening[1]));
        exit.opening = [x + P, y];
        refuses(exit, abi.encodeWithSelector(ILedger.PointNotOnCurve.selector, 0, ILedger.Point.Opening, x + P, y));
    }

    /// @dev More for one slot, less for another, or an empty slot that suddenly holds something.
    function test_coins_out_of_nothing() public {
        Exit memory exit = exitOf(BATCHES, 0);
        exit.dyn += 1 ether;
        refusesOpening(exit);
        exit = exitOf(BATCHES, 0);
        exit.idx = 77;
        exit.dyn = uint256(NATIVE) << 168 | 1;
        refusesOpening(exit);
    }
}
