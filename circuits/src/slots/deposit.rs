//! Deposit slot: an entry of the L1 queue credited to a slot.
//!
//! ```text
//! words K, amount, owner, key, all absorbed ; u K = en ; (1 - en) K = 0
//! BAL += amount/(zeta - K) ; OPEN += en/d(K, key, owner)
//! ```
//!
//! Nothing is ranged here: L1 builds all four words itself. Creation is no flag: an account slot may be new only if OPEN saw
//! its exact (K, key, owner).

use super::{Bus, Context, SlotCircuit, SlotOut, enabled, identity_denominator};
use crate::builder::Builder;
use ark_bn254::Fr;

/// A deposit as field elements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DepositWitness {
    /// `K(idx, token)`; L1 builds it.
    pub pole: Fr,
    /// What arrives, below 2^112 by L1.
    pub amount: Fr,
    /// Owner of the slot.
    pub owner: Fr,
    /// Key of the slot.
    pub key: Fr,
}

impl SlotCircuit for DepositWitness {
    const KIND: &'static str = "deposit";
    type Out = SlotOut;

    fn build(&self, b: &mut Builder<'_>, ctx: &Context) -> SlotOut {
        b.group("words");
        let words = [self.pole, self.amount, self.owner, self.key].map(|word| b.alloc(word));
        let [pole, amount, owner, key] = &words;
        let en = enabled(b, pole, &[pole]);
        let mut out = SlotOut { absorbed: words.to_vec(), words: words.to_vec(), ..SlotOut::default() };
        b.group("balance_bus");
        out.credit(b, Bus::Balance, amount, &(&ctx.zeta - pole));
        b.group("open_bus");
        let identity = identity_denominator(b, ctx, pole, key, owner);
        out.credit(b, Bus::Open, &en, &identity);
        out
    }
}
