//! A storm on L1: reorgs of 1 to 64 blocks that drop deposits, a hundredfold price of gas, sendings that nobody hears of again, in an order drawn
//! from a seed, while real batches are committed, proven, settled and refunded. After each one everything must come to its end by itself: every
//! batch on L1 once, every coin where it belongs, every nonce used, no alarm.
//!
//! `make storm` plays all of it and prints the table; the tests play the beginning. `SHEAF_STORM_SEED` sets the seed, `SHEAF_STORM=full` the length.

use crate::common::{PATIENCE, RPC, World, catch_up, operator, user};
use crate::proven::{Fixture, fixture_chain, store_batch, words};
use crate::relay::{Fate, relay};
use serde_json::json;
use sheaf_protocol::amount::{Address, Amount, NATIVE};
use sheaf_protocol::field::{Word, keccak, word_u128};
use sheaf_protocol::header::QueueEntry;
use sheaf_settlement::anvil::AnvilOptions;
use sheaf_settlement::rollup::Rollup;
use sheaf_settlement::rpc::Rpc;
use sheaf_settlement::submitter::{Submitter, SubmitterOptions};
use sheaf_settlement::watcher::Watcher;
use sheaf_store::l1::{self, TxKind};
use sqlx::PgPool;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

/// Deepest reorg; deposits are taken by batches one block deeper, as an operator must set `--deposit-depth`.
const DEEPEST: u64 = 64;
const GWEI: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Reorg(u64),
    Spike,
    SendingLost,
    AnswerLost,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Reorg(1..=8) => "reorg, 1 to 8 blocks",
            Self::Reorg(9..=32) => "reorg, 9 to 32 blocks",
            Self::Reorg(_) => "reorg, 33 to 64 blocks",
            Self::Spike => "gas at 100 times its price",
            Self::SendingLost => "sending lost, result unknown",
            Self::AnswerLost => "sending taken, result unknown",
        }
    }
}

/// What came of the faults of one name.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    struck: usize,
    deposits_dropped: u64,
    transactions_dropped: u64,
    replaced: usize,
    rounds: usize,
}

/// Numbers that follow from a seed.
struct Dice {
    seed: u64,
    rolls: u64,
}

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.rolls += 1;
        let hash = keccak(&[self.seed.to_be_bytes(), self.rolls.to_be_bytes()].concat());
        u64::from_be_bytes(hash[..8].try_into().unwrap()) % sides
    }
}

/// The faults in their order.
fn script(dice: &mut Dice, full: bool) -> Vec<Fault> {
    let (reorgs, spikes, unknown) = if full { (200, 10, 20) } else { (8, 1, 2) };
    let mut faults: Vec<Fault> = (0..reorgs).map(|_| Fault::Reorg(1 + dice.roll(DEEPEST))).collect();
    faults.extend((0..spikes).map(|_| Fault::Spike));
    faults.extend((0..unknown).map(|i| if i % 2 == 0 { Fault::SendingLost } else { Fault::AnswerLost }));
    for place in (1..faults.len()).rev() {
        faults.swap(place, dice.roll(place as u64 + 1) as usize);
    }
    faults
}

struct Storm {
    world: World,
    fixture: Fixture,
    watcher: Watcher,
    submitter: Submitter,
    /// What becomes of the next sending: 0 it passes, 1 it is lost, 2 its answer is lost.
    next_sending: Arc<AtomicU8>,
    dice: Dice,
    /// Batches made so far.
    batches: u64,
    /// The queue as far as batches took it.
    taken: Vec<(u64, QueueEntry)>,
}

impl Storm {
    async fn new(pool: PgPool, dice: Dice) -> Self {
        // Anvil counts the blocks that a reorg dropped among its past ones, and what it moved to disk comes back without the contract's code
        let options = AnvilOptions { past_states: Some(1_000), ..AnvilOptions::default() };
        let (world, fixture) = fixture_chain(pool, options).await;
        // what the fixture's batches take is deeper than any reorg
        world.mine(DEEPEST + 1).await;
        let next_sending = Arc::new(AtomicU8::new(0));
        let next = next_sending.clone();
        let fate = move |call: &serde_json::Value| match call["method"] == "eth_sendRawTransaction" {
            true => [Fate::Passes, Fate::Lost, Fate::AnswerLost].into_iter().nth(next.swap(0, Ordering::Relaxed).into()).unwrap(),
            false => Fate::Passes,
        };
        let url = relay(world.anvil.port(), fate).await;
        let rollup = Rollup::at(Rpc::connect(&url, RPC).await.unwrap(), world.deployment.contract);
        let options = SubmitterOptions { finality_depth: DEEPEST, resubmit_after_ms: 0, ..SubmitterOptions::new(31_337) };
        let submitter = Submitter::new(rollup, operator(), world.lead.clone(), options, world.board.clone());
        let watcher = world.watcher(|options| options.finality_depth = DEEPEST);
        let taken = world.queued().await;
        Self { world, fixture, watcher, submitter, next_sending, dice, batches: 0, taken }
    }

    /// The next batch: a real one with its proof while there are any, then one that takes the deposits that no reorg reaches.
    async fn next_batch(&mut self) {
        self.batches += 1;
        if self.batches as usize <= self.fixture.batches().len() {
            return store_batch(&self.world, &self.fixture, self.batches as usize).await;
        }
        let first = self.taken.last().map_or(1, |(index, _)| index + 1);
        let deep = l1::queued(&mut self.world.pool.acquire().await.unwrap(), first, DEEPEST + 1, 4).await.unwrap();
        self.taken.extend(&deep);
        let digest = self.taken.iter().fold([0; 32], |before, (_, entry)| entry.digest_after(&before));
        self.world.batch(self.batches, &deep, digest).await;
    }

    async fn deposits(&mut self) {
        for _ in 0..self.dice.roll(3) {
            let (amount, key) = (Amount(1 + u128::from(self.dice.roll(1_000_000))), word_u128(1 + u128::from(self.dice.roll(1_000))));
            self.world.rollup.deposit(&user(), amount, key, Address([9; 20])).await.unwrap();
        }
    }

    async fn strike(&mut self, fault: Fault, outcome: &mut Outcome) {
        let queue = async |world: &World| world.rollup.progress().await.unwrap().queue_length;
        match fault {
            Fault::Reorg(depth) => {
                // at times in the middle of things
                if self.dice.roll(2) == 0 {
                    self.submitter.step().await.unwrap();
                }
                let before = (queue(&self.world).await, self.world.operator_nonce().await);
                self.world.anvil("anvil_reorg", vec![json!(depth), json!([])]).await;
                outcome.deposits_dropped += before.0 - queue(&self.world).await;
                outcome.transactions_dropped += before.1 - self.world.operator_nonce().await;
            }
            Fault::Spike => {
                self.world.mine_by_hand().await;
                self.base_fee(2 * GWEI).await;
                self.world.mine(1).await;
                self.submitter.step().await.unwrap();
                self.base_fee(200 * GWEI).await;
                self.world.mine(1).await;
                self.world.anvil("evm_setAutomine", vec![json!(true)]).await;
            }
            Fault::SendingLost => self.next_sending.store(1, Ordering::Relaxed),
            Fault::AnswerLost => self.next_sending.store(2, Ordering::Relaxed),
        }
    }

    async fn base_fee(&self, wei: u64) {
        self.world.anvil("anvil_setNextBlockBaseFeePerGas", vec![json!(format!("{wei:#x}"))]).await;
    }

    /// Rounds until nothing is left to do; how many it took.
    async fn calm(&mut self, fault: Fault) -> usize {
        let started = Instant::now();
        for rounds in 0.. {
            if rounds > 0 && self.is_calm().await {
                return rounds;
            }
            assert!(started.elapsed() < PATIENCE, "{fault:?} does not end: {:?}", self.world.status());
            // a sending without an answer ends a round
            let failed = self.submitter.step().await.err();
            assert!(failed.is_none() || matches!(fault, Fault::SendingLost | Fault::AnswerLost), "{fault:?}: {failed:?}");
            catch_up(&self.watcher).await;
        }
        unreachable!("it ends by calm or by patience")
    }

    async fn is_calm(&mut self) -> bool {
        let progress = self.world.rollup.progress().await.unwrap();
        let proven = self.batches.min(self.fixture.batches().len() as u64);
        let waiting = self.world.live().await.iter().any(|tx| tx.mined().is_none());
        let ready = l1::ready(&mut self.world.pool.begin().await.unwrap(), progress.proven, 0, u64::from(u32::MAX)).await.unwrap();
        (progress.committed, progress.proven, waiting) == (self.batches, proven, false)
            && ready.unsettled.is_empty()
            && ready.unrefunded.is_empty()
            && self.world.operator_nonce().await == self.world.live().await.last().map_or(0, |tx| tx.nonce + 1)
    }

    /// Nothing is lost, nothing is there twice, and nobody is asked for help.
    async fn check(&self, fault: Fault) {
        let world = &self.world;
        let progress = world.rollup.progress().await.unwrap();
        let queue = l1::queued(&mut world.pool.acquire().await.unwrap(), 1, 1, 100_000).await.unwrap();
        let digest = queue.iter().fold([0; 32], |before, (_, entry)| entry.digest_after(&before));
        assert_eq!((queue.len() as u64, digest), (progress.queue_length, world.rollup.queue_digest(progress.queue_length).await.unwrap()));
        let deposited: u128 = queue.iter().filter(|(_, entry)| entry.token == NATIVE).map(|(_, entry)| entry.amount.0).sum();
        assert_eq!(world.rollup.escrow(NATIVE).await.unwrap().0, deposited, "{fault:?}: coins are lost, or made");
        for (account, amount) in due(&self.fixture, self.batches as usize, &queue) {
            let found = world.rollup.claimable(NATIVE, account).await.unwrap().0;
            assert_eq!(found, amount, "{fault:?}: {account} is settled otherwise than once");
        }
        let query = "SELECT count(*) FROM l1_events WHERE kind IN ('committed', 'proven') GROUP BY kind, batch_number HAVING count(*) > 1";
        assert_eq!(sqlx::query_scalar::<_, i64>(query).fetch_optional(&world.pool).await.unwrap(), None, "{fault:?}");
        assert_eq!(world.status().alarm, None, "{fault:?}");
    }

    async fn replaced(&self) -> usize {
        let live = self.world.live().await;
        live.iter().filter(|tx| tx.kind != TxKind::Cancel).map(|tx| tx.attempts.len() - 1).sum()
    }
}

/// What accounts can claim of the native coin once the first `count` batches are settled: their withdrawals, and deposits given back.
fn due(fixture: &Fixture, count: usize, queue: &[(u64, QueueEntry)]) -> BTreeMap<Address, u128> {
    let mut due = BTreeMap::new();
    let mut entries = queue.iter().map(|(_, entry)| entry);
    for batch in fixture.batches().iter().take(count) {
        let commit = &batch["commit"];
        for (choice, entry) in words(&commit["choices"]).iter().zip(&mut entries) {
            if *choice == word_u128(1) && entry.token == NATIVE {
                *due.entry(entry.sender).or_default() += entry.amount.0;
            }
        }
        let used = words(&batch["words"]);
        for withdrawal in used[..3 * commit["withdrawals"].as_array().unwrap().len()].chunks(3) {
            let [w0, amount, to]: &[Word; 3] = withdrawal.try_into().unwrap();
            // w0 = from | token << 24 | fee16 << 40
            if u16::from_be_bytes([w0[27], w0[28]]) == NATIVE.0 {
                *due.entry(Address(to[12..].try_into().unwrap())).or_default() += u128::from_be_bytes(amount[16..].try_into().unwrap());
            }
        }
    }
    due
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_storm_passes_and_everything_is_in_its_place(pool: PgPool) {
    let full = std::env::var("SHEAF_STORM").is_ok_and(|length| length == "full");
    let seed = std::env::var("SHEAF_STORM_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut dice = Dice { seed, rolls: 0 };
    let faults = script(&mut dice, full);
    println!("storm of {} faults, SHEAF_STORM_SEED={seed}", faults.len());
    let mut storm = Storm::new(pool, dice).await;
    // real batches arrive over most of the storm, so that their proofs and settlements are struck too
    let stride = (faults.len() / 12).max(1);
    let mut outcomes: BTreeMap<&str, Outcome> = BTreeMap::new();
    for (place, fault) in faults.into_iter().enumerate() {
        storm.world.mine(12).await;
        storm.deposits().await;
        catch_up(&storm.watcher).await;
        let real = (storm.batches as usize) < storm.fixture.batches().len();
        // a fault of sendings or prices needs something to send
        if !real || place % stride == 0 || !matches!(fault, Fault::Reorg(_)) {
            storm.next_batch().await;
        }
        // once the commit of a real batch is there, its proof and the commit of the next are due at once and share a transaction
        if real && place % 2 == 0 && (storm.batches as usize) < storm.fixture.batches().len() {
            storm.submitter.step().await.unwrap();
            storm.next_batch().await;
        }
        let outcome = outcomes.entry(fault.name()).or_default();
        let before = storm.replaced().await;
        storm.strike(fault, outcome).await;
        outcome.struck += 1;
        outcome.rounds += storm.calm(fault).await;
        outcome.replaced += storm.replaced().await.saturating_sub(before);
        storm.check(fault).await;
    }
    println!("{:<32} {:>6} {:>17} {:>21} {:>9} {:>11}", "fault", "struck", "deposits dropped", "transactions dropped", "replaced", "rounds each");
    for (name, outcome) in &outcomes {
        let Outcome { struck, deposits_dropped, transactions_dropped, replaced, rounds } = outcome;
        let each = *rounds as f64 / *struck as f64;
        println!("{name:<32} {struck:>6} {deposits_dropped:>17} {transactions_dropped:>21} {replaced:>9} {each:>11.1}");
    }
    assert!(storm.world.live().await.iter().any(|tx| tx.kind == TxKind::CommitAndProve), "no commit went beside a proof");
    let batches = storm.batches;
    println!(
        "{batches} batches, each on L1 once. After every fault, by itself: escrow = deposits, every credit there once, every nonce used, no alarm"
    );
}
