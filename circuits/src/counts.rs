//! Constraint counts of a circuit, as committed in `constraints.json` and compared exactly by a test: a change of any is a
//! visible diff with a reason.
//!
//! Every slot of a kind costs the same and the tail follows from the capacities, so the counts of any shape follow from one circuit that has
//! at least one slot of each kind: [`Counts::predict`]. A test holds that equal to what [`Counts::of`] finds in circuits that are made.

use crate::batch::Circuit;
use serde::Serialize;
use sheaf_protocol::amount::SLOT_BITS;
use sheaf_protocol::batch::{NEW_SLOTS_PER_ELEMENT, PUBLIC_INPUTS};
use sheaf_protocol::poseidon::{SPONGE_RATE, params};
use sheaf_protocol::shape::{NamedShape, Shape};
use std::collections::BTreeMap;

/// Counts of one circuit. Costs of a slot include its share of the transcript and of the words' evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Counts {
    /// Name of the shape.
    pub shape: String,
    /// Size of the FFT domain.
    pub domain: usize,
    /// T.
    pub transfers: u32,
    /// A.
    pub accounts: u32,
    /// All constraints.
    pub constraints: usize,
    /// One more transfer.
    pub transfer_slot: f64,
    /// One more account slot.
    pub account_slot: f64,
    /// One more withdrawal.
    pub withdraw_slot: f64,
    /// One more register.
    pub register_slot: f64,
    /// One more deposit.
    pub deposit_slot: f64,
    /// One more forced exit.
    pub exit_slot: f64,
    /// One more key rotation.
    pub rotate_slot: f64,
    /// One more fee slot.
    pub fee_slot: f64,
    /// One transfer and two account slots.
    pub marginal_worst: f64,
    /// One transfer and half an account slot.
    pub marginal_hot: f64,
    /// Constraints of every group.
    pub groups: BTreeMap<String, usize>,
}

/// A permutation of the transcript's sponge.
fn permutation() -> usize {
    let sponge = params(SPONGE_RATE + 1);
    3 * (sponge.t * sponge.full_rounds + sponge.partial_rounds)
}

/// Slots of each kind.
fn slots(shape: &Shape) -> [(&'static str, u32); 8] {
    let Shape { transfers, accounts, fees, deposits, withdrawals, registers, exits, rotations } = *shape;
    [
        ("transfer", transfers),
        ("withdraw", withdrawals),
        ("register", registers),
        ("deposit", deposits),
        ("exit", exits),
        ("rotate", rotations),
        ("fee", fees),
        ("account", accounts),
    ]
}

/// Elements of the transcript.
fn absorbed(shape: &Shape) -> u32 {
    let Shape { transfers, accounts, fees, deposits, withdrawals, registers, exits, rotations } = *shape;
    let signed = transfers + withdrawals + registers + registers.div_ceil(NEW_SLOTS_PER_ELEMENT as u32);
    signed + 4 * deposits + 5 * (exits + rotations) + fees + 4 * accounts
}

/// Constraints of the tail: one ties each of h, E, Z, Delta, y_da and y_ops, one ends each bus.
fn tail(shape: &Shape) -> Vec<(&'static str, usize)> {
    let (accounts, words) = (shape.accounts as usize, |words: u32| words.max(1) as usize);
    let ends = ["balance_bus", "key_bus", "nonce_bus", "open_bus", "read_bus", "exit_bus", "rotate_bus"].map(|bus| (bus, 1));
    let sums = [
        ("rho_squared", 1),
        ("sorted", SLOT_BITS as usize * (accounts - 1)),
        ("transcript", permutation() * absorbed(shape).div_ceil(SPONGE_RATE as u32) as usize + 1),
        ("claim_e", 1),
        ("claim_z", accounts),
        ("claim_delta", 1),
        ("words_da", words(shape.da_words())),
        ("words_ops", words(shape.ops_words())),
    ];
    [&sums[..], &ends[..]].concat()
}

/// The groups' counts in a circuit of `shape`, by what one slot of each kind has in `circuit`.
fn groups_of(shape: &Shape, circuit: &Circuit) -> BTreeMap<String, usize> {
    let layout = circuit.layout();
    let made = slots(circuit.shape());
    let in_slots = layout.groups().iter().filter_map(|group| {
        let kind = slots(shape).into_iter().find(|(kind, _)| group.split('.').next() == Some(kind))?;
        let (_, here) = made.into_iter().find(|(name, _)| *name == kind.0)?;
        Some((group.clone(), layout.rows_of(group) / here as usize * kind.1 as usize))
    });
    in_slots.chain(tail(shape).into_iter().map(|(name, rows)| (format!("batch.{name}"), rows))).collect()
}

impl Counts {
    /// Counts `circuit`, whose shape goes by `name`.
    pub fn of(name: &str, circuit: &Circuit) -> Self {
        let layout = circuit.layout();
        let groups = layout.groups().iter().map(|group| (group.clone(), layout.rows_of(group))).collect();
        Self::new(name, circuit.shape(), circuit, groups)
    }

    /// What [`Counts::of`] would find in the circuit of `named`, without making it: `circuit` has a slot of each kind.
    ///
    /// # Panics
    /// If `circuit` lacks a kind of slot or `named` has no account slot.
    pub fn predict(named: &NamedShape, circuit: &Circuit) -> Self {
        Self::new(named.name, &named.shape, circuit, groups_of(&named.shape, circuit))
    }

    fn new(name: &str, shape: &Shape, circuit: &Circuit, groups: BTreeMap<String, usize>) -> Self {
        // absorbed elements and words of each kind; sorting and Z add 24 and 1 to an account slot
        let share = permutation() as f64 / SPONGE_RATE as f64;
        let slot = |kind, absorbed: f64, tail: f64| circuit.layout().rows_in((kind, 0)) as f64 + absorbed * share + tail;
        let (transfer_slot, account_slot) = (slot("transfer", 1.0, 0.5), slot("account", 4.0, 1.0 + f64::from(SLOT_BITS)));
        let constraints: usize = groups.values().sum();
        Self {
            shape: name.to_owned(),
            domain: (constraints + PUBLIC_INPUTS + 1).next_power_of_two(),
            transfers: shape.transfers,
            accounts: shape.accounts,
            constraints,
            transfer_slot,
            account_slot,
            withdraw_slot: slot("withdraw", 1.0, 3.0),
            register_slot: slot("register", 1.0 + 1.0 / NEW_SLOTS_PER_ELEMENT as f64, 3.0),
            deposit_slot: slot("deposit", 4.0, 4.0),
            exit_slot: slot("exit", 5.0, 3.0),
            rotate_slot: slot("rotate", 5.0, 3.0),
            fee_slot: slot("fee", 1.0, 1.0),
            marginal_worst: transfer_slot + 2.0 * account_slot,
            marginal_hot: transfer_slot + 0.5 * account_slot,
            groups,
        }
    }
}
