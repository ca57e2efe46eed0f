//! Every single witness variable of the `test` circuit, perturbed in several ways while all others stay, on batches with unused slots
//! and on one without: no change may go unnoticed, outside a reviewed list of free variables.

use crate::counts::golden;
use crate::world::{full_batch, requests_batch, rich_batch, test_circuit};
use ark_bn254::Fr;
use ark_ff::{Field, UniformRand};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rayon::prelude::*;
use sheaf_protocol::batch::PUBLIC_INPUTS;

/// Rows in which each variable occurs.
fn rows_by_variable() -> Vec<Vec<usize>> {
    let circuit = test_circuit();
    let mut rows = vec![Vec::new(); 1 + PUBLIC_INPUTS + circuit.witness_variables()];
    for matrix in circuit.matrices() {
        for (row, terms) in matrix.iter().enumerate() {
            terms.iter().for_each(|(_, variable)| rows[*variable].push(row));
        }
    }
    rows
}

/// Other values worth trying in place of `value`.
fn perturbations(value: Fr, random: Fr) -> Vec<Fr> {
    let tries = [Fr::from(0u64), Fr::ONE, value + Fr::ONE, value - Fr::ONE, -value, value + value, random];
    tries.into_iter().filter(|other| *other != value).collect()
}

/// The variables whose change alone goes unnoticed, by slot, group and place in the group, counted from 0.
fn free_variables(name: &str, honest: &[Fr], rows: &[Vec<usize>]) -> String {
    let circuit = test_circuit();
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let random: Vec<Fr> = honest.iter().map(|_| Fr::rand(&mut rng)).collect();
    let unnoticed = |assignment: &mut Vec<Fr>, variable: usize| {
        let found = perturbations(honest[variable], random[variable]).into_iter().any(|value| {
            assignment[variable] = value;
            rows[variable].iter().all(|row| circuit.holds(*row, assignment))
        });
        assignment[variable] = honest[variable];
        found.then_some(variable)
    };
    let all = (1..honest.len()).into_par_iter();
    let free: Vec<usize> = all.map_init(|| honest.to_vec(), unnoticed).flatten_iter().collect();
    let place = |variable: usize| circuit.layout().variable(variable - 1 - PUBLIC_INPUTS);
    let mut list = format!("{name}:\n");
    for variable in free {
        assert!(variable > PUBLIC_INPUTS, "public input {variable} is free");
        let (group, (kind, slot)) = place(variable);
        let before = (1 + PUBLIC_INPUTS..variable).rev().take_while(|other| place(*other) == (group, (kind, slot))).count();
        list.push_str(&format!("  {kind} {slot}: {group} {before}\n"));
    }
    list
}

#[test]
fn no_variable_is_free_outside_the_reviewed_list() {
    let rows = rows_by_variable();
    let mut list = String::from("# Variables whose change alone goes unnoticed: inverses that a zero makes free and that enter nothing else.\n");
    list += "# Slot: group, and place in the group. every kind but fee and account: u of an unused slot; register: v of an unused\n\
         # slot; exit, rotate: v where the owner asks, or own = req = 0 in an unused slot; account: u where neither c nor is_new is set.\n";
    let ((_, rich, first), (full, second), (_, requests, third)) = (rich_batch(), full_batch(), requests_batch());
    for (name, batch, challenges) in [("rich batch", rich, first), ("full batch", full, second), ("requests batch", requests, third)] {
        let witness = test_circuit().witness(&batch, &challenges).unwrap();
        list += &free_variables(name, &test_circuit().assign(&witness).unwrap(), &rows);
    }
    golden("tests/suite/free.txt", &list);
}
