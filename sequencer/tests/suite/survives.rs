//! Incidents: the process, its lease or its database fails, and nothing acknowledged is lost.

use crate::support::{FEE, K, Node, alice, bob, body, config, transfer};
use reqwest::StatusCode;
use serde_json::Value;
use sheaf_sequencer::{Fatal, RecoveryError, StartError};
use sqlx::PgPool;
use std::time::Duration;

async fn root(node: &Node) -> Value {
    node.get("/v1/status").await.1["computed"]["root"].clone()
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_process_dies_with_computed_and_waiting_transactions(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    node.send(&alice().sign(transfer(2, 3, 0, 100))).await;
    node.seal(1).await;
    let waiting = alice().sign(transfer(2, 3, 1, 50));
    let receipt = node.send(&waiting).await;
    let (before, root_before) = (node.slot(2).await, root(&node).await);
    node.kill();

    let node = Node::start(&pool, config()).await;
    assert_eq!(node.slot(2).await, before);
    assert_eq!(root(&node).await, root_before);
    assert_eq!(node.send(&waiting).await, receipt, "the receipt stands");
    node.send(&bob().sign(transfer(3, 2, 0, 1))).await;
    node.seal(2).await;
    assert_ne!(root(&node).await, root_before);
    assert_eq!(node.get("/v1/batches/2").await.1["transactions"], "2");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_restart_without_the_account_for_fees_names_the_remedy(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    node.send(&alice().sign(transfer(2, 3, 0, 100))).await;
    node.kill();
    let mut without = config();
    without.fees.account = None;
    let refused = Node::try_start(&pool, without, K).await.err().unwrap();
    assert!(matches!(&refused, StartError::Recovery(RecoveryError::Replay(why)) if why.contains("--fee-key")), "{refused:?}");
    let node = Node::start(&pool, config()).await;
    assert_eq!(node.slot(2).await["balance"], (900 - FEE).to_string());
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_process_dies_between_sealing_and_computing(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    node.seal(1).await;
    node.send(&alice().sign(transfer(2, 3, 0, 100))).await;
    node.send(&bob().sign(transfer(3, 2, 0, 7))).await;
    let before = node.slot(1).await["balance"].as_str().unwrap().parse::<u128>().unwrap();
    node.kill();
    // what the executor writes when it seals, and no more
    sqlx::raw_sql("INSERT INTO batches (number, circuit, seal_reason) VALUES (2, 1, 'age'); UPDATE transactions SET batch_number = 2")
        .execute(&pool)
        .await
        .unwrap();

    let node = Node::start(&pool, config()).await;
    assert_eq!(node.slot(1).await["balance"], (before + 2 * FEE).to_string(), "the batch's fees are credited");
    node.until("the batch computed", async || node.get("/v1/batches/2").await.1["computed_at"].is_string()).await;
    node.send(&alice().sign(transfer(2, 3, 1, 1))).await;
    node.seal(3).await;
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_restart_at_every_step_ends_in_the_same_state(pool: PgPool) {
    let mut node = Node::with_people(&pool, config(), 10_000).await;
    for step in 0..6u32 {
        node.send(&alice().sign(transfer(2, 3, step, 10))).await;
        if step % 2 == 1 {
            node.seal(u64::from(step / 2) + 1).await;
        }
        node.stop().await;
        node = Node::start(&pool, config()).await;
    }
    assert_eq!(node.slot(2).await["balance"], (10_000 - 6 * (10 + FEE)).to_string());
    assert_eq!(node.slot(1).await["balance"], (10_000 + 6 * FEE).to_string());
    assert_eq!(node.get("/v1/status").await.1["sealed"]["batch"], "3");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn damaged_slots_are_noticed_at_the_start(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    node.seal(1).await;
    node.stop().await;
    sqlx::query("UPDATE slots SET balance = balance + 1 WHERE idx = 2").execute(&pool).await.unwrap();
    let Err(error) = Node::try_start(&pool, config(), K).await else { panic!("it started on a damaged state") };
    assert!(matches!(error, StartError::Recovery(RecoveryError::Root { batch: 1, .. })), "{error:?}");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_database_refuses_a_write_and_nothing_has_happened(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let before = node.slot(2).await;
    let signed = alice().sign(transfer(2, 3, 0, 100));
    sqlx::query("ALTER TABLE transactions ADD CONSTRAINT full_disk CHECK (seq < 4) NOT VALID").execute(&pool).await.unwrap();
    let (status, problem) = node.post(&body(&signed)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &Value::from("storage_unavailable")));
    assert_eq!(node.slot(2).await, before);
    sqlx::query("ALTER TABLE transactions DROP CONSTRAINT full_disk").execute(&pool).await.unwrap();
    let receipt = node.send(&signed).await;
    assert_eq!(receipt["seq"], "4", "no place was lost");
    assert_eq!(node.slot(2).await["balance"], (900 - FEE).to_string());
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_database_cuts_all_connections(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for nonce in 0..3 {
        sqlx::query(cut).execute(&pool).await.unwrap();
        let signed = alice().sign(transfer(2, 3, nonce, 10));
        // the client does as it is told: it sends the same again
        node.until("a receipt", async || node.post(&body(&signed)).await.0 == StatusCode::OK).await;
    }
    let accepted: i64 = sqlx::query_scalar("SELECT count(*) FROM transactions").fetch_one(&pool).await.unwrap();
    assert_eq!(accepted, 3);
    node.seal(1).await;
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_standby_takes_over_when_the_leader_stops(pool: PgPool) {
    let leader = Node::with_people(&pool, config(), 1_000).await;
    leader.send(&alice().sign(transfer(2, 3, 0, 10))).await;
    let standby = tokio::spawn({
        let pool = pool.clone();
        async move { Node::start(&pool, config()).await }
    });
    leader.stop().await;
    let node = tokio::time::timeout(Duration::from_secs(30), standby).await.unwrap().unwrap();
    node.send(&alice().sign(transfer(2, 3, 1, 10))).await;
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_leader_that_lost_its_lease_writes_nothing_more(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    sqlx::query("UPDATE leader SET epoch = epoch + 1, expires_at = now() + interval '1 hour' WHERE role = 'sequencer'").execute(&pool).await.unwrap();
    let (status, _) = node.post(&body(&alice().sign(transfer(2, 3, 0, 10)))).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let fatal = tokio::time::timeout(Duration::from_secs(30), node.sequencer.stopped()).await.unwrap();
    assert!(matches!(fatal, Err(Fatal::Store(_))), "{fatal:?}");
    let accepted: i64 = sqlx::query_scalar("SELECT count(*) FROM transactions").fetch_one(&pool).await.unwrap();
    assert_eq!(accepted, 0);
}
