//! Every single witness variable of the `test` circuit, perturbed in several ways while all others stay: no change may go
//! unnoticed, outside a reviewed list of free variables.

use crate::counts::golden;
use crate::world::{rich_witness, test_circuit};
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

#[test]
fn no_variable_is_free_outside_the_reviewed_list() {
    let circuit = test_circuit();
    let honest = circuit.assign(&rich_witness().1).unwrap();
    let rows = rows_by_variable();
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let random: Vec<Fr> = honest.iter().map(|_| Fr::rand(&mut rng)).collect();
    let unnoticed = |variable: &usize| {
        let mut assignment = honest.clone();
        perturbations(honest[*variable], random[*variable]).into_iter().any(|value| {
            assignment[*variable] = value;
            rows[*variable].iter().all(|row| circuit.holds(*row, &assignment))
        })
    };
    let free: Vec<usize> = (1..honest.len()).into_par_iter().filter(unnoticed).collect();
    let mut list = String::from("# Variables whose change alone goes unnoticed: inverses that a zero makes free and that enter nothing else.\n");
    for variable in free {
        assert!(variable > PUBLIC_INPUTS, "public input {variable} is free");
        let (group, (kind, slot)) = circuit.layout().variable(variable - 1 - PUBLIC_INPUTS);
        list.push_str(&format!("{kind} {slot}: {group}\n"));
    }
    golden("tests/suite/free.txt", &list);
}
