//! From an assignment to its proof.

use super::key::{self, G1Bytes, G2Bytes, MappedKey};
use super::transform::Roots;
use super::{Engine, quotient};
use crate::batch::Circuit;
use ark_bn254::{Bn254, Fr, G1Affine, G1Projective, G2Affine, G2Projective};
use ark_ec::{CurveGroup, VariableBaseMSM};
use ark_ff::{BigInt, PrimeField};
use ark_groth16::Proof;
use rayon::prelude::*;
use sheaf_protocol::batch::PUBLIC_INPUTS;

/// What proofs of one circuit share beside its key.
#[derive(Debug)]
pub(crate) struct Pipeline {
    roots: Roots,
}

fn sum_g1(points: &[G1Bytes], scalars: &[BigInt<4>]) -> G1Projective {
    let bases: Vec<G1Affine> = points.par_iter().map(key::g1).collect();
    G1Projective::msm_bigint(&bases, scalars)
}

fn sum_g2(points: &[G2Bytes], scalars: &[BigInt<4>]) -> G2Projective {
    let bases: Vec<G2Affine> = points.par_iter().map(key::g2).collect();
    G2Projective::msm_bigint(&bases, scalars)
}

impl Pipeline {
    /// That of a circuit.
    pub(crate) fn new(circuit: &Circuit, engine: Engine) -> Self {
        Self { roots: Roots::new(engine, circuit.domain()) }
    }

    /// The proof of a full assignment, blinded by `r` and `s`; `None` if it violates a constraint.
    ///
    /// # Panics
    /// If the assignment has another length than the circuit's.
    pub(crate) fn prove(&self, circuit: &Circuit, key: &MappedKey, assignment: &[Fr], r: Fr, s: Fr) -> Option<Proof<Bn254>> {
        let h = quotient::quotient(circuit, &self.roots, assignment)?;
        // the highest is zero: the quotient's degree is n - 2
        let h: Vec<BigInt<4>> = h[..h.len() - 1].par_iter().map(|value| value.into_bigint()).collect();
        let h = sum_g1(key.h(), &h);
        let scalars: Vec<BigInt<4>> = assignment.par_iter().map(|value| value.into_bigint()).collect();
        let l = sum_g1(key.l(), &scalars[PUBLIC_INPUTS + 1..]);
        let ([beta, delta], verifying) = (key.beta_delta_g1(), key.verifying());
        let a = sum_g1(key.a(), &scalars) + verifying.alpha_g1 + delta * r;
        let b_g1 = sum_g1(key.b_g1(), &scalars) + beta + delta * s;
        let b = sum_g2(key.b_g2(), &scalars) + verifying.beta_g2 + verifying.delta_g2 * s;
        let c = a * s + b_g1 * r - delta * (r * s) + l + h;
        Some(Proof { a: a.into_affine(), b: b.into_affine(), c: c.into_affine() })
    }
}
