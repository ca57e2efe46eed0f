//! The verifying keys of a deployment, rebuilt from the manifest's words: what the gateway judges proofs by.

use crate::memory::needed_mb;
use ark_bn254::Bn254;
use ark_groth16::VerifyingKey;
use sheaf_circuits::keys::verifying_key_digest;
use sheaf_circuits::prove::{CheckedKey, VerifyError, proof_from_words};
use sheaf_protocol::batch::PublicInputs;
use sheaf_protocol::field::{G1Affine, G2Affine, Word, g1_from_words, g2_from_words};
use sheaf_protocol::manifest::{CircuitEntry, HexWord, Manifest};
use std::collections::HashMap;

/// Why a manifest gives no verifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// A word is out of range or a point is off its curve or group.
    #[error("circuit {0}: a point of the verifying key is malformed")]
    Point(u32),
    /// The points are not those that the manifest's digest names.
    #[error("circuit {0}: the verifying key's points do not have the manifest's digest")]
    Digest(u32),
    /// The key must not be used.
    #[error("circuit {circuit}: {reason}")]
    Key {
        /// Its id.
        circuit: u32,
        /// Why.
        reason: sheaf_circuits::keys::VerifyingKeyError,
    },
}

struct Entry {
    name: String,
    needed_mb: u64,
    digest: HexWord,
    key: CheckedKey,
}

/// Verifying keys by circuit id.
pub struct Verifier {
    circuits: HashMap<u32, Entry>,
}

impl Verifier {
    /// The verifier of a deployment.
    ///
    /// # Errors
    /// [`VerifierError`] if a key of the manifest is malformed, unsafe or not the one that its digest names.
    pub fn new(manifest: &Manifest) -> Result<Self, VerifierError> {
        let entries = manifest.circuits.iter().map(|circuit| Ok((circuit.id, Entry::new(manifest, circuit)?)));
        Ok(Self { circuits: entries.collect::<Result<_, _>>()? })
    }

    /// Ids of the deployment's circuits.
    pub(crate) fn circuits(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.circuits.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Digest of the verifying key of a circuit.
    pub fn digest(&self, circuit: u32) -> Option<HexWord> {
        self.circuits.get(&circuit).map(|entry| entry.digest)
    }

    /// Name of a circuit and the megabytes that a proof of it takes.
    pub(crate) fn describe(&self, circuit: u32) -> (&str, u64) {
        self.circuits.get(&circuit).map_or(("", u64::MAX), |entry| (&entry.name, entry.needed_mb))
    }

    /// Verifies the eight words of a proof; takes a few milliseconds of CPU.
    ///
    /// # Errors
    /// [`VerifyError`]; also for a circuit that the deployment does not have.
    pub fn verify(&self, circuit: u32, inputs: &PublicInputs, proof: &[Word; 8]) -> Result<(), VerifyError> {
        let entry = self.circuits.get(&circuit).ok_or(VerifyError::Rejected)?;
        entry.key.verify(inputs, &proof_from_words(proof)?)
    }
}

impl Entry {
    fn new(manifest: &Manifest, circuit: &CircuitEntry) -> Result<Self, VerifierError> {
        let key = verifying_key(manifest, circuit).ok_or(VerifierError::Point(circuit.id))?;
        let digest = HexWord(verifying_key_digest(&key));
        let key = CheckedKey::new(&key).map_err(|reason| VerifierError::Key { circuit: circuit.id, reason })?;
        let (name, needed_mb) = (circuit.name.clone(), needed_mb(&circuit.shape));
        if digest == circuit.verifying_key { Ok(Self { name, needed_mb, digest, key }) } else { Err(VerifierError::Digest(circuit.id)) }
    }
}

/// Gamma is not in the manifest: it is the generator of G2.
fn verifying_key(manifest: &Manifest, circuit: &CircuitEntry) -> Option<VerifyingKey<Bn254>> {
    use ark_ec::AffineRepr;
    Some(VerifyingKey {
        alpha_g1: g1(&manifest.alpha)?,
        beta_g2: g2(&manifest.beta)?,
        gamma_g2: G2Affine::generator(),
        delta_g2: g2(&circuit.delta)?,
        gamma_abc_g1: circuit.ic.iter().map(g1).collect::<Option<_>>()?,
    })
}

fn g1(words: &[HexWord; 2]) -> Option<G1Affine> {
    g1_from_words(&words.map(|word| word.0))
}

fn g2(words: &[HexWord; 4]) -> Option<G2Affine> {
    g2_from_words(&words.map(|word| word.0))
}
