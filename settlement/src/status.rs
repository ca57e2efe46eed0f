//! What settlement knows of itself, for status pages, `doctor` and metrics: a small board that its loops write and anybody reads.
//!
//! | gauge | meaning |
//! |---|---|
//! | `sheaf_settlement_leader` | 1 while this process leads |
//! | `sheaf_settlement_blocked` | 1 while the next step is not taken; why is on the board |
//! | `sheaf_settlement_alarm` | 1 once something needs a person |
//! | `sheaf_settlement_failing`, label `loop` = watcher, submitter | 1 while the last round of the loop failed |
//! | `sheaf_l1_pending_transactions` | transactions of ours that are not mined |
//! | `sheaf_l1_head`, `sheaf_l1_batches`, label `state` = committed, proven | where L1 stands |
//! | `sheaf_l1_endpoints`, label `state` = fine, failing | the L1 nodes that answer, and those that did not when last asked |
//! | `sheaf_operator_balance_wei` | what the operator can still pay |

use crate::rpc::EndpointStatus;
use metrics::gauge;
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
    /// The L1 nodes, in the order in which they were named.
    pub endpoints: Vec<EndpointStatus>,
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

impl Status {
    fn publish(&self) {
        let flag = |on: bool| f64::from(u8::from(on));
        gauge!("sheaf_settlement_leader").set(flag(self.leader));
        gauge!("sheaf_settlement_blocked").set(flag(self.blocked.is_some()));
        gauge!("sheaf_settlement_alarm").set(flag(self.alarm.is_some()));
        gauge!("sheaf_settlement_failing", "loop" => "watcher").set(flag(self.watcher_error.is_some()));
        gauge!("sheaf_settlement_failing", "loop" => "submitter").set(flag(self.submitter_error.is_some()));
        gauge!("sheaf_l1_pending_transactions").set(self.pending_transactions as f64);
        let levels = [("committed", self.committed), ("proven", self.proven)];
        for (state, number) in levels.into_iter().filter_map(|(state, number)| Some((state, number?))) {
            gauge!("sheaf_l1_batches", "state" => state).set(number as f64);
        }
        let failing = self.endpoints.iter().filter(|endpoint| endpoint.error.is_some()).count();
        gauge!("sheaf_l1_endpoints", "state" => "failing").set(failing as f64);
        gauge!("sheaf_l1_endpoints", "state" => "fine").set((self.endpoints.len() - failing) as f64);
        if let Some(head) = self.head {
            gauge!("sheaf_l1_head").set(head as f64);
        }
        if let Some(wei) = self.operator_balance_wei.as_deref().and_then(|wei| wei.parse::<f64>().ok()) {
            gauge!("sheaf_operator_balance_wei").set(wei);
        }
    }
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
    /// The snapshot now: a copy of a few fields, cheap enough for every request of a status page.
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
            let changed = *status != before;
            if changed {
                status.publish();
            }
            changed
        });
    }
}
