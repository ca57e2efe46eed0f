//! One L1 node: how it is asked, and how long it is left alone after it failed.
//!
//! ```text
//! unverified ──chain id is ours──> trusted ──no answer, nonsense, another chain, too many requests──> resting, unverified
//!     ^                                                                                                   │
//!     └──────────── asked again: after its rest, or because no other node answers ────────────────────────┘
//! ```
//!
//! A rest lasts a second and doubles with every failure in a row, up to a minute. Nothing is asked of a node whose chain id is not known to be
//! ours since its last failure.

use super::{RpcError, RpcOptions, json, site};
use ethers_core::types::U64;
use jsonrpsee::core::client::ClientT;
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// First rest after a failure.
const REST: Duration = Duration::from_secs(1);
/// The longest rest.
const MAX_REST: Duration = Duration::from_secs(60);

/// What is known of an endpoint, for status pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointStatus {
    /// Scheme, host and port: the rest of its address may be a secret.
    pub site: String,
    /// Its last failure, gone with the next answer; while there is one, others are asked first.
    pub error: Option<String>,
    /// Number of the newest block it has shown.
    pub head: Option<u64>,
}

/// One L1 node.
pub(super) struct Endpoint {
    client: HttpClient,
    site: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    verified: bool,
    failures: u32,
    rests_until: Option<Instant>,
    error: Option<String>,
    head: Option<u64>,
}

impl Endpoint {
    /// A node that is not asked anything yet.
    pub(super) fn new(url: &str, options: &RpcOptions) -> Result<Self, RpcError> {
        let client = HttpClientBuilder::default()
            .request_timeout(Duration::from_millis(options.request_timeout_ms))
            .build(url)
            .map_err(|_| RpcError::Url { site: site(url) })?;
        let site = site(url);
        metrics::counter!("sheaf_l1_endpoint_failures_total", "site" => site.clone()).increment(0);
        Ok(Self { client, site, state: Mutex::default() })
    }

    pub(super) fn site(&self) -> &str {
        &self.site
    }

    pub(super) fn status(&self) -> EndpointStatus {
        let state = self.state();
        EndpointStatus { site: self.site.clone(), error: state.error.clone(), head: state.head }
    }

    /// When its rest ends, if it rests.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.state().rests_until.filter(|until| *until > Instant::now())
    }

    pub(super) fn note_head(&self, number: u64) {
        self.state().head = Some(number);
    }

    /// The chain it serves, asked now.
    pub(super) async fn chain_id(&self) -> Result<u64, RpcError> {
        match self.request::<U64>("eth_chainId", &[]).await {
            Ok(id) => Ok(id.as_u64()),
            // an answer alone speaks for nothing: whether other questions are answered is what ends a row of failures
            failed => self.judge(failed).map(|id| id.as_u64()),
        }
    }

    /// Makes sure, by asking, that it serves this chain.
    pub(super) async fn verify(&self, expected: u64) -> Result<(), RpcError> {
        match self.chain_id().await? {
            found if found == expected => {
                self.state().verified = true;
                Ok(())
            }
            found => self.judge(Err(RpcError::WrongChain { site: self.site.clone(), expected, found })),
        }
    }

    /// Asks once, after making sure of the chain.
    pub(super) async fn ask<T: DeserializeOwned>(&self, chain_id: u64, method: &'static str, params: &[serde_json::Value]) -> Result<T, RpcError> {
        let verified = self.state().verified;
        if !verified {
            self.verify(chain_id).await?;
        }
        let answer = self.request(method, params).await;
        self.judge(answer)
    }

    /// Sends it to rest for an answer that is no answer.
    pub(super) fn judge<T>(&self, answer: Result<T, RpcError>) -> Result<T, RpcError> {
        let mut state = self.state();
        match &answer {
            Err(error) if error.is_fault() => {
                let rest = REST.saturating_mul(1 << state.failures.min(6)).min(MAX_REST);
                state.failures += 1;
                (state.verified, state.rests_until, state.error) = (false, Some(Instant::now() + rest), Some(error.to_string()));
                metrics::counter!("sheaf_l1_endpoint_failures_total", "site" => self.site.clone()).increment(1);
                tracing::debug!(site = self.site, %error, "an L1 node failed");
            }
            _ => (state.failures, state.rests_until, state.error) = (0, None, None),
        }
        answer
    }

    async fn request<T: DeserializeOwned>(&self, method: &'static str, params: &[serde_json::Value]) -> Result<T, RpcError> {
        let mut array = ArrayParams::new();
        for param in params {
            array.insert(json(param)).map_err(|e| RpcError::Malformed { method, detail: e.to_string() })?;
        }
        self.client.request(method, array).await.map_err(|error| RpcError::new(method, error))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
