//! Keeping the sequencer's lease. Lost once, everything stops: another process may be accepting transactions by now.
//!
//! ```text
//! acquire ──> kept from the first moment, recovery included ──> released after the last writer has ended
//! ```

use crate::config::LeadConfig;
use sheaf_store::StoreError;
use sheaf_store::leader::{self, Lease, Role};
use sheaf_store::pool::{Held, within};
use sqlx::PgPool;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Pause between two looks at a lease that another holds.
const STANDBY_POLL: Duration = Duration::from_millis(250);
/// How long giving up the lease may take; after that it expires by itself.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits until this process leads; `None` if it was stopped before.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn acquire(pool: &PgPool, config: &LeadConfig, stop: &CancellationToken) -> Result<Option<Lease>, StoreError> {
    let mut waiting = false;
    loop {
        let Some(taken) = stop.run_until_cancelled(take(pool, config)).await else { return Ok(None) };
        if let Some(lease) = taken? {
            tracing::info!(epoch = lease.epoch(), "leading");
            return Ok(Some(lease));
        }
        if !std::mem::replace(&mut waiting, true) {
            tracing::info!("standing by: another sequencer leads");
        }
        if stop.run_until_cancelled(sleep(STANDBY_POLL)).await.is_none() {
            return Ok(None);
        }
    }
}

async fn take(pool: &PgPool, config: &LeadConfig) -> Result<Option<Lease>, StoreError> {
    let mut connection = Held::take(pool).await?;
    let lease = leader::acquire(&mut connection, Role::Sequencer, &config.holder, config.lease).await?;
    connection.done();
    Ok(lease)
}

/// The task that keeps the lease. Dropped, it stops without giving the lease up, as a crash does.
#[derive(Debug)]
pub(crate) struct Keeper {
    task: AbortOnDropHandle<Result<(), StoreError>>,
    enough: CancellationToken,
}

impl Keeper {
    /// Starts to renew the lease. When it is lost, `stop` is cancelled.
    pub(crate) fn start(pool: PgPool, lease: Lease, duration: Duration, stop: &CancellationToken) -> Self {
        let (enough, ends) = (CancellationToken::new(), stop.clone().drop_guard());
        let kept = keep(pool, lease, duration, enough.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let _ends = ends;
            kept.await
        }));
        Self { task, enough }
    }

    /// Gives the lease up: nothing is written under it any more.
    ///
    /// # Errors
    /// [`StoreError::LostLead`] if it was lost before.
    ///
    /// # Panics
    /// If the task did.
    pub(crate) async fn release(self) -> Result<(), StoreError> {
        self.enough.cancel();
        // it is not aborted before it is dropped: the only other end is a panic
        self.task.await.unwrap_or_else(|error| error.try_into_panic().map_or(Ok(()), |panic| std::panic::resume_unwind(panic)))
    }
}

/// A database that does not answer is not a loss: every write checks the lease by itself.
async fn keep(pool: PgPool, lease: Lease, duration: Duration, enough: CancellationToken) -> Result<(), StoreError> {
    let pause = duration / 3;
    let renewals = async {
        loop {
            sleep(pause).await;
            match within(duration, renew(&pool, &lease, duration)).await {
                Err(lost @ StoreError::LostLead { .. }) => return lost,
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the lease was not renewed"),
                Ok(()) => {}
            }
        }
    };
    if let Some(lost) = enough.run_until_cancelled(renewals).await {
        return Err(lost);
    }
    if let Err(error) = within(RELEASE_TIMEOUT, release(&pool, lease)).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "the lease was not given up; it expires by itself");
    }
    Ok(())
}

/// Renews the lease once. Returns only after every transaction that was being written under it has ended.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn renew(pool: &PgPool, lease: &Lease, duration: Duration) -> Result<(), StoreError> {
    let mut connection = Held::take(pool).await?;
    lease.renew(&mut connection, duration).await?;
    connection.done();
    Ok(())
}

async fn release(pool: &PgPool, lease: Lease) -> Result<(), StoreError> {
    let mut connection = Held::take(pool).await?;
    lease.release(&mut connection).await?;
    connection.done();
    Ok(())
}
