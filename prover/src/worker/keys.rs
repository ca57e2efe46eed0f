//! The worker's proving keys: opened once, from the files that the manifest names. A key that is missing or another is an error with a
//! remedy; the worker never makes one.

use crate::wire::{Job, OfferedCircuit};
use crate::worker::store::{KeyStore, KeyStoreError};
use sheaf_circuits::batch::{Circuit, CircuitError};
use sheaf_circuits::keys::{KeyError, Keys};
use sheaf_circuits::prove::Prover;
use sheaf_protocol::manifest::{CircuitEntry, HexWord, Manifest, Setup};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a worker has no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyCacheError {
    /// The manifest names no circuit of this name.
    #[error("the manifest has no circuit called {0}")]
    UnknownCircuit(String),
    /// The circuit of the manifest cannot be built by this program.
    #[error("circuit {name}")]
    Circuit {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: CircuitError,
    },
    /// This program's circuit is not the manifest's.
    #[error(
        "circuit {name}: this program's constraints have digest {ours}, the manifest's {manifest}; use the version that the deployment was made with"
    )]
    OtherCircuit {
        /// Its name.
        name: String,
        /// Of this program.
        ours: HexWord,
        /// Of the manifest.
        manifest: HexWord,
    },
    /// The key file is missing or not the manifest's.
    #[error(
        "circuit {name}: no usable proving key at {path}; make development keys with `sheaf keys make`, or copy the file that the manifest names"
    )]
    Key {
        /// Its name.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
        /// Why it is refused.
        #[source]
        source: Box<KeyError>,
    },
    /// The key is not in the folder and cannot be had from the store.
    #[error("circuit {name}: no proving key")]
    Fetch {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<KeyStoreError>,
    },
    /// The file is the manifest's but its verifying key is not.
    #[error("circuit {0}: the proving key's verifying key is not the manifest's")]
    VerifyingKey(String),
}

/// Circuits with their keys, by circuit id.
#[derive(Clone, Debug)]
pub struct KeyCache {
    provers: BTreeMap<u32, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    verifying_key: HexWord,
    prover: Arc<Prover>,
}

impl KeyCache {
    /// Opens the keys of all circuits of the manifest, or only of those named. Blocks while files are read and checked.
    ///
    /// # Errors
    /// [`KeyCacheError`].
    pub fn open(directory: &Path, manifest: &Manifest, only: &[String]) -> Result<Self, KeyCacheError> {
        Self::open_from(directory, manifest, only, None)
    }

    /// As [`KeyCache::open`]; a key that is not in the folder is fetched from the store. Call it where blocking is allowed, inside a runtime.
    ///
    /// # Errors
    /// [`KeyCacheError`].
    pub fn open_from(directory: &Path, manifest: &Manifest, only: &[String], store: Option<&KeyStore>) -> Result<Self, KeyCacheError> {
        if let Some(unknown) = only.iter().find(|name| !manifest.circuits.iter().any(|circuit| circuit.name == **name)) {
            return Err(KeyCacheError::UnknownCircuit(unknown.clone()));
        }
        let wanted = manifest.circuits.iter().filter(|circuit| only.is_empty() || only.contains(&circuit.name));
        let provers = wanted.map(|circuit| Ok((circuit.id, Entry::open(directory, &manifest.setup, circuit, store)?)));
        Ok(Self { provers: provers.collect::<Result<_, _>>()? })
    }

    /// A cache of provers that are open already.
    pub fn of(provers: impl IntoIterator<Item = Arc<Prover>>) -> Self {
        let entry = |prover: Arc<Prover>| Entry { verifying_key: verifying_key_of(prover.keys()), prover };
        Self { provers: provers.into_iter().map(|prover| (prover.circuit().id(), entry(prover))).collect() }
    }

    /// What a worker with these keys offers.
    pub fn offers(&self) -> Vec<OfferedCircuit> {
        self.provers.iter().map(|(id, entry)| OfferedCircuit { circuit: *id, verifying_key: entry.verifying_key }).collect()
    }

    /// The prover of a job, if its key is the one that the job asks for.
    pub(crate) fn prover(&self, job: &Job) -> Option<Arc<Prover>> {
        let entry = self.provers.get(&job.circuit)?;
        (entry.verifying_key == job.verifying_key).then(|| entry.prover.clone())
    }
}

fn verifying_key_of(keys: &Keys) -> HexWord {
    HexWord(sheaf_circuits::keys::verifying_key_digest(keys.verifying()))
}

impl Entry {
    fn open(directory: &Path, setup: &Setup, entry: &CircuitEntry, store: Option<&KeyStore>) -> Result<Self, KeyCacheError> {
        let name = &entry.name;
        let circuit = Circuit::new(entry.shape, entry.id).map_err(|source| KeyCacheError::Circuit { name: name.clone(), source })?;
        let ours = HexWord(circuit.digest());
        if ours != entry.circuit {
            return Err(KeyCacheError::OtherCircuit { name: name.clone(), ours, manifest: entry.circuit });
        }
        let path = Keys::path_of(directory, setup, name, &circuit);
        if let Some(store) = store {
            // the object is called as the file is, seen from the folder
            let object = path.strip_prefix(directory).unwrap_or(&path).to_string_lossy();
            let fetched = tokio::runtime::Handle::current().block_on(store.fetch(&object, &entry.proving_key, &path));
            fetched.map_err(|source| KeyCacheError::Fetch { name: name.clone(), source: Box::new(source) })?;
        }
        let refused = |source| KeyCacheError::Key { name: name.clone(), path: path.clone(), source: Box::new(source) };
        let keys = Keys::open(directory, setup, name, &circuit, &entry.proving_key.0).map_err(refused)?;
        let verifying_key = verifying_key_of(&keys);
        if verifying_key != entry.verifying_key {
            return Err(KeyCacheError::VerifyingKey(name.clone()));
        }
        Ok(Self { verifying_key, prover: Arc::new(Prover::new(circuit, keys)) })
    }
}
