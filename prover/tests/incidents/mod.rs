//! What befalls the fleet from outside: frozen processes, a database that is away, rows that cannot be read, jobs that were given up.

use crate::common::{Server, beat, claim, code, failure, proof, seal, short, submission, until, usual, worker};
use crate::operators::order;
use sheaf_prover::wire::{FailureReason, Outcome};
use sheaf_prover::worker::{Client, KeyCache, Worker, WorkerConfig};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection, PgPool};
use std::process::{Child, Command};
use std::sync::atomic::Ordering;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_lease_obeys_only_the_worker_that_claimed_it(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let job = server.claim("a").await.unwrap();
    let client = server.client();
    assert_eq!(code(client.heartbeat(1, &beat("b", job.lease)).await), "stale_lease");
    assert_eq!(code(client.fail(1, &failure("b", job.lease, FailureReason::Drained)).await), "stale_lease");
    assert_eq!(server.job_state(1).await, "leased");
    client.heartbeat(1, &beat("a", job.lease)).await.unwrap();
}

/// Leases here are over as soon as they are given: whoever claims may have the job, while its proof arrives.
#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn claims_and_a_proof_of_one_job_at_one_moment_leave_one_proof_and_nothing_open(pool: PgPool) {
    let server = Server::start(&pool, 0, short).await;
    let clients: Vec<(String, Client)> = (0..6).map(|n| (format!("late-{n}"), server.client())).collect();
    for batch in 1..=8 {
        seal(&pool, batch).await;
        let job = server.claim("first").await.unwrap();
        let late = async |(name, client): &(String, Client)| client.claim(&claim(name, 0)).await.unwrap();
        let claims = futures::future::join_all(clients.iter().map(late));
        let (first, proof) = (server.client(), submission("first", job.lease, proof(batch)));
        let (claimed, stored) = tokio::join!(claims, first.submit(batch, &proof));
        assert!(matches!(stored.unwrap().outcome, Outcome::Stored | Outcome::StoredLate));
        let mut leases: Vec<i64> = claimed.into_iter().flatten().map(|job| job.lease).collect();
        leases.sort_unstable();
        let given = leases.len();
        leases.dedup();
        assert_eq!(leases.len(), given, "no lease was given twice");
        let open = "SELECT count(*) FROM proof_attempts WHERE ended_at IS NULL";
        assert_eq!(sqlx::query_scalar::<_, i64>(open).fetch_one(&pool).await.unwrap(), 0, "batch {batch}");
    }
    assert_eq!(server.proofs().await, (1..=8).collect::<Vec<i64>>());
}

/// As above without the proof, which would end whatever is open.
#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn claims_of_one_job_at_one_moment_leave_one_attempt_open(pool: PgPool) {
    let server = Server::start(&pool, 0, short).await;
    let clients: Vec<(String, Client)> = (0..8).map(|n| (format!("worker-{n}"), server.client())).collect();
    for batch in 1..=12 {
        seal(&pool, batch).await;
        let late = async |(name, client): &(String, Client)| client.claim(&claim(name, 0)).await.unwrap();
        let claimed = futures::future::join_all(clients.iter().map(late)).await;
        assert!(claimed.iter().flatten().count() > 0);
        let open = "SELECT array_agg(fencing_token) FROM proof_attempts WHERE batch_number = $1 AND ended_at IS NULL";
        let open: Option<Vec<i64>> = sqlx::query_scalar(open).bind(batch as i64).fetch_one(&pool).await.unwrap();
        let newest = claimed.iter().flatten().map(|job| job.lease).max().unwrap();
        assert_eq!(open, Some(vec![newest]), "batch {batch}");
        sqlx::query("UPDATE proof_jobs SET state = 'parked', worker = NULL, lease_expires_at = NULL").execute(&pool).await.unwrap();
    }
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_parked_job_is_sent_back_to_work_with_a_clean_slate(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    order(&server, "jobs/1/retry", "it is not parked", 409).await;
    for round in ["first", "second"] {
        for name in ["a", "b", "c"] {
            let lease = server.claim_now(name).await.unwrap().lease;
            let released = server.client().fail(1, &failure(name, lease, FailureReason::Prove)).await.unwrap();
            assert_eq!(released.parked, name == "c", "{round} {name}");
        }
        assert_eq!(server.job_state(1).await, "parked");
        let parked = server.client().status().await.unwrap().parked;
        assert_eq!(parked.iter().map(|job| (job.batch, job.last_error.as_deref())).collect::<Vec<_>>(), [(1, Some("prove: a test"))]);
        order(&server, "jobs/1/retry", "mended", 200).await;
    }
    let job = server.claim_now("a").await.unwrap();
    let outcome = server.client().submit(1, &submission("a", job.lease, proof(1))).await.unwrap().outcome;
    assert_eq!(outcome, Outcome::Stored);
    order(&server, "jobs/1/retry", "it is proven", 409).await;
    assert_eq!(server.job_state(1).await, "proven");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_job_that_ends_every_worker_is_parked_and_the_next_one_handed_out(pool: PgPool) {
    let server = Server::start(&pool, 2, |config| config.same_worker_pause_ms = 0).await;
    for _ in 0..10 {
        // the worker comes back under its name, without a word about what happened
        assert_eq!(server.claim_now("a").await.unwrap().batch, 1);
    }
    assert_eq!(server.claim_now("a").await.unwrap().batch, 2);
    assert_eq!(server.job_state(1).await, "parked");
    let parked = server.client().status().await.unwrap().parked.remove(0).last_error.unwrap();
    assert!(parked.starts_with("silent: 10 leases"), "{parked}");
    order(&server, "jobs/1/retry", "mended", 200).await;
    assert_eq!(server.claim_now("b").await.unwrap().batch, 1);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_worker_that_ends_again_and_again_takes_no_job_from_those_that_live(pool: PgPool) {
    let server = Server::start(&pool, 3, short).await;
    let lives = server.claim_now("lives").await.unwrap();
    server.client().submit(1, &submission("lives", lives.lease, proof(1))).await.unwrap();
    for batch in [2, 2, 2, 2, 3, 3, 3, 3] {
        assert_eq!(server.claim_now("dies").await.unwrap().batch, batch, "three more times after a lost answer, then it pauses with that job");
    }
    for batch in [2, 3] {
        let job = server.claim("lives").await.unwrap();
        assert_eq!(job.batch, batch);
        server.client().submit(batch, &submission("lives", job.lease, proof(batch))).await.unwrap();
    }
    assert!(server.claim_now("dies").await.is_none());
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn no_bad_worker_parks_what_another_would_prove(pool: PgPool) {
    let server = Server::start(&pool, 2, |config| config.same_worker_pause_ms = 0).await;
    assert_eq!(server.claim_now("busy").await.unwrap().batch, 1);
    for _ in 0..20 {
        assert_eq!(server.claim_now("dies").await.unwrap().batch, 2);
    }
    assert_eq!(server.job_state(2).await, "leased");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn an_unreadable_batch_does_not_starve_the_others(pool: PgPool) {
    let server = Server::start(&pool, 3, usual).await;
    sqlx::query("UPDATE batches SET input = '{}' WHERE number = 1").execute(&pool).await.unwrap();
    sqlx::query("UPDATE batches SET claim_e = decode(repeat('ff', 32), 'hex') WHERE number = 2").execute(&pool).await.unwrap();
    assert_eq!(server.claim_now("a").await.unwrap().batch, 3);
    for batch in [1, 2] {
        assert_eq!(server.job_state(batch).await, "parked");
    }
    let reasons: Vec<String> = sqlx::query_scalar("SELECT reason FROM proof_attempts WHERE batch_number < 3").fetch_all(&pool).await.unwrap();
    assert_eq!(reasons, ["unreadable", "unreadable"]);
    assert_eq!(code(server.client().submit(2, &submission("a", 1, proof(2))).await), "internal");
}

/// A connection to the same server, not to the test's database.
async fn beside(pool: &PgPool) -> (PgConnection, String) {
    let options: PgConnectOptions = (*pool.connect_options()).clone();
    let database = options.get_database().unwrap().to_owned();
    (options.database("postgres").connect().await.unwrap(), database)
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_database_is_away_while_a_worker_submits(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let stop = CancellationToken::new();
    let (busy, stopped) = (worker(&server, "busy", &server.token), stop.clone());
    let busy = tokio::spawn(async move { busy.run(&stopped).await.unwrap() });
    until("a lease", || async { server.job_state(1).await == "leased" }).await;

    let (mut admin, database) = beside(&pool).await;
    let run =
        async |admin: &mut PgConnection, statement: String| sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(admin).await.map(drop).unwrap();
    run(&mut admin, format!("ALTER DATABASE \"{database}\" WITH ALLOW_CONNECTIONS false")).await;
    run(&mut admin, format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")).await;
    until("the proof is put off", || async { server.put_off.load(Ordering::Relaxed) > 0 }).await;
    run(&mut admin, format!("ALTER DATABASE \"{database}\" WITH ALLOW_CONNECTIONS true")).await;

    until("a proof", || async { server.proofs().await == [1] }).await;
    stop.cancel();
    assert_eq!(busy.await.unwrap().accepted, 1);
    let outcomes: Vec<String> = sqlx::query_scalar("SELECT outcome FROM proof_attempts").fetch_all(&pool).await.unwrap();
    assert_eq!(outcomes, ["proven"]);
}

/// Where a worker process finds its gateway: address and token.
const GATEWAY: &str = "SHEAF_TEST_GATEWAY";

/// Not a test by itself: the worker that [`a_worker_is_frozen_past_its_lease`] runs as a process of its own, until SIGTERM.
#[tokio::test]
async fn worker_process() {
    let Ok(gateway) = std::env::var(GATEWAY) else { return };
    let (address, token) = gateway.split_once(' ').unwrap();
    let config = WorkerConfig { wait_s: 1, threads: 1, ..WorkerConfig::new("frozen".into()) };
    let worker = Worker::new(Client::new(address, token).unwrap(), KeyCache::of([crate::common::prover()]), config).unwrap();
    let stop = CancellationToken::new();
    let work = worker.run(&stop);
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    let told = async {
        terminated.recv().await;
        stop.cancel();
    };
    let (summary, ()) = tokio::join!(work, told);
    assert_eq!(summary.unwrap().accepted, 1);
}

fn send(name: &str, process: &Child) {
    assert!(Command::new("kill").args([name, &process.id().to_string()]).status().unwrap().success());
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_worker_is_frozen_past_its_lease(pool: PgPool) {
    crate::common::prover();
    let server = Server::start(&pool, 1, |config| config.lease_ms = 400).await;
    let mut frozen = Command::new(std::env::current_exe().unwrap());
    frozen.args(["--exact", "incidents::worker_process"]).env(GATEWAY, format!("http://{} {}", server.address, server.token));
    let mut frozen = frozen.spawn().unwrap();
    until("a lease", || async { server.job_state(1).await == "leased" }).await;
    send("-STOP", &frozen);
    let heir = server.claim("heir").await.unwrap();
    assert_eq!(heir.lease, 2);

    // it is told to stop as well, so that it ends with the job that it has
    send("-TERM", &frozen);
    send("-CONT", &frozen);
    until("the late proof", || async { server.proofs().await == [1] }).await;
    let ended = tokio::task::spawn_blocking(move || frozen.wait().unwrap()).await.unwrap();
    assert!(ended.success(), "the late proof was accepted");
    let outcomes: Vec<String> = sqlx::query_scalar("SELECT outcome FROM proof_attempts ORDER BY fencing_token").fetch_all(&pool).await.unwrap();
    assert_eq!(outcomes, ["proven", "released"]);
    let again = server.client().submit(1, &submission("heir", heir.lease, proof(1))).await.unwrap();
    assert_eq!(again.outcome, Outcome::AlreadyProven);
}
