//! /openapi.json and /docs: the API described from its own code, shown without anything from outside.

use super::{batches, events, explorer, info, slots, submit, transactions};
use crate::problem::{Code, Problem};
use crate::wire;
use axum::Router;
use axum::http::StatusCode;
use std::collections::BTreeMap;
use utoipa::OpenApi;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, Response};
use utoipa_swagger_ui::{Config, SwaggerUi, Url};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sheaf sequencer",
        description = "Numbers are decimal strings, hashes and addresses 0x hex, errors problem documents (RFC 9457) with a stable `code`."
    ),
    paths(
        submit::submit,
        transactions::list,
        transactions::status,
        slots::find,
        slots::one,
        slots::history,
        batches::list,
        batches::one,
        explorer::queue,
        explorer::activity,
        info::tokens,
        info::fees,
        info::status,
        events::stream,
        info::health,
        info::ready,
        info::metrics
    ),
    components(schemas(Problem, Code, wire::Operation))
)]
struct Document;

/// Where our document is.
const OWN_ADDRESS: &str = "/openapi.json";
/// What any request for data may be answered with.
const EVERYWHERE: [Code; 6] = [Code::InvalidParameter, Code::RateLimited, Code::StorageUnavailable, Code::Standby, Code::Stopping, Code::Internal];
/// What a submission may be answered with.
const SUBMIT: [Code; 34] = [
    Code::MalformedJson,
    Code::MalformedRecord,
    Code::UnknownField,
    Code::MissingField,
    Code::DuplicateField,
    Code::UnknownOperation,
    Code::InvalidNumber,
    Code::NumberTooLarge,
    Code::InvalidHex,
    Code::AmountNotRepresentable,
    Code::AmountTooLarge,
    Code::UnknownSlot,
    Code::UnknownReceiver,
    Code::UnknownToken,
    Code::WrongToken,
    Code::NonceTooLow,
    Code::NonceInUse,
    Code::NonceTooHigh,
    Code::NonceExhausted,
    Code::InsufficientFunds,
    Code::StateFull,
    Code::FeeTooLow,
    Code::FeeNotCollected,
    Code::ZeroAddress,
    Code::KeyNotOnCurve,
    Code::NoncePointNotOnCurve,
    Code::NoncePointNotReduced,
    Code::ScalarNotReduced,
    Code::BadSignature,
    Code::UnprovableSignature,
    Code::BodyTooLarge,
    Code::TooManyRecords,
    Code::BodyTimeout,
    Code::UnsupportedContentType,
];

/// The problems of reading a resource, beside those of [`EVERYWHERE`].
fn problems(path: &str) -> Option<Vec<Code>> {
    use Code::{BadCursor, InvalidHex, InvalidNumber, NumberTooLarge};
    Some(match path {
        "/v1/transactions" | "/v1/queue" => vec![InvalidNumber, NumberTooLarge, BadCursor],
        "/v1/activity" => vec![InvalidNumber, NumberTooLarge],
        "/v1/transactions/{hash}" => vec![InvalidHex, InvalidNumber, NumberTooLarge, Code::UnknownTransaction, Code::TooManyWaiters],
        "/v1/slots" => vec![InvalidHex, InvalidNumber, NumberTooLarge, BadCursor],
        "/v1/slots/{id}" => vec![InvalidNumber, NumberTooLarge, Code::SlotNotFound],
        "/v1/slots/{id}/transactions" => vec![InvalidNumber, NumberTooLarge, BadCursor, Code::SlotNotFound],
        "/v1/batches" => vec![InvalidNumber, NumberTooLarge, BadCursor],
        "/v1/batches/{number}" => vec![InvalidNumber, NumberTooLarge, Code::UnknownBatch],
        "/v1/fees" => vec![InvalidNumber, NumberTooLarge, Code::UnknownOperation, Code::UnknownToken],
        "/v1/events" => vec![BadCursor, Code::TooManyStreams],
        "/v1/tokens" | "/v1/status" => vec![],
        _ => return None,
    })
}

/// The OpenAPI document.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    for (path, item) in &mut document.paths.paths {
        let codes = match (path.as_str(), problems(path)) {
            ("/ready", _) => vec![Code::StorageUnavailable, Code::Standby, Code::Stopping],
            (_, Some(own)) => [&own[..], &EVERYWHERE].concat(),
            (_, None) => vec![],
        };
        let PathItem { get, post, .. } = item;
        get.iter_mut().for_each(|operation| describe(operation, &codes));
        // the only thing that can be sent
        post.iter_mut().for_each(|operation| describe(operation, &[&SUBMIT[..], &[Code::Frozen, Code::QueueFull], &EVERYWHERE].concat()));
    }
    document
}

/// One response a status, which lists its codes.
fn describe(operation: &mut Operation, codes: &[Code]) {
    let mut by_status = BTreeMap::<StatusCode, Vec<Code>>::new();
    codes.iter().for_each(|code| by_status.entry(code.status()).or_default().push(*code));
    for (status, codes) in by_status {
        operation.responses.responses.insert(status.as_str().to_owned(), response(&codes).into());
    }
}

fn response(codes: &[Code]) -> Response {
    let lines: Vec<String> = codes.iter().map(|code| format!("`{}`: {}", code.name(), code.title())).collect();
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new().description(lines.join("\n\n")).content("application/problem+json", content);
    if codes.iter().any(|code| code.is_temporary()) { response.header("Retry-After", retry_after()).build() } else { response.build() }
}

fn retry_after() -> Header {
    let mut header = Header::new(ObjectBuilder::new().schema_type(Type::Integer));
    header.description = Some("Seconds after which to try again".to_owned());
    header
}

/// The document at /openapi.json; /docs shows it, and `others` by name and address.
pub(super) fn router<S: Clone + Send + Sync + 'static>(others: &[(&'static str, &'static str)]) -> Router<S> {
    let shown = [("Sequencer", OWN_ADDRESS)].into_iter().chain(others.iter().copied()).map(|(name, address)| Url::new(name, address));
    SwaggerUi::new("/docs").url(OWN_ADDRESS, document()).config(Config::new(shown)).into()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::json::{REGISTER_FIELDS, TRANSFER_FIELDS, WITHDRAW_FIELDS};
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn documented() -> Value {
        serde_json::to_value(document()).unwrap()
    }

    #[test]
    fn every_resource_lists_its_problems() {
        for path in document().paths.paths.keys() {
            assert_eq!(problems(path).is_some(), path.starts_with("/v1/"), "{path}");
        }
        let document = documented();
        let responses = &document["paths"]["/v1/transactions"]["post"]["responses"];
        for status in ["200", "400", "408", "409", "413", "415", "422", "429", "500", "503"] {
            let response = &responses[status];
            assert!(response.is_object(), "{status}");
            assert_eq!(response["headers"]["Retry-After"].is_object(), ["429", "503"].contains(&status), "{status}");
        }
        assert!(responses["429"]["description"].as_str().unwrap().contains("queue_full"));
    }

    #[test]
    fn every_code_is_documented_somewhere() {
        let document = documented().to_string();
        // of addresses that do not exist
        let nowhere = [Code::NotFound, Code::MethodNotAllowed];
        for code in Code::ALL.iter().filter(|code| !nowhere.contains(code)) {
            assert!(document.contains(&format!("`{}`", code.name())), "{}", code.name());
        }
    }

    #[test]
    fn the_schema_of_a_submission_has_the_fields_that_are_read() {
        let document = documented();
        let variants = document["components"]["schemas"]["SignedOperation"]["oneOf"].as_array().unwrap().clone();
        let fields = |variant: &Value| variant["properties"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        let expected =
            [TRANSFER_FIELDS, WITHDRAW_FIELDS, REGISTER_FIELDS].map(|names| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
        assert_eq!(variants.iter().map(fields).collect::<Vec<_>>(), expected);
        let required = |variant: &Value| variant["required"].as_array().unwrap().len();
        assert_eq!(variants.iter().map(required).collect::<Vec<_>>(), expected.map(|names| names.len()));
        let answer = &document["components"]["schemas"]["Answer"]["oneOf"];
        assert_eq!(answer.as_array().unwrap().len(), 2, "{answer}");
    }
}
