//! Node and prover workers as child processes, each ended by its own handle: for the demonstration, `sheaf node --dev` and
//! whole-stack tests.
//!
//! Their output goes to `<dir>/<name>.log`. A node says where it listens in its ready file; a restarted one listens there again.

use crate::dev::{DevStack, fee_key, operator};
use crate::folder::last_lines;
use crate::guard::Guard;
use crate::keys::KeyOptions;
use anyhow::{Context, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};
use sheaf_protocol::field::{to_hex, to_word};
use sheaf_settlement::anvil::DEV_KEYS;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::Sender;
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
    pids: Sender<i32>,
}

impl Launcher {
    /// Processes of `program`, which log and leave their files in `dir`.
    ///
    /// # Errors
    /// If a token cannot be written.
    pub fn new(program: PathBuf, dir: PathBuf, keys: KeyOptions, guard: &Guard) -> anyhow::Result<Self> {
        let launcher = Self { program, dir, keys, node_arguments: Vec::new(), pids: guard.pids() };
        for (path, name) in [(launcher.token_file(), ""), (launcher.operator_file(), "operator ")] {
            let token = sheaf_prover::gateway::new_token();
            let file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path);
            writeln!(file.with_context(|| format!("cannot write {}", path.display()))?, "{name}{token}")?;
        }
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

    /// File with the token of the operator of the prover fleet, after its name.
    pub fn operator_file(&self) -> PathBuf {
        self.dir.join("operator-tokens")
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
        command.arg("--operator-tokens").arg(self.operator_file());
        command.args(["--fee-key", &to_hex(&to_word(fee_key()?.public().0)), "--fee-owner", &operator()?.to_string()]);
        command.env("DATABASE_URL", &stack.database_url).env("SHEAF_L1_URL", &stack.l1_url).env("SHEAF_OPERATOR_KEY", DEV_KEYS[0]);
        let process = Process::start("the node", command.arg("--keys-dir").arg(&self.keys.keys_dir), self.pids.clone())?;
        self.wait_until_ready(process, &ready_file).await
    }

    async fn wait_until_ready(&self, mut process: Process, ready_file: &Path) -> anyhow::Result<Node> {
        let (end, log) = (Instant::now() + START_TIMEOUT, self.dir.join("node.log"));
        loop {
            if let Some(ready) = std::fs::read(ready_file).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
                return Ok(Node { process, ready });
            }
            if let Some(status) = process.child.try_wait()? {
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
    pub fn worker(&self, gateway: &str, name: &str, threads: usize) -> anyhow::Result<Process> {
        let mut command = self.command(name)?;
        command.args(["prover", "run", "--gateway", gateway, "--name", name, "--threads", &threads.to_string(), "--token-file"]);
        command.arg(self.token_file());
        Process::start(name, self.with_keys(&mut command), self.pids.clone())
    }

    /// The program in a process group of its own, output appended to its log, settings of the caller's environment left out.
    fn command(&self, name: &str) -> anyhow::Result<Command> {
        let path = self.dir.join(format!("{name}.log"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).kill_on_drop(true);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_stray(name)) {
            command.env_remove(name);
        }
        // all of them are on this machine
        command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
        Ok(command)
    }

    fn with_keys<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let KeyOptions { keys_dir, seed, shapes, k } = &self.keys;
        command.arg("--keys-dir").arg(keys_dir).args(["--seed", seed, "--shapes", &shapes.join(","), "--k", &k.to_string()])
    }
}

/// A child process of the stack; dropping kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pid: i32,
    pids: Sender<i32>,
}

impl Process {
    fn start(name: &str, command: &mut Command, pids: Sender<i32>) -> anyhow::Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = child.id().context("it ended at once")?.cast_signed();
        // without a guard nobody needs to know
        let _ = pids.send(pid);
        Ok(Self { name: name.to_owned(), child, pid, pids })
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// If the process cannot be killed.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// SIGSTOP: the process stands still, its connections stay open.
    ///
    /// # Errors
    /// If it has ended.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: a frozen process goes on.
    ///
    /// # Errors
    /// If it has ended.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks it to end and checks that it does so in order.
    ///
    /// # Errors
    /// If it does not end in time, or not with success.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let ending = tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await;
        let status = ending.with_context(|| format!("{} did not end in {} s", self.name, STOP_TIMEOUT.as_secs()))??;
        if status.success() { Ok(()) } else { bail!("{} ended with {status}", self.name) }
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.child.id().with_context(|| format!("{} has ended", self.name))?;
        send(pid.cast_signed(), signal)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // fails only if it has ended
        let _ = self.child.start_kill();
        let _ = self.pids.send(-self.pid);
    }
}

/// A node in a process of its own.
#[derive(Debug)]
pub struct Node {
    /// Its process.
    pub process: Process,
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
}

/// Does the work unless one of the processes, which should all stay, ends first.
///
/// # Errors
/// That of the work, or which process ended and how.
pub async fn while_alive<T>(processes: &mut [&mut Process], work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let watch = async {
        loop {
            for process in processes.iter_mut() {
                if let Some(status) = process.child.try_wait()? {
                    bail!("{} ended by itself with {status}", process.name);
                }
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::select! { biased; outcome = work => outcome, end = watch => end }
}

/// Sends a signal.
///
/// # Errors
/// If there is no such process.
pub fn send(pid: i32, signal: Signal) -> anyhow::Result<()> {
    let process = Pid::from_raw(pid).with_context(|| format!("{pid} is no process id"))?;
    kill_process(process, signal).with_context(|| format!("cannot signal process {pid}"))
}

/// True if there is such a process, and not only the exit status of one whose parent has not asked for it.
pub fn is_running(pid: i32) -> bool {
    let is_dead = |stat: String| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']));
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok()) && !std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(is_dead)
}

/// Settings of the caller's environment that would reach a child by chance: it is told everything it needs.
fn is_stray(name: &OsStr) -> bool {
    const MEANT: [&str; 3] = ["SHEAF_LOG", "SHEAF_LOG_JSON", "SHEAF_TOOLS"];
    let name = name.to_string_lossy();
    !MEANT.contains(&&*name) && (name.starts_with("SHEAF_") || name.starts_with("PG") || name == "DATABASE_URL")
}
