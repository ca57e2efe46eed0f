//! Every way in which a request to the gateway can fail, and the one place where that becomes HTTP: problem details (RFC 9457)
//! with a stable code.

use crate::gateway::auth::AuthError;
use crate::wire::ProblemBody;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatewayError {
    #[error("{0}")]
    Auth(AuthError),
    #[error("{0}")]
    Malformed(String),
    #[error("send JSON as `Content-Type: application/json`")]
    ContentType,
    #[error("the body exceeds {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Invalid(String),
    #[error("circuit {0} is not part of this deployment")]
    UnknownCircuit(u32),
    #[error("the key of circuit {0} is not this deployment's: get the keys named by its manifest")]
    KeyMismatch(u32),
    #[error("there is no job for batch {0}")]
    UnknownJob(u64),
    #[error("the lease on batch {0} is no longer yours: it expired, was given back, or the batch is proven")]
    StaleLease(u64),
    #[error("the proof does not prove batch {0}; it was not stored")]
    ProofInvalid(u64),
    #[error("the database does not answer; try again")]
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
            Self::Malformed(_) => ("malformed_body", StatusCode::BAD_REQUEST),
            Self::ContentType => ("wrong_content_type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::TooLarge(_) => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::Invalid(_) => ("invalid_field", StatusCode::UNPROCESSABLE_ENTITY),
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

impl GatewayError {
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
        };
        let mut response = (status, axum::Json(body)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
