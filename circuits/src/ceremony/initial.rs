//! The key that a ceremony begins with: delta = 1, everything else from powers of tau.
//!
//! ```text
//! L_j = [L_j(tau)]_1 by an inverse FFT, likewise for alpha, beta and in G2                       over the circuit's domain
//! A_i = sum_j A_ji L_j    B_i = sum_j B_ji L_j    K_i = sum_j A_ji beta L_j + B_ji alpha L_j + C_ji L_j
//! H_i = [tau^(i+n)]_1 - [tau^i]_1
//! ```
//! K of the public inputs is IC, gamma being 1; K of the witness is L. Rows `x_i 0 = 0` of the public inputs stand after the constraints,
//! as in [`crate::setup`], ark-groth16 and snarkjs. Nothing secret is in here: anybody computes the same key.

use super::{CHUNK, VerifyError};
use crate::batch::Circuit;
use ark_bn254::{Bn254, G1Affine, G1Projective, G2Projective};
use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM};
use ark_ff::{BigInteger, Field, PrimeField};
use ark_groth16::{ProvingKey, VerifyingKey};
use ark_serialize::CanonicalSerialize;
use rayon::prelude::*;
use sheaf_protocol::artifact::digest_of;
use sheaf_protocol::batch::PUBLIC_INPUTS;
use sheaf_protocol::field::{Fr, Word};
use sheaf_protocol::kzg::{Powers, lagrange_g1, lagrange_g2, lagrange_steps};
use sheaf_protocol::manifest::HexWord;
use std::io;

/// Public inputs and the constant one.
const INSTANCE: usize = PUBLIC_INPUTS + 1;
/// Terms above which a sum is a multi-scalar multiplication.
const LONG_SUM: usize = 512;

/// Powers of tau that a circuit's key is made from: 2 to this.
pub fn power(circuit: &Circuit) -> u32 {
    circuit.domain().trailing_zeros()
}

/// sha256 of a whole key in ark-serialize's uncompressed form.
pub fn key_digest(key: &ProvingKey<Bn254>) -> Word {
    match digest_of(|out| key.serialize_uncompressed(out).map_err(io::Error::other)) {
        Ok(digest) => digest,
        Err(_) => unreachable!("a hash takes every write"),
    }
}

/// The key without a contribution, and what it was made from.
#[derive(Clone, Debug)]
pub struct InitialKey {
    /// delta = 1.
    pub key: ProvingKey<Bn254>,
    /// Digest of the powers of tau.
    pub powers: HexWord,
}

/// One column of a matrix: rows with their coefficients.
type Column = Vec<(u32, Fr)>;

fn columns(circuit: &Circuit, matrix: usize, variables: usize) -> Vec<Column> {
    let mut out = vec![Column::new(); variables];
    for row in 0..circuit.constraints() {
        circuit.row(matrix, row).for_each(|(coefficient, index)| out[index].push((row as u32, coefficient)));
    }
    out
}

/// `point coefficient`, fast where the coefficient or its opposite is small, as most are.
fn times<P: AffineRepr<ScalarField = Fr>>(point: &P, coefficient: &Fr) -> P::Group {
    let (positive, negative) = (coefficient.into_bigint(), (-*coefficient).into_bigint());
    if positive.num_bits() <= 64 {
        return point.mul_bigint([positive.0[0]]);
    }
    if negative.num_bits() <= 64 { -point.mul_bigint([negative.0[0]]) } else { *point * coefficient }
}

fn combined<P: AffineRepr<ScalarField = Fr>>(column: &Column, points: &[P]) -> P::Group
where
    P::Group: VariableBaseMSM<MulBase = P>,
{
    if column.len() <= LONG_SUM {
        return column.iter().map(|(row, coefficient)| times(&points[*row as usize], coefficient)).sum();
    }
    let (bases, scalars): (Vec<P>, Vec<Fr>) = column.iter().map(|(row, coefficient)| (points[*row as usize], *coefficient)).unzip();
    P::Group::msm_unchecked(&bases, &scalars)
}

/// Lagrange points of a domain.
struct Basis {
    tau: Vec<G1Affine>,
    tau_g2: Vec<ark_bn254::G2Affine>,
    alpha: Vec<G1Affine>,
    beta: Vec<G1Affine>,
}

/// Counts what is done against all there is to do.
struct Told<'p> {
    done: usize,
    all: usize,
    progress: &'p mut dyn FnMut(usize, usize),
}

impl Told<'_> {
    fn add(&mut self, steps: usize) {
        self.done += steps;
        (self.progress)(self.done.min(self.all), self.all);
    }

    /// One point for every column, piece by piece.
    fn points<G: CurveGroup>(&mut self, count: usize, point: impl Fn(usize) -> G + Sync) -> Vec<G::Affine> {
        let mut out = Vec::with_capacity(count);
        for start in (0..count).step_by(CHUNK) {
            let piece: Vec<G> = (start..count.min(start + CHUNK)).into_par_iter().map(&point).collect();
            self.add(piece.len());
            out.extend(G::normalize_batch(&piece));
        }
        out
    }
}

/// The initial key of `circuit`. `progress` hears (steps done, steps in all) now and then.
///
/// # Errors
/// [`VerifyError::Power`] if the powers are not those of the circuit's domain: read them with [`power`].
pub fn initial_key(circuit: &Circuit, powers: &Powers, progress: &mut dyn FnMut(usize, usize)) -> Result<InitialKey, VerifyError> {
    let (k, size, constraints) = (power(circuit), circuit.domain(), circuit.constraints());
    if powers.k != k {
        return Err(VerifyError::Power { needed: k, got: powers.k });
    }
    let variables = INSTANCE + circuit.witness_variables();
    let mut told = Told { done: 0, all: 4 * lagrange_steps(k) + 4 * variables + size - 1, progress };
    let basis = Basis {
        tau: lagrange_g1(&powers.tau_g1[..size], &mut |steps| told.add(steps)),
        tau_g2: lagrange_g2(&powers.tau_g2, &mut |steps| told.add(steps)),
        alpha: lagrange_g1(&powers.alpha_tau_g1, &mut |steps| told.add(steps)),
        beta: lagrange_g1(&powers.beta_tau_g1, &mut |steps| told.add(steps)),
    };
    let [mut a, b, c] = [0, 1, 2].map(|matrix| columns(circuit, matrix, variables));
    for (row, column) in (constraints as u32..).zip(&mut a[..INSTANCE]) {
        column.push((row, Fr::ONE));
    }
    let mixed: Vec<G1Affine> = told.points(variables, |i| combined(&a[i], &basis.beta) + combined(&b[i], &basis.alpha) + combined(&c[i], &basis.tau));
    let (ic, l) = mixed.split_at(INSTANCE);
    let generator = G1Affine::generator();
    let key = ProvingKey {
        a_query: told.points(variables, |i| combined(&a[i], &basis.tau)),
        b_g1_query: told.points(variables, |i| combined(&b[i], &basis.tau)),
        b_g2_query: told.points::<G2Projective>(variables, |i| combined(&b[i], &basis.tau_g2)),
        h_query: told.points::<G1Projective>(size - 1, |i| powers.tau_g1[i + size].into_group() - powers.tau_g1[i]),
        l_query: l.to_vec(),
        beta_g1: powers.beta_tau_g1[0],
        delta_g1: generator,
        vk: VerifyingKey {
            alpha_g1: powers.alpha_tau_g1[0],
            beta_g2: powers.beta_g2,
            gamma_g2: ark_bn254::G2Affine::generator(),
            delta_g2: ark_bn254::G2Affine::generator(),
            gamma_abc_g1: ic.to_vec(),
        },
    };
    Ok(InitialKey { key, powers: powers.digest() })
}
