// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Challenges} from "../libraries/Challenges.sol";
import {Counters} from "../libraries/Counters.sol";
import {Ledger} from "./Ledger.sol";

/// @title The end of the L1 queue that entries join
abstract contract Queue is Ledger {
    using Counters for Counters.Values;

    /// Deadlines of entries that wait and lie `queueRate` apart differ by at least this.
    uint256 private constant QUEUE_PERIOD = 1 hours;

    function enqueue(QueueEntry memory entry) internal returns (uint256 index) {
        Counters.Values memory at = live();
        index = ++at.queued;
        counters = at.pack();
        queueDigest[index] = Challenges.queueDigest(queueDigest[index - 1], Challenges.entryHash(entry));
        queueDeadline[index] = deadline(index, at.queueProven);
        emit Queued(index, entry.kind, entry.sender, entry.token, entry.amount, entry.idx, entry.owner, entry.key);
    }

    /// Never so early that one batch an hour could not serve what waits before it. What a proven batch took moves nothing back, however much it was.
    function deadline(uint256 index, uint256 served) private view returns (uint256 time) {
        time = block.timestamp + forceTimeout;
        if (index <= served + queueRate) return time;
        uint256 spaced = queueDeadline[index - queueRate] + QUEUE_PERIOD;
        if (spaced > time) time = spaced;
    }
}
