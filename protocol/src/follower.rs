//! A follower: rebuilds the state from what every batch leaves on L1, without the operator.
//!
//! ```text
//! posted bytes ─────────┐
//! withdrawals, choices ─┼─> creations ─> credits and debits (netted), nonces ─> exits ─> keys ─> touched slots ─> C' ─> root, compared with L1's
//! L1 queue entries ─────┘
//! ```
//!
//! A proven batch always follows: its proof says that the sums hold. A committed batch that is not proven may be anything, so everything is
//! checked here and refused by name. A zero-amount transfer may name any receiver: nothing is credited, the slot is not looked at.

use crate::amount::{Amount, BALANCE_BITS, FeeFloat, Nonce, SlotId, WHOLE_AMOUNT_BITS};
use crate::field::{Fr, Word};
use crate::header::{Choice, PostedData, PostedDataError, QueueEntry, QueueKind, read_posted_data};
use crate::kzg::TouchedSlot;
use crate::ledger::{Ledger, Slot, Triple};
use std::collections::BTreeMap;

/// What one batch left on L1: arguments of its commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedBatch {
    /// The posted bytes.
    pub data: Vec<u8>,
    /// `w0`, amount, address of each withdrawal.
    pub withdrawals: Vec<[Word; 3]>,
    /// Queue entries taken, in order.
    pub taken: Vec<QueueEntry>,
    /// One record each.
    pub choices: Vec<Choice>,
}

/// Why a batch cannot be followed. The state is untouched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The posted bytes are not a batch's.
    #[error("posted data: {0}")]
    Data(#[from] PostedDataError),
    /// Not one choice for each entry taken.
    #[error("{choices} choices for {taken} queue entries")]
    Choices {
        /// Entries.
        taken: usize,
        /// Choices.
        choices: usize,
    },
    /// A choice that does not fit its entry's kind.
    #[error("the choice for queue entry {0} of the batch does not fit its kind")]
    Kind(usize),
    /// A withdrawal's words are out of range.
    #[error("withdrawal {0} of the batch is out of range")]
    Withdrawal(usize),
    /// A deposit into a slot that is somebody else's, or outside the state.
    #[error("slot {0} is not the deposit's")]
    ForeignSlot(SlotId),
    /// A credit or debit of a slot that is empty or outside the state.
    #[error("slot {0} does not exist")]
    UnknownSlot(SlotId),
    /// A balance would leave its range.
    #[error("the balance of slot {0} would leave its range")]
    Balance(SlotId),
    /// An exit does not pay what is left of its owner's slot, or the choice names another token.
    #[error("the exit of slot {0} pays something else than what is left for its owner")]
    Exit(SlotId),
    /// A rotation whose choice names another token than the slot's, or the second of a slot.
    #[error("the rotation of slot {0} does not fit the slot")]
    Rotation(SlotId),
    /// A nonce would leave its range.
    #[error("the nonce of slot {0} would leave its range")]
    Nonce(SlotId),
}

/// What a batch did to one slot, so far.
#[derive(Clone, Copy, Debug)]
struct Change {
    old: Slot,
    slot: Slot,
    /// Credits minus debits.
    net: i128,
    signed: u32,
    /// What an acting exit takes.
    exit: Option<Amount>,
    /// What an acting rotation puts.
    key: Option<Fr>,
}

/// Applies a batch to `ledger` and returns the slots it touched, before and after, by index.
///
/// # Errors
/// [`FollowError`]; the ledger is as before.
pub fn follow(ledger: &mut Ledger, batch: &PublishedBatch) -> Result<Vec<TouchedSlot>, FollowError> {
    let mut changes = Changes { ledger, by_slot: BTreeMap::new() };
    let PostedData { transfers, registers, fees } = read_posted_data(&batch.data)?;
    changes.deposits(batch)?;
    for register in registers.iter().filter(|register| register.from != SlotId(0)) {
        changes.open(register.new, register.account)?;
    }
    for register in registers.iter().filter(|register| register.from != SlotId(0)) {
        changes.sign(register.from, register.fee.amount().0)?;
    }
    // an unused slot names slot 0, here and below, and moves nothing
    for transfer in transfers.iter().filter(|transfer| transfer.from != SlotId(0)) {
        let (amount, fee) = (transfer.amount.amount(), transfer.fee.amount());
        changes.sign(transfer.from, amount.0 + fee.0)?;
        if amount != Amount(0) {
            changes.credit(transfer.to, amount)?;
        }
    }
    for (i, words) in batch.withdrawals.iter().enumerate() {
        let Some((from, out)) = read_withdrawal(words) else { return Err(FollowError::Withdrawal(i)) };
        if from != SlotId(0) {
            changes.sign(from, out)?;
        }
    }
    for fee in fees.iter().filter(|fee| fee.total != Amount(0)) {
        changes.credit(fee.slot, fee.total)?;
    }
    changes.requests(batch)?;
    let after = changes.settle()?;
    let touched = after.iter().map(|(id, old, new)| TouchedSlot { slot: *id, old: old.columns(), new: new.columns() }).collect();
    after.into_iter().for_each(|(id, _, new)| ledger.set(id, new));
    Ok(touched)
}

struct Changes<'a> {
    ledger: &'a Ledger,
    by_slot: BTreeMap<SlotId, Change>,
}

impl Changes<'_> {
    fn deposits(&mut self, batch: &PublishedBatch) -> Result<(), FollowError> {
        let (taken, choices) = (batch.taken.len(), batch.choices.len());
        if taken != choices {
            return Err(FollowError::Choices { taken, choices });
        }
        for (i, (entry, choice)) in batch.taken.iter().zip(&batch.choices).enumerate() {
            match (entry.kind, choice) {
                (QueueKind::Deposit, Choice::Refund) => {}
                (QueueKind::Deposit, Choice::Deposit(id)) => self.deposit(*id, entry)?,
                (QueueKind::Exit, Choice::Exit(..)) | (QueueKind::Rotation, Choice::Rotation(_)) => {}
                _ => return Err(FollowError::Kind(i)),
            }
        }
        Ok(())
    }

    fn deposit(&mut self, id: SlotId, entry: &QueueEntry) -> Result<(), FollowError> {
        let triple = Triple { key: entry.key, owner: entry.owner, token: entry.token };
        self.open(id, triple)?.net += entry.amount.0 as i128;
        Ok(())
    }

    /// The slot holds the triple from now on, if it did not before.
    fn open(&mut self, id: SlotId, triple: Triple) -> Result<&mut Change, FollowError> {
        let foreign = FollowError::ForeignSlot(id);
        let change = self.slot(id).ok_or(foreign)?;
        match change.slot {
            slot if slot.is_empty() => change.slot = Slot::opened(triple),
            slot if slot.triple == triple => {}
            _ => return Err(foreign),
        }
        Ok(change)
    }

    /// Exits and rotations, after everything else is known but before keys change.
    fn requests(&mut self, batch: &PublishedBatch) -> Result<(), FollowError> {
        for (entry, choice) in batch.taken.iter().zip(&batch.choices) {
            let id = entry.slot;
            let change = match choice {
                Choice::Exit(..) | Choice::Rotation(_) => self.slot(id).ok_or(FollowError::UnknownSlot(id))?,
                Choice::Deposit(_) | Choice::Refund => continue,
            };
            let (owner, token) = (change.slot.triple.owner, change.slot.triple.token);
            let acts = entry.sender == owner;
            match choice {
                Choice::Exit(named, amount) if *named == token && !acts && *amount == Amount(0) => {}
                Choice::Exit(named, amount) if *named == token && acts && change.exit.is_none() => change.exit = Some(*amount),
                Choice::Rotation(named) if *named == token && !acts => {}
                Choice::Rotation(named) if *named == token && change.key.is_none() => change.key = Some(entry.key),
                Choice::Exit(..) => return Err(FollowError::Exit(id)),
                _ => return Err(FollowError::Rotation(id)),
            }
        }
        Ok(())
    }

    fn slot(&mut self, id: SlotId) -> Option<&mut Change> {
        if !self.ledger.contains(id) {
            return None;
        }
        let slot = self.ledger.get(id);
        Some(self.by_slot.entry(id).or_insert(Change { old: slot, slot, net: 0, signed: 0, exit: None, key: None }))
    }

    fn existing(&mut self, id: SlotId) -> Result<&mut Change, FollowError> {
        self.slot(id).filter(|change| !change.slot.is_empty()).ok_or(FollowError::UnknownSlot(id))
    }

    fn credit(&mut self, id: SlotId, amount: Amount) -> Result<(), FollowError> {
        self.existing(id)?.net += amount.0 as i128;
        Ok(())
    }

    /// A signed operation of `from` that takes `out` in all.
    fn sign(&mut self, from: SlotId, out: u128) -> Result<(), FollowError> {
        let change = self.existing(from)?;
        change.net -= out as i128;
        change.signed += 1;
        Ok(())
    }

    /// Slot, content before, content after.
    fn settle(self) -> Result<Vec<(SlotId, Slot, Slot)>, FollowError> {
        let settled = |(id, change): (SlotId, Change)| {
            let Change { old, slot, net, signed, exit, key } = change;
            let balance = i128::try_from(slot.balance.0).ok().and_then(|balance| balance.checked_add(net));
            let balance = balance.filter(|balance| *balance >= 0 && *balance >> BALANCE_BITS == 0).ok_or(FollowError::Balance(id))?;
            let balance = match exit {
                Some(Amount(all)) if all as i128 != balance => return Err(FollowError::Exit(id)),
                Some(_) => Amount(0),
                None => Amount(balance as u128),
            };
            let nonce = Nonce(slot.nonce.0.checked_add(signed).ok_or(FollowError::Nonce(id))?);
            let triple = Triple { key: key.unwrap_or(slot.triple.key), ..slot.triple };
            Ok((id, old, Slot { triple, nonce, balance }))
        };
        self.by_slot.into_iter().map(settled).collect()
    }
}

/// The paying slot, and amount and fee together; `None` if a word is out of range.
fn read_withdrawal(words: &[Word; 3]) -> Option<(SlotId, u128)> {
    let [w0, amount, _] = words;
    let w0 = u64::try_from(small(w0)?).ok().filter(|w0| w0 >> 56 == 0)?;
    let amount = small(amount).filter(|amount| amount >> WHOLE_AMOUNT_BITS == 0)?;
    let fee = FeeFloat::from_packed(w0 >> 40).ok()?.amount();
    Some((SlotId(w0 as u32 & 0xff_ffff), amount + fee.0))
}

/// A word below 2^128.
fn small(word: &Word) -> Option<u128> {
    let (high, low) = word.split_first_chunk::<16>()?;
    (*high == [0; 16]).then(|| low.iter().fold(0, |value, byte| value << 8 | u128::from(*byte)))
}
