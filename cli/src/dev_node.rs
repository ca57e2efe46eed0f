//! `sheaf node --dev`: the whole stack on this machine, with funded test keys, until Ctrl-C.

use crate::client::to_json;
use crate::dev::DevStack;
use crate::keys::{KeyOptions, prepare};
use crate::process::Launcher;
use crate::scenario::{Scenario, User};
use clap::Args;
use sheaf_protocol::field::to_hex;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// Test accounts that are funded.
const ACCOUNTS: usize = 4;

/// Options of `sheaf node --dev`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "With --dev")]
pub struct DevOptions {
    /// Circuits by shape.
    #[arg(long = "dev-shapes", value_delimiter = ',', default_value = "small,small-hot")]
    shapes: Vec<String>,
    /// Folder of the stack's files, kept afterwards; without it a temporary one.
    #[arg(long = "dev-dir")]
    dir: Option<PathBuf>,
}

/// Starts the stack, prints how to use it and stays.
///
/// # Errors
/// If something does not start, or ends by itself.
pub async fn run(options: DevOptions) -> anyhow::Result<()> {
    let keys_options = KeyOptions { shapes: options.shapes.clone(), ..KeyOptions::from_environment() };
    let keys = prepare(&keys_options)?;
    let scratch = tempfile::Builder::new().prefix("sheaf-dev-").tempdir()?;
    let dir = options.dir.unwrap_or_else(|| scratch.path().to_owned());
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stay = async {
        println!("starting Postgres and Anvil, deploying the contract ...");
        let stack = DevStack::start(&dir, std::env::var("DATABASE_URL").ok(), &keys).await?;
        let launcher = Launcher::new(std::env::current_exe()?, dir.clone(), keys_options)?;
        let mut node = launcher.node(&stack, "127.0.0.1:0").await?;
        let _workers = [launcher.worker(node.url(), "worker-1", 1)?, launcher.worker(node.url(), "worker-2", 1)?];
        let mut people = Scenario::new(&stack, node.url()).await?;
        people.open_accounts(ACCOUNTS).await?;
        welcome(&stack, node.url(), &mut people, &dir)?;
        node.ended().await
    };
    tokio::select! {
        outcome = stay => outcome,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

fn welcome(stack: &DevStack, url: &str, people: &mut Scenario, dir: &std::path::Path) -> anyhow::Result<()> {
    println!("\nSheaf runs with INSECURE development keys.\n");
    println!("  API         {url}/v1/status");
    println!("  API pages   {url}/docs");
    println!("  L1          {} (chain 31337), contract {}", stack.l1_url, stack.deployment.deployment.contract);
    println!("  Postgres    {}", stack.database_url);
    println!("  logs        {}", dir.display());
    println!("\nFunded test accounts (secret keys of development; slot, token):");
    for User { key, token, slot, .. } in &people.users {
        println!("  slot {slot}  token {token}  secret {}", to_hex(&*key.to_bytes()));
    }
    let to = people.users[2].slot;
    let signed = people.users[0].transfer(people.domain, to)?;
    println!("\nA signed transfer to send now:\n\n  curl -s {url}/v1/transactions -H 'content-type: application/json' -d '{}'\n", to_json(&signed));
    println!("What became of it:\n\n  curl -s '{url}/v1/transactions/{}?wait=final&timeout_s=60'\n", signed.op.hash(people.domain));
    println!("Ctrl-C stops everything.");
    Ok(())
}
