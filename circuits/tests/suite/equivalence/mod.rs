//! What the native rules accept is what the circuit accepts: on honest batches, on changed ones ([`changed`]), on lists of operations
//! ([`sequence`]), and where not, as listed ([`exceptions`]).

mod changed;
mod exceptions;
mod sequence;

use crate::world::{Verdict, full_batch, requests_batch, rich_batch, rich_witness, test_circuit, verdict};
use sheaf_circuits::builder::Tampering;

#[test]
fn an_honest_batch_satisfies_every_constraint() {
    let (_, rich, challenges) = rich_batch();
    let (full, other_challenges) = full_batch();
    let (_, requests, third) = requests_batch();
    for (batch, challenges) in [(rich, challenges), (full, other_challenges), (requests, third)] {
        assert_eq!((batch.check(), verdict(&batch, &challenges)), (Ok(()), Verdict::Satisfied));
    }
}

#[test]
fn parallel_and_sequential_assignments_are_one() {
    let circuit = test_circuit();
    let (_, witness) = rich_witness();
    let (sequential, computed) = circuit.assign_tampered(&witness, &Tampering::new()).unwrap();
    assert_eq!(sequential.len(), 10 + circuit.witness_variables());
    assert_eq!(circuit.assign(&witness).unwrap(), sequential);
    assert_eq!(computed.h, witness.inputs[3]);
}
