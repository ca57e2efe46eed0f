//! A program of Postgres as a child process: dropping it shuts it down, and who asked for it hears of its start and its end.

use super::{POLL_PAUSE, STOP_TIMEOUT};
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::Sender;
use std::time::Instant;

/// A child process.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pids: Option<Sender<i32>>,
}

impl Process {
    /// Starts it and tells its id to `pids`, and the same id negated once it has ended.
    pub(super) fn spawn(mut command: Command, pids: Option<Sender<i32>>) -> io::Result<Self> {
        let process = Self { child: command.spawn()?, pids };
        process.tell(process.id().cast_signed());
        Ok(process)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Kills it without notice and waits for its end.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.forget();
        Ok(())
    }

    /// Asks the server to disconnect everybody and end; kills it if it does not in time.
    pub(super) fn shut_down(&mut self) {
        let started = Instant::now();
        if let Some(pid) = Pid::from_raw(self.id().cast_signed())
            && self.runs()
        {
            // fails only if it has just ended by itself
            let _ = kill_process(pid, Signal::INT);
            while self.runs() && started.elapsed() < STOP_TIMEOUT {
                std::thread::sleep(POLL_PAUSE);
            }
        }
        if self.runs() {
            tracing::warn!(pid = self.id(), "Postgres does not shut down; killing it");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        self.forget();
    }

    fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its number is free for others now.
    fn forget(&mut self) {
        self.tell(-self.id().cast_signed());
        self.pids = None;
    }

    fn tell(&self, pid: i32) {
        if let Some(pids) = &self.pids {
            // nobody listens any more: nobody needs to know
            let _ = pids.send(pid);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.shut_down();
    }
}
