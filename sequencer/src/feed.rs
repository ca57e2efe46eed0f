//! Wakes whoever waits for something to happen: a counter that moves when a table may have changed. It carries no facts; readers look.

use sheaf_store::hints::Hints;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Tables whose changes move a transaction or a batch to another state.
const TABLES: &[&str] = &["batches", "proofs", "l1_blocks"];
/// How often readers look without a hint.
const POLL: Duration = Duration::from_millis(500);
/// Pause before another attempt to listen.
const RETRY: Duration = Duration::from_secs(1);

/// A counter that moves when something may have changed.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    changes: watch::Sender<u64>,
    l1: Arc<Notify>,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self { changes: watch::Sender::new(0), l1: Arc::new(Notify::new()) }
    }

    /// Something may have changed.
    pub(crate) fn poke(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Sees every change from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Wakes one waiter when L1 may have moved.
    pub(crate) fn l1(&self) -> Arc<Notify> {
        Arc::clone(&self.l1)
    }

    /// Turns hints of the database into changes, until `stop`.
    pub(crate) async fn run(self, pool: PgPool, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.listen(&pool) => {}
            }
        }
    }

    async fn listen(&self, pool: &PgPool) {
        match Hints::listen(pool).await {
            Ok(mut hints) => loop {
                hints.wait(TABLES, POLL).await;
                self.poke();
                self.l1.notify_one();
            },
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot listen to the database");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
