//! A batch that no worker proves in its circuit ends final in another one, and L1 alone still tells the whole state.

use serde_json::Value;
use sheaf_cli::keys::KeyOptions;
use sheaf_e2e::{Moment, Town, sheaf_binary, test_keys, until};
use sheaf_prover::wire::fleet::JobView;
use sheaf_prover::wire::{Claim, Failure, FailureReason};
use sheaf_prover::worker::{Client, KeyCache};

/// Workers that must fail before a job is parked.
const FAILING: usize = 3;

fn token(file: &std::path::Path) -> String {
    std::fs::read_to_string(file).unwrap().split_whitespace().last().unwrap().to_owned()
}

/// Two circuits of one shape: whatever fits the first fits the second.
async fn town(arguments: &[&str]) -> (Town, Client) {
    let keys = KeyOptions { shapes: vec!["test".to_owned(); 2], ..test_keys() };
    let mut town = Town::found_of(keys, 2, arguments).await.unwrap();
    town.until(Moment::AllFinal).await.unwrap();
    town.workers.pop().unwrap().stop().await.unwrap();
    let client = Client::new(&town.url(), &token(&town.launcher.token_file())).unwrap();
    (town, client)
}

/// Workers fail the oldest job until it is parked; returns it.
async fn fail_the_oldest(town: &Town, client: &Client) -> JobView {
    let mut batch = 0;
    for failing in 1..=FAILING {
        let worker = format!("failing-{failing}");
        let claim = Claim { worker: worker.clone(), circuits: KeyCache::of(town.provers().to_vec()).offers(), memory_mb: 4_096, wait_s: 5 };
        let job = until("a job", || async { client.claim(&claim).await.unwrap() }).await;
        batch = job.batch;
        let failure = Failure { lease: job.lease, worker, reason: FailureReason::Prove, detail: "a test".into() };
        assert_eq!(client.fail(batch, &failure).await.unwrap().parked, failing == FAILING);
    }
    client.job(batch).await.unwrap().job
}

async fn batch(town: &Town, number: u64) -> Option<Value> {
    town.people.client.get(&format!("/v1/batches/{number}")).await.ok()
}

/// Waits until what was taken back is sealed again.
async fn sealed_again(town: &Town, number: u64) {
    until("a new seal", || async { batch(town, number).await.filter(|batch| batch["seal_reason"] == "resealed") }).await;
}

async fn restored_root(town: &Town, folder: &std::path::Path) -> Value {
    let mut command = tokio::process::Command::new(sheaf_binary().unwrap());
    command.args(["restore", "--json", "--l1-url", &town.stack.l1_url, "--contract", &town.stack.deployment.deployment.contract.to_string()]);
    command.arg("--state").arg(folder.join("state.json")).arg("--keys-dir").arg(&test_keys().keys_dir).args(["--seed", &test_keys().seed]);
    let output = command.kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let restored: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&restored["current"], &restored["root"]), (&Value::Bool(true), &restored["root_on_l1"]));
    restored["root"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_three_workers_failed_is_final_in_another_circuit() {
    // the development chain makes no blocks in which time could pass
    let (mut town, client) = town(&["--revert-after-s", "0"]).await;
    town.people.send_transfers(10).await.unwrap();
    town.until(Moment::AllComputed).await.unwrap();
    let parked = fail_the_oldest(&town, &client).await;
    assert_eq!((parked.state.as_str(), parked.circuit), ("parked", 1));
    sealed_again(&town, parked.batch).await;
    assert_eq!(batch(&town, parked.batch).await.unwrap()["circuit"], 2);
    town.add_worker("worker-2").unwrap();
    assert_eq!(town.settles().await.unwrap().transfers, 10);

    let proven = client.job(parked.batch).await.unwrap();
    assert_eq!((proven.job.circuit, proven.job.proven_by.as_deref()), (2, Some("worker-2")));
    assert!(proven.job.attempts > FAILING as u64, "leases go on where those of the batch that was taken back ended");
    assert_eq!(proven.actions.last().map(|action| (action.actor.as_str(), action.action.as_str())), Some(("settlement", "prover.reseal")));
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(restored_root(&town, folder.path()).await, batch(&town, last_batch(&town).await).await.unwrap()["root"]);
}

async fn last_batch(town: &Town) -> u64 {
    let status: Value = town.people.client.get("/v1/status").await.unwrap();
    status["final"]["batch"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_orders_a_new_seal_and_the_node_dies_in_the_middle() {
    let (mut town, client) = town(&[]).await;
    let operator = Client::new(&town.url(), &token(&town.launcher.operator_file())).unwrap();
    town.people.send_transfers(10).await.unwrap();
    town.until(Moment::AllComputed).await.unwrap();
    let parked = fail_the_oldest(&town, &client).await;
    until("its commit", || async { batch(&town, parked.batch).await.filter(|batch| batch["state"] == "committed") }).await;
    let ordered = operator.order(parked.batch, "reseal", "no worker proves it").await.unwrap();
    assert!(ordered.job.taken_back, "{ordered:?}");
    town.crash_node().await.unwrap();
    sealed_again(&town, parked.batch).await;
    town.add_worker("worker-2").unwrap();
    assert_eq!(town.settles().await.unwrap().transfers, 10);
}
