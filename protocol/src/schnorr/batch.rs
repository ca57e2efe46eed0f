//! Many signatures with one multi-scalar multiplication.
//!
//! ```text
//! sum z_i (S_i G + c_i A_i - R_i) = 0        z_i odd, 128 bits, drawn after the signatures are fixed
//! ```
//!
//! Admission to a batch also asks whether the circuit can prove the signature ([`admit_many`]): for a good signature the chain of
//! additions can be walked down from R, which is at hand here, so that asking costs no challenge multiple.
//!
//! If the sum is not zero, the halves are summed on their own, and the signatures of a bad half are checked one by one, on all cores;
//! so bad ones, however many, make a group cost two sums more than its single checks. A verdict is the one that
//! [`verify`](super::verify) gives, but for a chance of 2^-127.

use super::{Affine, Challenge, Projective, Scalar, Signature, SignatureError, challenge, challenge_hash, key_point, point_at, recode};
use crate::field::Fr;
use ark_ec::{AffineRepr, VariableBaseMSM};
use ark_ff::Zero;
use rand::{CryptoRng, RngCore};
use rayon::prelude::*;
use std::ops::Neg;

/// One signature to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Public key.
    pub pk: Fr,
    /// Domain of the rollup.
    pub domain: Fr,
    /// Tag of the operation.
    pub op_tag: u8,
    /// Signed message.
    pub m: Fr,
    /// The signature.
    pub signature: Signature,
}

/// A check as points and scalars: `s G + c A - R`, to be weighted by `z`.
struct Term {
    index: usize,
    a: Affine,
    r: Affine,
    s: Scalar,
    c: Challenge,
    z: Scalar,
}

/// Checks every signature; the verdicts are in the order of the checks.
///
/// `rng` must be unpredictable to whoever made the signatures.
pub fn verify_many(checks: &[Check], rng: &mut (impl RngCore + CryptoRng)) -> Vec<Result<(), SignatureError>> {
    examine(checks, &weights(checks, rng)).1
}

/// [`verify_many`] for signatures that are to be proved: a good one that no recoding can prove is
/// [`SignatureError::Unprovable`]. The verdicts are those of [`witness`](super::witness), which takes longer.
pub fn admit_many(checks: &[Check], rng: &mut (impl RngCore + CryptoRng)) -> Vec<Result<(), SignatureError>> {
    admit(checks, &weights(checks, rng))
}

fn admit(checks: &[Check], weights: &[Scalar]) -> Vec<Result<(), SignatureError>> {
    let (terms, mut verdicts) = examine(checks, weights);
    let is_unprovable = |term: &&Term| verdicts[term.index].is_ok() && !recode::can_reach(term.r, checks[term.index].signature.s);
    let unprovable: Vec<usize> = terms.par_iter().filter(is_unprovable).map(|term| term.index).collect();
    unprovable.into_iter().for_each(|index| verdicts[index] = Err(SignatureError::Unprovable));
    verdicts
}

/// One weight a check. All that is generic here: the rest is compiled in this crate, optimised, and not in the caller's.
fn weights(checks: &[Check], rng: &mut (impl RngCore + CryptoRng)) -> Vec<Scalar> {
    checks.iter().map(|_| weight(rng)).collect()
}

/// The terms of all signatures whose points exist, and the verdicts on all.
fn examine(checks: &[Check], weights: &[Scalar]) -> (Vec<Term>, Vec<Result<(), SignatureError>>) {
    let terms: Vec<Result<Term, SignatureError>> =
        (checks, weights).into_par_iter().enumerate().map(|(index, (check, &z))| Term::new(index, check, z)).collect();
    let mut verdicts: Vec<_> = terms.iter().map(|term| term.as_ref().map(|_| ()).map_err(|&error| error)).collect();
    let terms: Vec<Term> = terms.into_iter().flatten().collect();
    mark_forged(&terms, &mut verdicts);
    (terms, verdicts)
}

fn weight(rng: &mut impl RngCore) -> Scalar {
    let mut bytes = [0u8; 16];
    rng.fill_bytes(&mut bytes);
    Scalar::from(u128::from_le_bytes(bytes) | 1)
}

impl Term {
    fn new(index: usize, check: &Check, z: Scalar) -> Result<Self, SignatureError> {
        let Signature { r_x, r_y_odd, s } = check.signature;
        let a = key_point(check.pk)?;
        let r = point_at(r_x, r_y_odd).ok_or(SignatureError::ROffCurve)?;
        let c = challenge(challenge_hash(check.domain, check.op_tag, r_x, check.pk, check.m));
        Ok(Self { index, a, r, s, c, z })
    }

    /// The check by itself.
    fn holds(&self) -> bool {
        recode::multiply_generator(self.s) + self.c.multiply(self.a) == self.r
    }
}

/// Sums all terms, then each half; only the terms of a half whose sum is not zero are looked at.
fn mark_forged(terms: &[Term], verdicts: &mut [Result<(), SignatureError>]) {
    if sum(terms).is_zero() {
        return;
    }
    let (left, right) = terms.split_at(terms.len() / 2);
    let suspects = [left, right].into_iter().filter(|half| half.len() <= 1 || !sum(half).is_zero()).flatten();
    let forged: Vec<usize> = suspects.collect::<Vec<_>>().par_iter().filter(|term| !term.holds()).map(|term| term.index).collect();
    forged.into_iter().for_each(|index| verdicts[index] = Err(SignatureError::Forged));
}

fn sum(terms: &[Term]) -> Projective {
    let generator = (Affine::generator(), terms.iter().map(|term| term.z * term.s).sum());
    let pairs = terms.iter().flat_map(|term| [(term.a, term.z * term.c.scalar), (term.r.neg(), term.z)]);
    let (points, scalars): (Vec<_>, Vec<_>) = std::iter::once(generator).chain(pairs).unzip();
    Projective::msm_unchecked(&points, &scalars)
}
