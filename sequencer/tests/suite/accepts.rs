//! What the API takes and tells.

use crate::support::{FEE, K, METRICS, Node, Person, alice, bob, body, config, deployment, mine, operator, transfer, withdraw};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sheaf_protocol::amount::{Address, NATIVE, TokenId};
use sheaf_sequencer::{Front, serve};
use sheaf_store::l1::{self, Committed, Event, Frozen, Proven, TokenListed};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const RECORDS: &str = "application/vnd.sheaf.transactions";

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_transfer_is_durable_and_the_same_again_gets_the_same_receipt(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let signed = alice().sign(transfer(2, 3, 0, 100));
    let receipt = node.send(&signed).await;
    assert_eq!(receipt["hash"], signed.op.hash(deployment(K).domain).to_string());
    assert_eq!(receipt["state"], "accepted");
    let stored: i64 = sqlx::query_scalar("SELECT seq FROM transactions").fetch_one(&pool).await.unwrap();
    assert_eq!(receipt["seq"], stored.to_string());

    assert_eq!(node.send(&signed).await, receipt, "the same bytes");
    let again = alice().sign(signed.op);
    assert_ne!(again.signature, signed.signature);
    assert_eq!(node.send(&again).await, receipt, "signed again");
    assert_eq!(node.post_as(RECORDS, signed.to_record()).await.1["results"][0]["receipt"], receipt, "as a record");

    assert_eq!(node.slot(2).await["balance"], (900 - FEE).to_string());
    assert_eq!(node.slot(2).await["nonce"], "1");
    assert_eq!(node.slot(3).await["balance"], "1100");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_same_transaction_sent_twice_at_once_is_accepted_once(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let signed = alice().sign(transfer(2, 3, 0, 100));
    let (one, two) = tokio::join!(node.send(&signed), node.send(&signed));
    assert_eq!(one, two);
    let both = node.post(&json!([body(&alice().sign(transfer(2, 3, 1, 5))), body(&alice().sign(transfer(2, 3, 1, 5)))])).await.1;
    assert_eq!(both["results"][0], both["results"][1]);
    assert_eq!(node.slot(2).await["nonce"], "2");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn twenty_clients_at_once_are_all_answered(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let people: Vec<Person> = (20..40).map(Person::new).collect();
    node.mine(people.iter().map(|person| person.deposit(NATIVE, 1_000)).collect()).await;
    node.until("twenty slots", async || node.get("/v1/slots/23").await.0 == StatusCode::OK).await;
    let client = async |slot: u32, person: &Person| {
        for nonce in 0..5 {
            node.send(&person.sign(transfer(slot, 3, nonce, 1))).await;
        }
    };
    futures::future::join_all(people.iter().zip(4..).map(|(person, slot)| client(slot, person))).await;
    assert_eq!(node.slot(3).await["balance"], "1100");
    assert_eq!(node.get("/v1/status").await.1["transactions"], "100");
    node.seal(1).await;
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn many_are_answered_one_by_one_in_order(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let mut forged = alice().sign(transfer(2, 3, 2, 10));
    forged.signature = alice().sign(transfer(2, 3, 2, 11)).signature;
    let signed = [alice().sign(transfer(2, 3, 0, 10)), alice().sign(transfer(2, 3, 1, 10)), forged, bob().sign(withdraw(3, 0, 50))];
    let mut items: Vec<Value> = signed.iter().map(body).collect();
    items.insert(1, json!({"op": "transfer", "from": 5}));
    let (status, answer) = node.post(&Value::Array(items)).await;
    assert_eq!(status, StatusCode::OK);
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 5);
    assert_eq!(results[1]["problem"]["code"], "invalid_number");
    assert_eq!(results[3]["problem"]["code"], "bad_signature");
    for accepted in [0, 2, 4] {
        assert_eq!(results[accepted]["receipt"]["state"], "accepted", "{answer}");
    }

    let records: Vec<u8> =
        [alice().sign(transfer(2, 3, 2, 1)), bob().sign(transfer(3, 2, 1, 1))].iter().flat_map(|signed| signed.to_record()).collect();
    let (status, answer) = node.post_as(RECORDS, records).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["results"][1]["receipt"]["state"], "accepted", "{answer}");
    assert_eq!(node.slot(3).await["balance"], (1_000 + 10 + 10 - 50 - FEE + 1 - 1 - FEE).to_string());
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn many_sent_again_get_their_receipts_and_others_at_their_nonces_do_not(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let sent: Vec<Value> = (0..30).map(|nonce| body(&alice().sign(transfer(2, 3, nonce, 1)))).collect();
    let first = node.post(&Value::Array(sent[..20].to_vec())).await.1;
    node.seal(1).await;
    let second = node.post(&Value::Array(sent[20..].to_vec())).await.1;
    let receipts = [first["results"].as_array().unwrap().as_slice(), second["results"].as_array().unwrap()].concat();
    let others = [5, 25].map(|nonce| body(&alice().sign(transfer(2, 3, nonce, 2))));
    let again = node.post(&Value::Array([&others[..1], &sent, &others[1..]].concat())).await.1;
    let again = again["results"].as_array().unwrap();
    assert_eq!(again[1..31], receipts);
    assert_eq!([&again[0]["problem"]["code"], &again[31]["problem"]["code"]], ["nonce_too_low", "nonce_in_use"]);
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_bad_record_among_good_ones_does_not_spoil_them(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let good = alice().sign(transfer(2, 3, 0, 10)).to_record();
    let mut bad = good.clone();
    bad[52..].fill(0xff);
    let (_, answer) = node.post_as(RECORDS, [bad, good].concat()).await;
    assert_eq!(answer["results"][0]["problem"]["code"], "s_not_reduced");
    assert_eq!(answer["results"][1]["receipt"]["state"], "accepted", "{answer}");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn slots_are_found_and_their_history_is_paged(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    for nonce in 0..3 {
        node.send(&alice().sign(transfer(2, 3, nonce, 10))).await;
    }
    let key = alice().key.public().0;
    let found = node.get(&format!("/v1/slots?key={key}&owner={}&token=1", alice().owner)).await.1;
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!(found["items"][0], node.slot(2).await);
    let hex = sheaf_protocol::field::to_hex(&sheaf_protocol::field::to_word(key));
    assert_eq!(node.get(&format!("/v1/slots?key={hex}")).await.1["items"], found["items"]);
    assert_eq!(node.get(&format!("/v1/slots?owner={}", alice().owner)).await.1["items"], found["items"]);
    assert_eq!(node.get(&format!("/v1/slots?key={key}&token=2")).await.1["items"], json!([]));

    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = node.get(&format!("/v1/slots/2/transactions?limit=3{cursor}")).await.1;
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["op"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["transfer", "transfer", "transfer", "deposit"]);
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_second_deposit_finds_the_slot_of_the_first_and_another_triple_does_not(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let mut foreign = alice().deposit(NATIVE, 7);
    foreign.owner = Address([77; 20]);
    node.mine(vec![alice().deposit(NATIVE, 5), foreign, alice().deposit(TokenId(2), 9)]).await;
    node.until("three deposits", async || node.get("/v1/slots/5").await.0 == StatusCode::OK).await;
    assert_eq!(node.slot(2).await["balance"], "1005");
    assert_eq!(node.slot(4).await["balance"], "7");
    assert_eq!(node.slot(5).await["token"], "2");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_waiting_request_is_answered_when_the_state_is_reached(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    sqlx::query(
        "INSERT INTO deployment (chain_id, contract, domain, deploy_block, manifest_digest, k, finality_depth)
                 VALUES (31337, decode(repeat('cc', 20), 'hex'), decode(repeat('00', 32), 'hex'), 0, decode(repeat('07', 32), 'hex'), 16, 2)",
    )
    .execute(&pool)
    .await
    .unwrap();
    let hash = node.send(&alice().sign(transfer(2, 3, 0, 10))).await["hash"].as_str().unwrap().to_owned();
    let unmet = node.get(&format!("/v1/transactions/{hash}?wait=final&timeout_s=0")).await.1;
    assert_eq!(unmet["state"], "accepted");
    let waiting = format!("/v1/transactions/{hash}?wait=final&timeout_s=60");
    let drive = async {
        node.seal(1).await;
        assert_eq!(node.get(&format!("/v1/transactions/{hash}?wait=sealed")).await.1["batch"], "1");
        mine(&pool, |_| vec![Event::Committed(1, Committed { batch_hash: [1; 32], root: [2; 32] })]).await;
        assert_eq!(node.get(&format!("/v1/transactions/{hash}?wait=committed")).await.1["state"], "committed");
        mine(&pool, |_| vec![Event::Proven(1, Proven { root: [2; 32] })]).await;
        assert_eq!(node.get(&format!("/v1/transactions/{hash}?wait=proven")).await.1["state"], "proven");
        mine(&pool, |_| vec![]).await;
    };
    let ((_, answer), ()) = tokio::join!(node.get(&waiting), drive);
    assert_eq!(answer["state"], "final");
    assert!(answer["l1"]["prove_tx"].as_str().unwrap().starts_with("0x"));
    assert!(answer["l1"]["final_at"].is_string());
    let status = node.get("/v1/status").await.1;
    assert_eq!(status["final"]["batch"], "1");
    assert_eq!(status["computed"]["root"], status["proven"]["root"]);
    assert_eq!(status["trusted_setup"], "INSECURE-DEV");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn nothing_is_accepted_once_the_contract_is_frozen_unless_l1_drops_that_block(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let known = node.send(&alice().sign(transfer(2, 3, 0, 10))).await;
    mine(&pool, |_| vec![Event::Frozen(Frozen { proven: 0, root: [0; 32] })]).await;
    let next = body(&alice().sign(transfer(2, 3, 1, 10)));
    node.until("frozen", async || node.post(&body(&alice().sign(transfer(2, 3, 7, 10)))).await.0 == StatusCode::GONE).await;
    let (status, refused) = node.post(&next).await;
    assert_eq!((status, &refused["code"]), (StatusCode::GONE, &json!("frozen")));
    assert!(refused["hint"].as_str().unwrap().contains("sheaf exit"), "{refused}");
    let (status, again) = node.post(&body(&alice().sign(transfer(2, 3, 0, 10)))).await;
    assert_eq!((status, &again["hash"]), (StatusCode::OK, &known["hash"]), "what was accepted keeps its receipt");
    let pool = node.stop().await;
    let node = Node::start(&pool, config()).await;
    assert_eq!(node.post(&next).await.0, StatusCode::GONE, "from the start");
    let mut connection = pool.acquire().await.unwrap();
    let frozen = l1::frozen_in(&mut connection).await.unwrap().unwrap();
    l1::rewind(&mut connection, frozen - 1).await.unwrap();
    drop(connection);
    node.until("thawed", async || node.post(&next).await.0 == StatusCode::OK).await;
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn events_arrive_and_resume_where_a_client_left(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let mut live = Stream::open(&node, None).await;
    let first = node.send(&alice().sign(transfer(2, 3, 0, 10))).await;
    let (id, kind, data) = live.next().await;
    assert_eq!((kind.as_str(), &data["hash"]), ("transaction", &first["hash"]));
    drop(live);
    let second = node.send(&alice().sign(transfer(2, 3, 1, 10))).await;
    node.seal(1).await;
    let mut resumed = Stream::open(&node, Some(&id)).await;
    assert_eq!(resumed.next().await.2["hash"], second["hash"]);
    let (_, kind, data) = resumed.next().await;
    assert_eq!((kind.as_str(), &data["reached"], &data["number"]), ("batch", &json!("sealed"), &json!("1")));
    assert_eq!(data["hashes"], json!([first["hash"], second["hash"]]));
    drop(resumed);
    node.stop().await;
}

/// Server-sent events, read one by one.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(node: &Node, last: Option<&str>) -> Self {
        let request = node.http.get(format!("{}/v1/events", node.base));
        let request = last.into_iter().fold(request, |request, last| request.header("last-event-id", last));
        Self { response: request.send().await.unwrap().error_for_status().unwrap(), text: String::new() }
    }

    async fn next(&mut self) -> (String, String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
                let found = (field("id:"), field("event:"), field("data:"));
                self.text = rest.to_owned();
                if !found.1.is_empty() {
                    return (found.0, found.1, serde_json::from_str(&found.2).unwrap());
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.response.chunk()).await.unwrap().unwrap().unwrap();
            self.text.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn what_a_client_needs_to_know_is_told(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    mine(&pool, |_| vec![Event::TokenListed(TokenListed { token: TokenId(2), erc20: Address([5; 20]) })]).await;
    let status = node.get("/v1/status").await.1;
    assert_eq!(status["domain"], deployment(K).domain.to_string());
    assert_eq!((&status["chain_id"], &status["k"], &status["queue_taken"]), (&json!("31337"), &json!(K), &json!("3")));
    assert_eq!(status["circuits"][0]["name"], "test");
    let tokens = node.get("/v1/tokens").await.1["items"].clone();
    assert_eq!((&tokens[0]["fee_slot"], &tokens[0]["erc20"]), (&json!("1"), &Value::Null));
    assert_eq!((&tokens[1]["fee_slot"], &tokens[1]["erc20"]), (&Value::Null, &json!(Address([5; 20]).to_string())));
    let quote = node.get("/v1/fees?op=withdraw&token=1").await.1;
    assert_eq!((&quote["fee"], &quote["fee_slot"]), (&json!(FEE.to_string()), &json!("1")));
    assert_eq!(operator().key.public().0.to_string(), node.slot(1).await["key"]);
    assert_eq!(node.get("/health").await.0, StatusCode::OK);
    assert_eq!(node.get("/ready").await.0, StatusCode::OK);
    let metrics = node.http.get(format!("{}/metrics", node.base)).send().await.unwrap();
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4");
    assert_eq!(metrics.text().await.unwrap(), METRICS);
    let page = node.get("/docs/").await.1;
    assert!(page.as_str().unwrap().contains("swagger-ui"));
    assert!(!page.as_str().unwrap().contains("//cdn") && !page.as_str().unwrap().contains("https://"), "the page needs something from outside");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn every_route_is_documented_and_every_documented_route_is_there(pool: PgPool) {
    const ROUTES: [&str; 16] = [
        "/health",
        "/metrics",
        "/ready",
        "/v1/activity",
        "/v1/batches",
        "/v1/batches/{number}",
        "/v1/events",
        "/v1/fees",
        "/v1/queue",
        "/v1/slots",
        "/v1/slots/{id}",
        "/v1/slots/{id}/transactions",
        "/v1/status",
        "/v1/tokens",
        "/v1/transactions",
        "/v1/transactions/{hash}",
    ];
    let node = Node::start(&pool, config()).await;
    let document = node.get("/openapi.json").await.1;
    let paths: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(paths, ROUTES);
    for path in ROUTES {
        let path = path.replace("{hash}", "0x00").replace("{id}", "x").replace("{number}", "x");
        // of an event stream only the head is read
        let response = node.http.get(format!("{}{path}", node.base)).send().await.unwrap();
        assert_ne!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_standby_lives_and_says_that_it_is_not_ready(pool: PgPool) {
    let front = Front::new(&config().api, Some(Arc::new(|| METRICS.to_owned())));
    let (listener, stop) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), CancellationToken::new());
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (router, api, ends) = (front.router(), config().api, stop.clone());
    let served = tokio::spawn(async move { serve(listener, router, &api, ends).await });
    let get = async |path: &str| reqwest::get(format!("{base}{path}")).await.unwrap();
    assert_eq!(get("/health").await.status(), StatusCode::OK);
    assert_eq!(get("/metrics").await.text().await.unwrap(), METRICS);
    let node = Node::start(&pool, config()).await;
    for path in ["/ready", "/v1/status", "/v1/slots/1"] {
        let answer = get(path).await;
        assert_eq!((answer.status(), answer.headers()["retry-after"].to_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, "1"), "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "standby", "{path}");
    }
    front.open(node.sequencer.router());
    assert_eq!(get("/ready").await.status(), StatusCode::OK);
    assert_eq!(get("/v1/status").await.status(), StatusCode::OK);
    front.close();
    assert_eq!(get("/ready").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    stop.cancel();
    served.await.unwrap();
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_stream_that_was_away_for_many_batches_gets_every_one(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 10_000).await;
    // more than a stream reads at once
    for nonce in 0..20 {
        node.send(&alice().sign(transfer(2, 3, nonce, 1))).await;
        node.seal(u64::from(nonce) + 1).await;
    }
    let mut stream = Stream::open(&node, Some("0-0-0-0-0")).await;
    let (mut accepted, mut sealed) = (0, Vec::new());
    while accepted < 20 || sealed.len() < 20 {
        let (_, kind, data) = stream.next().await;
        match kind.as_str() {
            "transaction" => accepted += 1,
            _ => sealed.push(data["number"].as_str().unwrap().parse::<u64>().unwrap()),
        }
    }
    assert_eq!(sealed, (1..=20).collect::<Vec<_>>());
    drop(stream);
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn batches_are_listed_newest_first(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    for nonce in 0..3 {
        node.send(&alice().sign(transfer(2, 3, nonce, 10))).await;
        node.seal(u64::from(nonce) + 1).await;
    }
    let page = node.get("/v1/batches?limit=2").await.1;
    let numbers =
        |page: &Value| page["items"].as_array().unwrap().iter().map(|batch| batch["number"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(numbers(&page), ["3", "2"]);
    let page = node.get(&format!("/v1/batches?limit=2&cursor={}", page["next"].as_str().unwrap())).await.1;
    assert_eq!(numbers(&page), ["1"]);
    assert_eq!(page["next"], Value::Null);
    let detail = node.get("/v1/batches/3").await.1;
    assert_eq!((&detail["transactions"], detail["hashes"].as_array().unwrap().len()), (&json!("1"), 1));
    assert_eq!(detail["l1_costs"], json!([]), "nothing is mined");
    node.stop().await;
}
