//! Every way in which a request to the gateway can fail, and the one place where that becomes HTTP: problem details (RFC 9457)
//! with a stable code.

use crate::gateway::auth::AuthError;
use crate::wire::ProblemBody;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sheaf_store::fleet::Order;
use sheaf_store::reverts::Asked;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatewayError {
    #[error("{0}")]
    Auth(AuthError),
    #[error("this route is for {0}'s token")]
    WrongRole(&'static str),
    #[error("{detail}")]
    Malformed { detail: String, field: Option<String> },
    #[error("the body is not announced as JSON")]
    ContentType,
    #[error("the body exceeds {0} bytes")]
    TooLarge(usize),
    #[error("{field}: {detail}")]
    Invalid { field: &'static str, detail: String, hint: String },
    #[error("none of the offered circuits fits into {memory_mb} MB: the smallest needs {needed_mb} MB")]
    TooLittleMemory { memory_mb: u64, needed_mb: u64 },
    #[error("an operator drained this worker: it gets no more jobs")]
    Draining,
    #[error("no worker of this name has asked for work")]
    UnknownWorker,
    #[error("the job of batch {batch} is {state}")]
    NotNow { batch: u64, state: String, order: Order },
    #[error("batch {batch} cannot be sealed again: {}", no_reseal(.refused))]
    NoReseal { batch: u64, refused: Asked },
    #[error("circuit {0} is not part of this deployment")]
    UnknownCircuit(u32),
    #[error("the key of circuit {0} is not this deployment's")]
    KeyMismatch(u32),
    #[error("there is no job for batch {0}")]
    UnknownJob(u64),
    #[error("the lease on batch {0} is no longer yours: it expired, was given back, or the batch is proven")]
    StaleLease(u64),
    #[error("the proof does not prove batch {0}; it was not stored")]
    ProofInvalid(u64),
    #[error("the database does not answer, or takes no writes")]
    Store(#[source] sqlx::Error),
    #[error("batch {0} cannot be read")]
    Corrupt(u64),
    #[error("the check of a proof of batch {0} broke down; that says nothing about the proof")]
    Verifier(u64, #[source] tokio::task::JoinError),
    #[error("no such route, or not with this method")]
    NotFound,
}

impl GatewayError {
    pub(crate) fn code(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Auth(AuthError::Missing) => ("token_missing", StatusCode::UNAUTHORIZED),
            Self::Auth(AuthError::Wrong) => ("token_wrong", StatusCode::UNAUTHORIZED),
            Self::WrongRole(_) => ("wrong_role", StatusCode::FORBIDDEN),
            Self::Malformed { .. } => ("malformed_body", StatusCode::BAD_REQUEST),
            Self::ContentType => ("wrong_content_type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::TooLarge(_) => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::Invalid { .. } => ("invalid_field", StatusCode::UNPROCESSABLE_ENTITY),
            Self::TooLittleMemory { .. } => ("too_little_memory", StatusCode::CONFLICT),
            Self::Draining => ("draining", StatusCode::CONFLICT),
            Self::UnknownWorker => ("unknown_worker", StatusCode::NOT_FOUND),
            Self::NotNow { .. } | Self::NoReseal { .. } => ("not_now", StatusCode::CONFLICT),
            Self::UnknownCircuit(_) => ("unknown_circuit", StatusCode::CONFLICT),
            Self::KeyMismatch(_) => ("key_mismatch", StatusCode::CONFLICT),
            Self::UnknownJob(_) => ("unknown_job", StatusCode::NOT_FOUND),
            Self::StaleLease(_) => ("stale_lease", StatusCode::CONFLICT),
            Self::ProofInvalid(_) => ("proof_invalid", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Store(_) => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
            Self::Corrupt(_) | Self::Verifier(..) => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND),
        }
    }
}

fn no_reseal(refused: &Asked) -> String {
    match refused {
        Asked::NotParked(state) => format!("its job is {state}"),
        Asked::NotCommitted(state) => format!("it is {state}"),
        Asked::AnotherIsOpen(other) => format!("batch {other} is being taken back from L1"),
        Asked::NoCircuitLeft => "every circuit of the deployment was tried".to_owned(),
        Asked::Yes | Asked::NoSuchJob => "there is no such job".to_owned(),
    }
}

impl GatewayError {
    pub(crate) fn invalid(field: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Invalid { field, detail: detail.into(), hint: hint.into() }
    }

    /// The field or parameter that it is about.
    fn field(&self) -> Option<String> {
        let field = match self {
            Self::Auth(_) | Self::WrongRole(_) => "authorization",
            Self::ContentType => "content-type",
            Self::Malformed { field, .. } => return field.clone(),
            Self::Invalid { field, .. } => field,
            Self::TooLittleMemory { .. } => "memory_mb",
            Self::UnknownCircuit(_) | Self::KeyMismatch(_) => "circuits",
            Self::UnknownJob(_) | Self::NotNow { .. } | Self::NoReseal { .. } => "batch",
            Self::UnknownWorker => "name",
            Self::Draining => "worker",
            Self::StaleLease(_) => "lease",
            Self::ProofInvalid(_) => "proof",
            Self::TooLarge(_) | Self::Store(_) | Self::Corrupt(_) | Self::Verifier(..) | Self::NotFound => return None,
        };
        Some(field.to_owned())
    }

    /// What to do about it.
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Auth(AuthError::Missing) => "send it as `Authorization: Bearer <token>`",
            Self::Auth(AuthError::Wrong) => "put its hash into the node's file and start the node again; `sheaf prover tokens` prints both",
            Self::WrongRole(_) => "workers and operators have tokens of their own, in --prover-tokens and --operator-tokens",
            Self::ContentType => "send JSON as `Content-Type: application/json`",
            Self::Malformed { .. } => "GET /prover/v1/openapi.json describes the body",
            Self::TooLarge(_) => "send less",
            Self::Invalid { hint, .. } => hint,
            Self::TooLittleMemory { .. } => "give the worker more with --memory-mb, or keys of a smaller circuit",
            Self::UnknownCircuit(_) | Self::KeyMismatch(_) => "get the keys named by the deployment's manifest",
            Self::Draining => "end the worker, or let an operator resume it: `sheaf prover drain --undo`",
            Self::UnknownWorker => "GET /prover/v1/status lists the workers",
            Self::UnknownJob(_) => "GET /prover/v1/jobs lists the jobs",
            Self::NotNow { order: Order::Retry, .. } => "only a parked job can be sent back to work",
            Self::NotNow { order: Order::Park, .. } => "only a waiting or leased job can be parked",
            Self::NotNow { order: Order::Cancel, .. } => "only a leased job can be taken from its worker",
            Self::NoReseal { refused: Asked::NotParked(_), .. } => "park the job first, if nobody is to prove it",
            Self::NoReseal { refused: Asked::AnotherIsOpen(_), .. } => "wait until that one is sealed again",
            Self::NoReseal { refused: Asked::NoCircuitLeft, .. } => "make a worker prove it and send it back to work: `sheaf prover retry`",
            Self::NoReseal { .. } => "only a batch that is committed on L1 and not proven can be taken back",
            Self::StaleLease(_) => "go on: a valid proof is still taken if the batch has none",
            Self::ProofInvalid(_) => "prove the job's input again, with the key that the job names",
            Self::Store(_) => "send the same again: what was done already is not done twice",
            Self::Corrupt(_) => "look at the node's log; `sheaf replay --batch` compares what is stored",
            Self::Verifier(..) => "send the same again",
            Self::NotFound => "GET /prover/v1/openapi.json lists the routes",
        };
        Some(hint.to_owned())
    }

    /// Reading a batch failed: its row is not readable, or the database does not answer.
    pub(crate) fn reading(batch: u64) -> impl Fn(sqlx::Error) -> Self {
        move |error| match error {
            sqlx::Error::ColumnDecode { .. } => Self::Corrupt(batch),
            error => Self::Store(error),
        }
    }
}

impl From<sqlx::Error> for GatewayError {
    fn from(source: sqlx::Error) -> Self {
        Self::Store(source)
    }
}

impl IntoResponse for GatewayError {
    fn into_response(self) -> Response {
        let (code, status) = self.code();
        if status.is_server_error() {
            tracing::error!(code, error = ?self, "prover gateway cannot serve a request");
        }
        let body = ProblemBody {
            r#type: "about:blank".into(),
            title: status.canonical_reason().unwrap_or("error").into(),
            status: status.as_u16(),
            code: code.into(),
            detail: self.to_string(),
            field: self.field(),
            hint: self.hint(),
        };
        let mut response = (status, axum::Json(body)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
