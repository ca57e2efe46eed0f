//! A gateway on a real port and a real database, batches with real records in it, and real proofs of the `test` circuit.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::keys::Keys;
use sheaf_circuits::prove::{Prover, proof_words};
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId};
use sheaf_protocol::batch::{Batch, Challenges, Operations, ProverInput, Signed};
use sheaf_protocol::field::{Fr, G1Affine, Word, g1_words, g2_words, to_word};
use sheaf_protocol::header::{Header, Record, ops_hash, zeta};
use sheaf_protocol::kzg::Claims;
use sheaf_protocol::ledger::{Ledger, Slot, Triple};
use sheaf_protocol::manifest::{HexWord, Manifest, Setup, SrsEntry};
use sheaf_protocol::ops::{OpTag, Transfer};
use sheaf_protocol::schnorr::{self, SecretKey};
use sheaf_protocol::shape::by_name;
use sheaf_prover::gateway::{Gateway, GatewayConfig, OperatorToken, TokenHash, Verifier, new_token};
use sheaf_prover::wire::{Claim, Failure, FailureReason, Heartbeat, Job, Phase, Submission, Timings};
use sheaf_prover::worker::{Client, ClientError, KeyCache, Worker, WorkerConfig};
use sqlx::PgPool;
use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Circuit id of the tests.
pub(crate) const CIRCUIT: u32 = 1;
/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(120);
const SEED: &str = "prover tests";

/// The `test` circuit with its keys, made once and cached below the target folder.
pub(crate) fn prover() -> Arc<Prover> {
    static PROVER: OnceLock<Arc<Prover>> = OnceLock::new();
    PROVER.get_or_init(|| Arc::new(open_prover())).clone()
}

fn open_prover() -> Prover {
    let circuit = Circuit::new(by_name("test").unwrap().shape, CIRCUIT).unwrap();
    let keys = Keys::insecure_dev(Path::new(env!("CARGO_TARGET_TMPDIR")), "test", &circuit, SEED, &mut |_, _| {}).unwrap();
    Prover::new(circuit, keys).unwrap()
}

pub(crate) fn manifest() -> Manifest {
    let prover = prover();
    let zero = HexWord([0; 32]);
    let vk = prover.keys().verifying();
    Manifest {
        setup: Setup::InsecureDevelopment { seed: SEED.into() },
        contract: zero,
        srs: SrsEntry { k: 16, digest: zero, tau: [zero; 4], l0: [[zero; 2]; 9] },
        alpha: g1_words(&vk.alpha_g1).map(HexWord),
        beta: g2_words(&vk.beta_g2).map(HexWord),
        circuits: vec![prover.keys().entry("test", prover.circuit())],
    }
}

const CONTRACT: Address = Address([1; 20]);

pub(crate) fn domain() -> Fr {
    sheaf_protocol::header::domain(31_337, &CONTRACT)
}

fn key(n: u32) -> SecretKey {
    SecretKey::from_seed(&[n as u8; 32]).unwrap()
}

/// One transfer between two slots; the same in every batch, whose header differs by number.
pub(crate) fn batch() -> Batch {
    let mut ledger = Ledger::new(16);
    for n in 1..=2 {
        let triple = Triple { key: key(n).public().0, owner: Address([n as u8; 20]), token: NATIVE };
        ledger.set(SlotId(n), Slot { balance: Amount(1_000), ..Slot::opened(triple) });
    }
    let op = Transfer {
        from: SlotId(1),
        to: SlotId(2),
        token: NATIVE,
        nonce: Nonce(0),
        amount: AmountFloat::from_amount(Amount(10)).unwrap(),
        fee: FeeFloat::from_amount(Amount(1)).unwrap(),
    };
    let signature = schnorr::sign(&key(1), domain(), OpTag::Transfer as u8, op.message(), &[1; 32]);
    let transfer = Signed { op, key: key(1).public().0, signature };
    let circuit = (CIRCUIT, by_name("test").unwrap().shape);
    Batch::assemble(&ledger, circuit, domain(), Operations { transfers: vec![transfer], ..Operations::default() }, |_| Some(SlotId(2))).unwrap()
}

/// A batch with everything that L1 would hold of it.
pub(crate) struct Sealed {
    pub(crate) input: ProverInput,
    pub(crate) record: Record,
    pub(crate) claims: Claims,
}

pub(crate) fn sealed(number: u64) -> Sealed {
    let batch = batch();
    let words = batch.used_ops_words();
    let header = Header {
        number,
        circuit: CIRCUIT,
        old_root: [number as u8; 32],
        commitments: [G1Affine::identity(); 3],
        h: batch.transcript(),
        queue_digest: [0; 32],
        taken: 0,
        ops_hash: ops_hash(&[], &words),
        data_hash: sheaf_protocol::header::data_hash(&batch.posted_data()),
    };
    let rho = header.rho(domain());
    let challenges = Challenges { rho, zeta: zeta(rho, &G1Affine::identity()) };
    let [.., y_da, y_ops] = batch.public_inputs(&challenges);
    let record = Record { header, quotient: G1Affine::identity(), y_da, y_ops };
    Sealed { claims: batch.claims(&challenges), input: ProverInput { batch, challenges }, record }
}

/// A real proof of that batch, made once.
pub(crate) fn proof(number: u64) -> [Word; 8] {
    static PROOFS: OnceLock<Mutex<HashMap<u64, [Word; 8]>>> = OnceLock::new();
    let mut proofs = PROOFS.get_or_init(Mutex::default).lock().unwrap();
    *proofs.entry(number).or_insert_with(|| {
        let sealed = sealed(number);
        let proof = prover().prove(&sealed.input.batch, &sealed.input.challenges, &mut rand::rngs::OsRng).unwrap();
        proof_words(&proof)
    })
}

/// Writes the deployment.
pub(crate) async fn deploy(pool: &PgPool) {
    sqlx::query(
        "INSERT INTO deployment (chain_id, contract, domain, deploy_block, manifest_digest, k, finality_depth)
         VALUES (31337, $1, $2, 0, $3, 16, 1)",
    )
    .bind(CONTRACT.0.as_slice())
    .bind(to_word(domain()).as_slice())
    .bind(manifest().digest().0.as_slice())
    .execute(pool)
    .await
    .unwrap();
}

/// Writes a computed batch and its job, as the sequencer does.
pub(crate) async fn seal(pool: &PgPool, number: u64) {
    let Sealed { input, record, claims } = sealed(number);
    sqlx::query(
        "INSERT INTO batches (number, circuit, seal_reason, computed_at, record, new_root, opening, claim_e, claim_z, claim_delta,
             posted_data, choices, ops_words, input)
         VALUES ($1, $2, 'size', now(), $3, $4, $5, $6, $7, $8, $9, ''::bytea, ''::bytea, $10::jsonb)",
    )
    .bind(number as i64)
    .bind(CIRCUIT as i32)
    .bind(record.words().concat())
    .bind([9u8; 32].as_slice())
    .bind([0u8; 64].as_slice())
    .bind(to_word(claims.e).as_slice())
    .bind(to_word(claims.z).as_slice())
    .bind(to_word(claims.delta).as_slice())
    .bind(input.batch.posted_data())
    .bind(serde_json::to_string(&input).unwrap())
    .execute(pool)
    .await
    .unwrap();
    sqlx::query("INSERT INTO proof_jobs (batch_number) VALUES ($1)").bind(number as i64).execute(pool).await.unwrap();
}

/// A gateway that serves until dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    /// Token of the operator called alice.
    pub(crate) operator: String,
    pub(crate) pool: PgPool,
    /// Proofs answered with "try again".
    pub(crate) put_off: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Server {
    /// A gateway on a free port with so many batches waiting.
    pub(crate) async fn start(pool: &PgPool, batches: u64, configure: impl FnOnce(&mut GatewayConfig)) -> Self {
        deploy(pool).await;
        for number in 1..=batches {
            seal(pool, number).await;
        }
        let token = new_token();
        let mut config = GatewayConfig::new(vec![TokenHash::of(&token)]);
        config.poll_ms = 20;
        configure(&mut config);
        Self::serve(pool, "127.0.0.1:0".parse().unwrap(), token, config).await
    }

    /// A gateway on that address.
    pub(crate) async fn serve(pool: &PgPool, address: SocketAddr, token: String, mut config: GatewayConfig) -> Self {
        let operator = new_token();
        config.operators.push(OperatorToken { name: "alice".into(), hash: TokenHash::of(&operator) });
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let gateway = Gateway::new(pool.clone(), Verifier::new(&manifest()).unwrap(), config, stop.clone());
        let put_off = Arc::new(AtomicUsize::new(0));
        let counted = put_off.clone();
        let router = gateway.router().layer(from_fn(move |request: Request, next: Next| count_put_off(counted.clone(), request, next)));
        tokio::spawn(async move { gateway.watch().await });
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                result = axum::serve(listener, router) => result.unwrap(),
                () = stopped.cancelled() => {}
            }
        });
        Self { address, token, operator, pool: pool.clone(), put_off, stop }
    }

    pub(crate) fn url(&self, route: &str) -> String {
        format!("http://{}/prover/v1/{route}", self.address)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.address), &self.token).unwrap()
    }

    /// Claims, waiting up to 30 s.
    pub(crate) async fn claim(&self, worker: &str) -> Option<Job> {
        self.client().claim(&claim(worker, 30)).await.unwrap()
    }

    /// Claims without waiting.
    pub(crate) async fn claim_now(&self, worker: &str) -> Option<Job> {
        self.client().claim(&claim(worker, 0)).await.unwrap()
    }

    pub(crate) async fn proofs(&self) -> Vec<i64> {
        sqlx::query_scalar("SELECT batch_number FROM proofs ORDER BY 1").fetch_all(&self.pool).await.unwrap()
    }

    pub(crate) async fn job_state(&self, batch: u64) -> String {
        sqlx::query_scalar("SELECT state FROM proof_jobs WHERE batch_number = $1").bind(batch as i64).fetch_one(&self.pool).await.unwrap()
    }
}

async fn count_put_off(counter: Arc<AtomicUsize>, request: Request, next: Next) -> Response {
    let is_proof = request.uri().path().ends_with("/proof");
    let response = next.run(request).await;
    if is_proof && response.status() == StatusCode::SERVICE_UNAVAILABLE {
        counter.fetch_add(1, Ordering::Relaxed);
    }
    response
}

pub(crate) fn claim(worker: &str, wait_s: u32) -> Claim {
    Claim { worker: worker.into(), circuits: KeyCache::of([prover()]).offers(), memory_mb: 4_096, wait_s }
}

pub(crate) fn submission(worker: &str, lease: i64, proof: [Word; 8]) -> Submission {
    let timings = Timings { witness_ms: 1, prove_ms: 2, verify_ms: 3, threads: 1 };
    Submission { lease, worker: worker.into(), proof: proof.map(HexWord), timings }
}

/// Waits until the condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A lease that is over as soon as it is given.
pub(crate) fn short(config: &mut GatewayConfig) {
    config.lease_ms = 1;
}

pub(crate) fn usual(_: &mut GatewayConfig) {}

pub(crate) fn beat(worker: &str, lease: i64) -> Heartbeat {
    Heartbeat { lease, worker: worker.into(), progress: Phase::Prove, percent: Some(50) }
}

pub(crate) fn failure(worker: &str, lease: i64, reason: FailureReason) -> Failure {
    Failure { lease, worker: worker.into(), reason, detail: "a test".into() }
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    result.unwrap_err().code().unwrap().to_owned()
}

pub(crate) fn worker(server: &Server, name: &str, token: &str) -> Worker {
    let client = Client::new(&format!("http://{}", server.address), token).unwrap();
    let config = WorkerConfig { wait_s: 1, threads: 1, ..WorkerConfig::new(name.into()) };
    Worker::new(client, KeyCache::of([prover()]), config).unwrap()
}
