//! The embedded Postgres on real processes: it survives a crash, two run side by side, an orphan is taken over, nothing is left behind.
#![expect(clippy::unwrap_used, reason = "tests")]

use sheaf_store::embedded::{Cluster, ClusterError, ClusterOptions, Durability};
use sheaf_store::pool::connect;
use sqlx::{Connection, PgConnection};
use std::path::{Path, PathBuf};

async fn start(folder: &Path) -> Cluster {
    let options = ClusterOptions { durability: Durability::Disposable, ..ClusterOptions::default() };
    Cluster::start_with(folder, options).await.unwrap()
}

fn socket_folder(cluster: &Cluster) -> PathBuf {
    let (_, rest) = cluster.url().split_once("host=").unwrap();
    rest.split('&').next().unwrap().into()
}

async fn audit_entries(url: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM audit_log").fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn postgres_is_killed_and_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = start(folder.path()).await;
    let (url, pid) = (cluster.url().to_owned(), cluster.pid());
    let pool = connect(&url).await.unwrap();
    sqlx::query("INSERT INTO audit_log (actor, action) VALUES ('test', 'before the crash')").execute(&pool).await.unwrap();
    cluster.kill().unwrap();
    assert!(PgConnection::connect(&url).await.is_err(), "nobody answers while it is dead");
    cluster.restart().await.unwrap();
    assert_ne!(cluster.pid(), pid);
    assert_eq!(cluster.url(), url);
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_log").fetch_one(&pool).await.unwrap();
    assert_eq!(count, 1, "the same pool goes on");
}

#[tokio::test]
async fn postgres_is_killed_under_many_connections_and_comes_up_while_they_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = start(folder.path()).await;
    for _ in 0..3 {
        let mut connections = Vec::new();
        for _ in 0..40 {
            connections.push(PgConnection::connect(cluster.url()).await.unwrap());
        }
        cluster.kill().unwrap();
        cluster.restart().await.unwrap();
    }
}

#[tokio::test]
async fn two_clusters_run_side_by_side() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (one, two) = tokio::join!(start(folders[0].path()), start(folders[1].path()));
    connect(one.url()).await.unwrap();
    let mut other = PgConnection::connect(two.url()).await.unwrap();
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE tablename = 'batches'").fetch_one(&mut other).await.unwrap();
    assert_eq!(tables, 0, "what one has the other has not");
}

#[tokio::test]
async fn a_folder_has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path()).await;
    let second = Cluster::start(folder.path()).await;
    assert!(matches!(second, Err(ClusterError::InUse { .. })));
    drop(cluster);
    start(folder.path()).await;
}

#[tokio::test]
async fn data_and_nothing_else_outlive_the_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path()).await;
    let (pid, sockets) = (cluster.pid(), socket_folder(&cluster));
    let pool = connect(cluster.url()).await.unwrap();
    sqlx::query("INSERT INTO audit_log (actor, action) VALUES ('test', 'kept')").execute(&pool).await.unwrap();
    drop(cluster);
    assert!(!sockets.exists());
    assert!(rustix::process::Pid::from_raw(pid.cast_signed()).is_some_and(|pid| rustix::process::test_kill_process(pid).is_err()));
    let again = start(folder.path()).await;
    assert_eq!(audit_entries(again.url()).await, 1);
}

#[tokio::test]
async fn owner_is_killed_and_its_server_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path()).await;
    let (pid, sockets) = (cluster.pid(), socket_folder(&cluster));
    // what a killed owner leaves behind: a running server, its sockets, and a lock that the system has released
    std::mem::forget(cluster);
    let released = tempfile::tempdir().unwrap();
    std::fs::rename(folder.path().join("lock"), released.path().join("lock")).unwrap();
    let heir = start(folder.path()).await;
    assert_ne!(heir.pid(), pid);
    assert!(!sockets.exists());
    connect(heir.url()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_come_up_says_why() {
    let folder = tempfile::tempdir().unwrap();
    drop(start(folder.path()).await);
    std::fs::write(folder.path().join("data/postgresql.auto.conf"), "no_such_setting = 1\n").unwrap();
    let error = Cluster::start(folder.path()).await.err().unwrap();
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn missing_binaries_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let options = ClusterOptions { binaries: Some(folder.path().join("none")), ..ClusterOptions::default() };
    let error = Cluster::start_with(folder.path(), options).await.err().unwrap();
    assert!(error.to_string().contains("DATABASE_URL"), "{error}");
}

#[tokio::test]
async fn a_clone_in_roots_home_works_too() {
    // nobody but its owner may enter the parent, as with /root
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("sheaf/postgres");
    let cluster = Cluster::start(&folder).await.unwrap();
    let pool = connect(cluster.url()).await.unwrap();
    sqlx::query("INSERT INTO audit_log (actor, action) VALUES ('test', 'kept')").execute(&pool).await.unwrap();
    drop(cluster);
    let again = Cluster::start(&folder).await.unwrap();
    assert_eq!(audit_entries(again.url()).await, 1);
    drop(again);
    std::fs::remove_dir_all(folder.join("data").canonicalize().unwrap()).unwrap();
}

#[tokio::test]
async fn a_disposable_cluster_leaves_no_data_outside_its_folder() {
    let home = tempfile::tempdir().unwrap();
    let cluster = start(&home.path().join("sheaf/postgres")).await;
    let data: String = sqlx::query_scalar("SHOW data_directory").fetch_one(&connect(cluster.url()).await.unwrap()).await.unwrap();
    assert!(Path::new(&data).join("PG_VERSION").metadata().is_ok());
    drop((cluster, home));
    assert!(!Path::new(&data).exists(), "{data} is left");
}

#[tokio::test]
async fn an_owner_hears_of_every_process() {
    let folder = tempfile::tempdir().unwrap();
    let (pids, heard) = std::sync::mpsc::channel();
    let options = ClusterOptions { durability: Durability::Disposable, pids: Some(pids), ..ClusterOptions::default() };
    let mut cluster = Cluster::start_with(folder.path(), options).await.unwrap();
    let first = cluster.pid().cast_signed();
    cluster.kill().unwrap();
    cluster.restart().await.unwrap();
    let second = cluster.pid().cast_signed();
    drop(cluster);
    let heard: Vec<i32> = heard.iter().collect();
    // initdb, the first server, perhaps one that came up too early after the crash, the second server
    assert!(heard.len() >= 6 && heard.chunks(2).all(|pair| pair[0] > 0 && pair[1] == -pair[0]), "{heard:?}");
    assert_eq!([heard[2], heard[heard.len() - 2]], [first, second]);
}

#[tokio::test]
async fn a_start_is_given_up_and_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let (pids, heard) = std::sync::mpsc::channel();
    let options = ClusterOptions { durability: Durability::Disposable, pids: Some(pids), ..ClusterOptions::default() };
    tokio::select! {
        _ = Cluster::start_with(folder.path(), options) => panic!("initdb alone takes longer"),
        () = tokio::task::yield_now() => {}
    }
    let heard: Vec<i32> = heard.iter().collect();
    assert_eq!(heard, [heard[0], -heard[0]], "initdb was started and has ended");
}
