// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Challenges} from "../libraries/Challenges.sol";
import {Counters} from "../libraries/Counters.sol";
import {Ledger} from "./Ledger.sol";

/// @title The end of the L1 queue that entries join
abstract contract Queue is Ledger {
    using Counters for Counters.Values;

    /// Deadlines of entries that lie `queueRate` apart differ by at least this.
    uint256 private constant QUEUE_PERIOD = 1 hours;

    function enqueue(QueueEntry memory entry) internal returns (uint256 index) {
        Counters.Values memory at = live();
        index = ++at.queued;
        counters = at.pack();
        queueDigest[index] = Challenges.queueDigest(queueDigest[index - 1], Challenges.entryHash(entry));
        queueDeadline[index] = deadline(index);
        emit Queued(index, entry.kind, entry.sender, entry.token, entry.amount, entry.idx, entry.owner, entry.key);
    }

    /// Never so early that one batch an hour could not serve what is queued before it.
    function deadline(uint256 index) private view returns (uint256 time) {
        time = block.timestamp + forceTimeout;
        uint256 spaced = index > queueRate ? queueDeadline[index - queueRate] + QUEUE_PERIOD : 0;
        if (spaced > time) time = spaced;
    }
}
