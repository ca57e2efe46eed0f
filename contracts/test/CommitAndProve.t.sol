// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Fixture} from "./support/Fixture.sol";
import {Sender} from "./support/Strangers.sol";

/// @title The next commit and the proof of the last one in a transaction
contract CommitAndProveTest is Fixture {
    function setUp() public {
        deployWithQueue();
    }

    function both(uint256 number, uint256 first, uint256 last) private {
        ILedger.Commit memory batch = commitOf(number);
        (uint256[6] memory old, ILedger.BatchProof[] memory proofs) = (oldCommitments(first), proofsOf(first, last));
        vm.prank(OPERATOR, OPERATOR);
        rollup.commitAndProve(batch, old, proofs);
    }

    function refuses(uint256 number, uint256 first, ILedger.BatchProof[] memory proofs, bytes memory error) private {
        ILedger.Commit memory batch = commitOf(number);
        uint256[6] memory old = oldCommitments(first);
        vm.prank(OPERATOR, OPERATOR);
        vm.expectRevert(error);
        rollup.commitAndProve(batch, old, proofs);
    }

    function requireAt(uint256 committed, uint256 proven) private view {
        vm.assertEq(rollup.committed(), committed);
        vm.assertEq(rollup.proven(), proven);
        vm.assertEq(rollup.stateRoot(), proven == 0 ? vm.parseJsonBytes32(json(), path(1, "oldRoot")) : newRoot(proven));
        vm.assertEq(rollup.queueProven(), lastEntryOf(proven));
        vm.assertEq(rollup.queueCommitted(), lastEntryOf(committed));
        vm.assertEq(rollup.batchHash(committed), vm.parseJsonBytes32(json(), path(committed, "batchHash")));
        vm.assertEq(rollup.batchHash(committed + 1), 0);
    }

    function test_the_whole_chain() public {
        commitFixtures(1, 1);
        for (uint256 number = 2; number <= BATCHES; ++number) {
            vm.expectEmit(address(rollup));
            emit ILedger.Proven(number - 1, newRoot(number - 1));
            both(number, number - 1, number - 1);
            requireAt(number, number - 1);
        }
    }

    function test_several_proofs_and_a_batch_that_stays_open() public {
        commitFixtures(1, 4);
        both(5, 1, 3);
        requireAt(5, 3);
        vm.assertEq(rollup.pendingSince(), block.timestamp);
    }

    /// @dev The proofs were made before the block; in it somebody else was first.
    function test_somebody_proved_first() public {
        commitFixtures(1, 3);
        proveFixtures(1, 2);
        both(4, 1, 3);
        requireAt(4, 3);
        proveFixtures(4, 4);
        both(5, 4, 4);
        requireAt(5, 4);
        both(6, 2, 4);
        requireAt(6, 4);
    }

    function test_no_proof_at_all() public {
        both(1, 1, 0);
        requireAt(1, 0);
    }

    /// @dev The time-out counts from the commit, because nothing else waits for a proof.
    function test_time_since_which_a_batch_is_pending() public {
        commitFixtures(1, 1);
        vm.warp(block.timestamp + 1 days);
        both(2, 1, 1);
        vm.assertEq(rollup.pendingSince(), block.timestamp);
        uint256 since = block.timestamp;
        vm.warp(block.timestamp + 1 days);
        both(3, 1, 1);
        vm.assertEq(rollup.pendingSince(), since);
    }

    /// @dev Its data would be judged by a proof that came in the same call.
    function test_the_batch_of_the_call_is_never_proven_by_it() public {
        refuses(1, 1, proofsOf(1, 1), abi.encodeWithSelector(ILedger.NotCommitted.selector, 1));
        commitFixtures(1, 1);
        refuses(2, 1, proofsOf(1, 2), abi.encodeWithSelector(ILedger.NotCommitted.selector, 2));
        requireAt(1, 0);
    }

    function test_a_wrong_proof_commits_nothing() public {
        commitFixtures(1, 1);
        ILedger.BatchProof[] memory proofs = proofsOf(1, 1);
        proofs[0].z = addmod(proofs[0].z, 1, R);
        refuses(2, 1, proofs, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
        requireAt(1, 0);
    }

    function test_a_wrong_commit_proves_nothing() public {
        commitFixtures(1, 1);
        refuses(3, 1, proofsOf(1, 1), abi.encodeWithSelector(ILedger.WrongNumber.selector, 3, 2));
        requireAt(1, 0);
    }

    function test_anybody_but_the_operator() public {
        commitFixtures(1, 1);
        ILedger.Commit memory batch = commitOf(2);
        (uint256[6] memory old, ILedger.BatchProof[] memory proofs) = (oldCommitments(1), proofsOf(1, 1));
        vm.prank(BOB, BOB);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotOperator.selector));
        rollup.commitAndProve(batch, old, proofs);
        vm.prank(OPERATOR, BOB);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotOutermostCall.selector));
        rollup.commitAndProve(batch, old, proofs);
        requireAt(1, 0);
    }

    function test_after_a_freeze() public {
        commitFixtures(1, 1);
        vm.warp(block.timestamp + 365 days);
        rollup.freeze();
        refuses(2, 1, proofsOf(1, 1), abi.encodeWithSelector(ILedger.IsFrozen.selector));
    }
}
