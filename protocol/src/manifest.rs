//! The manifest: every circuit, key, SRS and contract of a deployment by digest, with the words that L1 needs of them.
//!
//! A service whose manifest differs from the deployment's refuses to start. Words are as the EVM sees them: G1 points as
//! (x, y), G2 points as (x.c1, x.c0, y.c1, y.c0).

use crate::field::{Word, keccak, to_hex};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// A digest or EVM word that reads and prints as 0x hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HexWord(#[serde(with = "crate::field::bytes_hex")] pub Word);

impl std::fmt::Debug for HexWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl std::fmt::Display for HexWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// Where keys and SRS come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Setup {
    /// Made from a public seed: anybody can forge proofs. Only for chain 31337.
    InsecureDevelopment {
        /// The seed.
        seed: String,
    },
    /// Made by many: powers of tau, then a ceremony for each circuit.
    Ceremony {
        /// Digest of the powers of tau, [`crate::kzg::Powers::digest`].
        powers: HexWord,
        /// Digest of each circuit's transcript, in the order of the circuits.
        transcripts: Vec<HexWord>,
    },
}

/// Chain id of every development chain, the only one for development keys.
pub const DEV_CHAIN_ID: u64 = 31_337;

/// Development keys where money is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "INSECURE development keys are refused on chain {chain_id}: anybody could forge proofs; they are for chain 31337 only, make others with `sheaf ceremony`"
)]
pub struct InsecureSetup {
    /// Where.
    pub chain_id: u64,
}

impl Setup {
    /// The label shown wherever keys are named.
    pub fn label(&self) -> &'static str {
        match self {
            Setup::InsecureDevelopment { .. } => "INSECURE-DEV",
            Setup::Ceremony { .. } => "ceremony",
        }
    }

    /// Refuses development keys on any chain but the development chain.
    ///
    /// # Errors
    /// [`InsecureSetup`].
    pub fn check_chain(&self, chain_id: u64) -> Result<(), InsecureSetup> {
        match self {
            Setup::InsecureDevelopment { .. } => check_development_chain(chain_id),
            Setup::Ceremony { .. } => Ok(()),
        }
    }
}

/// Refuses any chain but the development chain, for whoever holds development keys.
///
/// # Errors
/// [`InsecureSetup`].
pub fn check_development_chain(chain_id: u64) -> Result<(), InsecureSetup> {
    if chain_id == DEV_CHAIN_ID { Ok(()) } else { Err(InsecureSetup { chain_id }) }
}

/// The state vector's structured reference string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SrsEntry {
    /// The state has `2^k` slots.
    pub k: u32,
    /// Digest of the SRS file's content.
    pub digest: HexWord,
    /// `[tau]_2`.
    pub tau: [HexWord; 4],
    /// `L_0^(16) .. L_0^(24)`.
    pub l0: [[HexWord; 2]; 9],
}

/// One circuit of the deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitEntry {
    /// Position in the deployment's list, from 1; part of the transcript.
    pub id: u32,
    /// Name of its shape.
    pub name: String,
    /// Capacities.
    pub shape: Shape,
    /// Digest of the constraint system.
    pub circuit: HexWord,
    /// Digest of the proving key file.
    pub proving_key: HexWord,
    /// Digest of the verifying key.
    pub verifying_key: HexWord,
    /// `delta` of the verifying key.
    pub delta: [HexWord; 4],
    /// `IC_0 .. IC_9` of the verifying key.
    pub ic: [[HexWord; 2]; 10],
}

/// Everything a deployment is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Where the keys come from.
    pub setup: Setup,
    /// keccak256 of the contract's creation code, without its parameters: those follow from the rest.
    pub contract: HexWord,
    /// The SRS.
    pub srs: SrsEntry,
    /// `alpha`, shared by all circuits.
    pub alpha: [HexWord; 2],
    /// `beta`, shared by all circuits.
    pub beta: [HexWord; 4],
    /// The circuits by id.
    pub circuits: Vec<CircuitEntry>,
}

impl Manifest {
    /// keccak256 of the manifest's JSON with fields in declaration order.
    pub fn digest(&self) -> HexWord {
        HexWord(keccak(&serde_json::to_vec(self).unwrap_or_default()))
    }

    /// The circuit with this id.
    pub fn circuit(&self, id: u32) -> Option<&CircuitEntry> {
        self.circuits.iter().find(|circuit| circuit.id == id)
    }
}
