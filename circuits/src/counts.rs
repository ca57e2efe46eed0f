//! Constraint counts of a circuit, as committed in `constraints.json` and compared exactly by a test: a change of any is a
//! visible diff with a reason.

use crate::batch::Circuit;
use serde::Serialize;
use sheaf_protocol::poseidon::{SPONGE_RATE, params};
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
    /// One more deposit.
    pub deposit_slot: f64,
    /// One more fee slot.
    pub fee_slot: f64,
    /// One transfer and two account slots.
    pub marginal_worst: f64,
    /// One transfer and half an account slot.
    pub marginal_hot: f64,
    /// Constraints of every group.
    pub groups: BTreeMap<String, usize>,
}

/// Constraints per absorbed element: a permutation of the sponge over its rate.
fn transcript_share() -> f64 {
    let sponge = params(SPONGE_RATE + 1);
    3.0 * (sponge.t * sponge.full_rounds + sponge.partial_rounds) as f64 / SPONGE_RATE as f64
}

impl Counts {
    /// Counts `circuit`, whose shape goes by `name`.
    pub fn of(name: &str, circuit: &Circuit) -> Self {
        let (layout, shape) = (circuit.layout(), circuit.shape());
        // absorbed elements and words of each kind; sorting and Z add 24 and 1 to an account slot
        let slot = |kind, absorbed: f64, tail: f64| layout.rows_in((kind, 0)) as f64 + absorbed * transcript_share() + tail;
        let (transfer_slot, account_slot) = (slot("transfer", 1.0, 0.5), slot("account", 4.0, 25.0));
        Self {
            shape: name.to_owned(),
            domain: circuit.domain(),
            transfers: shape.transfers,
            accounts: shape.accounts,
            constraints: circuit.constraints(),
            transfer_slot,
            account_slot,
            withdraw_slot: slot("withdraw", 1.0, 3.0),
            deposit_slot: slot("deposit", 4.0, 4.0),
            fee_slot: slot("fee", 1.0, 1.0),
            marginal_worst: transfer_slot + 2.0 * account_slot,
            marginal_hot: transfer_slot + 0.5 * account_slot,
            groups: layout.groups().iter().map(|group| (group.clone(), layout.rows_of(group))).collect(),
        }
    }
}
