//! The independent signer, `e2e/scripts/sign.mjs`, against this crate: two programs written from one text must agree to the byte.
//! Needs `node` on the PATH.
#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId, TokenId};
use sheaf_protocol::field::{from_hex, to_hex, to_word};
use sheaf_protocol::header;
use sheaf_protocol::ledger::Triple;
use sheaf_protocol::ops::{Op, Register, SignedOp, Transfer, Withdraw};
use sheaf_protocol::schnorr::{self, PublicKey, SecretKey};
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/scripts/sign.mjs");
const SEED: [u8; 32] = [0x5e; 32];
const RANDOM: [u8; 32] = [0x0a; 32];
const CHAIN_ID: u64 = 31337;
const CONTRACT: Address = Address([0xc0; 20]);

fn script(arguments: &str) -> Value {
    let output = Command::new("node")
        .arg(SCRIPT)
        .args(arguments.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("node is a prerequisite: {error}"));
    assert!(output.status.success(), "sign.mjs {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn sign(op: &str, fields: &str) -> Value {
    let (seed, random) = (hex::encode(SEED), hex::encode(RANDOM));
    script(&format!("{op} --seed {seed} --random {random} --chain-id {CHAIN_ID} --contract {} {fields}", to_hex(&CONTRACT.0)))
}

/// The script's transaction must be the one that this crate builds and signs, and verify under the seed's key.
fn assert_agrees(made: &Value, op: Op) {
    let domain = header::domain(CHAIN_ID, &CONTRACT);
    let key = SecretKey::from_seed(&SEED).unwrap();
    let (op_tag, m) = (op.tag() as u8, op.message(domain));
    let record = hex::decode(made["record"].as_str().unwrap().trim_start_matches("0x")).unwrap();
    let read = SignedOp::from_record(&record).unwrap();
    assert_eq!(schnorr::verify(key.public().0, domain, op_tag, m, &read.signature), Ok(()));
    assert_eq!(read, SignedOp { op, signature: schnorr::sign(&key, domain, op_tag, m, &RANDOM) });
    assert_eq!(made["hash"], op.hash(domain).to_string());
    assert_eq!(made["transaction"], json_for_the_api(&read));
}

/// The body of POST /v1/transactions: every number a decimal string.
fn json_for_the_api(signed: &SignedOp) -> Value {
    let op = &signed.op;
    let mut body = match op {
        Op::Transfer(transfer) => json!({ "op": "transfer", "to": transfer.to.to_string(), "amount": op.amount().to_string() }),
        Op::Withdraw(withdraw) => json!({ "op": "withdraw", "address": withdraw.address.to_string(), "amount": op.amount().to_string() }),
        Op::Register(register) => {
            let Triple { key, owner, token } = register.account;
            json!({ "op": "register", "key": to_hex(&to_word(key)), "owner": owner.to_string(), "account_token": token.to_string() })
        }
    };
    for (field, number) in [("from", op.from().to_string()), ("token", op.token().to_string()), ("nonce", op.nonce().to_string())] {
        body[field] = number.into();
    }
    body["fee"] = op.fee().to_string().into();
    body["signature"] = to_hex(&signed.signature.to_bytes()).into();
    body
}

#[test]
fn the_script_derives_the_same_key() {
    let made = script(&format!("key --seed {}", hex::encode(SEED)));
    let key = SecretKey::from_seed(&SEED).unwrap();
    assert_eq!(serde_json::from_value::<PublicKey>(made["public_key"].clone()).unwrap(), key.public());
    assert_eq!(from_hex(made["secret_key"].as_str().unwrap()), Some(*key.to_bytes()));
}

#[test]
fn the_script_signs_the_same_transfer() {
    let made = sign("transfer", "--from 5 --to 11259375 --token 1 --nonce 4294967295 --amount 1234500000000000000 --fee 40950000");
    let transfer = Transfer {
        from: SlotId(5),
        to: SlotId(11_259_375),
        token: NATIVE,
        nonce: Nonce(u32::MAX),
        amount: AmountFloat::from_amount(Amount(1_234_500_000_000_000_000)).unwrap(),
        fee: FeeFloat::from_amount(Amount(40_950_000)).unwrap(),
    };
    assert_agrees(&made, Op::Transfer(transfer));
}

#[test]
fn the_script_signs_the_same_withdrawal() {
    let amount = (1u128 << 112) - 1;
    let address = Address([0xab; 20]);
    let made = sign("withdraw", &format!("--from 7 --token 1 --nonce 3 --amount {amount} --fee 0 --address {}", to_hex(&address.0)));
    let withdraw = Withdraw { from: SlotId(7), token: NATIVE, nonce: Nonce(3), fee: FeeFloat::default(), amount: Amount(amount), address };
    assert_agrees(&made, Op::Withdraw(withdraw));
}

#[test]
fn the_script_signs_the_same_register() {
    let key = SecretKey::from_seed(&[0x77; 32]).unwrap().public().0;
    let account = Triple { key, owner: Address([0xab; 20]), token: TokenId(65_535) };
    let (key_hex, owner) = (to_hex(&to_word(key)), to_hex(&account.owner.0));
    let fields = format!("--from 16777215 --token 2 --nonce 4294967294 --fee 40950000 --key {key_hex} --owner {owner} --account-token 65535");
    let made = sign("register", &fields);
    let fee = FeeFloat::from_amount(Amount(40_950_000)).unwrap();
    let register = Register { from: SlotId((1 << 24) - 1), token: TokenId(2), nonce: Nonce(u32::MAX - 1), fee, account };
    assert_agrees(&made, Op::Register(register));
}

#[test]
fn the_script_refuses_an_amount_that_no_float_represents() {
    let fields = "--from 5 --to 6 --token 1 --nonce 0 --amount 68719476737 --fee 0";
    let (seed, contract) = (hex::encode(SEED), to_hex(&CONTRACT.0));
    let line = format!("{SCRIPT} transfer --seed {seed} --chain-id 1 --contract {contract} {fields}");
    let output = Command::new("node").args(line.split_whitespace()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("round it down"));
}
