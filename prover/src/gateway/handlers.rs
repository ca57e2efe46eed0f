//! The routes. Each checks its input, asks the store one question, and says what happened.

use crate::gateway::auth::{Caller, identify};
use crate::gateway::body::Body;
use crate::gateway::statement::public_inputs;
use crate::gateway::{Gateway, GatewayError, operator};
use crate::metrics;
use crate::wire::fleet::{FleetOrder, JobOrder, JobState};
use crate::wire::{
    Accepted, Claim, Failure, FailureReason, Heartbeat, Job, JobHead, Lease, MAX_CIRCUITS, MAX_DETAIL_BYTES, MAX_WAIT_S, Outcome, PREFIX, Phase,
    ProblemBody, PublicWords, Released, Submission, WorkerOrder, is_worker_name,
};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use sheaf_protocol::field::Word;
use sheaf_protocol::manifest::HexWord;
use sheaf_store::fleet;
use sheaf_store::jobs::{self, Beat, ClaimRules, Claimed, JobStatement, NewFailure, NewProof, ParkRules, Stored, Work};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

/// A job is parked when so many of its leases failed or ended without a word, and nobody is there who has not tried it.
const MAX_ENDS: u32 = 10;

/// The gateway's part of the OpenAPI document.
#[derive(OpenApi)]
#[openapi(
    paths(
        claim,
        heartbeat,
        submit,
        fail,
        operator::status,
        operator::list,
        operator::detail,
        operator::order_job,
        operator::order_worker
    ),
    components(schemas(ProblemBody, Phase, FailureReason, Outcome, WorkerOrder, JobState, JobOrder, FleetOrder)),
    tags((name = "prover", description = "Work for prover workers."), (name = "operator", description = "The fleet, seen and steered.")),
    security(("token" = [])),
    modifiers(&TokenScheme)
)]
pub struct ApiDoc;

/// Declares the bearer token, a worker's or an operator's.
struct TokenScheme;

impl utoipa::Modify for TokenScheme {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

pub(super) fn router(gateway: Gateway) -> Router {
    let workers = Router::new()
        .route("/claim", post(claim))
        .route("/jobs/{batch}/heartbeat", post(heartbeat))
        .route("/jobs/{batch}/proof", post(submit))
        .route("/jobs/{batch}/failure", post(fail))
        .route_layer(from_fn_with_state(gateway.clone(), let_in));
    let routes = workers.merge(operator::routes()).route("/openapi.json", get(openapi));
    Router::new().nest(PREFIX, routes.fallback(not_found).method_not_allowed_fallback(not_found).with_state(gateway))
}

/// The description of these routes, for anybody.
async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(ApiDoc::openapi())
}

/// The token is checked before anything of the body is read.
async fn let_in(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    match identify(request.headers(), &gateway.shared.config) {
        Ok(Caller::Worker) => next.run(request).await,
        Ok(Caller::Operator(_)) => GatewayError::WrongRole("a worker").into_response(),
        Err(error) => error.into_response(),
    }
}

async fn not_found() -> GatewayError {
    GatewayError::NotFound
}

/// Claims the oldest job among the offered circuits, waiting up to `wait_s` for one.
#[utoipa::path(post, path = "/prover/v1/claim", tag = "prover", request_body = Claim, responses(
    (status = 200, description = "A job under a fresh lease", body = Job),
    (status = 204, description = "Nothing to do"),
    (status = 401, description = "`token_missing`, `token_wrong`", body = ProblemBody),
    (status = 409, description = "`draining`: no more jobs; `key_mismatch`, `unknown_circuit`, `too_little_memory`", body = ProblemBody),
    (status = 422, description = "`invalid_field`", body = ProblemBody),
))]
async fn claim(State(gateway): State<Gateway>, Body(claim): Body<Claim>) -> Result<Response, GatewayError> {
    let circuits = gateway.check_claim(&claim)?;
    let job = gateway.wait_for_job(&claim, &circuits).await?;
    metrics::claimed(job.is_some());
    Ok(job.map_or_else(|| StatusCode::NO_CONTENT.into_response(), |job| ([(CONTENT_TYPE, "application/json")], job).into_response()))
}

/// Extends the lease.
#[utoipa::path(post, path = "/prover/v1/jobs/{batch}/heartbeat", tag = "prover", request_body = Heartbeat,
    params(("batch" = u64, Path, description = "Batch number")), responses(
    (status = 200, description = "Extended, or an order to drop the job", body = Lease),
    (status = 409, description = "`stale_lease`", body = ProblemBody),
))]
async fn heartbeat(
    State(gateway): State<Gateway>,
    batch: Result<Path<u64>, PathRejection>,
    Body(beat): Body<Heartbeat>,
) -> Result<Json<Lease>, GatewayError> {
    let (batch, lease_ms) = (batch_number(batch)?, gateway.shared.config.lease_ms);
    check_worker(&beat.worker)?;
    let mut connection = gateway.shared.pool.acquire().await?;
    if beat.percent.is_some_and(|percent| percent > 100) {
        return Err(GatewayError::invalid("percent", "more than all", "send 0 to 100, or nothing"));
    }
    let Heartbeat { lease, worker, progress, percent } = &beat;
    let sign = Beat { batch, lease: *lease, worker, phase: progress.name(), percent: *percent };
    match jobs::extend(&mut connection, &sign, Duration::from_millis(lease_ms)).await? {
        Some(drains) => Ok(Json(Lease { lease_ms, order: if drains { WorkerOrder::Drain } else { WorkerOrder::Continue } })),
        None if fleet::is_cancelled(&mut connection, batch, *lease, worker).await? => Ok(Json(Lease { lease_ms: 0, order: WorkerOrder::Cancel })),
        None => Err(GatewayError::StaleLease(batch)),
    }
}

/// Takes a proof. A valid one is stored if the batch has none, however late it comes.
#[utoipa::path(post, path = "/prover/v1/jobs/{batch}/proof", tag = "prover", request_body = Submission,
    params(("batch" = u64, Path, description = "Batch number")), responses(
    (status = 200, description = "The proof is valid and the batch has one", body = Accepted),
    (status = 404, description = "`unknown_job`", body = ProblemBody),
    (status = 409, description = "`stale_lease`: there never was such a lease", body = ProblemBody),
    (status = 422, description = "`proof_invalid`, `invalid_field`", body = ProblemBody),
))]
async fn submit(
    State(gateway): State<Gateway>,
    batch: Result<Path<u64>, PathRejection>,
    Body(submission): Body<Submission>,
) -> Result<Json<Accepted>, GatewayError> {
    let batch = batch_number(batch)?;
    check_worker(&submission.worker)?;
    if !gateway.verifies(batch, submission.proof.map(|word| word.0)).await? {
        gateway.refuse(batch, &submission).await?;
        return Err(GatewayError::ProofInvalid(batch));
    }
    let outcome = gateway.store(batch, &submission).await?;
    metrics::accepted(outcome, &submission.timings);
    tracing::info!(batch, worker = submission.worker, prove_ms = submission.timings.prove_ms, ?outcome, "proof accepted");
    Ok(Json(Accepted { outcome }))
}

/// Gives a job back with a reason.
#[utoipa::path(post, path = "/prover/v1/jobs/{batch}/failure", tag = "prover", request_body = Failure,
    params(("batch" = u64, Path, description = "Batch number")), responses(
    (status = 200, description = "The lease is given back", body = Released),
    (status = 409, description = "`stale_lease`", body = ProblemBody),
))]
async fn fail(
    State(gateway): State<Gateway>,
    batch: Result<Path<u64>, PathRejection>,
    Body(failure): Body<Failure>,
) -> Result<Json<Released>, GatewayError> {
    let batch = batch_number(batch)?;
    check_worker(&failure.worker)?;
    let parked = gateway.give_up(batch, &failure).await?;
    parked.map(|parked| Json(Released { parked })).ok_or(GatewayError::StaleLease(batch))
}

pub(super) fn batch_number(path: Result<Path<u64>, PathRejection>) -> Result<u64, GatewayError> {
    match path {
        Ok(Path(batch)) if i64::try_from(batch).is_ok() => Ok(batch),
        _ => Err(GatewayError::NotFound),
    }
}

fn check_worker(name: &str) -> Result<(), GatewayError> {
    if is_worker_name(name) { Ok(()) } else { Err(GatewayError::invalid("worker", "not a worker's name", "up to 64 of A-Z a-z 0-9 . _ -")) }
}

impl Gateway {
    /// The circuits of an acceptable claim that fit into the worker's memory.
    fn check_claim(&self, claim: &Claim) -> Result<Vec<u32>, GatewayError> {
        check_worker(&claim.worker)?;
        if claim.circuits.is_empty() || claim.circuits.len() > MAX_CIRCUITS {
            let detail = format!("{} circuits are offered", claim.circuits.len());
            return Err(GatewayError::invalid("circuits", detail, format!("offer 1 to {MAX_CIRCUITS}")));
        }
        if claim.wait_s > MAX_WAIT_S {
            return Err(GatewayError::invalid("wait_s", "too long", format!("wait at most {MAX_WAIT_S} s and claim again")));
        }
        claim.circuits.iter().try_for_each(|offer| match self.shared.verifier.digest(offer.circuit) {
            None => Err(GatewayError::UnknownCircuit(offer.circuit)),
            Some(digest) if digest != offer.verifying_key => Err(GatewayError::KeyMismatch(offer.circuit)),
            Some(_) => Ok(()),
        })?;
        let needed_mb = |circuit: u32| self.shared.verifier.describe(circuit).1;
        let offered = claim.circuits.iter().map(|offer| offer.circuit);
        let fitting: Vec<u32> = offered.clone().filter(|circuit| needed_mb(*circuit) <= claim.memory_mb).collect();
        if fitting.is_empty() {
            let needed_mb = offered.map(needed_mb).min().unwrap_or(u64::MAX);
            return Err(GatewayError::TooLittleMemory { memory_mb: claim.memory_mb, needed_mb });
        }
        Ok(fitting)
    }

    async fn wait_for_job(&self, claim: &Claim, circuits: &[u32]) -> Result<Option<String>, GatewayError> {
        let deadline = Instant::now() + Duration::from_secs(claim.wait_s.into());
        let mut drains = fleet::greet(&mut *self.shared.pool.acquire().await?, &claim.worker, claim.memory_mb, circuits).await?;
        loop {
            if drains {
                return Err(GatewayError::Draining);
            }
            let bell = self.shared.doorbell.notified();
            let job = self.claim_now(&claim.worker, circuits).await?;
            if job.is_some() || Instant::now() >= deadline {
                return Ok(job);
            }
            let rung = self.shared.shutdown.run_until_cancelled(timeout_at(deadline, bell)).await;
            if rung.is_none() {
                return Ok(None);
            }
            drains = fleet::is_draining(&mut *self.shared.pool.acquire().await?, &claim.worker).await?;
        }
    }

    /// The oldest job that can be read; one that cannot is parked, so that it does not stand in the way of the others.
    async fn claim_now(&self, worker: &str, circuits: &[u32]) -> Result<Option<String>, GatewayError> {
        let config = &self.shared.config;
        let rules = ClaimRules {
            worker,
            circuits,
            lease: Duration::from_millis(config.lease_ms),
            same_worker_pause: Duration::from_millis(config.same_worker_pause_ms),
        };
        loop {
            let mut connection = self.shared.pool.acquire().await?;
            let Some(claimed) = jobs::claim(&mut connection, &rules).await? else { return Ok(None) };
            let (batch, lease) = (claimed.batch, claimed.lease);
            let spent = if claimed.expired { jobs::spent(&mut connection, batch, self.park_rules()).await? } else { None };
            drop(connection);
            if claimed.expired {
                metrics::attempt("expired");
            }
            let parked = match (self.describe(claimed), spent) {
                (Ok(_), Some(ends)) => {
                    (FailureReason::Silent, format!("{ends} leases failed or ended without a word, the last one so: it seems to end its workers"))
                }
                (Ok(job), None) => {
                    tracing::info!(batch, lease, worker, "job claimed");
                    return Ok(Some(job));
                }
                (Err(error @ GatewayError::Corrupt(_)), _) => (FailureReason::Unreadable, error.to_string()),
                (Err(error), _) => return Err(error),
            };
            // should this not come to pass, the lease ends by itself and the next claim parks the job
            let (reason, detail) = parked;
            self.park(&NewFailure { batch, lease, worker, reason: reason.name(), detail: &detail, counts: true }, reason).await?;
        }
    }

    fn park_rules(&self) -> ParkRules {
        ParkRules { failed_workers: self.shared.config.max_failed_workers, ends: MAX_ENDS }
    }

    async fn park(&self, failure: &NewFailure<'_>, reason: FailureReason) -> Result<(), GatewayError> {
        let mut transaction = self.shared.pool.begin().await?;
        let parked = jobs::park(&mut transaction, failure).await?;
        transaction.commit().await?;
        if parked {
            metrics::failed(reason);
            metrics::parked();
            tracing::error!(batch = failure.batch, alert = true, reason = failure.reason, detail = failure.detail, "job parked");
        }
        Ok(())
    }

    /// The job as JSON.
    fn describe(&self, Claimed { batch, lease, work, .. }: Claimed) -> Result<String, GatewayError> {
        let Work { input, statement } = work.map_err(GatewayError::reading(batch))?;
        let JobStatement { circuit, chain_id, contract, .. } = statement;
        let (Some(verifying_key), Some(inputs)) = (self.shared.verifier.digest(circuit), public_inputs(&statement)) else {
            return Err(GatewayError::Corrupt(batch));
        };
        let (lease_ms, public_inputs) = (self.shared.config.lease_ms, PublicWords::from(&inputs));
        let head = JobHead { batch, circuit, chain_id, contract, verifying_key, lease, lease_ms, public_inputs };
        head.with_input(&input).map_err(|_| GatewayError::Corrupt(batch))
    }

    /// Verifies the words for the batch's public inputs, off the async threads and not more at once than there are cores.
    async fn verifies(&self, batch: u64, proof: [Word; 8]) -> Result<bool, GatewayError> {
        let mut connection = self.shared.pool.acquire().await?;
        let statement = jobs::statement(&mut connection, batch).await.map_err(GatewayError::reading(batch))?;
        let statement = statement.ok_or(GatewayError::UnknownJob(batch))?;
        drop(connection);
        let inputs = public_inputs(&statement).ok_or(GatewayError::Corrupt(batch))?;
        let _permit = self.shared.verifications.acquire().await;
        let verifier = self.shared.verifier.clone();
        let verdict = tokio::task::spawn_blocking(move || verifier.verify(statement.circuit, &inputs, &proof));
        verdict.await.map(|verdict| verdict.is_ok()).map_err(|error| GatewayError::Verifier(batch, error))
    }

    /// An invalid proof under the current lease is a failure of its worker; under a stale one it changes nothing.
    async fn refuse(&self, batch: u64, submission: &Submission) -> Result<(), GatewayError> {
        metrics::invalid();
        tracing::warn!(batch, worker = submission.worker, lease = submission.lease, "proof refused");
        let (lease, worker, detail) = (submission.lease, submission.worker.clone(), "the gateway refused the proof".to_owned());
        self.give_up(batch, &Failure { lease, worker, reason: FailureReason::ProofInvalid, detail }).await.map(drop)
    }

    async fn store(&self, batch: u64, submission: &Submission) -> Result<Outcome, GatewayError> {
        let proof = NewProof {
            batch,
            lease: submission.lease,
            words: submission.proof.map(|word: HexWord| word.0),
            witness_ms: submission.timings.witness_ms,
            prove_ms: submission.timings.prove_ms,
        };
        let mut transaction = self.shared.pool.begin().await?;
        let stored = jobs::store_proof(&mut transaction, &proof).await?;
        transaction.commit().await?;
        match stored {
            Stored::InTime => Ok(Outcome::Stored),
            Stored::Late => Ok(Outcome::StoredLate),
            Stored::HadOne => Ok(Outcome::AlreadyProven),
            Stored::NoSuchLease => Err(GatewayError::StaleLease(batch)),
        }
    }

    /// Ends the lease with a failure; `None` if it was stale or another worker's, else whether the job is parked now.
    async fn give_up(&self, batch: u64, failure: &Failure) -> Result<Option<bool>, GatewayError> {
        let Failure { lease, worker, reason, detail } = failure;
        let detail = printable(detail);
        let failure = NewFailure { batch, lease: *lease, worker, reason: reason.name(), detail: cut(&detail), counts: reason.counts() };
        let mut transaction = self.shared.pool.begin().await?;
        let parked = jobs::fail(&mut transaction, &failure, self.park_rules()).await?;
        transaction.commit().await?;
        if parked.is_some() {
            metrics::failed(*reason);
        }
        if parked == Some(true) {
            metrics::parked();
            tracing::error!(batch, reason = reason.name(), alert = true, "job parked: too many different workers failed on it");
        }
        Ok(parked)
    }
}

/// Postgres stores no NUL, and an operator's terminal should get no escape sequence.
fn printable(detail: &str) -> String {
    detail.replace(char::is_control, "\u{fffd}")
}

fn cut(detail: &str) -> &str {
    let mut end = detail.len().min(MAX_DETAIL_BYTES);
    while !detail.is_char_boundary(end) {
        end -= 1;
    }
    &detail[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let detail = "é".repeat(MAX_DETAIL_BYTES);
        assert_eq!(cut(&detail).len(), MAX_DETAIL_BYTES);
        assert_eq!(cut(&format!("a{detail}")).len(), MAX_DETAIL_BYTES - 1);
        assert_eq!(cut("short"), "short");
    }
}
