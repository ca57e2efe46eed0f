// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../IRollup.sol";
import {Bn254} from "../libraries/Bn254.sol";
import {Challenges} from "../libraries/Challenges.sol";
import {Counters} from "../libraries/Counters.sol";
import {Groth16} from "../libraries/Groth16.sol";
import {Keys} from "../libraries/Keys.sol";
import {Kzg} from "../libraries/Kzg.sol";
import {Ledger} from "./Ledger.sol";

/// @title Proofs of committed batches, by anybody
abstract contract Prover is Ledger, IRollup {
    using Counters for Counters.Values;

    /// What one call of `prove` gathers.
    struct Proving {
        Counters.Values at;
        bytes32 root;
        uint256 seed;
        /// 1 less the weights of the proofs so far: the weight of the last one.
        uint256 left;
        Bn254.Pairs pairs;
        Groth16.Sum[] circuits;
        Kzg.Sum kzg;
        /// Of the batch that is being added.
        Kzg.Challenge challenge;
    }

    function prove(uint256[6] calldata oldCommitments, BatchProof[] calldata batches) external nonReentrant {
        Counters.Values memory at = live();
        if (!proveNext(at, oldCommitments, batches)) revert NothingToProve();
        counters = at.pack();
    }

    // ---- internals ----

    /// Place of the first batch that is not proven yet.
    function firstUnproven(BatchProof[] calldata batches, uint256 proven_) private pure returns (uint256 first) {
        while (first < batches.length && batches[first].record.header.number <= proven_) ++first;
    }

    /// Proves those batches of a list that are not proven yet, which `at` must count as committed, and counts them there; the caller stores `at`. False if
    /// there are none.
    function proveNext(Counters.Values memory at, uint256[6] calldata oldCommitments, BatchProof[] calldata batches) internal returns (bool) {
        uint256 first = firstUnproven(batches, at.proven);
        if (first == batches.length) return false;
        uint256[6] calldata before = first == 0 ? oldCommitments : batches[first - 1].record.header.commitments;
        Proving memory p;
        p.at = at;
        p.root = stateRoot;
        if (Challenges.stateRoot(k, before) != p.root) revert OldCommitmentsMismatch();
        p.seed = Challenges.seed(batches, first);
        p.left = 1;
        p.pairs = Bn254.newPairs(batches.length - first + circuitCount + 3);
        p.circuits = new Groth16.Sum[](circuitCount);
        for (uint256 end = batches.length; first < end;) {
            BatchProof calldata batch = batches[first];
            unchecked {
                ++first;
            }
            addBatch(p, before, batch, first == end);
            before = batch.record.header.commitments;
        }
        if (!holds(p, before)) revert ProofInvalid();

        stateRoot = p.root;
        at.pendingSince = at.proven == at.committed ? 0 : block.timestamp;
        return true;
    }

    /// Returns the hash of the batch's header.
    function checkBatch(Proving memory p, BatchProof calldata batch, uint256 expected, uint256 last) private view returns (bytes32) {
        uint256 number = batch.record.header.number;
        if (number != expected) revert WrongNumber(number, expected);
        if (number > last) revert NotCommitted(number);
        (bytes32 header, bytes32 record) = Challenges.hashes(batch.record);
        if (record != batchHash[number]) revert RecordMismatch(number);
        if (batch.record.header.oldRoot != p.root) revert OldRootMismatch(number);
        if (batch.e >= Bn254.R) revert PublicInputOutOfRange(batch.e);
        if (batch.z >= Bn254.R) revert PublicInputOutOfRange(batch.z);
        if (batch.delta >= Bn254.R) revert PublicInputOutOfRange(batch.delta);
        requirePoint(number, Point.A, Groth16.pointA(batch.groth16));
        requirePoint(number, Point.C, Groth16.pointC(batch.groth16));
        requirePoint(number, Point.Opening, batch.opening);
        return header;
    }

    /// The weights (a_i, b_i) of a batch are those of its place, but the last a_i is what makes the sum of all of them 1.
    /// Nothing is checked that cannot overflow: counters have 40 bits, and what a batch took was counted when it was committed.
    function addBatch(Proving memory p, uint256[6] calldata before, BatchProof calldata batch, bool last) private {
        unchecked {
            Kzg.Challenge memory challenge = p.challenge;
            uint256 number = p.at.proven + 1;
            setChallenge(challenge, checkBatch(p, batch, number, p.at.committed), batch);
            // every batch pushes one pair
            (uint256 proof, uint256 opening) = Challenges.weights(p.seed, p.pairs.count);
            if (last) proof = p.left;
            else p.left = addmod(p.left, Bn254.R - proof, Bn254.R);
            Groth16.add(p.circuits[batch.record.header.circuit - 1], p.pairs, batch, challenge.rho, challenge.zeta, proof);
            Kzg.add(p.kzg, before, batch, challenge, opening);
            p.at.proven = number;
            p.at.queueProven += batch.record.header.taken;
            bytes32 root = Challenges.stateRoot(k, batch.record.header.commitments);
            p.root = root;
            emit Proven(number, root);
        }
    }

    function setChallenge(Kzg.Challenge memory challenge, bytes32 header, BatchProof calldata batch) private view {
        challenge.rho = Challenges.rho(domain, header);
        challenge.zeta = Challenges.zeta(challenge.rho, batch.record.cq);
        challenge.gamma = Challenges.gamma(challenge.zeta, batch);
    }

    /// The one pairing check; `last` are the commitments after the last batch.
    function holds(Proving memory p, uint256[6] calldata last) private view returns (bool) {
        uint256[12] memory shared = Keys.readShared(keys, k);
        for (uint256 c; c < p.circuits.length; ++c) {
            if (p.circuits[c].used) Groth16.close(p.circuits[c], p.pairs, p.kzg.g2, Keys.readCircuit(keys, c + 1));
        }
        // once, whatever the number of proofs: their weights add up to 1
        Bn254.push(p.pairs, shared[0], shared[1], shared[2], shared[3], shared[4], shared[5]);
        Kzg.close(p.kzg, p.pairs, last, shared);
        Bn254.push(p.pairs, p.kzg.g2.x, p.kzg.g2.y, Bn254.G2_X1, Bn254.G2_X0, Bn254.G2_Y1, Bn254.G2_Y0);
        return Bn254.productIsOne(p.pairs);
    }
}
