//! Whole-stack tests: real Postgres, real Anvil, the real binary, real proofs of the smallest circuit.
//!
//! A [`Town`] is a development stack with a node, a prover worker and people. Everything it starts ends with it.

use anyhow::{Context, ensure};
use sheaf_cli::dev::DevStack;
use sheaf_cli::keys::{KeyOptions, KeySet, prepare};
use sheaf_cli::process::{Launcher, Node, Worker};
use sheaf_cli::scenario::Scenario;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// A running stack with people in it.
#[derive(Debug)]
pub struct Town {
    /// Postgres, Anvil, contract.
    pub stack: DevStack,
    /// Starts processes of this town.
    pub launcher: Launcher,
    /// The node, unless a test took it.
    pub node: Option<Node>,
    /// Its prover workers.
    pub workers: Vec<Worker>,
    /// People and what they sent.
    pub people: Scenario,
    keys: KeySet,
    address: String,
    _dir: TempDir,
}

impl Town {
    /// A town with `accounts` accounts and one worker.
    ///
    /// # Errors
    /// If something does not start.
    pub async fn found(accounts: usize) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("sheaf-e2e-").tempdir()?;
        let options = test_keys();
        let keys = prepare(&options)?;
        let stack = DevStack::start(dir.path(), None, &keys).await?;
        let launcher = Launcher::new(sheaf_binary()?, dir.path().to_owned(), options)?.with_node_arguments(&["--seal-age-ms", "300"]);
        let node = launcher.node(&stack, "127.0.0.1:0").await?;
        let address = node.address().to_owned();
        let workers = vec![launcher.worker(node.url(), "worker-1", 1)?];
        let mut people = Scenario::new(&stack, node.url()).await?;
        people.open_accounts(accounts).await?;
        Ok(Self { stack, launcher, node: Some(node), workers, people, keys, address, _dir: dir })
    }

    /// `kill -9` of the node, then the same node again.
    ///
    /// # Errors
    /// If it does not come up again.
    pub async fn crash_node(&mut self) -> anyhow::Result<()> {
        self.node.take().context("the node runs")?.kill().await?;
        self.node = Some(self.launcher.node(&self.stack, &self.address).await?);
        Ok(())
    }

    /// Waits until everything acknowledged is final and checks that L1 and Postgres agree on the root.
    ///
    /// # Errors
    /// If something is lost or late, or the roots differ.
    pub async fn settles(&mut self) -> anyhow::Result<()> {
        self.people.wait_until_final().await?;
        ensure!(!self.people.acknowledged.is_empty(), "nothing was acknowledged");
        self.people.checked_root(&self.stack, self.keys.srs.clone()).await?;
        Ok(())
    }

    /// Base URL of the API.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Keys of the smallest circuit, cached in the repository's `.sheaf` folder for all tests.
pub fn test_keys() -> KeyOptions {
    KeyOptions { keys_dir: repository().join(".sheaf/keys"), seed: "sheaf".to_owned(), shapes: vec!["test".to_owned()], k: 16 }
}

/// The repository's folder.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The `sheaf` binary of this build, built once if it is missing or old.
///
/// # Errors
/// If it does not build.
pub fn sheaf_binary() -> anyhow::Result<PathBuf> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BINARY.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

fn build() -> anyhow::Result<PathBuf> {
    let status =
        Command::new(env!("CARGO")).args(["build", "--quiet", "--package", "sheaf-cli", "--bin", "sheaf"]).current_dir(repository()).status()?;
    ensure!(status.success(), "cargo build of the sheaf binary failed");
    let tests = std::env::current_exe()?;
    let folder = tests.ancestors().find(|folder| folder.join("sheaf").is_file()).context("no sheaf binary near the tests")?;
    Ok(folder.join("sheaf"))
}
