//! What the native rules accept is what the circuit accepts.

use crate::world::{rich_witness, test_circuit};
use sheaf_circuits::builder::Tampering;

#[test]
fn an_honest_batch_satisfies_every_constraint() {
    let circuit = test_circuit();
    let (_, witness) = rich_witness();
    let assignment = circuit.assign(&witness).unwrap();
    assert_eq!(circuit.violations(&assignment), vec![]);
    assert_eq!(assignment.len(), 10 + circuit.witness_variables());
}

#[test]
fn parallel_and_sequential_assignments_are_one() {
    let circuit = test_circuit();
    let (_, witness) = rich_witness();
    let (sequential, computed) = circuit.assign_tampered(&witness, &Tampering::new()).unwrap();
    assert_eq!(circuit.assign(&witness).unwrap(), sequential);
    assert_eq!(computed.h, witness.inputs[3]);
}
