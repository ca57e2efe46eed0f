//! A state rebuilt from L1: its file, and the reference string it is committed with. `sheaf restore` makes it, `sheaf exit` opens its slots.
//!
//! The file names the root that its slots must give, so a damaged or changed one is refused when it is opened.

use crate::progress::Progress;
use anyhow::{Context, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use sheaf_protocol::amount::{Address, SlotId};
use sheaf_protocol::artifact::Artifact;
use sheaf_protocol::derive::queue_digest;
use sheaf_protocol::field::{Word, to_hex};
use sheaf_protocol::follower::follow;
use sheaf_protocol::kzg::{Srs, StateVector};
use sheaf_protocol::ledger::{Ledger, Slot};
use sheaf_protocol::manifest::HexWord;
use sheaf_settlement::history::ProvenBatch;
use sheaf_settlement::rollup::Rollup;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a restored state is kept and what it is committed with.
#[derive(Args, Clone, Debug)]
pub(crate) struct StateOptions {
    /// Where the state is kept; a later run goes on from it.
    #[arg(long, default_value = "sheaf-state.json")]
    pub(crate) state: PathBuf,
    /// The reference string's file; default: the INSECURE development one of --seed in --keys-dir, made if it is missing.
    #[arg(long)]
    srs: Option<PathBuf>,
    /// Folder of cached keys and reference strings.
    #[arg(long, env = "SHEAF_KEYS", default_value = ".sheaf/keys")]
    pub(crate) keys_dir: PathBuf,
    /// Public seed of the INSECURE development set-up.
    #[arg(long, env = "SHEAF_SEED", default_value = "sheaf")]
    seed: String,
}

/// Which rollup a state belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    chain_id: u64,
    contract: Address,
    k: u32,
}

/// A restored state, as its file holds it.
#[derive(Debug, Serialize, Deserialize)]
struct File {
    #[serde(flatten)]
    place: Place,
    /// Batches followed.
    batches: u64,
    /// Root after the last of them.
    root: HexWord,
    /// Queue digest after the last of them; files of older versions lack it.
    #[serde(default)]
    queue_digest: Option<HexWord>,
    /// Where reading goes on.
    next_block: u64,
    slots: Vec<(SlotId, Slot)>,
}

/// A restored state in memory.
pub(crate) struct Restored {
    place: Place,
    /// Every slot.
    pub(crate) ledger: Ledger,
    /// The same, committed to.
    pub(crate) vector: StateVector,
    /// Batches followed.
    pub(crate) batches: u64,
    /// Queue digest after them, unless the file they come from lacks it.
    pub(crate) queue_digest: Option<Word>,
    /// Where reading goes on.
    pub(crate) next_block: u64,
}

impl Place {
    /// Of a contract, as it says itself.
    ///
    /// # Errors
    /// If L1 does not answer, or there is no such contract.
    pub(crate) async fn of(rollup: &Rollup) -> anyhow::Result<Self> {
        Ok(Self { chain_id: rollup.rpc().chain_id(), contract: rollup.address(), k: rollup.k().await? })
    }
}

impl StateOptions {
    /// The state in the file, or the empty one, to be read from `first_block` on.
    ///
    /// # Errors
    /// If the file is another rollup's, or damaged, or there is no reference string.
    pub(crate) fn open_or_begin(&self, place: Place, first_block: u64) -> anyhow::Result<Restored> {
        if self.state.exists() {
            return self.open(place);
        }
        self.begin(place, first_block)
    }

    /// The empty state, to be read from `first_block` on.
    ///
    /// # Errors
    /// If there is no reference string.
    pub(crate) fn begin(&self, place: Place, first_block: u64) -> anyhow::Result<Restored> {
        let vector = StateVector::new(Arc::new(self.srs(place.k)?), [])?;
        Ok(Restored { place, ledger: Ledger::new(place.k), vector, batches: 0, queue_digest: Some([0; 32]), next_block: first_block })
    }

    /// The state in the file.
    ///
    /// # Errors
    /// Also if there is no file.
    pub(crate) fn open(&self, place: Place) -> anyhow::Result<Restored> {
        let name = self.state.display();
        let text =
            std::fs::read(&self.state).with_context(|| format!("cannot read {name}; make it with `sheaf restore`, or name it with --state"))?;
        let file: File = serde_json::from_slice(&text).with_context(|| format!("{name} is not a restored state; name another file with --state"))?;
        let Place { chain_id, contract, .. } = file.place;
        ensure!(file.place == place, "{name} is the state of contract {contract} on chain {chain_id}; name another file with --state");
        let mut ledger = Ledger::new(place.k);
        for (id, slot) in &file.slots {
            ensure!(ledger.contains(*id), "{name} names slot {id}, which is outside the state; delete it and restore again");
            ledger.set(*id, *slot);
        }
        let vector = StateVector::new(Arc::new(self.srs(place.k)?), file.slots.iter().map(|(id, slot)| (*id, slot.columns())))?;
        ensure!(vector.root() == file.root.0, "the slots in {name} do not give the root it names; delete it and restore again");
        let queue_digest = file.queue_digest.map(|digest| digest.0);
        Ok(Restored { place, ledger, vector, batches: file.batches, queue_digest, next_block: file.next_block })
    }

    fn srs(&self, k: u32) -> anyhow::Result<Srs> {
        if let Some(file) = &self.srs {
            // whatever it is: a string of another set-up gives another first root
            let digest = Artifact::at(file).open()?.digest()?;
            let srs = Srs::load(file, &digest)?;
            ensure!(srs.k == k, "{} is for 2^{} slots, the contract's state has 2^{k}", file.display(), srs.k);
            return Ok(srs);
        }
        let mut progress = Progress::new(format!("making the INSECURE development SRS of 2^{k} slots"));
        Ok(Srs::insecure_dev_in(&self.keys_dir, k, &self.seed, |done, all| progress.step(done, all))?.0)
    }
}

impl Restored {
    /// Follows one batch.
    ///
    /// # Errors
    /// If it is not the next one, or its root is not the proven one.
    pub(crate) fn follow(&mut self, batch: &ProvenBatch) -> anyhow::Result<()> {
        let number = batch.number;
        ensure!(
            number == self.batches + 1,
            "batch {number} follows batch {} on L1; start again with --from-block at the contract's creation",
            self.batches
        );
        let touched = follow(&mut self.ledger, &batch.published).with_context(|| format!("batch {number}"))?;
        let step = self.vector.prepare(&touched)?;
        self.vector.advance(&step)?;
        let root = self.vector.root();
        ensure!(
            root == batch.root,
            "batch {number} gives the root {}, L1 was proven {}: is the reference string the deployment's, and was the state restored deep enough for a reorganisation (--depth)?",
            to_hex(&root),
            to_hex(&batch.root)
        );
        self.batches = number;
        self.queue_digest = self.queue_digest.map(|digest| queue_digest(digest, &batch.published.taken));
        Ok(())
    }

    /// Writes the file.
    ///
    /// # Errors
    /// If it cannot be written; the old one stays.
    pub(crate) fn save(&self, options: &StateOptions) -> anyhow::Result<()> {
        let slots = self.ledger.occupied().map(|(id, slot)| (id, *slot)).collect();
        let (root, queue_digest) = (HexWord(self.vector.root()), self.queue_digest.map(HexWord));
        let file = File { place: self.place, batches: self.batches, root, queue_digest, next_block: self.next_block, slots };
        write_whole(&options.state, &serde_json::to_vec(&file)?).with_context(|| format!("cannot write {}", options.state.display()))
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The old file or the new one, never a part.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder_of(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Fails if [`write_whole`] could not write this file; leaves nothing behind.
pub(crate) fn check_writable(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    tempfile::NamedTempFile::new_in(folder_of(path)).map(drop)
}
