// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../src/IRollup.sol";
import {Bn254} from "../src/libraries/Bn254.sol";
import {Fixture} from "./support/Fixture.sol";
import {Harness} from "./support/Harness.sol";

/// @title The libraries against the protocol's golden vectors, the fixtures and plain arithmetic
contract LibrariesTest is Fixture {
    Harness private harness;
    string private vectors;

    function setUp() public {
        harness = new Harness();
        json = vm.readFile("test/fixtures/batches.json");
        vectors = vm.readFile("../protocol/vectors/encodings.json");
    }

    // ---- Challenges ----

    function test_challenges_are_the_golden_ones() public view {
        IRollup.BatchProof memory proof;
        proof.record.header = abi.decode(abi.encodePacked(vm.parseJsonUintArray(vectors, ".batch.header_words")), (IRollup.Header));
        IRollup.Header memory header = proof.record.header;
        vm.assertEq(harness.headerHash(proof.record), golden("header_hash"));
        vm.assertEq(header.dataHash, keccak256(vm.parseJsonBytes(vectors, ".batch.posted_data")));
        uint256[6] memory identities;
        vm.assertEq(harness.stateRoot(16, identities), golden("genesis_root_16"));
        uint256 rho = harness.rho(uint256(golden("domain")), golden("header_hash"));
        vm.assertEq(bytes32(rho), golden("rho"));
    }

    function test_challenges_are_those_of_the_proofs() public view {
        uint256 domain = vm.parseJsonUint(json, ".domain");
        for (uint256 number = 1; number <= BATCHES; ++number) {
            IRollup.BatchProof memory proof = proofOf(number);
            uint256 rho = harness.rho(domain, harness.headerHash(proof.record));
            uint256 zeta = harness.zeta(rho, proof.record.cq);
            vm.assertEq(rho, vm.parseJsonUint(json, path(number, "challenges.rho")));
            vm.assertEq(zeta, vm.parseJsonUint(json, path(number, "challenges.zeta")));
            vm.assertEq(harness.gamma(zeta, proof), vm.parseJsonUint(json, path(number, "challenges.gamma")));
            vm.assertEq(harness.recordHash(proof.record), vm.parseJsonBytes32(json, path(number, "batchHash")));
            vm.assertEq(harness.stateRoot(16, proof.record.header.commitments), newRoot(number));
        }
    }

    function golden(string memory field) private view returns (bytes32) {
        return vm.parseJsonBytes32(vectors, string.concat(".batch.", field));
    }

    // ---- Words ----

    function testFuzz_built_words(uint8 withdrawals, uint8 deposits, uint8 spare, uint256 seed, uint256 zeta) public view {
        (withdrawals, deposits, zeta) = (withdrawals % 20, deposits % 20, zeta % R);
        uint256[] memory words = new uint256[](3 * uint256(withdrawals) + 4 * uint256(deposits));
        for (uint256 i; i < words.length; ++i) {
            words[i] = uint256(keccak256(abi.encode(seed, i))) % R;
        }
        IRollup.Shape memory shape;
        shape.withdrawals = uint32(withdrawals) + spare;
        uint256 expected;
        uint256 power = 1;
        for (uint256 i; i < 3 * uint256(shape.withdrawals) + 4 * uint256(deposits); ++i) {
            uint256 unused = 3 * uint256(spare);
            bool withdrawal = i < 3 * uint256(withdrawals);
            uint256 word = withdrawal ? words[i] : i < 3 * uint256(shape.withdrawals) ? 0 : words[i - unused];
            expected = addmod(expected, mulmod(word, power, R), R);
            power = mulmod(power, zeta, R);
        }
        vm.assertEq(harness.built(words, withdrawals, shape, zeta), expected);
    }

    // ---- Bn254 ----

    function testFuzz_points_off_the_curve(uint256 x, uint256 y) public view {
        bool on = x < P && y < P && ((x == 0 && y == 0) || mulmod(y, y, P) == addmod(mulmod(mulmod(x, x, P), x, P), 3, P));
        vm.assertTrue(harness.isOnCurve(x, y) == on);
    }

    function testFuzz_multiples_lie_on_the_curve(uint256 scalar) public {
        (uint256 x, uint256 y) = harness.mul(1, 2, scalar);
        vm.assertTrue(harness.isOnCurve(x, y));
        vm.assertTrue(x == 0 || !harness.isOnCurve(x, addmod(y, 1, P)));
        // a coordinate that is not reduced is another byte string for the same point
        vm.expectRevert(abi.encodeWithSelector(IRollup.PointNotOnCurve.selector, x + P, y));
        harness.requireOnCurve(x + P, y);
    }

    function testFuzz_running_sum(uint256 a, uint256 b) public view {
        (a, b) = (a % R, b % R);
        (uint256 x, uint256 y) = harness.addMul([uint256(1), 2], a, b);
        (uint256 expectedX, uint256 expectedY) = harness.mul(1, 2, addmod(a, b, R));
        vm.assertTrue(x == expectedX && y == expectedY);
        uint256[2] memory left;
        uint256[2] memory right;
        (left[0], left[1]) = harness.mul(1, 2, a);
        (right[0], right[1]) = harness.mul(1, 2, b);
        (x, y) = harness.add(left, right);
        vm.assertTrue(x == expectedX && y == expectedY);
    }

    function test_order_annihilates() public view {
        (uint256 x, uint256 y) = harness.mul(1, 2, R);
        vm.assertTrue(x == 0 && y == 0);
        vm.assertEq(Bn254.negate(0), 0);
        vm.assertEq(Bn254.negate(2), P - 2);
    }

    function testFuzz_pairing(uint64 a, uint64 b) public view {
        vm.assertTrue(harness.pairsCancel(a, a));
        vm.assertTrue(harness.pairsCancel(a, b) == (a == b));
    }

    function test_usable_g2() public view {
        uint256[4] memory generator = [Bn254.G2_X1, Bn254.G2_X0, Bn254.G2_Y1, Bn254.G2_Y0];
        vm.assertTrue(harness.isUsableG2(generator));
        uint256[4] memory identity;
        vm.assertFalse(harness.isUsableG2(identity));
        vm.assertFalse(harness.isUsableG2{gas: 1_000_000}(strayG2()));
        generator[0] += P;
        vm.assertFalse(harness.isUsableG2{gas: 1_000_000}(generator));
    }
}
