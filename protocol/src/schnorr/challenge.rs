//! The endomorphism of Grumpkin and the 128-bit challenge that is written in it.
//!
//! Grumpkin's scalars contain a cube root of unity: `lambda (x, y) = (beta x, y)`. A challenge is read off the hash `e` as 64
//! digits out of {1, -1, lambda, -lambda}, so one digit costs the circuit two constraints and one addition:
//!
//! ```text
//! e = h0 + 2^64 h1 + 2^128 g        c = 2 (1 + lambda), then for i = 63..0: c = 2 c + (2 h0_i - 1) lambda^(h1_i)
//! ```
//!
//! Distinct (h0, h1) give distinct c, and c is never 0: as an Eisenstein integer its norm is between 4 and 2^132, far below q.

use super::{Affine, Projective, Scalar};
use crate::field::Fr;
use crate::poseidon::hash3;
use ark_ec::{AdditiveGroup, AffineRepr};
use ark_ff::{MontFp, PrimeField};
use std::ops::Neg;

/// Cube root of unity in the coordinates: `BETA^2 + BETA + 1 = 0`.
pub const BETA: Fr = MontFp!("4407920970296243842393367215006156084916469457145843978461");
/// `BETA^2`, the other root.
pub const BETA_SQUARED: Fr = MontFp!("21888242871839275217838484774961031246154997185409878258781734729429964517155");
/// Cube root of unity in the scalars, the one with `LAMBDA (x, y) = (BETA x, y)`.
pub const LAMBDA: Scalar = MontFp!("2203960485148121921418603742825762020974279258880205651966");
/// Digits of a challenge.
pub const CHALLENGE_DIGITS: usize = 64;

/// `e`: what a signature answers to. Its separator is the domain plus the tag of the signed operation.
pub fn challenge_hash(domain: Fr, op_tag: u8, r_x: Fr, a_x: Fr, m: Fr) -> Fr {
    hash3(domain + Fr::from(op_tag), r_x, a_x, m)
}

/// A challenge: its digits and the scalar they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Signs: bit `i` is set if digit `i` is positive.
    pub h0: u64,
    /// Bit `i` is set if digit `i` is a multiple of lambda.
    pub h1: u64,
    /// `c`.
    pub scalar: Scalar,
}

/// The challenge in the low 128 bits of `e`.
pub fn challenge(e: Fr) -> Challenge {
    let limbs = e.into_bigint().0;
    let (h0, h1) = (limbs[0], limbs[1]);
    let (mut ones, mut lambdas) = (2i128, 2i128);
    for i in (0..CHALLENGE_DIGITS).rev() {
        let sign = if h0 >> i & 1 == 1 { 1 } else { -1 };
        let of_lambda = i128::from(h1 >> i & 1);
        ones = 2 * ones + (1 - of_lambda) * sign;
        lambdas = 2 * lambdas + of_lambda * sign;
    }
    Challenge { h0, h1, scalar: Scalar::from(ones) + LAMBDA * Scalar::from(lambdas) }
}

impl Challenge {
    /// `c A` by the circuit's ladder: double and add a digit, 64 times.
    pub fn multiply(&self, a: Affine) -> Projective {
        let lambda_a = endomorphism(a);
        let mut acc = (a + lambda_a).double();
        for i in (0..CHALLENGE_DIGITS).rev() {
            let digit = if self.h1 >> i & 1 == 1 { lambda_a } else { a };
            acc.double_in_place();
            acc += if self.h0 >> i & 1 == 1 { digit } else { digit.neg() };
        }
        acc
    }
}

/// `lambda P`.
pub fn endomorphism(point: Affine) -> Affine {
    point.xy().map_or(point, |(x, y)| Affine::new_unchecked(BETA * x, y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ec::{CurveGroup, PrimeGroup};
    use ark_ff::{Field, UniformRand};
    use num_bigint::BigUint;
    use num_integer::Integer;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    /// `base^((order - 1) / 3)`: a cube root of unity.
    fn cube_root<F: PrimeField>(base: u64) -> F {
        let order: BigUint = F::MODULUS.into();
        let (exponent, rest) = (order - 1u32).div_rem(&BigUint::from(3u32));
        assert_eq!(rest, BigUint::ZERO);
        F::from(base).pow(exponent.to_u64_digits())
    }

    #[test]
    fn beta_and_lambda_are_matching_cube_roots_of_unity() {
        let roots = [cube_root::<Fr>(5), cube_root::<Fr>(5).square()];
        assert!(roots.contains(&BETA) && roots.contains(&BETA_SQUARED) && BETA != BETA_SQUARED);
        assert_eq!(BETA.square(), BETA_SQUARED);
        let roots = [cube_root::<Scalar>(3), cube_root::<Scalar>(3).square()];
        assert!(roots.contains(&LAMBDA) && LAMBDA != Scalar::ONE);
        assert_eq!(Affine::from(Projective::generator() * LAMBDA), endomorphism(Affine::generator()));
    }

    #[test]
    fn no_point_has_coordinate_zero() {
        assert!(Fr::from(-17i64).sqrt().is_none(), "x = 0");
        assert!(cube_root::<Fr>(5) != Fr::ONE && Fr::from(17u64).pow(third()) != Fr::ONE, "y = 0: 17 is no cube");
    }

    fn third() -> Vec<u64> {
        let order: BigUint = Fr::MODULUS.into();
        ((order - 1u32) / 3u32).to_u64_digits()
    }

    /// The rule as the protocol writes it.
    fn challenge_by_definition(e: Fr) -> Scalar {
        let bits: Vec<bool> = ark_ff::BigInteger::to_bits_le(&e.into_bigint());
        let mut c = Scalar::from(2u64) * (Scalar::ONE + LAMBDA);
        for i in (0..64).rev() {
            let sign = if bits[i] { Scalar::ONE } else { -Scalar::ONE };
            c = c.double() + sign * if bits[64 + i] { LAMBDA } else { Scalar::ONE };
        }
        c
    }

    #[test]
    fn challenge_is_the_written_rule_and_the_ladder_multiplies_by_it() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let edges = [Fr::from(0u64), Fr::from(u64::MAX), Fr::from(u128::MAX), Fr::from(1u128 << 64), -Fr::ONE];
        let random: [Fr; 20] = std::array::from_fn(|_| Fr::rand(&mut rng));
        for e in random.into_iter().chain(edges) {
            let challenge = challenge(e);
            assert_eq!(challenge.scalar, challenge_by_definition(e));
            let a = (Projective::generator() * Scalar::rand(&mut rng)).into_affine();
            assert_eq!(challenge.multiply(a), a * challenge.scalar);
        }
    }
}
