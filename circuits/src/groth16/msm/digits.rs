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

/// Bits of the scalars called short.
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

impl Terms {
    /// Those of `scalars` that are not zero and whose base `present` wants.
    pub(super) fn new(scalars: &[Fr], present: impl Fn(usize) -> bool + Sync, bucket_cost: usize) -> Self {
        let (mut long, mut short): (Vec<_>, Vec<_>) =
            scalars.par_chunks(CHUNK).enumerate().map(|(chunk, scalars)| split(scalars, chunk * CHUNK, &present)).unzip();
        let terms = long.iter().chain(&short).map(Vec::len).sum::<usize>();
        let long_terms = long.iter().map(Vec::len).sum::<usize>();
        let cost = |window: usize| {
            let (windows, reached) = (BITS.div_ceil(window), SHORT_BITS / window + 1);
            let adds = windows * long_terms + reached * (terms - long_terms);
            adds + bucket_cost * (1 << (window - 1)) * if long_terms == 0 { reached } else { windows }
        };
        let window = (2..=MAX_WINDOW).min_by_key(|window| cost(*window)).expect("a range");
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
        let reached = if window * self.window <= SHORT_BITS { &self.short[..] } else { &[] };
        keys.clear();
        starts.clear();
        starts.resize(count + 2, 0);
        for terms in self.long.iter().chain(reached) {
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
