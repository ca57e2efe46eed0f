//! The worker's proving keys: opened once, from the files that the manifest names. A key that is missing or another is an error with a
//! remedy; the worker never makes one.
//!
//! ```text
//! manifest, key file ── open: digests, milliseconds ──> offered to the gateway
//!                                                        └── lay out the circuit: seconds for 2^20 rows, in the background ──> prover
//! ```
//! A worker claims by what the manifest says. Whether this program's constraints are those of the key is known once they are laid out: a job
//! waits for that, and a circuit that is not the key's ends the worker.

use crate::wire::{Job, OfferedCircuit};
use crate::worker::store::{KeyStore, KeyStoreError};
use sheaf_circuits::batch::{Circuit, CircuitError};
use sheaf_circuits::keys::{KeyError, Keys};
use sheaf_circuits::prove::Prover;
use sheaf_protocol::kzg::Origin;
use sheaf_protocol::manifest::{CircuitEntry, HexWord, Manifest, Setup};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

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

/// A prover, or why there is none.
pub(crate) type Laid = Result<Arc<Prover>, Arc<KeyCacheError>>;

/// Circuits with their keys, by circuit id.
#[derive(Clone, Debug)]
pub struct KeyCache {
    entries: BTreeMap<u32, Arc<Entry>>,
}

/// A key, and its prover once the circuit is laid out.
pub(crate) struct Entry {
    verifying_key: HexWord,
    origin: Origin,
    laid: OnceLock<Laid>,
    lay_out: Box<dyn Fn() -> Laid + Send + Sync>,
}

impl KeyCache {
    /// Opens the keys of all circuits of the manifest, or only of those named. Blocks while files are checked, and read if they are new here.
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
        let entries = wanted.map(|circuit| Ok((circuit.id, Arc::new(Entry::open(directory, &manifest.setup, circuit, store)?))));
        Ok(Self { entries: entries.collect::<Result<_, _>>()? })
    }

    /// A cache of provers that are there already.
    pub fn of(provers: impl IntoIterator<Item = Arc<Prover>>) -> Self {
        let entry = |prover: Arc<Prover>| {
            let laid: Laid = Ok(prover.clone());
            let again = laid.clone();
            let entry = Entry::new(prover.keys(), move || again.clone());
            (prover.circuit().id(), Arc::new(Entry { laid: laid.into(), ..entry }))
        };
        Self { entries: provers.into_iter().map(entry).collect() }
    }

    /// A cache of one key whose prover is what `lay_out` returns, called when a worker starts with it.
    pub fn laid_out_by(id: u32, keys: &Keys, lay_out: impl Fn() -> Result<Arc<Prover>, KeyCacheError> + Send + Sync + 'static) -> Self {
        let entry = Entry::new(keys, move || lay_out().map_err(Arc::new));
        Self { entries: BTreeMap::from([(id, Arc::new(entry))]) }
    }

    /// What a worker with these keys offers.
    pub fn offers(&self) -> Vec<OfferedCircuit> {
        self.entries.iter().map(|(id, entry)| OfferedCircuit { circuit: *id, verifying_key: entry.verifying_key }).collect()
    }

    /// Lays out every circuit that is not, and blocks until all are.
    ///
    /// # Errors
    /// [`KeyCacheError::Circuit`], [`KeyCacheError::OtherCircuit`] or [`KeyCacheError::Key`] of the first that is not its key's.
    pub fn lay_out(&self) -> Result<(), Arc<KeyCacheError>> {
        self.entries.values().try_for_each(|entry| entry.prover().map(drop))
    }

    /// Has every circuit laid out on a thread of its own, one after the other. What a job needs sooner, or after all if there is no
    /// thread to be had, the job lays out.
    pub(crate) fn start_laying_out(&self) {
        let entries: Vec<Arc<Entry>> = self.entries.values().filter(|entry| !entry.is_laid_out()).cloned().collect();
        if entries.is_empty() {
            return;
        }
        let lay_out = move || entries.iter().for_each(|entry| drop(entry.prover()));
        if let Err(error) = std::thread::Builder::new().name("lay-out".to_owned()).spawn(lay_out) {
            tracing::warn!(%error, "no thread to lay out circuits; each waits for its first job");
        }
    }

    /// Why a circuit cannot be laid out, as far as has been tried.
    pub(crate) fn failure(&self) -> Option<Arc<KeyCacheError>> {
        self.entries.values().find_map(|entry| entry.laid.get()?.as_ref().err().cloned())
    }

    /// The key of a job, if it is the one that the job asks for.
    pub(crate) fn entry(&self, job: &Job) -> Option<Arc<Entry>> {
        let entry = self.entries.get(&job.circuit)?;
        (entry.verifying_key == job.verifying_key).then(|| entry.clone())
    }
}

fn verifying_key_of(keys: &Keys) -> HexWord {
    HexWord(sheaf_circuits::keys::verifying_key_digest(keys.verifying()))
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("verifying_key", &self.verifying_key).field("laid", &self.laid).finish_non_exhaustive()
    }
}

impl Entry {
    fn new(keys: &Keys, lay_out: impl Fn() -> Laid + Send + Sync + 'static) -> Self {
        Self { verifying_key: verifying_key_of(keys), origin: keys.origin, laid: OnceLock::new(), lay_out: Box::new(lay_out) }
    }

    fn open(directory: &Path, setup: &Setup, entry: &CircuitEntry, store: Option<&KeyStore>) -> Result<Self, KeyCacheError> {
        let (name, path) = (&entry.name, Keys::path_of(directory, setup, entry));
        if let Some(store) = store {
            // the object is called as the file is, seen from the folder
            let object = path.strip_prefix(directory).unwrap_or(&path).to_string_lossy();
            let fetched = tokio::runtime::Handle::current().block_on(store.fetch(&object, &entry.proving_key, &path));
            fetched.map_err(|source| KeyCacheError::Fetch { name: name.clone(), source: Box::new(source) })?;
        }
        let keys = Keys::open(directory, setup, entry).map_err(|source| refused(name, &path, source))?;
        if verifying_key_of(&keys) != entry.verifying_key {
            return Err(KeyCacheError::VerifyingKey(name.clone()));
        }
        let (keys, circuit) = (Arc::new(keys), entry.clone());
        Ok(Self::new(&keys.clone(), move || lay_out(&circuit, &path, &keys).map(Arc::new).map_err(Arc::new)))
    }

    /// Who knows the key's secrets.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// True if [`Entry::prover`] answers at once.
    pub(crate) fn is_laid_out(&self) -> bool {
        self.laid.get().is_some()
    }

    /// The prover. Blocks until the circuit is laid out, by this call or by another that came first.
    pub(crate) fn prover(&self) -> Laid {
        self.laid.get_or_init(|| (self.lay_out)()).clone()
    }
}

fn refused(name: &str, path: &Path, source: KeyError) -> KeyCacheError {
    KeyCacheError::Key { name: name.to_owned(), path: path.to_owned(), source: Box::new(source) }
}

fn lay_out(entry: &CircuitEntry, path: &Path, keys: &Arc<Keys>) -> Result<Prover, KeyCacheError> {
    let (name, start) = (&entry.name, Instant::now());
    let circuit = Circuit::new(entry.shape, entry.id).map_err(|source| KeyCacheError::Circuit { name: name.clone(), source })?;
    let ours = HexWord(circuit.digest());
    if ours != entry.circuit {
        return Err(KeyCacheError::OtherCircuit { name: name.clone(), ours, manifest: entry.circuit });
    }
    let prover = Prover::new(circuit, keys.clone()).map_err(|source| refused(name, path, source))?;
    tracing::info!(circuit = name, ms = start.elapsed().as_millis() as u64, "circuit laid out");
    Ok(prover)
}
