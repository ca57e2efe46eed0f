//! What only people ask for: the L1 queue, and how far everything had come minute by minute.

use super::App;
use super::cursor;
use super::params::Params;
use crate::problem::{Code, Problem};
use crate::wire::{Activity, Page, QueueView};
use axum::Json;
use axum::extract::State;
use sheaf_store::StoreError;
use sheaf_store::explorer::{self, Level, QueueLine};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

const QUEUE: &str = "queue";
/// Minutes of activity unless told.
const MINUTES: u64 = 60;
/// And at most: every minute costs some steps into indexes.
const MAX_MINUTES: u64 = 240;
/// How old an answer about the activity may be: it is the same for everybody, and the database is asked so often.
const FRESH: Duration = Duration::from_secs(1);

/// The last answers, by minutes asked for.
pub(crate) type Told = Mutex<HashMap<u64, (Instant, Activity)>>;

/// Entries of the L1 queue, newest first: deposits, forced exits, key rotations.
#[utoipa::path(get, path = "/v1/queue", tag = "queue", params(("cursor" = Option<String>, Query), ("limit" = Option<String>, Query)),
    responses((status = 200, body = Page<QueueView>)))]
pub(super) async fn queue(State(app): State<App>, params: Params) -> Result<Json<Page<QueueView>>, Problem> {
    params.check(&["cursor", "limit"])?;
    let limit = params.limit(app.config.api.max_page)?;
    let before = cursor::read(QUEUE, params.get("cursor"), i64::MAX as u64)?;
    let found = app.ask(read_queue(&app, before, limit)).await?;
    let next = (found.len() as u64 == limit).then(|| found.last().map(|line| cursor::write(QUEUE, line.index))).flatten();
    Ok(Json(Page { items: found.iter().map(Into::into).collect(), next }))
}

/// How many transactions had come how far at each of the last full minutes, and now.
#[utoipa::path(get, path = "/v1/activity", tag = "status",
    params(("minutes" = Option<String>, Query, description = "1 to 240; 60 unless told")), responses((status = 200, body = Activity)))]
pub(super) async fn activity(State(app): State<App>, params: Params) -> Result<Json<Activity>, Problem> {
    params.check(&["minutes"])?;
    let minutes = params.number("minutes", 16)?.unwrap_or(MINUTES);
    if minutes == 0 || minutes > MAX_MINUTES {
        return Err(Problem::new(Code::InvalidParameter, format!("minutes is from 1 to {MAX_MINUTES}")).field("minutes"));
    }
    let mut told = app.activity.lock().await;
    if let Some((at, activity)) = told.get(&minutes)
        && at.elapsed() < FRESH
    {
        return Ok(Json(activity.clone()));
    }
    let levels = app.ask(read_levels(&app, minutes as u32)).await?;
    let activity = Activity { levels: levels.iter().map(Into::into).collect() };
    told.insert(minutes, (Instant::now(), activity.clone()));
    Ok(Json(activity))
}

async fn read_queue(app: &App, before: u64, limit: u64) -> Result<Vec<QueueLine>, StoreError> {
    let mut connection = app.pool.acquire().await?;
    Ok(explorer::queue(&mut connection, before, limit).await?)
}

async fn read_levels(app: &App, minutes: u32) -> Result<Vec<Level>, StoreError> {
    let mut connection = app.pool.acquire().await?;
    Ok(explorer::levels(&mut connection, minutes).await?)
}
