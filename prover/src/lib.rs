//! Both ends of the prover fleet: the [`gateway`] that hands out batches and judges proofs, and the [`worker`] that makes them.
//!
//! ```text
//!  sequencer ──job──> Postgres <──SQL── gateway <──HTTP, bearer token── worker ── proving keys on disk
//! ```
//!
//! A worker holds no database or L1 secret and no state: it may die at any moment, and any number may run anywhere.
//! What the two say to each other is in [`wire`].

pub mod gateway;
pub mod memory;
pub mod metrics;
pub mod wire;
pub mod worker;
