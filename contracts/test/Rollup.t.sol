// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../src/IRollup.sol";
import {Bn254} from "../src/libraries/Bn254.sol";
import {Fixture} from "./Fixture.sol";
import {vm} from "./Vm.sol";

/// @title Real batches: what settles, and what reverts with which error
contract RollupTest is Fixture {
    // ---- what settles ----

    function test_the_contract_hashes_what_rust_hashes() public {
        require(rollup.domain() == vm.parseJsonUint(json, ".domain"), "domain");
        require(rollup.stateRoot() == vm.parseJsonBytes32(json, path(1, ".oldRoot")), "genesis");
        commitAll(BATCHES);
        for (uint256 number = 1; number <= BATCHES; ++number) {
            require(rollup.batchHash(number) == vm.parseJsonBytes32(json, path(number, ".batchHash")), "record");
        }
        require(rollup.committedRoot() == vm.parseJsonBytes32(json, path(BATCHES, ".newRoot")), "root");
    }

    function test_batches_prove_one_by_one() public {
        commitAll(BATCHES);
        for (uint256 number = 1; number <= BATCHES; ++number) {
            rollup.prove(oldCommitments(number), proofs(number, 1));
            require(rollup.stateRoot() == vm.parseJsonBytes32(json, path(number, ".newRoot")), "root");
            require((rollup.pendingSince() == 0) == (number == BATCHES), "pending");
        }
        require(rollup.queueProven() == 6 && rollup.queueProven() == rollup.queueLength(), "queue");
        require(rollup.feesEarned() == LISTING_FEE + 6 * QUEUE_FEE, "fees");
    }

    function test_batches_prove_in_one_call() public {
        commitAll(BATCHES);
        proveAll(BATCHES);
        require(rollup.proven() == BATCHES, "proven");
        require(rollup.stateRoot() == vm.parseJsonBytes32(json, path(BATCHES, ".newRoot")), "root");
    }

    function test_batches_that_somebody_proved_first_are_skipped() public {
        commitAll(BATCHES);
        proveAll(2);
        proveAll(4);
        require(rollup.proven() == 4, "proven");
    }

    function test_withdrawals_settle_and_are_claimed_once() public {
        commitAll(4);
        proveAll(4);
        settle(2);
        settle(4);
        address a = address(uint160(commitOf(4).withdrawals[0].recipient));
        uint256 held = rollup.escrow(1);
        uint256 before = a.balance;
        vm.prank(a);
        rollup.claim(1, a);
        require(a.balance == before + 1 ether && rollup.escrow(1) == held - 1 ether, "native");
        address b = address(uint160(commitOf(4).withdrawals[1].recipient));
        vm.prank(b);
        rollup.claim(2, address(this));
        require(token.balanceOf(address(this)) == 250 ether && rollup.escrow(2) == 750 ether, "token");
        require(rollup.settled(4, 0) && rollup.settled(4, 1) && !rollup.settled(4, 2), "bits");
        vm.prank(b);
        vm.expectRevert(IRollup.NothingToClaim.selector);
        rollup.claim(2, b);
    }

    // ---- proofs that must not pass ----

    function rejects(IRollup.BatchProof[] memory batches, bytes4 error) private {
        uint256[6] memory old = oldCommitments(1);
        vm.expectPartialRevert(error);
        rollup.prove(old, batches);
    }

    function test_claims_changed_in_any_batch_are_refused() public {
        commitAll(3);
        for (uint256 i; i < 9; ++i) {
            IRollup.BatchProof[] memory batches = proofs(1, 3);
            IRollup.BatchProof memory batch = batches[i / 3];
            if (i % 3 == 0) batch.e ^= 1;
            if (i % 3 == 1) batch.z ^= 1;
            if (i % 3 == 2) batch.delta ^= 1;
            rejects(batches, IRollup.ProofInvalid.selector);
        }
    }

    function test_a_public_input_that_is_not_reduced_is_refused() public {
        commitAll(1);
        IRollup.BatchProof[] memory batches = proofs(1, 1);
        batches[0].e += Bn254.R;
        rejects(batches, IRollup.PublicInputOutOfRange.selector);
        batches = proofs(1, 1);
        batches[0].z += Bn254.R;
        rejects(batches, IRollup.PublicInputOutOfRange.selector);
        batches = proofs(1, 1);
        batches[0].delta += Bn254.R;
        rejects(batches, IRollup.PublicInputOutOfRange.selector);
    }

    function test_the_proof_of_another_batch_is_refused() public {
        commitAll(2);
        IRollup.BatchProof[] memory batches = proofs(1, 1);
        batches[0].groth16 = proofOf(2).groth16;
        rejects(batches, IRollup.ProofInvalid.selector);
    }

    function test_swapped_proofs_or_openings_are_refused() public {
        commitAll(2);
        IRollup.BatchProof[] memory batches = proofs(1, 2);
        (batches[0].groth16, batches[1].groth16) = (batches[1].groth16, batches[0].groth16);
        rejects(batches, IRollup.ProofInvalid.selector);
        batches = proofs(1, 2);
        (batches[0].opening, batches[1].opening) = (batches[1].opening, batches[0].opening);
        rejects(batches, IRollup.ProofInvalid.selector);
    }

    function test_points_off_the_curve_are_refused() public {
        commitAll(1);
        IRollup.BatchProof[] memory batches = proofs(1, 1);
        batches[0].groth16[0] ^= 1;
        rejects(batches, IRollup.PointNotOnCurve.selector);
        batches = proofs(1, 1);
        batches[0].groth16[7] += Bn254.P;
        rejects(batches, IRollup.PointNotOnCurve.selector);
        batches = proofs(1, 1);
        batches[0].opening = [uint256(5), 5];
        rejects(batches, IRollup.PointNotOnCurve.selector);
    }

    function test_a_record_changed_after_the_commit_is_refused() public {
        commitAll(1);
        IRollup.BatchProof[] memory batches = proofs(1, 1);
        batches[0].record.yOps ^= 1;
        rejects(batches, IRollup.RecordMismatch.selector);
        batches = proofs(1, 1);
        batches[0].record.header.commitments[2] ^= 1;
        rejects(batches, IRollup.RecordMismatch.selector);
    }

    function test_batches_out_of_order_are_refused() public {
        commitAll(3);
        IRollup.BatchProof[] memory batches = proofs(1, 2);
        (batches[0], batches[1]) = (batches[1], batches[0]);
        rejects(batches, IRollup.WrongNumber.selector);
        batches = proofs(1, 3);
        batches[1] = batches[2];
        rejects(batches, IRollup.WrongNumber.selector);
    }

    function test_a_batch_that_is_not_committed_is_refused() public {
        commitAll(1);
        rejects(proofs(1, 2), IRollup.NotCommitted.selector);
    }

    function test_nothing_left_to_prove_is_an_error() public {
        rejects(proofs(1, 0), IRollup.NothingToProve.selector);
        commitAll(1);
        proveAll(1);
        rejects(proofs(1, 1), IRollup.NothingToProve.selector);
    }

    function test_commitments_of_another_state_are_refused() public {
        commitAll(2);
        uint256[6] memory old = oldCommitments(2);
        IRollup.BatchProof[] memory batches = proofs(1, 1);
        vm.expectRevert(IRollup.OldCommitmentsMismatch.selector);
        rollup.prove(old, batches);
    }

    // ---- honest-looking commits whose proof cannot exist: every hash fits, the pairing decides ----

    /// @dev Proves `batch` with the record that the contract itself computed, all of it but the two evaluations known.
    function rejectsAfterCommit(IRollup.Commit memory batch, uint256 yDa) private {
        enqueueFor(batch);
        send(batch);
        IRollup.BatchProof[] memory batches = proofs(1, 1);
        IRollup.Record memory record = batches[0].record;
        record.header.commitments = batch.commitments;
        record.header.dataHash = keccak256(batch.data);
        record.header.h = batch.h;
        record.cq = batch.cq;
        (record.yDa, record.yOps) = evaluations(batch, record, yDa);
        require(rollup.batchHash(1) == keccak256(abi.encode(record)), "the test must send the stored record");
        rejects(batches, IRollup.ProofInvalid.selector);
    }

    function evaluations(IRollup.Commit memory batch, IRollup.Record memory record, uint256 yDa) private view returns (uint256, uint256 yOps) {
        bytes32 header = keccak256(abi.encode(record.header));
        uint256 top = (1 << 248) - 1;
        uint256 rho = uint256(keccak256(abi.encode(bytes32("rho"), rollup.domain(), header))) & top;
        uint256 zeta = uint256(keccak256(abi.encode(bytes32("zeta"), rho, batch.cq))) & top;
        uint256[] memory words = numbers(path(1, ".words"));
        // deposits start at word 3 W = 6 of the test circuit
        for (uint256 i = words.length + 6; i > 0; --i) {
            yOps = addmod(mulmod(yOps, zeta, Bn254.R), i > 6 ? words[i - 7] : 0, Bn254.R);
        }
        return (yDa, yOps);
    }

    function test_a_tampered_commitment_is_refused() public {
        IRollup.Commit memory batch = commitOf(1);
        (batch.commitments[2], batch.commitments[3]) = (1, 2);
        rejectsAfterCommit(batch, 0);
    }

    function test_a_tampered_transcript_is_refused() public {
        IRollup.Commit memory batch = commitOf(1);
        batch.h ^= 1;
        rejectsAfterCommit(batch, 0);
    }

    function test_a_tampered_quotient_is_refused() public {
        IRollup.Commit memory batch = commitOf(1);
        batch.cq = [uint256(1), 2];
        rejectsAfterCommit(batch, 0);
    }

    function test_a_tampered_data_byte_is_refused() public {
        IRollup.Commit memory batch = commitOf(1);
        // two empty transfers instead of none: the words evaluate to 0 as before, but the bytes are others
        batch.data = abi.encodePacked(hex"000200000000", new bytes(26));
        rejectsAfterCommit(batch, 0);
    }

    // ---- settle ----

    function test_settling_twice_is_refused() public {
        commitAll(2);
        proveAll(2);
        settle(2);
        IRollup.Commit memory c = commitOf(2);
        IRollup.Record memory record = proofOf(2).record;
        uint256[] memory words = numbers(path(2, ".words"));
        vm.expectRevert(IRollup.NothingToSettle.selector);
        rollup.settle(record, c.choices, words, 0, 1);
    }

    function test_settling_before_the_proof_is_refused() public {
        commitAll(2);
        proveAll(1);
        IRollup.Commit memory c = commitOf(2);
        IRollup.Record memory record = proofOf(2).record;
        uint256[] memory words = numbers(path(2, ".words"));
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotProven.selector, 2));
        rollup.settle(record, c.choices, words, 0, 1);
    }

    function test_settling_other_words_or_items_is_refused() public {
        commitAll(2);
        proveAll(2);
        IRollup.Commit memory c = commitOf(2);
        IRollup.Record memory record = proofOf(2).record;
        uint256[] memory words = numbers(path(2, ".words"));
        vm.expectPartialRevert(IRollup.ItemOutOfRange.selector);
        rollup.settle(record, c.choices, words, 0, 4);
        words[1] += 1;
        vm.expectRevert(abi.encodeWithSelector(IRollup.OperationsMismatch.selector, 2));
        rollup.settle(record, c.choices, words, 0, 1);
        record.yDa ^= 1;
        vm.expectRevert(abi.encodeWithSelector(IRollup.RecordMismatch.selector, 2));
        rollup.settle(record, c.choices, words, 0, 1);
    }
}
