//! Keeping the sequencer's lease. Lost once, everything stops: another process may be accepting transactions by now.

use crate::config::LeadConfig;
use sheaf_store::StoreError;
use sheaf_store::leader::{self, Lease, Role};
use sqlx::PgPool;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Pause between two looks at a lease that another holds.
const STANDBY_POLL: Duration = Duration::from_millis(250);

/// Waits until this process leads; `None` if it was stopped before.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn acquire(pool: &PgPool, config: &LeadConfig, stop: &CancellationToken) -> Result<Option<Lease>, StoreError> {
    let mut waiting = false;
    loop {
        let mut connection = pool.acquire().await?;
        if let Some(lease) = leader::acquire(&mut connection, Role::Sequencer, &config.holder, config.lease).await? {
            tracing::info!(epoch = lease.epoch(), "leading");
            return Ok(Some(lease));
        }
        drop(connection);
        if !std::mem::replace(&mut waiting, true) {
            tracing::info!("standing by: another sequencer leads");
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = sleep(STANDBY_POLL) => {}
        }
    }
}

/// Renews the lease until `stop`, then gives it up.
///
/// # Errors
/// [`StoreError::LostLead`]. A database that does not answer is not a loss: every write checks the lease by itself.
pub(crate) async fn keep(pool: PgPool, lease: Lease, duration: Duration, stop: CancellationToken) -> Result<(), StoreError> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return release(&pool, lease).await,
            () = sleep(duration / 3) => {}
        }
        match renew(&pool, &lease, duration).await {
            Err(lost @ StoreError::LostLead { .. }) => return Err(lost),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the lease was not renewed"),
            Ok(()) => {}
        }
    }
}

/// Renews the lease once. Returns only after every transaction that was being written under it has ended.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn renew(pool: &PgPool, lease: &Lease, duration: Duration) -> Result<(), StoreError> {
    let mut connection = pool.acquire().await?;
    lease.renew(&mut connection, duration).await
}

async fn release(pool: &PgPool, lease: Lease) -> Result<(), StoreError> {
    let mut connection = pool.acquire().await?;
    lease.release(&mut connection).await
}
