// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Operations} from "../src/libraries/Operations.sol";
import {Fixture} from "./support/Fixture.sol";
import {Harness} from "./support/Harness.sol";

/// @title The evaluation of words against a plain one, and against the protocol's golden vectors
contract WordsTest is Fixture {
    Harness private harness;

    function setUp() public {
        harness = newHarness();
    }

    /// @dev No circuit has less.
    function smallest() private pure returns (ILedger.Shape memory shape) {
        (shape.deposits, shape.exits, shape.rotations) = (1, 1, 1);
    }

    // ---- posted ----

    /// @dev sum of words of `size` bytes times powers of zeta, from the first.
    function plain(bytes memory data, uint256 from, uint256 count, uint256 size, uint256 zeta) private pure returns (uint256 y) {
        uint256 power = 1;
        for (uint256 i; i < count; ++i) {
            uint256 word;
            for (uint256 j; j < size; ++j) {
                word = word << 8 | uint8(data[from + size * i + j]);
            }
            y = addmod(y, mulmod(word, power, R), R);
            power = mulmod(power, zeta, R);
        }
    }

    /// @dev What posted data is worth: pairs from word 0, registers and fees from theirs.
    function expected(bytes memory data, uint256[3] memory counts, ILedger.Shape memory shape, uint256 zeta) private view returns (uint256 y) {
        uint256 registersWord = (uint256(shape.transfers) + 1) / 2;
        uint256 from = 6 + 26 * counts[0];
        y = plain(data, 6, counts[0], 26, zeta);
        for (uint256 i; i < counts[1]; ++i) {
            uint256 register = plain(data, from, 1, 10, zeta);
            register = addmod(register, mulmod(plain(data, from + 10, 1, 32, zeta), zeta, R), R);
            register = addmod(register, mulmod(plain(data, from + 42, 1, 20, zeta), mulmod(zeta, zeta, R), R), R);
            y = addmod(y, mulmod(register, harness.power(zeta, registersWord + 3 * i), R), R);
            from += 62;
        }
        y = addmod(y, mulmod(plain(data, from, counts[2], 19, zeta), harness.power(zeta, registersWord + 3 * uint256(shape.registers)), R), R);
    }

    /// @dev Any counts, odd ones too; the spare slots of the circuit lie behind each kind.
    function testFuzz_posted_words(uint8 transfers, uint8 registers, uint8 fees, uint16 spare, uint256 seed, uint256 zeta) public view {
        (transfers, registers, fees, spare, zeta) = (transfers % 80, registers % 5, fees % 6, spare % 100, zeta % R);
        uint256[3] memory counts = [(uint256(transfers) + 1) / 2, registers, fees];
        bytes memory data = noise(seed, 26 * counts[0]);
        // the upper half of the last pair, of an odd number of transfers
        for (uint256 i = 26 * counts[0]; transfers % 2 == 1 && i < 26 * counts[0] + 13; ++i) {
            data[i - 26] = 0;
        }
        for (uint256 i; i < registers; ++i) {
            uint256 random = uint256(keccak256(abi.encode(seed, i)));
            data = abi.encodePacked(data, registerOf(random, uint16(1 + random % 3), 1 + random % (R - 1), address(uint160(random | 1))));
        }
        data = abi.encodePacked(uint16(transfers), uint16(registers), uint16(fees), data, noise(~seed, 19 * uint256(fees)));
        ILedger.Shape memory shape = smallest();
        (shape.transfers, shape.registers, shape.fees) = (uint32(transfers) + spare, registers + spare % 7, fees);
        vm.assertEq(harness.posted(data, shape, 3, zeta), expected(data, counts, shape, zeta));
    }

    /// @dev A register of any sponsor, slot and fee.
    function registerOf(uint256 random, uint16 token, uint256 key, address owner) private pure returns (bytes memory) {
        return abi.encodePacked(uint16(random), token, uint24(random >> 16), uint24(random >> 40), key, owner);
    }

    function refusesRegister(bytes memory register, bytes memory error) private {
        ILedger.Shape memory shape = smallest();
        shape.registers = 3;
        bytes memory honest = registerOf(7, 3, R - 1, address(1));
        bytes memory data = abi.encodePacked(hex"000000030000", honest, register, honest);
        vm.expectRevert(error);
        harness.posted(data, shape, 3, 5);
    }

    function test_registers_that_no_account_can_have() public {
        refusesRegister(registerOf(7, 0, 1, BOB), abi.encodeWithSelector(ILedger.TokenNotListed.selector, 0));
        refusesRegister(registerOf(7, 4, 1, BOB), abi.encodeWithSelector(ILedger.TokenNotListed.selector, 4));
        refusesRegister(registerOf(7, 3, 0, BOB), abi.encodeWithSelector(ILedger.KeyOutOfRange.selector, 0));
        refusesRegister(registerOf(7, 3, R, BOB), abi.encodeWithSelector(ILedger.KeyOutOfRange.selector, R));
        refusesRegister(registerOf(7, 3, R + 1, BOB), abi.encodeWithSelector(ILedger.KeyOutOfRange.selector, R + 1));
        refusesRegister(registerOf(7, 3, 1, address(0)), abi.encodeWithSelector(ILedger.OwnerIsZero.selector));
    }

    /// @dev from | new << 24 | token << 48 | fee16 << 64, then key, then owner.
    function test_words_of_a_register() public view {
        ILedger.Shape memory shape = smallest();
        (shape.transfers, shape.registers) = (3, 1);
        bytes memory data = abi.encodePacked(hex"000000010000", hex"fee00002123456abcdef", uint256(77), BOB);
        uint256 zeta = 1 << 80;
        uint256 y = addmod(uint256(0xfee00002123456abcdef), mulmod(77, zeta, R), R);
        y = addmod(y, mulmod(uint160(BOB), mulmod(zeta, zeta, R), R), R);
        vm.assertEq(harness.posted(data, shape, 2, zeta), mulmod(y, mulmod(zeta, zeta, R), R));
    }

    function noise(uint256 seed, uint256 length) private pure returns (bytes memory out) {
        out = new bytes(length);
        bytes32 word;
        for (uint256 i; i < length; ++i) {
            if (i % 32 == 0) word = keccak256(abi.encode(seed, i));
            out[i] = word[i % 32];
        }
    }

    /// @dev Three times the golden transfer, the golden register, and a fee of 1,000,250 of token 1 to slot 9.
    function test_golden_data() public view {
        string memory vectors = vm.readFile("../protocol/vectors/encodings.json");
        bytes memory data = vm.parseJsonBytes(vectors, ".batch.posted_data");
        uint256 zeta = vm.parseJsonUint(vectors, ".batch.zeta");
        uint256 transfer = vm.parseJsonUint(vectors, ".batch.transfer.word");
        uint256[] memory register = vm.parseJsonUintArray(vectors, ".batch.register.words");
        ILedger.Shape memory shape = smallest();
        (shape.transfers, shape.registers, shape.fees) = (9, 2, 2);
        // T = 9: the registers start at word 5, R = 2: the fees at word 11
        uint256 y = addmod(transfer | transfer << 104, mulmod(transfer, zeta, R), R);
        for (uint256 i; i < 3; ++i) {
            y = addmod(y, mulmod(register[i], harness.power(zeta, 5 + i), R), R);
        }
        y = addmod(y, mulmod(9 | 1 << 24 | uint256(1_000_250) << 40, harness.power(zeta, 11), R), R);
        vm.assertEq(harness.posted(data, shape, 0x1234, zeta), y);
    }

    /// @dev A whole batch of the Rust side: both evaluations, its choices and the hash of its operations.
    function test_golden_batch() public view {
        string memory vectors = vm.readFile("../protocol/vectors/batch.json");
        uint256 zeta = vm.parseJsonUint(vectors, ".zeta");
        ILedger.Shape memory shape = ILedger.Shape(
            uint32(vm.parseJsonUint(vectors, ".batch.shape.transfers")),
            uint32(vm.parseJsonUint(vectors, ".batch.shape.accounts")),
            uint32(vm.parseJsonUint(vectors, ".batch.shape.fees")),
            uint32(vm.parseJsonUint(vectors, ".batch.shape.deposits")),
            uint32(vm.parseJsonUint(vectors, ".batch.shape.withdrawals")),
            uint32(vm.parseJsonUint(vectors, ".batch.shape.registers")),
            uint32(vm.parseJsonUint(vectors, ".batch.shape.exits")),
            uint32(vm.parseJsonUint(vectors, ".batch.shape.rotations"))
        );
        bytes memory data = vm.parseJsonBytes(vectors, ".posted_data");
        vm.assertEq(harness.posted(data, shape, type(uint16).max, zeta), vm.parseJsonUint(vectors, ".y_da"));
        uint256[] memory choices = vm.parseJsonUintArray(vectors, ".choices");
        uint256[] memory words = vm.parseJsonUintArray(vectors, ".used_ops_words");
        vm.assertEq(harness.built(words, harness.countOf(choices, words.length), shape, zeta), vm.parseJsonUint(vectors, ".y_ops"));
        vm.assertEq(uint256(keccak256(abi.encode(choices, words))), vm.parseJsonUintArray(vectors, ".header_words")[12]);
    }

    // ---- built ----

    /// @dev Withdrawals, deposits, exits, rotations, each behind the circuit's spare slots of the kind before it.
    function testFuzz_built_words(uint8[4] memory used, uint8[4] memory spare, uint256 seed, uint256 zeta) public view {
        zeta %= R;
        uint8[4] memory sizes = [3, 4, 3, 3];
        uint256 total;
        for (uint256 kind; kind < 4; ++kind) {
            used[kind] %= 8;
            spare[kind] %= 8;
            total += uint256(sizes[kind]) * used[kind];
        }
        uint256[] memory words = new uint256[](total);
        (uint256 at, uint256 word, uint256 y) = (0, 0, 0);
        for (uint256 kind; kind < 4; ++kind) {
            for (uint256 i; i < uint256(sizes[kind]) * used[kind]; ++i) {
                words[at] = uint256(keccak256(abi.encode(seed, at))) % R;
                y = addmod(y, mulmod(words[at], harness.power(zeta, word + i), R), R);
                ++at;
            }
            word += uint256(sizes[kind]) * (uint256(used[kind]) + spare[kind] + (kind == 0 ? 0 : 1));
        }
        vm.assertEq(builtOf(words, used, spare, zeta), y);
    }

    function builtOf(uint256[] memory words, uint8[4] memory used, uint8[4] memory spare, uint256 zeta) private view returns (uint256) {
        ILedger.Shape memory shape = smallest();
        (shape.withdrawals, shape.deposits) = (uint32(used[0]) + spare[0], uint32(used[1]) + 1 + spare[1]);
        (shape.exits, shape.rotations) = (uint32(used[2]) + 1 + spare[2], uint32(used[3]) + 1 + spare[3]);
        return harness.built(words, Operations.Counts(used[0], used[1], used[2], used[3]), shape, zeta);
    }

    function test_power() public view {
        vm.assertEq(harness.power(7, 0), 1);
        vm.assertEq(harness.power(7, 5), 16807);
        vm.assertEq(harness.power(R - 1, 3), R - 1);
    }
}
