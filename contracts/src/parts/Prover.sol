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
        // every proof, opening and record lies in this calldata, whichever function was called; so the weights depend on all of them
        p.seed = uint256(keccak256(msg.data));
        p.pairs = Bn254.newPairs(batches.length - first + circuitCount + 3);
        p.circuits = new Groth16.Sum[](circuitCount);
        for (; first < batches.length; ++first) {
            BatchProof calldata batch = batches[first];
            addBatch(p, before, batch);
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
        uint256[18] memory record = Challenges.words(batch.record);
        if (Challenges.hashWords(record, 18) != batchHash[number]) revert RecordMismatch(number);
        if (batch.record.header.oldRoot != p.root) revert OldRootMismatch(number);
        if (batch.e >= Bn254.R) revert PublicInputOutOfRange(batch.e);
        if (batch.z >= Bn254.R) revert PublicInputOutOfRange(batch.z);
        if (batch.delta >= Bn254.R) revert PublicInputOutOfRange(batch.delta);
        requirePoint(number, Point.A, batch.groth16[0], batch.groth16[1]);
        requirePoint(number, Point.C, batch.groth16[6], batch.groth16[7]);
        requirePoint(number, Point.Opening, batch.opening[0], batch.opening[1]);
        return Challenges.hashWords(record, 14);
    }

    /// Weights of the i-th batch of the call: a_i = weight(2i), a_1 = 1; b_i = weight(2i + 1).
    function addBatch(Proving memory p, uint256[6] calldata before, BatchProof calldata batch) private {
        // every batch pushes one pair
        uint256 i = p.pairs.count;
        setChallenge(p.challenge, checkBatch(p, batch, ++p.at.proven, p.at.committed), batch);
        uint256[8] memory inputs =
            [p.challenge.rho, p.challenge.zeta, batch.record.header.h, batch.e, batch.z, batch.delta, batch.record.yDa, batch.record.yOps];
        uint256 weight = i == 0 ? 1 : Challenges.weight(p.seed, 2 * i);
        Groth16.add(p.circuits[batch.record.header.circuit - 1], p.pairs, batch.groth16, inputs, weight);
        Kzg.add(p.kzg, before, batch, p.challenge, Challenges.weight(p.seed, 2 * i + 1));
        p.at.queueProven += batch.record.header.taken;
        p.root = Challenges.stateRoot(k, batch.record.header.commitments);
        emit Proven(p.at.proven, p.root);
    }

    function setChallenge(Kzg.Challenge memory challenge, bytes32 header, BatchProof calldata batch) private view {
        challenge.rho = Challenges.rho(domain, header);
        challenge.zeta = Challenges.zeta(challenge.rho, batch.record.cq);
        challenge.gamma = Challenges.gamma(challenge.zeta, batch);
    }

    /// The one pairing check; `last` are the commitments after the last batch.
    function holds(Proving memory p, uint256[6] calldata last) private view returns (bool) {
        Keys.Shared memory shared = Keys.readShared(keys, k);
        uint256 weights;
        for (uint256 c; c < p.circuits.length; ++c) {
            if (!p.circuits[c].used) continue;
            weights = addmod(weights, p.circuits[c].scalars[0], Bn254.R);
            Groth16.close(p.circuits[c], p.pairs, p.kzg.g2, Keys.readCircuit(keys, c + 1));
        }
        Bn254.Sum memory alphas;
        Bn254.addMul(alphas, shared.alpha[0], shared.alpha[1], weights);
        Bn254.push(p.pairs, alphas.x, alphas.y, shared.beta[0], shared.beta[1], shared.beta[2], shared.beta[3]);
        Kzg.close(p.kzg, p.pairs, last, shared.l0, shared.tau);
        Bn254.push(p.pairs, p.kzg.g2.x, p.kzg.g2.y, Bn254.G2_X1, Bn254.G2_X0, Bn254.G2_Y1, Bn254.G2_Y0);
        return Bn254.productIsOne(p.pairs);
    }
}
