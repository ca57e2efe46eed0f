//! What the explorer's resources answer.

use super::{hex, queue_kind};
use serde::Serialize;
use sheaf_protocol::field::{to_hex, to_word};
use sheaf_protocol::header::QueueKind;
use sheaf_store::explorer::{L1Call, Level, ProofOf, QueueLine};
use utoipa::ToSchema;

/// How many transactions had come how far at a moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LevelView {
    /// The moment.
    pub at: String,
    /// Accepted until then.
    pub accepted: String,
    /// In a batch.
    pub sealed: String,
    /// In a batch committed on L1.
    pub committed: String,
    /// In a batch proven on L1.
    pub proven: String,
    /// In a final batch.
    #[serde(rename = "final")]
    pub finalised: String,
}

/// How far transactions had come, minute by minute: the difference of two levels is what happened between them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Activity {
    /// At the last full minutes, oldest first; the last one is now.
    pub levels: Vec<LevelView>,
}

/// An entry of the L1 queue and what became of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct QueueView {
    /// Index in the L1 queue.
    pub queue_index: String,
    /// `deposit`, `exit` or `rotation`.
    pub op: &'static str,
    /// `queued` until the sequencer takes it, then as of a transaction.
    pub state: String,
    /// Who sent it on L1.
    pub sender: String,
    /// Token of a deposit.
    pub token: Option<String>,
    /// Amount of a deposit.
    pub amount: Option<String>,
    /// Key of a deposit's account, or the new one that a rotation asks for.
    pub key: Option<String>,
    /// The slot that a deposit credits or a request names, once taken; null for a deposit that is given back.
    pub slot: Option<String>,
    /// Its batch, once sealed.
    pub batch: Option<String>,
    /// When it was queued.
    pub queued_at: String,
    /// The L1 transaction that queued it.
    pub l1_tx: String,
    /// Its block.
    pub l1_block: String,
    /// The L1 transaction that gave it back.
    pub refund_tx: Option<String>,
}

/// A batch's proof.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProofView {
    /// Who made it.
    pub worker: String,
    /// How many times the batch was given to a worker until it was proven.
    pub leases: String,
    /// When its worker got the batch.
    pub started_at: String,
    /// Milliseconds for the witness.
    pub witness_ms: String,
    /// Milliseconds for the proof.
    pub prove_ms: String,
}

/// A mined L1 transaction of the operator's about a batch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct L1CallView {
    /// `commit`, `prove`, `commit_and_prove`, `settle` or `refund`.
    pub kind: String,
    /// Its hash.
    pub hash: String,
    /// False if it reverted.
    pub succeeded: bool,
    /// First batch that it is about; of `commit_and_prove` the first that it proves.
    pub batch_from: String,
    /// Last batch that it is about.
    pub batch_to: String,
    /// The batch that a `commit_and_prove` commits; else null.
    pub commits: Option<String>,
    /// Its block.
    pub block: String,
    /// Gas of the whole call.
    pub gas: String,
    /// Of these, for the bytes of its call data.
    pub calldata_gas: String,
    /// Bytes of its call data.
    pub calldata_bytes: String,
    /// Wei paid per gas.
    pub gas_price: String,
}

impl From<&Level> for LevelView {
    fn from(level: &Level) -> Self {
        Self {
            at: level.at.clone(),
            accepted: level.accepted.to_string(),
            sealed: level.sealed.to_string(),
            committed: level.committed.to_string(),
            proven: level.proven.to_string(),
            finalised: level.finalised.to_string(),
        }
    }
}

impl From<&QueueLine> for QueueView {
    fn from(line: &QueueLine) -> Self {
        let is_deposit = line.entry.kind == QueueKind::Deposit;
        // a request names its slot itself
        let named = (!is_deposit).then_some(line.entry.slot);
        Self {
            queue_index: line.index.to_string(),
            op: queue_kind(line.entry.kind),
            state: line.state.clone(),
            sender: line.entry.sender.to_string(),
            token: is_deposit.then(|| line.entry.token.to_string()),
            amount: is_deposit.then(|| line.entry.amount.to_string()),
            key: (line.entry.kind != QueueKind::Exit).then(|| to_hex(&to_word(line.entry.key))),
            slot: line.slot.or(named).map(|slot| slot.to_string()),
            batch: line.batch.map(|number| number.to_string()),
            queued_at: line.queued_at.clone(),
            l1_tx: hex(&line.tx),
            l1_block: line.block.to_string(),
            refund_tx: line.refund_tx.as_ref().map(hex),
        }
    }
}

impl From<&ProofOf> for ProofView {
    fn from(proof: &ProofOf) -> Self {
        Self {
            worker: proof.worker.clone(),
            leases: proof.lease.to_string(),
            started_at: proof.started_at.clone(),
            witness_ms: proof.witness_ms.to_string(),
            prove_ms: proof.prove_ms.to_string(),
        }
    }
}

impl From<&L1Call> for L1CallView {
    fn from(call: &L1Call) -> Self {
        let [from, to] = call.batches;
        Self {
            kind: call.kind.clone(),
            hash: hex(&call.hash),
            succeeded: call.succeeded,
            batch_from: from.to_string(),
            batch_to: to.to_string(),
            commits: call.commits.map(|batch| batch.to_string()),
            block: call.block.to_string(),
            gas: call.gas.to_string(),
            calldata_gas: call.calldata_gas.to_string(),
            calldata_bytes: call.calldata_bytes.to_string(),
            gas_price: call.gas_price.to_string(),
        }
    }
}
