//! Phase 2 by many people: what comes out proves, and what was tampered with is refused by name.
#![expect(clippy::unwrap_used, reason = "tests")]

mod forged;
mod key;
#[path = "../../../protocol/tests/snarkjs/mod.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod snarkjs;
mod world;
