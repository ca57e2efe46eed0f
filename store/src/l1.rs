//! L1 as we see it: blocks and events that the watcher follows, and the operator's own transactions.
//!
//! Blocks form a chain by hash; dropping a block drops its events with it, so everything derived from events (committed, proven, final,
//! deposits, credits) follows a reorganisation by itself. An operator's transaction keeps its nonce for ever and has one row per fee offer
//! (attempt); any attempt may be the one that is mined.
//!
//! ```text
//! signed ──> sent ──> mined | failed        of one nonce, one row is in a state of this line, all others are replaced
//!    └──> replaced ─────^   │
//!            ^──── reorg ───┘               dropped: the nonce was used by a foreign transaction; signed again if the same bytes are due again
//! ```

use crate::rows::{count, int, unreadable, word};
use serde::{Deserialize, Serialize};
use sheaf_protocol::amount::{Address, Amount, TokenId};
use sheaf_protocol::field::Word;
use sheaf_protocol::header::QueueEntry;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgTransaction, Row};

/// A followed block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRow {
    /// Number.
    pub number: u64,
    /// Hash.
    pub hash: Word,
    /// Hash of the block before.
    pub parent_hash: Word,
    /// Unix seconds.
    pub timestamp_s: u64,
}

/// What the contract reports. Batch numbers and queue indices are columns of their own; the rest is the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A queue entry and its index, from 1.
    Queued(u64, QueueEntry),
    /// An ERC-20 got a number.
    TokenListed(TokenListed),
    /// A batch of this number was committed.
    Committed(u64, Committed),
    /// A batch of this number was proven.
    Proven(u64, Proven),
    /// A withdrawal, exit or refund of this batch became claimable.
    Credited(u64, Credited),
    /// Something claimable was paid out.
    Claimed(Claimed),
}

/// Payload of [`Event::TokenListed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenListed {
    /// The number.
    pub token: TokenId,
    /// The contract.
    pub erc20: Address,
}

/// Payload of [`Event::Committed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// Hash of the record.
    #[serde(with = "sheaf_protocol::field::bytes_hex")]
    pub batch_hash: Word,
    /// State root after the batch.
    #[serde(with = "sheaf_protocol::field::bytes_hex")]
    pub root: Word,
}

/// Payload of [`Event::Proven`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// State root after the batch.
    #[serde(with = "sheaf_protocol::field::bytes_hex")]
    pub root: Word,
}

/// Payload of [`Event::Credited`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credited {
    /// Whose it is.
    pub to: Address,
    /// Token.
    pub token: TokenId,
    /// In the token's smallest unit.
    pub amount: Amount,
}

/// Payload of [`Event::Claimed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// Whose it was.
    pub account: Address,
    /// Token.
    pub token: TokenId,
    /// In the token's smallest unit.
    pub amount: Amount,
    /// Who got it.
    pub to: Address,
}

impl Event {
    /// Its name in the database.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Queued(..) => "queued",
            Self::TokenListed(_) => "token_listed",
            Self::Committed(..) => "committed",
            Self::Proven(..) => "proven",
            Self::Credited(..) => "credited",
            Self::Claimed(_) => "claimed",
        }
    }

    /// The batch it is about.
    pub fn batch_number(&self) -> Option<u64> {
        match self {
            Self::Committed(number, _) | Self::Proven(number, _) | Self::Credited(number, _) => Some(*number),
            Self::Queued(..) | Self::TokenListed(_) | Self::Claimed(_) => None,
        }
    }

    /// The queue entry it is about.
    pub fn queue_index(&self) -> Option<u64> {
        match self {
            Self::Queued(index, _) => Some(*index),
            _ => None,
        }
    }

    fn payload(&self) -> Result<serde_json::Value, sqlx::Error> {
        let value = match self {
            Self::Queued(_, entry) => serde_json::to_value(entry),
            Self::TokenListed(payload) => serde_json::to_value(payload),
            Self::Committed(_, payload) => serde_json::to_value(payload),
            Self::Proven(_, payload) => serde_json::to_value(payload),
            Self::Credited(_, payload) => serde_json::to_value(payload),
            Self::Claimed(payload) => serde_json::to_value(payload),
        };
        value.map_err(|error| sqlx::Error::Encode(error.into()))
    }
}

/// An event with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Block number.
    pub block: u64,
    /// Position in the block.
    pub log_index: u64,
    /// The transaction that caused it.
    pub tx_hash: Word,
    /// What it says.
    pub event: Event,
}

/// What an operator's transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TxKind {
    /// Posts one batch.
    Commit,
    /// Proves a range of batches.
    Prove,
    /// Credits one batch's withdrawals.
    Settle,
    /// Uses up a nonce; about no batch.
    Cancel,
}

impl TxKind {
    /// Its name in the database, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Prove => "prove",
            Self::Settle => "settle",
            Self::Cancel => "cancel",
        }
    }

    fn parse(name: &str) -> Result<Self, sqlx::Error> {
        [Self::Commit, Self::Prove, Self::Settle, Self::Cancel].into_iter().find(|kind| kind.name() == name).ok_or_else(|| unreadable("kind"))
    }
}

/// One fee offer of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Row id.
    pub id: i64,
    /// Transaction hash.
    pub hash: Word,
    /// Signed bytes, as sent.
    pub raw: Vec<u8>,
    /// Most wei per gas.
    pub max_fee_wei: u128,
    /// Tip in wei per gas.
    pub tip_wei: u128,
    /// False until a node has taken it.
    pub sent: bool,
    /// How it was mined, while it is.
    pub mined: Option<Mined>,
}

/// How an attempt was mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mined {
    /// Block number.
    pub block: u64,
    /// Block hash.
    pub block_hash: Word,
    /// False if it reverted.
    pub succeeded: bool,
    /// Gas, as the receipt says.
    pub gas_used: u64,
    /// Wei paid per gas.
    pub gas_price_wei: u128,
}

/// An operator's transaction: everything at one nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Nonce.
    pub nonce: u64,
    /// What it does.
    pub kind: TxKind,
    /// First batch it concerns; 0 for [`TxKind::Cancel`].
    pub first_batch: u64,
    /// Last batch it concerns; 0 for [`TxKind::Cancel`].
    pub last_batch: u64,
    /// Fee offers, oldest and cheapest first; at least one.
    pub attempts: Vec<Attempt>,
}

impl Transaction {
    /// How it was mined, while it is.
    pub fn mined(&self) -> Option<&Mined> {
        self.attempts.iter().find_map(|attempt| attempt.mined.as_ref())
    }

    /// True if it is mined and did not revert.
    pub fn succeeded(&self) -> bool {
        self.mined().is_some_and(|mined| mined.succeeded)
    }
}

/// A signed transaction to save before it is sent.
#[derive(Clone, Debug)]
pub struct NewTransaction {
    /// Who signed it.
    pub sender: Address,
    /// Nonce.
    pub nonce: u64,
    /// What it does.
    pub kind: TxKind,
    /// First batch it concerns; 0 for [`TxKind::Cancel`].
    pub first_batch: u64,
    /// Last batch it concerns; 0 for [`TxKind::Cancel`].
    pub last_batch: u64,
    /// Transaction hash.
    pub hash: Word,
    /// Signed bytes.
    pub raw: Vec<u8>,
    /// Gas limit.
    pub gas_limit: u64,
    /// Most wei per gas.
    pub max_fee_wei: u128,
    /// Tip in wei per gas.
    pub tip_wei: u128,
    /// Length of the calldata.
    pub calldata_bytes: u64,
    /// Calldata's share of the gas at the standard price.
    pub calldata_gas: u64,
}

/// How far batches are ready for L1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Highest batch whose commit can be posted, every one before it too.
    pub committable: u64,
    /// Highest batch that has a proof, every one before it down to the asked one too.
    pub provable: u64,
    /// Batches with withdrawals whose credits are not all on L1, in order; the first [`MAX_UNSETTLED`].
    pub unsettled: Vec<u64>,
    /// Highest batch up to which every credit is on L1, in blocks up to the asked one.
    pub settled: u64,
}

/// Most unsettled batches told at once.
pub const MAX_UNSETTLED: i64 = 64;

/// The eighteen words of a batch's record.
pub type RecordWords = [Word; 18];

/// Everything of a `commit` call.
#[derive(Clone, Debug)]
pub struct CommitInput {
    /// Header and C_q; the last two words are not part of the call.
    pub record: RecordWords,
    /// Preimages of the queue entries taken.
    pub taken: Vec<QueueEntry>,
    /// What the operator chose for each.
    pub choices: Vec<Word>,
    /// Withdrawals: w0, amount, recipient.
    pub withdrawals: Vec<[Word; 3]>,
    /// Posted bytes.
    pub data: Vec<u8>,
}

/// One batch of a `prove` call.
#[derive(Clone, Debug)]
pub struct ProofInput {
    /// The committed record.
    pub record: RecordWords,
    /// A, B, C in the order of the contract.
    pub groth16: [Word; 8],
    /// E, Z, Delta.
    pub claims: [Word; 3],
    /// W.
    pub opening: [Word; 2],
}

/// Everything of a `settle` call.
#[derive(Clone, Debug)]
pub struct SettleInput {
    /// The committed record.
    pub record: RecordWords,
    /// What the operator chose for each queue entry.
    pub choices: Vec<Word>,
    /// Used words of P_ops in order.
    pub words: Vec<Word>,
    /// Withdrawals to credit.
    pub withdrawals: u64,
}

/// The highest followed block.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn tip(connection: &mut PgConnection) -> Result<Option<BlockRow>, sqlx::Error> {
    block_below(connection, i64::MAX as u64).await
}

/// The highest followed block with a number below `number`.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn block_below(connection: &mut PgConnection, number: u64) -> Result<Option<BlockRow>, sqlx::Error> {
    let query = "SELECT number, hash, parent_hash, extract(epoch FROM mined_at)::bigint AS timestamp_s FROM l1_blocks
                 WHERE number < $1 ORDER BY number DESC LIMIT 1";
    let row = sqlx::query(query).bind(int(number)).fetch_optional(connection).await?;
    row.as_ref().map(block_row).transpose()
}

fn block_row(row: &PgRow) -> Result<BlockRow, sqlx::Error> {
    Ok(BlockRow {
        number: count(row, "number")?,
        hash: word(row, "hash")?,
        parent_hash: word(row, "parent_hash")?,
        timestamp_s: count(row, "timestamp_s")?,
    })
}

/// Adds a block on top.
///
/// # Errors
/// [`sqlx::Error`]; also if the number is taken.
pub async fn append_block(connection: &mut PgConnection, block: &BlockRow) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO l1_blocks (number, hash, parent_hash, mined_at) VALUES ($1, $2, $3, to_timestamp($4))")
        .bind(int(block.number))
        .bind(block.hash.as_slice())
        .bind(block.parent_hash.as_slice())
        .bind(block.timestamp_s as f64)
        .execute(connection)
        .await
        .map(drop)
}

/// Adds an event of a block that is there already.
///
/// # Errors
/// [`sqlx::Error`]; also if its place is taken.
pub async fn append_event(connection: &mut PgConnection, row: &EventRow) -> Result<(), sqlx::Error> {
    let query = "INSERT INTO l1_events (block_number, log_index, tx_hash, kind, batch_number, queue_index, payload)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)";
    sqlx::query(query)
        .bind(int(row.block))
        .bind(i32::try_from(row.log_index).unwrap_or(i32::MAX))
        .bind(row.tx_hash.as_slice())
        .bind(row.event.kind())
        .bind(row.event.batch_number().map(int))
        .bind(row.event.queue_index().map(int))
        .bind(Json(row.event.payload()?))
        .execute(connection)
        .await
        .map(drop)
}

/// Drops every block above `fork`, with its events.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn rewind(connection: &mut PgConnection, fork: u64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM l1_blocks WHERE number > $1").bind(int(fork)).execute(connection).await.map(drop)
}

/// Queue entries from index `first` on, in order, of blocks at least `depth` deep (a block at the head is 1 deep), at most `limit`.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn queued(connection: &mut PgConnection, first: u64, depth: u64, limit: u64) -> Result<Vec<(u64, QueueEntry)>, sqlx::Error> {
    let query = "SELECT queue_index, payload FROM l1_events WHERE kind = 'queued' AND queue_index >= $1
                 AND block_number <= (SELECT max(number) FROM l1_blocks) + 1 - $2 ORDER BY queue_index LIMIT $3";
    let rows = sqlx::query(query).bind(int(first)).bind(int(depth)).bind(int(limit)).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((count(row, "queue_index")?, row.try_get::<Json<QueueEntry>, _>("payload")?.0))).collect()
}

/// The operator's transactions that are not mined, mined in a block above `settled`, or mined at a nonce that L1, at `mined_nonce`, does not
/// count as used; by nonce.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn live_transactions(
    connection: &mut PgConnection,
    sender: &Address,
    settled: u64,
    mined_nonce: u64,
) -> Result<Vec<Transaction>, sqlx::Error> {
    let query = "SELECT id, nonce, kind, coalesce(batch_from, 0) AS batch_from, coalesce(batch_to, 0) AS batch_to, hash, raw,
                        max_fee_per_gas::text AS max_fee, max_priority_fee_per_gas::text AS tip,
                        state, sent_at IS NOT NULL AS sent, block_number, block_hash, gas_used, effective_gas_price::text AS gas_price
                 FROM l1_transactions
                 WHERE sender = $1 AND state <> 'dropped' AND kind IN ('commit', 'prove', 'settle', 'cancel') AND nonce IN (
                     SELECT nonce FROM l1_transactions WHERE sender = $1 AND state IN ('signed', 'sent') UNION ALL
                     SELECT nonce FROM l1_transactions WHERE sender = $1 AND state IN ('mined', 'failed') AND block_number > $2 UNION ALL
                     SELECT nonce FROM l1_transactions WHERE sender = $1 AND state IN ('mined', 'failed') AND nonce >= $3)
                 ORDER BY nonce, id";
    let rows = sqlx::query(query).bind(sender.0.as_slice()).bind(int(settled)).bind(int(mined_nonce)).fetch_all(connection).await?;
    let mut out: Vec<Transaction> = Vec::new();
    for row in &rows {
        let nonce = count(row, "nonce")?;
        match out.last_mut() {
            Some(last) if last.nonce == nonce => last.attempts.push(attempt(row)?),
            _ => out.push(transaction(row)?),
        }
    }
    Ok(out)
}

fn transaction(row: &PgRow) -> Result<Transaction, sqlx::Error> {
    Ok(Transaction {
        nonce: count(row, "nonce")?,
        kind: TxKind::parse(row.try_get("kind")?)?,
        first_batch: count(row, "batch_from")?,
        last_batch: count(row, "batch_to")?,
        attempts: vec![attempt(row)?],
    })
}

fn attempt(row: &PgRow) -> Result<Attempt, sqlx::Error> {
    let state: &str = row.try_get("state")?;
    Ok(Attempt {
        id: row.try_get("id")?,
        hash: word(row, "hash")?,
        raw: row.try_get("raw")?,
        max_fee_wei: wei(row, "max_fee")?,
        tip_wei: wei(row, "tip")?,
        sent: row.try_get("sent")?,
        mined: matches!(state, "mined" | "failed").then(|| mined(row, state == "mined")).transpose()?,
    })
}

fn mined(row: &PgRow, succeeded: bool) -> Result<Mined, sqlx::Error> {
    Ok(Mined {
        block: count(row, "block_number")?,
        block_hash: word(row, "block_hash")?,
        succeeded,
        gas_used: count(row, "gas_used")?,
        gas_price_wei: wei(row, "gas_price")?,
    })
}

/// Where the next transaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeNonce {
    /// The smallest nonce without a live transaction.
    pub nonce: u64,
    /// True if a live transaction has a higher one and waits for it to be used.
    pub is_hole: bool,
}

/// The smallest nonce from `mined_nonce` on that no live transaction has.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn free_nonce(connection: &mut PgConnection, sender: &Address, mined_nonce: u64) -> Result<FreeNonce, sqlx::Error> {
    let query = "WITH live AS (
                     SELECT nonce FROM l1_transactions WHERE sender = $1 AND nonce >= $2 AND state IN ('signed', 'sent', 'mined', 'failed'))
                 SELECT min(place) AS nonce, coalesce(min(place) < (SELECT max(nonce) FROM live), false) AS is_hole
                 FROM (SELECT $2::bigint AS place UNION ALL SELECT nonce + 1 FROM live) places
                 WHERE NOT EXISTS (SELECT 1 FROM live WHERE nonce = place)";
    let row = sqlx::query(query).bind(sender.0.as_slice()).bind(int(mined_nonce)).fetch_one(connection).await?;
    Ok(FreeNonce { nonce: count(&row, "nonce")?, is_hole: row.try_get("is_hole")? })
}

/// Saves a signed transaction, or a further fee offer for the nonce of `replaces`; only then may it be sent. The same bytes, given up before,
/// are live again.
///
/// # Errors
/// [`sqlx::Error`]; also if the nonce is in use by another transaction.
pub async fn save_transaction(tx: &mut PgTransaction<'_>, new: &NewTransaction, replaces: Option<i64>) -> Result<i64, sqlx::Error> {
    let retire = "UPDATE l1_transactions SET state = 'replaced' WHERE sender = $1 AND nonce = $2 AND state IN ('signed', 'sent')";
    if replaces.is_some() {
        sqlx::query(retire).bind(new.sender.0.as_slice()).bind(int(new.nonce)).execute(&mut **tx).await?;
    }
    let query = "INSERT INTO l1_transactions (kind, batch_from, batch_to, sender, nonce, hash, raw, gas_limit, max_fee_per_gas,
                     max_priority_fee_per_gas, calldata_bytes, calldata_gas, replaces)
                 VALUES ($1, nullif($2, 0), nullif($3, 0), $4, $5, $6, $7, $8, $9::numeric, $10::numeric, $11, $12, $13)
                 ON CONFLICT (hash) DO UPDATE SET state = 'signed', created_at = now(), sent_at = NULL, reason = NULL, replaces = excluded.replaces
                 WHERE l1_transactions.state = 'dropped' RETURNING id";
    sqlx::query_scalar(query)
        .bind(new.kind.name())
        .bind(int(new.first_batch))
        .bind(int(new.last_batch))
        .bind(new.sender.0.as_slice())
        .bind(int(new.nonce))
        .bind(new.hash.as_slice())
        .bind(new.raw.as_slice())
        .bind(int(new.gas_limit))
        .bind(new.max_fee_wei.to_string())
        .bind(new.tip_wei.to_string())
        .bind(i32::try_from(new.calldata_bytes).unwrap_or(i32::MAX))
        .bind(int(new.calldata_gas))
        .bind(replaces)
        .fetch_one(&mut **tx)
        .await
}

/// Records that a node took an attempt.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn set_sent(connection: &mut PgConnection, id: i64) -> Result<(), sqlx::Error> {
    let query = "UPDATE l1_transactions SET sent_at = coalesce(sent_at, now()), state = CASE state WHEN 'signed' THEN 'sent' ELSE state END
                 WHERE id = $1";
    sqlx::query(query).bind(id).execute(connection).await.map(drop)
}

/// Records in which block and at what cost an attempt was mined, and why it failed if it did; the others of its nonce are replaced.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn set_mined(
    tx: &mut PgTransaction<'_>,
    sender: &Address,
    nonce: u64,
    id: i64,
    mined: &Mined,
    reason: Option<&str>,
) -> Result<(), sqlx::Error> {
    retire(tx, sender, nonce).await?;
    let query = "UPDATE l1_transactions SET state = $2, block_number = $3, block_hash = $4, gas_used = $5, effective_gas_price = $6::numeric,
                     reason = $7 WHERE id = $1";
    sqlx::query(query)
        .bind(id)
        .bind(if mined.succeeded { "mined" } else { "failed" })
        .bind(int(mined.block))
        .bind(mined.block_hash.as_slice())
        .bind(int(mined.gas_used))
        .bind(mined.gas_price_wei.to_string())
        .bind(reason)
        .execute(&mut **tx)
        .await
        .map(drop)
}

/// Records that a mined transaction is in no block any more: its newest attempt waits again.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn set_unmined(tx: &mut PgTransaction<'_>, sender: &Address, nonce: u64) -> Result<(), sqlx::Error> {
    retire(tx, sender, nonce).await?;
    let query = "UPDATE l1_transactions SET state = CASE WHEN sent_at IS NULL THEN 'signed' ELSE 'sent' END WHERE id = (
                     SELECT max(id) FROM l1_transactions WHERE sender = $1 AND nonce = $2 AND state <> 'dropped')";
    sqlx::query(query).bind(sender.0.as_slice()).bind(int(nonce)).execute(&mut **tx).await.map(drop)
}

async fn retire(tx: &mut PgTransaction<'_>, sender: &Address, nonce: u64) -> Result<(), sqlx::Error> {
    let query = "UPDATE l1_transactions SET state = 'replaced', block_number = NULL, block_hash = NULL, gas_used = NULL,
                     effective_gas_price = NULL WHERE sender = $1 AND nonce = $2 AND state <> 'dropped'";
    sqlx::query(query).bind(sender.0.as_slice()).bind(int(nonce)).execute(&mut **tx).await.map(drop)
}

/// Records that a foreign transaction used the nonce.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn set_dropped(connection: &mut PgConnection, sender: &Address, nonce: u64, reason: &str) -> Result<(), sqlx::Error> {
    let query = "UPDATE l1_transactions SET state = 'dropped', reason = $3, block_number = NULL, block_hash = NULL, gas_used = NULL,
                     effective_gas_price = NULL WHERE sender = $1 AND nonce = $2";
    sqlx::query(query).bind(sender.0.as_slice()).bind(int(nonce)).bind(reason).execute(connection).await.map(drop)
}

/// What the operator's mined transactions of one kind cost together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GasTotal {
    /// What they did.
    pub kind: TxKind,
    /// How many there are.
    pub transactions: u64,
    /// Gas, as the receipts say.
    pub used: u64,
    /// Share that calldata paid: 4 gas a token, or all but the fixed 21,000 where the floor of EIP-7623 (10 a token) set the price.
    pub calldata: u64,
    /// The rest, without the fixed 21,000 of each.
    pub execution: u64,
}

/// Gas of all mined transactions by kind.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn gas_totals(connection: &mut PgConnection) -> Result<Vec<GasTotal>, sqlx::Error> {
    let query = "SELECT kind, count(*) AS transactions, sum(gas_used)::bigint AS used, sum(calldata)::bigint AS calldata,
                        sum(gas_used - 21000 - calldata)::bigint AS execution
                 FROM (SELECT kind, gas_used, CASE WHEN gas_used = 21000 + calldata_gas * 5 / 2 THEN gas_used - 21000 ELSE calldata_gas END AS calldata
                       FROM l1_transactions WHERE state IN ('mined', 'failed') AND kind IN ('commit', 'prove', 'settle')) mined
                 GROUP BY kind ORDER BY kind";
    let rows = sqlx::query(query).fetch_all(connection).await?;
    rows.iter().map(gas_total).collect()
}

fn gas_total(row: &PgRow) -> Result<GasTotal, sqlx::Error> {
    Ok(GasTotal {
        kind: TxKind::parse(row.try_get("kind")?)?,
        transactions: count(row, "transactions")?,
        used: count(row, "used")?,
        calldata: count(row, "calldata")?,
        execution: count(row, "execution")?,
    })
}

/// How far batches are ready, given that L1 has proven `proven`, that nothing up to `settled` is left to credit, and that no block up to
/// `final_block` will change.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn ready(tx: &mut PgTransaction<'_>, proven: u64, settled: u64, final_block: u64) -> Result<Ready, sqlx::Error> {
    let query = "WITH last AS (SELECT coalesce(max(number), 0) AS number FROM batches)
        SELECT coalesce((SELECT min(number) - 1 FROM batches WHERE computed_at IS NULL), last.number) AS committable,
               coalesce((SELECT min(b.number) - 1 FROM batches b LEFT JOIN proofs p ON p.batch_number = b.number
                         WHERE b.number > $1 AND p.batch_number IS NULL), last.number) AS provable,
               coalesce((SELECT min(b.number) - 1 FROM batches b WHERE b.number > $2 AND b.number <= $1 AND b.withdrawals > (
                             SELECT count(*) FROM l1_events e WHERE e.kind = 'credited' AND e.batch_number = b.number AND e.block_number <= $3)),
                        greatest($1, $2)) AS settled
        FROM last";
    let row = sqlx::query(query).bind(int(proven)).bind(int(settled)).bind(int(final_block)).fetch_one(&mut **tx).await?;
    Ok(Ready {
        committable: count(&row, "committable")?,
        provable: count(&row, "provable")?,
        settled: count(&row, "settled")?,
        unsettled: unsettled(tx, proven, settled).await?,
    })
}

/// Batches above `settled`, up to `proven`, with more withdrawals than L1 has credited.
async fn unsettled(tx: &mut PgTransaction<'_>, proven: u64, settled: u64) -> Result<Vec<u64>, sqlx::Error> {
    let query = "SELECT number FROM batches b WHERE number > $2 AND number <= $1 AND withdrawals > (
                     SELECT count(*) FROM l1_events e WHERE e.kind = 'credited' AND e.batch_number = b.number)
                 ORDER BY number LIMIT $3";
    let rows = sqlx::query(query).bind(int(proven)).bind(int(settled)).bind(MAX_UNSETTLED).fetch_all(&mut **tx).await?;
    rows.iter().map(|row| count(row, "number")).collect()
}

/// Everything of the `commit` call of a batch, `None` if its committer has not finished.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn commit_input(tx: &mut PgTransaction<'_>, number: u64) -> Result<Option<CommitInput>, sqlx::Error> {
    let query = "SELECT record, choices, ops_words, withdrawals, posted_data FROM batches WHERE number = $1 AND computed_at IS NOT NULL";
    let Some(row) = sqlx::query(query).bind(int(number)).fetch_optional(&mut **tx).await? else { return Ok(None) };
    let query = "SELECT entry FROM queue_taken WHERE batch_number = $1 ORDER BY queue_index";
    let taken = sqlx::query_scalar::<_, Json<QueueEntry>>(query).bind(int(number)).fetch_all(&mut **tx).await?;
    let ops_words = words(&row, "ops_words")?;
    let withdrawals: i32 = row.try_get("withdrawals")?;
    Ok(Some(CommitInput {
        record: exactly(&row, "record")?,
        taken: taken.into_iter().map(|entry| entry.0).collect(),
        withdrawals: ops_words.as_chunks::<3>().0.iter().take(withdrawals.cast_unsigned() as usize).copied().collect(),
        choices: words(&row, "choices")?,
        data: row.try_get("posted_data")?,
    }))
}

/// The commitments before batch `first` and the proofs of `first..=last`, `None` if one is missing.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn proof_inputs(tx: &mut PgTransaction<'_>, first: u64, last: u64) -> Result<Option<([Word; 6], Vec<ProofInput>)>, sqlx::Error> {
    let query = "SELECT b.record, b.claim_e, b.claim_z, b.claim_delta, b.opening, p.proof FROM batches b JOIN proofs p ON p.batch_number = b.number
                 WHERE b.number BETWEEN $1 AND $2 ORDER BY b.number";
    let rows = sqlx::query(query).bind(int(first)).bind(int(last)).fetch_all(&mut **tx).await?;
    if rows.len() as u64 != last + 1 - first {
        return Ok(None);
    }
    let query = "SELECT commitments FROM batches WHERE number = $1";
    let before = sqlx::query(query).bind(int(first - 1)).fetch_optional(&mut **tx).await?;
    let before = before.map_or(Ok([[0; 32]; 6]), |row| exactly(&row, "commitments"))?;
    Ok(Some((before, rows.iter().map(proof_input).collect::<Result<_, _>>()?)))
}

fn proof_input(row: &PgRow) -> Result<ProofInput, sqlx::Error> {
    Ok(ProofInput {
        record: exactly(row, "record")?,
        groth16: exactly(row, "proof")?,
        claims: [word(row, "claim_e")?, word(row, "claim_z")?, word(row, "claim_delta")?],
        opening: exactly(row, "opening")?,
    })
}

/// Everything of the `settle` call of a batch, `None` if there is no such batch.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn settle_input(connection: &mut PgConnection, number: u64) -> Result<Option<SettleInput>, sqlx::Error> {
    let query = "SELECT record, choices, ops_words, withdrawals::bigint FROM batches WHERE number = $1 AND computed_at IS NOT NULL";
    let Some(row) = sqlx::query(query).bind(int(number)).fetch_optional(connection).await? else { return Ok(None) };
    Ok(Some(SettleInput {
        record: exactly(&row, "record")?,
        choices: words(&row, "choices")?,
        words: words(&row, "ops_words")?,
        withdrawals: count(&row, "withdrawals")?,
    }))
}

fn words(row: &PgRow, column: &str) -> Result<Vec<Word>, sqlx::Error> {
    let (words, rest) = row.try_get::<&[u8], _>(column)?.as_chunks::<32>();
    if rest.is_empty() { Ok(words.to_vec()) } else { Err(unreadable(column)) }
}

fn exactly<const N: usize>(row: &PgRow, column: &str) -> Result<[Word; N], sqlx::Error> {
    words(row, column)?.try_into().map_err(|_| unreadable(column))
}

fn wei(row: &PgRow, column: &str) -> Result<u128, sqlx::Error> {
    row.try_get::<&str, _>(column)?.parse().map_err(|_| unreadable(column))
}
