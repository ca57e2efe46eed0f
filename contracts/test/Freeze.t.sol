// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Fixture} from "./support/Fixture.sol";

/// @title When anybody may freeze the contract, and what is dead afterwards
contract FreezeTest is Fixture {
    address private constant STRANGER = address(0xabc);

    function setUp() public {
        deploy();
    }

    function queue(uint256 first, uint256 last) private {
        for (uint256 index = first; index <= last; ++index) {
            enqueue(index);
        }
    }

    function refuses(uint256 entryDue, uint256 proofDue) private {
        vm.expectRevert(abi.encodeWithSelector(ILedger.NothingOverdue.selector, entryDue, proofDue));
        rollup.freeze();
        vm.assertFalse(rollup.frozen());
    }

    function freezes(uint256 proven) private {
        bytes32 root = rollup.stateRoot();
        vm.expectEmit(address(rollup));
        emit ILedger.Frozen(proven, root);
        vm.prank(STRANGER);
        rollup.freeze();
        vm.assertTrue(rollup.frozen());
    }

    /// @dev In time until the very second of `due`, late in the next.
    function freezesJustAfter(uint256 due, uint256 proven, uint256 entryDue, uint256 proofDue) private {
        vm.warp(due);
        refuses(entryDue, proofDue);
        vm.warp(due + 1);
        freezes(proven);
    }

    // ---- entries of the queue ----

    function test_nothing_waits() public {
        refuses(0, 0);
        vm.warp(1_000 days);
        refuses(0, 0);
    }

    function test_entry_past_its_deadline() public {
        queue(1, 1);
        uint256 due = rollup.queueDeadline(1);
        freezesJustAfter(due, 0, due, 0);
    }

    function test_commit_alone_serves_no_entry() public {
        queue(1, 2);
        uint256 due = rollup.queueDeadline(1);
        vm.warp(due - 1 days);
        commitFixtures(1, 1);
        freezesJustAfter(due, 0, due, due + 6 days);
    }

    function test_entry_proven_in_time_is_served() public {
        queue(1, 2);
        commitFixtures(1, 1);
        proveFixtures(1, 1);
        vm.warp(1_000 days);
        refuses(0, 0);
    }

    /// @dev The third entry is the first one not proven.
    function test_deadline_is_that_of_the_first_entry_not_proven() public {
        queue(1, 2);
        commitFixtures(1, 1);
        proveFixtures(1, 1);
        vm.warp(100 days);
        queue(3, 3);
        vm.warp(101 days);
        queue(4, 4);
        uint256 due = rollup.queueDeadline(3);
        vm.assertEq(due, 107 days);
        freezesJustAfter(due, 1, due, 0);
    }

    /// @dev One entry an hour.
    function test_entries_that_wait_move_deadlines_back() public {
        uint256 start = block.timestamp + 7 days;
        queue(1, ENTRIES);
        commitFixtures(1, 2);
        proveFixtures(1, 2);
        rollup.deposit{value: QUEUE_FEE + 1}(9, STRANGER);
        vm.assertEq(rollup.queueDeadline(ENTRIES + 1), start + 6 hours);
    }

    function test_entries_that_are_served_move_no_deadline_back() public {
        uint256 start = block.timestamp + 7 days;
        queue(1, ENTRIES);
        commitFixtures(1, 3);
        proveFixtures(1, 3);
        rollup.deposit{value: QUEUE_FEE + 1}(9, STRANGER);
        vm.assertEq(rollup.queueDeadline(ENTRIES + 1), start);
        rollup.deposit{value: QUEUE_FEE + 1}(9, STRANGER);
        vm.assertEq(rollup.queueDeadline(ENTRIES + 2), start + 1 hours);
    }

    // ---- proofs ----

    function test_batch_that_waits_too_long_for_its_proof() public {
        queue(1, ENTRIES);
        commitFixtures(1, 3);
        proveFixtures(1, 3);
        vm.warp(50 days);
        commitFixtures(4, 4);
        vm.warp(51 days);
        commitFixtures(5, 5);
        freezesJustAfter(57 days, 3, 0, 57 days);
    }

    function test_each_proof_gives_the_rest_new_time() public {
        queue(1, ENTRIES);
        commitFixtures(1, 5);
        vm.warp(6 days);
        proveFixtures(1, 4);
        freezesJustAfter(13 days, 4, 0, 13 days);
    }

    function test_revert_wins_no_time() public {
        queue(1, ENTRIES);
        commitFixtures(1, 3);
        proveFixtures(1, 3);
        vm.warp(50 days);
        commitFixtures(4, 4);
        vm.warp(56 days);
        revertTo(3);
        // nothing is committed, so nothing waits
        refuses(0, 0);
        commitFixtures(4, 4);
        vm.assertEq(rollup.pendingSince(), 50 days);
        freezesJustAfter(57 days, 3, 0, 57 days);
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_freezes_exactly_when_something_is_late(uint32[3] memory pauses, bool commits, bool proves) public {
        vm.warp(1_000_000);
        queue(1, 3);
        uint256 time = 1_000_000 + pauses[0] % 10 days;
        vm.warp(time);
        if (commits) commitFixtures(1, 1);
        uint256 since = time;
        time += pauses[1] % 10 days;
        vm.warp(time);
        if (commits && proves) proveFixtures(1, 1);
        time += pauses[2] % 10 days;
        vm.warp(time);
        bool entryLate = time > 1_000_000 + 7 days + (commits && proves ? 1 hours : 0);
        bool proofLate = commits && !proves && time > since + 7 days;
        (bool ok, bytes memory reason) = address(rollup).call(abi.encodeCall(IRollup.freeze, ()));
        vm.assertTrue(ok == (entryLate || proofLate));
        vm.assertTrue(rollup.frozen() == ok);
        if (!ok) vm.assertEq(bytes32(bytes4(reason)), bytes32(ILedger.NothingOverdue.selector));
    }

    // ---- afterwards ----

    /// @dev By the operator, so that nothing else is in the way.
    function dead(bytes memory call, uint256 value) private {
        vm.deal(OPERATOR, value);
        vm.prank(OPERATOR, OPERATOR);
        (bool ok, bytes memory reason) = address(rollup).call{value: value}(call);
        vm.assertFalse(ok);
        vm.assertEq(reason, abi.encodeWithSelector(ILedger.IsFrozen.selector));
    }

    /// @dev Batch 5 is committed, batch 4 proven; each of these calls would go through if it were not for the freeze.
    function test_what_is_dead() public {
        queue(1, ENTRIES);
        commitFixtures(1, 5);
        proveFixtures(1, 4);
        vm.warp(100 days);
        freezes(4);
        token.mint(OPERATOR, 1);
        vm.prank(OPERATOR);
        token.approve(address(rollup), 1);
        dead(abi.encodeCall(IRollup.deposit, (9, BOB)), QUEUE_FEE + 1);
        dead(abi.encodeCall(IRollup.depositToken, (TOKEN, 1, 9, BOB)), QUEUE_FEE);
        dead(abi.encodeCall(IRollup.listToken, (address(this))), LISTING_FEE);
        dead(abi.encodeCall(IRollup.commit, (commitOf(6))), 0);
        dead(abi.encodeCall(IRollup.prove, (oldCommitments(5), proofsOf(5, 5))), 0);
        dead(abi.encodeCall(IRollup.revertTo, (4, proofOf(4).record, ENTRIES)), 0);
        dead(abi.encodeCall(IRollup.freeze, ()), 0);
        vm.assertEq(rollup.stateRoot(), newRoot(4));
        vm.assertTrue(rollup.frozen());
        vm.assertEq(rollup.pendingSince(), 1);
    }

    function test_what_lives() public {
        queue(1, ENTRIES);
        commitFixtures(1, 5);
        proveFixtures(1, 4);
        vm.warp(100 days);
        freezes(4);
        settleFixture(4, 0, 2);
        settleRefundsFixture(2, 3, 4);
        vm.prank(BOB);
        rollup.claim(NATIVE, BOB);
        vm.assertEq(BOB.balance, 2 ether);
        vm.prank(OPERATOR);
        rollup.claimFees(address(0xfee));
        vm.assertEq(address(0xfee).balance, LISTING_FEE + ENTRIES * QUEUE_FEE);
    }
}
