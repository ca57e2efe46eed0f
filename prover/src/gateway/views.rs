//! Rows of the store as operators see them.

use crate::wire::fleet::{ActionView, AttemptView, JobView, WorkerView};
use sheaf_store::fleet::{ActionRow, AttemptRow, JobRow, WorkerRow};

impl From<WorkerRow> for WorkerView {
    fn from(row: WorkerRow) -> Self {
        let WorkerRow { name, memory_mb, circuits, first_seen, last_seen, silent_s, drain_since, proven, failed } = row;
        Self { name, memory_mb, circuits, first_seen, last_seen, silent_s, drain_since, proven, failed }
    }
}

impl From<JobRow> for JobView {
    fn from(row: JobRow) -> Self {
        let JobRow { batch, circuit, state, attempts, created_at, age_s, worker, lease_ms, phase, percent, heartbeat_at, last_error, .. } = row;
        let (proven_at, proven_by, taken_back) = (row.proven_at, row.proven_by, row.taken_back);
        Self {
            batch,
            circuit,
            state,
            attempts,
            created_at,
            age_s,
            worker,
            lease_ms,
            phase,
            percent,
            heartbeat_at,
            last_error,
            proven_at,
            proven_by,
            taken_back,
        }
    }
}

impl From<AttemptRow> for AttemptView {
    fn from(row: AttemptRow) -> Self {
        let AttemptRow { batch, lease, worker, started_at, ended_at, outcome, phase, percent, reason, detail, witness_ms, prove_ms } = row;
        Self { batch, lease, worker, started_at, ended_at, outcome, phase, percent, reason, detail, witness_ms, prove_ms }
    }
}

impl From<ActionRow> for ActionView {
    fn from(row: ActionRow) -> Self {
        let ActionRow { at, actor, action, batch, worker, reason } = row;
        Self { at, actor, action, batch, worker, reason }
    }
}
