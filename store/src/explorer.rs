//! What people look at: the latest transactions, the L1 queue, what belongs to a batch, and how far everything had come minute by minute.
//!
//! Every list is a page below a position, every answer bounded, and nothing is counted over the history: see migration 0020.

use crate::l1::wei;
use crate::rows::{count, count_or_null, int, rfc3339, slot_or_null, word, word_or_null};
use sheaf_protocol::amount::SlotId;
use sheaf_protocol::field::Word;
use sheaf_protocol::header::QueueEntry;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};

/// Most L1 transactions told of a batch.
pub const MAX_L1_TRANSACTIONS: i64 = 64;

/// How many transactions had come how far at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// The moment, RFC 3339.
    pub at: String,
    /// Accepted until then.
    pub accepted: u64,
    /// In a batch.
    pub sealed: u64,
    /// In a batch committed on L1.
    pub committed: u64,
    /// In a batch proven on L1.
    pub proven: u64,
    /// In a final batch.
    pub finalised: u64,
}

/// An entry of the L1 queue and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueLine {
    /// Index in the L1 queue.
    pub index: u64,
    /// What L1 says.
    pub entry: QueueEntry,
    /// The L1 transaction that queued it.
    pub tx: Word,
    /// Its block.
    pub block: u64,
    /// That block's time, RFC 3339.
    pub queued_at: String,
    /// `queued`, then as of a transaction.
    pub state: String,
    /// The slot that a deposit credits or a request names, once taken.
    pub slot: Option<SlotId>,
    /// Its batch, once sealed.
    pub batch: Option<u64>,
    /// The L1 transaction that gave it back.
    pub refund_tx: Option<Word>,
}

/// A stored proof and who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofOf {
    /// Name of the worker.
    pub worker: String,
    /// Its lease: how many leases the batch took.
    pub lease: u64,
    /// Milliseconds for the witness, as the worker measured.
    pub witness_ms: u64,
    /// Milliseconds for the proof.
    pub prove_ms: u64,
    /// When the lease began, RFC 3339.
    pub started_at: String,
}

/// An L1 transaction of the operator's about a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L1Call {
    /// `commit`, `prove`, `settle`, `refund` or `revert`.
    pub kind: String,
    /// Its hash.
    pub hash: Word,
    /// False if it reverted.
    pub succeeded: bool,
    /// First and last batch that it is about; of a commit beside proofs those that it proves.
    pub batches: [u64; 2],
    /// The batch that a commit beside proofs commits.
    pub commits: Option<u64>,
    /// Its block.
    pub block: u64,
    /// Gas of the whole call.
    pub gas: u64,
    /// Of these, for the bytes of its call data.
    pub calldata_gas: u64,
    /// Bytes of its call data.
    pub calldata_bytes: u64,
    /// Wei paid per gas.
    pub gas_price: u128,
}

/// What belongs to a batch beside its status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchFacts {
    /// State root before it, once computed.
    pub old_root: Option<Word>,
    /// Bytes posted on L1, once computed.
    pub posted_bytes: Option<u64>,
    /// Its proof.
    pub proof: Option<ProofOf>,
    /// The operator's mined transactions about it, in order of signing.
    pub l1_calls: Vec<L1Call>,
}

/// The levels at the last `minutes` full minutes, oldest first, then now.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn levels(connection: &mut PgConnection, minutes: u32) -> Result<Vec<Level>, sqlx::Error> {
    let query = concat!(
        "WITH moments AS (
             SELECT date_trunc('minute', now()) - i * interval '1 minute' AS at, NULL::timestamptz AS now FROM generate_series(0, $1 - 1) i
             UNION ALL SELECT 'infinity', now()),
         seen AS (
             SELECT m.*, (SELECT b.number FROM l1_blocks b WHERE b.mined_at <= m.at ORDER BY b.mined_at DESC, b.number DESC LIMIT 1) AS block FROM moments m)
         SELECT ",
        rfc3339!("coalesce(s.now, s.at)"),
        " AS at,
             transactions_up_to((SELECT t.seq FROM transactions t WHERE t.accepted_at <= s.at ORDER BY t.accepted_at DESC, t.seq DESC LIMIT 1)) AS accepted,
             transactions_in_batches((SELECT b.number FROM batches b WHERE b.sealed_at <= s.at ORDER BY b.sealed_at DESC, b.number DESC LIMIT 1)) AS sealed,
             transactions_in_batches((SELECT e.batch_number FROM l1_events e WHERE e.kind IN ('committed', 'reverted') AND e.block_number <= s.block
                 ORDER BY e.block_number DESC, e.log_index DESC LIMIT 1)) AS committed,
             transactions_in_batches((SELECT e.batch_number FROM l1_events e WHERE e.kind = 'proven' AND e.block_number <= s.block
                 ORDER BY e.block_number DESC, e.log_index DESC LIMIT 1)) AS proven,
             transactions_in_batches((SELECT e.batch_number FROM l1_events e WHERE e.kind = 'proven'
                 AND e.block_number <= s.block + 1 - (SELECT finality_depth FROM deployment) ORDER BY e.block_number DESC, e.log_index DESC LIMIT 1)) AS finalised
         FROM seen s ORDER BY s.at"
    );
    let rows = sqlx::query(query).bind(i64::from(minutes)).fetch_all(connection).await?;
    rows.iter().map(level).collect()
}

fn level(row: &PgRow) -> Result<Level, sqlx::Error> {
    Ok(Level {
        at: row.try_get("at")?,
        accepted: count(row, "accepted")?,
        sealed: count(row, "sealed")?,
        committed: count(row, "committed")?,
        proven: count(row, "proven")?,
        finalised: count(row, "finalised")?,
    })
}

/// Entries of the L1 queue below index `before`, newest first, at most `limit`.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn queue(connection: &mut PgConnection, before: u64, limit: u64) -> Result<Vec<QueueLine>, sqlx::Error> {
    let query = concat!(
        "SELECT e.queue_index, e.payload, e.tx_hash, e.block_number, q.slot, q.batch_number, r.tx_hash AS refund_tx,
             CASE WHEN q.queue_index IS NULL THEN 'queued' ELSE coalesce(s.state, 'accepted') END AS state, ",
        rfc3339!("l.mined_at"),
        " AS queued_at
         FROM (SELECT * FROM l1_events WHERE kind = 'queued' AND queue_index < $1 ORDER BY queue_index DESC LIMIT $2) e
         JOIN l1_blocks l ON l.number = e.block_number LEFT JOIN queue_taken q ON q.queue_index = e.queue_index
         LEFT JOIN batch_status s ON s.number = q.batch_number LEFT JOIN l1_events r ON r.kind = 'refunded' AND r.queue_index = e.queue_index
         ORDER BY e.queue_index DESC"
    );
    sqlx::query(query).bind(int(before)).bind(int(limit)).fetch_all(connection).await?.iter().map(queue_line).collect()
}

fn queue_line(row: &PgRow) -> Result<QueueLine, sqlx::Error> {
    Ok(QueueLine {
        index: count(row, "queue_index")?,
        entry: row.try_get::<Json<QueueEntry>, _>("payload")?.0,
        tx: word(row, "tx_hash")?,
        block: count(row, "block_number")?,
        queued_at: row.try_get("queued_at")?,
        state: row.try_get("state")?,
        slot: slot_or_null(row, "slot")?,
        batch: count_or_null(row, "batch_number")?,
        refund_tx: word_or_null(row, "refund_tx")?,
    })
}

/// What belongs to a batch beside its status.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn batch_facts(connection: &mut PgConnection, number: u64) -> Result<BatchFacts, sqlx::Error> {
    let query = concat!(
        "SELECT b.old_root, octet_length(b.posted_data)::bigint AS posted_bytes, a.worker, a.fencing_token,
             p.witness_ms::bigint AS witness_ms, p.prove_ms::bigint AS prove_ms, ",
        rfc3339!("a.started_at"),
        " AS started_at
         FROM batches b LEFT JOIN proofs p ON p.batch_number = b.number
         LEFT JOIN proof_attempts a ON a.batch_number = p.batch_number AND a.fencing_token = p.fencing_token WHERE b.number = $1"
    );
    let row = sqlx::query(query).bind(int(number)).fetch_optional(&mut *connection).await?;
    let Some(row) = row else { return Ok(BatchFacts::default()) };
    let query = "SELECT kind, hash, state = 'mined' AS succeeded, batch_from, batch_to, commits, block_number, gas_used, calldata_gas,
                     calldata_bytes::bigint AS calldata_bytes, effective_gas_price::text AS gas_price
                 FROM l1_transactions WHERE state IN ('mined', 'failed') AND (int8range(batch_from, batch_to, '[]') @> $1::bigint OR commits = $1)
                 ORDER BY id LIMIT $2";
    let calls = sqlx::query(query).bind(int(number)).bind(MAX_L1_TRANSACTIONS).fetch_all(connection).await?;
    Ok(BatchFacts {
        old_root: word_or_null(&row, "old_root")?,
        posted_bytes: count_or_null(&row, "posted_bytes")?,
        proof: proof_of(&row)?,
        l1_calls: calls.iter().map(l1_call).collect::<Result<_, _>>()?,
    })
}

fn proof_of(row: &PgRow) -> Result<Option<ProofOf>, sqlx::Error> {
    let Some(worker) = row.try_get("worker")? else { return Ok(None) };
    Ok(Some(ProofOf {
        worker,
        lease: count(row, "fencing_token")?,
        witness_ms: count(row, "witness_ms")?,
        prove_ms: count(row, "prove_ms")?,
        started_at: row.try_get("started_at")?,
    }))
}

fn l1_call(row: &PgRow) -> Result<L1Call, sqlx::Error> {
    Ok(L1Call {
        kind: row.try_get("kind")?,
        hash: word(row, "hash")?,
        succeeded: row.try_get("succeeded")?,
        batches: [count(row, "batch_from")?, count(row, "batch_to")?],
        commits: count_or_null(row, "commits")?,
        block: count(row, "block_number")?,
        gas: count(row, "gas_used")?,
        calldata_gas: count(row, "calldata_gas")?,
        calldata_bytes: count(row, "calldata_bytes")?,
        gas_price: wei(row, "gas_price")?,
    })
}
