//! The worker's and the operator's side of the wire: one method a route. Knows which failures may pass by themselves; retrying is the caller's choice.

use crate::wire::fleet::{FleetStatus, JobDetail, JobList, JobQuery, Reason, WorkerView};
use crate::wire::{Accepted, Claim, Failure, Heartbeat, Job, JobHead, Lease, PREFIX, ProblemBody, Released, Submission};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::time::Duration;

/// The largest answer that is read, in bytes: a batch of 10,000 transfers is 12 MB.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take beyond the time that a claim waits.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The gateway's address is not an http(s) URL.
    #[error("the gateway's address is not of the form http://host:port or https://host")]
    Address,
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot start")]
    Start(#[source] reqwest::Error),
    /// No answer, or not all of it: what became of the call is unknown.
    #[error("the gateway does not answer")]
    NoAnswer(#[source] reqwest::Error),
    /// The gateway refuses.
    #[error("the gateway refuses: {} ({}): {}{}", .0.code, .0.status, .0.detail, .0.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
    Refused(Box<ProblemBody>),
    /// Something else than a gateway answers.
    #[error("status {status} without an answer of the gateway: is this its address?")]
    NotAGateway {
        /// HTTP status.
        status: u16,
    },
    /// The answer is longer than any job.
    #[error("the answer exceeds {MAX_ANSWER_BYTES} bytes")]
    TooLong,
}

impl ClientError {
    /// True if the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        let retryable = |status: u16| status >= 500 || status == StatusCode::TOO_MANY_REQUESTS.as_u16();
        match self {
            Self::NoAnswer(_) => true,
            Self::Refused(problem) => retryable(problem.status),
            Self::NotAGateway { status } => retryable(*status),
            Self::Address | Self::Start(_) | Self::TooLong => false,
        }
    }

    /// The gateway's code, if it answered with one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.code),
            _ => None,
        }
    }
}

/// A connection to one gateway.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.base.origin().ascii_serialization())
    }
}

impl Client {
    /// A client of the gateway at `address` (without path), with this bearer token.
    ///
    /// # Errors
    /// [`ClientError::Address`], [`ClientError::Start`].
    pub fn new(address: &str, token: &str) -> Result<Self, ClientError> {
        let base = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let base = base.ok_or(ClientError::Address)?;
        // a proxy of the environment would see the token
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).build().map_err(ClientError::Start)?;
        Ok(Self { http, base, token: token.trim().to_owned() })
    }

    /// Asks for a job, waiting at the gateway as long as the claim says.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn claim(&self, claim: &Claim) -> Result<Option<Job>, ClientError> {
        self.claim_as(claim).await
    }

    /// As [`Client::claim`], but reads nothing of what is to be proved: for a load on the gateway by workers that prove nothing.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn claim_head(&self, claim: &Claim) -> Result<Option<JobHead>, ClientError> {
        self.claim_as(claim).await
    }

    async fn claim_as<T: DeserializeOwned>(&self, claim: &Claim) -> Result<Option<T>, ClientError> {
        let timeout = ANSWER_TIMEOUT + Duration::from_secs(claim.wait_s.into());
        let response = self.send(self.post("claim", claim).timeout(timeout)).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        read(response).await.map(Some)
    }

    /// Extends a lease.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn heartbeat(&self, batch: u64, heartbeat: &Heartbeat) -> Result<Lease, ClientError> {
        self.call(&format!("jobs/{batch}/heartbeat"), heartbeat).await
    }

    /// Hands in a proof. Safe to repeat.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn submit(&self, batch: u64, submission: &Submission) -> Result<Accepted, ClientError> {
        self.call(&format!("jobs/{batch}/proof"), submission).await
    }

    /// Gives a job back.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn fail(&self, batch: u64, failure: &Failure) -> Result<Released, ClientError> {
        self.call(&format!("jobs/{batch}/failure"), failure).await
    }

    /// The fleet as it stands; needs no token.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<FleetStatus, ClientError> {
        read(self.send(self.request(Method::GET, "status")).await?).await
    }

    /// Jobs, the newest first; needs no token.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn jobs(&self, query: &JobQuery) -> Result<JobList, ClientError> {
        read(self.send(self.request(Method::GET, "jobs").query(query)).await?).await
    }

    /// A job with its history; needs no token.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn job(&self, batch: u64) -> Result<JobDetail, ClientError> {
        read(self.send(self.request(Method::GET, &format!("jobs/{batch}"))).await?).await
    }

    /// An operator's order about a job: `retry`, `park` or `cancel`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn order(&self, batch: u64, verb: &str, reason: &str) -> Result<JobDetail, ClientError> {
        self.call(&format!("jobs/{batch}/{verb}"), &Reason { reason: reason.to_owned() }).await
    }

    /// An operator's order that a worker gets no more jobs, or jobs again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn drain(&self, worker: &str, drain: bool, reason: &str) -> Result<WorkerView, ClientError> {
        let verb = if drain { "drain" } else { "resume" };
        self.call(&format!("workers/{worker}/{verb}"), &Reason { reason: reason.to_owned() }).await
    }

    async fn call<T: DeserializeOwned>(&self, route: &str, body: &impl Serialize) -> Result<T, ClientError> {
        read(self.send(self.post(route, body)).await?).await
    }

    fn post(&self, route: &str, body: &impl Serialize) -> RequestBuilder {
        self.request(Method::POST, route).json(body)
    }

    fn request(&self, method: Method, route: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{PREFIX}/{route}", self.base.path().trim_end_matches('/')));
        let request = self.http.request(method, url).timeout(ANSWER_TIMEOUT);
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(no_answer)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = bytes(response).await?;
        Err(serde_json::from_slice(&body)
            .map_or(ClientError::NotAGateway { status: status.as_u16() }, |problem| ClientError::Refused(Box::new(problem))))
    }
}

/// The gateway's address may hold a password, which logs must not.
fn no_answer(error: reqwest::Error) -> ClientError {
    ClientError::NoAnswer(error.without_url())
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, ClientError> {
    let status = response.status().as_u16();
    serde_json::from_slice(&bytes(response).await?).map_err(|_| ClientError::NotAGateway { status })
}

async fn bytes(mut response: Response) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(ClientError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn shown(client: &Client, error: &ClientError) -> String {
        let source = std::error::Error::source(error).map(ToString::to_string);
        format!("{client:?} {error} {error:?} {source:?}")
    }

    #[tokio::test]
    async fn neither_client_nor_error_shows_a_secret() {
        let client = Client::new("http://user:secret@127.0.0.1:1/secret", "secret").unwrap();
        let claim = Claim { worker: "a".into(), circuits: vec![], memory_mb: 1, wait_s: 0 };
        let error = client.claim(&claim).await.unwrap_err();
        assert!(matches!(error, ClientError::NoAnswer(_)), "{error}");
        let shown = shown(&client, &error);
        assert!(shown.contains("http://127.0.0.1:1") && !shown.contains("secret"), "{shown}");
        let error = Client::new("ftp://user:secret@127.0.0.1", "secret").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
