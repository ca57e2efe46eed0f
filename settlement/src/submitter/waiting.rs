//! What becomes of transactions on their way: mined, dropped by L1, lost to a foreign one, or waiting and pushed.

use super::{Round, SubmitError, Submitter, gas_limit, store};
use crate::fees::{Fees, bump, suggest};
use crate::key::Draft;
use crate::policy::Job;
use crate::revert::Revert;
use crate::rpc::{CallRequest, Quorum, Receipt, Rpc, RpcError};
use ethers_core::types::H160;
use sheaf_store::l1::{self, Attempt, Mined, Transaction};
use std::time::{Duration, Instant};

impl Submitter {
    /// Finds out what became of a transaction and moves its rows accordingly. Nothing moves while the L1 nodes contradict each other, or
    /// themselves, about it.
    pub(super) async fn resolve(&mut self, transaction: &Transaction, round: &Round) -> Result<(), SubmitError> {
        let found = match self.find_receipt(transaction, round).await {
            Err(SubmitError::Rpc(error @ (RpcError::Contradiction { .. } | RpcError::Malformed { .. }))) => {
                self.block(error.to_string());
                return Ok(());
            }
            found => found?,
        };
        if let Some((attempt, receipt)) = found {
            return self.mined(transaction, attempt, &receipt).await;
        }
        if transaction.mined().is_some() {
            tracing::warn!(nonce = transaction.nonce, "L1 dropped a mined transaction; sending it again");
            self.settled = 0;
            self.unmined(transaction.nonce).await?;
        }
        if transaction.nonce < round.mined_nonce {
            return self.lost(transaction).await;
        }
        self.push(transaction, round).await
    }

    /// The receipt of the attempt that is mined up to the round's block. What is saved already, or waits while its nonce is unused, needs one node
    /// to say so; what changes a row needs enough of them, each with the receipt's block on its chain.
    async fn find_receipt<'t>(&self, transaction: &'t Transaction, round: &Round) -> Result<Option<(&'t Attempt, Receipt)>, SubmitError> {
        let (rpc, head) = (self.rollup.rpc(), round.head.number);
        for attempt in transaction.attempts.iter().rev() {
            // news of a nonce that the same block does not count as used is a lie, or of another chain
            let possible = attempt.mined.is_some() || transaction.nonce < round.mined_nonce;
            let in_time = |found: Option<Receipt>| found.filter(|receipt| possible && receipt.block_number <= head);
            let hash = attempt.hash.into();
            let told = in_time(rpc.receipt(hash).await.map_err(SubmitError::Rpc)?);
            let overdue = told.is_none() && transaction.nonce < round.mined_nonce;
            if overdue || told.as_ref().map(mined) != attempt.mined {
                let ask = |node: Rpc| async move { node.receipt_on_chain(hash).await.map(in_time) };
                let agreed = rpc.agreed(Quorum::Soft, "receipt of a transaction", ask, |error| error).await.map_err(SubmitError::Rpc)?;
                if let Some(receipt) = agreed {
                    return Ok(Some((attempt, receipt)));
                }
            } else if let Some(receipt) = told {
                return Ok(Some((attempt, receipt)));
            }
        }
        Ok(None)
    }

    async fn mined(&mut self, transaction: &Transaction, attempt: &Attempt, receipt: &Receipt) -> Result<(), SubmitError> {
        for attempt in &transaction.attempts {
            self.seen.remove(&attempt.id);
        }
        let mined = mined(receipt);
        if attempt.mined == Some(mined) {
            return Ok(());
        }
        let reason = if mined.succeeded { None } else { self.reason(attempt).await? };
        let mut rows = self.lead.begin().await.map_err(store)?;
        l1::set_mined(&mut rows, &self.address(), transaction.nonce, attempt.id, &mined, reason.as_deref()).await.map_err(store)?;
        rows.commit().await.map_err(store)?;
        self.totals = None;
        count_mined(transaction, &mined, reason.as_deref());
        Ok(())
    }

    /// Why the contract would refuse a failed transaction now; most often that is also why it did.
    async fn reason(&self, attempt: &Attempt) -> Result<Option<String>, SubmitError> {
        let draft = Draft::from_raw(&attempt.raw).ok_or(SubmitError::Corrupt(attempt.id))?;
        match self.rollup.rpc().call(&self.request(draft.data), None).await {
            Err(error @ RpcError::Unreachable { .. }) => Err(SubmitError::Rpc(error)),
            Err(error) => Ok(Revert::of(&error).map(|revert| revert.to_string())),
            Ok(_) => Ok(None),
        }
    }

    async fn unmined(&mut self, nonce: u64) -> Result<(), SubmitError> {
        self.totals = None;
        let mut rows = self.lead.begin().await.map_err(store)?;
        l1::set_unmined(&mut rows, &self.address(), nonce).await.map_err(store)?;
        rows.commit().await.map_err(store)
    }

    /// The nonce is used up but no node knows any of our attempts: another program holds the same key. Nonce and attempts were asked for one
    /// after the other, and L1 may have moved in between, so the nonce is asked for again before that is believed.
    async fn lost(&self, transaction: &Transaction) -> Result<(), SubmitError> {
        let rpc = self.rollup.rpc();
        for attempt in &transaction.attempts {
            let hash = attempt.hash.into();
            let told = rpc.some_answers(|node| async move { node.knows(hash).await }).await.map_err(SubmitError::Rpc)?;
            if told.into_iter().any(|knows| knows.is_ok_and(|knows| knows)) {
                return Ok(());
            }
        }
        let head = rpc.head(Quorum::Soft).await.map_err(SubmitError::Rpc)?;
        if transaction.nonce >= self.nonce_at(head.hash).await? {
            return Ok(());
        }
        let reason = format!("nonce {} was used by a foreign transaction", transaction.nonce);
        let mut rows = self.lead.begin().await.map_err(store)?;
        l1::set_dropped(&mut rows, &self.address(), transaction.nonce, &reason).await.map_err(store)?;
        rows.commit().await.map_err(store)?;
        // one that no node ever took may have had a nonce that was used up before, on the word of a node that lagged
        if transaction.attempts.iter().any(|attempt| attempt.sent) {
            tracing::error!(reason, "lost an L1 transaction");
            self.board.edit(|status| status.raise(reason));
        } else {
            tracing::warn!(reason, "giving up an L1 transaction that no node took");
        }
        Ok(())
    }

    /// Makes sure that the newest attempt is with the nodes, or replaces it if that takes too long.
    async fn push(&mut self, transaction: &Transaction, round: &Round) -> Result<(), SubmitError> {
        let Some(newest) = transaction.attempts.last() else { return Ok(()) };
        let delivered = self.send(newest.id, &newest.raw, newest.sent).await?;
        let since = *self.seen.entry(newest.id).or_insert_with(Instant::now);
        let overdue = since.elapsed() >= Duration::from_millis(self.options.resubmit_after_ms);
        let underpaid = newest.max_fee_wei < round.market.base_fee_wei;
        let first_in_line = transaction.nonce == round.mined_nonce;
        if (overdue && (first_in_line || underpaid)) || (underpaid && !delivered) {
            return self.replace(transaction, newest, delivered, round).await;
        }
        Ok(())
    }

    /// Offers more for the same nonce. A gas limit that no node ever took may be why, so it is found afresh where that is possible.
    async fn replace(&mut self, transaction: &Transaction, newest: &Attempt, taken: bool, round: &Round) -> Result<(), SubmitError> {
        let paid = Fees { max_fee_per_gas: newest.max_fee_wei, max_priority_fee_per_gas: newest.tip_wei };
        let cap = self.options.max_fee_wei;
        let Some(fees) = bump(paid, suggest(&round.market, cap), cap) else {
            self.block(format!("the transaction with nonce {} is stuck and already pays the most allowed, {cap} wei a gas", transaction.nonce));
            return Ok(());
        };
        let draft = Draft::from_raw(&newest.raw).ok_or(SubmitError::Corrupt(newest.id))?;
        let gas_limit = if taken { None } else { self.estimate_again(&draft).await? }.unwrap_or(draft.gas_limit);
        let draft = Draft { fees, gas_limit, ..draft };
        let job = Job::of(transaction);
        let mut rows = self.lead.begin().await.map_err(store)?;
        let (id, raw) = self.save(&mut rows, job, &draft, 0, Some(newest.id)).await?;
        rows.commit().await.map_err(store)?;
        metrics::counter!("sheaf_l1_replacements_total").increment(1);
        tracing::info!(nonce = transaction.nonce, max_fee_wei = fees.max_fee_per_gas, "replacing a stuck transaction");
        self.send(id, &raw, false).await.map(drop)
    }

    /// The gas limit that the node finds now; `None` if it refuses the call as long as those before it are not mined.
    async fn estimate_again(&self, draft: &Draft) -> Result<Option<u64>, SubmitError> {
        let request = CallRequest { from: H160(self.address().0), to: draft.to, value: draft.value, data: draft.data.clone() };
        match self.rollup.rpc().estimate_gas(&request, false).await {
            Ok(gas) => Ok(Some(gas_limit(gas, &draft.data))),
            Err(RpcError::Refused { .. }) => Ok(None),
            Err(error) => Err(SubmitError::Rpc(error)),
        }
    }
}

fn mined(receipt: &Receipt) -> Mined {
    Mined {
        block: receipt.block_number.as_u64(),
        block_hash: receipt.block_hash.0,
        succeeded: !receipt.status.is_zero(),
        gas_used: receipt.gas_used.low_u64(),
        gas_price_wei: receipt.effective_gas_price.low_u128(),
    }
}

fn count_mined(transaction: &Transaction, mined: &Mined, reason: Option<&str>) {
    let kind = transaction.kind.name();
    metrics::counter!("sheaf_l1_gas_used_total", "kind" => kind).increment(mined.gas_used);
    metrics::counter!("sheaf_l1_transactions_total", "kind" => kind, "succeeded" => mined.succeeded.to_string()).increment(1);
    let (nonce, succeeded, gas) = (transaction.nonce, mined.succeeded, mined.gas_used);
    let (first, last) = (transaction.first_batch, transaction.last_batch);
    if succeeded {
        tracing::info!(kind, nonce, gas, first, last, "mined");
    } else {
        tracing::error!(kind, nonce, gas, first, last, reason, "mined, but it reverted; its job is due again");
    }
}
