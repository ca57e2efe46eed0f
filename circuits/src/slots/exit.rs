//! Forced-exit slot: a request of the L1 queue that pays a slot out if its owner asks, and proves that it does nothing otherwise.
//!
//! ```text
//! words K, req, amount ; witness own, key ; all absorbed ; u K = en ; (1 - en) K = 0
//! (own - req) v = en - a ; a (own - req) = 0 ; (1 - a) amount = 0
//! READ += en/d(K, key, own) ; EXIT += a/(zeta - K) ; BAL -= amount/(zeta - K)
//! ```
//!
//! Nothing is ranged here: L1 builds K and the requester, and **ranges the amount below 2^112** (load-bearing: it is a signed term of BAL). READ
//! ties own and key to the slot; the account slot's x, through EXIT, demands that nothing is left. An empty slot has own = key = 0 and
//! token 0 in K: a request that does nothing.

use super::{Bus, Context, SlotCircuit, SlotOut, acting, enabled, identity_denominator};
use crate::builder::{Builder, Num};
use ark_bn254::Fr;
use ark_ff::Field;

/// A forced exit as field elements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExitWitness {
    /// `K(idx, token)`; L1 builds it.
    pub pole: Fr,
    /// Who asks, by L1.
    pub requester: Fr,
    /// What leaves; ranged by L1.
    pub amount: Fr,
    /// Owner of the slot, bound by READ.
    pub owner: Fr,
    /// Key of the slot, bound by READ.
    pub key: Fr,
}

impl SlotCircuit for ExitWitness {
    const KIND: &'static str = "exit";
    type Out = SlotOut;

    fn build(&self, b: &mut Builder<'_>, ctx: &Context) -> SlotOut {
        b.group("words");
        let absorbed = [self.pole, self.requester, self.amount, self.owner, self.key].map(|word| b.alloc(word));
        let [pole, requester, amount, owner, key] = &absorbed;
        let en = enabled(b, pole, &[pole]);
        let acts = acting(b, &en, owner, requester);
        b.group("foreign_pays_nothing");
        b.enforce(&(&-&acts + Fr::ONE), amount, &Num::zero());

        let words = absorbed[..3].to_vec();
        let mut out = SlotOut { absorbed: absorbed.to_vec(), words, ..SlotOut::default() };
        let at_slot = &ctx.zeta - pole;
        b.group("read_bus");
        let identity = identity_denominator(b, ctx, pole, key, owner);
        out.credit(b, Bus::Read, &en, &identity);
        b.group("exit_bus");
        out.credit(b, Bus::Exit, &acts, &at_slot);
        b.group("balance_bus");
        out.debit(b, Bus::Balance, amount, &at_slot);
        out
    }
}
