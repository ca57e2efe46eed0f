//! What settlement knows of itself, for status pages, `doctor` and metrics: a small board that its loops write and anybody reads.
//!
//! | gauge | meaning |
//! |---|---|
//! | `sheaf_settlement_leader` | 1 while this process leads |
//! | `sheaf_settlement_blocked` | 1 while the next step is not taken; why is on the board |
//! | `sheaf_settlement_alarm` | 1 while something needs a person |
//! | `sheaf_settlement_taking_back` | 1 while a batch is taken back from L1 |
//! | `sheaf_settlement_failing`, label `loop` = watcher, submitter | 1 while the last round of the loop failed |
//! | `sheaf_l1_pending_transactions` | transactions of ours that are not mined |
//! | `sheaf_l1_head`, `sheaf_l1_batches`, label `state` = committed, proven | where L1 stands |
//! | `sheaf_l1_endpoints`, label `state` = fine, failing | the L1 nodes that answer, and those that did not when last asked |
//! | `sheaf_l1_cost_gas`, `sheaf_l1_cost_wei`, label `kind` = commit, prove, commit_and_prove, settle, refund, revert | what L1 has cost |
//! | `sheaf_l1_batch_cost_wei` | the mean of a proven batch |
//! | `sheaf_operator_balance_wei` | what the operator can still pay |
//! | `sheaf_operator_batches_affordable`, `sheaf_operator_balance_low` | for how many batches that lasts, and 1 if for few |

use crate::rpc::EndpointStatus;
use metrics::{counter, gauge};
use serde::Serialize;
use sheaf_store::costs::usd;
use sheaf_store::l1::{GasTotal, TxKind};
use std::sync::Arc;
use tokio::sync::watch;

/// Shows every counter of settlement at 0, since an alert on growth misses the first event of a counter that appears with it, and a board on which nothing
/// is written yet. Once, after metrics are collected; the counters of an L1 node follow as soon as it is named.
pub fn count_from_zero() {
    let looking = ["sheaf_l1_watch_errors_total", "sheaf_l1_reorgs_total", "sheaf_l1_doubts_total", "sheaf_l1_contradictions_total"];
    for name in looking.into_iter().chain(["sheaf_l1_submit_errors_total", "sheaf_l1_replacements_total"]) {
        counter!(name).increment(0);
    }
    for kind in TxKind::ALL.map(TxKind::name) {
        counter!("sheaf_l1_refused_total", "kind" => kind).increment(0);
        counter!("sheaf_l1_gas_used_total", "kind" => kind).increment(0);
        for succeeded in ["true", "false"] {
            counter!("sheaf_l1_transactions_total", "kind" => kind, "succeeded" => succeeded).increment(0);
        }
    }
    Status::default().publish();
}

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
    /// For how many more batches the operator's balance lasts at their mean cost so far.
    pub batches_affordable: Option<u64>,
    /// True if that, or the balance before the first batch is paid, is little: send ether to the operator.
    pub balance_low: bool,
    /// What L1 has cost so far.
    pub costs: Option<Costs>,
    /// Our transactions that are not mined yet.
    pub pending_transactions: usize,
    /// The L1 nodes, in the order in which they were named.
    pub endpoints: Vec<EndpointStatus>,
    /// True while this process holds the submitter's lease.
    pub leader: bool,
    /// Why the next step is not taken, for example the contract's reason for refusing it.
    pub blocked: Option<String>,
    /// The batch that is being taken back from L1 to be sealed again in another circuit, and why.
    pub taking_back: Option<String>,
    /// Something that needs a person. What happened once stays until the process restarts, what is so goes when it is so no more.
    pub alarm: Option<String>,
    /// What happened once.
    #[serde(skip)]
    pub(crate) happened: Option<String>,
    /// The watcher's last failure, gone with its next success.
    pub watcher_error: Option<String>,
    /// The submitter's last failure, gone with its next success.
    pub submitter_error: Option<String>,
}

/// What the operator's mined transactions have cost, those that reverted included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Costs {
    /// Batches proven on L1.
    pub batches: u64,
    /// What was paid, in wei, as a decimal string.
    pub wei: String,
    /// The mean of a proven batch: everything paid, divided by their number.
    pub wei_per_batch: Option<String>,
    /// The same in dollars, where the price of ether is told.
    pub usd_per_batch: Option<String>,
    /// By what the transactions did.
    pub kinds: Vec<KindCost>,
}

/// What one kind of transaction has cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KindCost {
    /// `commit`, `prove`, `commit_and_prove`, `settle`, `refund` or `revert`.
    pub kind: &'static str,
    /// How many were mined.
    pub transactions: u64,
    /// Their gas.
    pub gas: u64,
    /// What was paid, in wei, as a decimal string.
    pub wei: String,
}

impl Costs {
    pub(crate) fn new(batches: u64, totals: &[GasTotal], eth_usd: Option<f64>) -> Self {
        let wei: u128 = totals.iter().map(|total| total.wei).sum();
        let mean = wei.checked_div(batches.into());
        let kind =
            |total: &GasTotal| KindCost { kind: total.kind.name(), transactions: total.transactions, gas: total.used, wei: total.wei.to_string() };
        Self {
            batches,
            wei: wei.to_string(),
            wei_per_batch: mean.map(|wei| wei.to_string()),
            usd_per_batch: mean.zip(eth_usd).map(|(wei, price)| usd(wei, price)),
            kinds: totals.iter().map(kind).collect(),
        }
    }

    /// For how many batches this much lasts.
    pub(crate) fn affordable(&self, wei: u128) -> Option<u64> {
        let mean: u128 = self.wei_per_batch.as_ref()?.parse().ok()?;
        Some(u64::try_from(wei.checked_div(mean)?).unwrap_or(u64::MAX))
    }

    fn publish(&self) {
        for cost in &self.kinds {
            gauge!("sheaf_l1_cost_gas", "kind" => cost.kind).set(cost.gas as f64);
            gauge!("sheaf_l1_cost_wei", "kind" => cost.kind).set(cost.wei.parse().unwrap_or(f64::NAN));
        }
        if let Some(wei) = self.wei_per_batch.as_ref().and_then(|wei| wei.parse::<f64>().ok()) {
            gauge!("sheaf_l1_batch_cost_wei").set(wei);
        }
    }
}

impl Status {
    /// An alarm about what happened: it stays.
    pub(crate) fn raise(&mut self, alarm: String) {
        (self.alarm, self.happened) = (Some(alarm.clone()), Some(alarm));
    }

    /// Another process leads, and knows what is due, what fails and what it costs; this one asks nobody. How far L1 was stays, and so does an alarm about what happened here.
    pub(crate) fn stand_by(&mut self) {
        let Self { head, committed, proven, happened, .. } = std::mem::take(self);
        *self = Self { head, committed, proven, alarm: happened.clone(), happened, ..Self::default() };
    }

    fn publish(&self) {
        let flag = |on: bool| f64::from(u8::from(on));
        gauge!("sheaf_settlement_leader").set(flag(self.leader));
        gauge!("sheaf_settlement_blocked").set(flag(self.blocked.is_some()));
        gauge!("sheaf_settlement_taking_back").set(flag(self.taking_back.is_some()));
        gauge!("sheaf_settlement_alarm").set(flag(self.alarm.is_some()));
        gauge!("sheaf_settlement_failing", "loop" => "watcher").set(flag(self.watcher_error.is_some()));
        gauge!("sheaf_settlement_failing", "loop" => "submitter").set(flag(self.submitter_error.is_some()));
        gauge!("sheaf_l1_pending_transactions").set(self.pending_transactions as f64);
        gauge!("sheaf_operator_balance_low").set(flag(self.balance_low));
        // not known is neither few nor many
        gauge!("sheaf_operator_batches_affordable").set(self.batches_affordable.map_or(f64::NAN, |batches| batches as f64));
        self.costs.iter().for_each(Costs::publish);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_balance_is_told_in_batches() {
        let total = |kind, wei| GasTotal { kind, transactions: 1, used: 1, calldata: 0, execution: 0, wei };
        let totals = [total(TxKind::Commit, 2_000_000_000_000_000), total(TxKind::Prove, 4_000_000_000_000_000)];
        let costs = Costs::new(3, &totals, Some(2_500.0));
        assert_eq!((costs.wei_per_batch.as_deref(), costs.usd_per_batch.as_deref()), (Some("2000000000000000"), Some("5.0000")));
        assert_eq!(costs.affordable(9_000_000_000_000_000), Some(4));
        let none = Costs::new(0, &[], None);
        assert_eq!((none.wei_per_batch.clone(), none.affordable(5)), (None, None));
    }
}
