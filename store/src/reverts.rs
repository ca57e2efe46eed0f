//! A committed batch that nobody proves is taken back from L1, and what is in it sealed again.
//!
//! ```text
//!  ask ──> open ──L1 reverts to the batch before, finality_depth deep──> due ──take_back, reseal: one transaction──> undone
//!            └── abandon: it is proven after all, goes to work again, or is off L1 anyhow                        └─> archived as it was
//! ```
//! At most one is open, and while it is nothing about its batch or a later one is sent to L1. Settlement asks (or an operator), sends and
//! abandons; the sequencer takes back and seals again, before it does anything else.

use crate::fleet::{Because, note};
use crate::rows::{count, int, unreadable};
use serde_json::json;
use sheaf_protocol::amount::SlotId;
use sheaf_protocol::batch::ProverInput;
use sheaf_protocol::ledger::Slot;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgTransaction, Row};
use std::collections::BTreeMap;

/// A batch that is to be taken back, with all after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revert {
    /// Row id.
    pub id: i64,
    /// The batch.
    pub batch: u64,
    /// The circuit that it is sealed in.
    pub circuit: u32,
    /// Place of its first member in the order of acceptance.
    pub first_seq: u64,
    /// And of its last.
    pub last_seq: u64,
    /// Who asked: `settlement`, or the name of an operator's token.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// What became of the wish to take a batch back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It will be.
    Yes,
    /// There is no such job.
    NoSuchJob,
    /// Its job is in this state: somebody may prove it yet, or has.
    NotParked(String),
    /// It is in this state: there is nothing to take back.
    NotCommitted(String),
    /// This batch is being taken back: one at a time.
    AnotherIsOpen(u64),
    /// Its members were tried in every circuit of the deployment.
    NoCircuitLeft,
}

/// An open revert and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub revert: Revert,
    /// True as long as the batch's job is parked.
    pub is_parked: bool,
    /// True once its L1 transaction is signed, unless that failed or was lost.
    pub is_sent: bool,
}

/// A batch to seal what was taken back into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its circuit.
    pub circuit: u32,
    /// The last member's place in the order of acceptance.
    pub last_seq: u64,
}

/// The open revert, on a condition.
macro_rules! open_query {
    ($columns:literal, $condition:literal) => {
        concat!(
            "SELECT r.id, r.batch, r.circuit, r.first_seq, r.last_seq, r.actor, r.reason",
            $columns,
            " FROM reverts r WHERE r.undone_at IS NULL AND r.abandoned_at IS NULL",
            $condition
        )
    };
}

fn read_revert(row: &PgRow) -> Result<Revert, sqlx::Error> {
    Ok(Revert {
        id: row.try_get("id")?,
        batch: count(row, "batch")?,
        circuit: row.try_get::<i32, _>("circuit")?.cast_unsigned(),
        first_seq: count(row, "first_seq")?,
        last_seq: count(row, "last_seq")?,
        actor: row.try_get("actor")?,
        reason: row.try_get("reason")?,
    })
}

/// The open revert.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn open(connection: &mut PgConnection) -> Result<Option<Revert>, sqlx::Error> {
    let row = sqlx::query(open_query!("", "")).fetch_optional(connection).await?;
    row.as_ref().map(read_revert).transpose()
}

/// The open revert and where it stands.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn standing(connection: &mut PgConnection) -> Result<Option<Standing>, sqlx::Error> {
    let query = open_query!(
        ", EXISTS (SELECT 1 FROM proof_jobs j WHERE j.batch_number = r.batch AND j.state = 'parked') AS is_parked,
           EXISTS (SELECT 1 FROM l1_transactions t WHERE t.kind = 'revert' AND t.batch_from = r.batch AND t.created_at >= r.asked_at
                       AND t.state IN ('signed', 'sent', 'mined')) AS is_sent",
        ""
    );
    let Some(row) = sqlx::query(query).fetch_optional(connection).await? else { return Ok(None) };
    Ok(Some(Standing { revert: read_revert(&row)?, is_parked: row.try_get("is_parked")?, is_sent: row.try_get("is_sent")? }))
}

/// The open revert, if L1 has carried it out in a block that no reorganisation above the finality depth takes back. It is our own transaction that
/// counts: an older revert to the same batch says nothing about this one.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn due(connection: &mut PgConnection) -> Result<Option<Revert>, sqlx::Error> {
    let query = open_query!(
        "",
        " AND EXISTS (SELECT 1 FROM l1_transactions t JOIN l1_events e ON e.tx_hash = t.hash
              WHERE t.kind = 'revert' AND t.batch_from = r.batch AND t.created_at >= r.asked_at
                AND e.kind = 'reverted' AND e.batch_number = r.batch - 1
                AND e.block_number <= (SELECT max(number) FROM l1_blocks) + 1 - (SELECT finality_depth FROM deployment))"
    );
    let row = sqlx::query(query).fetch_optional(connection).await?;
    row.as_ref().map(read_revert).transpose()
}

/// The first batch above `proven`, up to `committed`, whose job is parked.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn first_parked(connection: &mut PgConnection, proven: u64, committed: u64) -> Result<Option<u64>, sqlx::Error> {
    let query = "SELECT min(batch_number) AS batch FROM proof_jobs WHERE state = 'parked' AND batch_number > $1 AND batch_number <= $2";
    crate::rows::count_or_null(&sqlx::query(query).bind(int(proven)).bind(int(committed)).fetch_one(connection).await?, "batch")
}

/// Circuits in which members of a batch were sealed and not proven: its own, and those of batches that were taken back.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn tried(connection: &mut PgConnection, batch: u64) -> Result<Vec<u32>, sqlx::Error> {
    let query = "WITH members AS (
                     SELECT min(seq) AS first, max(seq) AS last FROM (
                         SELECT seq FROM transactions WHERE batch_number = $1 UNION ALL SELECT seq FROM queue_taken WHERE batch_number = $1) m)
                 SELECT circuit FROM batches WHERE number = $1
                 UNION SELECT r.circuit FROM reverts r, members m WHERE r.undone_at IS NOT NULL AND r.first_seq <= m.last AND r.last_seq >= m.first
                 ORDER BY circuit";
    let circuits: Vec<i32> = sqlx::query_scalar(query).bind(int(batch)).fetch_all(connection).await?;
    Ok(circuits.into_iter().map(i32::cast_unsigned).collect())
}

/// Asks for a batch to be taken back, of a deployment with so many circuits; written into the audit log if it will be.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn ask(tx: &mut PgTransaction<'_>, batch: u64, circuits: u32, because: Because<'_>) -> Result<Asked, sqlx::Error> {
    let query = "SELECT j.state, s.state AS batch_state FROM proof_jobs j JOIN batch_status s ON s.number = j.batch_number
                 WHERE j.batch_number = $1 FOR UPDATE OF j";
    let Some(job) = sqlx::query(query).bind(int(batch)).fetch_optional(&mut **tx).await? else { return Ok(Asked::NoSuchJob) };
    let (state, batch_state): (String, String) = (job.try_get("state")?, job.try_get("batch_state")?);
    if state != "parked" {
        return Ok(Asked::NotParked(state));
    }
    if batch_state != "committed" {
        return Ok(Asked::NotCommitted(batch_state));
    }
    if let Some(other) = open(tx).await? {
        return Ok(Asked::AnotherIsOpen(other.batch));
    }
    let tried = tried(tx, batch).await?;
    if (1..=circuits).all(|circuit| tried.contains(&circuit)) {
        return Ok(Asked::NoCircuitLeft);
    }
    let query = "INSERT INTO reverts (batch, circuit, first_seq, last_seq, actor, reason)
                 SELECT $1, (SELECT circuit FROM batches WHERE number = $1), min(seq), max(seq), $2, $3 FROM (
                     SELECT seq FROM transactions WHERE batch_number = $1 UNION ALL SELECT seq FROM queue_taken WHERE batch_number = $1) m";
    sqlx::query(query).bind(int(batch)).bind(because.actor).bind(because.reason).execute(&mut **tx).await?;
    note(tx, "prover.reseal", because, json!({ "batch": batch.to_string(), "state": state })).await?;
    Ok(Asked::Yes)
}

/// Gives a revert up before L1 has carried it out.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn abandon(connection: &mut PgConnection, id: i64, because: &str) -> Result<(), sqlx::Error> {
    let query = "UPDATE reverts SET abandoned_at = now(), abandoned_because = $2 WHERE id = $1 AND undone_at IS NULL AND abandoned_at IS NULL";
    sqlx::query(query).bind(id).bind(because).execute(connection).await.map(drop)
}

/// Undoes what the batch and all after it have left: their jobs and proofs go, the slots hold again what they held before, and all of it is archived.
/// The members stay with their batches until [`reseal`], in the same transaction.
///
/// # Errors
/// [`sqlx::Error`]; also if the stored input of a batch is not readable.
pub async fn take_back(tx: &mut PgTransaction<'_>, revert: &Revert) -> Result<(), sqlx::Error> {
    let first = int(revert.batch);
    // whoever has one of these jobs in hand finishes that first, and nobody takes one meanwhile
    sqlx::query("SELECT 1 FROM proof_jobs WHERE batch_number >= $1 ORDER BY batch_number FOR UPDATE").bind(first).fetch_all(&mut **tx).await?;
    restore_slots(tx, revert.batch).await?;
    let archive = "INSERT INTO reverted_batches
                       (revert, number, circuit, seal_reason, sealed_at, last_seq, record, new_root, input, fencing_token, attempts)
                   SELECT $1, b.number, b.circuit, b.seal_reason, b.sealed_at,
                          greatest((SELECT max(seq) FROM transactions WHERE batch_number = b.number),
                                   (SELECT max(seq) FROM queue_taken WHERE batch_number = b.number)),
                          b.record, b.new_root, b.input, coalesce(j.fencing_token, 0),
                          coalesce((SELECT jsonb_agg(to_jsonb(a) ORDER BY a.fencing_token) FROM proof_attempts a
                                    WHERE a.batch_number = b.number), '[]')
                   FROM batches b LEFT JOIN proof_jobs j ON j.batch_number = b.number WHERE b.number >= $2";
    sqlx::query(archive).bind(revert.id).bind(first).execute(&mut **tx).await?;
    for delete in [
        "DELETE FROM proofs WHERE batch_number >= $1",
        "DELETE FROM proof_attempts WHERE batch_number >= $1",
        "DELETE FROM proof_jobs WHERE batch_number >= $1",
    ] {
        sqlx::query(delete).bind(first).execute(&mut **tx).await?;
    }
    Ok(())
}

/// From the last computed batch down to `first`, one at a time: an input may be large.
async fn restore_slots(tx: &mut PgTransaction<'_>, first: u64) -> Result<(), sqlx::Error> {
    let query = "SELECT number FROM batches WHERE number >= $1 AND computed_at IS NOT NULL ORDER BY number DESC";
    let numbers: Vec<i64> = sqlx::query_scalar(query).bind(int(first)).fetch_all(&mut **tx).await?;
    let mut before = BTreeMap::<SlotId, Slot>::new();
    for number in numbers {
        let query = "SELECT input FROM batches WHERE number = $1";
        let Json(input): Json<ProverInput> = sqlx::query_scalar(query).bind(number).fetch_one(&mut **tx).await?;
        before.extend(input.batch.accounts.into_iter().filter(|account| account.old != account.new).map(|account| (account.id, account.old)));
    }
    let (empty, held): (Vec<_>, Vec<_>) = before.into_iter().partition(|(_, slot)| slot.is_empty());
    let empty: Vec<i32> = empty.into_iter().map(|(id, _)| id.0.cast_signed()).collect();
    sqlx::query("DELETE FROM slots WHERE idx = ANY($1)").bind(empty).execute(&mut **tx).await?;
    crate::slots::upsert(tx, first - 1, &held).await
}

/// Seals what was taken back again: the members of the batch in `parts`, the later batches as they were, with numbers behind those. None of them is
/// computed. Returns how many batches there are now in place of those taken back.
///
/// # Errors
/// [`sqlx::Error`]; also if the parts do not end with the batch's last member.
pub async fn reseal(tx: &mut PgTransaction<'_>, revert: &Revert, parts: &[Part]) -> Result<u64, sqlx::Error> {
    if parts.last().map(|part| part.last_seq) != Some(revert.last_seq) {
        return Err(unreadable("last_seq"));
    }
    let query = "SELECT number, circuit, last_seq FROM reverted_batches WHERE revert = $1 AND number > $2 ORDER BY number";
    let later = sqlx::query(query).bind(revert.id).bind(int(revert.batch)).fetch_all(&mut **tx).await?;
    let mut sealed: Vec<(u64, Part)> = parts.iter().map(|part| (revert.batch, *part)).collect();
    for row in &later {
        let circuit = row.try_get::<i32, _>("circuit")?.cast_unsigned();
        sealed.push((count(row, "number")?, Part { circuit, last_seq: count(row, "last_seq")? }));
    }
    let numbers: Vec<i64> = (int(revert.batch)..).take(sealed.len()).collect();
    // no time is after that of a later batch
    let query = "INSERT INTO batches (number, circuit, seal_reason, sealed_at)
                 SELECT s.number, s.circuit, CASE a.number WHEN $5 THEN 'resealed' ELSE a.seal_reason END, a.sealed_at
                 FROM unnest($2::bigint[], $3::integer[], $4::bigint[]) s (number, circuit, was)
                 JOIN reverted_batches a ON a.revert = $1 AND a.number = s.was
                 ORDER BY s.number
                 ON CONFLICT (number) DO UPDATE SET circuit = excluded.circuit, seal_reason = excluded.seal_reason, sealed_at = excluded.sealed_at,
                     computed_at = NULL, record = NULL, new_root = NULL, opening = NULL, claim_e = NULL, claim_z = NULL, claim_delta = NULL,
                     posted_data = NULL, choices = NULL, ops_words = NULL, input = NULL";
    sqlx::query(query)
        .bind(revert.id)
        .bind(&numbers)
        .bind(sealed.iter().map(|(_, part)| part.circuit.cast_signed()).collect::<Vec<_>>())
        .bind(sealed.iter().map(|(was, _)| int(*was)).collect::<Vec<_>>())
        .bind(int(revert.batch))
        .execute(&mut **tx)
        .await?;
    let lasts: Vec<i64> = sealed.iter().map(|(_, part)| int(part.last_seq)).collect();
    let firsts: Vec<i64> = std::iter::once(int(revert.first_seq)).chain(lasts.iter().map(|last| last + 1)).take(lasts.len()).collect();
    for members in [
        "UPDATE transactions m SET batch_number = s.number FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) s (number, first, last)
         WHERE m.seq BETWEEN s.first AND s.last AND m.batch_number <> s.number",
        "UPDATE queue_taken m SET batch_number = s.number FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) s (number, first, last)
         WHERE m.seq BETWEEN s.first AND s.last AND m.batch_number <> s.number",
    ] {
        sqlx::query(members).bind(&numbers).bind(&firsts).bind(&lasts).execute(&mut **tx).await?;
    }
    sqlx::query("UPDATE reverts SET undone_at = now() WHERE id = $1").bind(revert.id).execute(&mut **tx).await?;
    let detail = json!({ "batch": revert.batch.to_string(), "parts": parts.len(), "later": later.len() });
    note(tx, "sequencer.reseal", Because { actor: "sequencer", reason: &revert.reason }, detail).await?;
    Ok(sealed.len() as u64)
}
