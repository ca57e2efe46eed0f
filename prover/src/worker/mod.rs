//! A worker: claims a batch, proves it, checks the proof, hands it in, again and again. It keeps no state and needs only the gateway's
//! address, a token and the proving keys.
//!
//! ```text
//!   ┌──> claim (waits at the gateway) ──job──> witness ──> prove ──> check ──> submit ──┐
//!   │        │ nothing, or no gateway: back off        heartbeats all the while         │
//!   └────────┴──────────────────────────────────────────────────────────────────────────┘
//! ```
//! It claims as soon as its keys are open. Circuits are laid out meanwhile, and only a job that comes sooner waits for its own.
//!
//! How it fails
//! - The gateway is away: claims and submissions are repeated with growing pauses; a submission whose answer got lost is simply repeated.
//! - The lease is lost: the proof is finished and submitted all the same, it may be the first.
//! - The job cannot be proved: it is given back with the reason.
//! - This program's circuit is not the key's: a job that waits for it is given back with the reason, and the worker ends with an error.
//! - The token or the keys are wrong, or the keys are INSECURE and the chain is not 31337: the worker ends with an error, for nothing it does could succeed.
//! - It is told to stop, or drained by an operator: no more claims; the running job is finished, or given back when the grace period is over.
//! - An operator cancels the job: it is dropped before its next phase.

mod client;
mod engine;
mod keys;
mod store;

pub use client::{Client, ClientError};
pub use keys::{KeyCache, KeyCacheError};
pub use store::{KeyStore, KeyStoreError};

use crate::metrics;
use crate::wire::{Claim, Failure, FailureReason, Heartbeat, Job, Lease, MAX_DETAIL_BYTES, Outcome, Phase, Submission, Timings, WorkerOrder};
use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use engine::{Engine, EngineError, Proven};
use sheaf_protocol::manifest::{HexWord, InsecureSetup};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The first pause before a call is repeated.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause before a call is repeated.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// How often a submission is repeated: with the pauses above about five minutes.
const SUBMIT_RETRIES: usize = 64;
/// How often giving a job back is repeated; the lease expires anyway.
const FAIL_RETRIES: usize = 3;
/// Heartbeats in the time of a lease.
const HEARTBEATS_A_LEASE: u64 = 4;

/// How a worker runs.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Its name, unique among running workers.
    pub name: String,
    /// Seconds that a claim waits at the gateway for a job, at most [`crate::wire::MAX_WAIT_S`].
    pub wait_s: u32,
    /// Threads that prove; 0 means one a core.
    pub threads: usize,
    /// After the order to stop, a running job may take so many seconds more.
    pub grace_s: u64,
    /// Megabytes that it may use: what it declares, and so what bounds the circuits that it is given.
    pub memory_mb: u64,
}

impl WorkerConfig {
    /// The defaults: claims wait 20 s, all cores, ten minutes of grace, all of the machine's memory.
    pub fn new(name: String) -> Self {
        Self { name, wait_s: 20, threads: 0, grace_s: 600, memory_mb: crate::memory::of_this_machine_mb() }
    }
}

/// Why a worker ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// No threads.
    #[error("the prover's threads cannot be started")]
    Threads(#[source] rayon::ThreadPoolBuildError),
    /// Development keys for a chain where money is.
    #[error(transparent)]
    InsecureKeys(InsecureSetup),
    /// A circuit of this program is not the key's.
    #[error(transparent)]
    LayOut(Arc<KeyCacheError>),
    /// The gateway will never serve this worker: wrong token, other keys, or no gateway at that address.
    #[error("this worker cannot work for this gateway")]
    Unwelcome(#[source] ClientError),
}

/// What a worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Proofs that the gateway accepted, also where another one was first.
    pub accepted: u64,
    /// Jobs given back, refused or lost.
    pub failed: u64,
}

/// A lease and what it is about.
#[derive(Clone, Copy, Debug)]
struct Held {
    batch: u64,
    circuit: u32,
    lease: i64,
    lease_ms: u64,
}

/// A worker ready to run.
#[derive(Clone, Debug)]
pub struct Worker {
    client: Client,
    engine: Engine,
    config: WorkerConfig,
    /// What the last proof of each circuit took.
    typical: Arc<Mutex<BTreeMap<u32, Timings>>>,
}

impl Worker {
    /// A worker with its keys open; their circuits are laid out from now on.
    ///
    /// # Errors
    /// [`WorkerError::Threads`].
    pub fn new(client: Client, keys: KeyCache, config: WorkerConfig) -> Result<Self, WorkerError> {
        let engine = Engine::new(keys, config.threads).map_err(WorkerError::Threads)?;
        Ok(Self { client, engine, config, typical: Arc::default() })
    }

    /// Works until `stop` is cancelled or an operator drains it, then finishes the running job.
    ///
    /// # Errors
    /// [`WorkerError::Unwelcome`], [`WorkerError::InsecureKeys`], [`WorkerError::LayOut`].
    pub async fn run(&self, stop: &CancellationToken) -> Result<Summary, WorkerError> {
        let mut summary = Summary::default();
        let stop = stop.child_token();
        while let Some(job) = self.next_job(&stop).await? {
            let batch = job.batch;
            let accepted = self.work(job, &stop).await?;
            *(if accepted { &mut summary.accepted } else { &mut summary.failed }) += 1;
            tracing::debug!(batch, accepted, "job done");
        }
        Ok(summary)
    }

    /// The next job; `None` when told to stop. Pauses grow while there is no gateway, or while it answers "nothing" without waiting.
    async fn next_job(&self, stop: &CancellationToken) -> Result<Option<Job>, WorkerError> {
        let mut pauses = pauses().without_max_times().build();
        loop {
            if let Some(error) = self.engine.keys().failure() {
                return Err(WorkerError::LayOut(error));
            }
            let asked = Instant::now();
            let Some(answer) = stop.run_until_cancelled(self.client.claim(&self.offer())).await else { return Ok(None) };
            match answer {
                Ok(Some(job)) => return Ok(Some(job)),
                Ok(None) if asked.elapsed() > MAX_PAUSE => continue,
                Ok(None) => {}
                Err(error) if error.code() == Some("draining") => {
                    tracing::info!("drained by an operator");
                    return Ok(None);
                }
                Err(error) if error.is_transient() => tracing::warn!(error = %Chain(&error), "cannot claim, will try again"),
                Err(error) => return Err(WorkerError::Unwelcome(error)),
            }
            let pause = pauses.next().unwrap_or(MAX_PAUSE);
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return Ok(None);
            }
        }
    }

    fn offer(&self) -> Claim {
        let WorkerConfig { name, wait_s, memory_mb, .. } = &self.config;
        Claim { worker: name.clone(), circuits: self.engine.keys().offers(), memory_mb: *memory_mb, wait_s: *wait_s }
    }

    /// Proves a job under heartbeats; true if the gateway accepted the proof. Keys that must not be used for it end the worker.
    async fn work(&self, job: Job, stop: &CancellationToken) -> Result<bool, WorkerError> {
        let (phase, watching) = watch::channel(self.engine.first_phase(&job));
        let Job { batch, circuit, lease, lease_ms, .. } = job;
        let beats = self.beat(Held { batch, circuit, lease, lease_ms }, watching, stop);
        let work = async {
            let proven = self.engine.prove(job, phase.clone()).await;
            phase.send_replace(Phase::Submit);
            match proven {
                Ok(proven) => {
                    self.typical().insert(circuit, proven.timings);
                    Ok(self.submit(batch, lease, proven).await)
                }
                Err(EngineError::Abandoned) => Ok(false),
                Err(error) => {
                    self.give_back(batch, lease, error.reason(), &error.to_string()).await;
                    metrics::worker_job("failed");
                    match error {
                        EngineError::InsecureKeys(error) => Err(WorkerError::InsecureKeys(error)),
                        EngineError::LayOut(error) => Err(WorkerError::LayOut(error)),
                        _ => Ok(false),
                    }
                }
            }
        };
        tokio::pin!(work);
        tokio::select! {
            accepted = &mut work => return accepted,
            () = self.grace(stop) => {
                self.give_back(batch, lease, FailureReason::Drained, "the worker is stopping").await;
                metrics::worker_job("lost");
                return Ok(false);
            }
            () = beats => tracing::warn!(batch, lease, "an operator took the job back"),
        }
        metrics::worker_job("cancelled");
        // the threads are free when the phase that they are in ends
        tokio::select! {
            accepted = work => accepted,
            () = self.grace(stop) => Ok(false),
        }
    }

    fn typical(&self) -> MutexGuard<'_, BTreeMap<u32, Timings>> {
        self.typical.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far a phase is, by what it took the last time; unknown in the first job of a circuit.
    fn percent(&self, circuit: u32, phase: Phase, elapsed: Duration) -> Option<u8> {
        let timings = self.typical().get(&circuit).copied()?;
        let typical_ms = match phase {
            Phase::Witness => timings.witness_ms,
            Phase::Prove => timings.prove_ms,
            Phase::Verify => timings.verify_ms,
            Phase::LayOut | Phase::Submit => return None,
        };
        let done = elapsed.as_millis() * 100 / u128::from(typical_ms.max(1));
        Some(done.min(99) as u8)
    }

    /// Ends when the order to stop is older than the grace period.
    async fn grace(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        tracing::info!(grace_s = self.config.grace_s, "stopping after the running job");
        sleep(Duration::from_secs(self.config.grace_s)).await;
    }

    /// Extends the lease until an operator takes the job back. A lost lease is told once and changes nothing else; an order to drain stops the
    /// worker as any other order to stop does.
    async fn beat(&self, held: Held, phase: watch::Receiver<Phase>, stop: &CancellationToken) {
        let Held { batch, circuit, lease, lease_ms } = held;
        let pause = Duration::from_millis((lease_ms / HEARTBEATS_A_LEASE).max(1));
        let mut ticker = interval(pause);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut since = (*phase.borrow(), Instant::now());
        loop {
            ticker.tick().await;
            let progress = *phase.borrow();
            if progress != since.0 {
                since = (progress, Instant::now());
            }
            let percent = self.percent(circuit, progress, since.1.elapsed());
            let beat = timeout(pause, self.client.heartbeat(batch, &Heartbeat { lease, worker: self.config.name.clone(), progress, percent })).await;
            match beat {
                Ok(Err(error)) if error.code() == Some("stale_lease") => {
                    tracing::warn!(batch, lease, "lease lost; finishing the proof all the same");
                    std::future::pending::<()>().await;
                }
                Ok(Err(error)) => tracing::warn!(batch, error = %Chain(&error), "no heartbeat"),
                Err(_) => tracing::warn!(batch, "no answer to a heartbeat"),
                Ok(Ok(Lease { order: WorkerOrder::Cancel, .. })) => return,
                Ok(Ok(Lease { order: WorkerOrder::Drain, .. })) if !stop.is_cancelled() => {
                    tracing::info!("drained by an operator");
                    stop.cancel();
                }
                Ok(Ok(_)) => {}
            }
        }
    }

    /// Hands the proof in until there is an answer; true if it was accepted.
    async fn submit(&self, batch: u64, lease: i64, proven: Proven) -> bool {
        let submission = Submission { lease, worker: self.config.name.clone(), proof: proven.words.map(HexWord), timings: proven.timings };
        let start = Instant::now();
        let answer = (|| self.client.submit(batch, &submission))
            .retry(pauses().with_max_times(SUBMIT_RETRIES))
            .when(ClientError::is_transient)
            .notify(|error, pause| tracing::warn!(batch, error = %Chain(error), ?pause, "cannot submit, will try again"))
            .await;
        metrics::worker_phase(Phase::Submit, start.elapsed());
        match answer {
            Ok(accepted) => {
                metrics::worker_job(if accepted.outcome == Outcome::AlreadyProven { "already_proven" } else { "proven" });
                tracing::info!(batch, prove_ms = submission.timings.prove_ms, outcome = ?accepted.outcome, "proof accepted");
                true
            }
            Err(error) => {
                metrics::worker_job("refused");
                tracing::error!(batch, error = %Chain(&error), "proof not accepted");
                false
            }
        }
    }

    async fn give_back(&self, batch: u64, lease: i64, reason: FailureReason, detail: &str) {
        let worker = self.config.name.clone();
        let failure = Failure { lease, worker, reason, detail: detail[..detail.floor_char_boundary(MAX_DETAIL_BYTES)].to_owned() };
        tracing::error!(batch, reason = reason.name(), detail, "job given back");
        let answer = (|| self.client.fail(batch, &failure)).retry(pauses().with_max_times(FAIL_RETRIES)).when(ClientError::is_transient).await;
        if let Err(error) = answer {
            tracing::warn!(batch, error = %Chain(&error), "the gateway did not take the job back; its lease will expire");
        }
    }
}

fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::default().with_min_delay(MIN_PAUSE).with_max_delay(MAX_PAUSE).with_jitter()
}

/// An error with its causes on one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
