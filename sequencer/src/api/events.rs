//! GET /v1/events: server-sent events of accepted transactions and of batches that reach a state.
//!
//! Nothing is stored for it. An event's id is a position: how far each kind of progress had come after it. A client that comes back with its last
//! id gets everything since, as far as the database knows it. When L1 is reorganised, batches fall back without an event and come again.

use super::App;
use super::params::Params;
use crate::client::ClientIp;
use crate::places::Place;
use crate::problem::{Code, Problem};
use crate::wire::{BatchView, Receipt};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{self, Stream, StreamExt};
use serde::Serialize;
use sheaf_store::StoreError;
use sheaf_store::batches::{self, Marks};
use sheaf_store::pool::within;
use sheaf_store::transactions;
use sqlx::PgPool;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch;

/// Transactions read from the database at once.
const TRANSACTIONS: u64 = 256;
/// Batches read at once; each may bring the hashes of its members.
const BATCHES: usize = 16;
/// Pause after a database that does not answer.
const RETRY: Duration = Duration::from_secs(1);
/// How long one look may take.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct BatchEvent {
    /// What the batch has reached.
    reached: &'static str,
    #[serde(flatten)]
    batch: BatchView,
    /// Hashes of its transactions, when it is sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    hashes: Option<Vec<String>>,
}

struct Reader {
    pool: PgPool,
    /// Whether single transactions are told too.
    transactions: bool,
    marks: watch::Receiver<Marks>,
    position: Marks,
    ready: VecDeque<Event>,
    _place: Place,
}

/// Accepted transactions and batches that reach a state, as they happen. `Last-Event-ID` resumes; `only=batch` leaves single transactions out.
#[utoipa::path(get, path = "/v1/events", tag = "status",
    params(("Last-Event-ID" = Option<String>, Header, description = "id of the last event seen"), ("last_event_id" = Option<String>, Query, description = "the same for clients that cannot set the header"),
        ("only" = Option<String>, Query, description = "batch")),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(super) async fn stream(
    State(app): State<App>,
    client: ClientIp,
    headers: HeaderMap,
    params: Params,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    params.check(&["last_event_id", "only"])?;
    let transactions = match params.get("only") {
        None => true,
        Some("batch") => false,
        Some(_) => return Err(Problem::new(Code::InvalidParameter, "events can be narrowed to batches").field("only").hint("batch")),
    };
    let full = || Problem::new(Code::TooManyStreams, "this sequencer has no event stream left");
    let place = app.streams.take(client).ok_or_else(full)?;
    let marks = app.feed.subscribe();
    let now = *marks.borrow();
    let position = match last_id(&headers, &params)? {
        Some(id) => read_id(id).filter(|position| is_past(position, &now)).ok_or_else(bad_id)?,
        None => now,
    };
    let reader = Reader { pool: app.pool, transactions, marks, position, ready: VecDeque::new(), _place: place };
    let events = stream::unfold(reader, next).map(Ok).take_until(app.stop.cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

fn last_id<'a>(headers: &'a HeaderMap, params: &'a Params) -> Result<Option<&'a str>, Problem> {
    let header = headers.get("last-event-id").map(|id| id.to_str().map_err(|_| bad_id())).transpose()?;
    Ok(header.or(params.get("last_event_id")))
}

/// What was accepted and sealed stays so: nobody has seen more of it than there is. A reorganisation of L1 lowers the other marks.
fn is_past(position: &Marks, now: &Marks) -> bool {
    position.accepted <= now.accepted && position.sealed <= now.sealed
}

fn bad_id() -> Problem {
    Problem::new(Code::BadCursor, "not an id of an event").field("last_event_id").hint("take it from an event's id, or leave it out")
}

/// The next event; ends when the sequencer does.
async fn next(mut reader: Reader) -> Option<(Event, Reader)> {
    loop {
        if let Some(event) = reader.ready.pop_front() {
            return Some((event, reader));
        }
        let now = *reader.marks.borrow_and_update();
        let read = within(READ_TIMEOUT, reader.read(now)).await;
        if !reader.ready.is_empty() {
            continue;
        }
        match read {
            Ok(()) => reader.marks.changed().await.ok()?,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "an event stream met a database that does not answer");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

impl Reader {
    /// Reads the next events up to `now`, of each kind not more than a chunk.
    async fn read(&mut self, mut now: Marks) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        if !self.transactions {
            self.position.accepted = now.accepted;
        } else if self.position.accepted < now.accepted {
            let receipts = transactions::accepted_after(&mut connection, self.position.accepted, TRANSACTIONS).await?;
            for receipt in receipts.iter().take_while(|receipt| receipt.seq <= now.accepted) {
                self.position.accepted = receipt.seq;
                self.push("transaction", &Receipt::from(receipt));
            }
        }
        for reached in ["sealed", "committed", "proven", "final"] {
            let target = *mark(&mut now, reached);
            let last = mark(&mut self.position, reached);
            *last = target.min(*last);
            for number in (*last + 1..=target).take(BATCHES) {
                let Some(batch) = batches::status(&mut connection, number).await? else { break };
                let hashes = match reached {
                    "sealed" => Some(transactions::hashes_of_batch(&mut connection, number).await?.iter().map(ToString::to_string).collect()),
                    _ => None,
                };
                *mark(&mut self.position, reached) = number;
                self.push("batch", &BatchEvent { reached, batch: (&batch).into(), hashes });
            }
        }
        Ok(())
    }

    fn push(&mut self, kind: &str, data: &impl Serialize) {
        let text = serde_json::to_string(data).unwrap_or_default();
        self.ready.push_back(Event::default().event(kind).id(write_id(&self.position)).data(text));
    }
}

fn mark<'a>(marks: &'a mut Marks, reached: &str) -> &'a mut u64 {
    match reached {
        "sealed" => &mut marks.sealed,
        "committed" => &mut marks.committed,
        "proven" => &mut marks.proven,
        _ => &mut marks.finalised,
    }
}

fn write_id(marks: &Marks) -> String {
    let Marks { accepted, sealed, committed, proven, finalised } = marks;
    format!("{accepted}-{sealed}-{committed}-{proven}-{finalised}")
}

fn read_id(id: &str) -> Option<Marks> {
    let numbers: Vec<u64> = id.split('-').map(|part| part.parse().ok().filter(|number| i64::try_from(*number).is_ok())).collect::<Option<_>>()?;
    let [accepted, sealed, committed, proven, finalised] = numbers.try_into().ok()?;
    Some(Marks { accepted, sealed, committed, proven, finalised })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_id_reads_back_and_nothing_else_does() {
        let marks = Marks { accepted: 9, sealed: 4, committed: 3, proven: 2, finalised: 1 };
        assert_eq!(read_id(&write_id(&marks)).unwrap(), marks);
        for bad in ["", "1-2-3-4", "1-2-3-4-5-6", "1-2-3-4-x", "1-2-3-4--5", "1-2-3-4-18446744073709551615"] {
            assert_eq!(read_id(bad), None, "{bad}");
        }
    }
}
