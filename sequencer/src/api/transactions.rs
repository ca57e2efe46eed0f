//! GET /v1/transactions/{hash}: what became of a transaction, now or once it has come far enough. GET /v1/transactions: the latest.

use super::App;
use super::cursor;
use super::params::{self, Params, Segment};
use crate::client::ClientIp;
use crate::problem::{Code, Problem, echo};
use crate::wire::{Page, Transaction};
use axum::Json;
use axum::extract::State;
use sheaf_protocol::ops::TxHash;
use sheaf_store::StoreError;
use sheaf_store::batches::Marks;
use sheaf_store::transactions;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The states in order.
const STATES: [&str; 5] = ["accepted", "sealed", "committed", "proven", "final"];
/// How long a request waits unless told.
const DEFAULT_WAIT_S: u64 = 30;

const TRANSACTIONS: &str = "transactions";

/// Accepted transactions, newest first; with `batch` only those in it.
#[utoipa::path(get, path = "/v1/transactions", tag = "transactions",
    params(("batch" = Option<String>, Query, description = "number of a batch"), ("cursor" = Option<String>, Query), ("limit" = Option<String>, Query)),
    responses((status = 200, body = Page<Transaction>)))]
pub(super) async fn list(State(app): State<App>, params: Params) -> Result<Json<Page<Transaction>>, Problem> {
    params.check(&["batch", "cursor", "limit"])?;
    let (batch, limit) = (params.number("batch", 63)?, params.limit(app.config.api.max_page)?);
    let before = cursor::read(TRANSACTIONS, params.get("cursor"), i64::MAX as u64)?;
    let found = app.ask(page(&app, batch, before, limit)).await?;
    let next = (found.len() as u64 == limit).then(|| found.last().map(|last| cursor::write(TRANSACTIONS, last.receipt.seq))).flatten();
    Ok(Json(Page { items: found.iter().map(Into::into).collect(), next }))
}

async fn page(app: &App, batch: Option<u64>, before: u64, limit: u64) -> Result<Vec<transactions::Status>, StoreError> {
    let mut connection = app.pool.acquire().await?;
    Ok(transactions::page(&mut connection, batch, before, limit).await?)
}

/// The state of a transaction. With `wait`, answers as soon as it has come that far, at the latest after `timeout_s`, with whatever it is then.
#[utoipa::path(get, path = "/v1/transactions/{hash}", tag = "transactions",
    params(("hash" = String, Path, description = "0x hex"), ("wait" = Option<String>, Query, description = "accepted, sealed, committed, proven or final"),
        ("timeout_s" = Option<String>, Query, description = "seconds to wait, 30 unless told")),
    responses((status = 200, body = Transaction)))]
pub(super) async fn status(State(app): State<App>, client: ClientIp, Segment(hash): Segment, params: Params) -> Result<Json<Transaction>, Problem> {
    params.check(&["wait", "timeout_s"])?;
    let hash = TxHash(params::bytes("hash", &hash)?);
    let wanted = wanted(&params)?;
    let deadline = Instant::now() + patience(&params, app.config.api.max_wait)?;
    let mut marks = app.feed.subscribe();
    let mut place = None;
    loop {
        let seen = *marks.borrow_and_update();
        let status = app.ask(read(&app, &hash)).await?;
        let status = status.ok_or_else(|| Problem::new(Code::UnknownTransaction, format!("{hash} was never accepted")))?;
        if rank(&status.state) >= wanted {
            return Ok(Json((&status).into()));
        }
        if place.is_none() {
            let full = || Problem::new(Code::TooManyWaiters, "this sequencer has no place left for a waiting request").hint("ask without wait");
            place = Some(app.waiters.take(client).ok_or_else(full)?);
        }
        let moved = marks.wait_for(|now| *now != seen && may_have_reached(wanted, status.batch, now, &seen));
        let moved = app.stop.run_until_cancelled(timeout_at(deadline, moved)).await;
        if !matches!(moved, Some(Ok(Ok(_)))) {
            return Ok(Json((&status).into()));
        }
    }
}

/// Whether it is worth looking again: the wanted mark has come to the batch, or there are new batches and this transaction had none.
fn may_have_reached(wanted: usize, batch: Option<u64>, now: &Marks, seen: &Marks) -> bool {
    let Some(batch) = batch else { return now.sealed > seen.sealed };
    [now.accepted, now.sealed, now.committed, now.proven, now.finalised].get(wanted).is_some_and(|mark| *mark >= batch)
}

async fn read(app: &App, hash: &TxHash) -> Result<Option<transactions::Status>, StoreError> {
    let mut connection = app.pool.acquire().await?;
    Ok(transactions::status(&mut connection, hash).await?)
}

fn rank(state: &str) -> usize {
    STATES.iter().position(|name| *name == state).unwrap_or(0)
}

fn wanted(params: &Params) -> Result<usize, Problem> {
    let Some(state) = params.get("wait") else { return Ok(0) };
    let unknown = || Problem::new(Code::InvalidParameter, format!("there is no state {:?}", echo(state))).field("wait").hint(STATES.join(", "));
    STATES.iter().position(|name| *name == state).ok_or_else(unknown)
}

fn patience(params: &Params, max: Duration) -> Result<Duration, Problem> {
    let wanted = params.number("timeout_s", 32)?.map_or(Duration::from_secs(DEFAULT_WAIT_S).min(max), Duration::from_secs);
    if wanted > max {
        return Err(Problem::new(Code::InvalidParameter, format!("timeout_s is at most {}", max.as_secs())).field("timeout_s"));
    }
    Ok(wanted)
}
