//! Who may write: one settlement process leads, by a lease in Postgres; the others stand by.
//!
//! Every write of the watcher and the submitter is a database transaction that begins with the lease's fencing check, so a process that was
//! frozen past its lease and wakes up cannot write over its successor's work.

use sheaf_store::StoreError;
use sheaf_store::leader::{Lease, Role, acquire};
use sqlx::{PgPool, PgTransaction};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The right to write, if this process has it. Clones share it.
#[derive(Clone, Debug)]
pub struct Lead {
    pool: PgPool,
    holder: Arc<str>,
    duration: Duration,
    lease: Arc<Mutex<Option<Lease>>>,
}

impl Lead {
    /// Not leading yet. `holder` is for people; `lease_ms` is how long a silent leader is waited for.
    pub fn new(pool: PgPool, holder: &str, lease_ms: u64) -> Self {
        Self { pool, holder: holder.into(), duration: Duration::from_millis(lease_ms), lease: Arc::default() }
    }

    /// True if this process led when last heard of.
    pub fn is_held(&self) -> bool {
        self.lease().is_some()
    }

    /// Takes the lead if it is free, or keeps it. True if it is ours now.
    ///
    /// # Errors
    /// [`StoreError`] if the database does not answer.
    pub async fn keep(&self) -> Result<bool, StoreError> {
        let mut connection = self.pool.acquire().await?;
        if let Some(lease) = self.lease() {
            match lease.renew(&mut connection, self.duration).await {
                Ok(()) => return Ok(true),
                Err(StoreError::LostLead { epoch, .. }) => {
                    tracing::warn!(epoch, "another process leads settlement now");
                    self.set(None);
                }
                Err(error) => return Err(error),
            }
        }
        let lease = acquire(&mut connection, Role::Settlement, &self.holder, self.duration).await?;
        if let Some(lease) = &lease {
            tracing::info!(epoch = lease.epoch(), "leading settlement");
        }
        let held = lease.is_some();
        self.set(lease);
        Ok(held)
    }

    /// Keeps the lead until cancelled, then gives it up.
    pub async fn run(self, cancel: CancellationToken) {
        let pause = self.duration / 3;
        loop {
            if let Err(error) = self.keep().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "keeping the lead of settlement");
            }
            if cancel.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return self.release().await;
            }
        }
    }

    /// Gives the lead up, so that a successor need not wait.
    pub async fn release(&self) {
        let Some(lease) = self.lease() else { return };
        self.set(None);
        let released = async { lease.release(&mut *self.pool.acquire().await?).await };
        if let Err(error) = released.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "giving up the lead of settlement; it will expire");
        }
    }

    /// A database transaction that only the leader gets.
    pub(crate) async fn begin(&self) -> Result<PgTransaction<'static>, StoreError> {
        let lease = self.lease().ok_or(StoreError::LostLead { role: Role::Settlement, epoch: 0 })?;
        let mut transaction = self.pool.begin().await?;
        lease.guard(&mut transaction).await?;
        Ok(transaction)
    }

    /// For reading.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    fn lease(&self) -> Option<Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, lease: Option<Lease>) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease;
    }
}
