//! The whole state from L1 alone, as somebody who has lost the operator would rebuild it.

#[path = "../../../settlement/tests/suite/relay.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod relay;

use relay::{Fate, relay};
use serde_json::Value;
use sheaf_e2e::{Town, sheaf_binary, test_keys};
use sheaf_store::pool::{PgPool, connect};
use std::path::Path;
use std::sync::Mutex;

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

/// What `sheaf replay` did.
struct Replayed {
    succeeded: bool,
    /// What it printed as JSON; null if nothing.
    found: Value,
    said: String,
}

impl Replayed {
    fn compared(&self) -> &[Value] {
        self.found["compared"].as_array().map_or(&[], Vec::as_slice)
    }

    /// How many parts were compared, all the same.
    #[track_caller]
    fn all_same(&self) -> usize {
        assert!(self.succeeded && self.compared().iter().all(|line| line["same"] == true), "{}: {}", self.said, self.found);
        self.compared().len()
    }

    /// The error, which names exactly the parts that were printed as different.
    #[track_caller]
    fn differs(&self) -> &str {
        let differing: Vec<&str> = self.compared().iter().filter(|line| line["same"] == false).filter_map(|line| line["name"].as_str()).collect();
        assert!(!self.succeeded && !differing.is_empty(), "{}", self.found);
        assert!(differing.iter().all(|name| self.said.contains(&format!("{name} ("))), "{differing:?}: {}", self.said);
        &self.said
    }
}

/// From the database if its URL is given, from L1 if a node's is.
async fn replay(town: &Town, batch: u64, state: &Path, database: Option<&str>, l1_url: Option<&str>) -> Replayed {
    let mut command = tokio::process::Command::new(sheaf_binary().unwrap());
    let (keys, deployment) = (test_keys(), &town.stack.deployment.deployment);
    command.args(["replay", "--json", "--batch", &batch.to_string()]).arg("--state").arg(state);
    command.arg("--keys-dir").arg(keys.keys_dir).args(["--seed", &keys.seed]).env_remove("DATABASE_URL");
    if let Some(url) = database {
        command.arg("--deployment").arg(&town.stack.deployment_file).env("DATABASE_URL", url);
    }
    if let Some(url) = l1_url {
        command.args(["--l1-url", url, "--contract", &deployment.contract.to_string(), "--from-block", &deployment.block.to_string()]);
    }
    let output = command.kill_on_drop(true).output().await.unwrap();
    let found = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Replayed { succeeded: output.status.success(), found, said: String::from_utf8(output.stderr).unwrap() }
}

/// What replaces what in the calldata that an L1 node shows.
static LIE: Mutex<(String, String)> = Mutex::new((String::new(), String::new()));

fn lie(transaction: &mut Value) {
    let (truth, lie) = &*LIE.lock().unwrap();
    if let Some(input) = transaction["input"].as_str() {
        transaction["input"] = input.replace(truth, lie).into();
    }
}

/// Number and posted bytes of every batch, the last first.
async fn posted(pool: &PgPool) -> Vec<(i64, Vec<u8>)> {
    sqlx::query_as("SELECT number, posted_data FROM batches ORDER BY number DESC").fetch_all(pool).await.unwrap()
}

/// A batch with its posted bytes, and other ones of the same length, which an earlier batch posted.
async fn twins(town: &mut Town, pool: &PgPool) -> (u64, Vec<u8>, Vec<u8>) {
    for _ in 0..10 {
        town.people.send_transfers(8).await.unwrap();
        town.settles().await.unwrap();
        let all = posted(pool).await;
        for (place, (number, data)) in all.iter().enumerate() {
            if let Some((_, other)) = all[place + 1..].iter().find(|(_, other)| other.len() == data.len() && other != data) {
                return (*number as u64, data.clone(), other.clone());
            }
        }
    }
    panic!("no two batches have data of one length");
}

/// One batch from both sources; then somebody has written into the database, then L1 shows what was never posted.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_derived_again_from_the_database_and_from_l1_and_whatever_was_altered_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (state, none) = (folder.path().join("state.json"), folder.path().join("none.json"));
    let mut town = Town::found(4).await.unwrap();
    town.people.withdraw(1).await.unwrap();
    town.settles().await.unwrap();
    restore(&town, &state).await.unwrap();
    let pool = connect(&town.stack.database_url).await.unwrap();
    let (batch, data, of_another) = twins(&mut town, &pool).await;
    town.node.take().unwrap().process.kill().await.unwrap();
    town.workers.clear();
    let (database, l1) = (town.stack.database_url.clone(), town.stack.l1_url.clone());

    let stored = replay(&town, batch, &none, Some(&database), None).await;
    assert_eq!((stored.all_same(), &stored.found["violated"]), (28, &serde_json::json!([])));
    assert!(replay(&town, batch + 50, &none, Some(&database), None).await.said.contains("is not computed"));
    let from_l1 = replay(&town, batch, &state, None, Some(&l1)).await;
    let parts = from_l1.all_same();
    let names: Vec<&str> = from_l1.compared().iter().filter_map(|line| line["name"].as_str()).collect();
    for name in [
        "key.x",
        "cq.y",
        "h",
        "data_hash",
        "rho",
        "zeta",
        "gamma",
        "Delta",
        "opening.x",
        "record hash",
        "new_root",
        "commit call",
        "prove call",
        "proof",
    ] {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
    assert!(from_l1.found["not_on_l1"].as_str().unwrap().contains("signatures") && from_l1.found["violated"].is_null());
    for early in 1..batch {
        assert!(replay(&town, early, &none, None, Some(&l1)).await.all_same() == parts, "batch {early}: deposits and a withdrawal");
    }
    assert_eq!(replay(&town, batch, &none, None, Some(&l1)).await.all_same(), parts, "without a state file it is the same");
    assert!(replay(&town, batch + 50, &none, None, Some(&l1)).await.said.contains("not proven on L1"));
    let both = replay(&town, batch, &state, Some(&database), Some(&l1)).await;
    assert_eq!(both.all_same(), 28 + parts + 18 + 5 + 3);

    let altered = [
        ("new_root = set_byte(new_root, 5, get_byte(new_root, 5) # 1)", "new_root"),
        ("record = set_byte(record, 575, get_byte(record, 575) # 1)", "y_ops"),
        ("claim_z = set_byte(claim_z, 31, get_byte(claim_z, 31) # 1)", "Z"),
        ("posted_data = set_byte(posted_data, 18, get_byte(posted_data, 18) # 1)", "posted_data"),
    ];
    for (edit, part) in altered {
        // the statement is ours; twice it is as if it had never been
        let update = format!("UPDATE batches SET {edit} WHERE number = {batch}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(update.clone())).execute(&pool).await.unwrap();
        let found = replay(&town, batch, &state, Some(&database), None).await;
        assert!(found.differs().contains(&format!("{part} (derived and stored)")), "{}", found.said);
        let found = replay(&town, batch, &state, Some(&database), Some(&l1)).await;
        assert!(found.differs().contains(&format!("{part} (stored and posted)")), "{}", found.said);
        assert_eq!(replay(&town, batch, &state, None, Some(&l1)).await.all_same(), parts, "L1 knows nothing of it");
        sqlx::raw_sql(sqlx::AssertSqlSafe(update)).execute(&pool).await.unwrap();
    }

    let is_shown = |call: &Value| call["method"] == "eth_getTransactionByHash";
    let liar = relay(town.stack.anvil().unwrap().port(), move |call| if is_shown(call) { Fate::Bent(lie) } else { Fate::Passes }).await;
    assert_eq!(replay(&town, batch, &state, None, Some(&liar)).await.all_same(), parts, "it does not lie yet");
    *LIE.lock().unwrap() = (hex::encode(&data), hex::encode(&of_another));
    let found = replay(&town, batch, &state, None, Some(&liar)).await;
    assert!(found.differs().contains("data_hash (derived and posted)"), "{}", found.said);
    let found = replay(&town, batch, &state, Some(&database), Some(&liar)).await;
    assert!(found.differs().contains("posted_data (stored and posted)"), "{}", found.said);
    let opening = from_l1.compared().iter().find(|line| line["name"] == "opening.x").unwrap()["posted"].as_str().unwrap()[2..].to_owned();
    *LIE.lock().unwrap() = (opening.clone(), opening.chars().rev().collect());
    let found = replay(&town, batch, &state, None, Some(&liar)).await;
    assert!(found.differs().contains("opening.x (derived and posted)") && found.said.contains("prove call"), "{}", found.said);
}
