//! What operators see and order. Reading is for anybody; an order needs an operator's token and a reason, and is in the audit log in the same
//! database transaction.

use crate::gateway::auth::{Caller, identify};
use crate::gateway::body::Body;
use crate::gateway::handlers::batch_number;
use crate::gateway::{Gateway, GatewayError};
use crate::metrics;
use crate::wire::fleet::{
    CircuitView, DEFAULT_JOBS, FleetOrder, FleetStatus, JobDetail, JobList, JobOrder, JobQuery, JobState, MAX_REASON_BYTES, Reason, WorkerView,
};
use crate::wire::{ProblemBody, is_worker_name};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::routing::{get, post};
use axum::{Json, Router};
use sheaf_store::fleet::{self, Because, Done, JobFilter, MAX_JOBS, Order};
use sheaf_store::jobs::{self, Depth};
use sheaf_store::reverts::{self, Asked};
use sqlx::PgConnection;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How old a shown overview may be: however many look, the database is asked so often.
const FRESH: Duration = Duration::from_millis(250);

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/status", get(status))
        .route("/jobs", get(list))
        .route("/jobs/{batch}", get(detail))
        .route("/jobs/{batch}/{order}", post(order_job))
        .route("/workers/{name}/{order}", post(order_worker))
}

/// An operator, by the name of its token.
pub(super) struct Operator(String);

impl FromRequestParts<Gateway> for Operator {
    type Rejection = GatewayError;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, GatewayError> {
        match identify(&parts.headers, &gateway.shared.config)? {
            Caller::Operator(name) => Ok(Self(name.to_owned())),
            Caller::Worker => Err(GatewayError::WrongRole("an operator")),
        }
    }
}

/// The fleet: circuits with their queues, workers, leases, parked jobs, recent faults and orders.
#[utoipa::path(get, path = "/prover/v1/status", tag = "operator", security(()), responses(
    (status = 200, description = "As it stands, at most a second old", body = FleetStatus),
    (status = 503, description = "`unavailable`", body = ProblemBody),
))]
async fn status(State(gateway): State<Gateway>) -> Result<Json<Arc<FleetStatus>>, GatewayError> {
    let mut shown = gateway.shared.shown.lock().await;
    if let Some((at, status)) = &*shown
        && at.elapsed() < FRESH
    {
        return Ok(Json(status.clone()));
    }
    let status = Arc::new(gateway.overview().await?);
    *shown = Some((Instant::now(), status.clone()));
    Ok(Json(status))
}

/// Jobs, the newest first; with `after` the oldest first, which hold up settlement.
#[utoipa::path(get, path = "/prover/v1/jobs", tag = "operator", security(()), params(JobQuery), responses(
    (status = 200, description = "A page of jobs", body = JobList),
    (status = 422, description = "`invalid_field`", body = ProblemBody),
))]
async fn list(State(gateway): State<Gateway>, query: Result<Query<JobQuery>, QueryRejection>) -> Result<Json<JobList>, GatewayError> {
    let Query(query) = query.map_err(|error| GatewayError::invalid("query", error.body_text(), "use state, before, after and limit"))?;
    let limit = query.limit.unwrap_or(DEFAULT_JOBS);
    if !(1..=MAX_JOBS).contains(&limit) {
        return Err(GatewayError::invalid("limit", format!("{limit} is out of range"), format!("ask for 1 to {MAX_JOBS}")));
    }
    let states = JobState::ALL.map(JobState::name);
    if let Some(state) = query.state.as_deref().filter(|state| !states.contains(state)) {
        return Err(GatewayError::invalid("state", format!("no job is ever {}", printable(state)), format!("one of {}", states.join(", "))));
    }
    if query.before.is_some() && query.after.is_some() {
        return Err(GatewayError::invalid("after", "it lists the oldest first, `before` the newest", "name one of before and after"));
    }
    let [before, after] = [query.before, query.after].map(|batch| batch.map(|batch| batch.min(i64::MAX as u64)));
    let filter = JobFilter { state: query.state.as_deref(), before, after, batch: None, limit };
    let _place = gateway.shared.readers.acquire().await;
    let mut connection = gateway.shared.pool.acquire().await?;
    let rows = fleet::jobs(&mut connection, &filter).await?;
    let next = rows.last().filter(|_| rows.len() as u64 == u64::from(limit)).map(|row| row.batch);
    Ok(Json(JobList { jobs: rows.into_iter().map(Into::into).collect(), next }))
}

/// What a client wrote, short and harmless enough to repeat.
fn printable(text: &str) -> String {
    text.chars().take(32).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A job with its attempts and what operators did about it.
#[utoipa::path(get, path = "/prover/v1/jobs/{batch}", tag = "operator", security(()), params(("batch" = u64, Path, description = "Batch number")),
    responses(
    (status = 200, description = "The job", body = JobDetail),
    (status = 404, description = "`unknown_job`", body = ProblemBody),
))]
async fn detail(State(gateway): State<Gateway>, batch: Result<Path<u64>, PathRejection>) -> Result<Json<JobDetail>, GatewayError> {
    gateway.detail(batch_number(batch)?).await.map(Json)
}

/// An order about a job: `retry` sends a parked one back to work, and only failures from now on count; `park` gives it to nobody until it is retried;
/// `cancel` takes the lease from its worker, which learns of it with its next heartbeat, and the job waits for another; `reseal` takes the batch of a parked
/// job back from L1, with all after it, and what is in it is sealed again in other circuits.
#[utoipa::path(post, path = "/prover/v1/jobs/{batch}/{order}", tag = "operator", request_body = Reason,
    params(("batch" = u64, Path, description = "Batch number"), ("order" = JobOrder, Path)),
    responses(
    (status = 200, description = "The job as it is then", body = JobDetail),
    (status = 403, description = "`wrong_role`: the token is a worker's", body = ProblemBody),
    (status = 404, description = "`unknown_job`", body = ProblemBody),
    (status = 409, description = "`not_now`: `retry` of a job that is not parked, `park` of one that is or is proven, `cancel` of one that nobody has, `reseal` of one that is not parked, not committed on L1, or was tried in every circuit", body = ProblemBody),
))]
async fn order_job(
    State(gateway): State<Gateway>,
    operator: Operator,
    path: Result<Path<(u64, JobOrder)>, PathRejection>,
    Body(reason): Body<Reason>,
) -> Result<Json<JobDetail>, GatewayError> {
    let Path((batch, order)) = path.map_err(|_| GatewayError::NotFound)?;
    let order = match order {
        JobOrder::Reseal => return gateway.reseal(batch, &operator, &reason).await.map(Json),
        JobOrder::Retry => Order::Retry,
        JobOrder::Park => Order::Park,
        JobOrder::Cancel => Order::Cancel,
    };
    gateway.order(order, batch, &operator, &reason).await.map(Json)
}

/// An order about a worker: `drain` gives it no more jobs, so that it finishes the one that it has, and ends; `resume` gives it jobs again.
#[utoipa::path(post, path = "/prover/v1/workers/{name}/{order}", tag = "operator", request_body = Reason,
    params(("name" = String, Path, description = "Name of the worker"), ("order" = FleetOrder, Path)),
    responses(
    (status = 200, description = "The worker as it is then", body = WorkerView),
    (status = 403, description = "`wrong_role`: the token is a worker's", body = ProblemBody),
    (status = 404, description = "`unknown_worker`", body = ProblemBody),
))]
async fn order_worker(
    State(gateway): State<Gateway>,
    operator: Operator,
    path: Result<Path<(String, FleetOrder)>, PathRejection>,
    Body(reason): Body<Reason>,
) -> Result<Json<WorkerView>, GatewayError> {
    let Path((name, order)) = path.map_err(|_| GatewayError::NotFound)?;
    gateway.drain(&name, order == FleetOrder::Drain, &operator, &reason).await.map(Json)
}

fn check_reason(Reason { reason }: &Reason) -> Result<(), GatewayError> {
    let fits = !reason.trim().is_empty() && reason.len() <= MAX_REASON_BYTES && !reason.contains(char::is_control);
    let wrong =
        || GatewayError::invalid("reason", "empty, too long, or with control characters", format!("say why in 1 to {MAX_REASON_BYTES} bytes"));
    fits.then_some(()).ok_or_else(wrong)
}

impl Gateway {
    async fn overview(&self) -> Result<FleetStatus, GatewayError> {
        let config = &self.shared.config;
        let _place = self.shared.readers.acquire().await;
        let mut connection = self.shared.pool.acquire().await?;
        let depths = jobs::depths(&mut connection).await?;
        let in_state = |state| JobFilter { state: Some(state), before: None, after: None, batch: None, limit: MAX_JOBS };
        let mut leases = fleet::jobs(&mut connection, &in_state("leased")).await?;
        leases.extend(fleet::jobs(&mut connection, &in_state("expired")).await?);
        Ok(FleetStatus {
            lease_ms: config.lease_ms,
            max_failed_workers: config.max_failed_workers,
            circuits: self.shared.circuits.iter().map(|circuit| self.circuit(*circuit, &depths)).collect(),
            workers: fleet::workers(&mut connection).await?.into_iter().map(Into::into).collect(),
            leases: leases.into_iter().map(Into::into).collect(),
            parked: fleet::jobs(&mut connection, &in_state("parked")).await?.into_iter().map(Into::into).collect(),
            faults: fleet::faults(&mut connection).await?.into_iter().map(Into::into).collect(),
            actions: fleet::actions(&mut connection, None).await?.into_iter().map(Into::into).collect(),
        })
    }

    fn circuit(&self, circuit: u32, depths: &[Depth]) -> CircuitView {
        let depth = Depth::of(circuit, depths);
        let Depth { waiting, leased, expired, parked, oldest_s, .. } = depth;
        let (name, memory_mb) = self.shared.verifier.describe(circuit);
        CircuitView { circuit, name: name.to_owned(), memory_mb, waiting, leased, expired, parked, oldest_s }
    }

    async fn detail(&self, batch: u64) -> Result<JobDetail, GatewayError> {
        let _place = self.shared.readers.acquire().await;
        let mut connection = self.shared.pool.acquire().await?;
        detail_of(&mut connection, batch).await
    }

    async fn order(&self, order: Order, batch: u64, Operator(actor): &Operator, reason: &Reason) -> Result<JobDetail, GatewayError> {
        check_reason(reason)?;
        let mut transaction = self.shared.pool.begin().await?;
        let was_leased = match fleet::order(&mut transaction, order, batch, Because { actor, reason: &reason.reason }).await? {
            Done::Yes { was_leased } => was_leased,
            Done::NoSuchJob => return Err(GatewayError::UnknownJob(batch)),
            Done::NotNow(state) => return Err(GatewayError::NotNow { batch, state, order }),
        };
        transaction.commit().await?;
        tracing::warn!(batch, actor, reason = reason.reason, ?order, "an operator's order");
        metrics::ordered(order.verb());
        if order == Order::Park {
            metrics::parked();
        }
        if was_leased {
            metrics::attempt("cancelled");
        }
        self.shared.doorbell.notify_waiters();
        self.shared.shown.lock().await.take();
        self.detail(batch).await
    }

    async fn reseal(&self, batch: u64, Operator(actor): &Operator, reason: &Reason) -> Result<JobDetail, GatewayError> {
        check_reason(reason)?;
        let mut transaction = self.shared.pool.begin().await?;
        let circuits = self.shared.circuits.len() as u32;
        match reverts::ask(&mut transaction, batch, circuits, Because { actor, reason: &reason.reason }).await? {
            Asked::Yes => transaction.commit().await?,
            Asked::NoSuchJob => return Err(GatewayError::UnknownJob(batch)),
            refused => return Err(GatewayError::NoReseal { batch, refused }),
        }
        tracing::warn!(batch, actor, reason = reason.reason, "an operator's order: seal again");
        metrics::ordered("reseal");
        self.shared.shown.lock().await.take();
        self.detail(batch).await
    }

    async fn drain(&self, name: &str, drain: bool, Operator(actor): &Operator, reason: &Reason) -> Result<WorkerView, GatewayError> {
        check_reason(reason)?;
        if !is_worker_name(name) {
            return Err(GatewayError::UnknownWorker);
        }
        let mut transaction = self.shared.pool.begin().await?;
        if !fleet::drain(&mut transaction, name, drain, Because { actor, reason: &reason.reason }).await? {
            return Err(GatewayError::UnknownWorker);
        }
        let worker = fleet::worker(&mut transaction, name).await?.ok_or(GatewayError::UnknownWorker)?;
        transaction.commit().await?;
        metrics::ordered(if drain { "drain" } else { "resume" });
        tracing::warn!(worker = name, actor, reason = reason.reason, drain, "an operator's order");
        self.shared.doorbell.notify_waiters();
        self.shared.shown.lock().await.take();
        Ok(worker.into())
    }
}

async fn detail_of(connection: &mut PgConnection, batch: u64) -> Result<JobDetail, GatewayError> {
    let filter = JobFilter { state: None, before: None, after: None, batch: Some(batch), limit: 1 };
    let job = fleet::jobs(connection, &filter).await?.pop().ok_or(GatewayError::UnknownJob(batch))?;
    let attempts = fleet::attempts(connection, batch).await?.into_iter().map(Into::into).collect();
    let actions = fleet::actions(connection, Some(batch)).await?.into_iter().map(Into::into).collect();
    Ok(JobDetail { job: job.into(), attempts, actions })
}
