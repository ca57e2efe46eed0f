// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Forger} from "./support/Forger.sol";

/// @title The operator takes committed batches back
contract RevertTest is Forger {
    function refuses(uint256 to, ILedger.Record memory record, uint256 lastEntry, bytes memory error) private {
        vm.prank(OPERATOR);
        vm.expectRevert(error);
        rollup.revertTo(to, record, lastEntry);
    }

    function test_everything_is_as_before_the_commits() public {
        commitFixtures(1, 3);
        uint256 since = rollup.pendingSince();
        vm.warp(block.timestamp + 1 days);
        commitFixtures(4, BATCHES);
        vm.expectEmit(address(rollup));
        emit ILedger.Reverted(3, newRoot(3));
        revertTo(3);
        vm.assertEq(rollup.committed(), 3);
        vm.assertEq(rollup.queueCommitted(), ENTRIES);
        vm.assertEq(rollup.pendingSince(), since);
        vm.assertTrue(rollup.batchHash(3) != 0);
        for (uint256 number = 4; number <= BATCHES; ++number) {
            vm.assertEq(rollup.batchHash(number), 0);
        }
        vm.expectEmit(address(rollup));
        emit ILedger.Reverted(1, newRoot(1));
        revertTo(1);
        vm.assertEq(rollup.queueCommitted(), 2);
    }

    function test_down_to_what_is_proven() public {
        commitFixtures(1, 3);
        vm.expectEmit(address(rollup));
        emit ILedger.Reverted(0, rollup.stateRoot());
        revertTo(0);
        vm.assertEq(rollup.queueCommitted(), 0);
        commitFixtures(1, 3);
        proveFixtures(1, 2);
        vm.expectEmit(address(rollup));
        emit ILedger.Reverted(2, newRoot(2));
        revertTo(2);
        vm.assertEq(rollup.queueCommitted(), 4);
        vm.assertEq(rollup.committed(), 2);
    }

    function test_the_same_batches_are_committed_again_and_proven() public {
        commitFixtures(1, BATCHES);
        proveFixtures(1, 2);
        revertTo(4);
        ILedger.BatchProof[] memory proofs = proofsOf(3, 5);
        uint256[6] memory old = oldCommitments(3);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotCommitted.selector, 5));
        rollup.prove(old, proofs);
        revertTo(2);
        commitFixtures(3, BATCHES);
        proveFixtures(3, BATCHES);
        vm.assertEq(rollup.stateRoot(), newRoot(BATCHES));
        vm.assertEq(rollup.queueProven(), ENTRIES);
        vm.assertEq(rollup.pendingSince(), 0);
    }

    /// @dev Another batch under the number: its entries go elsewhere, and the old proof is worth nothing.
    function test_another_batch_takes_the_number() public {
        commitFixtures(1, 1);
        revertTo(0);
        ILedger.Commit memory batch = commitOf(1);
        batch.h = addmod(batch.h, 1, R);
        commit(batch);
        ILedger.BatchProof[] memory proofs = proofsOf(1, 1);
        uint256[6] memory old = oldCommitments(1);
        vm.expectRevert(abi.encodeWithSelector(ILedger.RecordMismatch.selector, 1));
        rollup.prove(old, proofs);
    }

    /// forge-config: default.fuzz.runs = 24
    function testFuzz_any_batch(uint8 committed, uint8 proven, uint8 to) public {
        committed = 1 + committed % 8;
        proven = proven % committed;
        to = proven + to % (committed - proven);
        commitFixtures(1, committed);
        if (proven > 0) proveFixtures(1, proven);
        revertTo(to);
        vm.assertEq(rollup.committed(), to);
        vm.assertEq(rollup.queueCommitted(), lastEntryOf(to));
        commitFixtures(uint256(to) + 1, BATCHES);
        proveFixtures(uint256(proven) + 1, BATCHES);
        vm.assertEq(rollup.stateRoot(), newRoot(BATCHES));
    }

    function test_anybody_but_the_operator() public {
        commitFixtures(1, 2);
        ILedger.Record memory record = proofOf(1).record;
        vm.prank(BOB);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotOperator.selector));
        rollup.revertTo(1, record, 2);
    }

    function test_batches_out_of_range() public {
        commitFixtures(1, 4);
        proveFixtures(1, 2);
        ILedger.Record memory record = proofOf(1).record;
        refuses(1, record, 2, abi.encodeWithSelector(ILedger.RevertOutOfRange.selector, 1, 2, 4));
        refuses(0, record, 0, abi.encodeWithSelector(ILedger.RevertOutOfRange.selector, 0, 2, 4));
        record = proofOf(4).record;
        refuses(4, record, 6, abi.encodeWithSelector(ILedger.RevertOutOfRange.selector, 4, 2, 4));
        refuses(5, record, 6, abi.encodeWithSelector(ILedger.RevertOutOfRange.selector, 5, 2, 4));
        proveFixtures(3, 4);
        refuses(4, record, 6, abi.encodeWithSelector(ILedger.RevertOutOfRange.selector, 4, 4, 4));
    }

    function test_another_record() public {
        commitFixtures(1, 4);
        ILedger.Record memory record = proofOf(1).record;
        refuses(2, record, 2, abi.encodeWithSelector(ILedger.RecordMismatch.selector, 2));
        record = proofOf(2).record;
        record.header.commitments[0] ^= 1;
        refuses(2, record, 4, abi.encodeWithSelector(ILedger.RecordMismatch.selector, 2));
    }

    function test_another_last_entry() public {
        commitFixtures(1, 3);
        ILedger.Record memory record = proofOf(2).record;
        for (uint256 lastEntry; lastEntry < 10; ++lastEntry) {
            if (lastEntry != 4) refuses(2, record, lastEntry, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
        }
        revertTo(2);
    }

    /// @dev Its digest is 0, and so is that of every entry to come.
    function test_batch_before_the_first_entry() public {
        ILedger.Commit memory batch = commitOf(5);
        (batch.number, batch.queueDigest, batch.oldRoot) = (1, 0, rollup.stateRoot());
        ILedger.BatchProof memory proof = proofOf(5);
        proof.record.header.number = 1;
        ILedger.Record memory record = commitForged(1, batch, proof).record;
        batch.number = 2;
        commit(batch);
        refuses(1, record, 1, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
        refuses(1, record, ENTRIES + 1, abi.encodeWithSelector(ILedger.QueueMismatch.selector));
        vm.prank(OPERATOR);
        rollup.revertTo(1, record, 0);
        vm.assertEq(rollup.queueCommitted(), 0);
        vm.assertEq(rollup.committed(), 1);
    }
}
