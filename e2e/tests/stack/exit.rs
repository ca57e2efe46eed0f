//! The walk-away test: the operator, its database and its workers are gone, and everybody leaves with every coin, from L1 alone.
//!
//! The operator goes at its worst moment: its last proof is on L1, and what that proof pays out is not credited yet. No node answers from then on.
//!
//! With 100 accounts unless SHEAF_WALKAWAY_ACCOUNTS says otherwise, and SHEAF_WALKAWAY_BATCHES of transfers beside those that open them; `make walkaway N=1000
//! BATCHES=1000` sets them, and shows the table at the end. The program that leaves is the one that was built with this test, or SHEAF_WALKAWAY_PROGRAM.

use serde_json::{Value, json};
use sheaf_cli::dev::dev_key;
use sheaf_cli::scenario::{DEPOSIT, PATIENCE};
use sheaf_e2e::{Town, sheaf_binary, test_keys};
use sheaf_protocol::amount::{Amount, NATIVE};
use sheaf_protocol::field::{keccak, to_hex};
use sheaf_settlement::anvil::DEV_KEYS;
use sheaf_settlement::key::L1Key;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Instant;

/// Beyond the contract's time-outs, if the queue is short.
const EIGHT_DAYS_S: u64 = 8 * 24 * 3_600;

/// Of the smallest circuit, which this rollup has.
const TRANSFERS_A_BATCH: usize = 4;

/// Nothing listens there.
const NO_NODE: &str = "http://127.0.0.1:9";

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
        match args[0] {
            "freeze" => {}
            "settle" => drop(command.arg("--json")),
            "wallet" => drop(command.arg("--json").env("SHEAF_NODE", NO_NODE).env("SHEAF_PASSWORD", "a password")),
            _ => drop(
                command
                    .arg("--json")
                    .arg("--keys-dir")
                    .arg(&keys.keys_dir)
                    .args(["--seed", &keys.seed, "--state"])
                    .arg(self.folder.join("state.json")),
            ),
        }
        command.kill_on_drop(true).output().await.unwrap()
    }

    async fn ok(&self, args: &[&str]) -> Vec<Value> {
        let output = self.run(args).await;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A wallet of this account of Anvil's, with an account key that nobody else has.
    async fn wallet(&self, l1_key: usize) -> Purse<'_> {
        let [l1_file, keystore] = ["l1", "wallet"].map(|kind| self.folder.join(format!("{l1_key}.{kind}")).to_str().unwrap().to_owned());
        std::fs::write(&l1_file, DEV_KEYS[l1_key]).unwrap();
        let purse = Purse { leaver: self, keystore };
        let made = purse.ok(&["keygen", "--l1-key-file", &l1_file]).await.0;
        assert_eq!(made["owner"], dev_key(l1_key).unwrap().address().to_string());
        purse
    }

    async fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        assert!(!output.status.success(), "{args:?} was not refused");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// The wallet's commands, with the contract's address and without a node.
struct Purse<'a> {
    leaver: &'a Leaver<'a>,
    keystore: String,
}

impl Purse<'_> {
    async fn run(&self, args: &[&str]) -> Output {
        self.leaver.run(&[&["wallet"], args, &["--keystore", &self.keystore]].concat()).await
    }

    /// What it prints, and what it tells on the error output.
    async fn ok(&self, args: &[&str]) -> (Value, String) {
        let output = self.run(args).await;
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{args:?}: {told}");
        (serde_json::from_slice(&output.stdout).unwrap(), told)
    }

    async fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        assert!(!output.status.success(), "{args:?} was not refused");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// The contract's count of proven batches, as it will be once what waits at the L1 node is mined.
async fn proven_soon(town: &Town) -> u64 {
    let call = json!({ "to": town.people.rollup.address(), "data": to_hex(&keccak(b"proven()")[..4]) });
    let word = town.people.rollup.rpc().raw("eth_call", vec![call, json!("pending")]).await.unwrap();
    u64::from_str_radix(&word.as_str().unwrap()[50..], 16).unwrap()
}

/// One account withdraws to `payee` and L1 forces another one out; the proof of that reaches L1, and the operator ends before it can have anything credited.
async fn go_between_proof_and_settlement(town: &mut Town, payee: &L1Key) {
    town.workers.clear();
    let (rpc, domain) = (town.people.rollup.rpc().clone(), town.people.domain);
    let withdrawal = town.people.users[0].withdrawal(domain, payee.address()).unwrap();
    town.people.rollup.request_exit(&dev_key(1).unwrap(), town.people.users[1].slot).await.unwrap();
    town.people.submit(&withdrawal).await.unwrap();
    let hash = withdrawal.op.hash(domain).to_string();
    town.people.client.wait_for(&hash, "committed", PATIENCE).await.unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while town.people.client.get::<Value>("/v1/queue?limit=1").await.unwrap()["items"][0]["state"] != "committed" {
        assert!(tokio::time::Instant::now() < deadline, "the forced exit was not committed");
        rpc.raw("evm_mine", vec![]).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    // from here on a proof waits at the L1 node until a block is asked for
    rpc.raw("evm_setAutomine", vec![json!(false)]).await.unwrap();
    town.add_worker("worker-3").unwrap();
    loop {
        let (progress, soon) = (town.people.rollup.progress().await.unwrap(), proven_soon(town).await);
        if soon == progress.committed {
            break;
        }
        if soon > progress.proven {
            rpc.raw("evm_mine", vec![]).await.unwrap();
        }
        assert!(tokio::time::Instant::now() < deadline, "the last batch was not proven");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    town.node.take().unwrap().process.kill().await.unwrap();
    town.workers.clear();
    town.stack.cluster.kill().unwrap();
    rpc.raw("evm_mine", vec![]).await.unwrap();
    rpc.raw("evm_setAutomine", vec![json!(true)]).await.unwrap();
    let progress = town.people.rollup.progress().await.unwrap();
    assert_eq!(progress.proven, progress.committed, "the last proof is on L1");
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
    let payee = dev_key(4).unwrap();
    go_between_proof_and_settlement(&mut town, &payee).await;

    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("key");
    std::fs::write(&key_file, DEV_KEYS[8]).unwrap();
    let key_file = key_file.to_str().unwrap();
    let leaver = Leaver { town: &town, folder: folder.path() };
    let rollup = &town.people.rollup;

    // a deposit and requests that nobody takes any more, sent while no node answers, and time that passes
    let (late, fee) = (leaver.wallet(7).await, rollup.queue_fee().await.unwrap().0);
    assert!(late.refused(&["claim"]).await.contains("nothing of token 1 to claim yet"));
    assert!(late.refused(&["force-exit"]).await.contains("--slot"));
    let (deposit, told) = late.ok(&["deposit", "--amount", &DEPOSIT.to_string()]).await;
    let hash = deposit["l1_hash"].as_str().unwrap();
    assert!(deposit["slot"].is_null() && told.contains(&format!("transaction {hash}: do not send it again")), "{deposit} {told}");
    let told = late.ok(&["force-exit", "--slot", "1"]).await.1;
    assert!(told.contains("if") && told.contains("is not the owner of slot 1"), "{told}");
    late.ok(&["rotate-key", "--slot", "1", "--new-key", &to_hex(&sheaf_protocol::field::to_word(town.people.users[0].key.public().0))]).await;
    assert!(leaver.refused(&["freeze", "--l1-key-file", key_file]).await.contains("NothingOverdue"));
    // each entry moves the deadline of the next by an hour at most: the smallest circuit takes one request a batch
    let entries = rollup.progress().await.unwrap().queue_length;
    rollup.rpc().raw("evm_increaseTime", vec![json!(EIGHT_DAYS_S + 3_600 * entries)]).await.unwrap();
    rollup.rpc().raw("evm_mine", vec![]).await.unwrap();

    // what the operator proved and did not have credited, by anybody's call
    assert_eq!(rollup.claimable(NATIVE, payee.address()).await.unwrap(), Amount(0));
    let printed = leaver.ok(&["settle", "--owner", &payee.address().to_string(), "--calldata"]).await;
    assert!(printed.iter().all(|line| line["call"] == "settle" && line["calldata"].is_string()), "{printed:?}");
    let settled = leaver.ok(&["settle", "--l1-key-file", key_file]).await;
    assert!(!settled.is_empty() && settled.iter().all(|line| line["call"] == "settle" && line["l1_hash"].is_string()), "{settled:?}");
    assert!(leaver.ok(&["settle", "--l1-key-file", key_file]).await.is_empty(), "settled twice");

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
    // one was forced out before
    assert_eq!((exits.len(), calldata.len()), (accounts - 1, accounts - 1));
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

    let refunded = leaver.ok(&["settle", "--l1-key-file", key_file]).await;
    let (credits, late_owner) = (refunded[0]["credits"].as_array().unwrap(), dev_key(7).unwrap().address().to_string());
    assert_eq!((refunded.len(), &refunded[0]["call"], credits.len()), (1, &json!("refund"), 3), "{refunded:?}");
    assert!(credits.iter().all(|credit| credit["to"] == late_owner), "{credits:?}");
    assert!(leaver.ok(&["settle", "--l1-key-file", key_file]).await.is_empty(), "refunded twice");

    // by command, without a node
    assert_eq!(late.ok(&["claim"]).await.0["amount"], (DEPOSIT.0 + 3 * fee).to_string());
    assert_eq!(leaver.wallet(4).await.ok(&["claim"]).await.0["amount"], sheaf_cli::scenario::WITHDRAWN.to_string());
    leaver.wallet(1).await.ok(&["claim"]).await;
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
    println!("forced out before      1 of {accounts}, not credited by the operator");
    println!("second exits reverted  {} of {accounts}", calldata.len());
    println!("escrow left            0 of token {NATIVE}, 0 of token {test_token}");
}
