//! Slots by index and by account, with every accepted transaction applied, and their history.

use super::App;
use super::cursor;
use super::params::{self, Params, Segment};
use crate::problem::{Code, Problem};
use crate::view::Filter;
use crate::wire::{HistoryLine, Page, SlotView};
use axum::Json;
use axum::extract::State;
use sheaf_protocol::amount::{Address, SLOT_BITS, SlotId, TokenId};
use sheaf_store::StoreError;
use sheaf_store::transactions::{self, HistoryItem};

const SLOTS: &str = "slots";
const HISTORY: &str = "history";

/// A slot with every accepted transaction applied.
#[utoipa::path(get, path = "/v1/slots/{id}", tag = "slots", params(("id" = String, Path, description = "decimal")),
    responses((status = 200, body = SlotView)))]
pub(super) async fn one(State(app): State<App>, Segment(id): Segment, params: Params) -> Result<Json<SlotView>, Problem> {
    params.check(&[])?;
    let id = slot_id(&id)?;
    let slot = app.view.slot(id).filter(|slot| !slot.is_empty()).ok_or_else(|| empty(id))?;
    Ok(Json(SlotView::new(id, &slot)))
}

/// Slots of an account, by index.
#[utoipa::path(get, path = "/v1/slots", tag = "slots",
    params(("key" = Option<String>, Query, description = "public key, decimal or 0x hex; this or owner"), ("owner" = Option<String>, Query, description = "L1 address"),
        ("token" = Option<String>, Query), ("cursor" = Option<String>, Query), ("limit" = Option<String>, Query)),
    responses((status = 200, body = Page<SlotView>)))]
pub(super) async fn find(State(app): State<App>, params: Params) -> Result<Json<Page<SlotView>>, Problem> {
    params.check(&["key", "owner", "token", "cursor", "limit"])?;
    let token = params.number("token", 16)?.map(|token| TokenId(token as u16));
    let filter = Filter { key: params.element("key")?, owner: params.bytes("owner")?.map(Address), token };
    if filter.key.is_none() && filter.owner.is_none() {
        return Err(Problem::new(Code::InvalidParameter, "give key or owner").field("key"));
    }
    let limit = params.limit(app.config.api.max_page)?;
    let after = u32::try_from(cursor::read(SLOTS, params.get("cursor"), 0)?).unwrap_or(u32::MAX);
    let found = app.view.select(&filter, SlotId(after), limit as usize);
    let next = (found.len() as u64 == limit).then(|| found.last().map(|(id, _)| cursor::write(SLOTS, id.0.into()))).flatten();
    Ok(Json(Page { items: found.iter().map(|(id, slot)| SlotView::new(*id, slot)).collect(), next }))
}

/// What a slot signed and received, newest first.
#[utoipa::path(get, path = "/v1/slots/{id}/transactions", tag = "slots",
    params(("id" = String, Path, description = "decimal"), ("cursor" = Option<String>, Query), ("limit" = Option<String>, Query)),
    responses((status = 200, body = Page<HistoryLine>)))]
pub(super) async fn history(State(app): State<App>, Segment(id): Segment, params: Params) -> Result<Json<Page<HistoryLine>>, Problem> {
    params.check(&["cursor", "limit"])?;
    let id = slot_id(&id)?;
    app.view.slot(id).filter(|slot| !slot.is_empty()).ok_or_else(|| empty(id))?;
    let limit = params.limit(app.config.api.max_page)?;
    let before = cursor::read(HISTORY, params.get("cursor"), i64::MAX as u64)?;
    let items = app.ask(read(&app, id, before, limit)).await?;
    let next = (items.len() as u64 == limit).then(|| items.last().map(|item| cursor::write(HISTORY, item.seq()))).flatten();
    Ok(Json(Page { items: items.iter().map(Into::into).collect(), next }))
}

async fn read(app: &App, id: SlotId, before: u64, limit: u64) -> Result<Vec<HistoryItem>, StoreError> {
    let mut connection = app.pool.acquire().await?;
    Ok(transactions::history(&mut connection, id, before, limit).await?)
}

fn slot_id(text: &str) -> Result<SlotId, Problem> {
    params::number("id", text, SLOT_BITS).map(|id| SlotId(id as u32))
}

fn empty(id: SlotId) -> Problem {
    Problem::new(Code::SlotNotFound, format!("slot {id} is empty or outside the state"))
}
