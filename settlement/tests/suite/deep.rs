//! L1 falls back further than anybody waits for, with the options of the development chain as they are.

use crate::common::{World, operator, until_committed};
use serde_json::json;
use sheaf_settlement::anvil::{Anvil, AnvilOptions};
use sheaf_store::l1::{self, TxKind};
use sqlx::PgPool;

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn commits_of_three_dropped_blocks_are_sent_again(pool: PgPool) {
    let world = World::new(pool).await;
    world.empty_batches(1..=5).await;
    let mut submitter = world.default_submitter();
    until_committed(&world, &mut submitter, 5).await;
    submitter.step().await.unwrap();

    world.anvil("anvil_reorg", vec![json!(4), json!([])]).await;
    assert_eq!(world.rollup.progress().await.unwrap().committed, 1);
    until_committed(&world, &mut submitter, 5).await;
    assert_eq!(world.status().alarm, None);
    let nonces: Vec<u64> = world.live().await.iter().map(|tx| tx.nonce).collect();
    assert!(nonces.windows(2).all(|pair| pair[1] == pair[0] + 1), "{nonces:?}");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_chain_restarted_from_an_older_state_gets_everything_again(pool: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let (state, older) = (folder.path().join("chain.json"), folder.path().join("older.json"));
    let options = AnvilOptions { state: Some(state.clone()), ..AnvilOptions::default() };
    let mut world = World::with(pool, options.clone()).await;
    let options = AnvilOptions { port: Some(world.anvil.port()), ..options };
    let mut submitter = world.default_submitter();
    world.empty_batches(1..=1).await;
    until_committed(&world, &mut submitter, 1).await;
    world.stop_chain().await;
    std::fs::copy(&state, &older).unwrap();

    world.anvil = Anvil::start(options.clone()).await.unwrap();
    world.empty_batches(2..=5).await;
    until_committed(&world, &mut submitter, 5).await;
    submitter.step().await.unwrap();
    world.stop_chain().await;
    std::fs::copy(&older, &state).unwrap();

    world.anvil = Anvil::start(options).await.unwrap();
    assert_eq!(world.rollup.progress().await.unwrap().committed, 1);
    // nobody looks again at blocks this far below the head because of their height
    world.mine(20).await;
    world.empty_batches(6..=6).await;
    until_committed(&world, &mut submitter, 6).await;
    assert_eq!(world.status().alarm, None);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_gap_below_a_waiting_transaction_is_filled_first(pool: PgPool) {
    let world = World::new(pool).await;
    world.mine_by_hand().await;
    world.empty_batches(1..=3).await;
    let mut submitter = world.default_submitter();
    submitter.step().await.unwrap();
    let sent = world.live().await;
    let first = sent[0].nonce;
    // given up in error: the same bytes are due again, at the nonce that the others wait for
    l1::set_dropped(&mut world.pool.acquire().await.unwrap(), &operator().address(), first, "a test").await.unwrap();
    world.drop_from_pool(&sent[0]).await;
    submitter.step().await.unwrap();
    let again: Vec<_> = world.live().await.iter().map(|tx| (tx.nonce, tx.first_batch)).collect();
    assert_eq!(again, [(first, 1), (first + 1, 2), (first + 2, 3)]);
    world.mine(1).await;
    assert_eq!(world.rollup.progress().await.unwrap().committed, 3);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_gap_that_nothing_is_due_for_is_used_up(pool: PgPool) {
    let world = World::new(pool).await;
    let account = operator().address().to_string();
    let foreign = world.anvil("eth_sendTransaction", vec![json!({ "from": account, "to": account, "value": "0x1" })]).await;
    world.mine_by_hand().await;
    world.empty_batches(1..=2).await;
    let mut submitter = world.default_submitter();
    submitter.step().await.unwrap();
    let first = world.live().await[0].nonce;

    world.anvil("anvil_reorg", vec![json!(1), json!([])]).await;
    world.anvil("anvil_dropTransaction", vec![foreign]).await;
    assert_eq!(world.operator_nonce().await, first - 1);
    submitter.step().await.unwrap();
    let waiting: Vec<_> = world.live().await.iter().map(|tx| (tx.nonce, tx.kind)).collect();
    assert_eq!(waiting, [(first - 1, TxKind::Cancel), (first, TxKind::Commit), (first + 1, TxKind::Commit)]);
    world.anvil("evm_setAutomine", vec![json!(true)]).await;
    world.mine(1).await;
    until_committed(&world, &mut submitter, 2).await;
    submitter.step().await.unwrap();
    assert!(world.live().await.iter().all(|tx| tx.succeeded()));
}
