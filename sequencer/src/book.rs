//! The live state and what waits for a batch: pure bookkeeping, used by the executor and, in the same way, by recovery.
//!
//! ```text
//! accept, take ──> draft ──keep──> waiting ──seal──> a batch (its fees are credited)
//!                    └──undo──> as before
//! ```
//! Validity is `protocol::transition`'s alone. Order is everything: the same calls in the same order give the same state.

use crate::config::FeeConfig;
use crate::refusal::Refusal;
use crate::sealer::{Footprint, Kind};
use crate::view::Change;
use sheaf_protocol::amount::{Amount, SlotId, TokenId};
use sheaf_protocol::header::{QueueEntry, QueueKind};
use sheaf_protocol::ledger::{Ledger, Triple};
use sheaf_protocol::ops::{Op, SignedOp, TxHash};
use sheaf_protocol::transition::{self, Effect, Rejection};
use sheaf_store::batches::Member;
use sheaf_store::queue::Taken;
use std::collections::{BTreeMap, VecDeque};

/// The live state and what waits.
#[derive(Debug)]
pub(crate) struct Book {
    live: Ledger,
    fees: FeeConfig,
    members: VecDeque<Member>,
    footprints: VecDeque<Footprint>,
    drafts: usize,
    changes: Vec<Change>,
    last_seq: u64,
    last_index: u64,
}

/// Why a queue entry cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("queue entry {index} is a request of a kind that this version does not know")]
pub(crate) struct UnknownKind {
    index: u64,
}

/// Why what was accepted once is not accepted again: the database and this program disagree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was accepted as number {seq} does not apply again: {refusal}{}", remedy(.refusal))]
pub(crate) struct ReplayError {
    seq: u64,
    refusal: Refusal,
}

/// What helps, where it is no damage: batches that are still to come credit fees to the account that is configured now.
fn remedy(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoFeeSlot(_) => {
            "; start with the account for fees that it was accepted under (--fee-key, --fee-owner), which all sequencers of a database must share"
        }
        _ => "",
    }
}

/// The triple that a deposit names.
pub(crate) fn triple_of(entry: &QueueEntry) -> Triple {
    Triple { key: entry.key, owner: entry.owner, token: entry.token }
}

impl Book {
    /// A book over a state, after `last_seq` accepted items and `last_index` queue entries.
    pub(crate) fn new(live: Ledger, fees: FeeConfig, last_seq: u64, last_index: u64) -> Self {
        Self { live, fees, members: VecDeque::new(), footprints: VecDeque::new(), drafts: 0, changes: Vec::new(), last_seq, last_index }
    }

    /// The live state, drafts included.
    pub(crate) fn live(&self) -> &Ledger {
        &self.live
    }

    /// Items that wait for a batch, drafts included.
    pub(crate) fn waiting(&self) -> usize {
        self.members.len()
    }

    /// What the waiting items take of a batch.
    pub(crate) fn footprints(&self) -> &VecDeque<Footprint> {
        &self.footprints
    }

    /// Index of the last queue entry taken, drafts included.
    pub(crate) fn last_index(&self) -> u64 {
        self.last_index
    }

    /// The last place given away, drafts included.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The drafts.
    pub(crate) fn drafts(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.range(self.members.len() - self.drafts..)
    }

    /// Drafts a transaction and gives it its place.
    ///
    /// # Errors
    /// [`Refusal::Rejected`], [`Refusal::NoFeeSlot`].
    pub(crate) fn accept(&mut self, hash: TxHash, op: SignedOp) -> Result<u64, Refusal> {
        let effect = transition::apply(&self.live, &op.op).map_err(Refusal::Rejected)?;
        let fee = self.fee_footprint(&op.op)?;
        self.last_seq += 1;
        self.write(&effect);
        self.draft(Member::Transaction { seq: self.last_seq, hash, op: op.clone() }, footprint(&op.op, fee));
        Ok(self.last_seq)
    }

    fn fee_footprint(&self, op: &Op) -> Result<Option<(TokenId, SlotId)>, Refusal> {
        if op.fee() == Amount(0) {
            return Ok(None);
        }
        let slot = self.fees.triple(op.token()).and_then(|triple| self.live.find(&triple));
        slot.map(|slot| Some((op.token(), slot))).ok_or(Refusal::NoFeeSlot(op.token()))
    }

    /// Drafts the next queue entry: a deposit goes into the slot that holds exactly its triple, else into the lowest empty slot,
    /// else it is given back.
    ///
    /// # Errors
    /// [`UnknownKind`]: the queue stands still.
    pub(crate) fn take(&mut self, entry: QueueEntry) -> Result<(), UnknownKind> {
        if entry.kind != QueueKind::Deposit {
            return Err(UnknownKind { index: self.last_index + 1 });
        }
        let triple = triple_of(&entry);
        let slot = self.live.find(&triple).or_else(|| self.live.lowest_empty());
        let credited = slot.filter(|slot| self.credit(*slot, &entry).is_ok());
        self.record(credited, entry);
        Ok(())
    }

    fn credit(&mut self, slot: SlotId, entry: &QueueEntry) -> Result<(), Rejection> {
        let effect = transition::apply_deposit(&self.live, slot, triple_of(entry), entry.amount)?;
        self.write(&effect);
        Ok(())
    }

    fn record(&mut self, slot: Option<SlotId>, entry: QueueEntry) {
        self.last_seq += 1;
        self.last_index += 1;
        let kind = if slot.is_some() { Kind::Deposit } else { Kind::Refund };
        let taken = Taken { index: self.last_index, seq: self.last_seq, slot, entry };
        self.draft(Member::Taken(taken), Footprint { kind, slot, credits: None, fee: None });
    }

    fn draft(&mut self, member: Member, footprint: Footprint) {
        self.members.push_back(member);
        self.footprints.push_back(footprint);
        self.drafts += 1;
    }

    fn write(&mut self, effect: &Effect) {
        for (slot, new) in &effect.changes {
            self.changes.push(Change { slot: *slot, old: self.live.get(*slot), new: *new });
        }
        effect.write(&mut self.live);
    }

    /// The drafts are durable: they wait for a batch now. Returns what they changed.
    pub(crate) fn keep(&mut self) -> Vec<Change> {
        self.drafts = 0;
        std::mem::take(&mut self.changes)
    }

    /// The drafts were not written: everything is as before them.
    pub(crate) fn undo(&mut self) {
        for change in std::mem::take(&mut self.changes).into_iter().rev() {
            self.live.set(change.slot, change.old);
        }
        let kept = self.members.len() - self.drafts;
        let taken = self.drafts().filter(|member| matches!(member, Member::Taken(_))).count();
        self.last_seq -= self.drafts as u64;
        self.last_index -= taken as u64;
        self.members.truncate(kept);
        self.footprints.truncate(kept);
        self.drafts = 0;
    }

    /// The first `count` waiting items leave for a batch, and their fees are credited. Returns them and what the fees changed.
    /// There must be no drafts.
    ///
    /// # Errors
    /// [`Rejection`] if a fee slot cannot be credited, which the caps of L1 rule out.
    pub(crate) fn seal(&mut self, count: usize) -> Result<(Vec<Member>, Vec<Change>), Rejection> {
        let members: Vec<Member> = self.members.drain(..count).collect();
        let footprints: Vec<Footprint> = self.footprints.drain(..count).collect();
        for ((token, slot), total) in fee_totals(&members, &footprints) {
            let effect = transition::apply_fee(&self.live, slot, token, Amount(total))?;
            self.write(&effect);
        }
        Ok((members, std::mem::take(&mut self.changes)))
    }

    /// Place of the `count`-th waiting item.
    pub(crate) fn seq_at(&self, count: usize) -> u64 {
        count.checked_sub(1).and_then(|last| self.members.get(last)).map_or(0, Member::seq)
    }

    /// Accepts again what was accepted before this process started.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub(crate) fn replay(&mut self, member: Member) -> Result<(), ReplayError> {
        let seq = member.seq();
        self.last_seq = seq - 1;
        let refused = |refusal| ReplayError { seq, refusal };
        match member {
            Member::Transaction { hash, op, .. } => self.accept(hash, op).map(drop).map_err(refused)?,
            Member::Taken(taken) => self.take_again(taken).map_err(|rejection| refused(Refusal::Rejected(rejection)))?,
        }
        self.keep();
        Ok(())
    }

    /// The recorded slot counts, whatever would be chosen now.
    fn take_again(&mut self, taken: Taken) -> Result<(), Rejection> {
        if let Some(slot) = taken.slot {
            self.credit(slot, &taken.entry)?;
        }
        self.last_index = taken.index - 1;
        self.record(taken.slot, taken.entry);
        Ok(())
    }
}

fn footprint(op: &Op, fee: Option<(TokenId, SlotId)>) -> Footprint {
    match op {
        Op::Transfer(transfer) => {
            let credits = (op.amount() != Amount(0)).then_some(transfer.to);
            Footprint { kind: Kind::Transfer, slot: Some(transfer.from), credits, fee }
        }
        Op::Withdraw(withdraw) => Footprint { kind: Kind::Withdrawal, slot: Some(withdraw.from), credits: None, fee },
    }
}

fn fee_totals(members: &[Member], footprints: &[Footprint]) -> BTreeMap<(TokenId, SlotId), u128> {
    let mut totals = BTreeMap::new();
    for (member, footprint) in members.iter().zip(footprints) {
        if let (Member::Transaction { op, .. }, Some(fee)) = (member, footprint.fee) {
            *totals.entry(fee).or_default() += op.op.fee().0;
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::config::FeeAccount;
    use sheaf_protocol::amount::{Address, AmountFloat, FeeFloat, NATIVE, Nonce};
    use sheaf_protocol::field::Fr;
    use sheaf_protocol::ledger::Slot;
    use sheaf_protocol::ops::Transfer;
    use sheaf_protocol::schnorr;

    fn entry(person: u64, amount: u128) -> QueueEntry {
        let owner = Address([person as u8; 20]);
        QueueEntry { kind: QueueKind::Deposit, sender: owner, token: NATIVE, amount: Amount(amount), slot: SlotId(0), owner, key: Fr::from(person) }
    }

    fn transfer(from: u32, to: u32, nonce: u32, amount: u128) -> (TxHash, SignedOp) {
        let op = Op::Transfer(Transfer {
            from: SlotId(from),
            to: SlotId(to),
            token: NATIVE,
            nonce: Nonce(nonce),
            amount: AmountFloat::from_amount(Amount(amount)).unwrap(),
            fee: FeeFloat::from_amount(Amount(3)).unwrap(),
        });
        let domain = Fr::from(1u64);
        (op.hash(domain), SignedOp { op, signature: schnorr::dummy(domain, 1, op.message(domain)).1 })
    }

    /// Slots 1 (the operator), 2 and 3 with 100 each.
    fn book(k: u32) -> Book {
        let fees = FeeConfig { account: Some(FeeAccount { key: Fr::from(1u64), owner: Address([1; 20]) }), ..FeeConfig::default() };
        let mut book = Book::new(Ledger::new(k), fees, 0, 0);
        (1..=3).for_each(|person| book.take(entry(person, 100)).unwrap());
        book.keep();
        book
    }

    fn state(book: &Book) -> Vec<(SlotId, Slot)> {
        book.live().occupied().map(|(id, slot)| (id, *slot)).collect()
    }

    #[test]
    fn an_undone_group_leaves_no_trace() {
        let mut book = book(4);
        let (before, waiting, seq, index) = (state(&book), book.waiting(), book.last_seq(), book.last_index());
        let (hash, op) = transfer(2, 3, 0, 40);
        book.accept(hash, op.clone()).unwrap();
        book.take(entry(9, 5)).unwrap();
        let (next_hash, next) = transfer(3, 4, 0, 7);
        book.accept(next_hash, next).unwrap();
        book.undo();
        assert_eq!((state(&book), book.waiting(), book.last_seq(), book.last_index()), (before, waiting, seq, index));
        assert_eq!(book.accept(hash, op).unwrap(), seq + 1, "the place is given again");
        book.take(entry(8, 5)).unwrap();
        assert_eq!(book.live().find(&triple_of(&entry(8, 5))), Some(SlotId(4)), "the slot is given again");
    }

    #[test]
    fn a_refused_transaction_takes_no_place() {
        let mut book = book(4);
        let seq = book.last_seq();
        let (hash, op) = transfer(2, 3, 0, 1_000);
        assert!(matches!(book.accept(hash, op), Err(Refusal::Rejected(Rejection::InsufficientFunds { .. }))));
        assert_eq!((book.last_seq(), book.drafts().len()), (seq, 0));
    }

    #[test]
    fn fees_are_credited_when_a_batch_is_sealed_and_not_before() {
        let mut book = book(4);
        for (hash, op) in [transfer(2, 3, 0, 1), transfer(3, 2, 0, 1), transfer(2, 3, 1, 1)] {
            book.accept(hash, op).unwrap();
        }
        book.keep();
        assert_eq!(book.live().get(SlotId(1)).balance, Amount(100));
        let (members, _) = book.seal(5).unwrap();
        assert_eq!((members.len(), book.waiting()), (5, 1));
        assert_eq!(book.live().get(SlotId(1)).balance, Amount(106), "of the two transfers in it");
    }

    #[test]
    fn replay_gives_the_same_state_and_places() {
        let mut first = book(2);
        // the state has slots 1 to 3: this one goes back
        first.take(entry(9, 5)).unwrap();
        let (hash, op) = transfer(2, 3, 0, 1);
        first.accept(hash, op).unwrap();
        first.keep();
        let expected = (state(&first), first.last_seq(), first.last_index());
        let (members, _) = first.seal(first.waiting()).unwrap();
        let mut again = Book::new(Ledger::new(2), first.fees.clone(), first.last_seq(), first.last_index());
        members.into_iter().for_each(|member| again.replay(member).unwrap());
        assert_eq!((state(&again), again.last_seq(), again.last_index()), expected);
        again.seal(again.waiting()).unwrap();
        assert_eq!(state(&again), state(&first));
    }

    #[test]
    fn what_was_accepted_elsewhere_does_not_replay() {
        let mut book = book(4);
        let (hash, op) = transfer(2, 3, 5, 1);
        let error = book.replay(Member::Transaction { seq: 4, hash, op }).unwrap_err();
        assert_eq!(error.seq, 4);
    }
}
