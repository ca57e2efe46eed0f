//! Sheaf's only SQL: the durable state of a rollup in Postgres, and the embedded Postgres of development.
//!
//! The signature says how much is atomic: a function over `&mut PgConnection` is one statement, one over `&mut PgTransaction` is several and
//! takes effect when the caller commits. Nothing here decides anything; widths, uniqueness and order are constraints of the schema
//! (`migrations/README.md`), states are its views.
//!
//! ```text
//! pool    connect, migrate              leader    who may write for a role, fenced by an epoch
//! hints   wake up when a table changes  embedded  a private Postgres for development and tests
//! transactions  queue  batches  slots  jobs  fleet  l1   what the services read and write, by table
//! reverts                                            batches taken back from L1
//! explorer  costs                                        what people look at
//! ```

pub mod batches;
pub mod costs;
pub mod deployment;
pub mod embedded;
pub mod error;
pub mod explorer;
pub mod fleet;
pub mod hints;
pub mod jobs;
pub mod l1;
pub mod leader;
pub mod pool;
pub mod queue;
pub mod reverts;
mod rows;
pub mod slots;
pub mod transactions;

pub use error::StoreError;
pub use pool::MIGRATOR;
