// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger} from "../ILedger.sol";

/// @title A circuit's shape in half a word
/// @dev From the lowest bit, 16 bits each: transfers | accounts | fees | deposits | withdrawals | registers | exits | rotations. A commit looks at it only, so it
/// is immutable: code is cheaper to read than anything else.
library Shapes {
    uint256 private constant MASK = type(uint16).max;

    /// @notice Packs the shape of circuit `id`.
    function pack(uint256 id, ILedger.Shape memory shape) internal pure returns (uint256 packed) {
        uint32[8] memory counts =
            [shape.rotations, shape.exits, shape.registers, shape.withdrawals, shape.deposits, shape.fees, shape.accounts, shape.transfers];
        for (uint256 i; i < 8; ++i) {
            if (counts[i] > MASK) revert ILedger.ShapeNotSupported(id);
            packed = packed << 16 | counts[i];
        }
        // every kind of entry must have its way out of the queue, whichever circuit is used
        if (shape.deposits == 0 || shape.exits == 0 || shape.rotations == 0) revert ILedger.ShapeNotSupported(id);
    }

    function transfers(uint256 packed) internal pure returns (uint256) {
        return packed & MASK;
    }

    function accounts(uint256 packed) internal pure returns (uint256) {
        return packed >> 16 & MASK;
    }

    function fees(uint256 packed) internal pure returns (uint256) {
        return packed >> 32 & MASK;
    }

    function deposits(uint256 packed) internal pure returns (uint256) {
        return packed >> 48 & MASK;
    }

    function withdrawals(uint256 packed) internal pure returns (uint256) {
        return packed >> 64 & MASK;
    }

    function registers(uint256 packed) internal pure returns (uint256) {
        return packed >> 80 & MASK;
    }

    function exits(uint256 packed) internal pure returns (uint256) {
        return packed >> 96 & MASK;
    }

    function rotations(uint256 packed) internal pure returns (uint256) {
        return packed >> 112 & MASK;
    }
}
