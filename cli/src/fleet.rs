//! `sheaf prover status | jobs | retry | park | cancel | reseal | drain | tokens`: the fleet seen and steered over the gateway, which writes every order
//! into the audit log under the name of the operator's token.

use crate::tokens;
use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;
use sheaf_prover::gateway::{TokenHash, new_token};
use sheaf_prover::wire::fleet::{ActionView, AttemptView, FleetStatus, JobDetail, JobQuery, JobState, JobView, MAX_REASON_BYTES, WorkerView};
use sheaf_prover::wire::is_worker_name;
use sheaf_prover::worker::Client;
use std::fmt::Write;
use std::path::PathBuf;

/// Where the gateway is and how to print.
#[derive(Args, Debug)]
pub(crate) struct Reading {
    /// Address of the node.
    #[arg(long, env = "SHEAF_GATEWAY", default_value = "http://127.0.0.1:3000")]
    gateway: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What an order needs beside.
#[derive(Args, Debug)]
pub(crate) struct Ordering {
    #[command(flatten)]
    reading: Reading,
    /// File with the operator's token, the first in it.
    #[arg(long, env = "SHEAF_OPERATOR_TOKEN_FILE")]
    token_file: PathBuf,
    /// Why: shown to everybody who looks, kept in the audit log.
    #[arg(long)]
    reason: String,
}

/// `sheaf prover jobs`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sheaf prover jobs --state parked\n  sheaf prover jobs 17 --json")]
pub(crate) struct JobsArgs {
    #[command(flatten)]
    reading: Reading,
    /// One batch, with its attempts and what operators did about it.
    batch: Option<u64>,
    /// Only jobs in this state.
    #[arg(long, default_value = JobState::Open.name(), value_parser = JobState::ALL.map(JobState::name), conflicts_with = "batch")]
    state: String,
    /// At most so many, the newest first.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500), conflicts_with = "batch")]
    limit: u32,
}

/// An order about batches.
#[derive(Args, Debug)]
pub(crate) struct OrderArgs {
    #[command(flatten)]
    ordering: Ordering,
    /// Batch numbers.
    #[arg(required = true)]
    batches: Vec<u64>,
}

/// `sheaf prover drain`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf prover drain host-3 --reason 'new disk' --token-file operator-token\n  sheaf prover drain host-3 --undo --reason 'disk is in' --token-file operator-token"
)]
pub(crate) struct DrainArgs {
    #[command(flatten)]
    ordering: Ordering,
    /// Names of workers.
    #[arg(required = true)]
    workers: Vec<String>,
    /// Give them jobs again.
    #[arg(long)]
    undo: bool,
}

/// `sheaf prover tokens`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sheaf prover tokens\n  sheaf prover tokens --operator alice")]
pub(crate) struct TokensArgs {
    /// Make an operator's token, for a person or program of this name.
    #[arg(long)]
    operator: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Reading {
    fn client(&self, token: &str) -> anyhow::Result<Client> {
        Client::new(&self.gateway, token).with_context(|| format!("--gateway {}", self.gateway))
    }

    fn show<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(value)?);
        } else {
            print!("{}", text(value));
        }
        Ok(())
    }
}

impl Ordering {
    fn client(&self) -> anyhow::Result<Client> {
        let fits = !self.reason.trim().is_empty() && self.reason.len() <= MAX_REASON_BYTES;
        ensure!(fits, "--reason: say why in 1 to {MAX_REASON_BYTES} bytes; it is kept in the audit log");
        self.reading.client(&tokens::token(&self.token_file)?)
    }
}

/// The fleet as it stands.
pub(crate) async fn status(reading: &Reading) -> anyhow::Result<()> {
    reading.show(&reading.client("")?.status().await?, overview)
}

/// Jobs, or one of them.
pub(crate) async fn jobs(args: &JobsArgs) -> anyhow::Result<()> {
    let client = args.reading.client("")?;
    if let Some(batch) = args.batch {
        return args.reading.show(&client.job(batch).await?, detail);
    }
    let query = JobQuery { state: Some(args.state.clone()), before: None, after: None, limit: Some(args.limit) };
    args.reading.show(&client.jobs(&query).await?, |list| {
        let more = list.next.map(|_| "more of them: --limit\n").unwrap_or_default();
        format!("{}{more}", job_lines(&list.jobs))
    })
}

/// Gives the same order about each batch, even if one is refused.
pub(crate) async fn order(args: &OrderArgs, verb: &str) -> anyhow::Result<()> {
    let (client, ordering) = (args.ordering.client()?, &args.ordering);
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for batch in &args.batches {
        match client.order(*batch, verb, &ordering.reason).await {
            Ok(JobDetail { job, .. }) => done.push(job),
            Err(error) => refused.push(format!("batch {batch}: {}", anyhow::Error::from(error))),
        }
    }
    ordering.reading.show(&done, |jobs| job_lines(jobs))?;
    ensure!(refused.is_empty(), "{}", refused.join("\n       "));
    Ok(())
}

/// Drains workers, or gives them jobs again.
pub(crate) async fn drain(args: &DrainArgs) -> anyhow::Result<()> {
    let (client, ordering) = (args.ordering.client()?, &args.ordering);
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for worker in &args.workers {
        ensure!(is_worker_name(worker), "{worker:?} is no worker's name; `sheaf prover status` lists them");
        match client.drain(worker, !args.undo, &ordering.reason).await {
            Ok(worker) => done.push(worker),
            Err(error) => refused.push(format!("worker {worker}: {}", anyhow::Error::from(error))),
        }
    }
    ordering.reading.show(&done, |workers| worker_lines(workers))?;
    ensure!(refused.is_empty(), "{}", refused.join("\n       "));
    Ok(())
}

#[derive(Serialize)]
struct Made {
    token: String,
    hash: String,
}

/// Makes a token; the node needs only its hash.
pub(crate) fn make_token(args: &TokensArgs) -> anyhow::Result<()> {
    let token = new_token();
    let hash = format!("sha256:{}", TokenHash::of(&token));
    let (name, mine, nodes) = match &args.operator {
        Some(name) => {
            ensure!(is_worker_name(name) && name.len() < token.len(), "--operator takes up to 63 of A-Z a-z 0-9 . _ -");
            (format!("{name} "), "for the operator's --token-file ", "for the node's --operator-tokens")
        }
        None => (String::new(), "for the worker's --token-file  ", "for the node's --prover-tokens "),
    };
    if args.json {
        println!("{}", serde_json::to_string(&Made { token: format!("{name}{token}"), hash: format!("{name}{hash}") })?);
    } else {
        println!("{mine}  {name}{token}\n{nodes}  {name}{hash}");
    }
    Ok(())
}

fn overview(status: &FleetStatus) -> String {
    let mut text =
        format!("{:<8} {:<12} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9}\n", "CIRCUIT", "NAME", "WAITING", "LEASED", "EXPIRED", "PARKED", "OLDEST", "NEEDS");
    for circuit in &status.circuits {
        let (oldest, needs) = (format!("{:.0} s", circuit.oldest_s), format!("{} MB", circuit.memory_mb));
        let _ = writeln!(
            text,
            "{:<8} {:<12} {:>8} {:>8} {:>8} {:>8} {oldest:>9} {needs:>9}",
            circuit.circuit, circuit.name, circuit.waiting, circuit.leased, circuit.expired, circuit.parked
        );
    }
    text += &section("workers", worker_lines(&status.workers));
    text += &section("leases", job_lines(&status.leases));
    text += &section("parked: `sheaf prover jobs BATCH` says more, `sheaf prover retry BATCH` sends back to work", job_lines(&status.parked));
    text += &section("last faults", attempt_lines(&status.faults));
    text + &section("last orders", action_lines(&status.actions))
}

fn section(title: &str, lines: String) -> String {
    if lines.is_empty() { String::new() } else { format!("\n{title}\n{lines}") }
}

fn detail(detail: &JobDetail) -> String {
    job_lines(std::slice::from_ref(&detail.job))
        + &section("attempts", attempt_lines(&detail.attempts))
        + &section("orders", action_lines(&detail.actions))
}

fn worker_lines(workers: &[WorkerView]) -> String {
    let line = |worker: &WorkerView| {
        let circuits: Vec<String> = worker.circuits.iter().map(u32::to_string).collect();
        let state = worker.drain_since.as_ref().map(|since| format!("  drained {since}")).unwrap_or_default();
        let WorkerView { name, silent_s, memory_mb, proven, failed, .. } = worker;
        format!("{name:<24} seen {silent_s} s ago  {memory_mb} MB  circuits {}  {proven} proven  {failed} failed{state}\n", circuits.join(","))
    };
    workers.iter().map(line).collect()
}

fn job_lines(jobs: &[JobView]) -> String {
    let line = |job: &JobView| {
        let JobView { batch, circuit, state, attempts, age_s, .. } = job;
        let who = job.worker.as_ref().or(job.proven_by.as_ref()).map(|worker| format!("  {worker}")).unwrap_or_default();
        let percent = job.percent.map(|percent| format!(" {percent} %")).unwrap_or_default();
        let phase = job.phase.as_ref().filter(|_| job.worker.is_some()).map(|phase| format!("  {phase}{percent}")).unwrap_or_default();
        let left = job.lease_ms.map(|ms| format!("  lease ends in {:.1} s", ms as f64 / 1e3)).unwrap_or_default();
        let error = job.last_error.as_ref().filter(|_| job.proven_at.is_none()).map(|error| format!("  {error}")).unwrap_or_default();
        let taken_back = if job.taken_back { "  is being taken back from L1" } else { "" };
        format!("batch {batch:<8} circuit {circuit}  {state:<8} {age_s} s old  {attempts} attempts{who}{phase}{left}{taken_back}{error}\n")
    };
    jobs.iter().map(line).collect()
}

fn attempt_lines(attempts: &[AttemptView]) -> String {
    let line = |attempt: &AttemptView| {
        let AttemptView { batch, lease, worker, started_at, .. } = attempt;
        let outcome = attempt.outcome.as_deref().unwrap_or("runs");
        let why: Vec<&str> = [&attempt.reason, &attempt.detail].into_iter().flatten().map(String::as_str).collect();
        format!("{started_at}  batch {batch} lease {lease}  {worker:<24} {outcome:<9} {}\n", why.join(": "))
    };
    attempts.iter().map(line).collect()
}

fn action_lines(actions: &[ActionView]) -> String {
    let line = |action: &ActionView| {
        let about = action.batch.map(|batch| format!("batch {batch}")).or_else(|| action.worker.clone()).unwrap_or_default();
        format!("{}  {:<12} {:<14} {about}: {}\n", action.at, action.actor, action.action, action.reason)
    };
    actions.iter().map(line).collect()
}
