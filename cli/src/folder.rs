//! The folder of a run: a named one is kept, a temporary one goes with the run unless the run failed.

use anyhow::Context;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Lines of each log that a failed run shows.
const LAST_LINES: usize = 12;

/// Where a run leaves its files.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl RunFolder {
    /// The named folder, or a temporary one whose name begins with `prefix`.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(named: Option<PathBuf>, prefix: &str) -> anyhow::Result<Self> {
        if let Some(path) = named {
            std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
            return Ok(Self { path: path.canonicalize()?, temporary: None });
        }
        let folder = tempfile::Builder::new().prefix(prefix).tempdir().context("cannot make a temporary folder")?;
        if rustix::process::geteuid().is_root() {
            // Postgres' user passes through to its data; it may list nothing
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711))?;
        }
        Ok(Self { path: folder.path().to_owned(), temporary: Some(folder) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The outcome of the run; after a failure the folder stays, and the error output says where it is and what the logs said last.
    ///
    /// # Errors
    /// Those of the run.
    pub fn after<T>(self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        if outcome.is_err() {
            if let Some(folder) = self.temporary {
                drop(folder.keep());
            }
            eprintln!("{}what was left is in {}", last_words(&self.path), self.path.display());
        }
        outcome
    }
}

/// The end of every log in the folder.
fn last_words(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut logs: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
    logs.sort();
    logs.iter().map(|log| format!("-- the end of {}\n{}\n", log.display(), last_lines(log))).collect()
}

/// The end of a log.
pub(crate) fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}
