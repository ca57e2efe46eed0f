//! The live state and what waits for a batch: pure bookkeeping, used by the executor and, in the same way, by recovery.
//!
//! ```text
//! accept, take ──> draft ──keep──> waiting ──seal──> a batch (its fees are credited)
//!                    └──undo──> as before
//! ```
//! Validity is `protocol::transition`'s alone. Order is everything: the same calls in the same order give the same state.

use crate::config::FeeConfig;
use crate::refusal::Refusal;
use crate::sealer::{Footprint, Found, Kind};
use crate::view::Change;
use sheaf_protocol::amount::{Amount, SlotId, TokenId};
use sheaf_protocol::field::Fr;
use sheaf_protocol::header::{QueueEntry, QueueKind};
use sheaf_protocol::ledger::{Ledger, Triple};
use sheaf_protocol::ops::{Op, SignedOp, TxHash};
use sheaf_protocol::schnorr::SignatureError;
use sheaf_protocol::transition::{self, Effect, Rejection};
use sheaf_store::batches::Member;
use sheaf_store::queue::Taken;
use std::collections::{BTreeMap, VecDeque};

/// What leaves for a batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaving {
    /// In order of acceptance.
    pub(crate) members: Vec<Member>,
    /// The slot that collects the fees of each token.
    pub(crate) collectors: BTreeMap<TokenId, SlotId>,
}

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

    /// Drafts a transaction whose signature holds for `key`, and gives it its place.
    ///
    /// # Errors
    /// [`Refusal::Rejected`], [`Refusal::NoFeeSlot`]; [`Refusal::Signature`] if the slot's key was replaced since the signature was verified.
    pub(crate) fn accept(&mut self, hash: TxHash, op: SignedOp, key: Fr) -> Result<u64, Refusal> {
        let effect = transition::apply(&self.live, &op.op).map_err(Refusal::Rejected)?;
        if self.live.get(op.op.from()).triple.key != key {
            return Err(Refusal::Signature(SignatureError::Forged));
        }
        let fee = self.fee_footprint(&op.op)?;
        let account = effect.registered;
        let creates = account.is_some_and(|slot| self.live.get(slot).is_empty());
        self.last_seq += 1;
        self.write(&effect);
        let footprint = Footprint { account, creates, ..footprint(&op.op, fee) };
        self.draft(Member::Transaction { seq: self.last_seq, hash, op, account }, footprint);
        Ok(self.last_seq)
    }

    fn fee_footprint(&self, op: &Op) -> Result<Option<(TokenId, SlotId)>, Refusal> {
        if op.fee() == Amount(0) {
            return Ok(None);
        }
        let slot = self.fees.triple(op.token()).and_then(|triple| self.live.find(&triple));
        slot.map(|slot| Some((op.token(), slot))).ok_or(Refusal::NoFeeSlot(op.token()))
    }

    /// Drafts the next queue entry: a deposit goes into the slot that holds exactly its triple, else into the lowest empty slot, else it is
    /// given back; a request does what it asks for if the owner asks, else nothing.
    pub(crate) fn take(&mut self, entry: QueueEntry) {
        let slot = match entry.kind {
            QueueKind::Deposit => self.live.home(&triple_of(&entry)),
            QueueKind::Exit | QueueKind::Rotation => Some(entry.slot),
        };
        // the caps of L1 rule out that a credit overflows; if one did, it would go back
        if self.take_into(slot, entry).is_err() {
            self.record(None, entry, Footprint::of(Kind::Refund));
        }
    }

    fn take_into(&mut self, slot: Option<SlotId>, entry: QueueEntry) -> Result<(), Rejection> {
        let footprint = match (entry.kind, slot) {
            (_, None) => Footprint::of(Kind::Refund),
            (QueueKind::Deposit, Some(slot)) => self.credit(slot, &entry)?,
            (QueueKind::Exit, Some(slot)) => {
                let exit = transition::apply_exit(&self.live, slot, entry.sender).map(|(effect, _)| effect);
                Footprint { slot: Some(slot), ..Footprint::of(Kind::Exit(self.act(slot, exit))) }
            }
            (QueueKind::Rotation, Some(slot)) => {
                let rotation = transition::apply_rotation(&self.live, slot, entry.sender, entry.key);
                Footprint { slot: Some(slot), ..Footprint::of(Kind::Rotation(self.act(slot, rotation))) }
            }
        };
        self.record(slot, entry, footprint);
        Ok(())
    }

    fn credit(&mut self, slot: SlotId, entry: &QueueEntry) -> Result<Footprint, Rejection> {
        let creates = self.live.get(slot).is_empty();
        let effect = transition::apply_deposit(&self.live, slot, triple_of(entry), entry.amount)?;
        self.write(&effect);
        Ok(Footprint { credits: Some(slot), account: Some(slot), creates, ..Footprint::of(Kind::Deposit) })
    }

    fn act(&mut self, slot: SlotId, effect: Option<Effect>) -> Found {
        match effect {
            Some(effect) => {
                self.write(&effect);
                Found::Own
            }
            None if self.live.get(slot).is_empty() => Found::Empty,
            None => Found::Foreign,
        }
    }

    fn record(&mut self, slot: Option<SlotId>, entry: QueueEntry, footprint: Footprint) {
        self.last_seq += 1;
        self.last_index += 1;
        let taken = Taken { index: self.last_index, seq: self.last_seq, slot, entry };
        self.draft(Member::Taken(taken), footprint);
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

    /// The first `count` waiting items leave for a batch, and their fees are credited. Returns them with the slots that collect, and what the
    /// fees changed. There must be no drafts.
    ///
    /// An owner who has left behind this batch leaves with the fees as well: the exit pays whatever its own batch finds.
    ///
    /// # Errors
    /// [`Rejection`] if a fee slot cannot be credited, which the caps of L1 rule out.
    pub(crate) fn seal(&mut self, count: usize) -> Result<(Leaving, Vec<Change>), Rejection> {
        let members: Vec<Member> = self.members.drain(..count).collect();
        let footprints: Vec<Footprint> = self.footprints.drain(..count).collect();
        let mut collectors = BTreeMap::new();
        for ((token, slot), total) in fee_totals(&members, &footprints) {
            let effect = transition::apply_fee(&self.live, slot, token, Amount(total))?;
            self.write(&effect);
            collectors.insert(token, slot);
            if self.footprints.iter().any(|later| later.kind == Kind::Exit(Found::Own) && later.slot == Some(slot)) {
                let owner = self.live.get(slot).triple.owner;
                transition::apply_exit(&self.live, slot, owner).into_iter().for_each(|(effect, _)| self.write(&effect));
            }
        }
        Ok((Leaving { members, collectors }, std::mem::take(&mut self.changes)))
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
            Member::Transaction { hash, op, account, .. } => {
                let key = self.live.get(op.op.from()).triple.key;
                self.accept(hash, op, key).map_err(refused)?;
                if let (Some(recorded), Some(footprint)) = (account, self.footprints.back())
                    && footprint.account != account
                {
                    return Err(refused(Refusal::Rejected(Rejection::ForeignSlot(recorded))));
                }
            }
            Member::Taken(taken) => {
                self.last_index = taken.index - 1;
                // the recorded slot counts, whatever would be chosen now
                self.take_into(taken.slot, taken.entry).map_err(|rejection| refused(Refusal::Rejected(rejection)))?;
            }
        }
        self.keep();
        Ok(())
    }
}

fn footprint(op: &Op, fee: Option<(TokenId, SlotId)>) -> Footprint {
    let (kind, credits) = match op {
        Op::Transfer(transfer) => (Kind::Transfer, (op.amount() != Amount(0)).then_some(transfer.to)),
        Op::Withdraw(_) => (Kind::Withdrawal, None),
        Op::Register(_) => (Kind::Register, None),
    };
    Footprint { slot: Some(op.from()), credits, fee, ..Footprint::of(kind) }
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
    use sheaf_protocol::ledger::Slot;
    use sheaf_protocol::ops::{Register, Transfer};
    use sheaf_protocol::schnorr;

    fn entry(person: u64, amount: u128) -> QueueEntry {
        let owner = Address([person as u8; 20]);
        QueueEntry { kind: QueueKind::Deposit, sender: owner, token: NATIVE, amount: Amount(amount), slot: SlotId(0), owner, key: Fr::from(person) }
    }

    /// The keys of people are their numbers, and people's slots too.
    fn key(op: &SignedOp) -> Fr {
        Fr::from(op.op.from().0)
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
        (1..=3).for_each(|person| book.take(entry(person, 100)));
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
        book.accept(hash, op.clone(), key(&op)).unwrap();
        book.take(entry(9, 5));
        let (next_hash, next) = transfer(3, 4, 0, 7);
        book.accept(next_hash, next.clone(), Fr::from(3u64)).unwrap();
        book.undo();
        assert_eq!((state(&book), book.waiting(), book.last_seq(), book.last_index()), (before, waiting, seq, index));
        assert_eq!(book.accept(hash, op.clone(), key(&op)).unwrap(), seq + 1, "the place is given again");
        book.take(entry(8, 5));
        assert_eq!(book.live().find(&triple_of(&entry(8, 5))), Some(SlotId(4)), "the slot is given again");
    }

    #[test]
    fn a_refused_transaction_takes_no_place() {
        let mut book = book(4);
        let seq = book.last_seq();
        let (hash, op) = transfer(2, 3, 0, 1_000);
        assert!(matches!(book.accept(hash, op.clone(), key(&op)), Err(Refusal::Rejected(Rejection::InsufficientFunds { .. }))));
        assert_eq!((book.last_seq(), book.drafts().len()), (seq, 0));
    }

    #[test]
    fn fees_are_credited_when_a_batch_is_sealed_and_not_before() {
        let mut book = book(4);
        for (hash, op) in [transfer(2, 3, 0, 1), transfer(3, 2, 0, 1), transfer(2, 3, 1, 1)] {
            book.accept(hash, op.clone(), key(&op)).unwrap();
        }
        book.keep();
        assert_eq!(book.live().get(SlotId(1)).balance, Amount(100));
        let (leaving, _) = book.seal(5).unwrap();
        assert_eq!((leaving.members.len(), book.waiting()), (5, 1));
        assert_eq!(book.live().get(SlotId(1)).balance, Amount(106), "of the two transfers in it");
    }

    #[test]
    fn replay_gives_the_same_state_and_places() {
        let mut first = book(2);
        // the state has slots 1 to 3: this one goes back
        first.take(entry(9, 5));
        let (hash, op) = transfer(2, 3, 0, 1);
        first.accept(hash, op.clone(), key(&op)).unwrap();
        first.keep();
        let expected = (state(&first), first.last_seq(), first.last_index());
        let (Leaving { members, .. }, _) = first.seal(first.waiting()).unwrap();
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
        let error = book.replay(Member::Transaction { seq: 4, hash, op, account: None }).unwrap_err();
        assert_eq!(error.seq, 4);
    }

    fn ask(kind: QueueKind, asker: u64, slot: u32, new_key: u64) -> QueueEntry {
        let (token, amount, slot) = (TokenId(0), Amount(0), SlotId(slot));
        QueueEntry { kind, sender: Address([asker as u8; 20]), token, amount, slot, owner: Address([0; 20]), key: Fr::from(new_key) }
    }

    #[test]
    fn an_owner_leaves_with_everything_and_a_stranger_with_nothing() {
        let mut book = book(4);
        book.take(ask(QueueKind::Exit, 3, 2, 0));
        assert_eq!(book.live().get(SlotId(2)).balance, Amount(100));
        book.take(ask(QueueKind::Exit, 2, 2, 0));
        assert_eq!(book.live().get(SlotId(2)).balance, Amount(0));
        let kinds: Vec<Kind> = book.footprints().iter().skip(3).map(|footprint| footprint.kind).collect();
        assert_eq!(kinds, [Kind::Exit(Found::Foreign), Kind::Exit(Found::Own)]);
        book.undo();
        assert_eq!(book.live().get(SlotId(2)).balance, Amount(100));
    }

    #[test]
    fn a_collector_who_leaves_takes_the_fees_of_earlier_batches_along() {
        let mut book = book(4);
        let (hash, op) = transfer(2, 3, 0, 1);
        book.accept(hash, op, Fr::from(2u64)).unwrap();
        book.take(ask(QueueKind::Exit, 1, 1, 0));
        book.keep();
        book.seal(4).unwrap();
        assert_eq!(book.live().get(SlotId(1)).balance, Amount(0));
        let left = book.footprints().front().unwrap();
        assert_eq!((left.kind, book.waiting()), (Kind::Exit(Found::Own), 1));
    }

    #[test]
    fn a_signature_by_a_key_that_was_replaced_meanwhile_is_refused() {
        let mut book = book(4);
        book.take(ask(QueueKind::Rotation, 3, 2, 77));
        let (hash, op) = transfer(2, 3, 0, 1);
        book.accept(hash, op, Fr::from(2u64)).unwrap();
        book.take(ask(QueueKind::Rotation, 2, 2, 77));
        let (hash, op) = transfer(2, 3, 1, 1);
        assert_eq!(book.accept(hash, op.clone(), Fr::from(2u64)), Err(Refusal::Signature(SignatureError::Forged)));
        book.accept(hash, op, Fr::from(77u64)).unwrap();
        book.undo();
        assert_eq!(book.live().get(SlotId(2)).triple, triple_of(&entry(2, 0)));
    }

    #[test]
    fn a_register_is_replayed_into_its_slot_and_no_other() {
        let mut book = book(4);
        let fee = FeeFloat::from_amount(Amount(3)).unwrap();
        let register = Register { from: SlotId(2), token: NATIVE, nonce: Nonce(0), fee, account: triple_of(&entry(9, 0)) };
        let op = Op::Register(register);
        let (hash, signed) = (op.hash(Fr::from(1u64)), SignedOp { op, ..transfer(2, 3, 0, 1).1 });
        book.accept(hash, signed.clone(), Fr::from(2u64)).unwrap();
        assert_eq!(book.drafts().last(), Some(&Member::Transaction { seq: 4, hash, op: signed.clone(), account: Some(SlotId(4)) }));
        book.undo();
        assert!(book.replay(Member::Transaction { seq: 4, hash, op: signed.clone(), account: Some(SlotId(5)) }).is_err());
        let mut again = self::book(4);
        again.replay(Member::Transaction { seq: 4, hash, op: signed, account: Some(SlotId(4)) }).unwrap();
        assert_eq!(again.live().find(&triple_of(&entry(9, 0))), Some(SlotId(4)));
    }
}
