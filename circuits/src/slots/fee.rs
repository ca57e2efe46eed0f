//! Fee slot: the batch's fees of one token, credited to a slot of that token.
//!
//! ```text
//! word = idx | token<<24 | total<<40, absorbed and in P_da ; BAL -= total/(zeta - Kfee(token)), += total/(zeta - K(idx,token))
//! ```
//!
//! Ranges here: idx 24 bits, token 16, total 112. All three are load-bearing: without them the word could be split in
//! another way than followers split it.

use super::{Bus, Context, SlotCircuit, SlotOut, fee_pole, slot_pole};
use crate::builder::{Builder, Num};
use ark_bn254::Fr;
use sheaf_protocol::amount::{SLOT_BITS, WHOLE_AMOUNT_BITS};

/// A fee slot as field elements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeeWitness {
    /// The slot credited; 24 bits here.
    pub idx: Fr,
    /// The token; 16 bits here.
    pub token: Fr,
    /// Sum of the fees; 112 bits here.
    pub total: Fr,
}

impl SlotCircuit for FeeWitness {
    const KIND: &'static str = "fee";
    type Out = SlotOut;

    fn build(&self, b: &mut Builder<'_>, ctx: &Context) -> SlotOut {
        b.group("slot_range");
        let (idx, _) = b.ranged(self.idx, SLOT_BITS as usize);
        b.group("token_range");
        let (token, _) = b.ranged(self.token, 16);
        b.group("total_range");
        let (total, _) = b.ranged(self.total, WHOLE_AMOUNT_BITS as usize);
        let word = Num::packed(&[(&idx, 0), (&token, 24), (&total, 40)]);
        let mut out = SlotOut { absorbed: vec![word.clone()], words: vec![word], ..SlotOut::default() };
        b.group("balance_bus");
        out.debit(b, Bus::Balance, &total, &(&ctx.zeta - &fee_pole(&token)));
        out.credit(b, Bus::Balance, &total, &(&ctx.zeta - &slot_pole(&idx, &token)));
        out
    }
}
