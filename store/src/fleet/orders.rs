//! What operators order about jobs and workers, each order with its row in the audit log, written in the same database transaction.
//!
//! ```text
//!   retry:   parked ──────────────> queued      attempts so far count no longer
//!   park:    queued, leased ──────> parked      a lease ends as cancelled
//!   cancel:  leased ──────────────> queued      the attempt ends as cancelled
//!   drain:   a worker that gets no more jobs, until it is resumed
//! ```

use serde_json::json;
use sqlx::PgTransaction;

/// An operator's order about a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send a parked job back to work.
    Retry,
    /// Give the job to nobody until it is retried.
    Park,
    /// Take the lease from its worker; the job waits for another.
    Cancel,
}

impl Order {
    /// Its name, without the `prover.` before it in the audit log.
    pub fn verb(self) -> &'static str {
        match self {
            Order::Retry => "retry",
            Order::Park => "park",
            Order::Cancel => "cancel",
        }
    }
}

/// Who orders, and why.
#[derive(Clone, Copy, Debug)]
pub struct Because<'a> {
    /// Name of the operator's token.
    pub actor: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// What became of an order about a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// As ordered.
    Yes {
        /// True if a worker had the job until now.
        was_leased: bool,
    },
    /// There is no such job.
    NoSuchJob,
    /// The job's state, in which this order means nothing; nothing changed.
    NotNow(String),
}

/// Does what an operator orders about a batch, and writes it into the audit log.
///
/// # Errors
/// Only those of the database.
pub async fn order(tx: &mut PgTransaction<'_>, order: Order, batch: u64, because: Because<'_>) -> Result<Done, sqlx::Error> {
    let query = "SELECT state FROM proof_jobs WHERE batch_number = $1 FOR UPDATE";
    let state: Option<String> = sqlx::query_scalar(query).bind(batch.cast_signed()).fetch_optional(&mut **tx).await?;
    let Some(state) = state else { return Ok(Done::NoSuchJob) };
    let update = match (order, state.as_str()) {
        (Order::Retry, "parked") => "UPDATE proof_jobs SET state = 'queued', available_at = now(), forgiven = fencing_token WHERE batch_number = $1",
        (Order::Park, "queued" | "leased") => {
            "UPDATE proof_jobs SET state = 'parked', worker = NULL, lease_expires_at = NULL WHERE batch_number = $1"
        }
        (Order::Cancel, "leased") => "UPDATE proof_jobs SET state = 'queued', worker = NULL, lease_expires_at = NULL WHERE batch_number = $1",
        _ => return Ok(Done::NotNow(state)),
    };
    end_lease(tx, batch, because).await?;
    sqlx::query(update).bind(batch.cast_signed()).execute(&mut **tx).await?;
    note(tx, &format!("prover.{}", order.verb()), because, json!({ "batch": batch.to_string(), "state": state })).await?;
    Ok(Done::Yes { was_leased: state == "leased" })
}

async fn end_lease(tx: &mut PgTransaction<'_>, batch: u64, because: Because<'_>) -> Result<(), sqlx::Error> {
    let query = "UPDATE proof_attempts SET ended_at = now(), outcome = 'cancelled', reason = 'cancelled', detail = $2
                 WHERE batch_number = $1 AND ended_at IS NULL";
    let detail = format!("{}: {}", because.actor, because.reason);
    sqlx::query(query).bind(batch.cast_signed()).bind(detail).execute(&mut **tx).await.map(drop)
}

/// Gives a worker no more jobs, or jobs again. False if there is no such worker; written into the audit log otherwise.
///
/// # Errors
/// Only those of the database.
pub async fn drain(tx: &mut PgTransaction<'_>, worker: &str, drain: bool, because: Because<'_>) -> Result<bool, sqlx::Error> {
    let query = "UPDATE prover_workers SET drain_since = CASE WHEN $2 THEN coalesce(drain_since, now()) END WHERE name = $1";
    let done = sqlx::query(query).bind(worker).bind(drain).execute(&mut **tx).await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    note(tx, if drain { "prover.drain" } else { "prover.resume" }, because, json!({ "worker": worker })).await?;
    Ok(true)
}

/// Writes a row of the audit log.
pub(crate) async fn note(tx: &mut PgTransaction<'_>, action: &str, because: Because<'_>, mut detail: serde_json::Value) -> Result<(), sqlx::Error> {
    detail["reason"] = because.reason.into();
    sqlx::query("INSERT INTO audit_log (actor, action, detail) VALUES ($1, $2, $3::jsonb)")
        .bind(because.actor)
        .bind(action)
        .bind(detail.to_string())
        .execute(&mut **tx)
        .await
        .map(drop)
}
