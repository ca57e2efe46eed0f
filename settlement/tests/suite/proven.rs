//! Real batches with real proofs (the fixtures of the contract's own tests) through the whole stream: commits, one proof call, settlements.
//!
//! The fixtures are bound to a contract address, so the contract is created in place: its creation code is set there and called, which runs the
//! constructor with that address, and what it returns becomes the code.

use crate::common::{World, catch_up, eventually, operator, user};
use serde_json::{Value, json};
use sheaf_protocol::amount::{Address, Amount, NATIVE, SlotId, TokenId};
use sheaf_protocol::batch::{Batch, Challenges, ProverInput};
use sheaf_protocol::field::{Fr, G1Affine, Word, from_hex, from_word, g1_from_words, keccak, to_hex, word_address, word_u128};
use sheaf_protocol::header::QueueEntry;
use sheaf_protocol::manifest::{CircuitEntry, HexWord, Manifest, Setup, SrsEntry};
use sheaf_protocol::shape::by_name;
use sheaf_settlement::anvil::AnvilOptions;
use sheaf_settlement::deploy::{DeployOptions, Deployment, contract_digest, creation_code, deploy_test_token};
use sheaf_settlement::owed::{Call, Entry, Owed};
use sheaf_settlement::rollup::{Exit, Rollup, SendError, TxReceipt, mint_test_token};
use sheaf_store::batches::{self, Computed, Seal};
use sheaf_store::jobs::{ClaimRules, NewProof, claim, store_proof};
use sheaf_store::l1::{self, TxKind};
use sheaf_store::queue::{self, Taken};
use sqlx::PgPool;
use std::time::Duration;

pub(crate) struct Fixture(Value);

impl Fixture {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/test/fixtures/batches.json");
        Self(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    fn contract(&self) -> Address {
        Address(from_hex(self.0["contract"].as_str().unwrap()).unwrap())
    }

    fn manifest(&self) -> Manifest {
        let (params, digest) = (&self.0["params"], HexWord([0; 32]));
        Manifest {
            setup: Setup::InsecureDevelopment { seed: "fixtures".into() },
            contract: contract_digest(),
            srs: SrsEntry { k: 16, digest, tau: array(&params["tau"]), l0: pairs(&params["l0"]) },
            alpha: array(&params["alpha"]),
            beta: array(&params["beta"]),
            circuits: (1..).zip(params["circuits"].as_array().unwrap()).map(|(id, key)| circuit(id, &bytes(key))).collect(),
        }
    }

    pub(crate) fn batches(&self) -> &Vec<Value> {
        self.0["batches"].as_array().unwrap()
    }

    fn last_root(&self) -> Word {
        word(&self.batches().last().unwrap()["newRoot"])
    }
}

/// A verifying key as the contract's constructor takes it: eight capacities, delta, ic.
fn circuit(id: u32, key: &[u8]) -> CircuitEntry {
    let (key, digest): (Vec<HexWord>, _) = (key.as_chunks().0.iter().map(|word| HexWord(*word)).collect(), HexWord([0; 32]));
    CircuitEntry {
        id,
        name: format!("test {id}"),
        shape: by_name("test").unwrap().shape,
        circuit: digest,
        proving_key: digest,
        verifying_key: digest,
        delta: std::array::from_fn(|i| key[8 + i]),
        ic: std::array::from_fn(|i| [key[12 + 2 * i], key[13 + 2 * i]]),
    }
}

fn word(value: &Value) -> Word {
    from_hex(value.as_str().unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap().trim_start_matches("0x")).unwrap()
}

pub(crate) fn words(value: &Value) -> Vec<Word> {
    value.as_array().unwrap().iter().map(word).collect()
}

fn array<const N: usize>(value: &Value) -> [HexWord; N] {
    let words = words(value);
    std::array::from_fn(|i| HexWord(words[i]))
}

fn pairs<const N: usize>(value: &Value) -> [[HexWord; 2]; N] {
    let words = words(value);
    std::array::from_fn(|i| [HexWord(words[2 * i]), HexWord(words[2 * i + 1])])
}

fn call(signature: &str, arguments: &[Word]) -> String {
    let mut data = keccak(signature.as_bytes())[..4].to_vec();
    data.extend(arguments.concat());
    to_hex(&data)
}

/// Creates the fixture's contract at the fixture's address.
async fn create_in_place(world: &mut World, fixture: &Fixture) {
    let at = json!(fixture.contract().to_string());
    let code = creation_code(&fixture.manifest(), &DeployOptions::new(operator().address()));
    world.anvil("anvil_setCode", vec![at.clone(), json!(to_hex(&code))]).await;
    let request = json!({ "from": operator().address().to_string(), "to": at, "gas": "0xf42400" });
    let runtime = world.anvil("eth_call", vec![request.clone(), json!("latest")]).await;
    send_mined(world, request).await;
    world.anvil("anvil_setCode", vec![at, runtime]).await;
    // the first block with the contract as it stays
    world.mine(1).await;
    world.rollup = Rollup::at(world.rpc.clone(), fixture.contract());
    let block = world.rpc.block_number().await.unwrap();
    world.deployment = Deployment { contract: fixture.contract(), block, ..world.deployment.clone() };
}

/// Sends from an account whose key nobody holds.
async fn send_as(world: &World, from: Address, to: Address, value: u128, data: String) {
    let from = json!(from.to_string());
    world.anvil("anvil_impersonateAccount", vec![from.clone()]).await;
    world.anvil("anvil_setBalance", vec![from.clone(), json!("0x21e19e0c9bab2400000")]).await;
    send_mined(world, json!({ "from": from, "to": to.to_string(), "value": format!("{value:#x}"), "data": data })).await;
}

/// Sends and waits: two senders' transactions may otherwise change places.
async fn send_mined(world: &World, request: Value) {
    let hash = world.anvil("eth_sendTransaction", vec![request]).await;
    let receipt = async || Some(world.anvil("eth_getTransactionReceipt", vec![hash.clone()]).await).filter(Value::is_object);
    assert_eq!(eventually("the transaction is mined", receipt).await["status"], "0x1");
}

async fn make_deposits(world: &World, fixture: &Fixture) {
    let erc20 = deploy_test_token(&world.rollup, &operator(), Amount(1)).await.unwrap().erc20;
    let (rollup, fee) = (world.rollup.address(), world.rollup.queue_fee().await.unwrap().0);
    for entry in fixture.0["queue"].as_array().unwrap() {
        let address = |name: &str| Address(from_hex(entry[name].as_str().unwrap()).unwrap());
        let (sender, owner) = (address("sender"), address("owner"));
        let amount: u128 = entry["amount"].as_str().unwrap().parse().unwrap();
        let (key, owner) = (word(&entry["key"]), word_address(&owner.0));
        if entry["token"] == 1 {
            send_as(world, sender, rollup, fee + amount, call("deposit(uint256,address)", &[key, owner])).await;
            continue;
        }
        mint_test_token(&world.rpc, &operator(), erc20, sender, Amount(amount)).await.unwrap();
        let approve = call("approve(address,uint256)", &[word_address(&rollup.0), word_u128(amount)]);
        send_as(world, sender, erc20, 0, approve).await;
        let deposit = call("depositToken(uint16,uint256,uint256,address)", &[word_u128(2), word_u128(amount), key, owner]);
        send_as(world, sender, rollup, fee, deposit).await;
    }
}

/// What a sequencer and a prover would have left in the database of the batch with this number.
pub(crate) async fn store_batch(world: &World, fixture: &Fixture, number: usize) {
    let (before, batch) = (&fixture.batches()[..number - 1], &fixture.batches()[number - 1]);
    let entries = |batch: &Value| batch["commit"]["taken"].as_array().unwrap().len();
    let taken: Vec<(u64, QueueEntry)> = world.queued().await.into_iter().skip(before.iter().map(entries).sum()).take(entries(batch)).collect();
    let (commit, number) = (&batch["commit"], number as u64);
    let mut tx = world.pool.begin().await.unwrap();
    let choices = words(&commit["choices"]).into_iter().map(|choice| u32::from_be_bytes(choice[28..].try_into().unwrap()) >> 8);
    let slot = |choice: u32| (choice != 0).then(|| SlotId::try_from(choice).unwrap());
    let rows: Vec<Taken> =
        taken.into_iter().zip(choices).map(|((index, entry), choice)| Taken { index, seq: index, slot: slot(choice), entry }).collect();
    queue::insert(&mut tx, &rows).await.unwrap();
    let circuit = word(&batch["record"][1])[31].into();
    batches::seal(&mut tx, &Seal { number, circuit, reason: "asked", last_seq: 1_000 }).await.unwrap();
    let opening: Vec<Word> = words(&batch["opening"]);
    let computed = Computed {
        number,
        record: words(&batch["record"]),
        new_root: word(&batch["newRoot"]),
        opening: [opening[0], opening[1]],
        claims: [word(&batch["e"]), word(&batch["z"]), word(&batch["delta"])],
        posted_data: bytes(&commit["data"]),
        choices: words(&commit["choices"]),
        ops_words: words(&batch["words"]),
        input: serde_json::to_value(no_input()).unwrap(),
        slots: vec![],
    };
    batches::store_computed(&mut tx, &computed).await.unwrap();
    let rules = ClaimRules { worker: "test", circuits: &[circuit], lease: Duration::from_secs(60), same_worker_pause: Duration::ZERO };
    let job = claim(&mut tx, &rules).await.unwrap().unwrap();
    let proof = words(&batch["groth16"]).try_into().unwrap();
    store_proof(&mut tx, &NewProof { batch: number, lease: job.lease, words: proof, witness_ms: 1, prove_ms: 1 }).await.unwrap();
    tx.commit().await.unwrap();
}

/// The proofs are made already: no prover will read this.
pub(crate) fn no_input() -> ProverInput {
    let shape = by_name("test").unwrap().shape;
    let nothing = Batch {
        shape,
        circuit: 1,
        domain: Fr::from(0u64),
        transfers: vec![],
        withdrawals: vec![],
        registers: vec![],
        deposits: vec![],
        exits: vec![],
        rotations: vec![],
        fees: vec![],
        accounts: vec![],
    };
    ProverInput { batch: nothing, challenges: Challenges { rho: Fr::from(0u64), zeta: Fr::from(0u64) } }
}

async fn bind(world: &World, fixture: &Fixture) {
    let deployment = sheaf_store::deployment::Deployment {
        chain_id: 31_337,
        contract: fixture.contract(),
        domain: word(&fixture.0["domain"]),
        deploy_block: world.deployment.block,
        manifest_digest: [0; 32],
        k: 16,
        finality_depth: 1,
    };
    sheaf_store::deployment::bind(&mut world.pool.acquire().await.unwrap(), &deployment).await.unwrap();
}

/// The fixture's contract and deposits, and none of its batches yet.
pub(crate) async fn fixture_chain(pool: PgPool, options: AnvilOptions) -> (World, Fixture) {
    let (mut world, fixture) = (World::with(pool, options).await, Fixture::read());
    create_in_place(&mut world, &fixture).await;
    bind(&world, &fixture).await;
    make_deposits(&world, &fixture).await;
    catch_up(&world.watcher(|_| {})).await;
    (world, fixture)
}

pub(crate) async fn fixture_world(pool: PgPool) -> (World, Fixture) {
    let (world, fixture) = fixture_chain(pool, AnvilOptions::default()).await;
    for number in 1..=fixture.batches().len() {
        store_batch(&world, &fixture, number).await;
    }
    (world, fixture)
}

async fn state_of(world: &World, number: u64) -> String {
    batches::status(&mut world.pool.acquire().await.unwrap(), number).await.unwrap().unwrap().state
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn proven_batches_share_one_call_and_their_withdrawals_are_paid(pool: PgPool) {
    let (world, fixture) = fixture_world(pool).await;
    let count = fixture.batches().len() as u64;
    let (watcher, mut submitter) = (world.watcher(|_| {}), world.submitter(|_| {}));
    world.anvil("evm_setAutomine", vec![json!(false)]).await;
    for _ in ["commits", "proof", "settlements"] {
        submitter.step().await.unwrap();
        assert_eq!(world.status().blocked, None);
        world.mine(1).await;
    }
    submitter.step().await.unwrap();
    catch_up(&watcher).await;

    let progress = world.rollup.progress().await.unwrap();
    assert_eq!((progress.committed, progress.proven, progress.state_root), (count, count, fixture.last_root()));
    assert_eq!((state_of(&world, 1).await, state_of(&world, count).await), ("final".into(), "final".into()));
    let claimable = async |token, account: u8| world.rollup.claimable(token, Address([account; 20])).await.unwrap().0;
    assert_eq!(claimable(NATIVE, 0xa1).await, 250_000_000_000_000_000);
    // a withdrawal and a refund
    assert_eq!(claimable(NATIVE, 0xa3).await, 2_000_000_000_000_000_000);
    assert!(claimable(TokenId(2), 0xa1).await + claimable(TokenId(2), 0xa2).await + claimable(TokenId(2), 0xa3).await > 0);

    let nonce = world.operator_nonce().await;
    submitter.step().await.unwrap();
    world.mine(1).await;
    assert_eq!(world.operator_nonce().await, nonce, "nothing is left to do");
    let totals = l1::gas_totals(&mut world.pool.acquire().await.unwrap()).await.unwrap();
    let number = |kind| totals.iter().find(|total| total.kind == kind).map(|total| total.transactions);
    assert_eq!([TxKind::Commit, TxKind::Prove, TxKind::Settle, TxKind::Refund].map(number), [Some(count), Some(1), Some(2), Some(1)]);
    assert_shares_make_the_whole(&world, count, totals.iter().map(|total| (total.used, total.wei))).await;
    assert!(totals.iter().all(|total| total.used == total.calldata + total.execution + 21_000 * total.transactions));
}

async fn assert_shares_make_the_whole(world: &World, last: u64, totals: impl Iterator<Item = (u64, u128)>) {
    let mut shares = Vec::new();
    for number in 1..=last {
        let costs = sheaf_store::costs::of_batch(&mut world.pool.acquire().await.unwrap(), number).await.unwrap();
        assert!(["commit", "prove"].iter().all(|kind| costs.iter().any(|cost| cost.kind == *kind && cost.gas > 0 && cost.wei > 0)));
        shares.extend(costs.into_iter().map(|cost| (cost.gas, cost.wei)));
    }
    let sum = |all: (u64, u128), one: (u64, u128)| (all.0 + one.0, all.1 + one.1);
    assert_eq!(shares.into_iter().fold((0, 0), sum), totals.fold((0, 0), sum));
}

/// A chain without automatic blocks on which batch 1 is committed, while batch 2 is ready for its commit and batch 1 for its proof.
async fn both_due(pool: PgPool) -> (World, Fixture) {
    let (world, fixture) = fixture_chain(pool, AnvilOptions::default()).await;
    world.mine_by_hand().await;
    store_batch(&world, &fixture, 1).await;
    world.submitter(|_| {}).step().await.unwrap();
    world.mine(1).await;
    store_batch(&world, &fixture, 2).await;
    (world, fixture)
}

async fn standing(world: &World) -> (u64, u64) {
    let progress = world.rollup.progress().await.unwrap();
    (progress.committed, progress.proven)
}

async fn waiting(world: &World) -> Vec<TxKind> {
    world.live().await.into_iter().filter(|tx| tx.mined().is_none()).map(|tx| tx.kind).collect()
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_commit_beside_a_proof_is_replaced_resent_and_done_again_like_any_other(pool: PgPool) {
    let (world, _) = both_due(pool).await;
    let hasty = |options: &mut sheaf_settlement::submitter::SubmitterOptions| options.resubmit_after_ms = 0;
    world.submitter(hasty).step().await.unwrap();
    assert_eq!(waiting(&world).await, [TxKind::CommitAndProve]);
    // each of these is a restart; the second finds it stuck, the third finds it gone from the node
    world.submitter(hasty).step().await.unwrap();
    let transaction = world.live().await.pop().unwrap();
    assert_eq!((transaction.first_batch, transaction.last_batch, transaction.commits, transaction.attempts.len()), (1, 1, 2, 2));
    world.drop_from_pool(&transaction).await;
    world.submitter(|_| {}).step().await.unwrap();
    world.mine(1).await;
    assert_eq!(standing(&world).await, (2, 1));

    world.anvil("anvil_reorg", vec![json!(1), json!([])]).await;
    assert_eq!(standing(&world).await, (1, 0));
    world.submitter(|_| {}).step().await.unwrap();
    world.mine(1).await;
    world.submitter(|_| {}).step().await.unwrap();
    assert_eq!(standing(&world).await, (2, 1));
    assert_eq!(world.status().alarm, None);

    let totals = l1::gas_totals(&mut world.pool.acquire().await.unwrap()).await.unwrap();
    assert_eq!(totals.iter().map(|total| (total.kind, total.transactions)).collect::<Vec<_>>(), [(TxKind::Commit, 1), (TxKind::CommitAndProve, 1)]);
    let mut shares = (0, 0);
    for (number, kinds) in [(1, vec!["commit", "prove"]), (2, vec!["commit"])] {
        let costs = sheaf_store::costs::of_batch(&mut world.pool.acquire().await.unwrap(), number).await.unwrap();
        assert_eq!(costs.iter().map(|cost| cost.kind.as_str()).collect::<Vec<_>>(), kinds);
        assert!(costs.iter().all(|cost| cost.gas > 0));
        // of the page of a batch, the transaction that committed it is one too
        let calls = sheaf_store::explorer::batch_facts(&mut world.pool.acquire().await.unwrap(), number).await.unwrap().l1_calls;
        let kinds: Vec<&str> = calls.iter().filter(|call| call.succeeded).map(|call| call.kind.as_str()).collect();
        assert_eq!(kinds.last(), Some(&"commit_and_prove"), "batch {number}: {kinds:?}");
        assert_eq!(calls.last().unwrap().commits, Some(2));
        shares = costs.iter().fold(shares, |(gas, wei), cost| (gas + cost.gas, wei + cost.wei));
    }
    assert_eq!(shares, totals.iter().fold((0, 0), |(gas, wei), total| (gas + total.used, wei + total.wei)));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_proof_that_the_contract_refuses_holds_up_no_commit_beside_it(pool: PgPool) {
    let (world, _) = both_due(pool).await;
    // a proof of something else: its C is its A
    let query = "UPDATE proofs SET proof = overlay(proof PLACING substring(proof FROM 1 FOR 64) FROM 193 FOR 64) WHERE batch_number = 1";
    sqlx::query(query).execute(&world.pool).await.unwrap();
    world.submitter(|_| {}).step().await.unwrap();
    assert_eq!(waiting(&world).await, [TxKind::Commit]);
    world.mine(1).await;
    assert_eq!(standing(&world).await, (2, 0));
    assert!(world.status().blocked.unwrap().contains("ProofInvalid"));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_deposit_that_a_batch_refuses_goes_back_once_and_by_itself(pool: PgPool) {
    let (world, fixture) = fixture_world(pool).await;
    let (watcher, mut submitter) = (world.watcher(|options| options.finality_depth = 64), world.submitter(|_| {}));
    let refused: Vec<Word> = fixture.batches().iter().flat_map(|batch| words(&batch["commit"]["choices"])).collect();
    let place = refused.iter().position(|choice| *choice == word_u128(1)).unwrap();
    let (index, entry) = world.queued().await[place];
    let claimable = async || world.rollup.claimable(entry.token, entry.sender).await.unwrap();
    let withdrawn = async || {
        let query = "SELECT coalesce(sum((payload ->> 'amount')::numeric), 0)::text FROM l1_events
                     WHERE kind = 'credited' AND payload ->> 'to' = $1 AND (payload ->> 'token')::integer = $2";
        let sum = sqlx::query_scalar::<_, String>(query).bind(entry.sender.to_string()).bind(i32::from(entry.token.0));
        sum.fetch_one(&world.pool).await.unwrap().parse::<u128>().unwrap()
    };
    for _ in 0..20 {
        submitter.step().await.unwrap();
        catch_up(&watcher).await;
    }
    assert_eq!(claimable().await.0, withdrawn().await + entry.amount.0);
    let query = "SELECT payload ->> 'amount' FROM l1_events WHERE kind = 'refunded' AND queue_index = $1";
    let seen: Vec<String> = sqlx::query_scalar(query).bind(index.cast_signed()).fetch_all(&world.pool).await.unwrap();
    assert_eq!(seen, [entry.amount.0.to_string()]);

    // L1 forgets it, and it is given back again: once
    world.anvil("anvil_reorg", vec![json!(1), json!([])]).await;
    catch_up(&watcher).await;
    assert_eq!(claimable().await.0, withdrawn().await, "it was sent last");
    for _ in 0..20 {
        submitter.step().await.unwrap();
        catch_up(&watcher).await;
    }
    assert_eq!((claimable().await.0, world.status().alarm), (withdrawn().await + entry.amount.0, None));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_refused_commit_holds_up_no_proof_and_no_settlement(pool: PgPool) {
    let (world, fixture) = fixture_world(pool).await;
    let count = fixture.batches().len() as u64;
    world.batch(count + 1, &[], [7; 32]).await;
    let watcher = world.watcher(|_| {});
    let mut submitter = world.default_submitter();
    for _ in 0..20 {
        submitter.step().await.unwrap();
        catch_up(&watcher).await;
    }
    assert!(world.status().blocked.unwrap().contains("QueueMismatch"));
    let progress = world.rollup.progress().await.unwrap();
    assert_eq!((progress.committed, progress.proven), (count, count));
    assert_eq!(world.rollup.claimable(NATIVE, Address([0xa1; 20])).await.unwrap().0, 250_000_000_000_000_000);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_reorg_takes_everything_back_and_it_is_done_again(pool: PgPool) {
    let (world, fixture) = fixture_world(pool).await;
    let (watcher, mut submitter) = (world.watcher(|options| options.finality_depth = 64), world.default_submitter());
    let before = world.rpc.block_number().await.unwrap();
    let finish = async |submitter: &mut sheaf_settlement::submitter::Submitter| {
        for _ in 0..40 {
            submitter.step().await.unwrap();
            catch_up(&watcher).await;
        }
    };
    finish(&mut submitter).await;
    assert_eq!(world.rollup.progress().await.unwrap().state_root, fixture.last_root());
    let depth = world.rpc.block_number().await.unwrap() - before;

    world.anvil("anvil_reorg", vec![json!(depth), json!([])]).await;
    catch_up(&watcher).await;
    assert_eq!(state_of(&world, 1).await, "sealed");
    finish(&mut submitter).await;
    assert_eq!(world.rollup.progress().await.unwrap().state_root, fixture.last_root());
    assert_eq!(world.rollup.claimable(NATIVE, Address([0xa1; 20])).await.unwrap().0, 250_000_000_000_000_000);
    assert_eq!(world.status().alarm, None);
}

/// Everything owed by what L1 tells up to now.
async fn owed(world: &World) -> Owed {
    let (mut owed, last) = (Owed::new(world.rollup.clone(), 0), world.rpc.block_number().await.unwrap());
    while owed.read(last).await.unwrap().is_some() {}
    owed
}

/// The entry points called, after each of them was sent by somebody who owns nothing here.
async fn credit(world: &World) -> Vec<Entry> {
    let calls = owed(world).await.due(None).await.unwrap().calls;
    for call in &calls {
        let before: Vec<u128> = claimables(world, call).await;
        assert!(call.send(&world.rollup, &user()).await.unwrap().is_some());
        assert!(claimables(world, call).await.into_iter().zip(before).all(|(now, before)| now > before));
        assert!(call.send(&world.rollup, &user()).await.unwrap().is_none(), "{:?} was done already", call.entry);
    }
    calls.iter().map(|call| call.entry).collect()
}

async fn claimables(world: &World, call: &Call) -> Vec<u128> {
    let mut found = Vec::new();
    for credit in &call.credits {
        found.push(world.rollup.claimable(credit.token, credit.to).await.unwrap().0);
    }
    found
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn what_the_operator_left_uncredited_is_credited_by_anybody_from_l1_alone(pool: PgPool) {
    let (world, fixture) = fixture_world(pool).await;
    let mut submitter = world.submitter(|_| {});
    world.anvil("evm_setAutomine", vec![json!(false)]).await;
    assert_eq!(owed(&world).await.due(None).await.unwrap().calls, []);
    for _ in ["commits", "proof"] {
        submitter.step().await.unwrap();
        world.mine(1).await;
    }
    world.anvil("evm_setAutomine", vec![json!(true)]).await;
    assert_eq!(world.rollup.progress().await.unwrap().state_root, fixture.last_root());

    let somebody = Address([0xa3; 20]);
    let due = owed(&world).await.due(Some(somebody)).await.unwrap();
    assert!(!due.calls.is_empty() && due.calls.iter().flat_map(|call| &call.credits).all(|credit| credit.to == somebody), "{due:?}");
    let mut entries = credit(&world).await;
    entries.sort_by_key(|entry| entry.name());
    // as many as the submitter sends, and to the same effect
    assert_eq!(entries, [Entry::Settle, Entry::Settle, Entry::SettleRefunds]);
    assert_eq!(world.rollup.claimable(NATIVE, Address([0xa1; 20])).await.unwrap().0, 250_000_000_000_000_000);
    assert_eq!(world.rollup.claimable(NATIVE, somebody).await.unwrap().0, 2_000_000_000_000_000_000);
    assert_eq!(credit(&world).await, []);

    world.deposit(77).await;
    world.deposit(78).await;
    let due = owed(&world).await.due(None).await.unwrap();
    assert_eq!((due.calls, due.waiting), (vec![], 2));
    world.anvil("evm_increaseTime", vec![json!(8 * 86_400)]).await;
    world.mine(1).await;
    world.rollup.freeze(&user()).await.unwrap();
    let due = owed(&world).await.due(None).await.unwrap();
    assert_eq!((due.calls.len(), due.calls[0].credits.len(), due.calls[0].fee, due.waiting), (1, 2, world.rollup.queue_fee().await.unwrap(), 0));
    assert_eq!(credit(&world).await, [Entry::Refund]);
    assert_eq!(credit(&world).await, []);
    let mut late = Owed::new(world.rollup.clone(), world.rpc.block_number().await.unwrap());
    while late.read(world.rpc.block_number().await.unwrap()).await.unwrap().is_some() {}
    assert!(late.due(None).await.unwrap_err().to_string().contains("the frozen contract counts"), "history from its middle on is not enough");
}

/// Sends what anybody may send, from an account that has nothing to do with any slot.
async fn leave(world: &World, batch: &Value, exit: &Value) -> Result<TxReceipt, SendError> {
    let commitments: Vec<G1Affine> = words(&batch["commit"]["commitments"]).as_chunks().0.iter().map(|point| g1_from_words(point).unwrap()).collect();
    let opening = g1_from_words(&words(&exit["opening"]).try_into().unwrap()).unwrap();
    let slot = SlotId::try_from(u32::try_from(exit["idx"].as_u64().unwrap()).unwrap()).unwrap();
    let (dyn_, owner) = (from_word(&word(&exit["dyn"])).unwrap(), owner_of(exit));
    world.rollup.exit(&user(), &Exit { slot, dyn_, owner, commitments: commitments.try_into().unwrap(), opening }).await
}

fn owner_of(exit: &Value) -> Address {
    Address(word(&exit["owner"])[12..].try_into().unwrap())
}

fn refusal<T: std::fmt::Debug>(result: Result<T, SendError>) -> String {
    match result {
        Err(SendError::Reverted(revert)) => revert.name,
        other => panic!("not refused: {other:?}"),
    }
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_operator_is_gone_and_everybody_leaves(pool: PgPool) {
    let (world, fixture) = fixture_world(pool).await;
    let (watcher, mut submitter) = (world.watcher(|_| {}), world.default_submitter());
    for _ in 0..20 {
        submitter.step().await.unwrap();
        catch_up(&watcher).await;
    }
    assert_eq!(world.rollup.progress().await.unwrap().state_root, fixture.last_root());
    // nobody serves this one
    world.deposit(77).await;
    catch_up(&watcher).await;
    let (last, left) = (fixture.batches().last().unwrap(), world.queued().await.pop().unwrap());
    let exits = last["exits"].as_array().unwrap();
    assert_eq!(refusal(world.rollup.freeze(&user()).await), "NothingOverdue");
    assert_eq!(refusal(leave(&world, last, &exits[0]).await), "NotFrozen");

    world.anvil("evm_increaseTime", vec![json!(8 * 86_400)]).await;
    world.mine(1).await;
    world.rollup.freeze(&user()).await.unwrap();
    assert!(world.rollup.is_frozen().await.unwrap());
    assert_eq!(refusal(world.rollup.deposit(&user(), Amount(5), word_u128(42), Address([9; 20])).await), "IsFrozen");
    for exit in exits {
        let (token, amount) = (word(&exit["dyn"])[10], u128::from_be_bytes(word(&exit["dyn"])[16..].try_into().unwrap()));
        let before = world.rollup.claimable(TokenId(token.into()), owner_of(exit)).await.unwrap().0;
        leave(&world, last, exit).await.unwrap();
        assert_eq!(world.rollup.claimable(TokenId(token.into()), owner_of(exit)).await.unwrap().0, before + amount);
        assert_eq!(refusal(leave(&world, last, exit).await), "AlreadyExited");
    }
    world.rollup.refund(&user(), left.0, &[left.1]).await.unwrap();
    assert_eq!(refusal(world.rollup.refund(&user(), left.0, &[left.1]).await), "NothingToRefund");
    let fee = world.rollup.queue_fee().await.unwrap().0;
    assert_eq!(world.rollup.claimable(NATIVE, user().address()).await.unwrap().0, 77 + fee);
    world.rollup.claim(&user(), NATIVE, user().address()).await.unwrap();
    // what the watcher sees now holds it up no more than a transfer of coins would
    catch_up(&watcher).await;
    let nonce = world.operator_nonce().await;
    world.empty_batches(fixture.batches().len() as u64 + 1..=fixture.batches().len() as u64 + 1).await;
    submitter.step().await.unwrap();
    let status = world.status();
    assert!(status.alarm.unwrap().contains("the contract was frozen in block"));
    assert_eq!((status.blocked, world.operator_nonce().await), (None, nonce), "nothing is sent that would be refused");
}
