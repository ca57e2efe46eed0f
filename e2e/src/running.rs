//! Which processes run on this machine.

use sheaf_cli::process::is_running;
use std::process::Command;

/// A process.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its id.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its command line.
    pub arguments: String,
}

/// All of them, from /proc or, where there is none, from ps.
pub fn running() -> Vec<Running> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return from_ps() };
    entries.flatten().filter_map(|entry| from_proc(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn from_proc(pid: i32) -> Option<Running> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    is_running(pid).then(|| Running { pid, parent, arguments: String::from_utf8_lossy(&arguments).replace('\0', " ") })
}

fn from_ps() -> Vec<Running> {
    let output = Command::new("ps").args(["-A", "-ww", "-o", "pid=,ppid=,args="]).output().map(|output| output.stdout).unwrap_or_default();
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let (pid, parent) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Running { pid, parent, arguments: words.collect::<Vec<_>>().join(" ") })
    };
    String::from_utf8_lossy(&output).lines().filter_map(parse).collect()
}
