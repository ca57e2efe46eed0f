//! The rollup's history as L1 alone holds it: every proven batch with the arguments of its commit, in order.
//!
//! ```text
//! logs of the contract, block range after block range ── Committed ─> its transaction ─> calldata ─┐
//!                                                     ├─ Proven ──────────────────────────────────┴─> ProvenBatch
//!                                                     └─ Queued, Credited, Refunded ────────────────> as they are
//! ```
//!
//! The operator commits from an account of its own and in no inner call, so the calldata of a commit is that of its transaction. A batch that
//! was committed more than once counts as it was committed last before its proof. Nothing here is trusted: whoever follows compares each root.

use crate::abi;
use crate::calls::Call;
use crate::events::{EventError, read};
use crate::rollup::Rollup;
use crate::rpc::{RpcError, TxHash};
use ethers_core::types::U256;
use sheaf_protocol::amount::{Address, Amount, SlotId, TokenId};
use sheaf_protocol::field::{Word, from_word};
use sheaf_protocol::follower::PublishedBatch;
use sheaf_protocol::header::{Choice, QueueEntry, QueueKind};
use sheaf_store::l1::{Committed, Event, RecordWords};
use std::collections::BTreeMap;

/// Blocks asked for at once; fewer where a node gives fewer.
const RANGE_BLOCKS: u64 = 1_000;

/// Why history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The node failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The contract's logs are not its own.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A batch was proven whose commit lies before the first block that was read.
    #[error("batch {0} was committed before the first block read; start at the block that created the contract")]
    CommitMissing(u64),
    /// The node does not hold a commit's transaction, or it is no commit.
    #[error("transaction {hash} of batch {number} {detail}")]
    Commit {
        /// The batch.
        number: u64,
        /// The transaction.
        hash: TxHash,
        /// What is wrong with it.
        detail: &'static str,
    },
}

/// A proven batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenBatch {
    /// Its number, from 1.
    pub number: u64,
    /// The state root after it, as proven.
    pub root: Word,
    /// What its commit left on L1.
    pub published: PublishedBatch,
    /// The words of its record that its commit names; 0 are those that the contract computed: the two hashes of what it was given, the two evaluations.
    pub(crate) named: RecordWords,
    /// Where the rest of it is: see `Rollup::posted`.
    pub found: Found,
}

/// Transactions and events of a proven batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The transaction of its last commit.
    pub commit: TxHash,
    /// The transaction of its proof.
    pub prove: TxHash,
    /// Hash of its record, as told when it was committed.
    pub batch_hash: Word,
    /// State root after it, as told when it was committed.
    pub committed_root: Word,
}

/// What a range of blocks tells, each kind in order.
#[derive(Clone, Debug, Default)]
pub struct Chapter {
    /// Batches proven in it.
    pub batches: Vec<ProvenBatch>,
    /// Entries that joined the queue, with their indices.
    pub(crate) queued: Vec<(u64, QueueEntry)>,
    /// The batch of each item that was credited.
    pub(crate) credited: Vec<u64>,
    /// Indices of the queue entries that were given back.
    pub(crate) refunded: Vec<u64>,
}

/// Reads a contract's history from a block on.
#[derive(Debug)]
pub struct History {
    rollup: Rollup,
    next_block: u64,
    range_blocks: u64,
    /// Transactions of commits by batch, with their blocks, as long as the batch is not proven.
    open: BTreeMap<u64, (TxHash, u64, Committed)>,
}

impl History {
    /// History from `first_block` on, which must not be after the commit of the first batch wanted.
    pub fn new(rollup: Rollup, first_block: u64) -> Self {
        Self { rollup, next_block: first_block, range_blocks: RANGE_BLOCKS, open: BTreeMap::new() }
    }

    /// The block that is read next.
    pub fn next_block(&self) -> u64 {
        self.next_block
    }

    /// The block to start at again: none of the batches still to come was committed before it.
    pub fn resume_at(&self) -> u64 {
        self.open.values().map(|(_, block, _)| *block).min().unwrap_or(self.next_block)
    }

    /// What the next range of blocks up to `last` tells, with the batches above `above` only; `None` at its end.
    ///
    /// # Errors
    /// [`HistoryError`]; the same range is read again next time.
    pub async fn next(&mut self, above: u64, last: u64) -> Result<Option<Chapter>, HistoryError> {
        if self.next_block > last {
            return Ok(None);
        }
        let (to, logs) = self.range(last).await?;
        let (mut chapter, mut proven) = (Chapter::default(), Vec::new());
        for log in logs {
            let Some(row) = read(log, self.rollup.h160())? else { continue };
            match row.event {
                Event::Committed(number, told) => drop(self.open.insert(number, (TxHash(row.tx_hash), row.block, told))),
                Event::Proven(number, done) if number > above => proven.push((number, done.root, TxHash(row.tx_hash))),
                Event::Queued(index, entry) => chapter.queued.push((index, entry)),
                Event::Credited(number, _) => chapter.credited.push(number),
                Event::Refunded(index, _) => chapter.refunded.push(index),
                _ => {}
            }
        }
        for (number, root, prove) in proven {
            let (commit, _, told) = self.open.get(&number).ok_or(HistoryError::CommitMissing(number))?;
            let found = Found { commit: *commit, prove, batch_hash: told.batch_hash, committed_root: told.root };
            chapter.batches.push(self.batch(number, root, found).await?);
        }
        if let Some(newest) = chapter.batches.last() {
            self.open.retain(|number, _| *number > newest.number);
        }
        self.next_block = to + 1;
        Ok(Some(chapter))
    }

    /// Logs of the next range and its last block; half as many blocks whenever the node refuses.
    async fn range(&mut self, last: u64) -> Result<(u64, Vec<ethers_core::types::Log>), RpcError> {
        loop {
            let to = last.min(self.next_block + self.range_blocks - 1);
            match self.rollup.rpc().logs_of_range(self.rollup.h160(), self.next_block, to).await {
                Ok(logs) => return Ok((to, logs)),
                Err(error) if to == self.next_block => return Err(error),
                Err(error) => {
                    self.range_blocks = (to - self.next_block).div_ceil(2);
                    tracing::debug!(from = self.next_block, to, %error, "asking for fewer blocks at once");
                }
            }
        }
    }

    async fn batch(&self, number: u64, root: Word, found: Found) -> Result<ProvenBatch, HistoryError> {
        let hash = found.commit;
        let wrong = |detail| HistoryError::Commit { number, hash, detail };
        let input = self.rollup.rpc().transaction_input(hash.0.into()).await?.ok_or_else(|| wrong("is not known to the L1 node"))?;
        let batch = Call::read(input).and_then(|call| call.commit).ok_or_else(|| wrong("is not a commit"))?;
        if batch.number != U256::from(number) {
            return Err(wrong("commits another batch"));
        }
        let published = PublishedBatch {
            data: batch.data.to_vec(),
            withdrawals: batch.withdrawals.iter().map(|w| [w.w_0, w.amount, w.recipient].map(Word::from)).collect(),
            taken: batch.taken.iter().map(entry).collect::<Option<_>>().ok_or_else(|| wrong("takes a queue entry out of range"))?,
            choices: batch
                .choices
                .iter()
                .map(|word| Choice::from_word(&Word::from(*word)))
                .collect::<Option<_>>()
                .ok_or_else(|| wrong("holds an unknown choice"))?,
        };
        Ok(ProvenBatch { number, root, published, named: named(&batch), found })
    }
}

fn named(batch: &abi::Commit) -> RecordWords {
    let mut words = [[0; 32]; 18];
    (words[0], words[1], words[2]) = (batch.number.into(), batch.circuit.into(), batch.old_root);
    words[3..9].copy_from_slice(&batch.commitments.map(Word::from));
    (words[9], words[10], words[11]) = (batch.h.into(), batch.queue_digest, U256::from(batch.taken.len()).into());
    words[14..16].copy_from_slice(&batch.cq.map(Word::from));
    words
}

fn entry(entry: &abi::QueueEntry) -> Option<QueueEntry> {
    let kind = [QueueKind::Deposit, QueueKind::Exit, QueueKind::Rotation].into_iter().find(|kind| *kind as u8 == entry.kind)?;
    Some(QueueEntry {
        kind,
        sender: Address(entry.sender.0),
        token: TokenId(entry.token),
        amount: Amount(entry.amount),
        slot: SlotId::try_from(entry.idx).ok()?,
        owner: Address(entry.owner.0),
        key: from_word(&Word::from(entry.key))?,
    })
}
