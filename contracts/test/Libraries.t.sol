// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Fixture} from "./support/Fixture.sol";
import {G2} from "./support/G2.sol";
import {Harness} from "./support/Harness.sol";

/// @title The libraries against the protocol's golden vectors, the fixtures and plain arithmetic
contract LibrariesTest is Fixture {
    Harness private harness;
    string private vectors;

    function setUp() public {
        harness = newHarness();
        fixtures = "batches";
        vectors = vm.readFile("../protocol/vectors/encodings.json");
    }

    // ---- Challenges ----

    function test_challenges_are_the_golden_ones() public view {
        ILedger.BatchProof memory proof;
        proof.record.header = abi.decode(abi.encodePacked(vm.parseJsonUintArray(vectors, ".batch.header_words")), (ILedger.Header));
        ILedger.Header memory header = proof.record.header;
        vm.assertEq(harness.headerHash(proof.record), golden("header_hash"));
        vm.assertEq(header.dataHash, keccak256(vm.parseJsonBytes(vectors, ".batch.posted_data")));
        uint256[6] memory identities;
        vm.assertEq(harness.stateRoot(16, identities), golden("genesis_root_16"));
        uint256 rho = harness.rho(uint256(golden("domain")), golden("header_hash"));
        vm.assertEq(bytes32(rho), golden("rho"));
        // the vectors' quotient is the generator, their claims and evaluations count from 1
        proof.record.cq = [uint256(1), 2];
        (proof.e, proof.z, proof.delta, proof.record.yDa, proof.record.yOps) = (1, 2, 3, 4, 5);
        uint256 zeta = harness.zeta(rho, proof.record.cq);
        vm.assertEq(bytes32(zeta), golden("zeta"));
        vm.assertEq(bytes32(harness.gamma(zeta, proof)), golden("gamma"));
        vm.assertEq(harness.recordHash(proof.record), golden("batch_hash"));
        uint256 dyn = 1 << 168 | 77;
        vm.assertEq(
            bytes32(harness.exitChallenge(golden("genesis_root_16"), 0xabcdef, dyn, address(bytes20(hex"3333333333333333333333333333333333333333")))),
            golden("exit")
        );
    }

    function test_points_of_slots_are_the_golden_ones() public view {
        string memory kzg = vm.readFile("../protocol/vectors/kzg.json");
        for (uint256 i; i < 7; ++i) {
            string memory at = string.concat(".set_up.domain_points[", vm.toString(i), "].");
            uint256 point = harness.slotPoint(vm.parseJsonUint(kzg, string.concat(at, "idx")));
            vm.assertEq(point, vm.parseJsonUint(kzg, string.concat(at, "point")));
        }
        vm.assertEq(harness.slotPoint(0), 1);
    }

    function test_exits_of_the_fixtures_have_the_challenge_of_their_state() public view {
        for (uint256 number = 1; number <= BATCHES; ++number) {
            for (uint256 place; place < exitCount(number); ++place) {
                Exit memory exit = exitOf(number, place);
                string memory at = string.concat("exits[", vm.toString(place), "].challenge");
                uint256 expected = vm.parseJsonUint(json(), path(number, at));
                vm.assertEq(harness.exitChallenge(newRoot(number), exit.idx, exit.dyn, exit.owner), expected);
            }
        }
    }

    function test_challenges_are_those_of_the_proofs() public view {
        uint256 domain = vm.parseJsonUint(json(), ".domain");
        for (uint256 number = 1; number <= BATCHES; ++number) {
            ILedger.BatchProof memory proof = proofOf(number);
            uint256 rho = harness.rho(domain, harness.headerHash(proof.record));
            uint256 zeta = harness.zeta(rho, proof.record.cq);
            vm.assertEq(rho, vm.parseJsonUint(json(), path(number, "challenges.rho")));
            vm.assertEq(zeta, vm.parseJsonUint(json(), path(number, "challenges.zeta")));
            vm.assertEq(harness.gamma(zeta, proof), vm.parseJsonUint(json(), path(number, "challenges.gamma")));
            vm.assertEq(harness.recordHash(proof.record), vm.parseJsonBytes32(json(), path(number, "batchHash")));
            vm.assertEq(harness.stateRoot(16, proof.record.header.commitments), newRoot(number));
        }
    }

    function test_weights_depend_on_all_that_is_proven_and_on_nothing_before_it() public view {
        ILedger.BatchProof[] memory proofs = proofsOf(1, 3);
        for (uint256 first; first < 3; ++first) {
            bytes memory proven;
            for (uint256 i = first; i < 3; ++i) {
                proven = bytes.concat(proven, abi.encode(proofs[i]));
            }
            vm.assertEq(bytes32(harness.seed(proofs, first)), keccak256(proven));
        }
    }

    function testFuzz_weights(uint256 seed, uint256 place) public view {
        (uint256 proof, uint256 opening) = harness.weights(seed, place);
        uint256 hash = uint256(keccak256(abi.encode(seed, place)));
        vm.assertEq(proof, hash / 2 ** 128 / 2 * 2 + 1);
        vm.assertEq(opening, hash % 2 ** 128 / 2 * 2 + 1);
    }

    function golden(string memory field) private view returns (bytes32) {
        return vm.parseJsonBytes32(vectors, string.concat(".batch.", field));
    }

    // ---- Bn254 ----

    function testFuzz_points_off_the_curve(uint256 x, uint256 y) public view {
        bool on = x < P && y < P && ((x == 0 && y == 0) || mulmod(y, y, P) == addmod(mulmod(mulmod(x, x, P), x, P), 3, P));
        vm.assertTrue(harness.isOnCurve(x, y) == on);
    }

    function testFuzz_multiples_lie_on_the_curve(uint256 scalar) public view {
        (uint256 x, uint256 y) = harness.mul(1, 2, scalar);
        vm.assertTrue(harness.isOnCurve(x, y));
        vm.assertTrue(x == 0 || !harness.isOnCurve(x, addmod(y, 1, P)));
        // a coordinate that is not reduced is another byte string for the same point
        vm.assertFalse(harness.isOnCurve(x + P, y));
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

    /// @dev A multiplication by 1 is an addition.
    function test_multiplication_by_one() public view {
        (uint256 x, uint256 y) = harness.addMul([uint256(1), 2], 1, 5);
        (uint256 expectedX, uint256 expectedY) = harness.mul(1, 2, 6);
        vm.assertTrue(x == expectedX && y == expectedY);
    }

    /// @dev A precompile that is given a bad point takes all gas it was sent; what is left is enough to say so.
    function test_precompile_that_fails() public {
        vm.expectRevert(abi.encodeWithSelector(ILedger.PrecompileFailed.selector));
        harness.mul{gas: 1_000_000}(1, 3, 1);
        vm.expectRevert(abi.encodeWithSelector(ILedger.PrecompileFailed.selector));
        harness.add{gas: 1_000_000}([uint256(1), 2], [uint256(1), 3]);
    }

    function test_order_annihilates() public view {
        (uint256 x, uint256 y) = harness.mul(1, 2, R);
        vm.assertTrue(x == 0 && y == 0);
        vm.assertEq(harness.negate(0), 0);
        vm.assertEq(harness.negate(2), P - 2);
    }

    function testFuzz_pairing(uint64 a, uint64 b) public view {
        vm.assertTrue(harness.pairsCancel(a, a));
        vm.assertTrue(harness.pairsCancel(a, b) == (a == b));
    }

    function test_usable_g2() public view {
        uint256[4] memory generator = G2.generator();
        vm.assertTrue(harness.isUsableG2(generator));
        uint256[4] memory identity;
        vm.assertFalse(harness.isUsableG2(identity));
        vm.assertFalse(harness.isUsableG2{gas: 1_000_000}(strayG2()));
        vm.assertTrue(harness.isUsableG2(G2.opposite(generator)));
        vm.assertTrue(harness.isUsableG2(G2.double(generator)));
        vm.assertTrue(harness.isGenerator(generator) && harness.isGenerator(G2.opposite(generator)) && !harness.isGenerator(G2.double(generator)));
        uint256[4] memory half = G2.generator();
        ++half[1];
        vm.assertFalse(harness.isGenerator(half));
        (half[0], half[1]) = (half[0] + 1, half[1] - 1);
        vm.assertFalse(harness.isGenerator(half));
        generator[0] += P;
        vm.assertFalse(harness.isUsableG2{gas: 1_000_000}(generator));
    }
}
