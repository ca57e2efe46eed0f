//! Registers, and requests of the L1 queue: what becomes of them through acceptance, batches, the API and a restart.

use crate::batches::stored;
use crate::support::{K, Node, Person, alice, bob, body, config, deployment, register, srs, transfer, withdraw};
use reqwest::StatusCode;
use serde_json::Value;
use sheaf_protocol::amount::{Address, Amount, NATIVE, SlotId, TokenId};
use sheaf_protocol::field::{Fr, to_hex, to_word};
use sheaf_protocol::follower::{PublishedBatch, follow};
use sheaf_protocol::header::{Choice, QueueEntry, QueueKind};
use sheaf_protocol::ledger::{Ledger, Triple};
use sheaf_protocol::ops::SignedOp;
use sheaf_sequencer::ReplayError;
use sqlx::PgPool;
use std::sync::Arc;

fn account(person: &Person) -> Triple {
    Triple { key: person.key.public().0, owner: person.owner, token: NATIVE }
}

fn carol() -> Person {
    Person::new(33)
}

fn request(kind: QueueKind, asker: &Person, slot: u32, key: Fr) -> QueueEntry {
    let (token, amount, slot) = (TokenId(0), Amount(0), SlotId(slot));
    QueueEntry { kind, sender: asker.owner, token, amount, slot, owner: Address([0; 20]), key }
}

fn exit(asker: &Person, slot: u32) -> QueueEntry {
    request(QueueKind::Exit, asker, slot, Fr::from(0u64))
}

fn rotation(asker: &Person, slot: u32, to: &Person) -> QueueEntry {
    request(QueueKind::Rotation, asker, slot, to.key.public().0)
}

/// Carol holds slot 2 of Alice's after a rotation, under Alice's ownership.
fn carols_signature(nonce: u32) -> SignedOp {
    carol().sign(transfer(2, 3, nonce, 5))
}

/// Rebuilds the state from what the batches leave on L1 and compares it with what the API shows.
async fn assert_followed(node: &Node, batches: i64) {
    let mut ledger = Ledger::new(K);
    let mut before = Default::default();
    for number in 1..=batches {
        let batch = stored(&node.pool, number).await;
        batch.check(&srs(K), before);
        before = batch.commitments();
        let choices = batch.commit.choices.iter().map(|word| Choice::from_word(word).unwrap()).collect();
        let published = PublishedBatch { data: batch.commit.data, withdrawals: batch.commit.withdrawals, taken: batch.commit.taken, choices };
        follow(&mut ledger, &published).unwrap();
    }
    for (id, slot) in ledger.occupied() {
        let shown = node.slot(id.0).await;
        let expected = [slot.triple.key.to_string(), slot.balance.to_string(), slot.nonce.to_string()];
        assert_eq!(["key", "balance", "nonce"].map(|field| shown[field].as_str().unwrap().to_owned()), expected, "slot {id}");
    }
}

/// Seals until nothing waits; returns the number of batches.
async fn seal_all(node: &Node) -> i64 {
    const WAITING: &str = "SELECT (SELECT count(*) FROM transactions WHERE batch_number IS NULL)
        + (SELECT count(*) FROM queue_taken WHERE batch_number IS NULL) + (SELECT count(*) FROM batches WHERE computed_at IS NULL)";
    node.until("all batches", async || {
        node.sequencer.seal_now();
        sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&node.pool).await.unwrap() == 0
    })
    .await;
    sqlx::query_scalar("SELECT max(number) FROM batches").fetch_one(&node.pool).await.unwrap()
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_sponsor_opens_an_account_that_can_be_paid_at_once(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let signed = alice().sign(register(2, 0, account(&carol())));
    let receipt = node.send(&signed).await;
    assert_eq!(node.send(&signed).await, receipt, "a resend gets the receipt");
    assert_eq!((&node.slot(4).await["owner"], &node.slot(2).await["balance"]), (&carol().owner.to_string().into(), &Value::from("990")));
    node.send(&bob().sign(transfer(3, 4, 0, 100))).await;
    node.send(&carol().sign(transfer(4, 2, 0, 5))).await;
    node.seal(1).await;
    let status = node.get(&format!("/v1/transactions/{}", receipt["hash"].as_str().unwrap())).await.1;
    assert_eq!((&status["op"], &status["account"], &status["account_token"]), (&"register".into(), &"4".into(), &"1".into()));
    assert_eq!(node.get("/v1/slots/4/transactions").await.1["items"][2]["op"], "register");
    assert_followed(&node, 1).await;
    // a second one costs the fee and changes nothing else
    node.send(&alice().sign(register(2, 1, account(&carol())))).await;
    node.seal(2).await;
    assert_eq!(node.get("/v1/slots/5").await.0, StatusCode::NOT_FOUND);
    assert_followed(&node, 2).await;
    node.stop().await;
    let node = Node::start(&pool, config()).await;
    assert_followed(&node, 2).await;
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn an_account_that_nobody_could_use_is_refused_by_name(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let good = account(&carol());
    let off_curve = (1u64..).map(Fr::from).find(|x| !sheaf_protocol::schnorr::is_key(*x)).unwrap();
    let cases = [
        (Triple { key: off_curve, ..good }, "key_not_on_curve", "key"),
        (Triple { key: Fr::from(0u64), ..good }, "key_not_on_curve", "key"),
        (Triple { owner: Address([0; 20]), ..good }, "zero_address", "owner"),
        (Triple { token: TokenId(0), ..good }, "unknown_token", "account_token"),
        (Triple { token: TokenId(9), ..good }, "unknown_token", "account_token"),
    ];
    for (triple, code, field) in cases {
        let (status, problem) = node.post(&body(&alice().sign(register(2, 0, triple)))).await;
        assert_eq!((status, &problem["code"], &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &code.into(), &field.into()), "{problem}");
    }
    let mut too_large = body(&alice().sign(register(2, 0, good)));
    too_large["key"] = format!("0x{}", "ff".repeat(32)).into();
    let (_, problem) = node.post(&too_large).await;
    assert_eq!((&problem["code"], &problem["field"]), (&"key_not_on_curve".into(), &"key".into()));
    let mut with_amount = body(&alice().sign(register(2, 0, good)));
    with_amount["amount"] = "1".into();
    assert_eq!(node.post(&with_amount).await.1["code"], "unknown_field");
    assert_eq!(node.slot(2).await["nonce"], "0");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn many_at_once_name_the_one_that_is_refused(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let bad = register(2, 1, Triple { token: TokenId(9), ..account(&carol()) });
    let sent = [register(2, 0, account(&carol())), bad, transfer(2, 3, 1, 5)].map(|op| alice().sign(op));
    let records: Vec<u8> = sent.iter().flat_map(SignedOp::to_record).collect();
    let (status, results) = node.post_as("application/vnd.sheaf.transactions", records).await;
    assert_eq!(status, StatusCode::OK, "{results}");
    let results = results["results"].as_array().unwrap();
    assert!(results[0]["receipt"].is_object() && results[2]["receipt"].is_object(), "{results:?}");
    assert_eq!(results[1]["problem"]["code"], "unknown_token");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_full_state_opens_no_account(pool: PgPool) {
    let mut config = config();
    config.sealing.max_age = std::time::Duration::from_secs(3600);
    let node = Node::try_start(&pool, config, 4).await.unwrap();
    let people: Vec<Person> = (1..=15).map(Person::new).collect();
    node.mine(people.iter().map(|person| person.deposit(NATIVE, 1_000)).collect()).await;
    node.until("a full state", async || node.get("/v1/slots/15").await.0 == StatusCode::OK).await;
    let op = register(1, 0, account(&carol()));
    let signed = people[0].sign_in(deployment(4).domain, op);
    let (status, problem) = node.post(&body(&signed)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert_eq!(problem["code"], "state_full");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn an_owner_leaves_and_a_stranger_gets_nothing(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    node.send(&bob().sign(transfer(3, 2, 0, 100))).await;
    node.mine(vec![exit(&bob(), 2), exit(&alice(), 2), exit(&alice(), 99)]).await;
    node.until("the exit", async || node.slot(2).await["balance"] == "0").await;
    // what comes later waits for the next batch
    node.send(&bob().sign(transfer(3, 2, 1, 7))).await;
    let (_, problem) = node.post(&body(&alice().sign(transfer(2, 3, 0, 8)))).await;
    assert_eq!(problem["code"], "insufficient_funds");
    let batches = seal_all(&node).await;
    let mut amounts = Vec::new();
    for number in 1..=batches {
        let choices = stored(&pool, number).await.commit.choices;
        amounts.extend(choices.iter().map(|word| Choice::from_word(word).unwrap()).filter(|choice| matches!(choice, Choice::Exit(..))));
    }
    assert_eq!(amounts, [Choice::Exit(NATIVE, Amount(0)), Choice::Exit(NATIVE, Amount(1_100)), Choice::Exit(TokenId(0), Amount(0))]);
    assert_eq!(node.get("/v1/slots/2/transactions").await.1["items"][1]["op"], "exit");
    assert_followed(&node, batches).await;
    node.stop().await;
    Node::start(&pool, config()).await.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_replaced_key_signs_and_the_old_one_does_not(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    node.send(&alice().sign(transfer(2, 3, 0, 5))).await;
    node.mine(vec![rotation(&bob(), 2, &carol()), rotation(&alice(), 2, &carol())]).await;
    node.until("the new key", async || node.slot(2).await["key"] == carol().key.public().0.to_string()).await;
    let (status, problem) = node.post(&body(&alice().sign(transfer(2, 3, 1, 5)))).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &"bad_signature".into()));
    node.send(&carols_signature(1)).await;
    let batches = seal_all(&node).await;
    assert!(batches >= 2, "a replaced key signs in the next batch");
    let by_key = async |person: &Person| node.get(&format!("/v1/slots?key={}", person.key.public().0)).await.1["items"].as_array().unwrap().len();
    assert_eq!((by_key(&alice()).await, by_key(&carol()).await), (0, 1));
    let history = node.get("/v1/slots/2/transactions").await.1;
    assert_eq!(history["items"][1]["op"], "rotation");
    assert_eq!(history["items"][1]["key"], to_hex(&to_word(carol().key.public().0)));
    assert_followed(&node, batches).await;
    node.stop().await;
    let node = Node::start(&pool, config()).await;
    node.send(&carols_signature(2)).await;
    node.stop().await;
}

/// Everything of everybody in a few batches, killed in the middle: what was accepted ends in the same state.
#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_process_dies_with_requests_waiting_and_sealed(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    node.send(&alice().sign(register(2, 0, account(&carol())))).await;
    node.send(&bob().sign(transfer(3, 4, 0, 50))).await;
    node.mine(vec![exit(&carol(), 4), carol().deposit(NATIVE, 70), rotation(&bob(), 3, &carol()), exit(&Person::new(200), 1)]).await;
    node.until("the new key", async || node.slot(3).await["key"] == carol().key.public().0.to_string()).await;
    node.until("the operator's exit", async || node.slot(1).await["balance"] == "0").await;
    node.send(&carol().sign(transfer(3, 2, 1, 30))).await;
    node.send(&alice().sign(withdraw(2, 1, 20))).await;
    let shown: Vec<Value> = [node.slot(1).await, node.slot(2).await, node.slot(3).await, node.slot(4).await].into();
    node.kill();
    let node = Node::start(&pool, config()).await;
    for (id, before) in (1..).zip(&shown) {
        assert_eq!(&node.slot(id).await, before, "slot {id}");
    }
    let batches = seal_all(&node).await;
    assert_followed(&node, batches).await;
    node.stop().await;
    Node::start(&pool, config()).await.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_batch_derived_again_shows_what_was_changed_since(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    node.send(&alice().sign(register(2, 0, account(&carol())))).await;
    node.mine(vec![exit(&bob(), 3), rotation(&alice(), 2, &carol())]).await;
    node.until("the new key", async || node.slot(2).await["key"] == carol().key.public().0.to_string()).await;
    let batches = seal_all(&node).await as u64;
    node.stop().await;
    let again = async |number| sheaf_sequencer::replay(&pool, srs(K), Arc::new(deployment(K)), number, |_, _| ()).await;
    let recorded = async |number| sheaf_store::batches::computed(&mut pool.acquire().await.unwrap(), number).await.unwrap().unwrap();
    for number in 1..=batches {
        let (derived, stored) = (again(number).await.unwrap(), recorded(number).await);
        assert_eq!((&derived.record, derived.opening, &derived.choices), (&stored.record, stored.opening, &stored.choices));
        assert_eq!((derived.new_root, derived.claims, &derived.ops_words), (stored.new_root, stored.claims, &stored.ops_words));
        assert_eq!((derived.posted_data, derived.input), (stored.posted_data, stored.input));
    }
    assert!(matches!(again(batches + 1).await, Err(ReplayError::NotComputed(_))));
    sqlx::query("UPDATE batches SET opening = claim_e || claim_z WHERE number = 1").execute(&pool).await.unwrap();
    assert_ne!(again(1).await.unwrap().opening, recorded(1).await.opening);
    sqlx::query("UPDATE queue_taken SET entry = jsonb_set(entry, '{amount}', '\"1001\"') WHERE queue_index = 1").execute(&pool).await.unwrap();
    let derived = again(1).await.unwrap();
    assert_ne!((derived.record[10], derived.new_root), (recorded(1).await.record[10], recorded(1).await.new_root), "digest and root");
}
