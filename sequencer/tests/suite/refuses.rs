//! Bad input, each with its own stable code, none a failure of the sequencer.

use crate::support::{FEE, K, Node, Person, alice, bob, body, config, mine, operator, srs, transfer, withdraw};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sheaf_protocol::amount::{Address, Amount, BALANCE_BITS, NATIVE, Nonce, SlotId, TokenId};
use sheaf_protocol::field::{Fr, to_word};
use sheaf_protocol::kzg::StateVector;
use sheaf_protocol::ledger::{Slot, Triple};
use sheaf_protocol::ops::{Op, Withdraw};
use sheaf_store::l1::{Event, TokenListed};
use sqlx::PgPool;

const RECORDS: &str = "application/vnd.sheaf.transactions";

async fn refused(node: &Node, value: &Value, status: u16, code: &str) {
    check(node.post(value).await, status, code);
}

fn check((status, problem): (StatusCode, Value), expected: u16, code: &str) {
    assert_eq!((status.as_u16(), problem["code"].as_str().unwrap_or_default()), (expected, code), "{problem}");
    assert_eq!(problem["type"], format!("urn:sheaf:problem:{code}"));
    assert_eq!(problem["status"], expected);
    assert!(problem["title"].is_string() && problem["detail"].is_string());
}

/// The transfer that Alice may send now, with one field changed after signing.
fn with(field: &str, value: Value) -> Value {
    let mut body = body(&alice().sign(transfer(2, 3, 0, 100)));
    body[field] = value;
    body
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn malformed_bodies(pool: PgPool) {
    let mut settings = config();
    settings.api.max_body_bytes = 4_096;
    settings.api.max_records = 3;
    let node = Node::with_people(&pool, settings, 1_000).await;
    check(node.post_as("application/json", b"{".to_vec()).await, 400, "malformed_json");
    check(node.post_as("application/json", vec![]).await, 400, "malformed_json");
    check(node.post_as("application/json", b"\"transfer\"".to_vec()).await, 400, "malformed_json");
    check(node.post_as("application/json", b"{\"op\":\"transfer\",\"op\":\"transfer\"}".to_vec()).await, 400, "duplicate_field");
    check(node.post_as("text/plain", b"{}".to_vec()).await, 415, "unsupported_content_type");
    let untyped = node.http.post(format!("{}/v1/transactions", node.base)).body("{}").send().await.unwrap();
    check((untyped.status(), untyped.json().await.unwrap()), 415, "unsupported_content_type");
    check(node.post_as("application/json", vec![b' '; 5_000]).await, 413, "body_too_large");
    check(node.post_as(RECORDS, vec![1; 5_000]).await, 413, "body_too_large");
    check(node.post_as(RECORDS, vec![]).await, 400, "malformed_record");
    check(node.post_as(RECORDS, vec![9; 84]).await, 400, "malformed_record");
    check(node.post_as(RECORDS, vec![1; 83]).await, 400, "malformed_record");
    let record = alice().sign(transfer(2, 3, 0, 1)).to_record();
    check(node.post_as(RECORDS, record.repeat(4)).await, 413, "too_many_records");
    refused(&node, &json!([1, 2, 3, 4]), 413, "too_many_records").await;
    refused(&node, &with("memo", json!("x")), 400, "unknown_field").await;
    let mut missing = with("to", json!("3"));
    missing.as_object_mut().unwrap().remove("to");
    refused(&node, &missing, 400, "missing_field").await;
    refused(&node, &with("op", json!("mint")), 400, "unknown_operation").await;
    refused(&node, &with("signature", json!("0x1234")), 400, "invalid_hex").await;
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn numbers_that_are_not_ours(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    for bad in [json!(1.5), json!(-1), json!(1), json!("1.5"), json!("-1"), json!("01"), json!("+1"), json!(" 1"), json!("1e3"), json!("")] {
        refused(&node, &with("amount", bad.clone()), 400, "invalid_number").await;
        refused(&node, &with("nonce", bad), 400, "invalid_number").await;
    }
    // as numbers of JSON: beyond 64 bits one is a float, beyond a float the text is no JSON that anybody reads
    for (number, code) in [("18446744073709551616", "invalid_number"), ("1e2", "invalid_number"), ("1e999", "malformed_json")] {
        let text = with("amount", json!("NUMBER")).to_string().replace("\"NUMBER\"", number);
        check(node.post_as("application/json", text.into_bytes()).await, 400, code);
    }
    refused(&node, &with("from", json!("16777216")), 400, "number_too_large").await;
    refused(&node, &with("token", json!("65536")), 400, "number_too_large").await;
    refused(&node, &with("nonce", json!("4294967296")), 400, "number_too_large").await;
    refused(&node, &with("amount", json!("9".repeat(50))), 400, "number_too_large").await;
    refused(&node, &with("amount", json!("68719476737")), 422, "amount_not_representable").await;
    refused(&node, &with("fee", json!("4097")), 422, "amount_not_representable").await;
    let mut large = body(&alice().sign(withdraw(2, 0, 100)));
    large["amount"] = json!((1u128 << 112).to_string());
    refused(&node, &large, 400, "number_too_large").await;
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn what_the_state_does_not_allow(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    mine(&pool, |_| vec![Event::TokenListed(TokenListed { token: TokenId(2), erc20: Address([5; 20]) })]).await;
    let signed = |op| body(&alice().sign(op));
    refused(&node, &signed(transfer(900, 3, 0, 100)), 422, "unknown_slot").await;
    refused(&node, &signed(transfer(0, 3, 0, 100)), 422, "unknown_slot").await;
    refused(&node, &signed(transfer(2, 900, 0, 100)), 422, "unknown_receiver").await;
    let in_token = |token| match transfer(2, 3, 0, 100) {
        Op::Transfer(mut transfer) => {
            transfer.token = TokenId(token);
            Op::Transfer(transfer)
        }
        other => other,
    };
    refused(&node, &signed(in_token(2)), 422, "wrong_token").await;
    refused(&node, &signed(in_token(777)), 422, "unknown_token").await;
    refused(&node, &signed(transfer(2, 3, 1, 100)), 422, "nonce_too_high").await;
    refused(&node, &signed(transfer(2, 3, 1_000_000, 100)), 422, "nonce_too_high").await;
    refused(&node, &signed(transfer(2, 3, 0, 1_000)), 422, "insufficient_funds").await;
    refused(&node, &with("fee", json!((FEE - 1).to_string())), 422, "fee_too_low").await;
    let to_nobody = match withdraw(2, 0, 100) {
        Op::Withdraw(withdraw) => Op::Withdraw(Withdraw { address: Address::default(), ..withdraw }),
        other => other,
    };
    refused(&node, &signed(to_nobody), 422, "zero_address").await;

    node.send(&alice().sign(transfer(2, 3, 0, 100))).await;
    refused(&node, &signed(transfer(2, 3, 0, 101)), 409, "nonce_in_use").await;
    node.seal(1).await;
    refused(&node, &signed(transfer(2, 3, 0, 101)), 409, "nonce_too_low").await;
    assert_eq!(node.slot(2).await["balance"], (900 - FEE).to_string(), "nothing else happened");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_receiver_that_holds_another_token(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    node.mine(vec![bob().deposit(TokenId(2), 500)]).await;
    node.until("a slot", async || node.get("/v1/slots/4").await.0 == StatusCode::OK).await;
    refused(&node, &body(&alice().sign(transfer(2, 4, 0, 100))), 422, "wrong_token").await;
    node.stop().await;
}

/// A computed batch 1 that left these slots: Alice has one nonce left, Bob holds as much as a slot can.
async fn plant(pool: &PgPool, slots: &[(SlotId, Slot)]) {
    let columns: Vec<_> = slots.iter().map(|(id, slot)| (*id, slot.columns())).collect();
    let root = StateVector::new(srs(K), columns).unwrap().root();
    let one = to_word(Fr::from(1u64));
    let record: Vec<u8> = [one, one].concat().into_iter().chain([0; 16 * 32]).collect();
    let query = "INSERT INTO batches (number, circuit, seal_reason, computed_at, record, new_root, opening, claim_e, claim_z, claim_delta,
                     posted_data, choices, ops_words, input)
                 VALUES (1, 1, 'size', now(), $1, $2, decode(repeat('00', 64), 'hex'), $2, $2, $2, decode(repeat('00', 6), 'hex'), '', '', '{}')";
    sqlx::query(query).bind(record).bind(root.as_slice()).execute(pool).await.unwrap();
    sheaf_store::slots::upsert(&mut pool.acquire().await.unwrap(), 1, slots).await.unwrap();
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn nonces_and_balances_at_their_end(pool: PgPool) {
    let slot = |person: &Person, nonce, balance| {
        let triple = Triple { key: person.key.public().0, owner: person.owner, token: NATIVE };
        Slot { triple, nonce: Nonce(nonce), balance: Amount(balance) }
    };
    let full = (1 << BALANCE_BITS) - 1;
    let slots = [(SlotId(1), slot(&operator(), 0, 1_000)), (SlotId(2), slot(&alice(), u32::MAX, 1_000)), (SlotId(3), slot(&bob(), 0, full))];
    plant(&pool, &slots).await;
    let node = Node::start(&pool, config()).await;
    refused(&node, &body(&alice().sign(transfer(2, 3, u32::MAX, 100))), 422, "nonce_exhausted").await;
    refused(&node, &body(&operator().sign(transfer(1, 3, 0, 100))), 422, "amount_too_large").await;
    node.send(&bob().sign(transfer(3, 2, 0, 100))).await;
    node.send(&operator().sign(transfer(1, 3, 0, 100))).await;
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_token_whose_fees_nobody_collects(pool: PgPool) {
    let mut settings = config();
    settings.fees.minimum.insert(TokenId(2), sheaf_protocol::amount::Amount(0));
    let node = Node::with_people(&pool, settings, 1_000).await;
    node.mine(vec![alice().deposit(TokenId(2), 500), bob().deposit(TokenId(2), 500)]).await;
    node.until("two slots", async || node.get("/v1/slots/5").await.0 == StatusCode::OK).await;
    let paying = |fee: u128| match transfer(4, 5, 0, 100) {
        Op::Transfer(mut transfer) => {
            transfer.token = TokenId(2);
            transfer.fee = sheaf_protocol::amount::FeeFloat::from_amount(sheaf_protocol::amount::Amount(fee)).unwrap();
            alice().sign(Op::Transfer(transfer))
        }
        other => alice().sign(other),
    };
    refused(&node, &body(&paying(1)), 422, "fee_not_collected").await;
    node.send(&paying(0)).await;
    node.seal(1).await;
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn signatures_that_do_not_hold(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let good = alice().sign(transfer(2, 3, 0, 100));
    refused(&node, &with("amount", json!("101")), 422, "bad_signature").await;
    refused(&node, &body(&bob().sign(good.op)), 422, "bad_signature").await;
    let elsewhere = sheaf_protocol::header::domain(1, &Address([0xcc; 20]));
    refused(&node, &body(&alice().sign_in(elsewhere, good.op)), 422, "bad_signature").await;

    let bytes = good.signature.to_bytes();
    let signature = |change: &dyn Fn(&mut [u8; 64])| {
        let mut bytes = bytes;
        change(&mut bytes);
        json!(sheaf_protocol::field::to_hex(&bytes))
    };
    refused(&node, &with("signature", signature(&|bytes| bytes[32..].fill(0xff))), 422, "s_not_reduced").await;
    refused(&node, &with("signature", signature(&|bytes| bytes[..32].fill(0x7f))), 422, "r_not_reduced").await;
    let off_curve = |x: u64| {
        signature(&|bytes: &mut [u8; 64]| {
            bytes[..32].fill(0);
            bytes[24..32].copy_from_slice(&x.to_be_bytes());
        })
    };
    let mut codes = Vec::new();
    for x in 0..8 {
        let (status, problem) = node.post(&with("signature", off_curve(x))).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        codes.push(problem["code"].as_str().unwrap().to_owned());
    }
    assert!(codes.iter().any(|code| code == "r_not_on_curve") && codes.iter().any(|code| code == "bad_signature"), "{codes:?}");
    assert_eq!(node.slot(2).await["nonce"], "0");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_deposit_for_a_key_off_the_curve_is_credited_but_cannot_be_spent(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    // one of these is no x-coordinate of Grumpkin
    let entries = (2..10u64).map(|x| alice().deposit_key(Fr::from(x), NATIVE, 500)).collect();
    node.mine(entries).await;
    node.until("eight slots", async || node.get("/v1/slots/11").await.0 == StatusCode::OK).await;
    let mut codes = Vec::new();
    for slot in 4..12 {
        codes.push(node.post(&body(&alice().sign(transfer(slot, 3, 0, 100)))).await.1["code"].as_str().unwrap().to_owned());
    }
    assert!(codes.iter().any(|code| code == "key_not_on_curve") && codes.iter().any(|code| code == "bad_signature"), "{codes:?}");
    node.seal(1).await;
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn requests_that_name_nothing(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let unknown = format!("/v1/transactions/0x{}", "00".repeat(32));
    for (path, status, code) in [
        (unknown.as_str(), 404, "unknown_transaction"),
        ("/v1/transactions/0x12", 400, "invalid_hex"),
        ("/v1/transactions/0x12?wait=soon", 400, "invalid_hex"),
        ("/v1/slots/4", 404, "slot_not_found"),
        ("/v1/slots/0", 404, "slot_not_found"),
        ("/v1/slots/99999", 404, "slot_not_found"),
        ("/v1/slots/-1", 400, "invalid_number"),
        ("/v1/slots/99999999", 400, "number_too_large"),
        ("/v1/slots/4/transactions", 404, "slot_not_found"),
        ("/v1/slots/2/transactions?cursor=abc", 400, "bad_cursor"),
        ("/v1/slots", 400, "invalid_parameter"),
        ("/v1/slots?key=1&cursor=00", 400, "bad_cursor"),
        ("/v1/slots?key=0x12", 400, "invalid_hex"),
        ("/v1/slots?key=1&key=2", 400, "invalid_parameter"),
        ("/v1/slots?owner=5", 400, "invalid_hex"),
        ("/v1/batches/7", 404, "unknown_batch"),
        ("/v1/batches?cursor=zz", 400, "bad_cursor"),
        ("/v1/batches?limit=0", 400, "invalid_parameter"),
        ("/v1/batches?page=2", 400, "invalid_parameter"),
        ("/v1/fees?op=mint", 400, "unknown_operation"),
        ("/v1/fees?token=9", 422, "unknown_token"),
        ("/v1/events?last_event_id=x", 400, "bad_cursor"),
        ("/v1/slots/%FF", 400, "invalid_parameter"),
        ("/v1/nothing", 404, "not_found"),
    ] {
        check(node.get(path).await, status, code);
    }
    let cursor = node.get("/v1/slots/2/transactions?limit=1").await.1["next"].as_str().unwrap().to_owned();
    assert_eq!(node.get(&format!("/v1/slots/2/transactions?cursor={cursor}")).await.0, StatusCode::OK);
    check(node.get(&format!("/v1/batches?cursor={cursor}")).await, 400, "bad_cursor");
    let last = if cursor.ends_with('0') { "1" } else { "0" };
    check(node.get(&format!("/v1/slots/2/transactions?cursor={}{last}", &cursor[..cursor.len() - 1])).await, 400, "bad_cursor");
    for id in [&b"1-2-3"[..], b"99-0-0-0-0", b"0-99-0-0-0", b"-1-0-0-0-0", b"\xff"] {
        let request = node.http.get(format!("{}/v1/events", node.base)).header("last-event-id", id);
        let answer = request.send().await.unwrap();
        check((answer.status(), answer.json().await.unwrap()), 400, "bad_cursor");
    }
    let waits = format!("{unknown}?wait=soon");
    check(node.get(&waits).await, 400, "invalid_parameter");
    check(node.get(&format!("{unknown}?timeout_s=9999")).await, 400, "invalid_parameter");
    let deleted = node.http.delete(format!("{}/v1/status", node.base)).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(deleted.json::<Value>().await.unwrap()["code"], "method_not_allowed");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_full_queue_says_when_to_come_back(pool: PgPool) {
    let mut settings = config();
    settings.admission.max_queued = 2;
    let node = Node::with_people(&pool, settings, 1_000).await;
    let many: Vec<Value> = (0..3).map(|nonce| body(&alice().sign(transfer(2, 3, nonce, 1)))).collect();
    let response = node.http.post(format!("{}/v1/transactions", node.base)).json(&many).send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    check((response.status(), response.json().await.unwrap()), 429, "queue_full");
    assert_eq!(node.post(&json!(many[..2])).await.1["results"][1]["receipt"]["state"], "accepted");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn too_much_waits_for_a_batch(pool: PgPool) {
    let mut settings = config();
    settings.admission.max_unsealed = 4;
    settings.deposits.max_group = 3;
    let node = Node::with_people(&pool, settings, 1_000).await;
    node.send(&operator().sign(transfer(1, 3, 0, 1))).await;
    refused(&node, &body(&alice().sign(transfer(2, 3, 0, 1))), 429, "queue_full").await;
    node.seal(1).await;
    node.send(&alice().sign(transfer(2, 3, 0, 1))).await;
    node.stop().await;
}
