//! A chain with a contract on it, batches that the contract takes, and waiting for conditions.

use ark_ec::{AffineRepr, CurveGroup};
use serde_json::{Value, json};
use sheaf_protocol::amount::{Address, Amount, SlotId};
use sheaf_protocol::field::{Fr, G1Affine, G2Affine, Word, g1_words, g2_words, to_hex, word_u128};
use sheaf_protocol::header::{Choice, QueueEntry};
use sheaf_protocol::kzg::{SIZES, Srs};
use sheaf_protocol::manifest::{CircuitEntry, HexWord, Manifest, Setup, SrsEntry};
use sheaf_protocol::shape::by_name;
use sheaf_settlement::anvil::{Anvil, AnvilOptions, DEV_KEYS, Mining};
use sheaf_settlement::deploy::{DeployOptions, Deployment, contract_digest, deploy};
use sheaf_settlement::key::L1Key;
use sheaf_settlement::lead::Lead;
use sheaf_settlement::rollup::{Rollup, TxReceipt};
use sheaf_settlement::rpc::{Rpc, RpcOptions};
use sheaf_settlement::status::{Board, Status};
use sheaf_settlement::submitter::{Submitter, SubmitterOptions};
use sheaf_settlement::watcher::{Step, Watcher, WatcherOptions};
use sheaf_store::batches::{self, Computed, Seal};
use sheaf_store::l1::{self, Transaction};
use sheaf_store::queue::{self, Taken};
use sqlx::PgPool;
use std::future::Future;
use std::time::{Duration, Instant};

/// How long a condition may take to come true.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Short, so that a frozen node is noticed soon.
pub(crate) const RPC: RpcOptions = RpcOptions { request_timeout_ms: 3_000, max_retries: 0, agree: 2, lag_patience_ms: 1_000 };

pub(crate) fn key(i: usize) -> L1Key {
    L1Key::from_hex(DEV_KEYS[i]).unwrap()
}

/// Who pays and commits.
pub(crate) fn operator() -> L1Key {
    key(0)
}

/// A user with coins on L1.
pub(crate) fn user() -> L1Key {
    key(1)
}

fn g1(scalar: u64) -> [HexWord; 2] {
    g1_words(&(G1Affine::generator() * Fr::from(scalar)).into_affine()).map(HexWord)
}

fn g2(scalar: u64) -> [HexWord; 4] {
    g2_words(&(G2Affine::generator() * Fr::from(scalar)).into_affine()).map(HexWord)
}

/// The smallest set-up of the tests, whose parts for L1 are those of any size.
pub(crate) fn srs() -> Srs {
    Srs::insecure_dev(1, "settlement tests").unwrap()
}

/// Points that are well-formed but verify nothing: these tests post batches and prove none.
pub(crate) fn manifest(srs: &Srs) -> Manifest {
    let digest = HexWord([0; 32]);
    let circuit = CircuitEntry {
        id: 1,
        name: "test".into(),
        shape: by_name("test").unwrap().shape,
        circuit: digest,
        proving_key: digest,
        verifying_key: digest,
        delta: g2(5),
        ic: std::array::from_fn(|i| g1(7 + i as u64)),
    };
    Manifest {
        setup: Setup::InsecureDevelopment { seed: "settlement tests".into() },
        contract: contract_digest(),
        srs: SrsEntry { k: 16, digest, tau: g2_words(&srs.tau_g2).map(HexWord), l0: srs.l0.map(|point| g1_words(&point).map(HexWord)) },
        alpha: g1(2),
        beta: g2(3),
        circuits: vec![circuit],
    }
}

pub(crate) fn tau_powers(srs: &Srs) -> [G1Affine; SIZES] {
    srs.tau_powers
}

/// A chain with a deployed contract and this test's part of settlement.
pub(crate) struct World {
    pub(crate) anvil: Anvil,
    pub(crate) rpc: Rpc,
    pub(crate) rollup: Rollup,
    pub(crate) deployment: Deployment,
    pub(crate) manifest: Manifest,
    pub(crate) pool: PgPool,
    pub(crate) lead: Lead,
    pub(crate) board: Board,
}

impl World {
    pub(crate) async fn new(pool: PgPool) -> Self {
        Self::with(pool, AnvilOptions::default()).await
    }

    pub(crate) async fn with(pool: PgPool, options: AnvilOptions) -> Self {
        let anvil = Anvil::start(options).await.unwrap();
        let rpc = Rpc::connect(anvil.url(), RPC).await.unwrap();
        let srs = srs();
        let (manifest, options) = (manifest(&srs), DeployOptions::new(operator().address()));
        let deployment = deploy(&rpc, &operator(), &manifest, &tau_powers(&srs), &options).await.unwrap();
        let lead = Lead::new(pool.clone(), "test", 60_000);
        assert!(lead.keep().await.unwrap());
        let rollup = Rollup::at(rpc.clone(), deployment.contract);
        Self { anvil, rpc, rollup, deployment, manifest, pool, lead, board: Board::default() }
    }

    pub(crate) fn watcher(&self, edit: impl FnOnce(&mut WatcherOptions)) -> Watcher {
        let mut options = WatcherOptions::new(self.deployment.chain_id, self.deployment.block);
        edit(&mut options);
        Watcher::new(self.rollup.clone(), self.lead.clone(), options, self.board.clone())
    }

    /// A new submitter, as after a restart: everything it knows is in the database.
    pub(crate) fn submitter(&self, edit: impl FnOnce(&mut SubmitterOptions)) -> Submitter {
        let mut options = SubmitterOptions::new(self.deployment.chain_id);
        options.finality_depth = 64;
        edit(&mut options);
        Submitter::new(self.rollup.clone(), operator(), self.lead.clone(), options, self.board.clone())
    }

    /// A new submitter with the development chain's own options.
    pub(crate) fn default_submitter(&self) -> Submitter {
        let options = SubmitterOptions::new(self.deployment.chain_id);
        Submitter::new(self.rollup.clone(), operator(), self.lead.clone(), options, self.board.clone())
    }

    pub(crate) fn status(&self) -> Status {
        self.board.status()
    }

    pub(crate) async fn deposit(&self, amount: u128) -> TxReceipt {
        self.rollup.deposit(&user(), Amount(amount), word_u128(42), Address([9; 20])).await.unwrap()
    }

    /// Anvil's own methods.
    pub(crate) async fn anvil(&self, method: &'static str, params: Vec<Value>) -> Value {
        self.rpc.raw(method, params).await.unwrap()
    }

    /// Ends the chain in order, so that it saves its state. Another one takes its place until the test starts it again.
    pub(crate) async fn stop_chain(&mut self) {
        let placeholder = Anvil::start(AnvilOptions { mining: Mining::Manual, ..AnvilOptions::default() }).await.unwrap();
        std::mem::replace(&mut self.anvil, placeholder).stop().await.unwrap();
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        self.anvil("anvil_mine", vec![json!(blocks)]).await;
    }

    /// Transactions of the operator in mined blocks.
    pub(crate) async fn operator_nonce(&self) -> u64 {
        let count = self.anvil("eth_getTransactionCount", vec![json!(operator().address().to_string()), json!("latest")]).await;
        u64::from_str_radix(count.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    /// The operator's transactions, mined or not, by nonce.
    pub(crate) async fn live(&self) -> Vec<Transaction> {
        l1::live_transactions(&mut self.pool.acquire().await.unwrap(), &operator().address(), 0, 0).await.unwrap()
    }

    /// From now on blocks are made only by [`World::mine`].
    pub(crate) async fn mine_by_hand(&self) {
        self.anvil("evm_setAutomine", vec![json!(false)]).await;
    }

    /// The node forgets the newest attempt of a transaction.
    pub(crate) async fn drop_from_pool(&self, transaction: &Transaction) {
        let hash = to_hex(&transaction.attempts.last().unwrap().hash);
        self.anvil("anvil_dropTransaction", vec![json!(hash)]).await;
    }

    /// Queue entries that the watcher has seen.
    pub(crate) async fn queued(&self) -> Vec<(u64, QueueEntry)> {
        queue::pending(&mut self.pool.acquire().await.unwrap(), 0, 1, 100).await.unwrap()
    }

    /// Seals and computes the next batch. It takes `taken` and says nothing provable, but all that a commit checks is right.
    pub(crate) async fn batch(&self, number: u64, taken: &[(u64, QueueEntry)], queue_digest: Word) {
        let mut tx = self.pool.begin().await.unwrap();
        let rows: Vec<Taken> =
            taken.iter().map(|(index, entry)| Taken { index: *index, seq: *index, slot: Some(SlotId(1)), entry: *entry }).collect();
        queue::insert(&mut tx, &rows).await.unwrap();
        batches::seal(&mut tx, &Seal { number, circuit: 1, reason: "asked", last_seq: 1_000 }).await.unwrap();
        batches::store_computed(&mut tx, &computed(number, taken, queue_digest)).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Computes a sealed batch.
    pub(crate) async fn compute(&self, number: u64, taken: &[(u64, QueueEntry)], queue_digest: Word) {
        let mut tx = self.pool.begin().await.unwrap();
        batches::store_computed(&mut tx, &computed(number, taken, queue_digest)).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The next `count` batches, empty ones.
    pub(crate) async fn empty_batches(&self, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            self.batch(number, &[], [0; 32]).await;
        }
    }
}

fn computed(number: u64, taken: &[(u64, QueueEntry)], queue_digest: Word) -> Computed {
    let mut record = vec![[0; 32]; 18];
    record[0] = word_u128(number.into());
    record[1] = word_u128(1);
    record[9] = word_u128(1);
    record[10] = queue_digest;
    record[11] = word_u128(taken.len() as u128);
    Computed {
        number,
        record,
        new_root: [0; 32],
        opening: [[0; 32]; 2],
        claims: [[0; 32]; 3],
        posted_data: vec![0; 6],
        choices: taken.iter().map(|_| Choice::Deposit(SlotId(1)).word()).collect(),
        ops_words: vec![[0; 32]; 4 * taken.len()],
        input: json!({}),
        slots: vec![],
    }
}

/// The queue digest after these entries.
pub(crate) fn digest(entries: &[(u64, QueueEntry)]) -> Word {
    entries.iter().fold([0; 32], |before, (_, entry)| entry.digest_after(&before))
}

/// Steps until the store's tip is the head.
pub(crate) async fn catch_up(watcher: &Watcher) {
    eventually("the watcher catches up", || async { matches!(watcher.step().await, Ok(Step::Idle)).then_some(()) }).await;
}

/// Rounds of a submitter until the contract has `committed` batches.
pub(crate) async fn until_committed(world: &World, submitter: &mut Submitter, committed: u64) {
    let started = Instant::now();
    while world.rollup.progress().await.unwrap().committed < committed {
        assert!(started.elapsed() < PATIENCE, "not committed: {:?}", world.status());
        submitter.step().await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// Asks again and again until there is an answer.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let poll = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, poll).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {what}"),
    }
}
