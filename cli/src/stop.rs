//! How a role is told to end, and how a process does.

use crate::guard::StopSignals;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// What threads may still take when the work is done; a proof that nobody waits for any more would take longer.
const LEFT_OVER: Duration = Duration::from_secs(1);
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

/// Does the work and ends the runtime, without waiting for what its threads still compute.
pub fn run<T>(runtime: Runtime, work: impl Future<Output = T>) -> T {
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LEFT_OVER);
    done
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Instant;

    #[test]
    fn a_proof_under_way_does_not_keep_the_process() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (hold, held) = channel::<()>();
        let started = Instant::now();
        let done = run(runtime, async move {
            let (begin, begun) = tokio::sync::oneshot::channel();
            // as the worker's engine proves
            let proof = tokio::task::spawn_blocking(move || {
                begin.send(()).unwrap();
                held.recv()
            });
            begun.await.unwrap();
            drop(proof);
            7
        });
        assert_eq!(done, 7);
        assert!(started.elapsed() < Duration::from_secs(30));
        drop(hold);
    }
}
