//! Several L1 nodes: which are believed, which are waited for, and which are refused. `liars` has every fault by name.

use crate::common::{RPC, World, catch_up, eventually, operator, until_committed};
use crate::relay::{Fate, relay};
use serde_json::{Value, json};
use sheaf_settlement::rollup::Rollup;
use sheaf_settlement::rpc::{Rpc, RpcError, RpcOptions};
use sheaf_settlement::service::{Service, ServiceOptions, StartError};
use sheaf_settlement::status::Board;
use sheaf_settlement::submitter::{Submitter, SubmitterOptions};
use sheaf_settlement::watcher::{Step, WatchError, Watcher, WatcherOptions};
use sheaf_store::l1;
use sqlx::PgPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A lag that is never taken for the truth.
const PATIENT: RpcOptions = RpcOptions { lag_patience_ms: 3_600_000, ..RPC };

fn watcher(world: &World, rpc: Rpc) -> Watcher {
    let mut options = WatcherOptions::new(31_337, world.deployment.block);
    options.finality_depth = 64;
    Watcher::new(Rollup::at(rpc, world.deployment.contract), world.lead.clone(), options, Board::default())
}

fn submitter(world: &World, rpc: Rpc) -> Submitter {
    let mut options = SubmitterOptions::new(31_337);
    options.finality_depth = 64;
    Submitter::new(Rollup::at(rpc, world.deployment.contract), operator(), world.lead.clone(), options, world.board.clone())
}

/// A node with a switch: while it is on, requests meet this fate.
async fn switched(world: &World, fate: fn(&Value) -> Fate) -> (String, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(false));
    let on = switch.clone();
    (relay(world.anvil.port(), move |call| if on.load(Ordering::Relaxed) { fate(call) } else { Fate::Passes }).await, switch)
}

fn behind(call: &Value) -> Fate {
    if call["params"][0] == "latest" { Fate::Behind(3) } else { Fate::Passes }
}

async fn tip(world: &World) -> u64 {
    l1::tip(&mut world.pool.acquire().await.unwrap()).await.unwrap().unwrap().number
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_lagging_head_is_no_reorg(pool: PgPool) {
    let world = World::new(pool).await;
    world.deposit(1).await;
    world.mine(3).await;
    world.deposit(2).await;
    let (url, lags) = switched(&world, behind).await;
    let watcher = watcher(&world, Rpc::connect(&url, PATIENT).await.unwrap());
    catch_up(&watcher).await;
    let followed = tip(&world).await;
    lags.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let step = watcher.step().await;
        assert!(matches!(step, Err(WatchError::Rpc(RpcError::Lagging { head, known })) if (head, known) == (followed - 3, followed)), "{step:?}");
    }
    // nor after a restart, when only the store knows how far the chain was
    let restarted = self::watcher(&world, Rpc::connect(&url, PATIENT).await.unwrap());
    assert!(matches!(restarted.step().await, Err(WatchError::Rpc(RpcError::Lagging { .. }))));
    assert_eq!((tip(&world).await, world.queued().await.len()), (followed, 2));
    lags.store(false, Ordering::Relaxed);
    assert!(matches!(watcher.step().await, Ok(Step::Idle)));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_lagging_node_makes_nothing_be_sent_again(pool: PgPool) {
    let world = World::new(pool).await;
    world.empty_batches(1..=2).await;
    let (url, lags) = switched(&world, behind).await;
    let mut submitter = submitter(&world, Rpc::connect(&url, PATIENT).await.unwrap());
    until_committed(&world, &mut submitter, 2).await;
    world.mine(1).await;
    submitter.step().await.unwrap();
    let (nonce, sent) = (world.operator_nonce().await, world.live().await);
    lags.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert!(submitter.step().await.is_err());
    }
    assert_eq!((world.operator_nonce().await, world.live().await), (nonce, sent));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_chain_that_stays_shorter_is_believed_in_the_end(pool: PgPool) {
    let world = World::new(pool).await;
    let snapshot = world.anvil("evm_snapshot", vec![]).await;
    world.deposit(1).await;
    world.mine(3).await;
    let watcher = watcher(&world, world.rpc.clone());
    catch_up(&watcher).await;
    world.anvil("evm_revert", vec![snapshot]).await;
    let forgotten = async || {
        let _ = watcher.step().await;
        world.queued().await.is_empty().then_some(())
    };
    eventually("the deposit is forgotten", forgotten).await;
}

/// Events are withheld, and the contract's state has none: nothing in it contradicts itself.
fn consistent_lie(call: &Value) -> Fate {
    match call["method"].as_str() {
        Some("eth_getLogs") => Fate::Invented(json!([])),
        // queueLength()
        Some("eth_call") if call["params"][0]["data"].as_str().is_some_and(|data| data.starts_with("0xab91c7b0")) => {
            Fate::Invented(json!(format!("{:#066x}", 0)))
        }
        _ => Fate::Passes,
    }
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn two_nodes_that_contradict_each_other_credit_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let (url, lies) = switched(&world, consistent_lie).await;
    let watcher = watcher(&world, Rpc::connect(&format!("{url},{}", world.anvil.url()), PATIENT).await.unwrap());
    catch_up(&watcher).await;
    lies.store(true, Ordering::Relaxed);
    world.deposit(5).await;
    for _ in 0..3 {
        let step = watcher.step().await;
        assert!(
            matches!(&step, Err(WatchError::Rpc(RpcError::Contradiction { sites, .. })) if sites.contains("#1") && sites.contains("#2")),
            "{step:?}"
        );
    }
    assert_eq!(world.queued().await.len(), 0);
    lies.store(false, Ordering::Relaxed);
    catch_up(&watcher).await;
    assert_eq!(world.queued().await.len(), 1);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn with_one_of_two_nodes_gone_batches_go_on_and_deposits_wait(pool: PgPool) {
    let world = World::new(pool).await;
    let (url, gone) = switched(&world, |_| Fate::Lost).await;
    let rpc = Rpc::connect(&format!("{url},{}", world.anvil.url()), PATIENT).await.unwrap();
    let (watcher, mut submitter) = (watcher(&world, rpc.clone()), submitter(&world, rpc));
    catch_up(&watcher).await;
    gone.store(true, Ordering::Relaxed);
    world.deposit(5).await;
    world.empty_batches(1..=1).await;
    until_committed(&world, &mut submitter, 1).await;
    assert!(watcher.step().await.is_err());
    assert_eq!(world.queued().await.len(), 0);
    let failing: Vec<bool> = world.status().endpoints.iter().map(|endpoint| endpoint.error.is_some()).collect();
    assert_eq!(failing, [true, false]);
    gone.store(false, Ordering::Relaxed);
    catch_up(&watcher).await;
    assert_eq!(world.queued().await.len(), 1);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_node_that_failed_lately_decides_where_the_others_contradict_each_other(pool: PgPool) {
    let world = World::new(pool).await;
    let nonces = |call: &Value| if call["method"] == "eth_getTransactionCount" { Fate::Invented(json!("0x63")) } else { Fate::Passes };
    let ((liar, lies), (rests, gone)) = (switched(&world, nonces).await, switched(&world, |_| Fate::Lost).await);
    let rpc = Rpc::connect(&format!("{liar},{rests},{}", world.anvil.url()), PATIENT).await.unwrap();
    let (watcher, mut submitter) = (watcher(&world, rpc.clone()), submitter(&world, rpc));
    lies.store(true, Ordering::Relaxed);
    gone.store(true, Ordering::Relaxed);
    assert!(submitter.step().await.is_err(), "one against one");
    gone.store(false, Ordering::Relaxed);
    world.empty_batches(1..=1).await;
    submitter.step().await.unwrap();
    assert_eq!(world.rollup.progress().await.unwrap().committed, 1);
    catch_up(&watcher).await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_sending_that_one_node_swallows_arrives_through_another(pool: PgPool) {
    let world = World::new(pool).await;
    let swallows = |call: &Value| if call["method"] == "eth_sendRawTransaction" { Fate::Invented(json!("0x00")) } else { Fate::Passes };
    let (url, on) = switched(&world, swallows).await;
    on.store(true, Ordering::Relaxed);
    world.empty_batches(1..=1).await;
    let rpc = Rpc::connect(&format!("{url},{}", world.anvil.url()), PATIENT).await.unwrap();
    submitter(&world, rpc).step().await.unwrap();
    assert_eq!(world.rollup.progress().await.unwrap().committed, 1);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_node_of_another_chain_is_refused_without_its_secrets(pool: PgPool) {
    let world = World::new(pool).await;
    let foreign = relay(world.anvil.port(), |call| if call["method"] == "eth_chainId" { Fate::Invented(json!("0x5")) } else { Fate::Passes }).await;
    let site = foreign.trim_start_matches("http://").to_owned();
    let urls = format!("{}, http://user:secret@{site}/secret?key=secret", world.anvil.url());
    let mut options = ServiceOptions::new(&urls, world.deployment.clone(), world.manifest.clone());
    options.rpc = RPC;
    let error = Service::start(world.pool.clone(), operator(), options, Board::default()).await.unwrap_err();
    assert!(matches!(&error, StartError::Rpc(RpcError::WrongChain { found: 5, .. })) && !error.is_transient(), "{error}");
    let shown = format!("{error} {error:?}");
    assert!(shown.contains(&format!("http://{site}")) && !shown.contains("secret"), "{shown}");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn one_node_that_answers_is_enough_to_start(pool: PgPool) {
    let world = World::new(pool).await;
    let urls = format!("http://127.0.0.1:1,{}", world.anvil.url());
    let mut options = ServiceOptions::new(&urls, world.deployment.clone(), world.manifest.clone());
    options.rpc = RPC;
    Service::start(world.pool.clone(), operator(), options, Board::default()).await.unwrap();
}
