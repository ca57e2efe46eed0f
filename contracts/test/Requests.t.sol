// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Fixture} from "./support/Fixture.sol";

/// @title Requests of owners and strangers: an exit, another key
contract RequestsTest is Fixture {
    uint8 private constant EXIT = 2;
    uint8 private constant ROTATION = 3;

    function setUp() public {
        deployWithQueue();
        vm.deal(ALICE, 1 ether);
        vm.deal(BOB, 1 ether);
    }

    function requestExit(address sender, uint256 idx) private {
        vm.prank(sender);
        rollup.requestExit{value: QUEUE_FEE}(idx);
    }

    function requestRotation(address sender, uint256 idx, uint256 key) private {
        vm.prank(sender);
        rollup.requestRotation{value: QUEUE_FEE}(idx, key);
    }

    function refusesExit(address sender, uint256 idx, uint256 value, bytes memory error) private {
        vm.prank(sender);
        vm.expectRevert(error);
        rollup.requestExit{value: value}(idx);
    }

    function refusesRotation(address sender, uint256 idx, uint256 key, uint256 value, bytes memory error) private {
        vm.prank(sender);
        vm.expectRevert(error);
        rollup.requestRotation{value: value}(idx, key);
    }

    // ---- queued ----

    function test_a_request_joins_the_queue() public {
        bytes32 before = rollup.queueDigest(ENTRIES);
        uint256 due = rollup.queueDeadline(ENTRIES);
        vm.expectEmit(address(rollup));
        emit ILedger.Queued(ENTRIES + 1, EXIT, ALICE, 0, 0, 0xffff, address(0), 0);
        requestExit(ALICE, 0xffff);
        vm.expectEmit(address(rollup));
        emit ILedger.Queued(ENTRIES + 2, ROTATION, BOB, 0, 0, 1, address(0), R - 1);
        requestRotation(BOB, 1, R - 1);
        vm.assertEq(rollup.queueLength(), ENTRIES + 2);
        bytes32 first = keccak256(abi.encode(ILedger.QueueEntry(EXIT, ALICE, 0, 0, 0xffff, address(0), 0)));
        bytes32 second = keccak256(abi.encode(ILedger.QueueEntry(ROTATION, BOB, 0, 0, 1, address(0), R - 1)));
        first = keccak256(abi.encode(before, first));
        vm.assertEq(rollup.queueDigest(ENTRIES + 1), first);
        vm.assertEq(rollup.queueDigest(ENTRIES + 2), keccak256(abi.encode(first, second)));
        vm.assertEq(rollup.queueDeadline(ENTRIES + 1), due + 1 hours);
        vm.assertEq(rollup.queueDeadline(ENTRIES + 2), due + 2 hours);
    }

    /// @dev No coins but the fee, which nobody earns before the proof.
    function test_a_request_costs_the_fee_exactly() public {
        (uint256 escrow, uint256 fees, uint256 held) = (rollup.escrow(NATIVE), rollup.feesEarned(), address(rollup).balance);
        refusesExit(ALICE, 1, 0, abi.encodeWithSelector(ILedger.WrongFee.selector, 0, QUEUE_FEE));
        refusesExit(ALICE, 1, QUEUE_FEE - 1, abi.encodeWithSelector(ILedger.WrongFee.selector, QUEUE_FEE - 1, QUEUE_FEE));
        refusesExit(ALICE, 1, QUEUE_FEE + 1, abi.encodeWithSelector(ILedger.WrongFee.selector, QUEUE_FEE + 1, QUEUE_FEE));
        refusesRotation(ALICE, 1, 9, QUEUE_FEE + 1, abi.encodeWithSelector(ILedger.WrongFee.selector, QUEUE_FEE + 1, QUEUE_FEE));
        requestExit(ALICE, 1);
        vm.assertEq(rollup.escrow(NATIVE), escrow);
        vm.assertEq(rollup.feesEarned(), fees);
        vm.assertEq(address(rollup).balance, held + QUEUE_FEE);
    }

    function test_slots_and_keys_that_no_batch_could_take() public {
        refusesExit(ALICE, 0, QUEUE_FEE, abi.encodeWithSelector(ILedger.SlotOutOfRange.selector, 0));
        refusesExit(ALICE, 1 << 16, QUEUE_FEE, abi.encodeWithSelector(ILedger.SlotOutOfRange.selector, 1 << 16));
        refusesExit(ALICE, 1 << 24 | 1, QUEUE_FEE, abi.encodeWithSelector(ILedger.SlotOutOfRange.selector, 1 << 24 | 1));
        refusesRotation(ALICE, 0, 9, QUEUE_FEE, abi.encodeWithSelector(ILedger.SlotOutOfRange.selector, 0));
        refusesRotation(ALICE, 1 << 16, 9, QUEUE_FEE, abi.encodeWithSelector(ILedger.SlotOutOfRange.selector, 1 << 16));
        refusesRotation(ALICE, 1, 0, QUEUE_FEE, abi.encodeWithSelector(ILedger.KeyOutOfRange.selector, 0));
        refusesRotation(ALICE, 1, R, QUEUE_FEE, abi.encodeWithSelector(ILedger.KeyOutOfRange.selector, R));
        refusesRotation(ALICE, 1, type(uint256).max, QUEUE_FEE, abi.encodeWithSelector(ILedger.KeyOutOfRange.selector, type(uint256).max));
    }

    // ---- one at a time ----

    function test_one_open_request_for_a_slot_a_kind_and_a_requester() public {
        requestExit(ALICE, 1);
        vm.assertEq(rollup.openRequest(EXIT, 1, ALICE), ENTRIES + 1);
        refusesExit(ALICE, 1, QUEUE_FEE, abi.encodeWithSelector(ILedger.RequestOpen.selector, ENTRIES + 1));
        // another slot, requester or kind is another request
        requestExit(ALICE, 2);
        requestExit(BOB, 1);
        requestRotation(ALICE, 1, 9);
        refusesRotation(ALICE, 1, 10, QUEUE_FEE, abi.encodeWithSelector(ILedger.RequestOpen.selector, ENTRIES + 4));
        vm.assertEq(rollup.openRequest(ROTATION, 1, ALICE), ENTRIES + 4);
        vm.assertEq(rollup.openRequest(EXIT, 1, BOB), ENTRIES + 3);
        vm.assertEq(rollup.openRequest(ROTATION, 1, BOB), 0);
        vm.assertEq(rollup.openRequest(ROTATION, 2, ALICE), 0);
    }

    /// @dev The proven pointer decides, not the committed one.
    function test_a_request_is_open_until_it_is_proven() public {
        deploy();
        requestExit(ALICE, 1);
        vm.store(address(rollup), countersSlot(), bytes32(countersWith(1, 0)));
        vm.assertEq(rollup.queueCommitted(), 1);
        refusesExit(ALICE, 1, QUEUE_FEE, abi.encodeWithSelector(ILedger.RequestOpen.selector, 1));
        vm.store(address(rollup), countersSlot(), bytes32(countersWith(1, 1)));
        vm.assertEq(rollup.openRequest(EXIT, 1, ALICE), 0);
        requestExit(ALICE, 1);
        vm.assertEq(rollup.openRequest(EXIT, 1, ALICE), 2);
    }

    function countersSlot() private returns (bytes32) {
        vm.record();
        rollup.queueProven();
        return slotRead();
    }

    /// @dev One entry queued, so many of them in committed and in proven batches.
    function countersWith(uint256 committed, uint256 proven) private pure returns (uint256) {
        return uint256(1) << 120 | committed << 160 | proven << 200 | uint256(TOKEN) << 240;
    }

    // ---- taken by a batch ----

    /// @dev Batch 7 of the chain (nothing of its own in the queue) takes what ALICE and BOB asked for.
    function takes(uint256[] memory choices) private view returns (ILedger.Commit memory batch) {
        batch = commitOf(4);
        batch.taken = new ILedger.QueueEntry[](2);
        batch.taken[0] = ILedger.QueueEntry(ROTATION, BOB, 0, 0, 0xabcd, address(0), 77);
        batch.taken[1] = ILedger.QueueEntry(EXIT, ALICE, 0, 0, 0x1234, address(0), 0);
        batch.choices = choices;
        batch.queueDigest = rollup.queueDigest(ENTRIES + 2);
    }

    function two(uint256 first, uint256 second) private pure returns (uint256[] memory choices) {
        choices = new uint256[](2);
        (choices[0], choices[1]) = (first, second);
    }

    function queueTwo() private {
        requestRotation(BOB, 0xabcd, 77);
        requestExit(ALICE, 0x1234);
        commitFixtures(1, 3);
    }

    function refuses(uint256 first, uint256 second, bytes memory error) private {
        ILedger.Commit memory batch = takes(two(first, second));
        vm.expectRevert(error);
        commit(batch);
    }

    function test_the_most_that_choices_may_say() public {
        queueTwo();
        refuses(ROTATION | 1 << 24, EXIT, abi.encodeWithSelector(ILedger.ChoiceOutOfRange.selector, ROTATION | 1 << 24));
        refuses(ROTATION, EXIT | 1 << 136, abi.encodeWithSelector(ILedger.ChoiceOutOfRange.selector, EXIT | 1 << 136));
        refuses(ROTATION, type(uint256).max << 8 | EXIT, abi.encodeWithSelector(ILedger.ChoiceOutOfRange.selector, type(uint256).max << 8 | EXIT));
        commit(takes(two(ROTATION | 0xffff << 8, EXIT | ((1 << 128) - 1) << 8)));
        vm.assertEq(rollup.queueCommitted(), ENTRIES + 2);
        revertTo(3);
        vm.assertEq(rollup.queueCommitted(), ENTRIES);
        commit(takes(two(ROTATION, EXIT)));
    }

    function test_a_choice_of_another_kind() public {
        queueTwo();
        for (uint256 kind; kind < 5; ++kind) {
            if (kind != EXIT && kind != ROTATION) {
                refuses(1 << 8 | kind, EXIT, abi.encodeWithSelector(ILedger.WrongChoiceKind.selector, 1 << 8 | kind, ROTATION));
            }
            // no request can be refunded, whatever the kind that says so
            if (kind != EXIT && kind != ROTATION) {
                refuses(ROTATION, kind, abi.encodeWithSelector(ILedger.WrongChoiceKind.selector, kind, EXIT));
            }
        }
    }

    function test_more_requests_than_the_circuit_holds() public {
        requestExit(ALICE, 1);
        requestExit(BOB, 1);
        requestRotation(ALICE, 1, 9);
        requestRotation(BOB, 1, 9);
        commitFixtures(1, 3);
        ILedger.Commit memory batch = commitOf(4);
        batch.taken = new ILedger.QueueEntry[](2);
        batch.taken[0] = ILedger.QueueEntry(EXIT, ALICE, 0, 0, 1, address(0), 0);
        batch.taken[1] = ILedger.QueueEntry(EXIT, BOB, 0, 0, 1, address(0), 0);
        (batch.choices, batch.queueDigest) = (two(EXIT, EXIT), rollup.queueDigest(ENTRIES + 2));
        ILedger.Params memory p = params();
        refusesAt(p.circuits[0].shape.exits, batch, ILedger.TooManyExits.selector);
        batch.taken[0] = ILedger.QueueEntry(ROTATION, ALICE, 0, 0, 1, address(0), 9);
        batch.choices = two(ROTATION, ROTATION);
        refusesAt(p.circuits[0].shape.rotations, batch, ILedger.TooManyRotations.selector);
    }

    /// @dev Two more entries than choices count: so many of them that the circuit is too small.
    function refusesAt(uint256 capacity, ILedger.Commit memory batch, bytes4 error) private {
        uint256 count = capacity + 1;
        ILedger.QueueEntry memory entry = batch.taken[0];
        uint256 choice = batch.choices[0];
        (batch.taken, batch.choices) = (new ILedger.QueueEntry[](count), new uint256[](count));
        for (uint256 i; i < count; ++i) {
            (batch.taken[i], batch.choices[i]) = (entry, choice);
        }
        // so many entries as if they had been queued
        bytes32 digest = rollup.queueDigest(ENTRIES);
        for (uint256 i; i < count; ++i) {
            digest = keccak256(abi.encode(digest, keccak256(abi.encode(entry))));
        }
        vm.record();
        rollup.queueDigest(ENTRIES + count);
        vm.store(address(rollup), slotRead(), digest);
        batch.queueDigest = digest;
        vm.expectRevert(abi.encodeWithSelector(error, count, capacity));
        commit(batch);
    }

    // ---- a batch that took them, proven ----

    /// @dev Batch 1 as if it had made two withdrawals and taken entries 1 .. 8: six deposits, the second of them refunded, then BOB's rotation of an empty
    /// slot, whose choice is all but that of a refund, and exits by ALICE and BOB, the last one by no owner.
    function provenWithRequests() private returns (ILedger.Record memory record, uint256[] memory choices, uint256[] memory words) {
        requestRotation(BOB, 0xabcd, 77);
        requestExit(ALICE, 3);
        requestExit(BOB, 3);
        commitFixtures(1, 1);
        proveFixtures(1, 1);
        choices = new uint256[](9);
        for (uint256 i; i < 6; ++i) {
            choices[i] = i == 1 ? 1 : (i + 1) << 8 | 1;
        }
        (choices[6], choices[7], choices[8]) = (ROTATION, uint256(TOKEN) << 8 | 5 ether << 24 | EXIT, EXIT);
        // withdrawals 6, deposits 20, exits 6, rotations 3
        words = new uint256[](35);
        (words[0], words[1], words[2]) = (uint256(NATIVE) << 24 | 7, 3, uint160(ALICE));
        (words[3], words[4], words[5]) = (uint256(NATIVE) << 24 | 8, 4, uint160(BOB));
        for (uint256 i = 6; i < 26; ++i) {
            words[i] = 1000 + i;
        }
        (words[26], words[27], words[28]) = (3 << 16 | uint256(TOKEN), uint160(ALICE), 5 ether);
        (words[29], words[30], words[31]) = (3 << 16, uint160(BOB), 0);
        (words[32], words[33], words[34]) = (0xabcd << 16, uint160(BOB), 77);
        record = proofOf(1).record;
        record.header.opsHash = keccak256(abi.encode(choices, words));
        (record.header.taken, record.header.queueDigest) = (9, rollup.queueDigest(9));
        pretendStored(1, keccak256(abi.encode(record)));
    }

    function test_an_exit_is_paid_to_its_requester_once() public {
        (ILedger.Record memory record, uint256[] memory choices, uint256[] memory words) = provenWithRequests();
        vm.expectEmit(address(rollup));
        emit ILedger.Credited(ALICE, TOKEN, 5 ether, 1, 2);
        rollup.settle(record, choices, words, 2, 1);
        vm.assertEq(rollup.claimable(TOKEN, ALICE), 5 ether);
        vm.assertTrue(rollup.settled(1, 2) && !rollup.settled(1, 1) && !rollup.settled(1, 3));
        vm.expectRevert(abi.encodeWithSelector(ILedger.NothingToSettle.selector));
        rollup.settle(record, choices, words, 2, 1);
        rollup.settle(record, choices, words, 0, 4);
        vm.assertEq(rollup.claimable(TOKEN, ALICE), 5 ether);
        vm.assertEq(rollup.claimable(NATIVE, ALICE), 3);
        vm.assertEq(rollup.claimable(NATIVE, BOB), 4);
    }

    /// @dev What a stranger asked for is settled like an exit of nothing; rotations are no items.
    function test_a_request_by_a_stranger_pays_nobody() public {
        (ILedger.Record memory record, uint256[] memory choices, uint256[] memory words) = provenWithRequests();
        rollup.settle(record, choices, words, 3, 1);
        vm.assertTrue(rollup.settled(1, 3));
        for (uint16 id; id < 4; ++id) {
            vm.assertEq(rollup.claimable(id, BOB), 0);
        }
        vm.expectRevert(abi.encodeWithSelector(ILedger.ItemOutOfRange.selector, 4, 4));
        rollup.settle(record, choices, words, 4, 1);
    }

    function test_a_request_that_was_taken_is_not_refunded() public {
        (ILedger.Record memory record, uint256[] memory choices, uint256[] memory words) = provenWithRequests();
        ILedger.QueueEntry[] memory entries = new ILedger.QueueEntry[](3);
        entries[0] = ILedger.QueueEntry(ROTATION, BOB, 0, 0, 0xabcd, address(0), 77);
        entries[1] = ILedger.QueueEntry(EXIT, ALICE, 0, 0, 3, address(0), 0);
        entries[2] = ILedger.QueueEntry(EXIT, BOB, 0, 0, 3, address(0), 0);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NothingToRefund.selector));
        rollup.settleRefunds(record, choices, words, 9, 7, entries);
        // the deposit beside them is
        rollup.settleRefunds(record, choices, words, 9, 2, entriesOf(2, 2));
        vm.assertTrue(rollup.refunded(2));
    }

    // ---- the end ----

    function test_a_request_that_nobody_takes_freezes_the_contract() public {
        commitFixtures(1, BATCHES);
        proveFixtures(1, BATCHES);
        requestRotation(ALICE, 1, 9);
        uint256 due = rollup.queueDeadline(ENTRIES + 1);
        vm.warp(due);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NothingOverdue.selector, due, 0));
        rollup.freeze();
        vm.warp(due + 1);
        rollup.freeze();
        vm.assertTrue(rollup.frozen());
        refusesExit(ALICE, 1, QUEUE_FEE, abi.encodeWithSelector(ILedger.IsFrozen.selector));
        refusesRotation(ALICE, 2, 9, QUEUE_FEE, abi.encodeWithSelector(ILedger.IsFrozen.selector));
    }

    /// @dev Those that no proven batch took, and each once; they held nothing but the fee.
    function test_fees_of_requests_go_back_after_a_freeze() public {
        requestExit(ALICE, 1);
        requestRotation(BOB, 1, 9);
        commitFixtures(1, BATCHES);
        proveFixtures(1, BATCHES);
        vm.warp(block.timestamp + 365 days);
        rollup.freeze();
        ILedger.QueueEntry[] memory entries = new ILedger.QueueEntry[](2);
        entries[0] = ILedger.QueueEntry(EXIT, ALICE, 0, 0, 1, address(0), 0);
        entries[1] = ILedger.QueueEntry(ROTATION, BOB, 0, 0, 1, address(0), 9);
        uint256 escrow = rollup.escrow(NATIVE);
        vm.expectEmit(address(rollup));
        emit ILedger.Refunded(ENTRIES + 1, ALICE, 0, 0);
        rollup.refund(ENTRIES + 1, entries);
        vm.assertEq(rollup.claimable(NATIVE, ALICE), QUEUE_FEE);
        vm.assertEq(rollup.claimable(NATIVE, BOB), QUEUE_FEE);
        vm.assertEq(rollup.claimable(0, ALICE) + rollup.claimable(0, BOB), 0);
        vm.assertEq(rollup.escrow(NATIVE), escrow + 2 * QUEUE_FEE);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NothingToRefund.selector));
        rollup.refund(ENTRIES + 1, entries);
        vm.prank(ALICE);
        rollup.claim(NATIVE, address(0xfee));
        vm.assertEq(address(0xfee).balance, QUEUE_FEE);
    }
}
