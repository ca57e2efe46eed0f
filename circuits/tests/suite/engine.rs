//! Our prover against ark-groth16, point by point.

use crate::keys::{again, prover};
use crate::world::{ID, full_batch, idle_batch, requests_batch, rich_batch, shape};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field, UniformRand};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::groth16::Engine;
use sheaf_circuits::prove::{ProveError, Prover, verify};
use sheaf_protocol::batch::{Batch, Challenges};

fn batches() -> [(Batch, Challenges); 4] {
    let [(_, rich, a), (_, requests, b), (_, idle, c)] = [rich_batch(), requests_batch(), idle_batch()];
    [(rich, a), (requests, b), (idle, c), full_batch()]
}

#[test]
fn the_same_blinding_gives_the_points_of_ark_groth16() {
    let stock = prover().stock().unwrap();
    let portable = Prover::on(Circuit::new(shape("test"), ID).unwrap(), again(), Engine::portable()).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(21);
    for (batch, challenges) in batches() {
        let assignment = prover().assignment(&batch, &challenges).unwrap();
        let random = [Fr::rand(&mut rng), Fr::rand(&mut rng)];
        for [r, s] in [random, [Fr::ZERO, -Fr::ONE]] {
            let proof = prover().prove_blinded(&assignment, r, s).unwrap();
            assert_eq!(proof, stock.prove_blinded(&assignment, r, s).unwrap());
            assert_eq!(proof, portable.prove_blinded(&assignment, r, s).unwrap());
            verify(prover().keys().verifying(), &batch.public_inputs(&challenges), &proof).unwrap();
        }
    }
}

#[test]
fn a_changed_assignment_is_refused_by_the_names_of_its_rows() {
    let (_, batch, challenges) = rich_batch();
    let honest = prover().assignment(&batch, &challenges).unwrap();
    for (at, group) in [(4, "batch.transcript"), (5, "batch.claim_e"), (8, "batch.words_da")] {
        let mut changed = honest.clone();
        changed[at] += Fr::ONE;
        let refused = prover().prove_assignment(&changed, &mut ChaCha20Rng::seed_from_u64(22)).unwrap_err();
        let ProveError::Unsatisfied(groups) = &refused else { panic!("{refused}") };
        assert!(groups.iter().any(|name| name == group), "{groups:?}");
    }
}

#[test]
fn two_proofs_of_one_batch_have_no_point_in_common() {
    let (_, batch, challenges) = rich_batch();
    let [one, two] = [(); 2].map(|()| prover().prove(&batch, &challenges, &mut rand::rngs::OsRng).unwrap());
    assert!(one.a != two.a && one.b != two.b && one.c != two.c);
}
