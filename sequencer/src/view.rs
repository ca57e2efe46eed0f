//! What readers may see of the state: everything durable, nothing that is still being written.

use sheaf_protocol::amount::{Address, SlotId, TokenId};
use sheaf_protocol::field::Fr;
use sheaf_protocol::ledger::{Ledger, Slot, Triple};
use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// A slot's new content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) slot: SlotId,
    pub(crate) old: Slot,
    pub(crate) new: Slot,
}

/// Which slots somebody asks for. At least key or owner is given.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) key: Option<Fr>,
    pub(crate) owner: Option<Address>,
    pub(crate) token: Option<TokenId>,
}

/// The durable state with its indexes.
#[derive(Debug)]
pub(crate) struct View(RwLock<Inner>);

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    by_key: HashMap<Fr, BTreeSet<SlotId>>,
    by_owner: HashMap<Address, BTreeSet<SlotId>>,
}

impl View {
    pub(crate) fn new(ledger: Ledger) -> Self {
        let mut inner = Inner { by_key: HashMap::new(), by_owner: HashMap::new(), ledger: Ledger::new(0) };
        for (id, slot) in ledger.occupied() {
            inner.index(id, &slot.triple);
        }
        inner.ledger = ledger;
        Self(RwLock::new(inner))
    }

    /// The slot's content, empty or not; `None` outside the state.
    pub(crate) fn slot(&self, id: SlotId) -> Option<Slot> {
        let inner = self.read();
        inner.ledger.contains(id).then(|| inner.ledger.get(id))
    }

    /// The slot that holds exactly this triple.
    pub(crate) fn find(&self, triple: &Triple) -> Option<SlotId> {
        self.read().ledger.find(triple)
    }

    /// Slots above `after` that match, by index, at most `limit`.
    pub(crate) fn select(&self, filter: &Filter, after: SlotId, limit: usize) -> Vec<(SlotId, Slot)> {
        let inner = self.read();
        let ids = match (&filter.key, &filter.owner) {
            (Some(key), _) => inner.by_key.get(key),
            (None, Some(owner)) => inner.by_owner.get(owner),
            (None, None) => None,
        };
        let after = SlotId(after.0.saturating_add(1));
        let slots = ids.into_iter().flat_map(|ids| ids.range(after..)).map(|id| (*id, inner.ledger.get(*id)));
        slots.filter(|(_, slot)| filter.admits(&slot.triple)).take(limit).collect()
    }

    /// Shows what has become durable.
    pub(crate) fn show(&self, changes: &[Change]) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            if change.old.triple != change.new.triple {
                inner.unindex(change.slot, &change.old.triple);
                inner.index(change.slot, &change.new.triple);
            }
            inner.ledger.set(change.slot, change.new);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A rotated slot is found by its new key alone.
    fn unindex(&mut self, id: SlotId, triple: &Triple) {
        for ids in self.by_key.get_mut(&triple.key).into_iter().chain(self.by_owner.get_mut(&triple.owner)) {
            ids.remove(&id);
        }
    }

    fn index(&mut self, id: SlotId, triple: &Triple) {
        self.by_key.entry(triple.key).or_default().insert(id);
        self.by_owner.entry(triple.owner).or_default().insert(id);
    }
}

impl Filter {
    fn admits(&self, triple: &Triple) -> bool {
        self.key.is_none_or(|key| key == triple.key)
            && self.owner.is_none_or(|owner| owner == triple.owner)
            && self.token.is_none_or(|token| token == triple.token)
    }
}
