//! What can go wrong between a service and its database, each with its remedy in the text. No variant carries a URL: it may hold a password.

use crate::leader::Role;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL is not one of Postgres.
    #[error("DATABASE_URL is not a Postgres URL; expected postgres://user:password@host:port/database")]
    Url(#[source] sqlx::Error),
    /// The server did not answer or did not let us in.
    #[error("no connection to Postgres at {host}; is it running, and are user and password in DATABASE_URL right?")]
    Connect {
        /// Host or socket directory.
        host: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// The server is older than the schema needs.
    #[error("Postgres {found} is too old; version {} or newer is needed", crate::pool::OLDEST_POSTGRES)]
    TooOld {
        /// Major version found.
        found: i32,
    },
    /// The server may lose what it confirmed.
    #[error(
        "this Postgres runs with fsync off: a power failure would lose acknowledged transactions; set fsync = on, or for a throw-away server start it with -c {}=on",
        crate::pool::DISPOSABLE
    )]
    NotDurable,
    /// The server did not answer in time. What was asked for may still happen.
    #[error("the database did not answer within {limit_ms} ms")]
    TimedOut {
        /// The limit.
        limit_ms: u64,
    },
    /// The schema could not be brought up to date.
    #[error("the database's schema could not be brought up to date; was it made by a newer version of this program?")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The schema is not this program's, and who only reads does not change it.
    #[error(
        "the database has {applied} of this program's {known} migrations, or others; read it with the version that writes it, or start a role of this one first"
    )]
    OtherSchema {
        /// Migrations that the database has.
        applied: usize,
        /// Migrations of this program.
        known: usize,
    },
    /// Somebody else leads: what was to be written is void.
    #[error("lost the lead of {role}: epoch {epoch} is not the present one")]
    LostLead {
        /// The role.
        role: Role,
        /// The epoch of the lease that was held.
        epoch: i64,
    },
    /// A statement failed: the connection broke, or a constraint of the schema refused it.
    #[error("database statement failed")]
    Query(#[from] sqlx::Error),
}
