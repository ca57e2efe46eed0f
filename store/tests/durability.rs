//! What is confirmed is durable: connections commit synchronously, and a server that may forget is refused unless it says that it may.
#![expect(clippy::unwrap_used, reason = "tests")]

use sheaf_store::StoreError;
use sheaf_store::embedded::{Cluster, ClusterOptions, Durability};
use sheaf_store::pool::{Held, connect, reserve, within};
use sqlx::{PgConnection, PgPool, Row};
use std::time::Duration;

async fn setting(pool: &PgPool, query: &'static str) -> String {
    sqlx::raw_sql(query).fetch_one(pool).await.unwrap().get(0)
}

#[tokio::test]
async fn a_server_whose_default_is_not_to_wait_is_overruled() {
    let folder = tempfile::tempdir().unwrap();
    let options = ClusterOptions { durability: Durability::Disposable, ..ClusterOptions::default() };
    let cluster = Cluster::start_with(folder.path(), options).await.unwrap();
    let pool = connect(cluster.url()).await.unwrap();
    sqlx::raw_sql("ALTER SYSTEM SET synchronous_commit = off").execute(&pool).await.unwrap();
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(&pool).await.unwrap();
    let later = connect(cluster.url()).await.unwrap();
    for pool in [&later, &reserve(&later, 1)] {
        assert_eq!(setting(pool, "SHOW synchronous_commit").await, "on");
    }
}

#[tokio::test]
async fn a_server_without_fsync_is_refused_unless_it_says_that_it_is_disposable() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path()).await.unwrap();
    let pool = connect(cluster.url()).await.unwrap();
    assert_eq!(setting(&pool, "SHOW fsync").await, "on");
    sqlx::raw_sql("ALTER SYSTEM SET fsync = off").execute(&pool).await.unwrap();
    assert_eq!(reload(&pool).await, "off");
    let refused = connect(cluster.url()).await;
    assert!(matches!(refused, Err(StoreError::NotDurable)), "{refused:?}");
    assert!(refused.err().unwrap().to_string().contains("sheaf.disposable=on"));
    sqlx::raw_sql("ALTER DATABASE postgres SET sheaf.disposable = on").execute(&pool).await.unwrap();
    connect(cluster.url()).await.unwrap();
}

/// Waits until the server has read its files again.
async fn reload(pool: &PgPool) -> String {
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(pool).await.unwrap();
    let off = async {
        while setting(pool, "SHOW fsync").await != "off" {
            tokio::task::yield_now().await;
        }
        setting(pool, "SHOW fsync").await
    };
    tokio::time::timeout(Duration::from_secs(20), off).await.unwrap()
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_database_that_hangs_is_not_waited_for(pool: PgPool) {
    let hanging = async {
        sqlx::query("SELECT pg_sleep(1)").execute(&pool).await?;
        Ok(())
    };
    let late = within(Duration::from_millis(50), hanging).await;
    assert!(matches!(late, Err(StoreError::TimedOut { limit_ms: 50 })), "{late:?}");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_reserve_is_not_used_up_with_the_pool(pool: PgPool) {
    let reserve = reserve(&pool, 1);
    let mut held = Vec::new();
    for _ in 0..pool.options().get_max_connections() {
        held.push(pool.acquire().await.unwrap());
    }
    assert_eq!(setting(&reserve, "SHOW idle_in_transaction_session_timeout").await, "30s");
    reserve.close().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_connection_whose_work_is_given_up_is_closed_and_its_place_is_free(pool: PgPool) {
    let reserve = reserve(&pool, 1);
    let pid = async |connection: &mut PgConnection| sqlx::query_scalar::<_, i32>("SELECT pg_backend_pid()").fetch_one(connection).await.unwrap();
    let mut connection = Held::take(&reserve).await.unwrap();
    let first = pid(&mut connection).await;
    connection.done();
    let mut connection = Held::take(&reserve).await.unwrap();
    assert_eq!(pid(&mut connection).await, first, "given back");
    let hanging = async move {
        sqlx::query("SELECT pg_sleep(8)").execute(&mut *connection).await?;
        connection.done();
        Ok(())
    };
    within(Duration::from_millis(50), hanging).await.unwrap_err();
    // a hanging statement cannot be waited for: the connection is cut off after a few seconds
    let mut connection = Held::take(&reserve).await.unwrap();
    assert_ne!(pid(&mut connection).await, first);
    connection.done();
    reserve.close().await;
}
