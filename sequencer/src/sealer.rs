//! When a batch is closed and which circuit it gets: a pure function of what waits.
//!
//! A batch is always a prefix of the order of acceptance. That keeps replay simple: whatever was accepted after a batch was sealed
//! may have used the fees which that batch credited, and nothing before it has.
//!
//! ```text
//! waiting:  op op op op op op op ...          size: no circuit holds one more      cost: the calldata limit is reached
//!           └── longest prefix ─┘             age:  the oldest has waited long     asked: by hand
//! ```

use crate::config::Circuit;
use sheaf_protocol::amount::{SlotId, TokenId};
use sheaf_protocol::batch::{OPENS_BITS, SIGNED_BITS};
use sheaf_protocol::header::{COUNTS_BYTES, FEE_BYTES, PAIR_BYTES};
use sheaf_protocol::shape::Shape;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of calldata of a withdrawal: three words.
const WITHDRAWAL_BYTES: usize = 3 * 32;
/// Bytes of calldata of a queue entry: its preimage of seven words and its choice.
const ENTRY_BYTES: usize = 8 * 32;

/// What one accepted item takes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// What it is.
    pub(crate) kind: Kind,
    /// The slot that signs, or gets the deposit; `None` for a refund.
    pub(crate) slot: Option<SlotId>,
    /// The slot that a transfer credits, if it credits anything.
    pub(crate) credits: Option<SlotId>,
    /// The token that pays a fee, with the slot that collects it.
    pub(crate) fee: Option<(TokenId, SlotId)>,
}

/// What an accepted item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A transfer.
    Transfer,
    /// A withdrawal.
    Withdrawal,
    /// A deposit into a slot.
    Deposit,
    /// A deposit given back on L1: takes no slot of the circuit.
    Refund,
}

/// Why a batch is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No circuit holds one more.
    Size,
    /// The oldest member has waited long enough.
    Age,
    /// The calldata limit is reached.
    Cost,
    /// Somebody asked.
    Asked,
}

impl Reason {
    /// Its name in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Age => "age",
            Self::Cost => "cost",
            Self::Asked => "asked",
        }
    }
}

/// A batch to close: the first `count` items, in this circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// How many of the waiting items.
    pub(crate) count: usize,
    /// Circuit id.
    pub(crate) circuit: u32,
    /// Why.
    pub(crate) reason: Reason,
}

/// Whether something other than fullness closes the batch now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    /// Nothing does.
    None,
    /// The oldest member has waited long enough.
    Age,
    /// Somebody asked.
    Asked,
}

/// Refuses circuits of which none holds an item of some kind alone: it would be accepted and stand before all others for ever.
///
/// # Errors
/// The kind.
pub(crate) fn check_circuits(circuits: &[Circuit]) -> Result<(), &'static str> {
    let [payer, receiver, collector] = [SlotId(1), SlotId(2), SlotId(3)];
    let signed = |kind, credits| Footprint { kind, slot: Some(payer), credits, fee: Some((TokenId(1), collector)) };
    let kinds = [
        ("transfer", signed(Kind::Transfer, Some(receiver))),
        ("withdrawal", signed(Kind::Withdrawal, None)),
        ("deposit", Footprint { kind: Kind::Deposit, slot: Some(payer), credits: None, fee: None }),
    ];
    let holds = |item: &Footprint| circuits.iter().any(|circuit| longest_prefix(&[*item], &circuit.shape, usize::MAX).count == 1);
    kinds.iter().find(|(_, item)| !holds(item)).map_or(Ok(()), |(kind, _)| Err(*kind))
}

/// The batch to close now, if any. With circuits that [`check_circuits`] passes, the first item always fits one.
pub(crate) fn plan<'a>(
    waiting: impl IntoIterator<Item = &'a Footprint, IntoIter: ExactSizeIterator> + Copy,
    circuits: &[Circuit],
    max_calldata_bytes: usize,
    pressure: Pressure,
) -> Option<Plan> {
    let longest = |circuit: &Circuit| longest_prefix(waiting, &circuit.shape, max_calldata_bytes);
    let prefixes: Vec<(&Circuit, Prefix)> = circuits.iter().map(|circuit| (circuit, longest(circuit))).collect();
    let count = prefixes.iter().map(|(_, prefix)| prefix.count).max().filter(|count| *count > 0)?;
    let fitting = || prefixes.iter().filter(|(_, prefix)| prefix.count == count);
    let reason = if fitting().any(|(_, prefix)| prefix.stopped_by_cost) {
        Reason::Cost
    } else if count < waiting.into_iter().len() || fitting().all(|(_, prefix)| prefix.is_full) {
        Reason::Size
    } else {
        match pressure {
            Pressure::None => return None,
            Pressure::Age => Reason::Age,
            Pressure::Asked => Reason::Asked,
        }
    };
    let (circuit, _) = fitting().min_by_key(|(circuit, _)| price(&circuit.shape))?;
    Some(Plan { count, circuit: circuit.id, reason })
}

/// Constraints of a shape: what its proof costs.
fn price(shape: &Shape) -> u64 {
    let Shape { transfers, accounts, fees, deposits, withdrawals, registers, exits, rotations } = *shape;
    let terms =
        [(1_510, transfers), (440, accounts), (195, fees), (260, deposits), (1_560, withdrawals), (1_620, registers), (330, exits), (420, rotations)];
    terms.iter().map(|(constraints, slots)| constraints * u64::from(*slots)).sum()
}

struct Prefix {
    count: usize,
    is_full: bool,
    stopped_by_cost: bool,
}

fn longest_prefix<'a>(
    waiting: impl IntoIterator<Item = &'a Footprint, IntoIter: ExactSizeIterator>,
    shape: &Shape,
    max_calldata_bytes: usize,
) -> Prefix {
    let waiting = waiting.into_iter();
    let len = waiting.len();
    let mut load = Load::default();
    for (count, item) in waiting.enumerate() {
        load.add(item);
        let stopped_by_cost = load.calldata_bytes() > max_calldata_bytes && count > 0;
        if stopped_by_cost || !load.fits(shape) {
            return Prefix { count, is_full: true, stopped_by_cost };
        }
    }
    Prefix { count: len, is_full: load.transfers == shape.transfers, stopped_by_cost: false }
}

#[derive(Default)]
struct Load {
    transfers: u32,
    withdrawals: u32,
    deposits: u32,
    entries: usize,
    accounts: BTreeSet<SlotId>,
    fees: BTreeSet<TokenId>,
    signed: Counts,
    opens: Counts,
}

/// How often each slot comes, and how often the most frequent.
#[derive(Default)]
struct Counts {
    by_slot: BTreeMap<SlotId, u32>,
    most: u32,
}

impl Counts {
    fn add(&mut self, slot: SlotId) {
        let count = self.by_slot.entry(slot).or_default();
        *count += 1;
        self.most = self.most.max(*count);
    }
}

impl Load {
    fn add(&mut self, item: &Footprint) {
        let counts = match item.kind {
            Kind::Transfer | Kind::Withdrawal => &mut self.signed,
            Kind::Deposit | Kind::Refund => &mut self.opens,
        };
        item.slot.into_iter().for_each(|slot| counts.add(slot));
        match item.kind {
            Kind::Transfer => self.transfers += 1,
            Kind::Withdrawal => self.withdrawals += 1,
            Kind::Deposit => self.deposits += 1,
            Kind::Refund => {}
        }
        self.entries += usize::from(matches!(item.kind, Kind::Deposit | Kind::Refund));
        self.accounts.extend(item.slot.into_iter().chain(item.credits).chain(item.fee.map(|(_, slot)| slot)));
        self.fees.extend(item.fee.map(|(token, _)| token));
    }

    fn fits(&self, shape: &Shape) -> bool {
        self.transfers <= shape.transfers
            && self.withdrawals <= shape.withdrawals
            && self.deposits <= shape.deposits
            && self.accounts.len() <= shape.accounts as usize
            && self.fees.len() <= shape.fees as usize
            && self.signed.most >> SIGNED_BITS == 0
            && self.opens.most >> OPENS_BITS == 0
    }

    fn calldata_bytes(&self) -> usize {
        COUNTS_BYTES
            + self.transfers.div_ceil(2) as usize * PAIR_BYTES
            + self.fees.len() * FEE_BYTES
            + self.withdrawals as usize * WITHDRAWAL_BYTES
            + self.entries * ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use sheaf_protocol::shape::by_name;

    const NO_LIMIT: usize = usize::MAX;

    fn circuits(names: &[&str]) -> Vec<Circuit> {
        let named = names.iter().zip(1..);
        named.map(|(name, id)| Circuit { id, name: (*name).to_owned(), shape: by_name(name).unwrap().shape }).collect()
    }

    fn transfer(from: u32, to: u32) -> Footprint {
        Footprint { kind: Kind::Transfer, slot: Some(SlotId(from)), credits: Some(SlotId(to)), fee: Some((TokenId(1), SlotId(1))) }
    }

    fn deposit(slot: u32) -> Footprint {
        Footprint { kind: Kind::Deposit, slot: Some(SlotId(slot)), credits: None, fee: None }
    }

    #[test]
    fn circuits_that_hold_no_withdrawal_are_refused() {
        let mut circuits = circuits(&["test", "small"]);
        assert_eq!(check_circuits(&circuits), Ok(()));
        circuits.iter_mut().for_each(|circuit| circuit.shape.withdrawals = 0);
        assert_eq!(check_circuits(&circuits), Err("withdrawal"));
        circuits[0].shape.withdrawals = 1;
        assert_eq!(check_circuits(&circuits), Ok(()), "one that holds it is enough");
        circuits.iter_mut().for_each(|circuit| circuit.shape.accounts = 2);
        assert_eq!(check_circuits(&circuits), Err("transfer"), "payer, receiver and fee slot");
        assert_eq!(check_circuits(&[]), Err("transfer"));
    }

    #[test]
    fn a_slot_signs_as_often_as_its_account_slot_can_count() {
        let mut circuits = circuits(&["test"]);
        circuits[0].shape.transfers = 1 << 13;
        let most = (1 << SIGNED_BITS) - 1;
        let waiting = vec![transfer(2, 3); most + 5];
        assert_eq!(plan(&waiting, &circuits, NO_LIMIT, Pressure::None).unwrap().count, most);
    }

    #[test]
    fn nothing_waits_nothing_is_sealed() {
        assert_eq!(plan(&[] as &[Footprint], &circuits(&["test"]), NO_LIMIT, Pressure::Age), None);
    }

    #[test]
    fn a_young_batch_with_room_stays_open() {
        assert_eq!(plan(&[transfer(2, 3)], &circuits(&["test"]), NO_LIMIT, Pressure::None), None);
    }

    #[test]
    fn age_and_hand_close_what_there_is() {
        let waiting = [transfer(2, 3)];
        assert_eq!(plan(&waiting, &circuits(&["test"]), NO_LIMIT, Pressure::Age), Some(Plan { count: 1, circuit: 1, reason: Reason::Age }));
        assert_eq!(plan(&waiting, &circuits(&["test"]), NO_LIMIT, Pressure::Asked).unwrap().reason, Reason::Asked);
    }

    #[test]
    fn a_full_batch_does_not_wait_for_one_more() {
        let waiting = [transfer(2, 3); 4];
        assert_eq!(plan(&waiting, &circuits(&["test"]), NO_LIMIT, Pressure::None), Some(Plan { count: 4, circuit: 1, reason: Reason::Size }));
    }

    #[test]
    fn each_kind_closes_the_batch_before_its_own_capacity_is_exceeded() {
        let waiting = [deposit(2), deposit(3), deposit(4)];
        assert_eq!(plan(&waiting, &circuits(&["test"]), NO_LIMIT, Pressure::None), Some(Plan { count: 2, circuit: 1, reason: Reason::Size }));
        let withdrawal = Footprint { kind: Kind::Withdrawal, credits: None, ..transfer(2, 3) };
        assert_eq!(plan(&[withdrawal; 3], &circuits(&["test"]), NO_LIMIT, Pressure::None).unwrap().count, 2);
    }

    #[test]
    fn account_slots_count_payers_receivers_and_fee_slots_once() {
        let waiting: Vec<Footprint> = (0..4).map(|i| transfer(10 + 2 * i, 11 + 2 * i)).collect();
        assert_eq!(plan(&waiting, &circuits(&["test"]), NO_LIMIT, Pressure::None).unwrap().count, 3);
    }

    #[test]
    fn refunds_take_no_slot_of_the_circuit() {
        let refund = Footprint { kind: Kind::Refund, slot: None, credits: None, fee: None };
        assert_eq!(plan(&[refund; 9], &circuits(&["test"]), NO_LIMIT, Pressure::Age).unwrap().count, 9);
    }

    #[test]
    fn hot_traffic_gets_the_hot_circuit() {
        let circuits = circuits(&["small", "small-hot"]);
        let full = circuits[1].shape.transfers;
        let waiting: Vec<Footprint> = (0..full).map(|i| transfer(10 + i % 20, 40)).collect();
        assert_eq!(plan(&waiting, &circuits, NO_LIMIT, Pressure::None), Some(Plan { count: full as usize, circuit: 2, reason: Reason::Size }));
    }

    #[test]
    fn spread_traffic_gets_the_wide_circuit() {
        let circuits = circuits(&["small", "small-hot"]);
        // one account slot is the fee slot
        let full = (circuits[0].shape.accounts - 1) / 2;
        let waiting: Vec<Footprint> = (0..=full).map(|i| transfer(10 + 2 * i, 11 + 2 * i)).collect();
        assert_eq!(plan(&waiting, &circuits, NO_LIMIT, Pressure::None), Some(Plan { count: full as usize, circuit: 1, reason: Reason::Size }));
    }

    #[test]
    fn of_two_circuits_that_fit_the_cheaper_is_taken() {
        let waiting = [transfer(2, 3)];
        assert_eq!(plan(&waiting, &circuits(&["small", "test"]), NO_LIMIT, Pressure::Age).unwrap().circuit, 2);
    }

    #[test]
    fn calldata_closes_a_batch_but_never_leaves_it_empty() {
        let waiting: Vec<Footprint> = (0..20).map(|_| transfer(2, 3)).collect();
        let plan_at = |bytes| plan(&waiting, &circuits(&["small"]), bytes, Pressure::None);
        assert_eq!(plan_at(6 + 19 + 26), Some(Plan { count: 2, circuit: 1, reason: Reason::Cost }));
        assert_eq!(plan_at(0).unwrap().count, 1);
    }
}
