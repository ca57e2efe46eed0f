//! The one writer of the live state: applies verified transactions and L1 deposits in order, makes them durable, answers, seals.
//!
//! ```text
//! verified groups ─┐                                  ┌─ durable: receipts, readers see it
//! L1 queue ────────┼─> draft in the book ─> Postgres ─┤
//! age of a batch ──┘                                  └─ not durable: undone, callers are told to send again
//! ```
//! Nothing is answered before it is durable. If a write fails, callers get an answer at once and the executor finds out whether the write took
//! effect after all (the connection may have died in the commit): it waits for the transaction's lock on the lease, then looks. Until that is
//! known nothing else is executed. A lost lease ends the process.

use crate::admission::{Arrival, Verified};
use crate::book::Book;
use crate::committer::Sealed;
use crate::config::{Circuit, Config};
use crate::feed::Feed;
use crate::lead;
use crate::refusal::Refusal;
use crate::sealer::{self, Plan, Pressure};
use crate::view::{Change, View};
use sheaf_protocol::field::Fr;
use sheaf_protocol::header::QueueEntry;
use sheaf_protocol::transition::Rejection;
use sheaf_store::StoreError;
use sheaf_store::batches::{self, Member, Seal};
use sheaf_store::l1;
use sheaf_store::leader::Lease;
use sheaf_store::pool::{Held, within};
use sheaf_store::queue;
use sheaf_store::reverts;
use sheaf_store::transactions::{self, Accepted, Receipt};
use sqlx::{Connection, PgPool};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Verified groups that are written together.
const GROUPS_PER_WRITE: usize = 4;
/// Pause between two attempts to reach the database.
const RETRY: Duration = Duration::from_millis(200);

/// Why the sequencer stops by itself.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// Another sequencer leads, or the database refused for good.
    #[error("the sequencer cannot go on")]
    Store(#[source] StoreError),
    /// A task of the sequencer panicked.
    #[error("{task} panicked: {message}; this is a bug")]
    Panicked {
        /// Which task.
        task: &'static str,
        /// What it said.
        message: String,
    },
    /// The fees of a batch cannot be credited.
    #[error("the fees of batch {number} cannot be credited: {rejection}")]
    Fees {
        /// The batch.
        number: u64,
        /// Why.
        rejection: Rejection,
    },
    /// The database sealed other members than this process holds.
    #[error("batch {number} was sealed with {found} members, {expected} were expected")]
    Membership {
        /// The batch.
        number: u64,
        /// In this process.
        expected: usize,
        /// In the database.
        found: u64,
    },
    /// L1 has taken a batch back: recovery seals it again.
    #[error("batch {0} was taken back from L1; starting again to seal it anew")]
    TakenBack(u64),
    /// A batch cannot be computed.
    #[error("batch {number} cannot be computed: {reason}")]
    Compute {
        /// The batch.
        number: u64,
        /// Why.
        reason: String,
    },
}

/// What a write that reported an error would have left behind.
#[derive(Clone, Copy)]
enum Trace {
    /// An accepted item at this place or above.
    Accepted(u64),
    /// A batch of this number.
    Sealed(u64),
}

/// Outcome of a write that reported an error.
enum Outcome {
    Landed,
    Void,
}

pub(crate) struct Executor {
    pub(crate) pool: PgPool,
    pub(crate) lease: Lease,
    pub(crate) config: Arc<Config>,
    pub(crate) circuits: Vec<Circuit>,
    pub(crate) book: Book,
    pub(crate) last_batch: u64,
    pub(crate) view: Arc<View>,
    pub(crate) feed: Feed,
    pub(crate) verified: mpsc::Receiver<Vec<Verified>>,
    pub(crate) sealed: mpsc::Sender<Sealed>,
    pub(crate) asked: mpsc::Receiver<()>,
    /// When each waiting item was accepted.
    pub(crate) arrived: VecDeque<Instant>,
    /// True while L1 shows the contract frozen.
    pub(crate) frozen: bool,
    pub(crate) stop: CancellationToken,
}

impl Executor {
    /// Runs until stopped or nobody can send any more.
    ///
    /// # Errors
    /// [`Fatal`].
    pub(crate) async fn run(mut self) -> Result<(), Fatal> {
        let (l1, stop) = (self.feed.l1(), self.stop.clone());
        let mut groups = Vec::new();
        while !stop.is_cancelled() {
            let mut pressure = Pressure::None;
            let (due, poll) = (self.seal_due(), self.config.deposits.poll);
            tokio::select! {
                () = stop.cancelled() => break,
                count = self.verified.recv_many(&mut groups, GROUPS_PER_WRITE) => {
                    if count == 0 {
                        return Ok(());
                    }
                    let group = std::mem::take(&mut groups).into_iter().flatten().collect();
                    self.execute(group).await?;
                }
                () = l1.notified() => self.look_at_l1().await?,
                () = sleep(poll) => self.look_at_l1().await?,
                Some(()) = self.asked.recv() => pressure = Pressure::Asked,
                () = until(due) => {}
            }
            self.seal(pressure).await?;
        }
        Ok(())
    }

    /// When the oldest waiting item has waited long enough; never while the committer is behind.
    fn seal_due(&self) -> Option<Instant> {
        self.arrived.front().filter(|_| self.sealed.capacity() > 0).map(|oldest| *oldest + self.config.sealing.max_age)
    }

    async fn execute(&mut self, group: Vec<Verified>) -> Result<(), Fatal> {
        let mut answers = Vec::with_capacity(group.len());
        for Verified { arrival, key } in group {
            // whoever has given up was told to send again
            if !arrival.reply.is_closed() {
                let verdict = self.accept(&arrival, key);
                answers.push((arrival, verdict));
            }
        }
        if self.book.drafts().len() == 0 {
            answers.into_iter().for_each(|(arrival, verdict)| answer(arrival, verdict, ""));
            return Ok(());
        }
        match self.write().await {
            Ok(accepted_at) => {
                self.keep();
                answers.into_iter().for_each(|(arrival, verdict)| answer(arrival, verdict, &accepted_at));
                Ok(())
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "accepted transactions could not be written");
                answers.into_iter().for_each(|(arrival, _)| answer(arrival, Err(Refusal::Storage), ""));
                self.settle(error).await
            }
        }
    }

    fn accept(&mut self, arrival: &Arrival, key: Fr) -> Result<u64, Refusal> {
        if self.frozen {
            return Err(Refusal::Frozen);
        }
        if self.book.waiting() >= self.config.admission.max_unsealed {
            return Err(Refusal::QueueFull);
        }
        self.book.accept(arrival.hash, arrival.op.clone(), key)
    }

    async fn look_at_l1(&mut self) -> Result<(), Fatal> {
        let news = self.news();
        match self.stop.run_until_cancelled(within(self.config.admission.write_timeout, news)).await {
            Some(Ok((Some(batch), _))) => return Err(Fatal::TakenBack(batch)),
            Some(Ok((None, frozen))) => self.heed(frozen),
            Some(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "the L1 events cannot be read"),
            None => {}
        }
        self.take_entries().await
    }

    /// The batch that is to be sealed again, if one is, and whether the contract is frozen.
    async fn news(&self) -> Result<(Option<u64>, bool), StoreError> {
        let mut connection = Held::take(&self.pool).await?;
        let due = reverts::due(&mut connection).await?;
        let frozen = l1::frozen_in(&mut connection).await?;
        connection.done();
        Ok((due.map(|revert| revert.batch), frozen.is_some()))
    }

    /// A reorg may take the freeze back.
    fn heed(&mut self, frozen: bool) {
        match (self.frozen, frozen) {
            (false, true) => tracing::error!("the contract is frozen: nothing is accepted any more"),
            (true, false) => tracing::warn!("L1 dropped the block that froze the contract"),
            _ => {}
        }
        self.frozen = frozen;
    }

    async fn take_entries(&mut self) -> Result<(), Fatal> {
        while self.book.waiting() < self.config.admission.max_unsealed {
            match self.draft_entries().await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the L1 queue cannot be read");
                    return Ok(());
                }
            }
            match self.write().await {
                Ok(_) => self.keep(),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "L1 queue entries could not be written");
                    self.settle(error).await?;
                }
            }
        }
        Ok(())
    }

    async fn draft_entries(&mut self) -> Result<usize, StoreError> {
        let pending = self.pending();
        let Some(entries) = self.stop.run_until_cancelled(within(self.config.admission.write_timeout, pending)).await else { return Ok(0) };
        entries?.into_iter().for_each(|(_, entry)| self.book.take(entry));
        Ok(self.book.drafts().len())
    }

    async fn pending(&self) -> Result<Vec<(u64, QueueEntry)>, StoreError> {
        let mut connection = Held::take(&self.pool).await?;
        let deposits = &self.config.deposits;
        let entries = queue::pending(&mut connection, self.book.last_index(), deposits.confirmations, deposits.max_group).await?;
        connection.done();
        Ok(entries)
    }

    /// Writes the drafts in one transaction and returns the time of acceptance.
    async fn write(&self) -> Result<String, StoreError> {
        let started = Instant::now();
        let written = within(self.config.admission.write_timeout, write(&self.pool, &self.lease, self.book.drafts())).await;
        metrics::histogram!("sheaf_accept_write_seconds").record(started.elapsed().as_secs_f64());
        written
    }

    /// The drafts are durable.
    fn keep(&mut self) {
        metrics::counter!("sheaf_accepted_total").increment(self.book.drafts().len() as u64);
        let changes = self.book.keep();
        self.arrived.resize(self.book.waiting(), Instant::now());
        self.show(&changes);
    }

    fn show(&self, changes: &[Change]) {
        self.view.show(changes);
        metrics::gauge!("sheaf_unsealed").set(self.book.waiting() as f64);
        self.feed.poke();
    }

    /// After a write that reported an error: keeps or undoes the drafts, whichever the database says.
    async fn settle(&mut self, error: StoreError) -> Result<(), Fatal> {
        if matches!(error, StoreError::LostLead { .. }) {
            return Err(Fatal::Store(error));
        }
        match self.find_out(Trace::Accepted(self.book.last_seq())).await? {
            Outcome::Landed => self.keep(),
            Outcome::Void => self.book.undo(),
        }
        Ok(())
    }

    /// Asks the database until it answers, after every transaction of ours has ended.
    async fn find_out(&self, trace: Trace) -> Result<Outcome, Fatal> {
        let asking = async {
            loop {
                match within(self.config.admission.write_timeout, self.find(trace)).await {
                    Ok(true) => return Ok(Outcome::Landed),
                    Ok(false) => return Ok(Outcome::Void),
                    Err(lost @ StoreError::LostLead { .. }) => return Err(Fatal::Store(lost)),
                    Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the database does not answer"),
                }
                sleep(RETRY).await;
            }
        };
        // after a stop, what was written is found again at the next start
        self.stop.run_until_cancelled(asking).await.unwrap_or(Ok(Outcome::Void))
    }

    async fn find(&self, trace: Trace) -> Result<bool, StoreError> {
        lead::renew(&self.pool, &self.lease, self.config.lead.lease).await?;
        let mut connection = Held::take(&self.pool).await?;
        let found = match trace {
            Trace::Accepted(seq) => transactions::last_seq(&mut connection).await? >= seq,
            Trace::Sealed(number) => batches::status(&mut connection, number).await?.is_some(),
        };
        connection.done();
        Ok(found)
    }

    /// Seals whatever the policy says, batch after batch, as far as the committer keeps up.
    async fn seal(&mut self, asked: Pressure) -> Result<(), Fatal> {
        while self.sealed.capacity() > 0 && !self.stop.is_cancelled() {
            let due = self.seal_due().is_some_and(|due| due <= Instant::now());
            let pressure = if asked == Pressure::None && due { Pressure::Age } else { asked };
            let Some(plan) = sealer::plan(self.book.footprints(), &self.circuits, self.config.sealing.max_calldata_bytes, pressure) else { break };
            if !self.seal_one(plan).await? {
                break;
            }
        }
        Ok(())
    }

    /// Returns false if the database does not answer.
    async fn seal_one(&mut self, plan: Plan) -> Result<bool, Fatal> {
        let number = self.last_batch + 1;
        let seal = Seal { number, circuit: plan.circuit, reason: plan.reason.name(), last_seq: self.book.seq_at(plan.count) };
        let found = match within(self.config.admission.write_timeout, write_seal(&self.pool, &self.lease, &seal)).await {
            Ok(found) => found,
            Err(lost @ StoreError::LostLead { .. }) => return Err(Fatal::Store(lost)),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, number, "the batch could not be sealed");
                match self.find_out(Trace::Sealed(number)).await? {
                    Outcome::Landed => plan.count as u64,
                    Outcome::Void => return Ok(false),
                }
            }
        };
        if found != plan.count as u64 {
            return Err(Fatal::Membership { number, expected: plan.count, found });
        }
        self.hand_over(number, plan).await?;
        Ok(true)
    }

    async fn hand_over(&mut self, number: u64, plan: Plan) -> Result<(), Fatal> {
        let (leaving, changes) = self.book.seal(plan.count).map_err(|rejection| Fatal::Fees { number, rejection })?;
        self.last_batch = number;
        self.arrived.drain(..plan.count);
        self.show(&changes);
        metrics::counter!("sheaf_sealed_total", "reason" => plan.reason.name()).increment(1);
        tracing::info!(number, members = leaving.members.len(), circuit = plan.circuit, reason = plan.reason.name(), "sealed");
        // the committer only goes first when everything stops, and the batch is durable
        let _ = self.sealed.send(Sealed { number, circuit: plan.circuit, leaving }).await;
        Ok(())
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn answer(arrival: Arrival, verdict: Result<u64, Refusal>, accepted_at: &str) {
    let receipt = verdict.map(|seq| Receipt { hash: arrival.hash, seq, accepted_at: accepted_at.to_owned() });
    // the client may have gone
    let _ = arrival.reply.send(receipt);
}

async fn write(pool: &PgPool, lease: &Lease, drafts: impl Iterator<Item = &Member>) -> Result<String, StoreError> {
    let (mut accepted, mut taken) = (Vec::new(), Vec::new());
    for member in drafts {
        match member {
            Member::Transaction { seq, hash, op, account } => {
                accepted.push(Accepted { hash: *hash, seq: *seq, record: op.to_record(), account: *account });
            }
            Member::Taken(entry) => taken.push(entry.clone()),
        }
    }
    let mut connection = Held::take(pool).await?;
    let mut transaction = connection.begin().await?;
    lease.guard(&mut transaction).await?;
    if !taken.is_empty() {
        queue::insert(&mut transaction, &taken).await?;
    }
    let accepted_at = transactions::insert(&mut transaction, &accepted).await?;
    transaction.commit().await?;
    connection.done();
    Ok(accepted_at)
}

async fn write_seal(pool: &PgPool, lease: &Lease, seal: &Seal) -> Result<u64, StoreError> {
    let mut connection = Held::take(pool).await?;
    let mut transaction = connection.begin().await?;
    lease.guard(&mut transaction).await?;
    let (transactions, taken) = batches::seal(&mut transaction, seal).await?;
    transaction.commit().await?;
    connection.done();
    Ok(transactions + taken)
}
