//! A local development chain: starts Anvil on a free port, finds out which, and ends it with its owner.
//!
//! ```text
//! start ──> running ──pause──> stopped (SIGSTOP) ──resume──> running ──stop──> state saved, exited
//!              └──drop──> killed, nothing saved
//! ```
//!
//! Nothing here is for a real chain: the keys are public knowledge.

use crate::rpc::{Rpc, RpcError, RpcOptions};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::Sender;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Chain id of every development chain.
pub const DEV_CHAIN_ID: u64 = 31_337;

/// Anvil's ten public accounts, rich on the development chain and worthless elsewhere: mnemonic "test test … junk", path m/44'/60'/0'/0/i.
pub const DEV_KEYS: [&str; 10] = [
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    "0x92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    "0x4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    "0xdbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    "0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
];

/// How long a start may take.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long saving the state may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// When the chain makes blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mining {
    /// One block per transaction, at once.
    #[default]
    Automatic,
    /// A block every so many seconds.
    Interval {
        /// Seconds between blocks, at least 1.
        seconds: u64,
    },
    /// Only on request (`evm_mine`).
    Manual,
}

/// What kind of chain to start.
#[derive(Clone, Debug, Default)]
pub struct AnvilOptions {
    /// The binary; by default the one in `tools/node_modules`, else `anvil` on the path.
    pub binary: Option<PathBuf>,
    /// Port on 127.0.0.1; by default any free one.
    pub port: Option<u16>,
    /// Loaded at start if it exists, written by [`Anvil::stop`].
    pub state: Option<PathBuf>,
    /// When blocks are made.
    pub mining: Mining,
    /// So many past states are kept, all in memory; by default 500, and older ones on disk. A reorg finds no other.
    pub past_states: Option<usize>,
    /// Hears the id of the process when it is started, and the same id negated once it is ended.
    pub pids: Option<Sender<i32>>,
}

/// Why there is no chain.
#[derive(Debug, thiserror::Error)]
pub enum AnvilError {
    /// No binary.
    #[error("anvil not found in {searched}/node_modules/@foundry-rs or on the path; run `make tools`")]
    NotFound {
        /// Where it should have been.
        searched: PathBuf,
    },
    /// The process could not be started, signalled or waited for.
    #[error("anvil: {action}")]
    Process {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// It ended, or said nothing of its port in time.
    #[error("anvil did not come up; its last words: {last_words}")]
    NotUp {
        /// The last lines of its output.
        last_words: String,
    },
    /// It runs but does not answer.
    #[error("anvil does not answer")]
    Rpc(#[source] RpcError),
}

/// A running chain. Dropping it kills the process.
#[derive(Debug)]
pub struct Anvil {
    child: Child,
    _announced: Announced,
    url: String,
    port: u16,
    chain_id: u64,
}

/// A process id that somebody heard of; dropping it tells that the process is ended.
#[derive(Debug)]
struct Announced {
    pid: i32,
    pids: Option<Sender<i32>>,
}

impl Announced {
    fn new(child: &Child, pids: Option<Sender<i32>>) -> Self {
        let announced = Self { pid: child.id().unwrap_or_default().cast_signed(), pids };
        announced.tell(announced.pid);
        announced
    }

    fn tell(&self, pid: i32) {
        if let Some(pids) = &self.pids {
            // nobody listens any more: nobody needs to know
            let _ = pids.send(pid);
        }
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.tell(-self.pid);
    }
}

impl Anvil {
    /// Starts a chain and waits until it answers.
    ///
    /// # Errors
    /// If there is no binary, or it does not come up in 30 s.
    pub async fn start(options: AnvilOptions) -> Result<Self, AnvilError> {
        let binary = match &options.binary {
            Some(path) => path.clone(),
            None => find_binary()?,
        };
        let mut child = command(&binary, &options).spawn().map_err(|source| AnvilError::Process { action: "start", source })?;
        let announced = Announced::new(&child, options.pids);
        let Some(stdout) = child.stdout.take() else {
            return Err(AnvilError::NotUp { last_words: "no output".into() });
        };
        let mut lines = BufReader::new(stdout).lines();
        let port = match tokio::time::timeout(START_TIMEOUT, read_port(&mut lines)).await {
            Ok(port) => port?,
            Err(_) => return Err(AnvilError::NotUp { last_words: "none in 30 s".into() }),
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let url = format!("http://127.0.0.1:{port}");
        let rpc = Rpc::connect(&url, RpcOptions::default()).await.map_err(AnvilError::Rpc)?;
        Ok(Self { child, _announced: announced, url, port, chain_id: rpc.chain_id() })
    }

    /// Address for JSON-RPC.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its chain id.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Freezes the process: connections stay open, nothing answers. Returns when it stands still: a signal is delivered by the first thread of
    /// the process that gets a processor, and until then the others answer.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn pause(&self) -> Result<(), AnvilError> {
        let pid = self.signal(Signal::STOP, "pause")?;
        // its end is a thing to stop waiting at as well; neither is taken away from who waits for the end
        let states = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), states).map_err(|source| AnvilError::Process { action: "wait until it stands still", source: source.into() })?;
        Ok(())
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn resume(&self) -> Result<(), AnvilError> {
        self.signal(Signal::CONT, "resume").map(drop)
    }

    /// Ends the process in order: it writes its state file, if it has one.
    ///
    /// # Errors
    /// If the process is gone or does not end in 30 s (it is killed then).
    pub async fn stop(mut self) -> Result<(), AnvilError> {
        self.signal(Signal::TERM, "stop")?;
        match tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(result) => result.map(drop).map_err(|source| AnvilError::Process { action: "wait for its end", source }),
            Err(_) => self.child.kill().await.map_err(|source| AnvilError::Process { action: "kill", source }),
        }
    }

    fn signal(&self, signal: Signal, action: &'static str) -> Result<Pid, AnvilError> {
        let gone = || AnvilError::Process { action, source: std::io::Error::from(std::io::ErrorKind::NotFound) };
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or_else(gone)?;
        kill_process(pid, signal).map_err(|source| AnvilError::Process { action, source: source.into() })?;
        Ok(pid)
    }
}

fn command(binary: &Path, options: &AnvilOptions) -> Command {
    let mut command = Command::new(binary);
    command.args(["--host", "127.0.0.1", "--port", &options.port.unwrap_or(0).to_string()]);
    command.args(["--chain-id", &DEV_CHAIN_ID.to_string(), "--threads", "2"]);
    if let Some(state) = &options.state {
        command.arg("--state").arg(state).arg("--preserve-historical-states");
    }
    if let Some(states) = options.past_states {
        command.args(["--prune-history", &states.to_string()]);
    }
    match options.mining {
        Mining::Automatic => {}
        Mining::Interval { seconds } => drop(command.args(["--block-time", &seconds.to_string()])),
        Mining::Manual => drop(command.arg("--no-mining")),
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).process_group(0);
    command
}

/// Reads on until "Listening on 127.0.0.1:PORT".
async fn read_port(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<u16, AnvilError> {
    let mut last_words = String::new();
    while let Some(line) = lines.next_line().await.map_err(|source| AnvilError::Process { action: "read its output", source })? {
        if let Some(address) = line.strip_prefix("Listening on ")
            && let Some(port) = address.rsplit(':').next().and_then(|port| port.trim().parse().ok())
        {
            return Ok(port);
        }
        last_words = line;
    }
    Err(AnvilError::NotUp { last_words })
}

/// The pinned binary below `tools`, or the one on the path. `SHEAF_TOOLS` names another folder than the source tree's `tools`.
fn find_binary() -> Result<PathBuf, AnvilError> {
    let tools = std::env::var_os("SHEAF_TOOLS").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools"), PathBuf::from);
    let os = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let pinned = tools.join(format!("node_modules/@foundry-rs/anvil-{os}-{arch}/bin/anvil"));
    if pinned.is_file() {
        return Ok(pinned);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("anvil")).find(|file| file.is_file());
    found.ok_or(AnvilError::NotFound { searched: tools })
}
