//! What people look at: lists by pages, levels by the minute, and the pages themselves with the headers that protect them.

use crate::support::{Node, Person, alice, bob, config, mine, transfer};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sheaf_protocol::amount::{Amount, NATIVE};
use sheaf_store::l1::{Committed, Event, Proven, Refunded};
use sqlx::PgPool;

fn field<'a>(page: &'a Value, name: &str) -> Vec<&'a str> {
    page["items"].as_array().unwrap().iter().map(|item| item[name].as_str().unwrap()).collect()
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn transactions_are_listed_newest_first_and_by_batch(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    let mut hashes = Vec::new();
    for nonce in 0..3 {
        hashes.push(node.send(&alice().sign(transfer(2, 3, nonce, 10))).await["hash"].as_str().unwrap().to_owned());
        if nonce == 1 {
            node.seal(1).await;
        }
    }
    hashes.reverse();
    let first = node.get("/v1/transactions?limit=2").await.1;
    assert_eq!(field(&first, "hash"), hashes[..2]);
    assert_eq!(field(&first, "state"), ["accepted", "sealed"]);
    let next = first["next"].as_str().unwrap();
    let rest = node.get(&format!("/v1/transactions?limit=2&cursor={next}")).await.1;
    assert_eq!((field(&rest, "hash"), &rest["next"]), (vec![hashes[2].as_str()], &Value::Null));
    let of_batch = node.get("/v1/transactions?batch=1&limit=1").await.1;
    assert_eq!(field(&of_batch, "hash"), hashes[1..2]);
    let next = of_batch["next"].as_str().unwrap();
    assert_eq!(field(&node.get(&format!("/v1/transactions?batch=1&cursor={next}")).await.1, "hash"), hashes[2..]);
    assert_eq!(node.get("/v1/transactions?batch=9").await.1["items"], json!([]));
    for (bad, code) in [
        ("limit=0", "invalid_parameter"),
        ("limit=201", "invalid_parameter"),
        ("batch=x", "invalid_number"),
        ("cursor=00", "bad_cursor"),
        ("slot=1", "invalid_parameter"),
    ] {
        let (status, problem) = node.get(&format!("/v1/transactions?{bad}")).await;
        assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &code.into()), "{bad}");
    }
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn queue_entries_are_listed_with_what_became_of_them(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    // nobody can open an account with a key that is no point
    let off_curve = (1u64..).map(sheaf_protocol::field::Fr::from).find(|x| !sheaf_protocol::schnorr::is_key(*x)).unwrap();
    node.mine(vec![Person::new(7).deposit_key(off_curve, NATIVE, 5)]).await;
    node.until("four entries taken", async || node.get("/v1/status").await.1["queue_taken"] == "4").await;
    let page = node.get("/v1/queue?limit=3").await.1;
    assert_eq!(field(&page, "queue_index"), ["4", "3", "2"]);
    assert_eq!(field(&page, "state"), ["accepted"; 3]);
    assert_eq!(page["items"][1]["slot"], "3");
    assert_eq!((&page["items"][1]["amount"], &page["items"][1]["op"]), (&json!("1000"), &json!("deposit")));
    let rest = node.get(&format!("/v1/queue?limit=3&cursor={}", page["next"].as_str().unwrap())).await.1;
    assert_eq!((field(&rest, "queue_index"), &rest["next"]), (vec!["1"], &Value::Null));
    node.seal(1).await;
    mine(&pool, |_| vec![Event::Refunded(4, Refunded { to: Person::new(7).owner, token: NATIVE, amount: Amount(5) })]).await;
    let page = node.get("/v1/queue").await.1;
    assert_eq!((&page["items"][0]["state"], &page["items"][0]["batch"]), (&json!("sealed"), &json!("1")));
    assert!(page["items"][0]["refund_tx"].is_string() && page["items"][1]["refund_tx"].is_null(), "{page}");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn levels_tell_how_far_transactions_have_come(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    // an answer is kept for a second, by the minutes asked for
    let now = async |minutes: u32| node.get(&format!("/v1/activity?minutes={minutes}")).await.1["levels"].as_array().unwrap().last().unwrap().clone();
    let counts =
        |level: &Value| ["accepted", "sealed", "committed", "proven", "final"].map(|name| level[name].as_str().unwrap().parse::<u64>().unwrap());
    assert_eq!(counts(&now(2).await), [0; 5], "three deposits are no transactions");
    for nonce in 0..3 {
        node.send(&alice().sign(transfer(2, 3, nonce, 10))).await;
    }
    node.seal(1).await;
    node.send(&bob().sign(transfer(3, 2, 0, 10))).await;
    assert_eq!(counts(&now(3).await), [4, 3, 0, 0, 0]);
    let root = [0; 32];
    mine(&pool, |_| vec![Event::Committed(1, Committed { batch_hash: root, root })]).await;
    assert_eq!(counts(&now(4).await), [4, 3, 3, 0, 0]);
    mine(&pool, |_| vec![Event::Proven(1, Proven { root })]).await;
    let proven = counts(&now(5).await);
    assert_eq!(proven[..4], [4, 3, 3, 3]);

    let levels = node.get("/v1/activity").await.1["levels"].as_array().unwrap().clone();
    assert_eq!(levels.len(), 61, "sixty minutes and now");
    assert_eq!(counts(&levels[0])[..2], [0; 2], "an hour ago there was nothing; the blocks of this test are older");
    for pair in levels.windows(2) {
        assert!(pair[0]["at"].as_str().unwrap() < pair[1]["at"].as_str().unwrap(), "{pair:?}");
        assert!(counts(&pair[0])[0] <= counts(&pair[1])[0], "{pair:?}");
    }
    for bad in ["minutes=0", "minutes=241", "hours=1"] {
        assert_eq!(node.get(&format!("/v1/activity?{bad}")).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_batch_names_its_roots_and_its_circuit_its_constraints(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    node.seal(1).await;
    node.send(&alice().sign(transfer(2, 3, 0, 10))).await;
    node.seal(2).await;
    let [first, second] = [node.get("/v1/batches/1").await.1, node.get("/v1/batches/2").await.1];
    assert_eq!(first["root"], second["old_root"]);
    assert_ne!(second["root"], second["old_root"]);
    assert!(second["posted_bytes"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!((&second["proof"], &second["l1_transactions"]), (&Value::Null, &json!([])));
    assert_eq!(node.get("/v1/status").await.1["circuits"][0]["constraints"], "1000");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn events_can_be_narrowed_to_batches(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    node.send(&alice().sign(transfer(2, 3, 0, 10))).await;
    node.seal(1).await;
    let mut stream = node.http.get(format!("{}/v1/events?only=batch&last_event_id=0-0-0-0-0", node.base)).send().await.unwrap();
    let mut text = String::new();
    while !text.contains("event: batch") {
        text += std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap();
    }
    assert!(!text.contains("event: transaction"), "{text}");
    drop(stream);
    assert_eq!(node.get("/v1/events?only=slots").await.1["code"], "invalid_parameter");
    node.stop().await;
}

const PAGES: [&str; 10] =
    ["/", "/batches", "/batches/7", "/transactions", "/transactions/0x00", "/slots", "/slots/2", "/queue", "/fleet", "/search?q=x"];

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn pages_let_a_browser_load_and_run_nothing_but_our_files(pool: PgPool) {
    let node = Node::start(&pool, config()).await;
    for path in PAGES.into_iter().chain(["/assets/app.js", "/assets/pages/batches.js", "/assets/style.css", "/assets/icon.svg", "/assets/none.js"]) {
        let response = node.http.get(format!("{}{path}", node.base)).send().await.unwrap();
        let header = |name: &str| response.headers().get(name).unwrap_or_else(|| panic!("{path} has no {name}")).to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.split("; ").any(|found| found == part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{path}: {policy}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("cache-control"), "no-cache", "{path}");
        let expected = if path.ends_with("none.js") { StatusCode::NOT_FOUND } else { StatusCode::OK };
        assert_eq!(response.status(), expected, "{path}");
    }
    for path in PAGES {
        let response = node.http.get(format!("{}{path}", node.base)).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8", "{path}");
        assert!(response.text().await.unwrap().contains("<main id=\"main\""), "{path}");
    }
    for path in ["/assets/../Cargo.toml", "/assets/%2e%2e/Cargo.toml", "/assets/", "/pages", "/batches/1/2"] {
        assert_eq!(node.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn an_unchanged_file_is_not_sent_again(pool: PgPool) {
    let node = Node::start(&pool, config()).await;
    let ask = async |method: Method, path: &str, tag: Option<&str>| {
        let mut request = node.http.request(method, format!("{}{path}", node.base));
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        request.send().await.unwrap()
    };
    for path in ["/", "/assets/app.js", "/assets/style.css"] {
        let first = ask(Method::GET, path, None).await;
        let tag = first.headers()["etag"].to_str().unwrap().to_owned();
        assert!(first.text().await.unwrap().len() > 100, "{path}");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}")] {
            let again = ask(Method::GET, path, Some(&known)).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
            assert_eq!(again.headers()["etag"].to_str().unwrap(), tag);
            assert!(again.headers().contains_key("content-security-policy") && again.bytes().await.unwrap().is_empty(), "{path}");
        }
        assert_eq!(ask(Method::GET, path, Some("\"other\"")).await.status(), StatusCode::OK, "{path}");
        assert_eq!(ask(Method::HEAD, path, None).await.status(), StatusCode::OK, "{path}");
        assert_eq!(ask(Method::POST, path, None).await.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_process_that_stands_by_shows_the_pages_too() {
    use tower::ServiceExt;
    let front = sheaf_sequencer::Front::new(&config().api, None);
    let ask = async |path: &str| {
        let request = axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        front.router().oneshot(request).await.unwrap().status()
    };
    assert_eq!(ask("/batches").await, StatusCode::OK);
    assert_eq!(ask("/assets/app.js").await, StatusCode::OK);
    assert_eq!(ask("/v1/status").await, StatusCode::SERVICE_UNAVAILABLE);
}
