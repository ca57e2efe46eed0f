//! `sheaf prover`: a worker of the prover fleet as a process; what operators do is in `fleet`.
//!
//! A worker needs the gateway's address, a token and proving keys on disk; it never makes keys.

use crate::fleet::{self, DrainArgs, JobsArgs, OrderArgs, Reading, TokensArgs};
use crate::keys::KeyOptions;
use crate::{stop, tokens};
use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::keys::Keys;
use sheaf_circuits::prove::Prover;
use sheaf_protocol::manifest::Manifest;
use sheaf_protocol::shape::{self, NamedShape, Shape};
use sheaf_prover::memory;
use sheaf_prover::wire::{MAX_WAIT_S, is_worker_name};
use sheaf_prover::worker::{Client, KeyCache, KeyStore, Summary, Worker, WorkerConfig};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `sheaf prover`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf prover run --gateway http://127.0.0.1:3000 --token-file prover-token\n  sheaf prover run --gateway https://prover.example.org --token-file t --manifest manifest.json --threads 8 --memory-mb 8000 --key-store s3://keys/production\n  sheaf prover status\n  sheaf prover retry 17 --reason 'the machine was replaced' --token-file operator-token"
)]
pub struct ProverArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Prove batches until told to stop (SIGTERM or Ctrl-C) or drained; the running batch is finished first.
    #[command(after_help = "Example:\n  sheaf prover run --gateway https://node.example.org --token-file worker-token --manifest manifest.json")]
    Run(Box<RunArgs>),
    /// Show queues, workers, leases, parked jobs, the last faults and orders.
    #[command(after_help = "Examples:\n  sheaf prover status\n  sheaf prover status --gateway https://node.example.org --json")]
    Status(Reading),
    /// List jobs, or show one with its attempts.
    Jobs(JobsArgs),
    /// Send parked jobs back to work.
    #[command(after_help = "Example:\n  sheaf prover retry 17 18 --reason 'more memory' --token-file operator-token")]
    Retry(OrderArgs),
    /// Give jobs to nobody until they are retried; a worker that has one drops it.
    #[command(after_help = "Example:\n  sheaf prover park 17 --reason 'kills every worker' --token-file operator-token")]
    Park(OrderArgs),
    /// Take jobs from their workers; others get them.
    #[command(after_help = "Example:\n  sheaf prover cancel 17 --reason 'too slow there' --token-file operator-token")]
    Cancel(OrderArgs),
    /// Take the batches of parked jobs back from L1, and seal what is in them again in other circuits.
    #[command(after_help = "Example:\n  sheaf prover reseal 17 --reason 'no worker has memory for its circuit' --token-file operator-token")]
    Reseal(OrderArgs),
    /// Give workers no more jobs: each finishes the one that it has, and ends.
    Drain(DrainArgs),
    /// Make a token for a worker, or for an operator; the node needs only its hash.
    #[command(visible_alias = "token")]
    Tokens(TokensArgs),
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
    /// Megabytes that it may use: circuits that need more are left to others, and the system gives it no more, mapped keys aside
    /// [default: all of the machine or container].
    #[arg(long, env = "SHEAF_PROVER_MEMORY_MB", value_parser = clap::value_parser!(u64).range(1..))]
    memory_mb: Option<u64>,
    /// Prove with the keys that this manifest names (`sheaf keys list --json`), found in --keys-dir, instead of development keys by shape.
    #[arg(long, env = "SHEAF_MANIFEST")]
    manifest: Option<PathBuf>,
    /// Fetch keys that --keys-dir lacks from this S3-compatible store, s3://bucket/prefix; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and,
    /// unless it is Amazon's, AWS_ENDPOINT say how.
    #[arg(long, env = "SHEAF_KEY_STORE", requires = "manifest")]
    key_store: Option<String>,
    /// Serve Prometheus metrics here.
    #[arg(long, env = "SHEAF_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,
    #[command(flatten)]
    keys: KeyOptions,
}

/// Runs the command.
///
/// # Errors
/// If the token or the keys cannot be read, the gateway will never serve this worker, or an order is refused.
pub async fn run(args: ProverArgs) -> anyhow::Result<()> {
    match args.verb {
        Verb::Run(args) => work(*args).await,
        Verb::Status(reading) => fleet::status(&reading).await,
        Verb::Jobs(args) => fleet::jobs(&args).await,
        Verb::Retry(args) => fleet::order(&args, "retry").await,
        Verb::Park(args) => fleet::order(&args, "park").await,
        Verb::Cancel(args) => fleet::order(&args, "cancel").await,
        Verb::Reseal(args) => fleet::order(&args, "reseal").await,
        Verb::Drain(args) => fleet::drain(&args).await,
        Verb::Tokens(args) => fleet::make_token(&args),
    }
}

async fn work(args: RunArgs) -> anyhow::Result<()> {
    let stop = stop::on_signals()?;
    let name = args.name.clone().unwrap_or_else(|| format!("worker-{:08x}", rand::random::<u32>()));
    ensure!(is_worker_name(&name), "--name takes up to 64 of A-Z a-z 0-9 . _ -");
    let client = Client::new(&args.gateway, &tokens::token(&args.token_file)?)?;
    if let Some(address) = args.metrics_listen {
        serve_metrics(address).await?;
    }
    if let Some(megabytes) = args.memory_mb {
        memory::limit_mb(megabytes).with_context(|| format!("--memory-mb {megabytes}: the system does not take it as a limit"))?;
    }
    let memory_mb = args.memory_mb.unwrap_or_else(memory::of_this_machine_mb);
    let Some(keys) = stop.run_until_cancelled(open_keys(&args, memory_mb)).await else {
        tracing::info!("worker {name} was told to end before it had opened its keys");
        // fetching them may take long; files appear whole or not at all
        std::process::exit(0);
    };
    let keys = keys?;
    let config = WorkerConfig { name: name.clone(), wait_s: args.wait_s, threads: args.threads, grace_s: args.grace_s, memory_mb };
    let worker = Worker::new(client, keys, config)?;
    tracing::info!("worker {name} asks {} for work", without_secrets(&args.gateway));
    let Summary { accepted, failed } = worker.run(&stop).await?;
    tracing::info!("worker {name} ends: {accepted} proofs accepted, {failed} jobs without one");
    Ok(())
}

/// Opens the keys of the circuits that fit, off the async threads; a worker never makes keys. By a manifest it takes no time: what its files are, it says,
/// and circuits are laid out while the worker asks for work. Development keys by shape are found by their circuit, which is laid out here.
async fn open_keys(args: &RunArgs, memory_mb: u64) -> anyhow::Result<KeyCache> {
    let (options, manifest) = (args.keys.clone(), args.manifest.clone());
    let store = args.key_store.as_deref().map(KeyStore::open).transpose()?;
    tokio::task::spawn_blocking(move || match manifest {
        Some(file) => open_by_manifest(&options.keys_dir, &file, memory_mb, store.as_ref()),
        None => open_by_shape(&options, memory_mb),
    })
    .await?
}

/// True if a shape fits; otherwise says so.
fn fits(name: &str, shape: &Shape, memory_mb: u64) -> bool {
    let needed_mb = memory::needed_mb(shape);
    if needed_mb > memory_mb {
        tracing::warn!("circuit {name} needs {needed_mb} MB and is left to other workers; this one has {memory_mb} MB (--memory-mb)");
    }
    needed_mb <= memory_mb
}

fn open_by_manifest(directory: &Path, file: &Path, memory_mb: u64, store: Option<&KeyStore>) -> anyhow::Result<KeyCache> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let manifest: Manifest = serde_json::from_slice(&text).with_context(|| format!("{} is not a manifest", file.display()))?;
    let fitting = manifest.circuits.iter().filter(|circuit| fits(&circuit.name, &circuit.shape, memory_mb));
    let names: Vec<String> = fitting.map(|circuit| circuit.name.clone()).collect();
    ensure!(!names.is_empty(), "--memory-mb {memory_mb}: no circuit of {} fits; give the worker more", file.display());
    Ok(KeyCache::open_from(directory, &manifest, &names, store)?)
}

fn open_by_shape(options: &KeyOptions, memory_mb: u64) -> anyhow::Result<KeyCache> {
    let named = options.shapes.iter().zip(1..).map(|(name, id)| {
        let named = shape::by_name(name).with_context(|| format!("unknown shape {name}"))?;
        Ok((id, named))
    });
    let named = named.collect::<anyhow::Result<Vec<_>>>()?;
    let fitting = named.into_iter().filter(|(_, named)| fits(named.name, &named.shape, memory_mb));
    let provers = fitting.map(|(id, named)| open_development_key(options, named, id).map(Arc::new)).collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(!provers.is_empty(), "--memory-mb {memory_mb}: no circuit fits; give the worker more");
    Ok(KeyCache::of(provers))
}

fn open_development_key(options: &KeyOptions, named: &NamedShape, id: u32) -> anyhow::Result<Prover> {
    let circuit = Circuit::new(named.shape, id)?;
    let keys = Keys::open_insecure_dev(&options.keys_dir, named.name, &circuit, &options.seed)?;
    Ok(Prover::new(circuit, keys)?)
}

/// The address without user, password, path and query.
fn without_secrets(gateway: &str) -> String {
    reqwest::Url::parse(gateway).map_or_else(|_| "its gateway".to_owned(), |url| url.origin().ascii_serialization())
}

async fn serve_metrics(address: SocketAddr) -> anyhow::Result<()> {
    let handle = crate::metrics::collect(&[sheaf_prover::metrics::count_worker_from_zero])?;
    let router = axum::Router::new().route("/metrics", axum::routing::get(async move || handle.render()));
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("cannot serve metrics on {address}"))?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}
