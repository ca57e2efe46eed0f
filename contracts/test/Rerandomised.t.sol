// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger} from "../src/IRollup.sol";
import {Bn254} from "../src/libraries/Bn254.sol";
import {Fixture} from "./support/Fixture.sol";
import {G2} from "./support/G2.sol";

/// @title Proofs that anybody made to look different, without a witness
/// @dev e(A, B) = e(alpha, beta) .. e(C, delta) holds as well for (rA, B/r, C) and for (A, B + s delta, C + sA). Such a proof is as good as the first, and
/// as spent: a batch is proven once, whatever its proof looks like.
contract RerandomisedTest is Fixture {
    uint256 private constant FACTOR = 0x123456789abcdef;

    function setUp() public {
        deployWithQueue();
    }

    function test_rerandomised_proof_of_a_proven_batch_is_refused() public {
        commitFixtures(1, 2);
        proveFixtures(1, 1);
        (bytes32 root, uint256 fees, uint256 pending) = (rollup.stateRoot(), rollup.feesEarned(), rollup.pendingSince());
        vm.warp(block.timestamp + 1);
        refusesAsProven(1, scaled(proofOf(1)));
        refusesAsProven(1, shifted(proofOf(1)));
        refusesAsProven(1, shifted(scaled(proofOf(1))));
        vm.assertEq(rollup.proven(), 1);
        vm.assertEq(rollup.stateRoot(), root);
        vm.assertEq(rollup.feesEarned(), fees);
        vm.assertEq(rollup.pendingSince(), pending);
    }

    function test_rerandomised_proof_of_the_next_batch_is_accepted_once() public {
        commitFixtures(1, 3);
        acceptsOnce(1, scaled(proofOf(1)));
        acceptsOnce(2, shifted(proofOf(2)));
        acceptsOnce(3, shifted(scaled(proofOf(3))));
    }

    function test_rerandomised_proof_proves_no_other_batch() public {
        commitFixtures(1, 2);
        proveFixtures(1, 1);
        ILedger.BatchProof memory next = proofOf(2);
        next.groth16 = scaled(proofOf(1)).groth16;
        refuses(2, next, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
        next.groth16 = shifted(proofOf(1)).groth16;
        refuses(2, next, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
        vm.assertEq(rollup.proven(), 1);
    }

    function acceptsOnce(uint256 number, ILedger.BatchProof memory proof) private {
        rollup.prove(oldCommitments(number), only(proof));
        vm.assertEq(rollup.proven(), number);
        vm.assertEq(rollup.stateRoot(), newRoot(number));
        refusesAsProven(number, proof);
        refusesAsProven(number, proofOf(number));
    }

    function refusesAsProven(uint256 number, ILedger.BatchProof memory proof) private {
        refuses(number, proof, abi.encodeWithSelector(ILedger.NothingToProve.selector));
    }

    function refuses(uint256 number, ILedger.BatchProof memory proof, bytes memory error) private {
        uint256[6] memory old = oldCommitments(number);
        vm.expectRevert(error);
        rollup.prove(old, only(proof));
    }

    function only(ILedger.BatchProof memory proof) private pure returns (ILedger.BatchProof[] memory proofs) {
        proofs = new ILedger.BatchProof[](1);
        proofs[0] = proof;
    }

    /// @dev (rA, B/r, C)
    function scaled(ILedger.BatchProof memory proof) private view returns (ILedger.BatchProof memory) {
        uint256[8] memory words = proof.groth16;
        Bn254.Sum memory a;
        Bn254.addMul(a, words[0], words[1], FACTOR);
        uint256[4] memory b = G2.mul(pointB(words), inverse(FACTOR));
        proof.groth16 = [a.x, a.y, b[0], b[1], b[2], b[3], words[6], words[7]];
        return different(words, proof);
    }

    /// @dev (A, B + s delta, C + sA)
    function shifted(ILedger.BatchProof memory proof) private view returns (ILedger.BatchProof memory) {
        uint256[8] memory words = proof.groth16;
        Bn254.Sum memory c = Bn254.Sum(words[6], words[7], 0, 0, 0);
        Bn254.addMul(c, words[0], words[1], FACTOR);
        uint256[4] memory delta = params().circuits[proof.record.header.circuit - 1].delta;
        uint256[4] memory b = G2.add(pointB(words), G2.mul(delta, FACTOR));
        proof.groth16 = [words[0], words[1], b[0], b[1], b[2], b[3], c.x, c.y];
        return different(words, proof);
    }

    function different(uint256[8] memory words, ILedger.BatchProof memory proof) private pure returns (ILedger.BatchProof memory) {
        vm.assertTrue(keccak256(abi.encode(words)) != keccak256(abi.encode(proof.groth16)));
        return proof;
    }

    function pointB(uint256[8] memory words) private pure returns (uint256[4] memory) {
        return [words[2], words[3], words[4], words[5]];
    }

    /// @dev x^(r - 2)
    function inverse(uint256 x) private pure returns (uint256 out) {
        out = 1;
        for (uint256 exponent = R - 2; exponent > 0; exponent >>= 1) {
            if (exponent & 1 == 1) out = mulmod(out, x, R);
            x = mulmod(x, x, R);
        }
    }
}
