// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Bn254} from "../libraries/Bn254.sol";
import {Challenges} from "../libraries/Challenges.sol";
import {Counters} from "../libraries/Counters.sol";
import {Keys} from "../libraries/Keys.sol";
import {Kzg} from "../libraries/Kzg.sol";
import {Operations} from "../libraries/Operations.sol";
import {Ledger} from "./Ledger.sol";

/// @title What becomes claimable, by anybody's call: items and refunds of proven batches, and after a freeze everything else
abstract contract Exodus is Ledger {
    using Counters for uint256;

    /// A slot's dyn is balance + 2^128 nonce + 2^168 token.
    uint256 private constant DYN_CAP = 1 << 184;
    uint256 private constant TOKEN_SHIFT = 168;

    function settle(Record calldata record, uint256[] calldata choices, uint256[] calldata words, uint256 first, uint256 count)
        external
        nonReentrant
    {
        uint256 number = requireProven(record, choices, words);
        Operations.Counts memory counts = Operations.countOf(choices, words.length);
        uint256 items = counts.withdrawals + counts.exits;
        if (first > items || count > items - first) revert ItemOutOfRange(first, items);
        bool any;
        for (uint256 item = first; item < first + count; ++item) {
            if (!mark(settledBits[number], item)) continue;
            any = true;
            (address to, uint16 token, uint256 amount) = Operations.payout(counts, words, item);
            // neither do unused slots pay anything, nor requests by others than the owner
            if (amount == 0) continue;
            claimable[token][to] += amount;
            emit Credited(to, token, amount, number, item);
        }
        if (!any) revert NothingToSettle();
    }

    function settleRefunds(
        Record calldata record,
        uint256[] calldata choices,
        uint256[] calldata words,
        uint256 lastEntry,
        uint256 first,
        QueueEntry[] calldata entries
    ) external nonReentrant {
        requireProven(record, choices, words);
        // no two entries have the same digest: this is the batch's last one
        if (queueDigest[lastEntry] != record.header.queueDigest) revert QueueMismatch();
        uint256 start = lastEntry + 1 - choices.length;
        if (first < start || first > lastEntry || entries.length > lastEntry + 1 - first) revert EntryOutOfRange(first, start, lastEntry);
        requireQueued(first - 1, entries);
        bool any;
        for (uint256 i; i < entries.length; ++i) {
            if (!Operations.isRefund(choices[first - start + i])) continue;
            (bool fresh,) = giveBack(first + i, entries[i]);
            if (fresh) any = true;
        }
        if (!any) revert NothingToRefund();
    }

    function freeze() external nonReentrant {
        Counters.Values memory at = live();
        uint256 entryDue = queueDeadline[at.queueProven + 1];
        uint256 proofDue = at.committed > at.proven ? at.pendingSince + proveTimeout : 0;
        bool overdue = (entryDue != 0 && block.timestamp > entryDue) || (proofDue != 0 && block.timestamp > proofDue);
        if (!overdue) revert NothingOverdue(entryDue, proofDue);
        counters = counters.freeze();
        emit Frozen(at.proven, stateRoot);
    }

    function exit(uint256 idx, uint256 dyn, address owner, uint256[6] calldata commitments, uint256[2] calldata opening) external nonReentrant {
        if (!counters.isFrozen()) revert NotFrozen();
        if (idx == 0 || idx >> k != 0) revert SlotOutOfRange(idx);
        uint16 token = uint16(dyn >> TOKEN_SHIFT);
        if (dyn >= DYN_CAP || token == 0) revert DynOutOfRange(dyn);
        if (owner == address(0)) revert OwnerIsZero();
        requirePoint(0, Point.Opening, opening);
        bytes32 root = stateRoot;
        if (Challenges.stateRoot(k, commitments) != root) revert OldCommitmentsMismatch();
        if (!mark(exitedBits, idx)) revert AlreadyExited(idx);
        uint256 g = Challenges.exit(root, idx, dyn, owner);
        uint256 value = addmod(dyn, mulmod(g, uint160(owner), Bn254.R), Bn254.R);
        if (!Kzg.opensSlot(commitments, idx, value, g, opening, Keys.readShared(keys, k))) revert OpeningInvalid();
        claimable[token][owner] += uint128(dyn);
        emit Exited(idx, owner, token, uint128(dyn));
    }

    function refund(uint256 first, QueueEntry[] calldata entries) external nonReentrant {
        Counters.Values memory at = counters.unpack();
        if (!counters.isFrozen()) revert NotFrozen();
        if (first <= at.queueProven) revert EntryOutOfRange(first, at.queueProven + 1, at.queued);
        requireQueued(first - 1, entries);
        uint256 count;
        for (uint256 i; i < entries.length; ++i) {
            (bool fresh, address sender) = giveBack(first + i, entries[i]);
            if (!fresh) continue;
            ++count;
            claimable[NATIVE][sender] += queueFee;
        }
        if (count == 0) revert NothingToRefund();
        escrow[NATIVE] += count * queueFee;
    }

    // ---- internals ----

    /// Gives a queued entry back to who sent it, once; a request holds no coins but its fee.
    function giveBack(uint256 index, QueueEntry calldata entry) private returns (bool fresh, address sender) {
        sender = entry.sender;
        fresh = mark(refundedBits, index);
        if (!fresh) return (false, sender);
        (uint16 token, uint256 amount) = (entry.token, entry.amount);
        if (amount != 0) claimable[token][sender] += amount;
        emit Refunded(index, sender, token, amount);
    }
}
