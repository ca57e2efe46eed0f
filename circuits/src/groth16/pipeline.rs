//! From an assignment to its proof.

use super::key::{self, MappedKey};
use super::msm::{self, G1, G2, Point};
use super::transform::Roots;
use super::{Engine, quotient};
use crate::batch::Circuit;
use ark_bn254::{Bn254, Fr};
use ark_ec::CurveGroup;
use ark_groth16::Proof;
use sheaf_protocol::batch::PUBLIC_INPUTS;

/// What proofs of one circuit share beside its key.
#[derive(Debug)]
pub(crate) struct Pipeline {
    engine: Engine,
    roots: Roots,
}

impl Pipeline {
    /// That of a circuit, on this machine.
    pub(crate) fn new(circuit: &Circuit, engine: Engine) -> Self {
        Self { engine, roots: Roots::new(engine, circuit.domain()) }
    }

    /// The machine.
    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }

    /// The proof of a full assignment, blinded by `r` and `s`; `None` if it violates a constraint.
    ///
    /// # Panics
    /// If the assignment has another length than the circuit's.
    pub(crate) fn prove(&self, circuit: &Circuit, key: &MappedKey, assignment: &[Fr], r: Fr, s: Fr) -> Option<Proof<Bn254>> {
        let engine = self.engine;
        let coefficients = quotient::quotient(circuit, &self.roots, assignment)?;
        // one buffer for the points of every sum in G1
        let mut points: Vec<Point<G1>> = Vec::with_capacity(circuit.domain().max(assignment.len()));
        let mut sum = |bytes: &[key::G1Bytes], scalars: &[Fr]| {
            key::read(engine, bytes, &mut points);
            msm::g1(engine, &points, scalars)
        };
        // the highest coefficient is zero, and the key has no point for it: the quotient's degree is n - 2
        let h = sum(key.h(), &coefficients[..key.h().len()]);
        drop(coefficients);
        let l = sum(key.l(), &assignment[PUBLIC_INPUTS + 1..]);
        let ([beta, delta], verifying) = (key.beta_delta_g1(), key.verifying());
        let a = sum(key.a(), assignment) + verifying.alpha_g1 + delta * r;
        let b_g1 = sum(key.b_g1(), assignment) + beta + delta * s;
        drop(points);
        let mut points: Vec<Point<G2>> = Vec::with_capacity(assignment.len());
        key::read(engine, key.b_g2(), &mut points);
        let b = msm::g2(engine, &points, assignment) + verifying.beta_g2 + verifying.delta_g2 * s;
        let c = a * s + b_g1 * r - delta * (r * s) + l + h;
        Some(Proof { a: a.into_affine(), b: b.into_affine(), c: c.into_affine() })
    }
}
