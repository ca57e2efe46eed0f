// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Bn254} from "./Bn254.sol";
import {ILedger} from "../ILedger.sol";
import {Operations} from "./Operations.sol";
import {Shapes} from "./Shapes.sol";

/// @title Words of a batch as coefficients of two polynomials, evaluated at zeta
/// @dev y = sum word_i zeta^i with word 0 lowest; every kind starts at a fixed place of its circuit, unused words are 0:
///
///     posted    transfers at 0 (two to a word) | registers at ceil(T/2) | fees at ceil(T/2) + 3R
///     built     withdrawals at 0 | deposits at 3W | exits at 3W + 4D | rotations at 3W + 4D + 3X
///
/// The evaluations sum in reverse (Horner). Words of up to 248 bits are added to mulmod's result, which is below r, without a reduction: the sum fits 256
/// bits, and mulmod takes what is not reduced.
library Words {
    /// Bn254.R, as assembly takes it.
    uint256 private constant R = 0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001;
    uint256 private constant COUNTS_BYTES = 6;
    uint256 private constant PAIR_BYTES = 26;
    /// w0 (from | new << 24 | token << 48 | fee16 << 64) 10 | key 32 | owner 20
    uint256 private constant REGISTER_BYTES = 62;
    uint256 private constant FEE_BYTES = 19;
    uint256 private constant REGISTER_WORDS = 3;

    // ---- posted ----

    /// @notice Checks counts, length, padding and registers of posted data and evaluates it.
    /// @param lastToken Last number given to a token.
    function posted(bytes calldata data, uint256 shape, uint256 lastToken, uint256 zeta) internal pure returns (uint256 y) {
        (uint256 registersAt, uint256 feesAt) = layout(data, shape);
        y = evaluatePairs(data[COUNTS_BYTES:registersAt], zeta);
        if (data.length == registersAt) return y;
        uint256 word = (Shapes.transfers(shape) + 1) / 2;
        if (feesAt != registersAt) y = shifted(y, evaluateRegisters(data[registersAt:feesAt], lastToken, zeta), word, zeta);
        word += REGISTER_WORDS * Shapes.registers(shape);
        if (data.length != feesAt) y = shifted(y, evaluateFees(data[feesAt:], zeta), word, zeta);
    }

    /// @dev Where registers and fees start.
    function layout(bytes calldata data, uint256 shape) private pure returns (uint256 registersAt, uint256 feesAt) {
        if (data.length < COUNTS_BYTES) revert ILedger.WrongDataLength(data.length, COUNTS_BYTES);
        uint256 head = uint48(bytes6(data));
        (uint256 transfers, uint256 registers, uint256 fees) = (head >> 32, (head >> 16) & 0xffff, head & 0xffff);
        if (transfers > Shapes.transfers(shape)) revert ILedger.TooManyTransfers(transfers, Shapes.transfers(shape));
        if (registers > Shapes.registers(shape)) revert ILedger.TooManyRegisters(registers, Shapes.registers(shape));
        if (fees > Shapes.fees(shape)) revert ILedger.TooManyFees(fees, Shapes.fees(shape));
        uint256 length;
        unchecked {
            // counts of two bytes
            registersAt = COUNTS_BYTES + PAIR_BYTES * ((transfers + 1) / 2);
            feesAt = registersAt + REGISTER_BYTES * registers;
            length = feesAt + FEE_BYTES * fees;
        }
        if (data.length != length) revert ILedger.WrongDataLength(data.length, length);
        if (transfers % 2 == 1 && bytes13(data[registersAt - PAIR_BYTES:]) != 0) revert ILedger.PaddingNotZero();
    }

    /// @dev y + value zeta^word
    function shifted(uint256 y, uint256 value, uint256 word, uint256 zeta) private pure returns (uint256) {
        return addmod(y, mulmod(value, power(zeta, word), Bn254.R), Bn254.R);
    }

    /// @notice sum of pair_i zeta^i over words of 26 bytes; the length is a multiple of 26.
    /// @dev One expression for ten words, as many as the stack holds: storing each sum would cost as much as adding. The optimiser leaves a recursive
    /// function a function of its own, whose variables stay on the stack; so `run` takes its ends either way around.
    function evaluatePairs(bytes calldata data, uint256 zeta) internal pure returns (uint256 y) {
        uint256 r = Bn254.R;
        assembly ("memory-safe") {
            function ten(at, sum, z, m) -> out {
                out := add(
                    shr(48, calldataload(at)),
                    mulmod(
                        z,
                        add(
                            shr(48, calldataload(add(at, 26))),
                            mulmod(
                                z,
                                add(
                                    shr(48, calldataload(add(at, 52))),
                                    mulmod(
                                        z,
                                        add(
                                            shr(48, calldataload(add(at, 78))),
                                            mulmod(
                                                z,
                                                add(
                                                    shr(48, calldataload(add(at, 104))),
                                                    mulmod(
                                                        z,
                                                        add(
                                                            shr(48, calldataload(add(at, 130))),
                                                            mulmod(
                                                                z,
                                                                add(
                                                                    shr(48, calldataload(add(at, 156))),
                                                                    mulmod(
                                                                        z,
                                                                        add(
                                                                            shr(48, calldataload(add(at, 182))),
                                                                            mulmod(
                                                                                z,
                                                                                add(
                                                                                    shr(48, calldataload(add(at, 208))),
                                                                                    mulmod(
                                                                                        z,
                                                                                        add(shr(48, calldataload(add(at, 234))), mulmod(z, sum, m)),
                                                                                        m
                                                                                    )
                                                                                ),
                                                                                m
                                                                            )
                                                                        ),
                                                                        m
                                                                    )
                                                                ),
                                                                m
                                                            )
                                                        ),
                                                        m
                                                    )
                                                ),
                                                m
                                            )
                                        ),
                                        m
                                    )
                                ),
                                m
                            )
                        ),
                        m
                    )
                )
            }
            function run(first, at, z, m) -> sum {
                if lt(at, first) {
                    sum := run(at, first, z, m)
                    leave
                }
                for { let odd := add(first, mod(sub(at, first), 260)) } iszero(eq(at, odd)) {} {
                    at := sub(at, 260)
                    sum := ten(at, sum, z, m)
                }
                for {} gt(at, first) {} {
                    at := sub(at, 26)
                    sum := add(mulmod(sum, z, m), shr(48, calldataload(at)))
                }
                sum := mod(sum, m)
            }
            y := run(data.offset, add(data.offset, data.length), zeta, r)
        }
    }

    /// @notice sum over the words of registers, 62 bytes for three words each, of which key and owner are ranged and the token must be listed.
    function evaluateRegisters(bytes calldata data, uint256 lastToken, uint256 zeta) internal pure returns (uint256 y) {
        for (uint256 at = data.length; at > 0;) {
            at -= REGISTER_BYTES;
            uint256 w0 = uint80(bytes10(data[at:]));
            uint256 key = uint256(bytes32(data[at + 10:]));
            uint256 owner = uint160(bytes20(data[at + 42:]));
            uint256 token = (w0 >> 48) & 0xffff;
            if (token == 0 || token > lastToken) revert ILedger.TokenNotListed(uint16(token));
            if (key == 0 || key >= Bn254.R) revert ILedger.KeyOutOfRange(key);
            if (owner == 0) revert ILedger.OwnerIsZero();
            y = mulmod(mulmod(y, zeta, Bn254.R) + owner, zeta, Bn254.R);
            y = addmod(mulmod(addmod(y, key, Bn254.R), zeta, Bn254.R), w0, Bn254.R);
        }
    }

    /// @notice sum of fee_i zeta^i over words of 19 bytes; the length is a multiple of 19.
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

    // ---- built ----

    /// @notice Evaluates the words that L1 builds: used slots only, kind after kind.
    function built(uint256[] memory words, Operations.Counts memory counts, uint256 shape, uint256 zeta) internal pure returns (uint256 y) {
        if (words.length == 0) return 0;
        (uint256 deposits, uint256 exits, uint256 rotations) =
            (Operations.depositsAt(counts), Operations.exitsAt(counts), Operations.rotationsAt(counts));
        uint256 word = Operations.WITHDRAWAL_WORDS * Shapes.withdrawals(shape);
        y = evaluate(words, 0, deposits, zeta);
        y = shiftedRange(y, words, deposits, exits, word, zeta);
        word += Operations.DEPOSIT_WORDS * Shapes.deposits(shape);
        y = shiftedRange(y, words, exits, rotations, word, zeta);
        word += Operations.EXIT_WORDS * Shapes.exits(shape);
        y = shiftedRange(y, words, rotations, words.length, word, zeta);
    }

    function shiftedRange(uint256 y, uint256[] memory words, uint256 first, uint256 end, uint256 word, uint256 zeta) private pure returns (uint256) {
        return first == end ? y : shifted(y, evaluate(words, first, end, zeta), word, zeta);
    }

    /// @notice sum of words[first + i] zeta^i up to but not including `end`; the words are below r.
    function evaluate(uint256[] memory words, uint256 first, uint256 end, uint256 zeta) internal pure returns (uint256 y) {
        for (uint256 i = end; i > first; --i) {
            y = addmod(mulmod(y, zeta, Bn254.R), words[i - 1], Bn254.R);
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
}
