//! Connecting: a pool of connections to a database whose schema is up to date.
//!
//! Fails at once on a bad URL, an old server, one that does not wait for its disk, or a foreign schema; waits up to [`CONNECT_TIMEOUT`] for a server
//! that is still starting. Every connection commits synchronously, whatever the server's default is: confirmed means durable.

use crate::error::StoreError;
pub use sqlx::PgPool;
use sqlx::migrate::Migrate;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, Postgres};
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// The schema's migrations; tests name it in `#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]`.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// Oldest major version of Postgres that the schema is tested with.
pub const OLDEST_POSTGRES: i32 = 14;

/// How long a server may take to answer at start-up.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a caller waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Setting with which a server says of itself that nothing in it has to outlive a power failure.
pub const DISPOSABLE: &str = "sheaf.disposable";
/// What every connection asks for.
const SESSION: [(&str, &str); 1] = [("synchronous_commit", "on")];
/// What writers ask for as well: one that vanished in the middle of a transaction must not hold its locks for ever.
const WRITER_SESSION: [(&str, &str); 1] = [("idle_in_transaction_session_timeout", "30s")];
/// What readers ask for: they change nothing, whatever they try.
const READER_SESSION: [(&str, &str); 1] = [("default_transaction_read_only", "on")];
/// Connections of one process.
const MAX_CONNECTIONS: u32 = 20;
/// Pause between two attempts to connect.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A pool over the database at `url`, migrated.
///
/// # Errors
/// [`StoreError::Url`], [`StoreError::Connect`], [`StoreError::TooOld`], [`StoreError::NotDurable`], [`StoreError::Migrate`].
pub async fn connect(url: &str) -> Result<PgPool, StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(StoreError::Url)?.application_name("sheaf").options(SESSION);
    let mut first = first_connection(&options, CONNECT_TIMEOUT).await?;
    check_server(&mut first).await?;
    MIGRATOR.run(&mut first).await.map_err(StoreError::Migrate)?;
    first.close().await?;
    Ok(PgPoolOptions::new().max_connections(MAX_CONNECTIONS).acquire_timeout(ACQUIRE_TIMEOUT).connect_lazy_with(options))
}

/// A pool that cannot write, over the database at `url`, whose schema must be this program's already.
///
/// # Errors
/// [`StoreError::Url`], [`StoreError::Connect`], [`StoreError::TooOld`], [`StoreError::NotDurable`], [`StoreError::OtherSchema`].
pub async fn connect_to_read(url: &str) -> Result<PgPool, StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(StoreError::Url)?.application_name("sheaf").options(READER_SESSION);
    let mut first = first_connection(&options, CONNECT_TIMEOUT).await?;
    check_server(&mut first).await?;
    // a database without our table has none of our migrations
    let applied = first.list_applied_migrations("_sqlx_migrations").await.unwrap_or_default();
    if !applied.iter().map(|migration| migration.version).eq(MIGRATOR.iter().map(|migration| migration.version)) {
        return Err(StoreError::OtherSchema { applied: applied.len(), known: MIGRATOR.iter().count() });
    }
    first.close().await?;
    Ok(PgPoolOptions::new().max_connections(MAX_CONNECTIONS).acquire_timeout(ACQUIRE_TIMEOUT).connect_lazy_with(options))
}

/// A pool of its own to the same database for writers, whose `connections` no other user of `pool` can take.
pub fn reserve(pool: &PgPool, connections: u32) -> PgPool {
    let options = pool.connect_options().as_ref().clone().options(SESSION).options(WRITER_SESSION);
    PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT).connect_lazy_with(options)
}

/// A connection that goes back to its pool only when the work on it is done. Dropped before (a time-out, a failure), it is closed, so that a
/// database that hangs does not use up the pool.
#[derive(Debug)]
pub struct Held {
    connection: PoolConnection<Postgres>,
    is_done: bool,
}

impl Held {
    /// Takes one out of the pool.
    ///
    /// # Errors
    /// [`StoreError::Query`] without one.
    pub async fn take(pool: &PgPool) -> Result<Self, StoreError> {
        Ok(Self { connection: pool.acquire().await?, is_done: false })
    }

    /// Gives it back.
    pub fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_done {
            self.connection.close_on_drop();
        }
    }
}

impl Deref for Held {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// Does `work`, but gives up after `limit`.
///
/// # Errors
/// That of `work`, or [`StoreError::TimedOut`]: a write may still take effect.
pub async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = |_| StoreError::TimedOut { limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) };
    tokio::time::timeout(limit, work).await.map_err(late)?
}

/// Connects, waiting for a server that is not up yet; any other refusal is final.
pub(crate) async fn first_connection(options: &PgConnectOptions, patience: Duration) -> Result<PgConnection, StoreError> {
    let started = Instant::now();
    loop {
        match tokio::time::timeout(patience, options.connect()).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) if is_starting(&error) && started.elapsed() < patience => tokio::time::sleep(RETRY_PAUSE).await,
            Ok(Err(source)) => return Err(StoreError::Connect { host: host(options), source }),
            Err(_) => return Err(StoreError::Connect { host: host(options), source: sqlx::Error::PoolTimedOut }),
        }
    }
}

/// Not listening yet, or listening and not ready (57P03, cannot_connect_now).
fn is_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(error) => error.code().as_deref() == Some("57P03"),
        _ => false,
    }
}

fn host(options: &PgConnectOptions) -> String {
    options.get_socket().map_or_else(|| format!("{}:{}", options.get_host(), options.get_port()), |socket| socket.display().to_string())
}

async fn check_server(connection: &mut PgConnection) -> Result<(), StoreError> {
    let (version, fsync, disposable): (i32, bool, bool) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::integer / 10000, current_setting('fsync')::boolean,
                coalesce(current_setting($1, true), '') = 'on'",
    )
    .bind(DISPOSABLE)
    .fetch_one(connection)
    .await?;
    if version < OLDEST_POSTGRES {
        return Err(StoreError::TooOld { found: version });
    }
    if fsync || disposable { Ok(()) } else { Err(StoreError::NotDurable) }
}
