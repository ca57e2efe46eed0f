//! Golden vectors of the encodings that L1, wallets and followers share, and of one whole batch.
#![expect(clippy::unwrap_used, reason = "tests")]

mod golden;

use golden::{compare_with_golden, hex_all, hex_fr};

use ark_ec::{AffineRepr, CurveGroup};
use serde_json::{Value, json};
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId, TokenId};
use sheaf_protocol::batch::{Batch, Challenges, Deposit, Operations, PublicInput, Registered, Request, Signed};
use sheaf_protocol::field::{Fr, G1Affine, address_to_fr, g1_words, pow2, to_hex};
use sheaf_protocol::header::{self, Choice, FeeCredit, Header, PostedRegister, QueueEntry, QueueKind, Record};
use sheaf_protocol::ledger::{Ledger, Slot, Triple};
use sheaf_protocol::ops::{Op, Register, SignedOp, Transfer, Withdraw};
use sheaf_protocol::schnorr::{self, SecretKey};
use sheaf_protocol::shape;

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

fn register() -> Register {
    let account = Triple { key: SecretKey::from_seed(&[0x77; 32]).unwrap().public().0, owner: Address([0x66; 20]), token: TokenId(0x1234) };
    Register { from: SlotId(5), token: TokenId(2), nonce: Nonce(8), fee: FeeFloat::from_amount(Amount(40_950_000)).unwrap(), account }
}

/// Requests of all kinds after the deposit of [`entry`].
fn requests() -> [QueueEntry; 2] {
    let empty =
        QueueEntry { sender: Address([0x55; 20]), token: TokenId(0), amount: Amount(0), slot: SlotId(0xabcdef), owner: Address([0; 20]), ..entry() };
    [
        QueueEntry { kind: QueueKind::Exit, key: Fr::from(0u64), ..empty },
        QueueEntry { kind: QueueKind::Rotation, key: SecretKey::from_seed(&[0x78; 32]).unwrap().public().0, ..empty },
    ]
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
    let generator = G1Affine::generator();
    let (t, w) = (transfer(), withdraw());
    let fee = FeeCredit { slot: SlotId(9), token: NATIVE, total: Amount(1_000_250) };
    let (r, new) = (register(), SlotId(0xfedcba));
    let posted = PostedRegister { from: r.from, new, fee: r.fee, account: r.account };
    let data = header::posted_data(&[t.word(), t.word(), t.word()], &[posted], &[fee]);
    let (largest, token) = (Amount((1 << 112) - 1), TokenId(u16::MAX));
    let choices = [Choice::Deposit(SlotId(77)), Choice::Refund, Choice::Exit(token, largest), Choice::Rotation(token)];
    let [exit_entry, rotation_entry] = requests();
    let digest = rotation_entry.digest_after(&exit_entry.digest_after(&entry().digest_after(&[0; 32])));
    let genesis = header::state_root(16, &[identity; 3]);
    let header = Header {
        number: 1,
        circuit: 1,
        old_root: genesis,
        commitments: [generator, identity, generator],
        h: Fr::from(42u64),
        queue_digest: digest,
        taken: 3,
        ops_hash: header::ops_hash(&choices, &w.words()),
        data_hash: header::data_hash(&data),
    };
    let rho = header.rho(domain);
    let zeta = header::zeta(rho, &generator);
    let gamma = header::gamma(zeta, [1u64, 2, 3].map(Fr::from), Fr::from(4u64), Fr::from(5u64));
    let exit = header::exit_challenge(&genesis, SlotId(0xabcdef), Fr::from(77u64) + pow2(168), address_to_fr(&[0x33; 20]));
    let record = Record { header: header.clone(), quotient: generator, y_da: Fr::from(4u64), y_ops: Fr::from(5u64) };
    json!({
        "chain_id": "31337", "contract": to_hex(&[0x44; 20]), "domain": hex_fr(domain),
        "transfer": { "word": t.word().to_string(), "message": hex_fr(t.message()), "hash": Op::Transfer(t).hash(domain).to_string() },
        "withdraw": { "w0": w.w0().to_string(), "message": hex_fr(w.message(domain)), "hash": Op::Withdraw(w).hash(domain).to_string() },
        "register": {
            "w0": r.w0(new).to_string(), "message": hex_fr(r.message(domain)), "hash": Op::Register(r).hash(domain).to_string(), "words": hex_all(&r.words(new)),
        },
        "queue_entry_hash": to_hex(&entry().hash()), "exit_entry_hash": to_hex(&exit_entry.hash()), "rotation_entry_hash": to_hex(&rotation_entry.hash()),
        "queue_digest": to_hex(&digest),
        "choices": choices.map(|c| to_hex(&c.word())), "ops_hash": to_hex(&header.ops_hash),
        "posted_data": to_hex(&data), "data_hash": to_hex(&header.data_hash), "genesis_root_16": to_hex(&genesis),
        "header_words": header.words().iter().map(|word| to_hex(word)).collect::<Vec<_>>(), "header_hash": to_hex(&header.hash()),
        "rho": hex_fr(rho), "zeta": hex_fr(zeta), "gamma": hex_fr(gamma), "exit": hex_fr(exit), "batch_hash": to_hex(&record.hash()),
    })
}

fn float_cases() -> Value {
    let values = [0u128, 1, 9, 10, 68_719_476_735, 68_719_476_740, 10u128.pow(18), 1_234_500_000_000_000_000, 68_719_476_735 * 10u128.pow(15)];
    let cases = values.map(|v| json!({ "amount": v.to_string(), "packed": AmountFloat::from_amount(Amount(v)).unwrap().packed().to_string() }));
    Value::from(cases.to_vec())
}

fn fee_cases() -> Value {
    let values = [0u128, 1, 9, 10, 4_095, 4_100, 40_950, 10u128.pow(15), 4_095 * 10u128.pow(15)];
    let cases = values.map(|v| json!({ "amount": v.to_string(), "packed": FeeFloat::from_amount(Amount(v)).unwrap().packed().to_string() }));
    Value::from(cases.to_vec())
}

/// Amounts that no float represents, with the next one below.
fn unrepresentable_cases() -> Value {
    let values = [4_096u128 + 1, 40_959, 4_095 * 10u128.pow(15) + 1, 10u128.pow(20)];
    let case = |value: u128| json!({ "fee": value.to_string(), "below": FeeFloat::round_down(Amount(value)).amount().to_string() });
    assert!(values.iter().take(3).all(|value| FeeFloat::from_amount(Amount(*value)).is_err()));
    Value::from(values.map(case).to_vec())
}

fn record_case(op: Op) -> Value {
    let key = SecretKey::from_seed(&[0x5e; 32]).unwrap();
    let domain = header::domain(31337, &Address([0x44; 20]));
    let signature = schnorr::sign(&key, domain, op.tag() as u8, op.message(domain), &[0x0a; 32]);
    let signed = SignedOp { op, signature };
    json!({ "op": signed.op, "signature": signed.signature, "record": to_hex(&signed.to_record()) })
}

fn record_cases() -> Value {
    let widest = Transfer {
        from: SlotId((1 << 24) - 1),
        to: SlotId(0),
        token: TokenId(u16::MAX),
        nonce: Nonce(u32::MAX),
        amount: AmountFloat::from_packed((1 << 40) - 1).unwrap(),
        fee: FeeFloat::from_packed((1 << 16) - 1).unwrap(),
    };
    [Op::Transfer(transfer()), Op::Transfer(widest), Op::Withdraw(withdraw()), Op::Register(register())].map(record_case).to_vec().into()
}

#[test]
fn encodings_equal_the_golden_file() {
    let vectors = json!({
        "amount40": float_cases(), "fee16": fee_cases(), "unrepresentable": unrepresentable_cases(), "records": record_cases(),
        "batch": header_case(),
    });
    compare_with_golden("encodings", &vectors);
}

/// Four holders: slots 1 and 3 hold the native coin, 2 and 4 token 2. Addresses repeat the slot's number.
struct Town {
    domain: Fr,
    ledger: Ledger,
}

impl Town {
    fn key(slot: u32) -> SecretKey {
        SecretKey::from_seed(&[slot as u8; 32]).unwrap()
    }

    fn triple(slot: u32) -> Triple {
        Triple { key: Self::key(slot).public().0, owner: Address([slot as u8; 20]), token: TokenId(2 - (slot % 2) as u16) }
    }

    fn new() -> Self {
        let mut ledger = Ledger::new(16);
        for slot in 1..=4 {
            let opened = Slot::opened(Self::triple(slot));
            ledger.set(SlotId(slot), Slot { balance: Amount(10u128.pow(18)), nonce: Nonce(100 * slot), ..opened });
        }
        Self { domain: header::domain(31337, &Address([0x44; 20])), ledger }
    }

    fn signed<T: Copy>(&self, from: u32, op: T, of: impl Fn(T) -> Op) -> Signed<T> {
        let (key, whole) = (Self::key(from), of(op));
        let signature = schnorr::sign(&key, self.domain, whole.tag() as u8, whole.message(self.domain), &[from as u8; 32]);
        Signed { op, key: key.public().0, signature }
    }

    fn transfer(&self, from: u32, to: u32, ahead: u32, amount: u128) -> Signed<Transfer> {
        let slot = self.ledger.get(SlotId(from));
        let (amount, fee) = (AmountFloat::from_amount(Amount(amount)).unwrap(), FeeFloat::from_amount(Amount(7_000_000)).unwrap());
        let nonce = Nonce(slot.nonce.0 + ahead);
        self.signed(from, Transfer { from: SlotId(from), to: SlotId(to), token: slot.triple.token, nonce, amount, fee }, Op::Transfer)
    }

    /// Three transfers, so that the last posted word is half full; a slot opened and paid, another registered; two tokens that pay fees; an owner
    /// who leaves with what others still pay him, and another who takes a new key.
    fn batch(&self) -> Batch {
        let transfers = vec![self.transfer(1, 3, 0, 5), self.transfer(1, 5, 1, 10u128.pow(17)), self.transfer(2, 4, 0, 123_400)];
        let fee = FeeFloat::from_amount(Amount(9)).unwrap();
        let (from, token, nonce, address) = (SlotId(4), TokenId(2), Nonce(400), Address([0xee; 20]));
        let withdrawals = vec![self.signed(4, Withdraw { from, token, nonce, fee, amount: Amount(10u128.pow(17) + 1), address }, Op::Withdraw)];
        let deposit = |slot, amount| Deposit { slot: SlotId(slot), triple: Self::triple(slot), amount: Amount(amount) };
        let deposits = vec![deposit(5, 77), deposit(3, 10u128.pow(18) + 3)];
        let register = Register { from, token, nonce: Nonce(401), fee, account: Self::triple(6) };
        let registers = vec![Registered { signed: self.signed(4, register, Op::Register), new: SlotId(6) }];
        let request = |slot: u32| Request { slot: SlotId(slot), requester: Address([slot as u8; 20]) };
        let exits = vec![request(3)];
        let rotations = vec![(request(2), Self::key(7).public().0)];
        let operations = Operations { transfers, withdrawals, registers, deposits, exits, rotations };
        let fee_slot = |token: TokenId| Some(SlotId(u32::from(token.0)));
        let shape = shape::by_name("test").unwrap().shape;
        Batch::assemble(&self.ledger, (3, shape), self.domain, operations, fee_slot).unwrap()
    }
}

#[test]
fn a_whole_batch_equals_the_golden_file() {
    let batch = Town::new().batch();
    let point = |factor: u64| (G1Affine::generator() * Fr::from(factor)).into_affine();
    let (before, after) = ([2, 3, 5].map(point), [7, 11, 13].map(point));
    let header = Header {
        number: 9,
        circuit: batch.circuit,
        old_root: header::state_root(17, &before),
        commitments: after,
        h: batch.transcript(),
        queue_digest: entry().digest_after(&[0x99; 32]),
        taken: 4,
        ops_hash: header::ops_hash(&batch.choices(), &batch.used_ops_words()),
        data_hash: header::data_hash(&batch.posted_data()),
    };
    let rho = header.rho(batch.domain);
    let challenges = Challenges { rho, zeta: header::zeta(rho, &point(17)) };
    let inputs = batch.public_inputs(&challenges);
    let claims = batch.claims(&challenges);
    let vectors = json!({
        "batch": batch, "absorbed": hex_all(&batch.absorbed()), "h": hex_fr(header.h),
        "da_words": hex_all(&batch.da_words()), "ops_words": hex_all(&batch.ops_words()), "used_ops_words": hex_all(&batch.used_ops_words()),
        "posted_data": to_hex(&batch.posted_data()), "choices": batch.choices().iter().map(|choice| to_hex(&choice.word())).collect::<Vec<_>>(),
        "state": {
            "k": 17, "commitments": before.map(|point| g1_words(&point).map(|word| to_hex(&word))), "root": to_hex(&header.old_root),
        },
        "header_words": header.words().iter().map(|word| to_hex(word)).collect::<Vec<_>>(), "header_hash": to_hex(&header.hash()),
        "quotient": g1_words(&point(17)).map(|word| to_hex(&word)), "rho": hex_fr(rho), "zeta": hex_fr(challenges.zeta),
        "claims": { "e": hex_fr(claims.e), "z": hex_fr(claims.z), "delta": hex_fr(claims.delta) },
        "y_da": hex_fr(inputs[PublicInput::YDa as usize]), "y_ops": hex_fr(inputs[PublicInput::YOps as usize]), "public_inputs": hex_all(&inputs),
        "gamma": hex_fr(header::gamma(challenges.zeta, claims.to_array(), inputs[7], inputs[8])),
    });
    compare_with_golden("batch", &vectors);
}
