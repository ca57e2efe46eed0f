//! Progress for a person who waits: a bar on a terminal, elsewhere a line at once and then one every ten seconds.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Between two lines where there is no terminal.
const LINE_PAUSE: Duration = Duration::from_secs(10);

/// Hears (done, all) and says what it counts; silent for work that turns out to be cached.
pub(crate) struct Progress {
    label: String,
    shown: Option<Shown>,
}

enum Shown {
    Bar(ProgressBar),
    Lines { last: Instant },
}

impl Progress {
    /// Nothing is shown until the first step.
    pub(crate) fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), shown: None }
    }

    /// Shows `done` of `all`.
    pub(crate) fn step(&mut self, done: usize, all: usize) {
        self.step_with(done, all, "");
    }

    /// Shows `done` of `all` and what else there is to say.
    pub(crate) fn step_with(&mut self, done: usize, all: usize, note: &str) {
        let label = &self.label;
        match self.shown.get_or_insert_with(|| start(label)) {
            Shown::Bar(bar) => {
                bar.set_length(all as u64);
                bar.set_position(done as u64);
                bar.set_prefix(note.to_owned());
            }
            Shown::Lines { last } if last.elapsed() >= LINE_PAUSE => {
                *last = Instant::now();
                let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
                eprintln!("{label}: {done} of {all}{note}");
            }
            Shown::Lines { .. } => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(Shown::Bar(bar)) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn start(label: &str) -> Shown {
    if !std::io::stderr().is_terminal() {
        eprintln!("{label} ...");
        return Shown::Lines { last: Instant::now() };
    }
    let bar = ProgressBar::new(0).with_message(label.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {pos} of {len} {prefix} {eta}") {
        bar.set_style(style);
    }
    Shown::Bar(bar)
}
