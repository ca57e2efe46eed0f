// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// @title What commits, proofs and deposits count, in one storage slot
/// @dev Packed by hand: the compiler writes such a struct field by field. 2^40 entries or batches, each paid for with gas, are out of reach, and so is
/// 2^39 as a time. From the lowest bit: committed | proven, 40 bits each | pendingSince, 39 bits | frozen, 1 bit | queued | queueCommitted | queueProven, 40
/// bits each | lastToken, 16 bits. Whoever reads the counters so learns for nothing whether the contract is frozen.
library Counters {
    struct Values {
        /// Last batch committed, last batch proven.
        uint256 committed;
        uint256 proven;
        /// Time since which a committed batch waits for its proof, or 0.
        uint256 pendingSince;
        /// Last entry of the queue; last one in a committed, in a proven batch.
        uint256 queued;
        uint256 queueCommitted;
        uint256 queueProven;
        /// Last number given to a token.
        uint256 lastToken;
    }

    uint256 private constant MASK = (1 << 40) - 1;
    uint256 private constant TIME_MASK = (1 << 39) - 1;
    uint256 private constant FROZEN = 1 << 119;

    /// @notice True for ever once the operator was late.
    function isFrozen(uint256 slot) internal pure returns (bool) {
        return slot & FROZEN != 0;
    }

    function freeze(uint256 slot) internal pure returns (uint256) {
        return slot | FROZEN;
    }

    function unpack(uint256 slot) internal pure returns (Values memory values) {
        values.committed = slot & MASK;
        values.proven = slot >> 40 & MASK;
        values.pendingSince = slot >> 80 & TIME_MASK;
        values.queued = slot >> 120 & MASK;
        values.queueCommitted = slot >> 160 & MASK;
        values.queueProven = slot >> 200 & MASK;
        values.lastToken = slot >> 240;
    }

    /// @dev Not frozen: a frozen contract counts no further.
    function pack(Values memory values) internal pure returns (uint256) {
        uint256 batches = values.committed | values.proven << 40 | values.pendingSince << 80;
        uint256 queue = values.queued | values.queueCommitted << 40 | values.queueProven << 80;
        return batches | queue << 120 | values.lastToken << 240;
    }
}
