// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Bn254} from "./Bn254.sol";
import {Keys} from "./Keys.sol";

/// @title Many Groth16 proofs in one pairing check
/// @dev A proof (A, B, C) with public inputs x_1 .. x_9 is valid if e(A, B) = e(alpha, beta) e(IC_0 + sum x_j IC_j, gamma) e(C, delta). With a weight a_i
/// for each proof, gamma = G2 and IC'_0 = IC_0 + x_1 IC_1 (x_1 is the domain, always the same):
///
///     prod e(-a_i A_i, B_i) * e(sum a_i alpha, beta) * e(sum a_i IC'_0 + sum_j (sum a_i x_ij) IC_j, G2) * e(sum a_i C_i, delta) = 1
///
/// where the last two sums are taken per circuit. Only the first factor and one multiplication grow with the number of proofs.
library Groth16 {
    /// @notice Public inputs after the domain: rho, zeta, h, E, Z, Delta, y_da, y_ops. All below r.
    uint256 internal constant INPUTS = 8;

    /// @notice The proofs of one circuit; `used` tells whether there are any.
    struct Sum {
        bool used;
        /// sum a_i C_i
        Bn254.Sum c;
        /// sum a_i, then sum a_i x_ij for j = 2 .. 9
        uint256[9] scalars;
    }

    /// @notice Adds a proof with weight `weight`; pushes its pair. A and C must be in G1.
    function add(Sum memory sum, Bn254.Pairs memory pairs, uint256[8] calldata proof, uint256[INPUTS] memory inputs, uint256 weight) internal view {
        sum.used = true;
        sum.scalars[0] = addmod(sum.scalars[0], weight, Bn254.R);
        accumulate(sum.scalars, inputs, weight);
        (uint256 x, uint256 y) = weight == 1 ? (proof[0], proof[1]) : Bn254.mul(proof[0], proof[1], weight);
        Bn254.push(pairs, x, Bn254.negate(y), proof[2], proof[3], proof[4], proof[5]);
        Bn254.addMul(sum.c, proof[6], proof[7], weight);
    }

    /// @dev scalars[j + 1] += weight inputs[j]. Written out: a loop would cost twice as much.
    function accumulate(uint256[9] memory scalars, uint256[INPUTS] memory inputs, uint256 weight) private pure {
        scalars[1] = addmod(scalars[1], mulmod(weight, inputs[0], Bn254.R), Bn254.R);
        scalars[2] = addmod(scalars[2], mulmod(weight, inputs[1], Bn254.R), Bn254.R);
        scalars[3] = addmod(scalars[3], mulmod(weight, inputs[2], Bn254.R), Bn254.R);
        scalars[4] = addmod(scalars[4], mulmod(weight, inputs[3], Bn254.R), Bn254.R);
        scalars[5] = addmod(scalars[5], mulmod(weight, inputs[4], Bn254.R), Bn254.R);
        scalars[6] = addmod(scalars[6], mulmod(weight, inputs[5], Bn254.R), Bn254.R);
        scalars[7] = addmod(scalars[7], mulmod(weight, inputs[6], Bn254.R), Bn254.R);
        scalars[8] = addmod(scalars[8], mulmod(weight, inputs[7], Bn254.R), Bn254.R);
    }

    /// @notice Closes a circuit: adds its inputs to `g2` (the sum paired with the G2 generator), pushes its pair with delta.
    function close(Sum memory sum, Bn254.Pairs memory pairs, Bn254.Sum memory g2, Keys.Circuit memory key) internal view {
        for (uint256 j; j < 9; ++j) {
            Bn254.addMul(g2, key.ic[2 * j], key.ic[2 * j + 1], sum.scalars[j]);
        }
        uint256[4] memory delta = key.delta;
        Bn254.push(pairs, sum.c.x, sum.c.y, delta[0], delta[1], delta[2], delta[3]);
    }
}
