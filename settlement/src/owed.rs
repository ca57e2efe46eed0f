//! What the contract owes and nobody has credited yet, and the calls that credit it, from L1 alone.
//!
//! ```text
//! history ──> proven batches ── withdrawals, forced exits without a Credited event ──> settle
//!        │                   └─ deposits to give back without a Refunded event ──────> settleRefunds
//!        └─> queue entries that no proven batch took, once the contract is frozen ──> refund
//! ```
//!
//! The operator's submitter makes the same calls from its database. Here the events say what is worth a look, and the contract's own bitmaps decide: what
//! was done before is left out, by whomever. Everything is credited to whose it is, so anybody may send these calls.

use crate::calldata;
use crate::history::{History, HistoryError, ProvenBatch};
use crate::key::L1Key;
use crate::record::record;
use crate::rollup::{Rollup, SendError, TxReceipt, ViewError};
use sheaf_protocol::amount::{Address, Amount, TokenId};
use sheaf_protocol::derive::OpsWords;
use sheaf_protocol::field::{Word, to_word};
use sheaf_protocol::follower::PublishedBatch;
use sheaf_protocol::header::{Choice, QueueEntry};
use sheaf_store::l1::{MAX_REFUND_RUN, RefundInput, SettleInput};
use std::collections::{BTreeMap, VecDeque};

/// Most items or queue entries of one call: some 35,000 gas each, far below what a transaction may have.
const MAX_RUN: u64 = MAX_REFUND_RUN as u64;

/// Why it cannot be told what is owed.
#[derive(Debug, thiserror::Error)]
pub enum OwedError {
    /// History cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The contract cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// Something lies before the first block that was read.
    #[error(
        "{what} {found} is there and {expected}, which comes first, was not read; start with --from-block at the block that created the contract"
    )]
    Gap {
        /// Batch or queue entry.
        what: &'static str,
        /// Its number.
        found: u64,
        /// The first that is missing.
        expected: u64,
    },
    /// A batch's record cannot be made again.
    #[error(
        "the arguments of batch {0}'s commit do not give the record that the contract stores; use the version of sheaf whose circuits the deployment has, \
         and an L1 node that shows the commit as it was sent"
    )]
    Record(u64),
    /// The node withholds events, or its index lags.
    #[error(
        "the events of L1 tell of {read} {what}, the frozen contract counts {counted}; start with --from-block at the block that created the contract, and if \
         it does, ask another L1 node with --l1-url"
    )]
    Withheld {
        /// Proven batches, or entries that they took.
        what: &'static str,
        /// By events.
        read: u64,
        /// By the contract.
        counted: u64,
    },
}

/// The contract's entry points that credit what is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Withdrawals and forced exits of a proven batch.
    Settle,
    /// Deposits that a proven batch gives back.
    SettleRefunds,
    /// Entries of the queue that no proven batch took, after a freeze.
    Refund,
}

impl Entry {
    /// As the contract calls it.
    pub fn name(self) -> &'static str {
        match self {
            Entry::Settle => "settle",
            Entry::SettleRefunds => "settleRefunds",
            Entry::Refund => "refund",
        }
    }
}

/// What somebody can claim once a call is mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Whose it is.
    pub to: Address,
    /// Token; 0 of a request, which holds no coins but its fee.
    pub token: TokenId,
    /// In the token's smallest unit.
    pub amount: Amount,
}

/// A call that credits something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which.
    pub entry: Entry,
    /// The batch, of `settle` and `settleRefunds`.
    pub batch: Option<u64>,
    /// What it credits; of a run between them also what lies in between and is somebody else's.
    pub credits: Vec<Credit>,
    /// Native coin given back with each of the credits: the queue's fee, after a freeze.
    pub fee: Amount,
    /// The whole call, for a wallet that signs elsewhere too.
    pub calldata: Vec<u8>,
}

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// In this order, or any other.
    pub calls: Vec<Call>,
    /// Queue entries that no proven batch took and that only a freeze gives back; 0 once it has come.
    pub waiting: usize,
}

/// A proven batch with something to credit or to give back.
#[derive(Debug)]
struct Open {
    batch: ProvenBatch,
    /// Index of its last queue entry.
    last_entry: u64,
    /// Items that pay and have no event yet.
    items: usize,
    /// Deposits to give back that have no event yet.
    refunds: usize,
}

/// Everything owed, by what was read of history so far.
#[derive(Debug)]
pub struct Owed {
    rollup: Rollup,
    history: History,
    open: BTreeMap<u64, Open>,
    /// Entries behind those that proven batches took.
    queue: VecDeque<(u64, QueueEntry)>,
    /// Entries read.
    queued: u64,
    /// Of these, how many proven batches took.
    taken: u64,
    /// Batches read.
    proven: u64,
}

impl Owed {
    /// Nothing is read yet; `first_block` is the one that created the contract, or one before it.
    pub fn new(rollup: Rollup, first_block: u64) -> Self {
        let history = History::new(rollup.clone(), first_block);
        Self { rollup, history, open: BTreeMap::new(), queue: VecDeque::new(), queued: 0, taken: 0, proven: 0 }
    }

    /// Reads the next range of blocks up to `last` and tells the block after it; `None` at the end.
    ///
    /// # Errors
    /// [`OwedError`].
    pub async fn read(&mut self, last: u64) -> Result<Option<u64>, OwedError> {
        let Some(chapter) = self.history.next(self.proven, last).await? else { return Ok(None) };
        for (index, entry) in chapter.queued {
            follows("queue entry", index, &mut self.queued)?;
            self.queue.push_back((index, entry));
        }
        for batch in chapter.batches {
            follows("batch", batch.number, &mut self.proven)?;
            self.taken += batch.published.taken.len() as u64;
            let of_batch = self.queue.iter().take_while(|(index, _)| *index <= self.taken).count();
            self.queue.drain(..of_batch);
            let items = items(&batch.published).iter().flatten().count();
            let refunds = refunds(&batch.published, self.taken).count();
            self.open.insert(batch.number, Open { batch, last_entry: self.taken, items, refunds });
        }
        for number in chapter.credited {
            self.open.entry(number).and_modify(|open| open.items = open.items.saturating_sub(1));
        }
        for index in chapter.refunded {
            let theirs = |open: &&mut Open| index <= open.last_entry && index + open.batch.published.taken.len() as u64 > open.last_entry;
            if let Some(open) = self.open.values_mut().find(theirs) {
                open.refunds = open.refunds.saturating_sub(1);
            }
        }
        self.open.retain(|_, open| open.items + open.refunds > 0);
        Ok(Some(self.history.next_block()))
    }

    /// The calls that credit what is owed, to `owner` or to everybody, and what waits for a freeze.
    ///
    /// # Errors
    /// [`OwedError`].
    pub async fn due(&self, owner: Option<Address>) -> Result<Due, OwedError> {
        let domain = self.rollup.domain().await?;
        let mut calls = Vec::new();
        for (number, open) in &self.open {
            let stored = self.rollup.batch_hash(*number).await?;
            let record = record(&open.batch.named, &open.batch.published, domain, &stored).ok_or(OwedError::Record(*number))?;
            let choices = open.batch.published.choices.iter().map(Choice::word).collect();
            let words = OpsWords::of(&open.batch.published).map_err(|_| OwedError::Record(*number))?.used().into_iter().map(to_word).collect();
            let input = SettleInput { record, choices, words, items: items(&open.batch.published).len() as u64 };
            self.settle(open, &input, owner, &mut calls).await?;
            self.settle_refunds(open, input, owner, &mut calls).await?;
        }
        if !self.rollup.is_frozen().await? {
            let counted = self.rollup.progress().await?.proven;
            if self.proven == 0 && counted > 0 {
                return Err(OwedError::Gap { what: "batch", found: counted, expected: 1 });
            }
            let mine = |(_, entry): &&(u64, QueueEntry)| owner.is_none_or(|owner| entry.sender == owner);
            return Ok(Due { calls, waiting: self.queue.iter().filter(mine).count() });
        }
        self.refund(owner, &mut calls).await?;
        Ok(Due { calls, waiting: 0 })
    }

    async fn settle(&self, open: &Open, input: &SettleInput, owner: Option<Address>, calls: &mut Vec<Call>) -> Result<(), OwedError> {
        let mut due = Vec::new();
        for (item, credit) in (0..).zip(items(&open.batch.published)) {
            let Some(credit) = credit.filter(|credit| concerns(credit, owner)) else { continue };
            if !self.rollup.is_settled(open.batch.number, item).await? {
                due.push((item, credit));
            }
        }
        calls.extend(runs(&due).map(|run| {
            let (first, count) = extent(run);
            Call::new(Entry::Settle, Some(open.batch.number), run, calldata::settle(input, first, count).to_vec())
        }));
        Ok(())
    }

    async fn settle_refunds(&self, open: &Open, input: SettleInput, owner: Option<Address>, calls: &mut Vec<Call>) -> Result<(), OwedError> {
        let due = self.not_refunded(refunds(&open.batch.published, open.last_entry), owner).await?;
        let (taken, SettleInput { record, choices, words, .. }) = (&open.batch.published.taken, input);
        let before = open.last_entry - taken.len() as u64;
        calls.extend(runs(&due).map(|run| {
            let (first, count) = extent(run);
            let from = (first - before - 1) as usize;
            let (choices, words, entries) = (choices.clone(), words.clone(), taken[from..from + count as usize].to_vec());
            let input = RefundInput { record, choices, words, last_entry: open.last_entry, first, entries };
            Call::new(Entry::SettleRefunds, Some(open.batch.number), run, calldata::settle_refunds(&input).to_vec())
        }));
        Ok(())
    }

    /// After a freeze, when nothing is taken or proven any more.
    async fn refund(&self, owner: Option<Address>, calls: &mut Vec<Call>) -> Result<(), OwedError> {
        let progress = self.rollup.progress().await?;
        let counted = [
            ("proven batches", self.proven, progress.proven),
            ("queue entries in proven batches", self.taken, self.rollup.queue_proven().await?),
            ("queue entries", self.queued, progress.queue_length),
        ];
        if let Some((what, read, counted)) = counted.into_iter().find(|(_, read, counted)| read != counted) {
            return Err(OwedError::Withheld { what, read, counted });
        }
        let due = self.not_refunded(self.queue.iter().map(|(index, entry)| (*index, entry)), owner).await?;
        let fee = self.rollup.queue_fee().await?;
        calls.extend(runs(&due).map(|run| {
            let (first, count) = extent(run);
            let entries: Vec<QueueEntry> =
                self.queue.range((first - self.taken - 1) as usize..).take(count as usize).map(|(_, entry)| *entry).collect();
            Call { fee, ..Call::new(Entry::Refund, None, run, calldata::refund(first, &entries).to_vec()) }
        }));
        Ok(())
    }

    async fn not_refunded<'a>(
        &self,
        entries: impl Iterator<Item = (u64, &'a QueueEntry)>,
        owner: Option<Address>,
    ) -> Result<Vec<(u64, Credit)>, ViewError> {
        let mut due = Vec::new();
        for (index, entry) in entries {
            let credit = Credit { to: entry.sender, token: entry.token, amount: entry.amount };
            if concerns(&credit, owner) && !self.rollup.is_refunded(index).await? {
                due.push((index, credit));
            }
        }
        Ok(due)
    }
}

impl Call {
    fn new(entry: Entry, batch: Option<u64>, run: &[(u64, Credit)], calldata: Vec<u8>) -> Self {
        Self { entry, batch, credits: run.iter().map(|(_, credit)| *credit).collect(), fee: Amount(0), calldata }
    }

    /// Sends it and waits; `None` if somebody else did it meanwhile.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, rollup: &Rollup, from: &L1Key) -> Result<Option<TxReceipt>, SendError> {
        match rollup.send(from, self.calldata.clone().into()).await {
            Err(SendError::Reverted(revert)) if revert.is_done_already() => Ok(None),
            sent => sent.map(Some),
        }
    }
}

/// The next number, which is counted.
fn follows(what: &'static str, found: u64, last: &mut u64) -> Result<(), OwedError> {
    *last += 1;
    if found == *last { Ok(()) } else { Err(OwedError::Gap { what, found, expected: *last }) }
}

fn concerns(credit: &Credit, owner: Option<Address>) -> bool {
    owner.is_none_or(|owner| credit.to == owner)
}

/// What `settle` credits of a batch: withdrawals, then exits; `None` where nothing is paid.
fn items(batch: &PublishedBatch) -> Vec<Option<Credit>> {
    let withdrawals = batch.withdrawals.iter().map(withdrawn);
    let exits = batch.taken.iter().zip(&batch.choices).filter_map(|(entry, choice)| match choice {
        Choice::Exit(token, amount) => Some(Some(Credit { to: entry.sender, token: *token, amount: *amount }).filter(|credit| credit.amount.0 > 0)),
        _ => None,
    });
    withdrawals.chain(exits).collect()
}

/// A slot that is not used names slot 0.
fn withdrawn([w0, amount, recipient]: &[Word; 3]) -> Option<Credit> {
    let (mut number, mut to) = ([0; 16], Address([0; 20]));
    number.copy_from_slice(&amount[16..]);
    to.0.copy_from_slice(&recipient[12..]);
    let credit = Credit { to, token: TokenId(u16::from_be_bytes([w0[27], w0[28]])), amount: Amount(u128::from_be_bytes(number)) };
    Some(credit).filter(|credit| w0[29..] != [0; 3] && credit.amount.0 > 0)
}

/// Deposits that a batch gives back, with their indices.
fn refunds(batch: &PublishedBatch, last_entry: u64) -> impl Iterator<Item = (u64, &QueueEntry)> {
    let first = last_entry + 1 - batch.taken.len() as u64;
    (first..).zip(&batch.taken).zip(&batch.choices).filter(|(_, choice)| **choice == Choice::Refund).map(|(entry, _)| entry)
}

/// Runs that each fit one call.
fn runs(due: &[(u64, Credit)]) -> impl Iterator<Item = &[(u64, Credit)]> {
    let mut left = due;
    std::iter::from_fn(move || {
        let (first, _) = left.first()?;
        let (run, rest) = left.split_at(left.iter().take_while(|(place, _)| place - first < MAX_RUN).count());
        left = rest;
        Some(run)
    })
}

/// First place, and how many places the run spans.
fn extent(run: &[(u64, Credit)]) -> (u64, u64) {
    match run {
        [(first, _), .., (last, _)] => (*first, last + 1 - first),
        [(first, _)] => (*first, 1),
        [] => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_span_no_more_than_one_call_takes() {
        let due: Vec<(u64, Credit)> =
            [3, 4, 102, 103, 104, 900].map(|place| (place, Credit { to: Address([1; 20]), token: TokenId(1), amount: Amount(5) })).to_vec();
        let found: Vec<(u64, u64)> = runs(&due).map(extent).collect();
        assert_eq!(found, [(3, 100), (103, 2), (900, 1)]);
        assert_eq!(runs(&[]).count(), 0);
    }

    #[test]
    fn a_withdrawal_slot_that_is_not_used_pays_nobody() {
        let word = |low: u128| sheaf_protocol::field::word_u128(low);
        let paid = withdrawn(&[word(7 | 2 << 24 | 9 << 40), word(55), word(0xabcd)]);
        assert_eq!(paid.map(|credit| (credit.token, credit.amount, credit.to.0[18..].to_vec())), Some((TokenId(2), Amount(55), vec![0xab, 0xcd])));
        assert_eq!(withdrawn(&[word(2 << 24), word(55), word(1)]), None);
        assert_eq!(withdrawn(&[word(7), word(0), word(1)]), None);
    }
}
