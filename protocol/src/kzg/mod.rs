//! The state as a committed vector: KZG commitments to the three columns, and the one opening a batch needs.
//!
//! Slot `idx` lives at the point `W(idx)` of the domain of `n = 2^k` roots of unity, at *position* `bitreverse_k(idx)` of the
//! natural order `1, w, w^2, ..`. Everything dense in here (Lagrange SRS, columns, quotient) is in domain order; everything
//! public names slots.
//!
//! ```text
//!             Srs (srs, file; ptau -> import)
//!               |
//!  StateVector (vector): prepare(touched) -> Step, C'        header, rho
//!                        quotient(step, rho) -> C_q          zeta, claims, gamma
//!                        open(step, quotient, ..) -> W
//!                        advance(step)
//!  verify (open): e(P + zeta W, G2) = e(W, [tau]_2), the equation L1 checks
//! ```
//!
//! A batch touches the slots I. With f = key + rho dyn + rho^2 owner before, f' after, r and d the interpolations of the old
//! values and of the changes, Z_I the polynomial that vanishes on I:
//! 1. f - r = q Z_I: the old values are what the state holds;
//! 2. f' = f + d: only touched slots moved.
//!
//! Failure: wrong input is refused by name (`PrepareError`, `OpenError`, `SrsFileError`); a false statement has no opening.

mod file;
mod import;
mod open;
mod ptau;
mod quotient;
mod srs;
mod vector;

pub use file::SrsFileError;
pub use import::{lagrange_g1, lagrange_g2, lagrange_steps};
pub use open::{Claims, OpeningKey, SlotStatement, Statement};
pub use ptau::{Powers, Ptau, PtauError, PtauFault, Section, weights};
pub use srs::{Origin, SetupError, Srs};
pub use vector::{OpenError, PrepareError, Quotient, StateVector, Step, TouchedSlot};

use crate::amount::SLOT_BITS;
use crate::field::Fr;
use ark_ff::{FftField, One};
use std::sync::LazyLock;

/// Smallest `k` a deployment may use.
pub const MIN_K: u32 = 16;
/// Largest `k` a deployment may use: slot indexes have [`SLOT_BITS`] bits.
pub const MAX_K: u32 = SLOT_BITS;
/// Number of sizes a deployment may grow through.
pub const SIZES: usize = (MAX_K - MIN_K + 1) as usize;

/// `omega_{2^(j+1)} - 1` for j = 0..23: the factor that bit j of an index brings in is `1 + b_j` times this.
static FACTORS: LazyLock<[Fr; SLOT_BITS as usize]> = LazyLock::new(|| std::array::from_fn(|j| root_of_unity(j as u32 + 1) - Fr::one()));

/// `omega_{2^k}`, the primitive root that generates the domain of `2^k` points.
///
/// # Panics
/// If `k` is above 28, the two-adicity of the field.
pub fn root_of_unity(k: u32) -> Fr {
    match Fr::get_root_of_unity(1 << k) {
        Some(root) => root,
        None => panic!("the field has no root of unity of order 2^{k}"),
    }
}

/// `W(idx)`: the domain point of a slot, the same for every `k` that has the slot.
pub fn domain_point(idx: u32) -> Fr {
    FACTORS.iter().enumerate().filter(|(j, _)| idx >> j & 1 == 1).map(|(_, factor)| *factor + Fr::one()).product()
}

/// Position of a slot in the natural order of the domain of `2^k` points: the index with its `k` bits reversed.
///
/// # Panics
/// If `k` is 0 or the slot is not below `2^k`.
pub fn position(idx: u32, k: u32) -> usize {
    assert!(u64::from(idx) < 1 << k, "slot {idx} is outside a state of 2^{k} slots");
    (idx.reverse_bits() >> (32 - k)) as usize
}

/// `key + rho dyn + rho^2 owner`: a slot's value in the combined column.
pub fn combine(values: &[Fr; 3], rho: Fr) -> Fr {
    values[0] + rho * (values[1] + rho * values[2])
}

#[cfg(test)]
mod tests;
