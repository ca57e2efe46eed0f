//! The state as values: slots by index, without commitments. The committed twin is in `kzg`.
//!
//! A slot is one (key, owner, token) account. `dyn = balance + 2^128 nonce + 2^168 token` is how the state vector packs the rest.
//! An empty slot is all zero; slot 0 is reserved and stays empty.

use crate::amount::{Address, Amount, Nonce, SLOT_BITS, SlotId, TokenId};
use crate::field::{Fr, pow2};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

/// What identifies an account: a payment address resolves only by its exact triple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Triple {
    /// x-coordinate of the account's Grumpkin key; 0 only in an empty slot.
    #[serde(with = "crate::field::fr_hex")]
    pub key: Fr,
    /// L1 address that may force an exit and replace the key.
    pub owner: Address,
    /// Token number; 0 only in an empty slot.
    pub token: TokenId,
}

/// One slot's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Key, owner and token.
    #[serde(flatten)]
    pub triple: Triple,
    /// Signed operations so far.
    pub nonce: Nonce,
    /// Balance, below 2^120.
    pub balance: Amount,
}

impl Slot {
    /// The empty slot.
    pub const EMPTY: Slot =
        Slot { triple: Triple { key: ark_ff::MontFp!("0"), owner: Address([0; 20]), token: TokenId(0) }, nonce: Nonce(0), balance: Amount(0) };

    /// A slot just opened: no balance, nonce 0.
    pub fn opened(triple: Triple) -> Slot {
        Slot { triple, nonce: Nonce(0), balance: Amount(0) }
    }

    /// True for a slot nobody has opened.
    pub fn is_empty(&self) -> bool {
        self.triple.token == TokenId(0)
    }

    /// `balance + 2^128 nonce + 2^168 token`.
    pub fn packed(&self) -> Fr {
        Fr::from(self.balance.0) + pow2(128) * Fr::from(self.nonce.0) + pow2(168) * Fr::from(self.triple.token.0)
    }

    /// The three columns: key, dyn, owner.
    pub fn columns(&self) -> [Fr; 3] {
        [self.triple.key, self.packed(), self.triple.owner.to_fr()]
    }
}

/// All slots of a state of `2^k`, with an index from triple to slots.
#[derive(Clone, Debug)]
pub struct Ledger {
    capacity: u32,
    slots: Vec<Slot>,
    by_triple: HashMap<Triple, BTreeSet<SlotId>>,
    lowest_empty: u32,
}

impl Ledger {
    /// An empty state of `2^k` slots; memory grows with the slots in use.
    ///
    /// # Panics
    /// If `k` is above 24.
    pub fn new(k: u32) -> Self {
        assert!(k <= SLOT_BITS, "a state has at most 2^24 slots");
        Self { capacity: 1 << k, slots: vec![Slot::EMPTY], by_triple: HashMap::new(), lowest_empty: 1 }
    }

    /// Number of slots, used or not.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The slot's content; empty beyond what was ever opened.
    pub fn get(&self, id: SlotId) -> Slot {
        self.slots.get(id.0 as usize).copied().unwrap_or(Slot::EMPTY)
    }

    /// True if `id` names a slot of this state that can be used.
    pub fn contains(&self, id: SlotId) -> bool {
        id.0 != 0 && id.0 < self.capacity
    }

    /// Replaces a slot's content.
    ///
    /// # Panics
    /// If `id` is 0 or beyond the capacity: callers check with [`Ledger::contains`].
    pub fn set(&mut self, id: SlotId, slot: Slot) {
        assert!(self.contains(id), "slot {id} is outside the state");
        let index = id.0 as usize;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, Slot::EMPTY);
        }
        let old = std::mem::replace(&mut self.slots[index], slot);
        if old.triple != slot.triple {
            self.reindex(id, &old, &slot);
        }
    }

    fn reindex(&mut self, id: SlotId, old: &Slot, new: &Slot) {
        if let Some(ids) = self.by_triple.get_mut(&old.triple) {
            ids.remove(&id);
        }
        if new.is_empty() {
            self.lowest_empty = self.lowest_empty.min(id.0);
        } else {
            self.by_triple.entry(new.triple).or_default().insert(id);
            while self.lowest_empty < self.capacity && !self.get(SlotId(self.lowest_empty)).is_empty() {
                self.lowest_empty += 1;
            }
        }
    }

    /// The lowest slot holding exactly this triple.
    pub fn find(&self, triple: &Triple) -> Option<SlotId> {
        self.by_triple.get(triple).and_then(|ids| ids.first().copied())
    }

    /// The lowest empty slot, or `None` when the state is full.
    pub fn lowest_empty(&self) -> Option<SlotId> {
        (self.lowest_empty < self.capacity).then_some(SlotId(self.lowest_empty))
    }

    /// Where an account of this triple lives or would be opened: the lowest slot that holds it, else the lowest empty one.
    pub fn home(&self, triple: &Triple) -> Option<SlotId> {
        self.find(triple).or_else(|| self.lowest_empty())
    }

    /// Every slot in use, by index.
    pub fn occupied(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        self.slots.iter().enumerate().filter(|(_, slot)| !slot.is_empty()).map(|(i, slot)| (SlotId(i as u32), slot))
    }
}
