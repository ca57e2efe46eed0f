//! /openapi.json and /docs: the API described from its own code, shown without anything from outside.

use super::{batches, events, info, slots, submit, transactions};
use crate::problem::{Code, Problem};
use crate::wire;
use axum::Router;
use utoipa::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sheaf sequencer",
        description = "Numbers are decimal strings, hashes and addresses 0x hex, errors problem documents (RFC 9457) with a stable `code`."
    ),
    paths(
        submit::submit,
        transactions::status,
        slots::find,
        slots::one,
        slots::history,
        batches::list,
        batches::one,
        info::tokens,
        info::fees,
        info::status,
        events::stream,
        info::health,
        info::ready,
        info::metrics
    ),
    components(schemas(Problem, Code, wire::Receipt, wire::Results, wire::ItemResult, wire::Operation))
)]
struct Document;

/// The OpenAPI document.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    SwaggerUi::new("/docs").url("/openapi.json", document()).into()
}
