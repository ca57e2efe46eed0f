//! The reference string of a ceremony: from powers of tau to the Lagrange basis, by an inverse FFT in the group.
//!
//! ```text
//! L_j(tau) = 1/n sum_i w^(-ij) tau^i          L_0^(k')(tau) = 1/2^k' sum_(i < 2^k') tau^i
//! ```
//! L1 holds `L_0` for every size up to 2^24, so that a state can grow: a file of at least 2^24 powers is needed for a reference string that
//! can be deployed. Of a smaller file the sizes beyond it are the identity, which the deployer refuses.

use super::ptau::{Powers, Ptau, PtauError, PtauFault};
use super::srs::{Origin, Srs};
use super::{MAX_K, MIN_K, SIZES, root_of_unity};
use crate::field::{Fr, G1Affine, G2Affine};
use ark_bn254::{G1Projective, G2Projective};
use ark_ec::scalar_mul::ScalarMul;
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{Field, One, Zero};
use rand::rngs::StdRng;
use rayon::prelude::*;

/// Points between two calls of a progress callback.
const CHUNK: usize = 1 << 12;

/// `[L_j(tau)]_1` for `j < 2^k`, in natural order, from `[tau^i]_1` (or alpha or beta times those). `progress` hears of multiplications done.
///
/// # Panics
/// If the number of powers is no power of two.
pub fn lagrange_g1(powers: &[G1Affine], progress: &mut dyn FnMut(usize)) -> Vec<G1Affine> {
    lagrange::<G1Projective>(powers, progress)
}

/// As [`lagrange_g1`] in G2.
///
/// # Panics
/// If the number of powers is no power of two.
pub fn lagrange_g2(powers: &[G2Affine], progress: &mut dyn FnMut(usize)) -> Vec<G2Affine> {
    lagrange::<G2Projective>(powers, progress)
}

/// What [`lagrange_g1`] and [`lagrange_g2`] tell in all for `2^k` points.
pub fn lagrange_steps(k: u32) -> usize {
    (k as usize + 2) << k >> 1
}

fn lagrange<G: CurveGroup<ScalarField = Fr> + ScalarMul<MulBase = G::Affine>>(
    powers: &[G::Affine],
    progress: &mut dyn FnMut(usize),
) -> Vec<G::Affine> {
    let size = powers.len();
    assert!(size.is_power_of_two(), "{size} powers have no domain");
    let k = size.trailing_zeros();
    let inverse = Fr::from(size as u64).inverse().unwrap_or_default();
    let mut points = Vec::with_capacity(size);
    for piece in powers.chunks(CHUNK) {
        points.par_extend(piece.par_iter().map(|power| *power * inverse));
        progress(piece.len());
    }
    inverse_fft(&mut points, k, progress);
    G::batch_convert_to_mul_base(&points)
}

/// Decimation in frequency: layer after layer, then the points go from bit-reversed to natural order.
fn inverse_fft<G: CurveGroup<ScalarField = Fr>>(points: &mut [G], k: u32, progress: &mut dyn FnMut(usize)) {
    let mut root = root_of_unity(k).inverse().unwrap_or_default();
    let mut half = points.len() / 2;
    while half > 0 {
        let twiddles: Vec<Fr> = std::iter::successors(Some(Fr::one()), |power| Some(*power * root)).take(half).collect();
        if half >= CHUNK {
            for pair in points.chunks_mut(2 * half) {
                let (low, high) = pair.split_at_mut(half);
                for ((low, high), twiddles) in low.chunks_mut(CHUNK).zip(high.chunks_mut(CHUNK)).zip(twiddles.chunks(CHUNK)) {
                    low.par_iter_mut().zip(high).zip(twiddles).for_each(butterfly);
                    progress(low.len());
                }
            }
        } else {
            for block in points.chunks_mut(2 * CHUNK) {
                block.par_chunks_mut(2 * half).for_each(|pair| {
                    let (low, high) = pair.split_at_mut(half);
                    low.iter_mut().zip(high).zip(&twiddles).for_each(butterfly);
                });
                progress(block.len() / 2);
            }
        }
        root.square_in_place();
        half /= 2;
    }
    for i in 0..points.len() {
        let j = super::position(i as u32, k.max(1));
        if i < j {
            points.swap(i, j);
        }
    }
}

fn butterfly<G: CurveGroup<ScalarField = Fr>>(((low, high), twiddle): ((&mut G, &mut G), &Fr)) {
    let difference = *low - *high;
    *low += *high;
    *high = if twiddle.is_one() { difference } else { difference * twiddle };
}

impl Srs {
    /// The reference string of `2^k` slots from powers of tau, every point of the file that it rests on checked. `rng` must be
    /// unpredictable to whoever made the file; `progress` hears (points done, points in all).
    ///
    /// # Errors
    /// [`PtauError`]; a file of fewer than 2^k powers is refused here, one of fewer than 2^24 by [`Srs::is_deployable`].
    pub fn from_ptau(file: &Ptau, k: u32, rng: &mut StdRng, progress: &mut dyn FnMut(usize, usize)) -> Result<(Self, Powers), PtauError> {
        let last = (1usize << MAX_K).min((2 << file.power()) - 2);
        let all = Powers::points(k) + last + lagrange_steps(k);
        let powers = file.read(k, rng, &mut |done, _| progress(done, all))?;
        let mut sizes = SizeSums::default();
        let mut done = Powers::points(k);
        file.stream_tau((0, last), powers.tau_g2[1], rng, &mut |start, points| {
            sizes.take(start, points);
            done += points.len();
            progress(done.min(all), all);
        })?;
        // the opening at a domain point of any size would be by a tau that everybody knows
        if sizes.powers.contains(&G1Affine::generator()) {
            return Err(file.refused(PtauFault::KnownTau));
        }
        let lagrange = lagrange_g1(&powers.tau_g1[..1 << k], &mut |steps| {
            done += steps;
            progress(done.min(all), all);
        });
        let srs = Self { k, origin: Origin::Ceremony, lagrange, tau_g2: powers.tau_g2[1], l0: sizes.l0(), tau_powers: sizes.powers };
        Ok((srs, powers))
    }

    /// True if L1 can hold it: `L_0` of every size is known.
    pub fn is_deployable(&self) -> bool {
        self.k >= MIN_K && !self.l0.iter().chain(&self.tau_powers).any(AffineRepr::is_zero)
    }
}

/// Sums of the first 2^k' powers, and the powers `2^k'` themselves, as the powers come by.
struct SizeSums {
    sum: G1Projective,
    sums: [G1Projective; SIZES],
    powers: [G1Affine; SIZES],
}

impl Default for SizeSums {
    fn default() -> Self {
        Self { sum: G1Projective::zero(), sums: [G1Projective::zero(); SIZES], powers: [G1Affine::identity(); SIZES] }
    }
}

impl SizeSums {
    /// Powers from `start` on; pieces come in order. A size of `2^k'` is full when the power `2^k'` is met.
    fn take(&mut self, start: usize, points: &[G1Affine]) {
        let end = start + points.len();
        let mut summed = start;
        for i in 0..SIZES {
            let size = 1usize << (MIN_K as usize + i);
            if (start..end).contains(&size) {
                self.sum += sum(&points[summed - start..size - start]);
                summed = size;
                (self.sums[i], self.powers[i]) = (self.sum, points[size - start]);
            }
        }
        self.sum += sum(&points[summed - start..]);
    }

    fn l0(&self) -> [G1Affine; SIZES] {
        std::array::from_fn(|i| {
            let inverse = Fr::from(1u64 << (MIN_K as usize + i)).inverse().unwrap_or_default();
            (self.sums[i] * inverse).into_affine()
        })
    }
}

fn sum(points: &[G1Affine]) -> G1Projective {
    points.par_iter().map(|point| point.into_group()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ec::PrimeGroup;
    use ark_ec::scalar_mul::BatchMulPreprocessing;

    /// With tau = 1 every power is the generator, the sum of n of them n times it, and L_0 the generator again.
    #[test]
    fn sums_of_every_size_are_taken_wherever_the_pieces_end() {
        let generator = G1Affine::generator();
        let points = vec![generator; 50_000];
        let (mut sizes, mut start, all) = (SizeSums::default(), 0, (1 << 17) + 1);
        while start < all {
            let piece = points.len().min(all - start);
            sizes.take(start, &points[..piece]);
            start += piece;
        }
        let (l0, powers) = (sizes.l0(), sizes.powers);
        assert_eq!((l0[0], l0[1], powers[0], powers[1]), (generator, generator, generator, generator));
        assert!(l0[2..].iter().chain(&powers[2..]).all(|point| point.is_zero()), "sizes beyond the powers are unknown");
    }

    #[test]
    fn the_inverse_fft_gives_the_lagrange_points_of_the_set_up() {
        for k in [0, 1, 5, 13] {
            let tau = Fr::from(987_654_321u64);
            let powers: Vec<Fr> = std::iter::successors(Some(Fr::one()), |power| Some(*power * tau)).take(1 << k).collect();
            let mut told = 0;
            let powers = generator_times(&powers);
            let lagrange = lagrange_g1(&powers, &mut |steps| told += steps);
            assert_eq!(told, lagrange_steps(k));
            let n = Fr::from(1u64 << k);
            let scale = (tau.pow([1u64 << k]) - Fr::one()) / n;
            let at = |j: usize| {
                let root = root_of_unity(k).pow([j as u64]);
                (G1Affine::generator() * (scale * root / (tau - root))).into_affine()
            };
            for j in [0, (1 << k) / 2, (1 << k) - 1] {
                assert_eq!(lagrange[j], at(j), "k = {k}, point {j}");
            }
        }
    }

    fn generator_times(scalars: &[Fr]) -> Vec<G1Affine> {
        BatchMulPreprocessing::new(G1Projective::generator(), scalars.len()).batch_mul(scalars)
    }
}
