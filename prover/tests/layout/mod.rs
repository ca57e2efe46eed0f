//! Circuits that are laid out while their worker claims already: what waits for them, what does not, and what happens if they are not their keys'.

use crate::common::{CIRCUIT, Server, manifest, prover, until, usual};
use sha2::{Digest, Sha256};
use sheaf_circuits::keys::Keys;
use sheaf_circuits::prove::Prover;
use sheaf_protocol::manifest::{HexWord, Manifest};
use sheaf_prover::wire::Claim;
use sheaf_prover::worker::{KeyCache, KeyCacheError, Summary, Worker, WorkerConfig, WorkerError};
use sqlx::PgPool;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Ends one call that lays the circuit out, with this result.
type End = Sender<Result<Arc<Prover>, KeyCacheError>>;

/// The key of the tests, whose circuit is laid out when the test says so; the receiver hears when that has begun.
fn held() -> (KeyCache, Receiver<()>, End) {
    let ((begun, begins), (end, ended)) = (channel(), channel());
    let ends = Mutex::new((begun, ended));
    let lay_out = move || {
        let (begun, ended) = &*ends.lock().unwrap();
        begun.send(()).unwrap();
        ended.recv().unwrap()
    };
    (KeyCache::laid_out_by(CIRCUIT, prover().keys(), lay_out), begins, end)
}

fn start(server: &Server, name: &str, keys: KeyCache, stop: &CancellationToken) -> JoinHandle<Result<Summary, WorkerError>> {
    let config = WorkerConfig { wait_s: 1, threads: 1, grace_s: 0, ..WorkerConfig::new(name.into()) };
    let (worker, stop) = (Worker::new(server.client(), keys, config).unwrap(), stop.clone());
    tokio::spawn(async move { worker.run(&stop).await })
}

async fn leased(server: &Server) {
    until("a lease", || async { server.job_state(1).await == "leased" }).await;
}

/// Outcome and reason of every lease.
async fn attempts(pool: &PgPool) -> Vec<(String, Option<String>)> {
    sqlx::query_as("SELECT outcome, reason FROM proof_attempts ORDER BY fencing_token").fetch_all(pool).await.unwrap()
}

fn another_circuit() -> KeyCacheError {
    KeyCacheError::OtherCircuit { name: "test".into(), ours: HexWord([1; 32]), manifest: HexWord([2; 32]) }
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_first_job_is_claimed_before_the_circuit_is_laid_out(pool: PgPool) {
    let server = Server::start(&pool, 1, |config| config.lease_ms = 400).await;
    let ((keys, begins, end), stop) = (held(), CancellationToken::new());
    let busy = start(&server, "busy", keys, &stop);
    leased(&server).await;
    begins.recv().unwrap();
    // heartbeats carry the lease through several of its terms, and say what the worker waits for
    let beaten = "SELECT phase = 'lay_out' AND heartbeat_at > started_at + interval '2 seconds' FROM proof_attempts";
    let beats = || async { sqlx::query_scalar::<_, Option<bool>>(beaten).fetch_one(&pool).await.unwrap() == Some(true) };
    until("heartbeats", beats).await;
    assert_eq!(server.job_state(1).await, "leased");
    end.send(Ok(prover())).unwrap();
    until("a proof", || async { server.proofs().await == [1] }).await;
    stop.cancel();
    assert_eq!(busy.await.unwrap().unwrap(), Summary { accepted: 1, failed: 0 });
    assert_eq!(attempts(&pool).await, [("proven".to_owned(), None)], "one lease was enough");
    assert!(begins.try_recv().is_err(), "laid out once");
}

/// A new version is rolled out that cannot prove for this deployment: its workers end, and the jobs stay for those that can.
#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_circuit_that_is_not_the_keys_ends_its_workers_and_parks_nothing(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let names = ["a", "b", "c"];
    for name in names {
        let (keys, begins, end) = held();
        let wrong = start(&server, name, keys, &CancellationToken::new());
        leased(&server).await;
        begins.recv().unwrap();
        end.send(Err(another_circuit())).unwrap();
        let error = wrong.await.unwrap().unwrap_err();
        assert!(matches!(&error, WorkerError::LayOut(error) if matches!(**error, KeyCacheError::OtherCircuit { .. })), "{error}");
        assert_eq!(server.job_state(1).await, "queued", "{name}");
    }
    let expected = ("released".to_owned(), Some("lay_out".to_owned()));
    assert_eq!(attempts(&pool).await, names.map(|_| expected.clone()));
    let detail: String = sqlx::query_scalar("SELECT detail FROM proof_attempts LIMIT 1").fetch_one(&pool).await.unwrap();
    assert_eq!(detail, another_circuit().to_string());
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_worker_without_work_ends_as_well_if_its_circuit_is_not_the_keys(pool: PgPool) {
    let server = Server::start(&pool, 0, usual).await;
    let (keys, begins, end) = held();
    let idle = start(&server, "idle", keys, &CancellationToken::new());
    begins.recv().unwrap();
    end.send(Err(another_circuit())).unwrap();
    assert!(matches!(idle.await.unwrap().unwrap_err(), WorkerError::LayOut(_)));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_worker_told_to_stop_does_not_wait_for_its_circuit(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let ((keys, begins, end), stop) = (held(), CancellationToken::new());
    let hasty = start(&server, "hasty", keys, &stop);
    leased(&server).await;
    begins.recv().unwrap();
    stop.cancel();
    assert_eq!(hasty.await.unwrap().unwrap(), Summary { accepted: 0, failed: 1 });
    assert_eq!(attempts(&pool).await, [("released".to_owned(), Some("drained".to_owned()))]);
    assert_eq!(server.job_state(1).await, "queued");
    // what waits for it on a thread would keep the runtime
    end.send(Ok(prover())).unwrap();
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_panic_while_the_circuit_is_laid_out_gives_the_job_back(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let keys = KeyCache::laid_out_by(CIRCUIT, prover().keys(), || panic!("a bug"));
    let stop = CancellationToken::new();
    let broken = start(&server, "broken", keys, &stop);
    until("a failure", || async { server.job_state(1).await == "queued" && !attempts_ended(&pool).await.is_empty() }).await;
    assert_eq!(attempts(&pool).await, [("failed".to_owned(), Some("prove".to_owned()))]);
    stop.cancel();
    assert_eq!(broken.await.unwrap().unwrap(), Summary { accepted: 0, failed: 1 });
}

async fn attempts_ended(pool: &PgPool) -> Vec<i64> {
    sqlx::query_scalar("SELECT fencing_token FROM proof_attempts WHERE ended_at IS NOT NULL").fetch_all(pool).await.unwrap()
}

/// Manifest and key file of a build whose constraints are others: all of it fits together but for this program.
fn of_another_build(folder: &Path) -> Manifest {
    const CIRCUIT_DIGEST: std::ops::Range<usize> = 44..76;
    let mut other = manifest();
    let made = Keys::path_of(Path::new(env!("CARGO_TARGET_TMPDIR")), &other.setup, &other.circuits[0]);
    let mut key = std::fs::read(made).unwrap();
    key[CIRCUIT_DIGEST].copy_from_slice(&[7; 32]);
    (other.circuits[0].circuit, other.circuits[0].proving_key) = (HexWord([7; 32]), HexWord(Sha256::digest(&key).into()));
    let path = Keys::path_of(folder, &other.setup, &other.circuits[0]);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, key).unwrap();
    other
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_key_opens_by_its_manifest_and_the_circuit_is_held_against_it(pool: PgPool) {
    let server = Server::start(&pool, 1, usual).await;
    let folder = tempfile::tempdir().unwrap();
    let good = KeyCache::open(Path::new(env!("CARGO_TARGET_TMPDIR")), &manifest(), &[]).unwrap();
    let claim = Claim { worker: "good".into(), circuits: good.offers(), memory_mb: 4_096, wait_s: 0 };
    assert_eq!(server.client().claim(&claim).await.unwrap().unwrap().batch, 1, "offered before it is laid out");
    good.lay_out().unwrap();

    let wrong = KeyCache::open(folder.path(), &of_another_build(folder.path()), &[]).unwrap();
    let error = wrong.lay_out().unwrap_err();
    assert!(matches!(*error, KeyCacheError::OtherCircuit { manifest: HexWord([7, ..]), .. }), "{error}");
    assert!(error.to_string().contains("use the version that the deployment was made with"), "{error}");
    let ended = start(&server, "wrong", wrong, &CancellationToken::new()).await.unwrap().unwrap_err();
    assert_eq!(ended.to_string(), error.to_string());
}
