//! A running sequencer, people with keys, and L1 as rows.

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId, TokenId};
use sheaf_protocol::field::{Fr, to_hex, to_word};
use sheaf_protocol::header::{QueueEntry, QueueKind, domain};
use sheaf_protocol::kzg::Srs;
use sheaf_protocol::ledger::Triple;
use sheaf_protocol::ops::{Op, Register, SignedOp, Transfer, Withdraw};
use sheaf_protocol::schnorr::{SecretKey, sign};
use sheaf_protocol::shape::by_name;
use sheaf_sequencer::config::{Circuit, FeeAccount};
use sheaf_sequencer::{Config, Deployment, RenderMetrics, Sequencer, StartError, serve};
use sheaf_store::l1::{self, BlockRow, Event, EventRow};
use sqlx::PgPool;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Binary logarithm of the state's slots in most tests.
pub(crate) const K: u32 = 10;
/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// What a recorder of metrics would say.
pub(crate) const METRICS: &str = "# TYPE sheaf_test counter\nsheaf_test 1\n";
/// The least fee.
pub(crate) const FEE: u128 = 10;

static SRS: LazyLock<Mutex<HashMap<u32, Arc<Srs>>>> = LazyLock::new(Mutex::default);

pub(crate) fn srs(k: u32) -> Arc<Srs> {
    let mut known = SRS.lock().unwrap();
    Arc::clone(known.entry(k).or_insert_with(|| Arc::new(Srs::insecure_dev(k, "sequencer tests").unwrap())))
}

/// Somebody with a key and an L1 address.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) key: SecretKey,
    pub(crate) owner: Address,
}

impl Person {
    pub(crate) fn new(number: u8) -> Self {
        Self { key: SecretKey::from_seed(&[number; 32]).unwrap(), owner: Address([number; 20]) }
    }

    pub(crate) fn deposit(&self, token: TokenId, amount: u128) -> QueueEntry {
        self.deposit_key(self.key.public().0, token, amount)
    }

    pub(crate) fn deposit_key(&self, key: Fr, token: TokenId, amount: u128) -> QueueEntry {
        QueueEntry { kind: QueueKind::Deposit, sender: self.owner, token, amount: Amount(amount), slot: SlotId(0), owner: self.owner, key }
    }

    pub(crate) fn sign(&self, op: Op) -> SignedOp {
        self.sign_in(deployment(K).domain, op)
    }

    pub(crate) fn sign_in(&self, domain: Fr, op: Op) -> SignedOp {
        let mut random = [0; 32];
        StdRng::from_entropy().fill_bytes(&mut random);
        SignedOp { op, signature: sign(&self.key, domain, op.tag() as u8, op.message(domain), &random) }
    }
}

/// The operator: slot 1 of every standard state.
pub(crate) fn operator() -> Person {
    Person::new(200)
}

/// Alice, slot 2 of every standard state.
pub(crate) fn alice() -> Person {
    Person::new(1)
}

/// Bob, slot 3.
pub(crate) fn bob() -> Person {
    Person::new(2)
}

pub(crate) fn transfer(from: u32, to: u32, nonce: u32, amount: u128) -> Op {
    Op::Transfer(Transfer {
        from: SlotId(from),
        to: SlotId(to),
        token: NATIVE,
        nonce: Nonce(nonce),
        amount: AmountFloat::from_amount(Amount(amount)).unwrap(),
        fee: FeeFloat::from_amount(Amount(FEE)).unwrap(),
    })
}

pub(crate) fn withdraw(from: u32, nonce: u32, amount: u128) -> Op {
    let fee = FeeFloat::from_amount(Amount(FEE)).unwrap();
    Op::Withdraw(Withdraw { from: SlotId(from), token: NATIVE, nonce: Nonce(nonce), fee, amount: Amount(amount), address: Address([9; 20]) })
}

/// Slot `from` registers an account.
pub(crate) fn register(from: u32, nonce: u32, account: Triple) -> Op {
    let fee = FeeFloat::from_amount(Amount(FEE)).unwrap();
    Op::Register(Register { from: SlotId(from), token: NATIVE, nonce: Nonce(nonce), fee, account })
}

/// The JSON of a signed operation.
pub(crate) fn body(signed: &SignedOp) -> Value {
    let signature = to_hex(&signed.signature.to_bytes());
    let op = signed.op;
    let mut body = json!({
        "from": op.from().to_string(), "token": op.token().to_string(), "nonce": op.nonce().to_string(), "fee": op.fee().to_string(),
        "signature": signature,
    });
    if !matches!(op, Op::Register(_)) {
        body["amount"] = op.amount().to_string().into();
    }
    match op {
        Op::Transfer(transfer) => {
            body["op"] = "transfer".into();
            body["to"] = transfer.to.to_string().into();
        }
        Op::Withdraw(withdraw) => {
            body["op"] = "withdraw".into();
            body["address"] = withdraw.address.to_string().into();
        }
        Op::Register(register) => {
            body["op"] = "register".into();
            body["key"] = to_hex(&to_word(register.account.key)).into();
            body["owner"] = register.account.owner.to_string().into();
            body["account_token"] = register.account.token.to_string().into();
        }
    }
    body
}

pub(crate) fn deployment(k: u32) -> Deployment {
    let contract = Address([0xcc; 20]);
    let circuits = ["test", "small-hot"].iter().zip(1..).map(|(name, id)| Circuit {
        id,
        name: (*name).to_owned(),
        shape: by_name(name).unwrap().shape,
        constraints: Some(1_000),
    });
    Deployment {
        chain_id: 31337,
        contract,
        domain: domain(31337, &contract),
        k,
        circuits: circuits.filter(|circuit| k >= 8 || circuit.id == 1).collect(),
        trusted_setup: "INSECURE-DEV".to_owned(),
        manifest_digest: [7; 32],
    }
}

/// Seals only what is full or asked for.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.fees.account = Some(FeeAccount { key: operator().key.public().0, owner: operator().owner });
    config.fees.default_minimum = Amount(FEE);
    config.deposits.confirmations = 1;
    config.deposits.poll = Duration::from_millis(50);
    config.sealing.max_age = Duration::from_secs(3600);
    config.lead.lease = Duration::from_millis(900);
    config.api.rate = None;
    config
}

/// A sequencer that listens.
pub(crate) struct Node {
    pub(crate) pool: PgPool,
    pub(crate) base: String,
    pub(crate) http: reqwest::Client,
    pub(crate) sequencer: Sequencer,
    pub(crate) stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Node {
    pub(crate) async fn start(pool: &PgPool, config: Config) -> Self {
        Self::try_start(pool, config, K).await.unwrap()
    }

    pub(crate) async fn try_start(pool: &PgPool, config: Config, k: u32) -> Result<Self, StartError> {
        let stop = CancellationToken::new();
        let api = config.api.clone();
        let metrics: RenderMetrics = Arc::new(|| METRICS.to_owned());
        let sequencer = Sequencer::start(config, pool.clone(), srs(k), deployment(k), Some(metrics), stop.clone()).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (router, ends) = (sequencer.router(), stop.clone());
        let server = tokio::spawn(async move { serve(listener, router, &api, ends).await });
        Ok(Self { pool: pool.clone(), base, http: reqwest::Client::new(), sequencer, stop, server })
    }

    /// A node whose slots are 1: the operator, 2: Alice, 3: Bob, each with `amount` of the native coin.
    pub(crate) async fn with_people(pool: &PgPool, config: Config, amount: u128) -> Self {
        let node = Self::start(pool, config).await;
        node.mine([operator(), alice(), bob()].iter().map(|person| person.deposit(NATIVE, amount)).collect()).await;
        node.until("three slots", async || node.get("/v1/slots/3").await.0 == StatusCode::OK).await;
        node
    }

    /// Ends as a crash does: nothing is finished, the lease is not given up.
    pub(crate) fn kill(self) -> PgPool {
        self.server.abort();
        self.pool
    }

    pub(crate) async fn stop(self) -> PgPool {
        self.stop.cancel();
        self.server.await.unwrap();
        self.sequencer.stopped().await.unwrap();
        self.pool
    }

    /// A block with these queue entries.
    pub(crate) async fn mine(&self, entries: Vec<QueueEntry>) {
        mine(&self.pool, |first| entries.into_iter().zip(first..).map(|(entry, index)| Event::Queued(index, entry)).collect()).await;
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(self.http.get(format!("{}{path}", self.base)).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, body: &Value) -> (StatusCode, Value) {
        self.post_as("application/json", body.to_string().into_bytes()).await
    }

    pub(crate) async fn post_as(&self, content_type: &str, body: Vec<u8>) -> (StatusCode, Value) {
        let request = self.http.post(format!("{}/v1/transactions", self.base)).header("content-type", content_type).body(body);
        read(request.send().await.unwrap()).await
    }

    /// Sends one that must be accepted.
    pub(crate) async fn send(&self, signed: &SignedOp) -> Value {
        let (status, receipt) = self.post(&body(signed)).await;
        assert_eq!(status, StatusCode::OK, "{receipt}");
        receipt
    }

    pub(crate) async fn slot(&self, id: u32) -> Value {
        self.get(&format!("/v1/slots/{id}")).await.1
    }

    /// Seals what waits and returns once batch `number` is computed.
    pub(crate) async fn seal(&self, number: u64) {
        let asked = Cell::new(0);
        self.until("a computed batch", async || {
            let (status, batch) = self.get(&format!("/v1/batches/{number}")).await;
            // an order too many would seal what comes next; one that came too early is repeated
            if status == StatusCode::NOT_FOUND && asked.replace(asked.get() + 1) % 50 == 0 {
                self.sequencer.seal_now();
            }
            batch["computed_at"].is_string()
        })
        .await;
    }

    pub(crate) async fn until(&self, what: &str, reached: impl AsyncFn() -> bool) {
        let started = Instant::now();
        while !reached().await {
            assert!(started.elapsed() < PATIENCE, "waited too long for {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A block with these events; the closure gets the next queue index.
pub(crate) async fn mine(pool: &PgPool, events: impl FnOnce(u64) -> Vec<Event>) {
    let mut transaction = pool.begin().await.unwrap();
    let last: i64 = sqlx::query_scalar("SELECT coalesce(max(queue_index), 0) FROM l1_events").fetch_one(&mut *transaction).await.unwrap();
    let parent = l1::tip(&mut transaction).await.unwrap();
    let number = parent.as_ref().map_or(1, |block| block.number + 1);
    let mut hash = [0x11; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    let parent_hash = parent.map_or([0; 32], |block| block.hash);
    l1::append_block(&mut transaction, &BlockRow { number, hash, parent_hash, timestamp_s: 1_700_000_000 + number }).await.unwrap();
    for (event, log_index) in events(last as u64 + 1).into_iter().zip(0..) {
        l1::append_event(&mut transaction, &EventRow { block: number, log_index, tx_hash: hash, event }).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

async fn read(response: reqwest::Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
