//! Incidents, one test each: whatever dies or stands still at whatever moment, no acknowledged transfer is lost and everything ends final.

use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use sheaf_cli::scenario::{Final, Sending};
use sheaf_e2e::{Moment, Town};

#[tokio::test(flavor = "multi_thread")]
async fn node_is_killed_while_people_send() {
    let mut town = Town::found(4).await.unwrap();
    let mut acknowledged = town.people.acknowledged();
    let sending = town.people.start_transfers(24).unwrap();
    for some in [3, 12] {
        acknowledged.wait_for(|hashes| hashes.len() >= some).await.unwrap();
        town.crash_node().await.unwrap();
        assert!(acknowledged.borrow().len() < 24, "people were still sending");
    }
    sending.finish().await.unwrap();
    assert_eq!(town.settles().await.unwrap(), Final { transfers: 24, withdrawals: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn node_is_stopped_in_order_while_people_send() {
    let mut town = Town::found(4).await.unwrap();
    let mut acknowledged = town.people.acknowledged();
    let sending = town.people.start_transfers(16).unwrap();
    acknowledged.wait_for(|hashes| hashes.len() >= 3).await.unwrap();
    town.restart_node().await.unwrap();
    assert!(acknowledged.borrow().len() < 16, "people were still sending");
    sending.finish().await.unwrap();
    assert_eq!(town.settles().await.unwrap().transfers, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_killed_while_people_send() {
    let mut town = Town::found(4).await.unwrap();
    let mut acknowledged = town.people.acknowledged();
    let sending = town.people.start_transfers(16).unwrap();
    acknowledged.wait_for(|hashes| hashes.len() >= 3).await.unwrap();
    town.crash_postgres().await.unwrap();
    assert!(acknowledged.borrow().len() < 16, "people were still sending");
    sending.finish().await.unwrap();
    assert_eq!(town.settles().await.unwrap().transfers, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_is_killed_mid_proof_and_replaced() {
    let mut town = Town::found_with(4, &["--lease-s", "3"]).await.unwrap();
    town.people.send_transfers(4).await.unwrap();
    town.until(Moment::Leased).await.unwrap();
    town.workers.remove(0).kill().await.unwrap();
    assert!(town.is_at(Moment::Leased).await.unwrap(), "it died before it gave up its job");
    town.until(Moment::LeaseExpired).await.unwrap();
    town.add_worker("worker-2").unwrap();
    town.settles().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_freezes_and_its_lease_expires() {
    let mut town = Town::found_with(4, &["--lease-s", "3"]).await.unwrap();
    town.people.send_transfers(4).await.unwrap();
    town.until(Moment::Leased).await.unwrap();
    town.workers[0].freeze().unwrap();
    town.until(Moment::LeaseExpired).await.unwrap();
    town.add_worker("worker-2").unwrap();
    town.settles().await.unwrap();
    // its proof comes too late and is refused; the next one counts
    town.workers[0].thaw().unwrap();
    town.workers.pop().unwrap().kill().await.unwrap();
    town.people.send_transfers(4).await.unwrap();
    assert_eq!(town.settles().await.unwrap().transfers, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn anvil_stands_still_with_a_commit_in_flight() {
    let mut town = Town::found(4).await.unwrap();
    let sending = commit_in_flight(&mut town).await;
    town.stack.anvil().unwrap().pause().unwrap();
    sending.finish().await.unwrap();
    town.people.send_transfers(4).await.unwrap();
    town.stack.anvil().unwrap().resume().unwrap();
    l1(&town, "evm_setAutomine", json!([true])).await;
    l1(&town, "evm_mine", json!([])).await;
    assert_eq!(town.settles().await.unwrap().transfers, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn anvil_restarts_from_its_saved_state_with_a_commit_in_flight() {
    let mut town = Town::found(4).await.unwrap();
    let sending = commit_in_flight(&mut town).await;
    // what it had not mined is gone, and it mines at once again
    town.stack.restart_anvil().await.unwrap();
    sending.finish().await.unwrap();
    town.people.send_transfers(4).await.unwrap();
    assert_eq!(town.settles().await.unwrap().transfers, 8);
}

/// Four transfers, whose commit waits on L1, where nothing is mined any more.
async fn commit_in_flight(town: &mut Town) -> Sending {
    town.until(Moment::AllFinal).await.unwrap();
    l1(town, "evm_setAutomine", json!([false])).await;
    let sending = town.people.start_transfers(4).unwrap();
    town.until(Moment::CommitInFlight).await.unwrap();
    sending
}

/// What happens to a process.
#[derive(Clone, Copy, Debug)]
enum Incident {
    NodeKilled,
    PostgresKilled,
    WorkerKilled,
    WorkerFrozen,
    AnvilFrozen,
    AnvilRestarted,
}

impl Incident {
    async fn strike(self, town: &mut Town) -> anyhow::Result<()> {
        match self {
            Self::NodeKilled => town.crash_node().await,
            Self::PostgresKilled => town.crash_postgres().await,
            Self::WorkerKilled => town.replace_worker("worker-1").await,
            Self::WorkerFrozen => {
                town.workers[0].freeze()?;
                town.people.send_transfers(4).await?;
                town.workers[0].thaw()
            }
            Self::AnvilFrozen => {
                town.stack.anvil()?.pause()?;
                town.people.send_transfers(4).await?;
                Ok(town.stack.anvil()?.resume()?)
            }
            Self::AnvilRestarted => town.stack.restart_anvil().await,
        }
    }
}

/// Every incident at every moment, in an order that `SHEAF_SWEEP_SEED` gives.
#[tokio::test(flavor = "multi_thread")]
async fn anything_dies_or_freezes_at_any_moment() {
    use Incident::{AnvilFrozen, AnvilRestarted, NodeKilled, PostgresKilled, WorkerFrozen, WorkerKilled};
    let seed = std::env::var("SHEAF_SWEEP_SEED").map_or(1, |text| text.parse().unwrap());
    let mut sweep = Vec::new();
    for incident in [NodeKilled, PostgresKilled, WorkerKilled, WorkerFrozen, AnvilFrozen, AnvilRestarted] {
        sweep.extend([Moment::Sealed, Moment::CommitInFlight, Moment::Leased, Moment::ProofStored].map(|moment| (incident, moment)));
    }
    sweep.shuffle(&mut StdRng::seed_from_u64(seed));
    let mut town = Town::found_with(4, &["--lease-s", "3"]).await.unwrap();
    for (incident, moment) in sweep {
        println!("seed {seed}: {incident:?} at {moment:?}");
        town.until(Moment::AllFinal).await.unwrap();
        let sending = town.people.start_transfers(4).unwrap();
        town.until(moment).await.unwrap();
        incident.strike(&mut town).await.unwrap();
        sending.finish().await.unwrap();
    }
    town.settles().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn l1_reorganises_under_the_node() {
    let mut town = Town::found(4).await.unwrap();
    town.people.send_transfers(12).await.unwrap();
    town.settles().await.unwrap();
    // settled for good: what the reorganisation takes away is commits and proofs, not deposits
    let before = town.people.rollup.progress().await.unwrap();
    l1(&town, "anvil_reorg", json!([3, []])).await;
    let after = town.people.rollup.progress().await.unwrap();
    assert!(after.proven < before.proven, "the reorganisation took a proof away: {after:?}");
    town.people.send_transfers(4).await.unwrap();
    assert_eq!(town.settles().await.unwrap().transfers, 16);
    assert!(town.people.rollup.progress().await.unwrap().proven > before.proven);
}

async fn l1(town: &Town, method: &str, params: Value) -> Value {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer: Value = client.post(&town.stack.l1_url).json(&request).send().await.unwrap().json().await.unwrap();
    assert!(answer["error"].is_null(), "{method}: {answer}");
    answer["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawals_are_claimed_on_l1() {
    let mut town = Town::found(4).await.unwrap();
    town.people.withdraw(2).await.unwrap();
    assert_eq!(town.settles().await.unwrap(), Final { transfers: 0, withdrawals: 2 });
    town.people.claim().await.unwrap();
}
