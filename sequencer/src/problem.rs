//! Every error a client can see, in one place: RFC 9457 problem documents with codes that never change their meaning.
//!
//! A client decides by `code`; `detail` is for people. Nothing that a client sends is answered with a status of 500 or more; those say that the
//! sequencer, not the request, is at fault.

use crate::refusal::Refusal;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sheaf_protocol::amount::AmountError;
use sheaf_protocol::ops::RecordError;
use sheaf_protocol::schnorr::SignatureError;
use sheaf_protocol::transition::Rejection;
use std::num::NonZeroU32;
use std::time::Duration;
use utoipa::ToSchema;

/// Seconds after which a client that met a full queue or a busy database should try again.
const RETRY_AFTER_S: NonZeroU32 = NonZeroU32::MIN;
/// Characters of a client's own words that a problem repeats.
const ECHO_CHARS: usize = 64;

/// The beginning of what a client sent, short enough to repeat.
pub(crate) fn echo(text: &str) -> &str {
    text.char_indices().nth(ECHO_CHARS).map_or(text, |(end, _)| &text[..end])
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:ident, $title:literal;)*) => {
        /// What went wrong, as a program reads it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        pub enum Code {
            $(#[doc = $title] #[serde(rename = $code)] $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// Its name in documents.
            pub fn name(self) -> &'static str {
                match self { $(Code::$name => $code,)* }
            }

            /// The HTTP status it comes with.
            pub fn status(self) -> StatusCode {
                match self { $(Code::$name => StatusCode::$status,)* }
            }

            /// True if the same request may succeed later; such an answer has the header Retry-After.
            pub fn is_temporary(self) -> bool {
                matches!(self.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
            }

            /// What it means, the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }
        }
    };
}

codes! {
    MalformedJson = "malformed_json", BAD_REQUEST, "The body is not the JSON that is expected";
    MalformedRecord = "malformed_record", BAD_REQUEST, "The body is not a sequence of whole binary records";
    UnknownField = "unknown_field", BAD_REQUEST, "An object has a field that it cannot have";
    MissingField = "missing_field", BAD_REQUEST, "An object lacks a field";
    DuplicateField = "duplicate_field", BAD_REQUEST, "An object has a field twice";
    UnknownOperation = "unknown_operation", BAD_REQUEST, "The operation does not exist";
    InvalidNumber = "invalid_number", BAD_REQUEST, "Numbers are decimal strings without sign, fraction, leading zeros or spaces";
    NumberTooLarge = "number_too_large", BAD_REQUEST, "A number does not fit its width";
    InvalidHex = "invalid_hex", BAD_REQUEST, "Bytes are 0x and a fixed number of hex digits";
    InvalidParameter = "invalid_parameter", BAD_REQUEST, "A parameter of the request is not understood";
    BadCursor = "bad_cursor", BAD_REQUEST, "The cursor is not one that this API gave";
    AmountNotRepresentable = "amount_not_representable", UNPROCESSABLE_ENTITY, "The amount has no exact decimal float of its width";
    AmountTooLarge = "amount_too_large", UNPROCESSABLE_ENTITY, "The amount is beyond what a slot can hold";
    UnknownSlot = "unknown_slot", UNPROCESSABLE_ENTITY, "The paying slot does not exist";
    UnknownReceiver = "unknown_receiver", UNPROCESSABLE_ENTITY, "The receiving slot does not exist";
    UnknownToken = "unknown_token", UNPROCESSABLE_ENTITY, "No token of this number is listed";
    WrongToken = "wrong_token", UNPROCESSABLE_ENTITY, "A slot holds another token";
    NonceTooLow = "nonce_too_low", CONFLICT, "The nonce was used by another transaction, which is in a batch";
    NonceInUse = "nonce_in_use", CONFLICT, "The nonce is used by another transaction, which waits for its batch";
    NonceTooHigh = "nonce_too_high", UNPROCESSABLE_ENTITY, "The nonce leaves a gap";
    NonceExhausted = "nonce_exhausted", UNPROCESSABLE_ENTITY, "The slot has used all its nonces";
    InsufficientFunds = "insufficient_funds", UNPROCESSABLE_ENTITY, "The balance does not cover amount and fee";
    StateFull = "state_full", UNPROCESSABLE_ENTITY, "No slot is left for another account";
    FeeTooLow = "fee_too_low", UNPROCESSABLE_ENTITY, "The fee is below the minimum";
    FeeNotCollected = "fee_not_collected", UNPROCESSABLE_ENTITY, "The operator collects no fees in this token";
    ZeroAddress = "zero_address", UNPROCESSABLE_ENTITY, "Nobody could claim the withdrawal";
    KeyNotOnCurve = "key_not_on_curve", UNPROCESSABLE_ENTITY, "The slot's key is no point of the curve, so nobody can sign for it";
    NoncePointNotOnCurve = "r_not_on_curve", UNPROCESSABLE_ENTITY, "R of the signature is no point of the curve";
    NoncePointNotReduced = "r_not_reduced", UNPROCESSABLE_ENTITY, "R of the signature is not below the field modulus";
    ScalarNotReduced = "s_not_reduced", UNPROCESSABLE_ENTITY, "S of the signature is not below the group order";
    BadSignature = "bad_signature", UNPROCESSABLE_ENTITY, "The signature does not match key, message, operation and domain";
    UnprovableSignature = "unprovable_signature", UNPROCESSABLE_ENTITY, "The signature is valid but the circuit cannot prove it";
    UnknownTransaction = "unknown_transaction", NOT_FOUND, "No transaction with this hash was accepted";
    UnknownBatch = "unknown_batch", NOT_FOUND, "There is no batch of this number";
    SlotNotFound = "slot_not_found", NOT_FOUND, "The slot is empty or outside the state";
    NotFound = "not_found", NOT_FOUND, "There is nothing at this address";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The address exists, but not for this method";
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is larger than allowed";
    TooManyRecords = "too_many_records", PAYLOAD_TOO_LARGE, "The body holds more transactions than allowed";
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT, "The body did not arrive in time";
    UnsupportedContentType = "unsupported_content_type", UNSUPPORTED_MEDIA_TYPE, "The content type is not one of this resource";
    Frozen = "frozen", GONE, "The rollup has ended: its contract on L1 is frozen";
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "This client has used its budget";
    QueueFull = "queue_full", TOO_MANY_REQUESTS, "Too many transactions are waiting";
    TooManyStreams = "too_many_streams", TOO_MANY_REQUESTS, "Too many event streams are open";
    TooManyWaiters = "too_many_waiters", TOO_MANY_REQUESTS, "Too many requests are waiting for a state";
    StorageUnavailable = "storage_unavailable", SERVICE_UNAVAILABLE, "The database did not confirm in time";
    Standby = "standby", SERVICE_UNAVAILABLE, "This process does not lead, or is still starting";
    Stopping = "stopping", SERVICE_UNAVAILABLE, "The sequencer is stopping";
    Internal = "internal", INTERNAL_SERVER_ERROR, "The sequencer failed";
}

/// A problem document (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URN of the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means.
    pub title: String,
    /// The HTTP status; for one of many, the status it would have had alone.
    pub status: u16,
    /// What went wrong, as a program reads it.
    pub code: Code,
    /// What went wrong this time, for people.
    pub detail: String,
    /// The field or parameter it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub field: Option<Box<str>>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub hint: Option<Box<str>>,
    /// Seconds of the header Retry-After, if not the usual.
    #[serde(skip)]
    pub(crate) retry_after_s: Option<NonZeroU32>,
}

impl Problem {
    /// A problem of this code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:sheaf:problem:{}", code.name()),
            title: code.title().to_owned(),
            status: code.status().as_u16(),
            code,
            detail: detail.into(),
            field: None,
            hint: None,
            retry_after_s: None,
        }
    }

    /// Names the field. Of a long name only the beginning is kept: it may be the client's.
    #[must_use]
    pub fn field(mut self, field: &str) -> Self {
        self.field = Some(echo(field).into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.retry_after_s = NonZeroU32::new(u32::try_from(seconds).unwrap_or(u32::MAX));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A number that is not one of ours.
    pub(crate) fn number(field: &str, error: &AmountError) -> Self {
        let problem = |code| Self::new(code, error.to_string()).field(field);
        match error {
            AmountError::NotDecimal => problem(Code::InvalidNumber),
            AmountError::TooLarge { .. } => problem(Code::NumberTooLarge),
            AmountError::Unrepresentable { below, .. } => {
                problem(Code::AmountNotRepresentable).hint(format!("the nearest representable value below is {below}"))
            }
        }
    }

    /// A database that does not answer. The cause goes to the log, not to the client.
    pub(crate) fn database(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::warn!(error, "a request met a database that does not answer");
        Refusal::Storage.into()
    }

    fn retry_after_s(&self) -> Option<NonZeroU32> {
        self.code.is_temporary().then(|| self.retry_after_s.unwrap_or(RETRY_AFTER_S))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let retry_after_s = self.retry_after_s();
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.code.status(), [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.get()));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        let problem = |code| Self::new(code, detail.clone());
        match refusal {
            Refusal::Rejected(rejection) => rejection.into(),
            Refusal::UnknownToken(_) => problem(Code::UnknownToken).field("token").hint("GET /v1/tokens lists them"),
            Refusal::NonceInUse { by, .. } => problem(Code::NonceInUse).field("nonce").hint(format!("GET /v1/transactions/{by}")),
            Refusal::FeeTooLow { minimum, .. } => problem(Code::FeeTooLow).field("fee").hint(format!("pay at least {minimum}")),
            Refusal::NoFeeSlot(_) => problem(Code::FeeNotCollected).field("fee").hint("send it with fee 0, or use another token"),
            Refusal::UnknownAccountToken(_) => problem(Code::UnknownToken).field("account_token").hint("GET /v1/tokens lists them"),
            Refusal::AccountKey => problem(Code::KeyNotOnCurve).field("key").hint("send the public key of the account's wallet"),
            Refusal::ZeroAddress(field) => problem(Code::ZeroAddress).field(field).hint("name the L1 address of whom it belongs to"),
            Refusal::Signature(error) => error.into(),
            Refusal::Frozen => {
                problem(Code::Frozen).hint("leave from L1: `sheaf restore`, `sheaf exit`, `sheaf settle`, `sheaf wallet claim`; see docs/wallet.md")
            }
            Refusal::QueueFull => problem(Code::QueueFull).hint("send it again after the time in Retry-After"),
            Refusal::Storage => {
                problem(Code::StorageUnavailable).hint("send the same transaction again: if it was stored, the answer is its receipt")
            }
            Refusal::Stopping => problem(Code::Stopping).hint("send the same transaction again: if it was stored, the answer is its receipt"),
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let problem = |code| Self::new(code, rejection.to_string());
        match rejection {
            Rejection::UnknownSlot(_) => problem(Code::UnknownSlot).field("from").hint("a deposit on L1 opens a slot; GET /v1/slots?key= finds it"),
            Rejection::UnknownReceiver(_) => problem(Code::UnknownReceiver).field("to"),
            Rejection::WrongToken { holds, .. } => problem(Code::WrongToken).field("token").hint(format!("the slot holds token {holds}")),
            Rejection::NonceTooLow { expected, .. } => problem(Code::NonceTooLow).field("nonce").hint(format!("the next nonce is {expected}")),
            Rejection::NonceTooHigh { expected, .. } => problem(Code::NonceTooHigh).field("nonce").hint(format!("the next nonce is {expected}")),
            Rejection::NonceExhausted(_) => problem(Code::NonceExhausted).field("nonce"),
            Rejection::InsufficientFunds { .. } => problem(Code::InsufficientFunds).field("amount"),
            Rejection::AmountTooLarge(_) | Rejection::BalanceOverflow(_) => problem(Code::AmountTooLarge).field("amount"),
            Rejection::StateFull => problem(Code::StateFull).hint("pay to a slot that exists"),
            Rejection::ForeignSlot(_) | Rejection::IncompleteTriple => problem(Code::Internal),
        }
    }
}

impl From<SignatureError> for Problem {
    fn from(error: SignatureError) -> Self {
        let problem = |code| Self::new(code, error.to_string()).field("signature");
        match error {
            SignatureError::ScalarNotReduced => problem(Code::ScalarNotReduced),
            SignatureError::CoordinateNotReduced => problem(Code::NoncePointNotReduced),
            SignatureError::ROffCurve => problem(Code::NoncePointNotOnCurve),
            SignatureError::KeyOffCurve => problem(Code::KeyNotOnCurve).field("from"),
            SignatureError::Forged => problem(Code::BadSignature).hint("sign with the slot's key for the domain of GET /v1/status"),
            SignatureError::Unprovable => problem(Code::UnprovableSignature).hint("sign again"),
        }
    }
}

impl From<RecordError> for Problem {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::UnknownTag(_) | RecordError::Truncated { .. } => Self::new(Code::MalformedRecord, error.to_string()),
            RecordError::Field { field, source } => Self::number(field, &source),
            RecordError::Key => Self::new(Code::KeyNotOnCurve, error.to_string()).field("key"),
            RecordError::Signature(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_spelled_as_documented() {
        let names: HashSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn every_fault_of_a_signature_has_its_code() {
        for (error, code) in [
            (SignatureError::ScalarNotReduced, "s_not_reduced"),
            (SignatureError::CoordinateNotReduced, "r_not_reduced"),
            (SignatureError::KeyOffCurve, "key_not_on_curve"),
            (SignatureError::ROffCurve, "r_not_on_curve"),
            (SignatureError::Forged, "bad_signature"),
            (SignatureError::Unprovable, "unprovable_signature"),
        ] {
            let problem = Problem::from(Refusal::Signature(error));
            assert_eq!((problem.code.name(), problem.status), (code, 422));
        }
    }

    #[test]
    fn what_is_temporary_says_when_to_come_back() {
        for code in Code::ALL {
            let response = Problem::new(*code, "x").into_response();
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), code.is_temporary(), "{code:?}");
        }
        let response = Problem::new(Code::RateLimited, "x").retry_after(Duration::from_millis(2_001)).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "3");
    }

    #[test]
    fn a_document_carries_the_code_by_name() {
        for code in Code::ALL {
            let document = serde_json::to_value(Problem::new(*code, "x")).unwrap();
            assert_eq!(document["code"], code.name());
            assert_eq!(document["type"], format!("urn:sheaf:problem:{}", code.name()));
        }
    }
}
