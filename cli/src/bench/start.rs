//! `sheaf bench start`: how soon a worker asks for work when its key is cached and was checked before.
//!
//! ```text
//! process starts ── manifest, key opened ── claim ──> job       circuit laid out meanwhile
//! ```
//! Each round starts `sheaf prover run` as a process of its own against a gateway on a Postgres of its own, notes when its first claim arrives and
//! when the job goes out, and ends it.

use super::fleet::{Stand, percentile};
use super::prove::timed;
use crate::keys::{self, KeyOptions};
use anyhow::{Context, bail, ensure};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use clap::Args;
use serde_json::{Value, json};
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::keys::Keys;
use sheaf_protocol::manifest::Manifest;
use sheaf_protocol::shape::{self, NamedShape};
use sheaf_prover::memory;
use sheaf_prover::worker::KeyCache;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// `sheaf bench start`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sheaf bench start --shape l1heavy --rounds 5 --json")]
pub(super) struct StartArgs {
    /// Folder of cached keys.
    #[arg(long, env = "SHEAF_KEYS", default_value = ".sheaf/keys")]
    keys_dir: PathBuf,
    /// Shape of the circuit.
    #[arg(long, default_value = "small")]
    shape: String,
    /// Workers started, one after the other; figures are their medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// One JSON object a line.
    #[arg(long)]
    pub(super) json: bool,
}

/// A claim at the gateway.
struct Claim {
    arrived: Instant,
    answered: Instant,
    status: StatusCode,
}

pub(super) async fn run(args: &StartArgs) -> anyhow::Result<Value> {
    let named = shape::by_name(&args.shape).with_context(|| format!("--shape {}: unknown", args.shape))?;
    let options = KeyOptions { keys_dir: args.keys_dir.clone(), shapes: vec![args.shape.clone()], ..KeyOptions::from_environment()? };
    let rounds = args.rounds;
    let (manifest, mut opened, mut laid) = tokio::task::spawn_blocking(move || in_this_process(&options, named, rounds)).await??;
    let key_mb = std::fs::metadata(Keys::path_of(&args.keys_dir, &manifest.setup, &manifest.circuits[0]))?.len() >> 20;

    let (noted, mut claims) = mpsc::unbounded_channel();
    let stand = Stand::start(named, u64::from(rounds), &manifest, |router| noting_claims(router, noted)).await?;
    let files = Files::write(stand.folder.path(), &stand.token, &manifest)?;
    let (mut to_claim, mut to_job) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let started = Instant::now();
        let mut worker = files.start(round, named, &args.keys_dir, &stand.url)?;
        let claim = first_claim(&mut worker, &mut claims, &files.log).await?;
        worker.kill().await?;
        to_claim.push((claim.arrived - started).as_secs_f64() * 1e3);
        to_job.push((claim.answered - started).as_secs_f64() * 1e3);
    }
    Ok(json!({
        "shape": named.name, "rounds": rounds, "key_mb": key_mb, "open_cached_key_ms": percentile(&mut opened, 50),
        "start_to_claim_ms": percentile(&mut to_claim, 50), "start_to_claim_max_ms": percentile(&mut to_claim, 100),
        "start_to_job_ms": percentile(&mut to_job, 50), "lay_out_ms": percentile(&mut laid, 50),
    }))
}

/// The manifest of the shape's key, made if it is not there; milliseconds to open it, and to lay out its circuit.
fn in_this_process(options: &KeyOptions, named: &NamedShape, rounds: u32) -> anyhow::Result<(Manifest, Vec<f64>, Vec<f64>)> {
    let manifest = keys::prepare(options)?.manifest;
    let (mut opened, mut laid) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (keys, took) = timed(|| KeyCache::open(&options.keys_dir, &manifest, &[]));
        keys?;
        opened.push(took);
        let (circuit, took) = timed(|| Circuit::new(named.shape, 1));
        circuit?;
        laid.push(took);
    }
    Ok((manifest, opened, laid))
}

fn noting_claims(router: axum::Router, noted: UnboundedSender<Claim>) -> axum::Router {
    router.layer(from_fn(move |request: Request, next: Next| {
        let (is_claim, arrived, noted) = (request.uri().path().ends_with("/claim"), Instant::now(), noted.clone());
        async move {
            let response = next.run(request).await;
            if is_claim {
                // nobody listens any more once the last worker has claimed
                let _ = noted.send(Claim { arrived, answered: Instant::now(), status: response.status() });
            }
            response
        }
    }))
}

async fn first_claim(worker: &mut Child, claims: &mut UnboundedReceiver<Claim>, log: &Path) -> anyhow::Result<Claim> {
    let claim = tokio::select! {
        claim = claims.recv() => claim.context("the gateway is gone")?,
        ended = worker.wait() => bail!("the worker ended without a claim ({}): {}", ended?, std::fs::read_to_string(log).unwrap_or_default()),
    };
    ensure!(claim.status == StatusCode::OK, "the gateway answered the claim with {}", claim.status);
    Ok(claim)
}

/// What a worker is started with.
struct Files {
    token: PathBuf,
    manifest: PathBuf,
    log: PathBuf,
}

impl Files {
    fn write(folder: &Path, token: &str, manifest: &Manifest) -> anyhow::Result<Self> {
        let [token_file, manifest_file, log] = ["token", "manifest.json", "worker.log"].map(|name| folder.join(name));
        std::fs::write(&token_file, token)?;
        std::fs::write(&manifest_file, serde_json::to_vec(manifest)?)?;
        Ok(Self { token: token_file, manifest: manifest_file, log })
    }

    fn start(&self, round: u32, named: &NamedShape, keys_dir: &Path, url: &str) -> anyhow::Result<Child> {
        let log = File::create(&self.log)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["prover", "run", "--gateway", url, "--name", &format!("start-{round}")]);
        command.args(["--memory-mb", &memory::needed_mb(&named.shape).to_string()]);
        command.arg("--token-file").arg(&self.token).arg("--manifest").arg(&self.manifest).arg("--keys-dir").arg(keys_dir);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        Ok(command.spawn()?)
    }
}
