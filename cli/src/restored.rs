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
use sheaf_protocol::field::{Word, g1_words, g2_words, to_hex};
use sheaf_protocol::follower::follow;
use sheaf_protocol::kzg::{Srs, StateVector};
use sheaf_protocol::ledger::{Ledger, Slot};
use sheaf_protocol::manifest::HexWord;
use sheaf_settlement::anvil::DEV_CHAIN_ID;
use sheaf_settlement::history::ProvenBatch;
use sheaf_settlement::rollup::{OpeningPoints, Rollup};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a restored state is kept and what it is committed with.
#[derive(Args, Clone, Debug)]
pub(crate) struct StateOptions {
    /// Where the state is kept; a later run goes on from it.
    #[arg(long, default_value = "sheaf-state.json")]
    pub(crate) state: PathBuf,
    /// The reference string's file, which `sheaf keys import --ptau` makes of public powers of tau; default, on chain 31337 only: the INSECURE development
    /// one of --seed in --keys-dir, made if it is missing.
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

/// A contract, with what it checks openings with: no state of another reference string has its roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    place: Place,
    points: OpeningPoints,
}

impl Home {
    /// Of a contract, as it says itself.
    ///
    /// # Errors
    /// If L1 does not answer, or there is no such contract.
    pub(crate) async fn of(rollup: &Rollup) -> anyhow::Result<Self> {
        let place = Place { chain_id: rollup.rpc().chain_id(), contract: rollup.address(), k: rollup.k().await? };
        Ok(Self { place, points: rollup.opening_points().await? })
    }
}

impl StateOptions {
    /// The state in the file, or the empty one, to be read from `first_block` on.
    ///
    /// # Errors
    /// If the file is another rollup's, or damaged, or there is no reference string.
    pub(crate) fn open_or_begin(&self, home: &Home, first_block: u64) -> anyhow::Result<Restored> {
        if self.state.exists() {
            return self.open(home);
        }
        self.begin(home, first_block)
    }

    /// The empty state, to be read from `first_block` on.
    ///
    /// # Errors
    /// If there is no reference string.
    pub(crate) fn begin(&self, home: &Home, first_block: u64) -> anyhow::Result<Restored> {
        let (place, vector) = (home.place, StateVector::new(Arc::new(self.srs(home)?), [])?);
        Ok(Restored { place, ledger: Ledger::new(place.k), vector, batches: 0, queue_digest: Some([0; 32]), next_block: first_block })
    }

    /// The state in the file.
    ///
    /// # Errors
    /// Also if there is no file.
    pub(crate) fn open(&self, home: &Home) -> anyhow::Result<Restored> {
        let place = home.place;
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
        let vector = StateVector::new(Arc::new(self.srs(home)?), file.slots.iter().map(|(id, slot)| (*id, slot.columns())))?;
        ensure!(vector.root() == file.root.0, "the slots in {name} do not give the root it names; delete it and restore again");
        let queue_digest = file.queue_digest.map(|digest| digest.0);
        Ok(Restored { place, ledger, vector, batches: file.batches, queue_digest, next_block: file.next_block })
    }

    /// The reference string of the contract, and no other.
    fn srs(&self, home: &Home) -> anyhow::Result<Srs> {
        let Place { chain_id, contract, k } = home.place;
        let srs = match &self.srs {
            Some(file) => Srs::load(file, &Artifact::at(file).open()?.digest()?)?,
            None => self.development_srs(chain_id, k)?,
        };
        let of = self.srs.as_deref().map_or_else(|| format!("the development SRS of --seed {}", self.seed), |file| file.display().to_string());
        ensure!(srs.k == k, "{of} is for 2^{} slots, the contract's state has 2^{k}; name another file with --srs", srs.k);
        ensure!(
            OpeningPoints { tau: g2_words(&srs.tau_g2), l0: g1_words(&srs.lagrange[0]) } == home.points,
            "{of} is not the reference string of contract {contract}, which keeps other points of it; name the deployment's with --srs: `sheaf keys import --ptau` \
             makes it of the powers of tau that its ceremony began with"
        );
        Ok(srs)
    }

    fn development_srs(&self, chain_id: u64, k: u32) -> anyhow::Result<Srs> {
        ensure!(
            chain_id == DEV_CHAIN_ID,
            "chain {chain_id} needs --srs, the file of the deployment's reference string: `sheaf keys import --ptau FILE --k {k}` makes it of the powers of tau that \
             its ceremony began with; without it there is only the INSECURE development one, which no deployment outside chain {DEV_CHAIN_ID} has"
        );
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn options(folder: &Path, srs: Option<PathBuf>) -> StateOptions {
        StateOptions { state: folder.join("state.json"), srs, keys_dir: folder.to_owned(), seed: "another".to_owned() }
    }

    fn home(chain_id: u64, points: OpeningPoints) -> Home {
        Home { place: Place { chain_id, contract: Address([7; 20]), k: 16 }, points }
    }

    #[test]
    fn a_chain_with_money_on_it_needs_the_deployments_reference_string() {
        let folder = tempfile::tempdir().unwrap();
        let points = OpeningPoints { tau: [[0; 32]; 4], l0: [[0; 32]; 2] };
        let refused = options(folder.path(), None).open_or_begin(&home(1, points), 0).err().unwrap().to_string();
        assert!(refused.contains("--srs") && refused.contains("sheaf keys import --ptau"), "{refused}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
    }

    #[test]
    fn another_reference_string_than_the_contracts_is_refused_before_anything_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (srs, _) = Srs::insecure_dev_in(folder.path(), 16, "another", |_, _| {}).unwrap();
        let points = OpeningPoints { tau: g2_words(&srs.tau_g2), l0: g1_words(&srs.lagrange[0]) };
        assert!(options(folder.path(), None).open_or_begin(&home(DEV_CHAIN_ID, points), 0).is_ok());
        for other in [OpeningPoints { tau: [[1; 32]; 4], ..points }, OpeningPoints { l0: [[1; 32]; 2], ..points }] {
            let file = Srs::insecure_dev_path(folder.path(), 16, "another");
            let refused = options(folder.path(), Some(file)).open_or_begin(&home(1, other), 0).err().unwrap().to_string();
            assert!(refused.contains("is not the reference string of contract") && refused.contains("--srs"), "{refused}");
        }
    }
}
