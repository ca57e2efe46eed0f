//! Tests of the batch circuit: completeness against the native rules, soundness against forgers, keys, proofs and counts.
#![expect(clippy::unwrap_used, reason = "tests")]

mod counts;
mod engine;
mod equivalence;
mod fixtures;
mod forgery;
mod keys;
mod ladder;
mod perturbation;
mod snarkjs;
mod soundness;
mod world;
