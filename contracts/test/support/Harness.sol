// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../../src/IRollup.sol";
import {Bn254} from "../../src/libraries/Bn254.sol";
import {Challenges} from "../../src/libraries/Challenges.sol";
import {Kzg} from "../../src/libraries/Kzg.sol";
import {Operations} from "../../src/libraries/Operations.sol";
import {Shapes} from "../../src/libraries/Shapes.sol";
import {Words} from "../../src/libraries/Words.sol";

/// @title The libraries, callable from outside: they want calldata
contract Harness {
    using Bn254 for Bn254.Pairs;

    // ---- Words ----

    function posted(bytes calldata data, ILedger.Shape memory shape, uint256 lastToken, uint256 at) external pure returns (uint256) {
        return Words.posted(data, Shapes.pack(1, shape), lastToken, at);
    }

    function power(uint256 base, uint256 exponent) external pure returns (uint256) {
        return Words.power(base, exponent);
    }

    function built(uint256[] memory words, Operations.Counts memory counts, ILedger.Shape memory shape, uint256 at) external pure returns (uint256) {
        return Words.built(words, counts, Shapes.pack(1, shape), at);
    }

    // ---- Operations ----

    function build(ILedger.Commit calldata batch, ILedger.Shape memory shape, uint256 k)
        external
        pure
        returns (uint256[] memory, Operations.Counts memory)
    {
        return Operations.build(batch, Shapes.pack(1, shape), k);
    }

    function countOf(uint256[] calldata choices, uint256 length) external pure returns (Operations.Counts memory) {
        return Operations.countOf(choices, length);
    }

    function payout(Operations.Counts memory counts, uint256[] calldata words, uint256 item) external pure returns (address, uint16, uint256) {
        return Operations.payout(counts, words, item);
    }

    // ---- Challenges ----

    function headerHash(ILedger.Record calldata record) external pure returns (bytes32) {
        (bytes32 header,) = Challenges.hashes(record);
        return header;
    }

    function recordHash(ILedger.Record calldata record) external pure returns (bytes32) {
        return Challenges.recordHash(record);
    }

    function stateRoot(uint256 k, uint256[6] calldata commitments) external pure returns (bytes32) {
        return Challenges.stateRoot(k, commitments);
    }

    function rho(uint256 domain, bytes32 header) external pure returns (uint256) {
        return Challenges.rho(domain, header);
    }

    function zeta(uint256 rho_, uint256[2] calldata cq) external pure returns (uint256) {
        return Challenges.zeta(rho_, cq);
    }

    function gamma(uint256 zeta_, ILedger.BatchProof calldata batch) external pure returns (uint256) {
        return Challenges.gamma(zeta_, batch);
    }

    function exitChallenge(bytes32 root, uint256 idx, uint256 dyn, address owner) external pure returns (uint256) {
        return Challenges.exit(root, idx, dyn, owner);
    }

    function seed(ILedger.BatchProof[] calldata batches, uint256 first) external pure returns (uint256) {
        return Challenges.seed(batches, first);
    }

    function weights(uint256 seed_, uint256 index) external pure returns (uint256 proof, uint256 opening) {
        return Challenges.weights(seed_, index);
    }

    // ---- Kzg ----

    function slotPoint(uint256 idx) external pure returns (uint256) {
        return Kzg.slotPoint(idx);
    }

    // ---- Bn254 ----

    function mul(uint256 x, uint256 y, uint256 scalar) external view returns (uint256, uint256) {
        Bn254.Sum memory product;
        Bn254.addMul(product, x, y, scalar);
        return (product.x, product.y);
    }

    function negate(uint256 y) external pure returns (uint256) {
        return Bn254.negate(y);
    }

    /// @dev left + right
    function add(uint256[2] memory left, uint256[2] memory right) external view returns (uint256, uint256) {
        Bn254.Sum memory sum = Bn254.Sum(left[0], left[1], 0, 0, 0);
        Bn254.addMul(sum, right[0], right[1], 1);
        return (sum.x, sum.y);
    }

    /// @dev a P + b P, by one running sum
    function addMul(uint256[2] memory point, uint256 a, uint256 b) external view returns (uint256, uint256) {
        Bn254.Sum memory sum;
        Bn254.addMul(sum, point[0], point[1], a);
        Bn254.addMul(sum, point[0], point[1], b);
        return (sum.x, sum.y);
    }

    /// @dev e(a G1, G2) e(-b G1, G2) = 1
    function pairsCancel(uint256 a, uint256 b) external view returns (bool) {
        Bn254.Pairs memory pairs = Bn254.newPairs(3);
        (uint256 x, uint256 y) = this.mul(1, 2, a);
        pairs.push(x, y, Bn254.G2_X1, Bn254.G2_X0, Bn254.G2_Y1, Bn254.G2_Y0);
        (x, y) = this.mul(1, 2, b);
        pairs.push(x, Bn254.negate(y), Bn254.G2_X1, Bn254.G2_X0, Bn254.G2_Y1, Bn254.G2_Y0);
        return pairs.productIsOne();
    }

    function isUsableG2(uint256[4] memory point) external view returns (bool) {
        return Bn254.isUsableG2(point);
    }

    function isGenerator(uint256[4] memory point) external pure returns (bool) {
        return Bn254.isGenerator(point);
    }

    function isOnCurve(uint256 x, uint256 y) external pure returns (bool) {
        return Bn254.isOnCurve(x, y);
    }
}
