// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Bn254} from "./Bn254.sol";
import {IRollup} from "../IRollup.sol";

/// @title Words of a batch as coefficients of two polynomials, evaluated at zeta
/// @dev y = sum word_i zeta^i with word 0 lowest; every kind starts at a fixed place of its circuit, unused words are 0:
///
///     posted    transfers at 0 (two to a word) | registers at ceil(T/2) | fees at ceil(T/2) + 3R
///     built     withdrawals at 0 | deposits at 3W | exits at 3W + 4D | rotations at 3W + 4D + 3X
///
/// Registers, exits and rotations do not exist in this version: their capacities are 0.
library Words {
    uint256 private constant COUNTS_BYTES = 6;
    uint256 private constant PAIR_BYTES = 26;
    uint256 private constant FEE_BYTES = 19;
    uint256 internal constant WITHDRAWAL_WORDS = 3;
    uint256 internal constant DEPOSIT_WORDS = 4;

    /// @notice How many of each kind the posted data holds.
    struct Counts {
        uint256 transfers;
        uint256 registers;
        uint256 fees;
    }

    /// @notice Checks counts, length and padding of posted data and evaluates it.
    function posted(bytes calldata data, IRollup.Shape memory shape, uint256 zeta) internal pure returns (uint256 y) {
        Counts memory counts = readCounts(data);
        if (counts.transfers > shape.transfers) revert IRollup.TooManyTransfers(counts.transfers, shape.transfers);
        if (counts.registers > shape.registers) revert IRollup.TooManyRegisters(counts.registers, shape.registers);
        if (counts.fees > shape.fees) revert IRollup.TooManyFees(counts.fees, shape.fees);
        uint256 pairs = (counts.transfers + 1) / 2;
        uint256 feesAt = COUNTS_BYTES + PAIR_BYTES * pairs;
        uint256 length = feesAt + FEE_BYTES * counts.fees;
        if (data.length != length) revert IRollup.WrongDataLength(data.length, length);
        if (counts.transfers % 2 == 1 && bytes13(data[feesAt - PAIR_BYTES:]) != 0) revert IRollup.PaddingNotZero();
        y = evaluatePairs(data[COUNTS_BYTES:feesAt], zeta);
        if (counts.fees == 0) return y;
        uint256 feesWord = (uint256(shape.transfers) + 1) / 2 + 3 * uint256(shape.registers);
        return addmod(y, mulmod(evaluateFees(data[feesAt:], zeta), power(zeta, feesWord), Bn254.R), Bn254.R);
    }

    /// @notice Evaluates the words that L1 builds: withdrawals, then deposits; both are used slots only.
    function built(uint256[] memory words, uint256 withdrawals, IRollup.Shape memory shape, uint256 zeta) internal pure returns (uint256 y) {
        uint256 split = WITHDRAWAL_WORDS * withdrawals;
        y = evaluate(words, 0, split, zeta);
        if (split == words.length) return y;
        uint256 depositsWord = WITHDRAWAL_WORDS * uint256(shape.withdrawals);
        return addmod(y, mulmod(evaluate(words, split, words.length, zeta), power(zeta, depositsWord), Bn254.R), Bn254.R);
    }

    /// @notice sum of words[first + i] zeta^i up to but not including `end`; the words are below r.
    function evaluate(uint256[] memory words, uint256 first, uint256 end, uint256 zeta) internal pure returns (uint256 y) {
        for (uint256 i = end; i > first; --i) {
            y = addmod(mulmod(y, zeta, Bn254.R), words[i - 1], Bn254.R);
        }
    }

    /// @notice sum of pair_i zeta^i over words of 26 bytes; the length is a multiple of 26.
    /// @dev Horner from the last word. A word is below 2^208 and mulmod's result below r, so the sum fits 256 bits without a reduction; mulmod takes
    /// the unreduced sum. Eight words a turn, because the loop's own work would cost as much as the arithmetic.
    function evaluatePairs(bytes calldata data, uint256 zeta) internal pure returns (uint256 y) {
        uint256 r = Bn254.R;
        assembly ("memory-safe") {
            let first := data.offset
            let at := add(first, data.length)
            for { let odd := add(first, mod(data.length, 208)) } gt(at, odd) {} {
                at := sub(at, 208)
                y := add(mulmod(y, zeta, r), shr(48, calldataload(add(at, 182))))
                y := add(mulmod(y, zeta, r), shr(48, calldataload(add(at, 156))))
                y := add(mulmod(y, zeta, r), shr(48, calldataload(add(at, 130))))
                y := add(mulmod(y, zeta, r), shr(48, calldataload(add(at, 104))))
                y := add(mulmod(y, zeta, r), shr(48, calldataload(add(at, 78))))
                y := add(mulmod(y, zeta, r), shr(48, calldataload(add(at, 52))))
                y := add(mulmod(y, zeta, r), shr(48, calldataload(add(at, 26))))
                y := add(mulmod(y, zeta, r), shr(48, calldataload(at)))
            }
            for {} gt(at, first) {} {
                at := sub(at, 26)
                y := add(mulmod(y, zeta, r), shr(48, calldataload(at)))
            }
            y := mod(y, r)
        }
    }

    /// @notice sum of fee_i zeta^i over words of 19 bytes; the length is a multiple of 19.
    /// @dev No reduction, as in `evaluatePairs`.
    function evaluateFees(bytes calldata data, uint256 zeta) internal pure returns (uint256 y) {
        uint256 r = Bn254.R;
        assembly ("memory-safe") {
            let first := data.offset
            for { let at := add(first, data.length) } gt(at, first) {} {
                at := sub(at, 19)
                y := add(mulmod(y, zeta, r), shr(104, calldataload(at)))
            }
            y := mod(y, r)
        }
    }

    /// @notice base^exponent mod r.
    function power(uint256 base, uint256 exponent) internal pure returns (uint256 result) {
        result = 1;
        for (; exponent > 0; exponent >>= 1) {
            if (exponent & 1 == 1) result = mulmod(result, base, Bn254.R);
            base = mulmod(base, base, Bn254.R);
        }
    }

    function readCounts(bytes calldata data) private pure returns (Counts memory) {
        if (data.length < COUNTS_BYTES) revert IRollup.WrongDataLength(data.length, COUNTS_BYTES);
        uint256 head = uint48(bytes6(data));
        return Counts(head >> 32, (head >> 16) & 0xffff, head & 0xffff);
    }
}
