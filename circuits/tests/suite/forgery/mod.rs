//! Forged witnesses. Each lies in one place and is consistent everywhere else, so that exactly one constraint group stands
//! between it and a valid proof: take that group away, and the forgery passes. `groups.txt` says which guards which.
//!
//! Some forgeries choose zeta last, which nobody can: where two lies must cancel on a bus, that alone shows what else guards them.
//!
//! What a forger controls: every witness variable, and the public inputs h, E, Z, Delta, y_da, y_ops, which are recomputed from the
//! lie unless L1 fixes them (*pinned*): E and Delta by the state's commitments, y_da and y_ops by the bytes it sees.

mod overflow;
mod signatures;
mod slots;
mod variables;

use crate::counts::golden;
use crate::world::{World, rich_witness, test_circuit};
use ark_bn254::Fr;
use sheaf_circuits::builder::{Section, Tampering, VarIndex};
use sheaf_circuits::witness::BatchWitness;
use sheaf_protocol::batch::{PUBLIC_INPUTS, PublicInput};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A lie in the making, starting from an honest batch.
pub(crate) struct Forge {
    pub(crate) world: World,
    pub(crate) witness: BatchWitness,
    pub(crate) tampering: Tampering,
    pinned: Vec<PublicInput>,
}

impl Forge {
    pub(crate) fn new() -> Self {
        let (world, witness) = rich_witness();
        Self { world, witness, tampering: Tampering::new(), pinned: Vec::new() }
    }

    /// Leaves a public input as L1 has it.
    pub(crate) fn pin(&mut self, input: PublicInput) {
        self.pinned.push(input);
    }

    /// What the witness allocates with the lies so far.
    pub(crate) fn assignment(&self) -> Vec<Fr> {
        test_circuit().assign_tampered(&self.witness, &self.tampering).unwrap().0
    }

    /// The value of a variable with the lies so far.
    pub(crate) fn value(&self, variable: VarIndex) -> Fr {
        self.assignment()[variable as usize]
    }

    pub(crate) fn set(&mut self, variable: VarIndex, value: Fr) {
        self.tampering.insert(variable, value);
    }

    /// Adds to what a variable would be.
    pub(crate) fn shift(&mut self, variable: VarIndex, by: Fr) {
        let value = self.value(variable);
        self.set(variable, value + by);
    }

    /// The groups that catch the forgery, once the forger's own public inputs fit it.
    pub(crate) fn caught_by(&self) -> BTreeSet<String> {
        let circuit = test_circuit();
        let (_, computed) = circuit.assign_tampered(&self.witness, &self.tampering).unwrap();
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
        let mut witness = self.witness.clone();
        for (input, value) in forged {
            if !self.pinned.contains(&input) {
                witness.inputs[input as usize] = value;
            }
        }
        let (assignment, _) = circuit.assign_tampered(&witness, &self.tampering).unwrap();
        circuit.violated_groups(&assignment)
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

/// A forgery by name, what it does, and the groups that must catch it, no more and no fewer.
pub(crate) struct Forgery {
    pub(crate) name: String,
    pub(crate) caught_by: Vec<String>,
    pub(crate) forge: Box<dyn Fn(&mut Forge)>,
}

/// Shorthand for the tables.
pub(crate) fn forgery(name: &str, caught_by: &[&str], forge: impl Fn(&mut Forge) + 'static) -> Forgery {
    Forgery { name: name.to_owned(), caught_by: caught_by.iter().map(|group| (*group).to_owned()).collect(), forge: Box::new(forge) }
}

fn all() -> Vec<Forgery> {
    [slots::forgeries(), overflow::forgeries(), signatures::forgeries(), variables::forgeries()].into_iter().flatten().collect()
}

#[test]
fn an_honest_witness_is_not_caught() {
    assert_eq!(Forge::new().caught_by(), BTreeSet::new());
}

#[test]
fn every_forgery_is_caught_by_exactly_the_groups_named() {
    let mut wrong = Vec::new();
    for forgery in all() {
        let mut forge = Forge::new();
        (forgery.forge)(&mut forge);
        let expected: BTreeSet<String> = forgery.caught_by.into_iter().collect();
        let caught_by = forge.caught_by();
        if expected.is_empty() || caught_by != expected {
            wrong.push(format!("{}: caught by {caught_by:?}, expected {expected:?}", forgery.name));
        }
    }
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
