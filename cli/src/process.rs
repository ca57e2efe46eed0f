//! Node and prover workers as child processes, each ended by its own handle: for the demonstration, `sheaf node --dev` and
//! whole-stack tests.
//!
//! Their output goes to `<dir>/<name>.log`. A node says where it listens in its ready file; a restarted one listens there again.

use crate::dev::{DevStack, fee_key, operator};
use crate::keys::KeyOptions;
use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use sheaf_protocol::field::{to_hex, to_word};
use sheaf_settlement::anvil::DEV_KEYS;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// How long a node may take to listen: it loads keys and rebuilds the state first.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How long an orderly end may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two looks at the ready file.
const POLL: Duration = Duration::from_millis(50);

/// Where a node listens, as its ready file says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// Base URL of the public API and of the prover gateway.
    pub url: String,
}

/// Starts processes of one `sheaf` binary in one folder.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
    dir: PathBuf,
    keys: KeyOptions,
    node_arguments: Vec<String>,
}

impl Launcher {
    /// Processes of `program`, which log and leave their files in `dir`.
    ///
    /// # Errors
    /// If the prover token cannot be written.
    pub fn new(program: PathBuf, dir: PathBuf, keys: KeyOptions) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        let launcher = Self { program, dir, keys, node_arguments: Vec::new() };
        std::fs::write(launcher.token_file(), sheaf_prover::gateway::new_token() + "\n")?;
        Ok(launcher)
    }

    /// Further arguments of every node started.
    #[must_use]
    pub fn with_node_arguments(mut self, arguments: &[&str]) -> Self {
        self.node_arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
        self
    }

    /// File with the prover's token.
    pub fn token_file(&self) -> PathBuf {
        self.dir.join("prover-tokens")
    }

    /// Starts a node on the stack and waits until it listens; `listen` is an address, port 0 for any free one.
    ///
    /// # Errors
    /// If it ends or does not listen in time; its last words are part of the error.
    pub async fn node(&self, stack: &DevStack, listen: &str) -> anyhow::Result<Node> {
        let ready_file = self.dir.join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let mut command = self.command("node")?;
        command.args(["node", "--listen", listen]).args(&self.node_arguments);
        command.arg("--deployment").arg(&stack.deployment_file).arg("--ready-file").arg(&ready_file).arg("--prover-tokens").arg(self.token_file());
        command.args(["--fee-key", &to_hex(&to_word(fee_key()?.public().0)), "--fee-owner", &operator()?.to_string()]);
        command.env("DATABASE_URL", &stack.database_url).env("SHEAF_L1_URL", &stack.l1_url).env("SHEAF_OPERATOR_KEY", DEV_KEYS[0]);
        let child = command.arg("--keys-dir").arg(&self.keys.keys_dir).spawn().context("cannot start the node")?;
        self.wait_until_ready(child, &ready_file).await
    }

    async fn wait_until_ready(&self, mut child: Child, ready_file: &Path) -> anyhow::Result<Node> {
        let (end, log) = (Instant::now() + START_TIMEOUT, self.dir.join("node.log"));
        loop {
            if let Some(ready) = std::fs::read(ready_file).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
                return Ok(Node { child, ready });
            }
            if let Some(status) = child.try_wait()? {
                bail!("the node ended with {status}; its last words:\n{}", last_lines(&log));
            }
            if Instant::now() > end {
                bail!("the node does not listen after {} s; see {}", START_TIMEOUT.as_secs(), log.display());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Starts the prover worker `name` with `threads` threads.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn worker(&self, gateway: &str, name: &str, threads: usize) -> anyhow::Result<Worker> {
        let mut command = self.command(name)?;
        command.args(["prover", "run", "--gateway", gateway, "--name", name, "--threads", &threads.to_string(), "--token-file"]);
        command.arg(self.token_file());
        Ok(Worker { child: self.with_keys(&mut command).spawn().with_context(|| format!("cannot start {name}"))? })
    }

    /// The program in a process group of its own, output appended to its log.
    fn command(&self, name: &str) -> anyhow::Result<Command> {
        let path = self.dir.join(format!("{name}.log"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).kill_on_drop(true);
        Ok(command)
    }

    fn with_keys<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let KeyOptions { keys_dir, seed, shapes, k } = &self.keys;
        command.arg("--keys-dir").arg(keys_dir).args(["--seed", seed, "--shapes", &shapes.join(","), "--k", &k.to_string()])
    }
}

/// A node in a process of its own; dropping kills it.
#[derive(Debug)]
pub struct Node {
    child: Child,
    ready: Ready,
}

impl Node {
    /// Base URL of the API and the prover gateway.
    pub fn url(&self) -> &str {
        &self.ready.url
    }

    /// Address it listens on.
    pub fn address(&self) -> &str {
        self.ready.url.trim_start_matches("http://")
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// If the process cannot be killed.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Asks the node to end and checks that it does so in order.
    ///
    /// # Errors
    /// If it does not end in time, or not with success.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        signal(&self.child, Signal::TERM)?;
        let status = tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await.context("the node did not end in time")??;
        if status.success() { Ok(()) } else { bail!("the node ended with {status}") }
    }

    /// Waits until the node ends by itself, which it should not.
    ///
    /// # Errors
    /// Always: with the status it ended with.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        let status = self.child.wait().await?;
        bail!("the node ended with {status}")
    }
}

/// A prover worker in a process of its own; dropping kills it.
#[derive(Debug)]
pub struct Worker {
    child: Child,
}

impl Worker {
    /// `kill -9`.
    ///
    /// # Errors
    /// If the process cannot be killed.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Stops the process without ending it, or lets it go on.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn pause(&self, paused: bool) -> anyhow::Result<()> {
        signal(&self.child, if paused { Signal::STOP } else { Signal::CONT })
    }
}

fn signal(child: &Child, signal: Signal) -> anyhow::Result<()> {
    let pid = child.id().and_then(|id| Pid::from_raw(id as i32)).context("the process has ended")?;
    Ok(kill_process(pid, signal)?)
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
