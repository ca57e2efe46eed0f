//! The process's metrics in Prometheus' format.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::time::Duration;

/// Between two moves of raw samples into their summaries: without them a histogram that nobody reads grows for ever.
const UPKEEP: Duration = Duration::from_secs(5);

/// Collects from now on, beginning with the counters of these parts at 0; the handle renders. One a process, inside the runtime.
///
/// # Errors
/// If the process collects already.
pub(crate) fn collect(from_zero: &[fn()]) -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new().install_recorder()?;
    from_zero.iter().for_each(|count_from_zero| count_from_zero());
    let kept = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            kept.run_upkeep();
        }
    });
    Ok(handle)
}
