//! The native twin of the circuit: the statement that a batch must satisfy, group by group.

use super::{AccountSlot, Batch, BatchError, Found, SIGNED_BITS};
use crate::amount::{Amount, BALANCE_BITS, SLOT_BITS, SlotId, TokenId, WHOLE_AMOUNT_BITS};
use crate::field::Fr;
use crate::ledger::{Slot, Triple};
use crate::ops::Op;
use crate::schnorr;
use std::collections::{BTreeMap, HashMap};

impl Batch {
    /// The statement of the circuit, checked natively: what it accepts is provable, and nothing else, but for these exceptions.
    ///
    /// ```text
    /// refused here, provable                              who refuses it
    ///   withdrawal, deposit or exit of 2^112 or more      L1, when it is committed or deposited
    ///   deposit into slot 0, request for it               L1: 1 <= idx
    ///   unused slot written as one from slot 0            nobody: no word of it moves anything, and L1 pays nothing for from = 0
    ///   fees not in the order of their tokens             nobody: followers credit each as it stands
    ///   old balance of 2^120 or more                      the state's opening: no batch ends with one
    ///   other sign of R or of the key, and the second     nobody: only who holds the key can make them, and they bind the same
    ///   reading of e (schnorr, circuits' signature)       message
    /// accepted here, not provable
    ///   signature that no recoding of S can prove         admission: SignatureError::Unprovable
    ///   challenges that hit a pole or a point of the      nobody: they are hashes, the chance is below 2^-200; seal again
    ///   domain
    /// accepted here, provable, still no good
    ///   old contents or indices that are not the state's  the state's opening
    ///   deposit or register with a zero key, owner or     L1: it takes none
    ///   token
    ///   request of the zero address for an empty slot     L1: nobody sends from it
    /// ```
    ///
    /// # Errors
    /// [`BatchError`], the first group that fails.
    pub fn check(&self) -> Result<(), BatchError> {
        self.check_capacities()?;
        self.check_slots()?;
        self.check_accounts()?;
        self.check_balance_bus()?;
        self.check_key_bus()?;
        self.check_nonce_bus()?;
        self.check_open_bus()?;
        self.check_read_bus()?;
        self.check_exits()?;
        self.check_rotations()?;
        self.check_signatures()
    }

    pub(super) fn check_capacities(&self) -> Result<(), BatchError> {
        capacity("transfers", self.transfers.len(), self.shape.transfers)?;
        capacity("withdrawals", self.withdrawals.len(), self.shape.withdrawals)?;
        capacity("registers", self.registers.len(), self.shape.registers)?;
        capacity("deposits", self.deposits.len(), self.shape.deposits)?;
        capacity("exits", self.exits.len(), self.shape.exits)?;
        capacity("rotations", self.rotations.len(), self.shape.rotations)?;
        capacity("fees", self.fees.len(), self.shape.fees)
    }

    pub(super) fn check_slots(&self) -> Result<(), BatchError> {
        for (op, _, _) in self.signed_ops() {
            if op.from() == SlotId(0) {
                return Err(BatchError::Disabled);
            }
            in_range(op.from(), "from")?;
            if let Op::Transfer(transfer) = op {
                in_range(transfer.to, "to")?;
            }
            whole(op.amount(), "amount")?;
        }
        let named = self.openings().map(|(slot, _)| slot).chain(self.found().map(|found| found.slot));
        for slot in named {
            if slot == SlotId(0) {
                return Err(BatchError::Disabled);
            }
            in_range(slot, "slot")?;
        }
        self.deposits.iter().try_for_each(|deposit| whole(deposit.amount, "deposit amount"))?;
        self.exits.iter().try_for_each(|exit| whole(exit.amount, "exit amount"))?;
        if !self.fees.windows(2).all(|pair| pair[0].token < pair[1].token) {
            return Err(BatchError::FeeOrder);
        }
        for fee in &self.fees {
            in_range(fee.slot, "fee slot")?;
            whole(fee.total, "fee total")?;
        }
        Ok(())
    }

    fn check_accounts(&self) -> Result<(), BatchError> {
        let sorted = self.accounts.windows(2).all(|pair| pair[0].id < pair[1].id);
        if !sorted || self.accounts.len() != self.shape.accounts as usize {
            return Err(BatchError::Unsorted(self.shape.accounts));
        }
        self.accounts.iter().try_for_each(check_account)
    }

    fn check_balance_bus(&self) -> Result<(), BatchError> {
        let mut changes = self.balance_changes();
        for account in &self.accounts {
            let change = account.new.balance.0 as i128 - account.old.balance.0 as i128;
            *changes.entry((account.id, account.new.triple.token)).or_insert(0) -= change;
        }
        if let Some(((slot, token), _)) = changes.into_iter().find(|(_, sum)| *sum != 0) {
            return Err(BatchError::Balance(slot, token));
        }
        let mut fees: BTreeMap<TokenId, i128> = self.fee_totals().into_iter().map(|(t, sum)| (t, sum as i128)).collect();
        for fee in &self.fees {
            *fees.entry(fee.token).or_insert(0) -= fee.total.0 as i128;
        }
        fees.into_iter().find(|(_, sum)| *sum != 0).map_or(Ok(()), |(token, _)| Err(BatchError::Fee(token)))
    }

    fn check_key_bus(&self) -> Result<(), BatchError> {
        let mut poles: HashMap<(SlotId, TokenId, Fr), i64> = HashMap::new();
        for (op, key, _) in self.signed_ops() {
            *poles.entry((op.from(), op.token(), key)).or_insert(0) += 1;
        }
        for account in &self.accounts {
            let seen = account.seen();
            *poles.entry((account.id, seen.token, seen.key)).or_insert(0) -= i64::from(account.signed);
        }
        poles.into_iter().find(|(_, sum)| *sum != 0).map_or(Ok(()), |((slot, _, _), _)| Err(BatchError::Key(slot)))
    }

    fn check_nonce_bus(&self) -> Result<(), BatchError> {
        let mut edges: HashMap<u64, i64> = HashMap::new();
        for (op, _, _) in self.signed_ops() {
            *edges.entry(u64::from(op.from().0) << 32 | u64::from(op.nonce().0)).or_insert(0) += 1;
        }
        for account in &self.accounts {
            let end = u64::from(account.id.0) << 32 | u64::from(account.new.nonce.0);
            for edge in end - u64::from(account.signed)..end {
                *edges.entry(edge).or_insert(0) -= 1;
            }
        }
        let bad = edges.into_iter().find(|(_, sum)| *sum != 0);
        bad.map_or(Ok(()), |(edge, _)| Err(BatchError::Nonce(SlotId((edge >> 32) as u32))))
    }

    fn check_open_bus(&self) -> Result<(), BatchError> {
        self.check_identities(self.openings(), |account| account.opens).map_err(BatchError::Open)
    }

    fn check_read_bus(&self) -> Result<(), BatchError> {
        let found = self.found().map(|found| (found.slot, found.triple));
        self.check_identities(found, |account| account.reads).map_err(BatchError::Read)
    }

    /// Every (slot, triple) is named as often as its account slot counts; the slot that is not, otherwise.
    fn check_identities(&self, named: impl Iterator<Item = (SlotId, Triple)>, counted: impl Fn(&AccountSlot) -> u8) -> Result<(), SlotId> {
        let mut sums: HashMap<(SlotId, Triple), i64> = HashMap::new();
        named.for_each(|identity| *sums.entry(identity).or_insert(0) += 1);
        for account in &self.accounts {
            *sums.entry((account.id, account.seen())).or_insert(0) -= i64::from(counted(account));
        }
        sums.into_iter().find(|(_, sum)| *sum != 0).map_or(Ok(()), |((slot, _), _)| Err(slot))
    }

    fn check_exits(&self) -> Result<(), BatchError> {
        if let Some(exit) = self.exits.iter().find(|exit| !exit.found.acts() && exit.amount != Amount(0)) {
            return Err(BatchError::ForeignExit(exit.found.slot));
        }
        self.check_acts(self.exits.iter().map(|exit| &exit.found), |account| account.exits).map_err(BatchError::Exit)
    }

    fn check_rotations(&self) -> Result<(), BatchError> {
        self.check_acts(self.rotations.iter().map(|rotation| &rotation.found), |account| account.rotates).map_err(BatchError::Rotate)?;
        let keys: HashMap<SlotId, Fr> = self.rotations.iter().filter(|r| r.found.acts()).map(|r| (r.found.slot, r.new_key)).collect();
        let rotated = |account: &AccountSlot| keys.get(&account.id).copied().unwrap_or(account.key);
        let bad = self.accounts.iter().find(|account| account.new.triple.key != rotated(account));
        bad.map_or(Ok(()), |account| Err(BatchError::Rotate(account.id)))
    }

    /// Every (slot, token) has as many acting requests, none or one, as its account slot says; the slot that has not, otherwise.
    fn check_acts<'a>(&self, found: impl Iterator<Item = &'a Found>, flag: impl Fn(&AccountSlot) -> bool) -> Result<(), SlotId> {
        let mut sums: HashMap<(SlotId, TokenId), i64> = HashMap::new();
        found.filter(|found| found.acts()).for_each(|found| *sums.entry((found.slot, found.triple.token)).or_insert(0) += 1);
        for account in &self.accounts {
            *sums.entry((account.id, account.new.triple.token)).or_insert(0) -= i64::from(flag(account));
        }
        sums.into_iter().find(|(_, sum)| *sum != 0).map_or(Ok(()), |((slot, _), _)| Err(slot))
    }

    fn check_signatures(&self) -> Result<(), BatchError> {
        for (op, key, signature) in self.signed_ops() {
            schnorr::verify(key, self.domain, op.tag() as u8, op.message(self.domain), signature).map_err(|_| BatchError::Signature(op.from()))?;
        }
        Ok(())
    }
}

fn check_account(account: &AccountSlot) -> Result<(), BatchError> {
    let AccountSlot { id, old, new, is_new, signed, opens, exits, .. } = account;
    in_range(*id, "account slot")?;
    if (old.balance.0 | new.balance.0) >> BALANCE_BITS != 0 {
        return Err(BatchError::Range("balance"));
    }
    if u32::from(*signed) >> SIGNED_BITS != 0 {
        return Err(BatchError::Range("operations of one slot"));
    }
    if *exits && new.balance != Amount(0) {
        return Err(BatchError::Exit(*id));
    }
    let fits = if *is_new {
        *old == Slot::EMPTY && new.nonce.0 == u32::from(*signed) && *opens != 0
    } else {
        old.triple == account.seen() && old.nonce.0.checked_add(u32::from(*signed)) == Some(new.nonce.0)
    };
    fits.then_some(()).ok_or(BatchError::Account(*id))
}

pub(super) fn capacity(kind: &'static str, got: usize, capacity: u32) -> Result<(), BatchError> {
    if got > capacity as usize { Err(BatchError::Capacity { kind, got, capacity }) } else { Ok(()) }
}

fn in_range(slot: SlotId, name: &'static str) -> Result<(), BatchError> {
    if slot.0 >> SLOT_BITS != 0 { Err(BatchError::Range(name)) } else { Ok(()) }
}

fn whole(amount: Amount, name: &'static str) -> Result<(), BatchError> {
    if amount.0 >> WHOLE_AMOUNT_BITS != 0 { Err(BatchError::Range(name)) } else { Ok(()) }
}
