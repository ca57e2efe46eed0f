//! Sends what is due: builds, simulates, signs, saves, sends.

use super::{Round, SubmitError, Submitter, gas_limit, store};
use crate::calldata;
use crate::fees::suggest;
use crate::gas::{MAX_TRANSACTION_GAS, STANDARD_TOKEN_GAS, TRANSACTION_GAS, calldata_tokens, floor_gas};
use crate::key::Draft;
use crate::policy::Job;
use crate::revert::Revert;
use crate::rpc::RpcError;
use ethers_core::types::{Bytes, H160, U256};
use sheaf_store::l1::{self, TxKind};
use std::collections::VecDeque;

/// The contract's error for a batch whose queue entries are not those of L1.
const QUEUE_MISMATCH: &str = "QueueMismatch";

/// What is ready to be signed.
struct Call {
    data: Bytes,
    gas_limit: u64,
    /// What the commit alone would cost, of a commit beside proofs; else 0.
    commit_gas: u64,
}

impl Submitter {
    /// Sends what is due, in order. A refusal holds up only the rest of its kind. A commit that follows waiting ones may not overtake them in a
    /// hole; everything else may. What a commit beside proofs was refused for may be the one or the other: each is then sent for itself.
    pub(super) async fn launch_due(&mut self, round: &Round) -> Result<(), SubmitError> {
        let situation = self.situation(round).await?;
        let mut refused = Vec::new();
        let mut due: VecDeque<Job> = situation.jobs(&self.options.limits()).into();
        while let Some(job) = due.pop_front() {
            if refused.contains(&job.kind) {
                continue;
            }
            let follows = job.kind == TxKind::Commit && job.first > situation.committed + 1;
            if follows {
                self.fill_holes(round).await?;
            }
            let Some(call) = self.prepare(job, follows).await? else {
                match job.halves() {
                    Some(halves) => halves.into_iter().rev().for_each(|half| due.push_front(half)),
                    None => refused.push(job.kind),
                }
                continue;
            };
            if !self.post(job, call, round).await? {
                // the commit of a later batch is no better off without this one's
                refused.extend([job.kind].into_iter().chain(job.halves().map(|[commit, _]| commit.kind)));
            }
        }
        self.fill_holes(round).await
    }

    /// Builds and simulates one transaction; `None` if the contract would refuse it.
    async fn prepare(&mut self, job: Job, follows: bool) -> Result<Option<Call>, SubmitError> {
        let Some((data, bound)) = self.build(job).await? else { return Ok(None) };
        let commit_gas = match job.halves() {
            Some([commit, _]) => self.commit_gas(commit).await?,
            None => Some(0),
        };
        let Some(commit_gas) = commit_gas else { return Ok(None) };
        let simulated = if follows { Some(bound) } else { self.simulate(job, &data).await? };
        Ok(simulated.map(|gas_limit| Call { data, gas_limit, commit_gas }))
    }

    /// What a commit alone would cost; `None` if it would be refused.
    async fn commit_gas(&self, commit: Job) -> Result<Option<u64>, SubmitError> {
        let Some((data, _)) = self.build(commit).await? else { return Ok(None) };
        match self.rollup.rpc().estimate_gas(&self.request(data), false).await {
            Ok(gas) => Ok(Some(gas)),
            Err(RpcError::Refused { .. }) => Ok(None),
            Err(error) => Err(SubmitError::Rpc(error)),
        }
    }

    /// Signs, saves and sends. False if the node refuses it.
    async fn post(&mut self, job: Job, call: Call, round: &Round) -> Result<bool, SubmitError> {
        let mut rows = self.lead.begin().await.map_err(store)?;
        let nonce = l1::free_nonce(&mut rows, &self.address(), round.mined_nonce).await.map_err(store)?.nonce;
        let draft = self.draft(nonce, self.rollup.h160(), call.data, call.gas_limit, round);
        let (id, raw) = self.save(&mut rows, job, &draft, call.commit_gas, None).await?;
        rows.commit().await.map_err(store)?;
        self.send(id, &raw, false).await
    }

    /// Uses up every nonce in front of waiting transactions that nothing has taken, for nothing.
    async fn fill_holes(&mut self, round: &Round) -> Result<(), SubmitError> {
        loop {
            let mut rows = self.lead.begin().await.map_err(store)?;
            let free = l1::free_nonce(&mut rows, &self.address(), round.mined_nonce).await.map_err(store)?;
            if !free.is_hole {
                return Ok(());
            }
            let nothing = Job::new(TxKind::Cancel, 0, 0);
            let draft = self.draft(free.nonce, H160(self.address().0), Bytes::new(), TRANSACTION_GAS, round);
            let (id, raw) = self.save(&mut rows, nothing, &draft, 0, None).await?;
            rows.commit().await.map_err(store)?;
            tracing::warn!(nonce = free.nonce, "using up a nonce that waiting transactions need used");
            if !self.send(id, &raw, false).await? {
                return Ok(());
            }
        }
    }

    fn draft(&self, nonce: u64, to: H160, data: Bytes, gas_limit: u64, round: &Round) -> Draft {
        let fees = suggest(&round.market, self.options.max_fee_wei);
        Draft { chain_id: self.rollup.rpc().chain_id(), nonce, to: Some(to), value: U256::zero(), data, gas_limit, fees }
    }

    /// Calldata, and a gas limit for the case that it cannot be simulated; `None` if the rows are not there.
    async fn build(&self, job: Job) -> Result<Option<(Bytes, u64)>, SubmitError> {
        let mut rows = self.lead.begin().await.map_err(store)?;
        let built = match job.kind {
            TxKind::Commit => {
                l1::commit_input(&mut rows, job.first).await.map(|input| input.map(|i| (calldata::commit(&i), calldata::commit_gas(&i))))
            }
            TxKind::Prove => l1::proof_inputs(&mut rows, job.first, job.last).await.map(|found| found.map(|(old, i)| (calldata::prove(&old, &i), 0))),
            TxKind::CommitAndProve => {
                let proofs = l1::proof_inputs(&mut rows, job.first, job.last).await.map_err(store)?;
                let commit = l1::commit_input(&mut rows, job.commits).await.map_err(store)?;
                Ok(commit.zip(proofs).map(|(i, (old, proofs))| (calldata::commit_and_prove(&i, &old, &proofs), calldata::commit_gas(&i))))
            }
            TxKind::Settle => l1::settle_input(&mut rows, job.first).await.map(|input| input.map(|i| (calldata::settle(&i, 0, i.items), 0))),
            TxKind::Refund => l1::refund_input(&mut rows, job.first).await.map(|input| input.map(|i| (calldata::settle_refunds(&i), 0))),
            TxKind::Revert => l1::revert_input(&mut rows, job.first - 1).await.map(|input| input.map(|i| (calldata::revert(&i), 0))),
            TxKind::Cancel => Ok(None),
        };
        Ok(built.map_err(store)?.map(|(data, execution)| {
            let standard = TRANSACTION_GAS + STANDARD_TOKEN_GAS * calldata_tokens(&data) + execution;
            let bound = standard.max(floor_gas(&data)).min(MAX_TRANSACTION_GAS);
            (data, bound)
        }))
    }

    /// Gas limit for the call on top of the newest block; `None` if it would be refused, which is shown on the board.
    async fn simulate(&mut self, job: Job, data: &Bytes) -> Result<Option<u64>, SubmitError> {
        let Job { kind, first, last, .. } = job;
        let failed = self.is_failing(kind);
        let error = match self.rollup.rpc().estimate_gas(&self.request(data.clone()), failed.is_some()).await {
            Ok(gas) => return Ok(Some(gas_limit(gas, data).max(failed.unwrap_or(0)))),
            Err(error @ RpcError::Refused { .. }) => error,
            Err(error) => return Err(SubmitError::Rpc(error)),
        };
        let revert = Revert::of(&error);
        if kind == TxKind::CommitAndProve {
            tracing::debug!(first, last, commits = job.commits, %error, "not together; each for itself will tell why");
            return Ok(None);
        }
        if revert.as_ref().is_some_and(Revert::is_done_already) {
            tracing::debug!(kind = kind.name(), first, last, "done already; its events are not followed yet");
            return Ok(None);
        }
        if revert.as_ref().is_some_and(|revert| revert.name == QUEUE_MISMATCH) {
            self.alarm(queue_alarm(first));
        }
        metrics::counter!("sheaf_l1_refused_total", "kind" => kind.name()).increment(1);
        let reason = revert.map_or_else(|| error.to_string(), |revert| revert.to_string());
        self.block(format!("{} of batches {first} to {last} would be refused: {reason}", kind.name()));
        Ok(None)
    }
}

/// What a person must know who reads it first: a limit of the protocol, not a fault of L1 or the database alone.
fn queue_alarm(batch: u64) -> String {
    format!(
        "batch {batch} took queue entries that L1 does not hold in this order: a reorg deeper than the deposits' confirmations dropped or reordered \
         credited deposits. No commit from batch {batch} on can be posted until L1 holds them again; proofs and settlements of earlier batches go on"
    )
}
