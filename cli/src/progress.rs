//! Progress for a person who waits: a bar on a terminal, one line per phase elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// A bar that hears (done, all) and says what it counts; silent for work that turns out to be cached.
pub(crate) struct Progress {
    label: String,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Nothing is shown until the first step.
    pub(crate) fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), bar: None }
    }

    /// Shows `done` of `all`.
    pub(crate) fn step(&mut self, done: usize, all: usize) {
        let bar = self.bar.get_or_insert_with(|| start(&self.label, all as u64));
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn start(label: &str, all: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        eprintln!("{label} ...");
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(all).with_message(label.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {percent}% {eta}") {
        bar.set_style(style);
    }
    bar
}
