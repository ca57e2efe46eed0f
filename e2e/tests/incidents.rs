//! Incidents, one test each: whatever dies at whatever moment, no acknowledged transfer is lost and everything ends final.
#![expect(clippy::unwrap_used, reason = "tests")]

use sheaf_e2e::Town;

#[tokio::test(flavor = "multi_thread")]
async fn node_is_killed_between_transfers() {
    let mut town = Town::found(4).await.unwrap();
    town.people.send_transfers(6).await.unwrap();
    town.crash_node().await.unwrap();
    town.people.send_transfers(6).await.unwrap();
    town.crash_node().await.unwrap();
    town.settles().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn node_is_stopped_in_order_and_started_again() {
    let mut town = Town::found(4).await.unwrap();
    town.people.send_transfers(5).await.unwrap();
    let node = town.node.take().unwrap();
    let address = node.address().to_owned();
    node.stop().await.unwrap();
    town.node = Some(town.launcher.node(&town.stack, &address).await.unwrap());
    town.people.send_transfers(3).await.unwrap();
    town.settles().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_killed_under_load() {
    let mut town = Town::found(4).await.unwrap();
    town.people.send_transfers(4).await.unwrap();
    let cluster = town.stack.cluster.as_mut().unwrap();
    cluster.kill().unwrap();
    cluster.restart().await.unwrap();
    town.people.send_transfers(4).await.unwrap();
    town.settles().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_is_killed_mid_proof_and_replaced() {
    let mut town = Town::found(4).await.unwrap();
    town.people.send_transfers(8).await.unwrap();
    town.workers.remove(0).kill().await.unwrap();
    let worker = town.launcher.worker(&town.url(), "worker-2", 1).unwrap();
    town.workers.push(worker);
    town.settles().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn anvil_stands_still_for_a_while() {
    let mut town = Town::found(4).await.unwrap();
    town.stack.anvil().unwrap().pause().unwrap();
    town.people.send_transfers(8).await.unwrap();
    town.stack.anvil().unwrap().resume().unwrap();
    town.settles().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn anvil_restarts_from_its_saved_state() {
    let mut town = Town::found(4).await.unwrap();
    town.people.send_transfers(4).await.unwrap();
    town.stack.restart_anvil().await.unwrap();
    town.people.send_transfers(4).await.unwrap();
    town.settles().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawals_are_claimed_on_l1() {
    let mut town = Town::found(4).await.unwrap();
    town.people.withdraw(2).await.unwrap();
    town.settles().await.unwrap();
    town.people.claim().await.unwrap();
}
