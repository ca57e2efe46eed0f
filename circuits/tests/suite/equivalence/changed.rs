//! Batches of which one number is changed, re-signed where a signature covers it: native check and circuit agree on each, and every
//! kind of change is seen both to be harmless and to be refused.

use crate::world::{TOKEN, Verdict, World, verdict};
use ark_bn254::Fr;
use rand::Rng;
use rayon::prelude::*;
use sheaf_protocol::amount::{Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId, TokenId};
use sheaf_protocol::batch::{AccountSlot, Batch, BatchError, Challenges, Exit, Operations, Rotation, Signed};
use sheaf_protocol::ops::{Register, Transfer, Withdraw};
use std::collections::BTreeMap;

/// Changed batches of each kind of change.
const CASES: usize = 12;

/// Where a kind of change happens, another place in every case; `by` is 0, which mostly changes nothing, in one case of four.
struct Change<'a> {
    world: &'a World,
    batch: Batch,
    which: usize,
    by: u32,
}

impl Change<'_> {
    fn account(&mut self) -> &mut AccountSlot {
        let which = self.which % self.batch.accounts.len();
        &mut self.batch.accounts[which]
    }

    /// Changes a transfer, and signs it again.
    fn transfer(&mut self, change: impl FnOnce(&mut Transfer)) {
        let which = self.which % self.batch.transfers.len();
        let mut op = self.batch.transfers[which].op;
        change(&mut op);
        self.batch.transfers[which] = self.world.sign_transfer(op, op.from.0);
    }

    fn unsigned(&mut self, change: impl FnOnce(&mut Signed<Transfer>)) {
        let which = self.which % self.batch.transfers.len();
        change(&mut self.batch.transfers[which]);
    }

    fn withdrawal(&mut self, change: impl FnOnce(&mut Withdraw)) {
        let which = self.which % self.batch.withdrawals.len();
        let mut op = self.batch.withdrawals[which].op;
        change(&mut op);
        self.batch.withdrawals[which] = self.world.sign_withdrawal(op, op.from.0);
    }

    /// Changes the register, and signs it again.
    fn register(&mut self, change: impl FnOnce(&mut Register)) {
        let registered = &mut self.batch.registers[0];
        let mut op = registered.signed.op;
        change(&mut op);
        *registered = self.world.sign_register(op, registered.new, op.from.0);
    }

    fn exit(&mut self) -> &mut Exit {
        &mut self.batch.exits[0]
    }

    fn rotation(&mut self) -> &mut Rotation {
        &mut self.batch.rotations[0]
    }

    fn at(&mut self, slot: SlotId) -> &mut AccountSlot {
        self.batch.accounts.iter_mut().find(|account| account.id == slot).unwrap()
    }

    fn deposited(&mut self) -> &mut AccountSlot {
        self.at(self.batch.deposits[self.which % 2].slot)
    }
}

/// How the circuit may refuse a kind of change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// By a row.
    ByRows,
    /// There is no witness, since a signature does not verify.
    ForWantOfASignature,
}

type Kind = (&'static str, Refused, fn(&mut Change<'_>));

fn kinds_of_accounts() -> Vec<Kind> {
    use Refused::ByRows;
    vec![
        ("new balance up", ByRows, |c| c.account().new.balance.0 += u128::from(c.by)),
        ("new balance down", ByRows, |c| c.account().new.balance.0 = c.account().new.balance.0.wrapping_sub(u128::from(c.by))),
        ("old balance", ByRows, |c| c.account().old.balance.0 += u128::from(c.by)),
        ("both balances", ByRows, |c| {
            // 2^120 is no balance
            let by = u128::from(c.by) << 118;
            let account = c.account();
            (account.old.balance.0, account.new.balance.0) = (account.old.balance.0 + by, account.new.balance.0 + by);
        }),
        ("new nonce", ByRows, |c| c.account().new.nonce.0 = c.account().new.nonce.0.wrapping_add(c.by)),
        ("old nonce", ByRows, |c| c.account().old.nonce.0 = c.account().old.nonce.0.wrapping_sub(c.by)),
        ("both nonces", ByRows, |c| {
            let (by, account) = (c.by, c.account());
            account.old.nonce.0 = account.old.nonce.0.wrapping_sub(by);
            account.new.nonce.0 = account.new.nonce.0.wrapping_sub(by);
        }),
        ("signatures counted", ByRows, |c| c.account().signed += c.by as u16),
        ("openings counted", ByRows, |c| c.account().opens += c.by as u8),
        ("reads counted", ByRows, |c| c.account().reads += c.by as u8),
        ("mark of an exit", ByRows, |c| c.account().exits ^= c.by % 2 == 1),
        ("mark of a rotation", ByRows, |c| c.account().rotates ^= c.by % 2 == 1),
        ("openness", ByRows, |c| c.account().is_new ^= c.by % 2 == 1),
        ("new key", ByRows, |c| {
            let by = Fr::from(c.by);
            c.account().new.triple.key += by;
        }),
        ("old key", ByRows, |c| {
            let by = Fr::from(c.by);
            c.account().old.triple.key += by;
        }),
        ("all keys", ByRows, |c| {
            let (by, account) = (Fr::from(c.by), c.account());
            (account.old.triple.key, account.new.triple.key) = (account.old.triple.key + by, account.new.triple.key + by);
            account.key += by;
        }),
        ("key seen", ByRows, |c| {
            let by = Fr::from(c.by);
            c.account().key += by;
        }),
        ("new owner", ByRows, |c| c.account().new.triple.owner.0[3] ^= c.by as u8),
        ("old owner", ByRows, |c| c.account().old.triple.owner.0[3] ^= c.by as u8),
        ("both owners", ByRows, |c| {
            let (by, account) = (c.by as u8, c.account());
            (account.old.triple.owner.0[0], account.new.triple.owner.0[0]) = (account.old.triple.owner.0[0] ^ by, account.new.triple.owner.0[0] ^ by);
        }),
        ("new token", ByRows, |c| c.account().new.triple.token.0 ^= c.by as u16),
        ("old token", ByRows, |c| c.account().old.triple.token.0 ^= c.by as u16),
        ("both tokens", ByRows, |c| {
            let (by, account) = (c.by as u16, c.account());
            (account.old.triple.token.0, account.new.triple.token.0) = (account.old.triple.token.0 ^ by, account.new.triple.token.0 ^ by);
        }),
        ("index", ByRows, |c| c.account().id.0 += c.by),
        ("order of the slots", ByRows, |c| {
            let (first, second) = (c.which % 8, (c.which + c.by as usize) % 8);
            c.batch.accounts.swap(first, second);
        }),
        ("a slot twice", ByRows, |c| {
            let (first, second) = (c.which % 8, (c.which + c.by as usize) % 8);
            c.batch.accounts[second] = c.batch.accounts[first];
        }),
    ]
}

fn kinds_of_transfers() -> Vec<Kind> {
    use Refused::{ByRows, ForWantOfASignature};
    vec![
        ("transfer's nonce", ByRows, |c| {
            let by = c.by;
            c.transfer(|op| op.nonce.0 ^= by);
        }),
        ("transfer's token", ByRows, |c| {
            let by = c.by as u16;
            c.transfer(|op| op.token.0 ^= by);
        }),
        ("transfer's receiver", ByRows, |c| {
            let by = c.by;
            c.transfer(|op| op.to.0 ^= by);
        }),
        ("transfer's payer", ByRows, |c| {
            let by = c.by;
            c.transfer(|op| op.from.0 = (op.from.0 + by - 1) % 4 + 1);
        }),
        ("transfer's amount", ByRows, |c| {
            let by = u128::from(c.by);
            c.transfer(|op| op.amount = AmountFloat::round_down(Amount(op.amount.amount().0 + by)));
        }),
        ("transfer's fee", ByRows, |c| {
            let by = u128::from(c.by);
            c.transfer(|op| op.fee = FeeFloat::from_amount(Amount(op.fee.amount().0 + by)).unwrap());
        }),
        ("transfer's spelling of the amount", ByRows, |c| {
            // mantissa / 10 and exponent + 1 are the same amount if the mantissa ends in 0
            let by = u64::from(c.by % 2);
            c.transfer(|op| op.amount = AmountFloat::from_packed(op.amount.mantissa() / 10u64.pow(by as u32) + (by << 36)).unwrap());
        }),
        ("transfer's signer", ByRows, |c| {
            let (by, world) = (c.by, c.world);
            c.unsigned(|signed| *signed = world.sign_transfer(signed.op, (signed.op.from.0 + by - 1) % 4 + 1));
        }),
        ("transfer's message under its signature", ForWantOfASignature, |c| {
            let by = c.by;
            c.unsigned(|signed| signed.op.to.0 ^= by);
        }),
        ("transfer's key under its signature", ForWantOfASignature, |c| {
            let (by, world) = (c.by, c.world);
            c.unsigned(|signed| signed.key = world.keys[((signed.op.from.0 + by - 1) % 4 + 1) as usize].public().0);
        }),
        ("transfer's S", ForWantOfASignature, |c| {
            let by = c.by;
            c.unsigned(|signed| signed.signature.s += sheaf_protocol::schnorr::Scalar::from(by));
        }),
        ("transfer's R", ForWantOfASignature, |c| {
            let by = c.by;
            c.unsigned(|signed| signed.signature.r_x += Fr::from(by));
        }),
        ("domain", ForWantOfASignature, |c| c.batch.domain += Fr::from(c.by)),
        ("number of transfers", ByRows, |c| c.batch.transfers.truncate(4 - c.by as usize)),
    ]
}

fn kinds_of_others() -> Vec<Kind> {
    use Refused::{ByRows, ForWantOfASignature};
    vec![
        ("withdrawal's amount", ByRows, |c| {
            let by = u128::from(c.by);
            c.withdrawal(|op| op.amount.0 += by);
        }),
        ("withdrawal's fee", ByRows, |c| {
            let by = u128::from(c.by);
            c.withdrawal(|op| op.fee = FeeFloat::from_amount(Amount(op.fee.amount().0 + by)).unwrap());
        }),
        ("withdrawal's nonce", ByRows, |c| {
            let by = c.by;
            c.withdrawal(|op| op.nonce.0 ^= by);
        }),
        ("withdrawal's token", ByRows, |c| {
            let by = c.by as u16;
            c.withdrawal(|op| op.token.0 ^= by);
        }),
        ("withdrawal's payer", ByRows, |c| {
            let by = c.by;
            c.withdrawal(|op| op.from.0 = (op.from.0 + by - 1) % 4 + 1);
        }),
        ("withdrawal's address", ForWantOfASignature, |c| {
            // signed again in every other case
            let by = c.by;
            c.withdrawal(|op| op.address.0[0] ^= by as u8);
            c.batch.withdrawals[0].op.address.0[1] ^= (by % 2) as u8;
        }),
        ("deposit's amount", ByRows, |c| c.batch.deposits[c.which % 2].amount.0 += u128::from(c.by)),
        ("deposit's amount and the balance it makes", ByRows, |c| {
            c.deposited().new.balance.0 += u128::from(c.by);
            c.batch.deposits[c.which % 2].amount.0 += u128::from(c.by);
        }),
        ("deposit's owner", ByRows, |c| c.batch.deposits[c.which % 2].triple.owner.0[5] ^= c.by as u8),
        ("deposit's key", ByRows, |c| c.batch.deposits[c.which % 2].triple.key += Fr::from(c.by)),
        ("deposit's token", ByRows, |c| c.batch.deposits[c.which % 2].triple.token.0 ^= c.by as u16),
        ("deposit's slot", ByRows, |c| c.batch.deposits[c.which % 2].slot.0 += c.by),
        ("number of deposits", ByRows, |c| c.batch.deposits.truncate(2 - (c.by % 3) as usize)),
        ("fee's total", ByRows, |c| c.batch.fees[c.which % 2].total.0 += u128::from(c.by)),
        ("fee's slot", ByRows, |c| c.batch.fees[c.which % 2].slot.0 += c.by),
        ("fee's token", ByRows, |c| c.batch.fees[1].token.0 += c.by as u16),
        ("number of fees", ByRows, |c| c.batch.fees.truncate(2 - (c.by % 3) as usize)),
    ]
}

fn kinds_of_registers() -> Vec<Kind> {
    use Refused::{ByRows, ForWantOfASignature};
    vec![
        ("register's nonce", ByRows, |c| {
            let by = c.by;
            c.register(|op| op.nonce.0 ^= by);
        }),
        ("register's token", ByRows, |c| {
            let by = c.by as u16;
            c.register(|op| op.token.0 ^= by);
        }),
        ("register's fee", ByRows, |c| {
            let by = u128::from(c.by);
            c.register(|op| op.fee = FeeFloat::from_amount(Amount(op.fee.amount().0 + by)).unwrap());
        }),
        ("register's sponsor", ByRows, |c| {
            let by = c.by;
            c.register(|op| op.from.0 = (op.from.0 + by - 1) % 4 + 1);
        }),
        ("key of a register's account", ByRows, |c| {
            let by = Fr::from(c.by);
            c.register(|op| op.account.key += by);
        }),
        ("owner of a register's account", ByRows, |c| {
            let by = c.by as u8;
            c.register(|op| op.account.owner.0[7] ^= by);
        }),
        ("token of a register's account", ByRows, |c| {
            let by = c.by as u16;
            c.register(|op| op.account.token.0 ^= by);
        }),
        ("slot that a register opens", ByRows, |c| c.batch.registers[0].new.0 += c.by),
        ("register's signer", ByRows, |c| {
            let (by, world) = (c.by, c.world);
            let registered = &mut c.batch.registers[0];
            *registered = world.sign_register(registered.signed.op, registered.new, (registered.signed.op.from.0 + by - 1) % 4 + 1);
        }),
        ("account under a register's signature", ForWantOfASignature, |c| c.batch.registers[0].signed.op.account.owner.0[0] ^= c.by as u8),
        ("number of registers", ByRows, |c| c.batch.registers.truncate(1 - (c.by % 2) as usize)),
    ]
}

fn kinds_of_requests() -> Vec<Kind> {
    use Refused::ByRows;
    vec![
        ("who asks for an exit", ByRows, |c| c.exit().found.requester.0[2] ^= c.by as u8),
        ("who asks for an exit, and what it does", ByRows, |c| {
            // by 1, consistently: a stranger's exit does nothing; by 2, the amount stays
            let (by, id) = (c.by, c.exit().found.slot);
            c.exit().found.requester.0[2] ^= by as u8;
            if by == 1 {
                let left = std::mem::take(&mut c.exit().amount);
                let account = c.at(id);
                (account.exits, account.new.balance) = (false, left);
            }
        }),
        ("exit's amount", ByRows, |c| c.exit().amount.0 += u128::from(c.by)),
        ("exit's amount and what it leaves", ByRows, |c| {
            let (by, id) = (u128::from(c.by), c.exit().found.slot);
            c.exit().amount.0 -= by;
            c.at(id).new.balance.0 += by;
        }),
        ("exit's amount and what was there", ByRows, |c| {
            // by 3, more was there than leaves
            let (by, id) = (u128::from(c.by), c.exit().found.slot);
            c.exit().amount.0 += by;
            c.at(id).old.balance.0 += if by == 3 { 4 } else { by };
        }),
        ("owner that an exit finds", ByRows, |c| c.exit().found.triple.owner.0[1] ^= c.by as u8),
        ("key that an exit finds", ByRows, |c| {
            let by = Fr::from(c.by);
            c.exit().found.triple.key += by;
        }),
        ("token that an exit finds", ByRows, |c| c.exit().found.triple.token.0 ^= c.by as u16),
        ("exit's slot", ByRows, |c| c.exit().found.slot.0 += c.by),
        ("number of exits", ByRows, |c| c.batch.exits.truncate(1 - (c.by % 2) as usize)),
        ("who asks for a rotation", ByRows, |c| c.rotation().found.requester.0[2] ^= c.by as u8),
        ("who asks for a rotation, and what it does", ByRows, |c| {
            // by 1, consistently: a stranger's rotation does nothing; by 2, the key changes all the same
            let (by, id) = (c.by, c.rotation().found.slot);
            c.rotation().found.requester.0[2] ^= by as u8;
            if by == 1 {
                let account = c.at(id);
                (account.rotates, account.new.triple.key) = (false, account.key);
            }
        }),
        ("rotation's key", ByRows, |c| {
            let by = Fr::from(c.by);
            c.rotation().new_key += by;
        }),
        ("rotation's key and the state's", ByRows, |c| {
            // by 3, the state's is another
            let (by, id) = (Fr::from(c.by), c.rotation().found.slot);
            c.rotation().new_key += by;
            let others = if c.by == 3 { by + by } else { by };
            c.at(id).new.triple.key += others;
        }),
        ("owner that a rotation finds", ByRows, |c| c.rotation().found.triple.owner.0[1] ^= c.by as u8),
        ("key that a rotation finds", ByRows, |c| {
            let by = Fr::from(c.by);
            c.rotation().found.triple.key += by;
        }),
        ("token that a rotation finds", ByRows, |c| c.rotation().found.triple.token.0 ^= c.by as u16),
        ("rotation's slot", ByRows, |c| c.rotation().found.slot.0 += c.by),
        ("number of rotations", ByRows, |c| c.batch.rotations.truncate(1 - (c.by % 2) as usize)),
    ]
}

/// Slots 1 to 4 hold something, slot 5 is opened, paid and spent from in one batch, the sponsor 4 opens 6 and leaves, slot 3 takes another key,
/// 7 and 8 pad. At the edges slot 1 signs its last
/// nonces, and the deposits fill slot 3 up to 2^120 - 1.
fn batch(seed: u64, at_the_edges: bool) -> (World, Batch) {
    let mut world = World::new(seed, 4);
    if at_the_edges {
        world.change(1, |slot| slot.nonce = Nonce(u32::MAX - 2));
        world.change(3, |slot| slot.balance = Amount((1 << 120) - 1 - 90_000 - 60));
        world.change(2, |slot| slot.balance = Amount((1 << 119) + 7));
    }
    let mut rng = world.rng.clone();
    let small: [u128; 3] = std::array::from_fn(|_| rng.gen_range(1..100));
    let transfers = vec![
        world.transfer(1, 3, 0, 90_000, 30),
        world.transfer(2, 4, 0, small[0], 10),
        world.transfer(1, 5, 1, 10 * small[1], 20),
        world.transfer(5, 1, 0, small[1], 40),
    ];
    let withdrawals = vec![world.withdrawal(2, 1, small[2], 5), world.withdrawal(4, 0, 20, 0)];
    let deposits = vec![world.deposit(3, 60), world.deposit(5, 1_000)];
    let operations = Operations {
        transfers,
        withdrawals,
        registers: vec![world.register(4, 1, 6, 3)],
        deposits,
        exits: vec![World::request(4, 4)],
        rotations: vec![(World::request(3, 3), world.keys[0].public().0)],
    };
    let batch = world.assemble_all(operations).unwrap();
    assert_eq!(batch.fees.iter().map(|fee| fee.token).collect::<Vec<TokenId>>(), [NATIVE, TOKEN]);
    assert!(!at_the_edges || batch.accounts.iter().any(|account| account.id == SlotId(3) && account.new.balance.0 == (1 << 120) - 1));
    assert!(!at_the_edges || batch.accounts.iter().any(|account| account.id == SlotId(1) && account.new.nonce.0 == u32::MAX));
    (world, batch)
}

struct Base {
    world: World,
    batch: Batch,
    challenges: Challenges,
}

fn base(case: usize) -> Base {
    let (mut world, batch) = batch(case as u64, case % 2 == 1);
    let challenges = world.challenges();
    Base { world, batch, challenges }
}

fn verdicts_agree(&(name, refused, change): &Kind, case: usize, Base { world, batch, challenges }: &Base) -> bool {
    let mut changing = Change { world, batch: batch.clone(), which: 3 * case + case / 8, by: (case / 2 % 4) as u32 };
    change(&mut changing);
    let (native, circuit) = (changing.batch.check(), verdict(&changing.batch, challenges));
    assert_eq!(native.is_ok(), circuit == Verdict::Satisfied, "{name}, case {case}: {native:?}, circuit {circuit:?}");
    assert!(refused == Refused::ForWantOfASignature || circuit != Verdict::NoWitness, "{name}, case {case} never reaches the circuit");
    native.is_ok()
}

#[test]
fn native_rules_and_circuit_agree_on_changed_batches() {
    let kinds: Vec<Kind> =
        [kinds_of_accounts(), kinds_of_transfers(), kinds_of_others(), kinds_of_registers(), kinds_of_requests()].into_iter().flatten().collect();
    let bases: Vec<Base> = (0..CASES).map(base).collect();
    let cases: Vec<(&Kind, usize)> = kinds.iter().flat_map(|kind| (0..CASES).map(move |case| (kind, case))).collect();
    assert!(cases.len() >= 300, "{} cases", cases.len());
    let verdicts: Vec<(&str, bool)> = cases.par_iter().map(|(kind, case)| (kind.0, verdicts_agree(kind, *case, &bases[*case]))).collect();
    let mut seen: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (name, accepted) in verdicts {
        let (good, bad) = seen.entry(name).or_default();
        if accepted { *good += 1 } else { *bad += 1 }
    }
    let one_sided: Vec<_> = seen.iter().filter(|(_, (good, bad))| *good == 0 || *bad == 0).collect();
    assert!(one_sided.is_empty(), "only one verdict was seen: {one_sided:?}");
}

/// The last nonce is used by the signature before it: 2^32 - 1 can be the state's, but not a signature's.
#[test]
fn the_last_nonce_cannot_be_signed() {
    let (world, _) = batch(1, true);
    let [first, second, last] = [0, 1, 2].map(|ahead| world.transfer(1, 3, ahead, 1, 0));
    assert_eq!(last.op.nonce, Nonce(u32::MAX));
    assert!(world.assemble(vec![first.clone(), second.clone()], vec![], vec![]).is_ok());
    assert_eq!(world.assemble(vec![first, second, last], vec![], vec![]), Err(BatchError::Range("nonce")));
}
