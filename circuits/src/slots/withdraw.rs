//! Withdraw slot.
//!
//! ```text
//! w0 = from | token<<24 | fee16<<40 ; m = Poseidon_4(domain + TAG_WM; w0 + nonce<<56, amount, address) ; e = signature(domain + 2, key, m)
//! u from = en ; (1 - en) w0 = 0 ; (1 - en) amount = 0
//! KEY, NONCE as a transfer ; BAL -= (amount+fee)/(zeta - K(from,token)), += fee/(zeta - Kfee(token))
//! ```
//!
//! Ranges here: from 24 bits, token 16, nonce 32, fee 12+4. Amount and address are whole words of `P_ops`: L1 ranges them
//! (amount < 2^112, address < 2^160) and they may be any field element here. Absorbed: e, which binds m and so every word.

use super::{Context, Payment, SlotCircuit, SlotOut, enabled};
use crate::builder::{Builder, Num};
use crate::float::{FloatWitness, float};
use crate::poseidon::hash3;
use crate::signature::{self, SignatureWitness};
use ark_bn254::Fr;
use sheaf_protocol::amount::{FEE_MANTISSA_BITS, SLOT_BITS};
use sheaf_protocol::ops::{OpTag, TAG_WITHDRAW_MESSAGE};

/// A withdrawal as field elements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WithdrawWitness {
    /// The paying slot; 24 bits here.
    pub from: Fr,
    /// Its token; 16 bits here.
    pub token: Fr,
    /// The nonce; 32 bits here.
    pub nonce: Fr,
    /// What the operator gets.
    pub fee: FloatWitness,
    /// What leaves; ranged by L1.
    pub amount: Fr,
    /// Who may claim it; ranged by L1.
    pub address: Fr,
    /// Key and signature.
    pub signature: SignatureWitness,
}

impl SlotCircuit for WithdrawWitness {
    const KIND: &'static str = "withdraw";
    type Out = SlotOut;

    fn build(&self, b: &mut Builder<'_>, ctx: &Context) -> SlotOut {
        b.group("slots_range");
        let (from, _) = b.ranged(self.from, SLOT_BITS as usize);
        b.group("token_range");
        let (token, _) = b.ranged(self.token, 16);
        b.group("nonce_range");
        let (nonce, _) = b.ranged(self.nonce, 32);
        let fee = float(b, "fee", &self.fee, FEE_MANTISSA_BITS);
        let w0 = Num::packed(&[(&from, 0), (&token, 24), (&fee.packed, 40)]);
        b.group("message");
        let (amount, address) = (b.alloc(self.amount), b.alloc(self.address));
        let capacity = &ctx.domain + Fr::from(TAG_WITHDRAW_MESSAGE);
        let message = hash3(b, &capacity, [&Num::packed(&[(&w0, 0), (&nonce, 56)]), &amount, &address]);
        let (key, e) = signature::verify(b, &ctx.domain, OpTag::Withdraw, &message, &self.signature);
        let en = enabled(b, &from, &[&w0, &amount]);

        let mut out = SlotOut { absorbed: vec![e], words: vec![w0, amount.clone(), address], ..SlotOut::default() };
        let debit = &amount + &fee.value;
        Payment { from: &from, token: &token, nonce: &nonce, key: &key, en: &en, debit, fee: &fee.value }.settle(b, ctx, &mut out);
        out
    }
}
