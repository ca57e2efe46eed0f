//! `sheaf prover`: a worker of the prover fleet as a process, its token, and what a person does about jobs that nobody could prove.
//!
//! A worker needs the gateway's address, a token and proving keys on disk; it never makes keys. `parked` and `retry` speak to the database.

use crate::keys::KeyOptions;
use crate::{stop, tokens};
use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::keys::Keys;
use sheaf_circuits::prove::Prover;
use sheaf_protocol::manifest::Manifest;
use sheaf_protocol::shape;
use sheaf_prover::wire::{MAX_WAIT_S, is_worker_name};
use sheaf_prover::worker::{Client, KeyCache, Summary, Worker, WorkerConfig};
use sheaf_store::jobs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `sheaf prover`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf prover run --gateway http://127.0.0.1:3000 --token-file prover-token\n  sheaf prover run --gateway https://prover.example.org --token-file t --manifest manifest.json --threads 8\n  sheaf prover parked"
)]
pub struct ProverArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Prove batches until told to stop (SIGTERM or Ctrl-C); the running batch is finished first.
    Run(Box<RunArgs>),
    /// Make a token for a worker; the node needs only its hash.
    Token,
    /// List the jobs that were parked because several workers failed on them.
    Parked(JobsArgs),
    /// Send parked jobs back to work.
    #[command(after_help = "Example:\n  sheaf prover parked\n  sheaf prover retry 17 18")]
    Retry {
        #[command(flatten)]
        jobs: JobsArgs,
        /// Batch numbers.
        #[arg(required = true)]
        batches: Vec<u64>,
    },
}

#[derive(Args, Debug)]
struct JobsArgs {
    /// The node's Postgres.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

#[derive(Args, Debug)]
struct RunArgs {
    /// Address of the node that has the work.
    #[arg(long, env = "SHEAF_GATEWAY")]
    gateway: String,
    /// File with the worker's token, the first in it. A token is never an argument: arguments are public.
    #[arg(long, env = "SHEAF_PROVER_TOKEN_FILE")]
    token_file: PathBuf,
    /// Name of this worker, unique among running ones; default: a random one.
    #[arg(long, env = "SHEAF_WORKER_NAME")]
    name: Option<String>,
    /// Threads that prove; 0: one a core.
    #[arg(long, env = "SHEAF_PROVER_THREADS", default_value_t = 0)]
    threads: usize,
    /// Seconds that a request for work waits at the gateway.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=MAX_WAIT_S as i64))]
    wait_s: u32,
    /// Seconds that a running batch may still take after the order to stop.
    #[arg(long, default_value_t = 600)]
    grace_s: u64,
    /// Prove with the keys that this manifest names (`sheaf keys list --json`), found in --keys-dir, instead of development keys by shape.
    #[arg(long, env = "SHEAF_MANIFEST")]
    manifest: Option<PathBuf>,
    /// Serve Prometheus metrics here.
    #[arg(long, env = "SHEAF_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,
    #[command(flatten)]
    keys: KeyOptions,
}

/// Runs the command.
///
/// # Errors
/// If the token or the keys cannot be read, or the gateway will never serve this worker.
pub async fn run(args: ProverArgs) -> anyhow::Result<()> {
    match args.verb {
        Verb::Run(args) => work(*args).await,
        Verb::Token => {
            let token = sheaf_prover::gateway::new_token();
            println!("for the worker's --token-file    {token}");
            println!("for the node's --prover-tokens   sha256:{}", sheaf_prover::gateway::TokenHash::of(&token));
            Ok(())
        }
        Verb::Parked(jobs) => parked(&jobs).await,
        Verb::Retry { jobs, batches } => retry(&jobs, &batches).await,
    }
}

async fn parked(args: &JobsArgs) -> anyhow::Result<()> {
    let pool = sheaf_store::pool::connect(&args.database_url).await?;
    let parked = jobs::parked(&mut *pool.acquire().await?).await?;
    if parked.is_empty() {
        println!("no job is parked");
    }
    parked.iter().for_each(|(batch, reason)| println!("batch {batch:<8} {reason}"));
    Ok(())
}

/// All that can be sent back are, even if one cannot.
async fn retry(args: &JobsArgs, batches: &[u64]) -> anyhow::Result<()> {
    let pool = sheaf_store::pool::connect(&args.database_url).await?;
    let mut connection = pool.acquire().await?;
    let mut others = Vec::new();
    for batch in batches {
        if jobs::retry(&mut connection, *batch).await? {
            println!("batch {batch} waits for a worker again");
        } else {
            others.push(batch.to_string());
        }
    }
    ensure!(others.is_empty(), "not parked: batch {}; `sheaf prover parked` lists those that are", others.join(", "));
    Ok(())
}

async fn work(args: RunArgs) -> anyhow::Result<()> {
    let name = args.name.clone().unwrap_or_else(|| format!("worker-{:08x}", rand::random::<u32>()));
    ensure!(is_worker_name(&name), "--name takes up to 64 of A-Z a-z 0-9 . _ -");
    let client = Client::new(&args.gateway, &tokens::token(&args.token_file)?)?;
    if let Some(address) = args.metrics_listen {
        serve_metrics(address).await?;
    }
    let keys = open_keys(&args).await?;
    let config = WorkerConfig { name: name.clone(), wait_s: args.wait_s, threads: args.threads, grace_s: args.grace_s };
    let worker = Worker::new(client, keys, config)?;
    let stop = stop::on_signals()?;
    eprintln!("worker {name} asks {} for work", args.gateway);
    let Summary { accepted, failed } = worker.run(&stop).await?;
    eprintln!("worker {name} ends: {accepted} proofs accepted, {failed} jobs without one");
    Ok(())
}

/// Opens the keys off the async threads; a worker never makes keys.
async fn open_keys(args: &RunArgs) -> anyhow::Result<KeyCache> {
    let (options, manifest) = (args.keys.clone(), args.manifest.clone());
    tokio::task::spawn_blocking(move || match manifest {
        Some(file) => open_by_manifest(&options.keys_dir, &file),
        None => open_by_shape(&options),
    })
    .await?
}

fn open_by_manifest(directory: &Path, file: &Path) -> anyhow::Result<KeyCache> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let manifest: Manifest = serde_json::from_slice(&text).with_context(|| format!("{} is not a manifest", file.display()))?;
    Ok(KeyCache::open(directory, &manifest, &[])?)
}

fn open_by_shape(options: &KeyOptions) -> anyhow::Result<KeyCache> {
    let provers = options.shapes.iter().zip(1..).map(|(name, id)| open_development_key(options, name, id).map(Arc::new));
    Ok(KeyCache::of(provers.collect::<anyhow::Result<Vec<_>>>()?))
}

fn open_development_key(options: &KeyOptions, name: &str, id: u32) -> anyhow::Result<Prover> {
    let named = shape::by_name(name).with_context(|| format!("unknown shape {name}"))?;
    let circuit = Circuit::new(named.shape, id)?;
    let keys = Keys::open_insecure_dev(&options.keys_dir, name, &circuit, &options.seed)?;
    Ok(Prover::new(circuit, keys))
}

async fn serve_metrics(address: SocketAddr) -> anyhow::Result<()> {
    let handle = crate::metrics::collect()?;
    let router = axum::Router::new().route("/metrics", axum::routing::get(async move || handle.render()));
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("cannot serve metrics on {address}"))?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}
