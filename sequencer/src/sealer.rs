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
use sheaf_protocol::batch::{OPENS_BITS, READS_BITS, SIGNED_BITS};
use sheaf_protocol::header::posted_bytes;
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
    /// The slot that signs or that a request names.
    pub(crate) slot: Option<SlotId>,
    /// The slot that a transfer or deposit credits, if it credits anything.
    pub(crate) credits: Option<SlotId>,
    /// The slot that a deposit or register names as its account's.
    pub(crate) account: Option<SlotId>,
    /// True if that slot was empty.
    pub(crate) creates: bool,
    /// The token that pays a fee, with the slot that collects it.
    pub(crate) fee: Option<(TokenId, SlotId)>,
}

impl Footprint {
    /// One of this kind that touches nothing.
    pub(crate) const fn of(kind: Kind) -> Self {
        Self { kind, slot: None, credits: None, account: None, creates: false, fee: None }
    }
}

/// What an accepted item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A transfer.
    Transfer,
    /// A withdrawal.
    Withdrawal,
    /// A register.
    Register,
    /// A deposit into a slot.
    Deposit,
    /// A deposit given back on L1: takes no slot of the circuit.
    Refund,
    /// A forced exit.
    Exit(Found),
    /// A key rotation.
    Rotation(Found),
}

/// What a request finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A slot of the requester's: it acts.
    Own,
    /// A slot of somebody else's: it does nothing.
    Foreign,
    /// An empty slot: it does nothing.
    Empty,
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
    /// Every reason.
    pub(crate) const ALL: [Self; 4] = [Self::Size, Self::Age, Self::Cost, Self::Asked];

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
    let signed = |kind| Footprint { slot: Some(payer), fee: Some((TokenId(1), collector)), ..Footprint::of(kind) };
    let named = |kind| Footprint { slot: Some(payer), ..Footprint::of(kind) };
    let kinds = [
        ("transfer", Footprint { credits: Some(receiver), ..signed(Kind::Transfer) }),
        ("withdrawal", signed(Kind::Withdrawal)),
        ("register", Footprint { account: Some(receiver), creates: true, ..signed(Kind::Register) }),
        ("deposit", Footprint { account: Some(payer), credits: Some(payer), ..Footprint::of(Kind::Deposit) }),
        ("forced exit", named(Kind::Exit(Found::Own))),
        ("key rotation", named(Kind::Rotation(Found::Own))),
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
    registers: u32,
    deposits: u32,
    exits: u32,
    rotations: u32,
    entries: usize,
    accounts: BTreeSet<SlotId>,
    fees: BTreeMap<TokenId, SlotId>,
    signed: Counts,
    opens: Counts,
    reads: Counts,
    /// Slots that an exit has emptied: nothing may arrive there any more.
    left: BTreeSet<SlotId>,
    /// Slots whose key a rotation has replaced: the batch knows them by the old one.
    rotated: BTreeSet<SlotId>,
    /// Empty slots that a request has looked at: nobody may open them any more.
    seen_empty: BTreeSet<SlotId>,
    /// An item came that must wait for the next batch.
    conflict: bool,
}

/// How often each slot comes, and how often the most frequent.
#[derive(Default)]
struct Counts {
    by_slot: BTreeMap<SlotId, u32>,
    most: u32,
}

impl Extend<SlotId> for Counts {
    fn extend<I: IntoIterator<Item = SlotId>>(&mut self, slots: I) {
        slots.into_iter().for_each(|slot| self.add(slot));
    }
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
        self.conflict |= self.conflicts(item);
        match item.kind {
            Kind::Transfer => self.transfers += 1,
            Kind::Withdrawal => self.withdrawals += 1,
            Kind::Register => self.registers += 1,
            Kind::Deposit => self.deposits += 1,
            Kind::Refund => {}
            Kind::Exit(_) => self.exits += 1,
            Kind::Rotation(_) => self.rotations += 1,
        }
        let of = |set: &mut BTreeSet<SlotId>, found, wanted| set.extend(item.slot.filter(|_| found == wanted));
        match item.kind {
            Kind::Transfer | Kind::Withdrawal | Kind::Register => self.signed.extend(item.slot),
            Kind::Exit(found) | Kind::Rotation(found) => {
                self.reads.extend(item.slot);
                of(&mut self.seen_empty, found, Found::Empty);
                of(if matches!(item.kind, Kind::Exit(_)) { &mut self.left } else { &mut self.rotated }, found, Found::Own);
            }
            Kind::Deposit | Kind::Refund => {}
        }
        self.opens.extend(item.account);
        self.entries += usize::from(matches!(item.kind, Kind::Deposit | Kind::Refund | Kind::Exit(_) | Kind::Rotation(_)));
        self.accounts.extend(item.slot.into_iter().chain(item.credits).chain(item.account).chain(item.fee.map(|(_, slot)| slot)));
        self.fees.extend(item.fee);
    }

    /// True if the circuit sees the item otherwise than the order of acceptance does, since inside a batch operations commute.
    fn conflicts(&self, item: &Footprint) -> bool {
        let is_in = |set: &BTreeSet<SlotId>, slot: Option<SlotId>| slot.is_some_and(|slot| set.contains(&slot));
        let collector = item.fee.map(|(_, slot)| slot);
        let signs = matches!(item.kind, Kind::Transfer | Kind::Withdrawal | Kind::Register);
        let of_kind = match item.kind {
            Kind::Exit(Found::Own) => is_in(&self.left, item.slot) || item.slot.is_some_and(|slot| self.fees.values().any(|fees| *fees == slot)),
            Kind::Rotation(Found::Own) => is_in(&self.rotated, item.slot),
            _ => false,
        };
        of_kind
            || is_in(&self.left, item.credits)
            || is_in(&self.left, collector)
            || (signs && is_in(&self.rotated, item.slot))
            || is_in(&self.rotated, item.account)
            || (item.creates && is_in(&self.seen_empty, item.account))
            || item.fee.is_some_and(|(token, slot)| self.fees.get(&token).is_some_and(|other| *other != slot))
    }

    fn fits(&self, shape: &Shape) -> bool {
        !self.conflict
            && self.transfers <= shape.transfers
            && self.withdrawals <= shape.withdrawals
            && self.registers <= shape.registers
            && self.deposits <= shape.deposits
            && self.exits <= shape.exits
            && self.rotations <= shape.rotations
            && self.accounts.len() <= shape.accounts as usize
            && self.fees.len() <= shape.fees as usize
            && self.signed.most >> SIGNED_BITS == 0
            && self.opens.most >> OPENS_BITS == 0
            && self.reads.most >> READS_BITS == 0
    }

    fn calldata_bytes(&self) -> usize {
        posted_bytes([self.transfers as usize, self.registers as usize, self.fees.len()])
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
        named.map(|(name, id)| Circuit { id, name: (*name).to_owned(), shape: by_name(name).unwrap().shape, constraints: None }).collect()
    }

    fn transfer(from: u32, to: u32) -> Footprint {
        Footprint { slot: Some(SlotId(from)), credits: Some(SlotId(to)), fee: Some((TokenId(1), SlotId(1))), ..Footprint::of(Kind::Transfer) }
    }

    fn deposit(slot: u32) -> Footprint {
        Footprint { account: Some(SlotId(slot)), credits: Some(SlotId(slot)), ..Footprint::of(Kind::Deposit) }
    }

    fn register(from: u32, account: u32) -> Footprint {
        Footprint { account: Some(SlotId(account)), creates: true, credits: None, kind: Kind::Register, ..transfer(from, 0) }
    }

    fn request(kind: fn(Found) -> Kind, slot: u32, found: Found) -> Footprint {
        Footprint { slot: Some(SlotId(slot)), ..Footprint::of(kind(found)) }
    }

    /// How many of them the first batch takes, in a circuit with room for all.
    fn together(waiting: &[Footprint]) -> usize {
        plan(waiting, &circuits(&["l1heavy"]), NO_LIMIT, Pressure::Age).unwrap().count
    }

    #[test]
    fn nothing_arrives_in_a_slot_after_its_owner_left() {
        let exit = request(Kind::Exit, 3, Found::Own);
        assert_eq!(together(&[transfer(2, 3), exit, transfer(2, 4)]), 3, "before is well");
        assert_eq!(together(&[exit, transfer(2, 3)]), 1);
        assert_eq!(together(&[exit, deposit(3)]), 1);
        assert_eq!(together(&[exit, exit]), 1, "leaves once a batch");
        assert_eq!(together(&[request(Kind::Exit, 3, Found::Foreign), transfer(2, 3), exit]), 3, "a stranger's does nothing");
        // fees arrive at the end of the batch
        let collectors = request(Kind::Exit, 1, Found::Own);
        assert_eq!(together(&[transfer(2, 3), collectors]), 1);
        assert_eq!(together(&[collectors, transfer(2, 3)]), 1);
    }

    #[test]
    fn a_replaced_key_counts_from_the_next_batch_on() {
        let rotation = request(Kind::Rotation, 3, Found::Own);
        assert_eq!(together(&[transfer(3, 2), deposit(3), rotation, transfer(2, 3), request(Kind::Exit, 3, Found::Own)]), 5);
        assert_eq!(together(&[rotation, transfer(3, 2)]), 1);
        assert_eq!(together(&[rotation, deposit(3)]), 1);
        assert_eq!(together(&[rotation, register(2, 3)]), 1);
        assert_eq!(together(&[rotation, rotation]), 1);
        assert_eq!(together(&[request(Kind::Rotation, 3, Found::Foreign), transfer(3, 2), rotation]), 3);
    }

    #[test]
    fn nobody_opens_a_slot_that_a_request_has_seen_empty() {
        for kind in [Kind::Exit as fn(Found) -> Kind, Kind::Rotation] {
            let early = request(kind, 9, Found::Empty);
            assert_eq!(together(&[early, register(2, 9)]), 1);
            assert_eq!(together(&[early, Footprint { creates: true, ..deposit(9) }]), 1);
            assert_eq!(together(&[register(2, 9), request(kind, 9, Found::Own), early]), 3);
        }
    }

    #[test]
    fn fees_of_a_token_are_collected_in_one_slot_of_a_batch() {
        let elsewhere = Footprint { fee: Some((TokenId(1), SlotId(7))), ..transfer(2, 3) };
        assert_eq!(together(&[transfer(2, 3), elsewhere]), 1);
    }

    #[test]
    fn a_slot_is_asked_about_as_often_as_its_account_slot_can_count() {
        let most = (1 << READS_BITS) - 1;
        assert_eq!(together(&vec![request(Kind::Exit, 3, Found::Foreign); most + 5]), most);
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
        let refund = Footprint::of(Kind::Refund);
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
