//! Proving keys as files.
//!
//! ```text
//! "SHEAFKEY" | version u32 | origin, 32 bytes | circuit digest | verifying key digest | body length u64 | body
//! ```
//! Integers big-endian; the body is ark-serialize's uncompressed `ProvingKey`. Digests are sha256, that of the key over the
//! whole file; `sheaf_protocol::artifact` says when it is computed and when its receipt is trusted. The header is checked at
//! every load. A wrong digest, header, circuit or verifying key is refused by name. The body is mapped, not read: opening a file that is
//! trusted takes no time, its pages are shared by all workers of the host, and `crate::groth16::map` has the rule that this asks for.
//! Nor does it take the circuit: a manifest names the file and what is in it, and whether the circuit of this program is the one is asked
//! when both are there ([`Keys::check_circuit`], which every prover calls).
//! Keys of the development set-up carry INSECURE in origin and file name; a manifest of a ceremony takes none of them, nor the other way round.

use crate::batch::Circuit;
use crate::groth16::key::MappedKey;
use crate::groth16::map::Map;
use crate::setup::{self, SetupError, Toxic};
use ark_bn254::{Bn254, G2Affine};
use ark_ec::AffineRepr;
use ark_groth16::{ProvingKey, VerifyingKey};
use ark_serialize::{CanonicalSerialize, SerializationError};
use sha2::{Digest, Sha256};
use sheaf_protocol::artifact::{Artifact, ArtifactError, OpenArtifact};
use sheaf_protocol::batch::PUBLIC_INPUTS;
use sheaf_protocol::field::{Word, g1_words, g2_words};
use sheaf_protocol::kzg::Origin;
use sheaf_protocol::manifest::{CircuitEntry, HexWord, Setup};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"SHEAFKEY";
const VERSION: u32 = 1;
const ORIGINS: [Origin; 2] = [Origin::InsecureDevelopment, Origin::Ceremony];
const HEADER_BYTES: usize = 8 + 4 + 32 + 32 + 32 + 8;

/// Why a key is refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system said no, or the file is not the one the manifest names.
    #[error("proving key: {0}")]
    Artifact(#[from] ArtifactError),
    /// Not a key file of this version, or of a wrong length.
    #[error("{path} is not a proving key of this version: {reason}; delete it and make or fetch it again")]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// The key is for another circuit, or holds another verifying key than its header says.
    #[error("{path}: {what} has digest {got}, expected {expected}; the key is for another build or damaged, make or fetch the right one")]
    Digest {
        /// The file.
        path: PathBuf,
        /// Circuit or verifying key.
        what: &'static str,
        /// By circuit or header.
        expected: HexWord,
        /// Found.
        got: HexWord,
    },
    /// A development key under a manifest of a ceremony, or the other way round.
    #[error("{path} is of the origin \"{}\", the manifest's keys are \"{}\"; fetch the key that the manifest was made with", found.label(), expected.label())]
    Origin {
        /// The file.
        path: PathBuf,
        /// By the file.
        found: Origin,
        /// By the manifest.
        expected: Origin,
    },
    /// The body does not decode.
    #[error("{path} holds no proving key; delete it and make or fetch it again")]
    Body {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: SerializationError,
    },
    /// There is no such file, and whoever asks does not make keys.
    #[error("no proving key at {path}; make it with `sheaf keys make`")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The verifying key must not be used.
    #[error("verifying key refused: {0}; make or fetch another key")]
    Verifying(#[from] VerifyingKeyError),
    /// The development set-up failed.
    #[error("set-up: {0}")]
    Setup(#[from] SetupError),
}

impl KeyError {
    /// True if the file is missing or damaged: making it again helps, as it does not with what cannot be read.
    fn asks_for_a_new_file(&self) -> bool {
        match self {
            Self::Artifact(error) => error.is_missing() || error.is_damage(),
            Self::Missing { .. } | Self::Header { .. } | Self::Digest { .. } | Self::Body { .. } | Self::Verifying(_) => true,
            Self::Setup(_) | Self::Origin { .. } => false,
        }
    }
}

/// Why a verifying key must not be used, whoever made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyingKeyError {
    /// Everybody could prove anything.
    #[error("delta equals gamma or the G2 generator: anybody could forge proofs")]
    Delta,
    /// L1 merges gamma's pairing with the one of the generator.
    #[error("gamma is not the G2 generator")]
    Gamma,
    /// A public input, or the key's secrets, would play no part in the check.
    #[error("{0} is the point at infinity: proofs would not depend on it")]
    Identity(&'static str),
    /// Another number of public inputs than the protocol's.
    #[error("{0} points for public inputs, expected 10")]
    Inputs(usize),
}

/// Checks what L1 and the verifier rely on: nine public inputs, gamma = the generator, delta neither, no point at infinity.
///
/// # Errors
/// [`VerifyingKeyError`].
pub fn check_verifying_key(key: &VerifyingKey<Bn254>) -> Result<(), VerifyingKeyError> {
    if key.gamma_abc_g1.len() != PUBLIC_INPUTS + 1 {
        return Err(VerifyingKeyError::Inputs(key.gamma_abc_g1.len()));
    }
    if key.delta_g2 == key.gamma_g2 || key.delta_g2 == G2Affine::generator() || key.delta_g2.is_zero() {
        return Err(VerifyingKeyError::Delta);
    }
    if key.gamma_g2 != G2Affine::generator() {
        return Err(VerifyingKeyError::Gamma);
    }
    let points = [("alpha", key.alpha_g1.is_zero()), ("beta", key.beta_g2.is_zero()), ("IC", key.gamma_abc_g1.iter().any(AffineRepr::is_zero))];
    points.into_iter().find(|(_, is_identity)| *is_identity).map_or(Ok(()), |(name, _)| Err(VerifyingKeyError::Identity(name)))
}

/// sha256 of the verifying key's words: alpha, beta, gamma, delta, IC_0 .. IC_9, as the EVM sees them.
pub fn verifying_key_digest(key: &VerifyingKey<Bn254>) -> Word {
    let mut hasher = Sha256::new();
    hasher.update(g1_words(&key.alpha_g1).as_flattened());
    [&key.beta_g2, &key.gamma_g2, &key.delta_g2].into_iter().for_each(|point| hasher.update(g2_words(point).as_flattened()));
    key.gamma_abc_g1.iter().for_each(|point| hasher.update(g1_words(point).as_flattened()));
    hasher.finalize().into()
}

/// A proving key whose file is known, fit for use.
#[derive(Debug)]
pub struct Keys {
    path: PathBuf,
    mapped: MappedKey,
    /// Digest of the circuit it is for.
    pub circuit: Word,
    /// Digest of its file.
    pub digest: Word,
    /// Who knows its secrets.
    pub origin: Origin,
}

impl Keys {
    /// File name of a key: `<shape>-<id>-<start of the circuit digest>.pk`, with `-INSECURE` before the dot if it is of the development set-up.
    fn file_name(name: &str, id: u32, circuit: &Word, origin: Origin) -> String {
        let digest = hex::encode(&circuit[..8]);
        let label = if origin == Origin::InsecureDevelopment { "-INSECURE" } else { "" };
        format!("{name}-{id}-{digest}{label}.pk")
    }

    fn insecure_dev_artifact(directory: &Path, name: &str, circuit: &Circuit, seed: &str) -> Artifact {
        Artifact::insecure(directory, seed, &Self::file_name(name, circuit.id(), &circuit.digest(), Origin::InsecureDevelopment))
    }

    /// The INSECURE development key from the cache directory, or a fresh one put there. `progress` hears (points made, points in
    /// all); nothing if the key was cached.
    ///
    /// # Errors
    /// [`KeyError`]; a damaged cached file is replaced, not refused, but one that cannot be read is an error.
    pub fn insecure_dev(
        directory: &Path,
        name: &str,
        circuit: &Circuit,
        seed: &str,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, KeyError> {
        let found = |artifact: &Artifact| match Self::find(artifact, circuit) {
            Ok(keys) => Ok(Some(keys)),
            Err(error) if error.asks_for_a_new_file() => Ok(None),
            Err(error) => Err(error),
        };
        Self::insecure_dev_artifact(directory, name, circuit, seed).made_once(found, |locked| {
            let digest = circuit.digest();
            let proving = setup::proving_key(circuit, &Toxic::insecure(seed, &digest), progress)?;
            check_verifying_key(&proving.vk)?;
            let origin = Origin::InsecureDevelopment;
            locked.write(|out| write(out, &proving, &digest, origin))?;
            drop(proving);
            Self::find(locked.artifact(), circuit)
        })
    }

    /// The INSECURE development key from the cache directory, for those who only use keys: nothing is made or written but a receipt.
    ///
    /// # Errors
    /// [`KeyError::Missing`] if it is not there, [`KeyError`] if it is not whole.
    pub fn open_insecure_dev(directory: &Path, name: &str, circuit: &Circuit, seed: &str) -> Result<Self, KeyError> {
        Self::find(&Self::insecure_dev_artifact(directory, name, circuit, seed), circuit)
    }

    /// Writes the key of a ceremony into the folder of keys, where [`Keys::open`] finds it. The same key again is no change.
    ///
    /// # Errors
    /// [`KeyError`]; also if the key must not be used.
    pub fn save_ceremony(directory: &Path, name: &str, circuit: &Circuit, proving: ProvingKey<Bn254>) -> Result<Self, KeyError> {
        check_verifying_key(&proving.vk)?;
        let (origin, digest) = (Origin::Ceremony, circuit.digest());
        let file = Artifact::at(directory.join(Self::file_name(name, circuit.id(), &digest, origin)));
        let HexWord(saved) = file.write(|out| write(out, &proving, &digest, origin))?;
        drop(proving);
        Self::load(file.path(), circuit, &saved)
    }

    /// Where the key of a manifest's circuit lies in the folder of keys.
    pub fn path_of(directory: &Path, setup: &Setup, entry: &CircuitEntry) -> PathBuf {
        let name = Self::file_name(&entry.name, entry.id, &entry.circuit.0, setup.into());
        match setup {
            Setup::InsecureDevelopment { seed } => Artifact::insecure(directory, seed, &name).path().to_owned(),
            Setup::Ceremony { .. } => directory.join(name),
        }
    }

    /// The key that a manifest of this set-up names, from the folder of keys. The circuit need not be there yet.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn open(directory: &Path, setup: &Setup, entry: &CircuitEntry) -> Result<Self, KeyError> {
        let (path, expected) = (Self::path_of(directory, setup, entry), Origin::from(setup));
        let keys = Self::read_checked(&path, &entry.circuit.0, &entry.proving_key)?;
        if keys.origin == expected { Ok(keys) } else { Err(KeyError::Origin { path, found: keys.origin, expected }) }
    }

    fn find(artifact: &Artifact, circuit: &Circuit) -> Result<Self, KeyError> {
        let file = artifact.open().map_err(|error| match error {
            error if error.is_missing() => KeyError::Missing { path: artifact.path().to_owned() },
            error => error.into(),
        })?;
        let keys = Self::read(artifact.path(), &file, &circuit.digest(), || file.check_own())?;
        keys.check_circuit(circuit).map(|()| keys)
    }

    /// Where [`Keys::insecure_dev`] keeps the key of this seed.
    pub fn insecure_dev_path(directory: &Path, name: &str, circuit: &Circuit, seed: &str) -> PathBuf {
        Self::insecure_dev_artifact(directory, name, circuit, seed).path().to_owned()
    }

    /// Loads the key file that must have this digest and be for this circuit. See the module's text for what is checked when.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn load(path: &Path, circuit: &Circuit, expected: &Word) -> Result<Self, KeyError> {
        let keys = Self::read_checked(path, &circuit.digest(), &HexWord(*expected))?;
        keys.check_circuit(circuit).map(|()| keys)
    }

    fn read_checked(path: &Path, circuit: &Word, expected: &HexWord) -> Result<Self, KeyError> {
        let file = Artifact::at(path).open()?;
        Self::read(path, &file, circuit, || file.check(expected).map(|()| *expected))
    }

    fn read(path: &Path, file: &OpenArtifact, circuit: &Word, check: impl FnOnce() -> Result<HexWord, ArtifactError>) -> Result<Self, KeyError> {
        let header = Header::read(path, file)?;
        compare(path, "circuit", circuit, &header.circuit)?;
        let HexWord(digest) = check()?;
        let map = Map::of(file.file()).map_err(|source| io_error(path, source))?;
        let mapped = MappedKey::new(map, HEADER_BYTES).map_err(|source| KeyError::Body { path: path.to_owned(), source })?;
        compare(path, "verifying key", &header.verifying_key, &verifying_key_digest(mapped.verifying()))?;
        check_verifying_key(mapped.verifying())?;
        Ok(Self { path: path.to_owned(), mapped, circuit: header.circuit, digest, origin: header.origin })
    }

    /// Checks that the key is for this circuit: by digest, and a point for each variable and row.
    ///
    /// # Errors
    /// [`KeyError::Digest`] or [`KeyError::Body`].
    pub fn check_circuit(&self, circuit: &Circuit) -> Result<(), KeyError> {
        compare(&self.path, "circuit", &circuit.digest(), &self.circuit)?;
        let fits = self.mapped.sizes() == (circuit.witness_variables(), circuit.domain());
        if fits { Ok(()) } else { Err(KeyError::Body { path: self.path.clone(), source: SerializationError::InvalidData }) }
    }

    /// The verifying key.
    pub fn verifying(&self) -> &VerifyingKey<Bn254> {
        self.mapped.verifying()
    }

    /// The whole proving key as ark-groth16 takes it, read from the file.
    ///
    /// # Errors
    /// If the file was changed below us, against the rule.
    pub fn to_proving_key(&self) -> Result<ProvingKey<Bn254>, SerializationError> {
        self.mapped.to_proving_key()
    }

    pub(crate) fn mapped(&self) -> &MappedKey {
        &self.mapped
    }

    /// The manifest's entry for this key.
    pub fn entry(&self, name: &str, circuit: &Circuit) -> CircuitEntry {
        let vk = self.verifying();
        let mut ic = [[HexWord([0; 32]); 2]; PUBLIC_INPUTS + 1];
        ic.iter_mut().zip(&vk.gamma_abc_g1).for_each(|(words, point)| *words = g1_words(point).map(HexWord));
        CircuitEntry {
            id: circuit.id(),
            name: name.to_owned(),
            shape: *circuit.shape(),
            circuit: HexWord(self.circuit),
            proving_key: HexWord(self.digest),
            verifying_key: HexWord(verifying_key_digest(vk)),
            delta: g2_words(&vk.delta_g2).map(HexWord),
            ic,
        }
    }
}

struct Header {
    origin: Origin,
    circuit: Word,
    verifying_key: Word,
}

impl Header {
    fn read(path: &Path, file: &OpenArtifact) -> Result<Self, KeyError> {
        let refuse = |reason| KeyError::Header { path: path.to_owned(), reason };
        let mut bytes = [0; HEADER_BYTES];
        file.reader().and_then(|mut reader| reader.read_exact(&mut bytes)).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => refuse("shorter than a header"),
            _ => io_error(path, source),
        })?;
        if bytes[..8] != MAGIC[..] || bytes[8..12] != VERSION.to_be_bytes() {
            return Err(refuse("wrong magic or version"));
        }
        let origin = ORIGINS.into_iter().find(|origin| bytes[12..44] == origin.bytes()).ok_or_else(|| refuse("unknown origin"))?;
        let word = |at: usize| -> Word { std::array::from_fn(|i| bytes[at + i]) };
        let body = bytes[108..].iter().fold(0u64, |length, byte| length << 8 | u64::from(*byte));
        if body.checked_add(HEADER_BYTES as u64) != Some(file.length()?) {
            return Err(refuse("wrong length"));
        }
        Ok(Self { origin, circuit: word(44), verifying_key: word(76) })
    }
}

fn compare(path: &Path, what: &'static str, expected: &Word, got: &Word) -> Result<(), KeyError> {
    if expected == got {
        return Ok(());
    }
    Err(KeyError::Digest { path: path.to_owned(), what, expected: HexWord(*expected), got: HexWord(*got) })
}

fn io_error(path: &Path, source: io::Error) -> KeyError {
    Artifact::at(path).io(source).into()
}

fn write(mut out: &mut dyn Write, key: &ProvingKey<Bn254>, circuit: &Word, origin: Origin) -> io::Result<()> {
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_be_bytes())?;
    out.write_all(&origin.bytes())?;
    out.write_all(circuit)?;
    out.write_all(&verifying_key_digest(&key.vk))?;
    out.write_all(&(key.uncompressed_size() as u64).to_be_bytes())?;
    key.serialize_uncompressed(&mut out).map_err(io::Error::other)
}
