//! The fleet on a real database, a real port and real proofs: each test is named after what goes wrong, or must not.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;
mod incidents;
mod layout;
mod operators;

use common::{Server, beat, claim, code, failure, proof, prover, seal, short, submission, until, usual, worker};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sheaf_protocol::manifest::HexWord;
use sheaf_prover::gateway::{GatewayConfig, MAX_BODY_BYTES, TokenHash, new_token};
use sheaf_prover::wire::{FailureReason, OfferedCircuit, Outcome};
use sheaf_prover::worker::{KeyCache, Worker, WorkerConfig, WorkerError};
use sqlx::PgPool;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_proof_is_stored_once_however_often_it_is_submitted(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let job = server.claim("a").await.unwrap();
    assert_eq!((job.batch, job.lease), (1, 1));
    let (client, submission) = (server.client(), submission("a", job.lease, proof(1)));
    assert_eq!(client.submit(1, &submission).await.unwrap().outcome, Outcome::Stored);
    for _ in 0..2 {
        assert_eq!(client.submit(1, &submission).await.unwrap().outcome, Outcome::AlreadyProven);
    }
    assert_eq!(server.proofs().await, [1]);
    assert_eq!(server.job_state(1).await, "proven");
    assert!(server.claim_now("a").await.is_none());
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_stale_worker_can_neither_extend_nor_release_the_lease(pool: PgPool) {
    let server = Server::start(&pool, 1, short).await;
    let stale = server.claim("stale").await.unwrap();
    let current = server.claim("current").await.unwrap();
    assert!(current.lease > stale.lease);
    let client = server.client();
    assert_eq!(code(client.heartbeat(1, &beat("stale", stale.lease)).await), "stale_lease");
    assert_eq!(code(client.fail(1, &failure("stale", stale.lease, FailureReason::Prove)).await), "stale_lease");
    assert!(client.heartbeat(1, &beat("current", current.lease)).await.is_ok());
    assert_eq!(code(client.heartbeat(1, &beat("current", current.lease + 1)).await), "stale_lease");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_lease_lives_as_long_as_its_heartbeats(pool: PgPool) {
    let server = Server::start(&pool, 1, |config| config.lease_ms = 300).await;
    let job = server.claim("a").await.unwrap();
    let client = server.client();
    for _ in 0..20 {
        client.heartbeat(1, &beat("a", job.lease)).await.unwrap();
        assert!(server.claim_now("b").await.is_none());
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!(server.claim("b").await.unwrap().lease, job.lease + 1);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_late_valid_proof_is_taken_while_the_batch_lacks_one(pool: PgPool) {
    let server = Server::start(&pool, 1, short).await;
    let late = server.claim("late").await.unwrap();
    let current = server.claim("current").await.unwrap();
    let client = server.client();
    assert_eq!(client.submit(1, &submission("late", late.lease, proof(1))).await.unwrap().outcome, Outcome::StoredLate);
    assert_eq!(code(client.heartbeat(1, &beat("current", current.lease)).await), "stale_lease");
    assert_eq!(client.submit(1, &submission("current", current.lease, proof(1))).await.unwrap().outcome, Outcome::AlreadyProven);
    assert_eq!(server.proofs().await, [1]);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_proof_of_another_batch_is_refused_and_never_stored(pool: PgPool) {
    let server = Server::start(&pool, 2, usual).await;
    let job = server.claim("a").await.unwrap();
    assert_eq!(code(server.client().submit(1, &submission("a", job.lease, proof(2))).await), "proof_invalid");
    assert!(server.proofs().await.is_empty());
    assert_eq!(server.job_state(1).await, "queued", "the lease of a forger is over");
    let reason: String = sqlx::query_scalar("SELECT reason FROM proof_attempts").fetch_one(&pool).await.unwrap();
    assert_eq!(reason, "proof_invalid");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_corrupted_proof_is_refused_and_never_stored(pool: PgPool) {
    let server = Server::start(&pool, 2, |config| config.same_worker_pause_ms = 0).await;
    let good = proof(1);
    for word in 0..8 {
        let name = format!("worker-{}", word % 2);
        let job = server.claim(&name).await.unwrap();
        let mut bad = good;
        bad[word][31] ^= 1;
        assert_eq!(code(server.client().submit(1, &submission(&name, job.lease, bad)).await), "proof_invalid", "word {word}");
    }
    let third = server.claim("worker-2").await.unwrap();
    assert!(server.client().fail(1, &failure("worker-2", third.lease, FailureReason::Prove)).await.unwrap().parked);
    for (bad, name) in [[[0; 32]; 8], [[0xff; 32]; 8], good.map(|_| good[0])].into_iter().zip(["worker-0", "worker-1", "worker-0"]) {
        let job = server.claim(name).await.unwrap();
        assert_eq!((job.batch, code(server.client().submit(2, &submission(name, job.lease, bad)).await)), (2, "proof_invalid".into()));
    }
    assert!(server.proofs().await.is_empty());
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_bad_proof_under_a_stale_lease_does_not_hurt_the_current_one(pool: PgPool) {
    let server = Server::start(&pool, 2, short).await;
    let stale = server.claim("stale").await.unwrap();
    let current = server.claim("current").await.unwrap();
    assert_eq!(code(server.client().submit(1, &submission("stale", stale.lease, proof(2))).await), "proof_invalid");
    assert!(server.client().heartbeat(1, &beat("current", current.lease)).await.is_ok());
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_valid_proof_under_a_lease_that_never_was_is_stale(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let result = server.client().submit(1, &submission("a", 7, proof(1))).await;
    assert_eq!(code(result), "stale_lease");
    assert!(server.proofs().await.is_empty());
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn three_different_workers_fail_and_the_job_is_parked(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let client = server.client();
    let mut leases = Vec::new();
    for name in ["a", "b", "c"] {
        let job = server.claim(name).await.unwrap();
        leases.push(job.lease);
        let released = client.fail(1, &failure(name, job.lease, FailureReason::Prove)).await.unwrap();
        assert_eq!(released.parked, name == "c", "{name}");
        assert!(server.claim_now(name).await.is_none(), "a worker that failed does not get the job again at once");
    }
    assert!(server.claim_now("d").await.is_none(), "nobody gets a parked job");
    assert_eq!(server.job_state(1).await, "parked");
    assert_eq!(client.submit(1, &submission("a", leases[0], proof(1))).await.unwrap().outcome, Outcome::StoredLate);
    assert_eq!(server.job_state(1).await, "proven");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_worker_alone_parks_what_it_failed_ten_times(pool: PgPool) {
    let server = Server::start(&pool, 1, |config| config.same_worker_pause_ms = 0).await;
    for round in 1..=10 {
        let job = server.claim("a").await.unwrap();
        let released = server.client().fail(1, &failure("a", job.lease, FailureReason::Witness)).await.unwrap();
        assert_eq!(released.parked, round == 10, "{round}");
    }
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn who_failed_a_job_does_not_get_it_twice_in_a_row_while_another_is_there(pool: PgPool) {
    let server = Server::start(&pool, 3, |config| config.same_worker_pause_ms = 0).await;
    let busy = server.claim_now("b").await.unwrap();
    assert_eq!(busy.batch, 1);
    for batch in [2, 3] {
        let job = server.claim_now("a").await.unwrap();
        assert_eq!(job.batch, batch);
        assert!(!server.client().fail(batch, &failure("a", job.lease, FailureReason::Prove)).await.unwrap().parked);
    }
    assert!(server.claim_now("a").await.is_none(), "b is there, however busy");
    operators::order(&server, "workers/b/drain", "a test", 200).await;
    assert_eq!(server.claim_now("a").await.unwrap().batch, 2, "b will not take it");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_drained_job_is_free_at_once_and_not_counted(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    for name in ["a", "b", "c", "a"] {
        let job = server.claim_now(name).await.unwrap();
        assert!(!server.client().fail(1, &failure(name, job.lease, FailureReason::Drained)).await.unwrap().parked);
    }
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_oldest_batch_comes_first_and_a_lost_answer_is_delivered_again(pool: PgPool) {
    let server = Server::start(&pool, 3, usual).await;
    let first = server.claim_now("a").await.unwrap();
    let second = server.claim_now("b").await.unwrap();
    assert_eq!((first.batch, second.batch), (1, 2));
    let again = server.claim_now("b").await.unwrap();
    assert_eq!((again.batch, again.lease), (2, 2), "the same batch under a new token");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_waiting_claim_wakes_up_when_a_job_arrives(pool: PgPool) {
    let server = Server::start(&pool, 0, usual).await;
    let (client, claim) = (server.client(), claim("a", 30));
    let waiting = tokio::spawn(async move { client.claim(&claim).await.unwrap() });
    seal(&pool, 1).await;
    let job = tokio::time::timeout(Duration::from_secs(15), waiting).await.unwrap().unwrap();
    assert_eq!(job.unwrap().batch, 1);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn another_key_or_circuit_gets_no_job(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let mut claim = claim("a", 0);
    claim.circuits[0].verifying_key = HexWord([1; 32]);
    assert_eq!(code(server.client().claim(&claim).await), "key_mismatch");
    claim.circuits[0] = OfferedCircuit { circuit: 9, verifying_key: HexWord([1; 32]) };
    assert_eq!(code(server.client().claim(&claim).await), "unknown_circuit");
}

async fn post(server: &Server, route: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (StatusCode, Value) {
    let request = reqwest::Client::new().post(server.url(route)).body(body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_missing_or_wrong_token_gets_nowhere(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let json = ("content-type", "application/json");
    let other = format!("Bearer {}", new_token());
    for route in ["claim", "jobs/1/heartbeat", "jobs/1/proof", "jobs/1/failure", "jobs/1/park", "workers/a/drain"] {
        let (status, problem) = post(&server, route, &[json], b"{".to_vec()).await;
        assert_eq!((status, problem["code"].as_str()), (StatusCode::UNAUTHORIZED, Some("token_missing")), "{route}");
        let (status, problem) = post(&server, route, &[json, ("authorization", &other)], b"{".to_vec()).await;
        assert_eq!((status, problem["code"].as_str()), (StatusCode::UNAUTHORIZED, Some("token_wrong")), "{route}");
    }
    assert_eq!(server.job_state(1).await, "queued");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn bad_input_is_named_and_never_a_server_error(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let bearer = format!("Bearer {}", server.token);
    let (auth, json) = (("authorization", bearer.as_str()), ("content-type", "application/json"));
    let good = serde_json::to_value(claim("a", 0)).unwrap();
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body.to_string()
    };
    let proof = serde_json::to_value(submission("a", 1, proof(1))).unwrap().to_string();
    let short_proof = proof.replacen("\"0x", "\"0y", 1);
    let cases = [
        ("claim", json, "{".into(), 400, "malformed_body"),
        ("claim", json, "null".into(), 400, "malformed_body"),
        ("claim", json, with("extra", json!(1)), 400, "malformed_body"),
        ("claim", json, with("wait_s", json!(-1)), 400, "malformed_body"),
        ("claim", json, with("wait_s", json!(31)), 422, "invalid_field"),
        ("claim", json, with("worker", json!("a b")), 422, "invalid_field"),
        ("claim", json, with("worker", json!("x".repeat(65))), 422, "invalid_field"),
        ("claim", json, with("circuits", json!([])), 422, "invalid_field"),
        ("claim", ("content-type", "text/plain"), good.to_string(), 415, "wrong_content_type"),
        ("claim", json, " ".repeat(MAX_BODY_BYTES + 1), 413, "body_too_large"),
        ("jobs/1/proof", json, short_proof, 400, "malformed_body"),
        ("jobs/2/proof", json, proof.clone(), 404, "unknown_job"),
        ("jobs/x/proof", json, proof.clone(), 404, "not_found"),
        ("jobs/-1/proof", json, proof.clone(), 404, "not_found"),
        ("jobs/18446744073709551615/proof", json, proof, 404, "not_found"),
        ("jobs/1/heartbeat", json, json!({ "lease": 1, "progress": "prove" }).to_string(), 400, "malformed_body"),
        ("jobs/1/heartbeat", json, json!({ "lease": 1, "worker": "a b", "progress": "prove" }).to_string(), 422, "invalid_field"),
        ("jobs/1/failure", json, json!({ "lease": 1, "worker": "", "reason": "prove" }).to_string(), 422, "invalid_field"),
        ("jobs/1/failure", json, json!({ "lease": 1, "worker": "a", "reason": "prove", "detail": "\0" }).to_string(), 409, "stale_lease"),
        ("nowhere", json, "{}".into(), 404, "not_found"),
    ];
    for (route, content_type, body, status, code) in cases {
        let shown: String = body.chars().take(60).collect();
        let (got, problem) = post(&server, route, &[auth, content_type], body.into_bytes()).await;
        assert_eq!((got.as_u16(), problem["code"].as_str()), (status, Some(code)), "{route} {shown}");
        assert_eq!(problem["status"], status);
    }
    let lease = server.claim_now("a").await.unwrap().lease;
    let told = json!({ "lease": lease, "worker": "a", "reason": "prove", "detail": "a NUL \0 and an escape \u{1b}" }).to_string();
    let (got, _) = post(&server, "jobs/1/failure", &[auth, json], told.into_bytes()).await;
    assert_eq!(got, StatusCode::OK);
    let kept: String = sqlx::query_scalar("SELECT detail FROM proof_attempts").fetch_one(&pool).await.unwrap();
    assert_eq!(kept, "a NUL \u{fffd} and an escape \u{fffd}");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn two_workers_prove_every_batch_exactly_once(pool: PgPool) {
    let server = Server::start(&pool, 4, usual).await;
    let stop = CancellationToken::new();
    let workers = ["a", "b"].map(|name| {
        let (worker, stop) = (worker(&server, name, &server.token), stop.clone());
        tokio::spawn(async move { worker.run(&stop).await.unwrap() })
    });
    until("four proofs", || async { server.proofs().await.len() == 4 }).await;
    stop.cancel();
    let mut accepted = 0;
    for worker in workers {
        accepted += worker.await.unwrap().accepted;
    }
    assert_eq!(accepted, 4);
    let attempts: i64 = sqlx::query_scalar("SELECT count(*) FROM proof_attempts").fetch_one(&pool).await.unwrap();
    assert_eq!(attempts, 4);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn prover_dies_mid_proof(pool: PgPool) {
    let server = Server::start(&pool, 1, |config| config.lease_ms = 400).await;
    let dying = worker(&server, "dying", &server.token);
    let task = tokio::spawn(async move { dying.run(&CancellationToken::new()).await });
    until("a lease", || async { server.job_state(1).await == "leased" }).await;
    task.abort();
    let stop = CancellationToken::new();
    let (heir, stopped) = (worker(&server, "heir", &server.token), stop.clone());
    let heir = tokio::spawn(async move { heir.run(&stopped).await.unwrap() });
    until("a proof", || async { server.proofs().await == [1] }).await;
    stop.cancel();
    assert_eq!(heir.await.unwrap().accepted, 1);
    let outcomes: Vec<String> = sqlx::query_scalar("SELECT outcome FROM proof_attempts ORDER BY fencing_token").fetch_all(&pool).await.unwrap();
    assert_eq!(outcomes, ["expired", "proven"]);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn gateway_restarts_while_a_worker_proves(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let (address, token) = (server.address, server.token.clone());
    let stop = CancellationToken::new();
    let (busy, stopped) = (worker(&server, "busy", &token), stop.clone());
    let busy = tokio::spawn(async move { busy.run(&stopped).await.unwrap() });
    until("a lease", || async { server.job_state(1).await == "leased" }).await;
    drop(server);
    until("the port", || async { tokio::net::TcpListener::bind(address).await.is_ok() }).await;
    let config = GatewayConfig::new(vec![TokenHash::of(&token)]);
    let server = Server::serve(&pool, address, token, config).await;
    until("a proof", || async { server.proofs().await == [1] }).await;
    stop.cancel();
    assert_eq!(busy.await.unwrap().accepted, 1);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_worker_told_to_stop_finishes_its_job(pool: PgPool) {
    let server = Server::start(&pool, 2, usual).await;
    let stop = CancellationToken::new();
    let (last, stopped) = (worker(&server, "last", &server.token), stop.clone());
    let last = tokio::spawn(async move { last.run(&stopped).await.unwrap() });
    until("a lease", || async { server.job_state(1).await == "leased" }).await;
    stop.cancel();
    assert_eq!(last.await.unwrap().accepted, 1);
    assert_eq!(server.proofs().await, [1]);
    assert_eq!(server.job_state(2).await, "queued");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_worker_without_grace_gives_its_job_back(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let config = WorkerConfig { wait_s: 1, threads: 1, grace_s: 0, ..WorkerConfig::new("hasty".into()) };
    let hasty = Worker::new(server.client(), KeyCache::of([prover()]), config).unwrap();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let hasty = tokio::spawn(async move { hasty.run(&stopped).await.unwrap() });
    until("a lease", || async { server.job_state(1).await == "leased" }).await;
    stop.cancel();
    assert_eq!(hasty.await.unwrap().failed, 1);
    assert_eq!(server.job_state(1).await, "queued");
    assert!(server.claim_now("next").await.is_some());
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_worker_with_the_wrong_token_ends_with_an_error(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let error = worker(&server, "stranger", &new_token()).run(&CancellationToken::new()).await.unwrap_err();
    let WorkerError::Unwelcome(error) = error else { panic!("{error}") };
    assert_eq!(error.code(), Some("token_wrong"));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_batch_that_has_no_witness_is_given_back_with_the_reason(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let broken = "UPDATE batches SET input = jsonb_set(input, '{challenges,rho}', to_jsonb('0x' || repeat('0', 63) || '5'))";
    sqlx::query(broken).execute(&pool).await.unwrap();
    let stop = CancellationToken::new();
    let (honest, stopped) = (worker(&server, "honest", &server.token), stop.clone());
    let honest = tokio::spawn(async move { honest.run(&stopped).await.unwrap() });
    let reason =
        || async { sqlx::query_scalar::<_, Option<String>>("SELECT reason FROM proof_attempts").fetch_optional(&pool).await.unwrap().flatten() };
    until("a failure", || async { reason().await.as_deref() == Some("witness") }).await;
    stop.cancel();
    assert_eq!(honest.await.unwrap().failed, 1);
}

/// The worker learns the chain with its first job; its keys, not the gateway, say that they are for development.
#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_worker_with_development_keys_ends_where_money_is(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    sqlx::query("UPDATE deployment SET chain_id = 1").execute(&pool).await.unwrap();
    let error = worker(&server, "careless", &server.token).run(&CancellationToken::new()).await.unwrap_err();
    assert!(matches!(&error, WorkerError::InsecureKeys(insecure) if insecure.chain_id == 1), "{error}");
    assert!(server.proofs().await.is_empty() && server.job_state(1).await == "queued");
}

/// Chain and contract make the first public input: a gateway cannot name a chain and hand out the work of another.
#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_job_whose_chain_is_not_the_one_proved_is_given_back(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    sqlx::query("UPDATE deployment SET contract = decode(repeat('07', 20), 'hex')").execute(&pool).await.unwrap();
    let stop = CancellationToken::new();
    let (honest, stopped) = (worker(&server, "honest", &server.token), stop.clone());
    let honest = tokio::spawn(async move { honest.run(&stopped).await.unwrap() });
    let failed =
        || async { sqlx::query_scalar::<_, String>("SELECT reason FROM proof_attempts WHERE reason IS NOT NULL").fetch_all(&pool).await.unwrap() };
    until("a failure", || async { failed().await == ["witness"] }).await;
    stop.cancel();
    assert_eq!(honest.await.unwrap().accepted, 0);
    assert!(server.proofs().await.is_empty());
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_openapi_document_names_every_route_and_the_token(pool: PgPool) {
    let server = Server::start(&pool, 0, usual).await;
    let document: Value = reqwest::get(server.url("openapi.json")).await.unwrap().json().await.unwrap();
    let posts = ["claim", "jobs/{batch}/heartbeat", "jobs/{batch}/proof", "jobs/{batch}/failure", "jobs/{batch}/{order}", "workers/{name}/{order}"];
    for route in posts {
        assert!(document["paths"][format!("/prover/v1/{route}")]["post"].is_object(), "{route}");
    }
    for (schema, orders) in [("JobOrder", json!(["retry", "park", "cancel", "reseal"])), ("FleetOrder", json!(["drain", "resume"]))] {
        assert_eq!(document["components"]["schemas"][schema]["enum"], orders);
    }
    for route in ["status", "jobs", "jobs/{batch}"] {
        assert_eq!(document["paths"][format!("/prover/v1/{route}")]["get"]["security"], json!([{}]), "{route}");
    }
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
}
