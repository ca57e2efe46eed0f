//! What to send next: a pure function of where the contract stands, what the store has ready and what is already on its way.

use sheaf_store::l1::{Transaction, TxKind};

/// A transaction to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// What it does.
    pub(crate) kind: TxKind,
    /// First batch it concerns.
    pub(crate) first: u64,
    /// Last batch it concerns.
    pub(crate) last: u64,
}

impl Job {
    /// What a saved transaction does.
    pub(crate) fn of(transaction: &Transaction) -> Self {
        Self { kind: transaction.kind, first: transaction.first_batch, last: transaction.last_batch }
    }
}

/// Everything the decision depends on.
#[derive(Clone, Debug)]
pub(crate) struct Situation {
    /// Batches committed on L1.
    pub(crate) committed: u64,
    /// Batches proven on L1.
    pub(crate) proven: u64,
    /// Highest batch that can be committed, every one before it too.
    pub(crate) committable: u64,
    /// Highest batch that has a proof, every one before it too.
    pub(crate) provable: u64,
    /// Proven batches with withdrawals that are not credited yet, in order.
    pub(crate) unsettled: Vec<u64>,
    /// Proven batches with queue entries to give back that are not given back yet, in order.
    pub(crate) unrefunded: Vec<u64>,
    /// Transactions of ours that are not mined.
    pub(crate) waiting: Vec<Job>,
    /// True if our newest mined commit failed: then one at a time, each simulated first.
    pub(crate) cautious: bool,
}

/// Bounds on what is on its way at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Commits not mined yet.
    pub(crate) commits_in_flight: usize,
    /// Batches in one prove call.
    pub(crate) batches_per_proof: u64,
    /// Settle calls not mined yet, and as many calls for refunds.
    pub(crate) settles_in_flight: usize,
}

impl Situation {
    /// The transactions to make now, in order. Commits follow one another at once; proofs wait for the commits of their batches and for the
    /// proof call before them, so that ready batches gather in one call.
    pub(crate) fn jobs(&self, limits: &Limits) -> Vec<Job> {
        let mut jobs = self.commits(limits);
        jobs.extend(self.proof(limits));
        jobs.extend(self.settles(TxKind::Settle, &self.unsettled, limits));
        jobs.extend(self.settles(TxKind::Refund, &self.unrefunded, limits));
        jobs
    }

    fn waiting_of(&self, kind: TxKind) -> impl Iterator<Item = &Job> {
        self.waiting.iter().filter(move |job| job.kind == kind)
    }

    fn commits(&self, limits: &Limits) -> Vec<Job> {
        let waiting: Vec<u64> = self.waiting_of(TxKind::Commit).map(|job| job.first).collect();
        let bound = if self.cautious { 1 } else { limits.commits_in_flight };
        let due = (self.committed + 1..=self.committable).filter(|number| !waiting.contains(number));
        due.take(bound.saturating_sub(waiting.len())).map(|number| Job { kind: TxKind::Commit, first: number, last: number }).collect()
    }

    fn proof(&self, limits: &Limits) -> Option<Job> {
        let last = self.provable.min(self.committed).min(self.proven + limits.batches_per_proof);
        let idle = self.waiting_of(TxKind::Prove).next().is_none();
        (idle && last > self.proven).then_some(Job { kind: TxKind::Prove, first: self.proven + 1, last })
    }

    fn settles(&self, kind: TxKind, open: &[u64], limits: &Limits) -> Vec<Job> {
        let in_flight: Vec<u64> = self.waiting_of(kind).map(|job| job.first).collect();
        let free = limits.settles_in_flight.saturating_sub(in_flight.len());
        let due = open.iter().filter(|number| **number <= self.proven && !in_flight.contains(number));
        due.take(free).map(|&number| Job { kind, first: number, last: number }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { commits_in_flight: 3, batches_per_proof: 4, settles_in_flight: 2 };

    fn situation() -> Situation {
        Situation { committed: 5, proven: 2, committable: 5, provable: 2, unsettled: vec![], unrefunded: vec![], waiting: vec![], cautious: false }
    }

    fn job(kind: TxKind, first: u64, last: u64) -> Job {
        Job { kind, first, last }
    }

    #[test]
    fn nothing_ready_means_nothing_to_send() {
        assert_eq!(situation().jobs(&LIMITS), vec![]);
    }

    #[test]
    fn commits_go_out_in_order_up_to_the_bound() {
        let mut now = Situation { committable: 20, ..situation() };
        let commit = |number| job(TxKind::Commit, number, number);
        assert_eq!(now.jobs(&LIMITS), vec![commit(6), commit(7), commit(8)]);
        now.waiting = vec![commit(6), commit(7)];
        assert_eq!(now.jobs(&LIMITS), vec![commit(8)]);
        now.cautious = true;
        assert_eq!(now.jobs(&LIMITS), vec![]);
        now.waiting.clear();
        assert_eq!(now.jobs(&LIMITS), vec![commit(6)]);
    }

    #[test]
    fn a_commit_missing_below_waiting_ones_is_due() {
        let waiting = vec![job(TxKind::Commit, 7, 7)];
        let now = Situation { committable: 7, waiting, ..situation() };
        assert_eq!(now.jobs(&LIMITS), vec![job(TxKind::Commit, 6, 6)]);
    }

    #[test]
    fn ready_proofs_share_one_call_and_wait_for_the_call_before() {
        let mut now = Situation { provable: 9, ..situation() };
        assert_eq!(now.jobs(&LIMITS), vec![job(TxKind::Prove, 3, 5)]);
        now.committed = 9;
        now.committable = 9;
        assert_eq!(now.jobs(&LIMITS), vec![job(TxKind::Prove, 3, 6)]);
        now.waiting = vec![job(TxKind::Prove, 3, 5)];
        assert_eq!(now.jobs(&LIMITS), vec![]);
    }

    #[test]
    fn only_proven_batches_settle_each_once() {
        let now = Situation { unsettled: vec![1, 2, 4], waiting: vec![job(TxKind::Settle, 1, 1)], ..situation() };
        assert_eq!(now.jobs(&LIMITS), vec![job(TxKind::Settle, 2, 2)]);
        let now = Situation { unrefunded: vec![1, 2, 4], ..now };
        assert_eq!(now.jobs(&LIMITS), vec![job(TxKind::Settle, 2, 2), job(TxKind::Refund, 1, 1), job(TxKind::Refund, 2, 2)]);
    }

    #[test]
    fn a_chain_that_fell_back_gets_its_commits_again() {
        let now = Situation { committed: 3, ..situation() };
        assert_eq!(now.jobs(&LIMITS), vec![job(TxKind::Commit, 4, 4), job(TxKind::Commit, 5, 5)]);
    }
}
