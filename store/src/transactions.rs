//! Accepted transactions: written by the executor before the receipt is sent, then only read. Their state is a view's business.

use crate::rows::{count, count_or_null, int, rfc3339, slot_or_null, unreadable, word, word_or_null};
use sheaf_protocol::amount::{Nonce, SlotId};
use sheaf_protocol::field::Word;
use sheaf_protocol::header::QueueEntry;
use sheaf_protocol::ops::{SignedOp, TxHash};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};

/// An accepted transaction to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its hash.
    pub hash: TxHash,
    /// Its place in the order of acceptance.
    pub seq: u64,
    /// The canonical binary record.
    pub record: Vec<u8>,
    /// The slot of a register's account.
    pub account: Option<SlotId>,
}

/// What a sender gets for an accepted transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its hash.
    pub hash: TxHash,
    /// Its place in the order of acceptance.
    pub seq: u64,
    /// RFC 3339, UTC.
    pub accepted_at: String,
}

/// The L1 facts behind a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct L1Facts {
    /// L1 transaction of the commit.
    pub commit_tx: Option<Word>,
    /// Its block.
    pub commit_block: Option<u64>,
    /// That block's time, RFC 3339.
    pub committed_at: Option<String>,
    /// L1 transaction of the proof.
    pub prove_tx: Option<Word>,
    /// Its block.
    pub prove_block: Option<u64>,
    /// That block's time, RFC 3339.
    pub proven_at: Option<String>,
    /// Time of the block that made it final, RFC 3339.
    pub final_at: Option<String>,
}

/// A transaction with its derived state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Hash, seq and time of acceptance.
    pub receipt: Receipt,
    /// The operation and its signature.
    pub op: SignedOp,
    /// The slot of a register's account.
    pub account: Option<SlotId>,
    /// `accepted`, `sealed`, `committed`, `proven` or `final`.
    pub state: String,
    /// Its batch, once sealed.
    pub batch: Option<u64>,
    /// When its batch was sealed, RFC 3339.
    pub sealed_at: Option<String>,
    /// What L1 says.
    pub l1: L1Facts,
}

/// One line of a slot's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryItem {
    /// A transaction that the slot signed or received.
    Transaction(Box<Status>),
    /// An L1 queue entry about the slot: a deposit credited to it, or a request for it.
    Entry {
        /// Its place in the order of acceptance.
        seq: u64,
        /// Index in the L1 queue.
        queue_index: u64,
        /// What L1 says.
        entry: QueueEntry,
        /// Its batch, once sealed.
        batch: Option<u64>,
        /// As of a transaction.
        state: String,
    },
}

impl HistoryItem {
    /// Its place in the order of acceptance.
    pub fn seq(&self) -> u64 {
        match self {
            Self::Transaction(status) => status.receipt.seq,
            Self::Entry { seq, .. } => *seq,
        }
    }
}

/// Writes a group of transactions and returns the time of acceptance that all of them share, RFC 3339.
///
/// # Errors
/// [`sqlx::Error`]; also if a hash, a seq or a (slot, nonce) is there already.
pub async fn insert(connection: &mut PgConnection, group: &[Accepted]) -> Result<String, sqlx::Error> {
    let query = concat!(
        "WITH written AS (INSERT INTO transactions (hash, seq, record, account_slot)
             SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::integer[]) RETURNING 1) SELECT ",
        rfc3339!("now()")
    );
    let hashes: Vec<&[u8]> = group.iter().map(|row| row.hash.0.as_slice()).collect();
    let seqs: Vec<i64> = group.iter().map(|row| int(row.seq)).collect();
    let records: Vec<&[u8]> = group.iter().map(|row| row.record.as_slice()).collect();
    let accounts: Vec<Option<i32>> = group.iter().map(|row| row.account.map(|slot| slot.0 as i32)).collect();
    sqlx::query_scalar(query).bind(hashes).bind(seqs).bind(records).bind(accounts).fetch_one(connection).await
}

/// The highest place in the order of acceptance, 0 if nothing was accepted yet.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn last_seq(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let query = "SELECT greatest((SELECT max(seq) FROM transactions), (SELECT max(seq) FROM queue_taken), 0)::bigint AS last";
    count(&sqlx::query(query).fetch_one(connection).await?, "last")
}

/// The receipts of those hashes that were accepted.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn receipts(connection: &mut PgConnection, hashes: &[TxHash]) -> Result<Vec<Receipt>, sqlx::Error> {
    let query = concat!("SELECT hash, seq, ", rfc3339!("accepted_at"), " AS accepted FROM transactions WHERE hash = ANY($1)");
    let hashes: Vec<&[u8]> = hashes.iter().map(|hash| hash.0.as_slice()).collect();
    sqlx::query(query).bind(hashes).fetch_all(connection).await?.iter().map(receipt).collect()
}

fn receipt(row: &PgRow) -> Result<Receipt, sqlx::Error> {
    Ok(Receipt { hash: TxHash(word(row, "hash")?), seq: count(row, "seq")?, accepted_at: row.try_get("accepted")? })
}

/// Of these nonces of slots, those that a transaction used which is not in a batch yet, with its hash.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn unsealed_at(connection: &mut PgConnection, nonces: &[(SlotId, Nonce)]) -> Result<Vec<(SlotId, Nonce, TxHash)>, sqlx::Error> {
    let query = "SELECT t.from_slot, t.nonce, t.hash FROM unnest($1::integer[], $2::bigint[]) AS used (slot, nonce)
                 JOIN transactions t ON t.from_slot = used.slot AND t.nonce = used.nonce WHERE t.batch_number IS NULL";
    let slots: Vec<i32> = nonces.iter().map(|(slot, _)| slot.0 as i32).collect();
    let nonces: Vec<i64> = nonces.iter().map(|(_, nonce)| i64::from(nonce.0)).collect();
    sqlx::query(query).bind(slots).bind(nonces).fetch_all(connection).await?.iter().map(used_nonce).collect()
}

fn used_nonce(row: &PgRow) -> Result<(SlotId, Nonce, TxHash), sqlx::Error> {
    let slot = u32::try_from(row.try_get::<i32, _>("from_slot")?).map_err(|_| unreadable("from_slot"))?;
    let nonce = u32::try_from(row.try_get::<i64, _>("nonce")?).map_err(|_| unreadable("nonce"))?;
    Ok((SlotId(slot), Nonce(nonce), TxHash(word(row, "hash")?)))
}

macro_rules! status_columns {
    () => {
        concat!(
            "hash, seq, record, account_slot, state, batch_number, commit_tx, commit_block, prove_tx, prove_block, ",
            rfc3339!("accepted_at"),
            " AS accepted, ",
            rfc3339!("sealed_at"),
            " AS sealed, ",
            rfc3339!("committed_at"),
            " AS committed, ",
            rfc3339!("proven_at"),
            " AS proven, ",
            rfc3339!("final_at"),
            " AS final"
        )
    };
}

/// A transaction with its state, `None` if it was never accepted.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn status(connection: &mut PgConnection, hash: &TxHash) -> Result<Option<Status>, sqlx::Error> {
    let query = concat!("SELECT ", status_columns!(), " FROM transaction_status WHERE hash = $1");
    sqlx::query(query).bind(hash.0.as_slice()).fetch_optional(connection).await?.as_ref().map(read_status).transpose()
}

/// The transactions of a batch in order of acceptance.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn hashes_of_batch(connection: &mut PgConnection, number: u64) -> Result<Vec<TxHash>, sqlx::Error> {
    let query = "SELECT hash FROM transactions WHERE batch_number = $1 ORDER BY seq";
    let rows = sqlx::query(query).bind(int(number)).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(TxHash(word(row, "hash")?))).collect()
}

/// What was accepted after `seq`, oldest first, at most `limit`.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn accepted_after(connection: &mut PgConnection, seq: u64, limit: u64) -> Result<Vec<Receipt>, sqlx::Error> {
    let query = concat!("SELECT hash, seq, ", rfc3339!("accepted_at"), " AS accepted FROM transactions WHERE seq > $1 ORDER BY seq LIMIT $2");
    sqlx::query(query).bind(int(seq)).bind(int(limit)).fetch_all(connection).await?.iter().map(receipt).collect()
}

/// Accepted transactions below `before` in the order of acceptance, newest first, at most `limit`; of one batch only if it is named.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn page(connection: &mut PgConnection, batch: Option<u64>, before: u64, limit: u64) -> Result<Vec<Status>, sqlx::Error> {
    // one text for both would leave the planner without an index for either
    let query = match batch {
        None => concat!(
            "SELECT ",
            status_columns!(),
            " FROM transaction_status WHERE seq IN (SELECT seq FROM transactions WHERE seq < $1 ORDER BY seq DESC LIMIT $2)
             AND $3::bigint IS NULL ORDER BY seq DESC"
        ),
        Some(_) => concat!(
            "SELECT ",
            status_columns!(),
            " FROM transaction_status WHERE seq IN (SELECT seq FROM transactions WHERE batch_number = $3 AND seq < $1 ORDER BY seq DESC LIMIT $2)
             ORDER BY seq DESC"
        ),
    };
    let rows = sqlx::query(query).bind(int(before)).bind(int(limit)).bind(batch.map(int)).fetch_all(connection).await?;
    rows.iter().map(read_status).collect()
}

/// What concerns a slot, newest first, below `before`, at most `limit`.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn history(connection: &mut PgConnection, slot: SlotId, before: u64, limit: u64) -> Result<Vec<HistoryItem>, sqlx::Error> {
    let query = concat!(
        "SELECT ",
        status_columns!(),
        " FROM transaction_status WHERE seq IN (
             (SELECT seq FROM transactions WHERE from_slot = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3)
             UNION (SELECT seq FROM transactions WHERE to_slot = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3)
             UNION (SELECT seq FROM transactions WHERE account_slot = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3)) ORDER BY seq DESC LIMIT $3"
    );
    let rows = sqlx::query(query).bind(i64::from(slot.0)).bind(int(before)).bind(int(limit)).fetch_all(&mut *connection).await?;
    let mut items = rows.iter().map(|row| Ok(HistoryItem::Transaction(Box::new(read_status(row)?)))).collect::<Result<Vec<_>, sqlx::Error>>()?;
    let query = "SELECT q.seq, q.queue_index, q.entry, q.batch_number, coalesce(s.state, 'accepted') AS state
                 FROM queue_taken q LEFT JOIN batch_status s ON s.number = q.batch_number WHERE q.slot = $1 AND q.seq < $2 ORDER BY q.seq DESC LIMIT $3";
    let rows = sqlx::query(query).bind(i64::from(slot.0)).bind(int(before)).bind(int(limit)).fetch_all(connection).await?;
    for row in &rows {
        items.push(entry(row)?);
    }
    items.sort_by_key(|item| std::cmp::Reverse(item.seq()));
    items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(items)
}

fn entry(row: &PgRow) -> Result<HistoryItem, sqlx::Error> {
    Ok(HistoryItem::Entry {
        seq: count(row, "seq")?,
        queue_index: count(row, "queue_index")?,
        entry: row.try_get::<Json<QueueEntry>, _>("entry")?.0,
        batch: count_or_null(row, "batch_number")?,
        state: row.try_get("state")?,
    })
}

fn read_status(row: &PgRow) -> Result<Status, sqlx::Error> {
    let op = SignedOp::from_record(row.try_get("record")?).map_err(|_| unreadable("record"))?;
    Ok(Status {
        receipt: receipt(row)?,
        op,
        account: slot_or_null(row, "account_slot")?,
        state: row.try_get("state")?,
        batch: count_or_null(row, "batch_number")?,
        sealed_at: row.try_get("sealed")?,
        l1: read_l1(row)?,
    })
}

pub(crate) fn read_l1(row: &PgRow) -> Result<L1Facts, sqlx::Error> {
    Ok(L1Facts {
        commit_tx: word_or_null(row, "commit_tx")?,
        commit_block: count_or_null(row, "commit_block")?,
        committed_at: row.try_get("committed")?,
        prove_tx: word_or_null(row, "prove_tx")?,
        prove_block: count_or_null(row, "prove_block")?,
        proven_at: row.try_get("proven")?,
        final_at: row.try_get("final")?,
    })
}
