// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Bn254} from "./Bn254.sol";
import {ILedger} from "../ILedger.sol";
import {Keys} from "./Keys.sol";

/// @title Many Groth16 proofs in one pairing check
/// @dev A proof (A, B, C) with public inputs x_1 .. x_9 is valid if e(A, B) = e(alpha, beta) e(IC_0 + sum x_j IC_j, gamma) e(C, delta). With a weight a_i
/// for each proof, all of which add up to 1, gamma = G2 and IC'_0 = IC_0 + x_1 IC_1 (x_1 is the domain, always the same):
///
///     prod e(-a_i A_i, B_i) * e(alpha, beta) * e(sum a_i IC'_0 + sum_j (sum a_i x_ij) IC_j, G2) * e(sum a_i C_i, delta) = 1
///
/// where the last two sums are taken per circuit. Only the first factor and one multiplication grow with the number of proofs.
library Groth16 {
    /// @notice The proofs of one circuit; `used` tells whether there are any.
    struct Sum {
        bool used;
        /// C of the first of them
        uint256[2] first;
        /// sum a_i (C_i - first)
        Bn254.Sum c;
        /// sum a_i, then sum a_i x_ij for j = 2 .. 9: the public inputs after the domain, rho, zeta, h, E, Z, Delta, y_da, y_ops, all below r
        uint256[9] scalars;
    }

    /// @notice Adds a batch's proof with weight `weight`; pushes its pair. A and C must be in G1.
    function add(Sum memory sum, Bn254.Pairs memory pairs, ILedger.BatchProof calldata batch, uint256 rho, uint256 zeta, uint256 weight)
        internal
        view
    {
        accumulate(sum.scalars, batch, rho, zeta, weight);
        Bn254.pushOpposite(pairs, batch.groth16, weight);
        uint256[2] calldata c = pointC(batch.groth16);
        if (sum.used) {
            Bn254.addMulDifference(sum.c, c, sum.first, weight);
        } else {
            (sum.used, sum.first) = (true, c);
        }
    }

    function pointC(uint256[8] calldata proof) private pure returns (uint256[2] calldata point) {
        assembly ("memory-safe") {
            point := add(proof, 0xc0)
        }
    }

    /// @dev Written out: a loop would cost twice as much.
    function accumulate(uint256[9] memory scalars, ILedger.BatchProof calldata batch, uint256 rho, uint256 zeta, uint256 weight) private pure {
        scalars[0] = addmod(scalars[0], weight, Bn254.R);
        scalars[1] = addmod(scalars[1], mulmod(weight, rho, Bn254.R), Bn254.R);
        scalars[2] = addmod(scalars[2], mulmod(weight, zeta, Bn254.R), Bn254.R);
        scalars[3] = addmod(scalars[3], mulmod(weight, batch.record.header.h, Bn254.R), Bn254.R);
        scalars[4] = addmod(scalars[4], mulmod(weight, batch.e, Bn254.R), Bn254.R);
        scalars[5] = addmod(scalars[5], mulmod(weight, batch.z, Bn254.R), Bn254.R);
        scalars[6] = addmod(scalars[6], mulmod(weight, batch.delta, Bn254.R), Bn254.R);
        scalars[7] = addmod(scalars[7], mulmod(weight, batch.record.yDa, Bn254.R), Bn254.R);
        scalars[8] = addmod(scalars[8], mulmod(weight, batch.record.yOps, Bn254.R), Bn254.R);
    }

    /// @notice Closes a circuit: adds its inputs to `g2` (the sum paired with the G2 generator), pushes its pair with delta.
    function close(Sum memory sum, Bn254.Pairs memory pairs, Bn254.Sum memory g2, uint256[22] memory key) internal view {
        // behind the four words of delta
        Bn254.addMuls(g2, key, 4, sum.scalars);
        // the first proof's share of the circuit's weight is what the others leave: sum a_i C_i is all of it times the first C, and the differences
        Bn254.addMul(sum.c, sum.first[0], sum.first[1], sum.scalars[0]);
        Bn254.push(pairs, sum.c.x, sum.c.y, key[0], key[1], key[2], key[3]);
    }
}
