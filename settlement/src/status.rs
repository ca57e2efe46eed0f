//! What settlement knows of itself, for status pages and `doctor`: a small board that its loops write and anybody reads.

use serde::Serialize;
use std::sync::Arc;
use tokio::sync::watch;

/// A snapshot. Everything is as of the last successful look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Number of the newest L1 block.
    pub head: Option<u64>,
    /// Batches committed on L1.
    pub committed: Option<u64>,
    /// Batches proven on L1.
    pub proven: Option<u64>,
    /// The operator's balance in wei, as a decimal string.
    pub operator_balance_wei: Option<String>,
    /// Our transactions that are not mined yet.
    pub pending_transactions: usize,
    /// True while this process holds the submitter's lease.
    pub leader: bool,
    /// Why the next step is not taken, for example the contract's reason for refusing it.
    pub blocked: Option<String>,
    /// Something that needs a person: it stays until the process restarts.
    pub alarm: Option<String>,
    /// The watcher's last failure, gone with its next success.
    pub watcher_error: Option<String>,
    /// The submitter's last failure, gone with its next success.
    pub submitter_error: Option<String>,
}

/// A shared [`Status`].
#[derive(Clone, Debug)]
pub struct Board(Arc<watch::Sender<Status>>);

impl Default for Board {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Status::default())))
    }
}

impl Board {
    /// The snapshot now.
    pub fn status(&self) -> Status {
        self.0.borrow().clone()
    }

    /// Tells of every change.
    pub fn subscribe(&self) -> watch::Receiver<Status> {
        self.0.subscribe()
    }

    pub(crate) fn edit(&self, change: impl FnOnce(&mut Status)) {
        self.0.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
    }
}
