//! The fleet's door: hands out batches to prove, judges proofs, stores the valid ones. The node mounts [`Gateway::router`] beside its API
//! and runs [`Gateway::watch`].
//!
//! ```text
//!            claim                    heartbeat
//! waiting ────────────> leased ──────────────────┐        valid proof, lease current or not
//!    ^                   │  │ <──────────────────┘    ┌──────────────────────────────────────> proven
//!    │ failure, drained  │  │ no heartbeat            │
//!    ├───────────────────┘  └──────────> expired ─────┤   (claimable again, as if waiting)
//!    └── 3 different workers failed, 10 vain leases, or unreadable ──> parked ───────┘
//! ```
//!
//! Rules
//! 1. No proof is stored that does not verify for the nine public inputs of its batch.
//! 2. A valid proof is stored if the batch has none, whoever sends it and however late; submitting is idempotent.
//! 3. The fencing token, with the worker's name, guards the lease alone: a stale worker can neither extend nor release what another holds.
//! 4. The oldest batch first. A worker that failed a batch pauses with it, and does not get it twice in a row while another that offers the
//!    circuit is there.
//! 5. A worker that claims again while it holds a lease lost the answer or its memory: it gets the same batch under a new token. After three leases of
//!    it that ended without a word it pauses with that batch: it may be what ends the worker.
//! 6. A batch that cannot be read is parked at once and the next one handed out; so is one of which ten leases failed or ended without a word, once
//!    nobody is there who has not tried. A fleet of one or two parks so, and no bad worker parks what others would prove.
//! 7. No worker gets a circuit that does not fit into the memory that it declares. A claim is a write to the database that will take the proof:
//!    while that takes none, nothing is handed out.
//! 8. An operator's order (retry, park, cancel, drain, resume) takes effect together with its row in the audit log, or not at all. The worker
//!    learns of it with its next heartbeat or claim.
//! 9. What anybody may read takes two connections of the database at most.
//!
//! Fails by problem details with a stable code, see `problem`. Nothing is kept in memory but what was shown last: a restarted gateway goes on where it was.

mod auth;
mod body;
mod handlers;
mod operator;
mod problem;
mod statement;
mod verifier;
mod views;

pub use auth::{OperatorToken, TokenHash, TokenHashError, new_token};
pub use body::MAX_BODY_BYTES;
pub use handlers::ApiDoc;
pub use verifier::{Verifier, VerifierError};

use crate::metrics;
use crate::wire::fleet::FleetStatus;
use problem::GatewayError;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio_util::sync::CancellationToken;

/// How the gateway treats workers.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// SHA-256 of every token that lets a worker in.
    pub tokens: Vec<TokenHash>,
    /// Who may order something, by the name that the audit log shows.
    pub operators: Vec<OperatorToken>,
    /// A lease without a heartbeat expires after so many milliseconds.
    pub lease_ms: u64,
    /// A batch is parked when so many different workers failed on it.
    pub max_failed_workers: u32,
    /// A worker that failed a batch is not offered it again for so many milliseconds.
    pub same_worker_pause_ms: u64,
    /// How often the queue is looked at for waiting claims, in milliseconds.
    pub poll_ms: u64,
}

impl GatewayConfig {
    /// The defaults: leases of 15 s, three failures, 60 s before the same worker tries again, a look every 200 ms.
    pub fn new(tokens: Vec<TokenHash>) -> Self {
        Self { tokens, operators: Vec::new(), lease_ms: 15_000, max_failed_workers: 3, same_worker_pause_ms: 60_000, poll_ms: 200 }
    }
}

/// Between two looks for workers that have been away for so long that they are forgotten.
const FORGET_PAUSE: Duration = Duration::from_secs(3_600);
/// Connections of the database for what anybody may read.
const READERS: usize = 2;

/// The gateway's state; clones share it.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

struct Shared {
    pool: PgPool,
    verifier: Arc<Verifier>,
    circuits: Vec<u32>,
    config: GatewayConfig,
    /// Rings while a job is claimable, and after an operator's order.
    doorbell: Notify,
    /// The last overview, so that onlookers cost nothing.
    shown: Mutex<Option<(Instant, Arc<FleetStatus>)>>,
    /// Proofs verified at the same time.
    verifications: Semaphore,
    /// Connections for what anybody may read: however many ask, workers find theirs.
    readers: Semaphore,
    shutdown: CancellationToken,
}

impl Gateway {
    /// A gateway on a database. Cancelling `shutdown` answers waiting claims with "no job" and ends [`Gateway::watch`].
    pub fn new(pool: PgPool, verifier: Verifier, config: GatewayConfig, shutdown: CancellationToken) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Shared {
            pool,
            circuits: verifier.circuits(),
            verifier: Arc::new(verifier),
            config,
            doorbell: Notify::new(),
            shown: Mutex::default(),
            verifications: Semaphore::new(cores),
            readers: Semaphore::new(READERS),
            shutdown,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The routes, with their prefix `/prover/v1`.
    pub fn router(&self) -> axum::Router {
        handlers::router(self.clone())
    }

    /// Rings the doorbell for waiting claims, publishes the queue's metrics and forgets workers of long ago until shut down; then this process sees
    /// no queue, and shows none. A database that does not answer is logged once and asked again.
    pub async fn watch(&self) {
        let mut ticker = tokio::time::interval(Duration::from_millis(self.shared.config.poll_ms));
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut reachable, mut forget_at) = (true, Instant::now());
        while self.shared.shutdown.run_until_cancelled(ticker.tick()).await.is_some() {
            let looked = self.look().await;
            match &looked {
                Err(error) if reachable => tracing::warn!(%error, "cannot look at the prover queue; trying on"),
                Ok(()) if !reachable => tracing::info!("the prover queue can be looked at again"),
                _ => {}
            }
            reachable = looked.is_ok();
            if reachable && Instant::now() >= forget_at {
                forget_at = Instant::now() + FORGET_PAUSE;
                self.forget().await;
            }
        }
        metrics::queue(&self.shared.circuits, &[]);
        metrics::workers(0, 0);
    }

    async fn forget(&self) {
        let forget = async { sheaf_store::fleet::forget(&mut *self.shared.pool.acquire().await?).await };
        match forget.await {
            Ok(0) => {}
            Ok(workers) => tracing::info!(workers, "forgot workers that were away for long"),
            Err(error) => tracing::warn!(%error, "cannot forget workers that were away for long; trying again in an hour"),
        }
    }

    async fn look(&self) -> Result<(), sqlx::Error> {
        let mut connection = self.shared.pool.acquire().await?;
        let depths = sheaf_store::jobs::depths(&mut connection).await?;
        metrics::queue(&self.shared.circuits, &depths);
        let (seen, drained) = sheaf_store::fleet::present(&mut connection).await?;
        metrics::workers(seen, drained);
        if depths.iter().any(|depth| depth.waiting + depth.expired > 0) {
            self.shared.doorbell.notify_waiters();
        }
        Ok(())
    }
}
