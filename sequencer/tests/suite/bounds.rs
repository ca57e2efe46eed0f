//! What stays open is bounded, for all and for one client; what stays unfinished is cut off.

use crate::support::{Node, alice, bob, body, config, transfer};
use reqwest::StatusCode;
use serde_json::Value;
use sheaf_sequencer::config::RateConfig;
use sqlx::PgPool;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HEAD: &[u8] = b"POST /v1/transactions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";

async fn connect(node: &Node) -> TcpStream {
    TcpStream::connect(node.base.trim_start_matches("http://")).await.unwrap()
}

async fn from(node: &Node, client: &'static str, path: &str) -> reqwest::Response {
    node.http.get(format!("{}{path}", node.base)).header("x-client", client).send().await.unwrap()
}

async fn code(response: reqwest::Response) -> (u16, String) {
    assert_eq!(response.headers().contains_key("retry-after"), [429, 503].contains(&response.status().as_u16()));
    let status = response.status().as_u16();
    (status, response.json::<Value>().await.unwrap()["code"].as_str().unwrap_or_default().to_owned())
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn streams_are_bounded(pool: PgPool) {
    let mut settings = config();
    settings.api.client_ip_header = Some("x-client".to_owned());
    (settings.api.max_event_streams, settings.api.max_event_streams_per_client) = (2, 1);
    let node = Node::start(&pool, settings).await;
    let first = from(&node, "10.0.0.1", "/v1/events").await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(code(from(&node, "10.0.0.1", "/v1/events").await).await, (429, "too_many_streams".to_owned()), "one a client");
    let second = from(&node, "10.0.0.2", "/v1/events").await;
    assert_eq!(second.status(), StatusCode::OK);
    assert_eq!(code(from(&node, "10.0.0.3", "/v1/events").await).await, (429, "too_many_streams".to_owned()), "two in all");
    drop((first, second));
    node.until("a place", async || from(&node, "10.0.0.3", "/v1/events").await.status() == StatusCode::OK).await;
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn waiting_requests_are_bounded_and_those_that_need_not_wait_are_not(pool: PgPool) {
    let mut settings = config();
    settings.api.max_waiters = 1;
    let node = Node::with_people(&pool, settings, 1_000).await;
    let hash = node.send(&alice().sign(transfer(2, 3, 0, 100))).await["hash"].as_str().unwrap().to_owned();
    let waiting = tokio::spawn(node.http.get(format!("{}/v1/transactions/{hash}?wait=sealed&timeout_s=60", node.base)).send());
    let other = format!("/v1/transactions/{hash}?wait=sealed&timeout_s=0");
    node.until("a full house", async || node.get(&other).await.0 == StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!(node.get(&other).await.1["code"], "too_many_waiters");
    assert_eq!(node.get(&format!("/v1/transactions/{hash}?wait=accepted")).await.0, StatusCode::OK);
    node.seal(1).await;
    assert_eq!(waiting.await.unwrap().unwrap().json::<Value>().await.unwrap()["state"], "sealed");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn one_client_does_not_get_all_connections(pool: PgPool) {
    let mut settings = config();
    settings.api.max_connections_per_client = 1;
    let node = Node::start(&pool, settings).await;
    let mut first = connect(&node).await;
    // it has its place once it is answered
    first.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut second = connect(&node).await;
    let closed = tokio::time::timeout(Duration::from_secs(30), second.read(&mut answer)).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    drop(first);
    node.until("a place", async || node.http.get(format!("{}/health", node.base)).send().await.is_ok()).await;
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_body_that_stops_arriving_is_not_waited_for(pool: PgPool) {
    let mut settings = config();
    settings.api.body_read_timeout = Duration::from_millis(200);
    let node = Node::start(&pool, settings).await;
    let mut stream = connect(&node).await;
    stream.write_all(HEAD).await.unwrap();
    stream.write_all(b"{").await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"body_timeout\""), "{answer}");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_body_that_arrives_byte_by_byte_is_not_waited_for(pool: PgPool) {
    let mut settings = config();
    settings.api.body_timeout = Duration::from_millis(500);
    let node = Node::start(&pool, settings).await;
    let mut stream = connect(&node).await;
    stream.write_all(HEAD).await.unwrap();
    let mut answer = [0; 12];
    for _ in 0..600 {
        // a pause, unless the answer comes
        if let Ok(read) = tokio::time::timeout(Duration::from_millis(20), stream.read_exact(&mut answer)).await {
            read.unwrap();
            break;
        }
        stream.write_all(b" ").await.unwrap();
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_client_that_forges_the_proxys_header_has_one_budget(pool: PgPool) {
    let mut settings = config();
    settings.api.rate = Some(RateConfig { per_second: 1, burst: 3 });
    settings.api.client_ip_header = Some("x-client".to_owned());
    let node = Node::start(&pool, settings).await;
    let mut statuses = Vec::new();
    for forged in ["10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5"] {
        // the client's line, then the proxy's
        let request = node.http.get(format!("{}/v1/tokens", node.base)).header("x-client", forged).header("x-client", "10.0.0.1");
        statuses.push(request.send().await.unwrap().status().as_u16());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn forged_signatures_use_up_a_budget_sooner(pool: PgPool) {
    let mut settings = config();
    settings.api.rate = Some(RateConfig { per_second: 1, burst: 100 });
    settings.api.client_ip_header = Some("x-client".to_owned());
    let node = Node::with_people(&pool, settings, 1_000).await;
    let mut forged = body(&alice().sign(transfer(2, 3, 0, 100)));
    forged["amount"] = "101".into();
    let send = async |client: &'static str, body: &Value| {
        let request = node.http.post(format!("{}/v1/transactions", node.base)).header("x-client", client).json(body);
        code(request.send().await.unwrap()).await
    };
    let mut forgeries = 0;
    while send("10.0.0.1", &forged).await.1 == "bad_signature" {
        forgeries += 1;
        assert!(forgeries < 50, "a forged signature costs no more than a good one");
    }
    assert_eq!(send("10.0.0.1", &forged).await.1, "rate_limited");
    assert_eq!(send("10.0.0.2", &body(&bob().sign(transfer(3, 2, 0, 1)))).await.0, 200);
    node.stop().await;
}
