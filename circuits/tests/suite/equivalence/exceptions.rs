//! The exceptions that `Batch::check` lists, each with who refuses it. What only L1 refuses is named by the contract's error.

use crate::forgery::{Base, Forge};
use crate::world::{Verdict, World, requests_batch, rich_batch, rich_witness, test_circuit, verdict};
use ark_bn254::Fr;
use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::{BigInteger, Field, PrimeField};
use sheaf_protocol::amount::{Address, Amount, NATIVE, SlotId, TokenId};
use sheaf_protocol::batch::{AccountSlot, Batch, BatchError, Challenges, Found, PublicInput, account_pole};
use sheaf_protocol::field::{from_word, pow2};
use sheaf_protocol::kzg::{OpenError, PrepareError, Srs, StateVector, domain_point};
use sheaf_protocol::ledger::{Slot, Triple};
use sheaf_protocol::ops::{OpTag, Register, Transfer, Withdraw};
use sheaf_protocol::schnorr::{self, Check, Projective, Scalar, Signature};
use std::sync::Arc;

fn account(batch: &mut Batch, slot: u32) -> &mut AccountSlot {
    batch.accounts.iter_mut().find(|account| account.id == SlotId(slot)).unwrap()
}

/// [`rich_batch`] after a change: what the native rules and the circuit say.
fn verdicts(change: impl FnOnce(&World, &mut Batch)) -> (Result<(), BatchError>, Verdict) {
    let (world, mut batch, challenges) = rich_batch();
    change(&world, &mut batch);
    (batch.check(), verdict(&batch, &challenges))
}

/// [`requests_batch`] after a change.
fn verdicts_of_requests(change: impl FnOnce(&World, &mut Batch)) -> (Result<(), BatchError>, Verdict) {
    let (world, mut batch, challenges) = requests_batch();
    change(&world, &mut batch);
    (batch.check(), verdict(&batch, &challenges))
}

// ---- Refused natively, provable ----

/// L1 refuses both: `WithdrawalOutOfRange` at the commit, `SupplyCapReached` at the deposit.
#[test]
fn an_amount_of_2_to_the_112_is_left_to_l1() {
    let withdrawn = verdicts(|world, batch| {
        let op = Withdraw { amount: Amount(1 << 112), ..batch.withdrawals[0].op };
        batch.withdrawals[0] = world.sign_withdrawal(op, 4);
        account(batch, 4).old.balance.0 += (1 << 112) - 777;
    });
    assert_eq!(withdrawn, (Err(BatchError::Range("amount")), Verdict::Satisfied));
    let deposited = verdicts(|_, batch| {
        batch.deposits[0].amount = Amount(1 << 112);
        account(batch, 7).new.balance = Amount(1 << 112);
    });
    assert_eq!(deposited, (Err(BatchError::Range("deposit amount")), Verdict::Satisfied));
}

/// L1 refuses it at the commit: the amount of an exit is below 2^112. The caps keep every balance below that.
#[test]
fn an_exit_of_2_to_the_112_is_left_to_l1() {
    let exit = verdicts_of_requests(|_, batch| {
        batch.exits[0].amount = Amount(1 << 112);
        account(batch, 6).old.balance = Amount(1 << 112);
    });
    assert_eq!(exit, (Err(BatchError::Range("exit amount")), Verdict::Satisfied));
}

/// The load-bearing check of L1: the circuit proves an exit of -990 from a slot that spent 990 more than it had. As a word that is r - 990,
/// which L1 refuses at the commit like any amount of 2^112 or more; so nobody is ever credited what it would be worth.
#[test]
fn an_exit_of_less_than_nothing_is_left_to_l1() {
    let mut forge = Forge::on(Base::Requests);
    let (held, spent) = (forge.world.ledger.get(SlotId(6)).balance.0, forge.world.transfer(6, 2, 0, 1_000_990, 0));
    assert_eq!(held + 990, spent.op.amount.amount().0);
    forge.use_transfer(1, &spent);
    forge.account(2).balance += Fr::from(1_000_990u64);
    forge.account(6).signatures += Fr::from(1u64);
    forge.account(6).nonce += Fr::from(1u64);
    forge.witness.exits[0].amount = -Fr::from(990u64);
    assert!(forge.caught_by().is_empty());
    assert!(forge.witness.exits[0].amount.into_bigint() >= pow2(112).into_bigint(), "the word that L1 sees");
    forge.witness.exits[0].amount = Fr::from(0u64);
    assert!(!forge.caught_by().is_empty(), "within the range nothing balances");
}

/// L1 refuses it: `SlotOutOfRange`.
#[test]
fn a_request_for_slot_0_is_left_to_l1() {
    let nothing = verdicts_of_requests(|_, batch| {
        // a stranger's, for slot 0 and token 0: K is 0, an unused slot
        batch.exits[0].found = Found { slot: SlotId(0), triple: Slot::EMPTY.triple, requester: Address([9; 20]) };
        batch.exits[0].amount = Amount(0);
        let slot = account(batch, 6);
        (slot.reads, slot.exits, slot.new) = (0, false, slot.old);
    });
    assert_eq!(nothing, (Err(BatchError::Disabled), Verdict::Satisfied));
}

/// L1 refuses it: `SlotOutOfRange`.
#[test]
fn a_deposit_into_slot_0_is_left_to_l1() {
    let opened = verdicts(|_, batch| {
        batch.deposits[0].slot = SlotId(0);
        account(batch, 7).id = SlotId(0);
        batch.accounts.sort_by_key(|account| account.id);
    });
    assert_eq!(opened, (Err(BatchError::Disabled), Verdict::Satisfied));
}

/// Nobody needs to refuse them: their words are those of an unused slot but for an address, and L1 pays nothing for from = 0.
#[test]
fn an_operation_of_slot_0_that_moves_nothing_is_an_unused_slot() {
    let transfer = verdicts(|world, batch| batch.transfers.push(world.sign_transfer(Transfer::default(), 6)));
    assert_eq!(transfer, (Err(BatchError::Disabled), Verdict::Satisfied));
    let nothing = Withdraw { address: Address([0xab; 20]), ..Withdraw::default() };
    let withdrawal = verdicts(|world, batch| batch.withdrawals.push(world.sign_withdrawal(nothing, 6)));
    assert_eq!(withdrawal, (Err(BatchError::Disabled), Verdict::Satisfied));
    let nobody = verdicts(|world, batch| {
        let account = world.triple(6);
        let op = Register { account: Triple { token: TokenId(0), ..account }, ..Register::default() };
        batch.registers.push(world.sign_register(op, SlotId(0), 6));
    });
    assert_eq!(nobody, (Err(BatchError::Disabled), Verdict::Satisfied));
    let something = Withdraw { amount: Amount(1), ..nothing };
    let withdrawal = verdicts(|world, batch| batch.withdrawals.push(world.sign_withdrawal(something, 6)));
    assert_eq!(withdrawal, (Err(BatchError::Disabled), Verdict::Violated));
}

/// Nobody needs to refuse it: each fee slot is balanced by itself, and followers credit it as it stands.
#[test]
fn fees_in_another_order_are_provable() {
    let reversed = verdicts(|_, batch| batch.fees.reverse());
    assert_eq!(reversed, (Err(BatchError::FeeOrder), Verdict::Satisfied));
    let one_token_twice = verdicts(|world, batch| {
        batch.transfers[2] = world.transfer(2, 4, 0, 12_345, 0);
        batch.withdrawals[0] = world.withdrawal(4, 0, 777, 0);
        batch.fees[0].total = Amount(20);
        batch.fees[1] = sheaf_protocol::header::FeeCredit { token: NATIVE, total: Amount(30), ..batch.fees[0] };
        account(batch, 2).new.balance.0 -= 15 - 10;
        account(batch, 4).new.balance.0 += 5;
    });
    assert_eq!(one_token_twice, (Err(BatchError::FeeOrder), Verdict::Satisfied));
}

/// The opening refuses it: no batch ends with such a balance, so no state holds one.
#[test]
fn an_old_balance_of_2_to_the_120_is_left_to_the_opening() {
    let spent = verdicts(|_, batch| {
        account(batch, 4).old.balance = Amount(1 << 120);
        account(batch, 4).new.balance = Amount((1 << 120) - 782 + 12_345);
    });
    assert_eq!(spent.0, Err(BatchError::Range("balance")));
    assert_eq!(spent.1, Verdict::Violated, "what arrives keeps it above");
    let spent = verdicts(|_, batch| {
        account(batch, 2).old.balance = Amount(1 << 120);
        account(batch, 2).new.balance = Amount((1 << 120) - 12_355 + 15);
    });
    assert_eq!(spent, (Err(BatchError::Range("balance")), Verdict::Satisfied));
}

/// Nobody needs to refuse it: the message is the same and so is h. The other root of the key and the second reading of e are among
/// the forgeries of signatures, as those that are none.
#[test]
fn the_sign_of_r_is_not_the_circuits() {
    let (_, mut batch, challenges) = rich_batch();
    let inputs = batch.public_inputs(&challenges);
    batch.transfers[0].signature.r_y_odd ^= true;
    assert_eq!(batch.check(), Err(BatchError::Signature(SlotId(1))));
    assert_eq!(batch.public_inputs(&challenges), inputs);
    let circuit = test_circuit();
    let (_, witness) = rich_witness();
    assert_eq!((witness.inputs, circuit.violations(&circuit.assign(&witness).unwrap())), (inputs, vec![]));
}

// ---- Accepted natively, not provable ----

/// Admission refuses what cannot be proved, as `SignatureError::Unprovable`. Nobody knows such a signature: the nonces that come
/// closest, made for the last addition to double a point, have other forms.
#[test]
fn a_nonce_aimed_at_an_exceptional_addition_is_admitted_and_proved() {
    let top = Scalar::from(5u64).pow([schnorr::WINDOWS as u64 - 1]);
    for (a, b) in schnorr::REPRESENTATIVES {
        let (mut world, mut batch, challenges) = rich_batch();
        let nonce = Scalar::from(2u64) * (Scalar::from(a) + schnorr::LAMBDA * Scalar::from(b)) * top;
        let signed = &mut batch.transfers[0];
        let (tag, message, r) = (OpTag::Transfer as u8, signed.op.message(), (Projective::generator() * nonce).into_affine());
        let c = schnorr::challenge(schnorr::challenge_hash(world.domain, tag, r.x, signed.key, message)).scalar;
        let secret: Scalar = from_word(&world.keys[1].to_bytes()).unwrap();
        signed.signature = Signature { r_x: r.x, r_y_odd: r.y.into_bigint().is_odd(), s: nonce - c * secret };
        let check = Check { pk: signed.key, domain: world.domain, op_tag: tag, m: message, signature: signed.signature };
        assert_eq!(schnorr::admit_many(&[check], &mut world.rng), [Ok(())]);
        assert_eq!((batch.check(), verdict(&batch, &challenges)), (Ok(()), Verdict::Satisfied));
    }
}

/// The sealer refuses them: it seals again. Both are hashes, so nobody can aim.
#[test]
fn challenges_that_hit_a_pole_or_a_point_of_the_domain_prove_nothing() {
    let (_, batch, honest) = rich_batch();
    for zeta in [account_pole(SlotId(3), NATIVE), domain_point(3)] {
        assert_eq!((batch.check(), verdict(&batch, &Challenges { zeta, ..honest })), (Ok(()), Verdict::Violated));
    }
    let (world, batch, _) = rich_batch();
    let state = state_of(&world);
    let step = state.prepare(&batch.touched_slots()).unwrap();
    let quotient = state.quotient(&step, honest.rho).unwrap();
    let claims = batch.claims(&Challenges { zeta: domain_point(3), ..honest });
    assert_eq!(state.open(&step, &quotient, domain_point(3), claims, Fr::from(5u64)).unwrap_err(), OpenError::ZetaInDomain);
}

// ---- Accepted by both, and still no good ----

/// A state of 2^5 slots with the world's content, and one slot that no batch here touches.
fn state_of(world: &World) -> StateVector {
    let srs = Arc::new(Srs::insecure_dev(5, "exceptions").unwrap());
    let occupied = world.ledger.occupied().map(|(id, slot)| (id, slot.columns()));
    StateVector::new(srs, occupied.chain([(SlotId(20), world.ledger.get(SlotId(1)).columns())])).unwrap()
}

/// The opening refuses it, at the sealer and on L1: E is not the state's.
#[test]
fn old_contents_and_slots_that_the_state_does_not_have_are_left_to_the_opening() {
    let (world, honest, challenges) = rich_batch();
    let state = state_of(&world);
    let step = state.prepare(&honest.touched_slots()).unwrap();
    let quotient = state.quotient(&step, challenges.rho).unwrap();
    let open = |batch: &Batch| state.open(&step, &quotient, challenges.zeta, batch.claims(&challenges), Fr::from(5u64));
    assert!(open(&honest).is_ok());
    let mut richer = honest.clone();
    account(&mut richer, 6).old.balance.0 += 1;
    account(&mut richer, 6).new.balance.0 += 1;
    let mut beyond = honest.clone();
    account(&mut beyond, 8).id = SlotId(1 << 5);
    for (batch, refused) in [(richer, PrepareError::OldValues(SlotId(6))), (beyond, PrepareError::Outside { slot: SlotId(1 << 5), k: 5 })] {
        assert_eq!((batch.check(), verdict(&batch, &challenges)), (Ok(()), Verdict::Satisfied));
        assert_eq!(state.prepare(&batch.touched_slots()).unwrap_err(), refused);
        assert_eq!(open(&batch).unwrap_err(), OpenError::False);
    }
}

/// L1 refuses each: `KeyOutOfRange`, `OwnerIsZero`, `TokenNotListed`.
#[test]
fn a_deposit_without_key_owner_or_token_is_left_to_l1() {
    let triple = rich_batch().1.deposits[0].triple;
    let without = [Triple { key: Fr::from(0u64), ..triple }, Triple { owner: Address([0; 20]), ..triple }, Triple { token: TokenId(0), ..triple }];
    for triple in without {
        let opened = verdicts(|_, batch| {
            batch.deposits[0].triple = triple;
            account(batch, 7).new.triple = triple;
            account(batch, 7).key = triple.key;
        });
        assert_eq!(opened, (Ok(()), Verdict::Satisfied), "{triple:?}");
    }
}

/// L1 refuses each at the commit, as it does for deposits.
#[test]
fn a_register_without_key_owner_or_token_is_left_to_l1() {
    let triple = requests_batch().1.registers[0].signed.op.account;
    let without = [Triple { key: Fr::from(0u64), ..triple }, Triple { owner: Address([0; 20]), ..triple }, Triple { token: TokenId(0), ..triple }];
    for triple in without {
        let opened = verdicts_of_requests(|world, batch| {
            let op = Register { account: triple, ..batch.registers[0].signed.op };
            batch.registers[0] = world.sign_register(op, SlotId(7), 2);
            let account = account(batch, 7);
            (account.new.triple, account.key) = (triple, triple.key);
        });
        assert_eq!(opened, (Ok(()), Verdict::Satisfied), "{triple:?}");
    }
}

/// L1 never has it: nobody sends from the zero address, which is the owner of empty slots.
#[test]
fn a_request_of_nobody_for_an_empty_slot_is_left_to_l1() {
    let nobodys = verdicts_of_requests(|_, batch| {
        batch.rotations[0].found = Found { slot: SlotId(8), triple: Slot::EMPTY.triple, requester: Address([0; 20]) };
        let key = batch.rotations[0].new_key;
        let slot = account(batch, 5);
        (slot.reads, slot.rotates, slot.new) = (0, false, slot.old);
        let empty = account(batch, 8);
        (empty.reads, empty.rotates, empty.new.triple.key) = (1, true, key);
    });
    assert_eq!(nobodys, (Ok(()), Verdict::Satisfied));
}

/// What the list promises of the public inputs: only these six depend on what a prover says.
#[test]
fn a_changed_old_value_shows_in_e() {
    let (_, mut batch, challenges) = rich_batch();
    let honest = batch.public_inputs(&challenges);
    account(&mut batch, 6).old.balance.0 += 1;
    account(&mut batch, 6).new.balance.0 += 1;
    let changed = batch.public_inputs(&challenges);
    let differ: Vec<usize> = (0..honest.len()).filter(|input| honest[*input] != changed[*input]).collect();
    assert_eq!(differ, [PublicInput::H as usize, PublicInput::E as usize]);
}
