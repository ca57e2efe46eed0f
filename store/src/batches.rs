//! Batches: sealed with their members, computed with everything that L1 and the prover need, read with their derived state.

use crate::queue::{Taken, read_taken};
use crate::rows::{committed, count, count_or_null, int, rfc3339, slot_or_null, unreadable, word, word_or_null, words};
use crate::transactions::{L1Facts, read_l1};
use sheaf_protocol::amount::{SlotId, TokenId};
use sheaf_protocol::field::Word;
use sheaf_protocol::ledger::Slot;
use sheaf_protocol::ops::{SignedOp, TxHash};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgTransaction, Row};

/// A batch to seal: everything accepted and not sealed up to `last_seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The next number.
    pub number: u64,
    /// Its circuit.
    pub circuit: u32,
    /// `size`, `age`, `cost` or `asked`.
    pub reason: &'static str,
    /// The last member's place in the order of acceptance.
    pub last_seq: u64,
}

/// What the committer made of a batch.
#[derive(Clone, Debug)]
pub struct Computed {
    /// The batch.
    pub number: u64,
    /// The 18 words whose hash L1 stores.
    pub record: Vec<Word>,
    /// State root after the batch.
    pub new_root: Word,
    /// W.
    pub opening: [Word; 2],
    /// E, Z, Delta.
    pub claims: [Word; 3],
    /// The bytes posted on L1.
    pub posted_data: Vec<u8>,
    /// One word per queue entry taken.
    pub choices: Vec<Word>,
    /// Used words of P_ops.
    pub ops_words: Vec<Word>,
    /// What the prover needs.
    pub input: serde_json::Value,
    /// Every changed slot, afterwards.
    pub slots: Vec<(SlotId, Slot)>,
}

/// Where the last computed batch left the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The batch.
    pub number: u64,
    /// State root after it.
    pub root: Word,
    /// Queue digest after it.
    pub queue_digest: Word,
}

/// Something accepted, for replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A transaction.
    Transaction {
        /// Its place in the order of acceptance.
        seq: u64,
        /// Its hash.
        hash: TxHash,
        /// The operation and its signature.
        op: SignedOp,
        /// The slot of a register's account.
        account: Option<SlotId>,
    },
    /// A queue entry.
    Taken(Taken),
}

impl Member {
    /// Its place in the order of acceptance.
    pub fn seq(&self) -> u64 {
        match self {
            Self::Transaction { seq, .. } => *seq,
            Self::Taken(taken) => taken.seq,
        }
    }
}

/// A sealed batch whose committer has not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncomputed {
    /// Its number.
    pub number: u64,
    /// Its circuit.
    pub circuit: u32,
}

/// A batch with its derived state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its number.
    pub number: u64,
    /// Its circuit.
    pub circuit: u32,
    /// `sealed`, `committed`, `proven` or `final`.
    pub state: String,
    /// Why it was sealed.
    pub seal_reason: String,
    /// RFC 3339.
    pub sealed_at: String,
    /// RFC 3339, once the committer is done.
    pub computed_at: Option<String>,
    /// When a proof was stored, RFC 3339.
    pub proof_stored_at: Option<String>,
    /// State root after it, once computed.
    pub root: Option<Word>,
    /// Queue entries taken, once computed.
    pub taken: Option<u64>,
    /// Signed operations in it.
    pub transactions: u64,
    /// True while it is being taken back from L1 to be sealed again, or one before it.
    pub taken_back: bool,
    /// What L1 says.
    pub l1: L1Facts,
}

/// How far each kind of progress has come: the position of a reader of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Highest seq of an accepted transaction.
    pub accepted: u64,
    /// Highest sealed batch.
    pub sealed: u64,
    /// Highest committed batch.
    pub committed: u64,
    /// Highest proven batch.
    pub proven: u64,
    /// Highest final batch.
    pub finalised: u64,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Number.
    pub id: TokenId,
    /// Its contract; `None` for the native coin.
    pub erc20: Option<[u8; 20]>,
}

/// How much there is of each thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Accepted transactions.
    pub transactions: u64,
    /// Of these, not sealed.
    pub unsealed: u64,
    /// Queue entries taken.
    pub taken: u64,
    /// Queue entries known from L1.
    pub queued: u64,
}

/// Writes the batch and its membership; returns how many transactions and queue entries became members.
///
/// # Errors
/// [`sqlx::Error`]; also if the number is not the next one.
pub async fn seal(tx: &mut PgTransaction<'_>, seal: &Seal) -> Result<(u64, u64), sqlx::Error> {
    sqlx::query("INSERT INTO batches (number, circuit, seal_reason) VALUES ($1, $2, $3)")
        .bind(int(seal.number))
        .bind(seal.circuit as i32)
        .bind(seal.reason)
        .execute(&mut **tx)
        .await?;
    let members = "UPDATE transactions SET batch_number = $1 WHERE batch_number IS NULL AND seq <= $2";
    let transactions = sqlx::query(members).bind(int(seal.number)).bind(int(seal.last_seq)).execute(&mut **tx).await?.rows_affected();
    let members = "UPDATE queue_taken SET batch_number = $1 WHERE batch_number IS NULL AND seq <= $2";
    let taken = sqlx::query(members).bind(int(seal.number)).bind(int(seal.last_seq)).execute(&mut **tx).await?.rows_affected();
    Ok((transactions, taken))
}

/// Writes what the committer made of a batch, the slots it changed and its proof job.
///
/// # Errors
/// [`sqlx::Error`]; [`sqlx::Error::RowNotFound`] if the batch does not wait for it.
pub async fn store_computed(tx: &mut PgTransaction<'_>, computed: &Computed) -> Result<(), sqlx::Error> {
    let query = "UPDATE batches SET computed_at = now(), record = $2, new_root = $3, opening = $4, claim_e = $5, claim_z = $6, claim_delta = $7,
                     posted_data = $8, choices = $9, ops_words = $10, input = $11 WHERE number = $1 AND computed_at IS NULL";
    let done = sqlx::query(query)
        .bind(int(computed.number))
        .bind(computed.record.concat())
        .bind(computed.new_root.as_slice())
        .bind(computed.opening.concat())
        .bind(computed.claims[0].as_slice())
        .bind(computed.claims[1].as_slice())
        .bind(computed.claims[2].as_slice())
        .bind(&computed.posted_data)
        .bind(computed.choices.concat())
        .bind(computed.ops_words.concat())
        .bind(Json(&computed.input))
        .execute(&mut **tx)
        .await?;
    if done.rows_affected() != 1 {
        return Err(sqlx::Error::RowNotFound);
    }
    crate::slots::upsert(tx, computed.number, &computed.slots).await?;
    // leases of a batch of this number that was taken back from L1 stay behind all of this one
    let job = "INSERT INTO proof_jobs (batch_number, fencing_token)
               SELECT $1, coalesce(max(fencing_token), 0) FROM reverted_batches WHERE number = $1";
    sqlx::query(job).bind(int(computed.number)).execute(&mut **tx).await.map(drop)
}

/// What the committer made of a batch, without the slots it changed; `None` if it was not computed.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn computed(connection: &mut PgConnection, number: u64) -> Result<Option<Computed>, sqlx::Error> {
    let query = "SELECT record, new_root, opening, claim_e, claim_z, claim_delta, posted_data, choices, ops_words, input
                 FROM batches WHERE number = $1 AND computed_at IS NOT NULL";
    let Some(row) = sqlx::query(query).bind(int(number)).fetch_optional(connection).await? else { return Ok(None) };
    let opening = words(&row, "opening")?.try_into().map_err(|_| unreadable("opening"))?;
    Ok(Some(Computed {
        number,
        record: words(&row, "record")?,
        new_root: word(&row, "new_root")?,
        opening,
        claims: [word(&row, "claim_e")?, word(&row, "claim_z")?, word(&row, "claim_delta")?],
        posted_data: row.try_get("posted_data")?,
        choices: words(&row, "choices")?,
        ops_words: words(&row, "ops_words")?,
        input: row.try_get::<Json<serde_json::Value>, _>("input")?.0,
        slots: Vec::new(),
    }))
}

/// Where the last computed batch left the state, `None` before the first.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn position(connection: &mut PgConnection) -> Result<Option<Position>, sqlx::Error> {
    let query = "SELECT number, new_root, queue_digest FROM batches WHERE computed_at IS NOT NULL ORDER BY number DESC LIMIT 1";
    let row = sqlx::query(query).fetch_optional(connection).await?;
    row.map(|row| Ok(Position { number: count(&row, "number")?, root: word(&row, "new_root")?, queue_digest: word(&row, "queue_digest")? }))
        .transpose()
}

/// Sealed batches whose committer has not finished, in order.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn uncomputed(connection: &mut PgConnection) -> Result<Vec<Uncomputed>, sqlx::Error> {
    let query = "SELECT number, circuit FROM batches WHERE computed_at IS NULL ORDER BY number";
    let rows = sqlx::query(query).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(Uncomputed { number: count(row, "number")?, circuit: row.try_get::<i32, _>("circuit")? as u32 })).collect()
}

/// The two halves of a batch. `IS NOT DISTINCT FROM` would serve both cases in one text, but no index serves it.
macro_rules! member_query {
    (transactions, $condition:literal) => {
        concat!("SELECT seq, hash, record, account_slot FROM transactions WHERE batch_number ", $condition, " ORDER BY seq")
    };
    (taken, $condition:literal) => {
        concat!("SELECT queue_index, seq, slot, entry FROM queue_taken WHERE batch_number ", $condition, " ORDER BY seq")
    };
}

/// Members of a batch, or with `None` whatever is not sealed, in order of acceptance.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn members(connection: &mut PgConnection, number: Option<u64>) -> Result<Vec<Member>, sqlx::Error> {
    let (transactions, taken) = match number {
        Some(number) => {
            let (transactions, taken) = (member_query!(transactions, "= $1"), member_query!(taken, "= $1"));
            let transactions = sqlx::query(transactions).bind(int(number)).fetch_all(&mut *connection).await?;
            (transactions, sqlx::query(taken).bind(int(number)).fetch_all(connection).await?)
        }
        None => {
            let (transactions, taken) = (member_query!(transactions, "IS NULL"), member_query!(taken, "IS NULL"));
            (sqlx::query(transactions).fetch_all(&mut *connection).await?, sqlx::query(taken).fetch_all(connection).await?)
        }
    };
    let mut members = transactions.iter().map(read_member).collect::<Result<Vec<_>, _>>()?;
    for row in &taken {
        members.push(Member::Taken(read_taken(row)?));
    }
    members.sort_by_key(Member::seq);
    Ok(members)
}

fn read_member(row: &PgRow) -> Result<Member, sqlx::Error> {
    let op = SignedOp::from_record(row.try_get("record")?).map_err(|_| unreadable("record"))?;
    Ok(Member::Transaction { seq: count(row, "seq")?, hash: TxHash(word(row, "hash")?), op, account: slot_or_null(row, "account_slot")? })
}

macro_rules! status_query {
    ($tail:literal) => {
        concat!(
            "SELECT s.number, s.circuit, s.state, s.seal_reason, s.commit_tx, s.commit_block, s.prove_tx, s.prove_block, b.new_root, b.taken,
                 (SELECT count(*) FROM transactions t WHERE t.batch_number = s.number) AS transactions,
                 EXISTS (SELECT 1 FROM reverts r WHERE r.undone_at IS NULL AND r.abandoned_at IS NULL AND r.batch <= s.number) AS taken_back, ",
            rfc3339!("s.sealed_at"),
            " AS sealed, ",
            rfc3339!("s.computed_at"),
            " AS computed, ",
            rfc3339!("s.proof_stored_at"),
            " AS proof_stored, ",
            rfc3339!("s.committed_at"),
            " AS committed, ",
            rfc3339!("s.proven_at"),
            " AS proven, ",
            rfc3339!("s.final_at"),
            " AS final FROM batch_status s JOIN batches b ON b.number = s.number ",
            $tail
        )
    };
}

/// A batch with its state, `None` if there is none of that number.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn status(connection: &mut PgConnection, number: u64) -> Result<Option<Status>, sqlx::Error> {
    let row = sqlx::query(status_query!("WHERE s.number = $1")).bind(int(number)).fetch_optional(connection).await?;
    row.as_ref().map(read_status).transpose()
}

/// Batches below `before`, newest first, at most `limit`.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn page(connection: &mut PgConnection, before: u64, limit: u64) -> Result<Vec<Status>, sqlx::Error> {
    let query = status_query!("WHERE s.number < $1 ORDER BY s.number DESC LIMIT $2");
    sqlx::query(query).bind(int(before)).bind(int(limit)).fetch_all(connection).await?.iter().map(read_status).collect()
}

fn read_status(row: &PgRow) -> Result<Status, sqlx::Error> {
    Ok(Status {
        number: count(row, "number")?,
        circuit: row.try_get::<i32, _>("circuit")? as u32,
        state: row.try_get("state")?,
        seal_reason: row.try_get("seal_reason")?,
        sealed_at: row.try_get("sealed")?,
        computed_at: row.try_get("computed")?,
        proof_stored_at: row.try_get("proof_stored")?,
        root: word_or_null(row, "new_root")?,
        taken: count_or_null(row, "taken")?,
        transactions: count(row, "transactions")?,
        taken_back: row.try_get("taken_back")?,
        l1: read_l1(row)?,
    })
}

/// How far everything has come now. A reorganisation of L1 lowers the last three, a revert the third.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn marks(connection: &mut PgConnection) -> Result<Marks, sqlx::Error> {
    let query = concat!(
        "SELECT coalesce((SELECT max(seq) FROM transactions), 0)::bigint AS accepted,
                coalesce((SELECT max(number) FROM batches), 0)::bigint AS sealed, ",
        committed!(),
        " AS committed,
                coalesce((SELECT max(batch_number) FROM l1_events WHERE kind = 'proven'), 0)::bigint AS proven,
                coalesce((SELECT max(batch_number) FROM l1_events WHERE kind = 'proven'
                    AND block_number <= (SELECT max(number) FROM l1_blocks) + 1 - (SELECT finality_depth FROM deployment)), 0)::bigint AS finalised"
    );
    let row = sqlx::query(query).fetch_one(connection).await?;
    Ok(Marks {
        accepted: count(&row, "accepted")?,
        sealed: count(&row, "sealed")?,
        committed: count(&row, "committed")?,
        proven: count(&row, "proven")?,
        finalised: count(&row, "finalised")?,
    })
}

/// Every token that can be deposited.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn tokens(connection: &mut PgConnection) -> Result<Vec<Token>, sqlx::Error> {
    let rows = sqlx::query("SELECT id, erc20 FROM tokens ORDER BY id").fetch_all(connection).await?;
    rows.iter().map(read_token).collect()
}

/// Tokens listed in blocks at least `depth` deep (a block at the head is 1 deep).
///
/// # Errors
/// [`sqlx::Error`].
pub async fn tokens_at_depth(connection: &mut PgConnection, depth: u64) -> Result<Vec<TokenId>, sqlx::Error> {
    let query = "SELECT id, erc20 FROM tokens WHERE listed_block IS NULL OR listed_block <= (SELECT max(number) FROM l1_blocks) + 1 - $1 ORDER BY id";
    let rows = sqlx::query(query).bind(int(depth)).fetch_all(connection).await?;
    rows.iter().map(|row| read_token(row).map(|token| token.id)).collect()
}

fn read_token(row: &PgRow) -> Result<Token, sqlx::Error> {
    let id = u16::try_from(row.try_get::<i32, _>("id")?).map_err(|_| unreadable("id"))?;
    let erc20 = row.try_get::<Option<&[u8]>, _>("erc20")?.map(|bytes| bytes.try_into().map_err(|_| unreadable("erc20"))).transpose()?;
    Ok(Token { id: TokenId(id), erc20 })
}

/// How much there is of each thing.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn counts(connection: &mut PgConnection) -> Result<Counts, sqlx::Error> {
    // transactions and queue entries share one order without gaps, so neither has to be counted
    let query = "SELECT greatest((SELECT max(seq) FROM transactions), (SELECT max(seq) FROM queue_taken), 0)::bigint
                            - coalesce((SELECT max(queue_index) FROM queue_taken), 0)::bigint AS transactions,
                        (SELECT count(*) FROM transactions WHERE batch_number IS NULL) AS unsealed,
                        coalesce((SELECT max(queue_index) FROM queue_taken), 0)::bigint AS taken,
                        coalesce((SELECT max(queue_index) FROM l1_events WHERE kind = 'queued'), 0)::bigint AS queued";
    let row = sqlx::query(query).fetch_one(connection).await?;
    Ok(Counts {
        transactions: count(&row, "transactions")?,
        unsealed: count(&row, "unsealed")?,
        taken: count(&row, "taken")?,
        queued: count(&row, "queued")?,
    })
}
