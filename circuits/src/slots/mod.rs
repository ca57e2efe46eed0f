//! Slot kinds. Each slot is built on its own and only hands sums to its neighbours:
//!
//! ```text
//! slot witness ──build──> absorbed   numbers for the transcript, in protocol order
//!                         buses      fractions at zeta, one constraint each
//!                         words      what L1 sees, evaluated at zeta in the tail
//! ```
//!
//! A kind emits terms on the shared buses and knows nothing of other kinds, so a transfer never pays for a withdrawal. Slot
//! witnesses are plain field elements: a test may ask for any lie, and the rows say no.

pub mod account;
pub mod deposit;
pub mod exit;
pub mod fee;
pub mod register;
pub mod rotate;
pub mod transfer;
pub mod withdraw;

use crate::builder::{Builder, Num};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field, Zero};
use sheaf_protocol::field::pow2;
use sheaf_protocol::kzg::root_of_unity;

/// What every slot sees: the public inputs that enter slots, and rho^2.
#[derive(Clone, Debug)]
pub struct Context {
    /// Domain of the deployment; part of every signature.
    pub domain: Num,
    /// First challenge.
    pub rho: Num,
    /// `rho^2`.
    pub rho_squared: Num,
    /// Second challenge: where every fraction and polynomial is evaluated.
    pub zeta: Num,
}

/// The seven sums of fractions that must each be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// Amounts per (slot, token) and per fee token.
    Balance,
    /// Signatures per (slot, token, key).
    Key,
    /// Nonces used per slot.
    Nonce,
    /// Openings and deposits per exact (slot, token, key, owner).
    Open,
    /// Requests that read a slot's key and owner.
    Read,
    /// Acting exits per slot.
    Exit,
    /// Acting rotations per slot.
    Rotate,
}

impl Bus {
    /// Every bus, with the name of its constraint group.
    pub const ALL: [(Bus, &'static str); 7] = [
        (Bus::Balance, "balance_bus"),
        (Bus::Key, "key_bus"),
        (Bus::Nonce, "nonce_bus"),
        (Bus::Open, "open_bus"),
        (Bus::Read, "read_bus"),
        (Bus::Exit, "exit_bus"),
        (Bus::Rotate, "rotate_bus"),
    ];
}

/// A term of a bus: `sign * fraction`.
#[derive(Clone, Debug)]
pub struct Term {
    /// Which sum it belongs to.
    pub bus: Bus,
    /// +1 or -1.
    pub sign: Fr,
    /// The fraction.
    pub fraction: Num,
}

/// What a slot hands to the tail of the circuit.
#[derive(Clone, Debug, Default)]
pub struct SlotOut {
    /// Numbers for the transcript.
    pub absorbed: Vec<Num>,
    /// Terms of the buses.
    pub terms: Vec<Term>,
    /// Words of `P_da` or `P_ops`.
    pub words: Vec<Num>,
}

impl SlotOut {
    /// Adds `numerator / denominator` to a bus.
    pub(crate) fn credit(&mut self, b: &mut Builder<'_>, bus: Bus, numerator: &Num, denominator: &Num) {
        let fraction = b.divide(numerator, denominator);
        self.terms.push(Term { bus, sign: Fr::ONE, fraction });
    }

    /// Subtracts `numerator / denominator` from a bus.
    pub(crate) fn debit(&mut self, b: &mut Builder<'_>, bus: Bus, numerator: &Num, denominator: &Num) {
        let fraction = b.divide(numerator, denominator);
        self.terms.push(Term { bus, sign: -Fr::ONE, fraction });
    }
}

/// A slot kind: its witness builds its part of the circuit.
pub trait SlotCircuit: Sync {
    /// Name of the kind: prefix of its constraint groups.
    const KIND: &'static str;
    /// What the tail gets.
    type Out: Send;
    /// Allocates the slot's variables and constraints, always the same ones in the same order.
    fn build(&self, b: &mut Builder<'_>, ctx: &Context) -> Self::Out;
}

/// `K(idx, token) = 2^16 idx + token`.
pub(crate) fn slot_pole(idx: &Num, token: &Num) -> Num {
    Num::packed(&[(token, 0), (idx, 16)])
}

/// `Kfee(token) = 2^100 + token`, apart from every `K` since those are below 2^40.
pub(crate) fn fee_pole(token: &Num) -> Num {
    token + pow2(100)
}

/// `d(K, key, owner) = zeta - K - rho key - rho^2 owner`: 2 constraints.
pub(crate) fn identity_denominator(b: &mut Builder<'_>, ctx: &Context, pole: &Num, key: &Num, owner: &Num) -> Num {
    let rho_key = b.mul(&ctx.rho, key);
    let rho2_owner = b.mul(&ctx.rho_squared, owner);
    Num::weighted(Fr::ZERO, [(Fr::ONE, &ctx.zeta), (-Fr::ONE, pole), (-Fr::ONE, &rho_key), (-Fr::ONE, &rho2_owner)].into_iter())
}

/// `en`: 1 in a used slot, 0 in an unused one. `u mark = en` and `(1 - en) word = 0` for each word, `mark` being a part of
/// the first word that is not 0 in a used slot. A word that is not 0 forces en = 1; a zero mark forces en = 0. The inverse `u` is
/// free in an unused slot and enters nothing else.
pub(crate) fn enabled(b: &mut Builder<'_>, mark: &Num, words: &[&Num]) -> Num {
    b.group("enabled");
    let en = b.alloc(Fr::from(!mark.value().is_zero()));
    let inverse = b.alloc(mark.value().inverse().unwrap_or_default());
    b.enforce(&inverse, mark, &en);
    let disabled = &-&en + Fr::ONE;
    for word in words {
        b.enforce(&disabled, word, &Num::zero());
    }
    en
}

/// `a`: 1 if the slot is in use and its owner asks, else 0: `(own - req) v = en - a ; a (own - req) = 0`. Where owner and requester differ, the
/// second demands a = 0 and v is fixed; where they are one, the first demands a = en and v is free and enters nothing else.
pub(crate) fn acting(b: &mut Builder<'_>, en: &Num, owner: &Num, requester: &Num) -> Num {
    b.group("owner_asks");
    let difference = owner - requester;
    let acts = b.alloc(if difference.value().is_zero() { en.value() } else { Fr::ZERO });
    let ratio = b.alloc((en.value() - acts.value()) * difference.value().inverse().unwrap_or_default());
    b.enforce(&difference, &ratio, &(en - &acts));
    b.enforce(&acts, &difference, &Num::zero());
    acts
}

/// `W(idx)` of the bits of idx: 23 constraints.
pub(crate) fn domain_point(b: &mut Builder<'_>, bits: &[Num]) -> Num {
    b.group("domain_point");
    let mut factors = bits.iter().zip(1..).map(|(bit, j)| &(bit * (root_of_unity(j) - Fr::ONE)) + Fr::ONE);
    let first = factors.next().unwrap_or_else(Num::one);
    factors.fold(first, |product, factor| b.mul(&product, &factor))
}

/// What Transfer, Withdraw and Register share: a payer's slot, token, nonce, fee and signature.
pub(crate) struct Payment<'a> {
    pub(crate) from: &'a Num,
    pub(crate) token: &'a Num,
    pub(crate) nonce: &'a Num,
    pub(crate) key: &'a Num,
    pub(crate) en: &'a Num,
    /// Amount and fee together.
    pub(crate) debit: Num,
    pub(crate) fee: &'a Num,
}

impl Payment<'_> {
    /// KEY, NONCE and the payer's and operator's sides of BAL: 6 constraints.
    pub(crate) fn settle(&self, b: &mut Builder<'_>, ctx: &Context, out: &mut SlotOut) {
        let pole = slot_pole(self.from, self.token);
        let at_slot = &ctx.zeta - &pole;
        b.group("key_bus");
        let rho_key = b.mul(&ctx.rho, self.key);
        out.credit(b, Bus::Key, self.en, &(&at_slot - &rho_key));
        b.group("nonce_bus");
        let at_nonce = &ctx.zeta - &Num::packed(&[(self.nonce, 0), (self.from, 32)]);
        let step = b.mul(&at_nonce, &(&at_nonce - Fr::ONE));
        out.credit(b, Bus::Nonce, self.en, &step);
        b.group("balance_bus");
        out.debit(b, Bus::Balance, &self.debit, &at_slot);
        out.credit(b, Bus::Balance, self.fee, &(&ctx.zeta - &fee_pole(self.token)));
    }
}
