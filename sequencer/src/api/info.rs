//! What a client needs to know before it sends, and what an operator wants to see.

use super::params::Params;
use super::{App, RenderMetrics};
use crate::problem::{Code, Problem, echo};
use crate::wire::{CircuitView, FeeQuote, Page, Progress, Status, TokenView, hex};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sheaf_protocol::amount::{Amount, FEE_MANTISSA_BITS, TokenId};
use sheaf_store::StoreError;
use sheaf_store::batches::{self, Counts, Marks, Position};
use sheaf_store::pool::within;
use sqlx::{Connection, PgConnection};
use std::time::Duration;

/// How long the database may take to show that it lives.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// Tokens that can be deposited.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens",
    responses((status = 200, body = Page<TokenView>)))]
pub(super) async fn tokens(State(app): State<App>, params: Params) -> Result<Json<Page<TokenView>>, Problem> {
    params.check(&[])?;
    let tokens = app.ask(read_tokens(&app)).await?;
    let view = |token: &batches::Token| TokenView {
        id: token.id.to_string(),
        erc20: token.erc20.map(|address| sheaf_protocol::field::to_hex(&address)),
        fee_slot: fee_slot(&app, token.id),
        minimum_fee: app.config.fees.minimum(token.id).to_string(),
    };
    Ok(Json(Page { items: tokens.iter().map(view).collect(), next: None }))
}

/// What an operation costs now.
#[utoipa::path(get, path = "/v1/fees", tag = "tokens",
    params(("op" = Option<String>, Query, description = "transfer (unless told), withdraw or register"), ("token" = Option<String>, Query, description = "1 unless told")),
    responses((status = 200, body = FeeQuote)))]
pub(super) async fn fees(State(app): State<App>, params: Params) -> Result<Json<FeeQuote>, Problem> {
    params.check(&["op", "token"])?;
    let op = params.get("op").unwrap_or("transfer");
    if !["transfer", "withdraw", "register"].contains(&op) {
        return Err(Problem::new(Code::UnknownOperation, format!("there is no operation {:?}", echo(op))).field("op"));
    }
    let token = TokenId(params.number("token", 16)?.unwrap_or(1) as u16);
    let tokens = app.ask(read_tokens(&app)).await?;
    if tokens.iter().all(|listed| listed.id != token) {
        return Err(crate::refusal::Refusal::UnknownToken(token).into());
    }
    let minimum = app.config.fees.minimum(token);
    let fee = round_up(minimum).to_string();
    Ok(Json(FeeQuote { op: op.to_owned(), token: token.to_string(), minimum: minimum.to_string(), fee, fee_slot: fee_slot(&app, token) }))
}

/// The least fee not below `minimum` that has an exact float.
fn round_up(minimum: Amount) -> Amount {
    let at = |exponent| (minimum.0.div_ceil(10u128.pow(exponent)), 10u128.pow(exponent));
    let fits = |(mantissa, unit): (u128, u128)| (mantissa >> FEE_MANTISSA_BITS == 0).then(|| Amount(mantissa * unit));
    (0..16).map(at).find_map(fits).unwrap_or(minimum)
}

fn fee_slot(app: &App, token: TokenId) -> Option<String> {
    let triple = app.config.fees.triple(token)?;
    app.view.find(&triple).map(|slot| slot.to_string())
}

async fn read_tokens(app: &App) -> Result<Vec<batches::Token>, StoreError> {
    let mut connection = app.pool.acquire().await?;
    Ok(batches::tokens(&mut connection).await?)
}

/// What runs here and how far it has come.
#[utoipa::path(get, path = "/v1/status", tag = "status",
    responses((status = 200, body = Status)))]
pub(super) async fn status(State(app): State<App>, params: Params) -> Result<Json<Status>, Problem> {
    params.check(&[])?;
    let facts = app.ask(read_facts(&app)).await?;
    Ok(Json(describe(&app, facts)))
}

struct Facts {
    marks: Marks,
    counts: Counts,
    position: Option<Position>,
    /// State roots after the sealed, committed, proven and final batch.
    roots: [Option<String>; 4],
}

async fn read_facts(app: &App) -> Result<Facts, StoreError> {
    let mut connection = app.pool.acquire().await?;
    let marks = batches::marks(&mut connection).await?;
    let counts = batches::counts(&mut connection).await?;
    let position = batches::position(&mut connection).await?;
    let mut roots = [None, None, None, None];
    for (root, number) in roots.iter_mut().zip([marks.sealed, marks.committed, marks.proven, marks.finalised]) {
        *root = root_after(&mut connection, number).await?;
    }
    Ok(Facts { marks, counts, position, roots })
}

async fn root_after(connection: &mut PgConnection, number: u64) -> Result<Option<String>, StoreError> {
    if number == 0 {
        return Ok(None);
    }
    Ok(batches::status(connection, number).await?.and_then(|batch| batch.root.as_ref().map(hex)))
}

fn describe(app: &App, facts: Facts) -> Status {
    let Facts { marks, counts, position, roots: [sealed, committed, proven, finalised] } = facts;
    let progress = |batch: u64, root| Progress { batch: batch.to_string(), root };
    let deployment = &app.deployment;
    Status {
        version: env!("CARGO_PKG_VERSION"),
        chain_id: deployment.chain_id.to_string(),
        contract: deployment.contract.to_string(),
        domain: deployment.domain.to_string(),
        k: deployment.k,
        trusted_setup: deployment.trusted_setup.clone(),
        manifest_digest: hex(&deployment.manifest_digest),
        l1_explorer: app.config.api.l1_explorer.clone(),
        circuits: deployment.circuits.iter().map(CircuitView::from).collect(),
        sealed: progress(marks.sealed, sealed),
        computed: position.map_or_else(|| progress(0, None), |position| progress(position.number, Some(hex(&position.root)))),
        committed: progress(marks.committed, committed),
        proven: progress(marks.proven, proven),
        finalised: progress(marks.finalised, finalised),
        transactions: counts.transactions.to_string(),
        unsealed: counts.unsealed.to_string(),
        queue_known: counts.queued.to_string(),
        queue_taken: counts.taken.to_string(),
    }
}

/// The process lives.
#[utoipa::path(get, path = "/health", tag = "status", responses((status = 200, body = String)))]
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// The process can accept transactions: the database answers and nothing is stopping.
#[utoipa::path(get, path = "/ready", tag = "status",
    responses((status = 200, body = String)))]
pub(super) async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    if app.stop.is_cancelled() {
        return Err(crate::refusal::Refusal::Stopping.into());
    }
    within(READY_TIMEOUT, answers(&app)).await.map_err(|error| Problem::database(&error))?;
    Ok("ready\n")
}

/// Metrics in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "status", responses((status = 200, body = String)))]
pub(super) async fn metrics(State(app): State<App>) -> Response {
    render(app.metrics.as_ref())
}

pub(crate) fn render(metrics: Option<&RenderMetrics>) -> Response {
    let text = metrics.map(|render| render()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn answers(app: &App) -> Result<(), StoreError> {
    let mut connection = app.pool.acquire().await?;
    Ok(connection.ping().await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sheaf_protocol::amount::FeeFloat;

    #[test]
    fn a_quoted_fee_is_representable_and_not_below_the_minimum() {
        for (minimum, fee) in
            [(0, 0), (1, 1), (4095, 4095), (4096, 4100), (40_949, 40_950), (40_959, 41_000), (1_000_000_000_000_001, 1_001_000_000_000_000)]
        {
            assert_eq!(round_up(Amount(minimum)), Amount(fee));
            assert!(FeeFloat::from_amount(Amount(fee)).is_ok());
        }
    }
}
