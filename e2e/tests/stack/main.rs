//! The whole stack as its users meet it. `DATABASE_URL` is not needed: every town starts a Postgres of its own, with Anvil and the real binary.
#![expect(clippy::unwrap_used, reason = "tests")]

mod architecture;
mod ceremony;
mod chaos;
mod doctor;
mod exit;
mod incidents;
mod processes;
mod readme;
mod reseal;
mod restore;
mod roles;
mod signer;
mod wallet;
mod web;
