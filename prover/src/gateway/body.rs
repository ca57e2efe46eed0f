//! Reading a JSON body with every refusal named: content type, size, syntax, unknown or missing fields.

use crate::gateway::problem::GatewayError;
use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use serde::de::DeserializeOwned;

/// The largest body that a worker may send: a proof is 1 KiB, a claim of 64 circuits 8 KiB.
pub const MAX_BODY_BYTES: usize = 32 * 1024;

/// A JSON body of at most [`MAX_BODY_BYTES`].
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = GatewayError;

    async fn from_request(request: Request, _: &S) -> Result<Self, GatewayError> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !content_type.is_some_and(is_json) {
            return Err(GatewayError::ContentType);
        }
        let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|bytes| bytes > MAX_BODY_BYTES as u64) {
            return Err(GatewayError::TooLarge(MAX_BODY_BYTES));
        }
        let bytes = to_bytes(request.into_body(), MAX_BODY_BYTES).await.map_err(|_| GatewayError::TooLarge(MAX_BODY_BYTES))?;
        serde_json::from_slice(&bytes).map(Body).map_err(malformed)
    }
}

/// The field is what serde puts first between back-ticks: "unknown field `x`", "missing field `x`", "duplicate field `x`".
fn malformed(error: serde_json::Error) -> GatewayError {
    let detail = error.to_string();
    let field = detail.split_once(" field `").and_then(|(_, rest)| rest.split_once('`')).map(|(field, _)| field.chars().take(64).collect());
    GatewayError::Malformed { detail, field }
}

fn is_json(value: &str) -> bool {
    value.split(';').next().is_some_and(|mime| mime.trim().eq_ignore_ascii_case("application/json"))
}
