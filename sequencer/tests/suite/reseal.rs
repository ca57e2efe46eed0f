//! L1 takes a batch back: its transactions are sealed again in other circuits, and nothing that was accepted is lost or worth less.

use crate::support::{FEE, K, Node, alice, bob, config, deployment, mine, operator, transfer};
use serde_json::Value;
use sheaf_protocol::amount::Address;
use sheaf_sequencer::Fatal;
use sheaf_store::deployment;
use sheaf_store::fleet::{self, Because, Done, Order};
use sheaf_store::jobs::{self, ClaimRules, NewProof, Stored};
use sheaf_store::l1::{self, Committed, Event, EventRow, NewTransaction, Reverted, TxKind};
use sheaf_store::reverts::{self, Asked, Part};
use sqlx::{PgPool, Row};
use std::time::Duration;

const OPERATOR: Because<'_> = Because { actor: "alice", reason: "nobody proves it" };

async fn bind(pool: &PgPool, finality_depth: u64) {
    let ours = deployment(K);
    let bound = deployment::Deployment {
        chain_id: ours.chain_id,
        contract: ours.contract,
        domain: [1; 32],
        deploy_block: 0,
        manifest_digest: ours.manifest_digest,
        k: K.max(16),
        finality_depth,
    };
    deployment::bind(&mut pool.acquire().await.unwrap(), &bound).await.unwrap();
}

/// Batch 1 opens slots 1 to 3; 2 is ten transfers, in circuit 2; 3 spends what those paid, in circuit 1; one more waits. All three are committed.
async fn history(pool: &PgPool) -> Node {
    bind(pool, 2).await;
    let node = Box::pin(Node::with_people(pool, config(), 1_000)).await;
    node.seal(1).await;
    for nonce in 0..10 {
        node.send(&alice().sign(transfer(2, 3, nonce, 5))).await;
    }
    node.seal(2).await;
    node.send(&operator().sign(transfer(1, 3, 0, 1_000 + 10 * FEE - FEE))).await;
    node.send(&bob().sign(transfer(3, 2, 0, 7))).await;
    node.seal(3).await;
    node.send(&bob().sign(transfer(3, 2, 1, 8))).await;
    let committed = |number| Event::Committed(number, Committed { batch_hash: [0; 32], root: [0; 32] });
    mine(pool, |_| (1..=3).map(committed).collect()).await;
    assert_eq!(circuits(&node).await, [2, 2, 1]);
    node
}

async fn circuits(node: &Node) -> Vec<u64> {
    let batches = node.get("/v1/batches").await.1;
    let mut circuits: Vec<u64> = batches["items"].as_array().unwrap().iter().map(|batch| batch["circuit"].as_u64().unwrap()).collect();
    circuits.reverse();
    circuits
}

/// Nobody proves batch 2 under its one lease, and it is parked.
async fn park(pool: &PgPool) -> i64 {
    let mut tx = pool.begin().await.unwrap();
    let rules = ClaimRules { worker: "w", circuits: &[1, 2], lease: Duration::from_secs(60), same_worker_pause: Duration::ZERO };
    let first = jobs::claim(&mut tx, &rules).await.unwrap().unwrap();
    let proof = |batch, lease| NewProof { batch, lease, words: [[1; 32]; 8], witness_ms: 1, prove_ms: 1 };
    assert_eq!(jobs::store_proof(&mut tx, &proof(1, first.lease)).await.unwrap(), Stored::InTime);
    let second = jobs::claim(&mut tx, &rules).await.unwrap().unwrap();
    assert_eq!(second.batch, 2);
    assert_eq!(fleet::order(&mut tx, Order::Park, 2, OPERATOR).await.unwrap(), Done::Yes { was_leased: true });
    tx.commit().await.unwrap();
    second.lease
}

/// What settlement and its watcher leave behind when L1 has taken everything above batch 1 back.
async fn revert_on_l1(pool: &PgPool) {
    let mut tx = pool.begin().await.unwrap();
    let next = l1::tip(&mut tx).await.unwrap().unwrap().number + 1;
    let call = NewTransaction {
        sender: Address([1; 20]),
        nonce: 0,
        kind: TxKind::Revert,
        first_batch: 2,
        last_batch: 3,
        commits: 0,
        commit_gas: 0,
        hash: [0xee; 32],
        raw: vec![2],
        gas_limit: 21_000,
        max_fee_wei: 2,
        tip_wei: 1,
        calldata_bytes: 0,
        calldata_gas: 0,
    };
    l1::save_transaction(&mut tx, &call, None).await.unwrap();
    tx.commit().await.unwrap();
    mine(pool, |_| vec![]).await;
    let event = EventRow { block: next, log_index: 0, tx_hash: [0xee; 32], event: Event::Reverted(1, Reverted { root: [0; 32] }) };
    l1::append_event(&mut pool.acquire().await.unwrap(), &event).await.unwrap();
}

async fn ask(pool: &PgPool, batch: u64) -> Asked {
    let mut tx = pool.begin().await.unwrap();
    let asked = reverts::ask(&mut tx, batch, 2, OPERATOR).await.unwrap();
    tx.commit().await.unwrap();
    asked
}

async fn root(node: &Node, batch: u64) -> Value {
    node.get(&format!("/v1/batches/{batch}")).await.1["root"].clone()
}

/// Every row that taking a batch back may touch, as text.
async fn rows(pool: &PgPool) -> Vec<String> {
    let mut all = Vec::new();
    for query in [
        "SELECT to_jsonb(t)::text AS row FROM slots t ORDER BY idx",
        "SELECT to_jsonb(t)::text AS row FROM batches t ORDER BY number",
        "SELECT to_jsonb(t)::text AS row FROM transactions t ORDER BY seq",
        "SELECT to_jsonb(t)::text AS row FROM queue_taken t ORDER BY seq",
        "SELECT to_jsonb(t)::text AS row FROM proof_jobs t ORDER BY batch_number",
        "SELECT to_jsonb(t)::text AS row FROM proof_attempts t ORDER BY batch_number, fencing_token",
        "SELECT to_jsonb(t)::text AS row FROM proofs t ORDER BY batch_number",
        "SELECT to_jsonb(t)::text AS row FROM reverts t ORDER BY id",
        "SELECT to_jsonb(t)::text AS row FROM reverted_batches t ORDER BY number",
        "SELECT to_jsonb(t)::text AS row FROM audit_log t ORDER BY id",
    ] {
        all.extend(sqlx::query(query).fetch_all(pool).await.unwrap().iter().map(|row| row.get::<String, _>("row")));
    }
    all
}

async fn slots(pool: &PgPool) -> Vec<String> {
    let query = "SELECT (to_jsonb(t) - 'batch_number')::text AS row FROM slots t ORDER BY idx";
    sqlx::query(query).fetch_all(pool).await.unwrap().iter().map(|row| row.get::<String, _>("row")).collect()
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_batch_that_l1_took_back_is_sealed_again_in_another_circuit(pool: PgPool) {
    let node = Box::pin(history(&pool)).await;
    let old_lease = park(&pool).await;
    let (last_root, first_root, balance) = (root(&node, 3).await, root(&node, 1).await, node.slot(3).await["balance"].clone());
    assert_eq!(ask(&pool, 2).await, Asked::Yes);
    revert_on_l1(&pool).await;
    // one block on top, since finality is 2 deep
    node.until("the watcher's rows", async || node.get("/v1/status").await.1["committed"]["batch"] == "1").await;
    assert_eq!(node.get("/v1/batches/2").await.1["state"], "sealed");
    mine(&pool, |_| vec![]).await;
    let Node { sequencer, .. } = node;
    let ended = sequencer.stopped().await;
    assert!(matches!(ended, Err(Fatal::TakenBack(2))), "{ended:?}");

    let node = Box::pin(Node::start(&pool, config())).await;
    node.until("all computed again", async || node.get("/v1/batches/5").await.1["computed_at"].is_string()).await;
    assert_eq!(circuits(&node).await, [2, 1, 1, 1, 1]);
    let reasons: Vec<String> = sqlx::query_scalar("SELECT seal_reason FROM batches ORDER BY number").fetch_all(&pool).await.unwrap();
    assert_eq!(reasons, ["asked", "resealed", "resealed", "resealed", "asked"]);
    assert_eq!((root(&node, 5).await, root(&node, 1).await), (last_root, first_root));
    assert_eq!(node.slot(3).await["balance"], balance, "what waits is applied on top");
    let members: Vec<(i64, i64)> =
        sqlx::query_as("SELECT batch_number, count(*) FROM transactions WHERE batch_number IS NOT NULL GROUP BY 1 ORDER BY 1")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(members, [(2, 4), (3, 4), (4, 2), (5, 2)]);

    // what was undone is kept, and its leases are behind all that are given now
    let kept: Vec<(i64, i32, bool, i32)> = sqlx::query_as(
        "SELECT number, circuit, input IS NOT NULL AND record IS NOT NULL AND new_root IS NOT NULL, jsonb_array_length(attempts)
         FROM reverted_batches ORDER BY number",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(kept, [(2, 2, true, 1), (3, 1, true, 0)]);
    let mut tx = pool.begin().await.unwrap();
    let late = NewProof { batch: 2, lease: old_lease, words: [[1; 32]; 8], witness_ms: 1, prove_ms: 1 };
    assert_eq!(jobs::store_proof(&mut tx, &late).await.unwrap(), Stored::NoSuchLease);
    let rules = ClaimRules { worker: "w", circuits: &[1], lease: Duration::from_secs(60), same_worker_pause: Duration::ZERO };
    let job = jobs::claim(&mut tx, &rules).await.unwrap().unwrap();
    assert_eq!((job.batch, job.lease), (2, old_lease + 1));
    assert_eq!(jobs::store_proof(&mut tx, &late).await.unwrap(), Stored::NoSuchLease);
    assert_eq!(reverts::tried(&mut tx, 4).await.unwrap(), [1, 2]);
    assert_eq!(reverts::tried(&mut tx, 5).await.unwrap(), [1]);
    tx.rollback().await.unwrap();

    // life goes on, and another start finds nothing to do
    node.stop().await;
    let node = Box::pin(Node::start(&pool, config())).await;
    node.seal(6).await;
    node.send(&alice().sign(transfer(2, 3, 10, 5))).await;
    node.seal(7).await;
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn slots_are_as_if_the_batches_had_never_been_and_a_death_half_way_changes_nothing(pool: PgPool) {
    let node = Box::pin(history(&pool)).await;
    park(&pool).await;
    node.stop().await;
    // the same up to batch 1, in a database that never had the others
    let then: Vec<(i32, String, i64)> = vec![(1, "1000".into(), 0), (2, "1000".into(), 0), (3, "1000".into(), 0)];
    assert_eq!(ask(&pool, 2).await, Asked::Yes);
    let before = rows(&pool).await;
    let mut tx = pool.begin().await.unwrap();
    let revert = reverts::open(&mut tx).await.unwrap().unwrap();
    reverts::take_back(&mut tx, &revert).await.unwrap();
    let now: Vec<(i32, String, i64)> = sqlx::query_as("SELECT idx, balance::text, nonce FROM slots ORDER BY idx").fetch_all(&mut *tx).await.unwrap();
    assert_eq!(now, then);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM proof_jobs WHERE batch_number > 1").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(left, 0);
    let short = [Part { circuit: 1, last_seq: revert.last_seq - 1 }];
    assert!(reverts::reseal(&mut tx, &revert, &short).await.is_err(), "a member would be lost");
    let parts = [revert.last_seq - 5, revert.last_seq].map(|last_seq| Part { circuit: 1, last_seq });
    assert_eq!(reverts::reseal(&mut tx, &revert, &parts).await.unwrap(), 3);
    drop(tx);
    assert_eq!(rows(&pool).await, before);
    assert_eq!(slots(&pool).await.len(), 3);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn only_a_parked_committed_batch_with_a_circuit_left_is_taken_back(pool: PgPool) {
    let node = Box::pin(history(&pool)).await;
    assert_eq!(ask(&pool, 9).await, Asked::NoSuchJob);
    assert_eq!(ask(&pool, 2).await, Asked::NotParked("queued".into()));
    park(&pool).await;
    let mut tx = pool.begin().await.unwrap();
    assert_eq!(reverts::ask(&mut tx, 2, 1, OPERATOR).await.unwrap(), Asked::Yes, "circuit 1 is another one");
    assert_eq!(fleet::order(&mut tx, Order::Park, 3, OPERATOR).await.unwrap(), Done::Yes { was_leased: false });
    assert_eq!(reverts::ask(&mut tx, 3, 1, OPERATOR).await.unwrap(), Asked::AnotherIsOpen(2));
    let open = reverts::open(&mut tx).await.unwrap().unwrap();
    reverts::abandon(&mut tx, open.id, "a test").await.unwrap();
    assert_eq!(reverts::open(&mut tx).await.unwrap(), None);
    assert_eq!(reverts::ask(&mut tx, 3, 1, OPERATOR).await.unwrap(), Asked::NoCircuitLeft);
    l1::rewind(&mut tx, 1).await.unwrap();
    assert_eq!(reverts::ask(&mut tx, 2, 2, OPERATOR).await.unwrap(), Asked::NotCommitted("sealed".into()));
    tx.rollback().await.unwrap();
    node.stop().await;
}
