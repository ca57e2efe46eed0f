//! The fleet as operators see it: workers, jobs with their attempts, recent faults; what they order is in `orders`.

mod orders;

pub(crate) use orders::note;
pub use orders::{Because, Done, Order, drain, order};

use crate::rows::{count, count_or_null, rfc3339, unreadable};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

/// Jobs of one answer at most.
pub const MAX_JOBS: u32 = 500;
/// Faults and actions of an overview.
const RECENT: i64 = 20;
/// Workers of an overview, those seen last first.
const MAX_WORKERS: i64 = 500;
/// Attempts of a job that are shown, the newest first.
const MAX_ATTEMPTS: i64 = 100;
/// Workers that have not been seen for so long are forgotten.
const FORGET_AFTER: &str = "7 days";

/// A worker as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRow {
    /// Its name.
    pub name: String,
    /// The memory that it may use, as it says.
    pub memory_mb: u64,
    /// The circuits whose keys it holds, as it says.
    pub circuits: Vec<u32>,
    /// RFC 3339.
    pub first_seen: String,
    /// RFC 3339.
    pub last_seen: String,
    /// Seconds since then.
    pub silent_s: u64,
    /// RFC 3339; since when it gets no more jobs.
    pub drain_since: Option<String>,
    /// Proofs of its that were stored.
    pub proven: u64,
    /// Attempts of its that failed.
    pub failed: u64,
}

/// A job with its newest attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// Batch number.
    pub batch: u64,
    /// Circuit id.
    pub circuit: u32,
    /// `waiting`, `leased`, `expired`, `parked`, `proven`.
    pub state: String,
    /// Leases so far.
    pub attempts: u64,
    /// RFC 3339.
    pub created_at: String,
    /// Seconds since then.
    pub age_s: u64,
    /// Who has it; null unless leased or expired.
    pub worker: Option<String>,
    /// Milliseconds until the lease ends, below 0 if it has.
    pub lease_ms: Option<i64>,
    /// What the worker was doing at its last heartbeat.
    pub phase: Option<String>,
    /// How far it was with that.
    pub percent: Option<u8>,
    /// RFC 3339.
    pub heartbeat_at: Option<String>,
    /// Reason and detail of the last failure.
    pub last_error: Option<String>,
    /// RFC 3339.
    pub proven_at: Option<String>,
    /// Who proved it.
    pub proven_by: Option<String>,
    /// True while this batch is being taken back from L1 to be sealed again, or one before it.
    pub taken_back: bool,
}

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRow {
    /// Batch number.
    pub batch: u64,
    /// The fencing token.
    pub lease: u64,
    /// Whose.
    pub worker: String,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339; null while it runs.
    pub ended_at: Option<String>,
    /// `proven`, `failed`, `expired`, `released`, `cancelled`; null while it runs.
    pub outcome: Option<String>,
    /// At the last heartbeat.
    pub phase: Option<String>,
    /// At the last heartbeat.
    pub percent: Option<u8>,
    /// Stable name of why it ended without a proof.
    pub reason: Option<String>,
    /// What the worker or the gateway said.
    pub detail: Option<String>,
    /// Milliseconds, of the proof that was stored.
    pub witness_ms: Option<u64>,
    /// Milliseconds, of the proof that was stored.
    pub prove_ms: Option<u64>,
}

/// What an operator did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionRow {
    /// RFC 3339.
    pub at: String,
    /// Name of the operator's token; `settlement`, which asks for a new seal by itself.
    pub actor: String,
    /// `prover.retry`, `prover.park`, `prover.cancel`, `prover.reseal`, `prover.drain`, `prover.resume`.
    pub action: String,
    /// About which batch.
    pub batch: Option<u64>,
    /// About which worker.
    pub worker: Option<String>,
    /// Why, as the operator says.
    pub reason: String,
}

/// Notes that a worker asks for work. Returns whether it is to get none.
///
/// # Errors
/// Only those of the database.
pub async fn greet(conn: &mut PgConnection, name: &str, memory_mb: u64, circuits: &[u32]) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO prover_workers (name, memory_mb, circuits) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET memory_mb = $2, circuits = $3, last_seen = now() RETURNING drain_since IS NOT NULL",
    )
    .bind(name)
    .bind(i64::try_from(memory_mb).unwrap_or(i64::MAX))
    .bind(circuits.iter().map(|circuit| circuit.cast_signed()).collect::<Vec<i32>>())
    .fetch_one(conn)
    .await
}

/// True if the worker is to get no more jobs.
///
/// # Errors
/// Only those of the database.
pub async fn is_draining(conn: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    let query = "SELECT EXISTS (SELECT 1 FROM prover_workers WHERE name = $1 AND drain_since IS NOT NULL)";
    sqlx::query_scalar(query).bind(name).fetch_one(conn).await
}

/// True if an operator took this lease from this worker.
///
/// # Errors
/// Only those of the database.
pub async fn is_cancelled(conn: &mut PgConnection, batch: u64, lease: i64, worker: &str) -> Result<bool, sqlx::Error> {
    let query = "SELECT EXISTS (SELECT 1 FROM proof_attempts
                 WHERE batch_number = $1 AND fencing_token = $2 AND worker = $3 AND outcome = 'cancelled')";
    sqlx::query_scalar(query).bind(batch.cast_signed()).bind(lease).bind(worker).fetch_one(conn).await
}

/// How many workers were seen in the last minute, and how many of these are drained.
///
/// # Errors
/// Only those of the database.
pub async fn present(conn: &mut PgConnection) -> Result<(u64, u64), sqlx::Error> {
    let query = "SELECT count(*) AS seen, count(drain_since) AS drained FROM prover_workers WHERE last_seen > now() - interval '1 minute'";
    let row = sqlx::query(query).fetch_one(conn).await?;
    Ok((count(&row, "seen")?, count(&row, "drained")?))
}

/// Forgets workers that have been gone for long, drained ones too: one that comes back after so long is a new one.
///
/// # Errors
/// Only those of the database.
pub async fn forget(conn: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let query = "DELETE FROM prover_workers WHERE last_seen < now() - $1::text::interval";
    Ok(sqlx::query(query).bind(FORGET_AFTER).execute(conn).await?.rows_affected())
}

/// Workers, those seen last first.
///
/// # Errors
/// Only those of the database.
pub async fn workers(conn: &mut PgConnection) -> Result<Vec<WorkerRow>, sqlx::Error> {
    read_workers(conn, None).await
}

/// One worker.
///
/// # Errors
/// Only those of the database.
pub async fn worker(conn: &mut PgConnection, name: &str) -> Result<Option<WorkerRow>, sqlx::Error> {
    Ok(read_workers(conn, Some(name)).await?.pop())
}

async fn read_workers(conn: &mut PgConnection, name: Option<&str>) -> Result<Vec<WorkerRow>, sqlx::Error> {
    let query = concat!(
        "SELECT name, memory_mb, circuits, ",
        rfc3339!("first_seen"),
        " AS first_seen, ",
        rfc3339!("last_seen"),
        " AS last_seen, greatest(extract(epoch FROM now() - w.last_seen), 0)::bigint AS silent_s, ",
        rfc3339!("drain_since"),
        " AS drain_since, coalesce(proven, 0) AS proven, coalesce(failed, 0) AS failed
         FROM prover_workers w LEFT JOIN (
             SELECT worker, count(*) FILTER (WHERE outcome = 'proven') AS proven, count(*) FILTER (WHERE outcome = 'failed') AS failed
             FROM proof_attempts WHERE started_at > now() - interval '1 day' GROUP BY worker) a ON a.worker = w.name
         WHERE $2::text IS NULL OR name = $2 ORDER BY w.last_seen DESC, name LIMIT $1"
    );
    let rows = sqlx::query(query).bind(MAX_WORKERS).bind(name).fetch_all(conn).await?;
    rows.iter().map(read_worker).collect()
}

fn read_worker(row: &PgRow) -> Result<WorkerRow, sqlx::Error> {
    Ok(WorkerRow {
        name: row.try_get("name")?,
        memory_mb: count(row, "memory_mb")?,
        circuits: row.try_get::<Vec<i32>, _>("circuits")?.into_iter().map(i32::cast_unsigned).collect(),
        first_seen: row.try_get("first_seen")?,
        last_seen: row.try_get("last_seen")?,
        silent_s: count(row, "silent_s")?,
        drain_since: row.try_get("drain_since")?,
        proven: count(row, "proven")?,
        failed: count(row, "failed")?,
    })
}

/// What is asked of a list of jobs.
#[derive(Clone, Copy, Debug)]
pub struct JobFilter<'a> {
    /// `waiting`, `leased`, `expired`, `parked`, `proven`; `open` is everything but the last; all if `None`.
    pub state: Option<&'a str>,
    /// Only batches below this one.
    pub before: Option<u64>,
    /// Only batches above this one, and the oldest of them first.
    pub after: Option<u64>,
    /// Only this batch.
    pub batch: Option<u64>,
    /// At most so many.
    pub limit: u32,
}

/// Jobs that fulfil a condition, of those that a [`JobFilter`] asks for.
macro_rules! jobs_query {
    ($which:literal, $order:literal) => {
        concat!(
            "SELECT s.*, a.phase, a.percent, ",
            rfc3339!("a.heartbeat_at"),
            " AS heartbeat_at, (SELECT concat_ws(': ', f.reason, nullif(f.detail, '')) FROM proof_attempts f
                 WHERE f.batch_number = s.batch_number AND f.outcome IN ('failed', 'cancelled') ORDER BY f.fencing_token DESC LIMIT 1) AS last_error, ",
            rfc3339!("p.proven_at"),
            " AS proven_at, v.worker AS proven_by,
                 EXISTS (SELECT 1 FROM reverts r WHERE r.undone_at IS NULL AND r.abandoned_at IS NULL AND r.batch <= s.batch_number) AS taken_back
             FROM (SELECT j.batch_number, b.circuit, j.fencing_token, j.worker, ",
            rfc3339!("j.created_at"),
            " AS created_at, greatest(extract(epoch FROM now() - j.created_at), 0)::bigint AS age_s,
                 (extract(epoch FROM j.lease_expires_at - now()) * 1000)::bigint AS lease_ms,
                 CASE WHEN j.state = 'queued' THEN 'waiting' WHEN j.state = 'leased' AND j.lease_expires_at <= now() THEN 'expired'
                      ELSE j.state END AS state
                 FROM proof_jobs j JOIN batches b ON b.number = j.batch_number
                 WHERE j.batch_number < $2 AND j.batch_number > $3 AND ",
            $which,
            ") s
             LEFT JOIN proof_attempts a ON a.batch_number = s.batch_number AND a.fencing_token = s.fencing_token
             LEFT JOIN proofs p ON p.batch_number = s.batch_number
             LEFT JOIN proof_attempts v ON v.batch_number = p.batch_number AND v.fencing_token = p.fencing_token
             WHERE $1::text IS NULL OR s.state = $1 OR ($1 = 'open' AND s.state <> 'proven')
             ORDER BY s.batch_number ",
            $order,
            " LIMIT $4"
        )
    };
}

/// The newest jobs first, unless those after a batch are asked for.
///
/// # Errors
/// Only those of the database.
pub async fn jobs(conn: &mut PgConnection, filter: &JobFilter<'_>) -> Result<Vec<JobRow>, sqlx::Error> {
    // bounds that are always there: with `$2 IS NULL OR` a plan kept for many calls looks at every job
    let (after, before) = match filter.batch.map(u64::cast_signed) {
        Some(batch) => (batch - 1, batch.saturating_add(1)),
        None => (filter.after.map_or(-1, u64::cast_signed), filter.before.map_or(i64::MAX, u64::cast_signed)),
    };
    // of the many that are proven nothing is looked at where none is asked for
    let query = match (filter.state, filter.after) {
        (None | Some("proven"), None) => jobs_query!("true", "DESC"),
        (None | Some("proven"), Some(_)) => jobs_query!("true", "ASC"),
        (Some(_), None) => jobs_query!("j.state <> 'proven'", "DESC"),
        (Some(_), Some(_)) => jobs_query!("j.state <> 'proven'", "ASC"),
    };
    let rows = sqlx::query(query).bind(filter.state).bind(before).bind(after).bind(i64::from(filter.limit.min(MAX_JOBS))).fetch_all(conn).await?;
    rows.iter().map(read_job).collect()
}

fn read_job(row: &PgRow) -> Result<JobRow, sqlx::Error> {
    Ok(JobRow {
        batch: count(row, "batch_number")?,
        circuit: row.try_get::<i32, _>("circuit")?.cast_unsigned(),
        state: row.try_get("state")?,
        attempts: count(row, "fencing_token")?,
        created_at: row.try_get("created_at")?,
        age_s: count(row, "age_s")?,
        worker: row.try_get("worker")?,
        lease_ms: row.try_get("lease_ms")?,
        phase: row.try_get("phase")?,
        percent: percent(row)?,
        heartbeat_at: row.try_get("heartbeat_at")?,
        last_error: row.try_get::<Option<String>, _>("last_error")?.filter(|error| !error.is_empty()),
        proven_at: row.try_get("proven_at")?,
        proven_by: row.try_get("proven_by")?,
        taken_back: row.try_get("taken_back")?,
    })
}

fn percent(row: &PgRow) -> Result<Option<u8>, sqlx::Error> {
    row.try_get::<Option<i16>, _>("percent")?.map(|percent| u8::try_from(percent).map_err(|_| unreadable("percent"))).transpose()
}

/// The columns of an [`AttemptRow`].
macro_rules! attempts_query {
    () => {
        concat!(
            "SELECT a.batch_number, a.fencing_token, a.worker, a.outcome, a.phase, a.percent, a.reason, a.detail, ",
            rfc3339!("a.started_at"),
            " AS started_at, ",
            rfc3339!("a.ended_at"),
            " AS ended_at, p.witness_ms::bigint AS witness_ms, p.prove_ms::bigint AS prove_ms
             FROM proof_attempts a LEFT JOIN proofs p ON p.batch_number = a.batch_number AND p.fencing_token = a.fencing_token "
        )
    };
}

/// The attempts of a batch, the newest first.
///
/// # Errors
/// Only those of the database.
pub async fn attempts(conn: &mut PgConnection, batch: u64) -> Result<Vec<AttemptRow>, sqlx::Error> {
    let query = concat!(attempts_query!(), "WHERE a.batch_number = $1 ORDER BY a.fencing_token DESC LIMIT $2");
    let rows = sqlx::query(query).bind(batch.cast_signed()).bind(MAX_ATTEMPTS).fetch_all(conn).await?;
    rows.iter().map(read_attempt).collect()
}

/// The last attempts that ended without a proof for a bad reason, the newest first.
///
/// # Errors
/// Only those of the database.
pub async fn faults(conn: &mut PgConnection) -> Result<Vec<AttemptRow>, sqlx::Error> {
    let query = concat!(attempts_query!(), "WHERE a.outcome IN ('failed', 'expired', 'cancelled') ORDER BY a.ended_at DESC LIMIT $1");
    let rows = sqlx::query(query).bind(RECENT).fetch_all(conn).await?;
    rows.iter().map(read_attempt).collect()
}

fn read_attempt(row: &PgRow) -> Result<AttemptRow, sqlx::Error> {
    Ok(AttemptRow {
        batch: count(row, "batch_number")?,
        lease: count(row, "fencing_token")?,
        worker: row.try_get("worker")?,
        started_at: row.try_get("started_at")?,
        ended_at: row.try_get("ended_at")?,
        outcome: row.try_get("outcome")?,
        phase: row.try_get("phase")?,
        percent: percent(row)?,
        reason: row.try_get("reason")?,
        detail: row.try_get("detail")?,
        witness_ms: count_or_null(row, "witness_ms")?,
        prove_ms: count_or_null(row, "prove_ms")?,
    })
}

/// The database's account of all jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Jobs there are.
    pub jobs: u64,
    /// Of these, in the state `proven`.
    pub proven: u64,
    /// Proofs stored.
    pub proofs: u64,
    /// Leases given.
    pub attempts: u64,
    /// Jobs of which more than one attempt ended with the proof.
    pub proven_twice: u64,
}

/// Counts jobs, proofs and attempts.
///
/// # Errors
/// Only those of the database.
pub async fn account(conn: &mut PgConnection) -> Result<Account, sqlx::Error> {
    let query = "SELECT (SELECT count(*) FROM proof_jobs) AS jobs, (SELECT count(*) FROM proof_jobs WHERE state = 'proven') AS proven,
                        (SELECT count(*) FROM proofs) AS proofs, (SELECT count(*) FROM proof_attempts) AS attempts,
                        (SELECT count(*) FROM (SELECT batch_number FROM proof_attempts WHERE outcome = 'proven'
                                               GROUP BY batch_number HAVING count(*) > 1) twice) AS proven_twice";
    let row = sqlx::query(query).fetch_one(conn).await?;
    Ok(Account {
        jobs: count(&row, "jobs")?,
        proven: count(&row, "proven")?,
        proofs: count(&row, "proofs")?,
        attempts: count(&row, "attempts")?,
        proven_twice: count(&row, "proven_twice")?,
    })
}

/// What operators did, the newest first: about a batch, or the last things about the fleet.
///
/// # Errors
/// Only those of the database.
pub async fn actions(conn: &mut PgConnection, batch: Option<u64>) -> Result<Vec<ActionRow>, sqlx::Error> {
    let query = concat!(
        "SELECT ",
        rfc3339!("at"),
        " AS at, actor, action, (detail ->> 'batch')::bigint AS batch, detail ->> 'worker' AS worker, coalesce(detail ->> 'reason', '') AS reason
         FROM audit_log WHERE action LIKE 'prover.%' AND ($1::text IS NULL OR detail ->> 'batch' = $1) ORDER BY id DESC LIMIT $2"
    );
    let rows = sqlx::query(query).bind(batch.map(|batch| batch.to_string())).bind(RECENT).fetch_all(conn).await?;
    rows.iter().map(read_action).collect()
}

fn read_action(row: &PgRow) -> Result<ActionRow, sqlx::Error> {
    Ok(ActionRow {
        at: row.try_get("at")?,
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        batch: count_or_null(row, "batch")?,
        worker: row.try_get("worker")?,
        reason: row.try_get("reason")?,
    })
}
