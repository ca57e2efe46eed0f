//! Everything that befalls the operator's transactions; each ends with every batch committed once and no nonce wasted.

use crate::common::{RPC, World, eventually, operator, until_committed};
use serde_json::{Value, json};
use sheaf_settlement::anvil::{Anvil, AnvilOptions};
use sheaf_settlement::lead::Lead;
use sheaf_settlement::service::{Service, ServiceOptions};
use sheaf_settlement::status::Status;
use sheaf_settlement::submitter::{SubmitError, Submitter, SubmitterOptions};
use sheaf_store::StoreError;
use sheaf_store::l1::Transaction;
use sqlx::PgPool;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn ready_batches_go_out_at_once_and_in_order(pool: PgPool) {
    let world = World::new(pool).await;
    world.mine_by_hand().await;
    world.empty_batches(1..=5).await;
    let nonce = world.operator_nonce().await;
    world.submitter(|options| options.max_commits_in_flight = 4).step().await.unwrap();
    let sent = world.live().await;
    assert_eq!(sent.iter().map(|tx| (tx.nonce, tx.first_batch)).collect::<Vec<_>>(), [(0, 1), (1, 2), (2, 3), (3, 4)].map(|(n, b)| (nonce + n, b)));
    world.mine(1).await;
    assert_eq!(world.rollup.progress().await.unwrap().committed, 4);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_second_round_sends_nothing_twice(pool: PgPool) {
    let world = World::new(pool).await;
    world.mine_by_hand().await;
    world.empty_batches(1..=1).await;
    let nonce = world.operator_nonce().await;
    for _ in 0..3 {
        world.submitter(|_| {}).step().await.unwrap();
    }
    world.mine(1).await;
    let mut submitter = world.submitter(|_| {});
    submitter.step().await.unwrap();
    submitter.step().await.unwrap();
    assert_eq!(world.operator_nonce().await, nonce + 1);
    let sent = world.live().await;
    assert_eq!((sent.len(), sent[0].attempts.len(), sent[0].succeeded()), (1, 1, true));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_stuck_transaction_is_replaced_for_more(pool: PgPool) {
    let world = World::new(pool).await;
    world.mine_by_hand().await;
    world.empty_batches(1..=1).await;
    let nonce = world.operator_nonce().await;
    let mut submitter = world.submitter(|options| options.resubmit_after_ms = 0);
    submitter.step().await.unwrap();
    submitter.step().await.unwrap();
    submitter.step().await.unwrap();
    let attempts = world.live().await.remove(0).attempts;
    assert_eq!(attempts.len(), 3);
    for pair in attempts.windows(2) {
        assert!(pair[1].max_fee_wei * 8 >= pair[0].max_fee_wei * 9 && pair[1].tip_wei * 8 >= pair[0].tip_wei * 9);
    }
    world.mine(1).await;
    submitter.step().await.unwrap();
    assert!(world.live().await[0].succeeded());
    assert_eq!(world.operator_nonce().await, nonce + 1);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_cap_ends_the_bidding(pool: PgPool) {
    let world = World::new(pool).await;
    world.mine_by_hand().await;
    world.empty_batches(1..=1).await;
    let cap = 4_000_000_000;
    let mut submitter = world.submitter(|options| (options.resubmit_after_ms, options.max_fee_wei) = (0, cap));
    for _ in 0..12 {
        submitter.step().await.unwrap();
    }
    let attempts = world.live().await.remove(0).attempts;
    assert!(attempts.len() > 1 && attempts.iter().all(|attempt| attempt.max_fee_wei <= cap));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_base_fee_spike_is_followed(pool: PgPool) {
    let world = World::new(pool).await;
    world.mine_by_hand().await;
    world.empty_batches(1..=1).await;
    let mut submitter = world.submitter(|options| options.resubmit_after_ms = 0);
    submitter.step().await.unwrap();
    world.anvil("anvil_setNextBlockBaseFeePerGas", vec![json!("0x174876e800")]).await;
    world.mine(1).await;
    assert_eq!(world.rollup.progress().await.unwrap().committed, 0, "too cheap for a base fee of 100 gwei");
    world.anvil("evm_setAutomine", vec![json!(true)]).await;
    until_committed(&world, &mut submitter, 1).await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_crash_between_saving_and_sending_loses_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    world.mine_by_hand().await;
    let account = json!(operator().address().to_string());
    let balance = world.anvil("eth_getBalance", vec![account.clone(), json!("latest")]).await;
    world.empty_batches(1..=1).await;
    world.submitter(|_| {}).step().await.unwrap();
    // the second commit is saved, but the node does not take it
    world.empty_batches(2..=2).await;
    world.anvil("anvil_setBalance", vec![account.clone(), json!("0x0")]).await;
    world.submitter(|_| {}).step().await.unwrap();
    let saved = world.live().await;
    assert_eq!((saved.len(), saved[1].attempts[0].sent), (2, false));

    world.anvil("anvil_setBalance", vec![account, balance]).await;
    world.anvil("evm_setAutomine", vec![json!(true)]).await;
    let mut restarted = world.submitter(|_| {});
    until_committed(&world, &mut restarted, 2).await;
    restarted.step().await.unwrap();
    assert_eq!(
        world.live().await.iter().map(|tx| (tx.nonce, tx.attempts.len())).collect::<Vec<_>>(),
        saved.iter().map(|tx| (tx.nonce, 1)).collect::<Vec<_>>()
    );
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_transaction_that_the_node_forgot_is_sent_again(pool: PgPool) {
    let world = World::new(pool).await;
    world.mine_by_hand().await;
    world.empty_batches(1..=2).await;
    world.submitter(|_| {}).step().await.unwrap();
    world.drop_from_pool(&world.live().await[0]).await;
    world.anvil("evm_setAutomine", vec![json!(true)]).await;
    until_committed(&world, &mut world.submitter(|_| {}), 2).await;
    assert!(world.live().await.iter().all(|tx| tx.attempts.len() == 1), "the same bytes");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_foreign_transaction_at_our_nonce_costs_an_alarm_and_no_batch(pool: PgPool) {
    let world = World::new(pool).await;
    world.mine_by_hand().await;
    world.empty_batches(1..=1).await;
    let mut submitter = world.submitter(|_| {});
    submitter.step().await.unwrap();
    world.drop_from_pool(&world.live().await[0]).await;
    let account = operator().address().to_string();
    world.anvil("eth_sendTransaction", vec![json!({ "from": account, "to": account, "value": "0x1" })]).await;
    world.anvil("evm_setAutomine", vec![json!(true)]).await;
    world.mine(1).await;
    until_committed(&world, &mut submitter, 1).await;
    assert!(world.status().alarm.unwrap().contains("foreign"));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_commit_that_reverts_is_not_paid_for_twice(pool: PgPool) {
    let world = World::new(pool).await;
    world.mine_by_hand().await;
    world.empty_batches(1..=1).await;
    world.batch(2, &[], [7; 32]).await;
    world.empty_batches(3..=3).await;
    let nonce = world.operator_nonce().await;
    let mut submitter = world.submitter(|_| {});
    submitter.step().await.unwrap();
    world.mine(1).await;
    for _ in 0..3 {
        submitter.step().await.unwrap();
    }
    assert_eq!(world.live().await.iter().map(Transaction::succeeded).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(world.operator_nonce().await, nonce + 3, "nothing more is sent");
    assert!(world.status().blocked.unwrap().contains("QueueMismatch"));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_process_that_lost_the_lead_writes_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    world.empty_batches(1..=1).await;
    let frozen = world.submitter(|_| {});
    let successor = Lead::new(world.pool.clone(), "successor", 60_000);
    assert!(!successor.keep().await.unwrap(), "one leads at a time");
    let short = Lead::new(world.pool.clone(), "short", 1);
    world.lead.release().await;
    assert!(short.keep().await.unwrap());
    let stale = short.clone();
    eventually("the lease expires", || async { successor.keep().await.unwrap().then_some(()) }).await;
    assert!(stale.is_held(), "it does not know yet");
    assert!(!stale.keep().await.unwrap() && !stale.is_held());
    let mut frozen = frozen;
    frozen.step().await.unwrap();
    assert_eq!((world.live().await.len(), world.status().leader), (0, false));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_process_that_lost_the_lead_shows_nothing_of_its_time_as_leader(pool: PgPool) {
    let world = World::new(pool).await;
    // a batch that L1 refuses
    world.batch(1, &[], [7; 32]).await;
    let mut submitter = world.submitter(|options| options.low_balance_batches = u64::MAX);
    submitter.step().await.unwrap();
    let leading = world.status();
    assert!(leading.leader && leading.blocked.is_some() && leading.costs.is_some() && !leading.endpoints.is_empty(), "{leading:?}");
    world.lead.release().await;
    submitter.step().await.unwrap();
    let mut expected = Status::default();
    (expected.head, expected.committed, expected.proven) = (leading.head, leading.committed, leading.proven);
    assert_eq!(world.status(), expected, "the alarm as well: it was about a batch that is now another's");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_stale_leader_that_does_not_know_it_sends_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    world.mine_by_hand().await;
    world.empty_batches(1..=1).await;
    world.lead.release().await;
    let (stale, successor) = (Lead::new(world.pool.clone(), "stale", 1), Lead::new(world.pool.clone(), "successor", 60_000));
    assert!(stale.keep().await.unwrap());
    eventually("the lease expires", || async { successor.keep().await.unwrap().then_some(()) }).await;
    assert!(stale.is_held(), "it does not know yet");
    let options = SubmitterOptions::new(world.deployment.chain_id);
    let mut submitter = Submitter::new(world.rollup.clone(), operator(), stale, options, world.board.clone());
    let refused = submitter.step().await;
    assert!(matches!(refused, Err(SubmitError::Store(StoreError::LostLead { .. }))), "{refused:?}");
    assert_eq!(world.live().await, []);
    world.mine(1).await;
    assert_eq!(world.rollup.progress().await.unwrap().committed, 0);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_gas_limit_that_the_node_does_not_take_is_found_again(pool: PgPool) {
    let world = World::new(pool).await;
    world.mine_by_hand().await;
    world.anvil("evm_setBlockGasLimit", vec![json!("0x3d090")]).await;
    world.empty_batches(1..=2).await;
    // the second commit follows one that is not mined: its gas limit is a bound, and above what a block holds here
    let mut submitter = world.submitter(|options| options.resubmit_after_ms = 0);
    submitter.step().await.unwrap();
    let sent: Vec<bool> = world.live().await.iter().map(|tx| tx.attempts[0].sent).collect();
    assert_eq!(sent, [true, false], "{:?}", world.status());
    world.mine(1).await;
    submitter.step().await.unwrap();
    world.mine(1).await;
    assert_eq!(world.rollup.progress().await.unwrap().committed, 2, "{:?}", world.status());
}

/// The whole role in the background, with short time-outs.
async fn service(world: &World, cancel: &CancellationToken) -> tokio::task::JoinHandle<()> {
    world.lead.release().await;
    let mut options = ServiceOptions::new(world.anvil.url(), world.deployment.clone(), world.manifest.clone());
    options.rpc = RPC;
    options.submitter.finality_depth = 64;
    let service = Service::start(world.pool.clone(), operator(), options, world.board.clone()).await.unwrap();
    tokio::spawn(service.run(cancel.clone()))
}

async fn committed_row(world: &World, number: u64) -> Option<()> {
    let status = sheaf_store::batches::status(&mut world.pool.acquire().await.unwrap(), number).await.unwrap()?;
    (status.state == "committed").then_some(())
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_frozen_node_is_waited_for(pool: PgPool) {
    let world = World::new(pool).await;
    let cancel = CancellationToken::new();
    let role = service(&world, &cancel).await;
    world.empty_batches(1..=1).await;
    eventually("the first batch is committed", || committed_row(&world, 1)).await;

    world.anvil.pause().unwrap();
    world.empty_batches(2..=3).await;
    eventually("the silence is noticed", || async { world.status().submitter_error }).await;
    world.anvil.resume().unwrap();
    eventually("the rest is committed", || committed_row(&world, 3)).await;
    eventually("the error is gone", || async { world.status().submitter_error.is_none().then_some(()) }).await;
    cancel.cancel();
    tokio::time::timeout(Duration::from_secs(10), role).await.unwrap().unwrap();
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_node_restarted_with_its_state_is_found_again(pool: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let options = AnvilOptions { state: Some(folder.path().join("chain.json")), ..AnvilOptions::default() };
    let mut world = World::with(pool, options.clone()).await;
    let cancel = CancellationToken::new();
    let role = service(&world, &cancel).await;
    world.empty_batches(1..=1).await;
    eventually("the first batch is committed", || committed_row(&world, 1)).await;

    let port = world.anvil.port();
    world.stop_chain().await;
    world.empty_batches(2..=2).await;
    world.anvil = Anvil::start(AnvilOptions { port: Some(port), ..options }).await.unwrap();
    eventually("the second batch is committed", || committed_row(&world, 2)).await;
    cancel.cancel();
    role.await.unwrap();
    assert_eq!(world.rollup.progress().await.unwrap().committed, 2);
    let _: Value = world.anvil("anvil_nodeInfo", vec![]).await;
}
