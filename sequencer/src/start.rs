//! Puts the parts together and takes them apart again.
//!
//! ```text
//! start: lease ── recover ── tasks: admission, executor, committer, feed, lease ── router
//! stop:  the token is cancelled: the API refuses, the executor finishes its write, the committer its batch, the lease is given up
//! ```
//! If one task fails, all stop, and [`Sequencer::stopped`] tells why. A restart recovers.

use crate::admission::{self, Pipeline, Rules};
use crate::api::{self, App, RenderMetrics};
use crate::committer::Committer;
use crate::config::{Config, Deployment};
use crate::executor::{Executor, Fatal};
use crate::feed::Feed;
use crate::lead;
use crate::recovery::{RecoveryError, recover};
use crate::view::View;
use axum::Router;
use sheaf_protocol::kzg::Srs;
use sheaf_store::StoreError;
use sqlx::PgPool;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Why the sequencer does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The lease.
    #[error("the lead cannot be taken")]
    Lead(#[source] StoreError),
    /// The state.
    #[error("the sequencer cannot recover its state")]
    Recovery(#[source] RecoveryError),
    /// It was stopped while another sequencer led.
    #[error("stopped while standing by")]
    Stopped,
}

/// A running sequencer.
pub struct Sequencer {
    router: Router,
    seal: mpsc::Sender<()>,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), Fatal>>,
}

impl std::fmt::Debug for Sequencer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sequencer").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl Sequencer {
    /// Waits for the lead, recovers the state and starts all tasks. They end when `stop` is cancelled, or cancel it when one of them fails.
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
        let (config, deployment) = (Arc::new(config), Arc::new(deployment));
        let lease = lead::acquire(&pool, &config.lead, &stop).await.map_err(StartError::Lead)?.ok_or(StartError::Stopped)?;
        let recovered = recover(&pool, srs, &deployment, &config).await.map_err(StartError::Recovery)?;
        let view = Arc::new(View::new(recovered.book.live().clone()));
        let feed = Feed::new();
        let Pipeline { door, arrivals, groups, verified } = Pipeline::new(&config.admission);
        let (to_committer, sealed) = mpsc::channel(config.sealing.max_uncomputed);
        let (seal, asked) = mpsc::channel(1);

        let rules = Rules { domain: deployment.domain, view: Arc::clone(&view), fees: config.fees.clone(), config: config.admission.clone() };
        let executor = Executor {
            pool: pool.clone(),
            lease: lease.clone(),
            config: Arc::clone(&config),
            circuits: deployment.circuits.clone(),
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
        let committer = Committer { pool: pool.clone(), lease: lease.clone(), state: recovered.committed, feed: feed.clone(), stop: stop.clone() };

        let mut tasks = JoinSet::new();
        let admitted = admission::run(rules, arrivals, groups);
        spawn(&mut tasks, &stop, with_stop(stop.clone(), admitted));
        spawn(&mut tasks, &stop, executor.run());
        spawn(&mut tasks, &stop, committer.run(recovered.uncomputed, sealed));
        let (listening, ends) = (feed.clone(), stop.clone());
        let listen = listening.run(pool.clone(), ends);
        spawn(&mut tasks, &stop, async move {
            listen.await;
            Ok(())
        });
        let kept = lead::keep(pool.clone(), lease, config.lead.lease, stop.clone());
        spawn(&mut tasks, &stop, async move { kept.await.map_err(Fatal::Store) });

        let router = api::router(App {
            limits: Arc::new(api::Limits::new(config.api.rate)),
            streams: Arc::new(Semaphore::new(config.api.max_event_streams)),
            config,
            deployment,
            pool,
            view,
            door,
            feed,
            metrics,
            stop: stop.clone(),
        });
        Ok(Self { router, seal, stop, tasks })
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
        let mut first = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(Err(fatal)) if first.is_ok() => first = Err(fatal),
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a task ended without a result");
                    self.stop.cancel();
                }
            }
        }
        first
    }
}

async fn with_stop(stop: CancellationToken, task: impl Future<Output = ()>) -> Result<(), Fatal> {
    tokio::select! {
        () = stop.cancelled() => {}
        () = task => {}
    }
    Ok(())
}

/// A task that ends, for whatever reason, ends all.
fn spawn(tasks: &mut JoinSet<Result<(), Fatal>>, stop: &CancellationToken, task: impl Future<Output = Result<(), Fatal>> + Send + 'static) {
    let ends = stop.clone().drop_guard();
    tasks.spawn(async move {
        let _ends = ends;
        let ended = task.await;
        if let Err(fatal) = &ended {
            tracing::error!(error = fatal as &dyn std::error::Error, "the sequencer stops");
        }
        ended
    });
}
