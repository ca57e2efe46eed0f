//! The walk-away test: the operator, its database and its workers are gone, and everybody leaves with every coin, from L1 alone.
//!
//! With 100 accounts unless SHEAF_WALKAWAY_ACCOUNTS says otherwise, and SHEAF_WALKAWAY_BATCHES of transfers beside those that open them; `make walkaway N=1000
//! BATCHES=1000` sets them, and shows the table at the end. The program that leaves is the one that was built with this test, or SHEAF_WALKAWAY_PROGRAM.
#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use sheaf_cli::dev::dev_key;
use sheaf_cli::scenario::{DEPOSIT, PATIENCE};
use sheaf_e2e::{Town, sheaf_binary, test_keys};
use sheaf_protocol::amount::{Amount, NATIVE, SlotId};
use sheaf_protocol::field::{from_word, to_word};
use sheaf_protocol::header::{QueueEntry, QueueKind};
use sheaf_settlement::anvil::DEV_KEYS;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Instant;

/// Beyond the contract's time-outs, if the queue is short.
const EIGHT_DAYS_S: u64 = 8 * 24 * 3_600;

/// Of the smallest circuit, which this rollup has.
const TRANSFERS_A_BATCH: usize = 4;

fn setting(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |number| number.parse().unwrap())
}

struct Leaver<'a> {
    town: &'a Town,
    folder: &'a Path,
}

impl Leaver<'_> {
    async fn run(&self, args: &[&str]) -> Output {
        let keys = test_keys();
        let contract = self.town.stack.deployment.deployment.contract.to_string();
        let program = std::env::var_os("SHEAF_WALKAWAY_PROGRAM").map_or_else(|| sheaf_binary().unwrap(), PathBuf::from);
        let mut command = tokio::process::Command::new(program);
        command.args(args).args(["--l1-url", &self.town.stack.l1_url, "--contract", &contract]);
        if args[0] != "freeze" {
            command
                .arg("--keys-dir")
                .arg(&keys.keys_dir)
                .args(["--seed", &keys.seed])
                .arg("--state")
                .arg(self.folder.join("state.json"))
                .arg("--json");
        }
        command.kill_on_drop(true).output().await.unwrap()
    }

    async fn ok(&self, args: &[&str]) -> Vec<Value> {
        let output = self.run(args).await;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        assert!(!output.status.success(), "{args:?} was not refused");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_leaves_with_every_coin_when_the_operator_is_gone() {
    let (accounts, batches) = (setting("SHEAF_WALKAWAY_ACCOUNTS", 100), setting("SHEAF_WALKAWAY_BATCHES", 2));
    let mut town = Town::found(accounts).await.unwrap();
    town.add_worker("worker-2").unwrap();
    // a batch of the smallest circuit opens two accounts
    town.people.patience += std::time::Duration::from_secs(2 * (accounts + batches) as u64);
    town.people.send_transfers(TRANSFERS_A_BATCH * batches).await.unwrap();
    town.people.withdraw(2).await.unwrap();
    town.settles().await.unwrap();
    town.people.claim().await.unwrap();
    let first = dev_key(2).unwrap().address();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while town.people.rollup.claimable(NATIVE, first).await.unwrap() == Amount(0) {
        assert!(tokio::time::Instant::now() < deadline, "the other withdrawal was not credited");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    town.node.take().unwrap().process.kill().await.unwrap();
    town.workers.clear();
    town.stack.cluster.kill().unwrap();

    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("key");
    std::fs::write(&key_file, DEV_KEYS[8]).unwrap();
    let key_file = key_file.to_str().unwrap();
    let leaver = Leaver { town: &town, folder: folder.path() };
    let rollup = &town.people.rollup;

    // a deposit that nobody takes any more, and time that passes
    let (late, key) = (dev_key(7).unwrap(), town.people.users[0].key.public().0);
    rollup.deposit(&late, DEPOSIT, to_word(key), late.address()).await.unwrap();
    assert!(leaver.refused(&["freeze", "--l1-key-file", key_file]).await.contains("NothingOverdue"));
    // each entry moves the deadline of the next by an hour at most: the smallest circuit takes one request a batch
    let entries = rollup.progress().await.unwrap().queue_length;
    rollup.rpc().raw("evm_increaseTime", vec![json!(EIGHT_DAYS_S + 3_600 * entries)]).await.unwrap();
    rollup.rpc().raw("evm_mine", vec![]).await.unwrap();

    let started = Instant::now();
    let restored = leaver.ok(&["restore"]).await.remove(0);
    let restored_s = started.elapsed().as_secs_f64();
    assert_eq!((&restored["current"], &restored["root"]), (&Value::Bool(true), &restored["root_on_l1"]));
    let payer = dev_key(1).unwrap();
    let owner = payer.address().to_string();
    assert!(leaver.refused(&["exit", "--owner", &owner, "--l1-key-file", key_file]).await.contains("not frozen"));
    leaver.ok(&["freeze", "--l1-key-file", key_file]).await;
    assert!(leaver.refused(&["freeze", "--l1-key-file", key_file]).await.contains("frozen already"));

    let operator = dev_key(0).unwrap();
    let calldata = leaver.ok(&["exit", "--owner", &owner, "--calldata"]).await;
    let started = Instant::now();
    let exits = leaver.ok(&["exit", "--owner", &owner, "--l1-key-file", key_file]).await;
    let exits_s = started.elapsed().as_secs_f64();
    assert_eq!((exits.len(), calldata.len()), (accounts, accounts));
    assert!(exits.iter().all(|exit| exit["l1_hash"].is_string()), "{exits:?}");
    let fees = leaver.ok(&["exit", "--owner", &operator.address().to_string(), "--l1-key-file", key_file]).await;
    assert_eq!(fees.len(), 2, "one account of fees in each token: {fees:?}");
    let again = leaver.ok(&["exit", "--owner", &owner, "--l1-key-file", key_file]).await;
    assert!(again.iter().all(|line| line["exited"] == "before"), "{again:?}");
    for exit in &calldata {
        let call = json!({ "to": exit["to"], "data": exit["calldata"] });
        let twice = rollup.rpc().raw("eth_call", vec![call, json!("latest")]).await;
        assert!(twice.is_err_and(|error| error.to_string().contains("revert")), "slot {} leaves twice", exit["slot"]);
    }

    let entry = QueueEntry {
        kind: QueueKind::Deposit,
        sender: late.address(),
        token: NATIVE,
        amount: DEPOSIT,
        slot: SlotId(0),
        owner: late.address(),
        key: from_word(&to_word(key)).unwrap(),
    };
    let index = rollup.progress().await.unwrap().queue_length;
    rollup.refund(&late, index, &[entry]).await.unwrap();
    assert!(rollup.refund(&late, index, &[entry]).await.is_err(), "refunded twice");

    // whoever can claim something claims it; then the contract holds nothing
    let test_token = town.stack.deployment.test_token.unwrap().token;
    for token in [NATIVE, test_token] {
        for index in 0..DEV_KEYS.len() {
            let key = dev_key(index).unwrap();
            if rollup.claimable(token, key.address()).await.unwrap() != Amount(0) {
                rollup.claim(&key, token, key.address()).await.unwrap();
            }
        }
        assert_eq!(rollup.escrow(token).await.unwrap(), Amount(0), "token {token}");
    }
    let gas: Vec<u64> = exits.iter().filter_map(|exit| exit["gas"]["used"].as_u64()).collect();
    println!("batches restored       {}, each root that of L1, in {restored_s:.1} s", restored["batches"]);
    println!("exits paid             {} of {accounts}, in {exits_s:.1} s, {:?} gas at most", exits.len(), gas.iter().max());
    println!("second exits reverted  {} of {accounts}", calldata.len());
    println!("escrow left            0 of token {NATIVE}, 0 of token {test_token}");
}
