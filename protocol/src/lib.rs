//! The rules of Sheaf as pure functions: amounts, words, keys and signatures, the committed state vector, the transition,
//! the batch with its transcript and challenges, and what L1 hashes. No clock, network, database or OS randomness in here.
//!
//! The text of these rules is `docs/protocol.md`; code and text use the same names in the same order.
//!
//! ```text
//! amount ── words ── ops ──┐
//! poseidon ── schnorr ─────┤
//! ledger ── transition ────┼── batch ── header ── (L1)
//! kzg ─────────────────────┘      └──── circuits prove it
//! ```

pub mod amount;
pub mod artifact;
pub mod batch;
pub mod derive;
pub mod field;
pub mod follower;
pub mod header;
pub mod kzg;
pub mod ledger;
pub mod manifest;
pub mod ops;
pub mod poseidon;
pub mod schnorr;
pub mod shape;
pub mod transition;
