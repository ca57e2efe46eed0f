//! Budgets and patience of the HTTP surface.

use crate::support::{Node, alice, body, config, transfer};
use reqwest::StatusCode;
use serde_json::Value;
use sheaf_sequencer::config::RateConfig;
use sqlx::PgPool;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_client_that_spent_its_budget_waits(pool: PgPool) {
    drop(Node::with_people(&pool, config(), 1_000).await.stop().await);
    let mut settings = config();
    settings.api.rate = Some(RateConfig { per_second: 1, burst: 3 });
    settings.api.client_ip_header = Some("x-client".to_owned());
    let node = Node::start(&pool, settings).await;
    let many: Vec<Value> = (0..4).map(|nonce| body(&alice().sign(transfer(2, 3, nonce, 1)))).collect();
    let (status, problem) = node.post(&Value::Array(many)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &Value::from("too_many_records")), "waiting would not help");
    assert!(problem["detail"].as_str().unwrap().contains("more than 3"), "{problem}");
    let from = |client: &'static str| node.http.get(format!("{}/v1/tokens", node.base)).header("x-client", client).send();
    for _ in 0..3 {
        assert_eq!(from("10.0.0.1").await.unwrap().status(), StatusCode::OK);
    }
    let refused = from("10.0.0.1").await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "rate_limited");
    assert_eq!(from("10.0.0.2").await.unwrap().status(), StatusCode::OK);
    assert_eq!(node.get("/health").await.0, StatusCode::OK, "probes cost nothing");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_client_that_never_finishes_its_head_is_cut_off(pool: PgPool) {
    let mut settings = config();
    settings.api.header_read_timeout = Duration::from_millis(200);
    let node = Node::start(&pool, settings).await;
    let mut stream = TcpStream::connect(node.base.trim_start_matches("http://")).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn browsers_of_other_origins_are_told(pool: PgPool) {
    let mut settings = config();
    settings.api.cors_origins = vec!["https://wallet.example".to_owned()];
    let node = Node::start(&pool, settings).await;
    let origin = |origin: &'static str| node.http.get(format!("{}/v1/tokens", node.base)).header("origin", origin).send();
    let allowed = origin("https://wallet.example").await.unwrap();
    assert_eq!(allowed.headers()["access-control-allow-origin"], "https://wallet.example");
    assert!(!origin("https://evil.example").await.unwrap().headers().contains_key("access-control-allow-origin"));
    node.stop().await;
}
