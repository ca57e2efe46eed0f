// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Bn254} from "./Bn254.sol";
import {ILedger} from "../ILedger.sol";

/// @title Everything the protocol hashes on L1
/// @dev Order is security: data, h and the new commitments come before rho; the quotient before zeta; the claims before gamma.
/// Every challenge is below 2^248, hence below r. Words are hashed where memory past the free pointer ends, which may be used as scratch.
library Challenges {
    uint256 private constant TOP_BYTE_CLEARED = (1 << 248) - 1;

    /// @notice H("sheaf.v1", chain id, contract).
    function domain(uint256 chainId, address rollup) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(bytes32("sheaf.v1"), chainId, rollup))) & TOP_BYTE_CLEARED;
    }

    /// @notice keccak256 of k and the six coordinates.
    function stateRoot(uint256 k, uint256[6] calldata commitments) internal pure returns (bytes32) {
        bytes32 hash;
        assembly ("memory-safe") {
            let scratch := mload(0x40)
            mstore(scratch, k)
            calldatacopy(add(scratch, 0x20), commitments, 0xc0)
            hash := keccak256(scratch, 0xe0)
        }
        return hash;
    }

    /// @notice keccak256 of the seven words of an entry.
    function entryHash(ILedger.QueueEntry memory entry) internal pure returns (bytes32) {
        return keccak256(abi.encode(entry));
    }

    /// @notice The same of an entry in calldata, where its words lie in one piece. Nothing that was queued hashes like a word beyond its type's range.
    function sentEntryHash(ILedger.QueueEntry calldata entry) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            // memory past the free pointer may be used as scratch
            let scratch := mload(0x40)
            calldatacopy(scratch, entry, 0xe0)
            hash := keccak256(scratch, 0xe0)
        }
    }

    /// @notice The digest after an entry.
    function queueDigest(bytes32 before, bytes32 hash) internal pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            mstore(0, before)
            mstore(0x20, hash)
            digest := keccak256(0, 0x40)
        }
    }

    /// @notice H("rho", domain, header hash).
    function rho(uint256 domain_, bytes32 header) internal pure returns (uint256) {
        bytes32 hash;
        assembly ("memory-safe") {
            let scratch := mload(0x40)
            mstore(scratch, "rho")
            mstore(add(scratch, 0x20), domain_)
            mstore(add(scratch, 0x40), header)
            hash := keccak256(scratch, 0x60)
        }
        return uint256(hash) & TOP_BYTE_CLEARED;
    }

    /// @notice H("zeta", rho, C_q).
    function zeta(uint256 rho_, uint256[2] calldata cq) internal pure returns (uint256) {
        bytes32 hash;
        assembly ("memory-safe") {
            let scratch := mload(0x40)
            mstore(scratch, "zeta")
            mstore(add(scratch, 0x20), rho_)
            calldatacopy(add(scratch, 0x40), cq, 0x40)
            hash := keccak256(scratch, 0x80)
        }
        return uint256(hash) & TOP_BYTE_CLEARED;
    }

    /// @notice H("gamma", zeta, E, Z, Delta, y_da, y_ops).
    function gamma(uint256 zeta_, ILedger.BatchProof calldata batch) internal pure returns (uint256) {
        bytes32 hash;
        assembly ("memory-safe") {
            let scratch := mload(0x40)
            mstore(scratch, "gamma")
            mstore(add(scratch, 0x20), zeta_)
            // the claims are words 26 to 28 of a proof, the evaluations words 16 and 17
            calldatacopy(add(scratch, 0x40), add(batch, 0x340), 0x60)
            calldatacopy(add(scratch, 0xa0), add(batch, 0x200), 0x40)
            hash := keccak256(scratch, 0xe0)
        }
        return uint256(hash) & TOP_BYTE_CLEARED;
    }

    /// @notice H("exit", root, idx, dyn, owner).
    function exit(bytes32 root, uint256 idx, uint256 dyn, address owner) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(bytes32("exit"), root, idx, dyn, owner))) & TOP_BYTE_CLEARED;
    }

    /// @notice keccak256 of a run of proofs, which hold only static types and so lie in one piece in calldata: what the weights depend on.
    /// @dev Nothing else is checked that anybody could choose: the first record names the root, and so the commitments, that the run starts from.
    function seed(ILedger.BatchProof[] calldata batches, uint256 first) internal pure returns (uint256 hash) {
        assembly ("memory-safe") {
            let scratch := mload(0x40)
            let length := mul(sub(batches.length, first), 0x3e0)
            calldatacopy(scratch, add(batches.offset, mul(first, 0x3e0)), length)
            hash := keccak256(scratch, length)
        }
    }

    /// @notice Two odd 128-bit weights for the equations of a batch: of its proof, of its opening. `seed_` depends on everything that is checked.
    function weights(uint256 seed_, uint256 index) internal pure returns (uint256 proof, uint256 opening) {
        uint256 hash;
        assembly ("memory-safe") {
            mstore(0, seed_)
            mstore(0x20, index)
            hash := keccak256(0, 0x40)
        }
        return (hash >> 128 | 1, hash & type(uint128).max | 1);
    }

    /// @notice The words of a batch's record as they are known before zeta: the header's 14, then C_q; the two evaluations are 0.
    function newRecord(ILedger.Commit calldata batch, bytes32 opsHash, bytes calldata data) internal pure returns (uint256[18] memory record) {
        assembly ("memory-safe") {
            // number, circuit, oldRoot, commitments and h lie one behind the other, in the commit as in the record, and C_q right behind them in the commit
            calldatacopy(record, batch, 0x140)
            calldatacopy(add(record, 0x1c0), add(batch, 0x140), 0x40)
        }
        (record[10], record[11]) = (uint256(batch.queueDigest), batch.taken.length);
        (record[12], record[13]) = (uint256(opsHash), uint256(keccak256(data)));
    }

    /// @notice keccak256 of the header's 14 words and of the record's 18, which is what is stored. A record holds only static types and so lies in one piece
    /// in calldata.
    function hashes(ILedger.Record calldata batch) internal pure returns (bytes32 header, bytes32 record) {
        assembly ("memory-safe") {
            let scratch := mload(0x40)
            calldatacopy(scratch, batch, 0x240)
            header := keccak256(scratch, 0x1c0)
            record := keccak256(scratch, 0x240)
        }
    }

    /// @notice keccak256 of the record's 18 words: what is stored.
    function recordHash(ILedger.Record calldata batch) internal pure returns (bytes32 record) {
        (, record) = hashes(batch);
    }

    /// @notice keccak256 of the first words of a record.
    function hashWords(uint256[18] memory record, uint256 count) internal pure returns (bytes32 out) {
        assembly ("memory-safe") {
            out := keccak256(record, mul(count, 0x20))
        }
    }
}
