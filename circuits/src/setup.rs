//! The INSECURE development set-up of Groth16: every secret follows from a public seed, so everybody can forge proofs under it.
//!
//! ```text
//! alpha, beta   H("sheaf.insecure.alpha", keccak(seed)), H("sheaf.insecure.beta", keccak(seed))     shared by all circuits
//! gamma         1: gamma is the G2 generator, which merges with the KZG term on L1
//! delta, t      H("sheaf.insecure.delta" | "sheaf.insecure.t", keccak(seed), circuit digest)        per circuit
//! ```
//!
//! The same points as ark-groth16's generator makes of these secrets (a test compares), but from matrices that exist already, and
//! telling progress. Failure: a domain beyond the field's two-adicity, or a secret that the seed makes useless (0, 1 or in the domain).

use crate::batch::Circuit;
use ark_bn254::{Bn254, Fr, G1Projective, G2Projective};
use ark_ec::scalar_mul::{BatchMulPreprocessing, ScalarMul};
use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::{AdditiveGroup, Field, One, Zero};
use ark_groth16::{ProvingKey, VerifyingKey};
use ark_poly::{EvaluationDomain, GeneralEvaluationDomain};
use rayon::prelude::*;
use sheaf_protocol::batch::PUBLIC_INPUTS;
use sheaf_protocol::field::{Word, hash_to_field, keccak};

/// Points made between two calls of the progress callback.
const CHUNK: usize = 1 << 13;
/// Public inputs and the constant one.
const INSTANCE: usize = PUBLIC_INPUTS + 1;

/// Why the set-up cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The field has no domain of this size.
    #[error("no FFT domain holds {0} constraints; take a smaller shape")]
    Domain(usize),
    /// A secret is 0, delta is 1 (= gamma), or t is in the domain; astronomically unlikely, take another seed.
    #[error("the seed gives a useless secret, take another")]
    Seed,
}

/// The secrets that a real set-up destroys. gamma is 1.
#[derive(Clone, Copy, Debug)]
pub struct Toxic {
    /// Shared by all circuits.
    pub alpha: Fr,
    /// Shared by all circuits.
    pub beta: Fr,
    /// Not 0 and not 1.
    pub delta: Fr,
    /// The point at which the polynomials are evaluated; not in the domain.
    pub t: Fr,
}

impl Toxic {
    /// The secrets of a public seed for the circuit of this digest.
    pub fn insecure(seed: &str, circuit: &Word) -> Self {
        let seed = keccak(seed.as_bytes());
        let of_circuit = |tag| hash_to_field(tag, &[seed, *circuit]);
        Self {
            alpha: hash_to_field("sheaf.insecure.alpha", &[seed]),
            beta: hash_to_field("sheaf.insecure.beta", &[seed]),
            delta: of_circuit("sheaf.insecure.delta"),
            t: of_circuit("sheaf.insecure.t"),
        }
    }
}

/// Scalars of the proving key, before they become points.
struct Scalars {
    a: Vec<Fr>,
    b: Vec<Fr>,
    l: Vec<Fr>,
    h: Vec<Fr>,
    /// IC: `beta a_i + alpha b_i + c_i` of the public inputs, gamma being 1.
    ic: Vec<Fr>,
}

fn columns(circuit: &Circuit, matrix: usize, lagrange: &[Fr], variables: usize) -> Vec<Fr> {
    let mut out = vec![Fr::ZERO; variables];
    for (row, weight) in (0..circuit.constraints()).zip(lagrange) {
        circuit.row(matrix, row).for_each(|(coefficient, index)| out[index] += *weight * coefficient);
    }
    out
}

impl Scalars {
    fn new(circuit: &Circuit, toxic: &Toxic) -> Result<Self, SetupError> {
        let constraints = circuit.constraints();
        let domain = GeneralEvaluationDomain::<Fr>::new(constraints + INSTANCE).ok_or(SetupError::Domain(constraints))?;
        let vanishing = domain.evaluate_vanishing_polynomial(toxic.t);
        let delta_inverse = toxic.delta.inverse().ok_or(SetupError::Seed)?;
        if vanishing.is_zero() || toxic.delta.is_one() || toxic.alpha.is_zero() || toxic.beta.is_zero() {
            return Err(SetupError::Seed);
        }
        let lagrange = domain.evaluate_all_lagrange_coefficients(toxic.t);
        let [mut a, b, c] = [0, 1, 2].map(|m| columns(circuit, m, &lagrange, INSTANCE + circuit.witness_variables()));
        // one more row per public input and the constant one, "x_i 0 = 0", which keeps them independent
        a[..INSTANCE].iter_mut().zip(&lagrange[constraints..]).for_each(|(a, weight)| *a += weight);
        let mixed: Vec<Fr> = (0..a.len()).into_par_iter().map(|i| toxic.beta * a[i] + toxic.alpha * b[i] + c[i]).collect();
        let (ic, l) = mixed.split_at(INSTANCE);
        let first = vanishing * delta_inverse;
        let h = std::iter::successors(Some(first), |power| Some(*power * toxic.t)).take(domain.size() - 1).collect();
        Ok(Self { l: l.iter().map(|l| *l * delta_inverse).collect(), ic: ic.to_vec(), a, b, h })
    }
}

/// Multiplies a generator by many scalars, telling how far it is.
struct Multiplier<'p> {
    done: usize,
    all: usize,
    progress: &'p mut dyn FnMut(usize, usize),
}

impl Multiplier<'_> {
    fn points<G: ScalarMul<ScalarField = Fr>>(&mut self, table: &BatchMulPreprocessing<G>, scalars: &[Fr]) -> Vec<G::MulBase> {
        let mut points = Vec::with_capacity(scalars.len());
        for chunk in scalars.chunks(CHUNK) {
            points.extend(table.batch_mul(chunk));
            self.done += chunk.len();
            (self.progress)(self.done, self.all);
        }
        points
    }
}

/// The proving key of `circuit` under these secrets. `progress` hears (points made, points in all) now and then.
///
/// # Errors
/// [`SetupError`].
pub fn proving_key(circuit: &Circuit, toxic: &Toxic, progress: &mut dyn FnMut(usize, usize)) -> Result<ProvingKey<Bn254>, SetupError> {
    let s = Scalars::new(circuit, toxic)?;
    let (g1, g2) = (G1Projective::generator(), G2Projective::generator());
    let in_g1 = s.a.len() + s.b.len() + s.l.len() + s.h.len() + s.ic.len();
    let mut multiplier = Multiplier { done: 0, all: in_g1 + s.b.len(), progress };
    let table = BatchMulPreprocessing::new(g2, s.b.len());
    let b_g2_query = multiplier.points(&table, &s.b);
    drop(table);
    let table = BatchMulPreprocessing::new(g1, in_g1);
    Ok(ProvingKey {
        a_query: multiplier.points(&table, &s.a),
        b_g1_query: multiplier.points(&table, &s.b),
        b_g2_query,
        h_query: multiplier.points(&table, &s.h),
        l_query: multiplier.points(&table, &s.l),
        beta_g1: (g1 * toxic.beta).into_affine(),
        delta_g1: (g1 * toxic.delta).into_affine(),
        vk: VerifyingKey {
            alpha_g1: (g1 * toxic.alpha).into_affine(),
            beta_g2: (g2 * toxic.beta).into_affine(),
            gamma_g2: g2.into_affine(),
            delta_g2: (g2 * toxic.delta).into_affine(),
            gamma_abc_g1: multiplier.points(&table, &s.ic),
        },
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use ark_ff::UniformRand;
    use ark_groth16::Groth16;
    use ark_relations::gr1cs::{
        ConstraintSynthesizer, ConstraintSystem, ConstraintSystemRef, LinearCombination, R1CS_PREDICATE_LABEL, SynthesisError, SynthesisMode,
        Variable,
    };
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;
    use sheaf_protocol::shape::Shape;

    fn variable(index: usize) -> Variable {
        match index {
            0 => Variable::One,
            input if input < INSTANCE => Variable::instance(input),
            witness => Variable::witness(witness - INSTANCE),
        }
    }

    /// The circuit as ark-relations takes it, row by row.
    impl ConstraintSynthesizer<Fr> for &Circuit {
        fn generate_constraints(self, cs: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
            (0..PUBLIC_INPUTS).try_for_each(|_| cs.new_input_variable(|| Ok(Fr::ZERO)).map(drop))?;
            (0..self.witness_variables()).try_for_each(|_| cs.new_witness_variable(|| Ok(Fr::ZERO)).map(drop))?;
            (0..self.constraints()).try_for_each(|row| {
                let terms = |matrix| LinearCombination(self.row(matrix, row).map(|(coefficient, index)| (coefficient, variable(index))).collect());
                cs.enforce_r1cs_constraint(|| terms(0), || terms(1), || terms(2))
            })
        }
    }

    /// Rows are laid out without ark-relations, which would not change them.
    #[test]
    fn our_matrices_are_those_of_ark_relations() {
        let circuit = Circuit::new(sheaf_protocol::shape::by_name("test").unwrap().shape, 1).unwrap();
        let cs = ConstraintSystem::new_ref();
        cs.set_mode(SynthesisMode::Setup);
        circuit.generate_constraints(cs.clone()).unwrap();
        cs.finalize();
        assert_eq!(cs.to_matrices().unwrap()[R1CS_PREDICATE_LABEL], circuit.matrices());
        assert_eq!((cs.num_instance_variables(), cs.num_witness_variables()), (INSTANCE, circuit.witness_variables()));
    }

    #[test]
    fn our_key_is_the_one_of_ark_groth16() {
        let shape = Shape { transfers: 0, accounts: 2, fees: 1, deposits: 1, withdrawals: 0, registers: 0, exits: 0, rotations: 0 };
        let circuit = Circuit::new(shape, 1).unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let [alpha, beta, delta] = [(); 3].map(|()| Fr::rand(&mut rng));
        let t = Fr::rand(&mut rng.clone());
        let (g1, g2) = (G1Projective::generator(), G2Projective::generator());
        let stock = Groth16::<Bn254>::generate_parameters_with_qap(&circuit, alpha, beta, Fr::ONE, delta, g1, g2, &mut rng).unwrap();
        let mut told = (0, 0);
        let ours = proving_key(&circuit, &Toxic { alpha, beta, delta, t }, &mut |done, all| told = (done, all)).unwrap();
        assert_eq!(ours, stock);
        assert!(told.0 == told.1 && told.0 > 0);
    }

    #[test]
    fn delta_of_one_is_refused() {
        let shape = Shape { transfers: 0, accounts: 1, fees: 0, deposits: 0, withdrawals: 0, registers: 0, exits: 0, rotations: 0 };
        let circuit = Circuit::new(shape, 1).unwrap();
        let toxic = Toxic { delta: Fr::ONE, ..Toxic::insecure("x", &[0; 32]) };
        assert_eq!(proving_key(&circuit, &toxic, &mut |_, _| {}), Err(SetupError::Seed));
    }
}
