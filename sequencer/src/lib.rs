//! The sequencer: takes signed transactions over HTTP, orders them, makes them durable, closes batches and commits to the state after each.
//!
//! ```text
//! api ── admission ── executor ── sealer ── committer
//!  |     signatures    |  book      |          |  state vector, C', h, C_q, W
//!  |     in groups     v            v          v
//!  └── view, feed <── Postgres: transactions, batches, slots, proof jobs ──> provers, settlement
//! ```
//! One process leads (a lease in Postgres fences every write); whatever it acknowledged is in Postgres, and the next process continues from there.
//! It knows neither circuits nor L1: circuits are capacities, L1 is rows that settlement writes.

mod admission;
mod api;
mod book;
mod client;
mod committer;
pub mod config;
mod counts;
mod executor;
mod feed;
mod front;
mod json;
mod lead;
mod places;
mod problem;
mod recovery;
mod refusal;
mod replay;
mod reseal;
mod sealer;
mod serve;
mod start;
mod view;
pub mod wire;

pub use api::{RenderMetrics, document};
pub use config::{Config, Deployment};
pub use counts::count_from_zero;
pub use executor::Fatal;
pub use front::Front;
pub use problem::{Code, Problem};
pub use recovery::RecoveryError;
pub use replay::{ReplayError, replay};
pub use serve::serve;
pub use start::{Sequencer, StartError};
