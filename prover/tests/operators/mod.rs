//! What operators see and order: over HTTP, with their own tokens, and every order in the audit log.

use crate::common::{Server, beat, claim, code, failure, proof, prover, short, submission, until, usual};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sheaf_prover::wire::{FailureReason, Outcome, WorkerOrder};
use sheaf_prover::worker::{KeyCache, Worker, WorkerConfig};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

async fn get(server: &Server, route: &str) -> Value {
    reqwest::get(server.url(route)).await.unwrap().json().await.unwrap()
}

async fn post(server: &Server, route: &str, token: &str, body: &Value) -> (StatusCode, Value) {
    let answer = reqwest::Client::new().post(server.url(route)).bearer_auth(token).json(body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// An order by alice, whose answer must be this status.
pub(crate) async fn order(server: &Server, route: &str, reason: &str, status: u16) -> Value {
    let (found, answer) = post(server, route, &server.operator, &json!({ "reason": reason })).await;
    assert_eq!(found, status, "{route}: {answer}");
    answer
}

async fn audit(pool: &PgPool) -> Vec<(String, String)> {
    sqlx::query_as("SELECT actor, action FROM audit_log ORDER BY id").fetch_all(pool).await.unwrap()
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn anybody_sees_workers_leases_progress_and_faults(pool: PgPool) {
    let server = Server::start(&pool, 3, usual).await;
    let job = server.claim("a").await.unwrap();
    server.client().heartbeat(1, &beat("a", job.lease)).await.unwrap();
    let other = server.claim("b").await.unwrap();
    server.client().fail(2, &failure("b", other.lease, FailureReason::Prove)).await.unwrap();

    let status = get(&server, "status").await;
    let worker = status["workers"].as_array().unwrap().iter().find(|worker| worker["name"] == "a").unwrap();
    assert_eq!((&worker["memory_mb"], &worker["circuits"], &worker["drain_since"]), (&json!(4096), &json!([1]), &Value::Null));
    assert!(worker["last_seen"].as_str().unwrap().ends_with('Z'));
    let lease = &status["leases"][0];
    assert_eq!((&lease["batch"], &lease["worker"], &lease["phase"], &lease["percent"]), (&json!(1), &json!("a"), &json!("prove"), &json!(50)));
    assert!(lease["lease_ms"].as_i64().unwrap() > 0);
    let fault = &status["faults"][0];
    assert_eq!((&fault["batch"], &fault["worker"], &fault["reason"], &fault["detail"]), (&json!(2), &json!("b"), &json!("prove"), &json!("a test")));
    let circuit = &status["circuits"][0];
    assert_eq!((&circuit["name"], &circuit["waiting"], &circuit["leased"], &circuit["parked"]), (&json!("test"), &json!(2), &json!(1), &json!(0)));
    assert!(circuit["memory_mb"].as_u64().unwrap() > 64 && circuit["oldest_s"].as_f64().unwrap() >= 0.0);

    let batches = |list: &Value| list["jobs"].as_array().unwrap().iter().map(|job| job["batch"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(batches(&get(&server, "jobs").await), [3, 2, 1]);
    assert_eq!(batches(&get(&server, "jobs?state=waiting").await), [3, 2]);
    let page = get(&server, "jobs?state=open&limit=2").await;
    assert_eq!((batches(&page), &page["next"]), (vec![3, 2], &json!(2)));
    let page = get(&server, "jobs?limit=2&before=2").await;
    assert_eq!((batches(&page), &page["next"]), (vec![1], &Value::Null));
    let page = get(&server, "jobs?state=open&after=0&limit=2").await;
    assert_eq!((batches(&page), &page["next"]), (vec![1, 2], &json!(2)));
    assert_eq!(batches(&get(&server, "jobs?after=2").await), [3]);
    let detail = get(&server, "jobs/2").await;
    assert_eq!((&detail["job"]["last_error"], &detail["attempts"][0]["outcome"]), (&json!("prove: a test"), &json!("failed")));
    for (route, code) in [
        ("jobs/9", "unknown_job"),
        ("jobs?state=lost", "invalid_field"),
        ("jobs?limit=0", "invalid_field"),
        ("jobs?before=2&after=1", "invalid_field"),
        ("jobs?x=1", "invalid_field"),
    ] {
        let problem = get(&server, route).await;
        assert!(problem["code"] == code && problem["hint"].is_string() && problem["field"].is_string(), "{route}: {problem}");
    }
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn only_an_operator_with_a_reason_is_obeyed(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let reason = json!({ "reason": "a test" });
    for route in ["jobs/1/park", "jobs/1/retry", "jobs/1/cancel", "workers/a/drain", "workers/a/resume"] {
        let (status, problem) = post(&server, route, &server.token, &reason).await;
        assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("wrong_role")), "{route}");
        let (status, problem) = post(&server, route, "nobody", &reason).await;
        assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!("token_wrong")), "{route}");
    }
    for (body, field) in [(json!({}), "reason"), (json!({ "reason": " " }), "reason"), (json!({ "reason": "a", "who": "me" }), "who")] {
        let (status, problem) = post(&server, "jobs/1/park", &server.operator, &body).await;
        assert!(status.is_client_error() && problem["field"] == field && problem["hint"].is_string(), "{body}: {problem}");
    }
    let offer = json!(claim("a", 0));
    assert_eq!(post(&server, "claim", &server.operator, &offer).await.1["code"], "wrong_role");
    assert_eq!(server.job_state(1).await, "queued");
    assert!(audit(&pool).await.is_empty());
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_job_is_parked_and_sent_back_by_an_operator_who_is_named(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let job = server.claim("a").await.unwrap();
    assert_eq!(order(&server, "jobs/1/park", "it takes too long", 200).await["job"]["state"], "parked");
    assert!(server.claim_now("b").await.is_none());
    assert_eq!(order(&server, "jobs/1/park", "again", 409).await["code"], "not_now");
    assert_eq!(order(&server, "jobs/7/park", "again", 404).await["code"], "unknown_job");
    assert_eq!(order(&server, "jobs/1/burn", "there is no such order", 404).await["code"], "not_found");
    assert_eq!(get(&server, "status").await["parked"][0]["batch"], 1);

    let sent_back = order(&server, "jobs/1/retry", "mended", 200).await;
    assert_eq!(sent_back["job"]["state"], "waiting");
    assert_eq!((&sent_back["actions"][0]["reason"], &sent_back["actions"][1]["reason"]), (&json!("mended"), &json!("it takes too long")));
    assert_eq!(sent_back["attempts"][0]["detail"], "alice: it takes too long");
    let expected = [("alice", "prover.park"), ("alice", "prover.retry")].map(|(actor, action)| (actor.to_owned(), action.to_owned()));
    assert_eq!(audit(&pool).await, expected);
    assert!(server.claim_now("a").await.unwrap().lease > job.lease);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_cancelled_worker_learns_of_it_and_another_gets_the_job(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let job = server.claim("a").await.unwrap();
    order(&server, "jobs/1/cancel", "its machine is needed", 200).await;
    let lease = server.client().heartbeat(1, &beat("a", job.lease)).await.unwrap();
    assert_eq!(lease.order, WorkerOrder::Cancel);
    assert_eq!(code(server.client().heartbeat(1, &beat("b", job.lease)).await), "stale_lease");
    assert!(server.claim_now("a").await.is_none(), "not the same worker again");
    assert_eq!(order(&server, "jobs/1/cancel", "again", 409).await["code"], "not_now");
    let job = server.claim_now("b").await.unwrap();
    assert_eq!(server.client().heartbeat(1, &beat("b", job.lease)).await.unwrap().order, WorkerOrder::Continue);
    assert_eq!(server.client().submit(1, &submission("b", job.lease, proof(1))).await.unwrap().outcome, Outcome::Stored);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_worker_whose_job_is_cancelled_goes_on_with_the_next(pool: PgPool) {
    let server = Server::start(&pool, 2, |config| config.lease_ms = 200).await;
    let stop = CancellationToken::new();
    let (busy, stopped) = (crate::common::worker(&server, "busy", &server.token), stop.clone());
    let busy = tokio::spawn(async move { busy.run(&stopped).await.unwrap() });
    until("a lease", || async { server.job_state(1).await == "leased" }).await;
    // the proof may have been faster than the order
    let (cancelled, _) = post(&server, "jobs/1/cancel", &server.operator, &json!({ "reason": "a test" })).await;
    until("the next proof", || async { server.proofs().await.contains(&2) }).await;
    stop.cancel();
    busy.await.unwrap();
    let proven = server.proofs().await.contains(&1);
    assert!(proven || cancelled == StatusCode::OK);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_drained_worker_finishes_its_job_and_ends(pool: PgPool) {
    let server = Server::start(&pool, 2, |config| config.lease_ms = 200).await;
    let drained = crate::common::worker(&server, "old", &server.token);
    let drained = tokio::spawn(async move { drained.run(&CancellationToken::new()).await.unwrap() });
    until("a lease", || async { server.job_state(1).await == "leased" }).await;
    assert!(order(&server, "workers/old/drain", "its machine goes", 200).await["drain_since"].is_string());
    let summary = drained.await.unwrap();
    assert!(summary.accepted >= 1 && summary.failed == 0);
    assert_eq!(code(server.client().claim(&claim("old", 0)).await), "draining");
    assert_eq!(order(&server, "workers/nobody/drain", "a test", 404).await["code"], "unknown_worker");
    assert_eq!(order(&server, "workers/old/resume", "it is back", 200).await["drain_since"], Value::Null);
    assert!(server.client().claim(&claim("old", 0)).await.is_ok());
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_worker_that_waits_for_work_learns_that_it_is_drained(pool: PgPool) {
    let server = Server::start(&pool, 0, usual).await;
    let idle = crate::common::worker(&server, "idle", &server.token);
    let idle = tokio::spawn(async move { idle.run(&CancellationToken::new()).await.unwrap() });
    until("a claim", || async { get(&server, "status").await["workers"][0]["name"] == "idle" }).await;
    order(&server, "workers/idle/drain", "a test", 200).await;
    assert_eq!(idle.await.unwrap().accepted, 0);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_worker_with_too_little_memory_is_given_nothing(pool: PgPool) {
    let server = Server::start(&pool, 1, short).await;
    let config = WorkerConfig { memory_mb: 65, threads: 1, ..WorkerConfig::new("small".into()) };
    let worker = Worker::new(server.client(), KeyCache::of([prover()]), config).unwrap();
    let error = worker.run(&CancellationToken::new()).await.unwrap_err();
    let told = std::error::Error::source(&error).unwrap().to_string();
    assert!(told.contains("too_little_memory") && told.contains("--memory-mb"), "{told}");
    assert_eq!(server.job_state(1).await, "queued");
}

/// The claim is itself a write to the database that must take the proof.
#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_database_that_takes_no_writes_hands_out_no_work(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    server.claim("a").await.unwrap();
    order(&server, "jobs/1/cancel", "a test", 200).await;
    let readers = pool.options().clone().max_connections(2);
    let readers = readers.connect_with(pool.connect_options().as_ref().clone().options([("default_transaction_read_only", "on")])).await.unwrap();
    let config = sheaf_prover::gateway::GatewayConfig::new(vec![sheaf_prover::gateway::TokenHash::of(&server.token)]);
    let reading = Server::serve(&readers, "127.0.0.1:0".parse().unwrap(), server.token.clone(), config).await;
    assert_eq!(code(reading.client().claim(&claim("b", 0)).await), "unavailable");
    assert_eq!(server.job_state(1).await, "queued");
    assert!(server.claim_now("b").await.is_some());
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn only_what_can_be_taken_back_is_sealed_again(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let refused = async |why: &str| {
        let problem = order(&server, "jobs/1/reseal", "nobody proves it", 409).await;
        assert_eq!((&problem["code"], &problem["field"]), (&json!("not_now"), &json!("batch")));
        assert!(problem["detail"].as_str().unwrap().contains(why) && problem["hint"].is_string(), "{why}: {problem}");
    };
    assert_eq!(order(&server, "jobs/7/reseal", "nobody proves it", 404).await["code"], "unknown_job");
    refused("its job is queued").await;
    order(&server, "jobs/1/park", "nobody proves it", 200).await;
    refused("it is sealed").await;
    let committed = "INSERT INTO l1_blocks VALUES (1, decode(repeat('01', 32), 'hex'), decode(repeat('00', 32), 'hex'), now());
        INSERT INTO l1_events VALUES (1, 0, decode(repeat('02', 32), 'hex'), 'committed', 1, NULL, '{}')";
    sqlx::raw_sql(committed).execute(&pool).await.unwrap();
    refused("every circuit of the deployment was tried").await;
    assert_eq!(audit(&pool).await, [("alice".to_owned(), "prover.park".to_owned())]);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_gateway_that_has_ended_shows_no_queue(pool: PgPool) {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _collects = metrics::set_default_local_recorder(&recorder);
    let shown = recorder.handle();
    let shows = |lines: [&str; 2]| lines.iter().all(|line| shown.render().lines().any(|found| found == *line));
    let server = Server::start(&pool, 2, usual).await;
    server.claim("a").await.unwrap();
    let busy = [r#"sheaf_prover_jobs{circuit="1",state="leased"} 1"#, r#"sheaf_prover_workers{state="seen"} 1"#];
    until("the queue is shown", || async { shows(busy) }).await;
    assert!(!shows([r#"sheaf_prover_oldest_job_seconds{circuit="1"} 0"#; 2]));
    drop(server);
    let idle = [r#"sheaf_prover_jobs{circuit="1",state="leased"} 0"#, r#"sheaf_prover_workers{state="seen"} 0"#];
    until("nothing is shown", || async { shows(idle) }).await;
    assert!(shows([r#"sheaf_prover_jobs{circuit="1",state="waiting"} 0"#, r#"sheaf_prover_oldest_job_seconds{circuit="1"} 0"#]));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn workers_that_were_away_for_long_are_forgotten_drained_ones_too(pool: PgPool) {
    let known = "INSERT INTO prover_workers (name, memory_mb, circuits, last_seen, drain_since) VALUES
        ('old', 1, '{1}', now() - interval '8 days', NULL), ('drained', 1, '{1}', now() - interval '8 days', now() - interval '9 days'),
        ('away', 1, '{1}', now() - interval '6 days', now() - interval '9 days')";
    sqlx::raw_sql(known).execute(&pool).await.unwrap();
    let server = Server::start(&pool, 0, usual).await;
    let names = async || -> Vec<String> { sqlx::query_scalar("SELECT name FROM prover_workers").fetch_all(&server.pool).await.unwrap() };
    until("old workers are forgotten", || async { names().await == ["away"] }).await;
}
