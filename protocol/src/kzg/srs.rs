//! The structured reference string: a Lagrange basis of commitments, and what L1 needs of it.
//!
//! States: made (here, or from powers of tau by [`super::import`]), saved, loaded ([`super::file`]). The development set-up derives its secret
//! from a public seed: everybody can forge openings under it, so its origin is part of the bytes and of the file name.

use super::open::OpeningKey;
use super::{MAX_K, MIN_K, SIZES, root_of_unity};
use crate::field::{Fr, G1Affine, G2Affine, hash_to_field, keccak};
use ark_bn254::{Bn254, G1Projective, G2Projective};
use ark_ec::pairing::Pairing;
use ark_ec::scalar_mul::BatchMulPreprocessing;
use ark_ec::{CurveGroup, PrimeGroup, VariableBaseMSM};
use ark_ff::{Field, One, Zero, batch_inversion};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use rayon::prelude::*;

/// Points made between two calls of a progress callback.
const CHUNK: usize = 1 << 13;

/// Where a reference string comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Derived from a public seed: for development chains only.
    InsecureDevelopment,
    /// A multi-party ceremony.
    Ceremony,
}

/// The reference string of a state of `2^k` slots.
#[derive(Clone, Debug)]
pub struct Srs {
    /// Binary logarithm of the number of slots.
    pub k: u32,
    /// Who knows tau.
    pub origin: Origin,
    /// `[L_j(tau)]_1` for every domain point `w^j`, in natural domain order.
    pub lagrange: Vec<G1Affine>,
    /// `[tau]_2`.
    pub tau_g2: G2Affine,
    /// `[L_0^(k')(tau)]_1` for k' = 16..=24: L1 holds these, so that a state can grow.
    pub l0: [G1Affine; SIZES],
    /// `[tau^(2^k')]_1` for k' = 16..=24: what the deployer checks `l0` against.
    pub tau_powers: [G1Affine; SIZES],
}

/// Why a reference string cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// No such domain.
    #[error("k = {0} is outside 1..=24")]
    Size(u32),
    /// The secret is a domain point; astronomically unlikely, take another seed.
    #[error("the seed's secret lies in the domain, take another seed")]
    SecretInDomain,
}

impl Srs {
    /// The INSECURE development set-up of `2^k` slots: tau = H("sheaf.insecure.tau", keccak256(seed)).
    ///
    /// `k` from 1 to 24; the deployment border asks for 16 or more.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn insecure_dev(k: u32, seed: &str) -> Result<Self, SetupError> {
        Self::insecure_dev_with(k, seed, |_, _| {})
    }

    /// As [`Srs::insecure_dev`], telling `progress` (points done, points in all) now and then.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn insecure_dev_with(k: u32, seed: &str, progress: impl FnMut(usize, usize)) -> Result<Self, SetupError> {
        if !(1..=MAX_K).contains(&k) {
            return Err(SetupError::Size(k));
        }
        let tau = hash_to_field("sheaf.insecure.tau", &[keccak(seed.as_bytes())]);
        if tau.pow([1u64 << MAX_K]).is_one() {
            return Err(SetupError::SecretInDomain);
        }
        let power = |i: usize| tau.pow([1u64 << (MIN_K + i as u32)]);
        let sizes: [Fr; 2 * SIZES] = std::array::from_fn(|i| if i < SIZES { lagrange_zero(MIN_K + i as u32, tau) } else { power(i - SIZES) });
        let small = BatchMulPreprocessing::new(G1Projective::generator(), sizes.len()).batch_mul(&sizes);
        Ok(Self {
            k,
            origin: Origin::InsecureDevelopment,
            lagrange: lagrange_points(k, tau, progress),
            tau_g2: (G2Projective::generator() * tau).into_affine(),
            l0: std::array::from_fn(|i| small[i]),
            tau_powers: std::array::from_fn(|i| small[SIZES + i]),
        })
    }

    /// Number of slots.
    pub fn size(&self) -> usize {
        1 << self.k
    }

    /// The domain of the columns.
    pub(super) fn domain(&self) -> Radix2EvaluationDomain<Fr> {
        match Radix2EvaluationDomain::new(self.size()) {
            Some(domain) => domain,
            None => panic!("set-up and load bound k by 24"),
        }
    }

    /// What a verifier of openings needs.
    pub fn opening_key(&self) -> OpeningKey {
        OpeningKey { tau_g2: self.tau_g2, l0: self.lagrange[0] }
    }

    /// Commitment to the column that has `value` at each listed position and zero elsewhere.
    pub(super) fn commit_positions(&self, entries: &[(usize, Fr)]) -> G1Projective {
        let bases: Vec<G1Affine> = entries.par_iter().map(|(position, _)| self.lagrange[*position]).collect();
        let scalars: Vec<Fr> = entries.par_iter().map(|(_, value)| *value).collect();
        G1Projective::msm_unchecked(&bases, &scalars)
    }

    /// Commitment to the column that has `value` at each listed slot and zero elsewhere.
    ///
    /// # Panics
    /// If a slot is outside the state.
    pub fn commit(&self, entries: &[(u32, Fr)]) -> G1Affine {
        self.update(&G1Affine::identity(), entries)
    }

    /// Commitment after adding `delta` at each listed slot: one multi-scalar multiplication of that many points.
    ///
    /// # Panics
    /// If a slot is outside the state.
    pub fn update(&self, commitment: &G1Affine, deltas: &[(u32, Fr)]) -> G1Affine {
        let entries: Vec<(usize, Fr)> = deltas.iter().map(|(idx, delta)| (super::position(*idx, self.k), *delta)).collect();
        (self.commit_positions(&entries) + commitment).into_affine()
    }

    /// True if the points are a Lagrange basis for the tau of `tau_g2`, and `l0` belongs to `tau_powers`.
    ///
    /// Random linear combination of `L_j (tau - w^j) = w^j c` over all j with one c, and `sum L_j = 1`, which forces
    /// c = (tau^n - 1)/n; then `n' (tau - 1) L_0^(k') = tau^n' - 1`. That `tau_powers` are powers of tau is the ceremony
    /// transcript's to show, except for `k' = k`, which is checked here. The coefficients are powers of a hash of the points.
    pub fn is_consistent(&self) -> bool {
        self.basis_is_consistent() && (0..SIZES).all(|i| self.size_is_consistent(i))
    }

    fn basis_is_consistent(&self) -> bool {
        let one = G1Projective::generator();
        let seed = Fr::one() + hash_to_field("sheaf.srs", &[self.digest().0]);
        let omega = root_of_unity(self.k);
        let weights = geometric(seed, self.size());
        let shifted = geometric(seed * omega, self.size());
        let sum: G1Projective = self.lagrange.par_iter().map(|point| G1Projective::from(*point)).sum();
        let left = G1Projective::msm_unchecked(&self.lagrange, &weights);
        let first: G1Projective = self.lagrange[0].into();
        // L_0 (tau - 1) = c, as a G1 point: the tau part stays in the pairing
        let total: Fr = shifted.par_iter().sum();
        let right = G1Projective::msm_unchecked(&self.lagrange, &shifted) - first * total;
        sum == one && pairs(&[(left - first * total, self.tau_g2), (-right, G2Projective::generator().into_affine())])
    }

    fn size_is_consistent(&self, i: usize) -> bool {
        let k = MIN_K + i as u32;
        let known = k != self.k || self.l0[i] == self.lagrange[0];
        let scaled = self.l0[i] * Fr::from(1u64 << k);
        let right = G1Projective::generator() - self.tau_powers[i] - scaled;
        known && pairs(&[(scaled, self.tau_g2), (right, G2Projective::generator().into_affine())])
    }
}

/// True if the product of the pairings is one.
pub(super) fn pairs(terms: &[(G1Projective, G2Affine)]) -> bool {
    let left: Vec<G1Affine> = terms.iter().map(|(point, _)| point.into_affine()).collect();
    Bn254::multi_pairing(left, terms.iter().map(|(_, point)| *point)).is_zero()
}

fn geometric(ratio: Fr, count: usize) -> Vec<Fr> {
    let mut out = vec![Fr::zero(); count];
    out.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, values)| {
        let mut power = ratio.pow([(chunk * CHUNK) as u64]);
        for value in values {
            *value = power;
            power *= ratio;
        }
    });
    out
}

/// `L_0^(k)(tau) = (tau^n - 1) / (n (tau - 1))`.
fn lagrange_zero(k: u32, tau: Fr) -> Fr {
    let n = 1u64 << k;
    (tau.pow([n]) - Fr::one()) / (Fr::from(n) * (tau - Fr::one()))
}

/// `[L_j(tau)]_1` with `L_j(tau) = w^j (tau^n - 1) / (n (tau - w^j))`.
fn lagrange_points(k: u32, tau: Fr, mut progress: impl FnMut(usize, usize)) -> Vec<G1Affine> {
    let size = 1usize << k;
    let omega = root_of_unity(k);
    let scale = (tau.pow([size as u64]) - Fr::one()) / Fr::from(size as u64);
    let table = BatchMulPreprocessing::new(G1Projective::generator(), size);
    let mut points = Vec::with_capacity(size);
    let mut power = Fr::one();
    while points.len() < size {
        let roots: Vec<Fr> = std::iter::successors(Some(power), |root| Some(*root * omega)).take(CHUNK.min(size)).collect();
        let mut scalars: Vec<Fr> = roots.iter().map(|root| tau - root).collect();
        batch_inversion(&mut scalars);
        scalars.iter_mut().zip(&roots).for_each(|(scalar, root)| *scalar *= scale * root);
        points.extend(table.batch_mul(&scalars));
        power *= omega.pow([roots.len() as u64]);
        progress(points.len(), size);
    }
    points
}
