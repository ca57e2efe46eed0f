//! Folds sealed batches, one after another, into the committed state vector and stores everything that L1 and the provers need.
//!
//! ```text
//! members ─> batch ─> C', h ─> header ─> rho ─> C_q ─> zeta ─> claims, y_da, y_ops ─> gamma ─> W
//!                              └──────────── one transaction: batch row, slots, proof job ───────────┘
//! ```
//! Order is security: data, h and C' come before rho, C_q before zeta, the claims before gamma. What cannot be stored is stored later; what cannot
//! be computed ends the process, because the executor accepted something that the circuit refuses.

use crate::book::{Leaving, triple_of};
use crate::config::Deployment;
use crate::executor::Fatal;
use crate::feed::Feed;
use sheaf_protocol::amount::{SlotId, TokenId};
use sheaf_protocol::batch::{Batch, BatchError, Deposit, Operations, ProverInput, Registered, Request, Signed};
use sheaf_protocol::derive::Opened;
use sheaf_protocol::field::{Fr, Word, g1_words, to_word};
use sheaf_protocol::header::{self, Choice, Header, QueueEntry, QueueKind};
use sheaf_protocol::kzg::{OpenError, PrepareError, StateVector, Step};
use sheaf_protocol::ledger::{Ledger, Slot};
use sheaf_protocol::ops::{Op, SignedOp};
use sheaf_store::StoreError;
use sheaf_store::batches::{self, Computed, Member};
use sheaf_store::leader::Lease;
use sheaf_store::pool::{Held, within};
use sheaf_store::queue::Taken;
use sqlx::{Connection, PgPool};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Pause before a batch is stored again.
const RETRY: Duration = Duration::from_millis(500);

/// A sealed batch.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) number: u64,
    pub(crate) circuit: u32,
    pub(crate) leaving: Leaving,
}

/// Why a batch cannot be computed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ComputeError {
    #[error("the deployment has no circuit {0}")]
    Circuit(u32),
    #[error("slot {0} signed, but nobody opened it")]
    NoKey(SlotId),
    #[error("slot {0} registered an account that has no slot")]
    NoAccount(SlotId),
    #[error("{0}")]
    Batch(#[from] BatchError),
    #[error("{0}")]
    Prepare(#[from] PrepareError),
    #[error("{0}")]
    Open(#[from] OpenError),
    #[error("the prover's input cannot be written: {0}")]
    Input(#[from] serde_json::Error),
}

/// The state after the last computed batch.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) deployment: Arc<Deployment>,
    pub(crate) ledger: Ledger,
    pub(crate) vector: StateVector,
    pub(crate) queue_digest: Word,
}

/// A computed batch that is not part of the state yet.
pub(crate) struct Next {
    pub(crate) computed: Computed,
    step: Step,
    queue_digest: Word,
}

/// A batch's members by kind.
struct Sorted {
    operations: Operations,
    taken: Vec<QueueEntry>,
    /// The slot of each deposit in `taken`, `None` for a refund.
    deposited: Vec<Option<SlotId>>,
    queue_digest: Word,
}

impl Committed {
    /// Computes a batch; the state stays as it is.
    ///
    /// # Errors
    /// [`ComputeError`].
    pub(crate) fn compute(&self, sealed: &Sealed) -> Result<Next, ComputeError> {
        let Leaving { members, collectors } = &sealed.leaving;
        let Sorted { operations, taken, deposited, queue_digest } = self.sort(members)?;
        let shape = self.deployment.circuit(sealed.circuit).ok_or(ComputeError::Circuit(sealed.circuit))?.shape;
        let fee_slot = |token: TokenId| collectors.get(&token).copied();
        let batch = Batch::assemble(&self.ledger, (sealed.circuit, shape), self.deployment.domain, operations, fee_slot)?;
        let choices = choices(&taken, &deposited, &batch);
        let step = self.vector.prepare(&batch.touched_slots())?;
        let (posted_data, used) = (batch.posted_data(), batch.used_ops_words());
        let header = Header {
            number: sealed.number,
            circuit: sealed.circuit,
            old_root: self.vector.root(),
            commitments: *step.after(),
            h: batch.transcript(),
            queue_digest,
            taken: choices.len() as u32,
            ops_hash: header::ops_hash(&choices, &used),
            data_hash: header::data_hash(&posted_data),
        };
        let opened = Opened::of(&self.vector, &step, header, self.deployment.domain, [&batch.da_words(), &batch.ops_words()])?;
        let computed = Computed {
            number: sealed.number,
            record: opened.record.words(),
            new_root: header::state_root(self.vector.k(), step.after()),
            opening: g1_words(&opened.opening),
            claims: opened.claims.to_array().map(to_word),
            posted_data,
            choices: choices.iter().map(Choice::word).collect(),
            ops_words: used.iter().map(|word| to_word(*word)).collect(),
            slots: changed(&batch),
            input: serde_json::to_value(ProverInput { batch, challenges: opened.challenges })?,
        };
        Ok(Next { computed, step, queue_digest })
    }

    fn sort(&self, members: &[Member]) -> Result<Sorted, ComputeError> {
        let keys = self.keys(members);
        let key = |slot: SlotId| keys.get(&slot).copied().ok_or(ComputeError::NoKey(slot));
        let mut sorted = Sorted { operations: Operations::default(), taken: vec![], deposited: vec![], queue_digest: self.queue_digest };
        let operations = &mut sorted.operations;
        for member in members {
            match member {
                Member::Transaction { op: SignedOp { op, signature }, account, .. } => {
                    let (key, signature) = (key(op.from())?, *signature);
                    match (*op, account) {
                        (Op::Transfer(op), _) => operations.transfers.push(Signed { op, key, signature }),
                        (Op::Withdraw(op), _) => operations.withdrawals.push(Signed { op, key, signature }),
                        (Op::Register(op), Some(new)) => operations.registers.push(Registered { signed: Signed { op, key, signature }, new: *new }),
                        (Op::Register(op), None) => return Err(ComputeError::NoAccount(op.from)),
                    }
                }
                Member::Taken(Taken { slot, entry, .. }) => {
                    sorted.queue_digest = entry.digest_after(&sorted.queue_digest);
                    sorted.taken.push(*entry);
                    let request = Request { slot: entry.slot, requester: entry.sender };
                    match entry.kind {
                        QueueKind::Deposit => {
                            sorted.deposited.push(*slot);
                            operations.deposits.extend(slot.map(|slot| Deposit { slot, triple: triple_of(entry), amount: entry.amount }));
                        }
                        QueueKind::Exit => operations.exits.push(request),
                        QueueKind::Rotation => operations.rotations.push((request, entry.key)),
                    }
                }
            }
        }
        Ok(sorted)
    }

    /// The key of every signing slot: at the start of the batch, or the one it is opened with.
    fn keys(&self, members: &[Member]) -> HashMap<SlotId, Fr> {
        let mut keys = HashMap::new();
        let mut see = |slot: SlotId, opened: Option<Fr>| {
            let old = self.ledger.get(slot);
            if let Some(key) = if old.is_empty() { opened } else { Some(old.triple.key) } {
                keys.entry(slot).or_insert(key);
            }
        };
        for member in members {
            match member {
                Member::Transaction { op: SignedOp { op, .. }, account, .. } => {
                    see(op.from(), None);
                    if let (Op::Register(register), Some(account)) = (op, account) {
                        see(*account, Some(register.account.key));
                    }
                }
                Member::Taken(Taken { slot: Some(slot), entry, .. }) if entry.kind == QueueKind::Deposit => see(*slot, Some(entry.key)),
                Member::Taken(_) => {}
            }
        }
        keys
    }

    /// Makes a computed batch part of the state.
    ///
    /// # Errors
    /// [`OpenError::Stale`] if it was computed on another state.
    pub(crate) fn advance(&mut self, next: &Next) -> Result<(), OpenError> {
        self.vector.advance(&next.step)?;
        next.computed.slots.iter().for_each(|(id, slot)| self.ledger.set(*id, *slot));
        self.queue_digest = next.queue_digest;
        Ok(())
    }
}

/// One choice for each entry taken, in order; what exits and rotations found is the batch's.
fn choices(taken: &[QueueEntry], deposited: &[Option<SlotId>], batch: &Batch) -> Vec<Choice> {
    let mut deposits = deposited.iter().map(|slot| slot.map_or(Choice::Refund, Choice::Deposit));
    let (mut exits, mut rotations) = (batch.exits.iter().map(Choice::from), batch.rotations.iter().map(Choice::from));
    let choice = |entry: &QueueEntry| match entry.kind {
        QueueKind::Deposit => deposits.next(),
        QueueKind::Exit => exits.next(),
        QueueKind::Rotation => rotations.next(),
    };
    taken.iter().filter_map(choice).collect()
}

/// Slots that hold something else afterwards.
fn changed(batch: &Batch) -> Vec<(SlotId, Slot)> {
    batch.accounts.iter().filter(|account| account.old != account.new).map(|account| (account.id, account.new)).collect()
}

/// The committer's task.
pub(crate) struct Committer {
    pub(crate) pool: PgPool,
    pub(crate) lease: Lease,
    pub(crate) state: Committed,
    pub(crate) feed: Feed,
    /// Its own, so that a batch never stands before the signatures that receipts wait for.
    pub(crate) threads: Arc<rayon::ThreadPool>,
    pub(crate) write_timeout: Duration,
    pub(crate) stop: CancellationToken,
}

impl Committer {
    /// Computes `first`, then whatever arrives, until stopped.
    ///
    /// # Errors
    /// [`Fatal`].
    pub(crate) async fn run(mut self, first: Vec<Sealed>, mut sealed: mpsc::Receiver<Sealed>) -> Result<(), Fatal> {
        for batch in first {
            self = self.commit(batch).await?;
        }
        loop {
            let batch = tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                batch = sealed.recv() => batch,
            };
            match batch {
                Some(batch) => self = self.commit(batch).await?,
                None => return Ok(()),
            }
        }
    }

    async fn commit(mut self, sealed: Sealed) -> Result<Self, Fatal> {
        if self.stop.is_cancelled() {
            return Ok(self);
        }
        let number = sealed.number;
        let failed = |reason: String| Fatal::Compute { number, reason };
        let started = Instant::now();
        let (state, threads) = (self.state, Arc::clone(&self.threads));
        let computed = tokio::task::spawn_blocking(move || threads.install(|| (state.compute(&sealed), state))).await;
        let (next, state) = computed.map_err(|error| failed(error.to_string()))?;
        self.state = state;
        let next = next.map_err(|error| failed(error.to_string()))?;
        if self.store(&next.computed).await? {
            self.state.advance(&next).map_err(|error| failed(error.to_string()))?;
            metrics::histogram!("sheaf_commit_seconds").record(started.elapsed().as_secs_f64());
            tracing::info!(number, ms = started.elapsed().as_millis() as u64, "computed");
            self.feed.poke();
        }
        Ok(self)
    }

    /// Stores until it is stored; returns false if stopped before.
    async fn store(&self, computed: &Computed) -> Result<bool, Fatal> {
        loop {
            match within(self.write_timeout, self.try_store(computed)).await {
                Ok(()) => return Ok(true),
                Err(lost @ StoreError::LostLead { .. }) => return Err(Fatal::Store(lost)),
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, number = computed.number, "the batch could not be stored"),
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(false),
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    /// Also succeeds if an earlier attempt took effect although it reported an error: nobody else writes this batch.
    async fn try_store(&self, computed: &Computed) -> Result<(), StoreError> {
        let mut connection = Held::take(&self.pool).await?;
        let mut transaction = connection.begin().await?;
        self.lease.guard(&mut transaction).await?;
        match batches::store_computed(&mut transaction, computed).await {
            Err(sqlx::Error::RowNotFound) => transaction.rollback().await?,
            Err(error) => return Err(error.into()),
            Ok(()) => transaction.commit().await?,
        }
        connection.done();
        Ok(())
    }
}
