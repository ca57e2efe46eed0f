//! POST /v1/transactions: one JSON object, a JSON array, or binary records.
//!
//! One object is answered with its receipt or problem. Many are answered with 200 and one result each, in order; only a body that cannot be taken
//! apart, or that the queue or the client's budget cannot hold, is refused as a whole. The same bytes again get the same receipt.

use super::App;
use crate::client::ClientIp;
use crate::json::{self, Json};
use crate::problem::{Code, Problem};
use crate::refusal::Refusal;
use crate::wire::{Answer, ItemResult, Results, Submission};
use axum::Json as JsonBody;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sheaf_protocol::amount::{Nonce, SlotId, TokenId};
use sheaf_protocol::field::Fr;
use sheaf_protocol::ops::{Op, RecordError, SignedOp, TxHash};
use sheaf_protocol::transition::Rejection;
use sheaf_store::{StoreError, batches, transactions};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::sync::oneshot;

/// Content type of binary records.
const RECORDS: &str = "application/vnd.sheaf.transactions";
/// A receipt may take this many writes: one that is under way, its own, and finding out what became of one that failed.
const WRITES_PATIENCE: u32 = 3;

/// Bodies up to this size are read on the spot; larger ones would keep other requests waiting.
const READ_INLINE_BYTES: usize = 4_096;

type Named = (SignedOp, TxHash);
type Verdict = Result<transactions::Receipt, Refusal>;

/// A body, taken apart.
enum Parsed {
    One(Box<Named>),
    Many(Vec<Result<Named, Problem>>),
}

/// Send one or many signed transactions.
///
/// JSON: one object or an array of them; numbers are decimal strings. Binary: records of 84 bytes (transfer) or 110 bytes (withdrawal) back to back.
#[utoipa::path(post, path = "/v1/transactions", tag = "transactions",
    request_body(content((Submission = "application/json", example = json!({"op": "transfer", "from": "5", "to": "9", "token": "1", "nonce": "0",
        "amount": "1000000", "fee": "1000", "signature": "0x and 128 hex digits"})), (String = "application/vnd.sheaf.transactions"))),
    responses((status = 200, description = "A receipt, or one result for each of many", body = Answer)))]
pub(super) async fn submit(State(app): State<App>, client: ClientIp, request: Request) -> Result<Response, Problem> {
    let is_binary = content_type(request.headers())?;
    let arriving = Bytes::from_request(request, &app);
    let late = |_| Problem::new(Code::BodyTimeout, "the body did not arrive in time");
    let body = tokio::time::timeout(app.config.api.body_timeout, arriving).await.map_err(late)?;
    let body = body.map_err(|rejection| refused_body(&rejection))?;
    match parse(&app, is_binary, body).await? {
        Parsed::One(op) => one(&app, client, *op).await,
        Parsed::Many(parsed) => many(&app, client, parsed).await,
    }
}

/// Takes a body apart and hashes what is in it.
async fn parse(app: &App, is_binary: bool, body: Bytes) -> Result<Parsed, Problem> {
    let (max, domain) = (app.config.api.max_records, app.deployment.domain);
    if body.len() <= READ_INLINE_BYTES {
        return read(is_binary, &body, max, domain);
    }
    let reading = tokio::task::spawn_blocking(move || read(is_binary, &body, max, domain));
    reading.await.unwrap_or_else(|_| Err(Problem::new(Code::Internal, "the body could not be read")))
}

fn read(is_binary: bool, body: &[u8], max: usize, domain: Fr) -> Result<Parsed, Problem> {
    let named = |signed: SignedOp| {
        let hash = signed.op.hash(domain);
        (signed, hash)
    };
    let all = |items: Vec<Result<SignedOp, Problem>>| Parsed::Many(items.into_iter().map(|item| item.map(named)).collect());
    if is_binary {
        return read_records(body, max).map(all);
    }
    match json::parse(body)? {
        Json::Array(items) if items.len() > max => Err(too_many(max)),
        Json::Array(items) => Ok(all(items.iter().map(json::signed_op).collect())),
        object => Ok(Parsed::One(Box::new(named(json::signed_op(&object)?)))),
    }
}

/// True for binary records, false for JSON.
fn content_type(headers: &HeaderMap) -> Result<bool, Problem> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(false),
        RECORDS => Ok(true),
        _ => Err(Problem::new(Code::UnsupportedContentType, "this resource does not take that content type")
            .hint(format!("application/json or {RECORDS}"))),
    }
}

fn refused_body(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(Code::BodyTooLarge, "the body is larger than this sequencer takes").hint("send fewer transactions at once");
    }
    Problem::new(Code::BodyTimeout, "the body stopped arriving")
}

fn too_many(max: usize) -> Problem {
    Problem::new(Code::TooManyRecords, format!("more than {max} transactions in one body")).hint("send fewer at once")
}

/// A record whose fields are wrong is one problem among results; bytes that are no records refuse the body.
fn read_records(mut body: &[u8], max: usize) -> Result<Vec<Result<SignedOp, Problem>>, Problem> {
    let mut parsed = Vec::new();
    if body.is_empty() {
        return Err(Problem::new(Code::MalformedRecord, "the body is empty"));
    }
    while !body.is_empty() {
        if parsed.len() == max {
            return Err(too_many(max));
        }
        match SignedOp::read_record(body) {
            Ok((op, rest)) => {
                parsed.push(Ok(op));
                body = rest;
            }
            Err(error @ (RecordError::UnknownTag(_) | RecordError::Truncated { .. })) => return Err(error.into()),
            Err(error) => {
                parsed.push(Err(error.into()));
                body = &body[record_bytes(body[0])..];
            }
        }
    }
    Ok(parsed)
}

fn record_bytes(tag: u8) -> usize {
    match tag {
        1 => sheaf_protocol::ops::TRANSFER_RECORD_BYTES,
        2 => sheaf_protocol::ops::WITHDRAW_RECORD_BYTES,
        _ => sheaf_protocol::ops::REGISTER_RECORD_BYTES,
    }
}

async fn one(app: &App, client: ClientIp, op: Named) -> Result<Response, Problem> {
    let mut results = enter(app, client, vec![op]).await?;
    match results.pop() {
        Some(Ok(receipt)) => Ok(JsonBody(Answer::Receipt((&receipt).into())).into_response()),
        Some(Err(problem)) => Err(problem),
        None => Err(Problem::new(Code::Internal, "no answer")),
    }
}

async fn many(app: &App, client: ClientIp, parsed: Vec<Result<Named, Problem>>) -> Result<Response, Problem> {
    app.limits.charge_records(client, parsed.len())?;
    let mut readable = Vec::new();
    let problems: Vec<Option<Problem>> = parsed.into_iter().map(|item| item.map(|op| readable.push(op)).err()).collect();
    let mut answers = enter(app, client, readable).await?.into_iter();
    let missing = || Err(Problem::new(Code::Internal, "no answer"));
    let results =
        problems.into_iter().map(|problem| problem.map_or_else(|| answers.next().unwrap_or_else(missing), Err)).map(|result| match result {
            Ok(receipt) => ItemResult::Receipt((&receipt).into()),
            Err(problem) => ItemResult::Problem(problem),
        });
    Ok(JsonBody(Answer::Results(Results { results: results.collect() })).into_response())
}

/// Sends all of them through admission and waits for every answer.
async fn enter(app: &App, client: ClientIp, ops: Vec<Named>) -> Result<Vec<Result<transactions::Receipt, Problem>>, Problem> {
    let names: Vec<(Op, TxHash)> = ops.iter().map(|(signed, hash)| (signed.op, *hash)).collect();
    let barred = app.ask(unlisted(app, &ops)).await?;
    let entering = ops.into_iter().zip(&barred).filter(|(_, barred)| barred.is_none()).map(|(op, _)| op).collect();
    let mut waiting = app.door.enter(entering)?.into_iter();
    let deadline = tokio::time::Instant::now() + app.config.admission.write_timeout * WRITES_PATIENCE;
    let mut answers = Vec::with_capacity(barred.len());
    for barred in barred {
        answers.push(match barred {
            Some(refusal) => Err(refusal),
            None => match waiting.next() {
                Some(answer) => within(answer, deadline).await,
                None => Err(Refusal::Stopping),
            },
        });
    }
    app.limits.fine(client, answers.iter().filter(|answer| is_forged(answer)).count());
    app.ask(look_up(app, &names, &mut answers)).await?;
    for answer in &answers {
        if let Err(refusal) = answer {
            tracing::debug!(%refusal, "not accepted");
        }
    }
    let results: Vec<Result<_, Problem>> = answers.into_iter().map(|answer| answer.map_err(Problem::from)).collect();
    for problem in results.iter().filter_map(|result| result.as_ref().err()) {
        metrics::counter!("sheaf_refused_total", "code" => problem.code.name()).increment(1);
    }
    Ok(results)
}

/// Registers of accounts in tokens that L1 might not know when their batch arrives: a commit that names one reverts.
async fn unlisted(app: &App, ops: &[Named]) -> Result<Vec<Option<Refusal>>, StoreError> {
    let account_token = |op: &Named| match op.0.op {
        Op::Register(register) => Some(register.account.token),
        Op::Transfer(_) | Op::Withdraw(_) => None,
    };
    if ops.iter().all(|op| account_token(op).is_none()) {
        return Ok(vec![None; ops.len()]);
    }
    let mut connection = app.pool.acquire().await?;
    let listed = batches::tokens_at_depth(&mut connection, app.config.deposits.confirmations).await?;
    let barred = |token: TokenId| (!listed.contains(&token)).then_some(Refusal::UnknownAccountToken(token));
    Ok(ops.iter().map(|op| account_token(op).and_then(barred)).collect())
}

/// True if the curve had to say no.
fn is_forged(answer: &Verdict) -> bool {
    matches!(answer, Err(Refusal::Signature(_)))
}

async fn within(answer: oneshot::Receiver<Verdict>, deadline: tokio::time::Instant) -> Verdict {
    match tokio::time::timeout_at(deadline.max(tokio::time::Instant::now() + Duration::from_millis(1)), answer).await {
        Ok(Ok(answer)) => answer,
        // the pipeline dropped it: it is going down
        Ok(Err(_)) => Err(Refusal::Stopping),
        Err(_) => Err(Refusal::Storage),
    }
}

/// A used nonce may mean that this very transaction was accepted before, and a wrong token that there is none of that number.
async fn look_up(app: &App, names: &[(Op, TxHash)], answers: &mut [Verdict]) -> Result<(), StoreError> {
    let used = |answer: &Verdict| matches!(answer, Err(Refusal::Rejected(Rejection::NonceTooLow { .. })));
    let mistaken = |answer: &Verdict| matches!(answer, Err(Refusal::Rejected(Rejection::WrongToken { .. })));
    if !answers.iter().any(|answer| used(answer) || mistaken(answer)) {
        return Ok(());
    }
    let mut connection = app.pool.acquire().await?;
    let again: Vec<&(Op, TxHash)> = names.iter().zip(answers.iter()).filter(|(_, answer)| used(answer)).map(|(name, _)| name).collect();
    let hashes: Vec<TxHash> = again.iter().map(|(_, hash)| *hash).collect();
    let nonces: Vec<(SlotId, Nonce)> = again.iter().map(|(op, _)| (op.from(), op.nonce())).collect();
    let receipts = transactions::receipts(&mut connection, &hashes).await?;
    let receipts: HashMap<TxHash, transactions::Receipt> = receipts.into_iter().map(|receipt| (receipt.hash, receipt)).collect();
    let unsealed = transactions::unsealed_at(&mut connection, &nonces).await?;
    let unsealed: HashMap<(SlotId, Nonce), TxHash> = unsealed.into_iter().map(|(slot, nonce, hash)| ((slot, nonce), hash)).collect();
    let listed: HashSet<_> = batches::tokens(&mut connection).await?.iter().map(|token| token.id).collect();
    for ((op, hash), answer) in names.iter().zip(answers) {
        if mistaken(answer) && !listed.contains(&op.token()) {
            *answer = Err(Refusal::UnknownToken(op.token()));
        } else if used(answer) {
            match (receipts.get(hash), unsealed.get(&(op.from(), op.nonce()))) {
                (Some(receipt), _) => *answer = Ok(receipt.clone()),
                (None, Some(by)) => *answer = Err(Refusal::NonceInUse { slot: op.from(), by: *by }),
                (None, None) => {}
            }
        }
    }
    Ok(())
}
