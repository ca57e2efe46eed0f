//! A private Postgres for development and tests: found, initialised, started, stopped with its owner.
//!
//! ```text
//! start ──> running ──stop or drop──> shut down in order
//!              │  ^
//!            kill restart        (for tests of what a crash of the database does)
//! ```
//!
//! Layout of a cluster's folder: `lock` (held while a process owns the cluster), `data`, `postgres.log`. The server listens on a Unix socket in a
//! folder of its own that only its user may enter; no TCP port is opened. It runs in a process group of its own, so that Ctrl-C reaches the owner only.
//! An owner that was killed leaves its server behind; the next owner stops that one first.
//!
//! Postgres refuses to run as root. Started as root, the server runs as user `postgres`, else `nobody`; binaries below a folder that this user may not
//! enter are copied once to `/var/tmp`, data that it could not reach are kept there too, behind a link; those of a disposable cluster go with it.

mod binaries;
mod place;
mod process;

use self::binaries::{find_binaries, real_folder, usable_binaries};
use self::place::{Data, User, data_folder, lock, own_folder, remove_socket_folder, socket_folder, unprivileged_user};
use self::process::Process;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// How long `initdb` may take.
const INIT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the server may take to answer, a crash recovery included.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one attempt to connect may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to shut down in order; then it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause between two looks at a process or a server.
const POLL_PAUSE: Duration = Duration::from_millis(20);
/// The superuser.
const USER: &str = "sheaf";
/// Only a part of the socket's name.
const PORT: u16 = 5432;
/// The database that every cluster has.
const DATABASE: &str = "postgres";
/// Binaries and data that the server's user cannot reach elsewhere; kept over restarts of the machine, open to all users.
const OPEN_PARENT: &str = "/var/tmp";

/// What survives a power failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Everything acknowledged.
    #[default]
    Full,
    /// Nothing, though all of it survives a crash of the server alone: for tests.
    Disposable,
}

/// How to run a cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// Folder with `initdb` and `postgres`; by default the pinned one below `tools`, else one found on the machine.
    pub binaries: Option<PathBuf>,
    /// Waits for the disk or not.
    pub durability: Durability,
    /// Hears the id of every process that is started, and the same id negated once it has ended.
    pub pids: Option<Sender<i32>>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No binaries.
    #[error("no Postgres: neither in {searched} nor on the path nor in /usr/lib/postgresql; run `make tools`, or set DATABASE_URL")]
    NotFound {
        /// Where the pinned one should have been.
        searched: PathBuf,
    },
    /// Another process owns the folder.
    #[error("{folder} belongs to another running process; stop it, or use another folder")]
    InUse {
        /// The cluster's folder.
        folder: PathBuf,
    },
    /// A file could not be read, written or given to the server's user.
    #[error("{action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A process could not be started or signalled.
    #[error("{action} {program}; set DATABASE_URL to use a Postgres of your own")]
    Process {
        /// What was tried.
        action: &'static str,
        /// Which program.
        program: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("{program} failed: {last_words}")]
    Failed {
        /// Which program.
        program: &'static str,
        /// The end of its output.
        last_words: String,
    },
    /// A program did not end or answer in time.
    #[error("{program} took longer than {timeout_s} s: {last_words}")]
    TimedOut {
        /// Which program.
        program: &'static str,
        /// The limit.
        timeout_s: u64,
        /// The end of its output.
        last_words: String,
    },
}

/// A running server. Dropping it shuts it down.
#[derive(Debug)]
pub struct Cluster {
    server: Process,
    launch: Launch,
    url: String,
    sockets: tempfile::TempDir,
    // released last: nobody else may start a server while ours shuts down
    _lock: File,
}

/// Everything needed to start the server again.
#[derive(Debug)]
struct Launch {
    binaries: PathBuf,
    user: Option<User>,
    data: Data,
    log: PathBuf,
    durability: Durability,
    pids: Option<Sender<i32>>,
}

impl Cluster {
    /// Starts the cluster in `folder` with full durability; makes it if the folder is new.
    ///
    /// # Errors
    /// [`ClusterError`]; nothing is left running.
    pub async fn start(folder: &Path) -> Result<Self, ClusterError> {
        Self::start_with(folder, ClusterOptions::default()).await
    }

    /// Starts the cluster in `folder`; makes it if the folder is new.
    ///
    /// # Errors
    /// [`ClusterError`]; nothing is left running.
    pub async fn start_with(folder: &Path, options: ClusterOptions) -> Result<Self, ClusterError> {
        let user = unprivileged_user();
        let folder = own_folder(folder, user)?;
        let lock = lock(&folder)?;
        let binaries = match options.binaries {
            Some(folder) => real_folder(&folder).ok_or(ClusterError::NotFound { searched: folder })?,
            None => find_binaries()?,
        };
        let binaries = usable_binaries(binaries, user)?;
        let data = data_folder(&folder, user, options.durability)?;
        let launch = Launch { binaries, user, data, log: folder.join("postgres.log"), durability: options.durability, pids: options.pids };
        launch.stop_orphan().await?;
        launch.initialise().await?;
        let sockets = socket_folder(user)?;
        let server = launch.serve(sockets.path()).await?;
        let url = format!("postgres://{USER}@localhost:{PORT}/{DATABASE}?host={}&sslmode=disable", sockets.path().display());
        Ok(Self { server, launch, url, sockets, _lock: lock })
    }

    /// URL of its database, also understood by psql. It stays the same over restarts.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Process id of the server.
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// Kills the server without notice, as a crash would.
    ///
    /// # Errors
    /// [`ClusterError::Process`].
    pub fn kill(&mut self) -> Result<(), ClusterError> {
        self.server.kill().map_err(|source| ClusterError::Process { action: "kill", program: self.launch.program("postgres"), source })
    }

    /// Starts the server again at the same URL, after a [`Cluster::kill`] or a shutdown; it recovers what was acknowledged.
    ///
    /// # Errors
    /// [`ClusterError`] if it does not come up.
    pub async fn restart(&mut self) -> Result<(), ClusterError> {
        self.server.shut_down();
        self.server = self.launch.serve(self.sockets.path()).await?;
        Ok(())
    }
}

impl Launch {
    fn program(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.program(name));
        command.current_dir("/").stdin(Stdio::null()).process_group(0);
        // settings of another server must not reach this one
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").env("TZ", "UTC");
        as_user(&mut command, self.user);
        command
    }

    /// Makes the data folder's content unless it is there.
    async fn initialise(&self) -> Result<(), ClusterError> {
        if self.data.path().join("PG_VERSION").is_file() {
            return self.check_version();
        }
        let mut command = self.command("initdb");
        command.arg("-D").arg(self.data.path()).args(["-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale"]);
        if self.durability == Durability::Disposable {
            command.arg("--no-sync");
        }
        let output = self.log_file()?;
        command.stdout(output.try_clone().map_err(|source| file("write", &self.log, source))?).stderr(output);
        let mut process = self.spawn(command, "initdb")?;
        let started = Instant::now();
        loop {
            match process.ended() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(None) if started.elapsed() < INIT_TIMEOUT => tokio::time::sleep(POLL_PAUSE).await,
                Ok(None) => return Err(self.timed_out("initdb", INIT_TIMEOUT)),
                Ok(Some(_)) => return Err(self.failed("initdb")),
                Err(source) => return Err(ClusterError::Process { action: "wait for", program: self.program("initdb"), source }),
            }
        }
    }

    /// Data of another major version cannot be served; `postgres` says so in its log, this says it sooner and with the remedy.
    fn check_version(&self) -> Result<(), ClusterError> {
        let path = self.data.path().join("PG_VERSION");
        let data = fs::read_to_string(&path).map_err(|source| file("read", &path, source))?;
        let mut command = self.command("postgres");
        let output = command.arg("--version").output();
        let output = output.map_err(|source| ClusterError::Process { action: "start", program: self.program("postgres"), source })?;
        let binary = String::from_utf8_lossy(&output.stdout).into_owned();
        match major_version(&binary) {
            Some(major) if major != data.trim() => Err(ClusterError::Failed {
                program: "postgres",
                last_words: format!(
                    "{} was made by version {}, this is {major}; delete the folder to start afresh",
                    self.data.path().display(),
                    data.trim()
                ),
            }),
            _ => Ok(()),
        }
    }

    /// Starts the server and waits until it answers.
    async fn serve(&self, sockets: &Path) -> Result<Process, ClusterError> {
        let started = Instant::now();
        loop {
            let logged = fs::metadata(&self.log).map_or(0, |meta| meta.len());
            let mut server = self.spawn(self.server_command(sockets)?, "postgres")?;
            match self.wait_until_up(&mut server, sockets, started).await {
                Up::Answers => return Ok(server),
                // children of a killed predecessor need a moment to notice; until then its shared memory is in use
                Up::Ended if started.elapsed() < START_TIMEOUT && self.log_since(logged).contains("shared memory block") => {
                    tokio::time::sleep(POLL_PAUSE).await;
                }
                Up::Ended => return Err(self.failed("postgres")),
                Up::Late => return Err(self.timed_out("postgres", START_TIMEOUT)),
            }
        }
    }

    fn server_command(&self, sockets: &Path) -> Result<Command, ClusterError> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data.path()).arg("-k").arg(sockets).args(["-p", &PORT.to_string(), "-c", "listen_addresses="]);
        command.args(["-c", "max_connections=200", "-c", "timezone=UTC", "-c", "log_timezone=UTC"]);
        if self.durability == Durability::Disposable {
            command.args(["-c", "fsync=off", "-c", "full_page_writes=off", "-c", &format!("{}=on", crate::pool::DISPOSABLE)]);
        }
        let log = self.log_file()?;
        command.stdout(log.try_clone().map_err(|source| file("write", &self.log, source))?).stderr(log);
        Ok(command)
    }

    async fn wait_until_up(&self, server: &mut Process, sockets: &Path, started: Instant) -> Up {
        let options = connect_options(sockets);
        loop {
            if !matches!(server.ended(), Ok(None)) {
                return Up::Ended;
            }
            if let Ok(Ok(connection)) = tokio::time::timeout(ATTEMPT_TIMEOUT, options.connect()).await {
                drop(connection.close().await);
                return Up::Answers;
            }
            if started.elapsed() > START_TIMEOUT {
                return Up::Late;
            }
            tokio::time::sleep(POLL_PAUSE).await;
        }
    }

    /// Stops the server of an owner that died without stopping it.
    async fn stop_orphan(&self) -> Result<(), ClusterError> {
        let Some(orphan) = self.orphan() else { return Ok(()) };
        tracing::info!(pid = orphan.pid.as_raw_nonzero().get(), "stopping the Postgres that an earlier process left behind");
        let ended = self.end(orphan.pid, Signal::INT).await? || self.end(orphan.pid, Signal::KILL).await?;
        remove_socket_folder(&orphan.sockets);
        if ended { Ok(()) } else { Err(self.timed_out("postgres", STOP_TIMEOUT)) }
    }

    /// Sends the signal and waits for the end of a process that is not our child; false if it lives on.
    async fn end(&self, pid: Pid, signal: Signal) -> Result<bool, ClusterError> {
        match kill_process(pid, signal) {
            Err(Errno::SRCH) => return Ok(true),
            Err(source) => return Err(ClusterError::Process { action: "stop", program: self.program("postgres"), source: source.into() }),
            Ok(()) => {}
        }
        let started = Instant::now();
        while self.is_served_by(pid) && started.elapsed() < STOP_TIMEOUT {
            tokio::time::sleep(POLL_PAUSE).await;
        }
        Ok(!self.is_served_by(pid))
    }

    /// True while this process, and not one that got its number later or an unburied one, serves the data folder.
    fn is_served_by(&self, pid: Pid) -> bool {
        arguments_of(pid).is_some_and(|arguments| arguments.contains(&*self.data.path().to_string_lossy()))
    }

    /// What the data folder's pid file names, if it is alive and really a server of this folder.
    /// Line 1 of the file is the process id, line 5 the socket folder.
    fn orphan(&self) -> Option<Orphan> {
        let file = fs::read_to_string(self.data.path().join("postmaster.pid")).ok()?;
        let pid = Pid::from_raw(file.lines().next()?.trim().parse().ok()?)?;
        let sockets = file.lines().nth(4).unwrap_or_default().into();
        self.is_served_by(pid).then_some(Orphan { pid, sockets })
    }

    fn spawn(&self, command: Command, program: &str) -> Result<Process, ClusterError> {
        Process::spawn(command, self.pids.clone()).map_err(|source| ClusterError::Process { action: "start", program: self.program(program), source })
    }

    fn log_file(&self) -> Result<File, ClusterError> {
        File::options().create(true).append(true).open(&self.log).map_err(|source| file("open", &self.log, source))
    }

    fn log_since(&self, length: u64) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(length as usize..).unwrap_or_default()).into_owned()
    }

    fn last_words(&self) -> String {
        let text = self.log_since(0);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    fn failed(&self, program: &'static str) -> ClusterError {
        ClusterError::Failed { program, last_words: self.last_words() }
    }

    fn timed_out(&self, program: &'static str, timeout: Duration) -> ClusterError {
        ClusterError::TimedOut { program, timeout_s: timeout.as_secs(), last_words: self.last_words() }
    }
}

/// A server whose owner is gone.
struct Orphan {
    pid: Pid,
    sockets: PathBuf,
}

/// What became of a server that was started.
enum Up {
    Answers,
    Ended,
    Late,
}

fn connect_options(sockets: &Path) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass().socket(sockets).port(PORT).username(USER).database(DATABASE).ssl_mode(PgSslMode::Disable)
}

/// The command line of a process, from /proc or, where there is none, from ps.
fn arguments_of(pid: Pid) -> Option<String> {
    let pid = pid.as_raw_nonzero();
    let proc = fs::read(format!("/proc/{pid}/cmdline")).ok();
    let ps = || Command::new("ps").args(["-ww", "-o", "args=", "-p", &pid.to_string()]).output().ok().map(|output| output.stdout);
    proc.or_else(ps).map(|arguments| String::from_utf8_lossy(&arguments).into_owned())
}

/// "postgres (PostgreSQL) 18.4 (Debian ...)" -> "18".
fn major_version(text: &str) -> Option<&str> {
    text.split_whitespace().nth(2)?.split(|c: char| !c.is_ascii_digit()).next()
}

/// Drops every privilege of root, supplementary groups included.
fn as_user(command: &mut Command, user: Option<User>) {
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
}

fn file(action: &'static str, path: &Path, source: io::Error) -> ClusterError {
    ClusterError::File { action, path: path.to_owned(), source }
}
