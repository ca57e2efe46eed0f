// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../../src/IRollup.sol";
import {Operations} from "../../src/libraries/Operations.sol";
import {Fixture} from "./Fixture.sol";
import {Harness} from "./Harness.sol";

/// @title Commits that are honest but for one value, and the record that L1 stores of them
/// @dev A forged commit is stored like any other; its prover then sends the record that L1 stored, so that every hash fits and only the pairing decides.
abstract contract Forger is Fixture {
    /// Enough for any proof; a precompile that gets a bad point burns all of it.
    uint256 internal constant PROVE_GAS = 5_000_000;

    Harness internal harness;

    error Undone();

    function setUp() public virtual {
        deployWithQueue();
        harness = newHarness();
    }

    /// @dev Everything before the batch proven, once; returns its honest commit.
    function reach(uint256 number) internal returns (ILedger.Commit memory) {
        if (rollup.committed() < number - 1) {
            commitFixtures(1, number - 1);
            proveFixtures(1, number - 1);
        }
        return commitOf(number);
    }

    /// @dev Commits in a call that is undone, so that a test can go on with the next forgery.
    function refusesForged(uint256 number, ILedger.Commit memory batch) internal {
        refusesForged(number, batch, proofOf(number));
    }

    function refusesForged(uint256 number, ILedger.Commit memory batch, ILedger.BatchProof memory proof) internal {
        try this.attempt(number, batch, proof) {}
        catch (bytes memory reason) {
            vm.assertEq(reason, abi.encodeWithSelector(Undone.selector), "the pairing must refuse, and nothing before it");
        }
    }

    function attempt(uint256 number, ILedger.Commit memory batch, ILedger.BatchProof memory proof) external {
        ILedger.BatchProof[] memory proofs = new ILedger.BatchProof[](1);
        proofs[0] = commitForged(number, batch, proof);
        uint256[6] memory old = oldCommitments(number);
        try rollup.prove{gas: PROVE_GAS}(old, proofs) {
            vm.assertTrue(false);
        } catch (bytes memory reason) {
            vm.assertEq(reason, abi.encodeWithSelector(ILedger.ProofInvalid.selector), "refused by another check");
        }
        revert Undone();
    }

    /// @dev Commits and returns the proof with the record that L1 stored.
    function commitForged(uint256 number, ILedger.Commit memory batch, ILedger.BatchProof memory proof) internal returns (ILedger.BatchProof memory) {
        ILedger.Record memory record = proof.record;
        ILedger.Header memory header = record.header;
        header.circuit = batch.circuit;
        header.oldRoot = batch.oldRoot;
        header.commitments = batch.commitments;
        header.h = batch.h;
        header.queueDigest = batch.queueDigest;
        header.taken = batch.taken.length;
        header.dataHash = keccak256(batch.data);
        ILedger.Shape memory shape = params().circuits[batch.circuit - 1].shape;
        (uint256[] memory words, Operations.Counts memory counts) = harness.build(batch, shape, rollup.k());
        header.opsHash = keccak256(abi.encode(batch.choices, words));
        record.cq = batch.cq;
        uint256 zeta = harness.zeta(harness.rho(rollup.domain(), harness.headerHash(record)), batch.cq);
        record.yDa = harness.posted(batch.data, shape, rollup.lastToken(), zeta);
        record.yOps = harness.built(words, counts, shape, zeta);
        commit(batch);
        vm.assertEq(rollup.batchHash(number), harness.recordHash(record), "the forger must send what L1 stored");
        return proof;
    }
}
