//! Settlement on a real chain and a real database. `DATABASE_URL` names a Postgres in which tests may make databases of their own
//! (`tools/with-postgres` starts one), Anvil is the pinned one of `tools`.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;
mod deep;
mod deployment;
mod endpoints;
mod following;
mod incidents;
mod liars;
mod proven;
mod relay;
mod reorgs;
mod reverts;
mod starting;
mod storm;
