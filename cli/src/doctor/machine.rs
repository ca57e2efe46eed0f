//! Checks of the machine: tools, disk, tokens, port.

use super::{DoctorArgs, PATIENCE};
use crate::node::DEFAULT_LISTEN;
use crate::tokens;
use anyhow::{Context, bail, ensure};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Oldest Node that the npm tools need.
const OLDEST_NODE: u32 = 20;
/// Room for keys, a database and logs; with less a start or a proof fails half-way.
const LEAST_FREE_BYTES: u64 = 1 << 30;

/// Node installs the pinned tools and runs the Solidity compiler; a deployment's roles need neither.
pub(super) fn tools(args: &DoctorArgs) -> anyhow::Result<String> {
    if !args.is_development() {
        return Ok("none are needed for a deployment's roles".to_owned());
    }
    let output = Command::new("node").arg("--version").output();
    let output = output.with_context(|| format!("no Node on the path; install version {OLDEST_NODE} or newer, see https://nodejs.org"))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let major: u32 = version.trim_start_matches('v').split('.').next().and_then(|text| text.parse().ok()).unwrap_or(0);
    ensure!(major >= OLDEST_NODE, "Node {version} is too old; version {OLDEST_NODE} or newer is needed, see https://nodejs.org");
    Ok(format!("Node {version}"))
}

/// Free space where keys are and where a run's files go.
pub(super) fn disk(args: &DoctorArgs) -> anyhow::Result<String> {
    let mut free = Vec::new();
    for folder in [args.keys.keys_dir.clone(), std::env::temp_dir()] {
        let bytes = free_bytes(&folder)?;
        ensure!(bytes >= LEAST_FREE_BYTES, "{} has {} free, at least {} are needed; make room", folder.display(), gib(bytes), gib(LEAST_FREE_BYTES));
        free.push(format!("{} free at {}", gib(bytes), folder.display()));
    }
    Ok(free.join(", "))
}

/// Free space for this user in the file system of the folder, or of the nearest one above it that exists.
fn free_bytes(folder: &Path) -> anyhow::Result<u64> {
    let folder = std::path::absolute(folder)?;
    let there: PathBuf = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned();
    let found = rustix::fs::statvfs(&there).with_context(|| format!("cannot look at {}", there.display()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

/// Who may prove.
pub(super) fn tokens(args: &DoctorArgs) -> anyhow::Result<String> {
    let Some(file) = &args.prover_tokens else {
        let without = if args.is_development() { "`sheaf node --dev` makes its own" } else { "a node without --prover-tokens lets no worker in" };
        return Ok(format!("SHEAF_PROVER_TOKENS is not set; {without}"));
    };
    let known = tokens::hashes(file)?;
    ensure!(!known.is_empty(), "{} holds no token, so no worker can prove; make one with `sheaf prover tokens`", file.display());
    Ok(format!("{} in {}", known.len(), file.display()))
}

/// Free, or taken by a node of ours.
pub(super) async fn port(args: &DoctorArgs) -> anyhow::Result<String> {
    let address = args.listen.unwrap_or(DEFAULT_LISTEN);
    let Err(error) = TcpListener::bind(address) else { return Ok(format!("{address} is free")) };
    let answer = reqwest::Client::builder().timeout(PATIENCE).build()?.get(format!("http://{address}/v1/status")).send().await;
    match answer {
        Ok(answer) if answer.status().is_success() => Ok(format!("a node answers on {address}")),
        _ if args.listen.is_none() && args.is_development() => Ok(format!("{address} is taken; `sheaf node --dev` takes the next free port")),
        _ => bail!("cannot listen on {address}: {error}; stop what listens there, or choose another with --listen"),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_space_of_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(&folder.path().join("not/there/yet")).unwrap() > 0);
    }
}
