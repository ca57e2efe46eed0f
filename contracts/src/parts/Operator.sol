// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../IRollup.sol";
import {Bn254} from "../libraries/Bn254.sol";
import {Challenges} from "../libraries/Challenges.sol";
import {Counters} from "../libraries/Counters.sol";
import {Kzg} from "../libraries/Kzg.sol";
import {Operations} from "../libraries/Operations.sol";
import {Words} from "../libraries/Words.sol";
import {Ledger} from "./Ledger.sol";

/// @title What the operator alone does: commit
abstract contract Operator is Ledger, IRollup {
    using Counters for Counters.Values;

    function commit(Commit calldata batch) external nonReentrant {
        Counters.Values memory at = live();
        commitNext(at, batch);
        counters = at.pack();
    }

    // ---- internals ----

    /// Commits the batch after the last one that `at` counts, and counts it there; the caller stores `at`.
    function commitNext(Counters.Values memory at, Commit calldata batch) internal {
        if (msg.sender != operator) revert NotOperator();
        if (msg.sender != tx.origin || msg.sender.code.length != 0) revert NotOutermostCall();
        uint256 number = ++at.committed;
        if (batch.number != number) revert WrongNumber(batch.number, number);
        if (batch.circuit == 0 || batch.circuit > circuitCount) revert UnknownCircuit(batch.circuit);
        requirePoints(batch);
        if (batch.h >= Bn254.R) revert PublicInputOutOfRange(batch.h);
        takeEntries(at, batch);
        (bytes32 hash, bytes32 root) = (recordHash(batch, at.lastToken), Challenges.stateRoot(k, batch.commitments));
        batchHash[number] = hash;
        if (at.pendingSince == 0) at.pendingSince = block.timestamp;
        emit Committed(number, batch.circuit, hash, root);
    }

    function requirePoints(Commit calldata batch) private pure {
        requirePoint(batch.number, Point.Key, Kzg.commitment(batch.commitments, 0));
        requirePoint(batch.number, Point.Dyn, Kzg.commitment(batch.commitments, 1));
        requirePoint(batch.number, Point.Owner, Kzg.commitment(batch.commitments, 2));
        requirePoint(batch.number, Point.Quotient, batch.cq);
    }

    /// The entries must be the next ones of the queue.
    function takeEntries(Counters.Values memory at, Commit calldata batch) private view {
        bytes32 digest;
        (at.queueCommitted, digest) = requireQueued(at.queueCommitted, batch.taken);
        if (digest != batch.queueDigest) revert QueueMismatch();
    }

    /// What is stored of a batch: its header, C_q and the two evaluations at zeta, which depends on both.
    function recordHash(Commit calldata batch, uint256 lastToken) private view returns (bytes32) {
        uint256 shape = shapeOf(batch.circuit);
        (uint256[] memory words, Operations.Counts memory counts) = Operations.build(batch, shape, k);
        bytes calldata data = batch.data;
        uint256[18] memory record = Challenges.newRecord(batch, Operations.hash(batch.choices, words), data);
        uint256 zeta = Challenges.zeta(Challenges.rho(domain, Challenges.hashWords(record, 14)), batch.cq);
        record[16] = Words.posted(data, shape, lastToken, zeta);
        record[17] = Words.built(words, counts, shape, zeta);
        return Challenges.hashWords(record, 18);
    }
}
