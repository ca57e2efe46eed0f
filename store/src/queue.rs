//! The L1 queue as the sequencer takes it: confirmed entries it has not taken yet, and those it has.

use crate::rows::{count, int, slot_or_null};
use sheaf_protocol::amount::SlotId;
use sheaf_protocol::header::QueueEntry;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};

/// An entry as the sequencer took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Index in the L1 queue, from 1.
    pub index: u64,
    /// Its place in the order of acceptance.
    pub seq: u64,
    /// The slot that a deposit credits, `None` = given back on L1; the slot that a request names.
    pub slot: Option<SlotId>,
    /// What L1 says.
    pub entry: QueueEntry,
}

/// Index of the last entry taken, 0 before the first.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn last_taken(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    count(&sqlx::query("SELECT coalesce(max(queue_index), 0) AS last FROM queue_taken").fetch_one(connection).await?, "last")
}

/// Entries after index `after` without a gap, in order, in blocks at least `depth` deep (a block at the head is 1 deep), at most `limit`.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn pending(connection: &mut PgConnection, after: u64, depth: u64, limit: u64) -> Result<Vec<(u64, QueueEntry)>, sqlx::Error> {
    let mut entries = crate::l1::queued(connection, after + 1, depth, limit).await?;
    let gapless = entries.iter().zip(after + 1..).take_while(|((index, _), expected)| index == expected).count();
    entries.truncate(gapless);
    Ok(entries)
}

/// Writes what was taken, in order.
///
/// # Errors
/// [`sqlx::Error`]; also if an index or a seq is there already, or the one before is missing.
pub async fn insert(connection: &mut PgConnection, taken: &[Taken]) -> Result<(), sqlx::Error> {
    let query = "INSERT INTO queue_taken (queue_index, seq, slot, entry)
                 SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::jsonb[])";
    let entries: Vec<Json<&QueueEntry>> = taken.iter().map(|taken| Json(&taken.entry)).collect();
    sqlx::query(query)
        .bind(taken.iter().map(|taken| int(taken.index)).collect::<Vec<_>>())
        .bind(taken.iter().map(|taken| int(taken.seq)).collect::<Vec<_>>())
        .bind(taken.iter().map(|taken| taken.slot.map(|slot| slot.0 as i32)).collect::<Vec<_>>())
        .bind(entries)
        .execute(connection)
        .await
        .map(drop)
}

pub(crate) fn read_taken(row: &sqlx::postgres::PgRow) -> Result<Taken, sqlx::Error> {
    Ok(Taken {
        index: count(row, "queue_index")?,
        seq: count(row, "seq")?,
        slot: slot_or_null(row, "slot")?,
        entry: row.try_get::<Json<QueueEntry>, _>("entry")?.0,
    })
}
