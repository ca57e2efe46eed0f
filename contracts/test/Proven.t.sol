// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Fixture} from "./support/Fixture.sol";

/// @title The way of a batch, with real proofs: queued, committed, proven, settled, claimed
contract ProvenTest is Fixture {
    function setUp() public {
        deployWithQueue();
    }

    function test_deployment_is_the_one_the_proofs_are_bound_to() public view {
        vm.assertEq(bytes32(rollup.domain()), vm.parseJsonBytes32(json(), ".domain"));
        vm.assertEq(rollup.stateRoot(), vm.parseJsonBytes32(json(), path(1, "oldRoot")));
        vm.assertEq(rollup.k(), 16);
        vm.assertEq(rollup.operator(), OPERATOR);
        vm.assertEq(rollup.circuitCount(), 2);
        vm.assertEq(rollup.queueRate(), 1);
    }

    function test_queue_is_the_one_the_batches_take() public view {
        vm.assertEq(rollup.queueLength(), ENTRIES);
        vm.assertEq(rollup.queueDigest(0), 0);
        for (uint256 number = 1; number <= 3; ++number) {
            vm.assertEq(rollup.queueDigest(2 * number), commitOf(number).queueDigest);
        }
        vm.assertEq(rollup.escrow(NATIVE), 20 ether);
        vm.assertEq(rollup.escrow(TOKEN), 1000 ether);
        vm.assertEq(address(rollup).balance, 20 ether + LISTING_FEE + ENTRIES * QUEUE_FEE);
    }

    function test_commit_stores_the_record_of_the_fixture() public {
        for (uint256 number = 1; number <= BATCHES; ++number) {
            bytes32 hash = vm.parseJsonBytes32(json(), path(number, "batchHash"));
            vm.expectEmit(address(rollup));
            emit ILedger.Committed(number, number == 7 ? 2 : 1, hash, newRoot(number));
            commit(commitOf(number));
            vm.assertEq(rollup.batchHash(number), hash);
            vm.assertEq(rollup.committed(), number);
        }
        vm.assertEq(rollup.queueCommitted(), ENTRIES);
        vm.assertEq(rollup.queueProven(), 0);
        vm.assertEq(rollup.stateRoot(), vm.parseJsonBytes32(json(), path(1, "oldRoot")));
    }

    function test_one_by_one() public {
        for (uint256 number = 1; number <= BATCHES; ++number) {
            commit(commitOf(number));
            vm.expectEmit(address(rollup));
            emit ILedger.Proven(number, newRoot(number));
            proveFixtures(number, number);
            requireProven(number);
        }
    }

    function test_several_in_a_call() public {
        commitFixtures(1, BATCHES);
        proveFixtures(1, 2);
        requireProven(2);
        proveFixtures(3, 5);
        requireProven(5);
        proveFixtures(6, BATCHES);
        requireProven(BATCHES);
    }

    function test_all_in_one_call() public {
        commitFixtures(1, BATCHES);
        proveFixtures(1, BATCHES);
        requireProven(BATCHES);
    }

    function test_batches_proven_already_are_skipped() public {
        commitFixtures(1, BATCHES);
        proveFixtures(1, 3);
        proveFixtures(2, 5);
        requireProven(5);
        proveFixtures(1, 6);
        requireProven(6);
    }

    function test_anybody_may_prove() public {
        commitFixtures(1, 1);
        vm.prank(BOB, BOB);
        rollup.prove(oldCommitments(1), proofsOf(1, 1));
        requireProven(1);
    }

    function test_waiting_for_a_proof_is_timed_from_the_last_progress() public {
        vm.assertEq(rollup.pendingSince(), 0);
        vm.warp(1_000);
        commitFixtures(1, 1);
        vm.warp(2_000);
        commitFixtures(2, 2);
        vm.assertEq(rollup.pendingSince(), 1_000);
        vm.warp(3_000);
        proveFixtures(1, 1);
        vm.assertEq(rollup.pendingSince(), 3_000);
        proveFixtures(2, 2);
        vm.assertEq(rollup.pendingSince(), 0);
    }

    function test_withdrawals_are_credited_and_claimed_to_the_wei() public {
        commitFixtures(1, BATCHES);
        proveFixtures(1, BATCHES);
        vm.expectEmit(address(rollup));
        emit ILedger.Credited(ALICE, NATIVE, 0.25 ether, 2, 0);
        settleFixture(2, 0, 1);
        settleFixture(4, 1, 1);
        settleFixture(4, 0, 2);
        vm.assertTrue(rollup.settled(4, 0) && rollup.settled(4, 1));
        vm.assertEq(rollup.claimable(NATIVE, ALICE), 0.25 ether);
        vm.assertEq(rollup.claimable(NATIVE, BOB), 1 ether);
        vm.assertEq(rollup.claimable(TOKEN, ALICE), 250 ether);

        vm.expectEmit(address(rollup));
        emit ILedger.Claimed(ALICE, NATIVE, 0.25 ether, address(0xcafe));
        claim(ALICE, NATIVE, address(0xcafe));
        claim(BOB, NATIVE, BOB);
        claim(ALICE, TOKEN, address(0xcafe));
        vm.assertEq(address(0xcafe).balance, 0.25 ether);
        vm.assertEq(BOB.balance, 1 ether);
        vm.assertEq(token.balanceOf(address(0xcafe)), 250 ether);
        vm.assertEq(rollup.escrow(NATIVE), 18.75 ether);
        vm.assertEq(rollup.escrow(TOKEN), 750 ether);
        vm.assertEq(token.balanceOf(address(rollup)), 750 ether);
        vm.assertEq(rollup.claimable(NATIVE, ALICE) + rollup.claimable(NATIVE, BOB) + rollup.claimable(TOKEN, ALICE), 0);
    }

    function test_queue_fees_are_earned_by_proofs() public {
        vm.assertEq(rollup.feesEarned(), LISTING_FEE);
        commitFixtures(1, BATCHES);
        vm.assertEq(rollup.feesEarned(), LISTING_FEE);
        proveFixtures(1, 2);
        vm.assertEq(rollup.feesEarned(), LISTING_FEE + 4 * QUEUE_FEE);
        vm.prank(OPERATOR);
        rollup.claimFees(address(0xfee));
        proveFixtures(3, BATCHES);
        vm.assertEq(address(0xfee).balance, LISTING_FEE + 4 * QUEUE_FEE);
        vm.assertEq(rollup.feesEarned(), 2 * QUEUE_FEE);
        vm.assertEq(address(rollup).balance, 20 ether + 2 * QUEUE_FEE);
        vm.prank(OPERATOR);
        rollup.claimFees(address(0xfee));
        vm.assertEq(address(0xfee).balance, LISTING_FEE + ENTRIES * QUEUE_FEE);
        vm.assertEq(rollup.feesEarned(), 0);
        vm.assertEq(address(rollup).balance, 20 ether);
    }

    function claim(address account, uint16 token_, address to) private {
        vm.prank(account);
        rollup.claim(token_, to);
    }

    function requireProven(uint256 number) private view {
        vm.assertEq(rollup.proven(), number);
        vm.assertEq(rollup.stateRoot(), newRoot(number));
        vm.assertEq(rollup.queueProven(), number < 3 ? 2 * number : ENTRIES);
    }
}
