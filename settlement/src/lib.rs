//! Sheaf's only contact with L1: deploys the contract, follows its events, sends the operator's transactions, and holds the operator's key.
//!
//! ```text
//!              batches, proofs ──> submitter ──signed, saved──> L1 node ──blocks, logs──> watcher ──> l1_blocks, l1_events
//!                                     ^                            │
//!                                     └──── receipts, progress ────┘        lead: one process writes, fenced by an epoch
//! ```
//!
//! `provenance` shows that a contract was made of a manifest. `deploy` and `rollup` serve people and tools: one transaction, waited for. `anvil` starts a development chain. `history` reads
//! what L1 keeps of every batch, `posted` all that it holds of one, and `owed` what of it nobody has credited yet. `status` is what the loops know of themselves. `ethers` types stay inside.

mod abi;
pub mod anvil;
mod calldata;
mod calls;
pub mod deploy;
mod events;
mod fees;
pub mod gas;
pub mod history;
pub mod key;
pub mod lead;
pub mod owed;
mod policy;
pub mod posted;
pub mod provenance;
mod record;
pub mod revert;
pub mod rollup;
pub mod rpc;
pub mod service;
pub mod status;
pub mod submitter;
pub mod watcher;
