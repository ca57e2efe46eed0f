//! `sheaf node --dev`: the whole stack on this machine, with funded test keys, until Ctrl-C.

use crate::dev::DevStack;
use crate::folder::RunFolder;
use crate::guard::{Guard, StopSignals};
use crate::keys::{KeyOptions, prepare};
use crate::notes::Notes;
use crate::process::{Launcher, while_alive};
use crate::scenario::Scenario;
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Test accounts that are funded.
const ACCOUNTS: usize = 4;

/// Options of `sheaf node --dev`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "With --dev")]
pub struct DevOptions {
    /// Circuits by shape.
    #[arg(long = "dev-shapes", value_delimiter = ',', default_value = "small,small-hot")]
    shapes: Vec<String>,
    /// Folder of the stack's files, kept afterwards and started again from; without it a temporary one.
    #[arg(long = "dev-dir")]
    dir: Option<PathBuf>,
}

/// What `sheaf node` passes on to its development stack.
#[derive(Clone, Debug)]
pub struct Passed {
    /// Where the node listens.
    pub listen: SocketAddr,
    /// Folder of cached keys and SRS.
    pub keys_dir: PathBuf,
    /// Further arguments of the node process.
    pub arguments: Vec<String>,
}

/// Starts the stack, prints how to use it and stays.
///
/// # Errors
/// If something does not start, or ends by itself.
pub async fn run(options: DevOptions, passed: Passed) -> anyhow::Result<()> {
    let keys_options = KeyOptions { shapes: options.shapes.clone(), keys_dir: passed.keys_dir, ..KeyOptions::from_environment()? };
    let arguments: Vec<&str> = passed.arguments.iter().map(String::as_str).collect();
    let keys = prepare(&keys_options)?;
    let guard = Guard::start(&std::env::current_exe()?)?;
    let folder = RunFolder::new(options.dir, "sheaf-dev-")?;
    let mut stop = StopSignals::listen()?;
    println!("starting Postgres and Anvil, deploying the contract ...");
    let stack = tokio::select! {
        stack = DevStack::start(folder.path(), &keys, &guard) => stack,
        () = stop.received() => return Ok(()),
    };
    let outcome = match stack {
        Ok(stack) => {
            let launcher = Launcher::new(std::env::current_exe()?, folder.path().to_owned(), keys_options, &guard)?.with_node_arguments(&arguments);
            let outcome = tokio::select! {
                outcome = stay(&stack, &launcher, folder.path(), passed.listen) => outcome,
                () = stop.received() => Ok(()),
            };
            outcome.and(stack.stop().await)
        }
        Err(error) => Err(error),
    };
    folder.after(outcome)
}

/// Ends only if a process does.
async fn stay(stack: &DevStack, launcher: &Launcher, dir: &Path, listen: SocketAddr) -> anyhow::Result<()> {
    println!("starting a node and two prover workers ...");
    let mut node = launcher.node(stack, &listen.to_string()).await?;
    let mut workers = [launcher.worker(node.url(), "worker-1", 1)?, launcher.worker(node.url(), "worker-2", 1)?];
    let url = node.url().to_owned();
    let [one, two] = &mut workers;
    while_alive(&mut [&mut node.process, one, two], async {
        let mut people = Scenario::new(stack, &url).await?;
        people.open_accounts(ACCOUNTS).await?;
        let _notes = Notes::publish(stack, &url, &mut people, dir)?;
        std::future::pending().await
    })
    .await
}
