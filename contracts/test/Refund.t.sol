// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Fixture} from "./support/Fixture.sol";

/// @title Deposits that go back to who sent them: chosen by a proven batch, or taken by none before a freeze
/// @dev Entry 4, of one ether by BOB, is the one that a batch refunds: batch 2, which takes entries 3 and 4.
contract RefundTest is Fixture {
    function setUp() public {
        deployWithQueue();
    }

    function provenUpTo(uint256 number) private {
        commitFixtures(1, number);
        proveFixtures(1, number);
    }

    // ---- chosen by a proven batch ----

    struct Call {
        ILedger.Record record;
        uint256[] choices;
        uint256[] words;
        uint256 lastEntry;
        uint256 first;
        ILedger.QueueEntry[] entries;
    }

    function honest(uint256 number, uint256 first, uint256 last) private view returns (Call memory) {
        return Call(proofOf(number).record, choicesOf(number), wordsOf(number), lastEntryOf(number), first, entriesOf(first, last));
    }

    function refuses(Call memory c, bytes memory error) private {
        vm.expectRevert(error);
        rollup.settleRefunds(c.record, c.choices, c.words, c.lastEntry, c.first, c.entries);
    }

    function test_refund_of_a_proven_batch_is_credited_once() public {
        provenUpTo(2);
        vm.assertFalse(rollup.refunded(4));
        vm.expectEmit(address(rollup));
        emit ILedger.Refunded(4, BOB, NATIVE, 1 ether);
        // the run's other entry was deposited
        settleRefundsFixture(2, 3, 4);
        vm.assertEq(rollup.claimable(NATIVE, BOB), 1 ether);
        vm.assertEq(rollup.escrow(NATIVE), 20 ether);
        vm.assertTrue(rollup.refunded(4) && !rollup.refunded(3) && !rollup.refunded(5));
        refuses(honest(2, 3, 4), abi.encodeWithSelector(ILedger.NothingToRefund.selector));
        refuses(honest(2, 4, 4), abi.encodeWithSelector(ILedger.NothingToRefund.selector));
        vm.assertEq(rollup.claimable(NATIVE, BOB), 1 ether);
    }

    function test_refund_before_the_proof() public {
        commitFixtures(1, 2);
        refuses(honest(2, 4, 4), abi.encodeWithSelector(ILedger.NotProven.selector, 2));
        proveFixtures(1, 1);
        refuses(honest(2, 4, 4), abi.encodeWithSelector(ILedger.NotProven.selector, 2));
        proveFixtures(2, 2);
        settleRefundsFixture(2, 4, 4);
    }

    function test_deposit_that_was_taken_is_not_refunded() public {
        provenUpTo(3);
        refuses(honest(2, 3, 3), abi.encodeWithSelector(ILedger.NothingToRefund.selector));
        refuses(honest(1, 1, 2), abi.encodeWithSelector(ILedger.NothingToRefund.selector));
        Call memory c = honest(2, 4, 4);
        c.entries = new ILedger.QueueEntry[](0);
        refuses(c, abi.encodeWithSelector(ILedger.NothingToRefund.selector));
    }

    function test_other_record_choices_or_words() public {
        provenUpTo(3);
        Call memory c = honest(2, 4, 4);
        c.record.header.taken = 3;
        refuses(c, abi.encodeWithSelector(ILedger.RecordMismatch.selector, 2));
        c = honest(2, 3, 3);
        // both refunded, says somebody
        c.choices[0] = 1;
        refuses(c, abi.encodeWithSelector(ILedger.OperationsMismatch.selector, 2));
        c = honest(2, 4, 4);
        c.words[0] += 1;
        refuses(c, abi.encodeWithSelector(ILedger.OperationsMismatch.selector, 2));
    }

    /// @dev With another end of the batch, another entry would be the refunded one.
    function test_another_last_entry() public {
        provenUpTo(3);
        for (uint256 lastEntry = 0; lastEntry < 9; ++lastEntry) {
            if (lastEntry == 4) continue;
            Call memory c = honest(2, 4, 4);
            c.lastEntry = lastEntry;
            refuses(c, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
        }
    }

    function test_entries_of_other_batches() public {
        provenUpTo(4);
        refuses(honest(2, 2, 4), abi.encodeWithSelector(ILedger.EntryOutOfRange.selector, 2, 3, 4));
        refuses(honest(2, 4, 5), abi.encodeWithSelector(ILedger.EntryOutOfRange.selector, 4, 3, 4));
        refuses(honest(2, 5, 5), abi.encodeWithSelector(ILedger.EntryOutOfRange.selector, 5, 3, 4));
        // batch 4 takes none
        refuses(honest(4, 6, 6), abi.encodeWithSelector(ILedger.EntryOutOfRange.selector, 6, 7, 6));
        refuses(honest(4, 7, 6), abi.encodeWithSelector(ILedger.EntryOutOfRange.selector, 7, 7, 6));
    }

    /// forge-config: default.fuzz.runs = 48
    function testFuzz_entry_that_is_not_the_queues(uint8 field, uint112 amount, address somebody) public {
        provenUpTo(2);
        Call memory c = honest(2, 4, 4);
        ILedger.QueueEntry memory entry = c.entries[0];
        field %= 6;
        if (field == 0) entry.amount = amount == entry.amount ? 0 : amount;
        if (field == 1) entry.sender = somebody == entry.sender ? address(0) : somebody;
        if (field == 2) entry.token = TOKEN;
        if (field == 3) entry.owner = somebody == entry.owner ? address(0) : somebody;
        if (field == 4) entry.key ^= 1;
        if (field == 5) entry.kind = 2;
        refuses(c, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
    }

    // ---- after a freeze ----

    function frozenAfter(uint256 number) private {
        if (number > 0) provenUpTo(number);
        vm.warp(block.timestamp + 365 days);
        rollup.freeze();
    }

    function refusesRefund(uint256 first, ILedger.QueueEntry[] memory entries, bytes memory error) private {
        vm.expectRevert(error);
        rollup.refund(first, entries);
    }

    function test_before_a_freeze() public {
        refusesRefund(1, entriesOf(1, 1), abi.encodeWithSelector(ILedger.NotFrozen.selector));
    }

    function test_deposits_that_no_proven_batch_took() public {
        // batch 2 is committed, which serves nobody
        commitFixtures(1, 2);
        proveFixtures(1, 1);
        vm.warp(block.timestamp + 365 days);
        rollup.freeze();
        vm.expectEmit(address(rollup));
        emit ILedger.Refunded(3, BOB, NATIVE, 3 ether);
        vm.expectEmit(address(rollup));
        emit ILedger.Refunded(4, BOB, NATIVE, 1 ether);
        rollup.refund(3, entriesOf(3, 4));
        vm.assertEq(rollup.claimable(NATIVE, BOB), 4 ether + 2 * QUEUE_FEE);
        // a run may overlap what was refunded; the rest of it is credited
        rollup.refund(4, entriesOf(4, 6));
        vm.assertEq(rollup.claimable(NATIVE, BOB), 4 ether + 2 * QUEUE_FEE);
        vm.assertEq(rollup.claimable(TOKEN, ALICE), 1000 ether);
        vm.assertEq(rollup.claimable(NATIVE, ALICE), 1 ether + 2 * QUEUE_FEE);
        vm.assertEq(rollup.escrow(NATIVE), 20 ether + 4 * QUEUE_FEE);
        refusesRefund(3, entriesOf(3, 6), abi.encodeWithSelector(ILedger.NothingToRefund.selector));
        vm.prank(BOB);
        rollup.claim(NATIVE, BOB);
        vm.assertEq(BOB.balance, 4 ether + 2 * QUEUE_FEE);
    }

    function test_nobody_was_ever_served() public {
        frozenAfter(0);
        rollup.refund(1, entriesOf(1, ENTRIES));
        vm.assertEq(rollup.claimable(NATIVE, ALICE), 11 ether + 3 * QUEUE_FEE);
        vm.assertEq(rollup.escrow(NATIVE), 20 ether + ENTRIES * QUEUE_FEE);
        vm.assertEq(address(rollup).balance, rollup.escrow(NATIVE) + rollup.feesEarned());
    }

    function test_entry_that_was_proven() public {
        frozenAfter(2);
        refusesRefund(4, entriesOf(4, 5), abi.encodeWithSelector(ILedger.EntryOutOfRange.selector, 4, 5, 6));
        refusesRefund(0, entriesOf(1, 1), abi.encodeWithSelector(ILedger.EntryOutOfRange.selector, 0, 5, 6));
        settleRefundsFixture(2, 4, 4);
        vm.assertEq(rollup.claimable(NATIVE, BOB), 1 ether);
    }

    function test_entries_that_are_not_the_queues() public {
        frozenAfter(1);
        ILedger.QueueEntry[] memory entries = entriesOf(3, 4);
        refusesRefund(4, entries, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
        entries[1].amount += 1;
        refusesRefund(3, entries, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
        entries[1].amount -= 1;
        entries[1].sender = ALICE;
        refusesRefund(3, entries, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
        // beyond the queue's end
        refusesRefund(7, entriesOf(6, 6), abi.encodeWithSelector(ILedger.QueueMismatch.selector));
        refusesRefund(100, entriesOf(6, 6), abi.encodeWithSelector(ILedger.QueueMismatch.selector));
        refusesRefund(7, new ILedger.QueueEntry[](0), abi.encodeWithSelector(ILedger.NothingToRefund.selector));
    }
}
