//! The sequencer on a real Postgres, over real HTTP, with real signatures. `DATABASE_URL` names the server (tools/with-postgres makes one).
#![expect(clippy::unwrap_used, reason = "tests")]

mod accepts;
mod batches;
mod bounds;
mod disk;
mod explorer;
mod hangs;
mod rates;
mod refuses;
mod requests;
mod reseal;
mod support;
mod survives;
