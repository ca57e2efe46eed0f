//! Sends the operator's commits, proofs, settlements, refunds and reverts, and owns the operator's nonces.
//!
//! ```text
//! plan ─> build, simulate ─> sign ─> SAVE ─> send ─> waiting ──mined──> mined ──deep enough──> final
//!              │                              ^        │  ^               │
//!              └─ refused: blocked,           │        │  └───── reorg ───┘
//!                 tried again                 └────────┤
//!                                   fee bump, saved    └─ nonce used by a foreign transaction ──> lost
//! ```
//!
//! Four parts: `waiting` moves on what was saved, this file decides what is due, `reverting` which batch is to be taken back, `launch` sends it.
//!
//! A transaction is saved with its nonce before it is sent, so a crash at any point leaves a row to go on from. Whether a sending arrived is
//! never guessed: it is asked by hash (any attempt) and by nonce. Sending the same bytes twice is harmless. The first in line is *stuck* no
//! longer than `resubmit_after_ms`: then it is replaced at the same nonce for at least 12.5 % more, up to the cap, and either attempt may be
//! mined; those behind it are replaced only if they offer less than the base fee.
//!
//! A round is bound to one block: nonce and progress are those after it, by its hash, and a receipt counts only up to it. With several L1 nodes
//! `RpcOptions::agree` of them must say the same of these, or all that answer; while they contradict each other nothing is sent.
//!
//! What to send next is decided afresh from the contract each time, so a failed or lost transaction needs no repair: its job is simply due
//! again. A refusal by the contract is a state shown on the board, not a crash, and holds up only what builds on the refused. However far L1
//! falls back, what it forgot waits again: mined rows are looked for again while they are young, and whenever their nonce is unused on L1. A nonce that
//! is unused below waiting ones is a *hole*: a due transaction takes it, else one that does nothing.

mod launch;
mod reverting;
mod waiting;

use crate::fees::Market;
use crate::gas::{MAX_TRANSACTION_GAS, STANDARD_TOKEN_GAS, calldata_tokens, floor_gas};
use crate::key::{Draft, KeyError, L1Key};
use crate::lead::Lead;
use crate::policy::{Job, Limits, Situation};
use crate::rollup::{Progress, Rollup, ViewError};
use crate::rpc::{BlockHead, CallRequest, Quorum, Rpc, RpcError, to_u128};
use crate::status::{Board, Costs};
use ethers_core::types::{Bytes, H160, H256, U256};
use ethers_core::utils::keccak256;
use sheaf_protocol::amount::Address;
use sheaf_store::StoreError;
use sheaf_store::hints::Hints;
use sheaf_store::l1::{self, GasTotal, NewTransaction, Transaction, TxKind};
use sqlx::PgTransaction;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Bounds and pauses.
#[derive(Clone, Copy, Debug)]
pub struct SubmitterOptions {
    /// Pause between two rounds.
    pub poll_ms: u64,
    /// Age at which a waiting transaction is replaced.
    pub resubmit_after_ms: u64,
    /// Most wei per gas that is ever offered.
    pub max_fee_wei: u128,
    /// Blocks on top after which a transaction is final.
    pub finality_depth: u64,
    /// Commits waiting at once.
    pub max_commits_in_flight: usize,
    /// Batches in one prove call.
    pub max_batches_per_proof: u64,
    /// The operator's balance is called low when it lasts for fewer batches than this.
    pub low_balance_batches: u64,
    /// Dollars for one ether, to show costs in dollars too.
    pub eth_usd: Option<f64>,
    /// Circuits of the deployment: a batch that nobody proves is sealed again in another one.
    pub circuits: u32,
    /// Seconds that the first unproven batch has waited when one with a parked job is taken back; a quarter of the contract's PROVE_TIMEOUT if not
    /// told, and never more than half of it.
    pub revert_after_s: Option<u64>,
}

/// Before the first batch is paid, a balance below this is called low: 0.05 ether.
const LOW_BALANCE_WEI: u128 = 50_000_000_000_000_000;

impl SubmitterOptions {
    /// Defaults for a chain: rounds of 4 s, replacement after 48 s, at most 500 gwei; on the development chain rounds of 200 ms and
    /// replacement after 5 s.
    pub fn new(chain_id: u64) -> Self {
        let development = chain_id == crate::anvil::DEV_CHAIN_ID;
        let (poll_ms, resubmit_after_ms, finality_depth) = if development { (200, 5_000, 1) } else { (4_000, 48_000, 64) };
        Self {
            poll_ms,
            resubmit_after_ms,
            max_fee_wei: 500_000_000_000,
            finality_depth,
            max_commits_in_flight: 8,
            max_batches_per_proof: 16,
            low_balance_batches: 100,
            eth_usd: None,
            circuits: 1,
            revert_after_s: None,
        }
    }

    fn limits(&self) -> Limits {
        Limits { commits_in_flight: self.max_commits_in_flight, batches_per_proof: self.max_batches_per_proof, settles_in_flight: 4 }
    }
}

/// Why a round failed; the next one starts afresh from the saved rows.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The node failed.
    #[error(transparent)]
    Rpc(RpcError),
    /// The contract could not be read.
    #[error(transparent)]
    View(ViewError),
    /// The store failed.
    #[error("storing L1 transactions")]
    Store(#[source] StoreError),
    /// The key failed.
    #[error(transparent)]
    Key(KeyError),
    /// A saved transaction cannot be read back.
    #[error("saved transaction {0} is unreadable")]
    Corrupt(i64),
}

/// What the chain says at the start of a round: after one block.
struct Round {
    head: BlockHead,
    progress: Progress,
    mined_nonce: u64,
    market: Market,
}

/// The operator's stream of transactions.
#[derive(Debug)]
pub struct Submitter {
    rollup: Rollup,
    key: L1Key,
    lead: Lead,
    options: SubmitterOptions,
    board: Board,
    /// When this process first saw each waiting attempt.
    seen: HashMap<i64, Instant>,
    /// Nothing up to this batch is left to credit.
    settled: u64,
    /// Kinds whose newest mined transaction failed, with the least gas limit to try next.
    failing: Vec<(TxKind, u64)>,
    /// What mined transactions have cost, unless that has changed since.
    totals: Option<Vec<GasTotal>>,
    /// The head at which mined transactions were last looked for.
    resolved_at: Option<H256>,
    /// Why something is not done in this round.
    blocked: Vec<String>,
    /// The same of the round before: these reasons are logged already.
    told: Vec<String>,
    /// What needs a person in this round.
    alarms: Vec<String>,
}

impl Submitter {
    /// A submitter; it does nothing until stepped or run. There may be only one at a time per key: see [`Submitter::run`].
    pub fn new(rollup: Rollup, key: L1Key, lead: Lead, options: SubmitterOptions, board: Board) -> Self {
        Self {
            rollup,
            key,
            lead,
            options,
            board,
            seen: HashMap::new(),
            settled: 0,
            failing: Vec::new(),
            totals: None,
            resolved_at: None,
            blocked: Vec::new(),
            told: Vec::new(),
            alarms: Vec::new(),
        }
    }

    /// Goes on until cancelled. Failures are logged, shown on the board and tried again.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut hints = Hints::listen(self.lead.pool()).await.ok();
        loop {
            let Some(result) = cancel.run_until_cancelled(self.step()).await else { return };
            if let Err(error) = result {
                self.failed(&error);
            }
            if cancel.run_until_cancelled(pause(&mut hints, self.options.poll_ms)).await.is_none() {
                return;
            }
        }
    }

    fn failed(&self, error: &SubmitError) {
        metrics::counter!("sheaf_l1_submit_errors_total").increment(1);
        tracing::warn!(error = error as &dyn std::error::Error, "sending to L1");
        self.board.edit(|status| {
            status.submitter_error = Some(error.to_string());
            status.endpoints = self.rollup.rpc().endpoints();
        });
    }

    /// One round: resolves every transaction on its way, then sends what is due. Does nothing while another process leads.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn step(&mut self) -> Result<(), SubmitError> {
        let leads = self.lead.is_held();
        self.board.edit(|status| if leads { status.leader = true } else { status.stand_by() });
        if !leads {
            return Ok(());
        }
        let round = self.look().await?;
        self.told = std::mem::take(&mut self.blocked);
        self.alarms.clear();
        let same_head = self.resolved_at == Some(round.head.hash);
        for transaction in self.live(&round).await? {
            if !(same_head && transaction.mined().is_some()) {
                self.resolve(&transaction, &round).await?;
            }
        }
        self.resolved_at = Some(round.head.hash);
        self.launch_due(&round).await?;
        self.show(&round).await
    }

    async fn look(&self) -> Result<Round, SubmitError> {
        let rpc = self.rollup.rpc();
        let head = rpc.head(Quorum::Soft).await.map_err(SubmitError::Rpc)?;
        let ask = |node: Rpc| {
            let contract = self.rollup.pinned(node, head.hash);
            async move { contract.progress().await }
        };
        // a missing contract (a development chain that was reset) ends the round here, before anything is sent to its address
        let progress = rpc.agreed(Quorum::Soft, "contract's progress", ask, ViewError::Rpc).await.map_err(SubmitError::View)?;
        let mined_nonce = self.nonce_at(head.hash).await?;
        let market = rpc.market(head.base_fee_per_gas.and_then(to_u128)).await.map_err(SubmitError::Rpc)?;
        Ok(Round { head, progress, mined_nonce, market })
    }

    async fn nonce_at(&self, block: H256) -> Result<u64, SubmitError> {
        let account = H160(self.address().0);
        let ask = |node: Rpc| async move { node.nonce_at(account, block).await };
        self.rollup.rpc().agreed(Quorum::Soft, "operator's nonce", ask, |error| error).await.map_err(SubmitError::Rpc)
    }

    fn address(&self) -> Address {
        self.key.address()
    }

    async fn live(&self, round: &Round) -> Result<Vec<Transaction>, SubmitError> {
        let mut connection = self.lead.pool().acquire().await.map_err(store)?;
        let settled = round.head.number.as_u64().saturating_sub(self.options.finality_depth);
        l1::live_transactions(&mut connection, &self.address(), settled, round.mined_nonce).await.map_err(store)
    }

    fn request(&self, data: Bytes) -> CallRequest {
        CallRequest { from: H160(self.address().0), to: Some(self.rollup.h160()), value: U256::zero(), data }
    }

    /// Signs and saves, with the caller's database transaction.
    async fn save(
        &self,
        rows: &mut PgTransaction<'_>,
        job: Job,
        draft: &Draft,
        commit_gas: u64,
        replaces: Option<i64>,
    ) -> Result<(i64, Bytes), SubmitError> {
        let signed = self.key.sign(draft).map_err(SubmitError::Key)?;
        let row = NewTransaction {
            sender: self.address(),
            nonce: draft.nonce,
            kind: job.kind,
            first_batch: job.first,
            last_batch: job.last,
            commits: job.commits,
            commit_gas,
            hash: signed.hash.0,
            raw: signed.raw.to_vec(),
            gas_limit: draft.gas_limit,
            max_fee_wei: draft.fees.max_fee_per_gas,
            tip_wei: draft.fees.max_priority_fee_per_gas,
            calldata_bytes: draft.data.len() as u64,
            calldata_gas: STANDARD_TOKEN_GAS * calldata_tokens(&draft.data),
        };
        let id = l1::save_transaction(rows, &row, replaces).await.map_err(store)?;
        Ok((id, signed.raw))
    }

    /// Hands bytes over to every node that does not hold them; true if one holds them now. A refusal is only shown: the next round asks by hash and nonce.
    async fn send(&mut self, id: i64, raw: &[u8], noted: bool) -> Result<bool, SubmitError> {
        match self.rollup.rpc().deliver(keccak256(raw).into(), raw).await {
            Ok(()) if noted => Ok(true),
            Ok(()) => self.note_sent(id).await.map(|()| true),
            Err(RpcError::Refused { message, code, .. }) => {
                self.block(format!("the L1 node does not take a transaction ({code}): {message}"));
                Ok(false)
            }
            Err(error) => Err(SubmitError::Rpc(error)),
        }
    }

    async fn note_sent(&self, id: i64) -> Result<(), SubmitError> {
        let mut rows = self.lead.begin().await.map_err(store)?;
        l1::set_sent(&mut rows, id).await.map_err(store)?;
        rows.commit().await.map_err(store)
    }

    async fn situation(&mut self, round: &Round) -> Result<Situation, SubmitError> {
        let progress = &round.progress;
        let live = self.live(round).await?;
        let waiting: Vec<Job> = live.iter().filter(|transaction| transaction.mined().is_none()).map(Job::of).collect();
        // first: once the sequencer has undone it, what is read below is new
        let taking_back = self.taking_back(round, &waiting).await?;
        let mut rows = self.lead.begin().await.map_err(store)?;
        let settled = self.settled.min(progress.proven);
        let final_block = (round.head.number.as_u64() + 1).saturating_sub(self.options.finality_depth);
        let ready = l1::ready(&mut rows, progress.proven, settled, final_block).await.map_err(store)?;
        let frozen = l1::frozen_in(&mut rows).await.map_err(store)?;
        let followed = l1::tip(&mut rows).await.map_err(store)?.map_or(0, |tip| tip.number);
        rows.commit().await.map_err(store)?;
        self.settled = ready.settled;
        if let Some(block) = frozen {
            self.alarm(frozen_alarm(block));
        }
        self.board.edit(|status| {
            status.committed = Some(progress.committed);
            status.proven = Some(progress.proven);
            status.pending_transactions = waiting.len();
        });
        // done in a block that the watcher has not followed yet: its events will tell
        let unseen = |tx: &Transaction| tx.mined().is_some_and(|mined| mined.succeeded && mined.block > followed);
        let open = |numbers: Vec<u64>, kind| {
            let done = |number: &u64| live.iter().any(|tx| tx.kind == kind && tx.first_batch == *number && unseen(tx));
            numbers.into_iter().filter(|number| !done(number)).collect()
        };
        let kinds = [TxKind::Commit, TxKind::Prove, TxKind::CommitAndProve, TxKind::Settle, TxKind::Refund, TxKind::Revert];
        self.failing = kinds.into_iter().filter_map(|kind| failing(&live, kind)).collect();
        Ok(Situation {
            committed: progress.committed,
            proven: progress.proven,
            frozen: frozen.is_some(),
            committable: ready.committable,
            provable: ready.provable,
            unsettled: open(ready.unsettled, TxKind::Settle),
            unrefunded: open(ready.unrefunded, TxKind::Refund),
            cautious: self.is_failing(TxKind::Commit).is_some(),
            apart: self.is_failing(TxKind::CommitAndProve).is_some(),
            taking_back,
            waiting,
        })
    }

    /// The least gas limit to try next, if the newest mined transaction of this kind failed.
    fn is_failing(&self, kind: TxKind) -> Option<u64> {
        self.failing.iter().find(|(failing, _)| *failing == kind).map(|(_, gas)| *gas)
    }

    /// Notes what needs a person as long as it is so; the log gets it once.
    fn alarm(&mut self, alarm: String) {
        if self.board.status().alarm.as_ref() != Some(&alarm) {
            tracing::error!(alarm, "settlement needs a person");
        }
        self.alarms.push(alarm);
    }

    /// Notes why something is not done; the log gets it once.
    fn block(&mut self, reason: String) {
        if !self.told.contains(&reason) {
            tracing::error!(reason, "settlement cannot do what is due");
        }
        self.blocked.push(reason);
    }

    async fn costs(&mut self, proven: u64) -> Result<Costs, SubmitError> {
        let totals = match self.totals.take() {
            Some(totals) => totals,
            None => l1::gas_totals(&mut *self.lead.pool().acquire().await.map_err(store)?).await.map_err(store)?,
        };
        let costs = Costs::new(proven, &totals, self.options.eth_usd);
        self.totals = Some(totals);
        Ok(costs)
    }

    async fn show(&mut self, round: &Round) -> Result<(), SubmitError> {
        let balance = self.rollup.rpc().balance(self.key.address()).await.map_err(SubmitError::Rpc)?;
        let costs = self.costs(round.progress.proven).await?;
        let affordable = costs.affordable(balance);
        self.board.edit(|status| {
            status.operator_balance_wei = Some(balance.to_string());
            status.batches_affordable = affordable;
            status.balance_low = affordable.map_or(balance < LOW_BALANCE_WEI, |batches| batches < self.options.low_balance_batches);
            status.costs = Some(costs);
            status.head = Some(round.head.number.as_u64());
            status.blocked = (!self.blocked.is_empty()).then(|| self.blocked.join("; "));
            status.alarm = self.alarms.pop().or_else(|| status.happened.clone());
            status.submitter_error = None;
            status.endpoints = self.rollup.rpc().endpoints();
        });
        Ok(())
    }
}

/// Until a batch is computed, a proof is stored or a batch is to be taken back, at most `poll_ms`; the next round after a failure comes no earlier either.
async fn pause(hints: &mut Option<Hints>, poll_ms: u64) {
    let at_most = Duration::from_millis(poll_ms);
    match hints {
        Some(hints) => hints.wait(&["batches", "proofs", "reverts"], at_most).await,
        None => tokio::time::sleep(at_most).await,
    }
}

/// The kind, if its newest mined transaction failed, with twice the gas limit of one that ran out of gas: a node's estimate was too low.
fn failing(live: &[Transaction], kind: TxKind) -> Option<(TxKind, u64)> {
    let newest = live.iter().rev().find(|tx| tx.kind == kind && tx.mined().is_some()).filter(|tx| !tx.succeeded())?;
    let attempt = newest.attempts.iter().find(|attempt| attempt.mined.is_some())?;
    let limit = Draft::from_raw(&attempt.raw).map_or(0, |draft| draft.gas_limit);
    let ran_out = attempt.mined.is_some_and(|mined| mined.gas_used >= limit - limit / 64);
    Some((kind, if ran_out { (2 * limit).min(MAX_TRANSACTION_GAS) } else { 0 }))
}

/// A quarter more than the node's estimate, for state that changes before the transaction is mined; never more than L1 takes.
fn gas_limit(estimate: u64, data: &[u8]) -> u64 {
    (estimate + estimate / 4).max(floor_gas(data)).min(MAX_TRANSACTION_GAS)
}

fn store(error: impl Into<StoreError>) -> SubmitError {
    SubmitError::Store(error.into())
}

fn frozen_alarm(block: u64) -> String {
    format!(
        "the contract was frozen in block {block}: nothing more is committed or proven, and no transaction is accepted. What proven batches left to pay is still paid; \
         tell users to run `sheaf restore` and `sheaf exit`"
    )
}
