//! Reading rows: values that this program wrote, read back strictly. A value that it cannot have written is a decoding error, never a default.

use sheaf_protocol::amount::SlotId;
use sheaf_protocol::field::Word;
use sqlx::Row;
use sqlx::postgres::PgRow;

/// SQL that prints a `timestamptz` as RFC 3339 in UTC with microseconds.
macro_rules! rfc3339 {
    ($expression:literal) => {
        concat!("to_char(", $expression, " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    };
}
pub(crate) use rfc3339;

/// SQL of the number of the last batch that L1 holds, as followed.
macro_rules! committed {
    () => {
        "coalesce((SELECT batch_number FROM l1_events WHERE kind IN ('committed', 'reverted')
            ORDER BY block_number DESC, log_index DESC LIMIT 1), 0)::bigint"
    };
}
pub(crate) use committed;

/// A 64-bit counter as Postgres stores it; ours are far below the sign bit.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn count(row: &PgRow, column: &str) -> Result<u64, sqlx::Error> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| unreadable(column))
}

pub(crate) fn count_or_null(row: &PgRow, column: &str) -> Result<Option<u64>, sqlx::Error> {
    row.try_get::<Option<i64>, _>(column)?.map(|value| u64::try_from(value).map_err(|_| unreadable(column))).transpose()
}

pub(crate) fn word(row: &PgRow, column: &str) -> Result<Word, sqlx::Error> {
    row.try_get::<&[u8], _>(column)?.try_into().map_err(|_| unreadable(column))
}

pub(crate) fn word_or_null(row: &PgRow, column: &str) -> Result<Option<Word>, sqlx::Error> {
    row.try_get::<Option<&[u8]>, _>(column)?.map(|bytes| bytes.try_into().map_err(|_| unreadable(column))).transpose()
}

pub(crate) fn unreadable(column: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: "not a value that this program writes".into() }
}

/// A slot id, `None` for NULL.
pub(crate) fn slot_or_null(row: &PgRow, column: &str) -> Result<Option<SlotId>, sqlx::Error> {
    let slot = row.try_get::<Option<i32>, _>(column)?;
    slot.map(|slot| u32::try_from(slot).map(SlotId).map_err(|_| unreadable(column))).transpose()
}

/// Words one after the other.
pub(crate) fn words(row: &PgRow, column: &str) -> Result<Vec<Word>, sqlx::Error> {
    let (words, rest) = row.try_get::<&[u8], _>(column)?.as_chunks::<32>();
    if rest.is_empty() { Ok(words.to_vec()) } else { Err(unreadable(column)) }
}
