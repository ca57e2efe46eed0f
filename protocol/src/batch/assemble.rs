//! Makes a batch from the state and the operations: touched slots, what requests find and take, padding.

use super::check::capacity;
use super::{AccountSlot, Batch, BatchError, Deposit, Exit, Found, Registered, Rotation, Signed};
use crate::amount::{Address, Amount, BALANCE_BITS, Nonce, SlotId, TokenId};
use crate::field::Fr;
use crate::header::FeeCredit;
use crate::ledger::{Ledger, Slot, Triple};
use crate::ops::{Transfer, Withdraw};
use crate::shape::Shape;
use std::collections::{BTreeMap, HashSet};

/// What an L1 request names: what it finds there is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The slot.
    pub slot: SlotId,
    /// Who asks.
    pub requester: Address,
}

/// What a batch is made of. Inside each kind the order is kept; between kinds it carries no meaning.
#[derive(Clone, Debug, Default)]
pub struct Operations {
    /// At most T.
    pub transfers: Vec<Signed<Transfer>>,
    /// At most W.
    pub withdrawals: Vec<Signed<Withdraw>>,
    /// At most R.
    pub registers: Vec<Registered>,
    /// At most D.
    pub deposits: Vec<Deposit>,
    /// At most X.
    pub exits: Vec<Request>,
    /// At most Y, with the new key.
    pub rotations: Vec<(Request, Fr)>,
}

impl Batch {
    /// Makes the batch that applies the given operations to `before` and pads it with untouched slots.
    /// The fee slots are chosen by `fee_slot`, for exactly those tokens that paid fees.
    ///
    /// # Errors
    /// [`BatchError`] if the operations do not fit the circuit or do not form a valid batch on this state.
    pub fn assemble(
        before: &Ledger,
        circuit: (u32, Shape),
        domain: Fr,
        operations: Operations,
        fee_slot: impl Fn(TokenId) -> Option<SlotId>,
    ) -> Result<Batch, BatchError> {
        let (circuit, shape) = circuit;
        let Operations { transfers, withdrawals, registers, deposits, exits, rotations } = operations;
        // what requests find and take follows from the rest
        let blank = |request: &Request| Found { slot: request.slot, triple: Slot::EMPTY.triple, requester: request.requester };
        let exits = exits.iter().map(|request| Exit { found: blank(request), amount: Amount(0) }).collect();
        let rotations = rotations.iter().map(|(request, new_key)| Rotation { found: blank(request), new_key: *new_key }).collect();
        let (fees, accounts) = (Vec::new(), Vec::new());
        let mut batch = Batch { shape, circuit, domain, transfers, withdrawals, registers, deposits, exits, rotations, fees, accounts };
        // first, because the sums below rely on the widths
        batch.check_capacities()?;
        batch.check_slots()?;
        batch.fees = batch
            .fee_totals()
            .into_iter()
            .filter(|(_, total)| *total > 0)
            .map(|(token, total)| {
                let slot = fee_slot(token).ok_or(BatchError::NoFeeSlot(token))?;
                Ok(FeeCredit { slot, token, total: Amount(total) })
            })
            .collect::<Result<_, _>>()?;
        let mut touched = batch.touched(before)?;
        batch
            .exits
            .iter_mut()
            .try_for_each(|exit| take_exit(exit, touched.entry(exit.found.slot).or_insert_with_key(|id| untouched(before, *id))))?;
        batch
            .rotations
            .iter_mut()
            .try_for_each(|rotation| take_rotation(rotation, touched.entry(rotation.found.slot).or_insert_with_key(|id| untouched(before, *id))))?;
        batch.accounts = touched.into_values().collect();
        batch.pad(before)?;
        batch.check()?;
        Ok(batch)
    }

    /// The account slots that everything but requests touches, with their contents afterwards.
    fn touched(&self, before: &Ledger) -> Result<BTreeMap<SlotId, AccountSlot>, BatchError> {
        let mut accounts: BTreeMap<SlotId, AccountSlot> = BTreeMap::new();
        for (slot, triple) in self.openings() {
            let account = accounts.entry(slot).or_insert_with(|| open(before, slot, triple));
            account.opens = account.opens.checked_add(1).ok_or(BatchError::Range("deposits into one slot"))?;
        }
        for (op, _, _) in self.signed_ops() {
            let account = accounts.entry(op.from()).or_insert_with_key(|id| untouched(before, *id));
            account.signed = account.signed.checked_add(1).ok_or(BatchError::Range("operations of one slot"))?;
            account.new.nonce = Nonce(account.new.nonce.0.checked_add(1).ok_or(BatchError::Range("nonce"))?);
        }
        for ((slot, token), change) in self.balance_changes() {
            if change == 0 && !accounts.contains_key(&slot) {
                continue;
            }
            let account = accounts.entry(slot).or_insert_with_key(|id| untouched(before, *id));
            let balance = i128::try_from(account.new.balance.0).ok().and_then(|old| old.checked_add(change));
            let balance = balance.filter(|b| *b >= 0 && *b >> BALANCE_BITS == 0).ok_or(BatchError::Balance(slot, token))?;
            account.new.balance = Amount(balance as u128);
        }
        Ok(accounts)
    }

    /// Fills the account slots with untouched ones of the state, lowest first.
    fn pad(&mut self, before: &Ledger) -> Result<(), BatchError> {
        let wanted = self.shape.accounts as usize;
        capacity("account slots", self.accounts.len(), self.shape.accounts)?;
        let used: HashSet<SlotId> = self.accounts.iter().map(|a| a.id).collect();
        let spare = spare_slots(before.capacity(), &used, wanted - used.len());
        self.accounts.extend(spare.map(|id| AccountSlot::untouched(id, before.get(id))));
        if self.accounts.len() != wanted {
            return Err(BatchError::StateTooSmall(before.capacity()));
        }
        self.accounts.sort_by_key(|account| account.id);
        Ok(())
    }
}

/// The lowest slots that are not used: what account slots are filled up with.
pub(crate) fn spare_slots(capacity: u32, used: &HashSet<SlotId>, count: usize) -> impl Iterator<Item = SlotId> {
    (1..capacity).map(SlotId).filter(|id| !used.contains(id)).take(count)
}

fn untouched(before: &Ledger, id: SlotId) -> AccountSlot {
    AccountSlot::untouched(id, before.get(id))
}

fn open(before: &Ledger, id: SlotId, triple: Triple) -> AccountSlot {
    let untouched = untouched(before, id);
    if untouched.old.is_empty() {
        return AccountSlot { is_new: true, new: Slot::opened(triple), key: triple.key, ..untouched };
    }
    untouched
}

/// The request reads the slot; true if it acts.
fn read(found: &mut Found, account: &mut AccountSlot) -> Result<bool, BatchError> {
    account.reads = account.reads.checked_add(1).ok_or(BatchError::Range("requests for one slot"))?;
    found.triple = account.seen();
    Ok(found.acts())
}

fn take_exit(exit: &mut Exit, account: &mut AccountSlot) -> Result<(), BatchError> {
    if read(&mut exit.found, account)? {
        if account.exits {
            return Err(BatchError::Exit(account.id));
        }
        account.exits = true;
        exit.amount = std::mem::take(&mut account.new.balance);
    }
    Ok(())
}

fn take_rotation(rotation: &mut Rotation, account: &mut AccountSlot) -> Result<(), BatchError> {
    if read(&mut rotation.found, account)? {
        if account.rotates {
            return Err(BatchError::Rotate(account.id));
        }
        account.rotates = true;
        account.new.triple.key = rotation.new_key;
    }
    Ok(())
}
