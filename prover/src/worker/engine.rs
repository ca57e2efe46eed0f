//! From a job to a proof that has passed our own check, on a thread pool of its own so that the async threads stay free.

use crate::metrics;
use crate::wire::{FailureReason, Job, Phase, Timings};
use crate::worker::keys::{Entry, KeyCache, KeyCacheError};
use sheaf_circuits::prove::{ProveError, Prover, proof_words, verify};
use sheaf_protocol::batch::{PublicInput, PublicInputs};
use sheaf_protocol::field::Word;
use sheaf_protocol::header::domain;
use sheaf_protocol::kzg::Origin;
use sheaf_protocol::manifest::{InsecureSetup, check_development_chain};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Why a job has no proof.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("no key for circuit {0}, or not the one that the job asks for")]
    Key(u32),
    #[error(transparent)]
    InsecureKeys(InsecureSetup),
    #[error(transparent)]
    LayOut(Arc<KeyCacheError>),
    #[error("the batch's public inputs are not the job's")]
    PublicInputs,
    #[error("{0}")]
    Prove(#[source] ProveError),
    #[error("the proof does not pass our own check")]
    SelfCheck,
    #[error("the prover panicked")]
    Panicked,
    #[error("nobody waits for this proof any more")]
    Abandoned,
}

impl EngineError {
    pub(crate) fn reason(&self) -> FailureReason {
        match self {
            Self::Key(_) | Self::InsecureKeys(_) | Self::Prove(ProveError::Key(_)) => FailureReason::Key,
            Self::LayOut(_) => FailureReason::LayOut,
            Self::PublicInputs | Self::Prove(ProveError::Circuit(_) | ProveError::Unsatisfied(_)) => FailureReason::Witness,
            Self::Prove(ProveError::Groth16(_)) | Self::Panicked => FailureReason::Prove,
            Self::Abandoned => FailureReason::Drained,
            Self::SelfCheck => FailureReason::SelfCheck,
        }
    }
}

/// A proof and what it took.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    pub(crate) words: [Word; 8],
    pub(crate) timings: Timings,
}

/// Keys and threads.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    keys: KeyCache,
    pool: Arc<rayon::ThreadPool>,
}

impl Engine {
    /// An engine on `threads` threads; 0 means one a core. Circuits that are not laid out yet are from now on.
    pub(crate) fn new(keys: KeyCache, threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("prove-{i}")).build()?;
        keys.start_laying_out();
        Ok(Self { keys, pool: Arc::new(pool) })
    }

    pub(crate) fn keys(&self) -> &KeyCache {
        &self.keys
    }

    /// The phase in which a job begins.
    pub(crate) fn first_phase(&self, job: &Job) -> Phase {
        if self.keys.entry(job).is_none_or(|entry| entry.is_laid_out()) { Phase::Witness } else { Phase::LayOut }
    }

    /// Proves a job and checks the proof; `phase` follows. With its last receiver gone the work ends before its next phase.
    pub(crate) async fn prove(&self, job: Job, phase: watch::Sender<Phase>) -> Result<Proven, EngineError> {
        let entry = self.keys.entry(&job).ok_or(EngineError::Key(job.circuit))?;
        if entry.origin() == Origin::InsecureDevelopment {
            check_development_chain(job.chain_id).map_err(EngineError::InsecureKeys)?;
        }
        let pool = self.pool.clone();
        let task = tokio::task::spawn_blocking(move || {
            // not in the pool: a thread of it that waits for a circuit could be the one that lays it out
            let prover = laid_out(&entry, &phase)?;
            pool.install(|| prove(&prover, &job, &phase))
        });
        task.await.unwrap_or(Err(EngineError::Panicked))
    }
}

fn laid_out(entry: &Entry, phase: &watch::Sender<Phase>) -> Result<Arc<Prover>, EngineError> {
    let laid = if entry.is_laid_out() { entry.prover() } else { timed(Phase::LayOut, phase, || entry.prover()).0 };
    let prover = laid.map_err(EngineError::LayOut)?;
    if phase.is_closed() { Err(EngineError::Abandoned) } else { Ok(prover) }
}

fn prove(prover: &Prover, job: &Job, phase: &watch::Sender<Phase>) -> Result<Proven, EngineError> {
    let inputs = job.public_inputs.decode().ok_or(EngineError::PublicInputs)?;
    // binds the chain that the job names to what is proved
    if inputs[PublicInput::Domain as usize] != domain(job.chain_id, &job.contract) {
        return Err(EngineError::PublicInputs);
    }
    let (assignment, witness) = timed(Phase::Witness, phase, || assignment(prover, job, &inputs));
    let assignment = assignment?;
    if phase.is_closed() {
        return Err(EngineError::Abandoned);
    }
    let (proof, proving) = timed(Phase::Prove, phase, || prover.prove_assignment(&assignment, &mut rand::rngs::OsRng));
    let proof = proof.map_err(EngineError::Prove)?;
    let (checked, verifying) = timed(Phase::Verify, phase, || verify(prover.keys().verifying(), &inputs, &proof));
    checked.map_err(|_| EngineError::SelfCheck)?;
    let timings = Timings {
        witness_ms: witness.as_millis() as u64,
        prove_ms: proving.as_millis() as u64,
        verify_ms: verifying.as_millis() as u64,
        threads: rayon::current_num_threads() as u32,
    };
    Ok(Proven { words: proof_words(&proof), timings })
}

fn assignment(prover: &Prover, job: &Job, inputs: &PublicInputs) -> Result<Vec<sheaf_protocol::field::Fr>, EngineError> {
    let assignment = prover.assignment(&job.input.batch, &job.input.challenges).map_err(EngineError::Prove)?;
    if assignment[1..].starts_with(inputs) { Ok(assignment) } else { Err(EngineError::PublicInputs) }
}

fn timed<T>(phase: Phase, report: &watch::Sender<Phase>, work: impl FnOnce() -> T) -> (T, Duration) {
    report.send_replace(phase);
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    metrics::worker_phase(phase, took);
    (result, took)
}
