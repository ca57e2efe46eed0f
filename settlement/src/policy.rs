//! What to send next: a pure function of where the contract stands, what the store has ready and what is already on its way.
//!
//! While a batch is being taken back from L1 nothing about it or a later one is sent: neither commits nor proofs. The call itself waits until nothing of
//! that kind is on its way any more, so that it finds, in whatever order L1 mines, all that it takes back.

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
    /// The batch that it commits beside the proofs of those; 0 unless it is of that kind.
    pub(crate) commits: u64,
}

impl Job {
    /// What a saved transaction does.
    pub(crate) fn of(transaction: &Transaction) -> Self {
        Self { kind: transaction.kind, first: transaction.first_batch, last: transaction.last_batch, commits: transaction.commits }
    }

    pub(crate) fn new(kind: TxKind, first: u64, last: u64) -> Self {
        Self { kind, first, last, commits: 0 }
    }

    /// True if it is about this batch or a later one.
    pub(crate) fn reaches(&self, batch: u64) -> bool {
        self.last.max(self.commits) >= batch
    }

    /// What does the same in two transactions, the one that is in a hurry first; nothing unless it is a commit beside proofs.
    pub(crate) fn halves(&self) -> Option<[Self; 2]> {
        let commit = Self::new(TxKind::Commit, self.commits, self.commits);
        (self.kind == TxKind::CommitAndProve).then_some([commit, Self::new(TxKind::Prove, self.first, self.last)])
    }
}

/// Everything the decision depends on.
#[derive(Clone, Debug)]
pub(crate) struct Situation {
    /// Batches committed on L1.
    pub(crate) committed: u64,
    /// Batches proven on L1.
    pub(crate) proven: u64,
    /// True once the contract takes neither commits nor proofs nor reverts, for good.
    pub(crate) frozen: bool,
    /// Highest batch that can be committed, every one before it too.
    pub(crate) committable: u64,
    /// Highest batch that has a proof, every one before it too.
    pub(crate) provable: u64,
    /// Proven batches with withdrawals that are not credited yet, in order.
    pub(crate) unsettled: Vec<u64>,
    /// Proven batches with queue entries to give back that are not given back yet, in order.
    pub(crate) unrefunded: Vec<u64>,
    /// The first batch that is to be taken back, until it is sealed again; `None` if none is.
    pub(crate) taking_back: Option<TakingBack>,
    /// Transactions of ours that are not mined.
    pub(crate) waiting: Vec<Job>,
    /// True if our newest mined commit failed: then one at a time, each simulated first.
    pub(crate) cautious: bool,
    /// True if our newest mined commit beside proofs failed: then each for itself.
    pub(crate) apart: bool,
}

/// A batch that is being taken back from L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TakingBack {
    /// Which, with all after it.
    pub(crate) batch: u64,
    /// True once the call is signed, until it fails or is lost.
    pub(crate) is_sent: bool,
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
    /// proof call before them, so that ready batches gather in one call. What is due at the same time, and behind nothing, shares one transaction;
    /// neither ever waits for the other.
    pub(crate) fn jobs(&self, limits: &Limits) -> Vec<Job> {
        let (mut jobs, proof) = if self.frozen { (Vec::new(), None) } else { (self.commits(limits), self.proof(limits)) };
        match (jobs.first_mut(), proof) {
            (Some(commit), Some(proof)) if self.may_share(commit) => {
                *commit = Job { kind: TxKind::CommitAndProve, commits: commit.first, ..proof };
            }
            (_, proof) => jobs.extend(proof),
        }
        jobs.extend(self.revert().filter(|_| !self.frozen));
        jobs.extend(self.settles(TxKind::Settle, &self.unsettled, limits));
        jobs.extend(self.settles(TxKind::Refund, &self.unrefunded, limits));
        jobs
    }

    fn waiting_of(&self, kind: TxKind) -> impl Iterator<Item = &Job> {
        self.waiting.iter().filter(move |job| job.kind == kind)
    }

    fn may_share(&self, commit: &Job) -> bool {
        !self.apart && !self.cautious && commit.first == self.committed + 1 && self.waiting_commits().next().is_none()
    }

    /// Numbers of the batches whose commits are on their way.
    fn waiting_commits(&self) -> impl Iterator<Item = u64> {
        self.waiting.iter().filter_map(|job| match job.kind {
            TxKind::Commit => Some(job.first),
            TxKind::CommitAndProve => Some(job.commits),
            _ => None,
        })
    }

    fn revert(&self) -> Option<Job> {
        let TakingBack { batch, .. } = self.taking_back.filter(|revert| !revert.is_sent)?;
        let alone = !self.waiting.iter().any(|job| job.reaches(batch));
        (alone && self.proven < batch && batch <= self.committed).then(|| Job::new(TxKind::Revert, batch, self.committed))
    }

    /// None as long as a call that takes commits back is on its way, even one that the store knows nothing of any more: after it numbers are others.
    fn commits(&self, limits: &Limits) -> Vec<Job> {
        if self.taking_back.is_some() || self.waiting_of(TxKind::Revert).next().is_some() {
            return Vec::new();
        }
        let waiting: Vec<u64> = self.waiting_commits().collect();
        let bound = if self.cautious { 1 } else { limits.commits_in_flight };
        let due = (self.committed + 1..=self.committable).filter(|number| !waiting.contains(number));
        due.take(bound.saturating_sub(waiting.len())).map(|number| Job::new(TxKind::Commit, number, number)).collect()
    }

    fn proof(&self, limits: &Limits) -> Option<Job> {
        let kept = self.taking_back.map_or(u64::MAX, |revert| revert.batch - 1);
        let last = self.provable.min(self.committed).min(self.proven + limits.batches_per_proof).min(kept);
        let idle = self.waiting_of(TxKind::Prove).chain(self.waiting_of(TxKind::CommitAndProve)).next().is_none();
        (idle && last > self.proven).then(|| Job::new(TxKind::Prove, self.proven + 1, last))
    }

    fn settles(&self, kind: TxKind, open: &[u64], limits: &Limits) -> Vec<Job> {
        let in_flight: Vec<u64> = self.waiting_of(kind).map(|job| job.first).collect();
        let free = limits.settles_in_flight.saturating_sub(in_flight.len());
        let due = open.iter().filter(|number| **number <= self.proven && !in_flight.contains(number));
        due.take(free).map(|&number| Job::new(kind, number, number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { commits_in_flight: 3, batches_per_proof: 4, settles_in_flight: 2 };

    fn situation() -> Situation {
        Situation {
            committed: 5,
            proven: 2,
            committable: 5,
            provable: 2,
            unsettled: vec![],
            unrefunded: vec![],
            frozen: false,
            taking_back: None,
            waiting: vec![],
            cautious: false,
            apart: false,
        }
    }

    fn job(kind: TxKind, first: u64, last: u64) -> Job {
        Job::new(kind, first, last)
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
    fn a_commit_and_a_proof_due_at_once_share_a_transaction() {
        let both = Job { kind: TxKind::CommitAndProve, first: 3, last: 4, commits: 6 };
        let mut now = Situation { committable: 7, provable: 4, ..situation() };
        assert_eq!(now.jobs(&LIMITS), vec![both, job(TxKind::Commit, 7, 7)]);
        assert_eq!(both.halves(), Some([job(TxKind::Commit, 6, 6), job(TxKind::Prove, 3, 4)]));
        // neither is sent twice, and what becomes due meanwhile waits only for what it builds on
        now.waiting = vec![both];
        now.provable = 5;
        assert_eq!(now.jobs(&LIMITS), vec![job(TxKind::Commit, 7, 7)]);
    }

    #[test]
    fn a_commit_and_a_proof_go_apart_behind_other_commits_and_after_a_failure() {
        let now = Situation { committable: 6, provable: 4, ..situation() };
        let apart = vec![job(TxKind::Commit, 6, 6), job(TxKind::Prove, 3, 4)];
        assert_eq!(Situation { apart: true, ..now.clone() }.jobs(&LIMITS), apart);
        assert_eq!(Situation { cautious: true, ..now.clone() }.jobs(&LIMITS), apart);
        let behind = Situation { committable: 7, waiting: vec![job(TxKind::Commit, 6, 6)], ..now };
        assert_eq!(behind.jobs(&LIMITS), vec![job(TxKind::Commit, 7, 7), job(TxKind::Prove, 3, 4)]);
    }

    #[test]
    fn only_proven_batches_settle_each_once() {
        let now = Situation { unsettled: vec![1, 2, 4], waiting: vec![job(TxKind::Settle, 1, 1)], ..situation() };
        assert_eq!(now.jobs(&LIMITS), vec![job(TxKind::Settle, 2, 2)]);
        let now = Situation { unrefunded: vec![1, 2, 4], ..now };
        assert_eq!(now.jobs(&LIMITS), vec![job(TxKind::Settle, 2, 2), job(TxKind::Refund, 1, 1), job(TxKind::Refund, 2, 2)]);
    }

    #[test]
    fn a_frozen_contract_pays_what_is_proven_and_takes_nothing_more() {
        let taking_back = Some(TakingBack { batch: 4, is_sent: false });
        let now = Situation { frozen: true, committable: 9, provable: 9, unsettled: vec![1], unrefunded: vec![2], ..situation() };
        let left = vec![job(TxKind::Settle, 1, 1), job(TxKind::Refund, 2, 2)];
        assert_eq!(now.jobs(&LIMITS), left);
        assert_eq!(Situation { taking_back, ..now }.jobs(&LIMITS), left);
    }

    #[test]
    fn a_batch_that_is_taken_back_stops_all_behind_it_and_nothing_before_it() {
        let revert = job(TxKind::Revert, 4, 5);
        let taking_back = Some(TakingBack { batch: 4, is_sent: false });
        let now = Situation { committable: 9, provable: 9, taking_back, unsettled: vec![1], ..situation() };
        assert_eq!(now.jobs(&LIMITS), vec![job(TxKind::Prove, 3, 3), revert, job(TxKind::Settle, 1, 1)]);
        for waiting in [job(TxKind::Commit, 6, 6), Job { kind: TxKind::CommitAndProve, first: 3, last: 3, commits: 6 }] {
            let behind = Situation { provable: 2, unsettled: vec![], waiting: vec![waiting], ..now.clone() };
            assert_eq!(behind.jobs(&LIMITS), vec![], "what is on its way would fail or, worse, come after it");
        }
        let sent = Situation { taking_back: Some(TakingBack { batch: 4, is_sent: true }), waiting: vec![revert], provable: 3, ..now.clone() };
        assert_eq!(sent.jobs(&LIMITS), vec![job(TxKind::Prove, 3, 3), job(TxKind::Settle, 1, 1)]);
        let gone = Situation { committed: 3, ..now };
        assert_eq!(gone.jobs(&LIMITS), vec![job(TxKind::Prove, 3, 3), job(TxKind::Settle, 1, 1)], "nothing to take back, and no commits");
    }

    #[test]
    fn no_commit_goes_out_behind_a_call_that_takes_commits_back() {
        let now = Situation { committable: 9, waiting: vec![job(TxKind::Revert, 4, 5)], ..situation() };
        assert_eq!(now.jobs(&LIMITS), vec![]);
    }

    #[test]
    fn a_chain_that_fell_back_gets_its_commits_again() {
        let now = Situation { committed: 3, ..situation() };
        assert_eq!(now.jobs(&LIMITS), vec![job(TxKind::Commit, 4, 4), job(TxKind::Commit, 5, 5)]);
    }
}
