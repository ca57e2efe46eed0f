// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../src/IRollup.sol";
import {Bn254} from "../src/libraries/Bn254.sol";
import {Words} from "../src/libraries/Words.sol";
import {vm} from "./Vm.sol";

/// @title The unrolled evaluation against a plain one
contract WordsTest {
    function posted(bytes calldata data, IRollup.Shape memory shape, uint256 zeta) external pure returns (uint256) {
        return Words.posted(data, shape, zeta);
    }

    function plain(bytes calldata data, uint256 from, uint256 count, uint256 size, uint256 zeta) private pure returns (uint256 y) {
        uint256 power = 1;
        for (uint256 i; i < count; ++i) {
            uint256 word;
            for (uint256 j; j < size; ++j) word = word << 8 | uint8(data[from + size * i + j]);
            y = addmod(y, mulmod(word, power, Bn254.R), Bn254.R);
            power = mulmod(power, zeta, Bn254.R);
        }
    }

    function reference_(bytes calldata data, uint256 pairs, uint256 fees, uint256 feesWord, uint256 zeta) external pure returns (uint256 y) {
        y = plain(data, 6 + 26 * pairs, fees, 19, zeta);
        for (uint256 i; i < feesWord; ++i) y = mulmod(y, zeta, Bn254.R);
        y = addmod(y, plain(data, 6, pairs, 26, zeta), Bn254.R);
    }

    function testFuzz_posted_words(uint8 pairs, uint8 fees, uint16 spare, uint256 seed, uint256 zeta) public view {
        (pairs, fees, spare) = (pairs % 40, fees % 6, spare % 100);
        zeta %= 1 << 248;
        bytes memory data = abi.encodePacked(uint16(2 * uint256(pairs)), uint16(0), uint16(fees));
        uint256 length = 26 * uint256(pairs) + 19 * uint256(fees);
        for (uint256 i; data.length < 6 + length; ++i) data = bytes.concat(data, keccak256(abi.encode(seed, i)));
        assembly {
            mstore(data, add(6, length))
        }
        IRollup.Shape memory shape;
        shape.transfers = uint32(2 * uint256(pairs) + spare);
        shape.fees = uint32(fees);
        uint256 feesWord = (uint256(shape.transfers) + 1) / 2;
        require(this.posted(data, shape, zeta) == this.reference_(data, pairs, fees, feesWord, zeta), "words");
    }

    function test_power() public pure {
        require(Words.power(7, 0) == 1 && Words.power(7, 5) == 16807 && Words.power(Bn254.R - 1, 3) == Bn254.R - 1, "power");
    }
}
