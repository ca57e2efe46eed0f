//! Puts the parts together and takes them apart again.
//!
//! ```text
//! start: lease, kept from now on ── recover ── tasks: admission, executor, committer, feed ── router
//! stop:  the token is cancelled: the API refuses, the executor finishes its write, the committer its batch; then the lease is given up
//! ```
//! If one task fails, all stop, and [`Sequencer::stopped`] tells why. A restart recovers. Whoever writes does so on connections of its own, which
//! no number of readers can take away, and waits for none of them longer than `write_timeout`: a database that hangs does not hold up a stop.

use crate::admission::{self, Pipeline, Rules};
use crate::api::{self, App, RenderMetrics};
use crate::committer::Committer;
use crate::config::{Config, Deployment};
use crate::executor::{Executor, Fatal};
use crate::feed::Feed;
use crate::lead::{self, Keeper};
use crate::places::Places;
use crate::recovery::{Recovered, RecoveryError, recover};
use crate::sealer;
use crate::view::View;
use axum::Router;
use futures::FutureExt;
use sheaf_protocol::kzg::Srs;
use sheaf_store::StoreError;
use sqlx::PgPool;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Connections of writers: executor, committer, lease, the listener, the marks, and one that a write may have left hanging.
const WRITER_CONNECTIONS: u32 = 6;
/// How long closing them may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the sequencer does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The lease.
    #[error("the lead cannot be taken")]
    Lead(#[source] StoreError),
    /// The state.
    #[error("the sequencer cannot recover its state")]
    Recovery(#[source] RecoveryError),
    /// It was stopped while it stood by or recovered.
    #[error("stopped before it led")]
    Stopped,
    /// Nothing of this kind could ever be in a batch.
    #[error("no circuit of the deployment holds a {0}; deploy with a shape that does")]
    Circuits(&'static str),
    /// The system gives no threads.
    #[error("the committer's threads cannot be started")]
    Threads(#[source] rayon::ThreadPoolBuildError),
}

/// A running sequencer.
pub struct Sequencer {
    router: Router,
    seal: mpsc::Sender<()>,
    tasks: JoinSet<Result<(), Fatal>>,
    keeper: Keeper,
    writers: PgPool,
}

impl std::fmt::Debug for Sequencer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sequencer").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl Sequencer {
    /// Waits for the lead, recovers the state and starts all tasks. They end when `stop` is cancelled, or cancel it when one of them fails.
    /// `pool` serves readers; writers connect to the same database on their own.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: Config,
        pool: PgPool,
        srs: Arc<Srs>,
        deployment: Deployment,
        metrics: Option<RenderMetrics>,
        stop: CancellationToken,
    ) -> Result<Self, StartError> {
        sealer::check_circuits(&deployment.circuits).map_err(StartError::Circuits)?;
        let threads = rayon::ThreadPoolBuilder::new().num_threads(config.committing.threads.max(1)).thread_name(|i| format!("committer-{i}"));
        let threads = Arc::new(threads.build().map_err(StartError::Threads)?);
        let (config, deployment) = (Arc::new(config), Arc::new(deployment));
        let writers = sheaf_store::pool::reserve(&pool, WRITER_CONNECTIONS);
        let lease = lead::acquire(&writers, &config.lead, &stop).await.map_err(StartError::Lead)?.ok_or(StartError::Stopped)?;
        let keeper = Keeper::start(writers.clone(), lease.clone(), config.lead.lease, &stop);
        let recovering = Box::pin(recover(&writers, &lease, srs, &deployment, &config));
        let (recovered, keeper) = led(keeper, recovering, &stop).await?;
        let view = Arc::new(View::new(recovered.book.live().clone()));
        let feed = Feed::new(recovered.marks);
        let Pipeline { door, arrivals, groups, verified } = Pipeline::new(&config.admission);
        let (to_committer, sealed) = mpsc::channel(config.sealing.max_uncomputed);
        let (seal, asked) = mpsc::channel(1);

        let rules = Rules { domain: deployment.domain, view: Arc::clone(&view), fees: config.fees.clone(), config: config.admission.clone() };
        let executor = Executor {
            pool: writers.clone(),
            lease: lease.clone(),
            config: Arc::clone(&config),
            circuits: deployment.circuits.clone(),
            frozen: recovered.frozen,
            arrived: VecDeque::from(vec![Instant::now(); recovered.book.waiting()]),
            book: recovered.book,
            last_batch: recovered.last_batch,
            view: Arc::clone(&view),
            feed: feed.clone(),
            verified,
            sealed: to_committer,
            asked,
            stop: stop.clone(),
        };
        let committer = Committer {
            pool: writers.clone(),
            lease,
            state: recovered.committed,
            feed: feed.clone(),
            threads,
            write_timeout: config.admission.write_timeout,
            stop: stop.clone(),
        };

        let mut tasks = JoinSet::new();
        let admitted = admission::run(rules, arrivals, groups);
        spawn(&mut tasks, &stop, "admission", with_stop(stop.clone(), admitted));
        spawn(&mut tasks, &stop, "the executor", executor.run());
        spawn(&mut tasks, &stop, "the committer", committer.run(recovered.uncomputed, sealed));
        spawn(&mut tasks, &stop, "the feed", feed.clone().run(writers.clone(), stop.clone()).map(Ok));

        let api = &config.api;
        let router = api::router(App {
            limits: Arc::new(api::Limits::new(api.rate)),
            activity: Arc::default(),
            streams: Places::new(api.max_event_streams, api.max_event_streams_per_client),
            waiters: Places::new(api.max_waiters, api.max_waiters_per_client),
            config: Arc::clone(&config),
            deployment,
            pool,
            view,
            door,
            feed,
            metrics,
            stop,
        });
        Ok(Self { router, seal, tasks, keeper, writers })
    }

    /// The HTTP surface, to be merged with others and served with [`serve`](crate::serve).
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Asks for a batch of whatever waits.
    pub fn seal_now(&self) {
        // one that is asked for already is enough
        let _ = self.seal.try_send(());
    }

    /// Waits until every task has ended, after a stop or a failure.
    ///
    /// # Errors
    /// The first [`Fatal`].
    pub async fn stopped(mut self) -> Result<(), Fatal> {
        let first = first_failure(&mut self.tasks).await;
        let kept = self.keeper.release().await.map_err(Fatal::Store);
        // a database that hangs keeps its connections; they end with the process
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.writers.close()).await;
        first.and(kept)
    }
}

/// What `recovering` found, as long as the lead is kept meanwhile; otherwise gives it up.
async fn led(
    keeper: Keeper,
    recovering: impl Future<Output = Result<Recovered, RecoveryError>>,
    stop: &CancellationToken,
) -> Result<(Recovered, Keeper), StartError> {
    let error = match stop.run_until_cancelled(recovering).await {
        Some(Ok(recovered)) => return Ok((recovered, keeper)),
        Some(Err(error)) => StartError::Recovery(error),
        None => StartError::Stopped,
    };
    let lost = keeper.release().await.map_err(StartError::Lead);
    lost.and(Err(error))
}

/// Waits for all tasks.
async fn first_failure(tasks: &mut JoinSet<Result<(), Fatal>>) -> Result<(), Fatal> {
    let mut first = Ok(());
    while let Some(ended) = tasks.join_next().await {
        first = first.and(ended.unwrap_or_else(|error| Err(Fatal::Panicked { task: "a task", message: error.to_string() })));
    }
    first
}

async fn with_stop(stop: CancellationToken, task: impl Future<Output = ()>) -> Result<(), Fatal> {
    tokio::select! {
        () = stop.cancelled() => {}
        () = task => {}
    }
    Ok(())
}

/// A task that ends, for whatever reason, ends all.
fn spawn(
    tasks: &mut JoinSet<Result<(), Fatal>>,
    stop: &CancellationToken,
    name: &'static str,
    task: impl Future<Output = Result<(), Fatal>> + Send + 'static,
) {
    let ends = stop.clone().drop_guard();
    tasks.spawn(async move {
        let _ends = ends;
        let ended = AssertUnwindSafe(task).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(name, panic.as_ref())));
        if let Err(fatal) = &ended {
            tracing::error!(error = fatal as &dyn std::error::Error, "the sequencer stops");
        }
        ended
    });
}

fn panicked(task: &'static str, panic: &(dyn std::any::Any + Send)) -> Fatal {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Fatal::Panicked { task, message: said.unwrap_or("something without words").to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_stops_all_and_is_named() {
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        spawn(&mut tasks, &stop, "the other", with_stop(stop.clone(), std::future::pending()));
        spawn(&mut tasks, &stop, "the broken", async { panic!("slot {} is gone", 7) });
        let failure = tokio::time::timeout(Duration::from_secs(30), first_failure(&mut tasks)).await;
        let Ok(Err(Fatal::Panicked { task, message })) = failure else { panic!("{failure:?}") };
        assert_eq!((task, message.as_str()), ("the broken", "slot 7 is gone"));
        assert!(stop.is_cancelled());
    }
}
