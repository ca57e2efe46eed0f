//! taceo-groth16, the rival of the benchmark, given our key and matrices: like [`stock`](super::stock) compiled here, where everything is
//! optimised. Its prover is generic; compiled in the crate that measures, it took four times as long.

use crate::prove::{ProveError, Prover};
use ark_bn254::{Bn254, Fr};
use ark_groth16::{Proof, ProvingKey};
use taceo_groth16::{ConstraintMatrices, Groth16, LibSnarkReduction};

/// A key and matrices as taceo-groth16 takes them, in memory.
#[derive(Debug)]
pub struct Taceo {
    key: ProvingKey<Bn254>,
    matrices: ConstraintMatrices<Fr>,
}

impl Taceo {
    /// Of the prover's circuit and key.
    ///
    /// # Errors
    /// [`ProveError::Key`].
    pub fn new(prover: &Prover) -> Result<Self, ProveError> {
        let [a, b, c] = prover.circuit().matrices();
        let terms = |matrix: &[Vec<(Fr, usize)>]| matrix.iter().map(Vec::len).sum();
        let key = prover.keys().to_proving_key().map_err(|error| ProveError::Key(error.to_string()))?;
        let matrices = ConstraintMatrices {
            num_instance_variables: key.vk.gamma_abc_g1.len(),
            num_witness_variables: prover.circuit().witness_variables(),
            num_constraints: prover.circuit().constraints(),
            a_num_non_zero: terms(&a),
            b_num_non_zero: terms(&b),
            c_num_non_zero: terms(&c),
            a,
            b,
            c,
        };
        Ok(Self { key, matrices })
    }

    /// As [`Prover::prove_blinded`].
    ///
    /// # Errors
    /// What taceo-groth16 says.
    pub fn prove(&self, assignment: &[Fr], r: Fr, s: Fr) -> Result<Proof<Bn254>, String> {
        Groth16::<Bn254>::prove::<LibSnarkReduction>(&self.key, r, s, &self.matrices, assignment).map_err(|error| error.to_string())
    }
}
