//! Many signatures with one multi-scalar multiplication.
//!
//! ```text
//! sum z_i (S_i G + c_i A_i - R_i) = 0        z_i odd, 128 bits, drawn after the signatures are fixed
//! ```
//!
//! If the sum is not zero, the halves are summed on their own, down to single signatures; so `n` signatures with `b` bad ones cost
//! at most about `b log2 n` further sums, and a verdict is the one that [`verify`](super::verify) gives, but for a chance of 2^-127.

use super::{Affine, Projective, Scalar, Signature, SignatureError, challenge, challenge_hash, key_point, point_at};
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

/// A check as points and scalars: `s G + c A - R`, weighted by `z`.
struct Term {
    index: usize,
    a: Affine,
    minus_r: Affine,
    z: Scalar,
    zs: Scalar,
    zc: Scalar,
}

/// Checks every signature; the verdicts are in the order of the checks.
///
/// `rng` must be unpredictable to whoever made the signatures.
pub fn verify_many(checks: &[Check], rng: &mut (impl RngCore + CryptoRng)) -> Vec<Result<(), SignatureError>> {
    let weights: Vec<Scalar> = checks.iter().map(|_| weight(rng)).collect();
    let terms: Vec<Result<Term, SignatureError>> =
        (checks, &weights).into_par_iter().enumerate().map(|(index, (check, &z))| Term::new(index, check, z)).collect();
    let mut verdicts: Vec<_> = terms.iter().map(|term| term.as_ref().map(|_| ()).map_err(|&error| error)).collect();
    let terms: Vec<Term> = terms.into_iter().flatten().collect();
    mark_forged(&terms, &mut verdicts);
    verdicts
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
        let r = point_at(r_x, r_y_odd).ok_or(SignatureError::Forged)?;
        let c = challenge(challenge_hash(check.domain, check.op_tag, r_x, check.pk, check.m)).scalar;
        Ok(Self { index, a, minus_r: r.neg(), z, zs: z * s, zc: z * c })
    }
}

/// Halves the terms until every sum is zero or a single term.
fn mark_forged(terms: &[Term], verdicts: &mut [Result<(), SignatureError>]) {
    match terms {
        _ if sum(terms).is_zero() => {}
        [only] => verdicts[only.index] = Err(SignatureError::Forged),
        _ => {
            let (left, right) = terms.split_at(terms.len() / 2);
            mark_forged(left, verdicts);
            mark_forged(right, verdicts);
        }
    }
}

fn sum(terms: &[Term]) -> Projective {
    let generator = (Affine::generator(), terms.iter().map(|term| term.zs).sum());
    let pairs = terms.iter().flat_map(|term| [(term.a, term.zc), (term.minus_r, term.z)]);
    let (points, scalars): (Vec<_>, Vec<_>) = std::iter::once(generator).chain(pairs).unzip();
    Projective::msm_unchecked(&points, &scalars)
}
