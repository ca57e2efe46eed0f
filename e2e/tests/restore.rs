//! The whole state from L1 alone, as somebody who has lost the operator would rebuild it.
#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::Value;
use sheaf_e2e::{Town, sheaf_binary, test_keys};
use std::path::Path;

async fn restore(town: &Town, state: &Path) -> Result<Value, String> {
    let keys = test_keys();
    let mut command = tokio::process::Command::new(sheaf_binary().unwrap());
    command.args(["restore", "--json", "--l1-url", &town.stack.l1_url, "--contract", &town.stack.deployment.deployment.contract.to_string()]);
    command.arg("--state").arg(state).arg("--keys-dir").arg(&keys.keys_dir).args(["--seed", &keys.seed]);
    let output = command.kill_on_drop(true).output().await.unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_comes_back_from_l1_alone_and_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let mut town = Town::found(4).await.unwrap();
    town.people.send_transfers(6).await.unwrap();
    town.people.withdraw(1).await.unwrap();
    town.settles().await.unwrap();

    let first = restore(&town, &state).await.unwrap();
    assert_eq!((&first["current"], &first["root"], &first["followed"]), (&Value::Bool(true), &first["root_on_l1"], &first["batches"]));
    assert!(first["batches"].as_u64() > Some(0) && first["slots"].as_u64() >= Some(4), "{first}");

    town.people.send_transfers(4).await.unwrap();
    town.settles().await.unwrap();
    // the operator, its database and its workers are gone
    town.node.take().unwrap().process.kill().await.unwrap();
    town.workers.clear();
    town.stack.cluster.kill().unwrap();
    let second = restore(&town, &state).await.unwrap();
    assert_eq!((&second["current"], &second["root"]), (&Value::Bool(true), &second["root_on_l1"]));
    assert_eq!(second["followed"].as_u64().unwrap(), second["batches"].as_u64().unwrap() - first["batches"].as_u64().unwrap());

    let afresh = restore(&town, &folder.path().join("another.json")).await.unwrap();
    assert_eq!((&afresh["root"], &afresh["slots"]), (&second["root"], &second["slots"]));
    let text = std::fs::read_to_string(&state).unwrap();
    std::fs::write(&state, text.replacen("\"balance\":\"", "\"balance\":\"1", 1)).unwrap();
    let refused = restore(&town, &state).await.unwrap_err();
    assert!(refused.contains("restore again"), "{refused}");
}

async fn replay(town: &Town, batch: u64) -> Result<Value, String> {
    let mut command = tokio::process::Command::new(sheaf_binary().unwrap());
    command.args(["replay", "--json", "--batch", &batch.to_string()]).arg("--deployment").arg(&town.stack.deployment_file);
    command.arg("--keys-dir").arg(test_keys().keys_dir).env("DATABASE_URL", &town.stack.database_url);
    let output = command.kill_on_drop(true).output().await.unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_derived_again_from_what_was_accepted() {
    let mut town = Town::found(4).await.unwrap();
    town.people.send_transfers(6).await.unwrap();
    assert_eq!(town.settles().await.unwrap().transfers, 6);
    let status: Value = town.people.client.get("/v1/status").await.unwrap();
    let last: u64 = status["final"]["batch"].as_str().unwrap().parse().unwrap();
    let found = replay(&town, last).await.unwrap();
    let compared = found["compared"].as_array().unwrap();
    assert!(compared.len() >= 28 && compared.iter().all(|line| line["same"] == true), "{found}");
    assert_eq!(found["violated"], serde_json::json!([]));
    assert!(replay(&town, last + 50).await.unwrap_err().contains("is not computed"));
}
