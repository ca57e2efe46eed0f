//! Scalars as signed digits, sorted by digit.
//!
//! A scalar `s` is `±t` with `t < r / 2`, so `-1` is as short as `1`. Windows of `c` bits; adding half a window's range to each window
//! but the last before cutting makes the digits signed without a carry to follow: `digit = cut(t + halves) - half`, in
//! `[-2^(c-1), 2^(c-1))`, and the last, of what remains of 253 bits and one carry, in `[0, 2^(c-1)]`.

use super::pairs::MINUS;
use ark_bn254::Fr;
use ark_ff::{BigInt, BigInteger, PrimeField, Zero};
use rayon::prelude::*;

/// Bits of `r / 2`, and one for a last digit that a carry reaches.
const BITS: usize = 254;

/// Bits of the scalars called short. Digits of both signs reach one bit higher: `2^64 - 1` may be written with `2^65`, not with `2^66`.
const SHORT_BITS: usize = 64;

/// Scalars of one task of the preparation.
const CHUNK: usize = 1 << 13;

/// The widest window.
const MAX_WINDOW: usize = 16;

/// A scalar with its base.
#[derive(Debug, Clone, Copy)]
struct Term {
    /// `t` plus the halves.
    limbs: [u64; 4],
    /// The base, with the sign.
    base: u32,
}

/// The terms of a sum by length: those of short scalars are not looked at in windows that they do not reach.
#[derive(Debug)]
pub(super) struct Terms {
    long: Vec<Vec<Term>>,
    short: Vec<Vec<Term>>,
    window: usize,
}

/// Digits of one window, sorted by bucket.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// References to bases, bucket after bucket.
    pub(super) references: Vec<u32>,
    /// Where each bucket's begin; one more at the end.
    pub(super) starts: Vec<u32>,
    /// Bucket and reference, unsorted.
    keys: Vec<(u32, u32)>,
}

/// Windows of `bits` that short scalars reach.
fn reached(bits: usize) -> usize {
    (SHORT_BITS + 1) / bits + 1
}

/// The bits of a window that make the fewest additions of `long` and `short` terms, where a bucket costs `bucket` of them.
pub(super) fn best_window(long: usize, short: usize, bucket: usize) -> usize {
    let additions = |bits: usize| {
        let windows = BITS.div_ceil(bits);
        let weighed = if long == 0 { reached(bits) } else { windows };
        windows * long + reached(bits) * short + ((bucket * weighed) << (bits - 1))
    };
    (2..=MAX_WINDOW).min_by_key(|bits| additions(*bits)).expect("a range")
}

impl Terms {
    /// Those of `scalars` that are not zero and whose base `present` wants, in windows of the bits that `window` chooses for so many
    /// long and short terms.
    pub(super) fn new(scalars: &[Fr], present: impl Fn(usize) -> bool + Sync, window: impl FnOnce(usize, usize) -> usize) -> Self {
        let (mut long, mut short): (Vec<_>, Vec<_>) =
            scalars.par_chunks(CHUNK).enumerate().map(|(chunk, scalars)| split(scalars, chunk * CHUNK, &present)).unzip();
        let count = |terms: &[Vec<Term>]| terms.iter().map(Vec::len).sum();
        let window = window(count(&long), count(&short));
        let halves = halves(window);
        long.par_iter_mut().chain(&mut short).for_each(|terms| {
            for term in terms {
                let mut sum = BigInt(term.limbs);
                sum.add_with_carry(&halves);
                term.limbs = sum.0;
            }
        });
        Self { long, short, window }
    }

    /// Windows, lowest first.
    pub(super) fn windows(&self) -> usize {
        BITS.div_ceil(self.window)
    }

    /// Bits of a window.
    pub(super) fn window_bits(&self) -> usize {
        self.window
    }

    /// Buckets of a window: digits from 1 to this, of either sign.
    pub(super) fn buckets(&self) -> usize {
        1 << (self.window - 1)
    }

    /// Sorts the digits of `window` whose size is `first + 1 ..= first + count`.
    pub(super) fn sort(&self, window: usize, first: usize, count: usize, sorted: &mut Sorted) {
        let Sorted { references, starts, keys } = sorted;
        let half = if window + 1 == self.windows() { 0 } else { 1i32 << (self.window - 1) };
        let mask = (1u32 << self.window) - 1;
        let (word, shift) = (window * self.window / 64, window * self.window % 64);
        let short = if window < reached(self.window) { &self.short[..] } else { &[] };
        keys.clear();
        starts.clear();
        starts.resize(count + 2, 0);
        for terms in self.long.iter().chain(short) {
            for term in terms {
                let above = term.limbs.get(word + 1).copied().unwrap_or(0);
                let pair = u128::from(term.limbs[word]) | u128::from(above) << 64;
                let digit = ((pair >> shift) as u32 & mask).cast_signed() - half;
                let bucket = (digit.unsigned_abs() as usize).wrapping_sub(first + 1);
                if bucket < count {
                    keys.push((bucket as u32, term.base ^ (digit.cast_unsigned() & MINUS)));
                    starts[bucket + 2] += 1;
                }
            }
        }
        for bucket in 2..starts.len() {
            starts[bucket] += starts[bucket - 1];
        }
        references.clear();
        references.resize(keys.len(), 0);
        // starts[b + 1] walks from the beginning of bucket b to its end, which is the beginning of the next
        for (bucket, reference) in keys {
            let place = &mut starts[*bucket as usize + 1];
            references[*place as usize] = *reference;
            *place += 1;
        }
        starts.pop();
    }
}

/// The long and the short terms of `scalars`, whose first base is `first`; limbs without the halves.
fn split(scalars: &[Fr], first: usize, present: &impl Fn(usize) -> bool) -> (Vec<Term>, Vec<Term>) {
    let (mut long, mut short) = (Vec::with_capacity(scalars.len()), vec![]);
    for (i, scalar) in scalars.iter().enumerate() {
        if scalar.is_zero() || !present(first + i) {
            continue;
        }
        let mut limbs = scalar.into_bigint();
        let mut base = (first + i) as u32;
        if limbs > Fr::MODULUS_MINUS_ONE_DIV_TWO {
            let mut negated = Fr::MODULUS;
            negated.sub_with_borrow(&limbs);
            limbs = negated;
            base |= MINUS;
        }
        let term = Term { limbs: limbs.0, base };
        if limbs.0[1..] == [0; 3] { short.push(term) } else { long.push(term) }
    }
    long.shrink_to_fit();
    (long, short)
}

/// Half the range of each window but the last, each in its place.
fn halves(window: usize) -> BigInt<4> {
    let mut halves = BigInt::zero();
    for low in (0..BITS.div_ceil(window) - 1).map(|i| i * window) {
        let mut half = BigInt::from(1u64 << (window - 1));
        half <<= low as u32;
        halves.add_with_carry(&half);
    }
    halves
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::{Field, UniformRand};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    /// The scalar of each base, put together from the references of its digits, taken in two parts of the buckets.
    fn recompose(terms: &Terms, bases: usize) -> Vec<Fr> {
        let mut scalars = vec![Fr::zero(); bases];
        let mut sorted = Sorted::default();
        for window in 0..terms.windows() {
            let weight = Fr::from(2u64).pow([(window * terms.window_bits()) as u64]);
            let middle = terms.buckets() / 2;
            for (first, count) in [(0, middle), (middle, terms.buckets() - middle)] {
                terms.sort(window, first, count, &mut sorted);
                assert_eq!(sorted.starts.len(), count + 1);
                for (bucket, range) in sorted.starts.windows(2).enumerate() {
                    for reference in &sorted.references[range[0] as usize..range[1] as usize] {
                        let value = weight * Fr::from((first + bucket + 1) as u64);
                        scalars[(reference & !MINUS) as usize] += if reference & MINUS == 0 { value } else { -value };
                    }
                }
            }
        }
        scalars
    }

    #[test]
    fn digits_of_every_window_make_up_the_scalar() {
        let mut rng = StdRng::seed_from_u64(254);
        let half = Fr::from(Fr::MODULUS_MINUS_ONE_DIV_TWO);
        let mut scalars = vec![Fr::zero(), half, half - Fr::from(1u64), Fr::from(u64::MAX), Fr::from(1u128 << 64), Fr::from(u64::MAX >> 1)];
        scalars.extend((0..64).map(|bit| Fr::from(1u64 << bit)));
        scalars.extend((0..64).map(|bit| Fr::from(u64::MAX >> bit)));
        scalars.extend((0..254).map(|bit| Fr::from(2u64).pow([bit])));
        scalars.extend((0..254).map(|bit| Fr::from(2u64).pow([bit]) - Fr::from(1u64)));
        scalars.extend((0..100).map(|_| Fr::rand(&mut rng)));
        scalars.extend(scalars.clone().into_iter().map(|scalar| -scalar));
        for bits in 2..=MAX_WINDOW {
            let terms = Terms::new(&scalars, |_| true, |_, _| bits);
            assert!(recompose(&terms, scalars.len()) == scalars, "windows of {bits} bits");
        }
    }

    #[test]
    fn bases_at_infinity_are_left_out() {
        let terms = Terms::new(&[Fr::from(5u64), Fr::from(-6i64)], |base| base == 1, |_, _| 4);
        assert_eq!(recompose(&terms, 2), [Fr::zero(), Fr::from(-6i64)]);
    }
}
