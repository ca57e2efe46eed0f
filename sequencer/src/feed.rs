//! Tells whoever waits how far everything has come.
//!
//! ```text
//! hints of the database ─┐
//! own writes (poke) ─────┼─> look at the marks, one query a pause ──> readers whose mark moved look for themselves
//! ```
//! However many wait, the database is asked once. A mark is a reason to look, not a fact: a reorganisation of L1 takes some back.

use sheaf_store::StoreError;
use sheaf_store::batches::{self, Marks};
use sheaf_store::hints::Hints;
use sheaf_store::pool::{Held, within};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Tables whose changes move a transaction or a batch to another state.
const TABLES: &[&str] = &["batches", "proofs", "l1_blocks"];
/// How often the marks are looked at without a hint.
const POLL: Duration = Duration::from_millis(500);
/// And at most.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before another attempt to listen.
const RETRY: Duration = Duration::from_secs(1);

/// The marks as last seen.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    marks: watch::Sender<Marks>,
    pokes: Arc<Notify>,
    l1: Arc<Notify>,
}

impl Feed {
    pub(crate) fn new(marks: Marks) -> Self {
        Self { marks: watch::Sender::new(marks), pokes: Arc::default(), l1: Arc::default() }
    }

    /// Something may have changed.
    pub(crate) fn poke(&self) {
        self.pokes.notify_one();
    }

    /// The marks now, and every later change of them.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Marks> {
        self.marks.subscribe()
    }

    /// Wakes one waiter when L1 may have moved.
    pub(crate) fn l1(&self) -> Arc<Notify> {
        Arc::clone(&self.l1)
    }

    /// Follows the database until `stop`.
    pub(crate) async fn run(self, pool: PgPool, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.listen(&pool) => {}
            () = self.follow(&pool) => {}
        }
    }

    async fn listen(&self, pool: &PgPool) {
        loop {
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

    async fn follow(&self, pool: &PgPool) {
        loop {
            self.pokes.notified().await;
            match within(LOOK_TIMEOUT, look(pool)).await {
                Ok(now) => {
                    self.marks.send_if_modified(|marks| std::mem::replace(marks, now) != now);
                }
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "the marks cannot be read"),
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}

async fn look(pool: &PgPool) -> Result<Marks, StoreError> {
    let mut connection = Held::take(pool).await?;
    let marks = batches::marks(&mut connection).await?;
    connection.done();
    Ok(marks)
}
