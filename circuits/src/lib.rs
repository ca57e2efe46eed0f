//! The R1CS twins of `sheaf-protocol`: the batch circuit, its keys (development or of a ceremony), proving and verifying. No network, no database.
//!
//! ```text
//! builder ── poseidon, float, signature ── slots/* ── batch ── witness
//!                                                     ├── evaluate (tests)
//!            setup | ceremony ── keys ── prove ───────┴── export (snarkjs)
//!                                        └── groth16: the engine
//! ```
//!
//! Statement, names and order are those of `docs/protocol.md`, section 5.

pub mod batch;
pub mod builder;
pub mod ceremony;
pub mod counts;
pub mod evaluate;
pub mod export;
pub mod float;
pub mod groth16;
pub mod keys;
pub mod poseidon;
pub mod prove;
pub mod setup;
pub mod signature;
pub mod slots;
pub mod witness;
