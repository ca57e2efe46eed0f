//! Witnesses with random lies that everything computed from them follows. The forger chooses h with the lie; E, Z, Delta, y_da and y_ops are
//! those of the state and of L1. A lie may go unnoticed only where a variable is free by itself.

use super::{nightly, times};
use crate::world::{World, full_batch, requests_batch, rich_batch, shape, test_circuit};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field, UniformRand};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rayon::prelude::*;
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::builder::{Tampering, VarIndex};
use sheaf_circuits::witness::BatchWitness;
use sheaf_protocol::batch::{Batch, Challenges, Operations, PUBLIC_INPUTS, PublicInput};

/// Seeds of the lies: this and the numbers after it.
const SEED: u64 = 1_000;

/// What takes the place of an honest value.
fn lie(honest: Fr, rng: &mut ChaCha20Rng) -> Fr {
    let random = Fr::rand(rng);
    let lies = [Fr::from(0u64), Fr::ONE, honest + Fr::ONE, honest - Fr::ONE, -honest, honest.double(), random];
    *lies.choose(rng).filter(|lie| **lie != honest).unwrap_or(&random)
}

/// True if a row notices that this variable alone has this value.
fn is_seen_alone(circuit: &Circuit, honest: &[Fr], variable: VarIndex, value: Fr) -> bool {
    let mut assignment = honest.to_vec();
    assignment[variable as usize] = value;
    !circuit.violations(&assignment).is_empty()
}

/// One to three lies; true if they are caught, or free.
fn is_caught(circuit: &Circuit, witness: &BatchWitness, honest: &[Fr], seed: u64) -> bool {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let lies: Tampering = (0..rng.gen_range(1..=3))
        .map(|_| {
            let variable = rng.gen_range(1 + PUBLIC_INPUTS..honest.len());
            (variable as VarIndex, lie(honest[variable], &mut rng))
        })
        .collect();
    let (mut assignment, computed) = circuit.assign_tampered(witness, &lies).unwrap();
    assignment[1 + PublicInput::H as usize] = computed.h;
    let caught = !circuit.violations(&assignment).is_empty();
    caught || !lies.iter().any(|(variable, value)| is_seen_alone(circuit, honest, *variable, *value))
}

fn assert_caught(name: &str, circuit: &Circuit, (batch, challenges): (Batch, Challenges), count: u64) {
    let witness = circuit.witness(&batch, &challenges).unwrap();
    let honest = circuit.assign(&witness).unwrap();
    let unseen: Vec<u64> = (SEED..SEED + count).into_par_iter().filter(|seed| !is_caught(circuit, &witness, &honest, *seed)).collect();
    println!("{name}: {count} witnesses with lies, seeds from {SEED}");
    assert!(unseen.is_empty(), "{name}: the lies of these seeds pass: {unseen:?}");
}

#[test]
fn random_lies_are_caught_in_the_test_circuit() {
    let ((_, rich, first), full, (_, requests, third)) = (rich_batch(), full_batch(), requests_batch());
    for (name, batch) in [("rich batch", (rich, first)), ("full batch", full), ("requests batch", (requests, third))] {
        assert_caught(name, test_circuit(), batch, times(30, 5_000));
    }
}

/// A batch of the shape `small` with something of every kind.
fn small_batch() -> (Batch, Challenges) {
    const SLOTS: u32 = 220;
    let small = shape("small");
    let mut world = World::new(6, SLOTS);
    let operations = Operations {
        transfers: (1..=small.transfers - 2).map(|from| world.transfer(from, from + 102, 0, 500 + u128::from(from), 7)).collect(),
        withdrawals: vec![world.withdrawal(105, 0, 99, 5)],
        registers: vec![world.register(106, 0, SLOTS + 1, 3)],
        deposits: vec![world.deposit(SLOTS + 2, 4_000), world.deposit(107, 9)],
        exits: vec![World::request(108, 108), World::request(9, 110)],
        rotations: vec![(World::request(111, 111), world.keys[0].public().0)],
    };
    let batch = world.assemble_in(small, operations).unwrap();
    (batch, world.challenges())
}

/// Seconds for each, so a few in every run would tell nothing that the `test` circuit does not.
#[test]
fn random_lies_are_caught_in_the_small_circuit() {
    if !nightly() {
        return;
    }
    let circuit = Circuit::new(shape("small"), crate::world::ID).unwrap();
    assert_caught("small", &circuit, small_batch(), 1_000);
}
