//! Forged witnesses. Each lies in one place and is consistent everywhere else, so that exactly one constraint group stands
//! between it and a valid proof: take that group away, and the forgery passes. `groups.txt` says which guards which.
//!
//! Some forgeries choose zeta last, which nobody can: where two lies must cancel on a bus, that alone shows what else guards them.
//!
//! What a forger controls: every witness variable, and the public inputs h, E, Z, Delta, y_da, y_ops, which are recomputed from the
//! lie unless L1 fixes them (*pinned*): E and Delta by the state's commitments, y_da and y_ops by the bytes it sees.

mod overflow;
mod registers;
mod requests;
mod signatures;
mod slots;
mod variables;

pub(crate) use variables::ranged;

use crate::counts::golden;
use crate::world::{World, apart, idle_batch, requests_batch, rich_batch, test_circuit, twofold_batch, twofold_circuit};
use ark_bn254::Fr;
use rayon::prelude::*;
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::builder::{Section, Tampering, VarIndex};
use sheaf_circuits::evaluate::Violation;
use sheaf_circuits::witness::BatchWitness;
use sheaf_protocol::batch::{PUBLIC_INPUTS, PublicInput};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::OnceLock;

/// The honest batch that a forgery starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// Transfers, withdrawals, a deposit: see [`rich_batch`].
    Rich,
    /// A register, an exit, a rotation: see [`requests_batch`].
    Requests,
    /// Two of each of these, of which one does nothing, in a circuit of their own: see [`twofold_batch`].
    Twofold,
    /// Nothing happens in a state that holds nothing.
    Idle,
}

/// The honest batch, made once per test binary.
fn honest(base: Base, circuit: &'static Circuit) -> &'static (World, BatchWitness) {
    static HONEST: [OnceLock<(World, BatchWitness)>; 4] = [const { OnceLock::new() }; 4];
    let make = || {
        let (world, batch, challenges) = match base {
            Base::Rich => rich_batch(),
            Base::Requests => requests_batch(),
            Base::Twofold => twofold_batch(),
            Base::Idle => idle_batch(),
        };
        let witness = circuit.witness(&batch, &challenges).unwrap();
        (world, witness)
    };
    HONEST[base as usize].get_or_init(|| apart(make))
}

/// A lie in the making, starting from an honest batch.
pub(crate) struct Forge {
    pub(crate) base: Base,
    circuit: &'static Circuit,
    pub(crate) world: &'static World,
    pub(crate) witness: BatchWitness,
    pub(crate) tampering: Tampering,
    pinned: Vec<PublicInput>,
}

impl Forge {
    pub(crate) fn on(base: Base) -> Self {
        let circuit = if base == Base::Twofold { twofold_circuit() } else { test_circuit() };
        let (world, witness) = honest(base, circuit);
        Self { base, circuit, world, witness: witness.clone(), tampering: Tampering::new(), pinned: Vec::new() }
    }

    /// Leaves a public input as L1 has it.
    pub(crate) fn pin(&mut self, input: PublicInput) {
        self.pinned.push(input);
    }

    /// What the witness allocates with the lies so far.
    pub(crate) fn assignment(&self) -> Vec<Fr> {
        self.circuit.assign_tampered(&self.witness, &self.tampering).unwrap().0
    }

    /// The value of a variable with the lies so far.
    pub(crate) fn value(&self, variable: VarIndex) -> Fr {
        if self.tampering.is_empty() && self.witness == honest(self.base, self.circuit).1 {
            return self.honest_value(variable);
        }
        self.assignment()[variable as usize]
    }

    /// The value of a variable without lies.
    pub(crate) fn honest_value(&self, variable: VarIndex) -> Fr {
        static ASSIGNED: [OnceLock<Vec<Fr>>; 4] = [const { OnceLock::new() }; 4];
        let make = || self.circuit.assign(&honest(self.base, self.circuit).1).unwrap();
        ASSIGNED[self.base as usize].get_or_init(|| apart(make))[variable as usize]
    }

    pub(crate) fn set(&mut self, variable: VarIndex, value: Fr) {
        self.tampering.insert(variable, value);
    }

    /// Adds to what a variable would be.
    pub(crate) fn shift(&mut self, variable: VarIndex, by: Fr) {
        let value = self.value(variable);
        self.set(variable, value + by);
    }

    /// The rows that catch the forgery, once the forger's own public inputs fit it.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        let (mut assignment, computed) = self.circuit.assign_tampered(&self.witness, &self.tampering).unwrap();
        let [e, z, delta] = computed.claims;
        let [y_da, y_ops] = computed.words;
        let forged = [
            (PublicInput::H, computed.h),
            (PublicInput::E, e),
            (PublicInput::Z, z),
            (PublicInput::Delta, delta),
            (PublicInput::YDa, y_da),
            (PublicInput::YOps, y_ops),
        ];
        // nothing is computed from these inputs: they only end the sums that give them
        for (input, value) in forged {
            if !self.pinned.contains(&input) {
                assignment[1 + input as usize] = value;
            }
        }
        self.circuit.violations(&assignment)
    }

    /// The groups of these rows.
    pub(crate) fn caught_by(&self) -> BTreeSet<String> {
        self.violations().into_iter().map(|violation| violation.group).collect()
    }
}

/// The variables that a slot allocates in a group (named without the slot's kind), in order.
pub(crate) fn variables_of(section: Section, group: &str) -> Vec<VarIndex> {
    let full = format!("{}.{group}", section.0);
    let circuit = test_circuit();
    let inside = |witness: &usize| circuit.layout().variable(*witness) == (full.as_str(), section);
    let found: Vec<VarIndex> = (0..circuit.witness_variables()).filter(inside).map(|witness| (witness + 1 + PUBLIC_INPUTS) as VarIndex).collect();
    assert!(!found.is_empty(), "no variables of {full} in {section:?}");
    found
}

/// A forgery by name, what it does to which batch, and the groups that must catch it, no more and no fewer.
pub(crate) struct Forgery {
    pub(crate) name: String,
    pub(crate) base: Base,
    pub(crate) caught_by: Vec<String>,
    pub(crate) forge: Box<dyn Fn(&mut Forge) + Sync>,
}

impl Forgery {
    /// The forged witness.
    pub(crate) fn forged(&self) -> Forge {
        let mut forge = Forge::on(self.base);
        (self.forge)(&mut forge);
        forge
    }
}

/// Shorthand for the tables.
pub(crate) fn forgery_on(base: Base, name: &str, caught_by: &[&str], forge: impl Fn(&mut Forge) + Sync + 'static) -> Forgery {
    let caught_by = caught_by.iter().map(|group| (*group).to_owned()).collect();
    Forgery { name: name.to_owned(), base, caught_by, forge: Box::new(forge) }
}

/// On the batch of transfers, withdrawals and a deposit.
pub(crate) fn forgery(name: &str, caught_by: &[&str], forge: impl Fn(&mut Forge) + Sync + 'static) -> Forgery {
    forgery_on(Base::Rich, name, caught_by, forge)
}

/// On the batch of a register, an exit and a rotation.
pub(crate) fn of_requests(name: &str, caught_by: &[&str], forge: impl Fn(&mut Forge) + Sync + 'static) -> Forgery {
    forgery_on(Base::Requests, name, caught_by, forge)
}

/// Every forgery.
pub(crate) fn all() -> Vec<Forgery> {
    let stories = [slots::forgeries(), registers::forgeries(), requests::forgeries(), overflow::forgeries()];
    stories.into_iter().chain([signatures::forgeries(), variables::forgeries()]).flatten().collect()
}

#[test]
fn an_honest_witness_is_not_caught() {
    for base in [Base::Rich, Base::Requests, Base::Twofold, Base::Idle] {
        assert_eq!(Forge::on(base).caught_by(), BTreeSet::new(), "{base:?}");
    }
}

#[test]
fn every_forgery_is_caught_by_exactly_the_groups_named() {
    let verdict = |forgery: &Forgery| {
        let expected: BTreeSet<String> = forgery.caught_by.iter().cloned().collect();
        let caught_by = forgery.forged().caught_by();
        let wrong = expected.is_empty() || caught_by != expected;
        wrong.then(|| format!("{}: caught by {caught_by:?}, expected {expected:?}", forgery.name))
    };
    let forgeries = all();
    let names: BTreeSet<&str> = forgeries.iter().map(|forgery| forgery.name.as_str()).collect();
    assert!(names.len() == forgeries.len() && names.len() >= 100, "{} forgeries, {} names", forgeries.len(), names.len());
    let wrong: Vec<String> = forgeries.par_iter().filter_map(verdict).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The deletion test: a group that is the only one to catch some forgery cannot be deleted unnoticed.
#[test]
fn every_group_alone_stops_a_forgery() {
    let forgeries = all();
    let mut guards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for forgery in &forgeries {
        if let [only] = forgery.caught_by.as_slice() {
            guards.entry(only).or_default().push(&forgery.name);
        }
    }
    let layout = test_circuit().layout();
    let mut table = String::from("# Constraint group | forgeries that it alone catches. Written by the test that checks it.\n");
    for group in layout.groups().iter().filter(|group| layout.rows_of(group) > 0) {
        let names = guards.remove(group.as_str()).unwrap_or_else(|| panic!("nothing needs {group}"));
        writeln!(table, "{group} | {}", names.join(", ")).unwrap();
    }
    assert!(guards.is_empty(), "forgeries name groups that do not exist: {guards:?}");
    golden("tests/suite/groups.txt", &table);
}
