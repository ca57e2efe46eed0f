//! Who may write for a role: a lease in Postgres whose epoch fences late writers.
//!
//! ```text
//! free ──acquire──> held(e) ──renew──> held(e)        expired ──acquire by another──> held(e + 1)
//!                     └── release, or no renewal ──> expired        writes of epoch e now fail
//! ```
//!
//! The database's clock decides when a lease has expired. A holder that was frozen past its expiry does no harm: every transaction it writes begins
//! with [`Lease::guard`], which fails once another has taken over, and holds the row until commit, so that nobody takes over in between.

use crate::error::StoreError;
use sqlx::{PgConnection, PgTransaction};
use std::fmt;
use std::time::Duration;

/// What is led by one process at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Accepts, seals and computes.
    Sequencer,
    /// Sends L1 transactions.
    Settlement,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Sequencer => "sequencer",
            Role::Settlement => "settlement",
        })
    }
}

/// The right to write for a role, for as long as nobody else has taken it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    role: Role,
    epoch: i64,
}

/// Takes the lead of `role` for `duration` if it is free or has expired; `None` while another holds it.
/// `holder` is for people: host and process, say.
///
/// # Errors
/// [`StoreError::Query`].
pub async fn acquire(connection: &mut PgConnection, role: Role, holder: &str, duration: Duration) -> Result<Option<Lease>, StoreError> {
    let query = "INSERT INTO leader (role, epoch, holder, expires_at) VALUES ($1, 1, $2, clock_timestamp() + $3 * interval '1 millisecond')
                 ON CONFLICT (role) DO UPDATE SET epoch = leader.epoch + 1, holder = excluded.holder, expires_at = excluded.expires_at
                 WHERE leader.expires_at <= clock_timestamp() RETURNING epoch";
    let epoch = sqlx::query_scalar(query).bind(role.to_string()).bind(holder).bind(millis(duration)).fetch_optional(connection).await?;
    Ok(epoch.map(|epoch| Lease { role, epoch }))
}

impl Lease {
    /// The fencing epoch.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Keeps the lead for `duration` from now.
    ///
    /// # Errors
    /// [`StoreError::LostLead`] if another has taken over: stop writing.
    pub async fn renew(&self, connection: &mut PgConnection, duration: Duration) -> Result<(), StoreError> {
        let query = "UPDATE leader SET expires_at = clock_timestamp() + $3 * interval '1 millisecond' WHERE role = $1 AND epoch = $2";
        let done = sqlx::query(query).bind(self.role.to_string()).bind(self.epoch).bind(millis(duration)).execute(connection).await?;
        self.held(done.rows_affected() == 1)
    }

    /// The first statement of every transaction that writes for the role. A take-over waits until that transaction ends.
    ///
    /// # Errors
    /// [`StoreError::LostLead`]: roll back.
    pub async fn guard(&self, transaction: &mut PgTransaction<'_>) -> Result<(), StoreError> {
        let query = "SELECT true FROM leader WHERE role = $1 AND epoch = $2 FOR SHARE";
        let found: Option<bool> = sqlx::query_scalar(query).bind(self.role.to_string()).bind(self.epoch).fetch_optional(&mut **transaction).await?;
        self.held(found.is_some())
    }

    /// Gives the lead up, so that the next one need not wait. Without effect if it is lost already.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn release(self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let query = "UPDATE leader SET expires_at = clock_timestamp() WHERE role = $1 AND epoch = $2";
        sqlx::query(query).bind(self.role.to_string()).bind(self.epoch).execute(connection).await?;
        Ok(())
    }

    fn held(&self, held: bool) -> Result<(), StoreError> {
        if held { Ok(()) } else { Err(StoreError::LostLead { role: self.role, epoch: self.epoch }) }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
