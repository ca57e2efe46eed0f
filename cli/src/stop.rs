//! How a role is told to end.

use crate::guard::StopSignals;
use tokio_util::sync::CancellationToken;

/// Exit code of a process that was interrupted twice.
const INTERRUPTED: i32 = 130;

/// Cancelled by the first SIGTERM, SIGHUP or Ctrl-C, which asks for an orderly end; a second one ends the process at once.
///
/// # Errors
/// If the signals cannot be watched.
pub(crate) fn on_signals() -> anyhow::Result<CancellationToken> {
    let (mut signals, stop) = (StopSignals::listen()?, CancellationToken::new());
    let told = stop.clone();
    tokio::spawn(async move {
        signals.received().await;
        told.cancel();
        signals.received().await;
        std::process::exit(INTERRUPTED);
    });
    Ok(stop)
}
