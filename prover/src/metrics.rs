//! Names of the metrics of gateway and worker, each in one place.
//!
//! | metric | kind | labels | meaning |
//! |---|---|---|---|
//! | `sheaf_prover_jobs` | gauge | `circuit`, `state` = waiting, leased, expired, parked | jobs without a proof |
//! | `sheaf_prover_oldest_job_seconds` | gauge | `circuit` | age of the oldest job without a proof, parked ones included |
//! | `sheaf_prover_claims_total` | counter | `outcome` = job, empty | answered claims |
//! | `sheaf_prover_workers` | gauge | `state` = seen, drained | workers that asked for work in the last minute, and of these those that get none |
//! | `sheaf_prover_attempts_total` | counter | `outcome` = proven, failed, released, expired, cancelled | ended leases |
//! | `sheaf_prover_orders_total` | counter | `action` = retry, park, cancel, reseal, drain, resume | orders of operators |
//! | `sheaf_prover_submissions_total` | counter | `outcome` = stored, stored_late, already_proven, invalid | judged proofs |
//! | `sheaf_prover_failures_total` | counter | `reason` | jobs given up or refused |
//! | `sheaf_prover_parked_total` | counter | | jobs parked |
//! | `sheaf_prover_phase_seconds` | histogram | `phase` = witness, prove, verify | as reported with accepted proofs |
//! | `sheaf_worker_jobs_total` | counter | `outcome` = proven, already_proven, failed, refused, lost, cancelled | jobs of this worker |
//! | `sheaf_worker_phase_seconds` | histogram | `phase` = lay_out, witness, prove, verify, submit | measured by this worker |
//!
//! Counters begin at 0 when the process does: an alert on growth misses the first event of a counter that appears with it. Gauges are what the gateway
//! sees now: one that ends shows 0.

use crate::wire::{FailureReason, Outcome, Phase, Timings};
use metrics::{counter, gauge, histogram};
use sheaf_store::jobs::Depth;
use std::time::Duration;

/// Shows every counter of the gateway at 0. Once, after metrics are collected.
pub fn count_gateway_from_zero() {
    counter!("sheaf_prover_parked_total").increment(0);
    for outcome in ["job", "empty"] {
        counter!("sheaf_prover_claims_total", "outcome" => outcome).increment(0);
    }
    for outcome in ["proven", "failed", "released", "expired", "cancelled"] {
        counter!("sheaf_prover_attempts_total", "outcome" => outcome).increment(0);
    }
    for action in ["retry", "park", "cancel", "reseal", "drain", "resume"] {
        counter!("sheaf_prover_orders_total", "action" => action).increment(0);
    }
    for outcome in ["stored", "stored_late", "already_proven", "invalid"] {
        counter!("sheaf_prover_submissions_total", "outcome" => outcome).increment(0);
    }
    for reason in FailureReason::ALL {
        counter!("sheaf_prover_failures_total", "reason" => reason.name()).increment(0);
    }
}

/// Shows every counter of a worker at 0. Once, after metrics are collected.
pub fn count_worker_from_zero() {
    for outcome in ["proven", "already_proven", "failed", "refused", "lost", "cancelled"] {
        counter!("sheaf_worker_jobs_total", "outcome" => outcome).increment(0);
    }
}

/// Publishes the queue as it stands, zeros included.
pub(crate) fn queue(circuits: &[u32], depths: &[Depth]) {
    for id in circuits {
        let depth = Depth::of(*id, depths);
        let circuit = id.to_string();
        let states = [("waiting", depth.waiting), ("leased", depth.leased), ("expired", depth.expired), ("parked", depth.parked)];
        for (state, jobs) in states {
            gauge!("sheaf_prover_jobs", "circuit" => circuit.clone(), "state" => state).set(jobs as f64);
        }
        gauge!("sheaf_prover_oldest_job_seconds", "circuit" => circuit).set(depth.oldest_s);
    }
}

pub(crate) fn workers(seen: u64, drained: u64) {
    gauge!("sheaf_prover_workers", "state" => "seen").set(seen as f64);
    gauge!("sheaf_prover_workers", "state" => "drained").set(drained as f64);
}

pub(crate) fn attempt(outcome: &'static str) {
    counter!("sheaf_prover_attempts_total", "outcome" => outcome).increment(1);
}

pub(crate) fn ordered(action: &'static str) {
    counter!("sheaf_prover_orders_total", "action" => action).increment(1);
}

pub(crate) fn claimed(job: bool) {
    counter!("sheaf_prover_claims_total", "outcome" => if job { "job" } else { "empty" }).increment(1);
}

pub(crate) fn accepted(outcome: Outcome, timings: &Timings) {
    let name = match outcome {
        Outcome::Stored => "stored",
        Outcome::StoredLate => "stored_late",
        Outcome::AlreadyProven => "already_proven",
    };
    counter!("sheaf_prover_submissions_total", "outcome" => name).increment(1);
    if outcome != Outcome::AlreadyProven {
        attempt("proven");
        let phases = [(Phase::Witness, timings.witness_ms), (Phase::Prove, timings.prove_ms), (Phase::Verify, timings.verify_ms)];
        for (phase, ms) in phases {
            histogram!("sheaf_prover_phase_seconds", "phase" => phase.name()).record(ms as f64 / 1e3);
        }
    }
}

pub(crate) fn invalid() {
    counter!("sheaf_prover_submissions_total", "outcome" => "invalid").increment(1);
}

pub(crate) fn failed(reason: FailureReason) {
    attempt(if reason.counts() { "failed" } else { "released" });
    counter!("sheaf_prover_failures_total", "reason" => reason.name()).increment(1);
}

pub(crate) fn parked() {
    counter!("sheaf_prover_parked_total").increment(1);
}

pub(crate) fn worker_job(outcome: &'static str) {
    counter!("sheaf_worker_jobs_total", "outcome" => outcome).increment(1);
}

pub(crate) fn worker_phase(phase: Phase, took: Duration) {
    histogram!("sheaf_worker_phase_seconds", "phase" => phase.name()).record(took.as_secs_f64());
}
