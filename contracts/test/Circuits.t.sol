// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Forger} from "./support/Forger.sol";
import {Harness} from "./support/Harness.sol";

/// @title Two circuits side by side
/// @dev Batch 7 is of circuit 2, all others of circuit 1.
contract CircuitsTest is Forger {
    function test_each_batch_is_of_the_circuit_it_names() public view {
        for (uint256 number = 1; number <= BATCHES; ++number) {
            vm.assertEq(commitOf(number).circuit, number == 7 ? 2 : 1);
        }
    }

    function test_two_circuits_in_one_call() public {
        reach(6);
        commitFixtures(6, 8);
        proveFixtures(6, 8);
        vm.assertEq(rollup.proven(), 8);
        vm.assertEq(rollup.stateRoot(), newRoot(8));
    }

    function test_second_circuit_alone() public {
        reach(7);
        commitFixtures(7, 7);
        proveFixtures(7, 7);
        vm.assertEq(rollup.stateRoot(), newRoot(7));
    }

    /// @dev Everything about this batch is honest, and its proof is valid for circuit 1, but it names circuit 2.
    function test_batch_of_circuit_2_proven_with_circuit_1() public {
        commitFixtures(1, BATCHES);
        proveFixtures(1, BATCHES);
        ILedger.Commit memory batch = abi.decode(vm.parseJsonBytes(json(), ".foreign.abi.commit"), (ILedger.Commit));
        ILedger.BatchProof memory proof = abi.decode(vm.parseJsonBytes(json(), ".foreign.abi.proof"), (ILedger.BatchProof));
        vm.assertEq(batch.circuit, 2);
        refuses(batch, proof);
    }

    function refuses(ILedger.Commit memory batch, ILedger.BatchProof memory proof) private {
        commit(batch);
        vm.assertEq(rollup.batchHash(batch.number), harness.recordHash(proof.record));
        ILedger.BatchProof[] memory proofs = new ILedger.BatchProof[](1);
        proofs[0] = proof;
        uint256[6] memory old = proofOf(BATCHES).record.header.commitments;
        vm.expectRevert(abi.encodeWithSelector(ILedger.ProofInvalid.selector));
        rollup.prove{gas: PROVE_GAS}(old, proofs);
    }

    function test_commit_of_circuit_1_that_names_circuit_2() public {
        ILedger.Commit memory batch = reach(2);
        batch.circuit = 2;
        refusesForged(2, batch);
    }

    function test_commit_of_circuit_2_that_names_circuit_1() public {
        ILedger.Commit memory batch = reach(7);
        batch.circuit = 1;
        refusesForged(7, batch);
    }
}

/// @title A state of 2^17 slots
contract WideTest is Forger {
    function setUp() public override {
        harness = newHarness();
        deployFor("k17");
        enqueue(1);
        enqueue(2);
    }

    function test_slot_beyond_65536() public {
        vm.assertEq(rollup.k(), 17);
        vm.assertEq(rollup.stateRoot(), vm.parseJsonBytes32(json(), path(1, "oldRoot")));
        commitFixtures(1, 2);
        proveFixtures(1, 2);
        vm.assertEq(rollup.stateRoot(), newRoot(2));
        settleFixture(2, 0, 1);
        vm.assertEq(rollup.claimable(NATIVE, ALICE), 1 ether);
    }

    function test_slot_beyond_the_state() public {
        ILedger.Commit memory batch = commitOf(1);
        vm.assertEq(batch.choices[0], 100_000 << 8 | 1);
        batch.choices[0] = 1 << 25 | 1;
        vm.expectRevert(abi.encodeWithSelector(ILedger.SlotOutOfRange.selector, 1 << 17));
        commit(batch);
    }

    /// @dev The same keys and commitments for 2^18 slots: another root, another L_0.
    function test_proof_for_another_size() public {
        ILedger.Params memory p = params();
        p.k = 18;
        construct(address(rollup), p);
        ILedger.BatchProof memory proof = proofOf(1);
        ILedger.Commit memory batch = commitOf(1);
        batch.oldRoot = rollup.stateRoot();
        refusesForged(1, batch, proof);
    }
}
