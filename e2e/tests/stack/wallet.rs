//! The wallet as a person uses it: the real binary against a running town.

use serde_json::Value;
use sheaf_e2e::{Town, sheaf_binary};
use sheaf_settlement::anvil::DEV_KEYS;
use std::path::Path;
use std::process::Output;

/// Accounts of Anvil that nothing else in a town uses.
const ALICE: &str = DEV_KEYS[5];
const BOB: &str = DEV_KEYS[6];

struct Purse<'a> {
    folder: &'a Path,
    name: &'a str,
    town: &'a Town,
}

impl Purse<'_> {
    async fn run(&self, args: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(sheaf_binary().unwrap());
        command.arg("wallet").args(args).arg("--json").arg("--keystore").arg(self.folder.join(self.name));
        command.env("SHEAF_NODE", self.town.url()).env("SHEAF_L1_URL", &self.town.stack.l1_url).env("SHEAF_PASSWORD", "a password");
        command.kill_on_drop(true).output().await.unwrap()
    }

    async fn ok(&self, args: &[&str]) -> Value {
        let output = self.run(args).await;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        assert!(!output.status.success(), "{args:?} was not refused");
        String::from_utf8(output.stderr).unwrap()
    }

    async fn new_with(&self, l1_key: &str) -> Value {
        let file = self.folder.join(format!("{}.l1", self.name));
        std::fs::write(&file, l1_key).unwrap();
        self.ok(&["keygen", "--l1-key-file", file.to_str().unwrap()]).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_goes_in_moves_and_comes_out() {
    let town = Town::found(2).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [alice, bob] = ["alice", "bob"].map(|name| Purse { folder: folder.path(), name, town: &town });
    alice.new_with(ALICE).await;
    let payee = bob.new_with(BOB).await;
    let (key, owner) = (payee["key"].as_str().unwrap(), payee["owner"].as_str().unwrap());

    assert_eq!(alice.ok(&["deposit", "--amount", "0.5ether"]).await["balance"], "500000000000000000");
    bob.ok(&["deposit", "--amount", "3gwei"]).await;
    let transfer = alice.ok(&["transfer", "--to-key", key, "--to-owner", owner, "--amount", "5000000000", "--fee", "1000", "--wait", "final"]).await;
    assert_eq!((transfer["state"].as_str(), transfer["amount"].as_str()), (Some("final"), Some("5000000000")));
    assert_eq!(bob.ok(&["balance"]).await["accounts"][0]["balance"], "8000000000");

    bob.ok(&["withdraw", "--amount", "7000000001", "--fee", "0", "--wait", "final"]).await;
    assert_eq!(bob.ok(&["claim", "--wait"]).await["amount"], "7000000001");
    assert_eq!(bob.ok(&["balance"]).await["accounts"][0]["claimable"], "0");

    let history = bob.ok(&["history"]).await;
    let ops: Vec<&str> = history.as_array().unwrap().iter().map(|line| line["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["withdraw", "transfer", "deposit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_with_their_remedy() {
    let town = Town::found(2).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let poor = Purse { folder: folder.path(), name: "poor", town: &town };
    assert!(poor.refused(&["balance"]).await.contains("sheaf wallet keygen"));
    poor.new_with(ALICE).await;
    assert!(poor.refused(&["keygen"]).await.contains("never overwritten"));
    assert!(poor.refused(&["transfer", "--to", "1", "--amount", "5"]).await.contains("deposit first"));
    assert!(poor.refused(&["claim"]).await.contains("nothing of token 1 to claim"));
    poor.ok(&["deposit", "--amount", "1000"]).await;
    assert!(poor.refused(&["transfer", "--to", "1", "--amount", "5000"]).await.contains("insufficient_funds"));
    assert!(poor.refused(&["transfer", "--to", "9000", "--amount", "5"]).await.contains("9000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_funded_account_is_taken_over_and_its_owner_told_how_far_it_is() {
    let town = Town::found(2).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let heir = Purse { folder: folder.path(), name: "heir", town: &town };
    let [account, l1] = ["account.key", "l1.key"].map(|name| folder.path().join(name));
    std::fs::write(&account, hex::encode(*town.people.users[0].key.to_bytes())).unwrap();
    std::fs::write(&l1, DEV_KEYS[1]).unwrap();
    heir.ok(&["keygen", "--account-key-file", account.to_str().unwrap(), "--l1-key-file", l1.to_str().unwrap()]).await;
    let slot = town.people.users[0].slot.to_string();
    assert_eq!(heir.ok(&["balance"]).await["accounts"][0]["slot"], slot.as_str());

    let to = ["transfer", "--to", &slot, "--amount", "5", "--fee", "0", "--wait", "committed"];
    let output = heir.run(&to).await;
    let told = String::from_utf8(output.stderr).unwrap();
    let (sealed, committed) = (told.find("sealed after").unwrap(), told.find("committed after").unwrap());
    assert!(sealed < committed && !told.contains("proven after"), "{told}");
    assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok(), "progress is on the error output alone");
}

/// Waits until the purse has an account whose balance is `balance`.
async fn has(purse: &Purse<'_>, balance: &str) {
    let deadline = tokio::time::Instant::now() + sheaf_cli::scenario::PATIENCE;
    while purse.ok(&["balance"]).await["accounts"][0]["balance"] != balance {
        assert!(tokio::time::Instant::now() < deadline, "{} never has {balance}", purse.name);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// With real proofs: settlement takes each request from L1 and proves what became of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_sponsor_registers_an_owner_replaces_the_key_and_leaves() {
    let town = Town::found(2).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [alice, bob, fresh] = ["alice", "bob", "fresh"].map(|name| Purse { folder: folder.path(), name, town: &town });
    alice.new_with(ALICE).await;
    let payee = bob.new_with(BOB).await;
    let new_key = fresh.new_with(BOB).await["key"].as_str().unwrap().to_owned();
    let (key, owner) = (payee["key"].as_str().unwrap(), payee["owner"].as_str().unwrap());
    alice.ok(&["deposit", "--amount", "1gwei"]).await;

    let registered = alice.ok(&["register", "--key", key, "--owner", owner, "--fee", "0", "--wait", "proven"]).await;
    let slot = registered["account"].as_str().unwrap().to_owned();
    assert!(alice.refused(&["register", "--key", key, "--owner", owner]).await.contains(&format!("slot {slot}")));
    assert!(alice.refused(&["register", "--key", &format!("0x{}", "00".repeat(32)), "--owner", owner]).await.contains("--key"));
    alice.ok(&["transfer", "--to", &slot, "--amount", "5000", "--fee", "0"]).await;
    has(&bob, "5000").await;

    assert!(alice.refused(&["force-exit", "--slot", &slot]).await.contains("would do nothing"));
    bob.ok(&["rotate-key", "--new-key", &new_key]).await;
    has(&fresh, "5000").await;
    assert!(bob.refused(&["transfer", "--to", "1", "--amount", "5"]).await.contains("no account"));
    fresh.ok(&["transfer", "--to", "1", "--amount", "1000", "--fee", "0", "--wait", "proven"]).await;

    fresh.ok(&["force-exit"]).await;
    assert_eq!(fresh.ok(&["claim", "--wait"]).await["amount"], "4000");
    has(&fresh, "0").await;
    let history = fresh.ok(&["history"]).await;
    let ops: Vec<&str> = history.as_array().unwrap().iter().map(|line| line["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["exit", "transfer", "rotation", "transfer", "register"]);
}
