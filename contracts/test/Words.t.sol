// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../src/IRollup.sol";
import {Fixture} from "./support/Fixture.sol";
import {Harness} from "./support/Harness.sol";

/// @title The evaluation of words against a plain one, and against the protocol's golden vectors
contract WordsTest is Fixture {
    Harness private harness;

    function setUp() public {
        harness = new Harness();
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

    function expected(bytes memory data, uint256 pairs, uint256 fees, uint256 feesWord, uint256 zeta) private pure returns (uint256 y) {
        y = plain(data, 6 + 26 * pairs, fees, 19, zeta);
        for (uint256 i; i < feesWord; ++i) {
            y = mulmod(y, zeta, R);
        }
        y = addmod(y, plain(data, 6, pairs, 26, zeta), R);
    }

    /// @dev Any counts, odd ones too; the spare slots of the circuit lie between the transfers and the fees.
    function testFuzz_posted_words(uint8 transfers, uint8 fees, uint16 spare, uint256 seed, uint256 zeta) public view {
        (transfers, fees, spare, zeta) = (transfers % 80, fees % 6, spare % 100, zeta % R);
        uint256 pairs = (uint256(transfers) + 1) / 2;
        bytes memory data = abi.encodePacked(uint16(transfers), uint16(0), uint16(fees), noise(seed, 26 * pairs + 19 * uint256(fees)));
        // the upper half of the last pair, of an odd number of transfers
        for (uint256 i = 26 * pairs; transfers % 2 == 1 && i < 26 * pairs + 13; ++i) {
            data[i - 20] = 0;
        }
        IRollup.Shape memory shape;
        (shape.transfers, shape.fees) = (uint32(transfers) + spare, fees);
        vm.assertEq(harness.posted(data, shape, zeta), expected(data, pairs, fees, (uint256(shape.transfers) + 1) / 2, zeta));
    }

    function noise(uint256 seed, uint256 length) private pure returns (bytes memory out) {
        out = new bytes(length);
        bytes32 word;
        for (uint256 i; i < length; ++i) {
            if (i % 32 == 0) word = keccak256(abi.encode(seed, i));
            out[i] = word[i % 32];
        }
    }

    /// @dev Three times the golden transfer, and a fee of 1,000,250 of token 1 to slot 9.
    function test_golden_data() public view {
        string memory vectors = vm.readFile("../protocol/vectors/encodings.json");
        bytes memory data = vm.parseJsonBytes(vectors, ".batch.posted_data");
        uint256 zeta = vm.parseJsonUint(vectors, ".batch.zeta");
        uint256 transfer = vm.parseJsonUint(vectors, ".batch.transfer.word");
        uint256 fee = 9 | 1 << 24 | uint256(1_000_250) << 40;
        IRollup.Shape memory shape;
        (shape.transfers, shape.fees) = (9, 2);
        // T = 9: the fees start at word 5
        uint256 y = addmod(transfer | transfer << 104, mulmod(transfer, zeta, R), R);
        vm.assertEq(harness.posted(data, shape, zeta), addmod(y, mulmod(fee, harness.power(zeta, 5), R), R));
    }

    // ---- built ----

    function testFuzz_built_words(uint8 withdrawals, uint8 deposits, uint8 spare, uint256 seed, uint256 zeta) public view {
        (withdrawals, deposits, zeta) = (withdrawals % 20, deposits % 20, zeta % R);
        uint256[] memory words = new uint256[](3 * uint256(withdrawals) + 4 * uint256(deposits));
        for (uint256 i; i < words.length; ++i) {
            words[i] = uint256(keccak256(abi.encode(seed, i))) % R;
        }
        IRollup.Shape memory shape;
        shape.withdrawals = uint32(withdrawals) + spare;
        uint256 y;
        uint256 power = 1;
        for (uint256 i; i < 3 * uint256(shape.withdrawals) + 4 * uint256(deposits); ++i) {
            bool withdrawal = i < 3 * uint256(withdrawals);
            uint256 word = withdrawal ? words[i] : i < 3 * uint256(shape.withdrawals) ? 0 : words[i - 3 * uint256(spare)];
            y = addmod(y, mulmod(word, power, R), R);
            power = mulmod(power, zeta, R);
        }
        vm.assertEq(harness.built(words, withdrawals, shape, zeta), y);
    }

    function test_power() public view {
        vm.assertEq(harness.power(7, 0), 1);
        vm.assertEq(harness.power(7, 5), 16807);
        vm.assertEq(harness.power(R - 1, 3), R - 1);
    }
}
