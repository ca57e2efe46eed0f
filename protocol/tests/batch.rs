//! A batch agrees with the sequential rules, does not depend on order, and its check names every group that is broken.
#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId, TokenId};
use sheaf_protocol::batch::{AccountSlot, Batch, BatchError, Deposit, Found, Operations, Registered, Request, Signed};
use sheaf_protocol::derive::{DeriveError, Given, derive};
use sheaf_protocol::field::{Fr, to_word};
use sheaf_protocol::follower::{FollowError, PublishedBatch, follow};
use sheaf_protocol::header::{Choice, QueueEntry, QueueKind, ops_hash};
use sheaf_protocol::kzg::{Srs, StateVector};
use sheaf_protocol::ledger::{Ledger, Slot, Triple};
use sheaf_protocol::ops::{Op, OpTag, Register, Transfer, Withdraw};
use sheaf_protocol::schnorr::{self, SecretKey};
use sheaf_protocol::shape::{self, Shape};
use sheaf_protocol::transition::{self, apply};
use std::sync::Arc;

const FEE_SLOT: SlotId = SlotId(6);

fn domain() -> Fr {
    Fr::from(31337u64)
}

fn key(n: u32) -> SecretKey {
    let mut seed = [7u8; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    SecretKey::generate(&mut StdRng::from_seed(seed))
}

fn triple(n: u32) -> Triple {
    Triple { key: key(n).public().0, owner: Address([n as u8; 20]), token: NATIVE }
}

fn ledger() -> Ledger {
    let mut ledger = Ledger::new(4);
    for n in 1..=6 {
        ledger.set(SlotId(n), Slot { balance: Amount(1_000), ..Slot::opened(triple(n)) });
    }
    ledger
}

fn transfer(from: u32, to: u32, nonce: u32, amount: u128, fee: u128) -> Signed<Transfer> {
    let op = Transfer {
        from: SlotId(from),
        to: SlotId(to),
        token: NATIVE,
        nonce: Nonce(nonce),
        amount: AmountFloat::from_amount(Amount(amount)).unwrap(),
        fee: FeeFloat::from_amount(Amount(fee)).unwrap(),
    };
    let sk = key(from);
    let signature = schnorr::sign(&sk, domain(), OpTag::Transfer as u8, op.message(), &[1; 32]);
    Signed { op, key: sk.public().0, signature }
}

fn withdrawal(from: u32, nonce: u32, amount: u128) -> Signed<Withdraw> {
    let op = Withdraw {
        from: SlotId(from),
        token: NATIVE,
        nonce: Nonce(nonce),
        fee: FeeFloat::default(),
        amount: Amount(amount),
        address: Address([9; 20]),
    };
    let sk = key(from);
    let signature = schnorr::sign(&sk, domain(), OpTag::Withdraw as u8, op.message(domain()), &[1; 32]);
    Signed { op, key: sk.public().0, signature }
}

/// The holder of `from` registers the holder of `new` there.
fn register(from: u32, nonce: u32, new: u32, fee: u128) -> Registered {
    let fee = FeeFloat::from_amount(Amount(fee)).unwrap();
    let op = Register { from: SlotId(from), token: NATIVE, nonce: Nonce(nonce), fee, account: triple(new) };
    let sk = key(from);
    let signature = schnorr::sign(&sk, domain(), OpTag::Register as u8, op.message(domain()), &[1; 32]);
    Registered { signed: Signed { op, key: sk.public().0, signature }, new: SlotId(new) }
}

/// The holder of slot `asker` asks on L1 about `slot`.
fn request(asker: u32, slot: u32) -> Request {
    Request { slot: SlotId(slot), requester: triple(asker).owner }
}

/// The `test` circuit with room for two of what it has one of.
fn test_shape() -> Shape {
    Shape { registers: 2, exits: 2, rotations: 2, ..shape::by_name("test").unwrap().shape }
}

fn assemble(transfers: Vec<Signed<Transfer>>, withdrawals: Vec<Signed<Withdraw>>, deposits: Vec<Deposit>) -> Result<Batch, BatchError> {
    assemble_all(Operations { transfers, withdrawals, deposits, ..Operations::default() })
}

fn assemble_all(operations: Operations) -> Result<Batch, BatchError> {
    Batch::assemble(&ledger(), (1, test_shape()), domain(), operations, |_| Some(FEE_SLOT))
}

/// Slot 1 pays, slot 7 is opened by a deposit and 8 by a register; the owner of 2 leaves with what arrives; a stranger asks for 3; 4 takes
/// another key, 7 too, in the batch that opens it.
fn requests() -> Operations {
    Operations {
        transfers: vec![transfer(1, 2, 0, 100, 3)],
        withdrawals: vec![withdrawal(3, 0, 500)],
        registers: vec![register(4, 0, 8, 2), register(1, 1, 5, 1)],
        deposits: vec![Deposit { slot: SlotId(7), triple: triple(7), amount: Amount(50) }],
        exits: vec![request(2, 2), request(1, 3)],
        rotations: vec![(request(4, 4), key(104).public().0), (request(7, 7), key(107).public().0)],
    }
}

fn honest() -> Batch {
    let deposit = Deposit { slot: SlotId(7), triple: triple(7), amount: Amount(50) };
    assemble(vec![transfer(1, 2, 0, 100, 3), transfer(1, 3, 1, 50, 2), transfer(2, 1, 0, 5, 1)], vec![withdrawal(3, 0, 500)], vec![deposit, deposit])
        .unwrap()
}

fn account(batch: &mut Batch, id: u32) -> &mut AccountSlot {
    batch.accounts.iter_mut().find(|a| a.id == SlotId(id)).unwrap()
}

/// What the batch leaves on L1, with a refund at the end of its queue entries.
fn published(batch: &Batch) -> PublishedBatch {
    let entry = |deposit: &Deposit| QueueEntry {
        kind: QueueKind::Deposit,
        sender: Address([3; 20]),
        token: deposit.triple.token,
        amount: deposit.amount,
        slot: SlotId(0),
        owner: deposit.triple.owner,
        key: deposit.triple.key,
    };
    let refunded = Deposit { slot: SlotId(0), triple: triple(9), amount: Amount(77) };
    let asked = |kind, found: &Found, key| {
        let (token, amount, owner) = (TokenId(0), Amount(0), Address([0; 20]));
        QueueEntry { kind, sender: found.requester, token, amount, slot: found.slot, owner, key }
    };
    let exits = batch.exits.iter().map(|exit| asked(QueueKind::Exit, &exit.found, Fr::from(0u64)));
    let rotations = batch.rotations.iter().map(|rotation| asked(QueueKind::Rotation, &rotation.found, rotation.new_key));
    PublishedBatch {
        data: batch.posted_data(),
        withdrawals: batch.withdrawals.iter().map(|signed| signed.op.words().map(to_word)).collect(),
        taken: batch.deposits.iter().map(entry).chain(exits).chain(rotations).chain([entry(&refunded)]).collect(),
        choices: batch.choices().into_iter().chain([Choice::Refund]).collect(),
    }
}

/// A follower must reach what the batch proves, and touch nothing else.
fn assert_followed(batch: &Batch) {
    let mut followed = ledger();
    let touched = follow(&mut followed, &published(batch)).unwrap();
    for account in &batch.accounts {
        assert_eq!(followed.get(account.id), account.new, "slot {}", account.id);
    }
    for slot in &touched {
        assert!(batch.touched_slots().contains(slot), "{slot:?}");
    }
    assert!(touched.is_sorted_by(|a, b| a.slot < b.slot));
}

#[test]
fn a_follower_reaches_the_state_that_is_proven() {
    assert_followed(&honest());
    assert_followed(&assemble(vec![], vec![], vec![]).unwrap());
    assert_followed(&assemble_all(requests()).unwrap());
}

/// From what is posted, the transcript and the state before comes everything that the batch shows L1.
#[test]
fn a_batch_is_derived_from_what_it_left_on_l1() {
    let (before, shape) = (ledger(), test_shape());
    let vector =
        StateVector::new(Arc::new(Srs::insecure_dev(4, "derive").unwrap()), before.occupied().map(|(id, slot)| (id, slot.columns()))).unwrap();
    for batch in [honest(), assemble(vec![], vec![], vec![]).unwrap(), assemble_all(requests()).unwrap()] {
        let given = Given { number: 5, circuit: 1, shape, domain: domain(), h: batch.transcript(), queue_digest: [4; 32] };
        let posted = published(&batch);
        let derived = derive(&before, &vector, &posted, &given).unwrap();
        let (opened, step) = (&derived.opened, vector.prepare(&batch.touched_slots()).unwrap());
        assert_eq!(opened.public_inputs(domain()), batch.public_inputs(&opened.challenges));
        assert_eq!(derived.ops_words, batch.used_ops_words());
        let header = &opened.record.header;
        assert_eq!((header.commitments, header.taken as usize), (*step.after(), posted.taken.len()));
        assert_eq!(header.queue_digest, posted.taken.iter().fold([4; 32], |digest, entry| entry.digest_after(&digest)));
        assert_eq!(header.ops_hash, ops_hash(&posted.choices, &batch.used_ops_words()));
        let narrow = Given { shape: Shape { accounts: 0, ..shape }, ..given };
        assert_eq!(
            derive(&before, &vector, &posted, &narrow).err(),
            (!posted.data.iter().all(|byte| *byte == 0)).then_some(DeriveError::Capacity("accounts"))
        );
        let other = Given { h: given.h + Fr::from(1u64), ..given };
        assert_ne!(derive(&before, &vector, &posted, &other).unwrap().opened.challenges, opened.challenges);
    }
}

#[test]
fn requests_take_what_is_left_and_keys_change_last() {
    let mut batch = assemble_all(requests()).unwrap();
    assert_eq!((batch.exits[0].amount, account(&mut batch, 2).new.balance), (Amount(1_100), Amount(0)));
    assert_eq!((batch.exits[1].amount, account(&mut batch, 3).new.balance), (Amount(0), Amount(500)), "a stranger's takes nothing");
    let rotated = *account(&mut batch, 4);
    assert_eq!((rotated.old.triple, rotated.key, rotated.new.triple.key), (triple(4), triple(4).key, key(104).public().0));
    let opened = *account(&mut batch, 7);
    assert_eq!((opened.is_new, opened.key, opened.new.triple.key), (true, triple(7).key, key(107).public().0));
    assert_eq!(account(&mut batch, 8).new, Slot::opened(triple(8)));
    let known = *account(&mut batch, 5);
    assert_eq!((known.old, known.new, known.opens), (ledger().get(SlotId(5)), ledger().get(SlotId(5)), 1), "a register of what is there");
    assert_eq!(batch.choices().len(), 5);
}

#[test]
fn a_request_for_an_empty_slot_is_a_proved_no_op() {
    let operations = Operations { exits: vec![request(1, 9)], rotations: vec![(request(1, 9), key(5).public().0)], ..Operations::default() };
    let mut batch = assemble_all(operations).unwrap();
    let empty = *account(&mut batch, 9);
    assert_eq!((empty.old, empty.new, empty.reads, empty.exits, empty.rotates), (Slot::EMPTY, Slot::EMPTY, 2, false, false));
    assert_eq!(batch.choices(), [Choice::Exit(TokenId(0), Amount(0)), Choice::Rotation(TokenId(0))]);
    assert_followed(&batch);
}

#[test]
fn a_slot_leaves_or_rotates_once_a_batch_but_strangers_may_ask_as_well() {
    let exits = |exits| assemble_all(Operations { exits, ..Operations::default() }).map(drop);
    assert_eq!(exits(vec![request(2, 2), request(2, 2)]), Err(BatchError::Exit(SlotId(2))));
    assert_eq!(exits(vec![request(2, 2), request(3, 2)]), Ok(()));
    let rotate = |asker: u32| (request(asker, 2), key(50 + asker).public().0);
    let rotations = |rotations| assemble_all(Operations { rotations, ..Operations::default() }).map(drop);
    assert_eq!(rotations(vec![rotate(2), rotate(2)]), Err(BatchError::Rotate(SlotId(2))));
    assert_eq!(rotations(vec![rotate(3), rotate(2)]), Ok(()));
}

#[test]
fn a_follower_names_requests_that_no_proof_can_stand_behind() {
    type Case = (fn(&mut PublishedBatch), FollowError);
    // taken: deposit, exits of 2 and 3, rotations of 4 and 7, a refund
    let cases: [Case; 7] = [
        (|b| b.choices[1] = Choice::Exit(NATIVE, Amount(1_099)), FollowError::Exit(SlotId(2))),
        (|b| b.choices[1] = Choice::Exit(TokenId(2), Amount(1_100)), FollowError::Exit(SlotId(2))),
        (|b| b.choices[2] = Choice::Exit(NATIVE, Amount(1)), FollowError::Exit(SlotId(3))),
        (|b| b.choices[3] = Choice::Rotation(TokenId(2)), FollowError::Rotation(SlotId(4))),
        (|b| b.choices[3] = Choice::Exit(NATIVE, Amount(0)), FollowError::Kind(3)),
        (|b| b.taken[1].slot = SlotId(16), FollowError::UnknownSlot(SlotId(16))),
        (|b| b.taken[4] = QueueEntry { slot: SlotId(4), sender: triple(4).owner, ..b.taken[4] }, FollowError::Rotation(SlotId(4))),
    ];
    for (spoil, expected) in cases {
        let mut batch = published(&assemble_all(requests()).unwrap());
        spoil(&mut batch);
        assert_eq!(follow(&mut ledger(), &batch), Err(expected));
    }
}

#[test]
fn a_follower_names_what_no_proof_can_stand_behind() {
    type Case = (fn(&mut PublishedBatch), FollowError);
    let cases: [Case; 7] = [
        (|b| b.choices.truncate(2), FollowError::Choices { taken: 3, choices: 2 }),
        (|b| b.taken[1].kind = QueueKind::Exit, FollowError::Kind(1)),
        (|b| b.choices[0] = Choice::Deposit(SlotId(1)), FollowError::ForeignSlot(SlotId(1))),
        (|b| b.choices[0] = Choice::Deposit(SlotId(16)), FollowError::ForeignSlot(SlotId(16))),
        (|b| b.withdrawals[0][0] = [0xff; 32], FollowError::Withdrawal(0)),
        (|b| b.withdrawals[0][1][20] = 1, FollowError::Balance(SlotId(3))),
        (|b| b.withdrawals[0][0][31] = 9, FollowError::UnknownSlot(SlotId(9))),
    ];
    for (spoil, expected) in cases {
        let mut batch = published(&honest());
        spoil(&mut batch);
        let mut state = ledger();
        assert_eq!(follow(&mut state, &batch), Err(expected));
        assert_eq!(state.get(SlotId(1)), ledger().get(SlotId(1)), "the state is as before");
    }
}

#[test]
fn an_honest_batch_nets_every_slot() {
    let mut batch = honest();
    assert_eq!(account(&mut batch, 1).new.balance, Amount(1_000 - 103 - 52 + 5));
    assert_eq!(account(&mut batch, 1).new.nonce, Nonce(2));
    assert_eq!(account(&mut batch, 7).new.balance, Amount(100));
    assert_eq!(account(&mut batch, 7).opens, 2);
    assert_eq!(account(&mut batch, 6).new.balance, Amount(1_006));
    assert_eq!(batch.accounts.len(), 8);
}

#[test]
fn check_names_the_broken_group() {
    type Case = (&'static str, fn(&mut Batch), fn(&BatchError) -> bool);
    let cases: Vec<Case> = vec![
        ("inflated balance", |b| account(b, 2).new.balance.0 += 1, |e| matches!(e, BatchError::Balance(..))),
        ("altered old balance", |b| account(b, 2).old.balance.0 += 1, |e| matches!(e, BatchError::Balance(..))),
        ("replayed nonce", |b| b.transfers[1] = transfer(1, 3, 0, 50, 2), |e| matches!(e, BatchError::Nonce(_))),
        ("foreign key", |b| b.transfers[0].key = key(5).public().0, |e| matches!(e, BatchError::Key(_))),
        ("deposit for another owner", |b| b.deposits[0].triple.owner = Address([1; 20]), |e| matches!(e, BatchError::Open(_))),
        ("opened slot was not empty", |b| account(b, 7).old.balance.0 = 1, |e| matches!(e, BatchError::Account(_))),
        ("fee not collected", |b| b.fees[0].total.0 -= 1, |e| matches!(e, BatchError::Balance(..) | BatchError::Fee(_))),
        ("duplicate slot", |b| b.accounts[1] = b.accounts[0], |e| matches!(e, BatchError::Unsorted(_))),
        ("owner changed", |b| account(b, 4).new.triple.owner = Address([1; 20]), |e| matches!(e, BatchError::Account(_))),
        ("old balance beyond 120 bits", |b| account(b, 2).old.balance.0 = u128::MAX, |e| matches!(e, BatchError::Range("balance"))),
        ("foreign token", |b| b.transfers[2].op.token = TokenId(2), |e| matches!(e, BatchError::Balance(..))),
    ];
    let requests: Vec<Case> = vec![
        ("foreign key of a register", |b| b.registers[0].signed.key = key(5).public().0, |e| matches!(e, BatchError::Key(_))),
        ("register of a slot that is somebody else's", |b| b.registers[0].new = SlotId(6), |e| matches!(e, BatchError::Open(_))),
        ("register without an effect", |b| account(b, 8).opens = 0, |e| matches!(e, BatchError::Account(_))),
        ("exit of more than is left", |b| b.exits[0].amount.0 += 1, |e| matches!(e, BatchError::Balance(..))),
        ("exit that leaves something", |b| account(b, 2).new.balance.0 = 1, |e| matches!(e, BatchError::Exit(_))),
        ("exit that a stranger gets", |b| b.exits[1].amount.0 = 1, |e| matches!(e, BatchError::Balance(..))),
        ("exit by a stranger who claims to be the owner", |b| b.exits[1].found.triple.owner = triple(1).owner, |e| matches!(e, BatchError::Read(_))),
        ("exit of the owner that does nothing", |b| account(b, 2).exits = false, |e| matches!(e, BatchError::Exit(_))),
        ("owner hidden from a request", |b| b.exits[0].found.triple.owner = Address([3; 20]), |e| matches!(e, BatchError::Read(_))),
        ("read not counted", |b| account(b, 3).reads = 0, |e| matches!(e, BatchError::Read(_))),
        ("rotation to another key", |b| b.rotations[0].new_key = key(9).public().0, |e| matches!(e, BatchError::Rotate(_))),
        ("rotation that does nothing", |b| account(b, 4).rotates = false, |e| matches!(e, BatchError::Rotate(_))),
        ("key replaced by nobody", |b| account(b, 6).new.triple.key = key(9).public().0, |e| matches!(e, BatchError::Rotate(_))),
        ("request for slot 0", |b| b.exits[0].found.slot = SlotId(0), |e| matches!(e, BatchError::Disabled)),
    ];
    let cases =
        cases.into_iter().map(|case| (honest(), case)).chain(requests.into_iter().map(|case| (assemble_all(self::requests()).unwrap(), case)));
    for (mut batch, (name, tamper, expected)) in cases {
        tamper(&mut batch);
        let error = batch.check().expect_err(name);
        assert!(expected(&error), "{name}: {error}");
    }
}

#[test]
fn a_signature_over_another_amount_is_refused() {
    let mut batch = honest();
    let stolen = transfer(1, 2, 0, 99, 3).signature;
    batch.transfers[0].signature = stolen;
    assert_eq!(batch.check(), Err(BatchError::Signature(SlotId(1))));
}

#[test]
fn more_of_a_kind_than_the_circuit_holds_is_refused() {
    let five = (0..5).map(|n| transfer(1, 2, n, 1, 0)).collect();
    assert!(matches!(assemble(five, vec![], vec![]), Err(BatchError::Capacity { kind: "transfers", .. })));
}

/// The sums of a batch are taken in 127 bits: amounts that do not fit their width must be refused before.
#[test]
fn amounts_beyond_their_width_are_refused_before_they_are_summed() {
    let deposit = |amount| Deposit { slot: SlotId(7), triple: triple(7), amount: Amount(amount) };
    let last = (1u128 << 112) - 1;
    for amount in [last + 1, u128::MAX, u128::MAX - 2, 1 << 127] {
        assert_eq!(assemble(vec![], vec![withdrawal(3, 0, amount)], vec![]), Err(BatchError::Range("amount")), "{amount}");
        assert_eq!(assemble(vec![], vec![], vec![deposit(amount), deposit(amount)]), Err(BatchError::Range("deposit amount")), "{amount}");
    }
    assert_eq!(assemble(vec![], vec![withdrawal(3, 0, last)], vec![]), Err(BatchError::Balance(SlotId(3), NATIVE)));
    assert_eq!(account(&mut assemble(vec![], vec![], vec![deposit(last)]).unwrap(), 7).new.balance, Amount(last));
}

#[test]
fn a_batch_survives_json() {
    let batch = honest();
    let text = serde_json::to_string(&batch).unwrap();
    assert_eq!(serde_json::from_str::<Batch>(&text).unwrap(), batch);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_the_sequential_rules_accept_the_batch_accepts_in_any_order(
        moves in prop::collection::vec((1u32..6, 1u32..7, 0u128..700, 0u128..4), 1..4), seed: u64,
    ) {
        let mut live = ledger();
        let mut accepted = Vec::new();
        let mut fees = 0;
        for (from, to, amount, fee) in moves {
            let signed = transfer(from, to, live.get(SlotId(from)).nonce.0, amount, fee);
            if let Ok(effect) = apply(&live, &Op::Transfer(signed.op)) {
                effect.write(&mut live);
                fees += fee;
                accepted.push(signed);
            }
        }
        if fees > 0 {
            transition::apply_fee(&live, FEE_SLOT, NATIVE, Amount(fees)).unwrap().write(&mut live);
        }
        let in_order = assemble(accepted.clone(), vec![], vec![]).unwrap();
        for a in &in_order.accounts {
            prop_assert_eq!(a.new, live.get(a.id));
        }
        assert_followed(&in_order);
        accepted.shuffle(&mut StdRng::seed_from_u64(seed));
        prop_assert_eq!(assemble(accepted, vec![], vec![]).unwrap().accounts, in_order.accounts);
    }
}
