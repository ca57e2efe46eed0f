//! Transfer slot.
//!
//! ```text
//! word = from | to<<24 | amount40<<48 | fee16<<88 ; m = word + token<<104 + nonce<<120 ; e = signature(domain + 1, key, m)
//! u from = en ; (1 - en) word = 0
//! KEY   += en/(zeta - K(from,token) - rho key)           NONCE += en/((zeta-N)(zeta-N-1)), N = 2^32 from + nonce
//! BAL   -= (amount+fee)/(zeta - K(from,token)), += amount/(zeta - K(to,token)), += fee/(zeta - Kfee(token))
//! ```
//!
//! Ranges here: from, to 24 bits, token 16, nonce 32, amount 36+4, fee 12+4. Absorbed: e, which binds every other number of
//! the slot. The denominators are 0 only if zeta hits a pole below 2^101, or one that involves rho: zeta comes after both.

use super::{Bus, Context, Payment, SlotCircuit, SlotOut, enabled, slot_pole};
use crate::builder::{Builder, Num};
use crate::float::{FloatWitness, float};
use crate::signature::{self, SignatureWitness};
use ark_bn254::Fr;
use sheaf_protocol::amount::{AMOUNT_MANTISSA_BITS, FEE_MANTISSA_BITS, SLOT_BITS};
use sheaf_protocol::ops::OpTag;

/// A transfer as field elements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransferWitness {
    /// The paying slot; 24 bits here.
    pub from: Fr,
    /// The paid slot; 24 bits here.
    pub to: Fr,
    /// The token; 16 bits here, the payer's own by KEY.
    pub token: Fr,
    /// The nonce; 32 bits here.
    pub nonce: Fr,
    /// What arrives.
    pub amount: FloatWitness,
    /// What the operator gets.
    pub fee: FloatWitness,
    /// Key and signature.
    pub signature: SignatureWitness,
}

impl SlotCircuit for TransferWitness {
    const KIND: &'static str = "transfer";
    type Out = SlotOut;

    fn build(&self, b: &mut Builder<'_>, ctx: &Context) -> SlotOut {
        b.group("slots_range");
        let (from, _) = b.ranged(self.from, SLOT_BITS as usize);
        let (to, _) = b.ranged(self.to, SLOT_BITS as usize);
        b.group("token_range");
        let (token, _) = b.ranged(self.token, 16);
        b.group("nonce_range");
        let (nonce, _) = b.ranged(self.nonce, 32);
        let amount = float(b, "amount", &self.amount, AMOUNT_MANTISSA_BITS);
        let fee = float(b, "fee", &self.fee, FEE_MANTISSA_BITS);
        let word = Num::packed(&[(&from, 0), (&to, 24), (&amount.packed, 48), (&fee.packed, 88)]);
        let message = Num::packed(&[(&word, 0), (&token, 104), (&nonce, 120)]);
        let (key, e) = signature::verify(b, &ctx.domain, OpTag::Transfer, &message, &self.signature);
        let en = enabled(b, &from, &[&word]);

        let mut out = SlotOut { absorbed: vec![e], words: vec![word], ..SlotOut::default() };
        let debit = &amount.value + &fee.value;
        Payment { from: &from, token: &token, nonce: &nonce, key: &key, en: &en, debit, fee: &fee.value }.settle(b, ctx, &mut out);
        out.credit(b, Bus::Balance, &amount.value, &(&ctx.zeta - &slot_pole(&to, &token)));
        out
    }
}
