//! Whole-stack tests: real Postgres, real Anvil, the real binary, real proofs of the smallest circuit.
//!
//! A [`Town`] is a development stack with a node, a prover worker and people. Everything it starts ends with it; the folder of a town whose test
//! failed stays. Incidents strike at a [`Moment`] that is seen in the database, never after a pause.

mod moment;
mod proxy;
mod running;

pub use moment::Moment;
pub use proxy::{Proxy, Weather};
pub use running::{Running, running};

use anyhow::{Context, ensure};
use sheaf_circuits::prove::Prover;
use sheaf_cli::dev::{DevStack, operator};
use sheaf_cli::folder::RunFolder;
use sheaf_cli::guard::Guard;
use sheaf_cli::keys::{KeyOptions, KeySet, prepare};
use sheaf_cli::process::{Launcher, Node, Process};
use sheaf_cli::scenario::{Final, Scenario};
use sheaf_store::l1::{self, TxKind};
use sheaf_store::pool::PgPool;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// Pause between two looks.
pub const POLL: Duration = Duration::from_millis(20);

/// A running stack with people in it.
#[derive(Debug)]
pub struct Town {
    /// Its prover workers.
    pub workers: Vec<Process>,
    /// The node, unless a test took it.
    pub node: Option<Node>,
    /// People and what they sent.
    pub people: Scenario,
    /// Postgres, Anvil, contract.
    pub stack: DevStack,
    /// Starts processes of this town.
    pub launcher: Launcher,
    pool: PgPool,
    keys: KeySet,
    address: String,
    folder: Option<RunFolder>,
}

impl Town {
    /// A town with `accounts` accounts and one worker, `worker-1`.
    ///
    /// # Errors
    /// If something does not start.
    pub async fn found(accounts: usize) -> anyhow::Result<Self> {
        Self::found_with(accounts, &[]).await
    }

    /// As [`Town::found`], with further arguments of the node.
    ///
    /// # Errors
    /// If something does not start.
    pub async fn found_with(accounts: usize, node_arguments: &[&str]) -> anyhow::Result<Self> {
        Self::found_of(test_keys(), accounts, node_arguments).await
    }

    /// As [`Town::found_with`], of other circuits.
    ///
    /// # Errors
    /// If something does not start.
    pub async fn found_of(options: KeyOptions, accounts: usize, node_arguments: &[&str]) -> anyhow::Result<Self> {
        let (program, folder) = (sheaf_binary()?, RunFolder::new(None, "sheaf-e2e-")?);
        let guard = Guard::start(&program)?;
        let keys = prepare(&options)?;
        let stack = DevStack::start(folder.path(), &keys, &guard).await?;
        let arguments = [&["--seal-age-ms", "300"], node_arguments].concat();
        let launcher = Launcher::new(program, folder.path().to_owned(), options, &guard)?.with_node_arguments(&arguments);
        let node = launcher.node(&stack, "127.0.0.1:0").await?;
        let address = node.address().to_owned();
        let workers = vec![launcher.worker(node.url(), "worker-1", 1)?];
        let pool = sheaf_store::pool::connect(&stack.database_url).await?;
        let mut people = Scenario::new(&stack, node.url()).await?;
        people.open_accounts(accounts).await?;
        Ok(Self { workers, node: Some(node), people, stack, launcher, pool, keys, address, folder: Some(folder) })
    }

    /// Waits for the moment.
    ///
    /// # Errors
    /// If it does not come in time.
    pub async fn until(&self, moment: Moment) -> anyhow::Result<()> {
        moment::until(&self.pool, moment).await
    }

    /// True if it is this moment now.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn is_at(&self, moment: Moment) -> anyhow::Result<bool> {
        moment::is_now(&self.pool, moment).await
    }

    /// `kill -9` of the node, then the same node again.
    ///
    /// # Errors
    /// If it does not come up again.
    pub async fn crash_node(&mut self) -> anyhow::Result<()> {
        self.node.take().context("the node runs")?.process.kill().await?;
        self.start_node().await
    }

    /// An orderly end of the node, then the same node again.
    ///
    /// # Errors
    /// If it does not end in order, or does not come up again.
    pub async fn restart_node(&mut self) -> anyhow::Result<()> {
        self.node.take().context("the node runs")?.process.stop().await?;
        self.start_node().await
    }

    async fn start_node(&mut self) -> anyhow::Result<()> {
        self.node = Some(self.launcher.node(&self.stack, &self.address).await?);
        Ok(())
    }

    /// `kill -9` of Postgres, then the same server again.
    ///
    /// # Errors
    /// If it does not come up again.
    pub async fn crash_postgres(&mut self) -> anyhow::Result<()> {
        self.stack.cluster.kill()?;
        Ok(self.stack.cluster.restart().await?)
    }

    /// `kill -9` of the first worker, then a new one with this name.
    ///
    /// # Errors
    /// If the new one cannot be started.
    pub async fn replace_worker(&mut self, name: &str) -> anyhow::Result<()> {
        self.workers.remove(0).kill().await?;
        self.add_worker(name)
    }

    /// One worker more.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn add_worker(&mut self, name: &str) -> anyhow::Result<()> {
        self.workers.push(self.launcher.worker(&self.url(), name, 1)?);
        Ok(())
    }

    /// Waits until everything acknowledged is final and checks that L1 and Postgres agree on the root.
    ///
    /// # Errors
    /// If something is lost or late, or the roots differ.
    pub async fn settles(&mut self) -> anyhow::Result<Final> {
        let settled = self.people.wait_until_final().await?;
        ensure!(settled != Final::default(), "nothing was acknowledged");
        self.people.checked_root(&self.stack, self.keys.srs.clone()).await?;
        Ok(settled)
    }

    /// Proofs of ours that L1 refused.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn reverted_proofs(&self) -> anyhow::Result<usize> {
        let sent = l1::live_transactions(&mut *self.pool.acquire().await?, &operator()?, 0, 0).await?;
        Ok(sent.iter().filter(|sent| sent.kind == TxKind::Prove && sent.mined().is_some() && !sent.succeeded()).count())
    }

    /// What can prove each circuit of this town, by id.
    pub fn provers(&self) -> &[Arc<Prover>] {
        &self.keys.provers
    }

    /// Base URL of the API.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        // else the folder goes last, when nothing writes into it any more
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            drop(folder.after(Err::<(), _>(anyhow::anyhow!("the test failed"))));
        }
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
    // as `make` builds it, so that nothing is compiled twice: the whole workspace, for its features, and without what cargo tells a test of its
    // own package, for build scripts that look at it
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--workspace", "--bins", "--locked"]).current_dir(repository());
    let of_this_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| of_this_package(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    let status = command.status()?;
    ensure!(status.success(), "cargo build of the sheaf binary failed");
    let tests = std::env::current_exe()?;
    let folder = tests.ancestors().find(|folder| folder.join("sheaf").is_file()).context("no sheaf binary near the tests")?;
    Ok(folder.join("sheaf"))
}

/// Looks again and again until there is what it looks for.
///
/// # Panics
/// If that takes three minutes.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(POLL).await;
    }
}
