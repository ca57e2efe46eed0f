//! Batches, newest first, and one with its members.

use super::App;
use super::cursor;
use super::params::{self, Params, Segment};
use crate::problem::{Code, Problem};
use crate::wire::{BatchDetail, BatchView, L1Cost, Page, hex};
use axum::Json;
use axum::extract::State;
use sheaf_protocol::ops::TxHash;
use sheaf_store::StoreError;
use sheaf_store::costs::{self, Cost};
use sheaf_store::explorer::{self, BatchFacts};
use sheaf_store::{batches, transactions};

const BATCHES: &str = "batches";

/// Batches, newest first.
#[utoipa::path(get, path = "/v1/batches", tag = "batches", params(("cursor" = Option<String>, Query), ("limit" = Option<String>, Query)),
    responses((status = 200, body = Page<BatchView>)))]
pub(super) async fn list(State(app): State<App>, params: Params) -> Result<Json<Page<BatchView>>, Problem> {
    params.check(&["cursor", "limit"])?;
    let limit = params.limit(app.config.api.max_page)?;
    let before = cursor::read(BATCHES, params.get("cursor"), i64::MAX as u64)?;
    let found = app.ask(page(&app, before, limit)).await?;
    let next = (found.len() as u64 == limit).then(|| found.last().map(|batch| cursor::write(BATCHES, batch.number))).flatten();
    Ok(Json(Page { items: found.iter().map(Into::into).collect(), next }))
}

/// A batch with the hashes of its transactions, its proof, the L1 transactions about it and what they cost.
#[utoipa::path(get, path = "/v1/batches/{number}", tag = "batches", params(("number" = String, Path, description = "decimal, from 1")),
    responses((status = 200, body = BatchDetail)))]
pub(super) async fn one(State(app): State<App>, Segment(number): Segment, params: Params) -> Result<Json<BatchDetail>, Problem> {
    params.check(&[])?;
    let number = params::number("number", &number, 63)?;
    let found = app.ask(detail(&app, number)).await?;
    let found = found.ok_or_else(|| Problem::new(Code::UnknownBatch, format!("there is no batch {number}")))?;
    Ok(Json(BatchDetail {
        batch: (&found.status).into(),
        hashes: found.hashes.iter().map(ToString::to_string).collect(),
        l1_costs: found.costs.iter().map(|cost| L1Cost::new(cost, app.config.api.eth_usd)).collect(),
        old_root: found.facts.old_root.as_ref().map(hex),
        posted_bytes: found.facts.posted_bytes.map(|bytes| bytes.to_string()),
        proof: found.facts.proof.as_ref().map(Into::into),
        l1_transactions: found.facts.l1_calls.iter().map(Into::into).collect(),
    }))
}

struct Found {
    status: batches::Status,
    hashes: Vec<TxHash>,
    costs: Vec<Cost>,
    facts: BatchFacts,
}

async fn page(app: &App, before: u64, limit: u64) -> Result<Vec<batches::Status>, StoreError> {
    let mut connection = app.pool.acquire().await?;
    Ok(batches::page(&mut connection, before, limit).await?)
}

async fn detail(app: &App, number: u64) -> Result<Option<Found>, StoreError> {
    let mut connection = app.pool.acquire().await?;
    let Some(status) = batches::status(&mut connection, number).await? else { return Ok(None) };
    let hashes = transactions::hashes_of_batch(&mut connection, number).await?;
    let costs = costs::of_batch(&mut connection, number).await?;
    let facts = explorer::batch_facts(&mut connection, number).await?;
    Ok(Some(Found { status, hashes, costs, facts }))
}
