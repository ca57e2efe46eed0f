//! A committed batch that nobody proves is taken back from L1, and committed anew once it is sealed again.

use crate::common::{World, catch_up, digest, until_committed};
use crate::proven::{fixture_world, no_input};
use serde_json::json;
use sheaf_settlement::submitter::{Submitter, SubmitterOptions};
use sheaf_store::batches;
use sheaf_store::deployment::{self, Deployment};
use sheaf_store::fleet::{self, Because, Done, Order};
use sheaf_store::l1::{Transaction, TxKind};
use sheaf_store::reverts::{self, Asked, Part};
use sqlx::PgPool;

const OPERATOR: Because<'_> = Because { actor: "alice", reason: "a test" };

/// Waits for nothing, and knows of another circuit than the only one of these batches.
fn hasty(options: &mut SubmitterOptions) {
    (options.revert_after_s, options.circuits) = (Some(0), 2);
}

/// Three batches with one deposit each, committed and followed; nobody proves the first one.
async fn parked(pool: PgPool) -> World {
    let world = World::new(pool).await;
    let contract = world.deployment.contract;
    let ours = Deployment { chain_id: 31_337, contract, domain: [1; 32], deploy_block: 0, manifest_digest: [0; 32], k: 16, finality_depth: 1 };
    deployment::bind(&mut world.pool.acquire().await.unwrap(), &ours).await.unwrap();
    for amount in 1..=3 {
        world.deposit(amount).await;
    }
    catch_up(&world.watcher(|_| {})).await;
    seal(&world, 1..=3).await;
    until_committed(&world, &mut world.submitter(|_| {}), 3).await;
    world.submitter(|_| {}).step().await.unwrap();
    catch_up(&world.watcher(|_| {})).await;
    park(&world, 1).await;
    world
}

async fn seal(world: &World, numbers: std::ops::RangeInclusive<usize>) {
    let queued = world.queued().await;
    for number in numbers {
        world.batch(number as u64, &queued[number - 1..number], digest(&queued[..number])).await;
    }
}

async fn seal_empty(world: &World, number: u64) {
    world.batch(number, &[], digest(&world.queued().await)).await;
}

async fn park(world: &World, batch: u64) {
    let mut tx = world.pool.begin().await.unwrap();
    assert_eq!(fleet::order(&mut tx, Order::Park, batch, OPERATOR).await.unwrap(), Done::Yes { was_leased: false });
    tx.commit().await.unwrap();
}

async fn ask(world: &World, batch: u64) -> Asked {
    let mut tx = world.pool.begin().await.unwrap();
    let asked = reverts::ask(&mut tx, batch, 2, OPERATOR).await.unwrap();
    tx.commit().await.unwrap();
    asked
}

async fn calls(world: &World) -> Vec<Transaction> {
    world.live().await.into_iter().filter(|transaction| transaction.kind == TxKind::Revert).collect()
}

async fn committed(world: &World) -> u64 {
    world.rollup.progress().await.unwrap().committed
}

async fn states(world: &World) -> Vec<String> {
    let mut connection = world.pool.acquire().await.unwrap();
    let mut page = batches::page(&mut connection, u64::MAX, 10).await.unwrap();
    page.reverse();
    page.into_iter().map(|batch| batch.state).collect()
}

/// What the sequencer does once the revert is final: each entry sealed as before, in rows that are computed anew.
async fn seal_again(world: &World) {
    let input = serde_json::to_value(no_input()).unwrap();
    sqlx::query("UPDATE batches SET input = $1").bind(sqlx::types::Json(input)).execute(&world.pool).await.unwrap();
    let mut tx = world.pool.begin().await.unwrap();
    let revert = reverts::due(&mut tx).await.unwrap().expect("L1 has carried it out");
    reverts::take_back(&mut tx, &revert).await.unwrap();
    reverts::reseal(&mut tx, &revert, &[Part { circuit: 1, last_seq: revert.last_seq }]).await.unwrap();
    tx.commit().await.unwrap();
    let queued = world.queued().await;
    for number in 1..=3 {
        world.compute(number as u64, &queued[number - 1..number], digest(&queued[..number])).await;
    }
}

async fn rounds(submitter: &mut Submitter, count: usize) {
    for _ in 0..count {
        submitter.step().await.unwrap();
    }
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_parked_batch_is_taken_back_and_committed_anew(pool: PgPool) {
    let world = parked(pool).await;
    let watcher = world.watcher(|_| {});
    seal_empty(&world, 4).await;
    // with the contract's own time it is far too early
    rounds(&mut world.submitter(|options| options.circuits = 2), 2).await;
    assert_eq!((committed(&world).await, calls(&world).await.len()), (4, 0));

    let mut submitter = world.submitter(hasty);
    rounds(&mut submitter, 3).await;
    catch_up(&watcher).await;
    assert_eq!(committed(&world).await, 0, "{:?}", world.status());
    assert_eq!(states(&world).await, ["sealed"; 4]);
    assert!(world.status().taking_back.unwrap().contains("batch 1"));
    assert_eq!(calls(&world).await.len(), 1, "once");
    assert_eq!(batches::marks(&mut world.pool.acquire().await.unwrap()).await.unwrap().committed, 0);
    // whoever takes settlement over goes on from the rows
    rounds(&mut world.submitter(hasty), 2).await;
    assert_eq!(committed(&world).await, 0, "nothing is committed before it is sealed again");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn what_is_sealed_again_is_committed_again(pool: PgPool) {
    let world = parked(pool).await;
    let mut submitter = world.submitter(hasty);
    rounds(&mut submitter, 2).await;
    catch_up(&world.watcher(|_| {})).await;
    seal_again(&world).await;
    until_committed(&world, &mut submitter, 3).await;
    rounds(&mut submitter, 1).await;
    catch_up(&world.watcher(|_| {})).await;
    assert_eq!(states(&world).await, ["committed", "committed", "committed"]);
    assert_eq!((world.status().taking_back, world.status().alarm), (None, None));
    assert!(world.live().await.iter().all(Transaction::succeeded));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_time_for_it_comes_at_a_quarter_of_the_contracts(pool: PgPool) {
    let world = parked(pool).await;
    let mut submitter = world.submitter(|options| options.circuits = 2);
    rounds(&mut submitter, 1).await;
    assert_eq!(calls(&world).await.len(), 0);
    let quarter = 7 * 24 * 3600 / 4;
    world.anvil("evm_increaseTime", vec![json!(quarter)]).await;
    world.mine(1).await;
    rounds(&mut submitter, 1).await;
    assert_eq!(calls(&world).await.len(), 1);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn without_another_circuit_a_person_is_told(pool: PgPool) {
    let world = parked(pool).await;
    let mut submitter = world.submitter(|options| options.revert_after_s = Some(0));
    rounds(&mut submitter, 2).await;
    assert_eq!((committed(&world).await, calls(&world).await.len()), (3, 0));
    let alarm = world.status().alarm.unwrap();
    assert!(alarm.contains("batch 1 is parked and no circuit is left") && alarm.contains("sheaf prover retry 1"), "{alarm}");
    let mut tx = world.pool.begin().await.unwrap();
    assert_eq!(fleet::order(&mut tx, Order::Retry, 1, OPERATOR).await.unwrap(), Done::Yes { was_leased: false });
    tx.commit().await.unwrap();
    rounds(&mut submitter, 1).await;
    assert_eq!(world.status().alarm, None, "the job went back to work");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_commit_on_its_way_is_waited_for_and_none_is_sent_behind_a_revert(pool: PgPool) {
    let world = parked(pool).await;
    world.mine_by_hand().await;
    seal_empty(&world, 4).await;
    let mut submitter = world.submitter(|_| {});
    rounds(&mut submitter, 1).await;
    assert_eq!(ask(&world, 1).await, Asked::Yes);
    seal_empty(&world, 5).await;
    rounds(&mut submitter, 2).await;
    assert_eq!(calls(&world).await.len(), 0, "batch 4 is on its way");
    world.mine(1).await;
    rounds(&mut submitter, 2).await;
    assert_eq!(committed(&world).await, 4);
    let sent = calls(&world).await;
    assert_eq!(sent.iter().map(|tx| (tx.first_batch, tx.last_batch)).collect::<Vec<_>>(), [(1, 4)]);
    world.mine(1).await;
    rounds(&mut submitter, 2).await;
    assert_eq!(committed(&world).await, 0);
    assert!(world.live().await.iter().all(|tx| tx.first_batch != 5), "no commit meanwhile");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_stuck_revert_is_replaced(pool: PgPool) {
    let world = parked(pool).await;
    world.mine_by_hand().await;
    let mut submitter = world.submitter(|options| {
        hasty(options);
        options.resubmit_after_ms = 0;
    });
    rounds(&mut submitter, 3).await;
    let attempts = calls(&world).await.remove(0).attempts;
    assert!(attempts.len() >= 2 && attempts.windows(2).all(|pair| pair[1].max_fee_wei > pair[0].max_fee_wei), "{attempts:?}");
    world.mine(1).await;
    rounds(&mut submitter, 1).await;
    assert_eq!((committed(&world).await, calls(&world).await[0].succeeded()), (0, true));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_revert_that_a_reorg_drops_is_sent_again(pool: PgPool) {
    let world = parked(pool).await;
    let (watcher, mut submitter) = (world.watcher(|_| {}), world.submitter(hasty));
    rounds(&mut submitter, 2).await;
    catch_up(&watcher).await;
    assert_eq!(states(&world).await, ["sealed"; 3]);
    world.anvil("anvil_reorg", vec![json!(1), json!([])]).await;
    assert_eq!(committed(&world).await, 3);
    catch_up(&watcher).await;
    assert_eq!(states(&world).await, ["committed"; 3]);
    assert!(reverts::due(&mut world.pool.acquire().await.unwrap()).await.unwrap().is_none());
    rounds(&mut submitter, 2).await;
    catch_up(&watcher).await;
    assert_eq!((committed(&world).await, calls(&world).await.len()), (0, 1), "the same bytes");
    seal_again(&world).await;
    until_committed(&world, &mut submitter, 3).await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_batch_that_goes_back_to_work_stays(pool: PgPool) {
    let world = parked(pool).await;
    assert_eq!(ask(&world, 1).await, Asked::Yes);
    let mut tx = world.pool.begin().await.unwrap();
    fleet::order(&mut tx, Order::Retry, 1, OPERATOR).await.unwrap();
    tx.commit().await.unwrap();
    rounds(&mut world.submitter(|_| {}), 2).await;
    assert_eq!((committed(&world).await, calls(&world).await.len()), (3, 0));
    assert_eq!(abandoned(&world).await, "its job went back to work");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_batch_that_is_proven_meanwhile_stays_and_commits_go_on(pool: PgPool) {
    let (world, fixture) = fixture_world(pool).await;
    let (last, mut submitter) = (fixture.batches().len() as u64, world.submitter(|_| {}));
    until_committed(&world, &mut submitter, last).await;
    while world.rollup.progress().await.unwrap().proven < last {
        rounds(&mut submitter, 1).await;
    }
    let open = "INSERT INTO reverts (batch, circuit, first_seq, last_seq, actor, reason) VALUES ($1, 1, 1, 1, 'alice', 'a test')";
    sqlx::query(open).bind(last as i64).execute(&world.pool).await.unwrap();
    rounds(&mut submitter, 1).await;
    assert_eq!(calls(&world).await.len(), 0);
    assert_eq!(abandoned(&world).await, "it is proven on L1");
    assert_eq!(world.status().taking_back, None);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_revert_to_a_batch_that_is_not_proven_shows_its_record_and_its_last_entry(pool: PgPool) {
    let (world, fixture) = fixture_world(pool).await;
    let (watcher, last) = (world.watcher(|_| {}), fixture.batches().len() as u64);
    // nobody has proven any of them
    let parked = "DELETE FROM proofs; UPDATE proof_jobs SET state = CASE batch_number WHEN 2 THEN 'parked' ELSE 'queued' END";
    sqlx::raw_sql(parked).execute(&world.pool).await.unwrap();
    until_committed(&world, &mut world.submitter(|_| {}), last).await;
    catch_up(&watcher).await;
    let mut submitter = world.submitter(hasty);
    rounds(&mut submitter, 3).await;
    assert_eq!((committed(&world).await, calls(&world).await.len()), (1, 1), "{:?}", world.status());
    catch_up(&watcher).await;
    // sealed again as they were
    sqlx::query("UPDATE reverts SET undone_at = now()").execute(&world.pool).await.unwrap();
    sqlx::query("UPDATE proof_jobs SET state = 'queued'").execute(&world.pool).await.unwrap();
    until_committed(&world, &mut submitter, last).await;
    rounds(&mut submitter, 1).await;
    assert!(world.live().await.iter().all(Transaction::succeeded));
}

async fn abandoned(world: &World) -> String {
    sqlx::query_scalar("SELECT coalesce(abandoned_because, '') FROM reverts").fetch_one(&world.pool).await.unwrap()
}
