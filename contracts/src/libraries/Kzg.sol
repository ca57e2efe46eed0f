// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Bn254} from "./Bn254.sol";
import {ILedger} from "../ILedger.sol";

/// @title Many KZG checks of state changes in one pairing check
/// @dev For batch i, with F = C_key + rho C_dyn + rho^2 C_owner before it, F' the same after it, C_q the quotient's commitment and g = gamma, the opening W shows
/// that (1 - g) F + g F' - Z C_q - (E + g Delta)(zeta - 1) L_0 vanishes at zeta:
///
///     e(sum b_i [(1 - g_i) F_i + g_i F'_i - Z_i C_q,i + zeta_i W_i - (E_i + g_i Delta_i)(zeta_i - 1) L_0], G2) * e(-sum b_i W_i, [tau]_2) = 1
///
/// The commitments after batch i are those before batch i + 1, so each is multiplied once, by both weights together.
///
/// Beside it, what one slot holds: an opening of C_dyn + g C_owner at the slot's point.
library Kzg {
    /// Primitive 2^24-th root of unity: the factor of an index's highest bit.
    uint256 private constant OMEGA_24 = 0x0c9fabc7845d50d2852e2a0371c6441f145e0db82e8326961c25f1e3e32b045b;
    uint256 private constant HIGHEST_BIT = 1 << 23;

    /// @notice The checks added so far.
    struct Sum {
        /// paired with the G2 generator
        Bn254.Sum g2;
        /// sum b_i W_i
        Bn254.Sum openings;
        /// weights that the next batch's old commitments carry from the batch before it
        Carried carried;
        /// sum b_i (E_i + g_i Delta_i)(zeta_i - 1)
        uint256 value;
    }

    /// @notice Weights of three commitments.
    struct Carried {
        uint256 key;
        uint256 dyn;
        uint256 owner;
    }

    /// @notice The challenges of a batch.
    struct Challenge {
        uint256 rho;
        uint256 zeta;
        uint256 gamma;
    }

    /// @notice Adds a batch with weight `weight`; `before` are the commitments before it. They, C_q and the opening must be in G1.
    function add(Sum memory sum, uint256[6] calldata before, ILedger.BatchProof calldata batch, Challenge memory challenge, uint256 weight)
        internal
        view
    {
        unchecked {
            uint256 right = mulmod(weight, challenge.gamma, Bn254.R);
            addCommitments(sum, before, challenge.rho, addmod(weight, Bn254.R - right, Bn254.R), right);
            Bn254.addMul(sum.g2, batch.record.cq, Bn254.R - mulmod(weight, batch.z, Bn254.R));
            Bn254.addMul(sum.g2, batch.opening, mulmod(weight, challenge.zeta, Bn254.R));
            Bn254.addMul(sum.openings, batch.opening, weight);
            uint256 claim = addmod(batch.e, mulmod(challenge.gamma, batch.delta, Bn254.R), Bn254.R);
            uint256 zetaMinusOne = addmod(challenge.zeta, Bn254.R - 1, Bn254.R);
            sum.value = addmod(sum.value, mulmod(weight, mulmod(claim, zetaMinusOne, Bn254.R), Bn254.R), Bn254.R);
        }
    }

    /// @dev left = b (1 - g) goes to the commitments before the batch, right = b g to those after it, which the next call adds.
    function addCommitments(Sum memory sum, uint256[6] calldata before, uint256 rho, uint256 left, uint256 right) private view {
        Carried memory carried = sum.carried;
        Bn254.addMul(sum.g2, commitment(before, 0), addmod(carried.key, left, Bn254.R));
        left = mulmod(left, rho, Bn254.R);
        Bn254.addMul(sum.g2, commitment(before, 1), addmod(carried.dyn, left, Bn254.R));
        left = mulmod(left, rho, Bn254.R);
        Bn254.addMul(sum.g2, commitment(before, 2), addmod(carried.owner, left, Bn254.R));
        carried.key = right;
        right = mulmod(right, rho, Bn254.R);
        carried.dyn = right;
        carried.owner = mulmod(right, rho, Bn254.R);
    }

    /// @notice One of the three.
    function commitment(uint256[6] calldata all, uint256 c) internal pure returns (uint256[2] calldata point) {
        assembly ("memory-safe") {
            point := add(all, mul(0x40, c))
        }
    }

    /// @notice Adds what is left: the last batch's new commitments and the value; pushes the pair with [tau]_2. `shared`: see `Keys`.
    function close(Sum memory sum, Bn254.Pairs memory pairs, uint256[6] calldata last, uint256[12] memory shared) internal view {
        Bn254.addMul(sum.g2, commitment(last, 0), sum.carried.key);
        Bn254.addMul(sum.g2, commitment(last, 1), sum.carried.dyn);
        Bn254.addMul(sum.g2, commitment(last, 2), sum.carried.owner);
        Bn254.addMul(sum.g2, shared[10], shared[11], Bn254.R - sum.value);
        Bn254.push(pairs, sum.openings.x, Bn254.negate(sum.openings.y), shared[6], shared[7], shared[8], shared[9]);
    }

    /// @notice True if slot `idx` of the committed state holds dyn and owner of which `value` = dyn + g owner; g depends on both.
    ///
    ///     e(C_dyn + g C_owner - value G1 + W(idx) opening, G2) * e(-opening, [tau]_2) = 1
    function opensSlot(uint256[6] calldata commitments, uint256 idx, uint256 value, uint256 g, uint256[2] calldata opening, uint256[12] memory shared)
        internal
        view
        returns (bool)
    {
        Bn254.Sum memory sum = Bn254.Sum(commitments[2], commitments[3], 0, 0, 0);
        Bn254.addMul(sum, commitments[4], commitments[5], g);
        Bn254.addMul(sum, 1, 2, Bn254.R - value);
        Bn254.addMul(sum, opening, slotPoint(idx));
        Bn254.Pairs memory pairs = Bn254.newPairs(2);
        Bn254.push(pairs, sum.x, sum.y, Bn254.G2_X1, Bn254.G2_X0, Bn254.G2_Y1, Bn254.G2_Y0);
        Bn254.push(pairs, opening[0], Bn254.negate(opening[1]), shared[6], shared[7], shared[8], shared[9]);
        return Bn254.productIsOne(pairs);
    }

    /// @notice W(idx), the point of a slot: bit j of the index brings in a primitive 2^(j+1)-th root of unity.
    function slotPoint(uint256 idx) internal pure returns (uint256 point) {
        point = 1;
        uint256 root = OMEGA_24;
        for (uint256 bit = HIGHEST_BIT; bit != 0; bit >>= 1) {
            if (idx & bit != 0) point = mulmod(point, root, Bn254.R);
            root = mulmod(root, root, Bn254.R);
        }
    }
}
