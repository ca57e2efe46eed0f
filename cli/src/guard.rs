//! Nothing is left running: `sheaf guard`, and the signals that ask for an end.
//!
//! ```text
//! owner ── +pid, -pid as its processes start and end ──> guard
//! owner gone, however it died = end of the pipe ───────> TERM to every process left, KILL to what is there after GRACE
//! ```
//!
//! An owner ends its own processes when it can; the guard is for `kill -9`, a panic that aborts, a test binary that Ctrl-C ends. It is in a process
//! group of its own, so that Ctrl-C does not reach it, and it touches nothing but the processes it was told of.

use crate::process::{Signal, is_running, send};
use anyhow::Context;
use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tokio::signal::unix::{self, SignalKind, signal};

/// How long a process may take to end in order: Anvil saves its state, Postgres disconnects its clients.
const GRACE: Duration = Duration::from_secs(5);
/// Pause between two looks at the processes.
const POLL: Duration = Duration::from_millis(20);

/// The owner's end of a guard. Once it and every sender made from it are gone, the guard ends.
#[derive(Clone, Debug)]
pub struct Guard(Sender<i32>);

impl Guard {
    /// Starts a guard; `program` is the `sheaf` binary.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start(program: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.arg("guard").current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {} guard", program.display()))?;
        let mut pipe = child.stdin.take().context("the guard has no pipe")?;
        let (pids, told): (_, Receiver<i32>) = channel();
        std::thread::spawn(move || {
            // a guard that is gone guards no more; that must not stop its owner
            for pid in told {
                let _ = writeln!(pipe, "{pid:+}");
            }
            drop(pipe);
            let _ = child.wait();
        });
        Ok(Self(pids))
    }

    /// Takes the ids of processes that were started, and the same ids negated once they have ended.
    pub fn pids(&self) -> Sender<i32> {
        self.0.clone()
    }
}

/// `sheaf guard`: reads `+pid` and `-pid` from standard input until its end, then ends every process left.
///
/// # Errors
/// If standard input cannot be read.
pub fn run() -> anyhow::Result<()> {
    // whoever ends the owner by its session or unit may mean us too; we have work to do then
    let _deaf = StopSignals::listen()?;
    let mut left = BTreeSet::new();
    for line in std::io::stdin().lock().lines() {
        match line?.parse::<i32>() {
            Ok(pid) if pid > 0 => drop(left.insert(pid)),
            Ok(pid) => drop(left.remove(&-pid)),
            Err(_) => {}
        }
    }
    end(&left);
    Ok(())
}

fn end(left: &BTreeSet<i32>) {
    let tell = |signal| {
        for pid in left {
            // one that has ended by itself is as good
            let _ = send(*pid, signal);
        }
    };
    tell(Signal::TERM);
    tell(Signal::CONT);
    let asked = Instant::now();
    while left.iter().any(|pid| is_running(*pid)) && asked.elapsed() < GRACE {
        std::thread::sleep(POLL);
    }
    tell(Signal::KILL);
}

/// Ctrl-C, SIGTERM and SIGHUP, which from now on do nothing by themselves.
#[derive(Debug)]
pub struct StopSignals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
}

impl StopSignals {
    /// Listens from now on.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())?, hangup: listen(SignalKind::hangup())? })
    }

    /// Waits for one.
    pub async fn received(&mut self) {
        tokio::select! { _ = self.interrupt.recv() => {}, _ = self.terminate.recv() => {}, _ = self.hangup.recv() => {} }
    }
}
