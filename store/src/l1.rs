//! L1 as we see it: blocks and events that the watcher follows; `transactions`: the operator's own; `due`: what L1 should get next.
//!
//! Blocks form a chain by hash; dropping a block drops its events with it, so everything derived from events (committed, proven, final,
//! deposits, credits) follows a reorganisation by itself.

mod due;
mod transactions;

pub use due::*;
pub use transactions::*;

use crate::rows::{committed, count, count_or_null, int, word};
use serde::{Deserialize, Serialize};
use sheaf_protocol::amount::{Address, Amount, TokenId};
use sheaf_protocol::field::Word;
use sheaf_protocol::header::QueueEntry;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};

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
    /// All commits above a batch of this number, 0 for none, were taken back.
    Reverted(u64, Reverted),
    /// A batch of this number was proven.
    Proven(u64, Proven),
    /// A withdrawal or exit of this batch became claimable.
    Credited(u64, Credited),
    /// The queue entry with this index went back to who sent it.
    Refunded(u64, Refunded),
    /// Something claimable was paid out.
    Claimed(Claimed),
    /// Nothing more is committed or proven.
    Frozen(Frozen),
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

/// Payload of [`Event::Reverted`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reverted {
    /// State root after the last batch that is left.
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

/// Payload of [`Event::Refunded`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refunded {
    /// Who can claim it.
    pub to: Address,
    /// Token.
    pub token: TokenId,
    /// In the token's smallest unit.
    pub amount: Amount,
}

/// Payload of [`Event::Frozen`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// The last batch that was proven.
    pub proven: u64,
    /// Root after it, for good.
    #[serde(with = "sheaf_protocol::field::bytes_hex")]
    pub root: Word,
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
            Self::Reverted(..) => "reverted",
            Self::Proven(..) => "proven",
            Self::Credited(..) => "credited",
            Self::Refunded(..) => "refunded",
            Self::Claimed(_) => "claimed",
            Self::Frozen(_) => "frozen",
        }
    }

    /// The batch it is about.
    pub fn batch_number(&self) -> Option<u64> {
        match self {
            Self::Committed(number, _) | Self::Reverted(number, _) | Self::Proven(number, _) | Self::Credited(number, _) => Some(*number),
            Self::Queued(..) | Self::TokenListed(_) | Self::Refunded(..) | Self::Claimed(_) | Self::Frozen(_) => None,
        }
    }

    /// The queue entry it is about.
    pub fn queue_index(&self) -> Option<u64> {
        match self {
            Self::Queued(index, _) | Self::Refunded(index, _) => Some(*index),
            _ => None,
        }
    }

    fn payload(&self) -> Result<serde_json::Value, sqlx::Error> {
        let value = match self {
            Self::Queued(_, entry) => serde_json::to_value(entry),
            Self::TokenListed(payload) => serde_json::to_value(payload),
            Self::Committed(_, payload) => serde_json::to_value(payload),
            Self::Reverted(_, payload) => serde_json::to_value(payload),
            Self::Proven(_, payload) => serde_json::to_value(payload),
            Self::Credited(_, payload) => serde_json::to_value(payload),
            Self::Refunded(_, payload) => serde_json::to_value(payload),
            Self::Claimed(payload) => serde_json::to_value(payload),
            Self::Frozen(payload) => serde_json::to_value(payload),
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

/// The highest followed block.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn tip(connection: &mut PgConnection) -> Result<Option<BlockRow>, sqlx::Error> {
    block_below(connection, i64::MAX as u64).await
}

/// What the followed events count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Index of the last queue entry.
    pub queued: u64,
    /// Number of the last committed batch.
    pub committed: u64,
    /// Number of the last proven batch.
    pub proven: u64,
}

/// What the events followed so far count.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn levels(connection: &mut PgConnection) -> Result<Levels, sqlx::Error> {
    let query = concat!(
        "SELECT (SELECT coalesce(max(queue_index), 0) FROM l1_events WHERE kind = 'queued') AS queued, ",
        committed!(),
        " AS committed,
                (SELECT coalesce(max(batch_number), 0) FROM l1_events WHERE kind = 'proven') AS proven"
    );
    let row = sqlx::query(query).fetch_one(connection).await?;
    Ok(Levels { queued: count(&row, "queued")?, committed: count(&row, "committed")?, proven: count(&row, "proven")? })
}

/// The block in which the contract was frozen, as followed; `None` if it was not.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn frozen_in(connection: &mut PgConnection) -> Result<Option<u64>, sqlx::Error> {
    let query = "SELECT min(block_number) AS block FROM l1_events WHERE kind = 'frozen'";
    count_or_null(&sqlx::query(query).fetch_one(connection).await?, "block")
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
