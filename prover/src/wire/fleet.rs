//! What operators see and order, version 1: JSON over HTTP under `/prover/v1`. Reading needs no token; orders need an operator's, and a reason
//! that lands in the audit log under the token's name.
//!
//! ```text
//! GET  /prover/v1/status                                  FleetStatus
//! GET  /prover/v1/jobs?state=&before=&limit=              JobList       newest first
//! GET  /prover/v1/jobs/{batch}                            JobDetail     with its attempts and what operators did
//! POST /prover/v1/jobs/{batch}/retry | park | cancel | reseal
//!                                                         Reason -> JobDetail | 404 unknown_job | 409 not_now
//! POST /prover/v1/workers/{name}/drain | resume           Reason -> WorkerView | 404 unknown_worker
//! ```

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The longest reason of an order, in bytes.
pub const MAX_REASON_BYTES: usize = 500;
/// Jobs of an answer unless asked for more or fewer.
pub const DEFAULT_JOBS: u32 = 50;

/// Why an operator orders something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// For the audit log and everybody who looks: 1 to 500 bytes.
    #[schema(min_length = 1, max_length = 500, example = "the machine was replaced")]
    pub reason: String,
}

/// An order about a job, as it stands in the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobOrder {
    /// Send a parked job back to work.
    Retry,
    /// Give it to nobody until it is retried.
    Park,
    /// Take it from its worker.
    Cancel,
    /// Take its batch back from L1 and seal what is in it again, in other circuits.
    Reseal,
}

/// An order about a worker, as it stands in the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FleetOrder {
    /// No more jobs.
    Drain,
    /// Jobs again.
    Resume,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct JobQuery {
    /// Only jobs in this state; `open` is all but `proven`.
    #[param(value_type = Option<JobState>)]
    pub state: Option<String>,
    /// Only batches below this number: the last one of the page before.
    pub before: Option<u64>,
    /// Only batches above this number, the oldest first; not together with `before`.
    pub after: Option<u64>,
    /// At most so many, 1 to 500; 50 unless told.
    pub limit: Option<u32>,
}

/// State of a job, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// All but `proven`.
    Open,
    /// Nobody has it.
    Waiting,
    /// A worker has it.
    Leased,
    /// A worker had it and does not answer: as good as waiting.
    Expired,
    /// Nobody gets it until an operator has looked.
    Parked,
    /// It has its proof.
    Proven,
}

impl JobState {
    /// Every state.
    pub const ALL: [JobState; 6] = [JobState::Open, JobState::Waiting, JobState::Leased, JobState::Expired, JobState::Parked, JobState::Proven];

    /// Name in JSON and in queries.
    pub fn name(self) -> &'static str {
        match self {
            JobState::Open => "open",
            JobState::Waiting => "waiting",
            JobState::Leased => "leased",
            JobState::Expired => "expired",
            JobState::Parked => "parked",
            JobState::Proven => "proven",
        }
    }
}

/// The fleet as it stands. May be a second old.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FleetStatus {
    /// A lease without a heartbeat ends after so many milliseconds.
    pub lease_ms: u64,
    /// A job is parked when so many different workers failed on it.
    pub max_failed_workers: u32,
    /// The deployment's circuits with their queues.
    pub circuits: Vec<CircuitView>,
    /// Workers of the last days, those seen last first.
    pub workers: Vec<WorkerView>,
    /// Jobs under a lease, also one that has expired, the newest first.
    pub leases: Vec<JobView>,
    /// Jobs that wait for an operator, the newest first.
    pub parked: Vec<JobView>,
    /// The last attempts that failed, expired or were cancelled, the newest first.
    pub faults: Vec<AttemptView>,
    /// What operators did last, the newest first.
    pub actions: Vec<ActionView>,
}

/// A circuit and its queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CircuitView {
    /// Circuit id.
    pub circuit: u32,
    /// Name of its shape.
    pub name: String,
    /// Megabytes that a worker must declare to get its jobs.
    pub memory_mb: u64,
    /// Jobs that nobody has.
    pub waiting: u64,
    /// Jobs under a lease.
    pub leased: u64,
    /// Jobs whose worker does not answer.
    pub expired: u64,
    /// Jobs that wait for an operator.
    pub parked: u64,
    /// Seconds since the oldest job without a proof was made; 0 without one.
    pub oldest_s: f64,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerView {
    /// Its name.
    pub name: String,
    /// Megabytes that it may use, as it says.
    pub memory_mb: u64,
    /// Circuits whose keys it holds, as it says.
    pub circuits: Vec<u32>,
    /// RFC 3339.
    pub first_seen: String,
    /// RFC 3339.
    pub last_seen: String,
    /// Seconds since it was last seen; an idle worker asks every half a minute.
    pub silent_s: u64,
    /// RFC 3339; since when it gets no more jobs.
    pub drain_since: Option<String>,
    /// Proofs of its in the last day.
    pub proven: u64,
    /// Failures of its in the last day.
    pub failed: u64,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Batch number.
    pub batch: u64,
    /// Circuit id.
    pub circuit: u32,
    /// Its state.
    #[schema(value_type = JobState)]
    pub state: String,
    /// Leases so far.
    pub attempts: u64,
    /// RFC 3339.
    pub created_at: String,
    /// Seconds since then.
    pub age_s: u64,
    /// Who has it.
    pub worker: Option<String>,
    /// Milliseconds until the lease ends, below 0 if it has.
    pub lease_ms: Option<i64>,
    /// What the worker was doing at its last heartbeat: `witness`, `prove`, `verify`, `submit`.
    pub phase: Option<String>,
    /// How far it was with that, 0 to 100.
    pub percent: Option<u8>,
    /// RFC 3339.
    pub heartbeat_at: Option<String>,
    /// Why the last failed attempt failed.
    pub last_error: Option<String>,
    /// RFC 3339.
    pub proven_at: Option<String>,
    /// Who proved it.
    pub proven_by: Option<String>,
    /// True while this batch is being taken back from L1 to be sealed again, or one before it.
    #[serde(default)]
    pub taken_back: bool,
}

/// Jobs, the newest first, or the oldest first if `after` was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobList {
    /// The jobs.
    pub jobs: Vec<JobView>,
    /// `before`, or `after`, of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A job with its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobDetail {
    /// The job.
    pub job: JobView,
    /// Its attempts, the newest first.
    pub attempts: Vec<AttemptView>,
    /// What operators did about it, the newest first.
    pub actions: Vec<ActionView>,
}

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// Batch number.
    pub batch: u64,
    /// The fencing token.
    pub lease: u64,
    /// Whose lease.
    pub worker: String,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339; null while it runs.
    pub ended_at: Option<String>,
    /// `proven`, `failed`, `expired`, `released`, `cancelled`; null while it runs.
    pub outcome: Option<String>,
    /// At the last heartbeat.
    pub phase: Option<String>,
    /// At the last heartbeat, 0 to 100.
    pub percent: Option<u8>,
    /// Stable name of why there is no proof.
    pub reason: Option<String>,
    /// What the worker or the gateway said.
    pub detail: Option<String>,
    /// Milliseconds for the assignment, of the proof that was stored.
    pub witness_ms: Option<u64>,
    /// Milliseconds for the proof that was stored.
    pub prove_ms: Option<u64>,
}

/// What an operator did: a row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionView {
    /// RFC 3339.
    pub at: String,
    /// Name of the operator's token; `settlement`, which orders a new seal by itself.
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn states_are_named_alike_in_json_and_in_queries() {
        for state in JobState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }
}
