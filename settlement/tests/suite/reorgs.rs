//! L1 changes its mind.

use crate::common::{World, catch_up, digest, until_committed};
use serde_json::json;
use sqlx::PgPool;

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_dropped_deposit_is_forgotten_and_a_new_one_found(pool: PgPool) {
    let world = World::new(pool).await;
    world.deposit(1).await;
    world.deposit(2).await;
    let watcher = world.watcher(|_| {});
    catch_up(&watcher).await;
    assert_eq!(world.queued().await.len(), 2);

    world.anvil("anvil_reorg", vec![json!(1), json!([])]).await;
    catch_up(&watcher).await;
    assert_eq!(world.queued().await.len(), 1);
    assert_eq!(world.queued().await[0].1.amount.0, 1);

    world.deposit(3).await;
    catch_up(&watcher).await;
    let queued = world.queued().await;
    assert_eq!(queued.iter().map(|(_, entry)| entry.amount.0).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(digest(&queued), world.rollup.queue_digest(2).await.unwrap());
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn many_reorgs_leave_the_true_queue(pool: PgPool) {
    let world = World::new(pool).await;
    let watcher = world.watcher(|options| options.finality_depth = 64);
    for round in 1..=12u64 {
        world.deposit(round.into()).await;
        world.mine(round % 3).await;
        catch_up(&watcher).await;
        world.anvil("anvil_reorg", vec![json!(1 + round % 5), json!([])]).await;
        catch_up(&watcher).await;
        let queued = world.queued().await;
        let length = world.rollup.progress().await.unwrap().queue_length;
        assert_eq!(queued.len() as u64, length);
        assert_eq!(digest(&queued), world.rollup.queue_digest(length).await.unwrap());
    }
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_dropped_commit_is_sent_again(pool: PgPool) {
    let world = World::new(pool).await;
    world.empty_batches(1..=2).await;
    let mut submitter = world.submitter(|_| {});
    until_committed(&world, &mut submitter, 2).await;
    submitter.step().await.unwrap();

    world.anvil("anvil_reorg", vec![json!(1), json!([])]).await;
    assert_eq!(world.rollup.progress().await.unwrap().committed, 1);
    until_committed(&world, &mut submitter, 2).await;
    assert_eq!(world.status().alarm, None);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn reordered_deposits_block_the_batch_with_the_contracts_reason(pool: PgPool) {
    let world = World::new(pool).await;
    world.deposit(1).await;
    let watcher = world.watcher(|_| {});
    catch_up(&watcher).await;
    let taken = world.queued().await;
    world.batch(1, &taken, digest(&taken)).await;

    world.anvil("anvil_reorg", vec![json!(1), json!([])]).await;
    world.deposit(2).await;
    catch_up(&watcher).await;
    let mut submitter = world.submitter(|_| {});
    submitter.step().await.unwrap();
    assert!(world.status().blocked.is_some(), "{:?}", world.status());
    let blocked = world.status().blocked.unwrap();
    assert!(blocked.contains("QueueMismatch"), "{blocked}");
    assert!(world.status().alarm.unwrap().contains("batch 1 took queue entries that L1 does not hold"));
    assert_eq!(world.rollup.progress().await.unwrap().committed, 0);
}
