//! Eight lanes of AVX-512 IFMA: the only place of the engine with intrinsics and `unsafe`.
//!
//! **Why it is sound.** An [`Ifma`] is made by [`Ifma::detect`] alone, after the processor said that it has every feature of
//! [`Ifma::run`]. A [`Lanes`] is made from an [`Ifma`] or from another [`Lanes`] alone. So whoever holds either may execute the
//! instructions; that is all that `unsafe` asserts in the register intrinsics. Memory is touched by `load4`,
//! `store4` and `high_bits`, each through a reference to exactly the bytes it moves.
//!
//! **Form.** An element is five limbs of 52 bits (`lanes[i]`, least significant first), normalised: each below `2^52`. Products are
//! summed by columns, then reduced by Montgomery's method limb by limb with radix `2^52`, which divides by `2^260`. The low and the
//! high halves of the products have columns of their own: ten sums never pass `2^56`, so nothing overflows 64 bits.

#![expect(unsafe_code, reason = "intrinsics: see the module's first paragraph; the portable twin is tested against it")]

mod lanes;

pub use lanes::Lanes;

use super::field::{Kernel, Machine, Mask};
use ark_ff::MontConfig;
use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch, _mm256_loadu_si256, _mm256_movepi32_mask};

/// Proof that this processor has AVX-512 with IFMA.
#[derive(Debug, Clone, Copy)]
pub struct Ifma(());

impl Ifma {
    /// The machine, where the processor has it.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512ifma")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq");
        has.then_some(Self(()))
    }
}

/// Asks for the cache line of `value`, soon to be read: any processor of the architecture can.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    // SAFETY: a hint that reads nothing, of the architecture's base
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) }
}

impl Machine for Ifma {
    type Vector<C: MontConfig<4>> = Lanes<C>;
    const LANES: usize = 8;
    const SHORT: u32 = 4;

    #[inline(always)]
    fn high_bits(self, words: &[u32]) -> Mask {
        let words: &[u32; 8] = words.first_chunk().expect("eight words");
        // SAFETY: `self` proves the features; the unaligned load reads the 32 bytes behind the reference
        unsafe { _mm256_movepi32_mask(_mm256_loadu_si256(words.as_ptr().cast())) }
    }

    #[inline(always)]
    fn run<K: Kernel<Self>>(self, kernel: K) -> K::Output {
        // SAFETY: `self` proves the features
        unsafe { enter(self, kernel) }
    }
}

#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq")]
fn enter<K: Kernel<Ifma>>(machine: Ifma, kernel: K) -> K::Output {
    kernel.run(machine)
}
