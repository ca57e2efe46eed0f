//! Account slot: one touched entry of the state vector, before and after.
//!
//! ```text
//! dyn'    = bal' + 2^128 nonce' + 2^168 token
//! bal_old = dyn_old - 2^128 (nonce' - m) - 2^168 (token - is_new token)
//! is_new dyn_old = 0 ; is_new (nonce' - m) = 0 ; c u = is_new ; x bal' = 0
//! absorb  dyn' + 2^184 idx + 2^208 is_new + 2^209 m + 2^221 c + 2^229 r + 2^237 x + 2^238 y ; dyn_old ; key ; owner
//! BAL  -= (bal' - bal_old)/(zeta - K)     KEY   -= m/(zeta - K - rho key)    NONCE -= m/((zeta-N')(zeta-N'+m)), N' = 2^32 idx + nonce'
//! OPEN -= c/d(K,key,owner)                READ  -= r/d(K,key,owner)          EXIT  -= x/(zeta-K)          ROT -= y/(zeta-K)
//! Q = key + rho^2 owner ; P = is_new Q ; t = W/(zeta - W), W = prod_j (1 + b_j (omega_(2^(j+1)) - 1)) over the bits of idx
//! E += t (Q - P + rho dyn_old) ; Delta += t (P + rho (dyn' - dyn_old)) ; Z *= zeta - W
//! ```
//!
//! Ranges here: idx 24 bits, token 16, nonce' 32, bal' 120, m 12, c 8, r 8; is_new, x, y boolean. The old dyn is not ranged:
//! guard bits and the caps on amounts leave one way to split it. key, owner and dyn_old are bound to the state by E, and by the transcript.

use super::{Bus, Context, SlotCircuit, SlotOut, domain_point, slot_pole};
use crate::builder::{Builder, Num};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use sheaf_protocol::amount::{BALANCE_BITS, SLOT_BITS};
use sheaf_protocol::field::pow2;

/// Bits of m, the signatures of one slot in one batch.
pub const SIGNATURES_BITS: usize = 12;
/// Bits of c and of r, the openings and the reads of one slot in one batch.
pub const EVENTS_BITS: usize = 8;

/// An account slot as field elements. An all-zero key, owner and dyn is an empty slot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccountWitness {
    /// Index in the state; 24 bits here.
    pub idx: Fr,
    /// Token after the batch; 16 bits here.
    pub token: Fr,
    /// Nonce after the batch; 32 bits here.
    pub nonce: Fr,
    /// Balance after the batch; 120 bits here.
    pub balance: Fr,
    /// m: operations signed in this batch; 12 bits here.
    pub signatures: Fr,
    /// c: openings and deposits naming the slot; 8 bits here.
    pub openings: Fr,
    /// r: requests that read the slot; 8 bits here.
    pub reads: Fr,
    /// 1 if the slot was empty and is opened in this batch; boolean here.
    pub is_new: Fr,
    /// x: an exit acts on the slot; boolean here.
    pub exits: Fr,
    /// y: a rotation acts on the slot; boolean here.
    pub rotates: Fr,
    /// dyn before the batch; bound by E.
    pub dyn_old: Fr,
    /// Key before, or the one it is opened with; bound by E and OPEN. A rotation adds its change to Delta.
    pub key: Fr,
    /// Owner, before and after; bound by E.
    pub owner: Fr,
}

/// What an account slot hands to the tail.
#[derive(Clone, Debug)]
pub struct AccountOut {
    /// Transcript and buses.
    pub slot: SlotOut,
    /// The index, to be sorted.
    pub idx: Num,
    /// Its term of E.
    pub e: Num,
    /// Its term of Delta.
    pub delta: Num,
    /// `zeta - W`, its factor of Z.
    pub factor: Num,
}

struct Fields {
    idx: Num,
    idx_bits: Vec<Num>,
    token: Num,
    nonce: Num,
    balance: Num,
    signatures: Num,
    openings: Num,
    reads: Num,
    is_new: Num,
    exits: Num,
    rotates: Num,
    dyn_old: Num,
    key: Num,
    owner: Num,
}

impl AccountWitness {
    fn fields(&self, b: &mut Builder<'_>) -> Fields {
        b.group("idx_range");
        let (idx, idx_bits) = b.ranged(self.idx, SLOT_BITS as usize);
        b.group("token_range");
        let (token, _) = b.ranged(self.token, 16);
        b.group("nonce_range");
        let (nonce, _) = b.ranged(self.nonce, 32);
        b.group("balance_range");
        let (balance, _) = b.ranged(self.balance, BALANCE_BITS as usize);
        b.group("counts_range");
        let (signatures, _) = b.ranged(self.signatures, SIGNATURES_BITS);
        let (openings, _) = b.ranged(self.openings, EVENTS_BITS);
        let (reads, _) = b.ranged(self.reads, EVENTS_BITS);
        b.group("flags");
        let [is_new, exits, rotates] = [self.is_new, self.exits, self.rotates].map(|flag| b.boolean(flag));
        b.group("columns");
        let [dyn_old, key, owner] = [self.dyn_old, self.key, self.owner].map(|column| b.alloc(column));
        Fields { idx, idx_bits, token, nonce, balance, signatures, openings, reads, is_new, exits, rotates, dyn_old, key, owner }
    }
}

impl Fields {
    /// `nonce' - m`.
    fn nonce_old(&self) -> Num {
        &self.nonce - &self.signatures
    }

    fn dyn_new(&self) -> Num {
        Num::packed(&[(&self.balance, 0), (&self.nonce, 128), (&self.token, 168)])
    }

    fn absorbed(&self, dyn_new: &Num) -> Vec<Num> {
        let first = Num::packed(&[
            (dyn_new, 0),
            (&self.idx, 184),
            (&self.is_new, 208),
            (&self.signatures, 209),
            (&self.openings, 221),
            (&self.reads, 229),
            (&self.exits, 237),
            (&self.rotates, 238),
        ]);
        vec![first, self.dyn_old.clone(), self.key.clone(), self.owner.clone()]
    }

    /// Rules of opening and exiting. The inverse is free where the slot is not new, c and is_new both 0, and enters nothing else.
    fn rules(&self, b: &mut Builder<'_>) {
        b.group("new_was_empty");
        b.enforce(&self.is_new, &self.dyn_old, &Num::zero());
        b.group("new_nonce_starts_at_zero");
        b.enforce(&self.is_new, &self.nonce_old(), &Num::zero());
        b.group("new_needs_an_opening");
        let inverse = self.openings.value().inverse().unwrap_or_default();
        let ratio = b.alloc(self.is_new.value() * inverse);
        b.enforce(&self.openings, &ratio, &self.is_new);
        b.group("exit_empties");
        b.enforce(&self.exits, &self.balance, &Num::zero());
    }

    fn balance_old(&self, b: &mut Builder<'_>) -> Num {
        b.group("old_balance");
        let new_token = b.mul(&self.is_new, &self.token);
        let token_old = &self.token - &new_token;
        let nonce_old = self.nonce_old();
        Num::weighted(Fr::ZERO, [(Fr::ONE, &self.dyn_old), (-pow2(128), &nonce_old), (-pow2(168), &token_old)].into_iter())
    }

    fn buses(&self, b: &mut Builder<'_>, ctx: &Context, out: &mut SlotOut) -> Num {
        let at_slot = &ctx.zeta - &slot_pole(&self.idx, &self.token);
        let gained = &self.balance - &self.balance_old(b);
        b.group("balance_bus");
        out.debit(b, Bus::Balance, &gained, &at_slot);
        b.group("key_bus");
        let rho_key = b.mul(&ctx.rho, &self.key);
        let at_key = &at_slot - &rho_key;
        out.debit(b, Bus::Key, &self.signatures, &at_key);
        b.group("nonce_bus");
        let at_nonce = &ctx.zeta - &Num::packed(&[(&self.nonce, 0), (&self.idx, 32)]);
        let span = b.mul(&at_nonce, &(&at_nonce + &self.signatures));
        out.debit(b, Bus::Nonce, &self.signatures, &span);
        b.group("open_bus");
        let rho2_owner = b.mul(&ctx.rho_squared, &self.owner);
        let at_identity = &at_key - &rho2_owner;
        out.debit(b, Bus::Open, &self.openings, &at_identity);
        b.group("read_bus");
        out.debit(b, Bus::Read, &self.reads, &at_identity);
        b.group("exit_bus");
        out.debit(b, Bus::Exit, &self.exits, &at_slot);
        b.group("rotate_bus");
        out.debit(b, Bus::Rotate, &self.rotates, &at_slot);
        &self.key + &rho2_owner
    }
}

impl SlotCircuit for AccountWitness {
    const KIND: &'static str = "account";
    type Out = AccountOut;

    fn build(&self, b: &mut Builder<'_>, ctx: &Context) -> AccountOut {
        let f = self.fields(b);
        f.rules(b);
        let dyn_new = f.dyn_new();
        let mut slot = SlotOut { absorbed: f.absorbed(&dyn_new), ..SlotOut::default() };
        let q = f.buses(b, ctx, &mut slot);

        let w = domain_point(b, &f.idx_bits);
        let factor = &ctx.zeta - &w;
        b.group("claims");
        let p = b.mul(&f.is_new, &q);
        let old = b.mul(&ctx.rho, &f.dyn_old);
        let new = b.mul(&ctx.rho, &dyn_new);
        let t = b.divide(&w, &factor);
        let e = b.mul(&t, &(&(&q - &p) + &old));
        let delta = b.mul(&t, &(&(&p + &new) - &old));
        AccountOut { slot, idx: f.idx, e, delta, factor }
    }
}
