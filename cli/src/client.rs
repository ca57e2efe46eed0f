//! The HTTP client of the sequencer's API, for wallet, demonstration and benchmarks.
//!
//! A lost connection is not a lost transfer: the hash names it, so the same bytes are sent again until an answer comes or the
//! deadline passes.

use anyhow::{Context, bail};
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sheaf_protocol::field::{to_hex, to_word};
use sheaf_protocol::ledger::Triple;
use sheaf_protocol::ops::{Op, SignedOp};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Pause between two attempts to reach a node that is down.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Longest wait of one status request, in seconds.
const WAIT_S: u64 = 20;

/// A node's API.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    patience: Duration,
}

impl Client {
    /// A client of the API at `base`, which waits `patience` for a node that does not answer.
    pub fn new(base: &str, patience: Duration) -> anyhow::Result<Self> {
        let builder = reqwest::Client::builder().timeout(Duration::from_secs(WAIT_S + 15));
        // a proxy of the environment cannot reach this machine's own addresses
        let http = if is_loopback(base) { builder.no_proxy() } else { builder }.build()?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), http, patience })
    }

    /// Sends one signed operation and returns its receipt.
    pub async fn submit(&self, signed: &SignedOp) -> anyhow::Result<Value> {
        let body = to_json(signed);
        self.retried(|http| http.post(format!("{}/v1/transactions", self.base)).json(&body)).await
    }

    /// The transaction as soon as it reached `state`, or an error if it was not reached before the deadline.
    pub async fn wait_for(&self, hash: &str, state: &str, deadline: Duration) -> anyhow::Result<Value> {
        let end = Instant::now() + deadline;
        loop {
            let path = format!("/v1/transactions/{hash}?wait={state}&timeout_s={WAIT_S}");
            let found: Value = self.get(&path).await?;
            if reached(found["state"].as_str().unwrap_or_default(), state) {
                return Ok(found);
            }
            if Instant::now() > end {
                bail!("transaction {hash} is {} after {} s, not {state}", found["state"], deadline.as_secs());
            }
        }
    }

    /// The slot of exactly this key, owner and token, or `None`.
    pub async fn find_slot(&self, triple: &Triple) -> anyhow::Result<Option<Value>> {
        let key = to_hex(&sheaf_protocol::field::to_word(triple.key));
        let found: Value = self.get(&format!("/v1/slots?key={key}&owner={}&token={}", triple.owner, triple.token)).await?;
        Ok(found["items"].get(0).cloned())
    }

    /// `GET path`, decoded.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.retried(|http| http.get(format!("{}{path}", self.base))).await
    }

    async fn retried<T: DeserializeOwned>(&self, request: impl Fn(&reqwest::Client) -> reqwest::RequestBuilder) -> anyhow::Result<T> {
        let end = Instant::now() + self.patience;
        loop {
            let pause = match request(&self.http).send().await {
                Ok(response) if is_passing(response.status()) && Instant::now() < end => retry_after(&response),
                Ok(response) => return decode(response).await,
                Err(error) if Instant::now() >= end => return Err(error).context(format!("no answer from {}; is the node running?", self.base)),
                Err(_) => RETRY_PAUSE,
            };
            tokio::time::sleep(pause).await;
        }
    }
}

/// The operation as the API takes it: numbers are decimal strings.
pub fn to_json(signed: &SignedOp) -> Value {
    let signature = to_hex(&signed.signature.to_bytes());
    match &signed.op {
        Op::Transfer(t) => json!({
            "op": "transfer", "from": t.from.to_string(), "to": t.to.to_string(), "token": t.token.to_string(), "nonce": t.nonce.to_string(),
            "amount": t.amount.amount().to_string(), "fee": t.fee.amount().to_string(), "signature": signature,
        }),
        Op::Withdraw(w) => json!({
            "op": "withdraw", "from": w.from.to_string(), "token": w.token.to_string(), "nonce": w.nonce.to_string(),
            "fee": w.fee.amount().to_string(), "amount": w.amount.to_string(), "address": w.address.to_string(), "signature": signature,
        }),
        Op::Register(r) => json!({
            "op": "register", "from": r.from.to_string(), "token": r.token.to_string(), "nonce": r.nonce.to_string(),
            "fee": r.fee.amount().to_string(), "key": to_hex(&to_word(r.account.key)), "owner": r.account.owner.to_string(),
            "account_token": r.account.token.to_string(), "signature": signature,
        }),
    }
}

fn is_loopback(url: &str) -> bool {
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

fn is_passing(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT)
}

fn retry_after(response: &Response) -> Duration {
    let header = response.headers().get(reqwest::header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    header.map_or(RETRY_PAUSE, Duration::from_secs)
}

async fn decode<T: DeserializeOwned>(response: Response) -> anyhow::Result<T> {
    let (status, url) = (response.status(), response.url().clone());
    let text = response.text().await?;
    if !status.is_success() {
        let problem: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let detail = problem["detail"].as_str().map_or(text, str::to_owned);
        let hint = problem["hint"].as_str().map(|hint| format!(" ({hint})")).unwrap_or_default();
        bail!("{url} answered {status}: {} {detail}{hint}", problem["code"].as_str().unwrap_or_default());
    }
    serde_json::from_str(&text).with_context(|| format!("{url} answered something that is not what this client knows"))
}

fn reached(state: &str, wanted: &str) -> bool {
    const ORDER: [&str; 5] = ["accepted", "sealed", "committed", "proven", "final"];
    let rank = |name: &str| ORDER.iter().position(|known| *known == name);
    rank(state) >= rank(wanted)
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn a_proxy_of_the_environment_is_not_asked_for_this_machine() {
        assert!(["http://127.0.0.1:3000", "http://localhost:3000/", "http://[::1]:3000", "http://127.9.9.9"].into_iter().all(is_loopback));
        assert!(!["http://10.0.0.1:3000", "https://localhost.example.org", "not a url"].into_iter().any(is_loopback));
    }
}
