//! The deletion score of the `test` circuit: a row counts as guarded if some false witness violates it alone, so that the row could not be
//! deleted without letting that witness pass.
//!
//! ```text
//! alone         the witness violates this row and no other
//! programmed    this row, and one of the challenge's hash: a lie inside a signature changes R and so e. Who could choose what the hash
//!               answers would need nothing else; the row before the last is the one that keeps the answer
//! ```
//!
//! Witnesses: every forgery, every variable with a lie that all others follow, digits that are no bits, fractions that absorb the lie of
//! a bus, and the rules of every slot. `unguarded.txt` lists what neither guards, with reasons.

use super::holder::{self, SIGNATURES};
use super::{nightly, times};
use crate::counts::golden;
use crate::forgery::{self, Base, Forge, variables_of};
use crate::world::test_circuit;
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;
use sheaf_circuits::builder::{Section, VarIndex};
use sheaf_circuits::slots::account::AccountWitness;
use sheaf_circuits::slots::deposit::DepositWitness;
use sheaf_circuits::slots::exit::ExitWitness;
use sheaf_circuits::witness::{register_witness, transfer_witness, withdraw_witness};
use sheaf_protocol::amount::{SlotId, TokenId};
use sheaf_protocol::batch::{PUBLIC_INPUTS, account_pole};
use sheaf_protocol::field::pow2;
use sheaf_protocol::ops::{Register, Transfer, Withdraw};
use sheaf_protocol::poseidon::params;
use sheaf_protocol::schnorr::BETA;
use std::collections::{BTreeMap, BTreeSet};

/// One false witness.
pub(super) type Lie = Box<dyn Fn(&mut Forge) + Sync>;

fn fr(value: i64) -> Fr {
    Fr::from(value)
}

/// Rows that some witness violates alone, or but for the hash.
#[derive(Default)]
struct Guarded {
    witnesses: usize,
    alone: BTreeSet<usize>,
    programmed: BTreeSet<usize>,
}

impl Guarded {
    fn record(&mut self, lies: usize, found: Vec<Found>) {
        self.witnesses += lies;
        for row in found {
            match row {
                Found::Alone(row) => self.alone.insert(row),
                Found::Programmed(row) => self.programmed.insert(row),
            };
        }
    }

    fn holds(&self, row: usize) -> bool {
        self.alone.contains(&row) || self.programmed.contains(&row)
    }

    /// Evaluates the witness of each lie, in the short run of one in `short`.
    fn add(&mut self, name: &str, base: Base, lies: Vec<Lie>, short: usize) {
        let lies: Vec<Lie> = lies.into_iter().step_by(times(short as u64, 1) as usize).collect();
        let found: Vec<Found> = lies.par_iter().filter_map(|lie| evaluate(base, lie)).collect();
        println!("{name}, {base:?}: {} of {} witnesses violate one row", found.len(), lies.len());
        self.record(lies.len(), found);
    }
}

enum Found {
    Alone(usize),
    Programmed(usize),
}

fn evaluate(base: Base, lie: &Lie) -> Option<Found> {
    let mut forge = Forge::on(base);
    lie(&mut forge);
    judge(forge)
}

/// What a false witness violates, once a signature's digits are made to fit and its hash to answer.
fn judge(mut forge: Forge) -> Option<Found> {
    let mut rows = forge.violations();
    let digits = |group: &str| group.ends_with("signature.digits_low") || group.ends_with("signature.digits_high");
    if let Some(section) = rows.iter().find(|row| digits(&row.group)).map(|row| row.section)
        && rows.len() > 1
    {
        program(&mut forge, section);
        rows = forge.violations();
    }
    match &rows[..] {
        [row] => Some(Found::Alone(row.row)),
        [first, second] => {
            let row = if is_answer(first.row) { second } else { first };
            (is_answer(first.row) != is_answer(second.row)).then_some(Found::Programmed(row.row))
        }
        _ => None,
    }
}

/// The last product of the hash's first S-box in the last round: the row that says what e is.
fn answer(section: Section) -> VarIndex {
    let hash = variables_of(section, "signature.hash");
    hash[hash.len() - 10]
}

fn is_answer(row: usize) -> bool {
    let circuit = test_circuit();
    let (group, section) = circuit.layout().row(row);
    group.ends_with("signature.hash") && {
        let output = answer(section) as usize;
        circuit.row(2, row).any(|(_, variable)| variable == output)
    }
}

/// What the row's three products are.
fn products(forge: &Forge, row: usize) -> [Fr; 3] {
    test_circuit().products(row, &forge.assignment())
}

fn row_of(section: Section, group: &str) -> usize {
    let (circuit, full) = (test_circuit(), format!("{}.{group}", section.0));
    (0..circuit.constraints()).find(|row| circuit.layout().row(*row) == (full.as_str(), section)).unwrap()
}

/// Makes h1 and e what the ladder's digits say: h1 is free, e is what the hash is made to answer. The rest of e stays.
fn program(forge: &mut Forge, section: Section) {
    for bit in variables_of(section, "signature.challenge_range") {
        let value = forge.honest_value(bit);
        forge.tampering.entry(bit).or_insert(value);
    }
    let missing = |forge: &Forge, group: &str| {
        let [a, b, c] = products(forge, row_of(section, group));
        c * a.inverse().unwrap_or_default() - b
    };
    let high = missing(forge, "signature.digits_high") / (BETA - Fr::ONE);
    forge.shift(variables_of(section, "signature.digits_high")[0], high);
    let low = missing(forge, "signature.digits_low") / fr(2);
    forge.shift(answer(section), low / params(4).mds[0][0]);
}

// ---- One variable, which all others follow ----

/// Every variable whose slot and group has a row without a guard.
fn followed(guarded: &Guarded) -> Vec<Lie> {
    let (circuit, layout) = (test_circuit(), test_circuit().layout());
    let open: BTreeSet<(&str, Section)> = (0..circuit.constraints()).filter(|row| !guarded.holds(*row)).map(|row| layout.row(row)).collect();
    let wanted = (0..circuit.witness_variables()).filter(|witness| open.contains(&layout.variable(*witness)));
    let variables = wanted.map(|witness| (witness + 1 + PUBLIC_INPUTS) as VarIndex);
    variables.map(|variable| -> Lie { Box::new(move |f| f.shift(variable, fr(5))) }).collect()
}

// ---- Digits ----

/// Keeps the number and makes digit `at` no bit: the digit above is flipped, or the lowest for the top one.
fn no_bit(digits: Vec<VarIndex>, at: usize) -> Lie {
    Box::new(move |f| {
        let flipped = if at + 1 < digits.len() { at + 1 } else { 0 };
        let [false_bit, bit] = [at, flipped].map(|digit| f.value(digits[digit]));
        let by = Fr::ONE - bit.double();
        f.set(digits[flipped], bit + by);
        f.set(digits[at], false_bit - by * pow2(flipped as u64) / pow2(at as u64));
    })
}

/// A slot's numbers, digit by digit.
fn digits_of_slots() -> Vec<Lie> {
    let layout = test_circuit().layout();
    let sections: BTreeSet<Section> = (0..test_circuit().constraints()).map(|row| layout.row(row).1).collect();
    let mut lies = Vec::new();
    for (_, (kind, _), groups) in forgery::ranged() {
        for section in sections.iter().filter(|section| section.0 == kind) {
            for (group, numbers) in &groups {
                let mut digits = variables_of(*section, group);
                for (_, width) in *numbers {
                    let rest = digits.split_off(*width);
                    lies.extend((0..*width).map(|at| no_bit(digits.clone(), at)));
                    digits = rest;
                }
            }
        }
    }
    lies
}

/// Differences of indices: the lowest digit is no variable but what the others leave.
fn digits_of_differences() -> Vec<Lie> {
    let mut lies: Vec<Lie> = Vec::new();
    for high in variables_of(("batch", 0), "sorted").chunks(23) {
        lies.extend((0..high.len()).map(|at| no_bit(high.to_vec(), at)));
        let second = high[0];
        lies.push(Box::new(move |f| {
            let bit = f.value(second);
            f.set(second, Fr::ONE - bit);
        }));
    }
    lies
}

// ---- Buses ----

/// A bus that does not add up, and every fraction on it that could make up for it.
fn absorbed(bus: &'static str, story: fn(&mut Forge)) -> Vec<Lie> {
    let row = row_of(("batch", 0), bus);
    let terms: Vec<(Fr, usize)> = test_circuit().row(0, row).collect();
    let lie = |(factor, variable): (Fr, usize)| -> Lie {
        Box::new(move |f| {
            story(f);
            let [sum, _, _] = products(f, row);
            f.shift(variable as VarIndex, -sum / factor);
        })
    };
    terms.into_iter().map(lie).collect()
}

fn buses() -> Vec<Lie> {
    type Story = (&'static str, fn(&mut Forge));
    let stories: [Story; 7] = [
        ("balance_bus", |f| f.account(3).balance += Fr::ONE),
        ("key_bus", |f| f.account(1).key += Fr::ONE),
        ("nonce_bus", |f| {
            f.account(1).nonce += Fr::ONE;
            f.account(1).dyn_old += pow2(128);
        }),
        ("open_bus", |f| f.account(3).openings += Fr::ONE),
        ("read_bus", |f| f.account(3).reads += Fr::ONE),
        ("exit_bus", |f| f.account(8).exits = Fr::ONE),
        ("rotate_bus", |f| f.account(3).rotates = Fr::ONE),
    ];
    stories.into_iter().flat_map(|(bus, story)| absorbed(bus, story)).collect()
}

// ---- Rules of every slot, in a batch without operations and accounts ----

fn accounts() -> Vec<Lie> {
    /// A deposit or a request for the slot, so that its bus adds up.
    fn pole(idx: usize) -> Fr {
        account_pole(SlotId(idx as u32), TokenId(0))
    }
    fn opened(f: &mut Forge, idx: usize) {
        f.witness.deposits[0] = DepositWitness { pole: pole(idx), ..DepositWitness::default() };
        f.account(idx).openings = Fr::ONE;
    }
    let rules: [fn(&mut Forge, usize); 9] = [
        |f, idx| {
            opened(f, idx);
            f.account(idx).is_new = fr(2);
        },
        |f, idx| {
            opened(f, idx);
            let account = f.account(idx);
            (account.is_new, account.dyn_old, account.balance) = (Fr::ONE, fr(5), fr(5));
        },
        |f, idx| {
            opened(f, idx);
            f.witness.deposits[0].amount = pow2(128);
            let account = f.account(idx);
            (account.is_new, account.nonce) = (Fr::ONE, Fr::ONE);
        },
        |f, idx| f.account(idx).is_new = Fr::ONE,
        |f, idx| {
            f.witness.exits[0] = ExitWitness { pole: pole(idx), ..ExitWitness::default() };
            let account = f.account(idx);
            (account.reads, account.exits, account.dyn_old, account.balance) = (Fr::ONE, Fr::ONE, fr(5), fr(5));
        },
        |f, idx| {
            f.shift(variables_of(("account", idx - 1), "old_balance")[0], fr(5) / pow2(168));
            f.account(idx).balance = fr(5);
        },
        |f, idx| {
            let other = if idx == 1 { 2 } else { 1 };
            f.account(other).exits = Fr::ONE;
            f.account(idx).exits = f.ratio(idx, other);
        },
        |f, idx| {
            let other = if idx == 1 { 2 } else { 1 };
            f.account(other).rotates = Fr::ONE;
            f.account(idx).rotates = f.ratio(idx, other);
        },
        |f, idx| {
            // the inverse that no row but its own knows
            opened(f, idx);
            f.set(variables_of(("account", idx - 1), "new_needs_an_opening")[0], fr(7));
        },
    ];
    rules.into_iter().flat_map(|rule| (1..=8).map(move |idx| -> Lie { Box::new(move |f| rule(f, idx)) })).collect()
}

impl Forge {
    /// What stands against 1 at the pole of `other`.
    fn ratio(&self, idx: usize, other: usize) -> Fr {
        let zeta = self.witness.inputs[2];
        let at = |idx: usize| zeta - account_pole(SlotId(idx as u32), TokenId(0));
        -at(idx) / at(other)
    }

    /// Slot 0 signs, which nobody holds, with the nonce that an unused slot carries.
    fn nobody_signs(&mut self, key: Fr) {
        self.replace_padding(AccountWitness { key, nonce: Fr::ONE, signatures: Fr::ONE, ..AccountWitness::default() });
    }

    fn enable(&mut self, section: Section) {
        self.set(variables_of(section, "enabled")[0], Fr::ONE);
    }

    /// A fee of 5 of token 0 for slot 0, which pays it.
    fn fee_of_nobody(&mut self) {
        self.witness.fees[0].total = fr(5);
    }
}

fn operations() -> Vec<Lie> {
    let mut lies: Vec<Lie> = Vec::new();
    for i in 0..4 {
        let section = ("transfer", i);
        lies.push(Box::new(move |f| {
            f.enable(section);
            f.nobody_signs(f.witness.transfers[i].signature.key);
        }));
        lies.push(Box::new(move |f| {
            let signed = f.world.sign_transfer(Transfer { from: SlotId(1), ..Transfer::default() }, 1);
            f.witness.transfers[i] = transfer_witness(&signed, f.world.domain).unwrap();
            f.disable(section);
        }));
        lies.push(worth_more(section, "fee_value"));
    }
    for i in 0..2 {
        let section = ("withdraw", i);
        lies.push(Box::new(move |f| {
            f.enable(section);
            f.nobody_signs(f.witness.withdrawals[i].signature.key);
        }));
        let disabled = |i: usize, op: Withdraw| -> Lie {
            Box::new(move |f| {
                let signed = f.world.sign_withdrawal(op, 1);
                f.witness.withdrawals[i] = withdraw_witness(&signed, f.world.domain).unwrap();
                f.disable(("withdraw", i));
            })
        };
        lies.push(disabled(i, Withdraw { from: SlotId(1), ..Withdraw::default() }));
        lies.push(Box::new(move |f| {
            let op = Withdraw { amount: sheaf_protocol::amount::Amount(500), ..Withdraw::default() };
            let signed = f.world.sign_withdrawal(op, 1);
            f.witness.withdrawals[i] = withdraw_witness(&signed, f.world.domain).unwrap();
            f.replace_padding(AccountWitness { dyn_old: fr(500), ..AccountWitness::default() });
        }));
        lies.push(worth_more(section, "fee_value"));
        lies.push(Box::new(move |f| {
            f.witness.deposits[i].pole = account_pole(SlotId(1), TokenId(0));
            f.disable(("deposit", i));
        }));
        lies.push(Box::new(move |f| {
            f.enable(("deposit", i));
            f.replace_padding(AccountWitness { openings: Fr::ONE, ..AccountWitness::default() });
        }));
    }
    lies.push(Box::new(|f| {
        let signed = f.world.sign_register(Register { from: SlotId(1), ..Register::default() }, SlotId(0), 1);
        f.witness.registers[0] = register_witness(&signed, f.world.domain).unwrap();
        f.disable(("register", 0));
    }));
    lies.push(worth_more(("register", 0), "fee_value"));
    lies
}

fn worth_more(section: Section, group: &'static str) -> Lie {
    Box::new(move |f| {
        f.shift(*variables_of(section, group).last().unwrap(), fr(5));
        f.fee_of_nobody();
    })
}

// ---- Inside signatures, where one variable cannot lie alone ----

/// A key off the curve: its square, or its cube, is what the y of another point needs.
fn keys() -> Vec<Lie> {
    let lie = |section: Section, which: usize| -> Lie {
        Box::new(move |f| {
            let signature = f.signature(section);
            signature.key_y += fr(5);
            let (x, cube) = (signature.key, signature.key_y.square() + fr(17));
            let value = if which == 2 { cube / x } else { cube };
            f.set(variables_of(section, "signature.key_on_curve")[which], value);
        })
    };
    SIGNATURES.into_iter().flat_map(|section| [2, 3].map(|which| lie(section, which))).collect()
}

// ---- The score ----

/// Why no witness is known that violates these rows alone.
const REASONS: &str = "\
# Rows of the test circuit that no false witness of the suite violates alone, by constraint group. Written by `make soundness`.
#
# Inside a signature a lie in one of these rows takes the sum off the curve and, unlike a window's point, leaves no choice that brings it back.
# R then is a number that nobody can aim, while e = hash(R) must give the very digits that led to it. So the witnesses violate a row of the hash
# as well, the one that says what it answers:
#   key_on_curve   x^2 and y^2 of a key off the curve (its x^3 alone is violated by a key of small order on another curve)
#   start          the slope of the tangent: no other line through P ends on the curve
#   ladder_digit   a y that is neither root: one that came back to the curve would have to be what e, a hash, spells
";

/// Rows by group, of those for which `wanted` holds.
fn by_group(wanted: impl Fn(usize) -> bool) -> String {
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    for row in (0..test_circuit().constraints()).filter(|row| wanted(*row)) {
        *groups.entry(test_circuit().layout().row(row).0).or_default() += 1;
    }
    groups.into_iter().map(|(group, rows)| format!("  {group} {rows}\n")).collect()
}

fn table(guarded: &Guarded) -> String {
    let but_for_the_hash = by_group(|row| !guarded.alone.contains(&row) && guarded.programmed.contains(&row));
    format!("{REASONS}alone but for the hash:\n{but_for_the_hash}not even so:\n{}", by_group(|row| !guarded.holds(row)))
}

#[test]
fn rows_are_guarded() {
    let mut guarded = Guarded::default();
    for base in [Base::Rich, Base::Requests].into_iter().filter(|_| nightly()) {
        let forgeries: Vec<_> = forgery::all().into_iter().filter(|forgery| forgery.base == base).collect();
        let found = forgeries.par_iter().filter_map(|forgery| judge(forgery.forged())).collect();
        guarded.record(forgeries.len(), found);
    }
    guarded.add("fractions", Base::Rich, buses(), 13);
    guarded.add("fractions", Base::Requests, buses(), 37);
    guarded.add("rules of account slots", Base::Idle, accounts(), 9);
    guarded.add("rules of operations", Base::Idle, operations(), 5);
    guarded.add("digits", Base::Idle, digits_of_slots(), 400);
    guarded.add("digits of differences", Base::Idle, digits_of_differences(), 40);
    guarded.add("signatures of the holder", Base::Idle, holder::lies(), 700);
    guarded.add("keys off the curve", Base::Idle, keys(), 7);
    for base in [Base::Idle, Base::Rich, Base::Requests] {
        guarded.add("followed lies", base, followed(&guarded), 1_600);
    }
    let rows = test_circuit().constraints();
    let (alone, both) = (guarded.alone.len(), (0..rows).filter(|row| guarded.holds(*row)).count());
    let percent = |part: usize| 100.0 * part as f64 / rows as f64;
    println!("{} false witnesses; of {rows} rows {alone} ({:.2} %) are violated alone", guarded.witnesses, percent(alone));
    println!("{both} ({:.2} %) alone but for the hash of a signature", percent(both));
    if nightly() {
        golden("tests/suite/soundness/unguarded.txt", &table(&guarded));
        assert!(percent(alone) >= 95.0 && both == rows);
    } else {
        assert!(alone >= 40, "{alone} rows by a sample of {}", guarded.witnesses);
    }
}
