//! Incidents: the database hangs, in the middle of a write or as a whole, and what was acknowledged, resent or stopped meanwhile.

use crate::support::{FEE, K, Node, PATIENCE, alice, bob, body, config, deployment, srs, transfer};
use reqwest::StatusCode;
use serde_json::Value;
use sheaf_sequencer::{Config, Sequencer, StartError, serve};
use sheaf_store::StoreError;
use sheaf_store::embedded::{Cluster, ClusterOptions, Durability};
use sqlx::{PgConnection, PgPool};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Every commit that accepts a transaction takes longer than the sequencer waits.
const SLOW_ACCEPT: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON transactions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow();";
/// The same for every commit that seals a batch.
const SLOW_SEAL: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON batches DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow();";

fn impatient() -> Config {
    let mut config = config();
    config.admission.write_timeout = Duration::from_millis(300);
    config
}

async fn run(pool: &PgPool, statement: &'static str) {
    sqlx::raw_sql(statement).execute(pool).await.unwrap();
}

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

/// Waits until the query says true.
async fn until(pool: &PgPool, query: &'static str) {
    let started = Instant::now();
    while !sqlx::query_scalar::<_, bool>(query).fetch_one(pool).await.unwrap() {
        assert!(started.elapsed() < PATIENCE, "waited too long for {query}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const SOMEBODY_WAITS_FOR_A_LOCK: &str =
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";
const SOMEBODY_COMMITS: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')";

/// A request that is under way.
fn sending(node: &Node, signed: &sheaf_protocol::ops::SignedOp) -> JoinHandle<reqwest::Result<reqwest::Response>> {
    tokio::spawn(node.http.post(format!("{}/v1/transactions", node.base)).json(&body(signed)).send())
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_commit_of_a_transfer_is_in_doubt_and_a_resend_gets_its_receipt(pool: PgPool) {
    let node = Node::with_people(&pool, impatient(), 1_000).await;
    run(&pool, SLOW_ACCEPT).await;
    let signed = alice().sign(transfer(2, 3, 0, 100));
    let (status, problem) = node.post(&body(&signed)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &Value::from("storage_unavailable")));
    node.until("the receipt", async || node.post(&body(&signed)).await.0 == StatusCode::OK).await;
    assert_eq!(node.send(&signed).await["seq"], "4");
    assert_eq!(count(&pool, "SELECT count(*) FROM transactions").await, 1);
    assert_eq!(node.slot(2).await["balance"], (900 - FEE).to_string(), "once");
    run(&pool, "DROP TRIGGER slow ON transactions").await;
    node.send(&alice().sign(transfer(2, 3, 1, 1))).await;
    node.seal(1).await;
    node.stop().await;
    Node::start(&pool, config()).await.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_commit_of_a_batch_is_in_doubt_and_the_batch_is_computed_once(pool: PgPool) {
    let node = Node::with_people(&pool, impatient(), 1_000).await;
    node.send(&alice().sign(transfer(2, 3, 0, 100))).await;
    run(&pool, SLOW_SEAL).await;
    node.seal(1).await;
    run(&pool, "DROP TRIGGER slow ON batches").await;
    assert_eq!(node.get("/v1/batches/1").await.1["transactions"], "1");
    node.send(&bob().sign(transfer(3, 2, 0, 7))).await;
    node.seal(2).await;
    assert_eq!(count(&pool, "SELECT count(*) FROM batches").await, 2);
    node.stop().await;
    Node::start(&pool, config()).await.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_process_dies_while_it_commits_and_a_resend_gets_the_receipt(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    run(&pool, SLOW_ACCEPT).await;
    let signed = alice().sign(transfer(2, 3, 0, 100));
    let request = sending(&node, &signed);
    until(&pool, SOMEBODY_COMMITS).await;
    node.kill();
    request.abort();
    let node = Node::start(&pool, config()).await;
    let receipt = node.send(&signed).await;
    assert_eq!((&receipt["seq"], count(&pool, "SELECT count(*) FROM transactions").await), (&Value::from("4"), 1));
    assert_eq!(node.slot(2).await["nonce"], "1");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_process_dies_before_it_commits_and_a_resend_is_accepted_once(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE transactions IN SHARE MODE").execute(&mut *lock).await.unwrap();
    let signed = alice().sign(transfer(2, 3, 0, 100));
    let request = sending(&node, &signed);
    until(&pool, SOMEBODY_WAITS_FOR_A_LOCK).await;
    node.kill();
    request.abort();
    lock.rollback().await.unwrap();
    let node = Node::start(&pool, config()).await;
    node.send(&signed).await;
    node.send(&alice().sign(transfer(2, 3, 1, 1))).await;
    assert_eq!(count(&pool, "SELECT count(*) FROM transactions").await, 2);
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn an_orderly_stop_answers_what_is_being_written_and_refuses_the_rest(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    // a load balancer that has not noticed yet
    let (late, ends) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), CancellationToken::new());
    let base = format!("http://{}", late.local_addr().unwrap());
    let (router, settings, token) = (node.sequencer.router(), config().api, ends.clone());
    let served = tokio::spawn(async move { serve(late, router, &settings, token).await });
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE transactions IN SHARE MODE").execute(&mut *lock).await.unwrap();
    let signed = alice().sign(transfer(2, 3, 0, 100));
    let request = sending(&node, &signed);
    until(&pool, SOMEBODY_WAITS_FOR_A_LOCK).await;
    node.stop.cancel();
    let ready: Value = node.http.get(format!("{base}/ready")).send().await.unwrap().json().await.unwrap();
    assert_eq!(ready["code"], "stopping");
    lock.rollback().await.unwrap();
    let answer = request.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    node.until("a refusal", async || {
        let sent = node.http.post(format!("{base}/v1/transactions")).json(&body(&bob().sign(transfer(3, 2, 0, 1)))).send().await.unwrap();
        sent.status() == StatusCode::SERVICE_UNAVAILABLE && sent.json::<Value>().await.unwrap()["code"] == "stopping"
    })
    .await;
    ends.cancel();
    served.await.unwrap();
    node.stop().await;
    assert_eq!(count(&pool, "SELECT count(*) FROM leader WHERE expires_at <= now()").await, 1, "the lease is given up");
}

/// Signals processes; one that has ended meanwhile is not missed.
fn signal(signal: &str, pids: &[i32]) {
    for pid in pids {
        // the shell's own kill: the program of that name is not on every machine
        Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).stderr(Stdio::null()).status().unwrap();
    }
}

/// Stops a server and then its children, of which it can start no more; returns all of them. `connection` was made before.
async fn freeze(cluster: &Cluster, connection: &mut PgConnection) -> Vec<i32> {
    let server = i32::try_from(cluster.pid()).unwrap();
    signal("STOP", &[server]);
    let children: Vec<i32> = sqlx::query_scalar("SELECT pid FROM pg_stat_activity").fetch_all(connection).await.unwrap();
    assert!(!children.is_empty());
    signal("STOP", &children);
    [vec![server], children].concat()
}

#[tokio::test]
async fn a_frozen_database_does_not_hold_up_a_stop_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = ClusterOptions { durability: Durability::Disposable, ..ClusterOptions::default() };
    let cluster = Cluster::start_with(folder.path(), options).await.unwrap();
    let pool = sheaf_store::pool::connect(cluster.url()).await.unwrap();
    let mut settings = impatient();
    settings.api.read_timeout = Duration::from_millis(300);
    let node = Node::with_people(&pool, settings, 1_000).await;
    let before = node.send(&alice().sign(transfer(2, 3, 0, 100))).await;
    let frozen = freeze(&cluster, &mut pool.acquire().await.unwrap()).await;
    let signed = alice().sign(transfer(2, 3, 1, 100));
    let (status, problem) = node.post(&body(&signed)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &Value::from("storage_unavailable")));
    for path in ["/ready", "/v1/status", "/v1/batches"] {
        let (status, problem) = tokio::time::timeout(PATIENCE, node.get(path)).await.expect(path);
        assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &Value::from("storage_unavailable")), "{path}");
    }
    let stopped = tokio::time::timeout(Duration::from_secs(15), node.stop()).await;
    signal("CONT", &frozen);
    stopped.expect("the stop waited for the database");

    let node = Node::start(&pool, config()).await;
    assert_eq!(node.send(&alice().sign(transfer(2, 3, 0, 100))).await, before);
    node.until("a receipt", async || node.post(&body(&signed)).await.0 == StatusCode::OK).await;
    assert_eq!(node.slot(2).await["nonce"], "2");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn readers_that_hold_every_connection_do_not_hold_up_receipts(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let mut held = Vec::new();
    for _ in 0..pool.options().get_max_connections() {
        held.extend(tokio::time::timeout(Duration::from_secs(5), pool.acquire()).await.ok());
    }
    let body = body(&alice().sign(transfer(2, 3, 0, 100)));
    let sent = node.post(&body);
    let (status, receipt) = tokio::time::timeout(Duration::from_secs(5), sent).await.expect("no receipt");
    assert_eq!(status, StatusCode::OK, "{receipt}");
    drop(held);
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_slow_recovery_keeps_the_lead(pool: PgPool) {
    let mut settings = config();
    settings.lead.lease = Duration::from_millis(300);
    let starting = async || {
        let (pool, settings, stop) = (pool.clone(), settings.clone(), CancellationToken::new());
        let task = tokio::spawn(Sequencer::start(settings, pool, srs(K), deployment(K), None, stop.clone()));
        (task, stop)
    };
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE slots").execute(&mut *lock).await.unwrap();
    let (first, stop_first) = starting().await;
    until(&pool, SOMEBODY_WAITS_FOR_A_LOCK).await;
    run(&pool, "CREATE TABLE noted AS SELECT expires_at FROM leader").await;
    let (second, stop_second) = starting().await;
    // several leases long
    until(&pool, "SELECT leader.expires_at > noted.expires_at + interval '1500 ms' FROM leader, noted").await;
    assert_eq!(count(&pool, "SELECT epoch FROM leader").await, 1, "the second took over from one that was recovering");
    lock.rollback().await.unwrap();
    let first = tokio::time::timeout(PATIENCE, first).await.unwrap().unwrap().unwrap();
    assert!(!second.is_finished());
    stop_first.cancel();
    first.stopped().await.unwrap();
    let second = tokio::time::timeout(PATIENCE, second).await.unwrap().unwrap().unwrap();
    assert_eq!(count(&pool, "SELECT epoch FROM leader").await, 2);
    stop_second.cancel();
    second.stopped().await.unwrap();
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_lead_that_is_lost_during_recovery_ends_it(pool: PgPool) {
    let mut settings = config();
    settings.lead.lease = Duration::from_millis(300);
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE slots").execute(&mut *lock).await.unwrap();
    let starting = tokio::spawn(Sequencer::start(settings, pool.clone(), srs(K), deployment(K), None, CancellationToken::new()));
    until(&pool, SOMEBODY_WAITS_FOR_A_LOCK).await;
    run(&pool, "UPDATE leader SET epoch = epoch + 1, expires_at = now() + interval '1 hour'").await;
    let ended = tokio::time::timeout(PATIENCE, starting).await.unwrap().unwrap();
    assert!(matches!(ended, Err(StartError::Lead(StoreError::LostLead { epoch: 1, .. }))), "{:?}", ended.err());
    lock.rollback().await.unwrap();
}
