//! Register slot: a sponsor opens an account for somebody else.
//!
//! ```text
//! w0 = from | new<<24 | tokn<<48 | fee16<<64
//! m  = Poseidon_4(domain + TAG_RM; from | token<<24 | tokn<<40 | fee16<<56 | nonce<<72, key, owner) ; e = signature(domain + 3, sponsor's key, m)
//! u from = en ; (1 - en) w0 = 0 ; new v = en
//! KEY, NONCE as a transfer ; BAL -= fee/(zeta - K(from,token)), += fee/(zeta - Kfee(token)) ; OPEN += en/d(K(new,tokn),key,owner)
//! ```
//!
//! Ranges here: from, new 24 bits, token, tokn 16, nonce 32, fee 12+4. Key and owner are whole words of `P_da`: L1 ranges them. Absorbed: e,
//! which binds m, and `new`, which the sponsor does not sign (the tail packs ten to an element).

use super::{Bus, Context, Payment, SlotCircuit, SlotOut, enabled, identity_denominator, slot_pole};
use crate::builder::{Builder, Num};
use crate::float::{FloatWitness, float};
use crate::poseidon::hash3;
use crate::signature::{self, SignatureWitness};
use ark_bn254::Fr;
use ark_ff::Field;
use sheaf_protocol::amount::{FEE_MANTISSA_BITS, SLOT_BITS};
use sheaf_protocol::ops::{OpTag, TAG_REGISTER_MESSAGE};

/// A register as field elements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegisterWitness {
    /// The sponsor's slot; 24 bits here.
    pub from: Fr,
    /// The sponsor's token; 16 bits here.
    pub token: Fr,
    /// The sponsor's nonce; 32 bits here.
    pub nonce: Fr,
    /// What the operator gets.
    pub fee: FloatWitness,
    /// The slot that holds the account; 24 bits here.
    pub new: Fr,
    /// Token of the account; 16 bits here.
    pub new_token: Fr,
    /// Key of the account; ranged by L1.
    pub new_key: Fr,
    /// Owner of the account; ranged by L1.
    pub new_owner: Fr,
    /// Key and signature of the sponsor.
    pub signature: SignatureWitness,
}

/// What a register hands to the tail.
#[derive(Clone, Debug)]
pub struct RegisterOut {
    /// Transcript, buses and words.
    pub slot: SlotOut,
    /// The slot it opens, to be packed and absorbed.
    pub new: Num,
}

impl SlotCircuit for RegisterWitness {
    const KIND: &'static str = "register";
    type Out = RegisterOut;

    fn build(&self, b: &mut Builder<'_>, ctx: &Context) -> RegisterOut {
        b.group("slots_range");
        let (from, _) = b.ranged(self.from, SLOT_BITS as usize);
        let (new, _) = b.ranged(self.new, SLOT_BITS as usize);
        b.group("token_range");
        let (token, _) = b.ranged(self.token, 16);
        let (new_token, _) = b.ranged(self.new_token, 16);
        b.group("nonce_range");
        let (nonce, _) = b.ranged(self.nonce, 32);
        let fee = float(b, "fee", &self.fee, FEE_MANTISSA_BITS);
        let w0 = Num::packed(&[(&from, 0), (&new, 24), (&new_token, 48), (&fee.packed, 64)]);
        b.group("message");
        let (new_key, new_owner) = (b.alloc(self.new_key), b.alloc(self.new_owner));
        let capacity = &ctx.domain + Fr::from(TAG_REGISTER_MESSAGE);
        let head = Num::packed(&[(&from, 0), (&token, 24), (&new_token, 40), (&fee.packed, 56), (&nonce, 72)]);
        let message = hash3(b, &capacity, [&head, &new_key, &new_owner]);
        let (key, e) = signature::verify(b, &ctx.domain, OpTag::Register, &message, &self.signature);
        let en = enabled(b, &from, &[&w0]);
        // the inverse is fixed where en is 1; where it is not, new is 0 with w0, and the inverse is free and enters nothing else
        b.group("new_is_a_slot");
        let inverse = b.alloc(new.value().inverse().unwrap_or_default() * en.value());
        b.enforce(&new, &inverse, &en);

        let words = vec![w0, new_key.clone(), new_owner.clone()];
        let mut slot = SlotOut { absorbed: vec![e], words, ..SlotOut::default() };
        let debit = fee.value.clone();
        Payment { from: &from, token: &token, nonce: &nonce, key: &key, en: &en, debit, fee: &fee.value }.settle(b, ctx, &mut slot);
        b.group("open_bus");
        let identity = identity_denominator(b, ctx, &slot_pole(&new, &new_token), &new_key, &new_owner);
        slot.credit(b, Bus::Open, &en, &identity);
        RegisterOut { slot, new }
    }
}
