//! Waking up when a table changes. A hint may be lost and says nothing but "look again": who waits also looks from time to time.

use crate::error::StoreError;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use std::time::Duration;

/// The channel of the schema's triggers; the payload is the table's name.
const CHANNEL: &str = "sheaf";

/// A listener on one connection of its own.
#[derive(Debug)]
pub struct Hints(PgListener);

impl Hints {
    /// Starts to listen: every change committed after this is heard, as long as the connection lives.
    ///
    /// # Errors
    /// [`StoreError::Query`] without a connection.
    pub async fn listen(pool: &PgPool) -> Result<Self, StoreError> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Self(listener))
    }

    /// Returns when one of `tables` has changed, at the latest after `at_most`. A broken connection is mended in the background of the next call;
    /// until then only the time-out wakes.
    pub async fn wait(&mut self, tables: &[&str], at_most: Duration) {
        // a time-out is a normal wake-up
        let _ = tokio::time::timeout(at_most, self.heard(tables)).await;
    }

    async fn heard(&mut self, tables: &[&str]) {
        loop {
            match self.0.try_recv().await {
                Ok(Some(notification)) if tables.contains(&notification.payload()) => return,
                Ok(Some(_)) => {}
                // the connection was lost and is back: hints may have been missed
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "waiting for hints");
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}
