// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger} from "../ILedger.sol";

/// @title The BN254 groups through the precompiles of EIP-196 and EIP-197
/// @dev Points are checked before a precompile sees them where that is cheap: a precompile that is given a bad point takes all the gas it was sent.
/// The gas sent is never a constant, because prices of precompiles change.
library Bn254 {
    /// @notice Prime of the coordinates.
    uint256 internal constant P = 0x30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47;
    /// @notice Order of the groups.
    uint256 internal constant R = 0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001;

    /// @notice The generator of G2.
    uint256 internal constant G2_X1 = 0x198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2;
    uint256 internal constant G2_X0 = 0x1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed;
    uint256 internal constant G2_Y1 = 0x090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b;
    uint256 internal constant G2_Y0 = 0x12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa;

    uint256 private constant WORDS_PER_PAIR = 6;

    /// @notice A running sum of G1 points; starts at the identity.
    /// @dev The summand and its scalar lie right behind the sum, so that both precompiles read and write in place.
    struct Sum {
        uint256 x;
        uint256 y;
        uint256 summandX;
        uint256 summandY;
        uint256 scalar;
    }

    /// @notice Two G1 points, the input of one addition.
    struct Two {
        uint256 x;
        uint256 y;
        uint256 otherX;
        uint256 otherY;
    }

    /// @notice The input of one pairing check.
    struct Pairs {
        uint256[] words;
        uint256 count;
    }

    /// @notice True for points of G1, the identity (0, 0) included. The curve's order is prime, so there is no subgroup.
    function isOnCurve(uint256 x, uint256 y) internal pure returns (bool on) {
        assembly ("memory-safe") {
            on := eq(mulmod(y, y, P), addmod(mulmod(mulmod(x, x, P), x, P), 3, P))
            on := and(or(on, iszero(or(x, y))), and(lt(x, P), lt(y, P)))
        }
    }

    /// @notice The two words of a point.
    function coordinates(uint256[2] calldata point) internal pure returns (uint256 x, uint256 y) {
        assembly ("memory-safe") {
            x := calldataload(point)
            y := calldataload(add(point, 0x20))
        }
    }

    /// @notice y of the opposite point; the point must be in G1.
    function negate(uint256 y) internal pure returns (uint256) {
        return y == 0 ? 0 : P - y;
    }

    /// @notice sum += scalar (x, y); the point must be in G1.
    function addMul(Sum memory sum, uint256 x, uint256 y, uint256 scalar) internal view {
        (sum.summandX, sum.summandY) = (x, y);
        addSummand(sum, scalar);
    }

    /// @notice sum += scalar point; the point must be in G1.
    function addMul(Sum memory sum, uint256[2] calldata point, uint256 scalar) internal view {
        bool ok;
        assembly ("memory-safe") {
            let summand := add(sum, 0x40)
            calldatacopy(summand, point, 0x40)
            mstore(add(sum, 0x80), scalar)
            ok := staticcall(gas(), 7, summand, 0x60, summand, 0x40)
            ok := and(ok, staticcall(gas(), 6, sum, 0x80, sum, 0x40))
        }
        if (!ok) revert ILedger.PrecompileFailed();
    }

    /// @notice sum += scalar (point + the other of two); both points must be in G1.
    function addMulOfTwo(Sum memory sum, uint256[2] calldata point, Two memory two, uint256 scalar) internal view {
        bool ok;
        assembly ("memory-safe") {
            let summand := add(sum, 0x40)
            calldatacopy(two, point, 0x40)
            ok := staticcall(gas(), 6, two, 0x80, summand, 0x40)
            mstore(add(sum, 0x80), scalar)
            ok := and(ok, staticcall(gas(), 7, summand, 0x60, summand, 0x40))
            ok := and(ok, staticcall(gas(), 6, sum, 0x80, sum, 0x40))
        }
        if (!ok) revert ILedger.PrecompileFailed();
    }

    /// @notice sum += sum of scalars[j] (words[first + 2j], words[first + 2j + 1]); the points must be in G1, `first` at most 4.
    function addMuls(Sum memory sum, uint256[22] memory words, uint256 first, uint256[9] memory scalars) internal view {
        for (uint256 place; place < 0x120; place += 0x20) {
            uint256 scalar;
            assembly ("memory-safe") {
                mcopy(add(sum, 0x40), add(words, mul(2, add(place, mul(0x10, first)))), 0x40)
                scalar := mload(add(scalars, place))
            }
            addSummand(sum, scalar);
        }
    }

    /// @dev sum += scalar summand. Multiplying by 1 is worth skipping: weights of a batched check add up to 1, and most calls check one batch.
    function addSummand(Sum memory sum, uint256 scalar) private view {
        bool ok = true;
        assembly ("memory-safe") {
            let summand := add(sum, 0x40)
            if sub(scalar, 1) {
                mstore(add(sum, 0x80), scalar)
                ok := staticcall(gas(), 7, summand, 0x60, summand, 0x40)
            }
            ok := and(ok, staticcall(gas(), 6, sum, 0x80, sum, 0x40))
        }
        if (!ok) revert ILedger.PrecompileFailed();
    }

    /// @notice Room for `count` pairs.
    function newPairs(uint256 count) internal pure returns (Pairs memory pairs) {
        pairs.words = new uint256[](WORDS_PER_PAIR * count);
    }

    /// @notice Adds the pair (x, y), (x1, x0, y1, y0).
    function push(Pairs memory pairs, uint256 x, uint256 y, uint256 x1, uint256 x0, uint256 y1, uint256 y0) internal pure {
        uint256 at;
        unchecked {
            at = WORDS_PER_PAIR * pairs.count++;
        }
        uint256[] memory words = pairs.words;
        // its bounds are checked here; so the five words before it lie inside as well
        words[at + 5] = y0;
        assembly ("memory-safe") {
            let pair := add(words, mul(0x20, add(at, 1)))
            mstore(pair, x)
            mstore(add(pair, 0x20), y)
            mstore(add(pair, 0x40), x1)
            mstore(add(pair, 0x60), x0)
            mstore(add(pair, 0x80), y1)
        }
    }

    /// @notice Adds the pair -scalar (proof[0], proof[1]), (proof[2], proof[3], proof[4], proof[5]); the first must be in G1.
    function pushOpposite(Pairs memory pairs, uint256[8] calldata proof, uint256 scalar) internal view {
        uint256 at;
        unchecked {
            // of the pair's last word
            at = WORDS_PER_PAIR * pairs.count++ + 5;
        }
        uint256[] memory words = pairs.words;
        // its bounds are checked here; so the five words before it lie inside as well
        words[at] = 0;
        bool ok = true;
        assembly ("memory-safe") {
            let pair := add(words, mul(0x20, sub(at, 4)))
            calldatacopy(pair, proof, 0x40)
            switch scalar
            case 1 {
                let y := mload(add(pair, 0x20))
                if y { mstore(add(pair, 0x20), sub(P, y)) }
            }
            default {
                mstore(add(pair, 0x40), sub(R, scalar))
                ok := staticcall(gas(), 7, pair, 0x60, pair, 0x40)
            }
            calldatacopy(add(pair, 0x40), add(proof, 0x40), 0x80)
        }
        if (!ok) revert ILedger.PrecompileFailed();
    }

    /// @notice True if the product of the pairings is 1. False also if a point is not in its group.
    function productIsOne(Pairs memory pairs) internal view returns (bool ok) {
        uint256[] memory words = pairs.words;
        uint256 length = 32 * WORDS_PER_PAIR * pairs.count;
        assembly ("memory-safe") {
            // the result goes to the scratch space at 0
            ok := staticcall(gas(), 8, add(words, 0x20), length, 0, 0x20)
            ok := and(ok, mload(0))
        }
    }

    /// @notice True for points of G2 other than the identity: the pairing precompile checks curve and subgroup even beside a G1 identity.
    function isUsableG2(uint256[4] memory point) internal view returns (bool) {
        if (point[0] | point[1] | point[2] | point[3] == 0) return false;
        Pairs memory pairs = newPairs(1);
        push(pairs, 0, 0, point[0], point[1], point[2], point[3]);
        return productIsOne(pairs);
    }

    /// @notice True for the generator of G2 and its opposite: points with the same x.
    function isGenerator(uint256[4] memory point) internal pure returns (bool) {
        return point[0] == G2_X1 && point[1] == G2_X0;
    }
}
