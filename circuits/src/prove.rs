//! Proving and verifying with Groth16.
//!
//! A [`Prover`] holds a circuit with its matrices and key; a batch is turned into an assignment and proved, which looks at every
//! constraint first (so that a bad batch is named, not proved wrong). [`verify`] is what gateways and workers call before they
//! trust a proof: ark-groth16 checks neither the number of public inputs nor the key.

use crate::batch::{Circuit, CircuitError};
use crate::groth16::Engine;
use crate::groth16::pipeline::Pipeline;
use crate::keys::{KeyError, Keys, VerifyingKeyError, check_verifying_key};
use ark_bn254::{Bn254, Fr};
use ark_ff::UniformRand;
use ark_groth16::{Groth16, PreparedVerifyingKey, Proof, ProvingKey, VerifyingKey, prepare_verifying_key};
use ark_relations::gr1cs::{Matrix, SynthesisError};
use rand::{CryptoRng, RngCore};
use sheaf_protocol::batch::{Batch, Challenges, PUBLIC_INPUTS, PublicInputs};
use sheaf_protocol::field::{Word, g1_from_words, g1_words, g2_from_words, g2_words};
use std::sync::Arc;

/// Why there is no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// The batch has no witness.
    #[error("no witness: {0}")]
    Circuit(#[from] CircuitError),
    /// The batch violates constraints of these groups.
    #[error("batch violates {0:?}")]
    Unsatisfied(Vec<String>),
    /// The key's file was changed while it was in use.
    #[error("proving key: {0}; replace key files by renaming, never in place, and start again")]
    Key(String),
    /// ark-groth16 failed.
    #[error("groth16: {0}")]
    Groth16(#[from] SynthesisError),
}

/// Why a proof is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The verifying key must not be used.
    #[error("verifying key refused: {0}")]
    Key(#[from] VerifyingKeyError),
    /// The words are no proof: a coordinate out of range, or a point off its curve or subgroup.
    #[error("proof is malformed")]
    Malformed,
    /// The proof does not hold for these public inputs.
    #[error("proof does not verify")]
    Rejected,
}

/// A circuit and its key, ready to prove batches.
#[derive(Debug)]
pub struct Prover {
    circuit: Circuit,
    keys: Arc<Keys>,
    pipeline: Pipeline,
}

impl Prover {
    /// The prover of `circuit` with `keys`.
    ///
    /// # Errors
    /// [`Keys::check_circuit`]'s.
    pub fn new(circuit: Circuit, keys: impl Into<Arc<Keys>>) -> Result<Self, KeyError> {
        Self::on(circuit, keys, Engine::detect())
    }

    /// As [`Prover::new`], on a machine of the caller's choice.
    ///
    /// # Errors
    /// As [`Prover::new`].
    pub fn on(circuit: Circuit, keys: impl Into<Arc<Keys>>, engine: Engine) -> Result<Self, KeyError> {
        let keys = keys.into();
        keys.check_circuit(&circuit)?;
        let pipeline = Pipeline::new(&circuit, engine);
        Ok(Self { circuit, keys, pipeline })
    }

    /// The machine it runs on.
    pub fn engine(&self) -> Engine {
        self.pipeline.engine()
    }

    /// The circuit.
    pub fn circuit(&self) -> &Circuit {
        &self.circuit
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The full assignment of a batch. Whether it holds is seen when it is proved.
    ///
    /// # Errors
    /// [`ProveError::Circuit`].
    pub fn assignment(&self, batch: &Batch, challenges: &Challenges) -> Result<Vec<Fr>, ProveError> {
        let witness = self.circuit.witness(batch, challenges)?;
        Ok(self.circuit.assign(&witness)?)
    }

    /// Proves an assignment of [`Prover::assignment`]; `rng` blinds the proof.
    ///
    /// # Errors
    /// [`CircuitError::Assignment`] or [`ProveError::Unsatisfied`].
    pub fn prove_assignment(&self, assignment: &[Fr], rng: &mut (impl RngCore + CryptoRng)) -> Result<Proof<Bn254>, ProveError> {
        self.prove_blinded(assignment, Fr::rand(rng), Fr::rand(rng))
    }

    /// As [`Prover::prove_assignment`] with the blinding given: it must be random and used once. Not generic, so that it is compiled here,
    /// optimised, and not in the caller's crate.
    ///
    /// # Errors
    /// As [`Prover::prove_assignment`].
    pub fn prove_blinded(&self, assignment: &[Fr], r: Fr, s: Fr) -> Result<Proof<Bn254>, ProveError> {
        let (got, expected) = (assignment.len(), PUBLIC_INPUTS + 1 + self.circuit.witness_variables());
        if got != expected {
            return Err(CircuitError::Assignment { got, expected }.into());
        }
        let proof = self.pipeline.prove(&self.circuit, self.keys.mapped(), assignment, r, s);
        proof.ok_or_else(|| ProveError::Unsatisfied(self.circuit.violated_groups(assignment).into_iter().collect()))
    }

    /// ark-groth16 as it is published, on the same circuit and key: the measure that ours is held against.
    ///
    /// # Errors
    /// [`ProveError::Key`].
    pub fn stock(&self) -> Result<StockProver, ProveError> {
        let key = self.keys.to_proving_key().map_err(|error| ProveError::Key(error.to_string()))?;
        Ok(StockProver { key, matrices: self.circuit.matrices().into() })
    }

    /// Proves a batch.
    ///
    /// # Errors
    /// [`ProveError`].
    pub fn prove(&self, batch: &Batch, challenges: &Challenges, rng: &mut (impl RngCore + CryptoRng)) -> Result<Proof<Bn254>, ProveError> {
        self.prove_assignment(&self.assignment(batch, challenges)?, rng)
    }
}

/// A key and matrices as ark-groth16 takes them, in memory.
#[derive(Debug)]
pub struct StockProver {
    /// The key.
    pub key: ProvingKey<Bn254>,
    /// A, B and C.
    pub matrices: Vec<Matrix<Fr>>,
}

impl StockProver {
    /// As [`Prover::prove_blinded`], but nothing is checked.
    ///
    /// # Errors
    /// [`ProveError::Groth16`].
    pub fn prove_blinded(&self, assignment: &[Fr], r: Fr, s: Fr) -> Result<Proof<Bn254>, ProveError> {
        let (instance, constraints) = (PUBLIC_INPUTS + 1, self.matrices[0].len());
        Ok(Groth16::<Bn254>::create_proof_with_reduction_and_matrices(&self.key, r, s, &self.matrices, instance, constraints, assignment)?)
    }
}

/// A verifying key that may be used, with what every proof needs of it computed once.
#[derive(Clone, Debug)]
pub struct CheckedKey(PreparedVerifyingKey<Bn254>);

impl CheckedKey {
    /// Checks and prepares `key`.
    ///
    /// # Errors
    /// [`VerifyingKeyError`] if it must not be used.
    pub fn new(key: &VerifyingKey<Bn254>) -> Result<Self, VerifyingKeyError> {
        check_verifying_key(key)?;
        Ok(Self(prepare_verifying_key(key)))
    }

    /// Verifies a proof for its public inputs.
    ///
    /// # Errors
    /// [`VerifyError::Rejected`].
    pub fn verify(&self, inputs: &PublicInputs, proof: &Proof<Bn254>) -> Result<(), VerifyError> {
        match Groth16::<Bn254>::verify_proof(&self.0, proof, inputs) {
            Ok(true) => Ok(()),
            _ => Err(VerifyError::Rejected),
        }
    }
}

/// Verifies one proof; who verifies many keeps a [`CheckedKey`].
///
/// # Errors
/// [`VerifyError::Key`] or [`VerifyError::Rejected`].
pub fn verify(key: &VerifyingKey<Bn254>, inputs: &PublicInputs, proof: &Proof<Bn254>) -> Result<(), VerifyError> {
    CheckedKey::new(key)?.verify(inputs, proof)
}

/// The eight words of a proof as L1 takes them: A.x A.y, B x.c1 x.c0 y.c1 y.c0, C.x C.y.
pub fn proof_words(proof: &Proof<Bn254>) -> [Word; 8] {
    let ([ax, ay], [b0, b1, b2, b3], [cx, cy]) = (g1_words(&proof.a), g2_words(&proof.b), g1_words(&proof.c));
    [ax, ay, b0, b1, b2, b3, cx, cy]
}

/// The proof of eight words, every point checked.
///
/// # Errors
/// [`VerifyError::Malformed`].
pub fn proof_from_words(words: &[Word; 8]) -> Result<Proof<Bn254>, VerifyError> {
    let a = g1_from_words(&[words[0], words[1]]).ok_or(VerifyError::Malformed)?;
    let c = g1_from_words(&[words[6], words[7]]).ok_or(VerifyError::Malformed)?;
    let b = g2_from_words(&[words[2], words[3], words[4], words[5]]).ok_or(VerifyError::Malformed)?;
    Ok(Proof { a, b, c })
}
