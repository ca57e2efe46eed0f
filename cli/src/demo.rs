//! `sheaf demo`: the main job once, end to end and for real, with a node killed half-way; exit 0 only if every check held.
//!
//! ```text
//! Postgres, Anvil, contract ─> node, two workers ─> deposits ─> 150 transfers ─> kill -9 ─> 150 more ─> withdrawals
//!                                                                     final on L1 ─> claim ─> roots compared ─> table
//! ```

use crate::dev::DevStack;
use crate::keys::{KeyOptions, KeySet, prepare};
use crate::process::Launcher;
use crate::scenario::Scenario;
use anyhow::Context;
use clap::Args;
use sheaf_circuits::counts::Counts;
use sheaf_protocol::field::{Word, to_hex};
use std::path::PathBuf;
use std::time::Instant;

/// Accounts opened; half in each token.
const ACCOUNTS: usize = 20;
/// Transfers sent.
const TRANSFERS: usize = 300;
/// Withdrawals made.
const WITHDRAWALS: usize = 3;

/// `sheaf demo`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf demo                  300 transfers with the default circuits\n  sheaf demo --dir run        keep logs and database in ./run"
)]
pub struct DemoArgs {
    #[command(flatten)]
    keys: KeyOptions,
    /// Folder of the run, kept afterwards; without it a temporary one that is removed.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Runs the demonstration.
///
/// # Errors
/// The first check that does not hold.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let keys = prepare(&args.keys)?;
    let scratch = tempfile::Builder::new().prefix("sheaf-demo-").tempdir()?;
    let dir = args.dir.unwrap_or_else(|| scratch.path().to_owned());
    tokio::select! {
        outcome = play(args.keys, &keys, dir) => outcome,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    }
}

async fn play(options: KeyOptions, keys: &KeySet, dir: PathBuf) -> anyhow::Result<()> {
    say("starting Postgres and Anvil, deploying the contract");
    let stack = DevStack::start(&dir, std::env::var("DATABASE_URL").ok(), keys).await?;
    let start = Instant::now();
    let launcher = Launcher::new(std::env::current_exe()?, dir, options)?;
    let mut node = launcher.node(&stack, "127.0.0.1:0").await?;
    let _workers = [launcher.worker(node.url(), "worker-1", 1)?, launcher.worker(node.url(), "worker-2", 1)?];
    let mut people = Scenario::new(&stack, node.url()).await?;

    say(&format!("opening {ACCOUNTS} accounts by deposits on L1, in two tokens"));
    people.open_accounts(ACCOUNTS).await?;
    say(&format!("sending {} transfers over HTTP", TRANSFERS / 2));
    people.send_transfers(TRANSFERS / 2).await?;
    say("kill -9 of the node, restart");
    let address = node.address().to_owned();
    node.kill().await?;
    node = launcher.node(&stack, &address).await?;
    say(&format!("sending {} more", TRANSFERS - TRANSFERS / 2));
    people.send_transfers(TRANSFERS - TRANSFERS / 2).await?;
    say(&format!("making {WITHDRAWALS} withdrawals"));
    people.withdraw(WITHDRAWALS).await?;
    say("waiting until everything is final on L1");
    people.wait_until_final().await?;
    let seconds = start.elapsed().as_secs_f64();
    say("claiming a withdrawal on L1");
    people.claim().await?;
    let root = people.checked_root(&stack, keys.srs.clone()).await?;
    report(&stack, keys, seconds, &root).await?;
    node.stop().await
}

fn say(text: &str) {
    println!("-- {text}");
}

async fn report(stack: &DevStack, keys: &KeySet, seconds: f64, root: &Word) -> anyhow::Result<()> {
    let pool = sheaf_store::pool::connect(&stack.database_url).await?;
    let costs = sheaf_store::costs::costs(&mut *pool.acquire().await?).await?;
    let (prover, entry) = keys.provers.first().zip(keys.manifest.circuits.first()).context("no circuit")?;
    let counts = Counts::of(&entry.name, prover.circuit());
    let gas = |total: i64| total as f64 / TRANSFERS as f64;
    println!();
    row("transfers", &format!("{TRANSFERS} final, with {WITHDRAWALS} withdrawals and {ACCOUNTS} accounts"));
    row("batches", &costs.batches.to_string());
    row("constraints per transfer", &format!("{:.0} worst case, {:.0} hot", counts.marginal_worst, counts.marginal_hot));
    row("seconds per proof", &format!("{:.1} (mean; two workers with one thread each)", costs.mean_prove_ms / 1e3));
    row("L1 gas per transfer", &format!("{:.0} calldata, {:.0} execution", gas(costs.calldata_gas), gas(costs.execution_gas)));
    row("seconds from start to final", &format!("{seconds:.1}"));
    row("root on L1 = from Postgres", &to_hex(root));
    println!("\nevery check held");
    Ok(())
}

fn row(name: &str, value: &str) {
    println!("{name:<28} {value}");
}
