// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Bn254} from "../libraries/Bn254.sol";
import {Challenges} from "../libraries/Challenges.sol";
import {Counters} from "../libraries/Counters.sol";
import {Operations} from "../libraries/Operations.sol";
import {Queue} from "./Queue.sol";

/// @title What is seldom done: requests, a new token, and by the operator reverts and taking fees
abstract contract Seldom is Queue {
    using Counters for Counters.Values;

    // ---- users ----

    function requestExit(uint256 idx) external payable nonReentrant {
        enqueueRequest(Operations.EXIT, idx, 0);
    }

    function requestRotation(uint256 idx, uint256 newKey) external payable nonReentrant {
        if (newKey == 0 || newKey >= Bn254.R) revert KeyOutOfRange(newKey);
        enqueueRequest(Operations.ROTATION, idx, newKey);
    }

    function listToken(address erc20) external payable nonReentrant returns (uint16 id) {
        if (msg.value != listingFee) revert WrongFee(msg.value, listingFee);
        if (erc20.code.length == 0) revert TokenHasNoCode(erc20);
        if (tokenId[erc20] != 0) revert TokenAlreadyListed(tokenId[erc20]);
        Counters.Values memory at = live();
        if (at.lastToken == type(uint16).max) revert TokenRegistryFull();
        id = uint16(++at.lastToken);
        counters = at.pack();
        tokenAddress[id] = erc20;
        tokenId[erc20] = id;
        emit TokenListed(id, erc20);
    }

    // ---- operator ----

    function revertTo(uint256 to, Record calldata record, uint256 lastEntry) external nonReentrant {
        if (msg.sender != operator) revert NotOperator();
        Counters.Values memory at = live();
        if (to < at.proven || to >= at.committed) revert RevertOutOfRange(to, at.proven, at.committed);
        for (; at.committed > to; --at.committed) {
            delete batchHash[at.committed];
        }
        bytes32 root = stateRoot;
        if (to == at.proven) {
            at.queueCommitted = at.queueProven;
        } else {
            if (Challenges.recordHash(record) != batchHash[to]) revert RecordMismatch(to);
            // no two entries have the same digest; those that do not exist yet have the one of the queue's start
            if (lastEntry > at.queueCommitted || queueDigest[lastEntry] != record.header.queueDigest) revert QueueMismatch();
            at.queueCommitted = lastEntry;
            root = Challenges.stateRoot(k, record.header.commitments);
        }
        counters = at.pack();
        emit Reverted(to, root);
    }

    function claimFees(address to) external nonReentrant {
        if (msg.sender != operator) revert NotOperator();
        if (to == address(0)) revert RecipientIsZero();
        uint256 amount = feesEarned();
        if (amount == 0) revert NothingToClaim();
        feesPaid += amount;
        emit FeesClaimed(amount, to);
        payNative(to, amount);
    }

    // ---- internals ----

    /// One open request of a kind for each slot and requester, so that nobody fills the queue with what is proven at once.
    function enqueueRequest(uint8 kind, uint256 idx, uint256 newKey) private {
        if (msg.value != queueFee) revert WrongFee(msg.value, queueFee);
        if (idx == 0 || idx >> k != 0) revert SlotOutOfRange(idx);
        uint256 open = openRequest(kind, idx, msg.sender);
        if (open != 0) revert RequestOpen(open);
        lastRequest[requestKey(kind, idx, msg.sender)] = enqueue(QueueEntry(kind, msg.sender, 0, 0, uint24(idx), address(0), newKey));
    }
}
