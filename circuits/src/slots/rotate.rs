//! Key-rotation slot: a request of the L1 queue that replaces a slot's key if its owner asks, and proves that it does nothing otherwise.
//!
//! ```text
//! words K, req, newkey ; witness own, key ; all absorbed ; K = 2^16 idx + token ; u K = en ; (1 - en) K = 0
//! (own - req) v = en - a ; a (own - req) = 0
//! READ += en/d(K, key, own) ; ROT += a/(zeta - K) ; Delta += W/(zeta - W) a (newkey - key)
//! ```
//!
//! Ranges here: idx 24 bits, token 16: W needs the bits of idx, and K must have no other split. Requester and new key are L1's. READ ties own
//! and key to the slot, ROT ties the act to its account slot.

use super::{Bus, Context, SlotCircuit, SlotOut, acting, domain_point, enabled, identity_denominator, slot_pole};
use crate::builder::{Builder, Num};
use ark_bn254::Fr;
use sheaf_protocol::amount::SLOT_BITS;

/// A key rotation as field elements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RotateWitness {
    /// The slot; 24 bits here.
    pub idx: Fr,
    /// Its token; 16 bits here.
    pub token: Fr,
    /// Who asks, by L1.
    pub requester: Fr,
    /// The new key; ranged by L1.
    pub new_key: Fr,
    /// Owner of the slot, bound by READ.
    pub owner: Fr,
    /// Key of the slot, bound by READ.
    pub key: Fr,
}

/// What a rotation hands to the tail.
#[derive(Clone, Debug)]
pub struct RotateOut {
    /// Transcript, buses and words.
    pub slot: SlotOut,
    /// Its term of Delta.
    pub delta: Num,
}

impl SlotCircuit for RotateWitness {
    const KIND: &'static str = "rotate";
    type Out = RotateOut;

    fn build(&self, b: &mut Builder<'_>, ctx: &Context) -> RotateOut {
        b.group("slot_range");
        let (idx, bits) = b.ranged(self.idx, SLOT_BITS as usize);
        b.group("token_range");
        let (token, _) = b.ranged(self.token, 16);
        b.group("words");
        let [requester, new_key, owner, key] = [self.requester, self.new_key, self.owner, self.key].map(|word| b.alloc(word));
        let pole = slot_pole(&idx, &token);
        let en = enabled(b, &pole, &[&pole]);
        let acts = acting(b, &en, &owner, &requester);

        let words = vec![pole.clone(), requester.clone(), new_key.clone()];
        let absorbed = vec![pole.clone(), requester, new_key.clone(), owner.clone(), key.clone()];
        let mut slot = SlotOut { absorbed, words, ..SlotOut::default() };
        b.group("read_bus");
        let identity = identity_denominator(b, ctx, &pole, &key, &owner);
        slot.credit(b, Bus::Read, &en, &identity);
        b.group("rotate_bus");
        slot.credit(b, Bus::Rotate, &acts, &(&ctx.zeta - &pole));

        let w = domain_point(b, &bits);
        b.group("claims");
        let change = b.mul(&acts, &(&new_key - &key));
        let t = b.divide(&w, &(&ctx.zeta - &w));
        let delta = b.mul(&t, &change);
        RotateOut { slot, delta }
    }
}
