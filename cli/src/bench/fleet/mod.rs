//! `sheaf bench fleet`: lease operations a second of the gateway, on a Postgres of its own that syncs every commit.
//!
//! ```text
//! worker:  claim ──> heartbeat ──> submit ──> claim ...      over HTTP, until nothing is left
//! ```
//! Every proof is valid and checked by the gateway; making one takes the workers next to nothing, because they know the key's trapdoor,
//! and they do not read the batch that they are sent. Workers, gateway and Postgres share the machine. Afterwards the database gives its account: every job proven, once.

mod trapdoor;

use super::prove::full_batch;
use crate::folder::RunFolder;
use anyhow::{Context, ensure};
use clap::Args;
use serde_json::{Value, json};
use sheaf_protocol::amount::Address;
use sheaf_protocol::batch::{Challenges, ProverInput};
use sheaf_protocol::field::{Fr, G1Affine, to_word};
use sheaf_protocol::header::{self, Header, Record};
use sheaf_protocol::manifest::{HexWord, Manifest};
use sheaf_protocol::shape::{self, NamedShape};
use sheaf_prover::gateway::{Gateway, GatewayConfig, TokenHash, Verifier, new_token};
use sheaf_prover::wire::{Claim, Heartbeat, OfferedCircuit, Outcome, Phase, Submission, Timings};
use sheaf_prover::worker::Client;
use sheaf_store::batches::{self, Computed, Seal};
use sheaf_store::deployment::{self, Deployment};
use sheaf_store::embedded::{Cluster, ClusterOptions};
use sheaf_store::fleet;
use sqlx::PgPool;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use trapdoor::Trapdoor;

const CHAIN_ID: u64 = 31_337;
const CONTRACT: Address = Address([1; 20]);

/// `sheaf bench fleet`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sheaf bench fleet --workers 50 --jobs 3000 --json")]
pub(super) struct FleetArgs {
    /// Workers, each with a connection of its own.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    workers: u32,
    /// Batches that wait to be proved.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    jobs: u64,
    /// Shape of the batches, each with as many transfers as fit.
    #[arg(long, default_value = "small")]
    shape: String,
    /// One JSON object a line.
    #[arg(long)]
    pub(super) json: bool,
}

/// A gateway on a Postgres of its own, with batches that wait to be proved. It ends when dropped.
pub(super) struct Stand {
    pub(super) url: String,
    /// Lets workers in.
    pub(super) token: String,
    pool: PgPool,
    /// Of one job.
    input_bytes: usize,
    _ends: DropGuard,
    _cluster: Cluster,
    pub(super) folder: RunFolder,
}

impl Stand {
    /// A stand with so many batches of the manifest's circuit 1, which has this shape. `watched` may add to the gateway's router.
    pub(super) async fn start(
        named: &NamedShape,
        jobs: u64,
        manifest: &Manifest,
        watched: impl FnOnce(axum::Router) -> axum::Router,
    ) -> anyhow::Result<Self> {
        let folder = RunFolder::new(None, "sheaf-fleet-")?;
        let cluster = Cluster::start_with(&folder.path().join("postgres"), ClusterOptions::default()).await?;
        let pool = sheaf_store::pool::connect(cluster.url()).await?;
        let input_bytes = make_jobs(&pool, named, jobs, manifest.digest()).await?;
        let (token, stop) = (new_token(), CancellationToken::new());
        let gateway = Gateway::new(pool.clone(), Verifier::new(manifest)?, GatewayConfig::new(vec![TokenHash::of(&token)]), stop.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (router, stopped) = (watched(gateway.router()), stop.clone());
        tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned()).await });
        tokio::spawn(async move { gateway.watch().await });
        Ok(Self { url, token, pool, input_bytes, _ends: stop.drop_guard(), _cluster: cluster, folder })
    }
}

/// What a worker saw.
#[derive(Default)]
struct Seen {
    claims_ms: Vec<f64>,
    heartbeats_ms: Vec<f64>,
    submits_ms: Vec<f64>,
    /// Batches whose proof was stored by its submission.
    stored: Vec<u64>,
}

pub(super) async fn run(args: &FleetArgs) -> anyhow::Result<Value> {
    let named = shape::by_name(&args.shape).with_context(|| format!("--shape {}: unknown", args.shape))?;
    let trapdoor = Arc::new(Trapdoor::random());
    let manifest = trapdoor.manifest(named);
    eprintln!("making {} jobs ...", args.jobs);
    let Stand { url, token, pool, input_bytes, .. } = &Stand::start(named, args.jobs, &manifest, |router| router).await?;

    let offer = OfferedCircuit { circuit: 1, verifying_key: manifest.circuits[0].verifying_key };
    let clients = (0..args.workers).map(|_| Client::new(url, token)).collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        workers.spawn(work(client, format!("worker-{number}"), offer, trapdoor.clone()));
    }
    let mut all = Seen::default();
    while let Some(seen) = workers.join_next().await {
        let seen = seen??;
        all.claims_ms.extend(seen.claims_ms);
        all.heartbeats_ms.extend(seen.heartbeats_ms);
        all.submits_ms.extend(seen.submits_ms);
        all.stored.extend(seen.stored);
    }
    let seconds = start.elapsed().as_secs_f64();

    let account = fleet::account(&mut *pool.acquire().await?).await?;
    let fleet::Account { jobs, proven, proofs, attempts, proven_twice } = account;
    let lost = args.jobs - proven.min(args.jobs);
    let told: BTreeSet<u64> = all.stored.iter().copied().collect();
    let stored_twice = all.stored.len() - told.len();
    ensure!((jobs, proven, proofs) == (args.jobs, args.jobs, args.jobs) && told.len() as u64 == args.jobs, "jobs were lost: {account:?}");
    ensure!(proven_twice == 0 && stored_twice == 0, "jobs were done twice: {account:?}, {stored_twice} stored twice");
    let operations = all.claims_ms.len() + all.heartbeats_ms.len() + all.submits_ms.len();
    Ok(json!({
        "workers": args.workers, "jobs": args.jobs, "shape": named.name, "input_bytes": input_bytes,
        "operations": operations, "operations_per_s": (operations as f64 / seconds).round(),
        "jobs_per_s": (args.jobs as f64 / seconds).round(),
        "claim_p50_ms": percentile(&mut all.claims_ms, 50), "claim_p99_ms": percentile(&mut all.claims_ms, 99),
        "heartbeat_p50_ms": percentile(&mut all.heartbeats_ms, 50), "heartbeat_p99_ms": percentile(&mut all.heartbeats_ms, 99),
        "submit_p50_ms": percentile(&mut all.submits_ms, 50), "submit_p99_ms": percentile(&mut all.submits_ms, 99),
        "attempts": attempts, "lost": lost, "done_twice": proven_twice,
    }))
}

pub(super) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(at).map_or(0.0, |value| (value * 10.0).round() / 10.0)
}

async fn work(client: Client, name: String, offer: OfferedCircuit, trapdoor: Arc<Trapdoor>) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    loop {
        let claim = Claim { worker: name.clone(), circuits: vec![offer], memory_mb: u64::from(u32::MAX), wait_s: 0 };
        let (job, took) = timed(client.claim_head(&claim)).await?;
        let Some(job) = job else { return Ok(seen) };
        seen.claims_ms.push(took);
        let beat = Heartbeat { lease: job.lease, worker: name.clone(), progress: Phase::Prove, percent: Some(50) };
        seen.heartbeats_ms.push(timed(client.heartbeat(job.batch, &beat)).await?.1);
        let inputs = job.public_inputs.decode().context("the job's public inputs are field elements")?;
        let proof = trapdoor.prove(&inputs).context("the trapdoor is usable")?.map(HexWord);
        let submission = Submission { lease: job.lease, worker: name.clone(), proof, timings: Timings { threads: 1, ..Timings::default() } };
        let (accepted, took) = timed(client.submit(job.batch, &submission)).await?;
        seen.submits_ms.push(took);
        if accepted.outcome != Outcome::AlreadyProven {
            seen.stored.push(job.batch);
        }
    }
}

async fn timed<T, E>(call: impl Future<Output = Result<T, E>>) -> Result<(T, f64), E> {
    let start = Instant::now();
    let answer = call.await?;
    Ok((answer, start.elapsed().as_secs_f64() * 1e3))
}

/// Computed batches as the sequencer leaves them, all with the same full input; returns its size.
async fn make_jobs(pool: &PgPool, named: &NamedShape, jobs: u64, manifest_digest: HexWord) -> anyhow::Result<usize> {
    let domain = header::domain(CHAIN_ID, &CONTRACT);
    let bound = Deployment {
        chain_id: CHAIN_ID,
        contract: CONTRACT,
        domain: to_word(domain),
        deploy_block: 0,
        manifest_digest: manifest_digest.0,
        k: 16,
        finality_depth: 1,
    };
    deployment::bind(&mut *pool.acquire().await?, &bound).await?;
    let batch = full_batch(&named.shape)?;
    let posted_data = batch.posted_data();
    let input = serde_json::to_value(ProverInput { batch, challenges: Challenges { rho: Fr::from(1u64), zeta: Fr::from(2u64) } })?;
    let mut transaction = pool.begin().await?;
    for number in 1..=jobs {
        let header = Header {
            number,
            circuit: 1,
            old_root: [0; 32],
            commitments: [G1Affine::identity(); 3],
            h: Fr::from(number),
            queue_digest: [0; 32],
            taken: 0,
            ops_hash: [0; 32],
            data_hash: [0; 32],
        };
        let record = Record { header, quotient: G1Affine::identity(), y_da: Fr::from(number), y_ops: Fr::from(1u64) };
        let computed = Computed {
            number,
            record: record.words(),
            new_root: [0; 32],
            opening: [[0; 32]; 2],
            claims: [1u64, 2, 3].map(|claim| to_word(Fr::from(claim))),
            posted_data: posted_data.clone(),
            choices: vec![],
            ops_words: vec![],
            input: input.clone(),
            slots: vec![],
        };
        batches::seal(&mut transaction, &Seal { number, circuit: 1, reason: "size", last_seq: 0 }).await?;
        batches::store_computed(&mut transaction, &computed).await?;
    }
    transaction.commit().await?;
    // what the server does by itself within a minute, where batches do not come by the thousand
    sheaf_store::jobs::analyze(&mut *pool.acquire().await?).await?;
    Ok(input.to_string().len())
}
