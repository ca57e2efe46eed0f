// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger} from "./ILedger.sol";

/// @title The L1 side of a Sheaf rollup
/// @notice Holds the coins, keeps the deposit queue, records what the operator commits to, verifies proofs and lets users claim what left the rollup.
///
/// A batch walks through three states, always in order of its number:
///
///     commit (operator)            prove (anybody)              settle (anybody)          claim (its owner)
///     data and commitments  ---->  state root advances  ---->   withdrawals credited ---> coins leave
///     are fixed                    (final)                      once each
///
/// Nothing is final until proven: a committed batch is only a promise. There is no owner and no upgrade; everything in `Params` is fixed for ever.
///
/// If the operator is late, anybody ends all of this for good, and everybody leaves with what the last proven state holds:
///
///     freeze (anybody)  ---->  exit (anybody, for a slot's owner)     claim (its owner)
///     nothing moves any more   refund (anybody, for a depositor)  --> coins leave
interface IRollup is ILedger {
    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Users
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    /// @notice Queues a deposit of `msg.value - queueFee` of the native coin (token 1) for the account (key, owner).
    /// @param key x-coordinate of the account's public key, in [1, r).
    /// @param owner L1 address that may later force an exit and replace the key; not 0.
    function deposit(uint256 key, address owner) external payable;

    /// @notice Queues a deposit of a listed ERC-20; credits what arrives. `msg.value` is exactly the queue fee.
    /// @param amount What is asked of the token by `transferFrom`.
    function depositToken(uint16 token, uint256 amount, uint256 key, address owner) external payable;

    /// @notice Asks that the whole balance of a slot be paid out to the caller, who must own the slot on L1 when the batch that takes the request is made; for
    /// anybody else the batch proves that nothing happens. `msg.value` is exactly the queue fee.
    /// @dev One request of a kind for a slot and a caller at a time, until it is proven. Who need not wait withdraws by signature instead.
    /// @param idx The slot, in [1, 2^k).
    function requestExit(uint256 idx) external payable;

    /// @notice Asks that a slot's key be replaced, as `requestExit` asks for its balance. `msg.value` is exactly the queue fee.
    /// @param newKey In [1, r). Nobody checks that it is a key somebody can sign with; the owner can replace it again.
    function requestRotation(uint256 idx, uint256 newKey) external payable;

    /// @notice Gives an ERC-20 the next number. `msg.value` is exactly the listing fee.
    /// @dev Rebasing tokens are not supported: coins that a token adds stay in the contract, coins that it removes are missing to the last who claim.
    function listToken(address erc20) external payable returns (uint16 id);

    /// @notice Pays out everything the caller can claim of a token.
    function claim(uint16 token, address to) external;

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Operator
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    /// @notice Fixes the next batch: its data, its commitments and everything the challenges depend on.
    function commit(Commit calldata batch) external;

    /// @notice Proves batches that earlier transactions committed, then commits the next: one transaction costs less than two. Batches that somebody proved
    /// in the meantime are skipped, all of them if need be.
    function commitAndProve(Commit calldata batch, uint256[6] calldata oldCommitments, BatchProof[] calldata batches) external;

    /// @notice Takes back every committed batch above `to`, none of them proven: their numbers and queue entries are free again. Many batches can be taken
    /// back in several calls.
    /// @dev The time-out of the proof goes on: a revert wins no time. Who reverts should commit and prove soon after.
    /// @param record Of batch `to`; not looked at if `to` is proven.
    /// @param lastEntry Index of the last queue entry taken up to batch `to`; not looked at if `to` is proven.
    function revertTo(uint256 to, Record calldata record, uint256 lastEntry) external;

    /// @notice Pays the fees earned so far: of listed tokens, and of queue entries in proven batches.
    function claimFees(address to) external;

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Anybody
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    /// @notice Proves committed batches in order, several in one pairing check. Leading batches that are proven already are skipped.
    /// @param oldCommitments Commitments to key, dyn and owner before the first batch of the call.
    function prove(uint256[6] calldata oldCommitments, BatchProof[] calldata batches) external;

    /// @notice Credits items of a proven batch, which are its withdrawals and then its forced exits, once each; items settled already are skipped.
    /// @param choices The commit's choices.
    /// @param words The used words: three per withdrawal, four per deposit that is not refunded, three per exit, three per rotation.
    /// @param first First item.
    /// @param count How many.
    function settle(Record calldata record, uint256[] calldata choices, uint256[] calldata words, uint256 first, uint256 count) external;

    /// @notice Credits deposits that a proven batch refunds to who sent them, once each; other entries of the run are skipped.
    /// @param choices The commit's choices.
    /// @param words The used words, as for `settle`.
    /// @param lastEntry Index of the batch's last queue entry.
    /// @param first Index of the first entry of the run.
    /// @param entries A run of the batch's queue entries.
    function settleRefunds(
        Record calldata record,
        uint256[] calldata choices,
        uint256[] calldata words,
        uint256 lastEntry,
        uint256 first,
        QueueEntry[] calldata entries
    ) external;

    /// @notice Ends the rollup for good, if the queue's first unproven entry is past its deadline, or if batches are committed and none was proven for the
    /// time that a proof may take.
    function freeze() external;

    /// @notice Credits what a slot of the frozen state holds to its owner, once.
    /// @param idx The slot, in [1, 2^k).
    /// @param dyn balance + 2^128 nonce + 2^168 token, as the state holds it.
    /// @param owner The slot's L1 owner.
    /// @param commitments To key, dyn and owner: those of the state root.
    /// @param opening Shows dyn + g owner, g = H("exit", root, idx, dyn, owner), at the slot's point: commitment to (f - f(W))/(X - W), f = f_dyn + g f_owner,
    /// W = W(idx).
    function exit(uint256 idx, uint256 dyn, address owner, uint256[6] calldata commitments, uint256[2] calldata opening) external;

    /// @notice Credits queue entries that no proven batch took to who sent them: a deposit's coins and every entry's fee, once each. For a frozen contract.
    /// @param first Index of the first entry of the run, above `queueProven`.
    /// @param entries A run of queue entries; those refunded already are skipped.
    function refund(uint256 first, QueueEntry[] calldata entries) external;

    /// @notice The contract whose code runs for what needs no hurry, see `Annex`.
    function annex() external view returns (address);
}
