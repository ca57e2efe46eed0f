//! The one binary of Sheaf as a library: every role, the wallet, keys, doctor, benchmarks and the demonstration.
//!
//! `main.rs` only parses and dispatches; whole-stack tests use the same [`dev`], [`process`] and [`client`].

pub mod bench;
pub mod ceremony;
pub mod client;
pub mod demo;
pub mod deploy;
pub mod dev;
pub mod dev_node;
pub mod doctor;
pub mod environment;
pub mod exit;
mod fleet;
pub mod folder;
pub mod guard;
pub mod keys;
mod keystore;
mod metrics;
pub mod node;
mod notes;
pub mod process;
mod progress;
pub mod replay;
pub mod restore;
mod restored;
mod root;
pub mod scenario;
pub mod settle;
pub mod stop;
mod tokens;
pub mod wallet;
pub mod worker;
