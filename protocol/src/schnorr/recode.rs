//! `S G` as 57 windows of 24 points, chained onto `c A`.
//!
//! A scalar is written as an Eisenstein integer z = a + b w (w = lambda) in base 5 with the 24 non-zero digits modulo 5, so a
//! window is one of 24 points and never "nothing":
//!
//! ```text
//! S = sum_{i < 57} unit_i rep_i 5^i  (mod q)     unit: 1, w, w^2, -1, -w, -w^2     rep: 1, 2+w, 2, 3+w  (norm 1, 3, 4, 2 mod 5)
//! acc_0 = c A        acc_(i+1) = acc_i + unit_i rep_i 5^i G        acc_57 = R
//! ```
//!
//! A scalar has dozens of such forms: z plus any multiple of a lattice vector, as long as no residue is zero on the way and the
//! 57th division leaves nothing. The circuit adds points with the incomplete formula, which is undefined if both have one
//! x-coordinate, and a sender can aim at that (nonce k = 2 d 5^56). So [`recode`] walks every addition and goes on to the next
//! form if one is exceptional. `None` means that no form within the search passes, and the signature cannot be proved.

use super::challenge::{BETA, BETA_SQUARED, LAMBDA};
use super::{Affine, Projective, Scalar};
use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ff::{Field, PrimeField, Zero};
use std::sync::OnceLock;

/// Windows of a recoded scalar: 24^57 = 2^261 exceeds q = 2^254 often enough for every scalar to have forms.
pub const WINDOWS: usize = 57;
/// Representatives of the 24 non-zero residues modulo 5 up to units, as (a, b) of a + b w.
pub const REPRESENTATIVES: [(i64, i64); 4] = [(1, 0), (2, 1), (2, 0), (3, 1)];
/// The units 1, w, w^2, -1, -w, -w^2 as (a, b) of a + b w.
pub const UNITS: [(i64, i64); 6] = [(1, 0), (0, 1), (-1, -1), (-1, 0), (0, -1), (1, 1)];
/// A shortest Eisenstein integer a + b w that is 0 modulo q: its norm a^2 - a b + b^2 is q.
pub const LATTICE_VECTOR: (i128, i128) = (9_931_322_734_385_697_762, -147_946_756_881_789_319_000_765_030_803_803_410_729);

/// `floor((a - b) 2^256 / q)` and `floor(-b 2^256 / q)` for the lattice vector (a, b): its inverse, scaled; limbs little-endian.
const RECIPROCAL: [[u64; 3]; 2] = [[0x5398_fd03_00ff_655f, 0x4cce_f014_a773_d2d2, 2], [0x7a7b_d9d4_391e_b18d, 0x4cce_f014_a773_d2cf, 2]];
/// Windows whose digits are decided by the remainders modulo `5^LOW_WINDOWS`, so that what is left fits an i128.
const LOW_WINDOWS: u32 = 8;
const LOW_MODULUS: i64 = 5i64.pow(LOW_WINDOWS);
/// `1/5` modulo 2^128.
const INVERSE_OF_FIVE: i128 = 0xcccc_cccc_cccc_cccc_cccc_cccc_cccc_cccdu128 as i128;
/// Multiples of the lattice vector that the search tries, by the larger coordinate. Below, z is too short to last for 57 digits;
/// above, it is too long. About 215 forms of a scalar lie in between, one in ten tries at the start.
const FIRST_RING: i64 = 6;
const LAST_RING: i64 = 35;

/// One window's choice out of 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Digit {
    /// Index into [`UNITS`].
    pub unit: u8,
    /// Index into [`REPRESENTATIVES`].
    pub representative: u8,
}

impl Digit {
    /// The digit as (a, b) of a + b w.
    pub const fn coefficients(self) -> (i64, i64) {
        let ((a, b), (c, d)) = (REPRESENTATIVES[self.representative as usize], UNITS[self.unit as usize]);
        (a * c - b * d, a * d + b * c - b * d)
    }

    /// The point it stands for in a window.
    ///
    /// # Panics
    /// If `window` is not below [`WINDOWS`].
    pub fn point(self, window: usize) -> Affine {
        let point = windows()[window][usize::from(self.representative)];
        let x = match self.unit % 3 {
            0 => point.x,
            1 => BETA * point.x,
            _ => BETA_SQUARED * point.x,
        };
        Affine::new_unchecked(x, if self.unit < 3 { point.y } else { -point.y })
    }
}

/// `windows()[i][m] = rep_m 5^i G`: the constants of the circuit.
pub fn windows() -> &'static [[Affine; 4]; WINDOWS] {
    static TABLE: OnceLock<[[Affine; 4]; WINDOWS]> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut base = Projective::generator();
        std::array::from_fn(|_| {
            let row = REPRESENTATIVES.map(|(a, b)| (base * (Scalar::from(a) + LAMBDA * Scalar::from(b))).into_affine());
            base *= Scalar::from(5u64);
            row
        })
    })
}

/// A form of `s` for which no addition of the chain from `start` (= `c A`) is exceptional.
pub fn recode(s: Scalar, start: Affine) -> Option<[Digit; WINDOWS]> {
    chain(s, start.into_group()).map(|(digits, _)| digits)
}

/// [`recode`] together with the end of the chain, `start + s G`.
pub(super) fn chain(s: Scalar, start: Projective) -> Option<([Digit; WINDOWS], Projective)> {
    if start.is_zero() {
        return None;
    }
    forms(s).find_map(|digits| add_all(start, &digits).map(|end| (digits, end)))
}

/// `s G` over the window table, without the circuit's conditions.
pub(super) fn multiply_generator(s: Scalar) -> Projective {
    match forms(s).next() {
        Some(digits) => digits.iter().enumerate().map(|(window, digit)| digit.point(window)).sum(),
        None => Projective::generator() * s,
    }
}

/// `start` plus all windows, or `None` if one addition meets equal x-coordinates.
fn add_all(start: Projective, digits: &[Digit; WINDOWS]) -> Option<Projective> {
    let mut acc = start;
    for (window, digit) in digits.iter().enumerate() {
        let point = digit.point(window);
        if acc.x == point.x * acc.z.square() {
            return None;
        }
        acc += point;
    }
    Some(acc)
}

/// Whether some form of `s` leads from `end - s G` to `end` without an exceptional addition. Walks down from the end.
pub(super) fn can_reach(end: Affine, s: Scalar) -> bool {
    forms(s).any(|digits| subtract_all(end.into_group(), &digits))
}

/// [`add_all`] backwards: false if one addition meets equal x-coordinates.
fn subtract_all(end: Projective, digits: &[Digit; WINDOWS]) -> bool {
    let mut acc = end;
    digits.iter().enumerate().rev().all(|(window, digit)| {
        let point = digit.point(window);
        acc -= point;
        acc.x != point.x * acc.z.square()
    })
}

/// Every form of `s` that the search covers, in a fixed order.
fn forms(s: Scalar) -> impl Iterator<Item = [Digit; WINDOWS]> {
    let base = reduce(s);
    (FIRST_RING..=LAST_RING).flat_map(ring).filter_map(move |(k, l)| base.shifted(k, l).digits())
}

/// The (k, l) with max(|k|, |l|) = radius.
fn ring(radius: i64) -> impl Iterator<Item = (i64, i64)> {
    (-radius..=radius).flat_map(move |k| (-radius..=radius).map(move |l| (k, l))).filter(move |&(k, l)| k.abs() == radius || l.abs() == radius)
}

/// An Eisenstein integer, each coordinate as low + 5^8 high.
#[derive(Clone, Copy)]
struct Wide {
    low: [i64; 2],
    high: [i128; 2],
}

impl Wide {
    const fn new(a: i128, b: i128) -> Self {
        let modulus = LOW_MODULUS as i128;
        let low = [a.rem_euclid(modulus), b.rem_euclid(modulus)];
        Self { low: [low[0] as i64, low[1] as i64], high: [(a - low[0]) / modulus, (b - low[1]) / modulus] }
    }

    /// `self + (k + l w) v` for the lattice vector v; |k| and |l| at most 2^10.
    fn shifted(&self, k: i64, l: i64) -> Self {
        const ONE: Wide = Wide::new(LATTICE_VECTOR.0, LATTICE_VECTOR.1);
        const OMEGA: Wide = Wide::new(-LATTICE_VECTOR.1, LATTICE_VECTOR.0 - LATTICE_VECTOR.1);
        Self {
            low: std::array::from_fn(|i| self.low[i] + k * ONE.low[i] + l * OMEGA.low[i]),
            high: std::array::from_fn(|i| self.high[i] + i128::from(k) * ONE.high[i] + i128::from(l) * OMEGA.high[i]),
        }
    }

    /// The base-5 digits, if none is zero and nothing is left after the last.
    fn digits(self) -> Option<[Digit; WINDOWS]> {
        let mut digits = [Digit::default(); WINDOWS];
        let (low_windows, high_windows) = digits.split_at_mut(LOW_WINDOWS as usize);
        let rest = divide(self.low.map(i128::from), low_windows)?;
        let rest = divide([self.high[0] + rest[0], self.high[1] + rest[1]], high_windows)?;
        (rest == [0, 0]).then_some(digits)
    }
}

/// Takes one digit per entry of `digits` off `z` and returns what is left, or `None` at a zero digit.
fn divide(mut z: [i128; 2], digits: &mut [Digit]) -> Option<[i128; 2]> {
    for digit in digits {
        *digit = DIGIT_OF_RESIDUE[modulo_five(z[0])][modulo_five(z[1])]?;
        let (a, b) = digit.coefficients();
        z = [exact_fifth(z[0] - i128::from(a)), exact_fifth(z[1] - i128::from(b))];
    }
    Some(z)
}

/// 2^64 is 1 modulo 5, so the halves can be reduced on their own.
fn modulo_five(value: i128) -> usize {
    let high = ((value >> 64) as i64).rem_euclid(5) as u64;
    ((high + value as u64 % 5) % 5) as usize
}

/// A multiple of five divided by five.
fn exact_fifth(value: i128) -> i128 {
    value.wrapping_mul(INVERSE_OF_FIVE)
}

/// The digit of a residue (a mod 5, b mod 5); none for (0, 0).
const DIGIT_OF_RESIDUE: [[Option<Digit>; 5]; 5] = {
    let mut table = [[None; 5]; 5];
    let mut index = 0;
    while index < 24 {
        let digit = Digit { unit: index % 6, representative: index / 6 };
        let (a, b) = digit.coefficients();
        table[a.rem_euclid(5) as usize][b.rem_euclid(5) as usize] = Some(digit);
        index += 1;
    }
    table
};

/// A short Eisenstein integer that is `s` modulo q: `s` less the multiple of the lattice vector next to it. The arithmetic is
/// modulo 2^128, and the result is below 2^127.
fn reduce(s: Scalar) -> Wide {
    let s = s.into_bigint().0;
    let [k, l] = RECIPROCAL.map(|reciprocal| high_product(&s, &reciprocal));
    let (a, b) = LATTICE_VECTOR;
    let low = (u128::from(s[0]) | u128::from(s[1]) << 64) as i128;
    let (ka, kb, la, lb) = (k.wrapping_mul(a), k.wrapping_mul(b), l.wrapping_mul(a), l.wrapping_mul(b));
    Wide::new(low.wrapping_sub(ka).wrapping_add(lb), lb.wrapping_sub(kb).wrapping_sub(la))
}

/// `floor(s m / 2^256)`, which the callers' bounds keep below 2^127.
fn high_product(s: &[u64; 4], m: &[u64; 3]) -> i128 {
    let mut limbs = [0u64; 7];
    for (i, &x) in s.iter().enumerate() {
        let mut carry = 0u128;
        for (j, &y) in m.iter().enumerate() {
            carry += u128::from(x) * u128::from(y) + u128::from(limbs[i + j]);
            limbs[i + j] = carry as u64;
            carry >>= 64;
        }
        limbs[i + 3] = carry as u64;
    }
    (u128::from(limbs[4]) | u128::from(limbs[5]) << 64) as i128
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use ark_ff::{AdditiveGroup, UniformRand};
    use num_bigint::{BigInt, BigUint};
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;
    use std::collections::HashSet;

    fn value(digit: Digit) -> Scalar {
        let (a, b) = digit.coefficients();
        Scalar::from(a) + LAMBDA * Scalar::from(b)
    }

    fn combine(digits: &[Digit; WINDOWS]) -> Scalar {
        digits.iter().rev().fold(Scalar::ZERO, |sum, &digit| Scalar::from(5u64) * sum + value(digit))
    }

    fn order() -> BigInt {
        BigUint::from(Scalar::MODULUS).into()
    }

    #[test]
    fn lattice_vector_is_zero_modulo_q_and_shortest() {
        let (a, b) = (BigInt::from(LATTICE_VECTOR.0), BigInt::from(LATTICE_VECTOR.1));
        let lambda: BigInt = BigUint::from(LAMBDA.into_bigint()).into();
        assert_eq!((&a + &b * lambda) % order(), BigInt::ZERO);
        assert_eq!(&a * &a - &a * &b + &b * &b, order());
    }

    #[test]
    fn reciprocal_is_the_scaled_inverse_of_the_lattice_vector() {
        let (a, b) = (BigInt::from(LATTICE_VECTOR.0), BigInt::from(LATTICE_VECTOR.1));
        for (limbs, numerator) in RECIPROCAL.iter().zip([&a - &b, -&b]) {
            let expected: BigInt = (numerator << 256) / order();
            assert_eq!(limbs.to_vec(), expected.to_biguint().unwrap().to_u64_digits());
        }
    }

    #[test]
    fn digits_are_the_24_nonzero_residues_once_each() {
        let digits: Vec<Digit> = DIGIT_OF_RESIDUE.iter().flatten().flatten().copied().collect();
        let residues: HashSet<_> = digits.iter().map(|d| d.coefficients()).map(|(a, b)| (a.rem_euclid(5), b.rem_euclid(5))).collect();
        assert_eq!((digits.len(), residues.len(), residues.contains(&(0, 0))), (24, 24, false));
        assert_eq!(exact_fifth(-35), -7);
        assert_eq!((modulo_five(-1), modulo_five(i128::MIN), modulo_five(7)), (4, 2, 2));
    }

    #[test]
    fn units_are_the_powers_of_omega_and_their_negatives() {
        for (unit, expected) in [Scalar::ONE, LAMBDA, LAMBDA.square()].into_iter().flat_map(|p| [p, -p]).enumerate() {
            let digit = Digit { unit: (unit / 2 + 3 * (unit % 2)) as u8, representative: 0 };
            assert_eq!(value(digit), expected);
        }
    }

    #[test]
    fn windows_are_multiples_of_the_generator() {
        let mut power = Scalar::ONE;
        for window in 0..WINDOWS {
            for index in 0..24 {
                let digit = Digit { unit: index % 6, representative: index / 6 };
                assert_eq!(digit.point(window), (Projective::generator() * (power * value(digit))).into_affine());
            }
            power *= Scalar::from(5u64);
        }
    }

    #[test]
    fn every_scalar_has_dozens_of_forms() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let edges = [Scalar::ZERO, Scalar::ONE, -Scalar::ONE, LAMBDA, Scalar::from(5u64), Scalar::from(u128::MAX)];
        let random: [Scalar; 20] = std::array::from_fn(|_| Scalar::rand(&mut rng));
        for s in random.into_iter().chain(edges) {
            let mut count = 0;
            for digits in forms(s) {
                assert_eq!(combine(&digits), s);
                count += 1;
            }
            assert!(count >= 100, "{s} has {count} forms");
        }
    }

    #[test]
    fn search_loses_nothing_beyond_its_rings() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        for _ in 0..20 {
            let base = reduce(Scalar::rand(&mut rng));
            let beyond = (LAST_RING + 1..LAST_RING + 8).flat_map(ring).filter(|&(k, l)| base.shifted(k, l).digits().is_some());
            assert!(beyond.count() < 5);
        }
    }

    /// The attack: the sender picks k so that the last addition doubles a point.
    #[test]
    fn aimed_nonce_hits_an_exceptional_addition_and_is_recoded() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let top = Scalar::from(5u64).pow([WINDOWS as u64 - 1]);
        let mut avoided = 0;
        for index in (0..24).cycle().take(72) {
            let digit = Digit { unit: index % 6, representative: index / 6 };
            let nonce = Scalar::from(2u64) * value(digit) * top;
            let s = Scalar::rand(&mut rng);
            let start = Projective::generator() * (nonce - s);
            let first = forms(s).next().unwrap();
            avoided += usize::from(add_all(start, &first).is_none());
            assert_eq!(add_all(start, &first).is_some(), subtract_all(Projective::generator() * nonce, &first));
            let (digits, end) = chain(s, start).unwrap();
            assert_eq!(end, Projective::generator() * nonce);
            assert_eq!(combine(&digits), s);
        }
        assert!(avoided > 0, "no first form was exceptional: the test does not aim well");
    }

    #[test]
    fn exceptional_additions_are_refused() {
        let digits = forms(Scalar::from(77u64)).next().unwrap();
        let first = digits[0].point(0);
        assert!(add_all(first.into_group(), &digits).is_none());
        assert!(add_all(-first.into_group(), &digits).is_none());
        assert!(add_all(-first.into_group() * Scalar::from(3u64), &digits).is_some());
        let sum = Projective::generator() * Scalar::from(77u64);
        assert!(!subtract_all(sum + first, &digits));
        assert!(!subtract_all(sum - first, &digits));
        assert!(subtract_all(sum - first * Scalar::from(3u64), &digits));
        assert!(recode(Scalar::ONE, Affine::identity()).is_none());
    }

    proptest! {
        #[test]
        fn recoding_recombines_to_the_scalar(words in any::<[u64; 4]>(), start in 1u64..) {
            let s = Scalar::from_le_bytes_mod_order(&words.map(u64::to_le_bytes).concat());
            let start = (Projective::generator() * Scalar::from(start)).into_affine();
            let digits = recode(s, start).unwrap();
            prop_assert_eq!(combine(&digits), s);
            let sum: Projective = digits.iter().enumerate().map(|(window, digit)| digit.point(window)).sum();
            prop_assert_eq!(sum, multiply_generator(s));
            prop_assert_eq!(sum, Projective::generator() * s);
        }
    }
}
