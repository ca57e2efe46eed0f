//! Child processes of the demonstration and of `sheaf node --dev`: the node and its prover workers, each ended by its own handle.
//!
//! Their output goes to `<dir>/<name>.log`. A node says where it listens in its ready file; a restarted one listens there again.

use crate::dev::DevStack;
use crate::keys::KeyOptions;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use sheaf_settlement::anvil::DEV_KEYS;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// How long a node may take to listen: it loads keys and rebuilds the state first.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How long an orderly end may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Where a node listens, as its ready file says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// The public API and the prover gateway.
    pub(crate) url: String,
}

/// A node in a process of its own.
pub(crate) struct Node {
    child: Child,
    ready: Ready,
}

impl Node {
    /// Starts a node on the stack and waits until it listens.
    pub(crate) async fn start(dir: &Path, stack: &DevStack, keys: &KeyOptions) -> anyhow::Result<Self> {
        std::fs::write(token_file(dir), sheaf_prover::gateway::new_token() + "\n")?;
        let (child, ready) = spawn_node(dir, stack, keys, "127.0.0.1:0").await?;
        Ok(Self { child, ready })
    }

    /// Base URL of the API.
    pub(crate) fn api_url(&self) -> &str {
        &self.ready.url
    }

    /// Base URL of the prover gateway.
    pub(crate) fn prover_url(&self) -> &str {
        &self.ready.url
    }

    /// `kill -9`, then the same node again at the same address.
    pub(crate) async fn kill_and_restart(&mut self, dir: &Path, stack: &DevStack, keys: &KeyOptions) -> anyhow::Result<()> {
        self.child.kill().await?;
        let address = self.ready.url.trim_start_matches("http://").to_owned();
        (self.child, self.ready) = spawn_node(dir, stack, keys, &address).await?;
        Ok(())
    }

    /// Asks the node to end and checks that it does so in order.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        terminate(&self.child)?;
        let status = tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await.context("the node did not end in time")??;
        if !status.success() {
            bail!("the node ended with {status}");
        }
        Ok(())
    }

    /// Waits until the node ends by itself.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<()> {
        let status = self.child.wait().await?;
        bail!("the node ended with {status}")
    }
}

/// Prover workers, a process each; dropping ends them.
pub(crate) struct Workers {
    _children: Vec<Child>,
}

impl Workers {
    /// Starts `count` workers of `threads` threads.
    pub(crate) fn start(dir: &Path, gateway: &str, keys: &KeyOptions, count: usize, threads: usize) -> anyhow::Result<Self> {
        let children = (1..=count).map(|i| {
            let name = format!("worker-{i}");
            let mut command = sheaf(dir, &name)?;
            command.args(["prover", "run", "--gateway", gateway, "--name", &name, "--threads", &threads.to_string(), "--token-file"]);
            command.arg(token_file(dir));
            key_arguments(&mut command, keys);
            command.spawn().with_context(|| format!("cannot start {name}"))
        });
        Ok(Self { _children: children.collect::<anyhow::Result<_>>()? })
    }
}

fn token_file(dir: &Path) -> PathBuf {
    dir.join("prover-tokens")
}

async fn spawn_node(dir: &Path, stack: &DevStack, keys: &KeyOptions, listen: &str) -> anyhow::Result<(Child, Ready)> {
    let ready_file = dir.join("ready.json");
    let _ = std::fs::remove_file(&ready_file);
    let mut command = sheaf(dir, "node")?;
    command.args(["node", "--listen", listen]);
    command.arg("--deployment").arg(&stack.deployment_file).arg("--ready-file").arg(&ready_file).arg("--prover-tokens").arg(token_file(dir));
    command.env("DATABASE_URL", &stack.database_url).env("SHEAF_L1_URL", stack.anvil.url()).env("SHEAF_OPERATOR_KEY", DEV_KEYS[0]);
    key_arguments(&mut command, keys);
    let mut child = command.spawn().context("cannot start the node")?;
    let end = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(ready) = std::fs::read(&ready_file).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            return Ok((child, ready));
        }
        if let Some(status) = child.try_wait()? {
            bail!("the node ended with {status}; its last words:\n{}", last_lines(&dir.join("node.log")));
        }
        if Instant::now() > end {
            bail!("the node does not listen after {} s; see {}", START_TIMEOUT.as_secs(), dir.join("node.log").display());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// This program as a child in a process group of its own, output appended to its log.
fn sheaf(dir: &Path, name: &str) -> anyhow::Result<Command> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join(format!("{name}.log")))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).kill_on_drop(true);
    Ok(command)
}

fn key_arguments(command: &mut Command, keys: &KeyOptions) {
    command.arg("--keys-dir").arg(&keys.keys_dir).args(["--seed", &keys.seed, "--shapes", &keys.shapes.join(","), "--k", &keys.k.to_string()]);
}

fn terminate(child: &Child) -> anyhow::Result<()> {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = child.id().and_then(|id| Pid::from_raw(id as i32)).context("the process has ended")?;
    Ok(kill_process(pid, Signal::TERM)?)
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(12).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
