//! `sheaf demo`: the main job once, end to end and for real, with the node killed while people send; exit 0 only if every check held.
//!
//! ```text
//! Postgres, Anvil, contract ─> node, two workers ─> deposits ─> 300 transfers, kill -9 of the node after 150 ─> withdrawals
//!                                                                     final on L1 ─> claim ─> roots compared ─> table
//! ```

use crate::dev::{DEPLOYMENT_FILE, DevStack};
use crate::folder::RunFolder;
use crate::guard::{Guard, StopSignals};
use crate::keys::{KeyOptions, KeySet, prepare};
use crate::process::{Launcher, Node, while_alive};
use crate::scenario::{Final, Scenario};
use anyhow::{Context, bail, ensure};
use clap::Args;
use sheaf_circuits::counts::Counts;
use sheaf_protocol::field::{Word, to_hex};
use std::path::{Path, PathBuf};
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
    let guard = Guard::start(&std::env::current_exe()?)?;
    let folder = RunFolder::new(args.dir, "sheaf-demo-")?;
    ensure!(!folder.path().join(DEPLOYMENT_FILE).exists(), "--dir {} holds an earlier run; name a new folder", folder.path().display());
    let mut stop = StopSignals::listen()?;
    let outcome = tokio::select! {
        outcome = play(args.keys, &keys, folder.path(), &guard) => outcome,
        () = stop.received() => bail!("interrupted"),
    };
    folder.after(outcome)
}

/// What the table says beside the costs.
struct Outcome {
    accounts: usize,
    settled: Final,
    root: Word,
    /// Seconds until everything runs.
    started_s: f64,
    /// Seconds until everything is final.
    final_s: f64,
}

async fn play(options: KeyOptions, keys: &KeySet, dir: &Path, guard: &Guard) -> anyhow::Result<()> {
    let start = Instant::now();
    say("starting Postgres and Anvil, deploying the contract");
    let stack = DevStack::start(dir, keys, guard).await?;
    say("starting a node and two prover workers");
    let launcher = Launcher::new(std::env::current_exe()?, dir.to_owned(), options, guard)?;
    let mut node = launcher.node(&stack, "127.0.0.1:0").await?;
    let [mut one, mut two] = [launcher.worker(node.url(), "worker-1", 1)?, launcher.worker(node.url(), "worker-2", 1)?];
    let mut people = Scenario::new(&stack, node.url()).await?;
    let started_s = start.elapsed().as_secs_f64();

    say(&format!("opening {ACCOUNTS} accounts by deposits on L1, in two tokens"));
    while_alive(&mut [&mut node.process, &mut one, &mut two], people.open_accounts(ACCOUNTS)).await?;
    say(&format!("sending {TRANSFERS} transfers over HTTP; kill -9 of the node on the way, and restart"));
    let sending = send_through_a_crash(&mut people, node, &launcher, &stack);
    node = while_alive(&mut [&mut one, &mut two], sending).await?;
    let settled = while_alive(&mut [&mut node.process, &mut one, &mut two], async {
        say(&format!("making {WITHDRAWALS} withdrawals"));
        people.withdraw(WITHDRAWALS).await?;
        say("waiting until everything is final on L1");
        people.wait_until_final().await
    })
    .await?;
    let final_s = start.elapsed().as_secs_f64();
    let expected = Final { transfers: TRANSFERS, withdrawals: WITHDRAWALS };
    ensure!(settled == expected, "final are {settled:?}, sent were {expected:?}");
    say("claiming a withdrawal on L1");
    people.claim().await?;
    let root = people.checked_root(&stack, keys.srs.clone()).await?;
    report(&stack, keys, &Outcome { accounts: people.users.len(), settled, root, started_s, final_s }).await?;
    node.process.stop().await
}

/// All transfers, with the node killed when half of them are acknowledged and the others on their way.
async fn send_through_a_crash(people: &mut Scenario, node: Node, launcher: &Launcher, stack: &DevStack) -> anyhow::Result<Node> {
    let (mut acknowledged, address) = (people.acknowledged(), node.address().to_owned());
    let crash = async {
        acknowledged.wait_for(|hashes| hashes.len() >= TRANSFERS / 2).await?;
        node.process.kill().await?;
        launcher.node(stack, &address).await
    };
    let ((), node) = tokio::try_join!(people.send_transfers(TRANSFERS), crash)?;
    Ok(node)
}

fn say(text: &str) {
    println!("-- {text}");
}

async fn report(stack: &DevStack, keys: &KeySet, outcome: &Outcome) -> anyhow::Result<()> {
    let pool = sheaf_store::pool::connect(&stack.database_url).await?;
    let costs = sheaf_store::costs::costs(&mut *pool.acquire().await?).await?;
    let (prover, entry) = keys.provers.first().zip(keys.manifest.circuits.first()).context("no circuit")?;
    let counts = Counts::of(&entry.name, prover.circuit());
    let Outcome { accounts, settled: Final { transfers, withdrawals }, root, started_s, final_s } = outcome;
    let gas = |total: i64| total as f64 / *transfers as f64;
    println!();
    row("transfers", &format!("{transfers} final, with {withdrawals} withdrawals and {accounts} accounts"));
    row("batches", &costs.batches.to_string());
    row("constraints per transfer", &format!("{:.0} worst case, {:.0} hot", counts.marginal_worst, counts.marginal_hot));
    row("seconds per proof", &format!("{:.1} (mean; two workers with one thread each)", costs.mean_prove_ms / 1e3));
    row("L1 gas per transfer", &format!("{:.0} calldata, {:.0} execution", gas(costs.calldata_gas), gas(costs.execution_gas)));
    row("seconds from start to final", &format!("{final_s:.1}, of which {started_s:.1} until everything ran"));
    row("root on L1 = from Postgres", &to_hex(root));
    println!("\nevery check held");
    Ok(())
}

fn row(name: &str, value: &str) {
    println!("{name:<28} {value}");
}
