//! Golden vectors of the encodings that L1, wallets and followers share. `UPDATE_VECTORS=1` rewrites the file; a change is a protocol change.
#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId, TokenId};
use sheaf_protocol::field::{Fr, G1Affine, to_hex, to_word};
use sheaf_protocol::header::{self, Choice, FeeCredit, Header, QueueEntry, QueueKind, Record};
use sheaf_protocol::ops::{Op, Transfer, Withdraw};

fn hex_fr(value: Fr) -> String {
    to_hex(&to_word(value))
}

fn transfer() -> Transfer {
    Transfer {
        from: SlotId(5),
        to: SlotId(0xabcdef),
        token: TokenId(2),
        nonce: Nonce(7),
        amount: AmountFloat::from_amount(Amount(1_234_500_000_000_000_000)).unwrap(),
        fee: FeeFloat::from_amount(Amount(1_000_000)).unwrap(),
    }
}

fn withdraw() -> Withdraw {
    Withdraw {
        from: SlotId(5),
        token: NATIVE,
        nonce: Nonce(1),
        fee: FeeFloat::from_amount(Amount(250)).unwrap(),
        amount: Amount((1 << 112) - 1),
        address: Address([0x11; 20]),
    }
}

fn entry() -> QueueEntry {
    QueueEntry {
        kind: QueueKind::Deposit,
        sender: Address([0x22; 20]),
        token: NATIVE,
        amount: Amount(1_000),
        slot: SlotId(0),
        owner: Address([0x33; 20]),
        key: Fr::from(123u64),
    }
}

fn header_case() -> Value {
    let domain = header::domain(31337, &Address([0x44; 20]));
    let identity = G1Affine::identity();
    let generator = <G1Affine as ark_ec::AffineRepr>::generator();
    let (t, w) = (transfer(), withdraw());
    let fee = FeeCredit { slot: SlotId(9), token: NATIVE, total: Amount(1_000_250) };
    let data = header::posted_data(&[t.word(), t.word(), t.word()], &[fee]);
    let choices = [Choice::Deposit(SlotId(77)), Choice::Refund];
    let digest = entry().digest_after(&[0; 32]);
    let genesis = header::state_root(16, &[identity; 3]);
    let header = Header {
        number: 1,
        circuit: 1,
        old_root: genesis,
        commitments: [generator, identity, generator],
        h: Fr::from(42u64),
        queue_digest: digest,
        taken: 2,
        ops_hash: header::ops_hash(&choices, &w.words()),
        data_hash: header::data_hash(&data),
    };
    let rho = header.rho(domain);
    let zeta = header::zeta(rho, &generator);
    let gamma = header::gamma(zeta, [1u64, 2, 3].map(Fr::from), Fr::from(4u64), Fr::from(5u64));
    let record = Record { header: header.clone(), quotient: generator, y_da: Fr::from(4u64), y_ops: Fr::from(5u64) };
    json!({
        "chain_id": "31337", "contract": to_hex(&[0x44; 20]), "domain": hex_fr(domain),
        "transfer": { "word": t.word().to_string(), "message": hex_fr(t.message()), "hash": Op::Transfer(t).hash(domain).to_string() },
        "withdraw": { "w0": w.w0().to_string(), "message": hex_fr(w.message(domain)), "hash": Op::Withdraw(w).hash(domain).to_string() },
        "queue_entry_hash": to_hex(&entry().hash()), "queue_digest": to_hex(&digest),
        "choices": choices.map(|c| to_hex(&c.word())), "ops_hash": to_hex(&header.ops_hash),
        "posted_data": to_hex(&data), "data_hash": to_hex(&header.data_hash), "genesis_root_16": to_hex(&genesis),
        "header_words": header.words().iter().map(|word| to_hex(word)).collect::<Vec<_>>(), "header_hash": to_hex(&header.hash()),
        "rho": hex_fr(rho), "zeta": hex_fr(zeta), "gamma": hex_fr(gamma), "batch_hash": to_hex(&record.hash()),
    })
}

fn float_cases() -> Value {
    let values = [0u128, 1, 9, 10, 68_719_476_735, 68_719_476_740, 10u128.pow(18), 1_234_500_000_000_000_000, 68_719_476_735 * 10u128.pow(15)];
    let cases = values.map(|v| json!({ "amount": v.to_string(), "packed": AmountFloat::from_amount(Amount(v)).unwrap().packed().to_string() }));
    Value::from(cases.to_vec())
}

#[test]
fn encodings_equal_the_golden_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/encodings.json");
    let got = serde_json::to_string_pretty(&json!({ "amount40": float_cases(), "batch": header_case() })).unwrap() + "\n";
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(path, &got).unwrap();
    }
    let golden = std::fs::read_to_string(path).expect("protocol/vectors/encodings.json is committed");
    assert_eq!(got, golden, "an encoding changed: that is a protocol change");
}
