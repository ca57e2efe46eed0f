// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Bn254} from "../../src/libraries/Bn254.sol";

/// @title Plain arithmetic in G2, for points that a test makes up
/// @dev Coordinates are a + b i with i^2 = -1, in the order of EIP-197: b, then a.
library G2 {
    uint256 private constant P = Bn254.P;

    struct Fp2 {
        uint256 a;
        uint256 b;
    }

    function generator() internal pure returns (uint256[4] memory) {
        return [Bn254.G2_X1, Bn254.G2_X0, Bn254.G2_Y1, Bn254.G2_Y0];
    }

    /// @notice The point with the same x.
    function opposite(uint256[4] memory point) internal pure returns (uint256[4] memory) {
        return [point[0], point[1], P - point[2], P - point[3]];
    }

    /// @notice Twice the point, which must not be the identity.
    function double(uint256[4] memory point) internal pure returns (uint256[4] memory) {
        (Fp2 memory x, Fp2 memory y) = (Fp2(point[1], point[0]), Fp2(point[3], point[2]));
        return third(x, y, x, mul(scale(mul(x, x), 3), inverse(scale(y, 2))));
    }

    /// @notice The sum of two points, neither of them the identity, the other, or its opposite.
    function add(uint256[4] memory left, uint256[4] memory right) internal pure returns (uint256[4] memory) {
        (Fp2 memory x, Fp2 memory y) = (Fp2(left[1], left[0]), Fp2(left[3], left[2]));
        (Fp2 memory otherX, Fp2 memory otherY) = (Fp2(right[1], right[0]), Fp2(right[3], right[2]));
        return third(x, y, otherX, mul(sub(otherY, y), inverse(sub(otherX, x))));
    }

    /// @notice The multiple by a scalar in [1, r).
    function mul(uint256[4] memory point, uint256 scalar) internal pure returns (uint256[4] memory out) {
        bool started;
        for (; scalar > 0; scalar >>= 1) {
            if (scalar & 1 == 1) (out, started) = (started ? add(out, point) : point, true);
            point = double(point);
        }
    }

    /// @dev The opposite of the third point on the line through (x, y) and a point of `otherX`.
    function third(Fp2 memory x, Fp2 memory y, Fp2 memory otherX, Fp2 memory slope) private pure returns (uint256[4] memory) {
        Fp2 memory outX = sub(sub(mul(slope, slope), x), otherX);
        Fp2 memory outY = sub(mul(slope, sub(x, outX)), y);
        return [outX.b, outX.a, outY.b, outY.a];
    }

    function mul(Fp2 memory l, Fp2 memory r) private pure returns (Fp2 memory) {
        return Fp2(addmod(mulmod(l.a, r.a, P), P - mulmod(l.b, r.b, P), P), addmod(mulmod(l.a, r.b, P), mulmod(l.b, r.a, P), P));
    }

    function scale(Fp2 memory l, uint256 by) private pure returns (Fp2 memory) {
        return Fp2(mulmod(l.a, by, P), mulmod(l.b, by, P));
    }

    function sub(Fp2 memory l, Fp2 memory r) private pure returns (Fp2 memory) {
        return Fp2(addmod(l.a, P - r.a, P), addmod(l.b, P - r.b, P));
    }

    /// @dev (a - b i) / (a^2 + b^2)
    function inverse(Fp2 memory l) private pure returns (Fp2 memory) {
        uint256 norm = addmod(mulmod(l.a, l.a, P), mulmod(l.b, l.b, P), P);
        return scale(Fp2(l.a, P - l.b), power(norm, P - 2));
    }

    function power(uint256 base, uint256 exponent) private pure returns (uint256 result) {
        result = 1;
        for (; exponent > 0; exponent >>= 1) {
            if (exponent & 1 == 1) result = mulmod(result, base, P);
            base = mulmod(base, base, P);
        }
    }
}
