//! A signer in another language, written from docs/protocol.md alone: what it signs is accepted as it stands, in both encodings, and becomes final.

use serde_json::Value;
use sheaf_cli::dev::dev_key;
use sheaf_cli::scenario::{DEPOSIT, PATIENCE};
use sheaf_e2e::{Town, repository};
use sheaf_protocol::amount::NATIVE;
use sheaf_protocol::field::{from_hex, from_word};
use sheaf_protocol::ledger::Triple;
use std::process::Command;
use std::time::Instant;

/// 32 bytes in hex; any would do.
const SEED: &str = "0123456789abcdef00112233445566778899aabbccddeeff0123456789abcdef";

fn script(arguments: &[&str]) -> Value {
    let output = Command::new("node").arg(repository().join("e2e/scripts/sign.mjs")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Opens the account of the script's key by a deposit on L1 and returns its slot as the API shows it.
async fn open_account(town: &Town) -> Value {
    let public_key = script(&["key", "--seed", SEED])["public_key"].as_str().unwrap().to_owned();
    let (payer, key) = (dev_key(1).unwrap(), from_hex(&public_key).unwrap());
    town.people.rollup.deposit(&payer, DEPOSIT, key, payer.address()).await.unwrap();
    let triple = Triple { key: from_word(&key).unwrap(), owner: payer.address(), token: NATIVE };
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(slot) = town.people.client.find_slot(&triple).await.unwrap() {
            return slot;
        }
        assert!(Instant::now() < end, "the deposit was not credited");
    }
}

async fn post(town: &Town, content_type: &str, body: Vec<u8>) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{}/v1/transactions", town.url())).header("content-type", content_type).body(body);
    let response = request.send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_independent_script_signs_what_the_node_accepts_and_settles() {
    let mut town = Town::found(4).await.unwrap();
    let slot = open_account(&town).await;
    let status: Value = town.people.client.get("/v1/status").await.unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (chain_id, contract, from) = (text(&status["chain_id"]), text(&status["contract"]), text(&slot["id"]));
    let (to, nonce) = (town.people.users[0].slot.to_string(), text(&slot["nonce"]).parse::<u32>().unwrap());
    let sign = |nonce: u32| {
        let facts = ["transfer", "--seed", SEED, "--chain-id", &chain_id, "--contract", &contract, "--from", &from, "--to", &to];
        script(&[&facts[..], &["--token", "1", "--amount", "1234000", "--fee", "1000", "--nonce", &nonce.to_string()]].concat())
    };

    let (first, second) = (sign(nonce), sign(nonce + 1));
    let receipt = post(&town, "application/json", first["transaction"].to_string().into_bytes()).await;
    assert_eq!(receipt["hash"], first["hash"]);
    let record = hex::decode(second["record"].as_str().unwrap().trim_start_matches("0x")).unwrap();
    post(&town, "application/vnd.sheaf.transactions", record).await;

    for signed in [&first, &second] {
        let settled = town.people.client.wait_for(signed["hash"].as_str().unwrap(), "final", PATIENCE).await.unwrap();
        assert_eq!((&settled["from"], &settled["amount"]), (&slot["id"], &Value::from("1234000")));
    }
    let before = DEPOSIT.0 - 2 * (1_234_000 + 1_000);
    let after: Value = town.people.client.get(&format!("/v1/slots/{from}")).await.unwrap();
    assert_eq!(after["balance"], before.to_string());
    town.people.send_transfers(2).await.unwrap();
    town.settles().await.unwrap();
}
