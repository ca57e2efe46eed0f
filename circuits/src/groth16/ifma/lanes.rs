//! The eight-lane vector and its arithmetic.

#![expect(clippy::needless_range_loop, reason = "limb numbers add up across arrays, and iterators might stay calls")]

use super::Ifma;
use crate::groth16::field::{Element, Limbs, Mask, Vector};
use ark_ff::{BigInt, MontConfig};
use core::arch::x86_64::*;
use std::marker::PhantomData;

type V = __m512i;

/// Eight elements of the field of `C`.
#[repr(transparent)]
pub struct Lanes<C>([V; 5], PhantomData<C>);

impl<C> Clone for Lanes<C> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Lanes<C> {}

/// Sums of low and of high halves of products, by columns of 52 bits; signed.
#[derive(Clone, Copy)]
struct Columns {
    low: [V; 10],
    high: [V; 10],
}

const LIMB: u64 = (1 << 52) - 1;

/// Five limbs of 52 bits of four of 64.
const fn limbs52(l: Limbs) -> [u64; 5] {
    [l[0] & LIMB, (l[0] >> 52 | l[1] << 12) & LIMB, (l[1] >> 40 | l[2] << 24) & LIMB, (l[2] >> 28 | l[3] << 36) & LIMB, l[3] >> 16]
}

/// `2^shift * l` in limbs of 52 bits.
const fn scaled(l: Limbs, shift: u32) -> [u64; 5] {
    let mut limbs = limbs52(l);
    let mut carry = 0;
    let mut i = 0;
    while i < 5 {
        let limb = (limbs[i] << shift) + carry;
        limbs[i] = limb & LIMB;
        carry = limb >> 52;
        i += 1;
    }
    assert!(carry == 0);
    limbs
}

/// Constants of a field.
struct Constants<C>(PhantomData<C>);

impl<C: MontConfig<4>> Constants<C> {
    const P: [u64; 5] = scaled(C::MODULUS.0, 0);
    const P2: [u64; 5] = scaled(C::MODULUS.0, 1);
    const P4: [u64; 5] = scaled(C::MODULUS.0, 2);
    /// `-1/p mod 2^52`.
    const INVERSE: u64 = C::INV & LIMB;
    /// Low limbs of the multiples of `p` below `4p`.
    const LOW: [u64; 4] = {
        let mut low = [0; 4];
        let mut k = 0;
        while k < 4 {
            low[k] = C::MODULUS.0[0].wrapping_mul(k as u64) & LIMB;
            k += 1;
        }
        low
    };
    /// `2^264 mod p`: turns data into a factor.
    const FACTOR: [u64; 5] = {
        let (mut power, p) = (limbs52(C::R.0), Self::P);
        let mut doublings = 0;
        while doublings < 8 {
            let (mut twice, mut less) = ([0; 5], [0; 5]);
            let (mut carry, mut borrow) = (0, 0);
            let mut i = 0;
            while i < 5 {
                let limb = (power[i] << 1) + carry;
                (twice[i], carry) = (limb & LIMB, limb >> 52);
                let difference = twice[i].wrapping_sub(p[i]).wrapping_sub(borrow);
                (less[i], borrow) = (difference & LIMB, difference >> 63);
                i += 1;
            }
            power = if borrow == 1 { twice } else { less };
            doublings += 1;
        }
        power
    };
    /// `32 p^2` in limbs of 52 bits: at least any product that `complex_mul` subtracts.
    const SQUARE32: [u64; 10] = {
        let (p, p32) = (Self::P, scaled(C::MODULUS.0, 5));
        let mut limbs = [0; 10];
        let mut i = 0;
        while i < 5 {
            let mut carry = 0;
            let mut j = 0;
            while j < 5 {
                let sum = p[i] as u128 * p32[j] as u128 + limbs[i + j] as u128 + carry;
                limbs[i + j] = sum as u64 & LIMB;
                carry = sum >> 52;
                j += 1;
            }
            limbs[i + 5] = carry as u64;
            i += 1;
        }
        limbs
    };
    // the bounds of the module of fields rest on this: 64 p < 2^260
    const SMALL: () = assert!(C::MODULUS.0[3] >> 62 == 0);
}

// The wrappers below are private; whoever calls them holds or builds a `Lanes`, hence an `Ifma`.

macro_rules! wrap {
    ($($name:ident($($arg:ident),*) = $intrinsic:expr;)*) => {$(
        #[inline(always)]
        fn $name($($arg: V),*) -> V {
            // SAFETY: registers only; the features are proved by an `Ifma`, see the parent module
            unsafe { $intrinsic($($arg),*) }
        }
    )*};
}

wrap! {
    madd_lo(sum, a, b) = _mm512_madd52lo_epu64;
    madd_hi(sum, a, b) = _mm512_madd52hi_epu64;
    plus(a, b) = _mm512_add_epi64;
    minus(a, b) = _mm512_sub_epi64;
    and(a, b) = _mm512_and_si512;
    or(a, b) = _mm512_or_si512;
    unpack_lo(a, b) = _mm512_unpacklo_epi64;
    unpack_hi(a, b) = _mm512_unpackhi_epi64;
    even_blocks(a, b) = _mm512_shuffle_i64x2::<0x88>;
    odd_blocks(a, b) = _mm512_shuffle_i64x2::<0xdd>;
}

#[inline(always)]
fn shr<const N: u32>(a: V) -> V {
    // SAFETY: as above
    unsafe { _mm512_srli_epi64::<N>(a) }
}

#[inline(always)]
fn sar<const N: u32>(a: V) -> V {
    // SAFETY: as above
    unsafe { _mm512_srai_epi64::<N>(a) }
}

#[inline(always)]
fn shl<const N: u32>(a: V) -> V {
    // SAFETY: as above
    unsafe { _mm512_slli_epi64::<N>(a) }
}

#[inline(always)]
fn set1(x: u64) -> V {
    // SAFETY: as above
    unsafe { _mm512_set1_epi64(x.cast_signed()) }
}

/// Lanes with a set bit from `yes`.
#[inline(always)]
fn blend(mask: Mask, yes: V, no: V) -> V {
    // SAFETY: as above
    unsafe { _mm512_mask_blend_epi64(mask, no, yes) }
}

/// Lanes with the sign bit set.
#[inline(always)]
fn signs(a: V) -> Mask {
    // SAFETY: as above
    unsafe { _mm512_movepi64_mask(a) }
}

#[inline(always)]
fn equal(a: V, b: V) -> Mask {
    // SAFETY: as above
    unsafe { _mm512_cmpeq_epi64_mask(a, b) }
}

/// Two rows: `[a, b]`.
#[inline(always)]
fn load4(a: &Limbs, b: &Limbs) -> V {
    // SAFETY: as above, and each unaligned load reads the 32 bytes behind its reference
    unsafe {
        let low = _mm512_castsi256_si512(_mm256_loadu_si256(a.as_ptr().cast()));
        _mm512_inserti64x4::<1>(low, _mm256_loadu_si256(b.as_ptr().cast()))
    }
}

/// The two rows of `v`.
#[inline(always)]
fn store4(v: V) -> [Limbs; 2] {
    let mut rows = [[0; 4]; 2];
    // SAFETY: as above, and each unaligned store writes the 32 bytes behind its reference
    unsafe {
        _mm256_storeu_si256(rows[0].as_mut_ptr().cast(), _mm512_castsi512_si256(v));
        _mm256_storeu_si256(rows[1].as_mut_ptr().cast(), _mm512_extracti64x4_epi64::<1>(v));
    }
    rows
}

/// `[a.row, b.row]` of the rows in the low (or high) halves of 256 bits: `[a0 a1 b0 b1]`, of two column pairs.
#[inline(always)]
fn join<const HIGH: bool>(a: V, b: V) -> V {
    // SAFETY: as above
    unsafe {
        let index = if HIGH { _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15) } else { _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11) };
        _mm512_permutex2var_epi64(a, index, b)
    }
}

/// An array of five, an expression of the index each: closures may stay calls, a macro cannot.
macro_rules! limbs {
    ($i:ident => $limb:expr) => {
        [
            {
                const $i: usize = 0;
                $limb
            },
            {
                const $i: usize = 1;
                $limb
            },
            {
                const $i: usize = 2;
                $limb
            },
            {
                const $i: usize = 3;
                $limb
            },
            {
                const $i: usize = 4;
                $limb
            },
        ]
    };
}

/// Carries what limbs have above 52 bits (signed) into the next; the last keeps it.
#[inline(always)]
fn normalise(mut t: [V; 5]) -> [V; 5] {
    let mask = set1(LIMB);
    for i in 0..4 {
        t[i + 1] = plus(t[i + 1], sar::<52>(t[i]));
        t[i] = and(t[i], mask);
    }
    t
}

/// Lanes whose value is negative.
#[inline(always)]
fn negative(t: &[V; 5]) -> Mask {
    let mut carry = sar::<52>(t[0]);
    for i in 1..4 {
        carry = sar::<52>(plus(t[i], carry));
    }
    signs(plus(t[4], carry))
}

/// `t - k` where that is not negative, else `t`; not normalised.
#[inline(always)]
fn subtract_once(t: [V; 5], k: &[u64; 5]) -> [V; 5] {
    let less = limbs!(I => minus(t[I], set1(k[I])));
    let keep = negative(&less);
    limbs!(I => blend(keep, t[I], less[I]))
}

/// `t + k` where `t` is negative, else `t`; not normalised.
#[inline(always)]
fn add_once(t: [V; 5], k: &[u64; 5]) -> [V; 5] {
    let negative = negative(&t);
    limbs!(I => blend(negative, plus(t[I], set1(k[I])), t[I]))
}

impl Columns {
    /// All of `a * b`.
    #[inline(always)]
    fn product(a: &[V; 5], b: &[V; 5]) -> Self {
        let mut c = Self { low: [set1(0); 10], high: [set1(0); 10] };
        for i in 0..5 {
            for j in 0..5 {
                c.low[i + j] = madd_lo(c.low[i + j], a[i], b[j]);
                c.high[i + j + 1] = madd_hi(c.high[i + j + 1], a[i], b[j]);
            }
        }
        c
    }

    /// All of `a * a`: the mixed products once, doubled.
    #[inline(always)]
    fn square(a: &[V; 5]) -> Self {
        let mut c = Self { low: [set1(0); 10], high: [set1(0); 10] };
        for i in 0..5 {
            for j in i + 1..5 {
                c.low[i + j] = madd_lo(c.low[i + j], a[i], a[j]);
                c.high[i + j + 1] = madd_hi(c.high[i + j + 1], a[i], a[j]);
            }
        }
        for i in 0..10 {
            c.low[i] = plus(c.low[i], c.low[i]);
            c.high[i] = plus(c.high[i], c.high[i]);
        }
        for i in 0..5 {
            c.low[2 * i] = madd_lo(c.low[2 * i], a[i], a[i]);
            c.high[2 * i + 1] = madd_hi(c.high[2 * i + 1], a[i], a[i]);
        }
        c
    }

    /// `self - other`, column by column.
    #[inline(always)]
    fn minus(mut self, other: &Self) -> Self {
        for i in 0..10 {
            self.low[i] = minus(self.low[i], other.low[i]);
            self.high[i] = minus(self.high[i], other.high[i]);
        }
        self
    }

    /// `self + limbs`.
    #[inline(always)]
    fn plus_limbs(mut self, limbs: &[u64; 10]) -> Self {
        for i in 0..10 {
            self.low[i] = plus(self.low[i], set1(limbs[i]));
        }
        self
    }

    /// Montgomery's reduction of a sum that is not negative: divides by `2^260` modulo `p`.
    #[inline(always)]
    fn reduce<C: MontConfig<4>>(self) -> Lanes<C> {
        let Self { mut low, mut high } = self;
        let inverse = set1(Constants::<C>::INVERSE);
        for i in 0..5 {
            if i > 0 {
                low[i] = plus(low[i], high[i]);
            }
            let m = madd_lo(set1(0), low[i], inverse);
            for j in 0..5 {
                let p = set1(Constants::<C>::P[j]);
                low[i + j] = madd_lo(low[i + j], m, p);
                high[i + j + 1] = madd_hi(high[i + j + 1], m, p);
            }
            low[i + 1] = plus(low[i + 1], sar::<52>(low[i]));
        }
        Lanes::of(normalise(limbs!(I => plus(low[5 + I], high[5 + I]))))
    }
}

impl<C: MontConfig<4>> Lanes<C> {
    #[inline(always)]
    fn of(limbs: [V; 5]) -> Self {
        const { Constants::<C>::SMALL };
        Self(limbs, PhantomData)
    }
}

impl<C: MontConfig<4>> Vector<C> for Lanes<C> {
    type Machine = Ifma;

    #[inline(always)]
    fn zero(_: Ifma) -> Self {
        Self::of([set1(0); 5])
    }

    #[inline(always)]
    fn splat(_: Ifma, value: &Element<C>) -> Self {
        let BigInt(limbs) = (*value * Element::<C>::from(16u64)).0;
        let limbs = limbs52(limbs);
        Self::of(limbs!(I => set1(limbs[I])))
    }

    #[inline(always)]
    fn gather<'a>(_: Ifma, row: impl Fn(usize) -> &'a Limbs) -> Self {
        let rows = [load4(row(0), row(2)), load4(row(1), row(3)), load4(row(4), row(6)), load4(row(5), row(7))];
        let (a, b) = (unpack_lo(rows[0], rows[1]), unpack_lo(rows[2], rows[3]));
        let (c, d) = (unpack_hi(rows[0], rows[1]), unpack_hi(rows[2], rows[3]));
        let l = [even_blocks(a, b), even_blocks(c, d), odd_blocks(a, b), odd_blocks(c, d)];
        let mask = set1(LIMB);
        Self::of([
            and(l[0], mask),
            and(or(shr::<52>(l[0]), shl::<12>(l[1])), mask),
            and(or(shr::<40>(l[1]), shl::<24>(l[2])), mask),
            and(or(shr::<28>(l[2]), shl::<36>(l[3])), mask),
            shr::<16>(l[3]),
        ])
    }

    #[inline(always)]
    fn scatter(self, mut put: impl FnMut(usize, &Limbs)) {
        let l = &self.0;
        let l = [
            or(l[0], shl::<52>(l[1])),
            or(shr::<12>(l[1]), shl::<40>(l[2])),
            or(shr::<24>(l[2]), shl::<28>(l[3])),
            or(shr::<36>(l[3]), shl::<16>(l[4])),
        ];
        let even = (unpack_lo(l[0], l[1]), unpack_lo(l[2], l[3]));
        let odd = (unpack_hi(l[0], l[1]), unpack_hi(l[2], l[3]));
        let rows = [join::<false>(even.0, even.1), join::<false>(odd.0, odd.1), join::<true>(even.0, even.1), join::<true>(odd.0, odd.1)];
        for (i, first) in [0, 1, 4, 5].into_iter().enumerate() {
            let [a, b] = store4(rows[i]);
            put(first, &a);
            put(first + 2, &b);
        }
    }

    #[inline(always)]
    fn factor(self) -> Self {
        // x 2^256 * 2^264 / 2^260
        self.mul(Self::of(limbs!(I => set1(Constants::<C>::FACTOR[I]))))
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Columns::product(&self.0, &other.0).reduce()
    }

    #[inline(always)]
    fn square(self) -> Self {
        Columns::square(&self.0).reduce()
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let p2 = &Constants::<C>::P2;
        let less = limbs!(I => minus(plus(self.0[I], other.0[I]), set1(p2[I])));
        Self::of(normalise(add_once(less, p2)))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self::of(normalise(add_once(limbs!(I => minus(self.0[I], other.0[I])), &Constants::<C>::P2)))
    }

    #[inline(always)]
    fn sub2(self, b: Self, c: Self) -> Self {
        // in (-4p, 2p)
        let t = limbs!(I => minus(minus(self.0[I], b.0[I]), c.0[I]));
        let t = add_once(t, &Constants::<C>::P2);
        Self::of(normalise(add_once(t, &Constants::<C>::P2)))
    }

    #[inline(always)]
    fn add_wide(self, other: Self) -> Self {
        Self::of(normalise(limbs!(I => plus(self.0[I], other.0[I]))))
    }

    #[inline(always)]
    fn sub_wide(self, other: Self) -> Self {
        let p2 = &Constants::<C>::P2;
        Self::of(normalise(limbs!(I => plus(minus(self.0[I], other.0[I]), set1(p2[I])))))
    }

    #[inline(always)]
    fn sub_short(self, other: Self) -> Self {
        let p2 = &Constants::<C>::P2;
        Self::of(normalise(limbs!(I => shl::<2>(plus(minus(self.0[I], other.0[I]), set1(p2[I]))))))
    }

    #[inline(always)]
    fn reduce(self) -> Self {
        let t = subtract_once(self.0, &Constants::<C>::P4);
        Self::of(normalise(subtract_once(t, &Constants::<C>::P2)))
    }

    #[inline(always)]
    fn canonical(self) -> Self {
        Self::of(normalise(subtract_once(self.0, &Constants::<C>::P)))
    }

    #[inline(always)]
    fn select(self, mask: Mask, other: Self) -> Self {
        Self::of(limbs!(I => blend(mask, self.0[I], other.0[I])))
    }

    #[inline(always)]
    fn near_zero(self) -> Mask {
        let low = Constants::<C>::LOW;
        let at = self.0[0];
        equal(at, set1(low[0])) | equal(at, set1(low[1])) | equal(at, set1(low[2])) | equal(at, set1(low[3]))
    }

    #[inline(always)]
    fn near_null(self) -> Mask {
        equal(self.0[0], set1(0))
    }

    /// Karatsuba's three products, two reductions.
    #[inline(always)]
    fn complex_mul(a: [Self; 2], b: [Self; 2]) -> [Self; 2] {
        let low = Columns::product(&a[0].0, &b[0].0);
        let high = Columns::product(&a[1].0, &b[1].0);
        let sums = Columns::product(&a[0].add_wide(a[1]).0, &b[0].add_wide(b[1]).0);
        let mixed = sums.minus(&low).minus(&high);
        [low.minus(&high).plus_limbs(&Constants::<C>::SQUARE32).reduce(), mixed.reduce()]
    }
}
