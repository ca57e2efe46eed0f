// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger} from "../ILedger.sol";
import {Shapes} from "./Shapes.sol";

/// @title What a batch does beside its posted data: withdrawals and queue entries, as words
/// @dev For every entry taken the operator says what only it knows, its choice: kind | payload << 8. L1 builds the words from the entry and the choice; used
/// slots only, kind after kind, each in the order of the commit:
///
///     kind          choice's payload           words
///     withdrawal    -                          w0 | amount | recipient
///     1 deposit     slot, 0 = refund           K | amount | owner | key         (none for a refund)
///     2 exit        token | amount << 16       K | requester | amount
///     3 rotation    token                      K | requester | new key          where K = slot 2^16 + token
library Operations {
    uint8 internal constant DEPOSIT = 1;
    uint8 internal constant EXIT = 2;
    uint8 internal constant ROTATION = 3;

    uint256 internal constant WITHDRAWAL_WORDS = 3;
    uint256 internal constant DEPOSIT_WORDS = 4;
    uint256 internal constant EXIT_WORDS = 3;
    uint256 internal constant ROTATION_WORDS = 3;

    /// Withdrawals and exits are below: a sum of the proof would wrap around otherwise.
    uint256 private constant AMOUNT_CAP = 1 << 112;
    uint256 private constant W0_CAP = 1 << 56;
    uint256 private constant ADDRESS_CAP = 1 << 160;
    /// Payload of an exit: token and amount.
    uint256 private constant EXIT_CAP = 1 << 128;
    uint256 private constant TOKEN_CAP = 1 << 16;

    /// @notice How many slots of each kind a batch uses.
    struct Counts {
        uint256 withdrawals;
        uint256 deposits;
        uint256 exits;
        uint256 rotations;
    }

    // ---- counting ----

    /// @notice True for the choice to give a deposit back.
    function isRefund(uint256 choice) internal pure returns (bool) {
        return choice == DEPOSIT;
    }

    /// @dev Kinds are compared with those of the entries when the words are built.
    function countChoices(Counts memory counts, uint256[] calldata choices) private pure {
        for (uint256 i; i < choices.length; ++i) {
            uint256 choice = choices[i];
            uint256 kind = choice & 0xff;
            if (kind == EXIT) ++counts.exits;
            else if (kind == ROTATION) ++counts.rotations;
            else if (!isRefund(choice)) ++counts.deposits;
        }
    }

    /// @notice The counts of a batch whose choices and number of words were stored by a commit.
    function countOf(uint256[] calldata choices, uint256 length) internal pure returns (Counts memory counts) {
        countChoices(counts, choices);
        counts.withdrawals = (length - totalWords(counts)) / WITHDRAWAL_WORDS;
    }

    /// @notice Word where the deposits start.
    function depositsAt(Counts memory counts) internal pure returns (uint256) {
        unchecked {
            return WITHDRAWAL_WORDS * counts.withdrawals;
        }
    }

    /// @notice Word where the exits start.
    function exitsAt(Counts memory counts) internal pure returns (uint256) {
        unchecked {
            return depositsAt(counts) + DEPOSIT_WORDS * counts.deposits;
        }
    }

    /// @notice Word where the rotations start.
    function rotationsAt(Counts memory counts) internal pure returns (uint256) {
        unchecked {
            return exitsAt(counts) + EXIT_WORDS * counts.exits;
        }
    }

    /// @notice How many words there are.
    function totalWords(Counts memory counts) internal pure returns (uint256) {
        unchecked {
            return rotationsAt(counts) + ROTATION_WORDS * counts.rotations;
        }
    }

    // ---- building ----

    /// @notice Checks withdrawals and choices against the circuit and the protocol's bounds; the entries were compared with the queue.
    function build(ILedger.Commit calldata batch, uint256 shape, uint256 k) internal pure returns (uint256[] memory words, Counts memory counts) {
        (uint256[] calldata choices, ILedger.QueueEntry[] calldata taken) = (batch.choices, batch.taken);
        if (choices.length != taken.length) revert ILedger.WrongChoiceCount(choices.length, taken.length);
        ILedger.Withdrawal[] calldata withdrawals = batch.withdrawals;
        if (taken.length == 0 && withdrawals.length == 0) return (words, counts);
        counts.withdrawals = withdrawals.length;
        countChoices(counts, choices);
        if (counts.withdrawals > Shapes.withdrawals(shape)) revert ILedger.TooManyWithdrawals(counts.withdrawals, Shapes.withdrawals(shape));
        if (counts.deposits > Shapes.deposits(shape)) revert ILedger.TooManyDeposits(counts.deposits, Shapes.deposits(shape));
        if (counts.exits > Shapes.exits(shape)) revert ILedger.TooManyExits(counts.exits, Shapes.exits(shape));
        if (counts.rotations > Shapes.rotations(shape)) revert ILedger.TooManyRotations(counts.rotations, Shapes.rotations(shape));
        words = new uint256[](totalWords(counts));
        putWithdrawals(withdrawals, words);
        putEntries(taken, choices, counts, words, k);
    }

    function putWithdrawals(ILedger.Withdrawal[] calldata withdrawals, uint256[] memory words) private pure {
        for (uint256 i; i < withdrawals.length; ++i) {
            ILedger.Withdrawal calldata withdrawal = withdrawals[i];
            if (withdrawal.w0 >= W0_CAP) revert ILedger.WithdrawalOutOfRange(i, withdrawal.w0);
            if (withdrawal.amount >= AMOUNT_CAP) revert ILedger.WithdrawalOutOfRange(i, withdrawal.amount);
            if (withdrawal.recipient >= ADDRESS_CAP) revert ILedger.WithdrawalOutOfRange(i, withdrawal.recipient);
            put(words, WITHDRAWAL_WORDS * i, withdrawal.w0, withdrawal.amount, withdrawal.recipient);
        }
    }

    /// @dev K is built here; what else comes from an entry was ranged when it was queued.
    function putEntries(ILedger.QueueEntry[] calldata taken, uint256[] calldata choices, Counts memory counts, uint256[] memory words, uint256 k)
        private
        pure
    {
        (uint256 deposit, uint256 exit, uint256 rotation) = (depositsAt(counts), exitsAt(counts), rotationsAt(counts));
        for (uint256 i; i < taken.length; ++i) {
            ILedger.QueueEntry calldata entry = taken[i];
            (uint256 choice, uint256 kind) = (choices[i], entry.kind);
            if (choice & 0xff != kind) revert ILedger.WrongChoiceKind(choice, entry.kind);
            uint256 payload = choice >> 8;
            if (kind == DEPOSIT) {
                if (payload == 0) continue;
                if (payload >> k != 0) revert ILedger.SlotOutOfRange(payload);
                put(words, deposit, payload << 16 | entry.token, entry.amount, uint160(entry.owner));
                words[deposit + 3] = entry.key;
                deposit += DEPOSIT_WORDS;
            } else if (kind == EXIT) {
                if (payload >= EXIT_CAP) revert ILedger.ChoiceOutOfRange(choice);
                put(words, exit, uint256(entry.idx) << 16 | payload & 0xffff, uint160(entry.sender), payload >> 16);
                exit += EXIT_WORDS;
            } else {
                if (payload >= TOKEN_CAP) revert ILedger.ChoiceOutOfRange(choice);
                put(words, rotation, uint256(entry.idx) << 16 | payload, uint160(entry.sender), entry.key);
                rotation += ROTATION_WORDS;
            }
        }
    }

    function put(uint256[] memory words, uint256 at, uint256 first, uint256 second, uint256 third) private pure {
        (words[at], words[at + 1], words[at + 2]) = (first, second, third);
    }

    /// @notice keccak256(abi.encode(choices, words)): what a header holds of them.
    function hash(uint256[] calldata choices, uint256[] memory words) internal pure returns (bytes32) {
        return keccak256(abi.encode(choices, words));
    }

    // ---- paying out ----

    /// @notice Who gets what by an item of a batch, which is a withdrawal or, after those, an exit; an amount of 0 if nobody gets anything.
    function payout(Counts memory counts, uint256[] calldata words, uint256 item) internal pure returns (address to, uint16 token, uint256 amount) {
        if (item < counts.withdrawals) {
            uint256 at = WITHDRAWAL_WORDS * item;
            // a slot that is not used names slot 0
            amount = words[at] & 0xffffff == 0 ? 0 : words[at + 1];
            (token, to) = (uint16(words[at] >> 24), address(uint160(words[at + 2])));
        } else {
            uint256 at = exitsAt(counts) + EXIT_WORDS * (item - counts.withdrawals);
            (token, to, amount) = (uint16(words[at]), address(uint160(words[at + 1])), words[at + 2]);
        }
    }
}
