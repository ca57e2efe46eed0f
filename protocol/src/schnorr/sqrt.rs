//! Square roots in `Fr`, the dearest part of reading a point from its x-coordinate.
//!
//! r - 1 = 2^28 T. For x != 0 let v = x^((T+1)/2) and b = x^T; then v^2 = x b, and b = g^e in the group of order 2^28. If e is
//! even the root is v g^(-e/2), else there is none. Tonelli and Shanks find e by some 400 squarings, one bit at a time; here it is
//! found seven bits at a time from tables (Sarkar, eprint 2020/1407): 21 squarings and 10 products. A test holds it to arkworks'.

use crate::field::Fr;
use ark_ff::{FftField, Field, PrimeField};
use std::collections::HashMap;
use std::sync::OnceLock;

/// 2-adicity of r - 1, in windows of seven bits.
const WINDOWS: usize = 4;
const BITS: usize = 7;
const SIZE: usize = 1 << BITS;

struct Tables {
    /// `inverse[i][j] = g^(-j 2^(7 i))`.
    inverse: [Vec<Fr>; WINDOWS],
    /// `j` of `g^(j 2^21)`, the elements of order up to 2^7.
    log: HashMap<Fr, usize>,
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let power = |base: Fr, window: usize| base.pow([1u64 << (BITS * window)]);
        let powers = |base: Fr| std::iter::successors(Some(Fr::ONE), move |x| Some(*x * base)).take(SIZE);
        let g = Fr::TWO_ADIC_ROOT_OF_UNITY;
        let inverse_g = g.pow([(1u64 << (BITS * WINDOWS)) - 1]);
        Tables {
            inverse: std::array::from_fn(|window| powers(power(inverse_g, window)).collect()),
            log: powers(power(g, WINDOWS - 1)).zip(0..).collect(),
        }
    })
}

/// A square root of `x`, if it has one.
pub(super) fn sqrt(x: Fr) -> Option<Fr> {
    let w = x.pow(Fr::TRACE_MINUS_ONE_DIV_TWO);
    let v = x * w;
    if v == Fr::default() {
        return Some(v);
    }
    let e = logarithm(v * w)?;
    let half = |window: usize| (e / 2) >> (BITS * window) & (SIZE - 1);
    (e % 2 == 0).then(|| (0..WINDOWS).fold(v, |root, window| root * tables().inverse[window][half(window)]))
}

/// `e` with `b = g^e`: window k of e from b^(2^(21 - 7k)), freed of the windows below.
fn logarithm(b: Fr) -> Option<usize> {
    let Tables { inverse, log } = tables();
    let mut powers = [b; WINDOWS];
    for i in 1..WINDOWS {
        powers[i] = (0..BITS).fold(powers[i - 1], |x, _| x.square());
    }
    let mut digits = [0; WINDOWS];
    for k in 0..WINDOWS {
        let top = WINDOWS - 1 - k;
        let rest = (0..k).fold(powers[top], |x, i| x * inverse[top + i][digits[i]]);
        digits[k] = *log.get(&rest)?;
    }
    Some(digits.iter().rev().fold(0, |e, digit| e << BITS | digit))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use ark_ff::UniformRand;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    #[test]
    fn windows_cover_the_two_adicity() {
        assert_eq!(Fr::TWO_ADICITY as usize, BITS * WINDOWS);
    }

    #[test]
    fn roots_are_those_of_arkworks() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let small = (0..200u64).map(Fr::from);
        let roots_of_unity = (0..=28u32).map(|k| Fr::get_root_of_unity(1 << k).unwrap());
        let random: Vec<Fr> = (0..500).map(|_| Fr::rand(&mut rng)).collect();
        for x in small.chain(roots_of_unity).chain(random) {
            assert_eq!(sqrt(x).is_some(), x.sqrt().is_some());
            assert_eq!(sqrt(x.square()).map(|root| root == x || root == -x), Some(true));
            assert!(sqrt(x).is_none_or(|root| root.square() == x));
        }
    }
}
