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
        /// room for C_i, and the opposite of the C of the first of them
        Bn254.Two difference;
        /// sum a_i (C_i - first C)
        Bn254.Sum c;
        Scalars scalars;
    }

    /// @notice sum a_i, then sum a_i x_ij for j = 2 .. 9: the public inputs after the domain, all below r.
    struct Scalars {
        uint256 weight;
        uint256 rho;
        uint256 zeta;
        uint256 h;
        uint256 e;
        uint256 z;
        uint256 delta;
        uint256 yDa;
        uint256 yOps;
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
            Bn254.addMulOfTwo(sum.c, c, sum.difference, weight);
        } else {
            sum.used = true;
            (sum.difference.otherX, sum.difference.otherY) = (c[0], Bn254.negate(c[1]));
        }
    }

    function pointA(uint256[8] calldata proof) internal pure returns (uint256[2] calldata point) {
        assembly ("memory-safe") {
            point := proof
        }
    }

    function pointC(uint256[8] calldata proof) internal pure returns (uint256[2] calldata point) {
        assembly ("memory-safe") {
            point := add(proof, 0xc0)
        }
    }

    /// @dev Written out: a loop would cost twice as much.
    function accumulate(Scalars memory sums, ILedger.BatchProof calldata batch, uint256 rho, uint256 zeta, uint256 weight) private pure {
        sums.weight = addmod(sums.weight, weight, Bn254.R);
        sums.rho = addmod(sums.rho, mulmod(weight, rho, Bn254.R), Bn254.R);
        sums.zeta = addmod(sums.zeta, mulmod(weight, zeta, Bn254.R), Bn254.R);
        sums.h = addmod(sums.h, mulmod(weight, batch.record.header.h, Bn254.R), Bn254.R);
        sums.e = addmod(sums.e, mulmod(weight, batch.e, Bn254.R), Bn254.R);
        sums.z = addmod(sums.z, mulmod(weight, batch.z, Bn254.R), Bn254.R);
        sums.delta = addmod(sums.delta, mulmod(weight, batch.delta, Bn254.R), Bn254.R);
        sums.yDa = addmod(sums.yDa, mulmod(weight, batch.record.yDa, Bn254.R), Bn254.R);
        sums.yOps = addmod(sums.yOps, mulmod(weight, batch.record.yOps, Bn254.R), Bn254.R);
    }

    /// @notice Closes a circuit: adds its inputs to `g2` (the sum paired with the G2 generator), pushes its pair with delta.
    function close(Sum memory sum, Bn254.Pairs memory pairs, Bn254.Sum memory g2, uint256[22] memory key) internal view {
        Scalars memory scalars = sum.scalars;
        uint256[9] memory list;
        assembly ("memory-safe") {
            // a struct of words lies in memory like an array of them
            list := scalars
        }
        // behind the four words of delta
        Bn254.addMuls(g2, key, 4, list);
        // the first proof's share of the circuit's weight is what the others leave: sum a_i C_i is all of it times the first C, and the differences
        Bn254.addMul(sum.c, sum.difference.otherX, Bn254.negate(sum.difference.otherY), scalars.weight);
        Bn254.push(pairs, sum.c.x, sum.c.y, key[0], key[1], key[2], key[3]);
    }
}
