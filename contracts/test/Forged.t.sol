// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Forger} from "./support/Forger.sol";
import {G2} from "./support/G2.sol";

/// @title Commits and proofs that are honest but for one value
contract ForgedTest is Forger {
    /// A batch with transfers, a withdrawal, a deposit and a refund, and one whose quotient is not 0.
    uint256 private constant BUSY = 2;
    uint256 private constant WITH_QUOTIENT = 6;

    // ---- forged commits ----

    function test_commitment_of_another_state() public {
        for (uint256 i; i < 3; ++i) {
            ILedger.Commit memory batch = reach(BUSY);
            (batch.commitments[2 * i], batch.commitments[2 * i + 1]) = (1, 2);
            refusesForged(BUSY, batch);
        }
    }

    function test_commitment_of_the_state_before() public {
        ILedger.Commit memory batch = reach(BUSY);
        batch.commitments = oldCommitments(BUSY);
        refusesForged(BUSY, batch);
    }

    function test_commitment_that_is_the_identity() public {
        ILedger.Commit memory batch = reach(BUSY);
        (batch.commitments[0], batch.commitments[1]) = (0, 0);
        refusesForged(BUSY, batch);
    }

    function test_quotient_where_there_is_none() public {
        ILedger.Commit memory batch = reach(BUSY);
        batch.cq = [uint256(1), 2];
        refusesForged(BUSY, batch);
    }

    function test_quotient_negated() public {
        ILedger.Commit memory batch = reach(WITH_QUOTIENT);
        vm.assertTrue(batch.cq[1] != 0);
        batch.cq[1] = P - batch.cq[1];
        refusesForged(WITH_QUOTIENT, batch);
    }

    function test_quotient_left_out() public {
        ILedger.Commit memory batch = reach(WITH_QUOTIENT);
        batch.cq = [uint256(0), 0];
        refusesForged(WITH_QUOTIENT, batch);
    }

    function test_transcript() public {
        ILedger.Commit memory batch = reach(BUSY);
        batch.h = addmod(batch.h, 1, R);
        refusesForged(BUSY, batch);
    }

    function test_any_byte_of_the_data() public {
        uint256 length = commitOf(BUSY).data.length;
        for (uint256 i = 6; i < length; i += 5) {
            ILedger.Commit memory batch = reach(BUSY);
            batch.data[i] ^= 0x01;
            refusesForged(BUSY, batch);
        }
    }

    function test_data_whose_words_are_the_same() public {
        // two transfers of nothing instead of none: the words evaluate to 0 as before, but the bytes are others
        ILedger.Commit memory batch = reach(1);
        batch.data = abi.encodePacked(hex"000200000000", new bytes(26));
        refusesForged(1, batch);
    }

    function test_transfer_left_out() public {
        ILedger.Commit memory batch = reach(BUSY);
        // one transfer of two: its half of the pair is 0
        batch.data[1] = 0x01;
        for (uint256 i = 6; i < 19; ++i) {
            batch.data[i] = 0;
        }
        refusesForged(BUSY, batch);
    }

    function test_withdrawal_by_another_slot() public {
        ILedger.Commit memory batch = reach(BUSY);
        batch.withdrawals[0].w0 += 2;
        refusesForged(BUSY, batch);
    }

    function test_withdrawal_of_more() public {
        ILedger.Commit memory batch = reach(BUSY);
        batch.withdrawals[0].amount += 1;
        refusesForged(BUSY, batch);
    }

    function test_withdrawal_to_another_recipient() public {
        ILedger.Commit memory batch = reach(BUSY);
        batch.withdrawals[0].recipient = uint160(BOB);
        refusesForged(BUSY, batch);
    }

    function test_withdrawal_twice() public {
        ILedger.Commit memory batch = reach(BUSY);
        ILedger.Withdrawal memory once = batch.withdrawals[0];
        batch.withdrawals = new ILedger.Withdrawal[](2);
        (batch.withdrawals[0], batch.withdrawals[1]) = (once, once);
        refusesForged(BUSY, batch);
    }

    function test_deposit_into_another_slot() public {
        ILedger.Commit memory batch = reach(BUSY);
        batch.choices[0] = 0x0701;
        refusesForged(BUSY, batch);
    }

    function test_deposit_refunded_that_was_credited() public {
        ILedger.Commit memory batch = reach(BUSY);
        batch.choices[0] = 0x0001;
        refusesForged(BUSY, batch);
    }

    function test_deposit_credited_that_was_refunded() public {
        ILedger.Commit memory batch = reach(BUSY);
        batch.choices[1] = 0x0301;
        refusesForged(BUSY, batch);
    }

    function test_entry_taken_that_the_proof_knows_nothing_of() public {
        ILedger.Commit memory batch = reach(1);
        // a third entry, refunded: no word of it is proven, but its digest is part of rho
        ILedger.QueueEntry[] memory taken = new ILedger.QueueEntry[](3);
        (taken[0], taken[1], taken[2]) = (entryOf(1), entryOf(2), entryOf(3));
        uint256[] memory choices = new uint256[](3);
        (choices[0], choices[1], choices[2]) = (batch.choices[0], batch.choices[1], 0x0001);
        (batch.taken, batch.choices, batch.queueDigest) = (taken, choices, rollup.queueDigest(3));
        refusesForged(1, batch);
    }

    // ---- forged proofs ----

    function test_claims() public {
        reachCommitted();
        for (uint256 i; i < 3; ++i) {
            for (uint256 number = 1; number <= BATCHES; ++number) {
                ILedger.BatchProof[] memory proofs = proofsOf(1, BATCHES);
                bump(proofs[number - 1], i, 1);
                refuses(proofs, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
            }
        }
    }

    function test_claims_not_reduced() public {
        reachCommitted();
        for (uint256 i; i < 3; ++i) {
            ILedger.BatchProof[] memory proofs = proofsOf(1, 2);
            bump(proofs[1], i, R);
            uint256[3] memory values = [proofs[1].e, proofs[1].z, proofs[1].delta];
            refuses(proofs, abi.encodeWithSelector(ILedger.PublicInputOutOfRange.selector, values[i]));
            // 0 written otherwise
            proofs = proofsOf(1, 2);
            bump(proofs[1], i, 2 * R - values[i]);
            refuses(proofs, abi.encodeWithSelector(ILedger.PublicInputOutOfRange.selector, R));
        }
    }

    function test_points_of_the_proof() public {
        reachCommitted();
        for (uint256 number = 1; number <= 2; ++number) {
            ILedger.BatchProof[] memory proofs = proofsOf(1, 2);
            (proofs[number - 1].groth16[0], proofs[number - 1].groth16[1]) = (1, 2);
            refuses(proofs, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
            proofs = proofsOf(1, 2);
            (proofs[number - 1].groth16[6], proofs[number - 1].groth16[7]) = (1, 2);
            refuses(proofs, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
            proofs = proofsOf(1, 2);
            for (uint256 i = 2; i < 6; ++i) {
                proofs[number - 1].groth16[i] = proofOf(3).groth16[i];
            }
            refuses(proofs, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
        }
    }

    function test_points_of_the_proof_that_are_the_identity() public {
        reachCommitted();
        ILedger.BatchProof[] memory proofs = proofsOf(1, 1);
        for (uint256 i; i < 8; ++i) {
            proofs[0].groth16[i] = 0;
        }
        refuses(proofs, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
    }

    function test_points_of_the_proof_off_the_curve() public {
        reachCommitted();
        for (uint256 i; i < 8; ++i) {
            if (i >= 2 && i < 6) continue;
            ILedger.BatchProof[] memory proofs = proofsOf(1, 2);
            proofs[1].groth16[i] = addmod(proofs[1].groth16[i], 1, P);
            uint256 at = i < 2 ? 0 : 6;
            ILedger.Point point = i < 2 ? ILedger.Point.A : ILedger.Point.C;
            refuses(proofs, abi.encodeWithSelector(ILedger.PointNotOnCurve.selector, 2, point, proofs[1].groth16[at], proofs[1].groth16[at + 1]));
        }
    }

    function test_b_off_the_curve_or_outside_its_group() public {
        reachCommitted();
        ILedger.BatchProof[] memory proofs = proofsOf(1, 1);
        proofs[0].groth16[2] = addmod(proofs[0].groth16[2], 1, P);
        refuses(proofs, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
        proofs = proofsOf(1, 1);
        uint256[4] memory stray = strayG2();
        for (uint256 i; i < 4; ++i) {
            proofs[0].groth16[2 + i] = stray[i];
        }
        refuses(proofs, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
    }

    function test_coordinate_not_reduced() public {
        reachCommitted();
        ILedger.BatchProof[] memory proofs = proofsOf(1, 1);
        proofs[0].groth16[1] += P;
        refuses(proofs, abi.encodeWithSelector(ILedger.PointNotOnCurve.selector, 1, ILedger.Point.A, proofs[0].groth16[0], proofs[0].groth16[1]));
    }

    function test_opening() public {
        reachCommitted();
        uint256[2][3] memory openings = [[uint256(0), 0], [uint256(1), 2], proofOf(6).opening];
        for (uint256 i; i < 3; ++i) {
            ILedger.BatchProof[] memory proofs = proofsOf(1, 5);
            proofs[4].opening = openings[i];
            refuses(proofs, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
        }
        ILedger.BatchProof[] memory off = proofsOf(1, 5);
        off[4].opening = [uint256(1), 3];
        refuses(off, abi.encodeWithSelector(ILedger.PointNotOnCurve.selector, 5, ILedger.Point.Opening, 1, 3));
    }

    function test_errors_that_would_cancel_without_weights() public {
        reachCommitted();
        // C_1 + T and C_2 - T: an unweighted sum would not notice
        ILedger.BatchProof[] memory proofs = proofsOf(1, 2);
        (proofs[0].groth16[6], proofs[0].groth16[7]) = harness.add([proofs[0].groth16[6], proofs[0].groth16[7]], [uint256(1), 2]);
        (proofs[1].groth16[6], proofs[1].groth16[7]) = harness.add([proofs[1].groth16[6], proofs[1].groth16[7]], [uint256(1), P - 2]);
        refuses(proofs, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
    }

    function test_openings_that_would_cancel_without_weights() public {
        reachCommitted();
        // W_i + T_i with sum T_i = 0 and sum zeta_i T_i = 0: both sums over the openings are as before
        ILedger.BatchProof[] memory proofs = proofsOf(1, 3);
        for (uint256 i; i < 3; ++i) {
            uint256 scalar = addmod(zetaOf(1 + (i + 1) % 3), R - zetaOf(1 + (i + 2) % 3), R);
            uint256[2] memory t;
            (t[0], t[1]) = harness.mul(1, 2, scalar);
            (proofs[i].opening[0], proofs[i].opening[1]) = harness.add(proofs[i].opening, t);
        }
        refuses(proofs, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
    }

    function test_proof_and_opening_that_would_cancel_without_weights() public {
        reachCommitted();
        // e(-A, B + zeta G2 - [tau]_2) has e(-A, (zeta - tau) G2) too much; an opening of W + A has e(A, (zeta - tau) G2) too much
        ILedger.BatchProof[] memory proofs = proofsOf(1, 1);
        uint256[8] memory proof = proofs[0].groth16;
        uint256[4] memory b = [proof[2], proof[3], proof[4], proof[5]];
        b = G2.add(G2.add(b, G2.mul(G2.generator(), zetaOf(1))), G2.opposite(params().tau));
        (proof[2], proof[3], proof[4], proof[5]) = (b[0], b[1], b[2], b[3]);
        (proofs[0].opening[0], proofs[0].opening[1]) = harness.add(proofs[0].opening, [proof[0], proof[1]]);
        refuses(proofs, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
    }

    function zetaOf(uint256 number) private view returns (uint256) {
        return vm.parseJsonUint(json(), path(number, "challenges.zeta"));
    }

    function test_proof_of_another_batch() public {
        reachCommitted();
        ILedger.BatchProof[] memory proofs = proofsOf(1, 2);
        (proofs[0].opening, proofs[1].opening) = (proofs[1].opening, proofs[0].opening);
        refuses(proofs, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
        proofs = proofsOf(1, 2);
        (proofs[0].record, proofs[1].record) = (proofs[1].record, proofs[0].record);
        refuses(proofs, abi.encodeWithSelector(ILedger.WrongNumber.selector, 2, 1));
        proofs = proofsOf(1, 2);
        ILedger.Record memory record = proofs[0].record;
        proofs[0] = proofOf(2);
        proofs[0].record = record;
        refuses(proofs, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
    }

    function test_record_with_any_word_changed() public {
        reachCommitted();
        for (uint256 word; word < 18; ++word) {
            ILedger.BatchProof[] memory proofs = proofsOf(1, 1);
            ILedger.Record memory record = proofs[0].record;
            uint256[18] memory words = abi.decode(abi.encode(record), (uint256[18]));
            words[word] += 1;
            proofs[0].record = abi.decode(abi.encode(words), (ILedger.Record));
            bytes memory error =
                word == 0 ? abi.encodeWithSelector(ILedger.WrongNumber.selector, 2, 1) : abi.encodeWithSelector(ILedger.RecordMismatch.selector, 1);
            refuses(proofs, error);
        }
    }

    /// @dev No commit leads there: each starts where the one before it ends.
    function test_record_that_starts_elsewhere() public {
        commitFixtures(1, 1);
        ILedger.BatchProof[] memory proofs = proofsOf(1, 1);
        proofs[0].record.header.oldRoot = newRoot(2);
        pretendStored(1, harness.recordHash(proofs[0].record));
        refuses(proofs, abi.encodeWithSelector(ILedger.OldRootMismatch.selector, 1));
    }

    // ---- order ----

    function test_order_and_gaps() public {
        reachCommitted();
        ILedger.BatchProof[] memory proofs = proofsOf(1, 3);
        (proofs[1], proofs[2]) = (proofs[2], proofs[1]);
        refuses(proofs, abi.encodeWithSelector(ILedger.WrongNumber.selector, 3, 2));
        proofs = proofsOf(1, 2);
        proofs[1] = proofs[0];
        refuses(proofs, abi.encodeWithSelector(ILedger.WrongNumber.selector, 1, 2));
        refuses(proofsOf(2, 2), abi.encodeWithSelector(ILedger.WrongNumber.selector, 2, 1));
    }

    function test_nothing_left() public {
        reachCommitted();
        proveFixtures(1, 3);
        refuses(proofsOf(1, 3), abi.encodeWithSelector(ILedger.NothingToProve.selector));
        refuses(new ILedger.BatchProof[](0), abi.encodeWithSelector(ILedger.NothingToProve.selector));
    }

    function test_skipped_batch_does_not_choose_the_start() public {
        reachCommitted();
        proveFixtures(1, 2);
        // the record of a skipped batch is not read against its hash; its commitments must still be those of the state root
        ILedger.BatchProof[] memory proofs = proofsOf(2, 3);
        proofs[0].record.header.commitments[0] = 1;
        refuses(proofs, abi.encodeWithSelector(ILedger.OldCommitmentsMismatch.selector));
    }

    function test_uncommitted() public {
        commitFixtures(1, 2);
        refuses(proofsOf(1, 3), abi.encodeWithSelector(ILedger.NotCommitted.selector, 3));
    }

    function test_commitments_of_another_state() public {
        reachCommitted();
        uint256[6] memory other = oldCommitments(2);
        ILedger.BatchProof[] memory proofs = proofsOf(1, 1);
        vm.expectRevert(abi.encodeWithSelector(ILedger.OldCommitmentsMismatch.selector));
        rollup.prove(other, proofs);
    }

    function test_proof_for_another_contract() public {
        address elsewhere = address(0x5e5e);
        construct(elsewhere, params());
        IRollup fixtures = rollup;
        rollup = IRollup(elsewhere);
        enqueue(1);
        enqueue(2);
        ILedger.BatchProof memory proof = commitForged(1, commitOf(1), proofOf(1));
        ILedger.BatchProof[] memory proofs = new ILedger.BatchProof[](1);
        proofs[0] = proof;
        refuses(proofs, abi.encodeWithSelector(ILedger.ProofInvalid.selector));
        vm.assertTrue(rollup.domain() != fixtures.domain());
    }

    // ---- helpers ----

    function reachCommitted() private {
        commitFixtures(1, BATCHES);
    }

    function bump(ILedger.BatchProof memory proof, uint256 claim, uint256 by) private pure {
        if (claim == 0) proof.e += by;
        if (claim == 1) proof.z += by;
        if (claim == 2) proof.delta += by;
    }

    function refuses(ILedger.BatchProof[] memory proofs, bytes memory error) private {
        uint256 first = rollup.proven() + 1;
        uint256[6] memory old = oldCommitments(first);
        if (proofs.length > 0 && proofs[0].record.header.number < first) old = oldCommitments(1);
        vm.expectRevert(error);
        rollup.prove{gas: PROVE_GAS}(old, proofs);
    }
}
