//! What is due on L1, and the inputs of the contract's calls: the same rows always give the same call.

use crate::rows::{count, int, unreadable, word, words};
use sheaf_protocol::field::Word;
use sheaf_protocol::header::{Choice, QueueEntry};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection, PgTransaction, Row};

/// How far batches are ready for L1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Highest batch whose commit can be posted, every one before it too.
    pub committable: u64,
    /// Highest batch that has a proof, every one before it down to the asked one too.
    pub provable: u64,
    /// Batches with withdrawals or exits whose credits are not all on L1, in order; the first [`MAX_UNSETTLED`].
    pub unsettled: Vec<u64>,
    /// Batches with queue entries to give back that are not given back on L1, in order; the first [`MAX_UNSETTLED`].
    pub unrefunded: Vec<u64>,
    /// Highest batch up to which every credit and refund is on L1, in blocks up to the asked one.
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

/// Most queue entries in one `settleRefunds` call: far below what a block holds, at about 35,000 gas each.
pub const MAX_REFUND_RUN: usize = 100;

/// An entry that is given back and not yet by a block up to `$3`, of batch b.
const OPEN_REFUND: &str = "EXISTS (SELECT 1 FROM queue_taken q WHERE q.batch_number = b.number AND q.slot IS NULL AND q.entry ->> 'kind' = 'deposit'
    AND NOT EXISTS (SELECT 1 FROM l1_events e WHERE e.kind = 'refunded' AND e.queue_index = q.queue_index AND e.block_number <= $3))";

/// Everything of a `settleRefunds` call.
#[derive(Clone, Debug)]
pub struct RefundInput {
    /// The committed record.
    pub record: RecordWords,
    /// What the operator chose for each queue entry.
    pub choices: Vec<Word>,
    /// Used words of P_ops in order.
    pub words: Vec<Word>,
    /// Index of the batch's last queue entry.
    pub last_entry: u64,
    /// Index of the first entry of the run.
    pub first: u64,
    /// A run of the batch's entries, from the first to the last to give back, at most [`MAX_REFUND_RUN`].
    pub entries: Vec<QueueEntry>,
}

/// Everything of a `revertTo` call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevertInput {
    /// The batch that stays the last one committed, 0 for none.
    pub to: u64,
    /// Its record; zeros for none.
    pub record: RecordWords,
    /// Index of its last queue entry, or that of the last batch before it with any.
    pub last_entry: u64,
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
    /// Withdrawals, then exits: what there is to credit, those that pay nothing included.
    pub items: u64,
}

/// How far batches are ready, given that L1 has proven `proven`, that nothing up to `settled` is left to credit, and that no block up to
/// `final_block` will change.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn ready(tx: &mut PgTransaction<'_>, proven: u64, settled: u64, final_block: u64) -> Result<Ready, sqlx::Error> {
    let query = format!(
        "WITH last AS (SELECT coalesce(max(number), 0) AS number FROM batches)
        SELECT coalesce((SELECT min(number) - 1 FROM batches WHERE computed_at IS NULL), last.number) AS committable,
               coalesce((SELECT min(b.number) - 1 FROM batches b LEFT JOIN proofs p ON p.batch_number = b.number
                         WHERE b.number > $1 AND p.batch_number IS NULL), last.number) AS provable,
               coalesce((SELECT min(b.number) - 1 FROM batches b WHERE b.number > $2 AND b.number <= $1 AND (b.credits > (
                             SELECT count(*) FROM l1_events e WHERE e.kind = 'credited' AND e.batch_number = b.number AND e.block_number <= $3)
                             OR {OPEN_REFUND})),
                        greatest($1, $2)) AS settled
        FROM last"
    );
    let row = sqlx::query(AssertSqlSafe(query)).bind(int(proven)).bind(int(settled)).bind(int(final_block)).fetch_one(&mut **tx).await?;
    Ok(Ready {
        committable: count(&row, "committable")?,
        provable: count(&row, "provable")?,
        settled: count(&row, "settled")?,
        unsettled: unsettled(tx, proven, settled).await?,
        unrefunded: unrefunded(tx, proven, settled).await?,
    })
}

/// Batches above `settled`, up to `proven`, with more to credit than L1 has credited.
async fn unsettled(tx: &mut PgTransaction<'_>, proven: u64, settled: u64) -> Result<Vec<u64>, sqlx::Error> {
    let query = "SELECT number FROM batches b WHERE number > $2 AND number <= $1 AND credits > (
                     SELECT count(*) FROM l1_events e WHERE e.kind = 'credited' AND e.batch_number = b.number)
                 ORDER BY number LIMIT $3";
    let rows = sqlx::query(query).bind(int(proven)).bind(int(settled)).bind(MAX_UNSETTLED).fetch_all(&mut **tx).await?;
    rows.iter().map(|row| count(row, "number")).collect()
}

/// Batches above `settled`, up to `proven`, with entries to give back that L1 has not given back.
async fn unrefunded(tx: &mut PgTransaction<'_>, proven: u64, settled: u64) -> Result<Vec<u64>, sqlx::Error> {
    let query = format!("SELECT number FROM batches b WHERE number > $2 AND number <= $1 AND {OPEN_REFUND} ORDER BY number LIMIT $4");
    let query = sqlx::query(AssertSqlSafe(query)).bind(int(proven)).bind(int(settled)).bind(i64::MAX).bind(MAX_UNSETTLED);
    query.fetch_all(&mut **tx).await?.iter().map(|row| count(row, "number")).collect()
}

/// Everything of the `commit` call of a batch, `None` if its committer has not finished.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn commit_input(tx: &mut PgTransaction<'_>, number: u64) -> Result<Option<CommitInput>, sqlx::Error> {
    let query = "SELECT record, choices, ops_words, posted_data FROM batches WHERE number = $1 AND computed_at IS NOT NULL";
    let Some(row) = sqlx::query(query).bind(int(number)).fetch_optional(&mut **tx).await? else { return Ok(None) };
    let query = "SELECT entry FROM queue_taken WHERE batch_number = $1 ORDER BY queue_index";
    let taken = sqlx::query_scalar::<_, Json<QueueEntry>>(query).bind(int(number)).fetch_all(&mut **tx).await?;
    let ops_words = words(&row, "ops_words")?;
    let choices = words(&row, "choices")?;
    let withdrawals = Items::of(&choices, ops_words.len()).withdrawals;
    Ok(Some(CommitInput {
        record: exactly(&row, "record")?,
        taken: taken.into_iter().map(|entry| entry.0).collect(),
        withdrawals: ops_words.as_chunks::<3>().0.iter().take(withdrawals).copied().collect(),
        choices,
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
    let query = "SELECT record, choices, ops_words FROM batches WHERE number = $1 AND computed_at IS NOT NULL";
    let Some(row) = sqlx::query(query).bind(int(number)).fetch_optional(connection).await? else { return Ok(None) };
    let (choices, words) = (words(&row, "choices")?, words(&row, "ops_words")?);
    let Items { withdrawals, exits } = Items::of(&choices, words.len());
    Ok(Some(SettleInput { record: exactly(&row, "record")?, items: (withdrawals + exits) as u64, choices, words }))
}

/// Everything of the next `settleRefunds` call of a batch, `None` if nothing of it is left to give back.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn refund_input(connection: &mut PgConnection, number: u64) -> Result<Option<RefundInput>, sqlx::Error> {
    let query = "SELECT queue_index, entry, slot IS NULL AND entry ->> 'kind' = 'deposit' AND NOT EXISTS (
                     SELECT 1 FROM l1_events e WHERE e.kind = 'refunded' AND e.queue_index = q.queue_index) AS due
                 FROM queue_taken q WHERE batch_number = $1 ORDER BY queue_index";
    let entries = sqlx::query(query).bind(int(number)).fetch_all(&mut *connection).await?;
    let due: Vec<bool> = entries.iter().map(|row| row.try_get("due")).collect::<Result<_, _>>()?;
    let (Some(from), Some(last)) = (due.iter().position(|due| *due), entries.last()) else { return Ok(None) };
    let Some(settle) = settle_input(connection, number).await? else { return Ok(None) };
    let run = &entries[from..entries.len().min(from + MAX_REFUND_RUN)];
    let length = due[from..from + run.len()].iter().rposition(|due| *due).map_or(0, |place| place + 1);
    let entry = |row: &PgRow| Ok(row.try_get::<Json<QueueEntry>, _>("entry")?.0);
    Ok(Some(RefundInput {
        record: settle.record,
        choices: settle.choices,
        words: settle.words,
        last_entry: count(last, "queue_index")?,
        first: count(&entries[from], "queue_index")?,
        entries: run[..length].iter().map(entry).collect::<Result<_, sqlx::Error>>()?,
    }))
}

/// Everything of the `revertTo` call that leaves `to` as the last batch committed; `None` if it was not computed.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn revert_input(connection: &mut PgConnection, to: u64) -> Result<Option<RevertInput>, sqlx::Error> {
    if to == 0 {
        return Ok(Some(RevertInput { to, record: [[0; 32]; 18], last_entry: 0 }));
    }
    let query = "SELECT record, coalesce((SELECT max(queue_index) FROM queue_taken WHERE batch_number <= $1), 0)::bigint AS last_entry
                 FROM batches WHERE number = $1 AND computed_at IS NOT NULL";
    let Some(row) = sqlx::query(query).bind(int(to)).fetch_optional(connection).await? else { return Ok(None) };
    Ok(Some(RevertInput { to, record: exactly(&row, "record")?, last_entry: count(&row, "last_entry")? }))
}

/// How many items of a batch `settle` looks at.
struct Items {
    withdrawals: usize,
    exits: usize,
}

impl Items {
    /// By its choices and the number of its used `P_ops` words: three for a withdrawal, exit or rotation, four for a deposit.
    fn of(choices: &[Word], words: usize) -> Self {
        let known = || choices.iter().filter_map(Choice::from_word);
        let deposits = known().filter(|choice| matches!(choice, Choice::Deposit(_))).count();
        let exits = known().filter(|choice| matches!(choice, Choice::Exit(..))).count();
        let rotations = known().filter(|choice| matches!(choice, Choice::Rotation(_))).count();
        Self { withdrawals: words.saturating_sub(4 * deposits + 3 * (exits + rotations)) / 3, exits }
    }
}

fn exactly<const N: usize>(row: &PgRow, column: &str) -> Result<[Word; N], sqlx::Error> {
    words(row, column)?.try_into().map_err(|_| unreadable(column))
}
