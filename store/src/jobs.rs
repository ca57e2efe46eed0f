//! The prover queue: one job a batch, leases with fencing tokens, attempts, proofs. All times are the database's.
//!
//! ```text
//! queued ──claim──> leased ──store_proof──> proven
//!    ^                │  │                    ^
//!    ├──fail──────────┤  └─(expired: claimable again, as if queued)
//!    │                └──fail, too many workers, or park──> parked ──store_proof──┘
//!    └──────────an operator: retry, see `fleet`───────────────┘
//! ```
//!
//! The fencing token of a job counts its leases; only the newest one can extend the lease or give it back, which it can also after the
//! lease has expired as long as nobody else has claimed the job. A proof may be stored under any lease that ever was.
//! Whether a proof is valid is the caller's business.

use sheaf_protocol::amount::Address;
use sheaf_protocol::batch::ProverInput;
use sheaf_protocol::field::Word;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgTransaction, Row};
use std::time::Duration;

/// Words of a record: fourteen of the header, C_q, y_da, y_ops.
pub const RECORD_WORDS: usize = 18;

/// Who asks for a job, and under which terms.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRules<'a> {
    /// Name of the worker.
    pub worker: &'a str,
    /// Circuits it can prove.
    pub circuits: &'a [u32],
    /// How long the lease lasts without a heartbeat.
    pub lease: Duration,
    /// A job that this worker failed, or of which three of its leases ended without a word, is not given to it again for so long.
    pub same_worker_pause: Duration,
}

/// What a batch's proof must state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatement {
    /// Circuit id.
    pub circuit: u32,
    /// The deployment's chain.
    pub chain_id: u64,
    /// The deployment's contract.
    pub contract: Address,
    /// The deployment's domain.
    pub domain: Word,
    /// The committed record.
    pub record: [Word; RECORD_WORDS],
    /// E, Z, Delta.
    pub claims: [Word; 3],
}

/// A fresh lease.
#[derive(Debug)]
pub struct Claimed {
    /// Batch number.
    pub batch: u64,
    /// The fencing token.
    pub lease: i64,
    /// True if the job was taken from a lease that had ended without a word.
    pub expired: bool,
    /// What is to be proved; [`sqlx::Error::ColumnDecode`] if this program cannot read it.
    pub work: Result<Work, sqlx::Error>,
}

/// What a worker needs of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The JSON of a [`ProverInput`], as it is stored.
    pub input: String,
    /// What the proof must state.
    pub statement: JobStatement,
}

/// A verified proof.
#[derive(Clone, Debug)]
pub struct NewProof {
    /// Batch number.
    pub batch: u64,
    /// The lease under which it was made.
    pub lease: i64,
    /// A, B, C in the order of the contract.
    pub words: [Word; 8],
    /// Milliseconds for the assignment.
    pub witness_ms: u64,
    /// Milliseconds for the proof.
    pub prove_ms: u64,
}

/// What became of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Stored, its lease was the current one.
    InTime,
    /// Stored, its lease was no longer the current one.
    Late,
    /// The batch had a proof already; nothing changed.
    HadOne,
    /// There never was such a lease; nothing changed.
    NoSuchLease,
}

/// A worker gives up.
#[derive(Clone, Copy, Debug)]
pub struct NewFailure<'a> {
    /// Batch number.
    pub batch: u64,
    /// Its lease.
    pub lease: i64,
    /// Whose lease that must be.
    pub worker: &'a str,
    /// Stable name of the reason.
    pub reason: &'a str,
    /// For people, at most 1,000 bytes.
    pub detail: &'a str,
    /// False if it speaks neither against the job nor against the worker.
    pub counts: bool,
}

/// Jobs of one circuit without a proof.
#[derive(Clone, Debug, PartialEq)]
pub struct Depth {
    /// Circuit id.
    pub circuit: u32,
    /// Waiting for a worker.
    pub waiting: u64,
    /// Under a lease.
    pub leased: u64,
    /// Under an expired lease: as good as waiting.
    pub expired: u64,
    /// Waiting for an operator.
    pub parked: u64,
    /// Age of the oldest, in seconds.
    pub oldest_s: f64,
}

impl Depth {
    /// That of a circuit, which may have none.
    pub fn of(circuit: u32, depths: &[Self]) -> Self {
        let empty = Self { circuit, waiting: 0, leased: 0, expired: 0, parked: 0, oldest_s: 0.0 };
        depths.iter().find(|depth| depth.circuit == circuit).cloned().unwrap_or(empty)
    }
}

/// True if the worker was seen in the last minute, is not drained, and offers the circuit of the job's batch.
macro_rules! present {
    ($worker:literal, $job:literal) => {
        concat!(
            $worker,
            ".drain_since IS NULL AND ",
            $worker,
            ".last_seen > now() - interval '1 minute' AND (SELECT p.circuit = ANY(",
            $worker,
            ".circuits) FROM batches p WHERE p.number = ",
            $job,
            ".batch_number)"
        )
    };
}

/// True if the job's attempts since it was last sent back to work speak against it: $2 different workers failed, or $3 attempts failed or ended
/// without a word and whoever is present is among those that tried. So a fleet of one parks what it cannot do, and no bad worker of many parks
/// what the others would.
macro_rules! speaks_against {
    () => {
        concat!(
            "(SELECT count(DISTINCT a.worker) FILTER (WHERE a.outcome = 'failed') >= $2 OR (count(*) >= $3 AND NOT EXISTS (
                 SELECT 1 FROM prover_workers w WHERE ",
            present!("w", "j"),
            " AND NOT EXISTS (SELECT 1 FROM proof_attempts t WHERE t.batch_number = j.batch_number AND t.worker = w.name
                      AND t.outcome IN ('failed', 'expired') AND t.fencing_token > j.forgiven)))
             FROM proof_attempts a WHERE a.batch_number = j.batch_number AND a.outcome IN ('failed', 'expired') AND a.fencing_token > j.forgiven)"
        )
    };
}

/// When a job has had enough.
#[derive(Clone, Copy, Debug)]
pub struct ParkRules {
    /// So many different workers failed.
    pub failed_workers: u32,
    /// So many attempts failed or ended without a word, and nobody is there who has not tried.
    pub ends: u32,
}

/// One of the jobs that fulfil a condition, the oldest first, locked. A worker that failed it waits, so does one of which three leases of it ended
/// without a word; who failed last does not get it while another is there that could. It was not leased since the statement began: a locked row is read anew,
/// `seen` is not, and an attempt that began meanwhile would not be seen either and would never end.
///
/// `(SELECT ..)` and no joins: the open jobs are walked in their order until one is found, and nothing of those that are proven is read.
macro_rules! claimable {
    ($which:literal) => {
        concat!(
            "SELECT o.batch_number FROM proof_jobs o
             WHERE ",
            $which,
            " AND o.available_at <= now()
               AND (SELECT b.circuit = ANY($2) FROM batches b WHERE b.number = o.batch_number AND b.input IS NOT NULL)
               AND NOT EXISTS (SELECT 1 FROM prover_workers w WHERE w.name = $1 AND w.drain_since IS NOT NULL)
               AND (SELECT coalesce(sum(CASE a.outcome WHEN 'expired' THEN 1 ELSE 3 END), 0) FROM proof_attempts a
                    WHERE a.batch_number = o.batch_number AND a.worker = $1 AND a.fencing_token > o.forgiven
                    AND a.outcome IN ('failed', 'cancelled', 'expired') AND a.ended_at > now() - $4::bigint * interval '1 millisecond') < 3
               AND NOT (coalesce((SELECT a.worker = $1 AND a.outcome = 'failed' FROM proof_attempts a
                        WHERE a.batch_number = o.batch_number AND a.fencing_token > o.forgiven ORDER BY a.fencing_token DESC LIMIT 1), false)
                    AND EXISTS (SELECT 1 FROM prover_workers w WHERE w.name <> $1 AND ",
            present!("w", "o"),
            "))
               AND (SELECT seen.fencing_token FROM proof_jobs seen WHERE seen.batch_number = o.batch_number) = o.fencing_token
             ORDER BY o.batch_number LIMIT 1 FOR UPDATE SKIP LOCKED"
        )
    };
}

/// The columns of a [`JobStatement`].
macro_rules! statement_columns {
    () => {
        "b.circuit, d.chain_id, d.contract, d.domain, b.record, b.claim_e, b.claim_z, b.claim_delta"
    };
}

/// Leases the job that the worker holds already, else the oldest that it may have. The job's previous attempt ends as expired.
///
/// # Errors
/// Only those of the database.
pub async fn claim(conn: &mut PgConnection, rules: &ClaimRules<'_>) -> Result<Option<Claimed>, sqlx::Error> {
    // one statement: a fleet claims as often as the database answers, and every further question would be another wait of all who queue for it
    let query = concat!(
        "WITH held AS (",
        claimable!("o.state = 'leased' AND o.worker = $1"),
        "), oldest AS (",
        claimable!("NOT EXISTS (SELECT 1 FROM held) AND o.state IN ('queued', 'leased') AND (o.state = 'queued' OR o.lease_expires_at <= now())"),
        "), leased AS (
             UPDATE proof_jobs j SET state = 'leased', fencing_token = fencing_token + 1, worker = $1,
                 lease_expires_at = now() + $3::bigint * interval '1 millisecond'
             FROM (SELECT batch_number FROM held UNION ALL SELECT batch_number FROM oldest) next
             WHERE j.batch_number = next.batch_number
             RETURNING j.batch_number, j.fencing_token
         ), ended AS (
             UPDATE proof_attempts SET ended_at = now(), outcome = 'expired'
             WHERE batch_number = (SELECT batch_number FROM leased) AND ended_at IS NULL RETURNING batch_number
         ), started AS (
             INSERT INTO proof_attempts (batch_number, fencing_token, worker) SELECT batch_number, fencing_token, $1 FROM leased
         )
         SELECT l.batch_number, l.fencing_token, EXISTS (SELECT 1 FROM ended) AS expired, b.input::text AS input, ",
        statement_columns!(),
        " FROM leased l JOIN batches b ON b.number = l.batch_number LEFT JOIN deployment d ON true"
    );
    let row = sqlx::query(query)
        .bind(rules.worker)
        .bind(rules.circuits.iter().map(|circuit| circuit.cast_signed()).collect::<Vec<i32>>())
        .bind(milliseconds(rules.lease))
        .bind(milliseconds(rules.same_worker_pause))
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read_claimed).transpose()
}

fn read_claimed(row: &PgRow) -> Result<Claimed, sqlx::Error> {
    Ok(Claimed {
        batch: row.try_get::<i64, _>("batch_number")?.cast_unsigned(),
        lease: row.try_get("fencing_token")?,
        expired: row.try_get("expired")?,
        work: read_work(row),
    })
}

fn read_work(row: &PgRow) -> Result<Work, sqlx::Error> {
    let input: &str = row.try_get("input")?;
    ProverInput::from_json(input).map_err(|source| decode("input", source))?;
    Ok(Work { input: input.to_owned(), statement: read_statement(row)? })
}

/// How many attempts at a job failed or ended without a word since it was last sent back to work, if they speak against it.
///
/// # Errors
/// Only those of the database.
pub async fn spent(conn: &mut PgConnection, batch: u64, rules: ParkRules) -> Result<Option<u64>, sqlx::Error> {
    let query = concat!(
        "SELECT (SELECT count(*) FROM proof_attempts e WHERE e.batch_number = $1 AND e.outcome IN ('failed', 'expired') AND e.fencing_token > j.forgiven)
         FROM proof_jobs j WHERE j.batch_number = $1 AND ",
        speaks_against!()
    );
    let ends: Option<i64> = sqlx::query_scalar(query)
        .bind(batch.cast_signed())
        .bind(i64::from(rules.failed_workers))
        .bind(i64::from(rules.ends))
        .fetch_optional(conn)
        .await?;
    Ok(ends.map(i64::cast_unsigned))
}

/// A sign of life.
#[derive(Clone, Copy, Debug)]
pub struct Beat<'a> {
    /// Batch number.
    pub batch: u64,
    /// Its lease.
    pub lease: i64,
    /// Whose lease that must be.
    pub worker: &'a str,
    /// What it is doing.
    pub phase: &'a str,
    /// How far it is with that, 0 to 100.
    pub percent: Option<u8>,
}

/// Extends a lease and notes what its worker is doing. Returns whether the worker is to get no more jobs; `None` if the lease is not the
/// current one, or another worker's.
///
/// # Errors
/// Only those of the database.
pub async fn extend(conn: &mut PgConnection, beat: &Beat<'_>, duration: Duration) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar(
        "WITH extended AS (
             UPDATE proof_jobs SET lease_expires_at = now() + $3::bigint * interval '1 millisecond'
             WHERE batch_number = $1 AND fencing_token = $2 AND worker = $5 AND state = 'leased' RETURNING batch_number),
         seen AS (UPDATE prover_workers SET last_seen = now() WHERE name = $5)
         UPDATE proof_attempts SET phase = $4, percent = $6, heartbeat_at = now()
         WHERE batch_number = (SELECT batch_number FROM extended) AND fencing_token = $2
         RETURNING EXISTS (SELECT 1 FROM prover_workers WHERE name = $5 AND drain_since IS NOT NULL)",
    )
    .bind(beat.batch.cast_signed())
    .bind(beat.lease)
    .bind(milliseconds(duration))
    .bind(beat.phase)
    .bind(beat.worker)
    .bind(beat.percent.map(i16::from))
    .fetch_optional(conn)
    .await
}

/// What the proof of a batch must state; `None` if there is no such job.
///
/// # Errors
/// Only those of the database.
pub async fn statement(conn: &mut PgConnection, batch: u64) -> Result<Option<JobStatement>, sqlx::Error> {
    let query = concat!(
        "SELECT ",
        statement_columns!(),
        " FROM proof_jobs j JOIN batches b ON b.number = j.batch_number CROSS JOIN deployment d
         WHERE j.batch_number = $1 AND b.record IS NOT NULL"
    );
    let row = sqlx::query(query).bind(batch.cast_signed()).fetch_optional(conn).await?;
    row.as_ref().map(read_statement).transpose()
}

fn read_statement(row: &PgRow) -> Result<JobStatement, sqlx::Error> {
    Ok(JobStatement {
        circuit: row.try_get::<i32, _>("circuit")?.cast_unsigned(),
        chain_id: row.try_get::<i64, _>("chain_id")?.cast_unsigned(),
        contract: Address(row.try_get::<&[u8], _>("contract")?.try_into().map_err(|_| unreadable("contract"))?),
        domain: word(row, "domain")?,
        record: record(row)?,
        claims: [word(row, "claim_e")?, word(row, "claim_z")?, word(row, "claim_delta")?],
    })
}

fn record(row: &PgRow) -> Result<[Word; RECORD_WORDS], sqlx::Error> {
    let bytes: &[u8] = row.try_get("record")?;
    let (words, rest) = bytes.as_chunks::<32>();
    match words.try_into() {
        Ok(words) if rest.is_empty() => Ok(words),
        _ => Err(unreadable("record")),
    }
}

fn word(row: &PgRow, column: &str) -> Result<Word, sqlx::Error> {
    row.try_get::<&[u8], _>(column)?.try_into().map_err(|_| unreadable(column))
}

/// Stores a proof that the caller has verified, unless the batch has one.
///
/// # Errors
/// Only those of the database; [`sqlx::Error::RowNotFound`] if there is no such job.
pub async fn store_proof(tx: &mut PgTransaction<'_>, proof: &NewProof) -> Result<Stored, sqlx::Error> {
    let job = sqlx::query(
        "SELECT j.state, j.fencing_token = $2 AS current, EXISTS (
             SELECT 1 FROM proof_attempts a WHERE a.batch_number = j.batch_number AND a.fencing_token = $2) AS known
         FROM proof_jobs j WHERE j.batch_number = $1 FOR UPDATE",
    )
    .bind(proof.batch.cast_signed())
    .bind(proof.lease)
    .fetch_one(&mut **tx)
    .await?;
    let (state, current, known): (&str, bool, bool) = (job.try_get("state")?, job.try_get("current")?, job.try_get("known")?);
    match (state, known) {
        ("proven", _) => return Ok(Stored::HadOne),
        (_, false) => return Ok(Stored::NoSuchLease),
        _ => {}
    }
    insert_proof(tx, proof).await?;
    Ok(if current && state == "leased" { Stored::InTime } else { Stored::Late })
}

/// With the job locked: a claim that came first is over, so that its attempt is seen here and ends.
async fn insert_proof(tx: &mut PgTransaction<'_>, proof: &NewProof) -> Result<(), sqlx::Error> {
    sqlx::query(
        "WITH ended AS (
             UPDATE proof_attempts SET ended_at = now(), outcome = CASE WHEN fencing_token = $2 THEN 'proven' ELSE 'released' END
             WHERE batch_number = $1 AND (fencing_token = $2 OR ended_at IS NULL)
         ), stored AS (
             INSERT INTO proofs (batch_number, fencing_token, proof, witness_ms, prove_ms) VALUES ($1, $2, $3, $4, $5)
         )
         UPDATE proof_jobs SET state = 'proven', worker = NULL, lease_expires_at = NULL WHERE batch_number = $1",
    )
    .bind(proof.batch.cast_signed())
    .bind(proof.lease)
    .bind(proof.words.as_flattened())
    .bind(i32::try_from(proof.witness_ms).unwrap_or(i32::MAX))
    .bind(i32::try_from(proof.prove_ms).unwrap_or(i32::MAX))
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Ends a lease without a proof. The job waits again, or is parked if its attempts speak against it. Returns whether it is parked; `None` if the
/// lease is not the current one, or another worker's.
///
/// # Errors
/// Only those of the database.
pub async fn fail(tx: &mut PgTransaction<'_>, failure: &NewFailure<'_>, rules: ParkRules) -> Result<Option<bool>, sqlx::Error> {
    if !end_attempt(tx, failure).await? {
        return Ok(None);
    }
    let query = concat!(
        "UPDATE proof_jobs j SET worker = NULL, lease_expires_at = NULL, state = CASE WHEN ",
        speaks_against!(),
        " THEN 'parked' ELSE 'queued' END WHERE batch_number = $1 RETURNING state = 'parked'"
    );
    let parked = sqlx::query_scalar(query)
        .bind(failure.batch.cast_signed())
        .bind(i64::from(rules.failed_workers))
        .bind(i64::from(rules.ends))
        .fetch_one(&mut **tx)
        .await?;
    Ok(Some(parked))
}

/// Ends a lease of a job that no worker can do, and parks it at once. False if the lease is not the current one, or another worker's.
///
/// # Errors
/// Only those of the database.
pub async fn park(tx: &mut PgTransaction<'_>, failure: &NewFailure<'_>) -> Result<bool, sqlx::Error> {
    if !end_attempt(tx, failure).await? {
        return Ok(false);
    }
    let query = "UPDATE proof_jobs SET worker = NULL, lease_expires_at = NULL, state = 'parked' WHERE batch_number = $1";
    sqlx::query(query).bind(failure.batch.cast_signed()).execute(&mut **tx).await?;
    Ok(true)
}

async fn end_attempt(tx: &mut PgTransaction<'_>, failure: &NewFailure<'_>) -> Result<bool, sqlx::Error> {
    let query = "SELECT 1 FROM proof_jobs WHERE batch_number = $1 AND fencing_token = $2 AND worker = $3 AND state = 'leased' FOR UPDATE";
    let batch = failure.batch.cast_signed();
    let held = sqlx::query(query).bind(batch).bind(failure.lease).bind(failure.worker).fetch_optional(&mut **tx).await?;
    if held.is_none() {
        return Ok(false);
    }
    sqlx::query(
        "UPDATE proof_attempts SET ended_at = now(), outcome = $3, reason = $4, detail = $5
         WHERE batch_number = $1 AND fencing_token = $2",
    )
    .bind(batch)
    .bind(failure.lease)
    .bind(if failure.counts { "failed" } else { "released" })
    .bind(failure.reason)
    .bind(failure.detail)
    .execute(&mut **tx)
    .await?;
    Ok(true)
}

/// Jobs without a proof, by circuit; a circuit without any is absent.
///
/// # Errors
/// Only those of the database.
pub async fn depths(conn: &mut PgConnection) -> Result<Vec<Depth>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT b.circuit,
             count(*) FILTER (WHERE j.state = 'queued') AS waiting,
             count(*) FILTER (WHERE j.state = 'leased' AND j.lease_expires_at > now()) AS leased,
             count(*) FILTER (WHERE j.state = 'leased' AND j.lease_expires_at <= now()) AS expired,
             count(*) FILTER (WHERE j.state = 'parked') AS parked,
             extract(epoch FROM now() - min(j.created_at))::float8 AS oldest_s
         FROM proof_jobs j JOIN batches b ON b.number = j.batch_number
         WHERE j.state <> 'proven' GROUP BY b.circuit ORDER BY b.circuit",
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(read_depth).collect()
}

fn read_depth(row: &PgRow) -> Result<Depth, sqlx::Error> {
    let count = |column: &str| row.try_get::<i64, _>(column).map(i64::cast_unsigned);
    Ok(Depth {
        circuit: row.try_get::<i32, _>("circuit")?.cast_unsigned(),
        waiting: count("waiting")?,
        leased: count("leased")?,
        expired: count("expired")?,
        parked: count("parked")?,
        oldest_s: row.try_get("oldest_s")?,
    })
}

/// Renews the planner's statistics of all tables: for who writes thousands of jobs at once and does not wait until the server does it.
///
/// # Errors
/// Only those of the database.
pub async fn analyze(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("ANALYZE").execute(conn).await.map(drop)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn unreadable(column: &str) -> sqlx::Error {
    decode(column, "not a value that this program writes")
}

fn decode(column: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: source.into() }
}
