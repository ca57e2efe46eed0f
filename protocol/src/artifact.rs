//! Large files known by their digest: proving keys and reference strings.
//!
//! The digest is sha256 of the whole file, so `sha256sum` prints what the manifest says. Beside a checked file lies its receipt,
//! `<file>.ok`: digest, length and time of last change.
//!
//! ```text
//! missing ──made once, under <file>.lock──> trusted ──content, length or time changes──> arrived
//!                                              ^──────whole digest is the expected one──────┘
//! ```
//! *Arrived*: the whole digest is computed and compared at the next use. *Trusted*: the receipt fits, nothing is hashed again.
//! A file is written all of it or nothing; a full disk leaves neither a file nor a part of one. Several processes and threads that
//! want the same missing file wait for the one that makes it.

use crate::field::{Word, from_hex};
use crate::manifest::HexWord;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The file system said no.
    #[error("cannot read or write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The bytes are not the expected ones.
    #[error("{path} has digest {got}, expected {expected}; delete it and make or fetch it again")]
    Digest {
        /// The file.
        path: PathBuf,
        /// By the manifest.
        expected: HexWord,
        /// Found.
        got: HexWord,
    },
}

/// A file that has, or is to have, a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    path: PathBuf,
}

impl Artifact {
    /// The file at `path`, there or not.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// `<directory>/INSECURE-<start of the seed's sha256>/<name>`: two seeds of the development set-up never share a directory.
    pub fn insecure(directory: &Path, seed: &str, name: &str) -> Self {
        let of_seed = format!("INSECURE-{}", hex::encode(&Sha256::digest(seed.as_bytes())[..4]));
        Self::at(directory.join(of_seed).join(name))
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An error of the file system, named after this file.
    pub fn io(&self, source: io::Error) -> ArtifactError {
        ArtifactError::Io { path: self.path.clone(), source }
    }

    /// The digest that the receipt names; `None` for a file without one.
    pub fn known_digest(&self) -> Option<HexWord> {
        let text = fs::read_to_string(self.beside(".ok")).ok()?;
        from_hex(text.lines().next()?.strip_prefix("sha256 ")?).map(HexWord)
    }

    /// Writes the file and its receipt, and returns its digest. Folders are made.
    ///
    /// # Errors
    /// [`ArtifactError::Io`]; then nothing is left behind.
    pub fn write(&self, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<HexWord, ArtifactError> {
        self.path.parent().map_or(Ok(()), fs::create_dir_all).map_err(|source| self.io(source))?;
        let partial = self.beside(&format!(".{}.partial", std::process::id()));
        let written = write_synced(&partial, content).and_then(|digest| fs::rename(&partial, &self.path).map(|()| digest));
        let digest = written.map_err(|source| {
            // what is left of it is of no use to anybody
            let _ = fs::remove_file(&partial);
            self.io(source)
        })?;
        self.keep_receipt(&self.receipt(&digest)?);
        Ok(digest)
    }

    /// What `find` finds, or else what `make` makes, once, however many processes and threads ask at the same time.
    ///
    /// # Errors
    /// Those of `make`, and [`ArtifactError::Io`] if the lock cannot be had.
    pub fn made_once<T, E: From<ArtifactError>>(
        &self,
        find: impl Fn(&Self) -> Option<T>,
        make: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(found) = find(self) {
            return Ok(found);
        }
        let lock = self.lock().map_err(|source| self.io(source))?;
        let made = find(self).map_or_else(|| make(self), Ok);
        drop(lock);
        made
    }

    /// Accepts the file if it is the one of this digest; computes the whole digest only if the receipt does not fit.
    ///
    /// # Errors
    /// [`ArtifactError`].
    pub fn check(&self, expected: &HexWord) -> Result<(), ArtifactError> {
        // taken before the content is read: a change meanwhile makes it unfit
        let receipt = self.receipt(expected)?;
        if fs::read_to_string(self.beside(".ok")).is_ok_and(|found| found == receipt) {
            return Ok(());
        }
        let got = self.digest()?;
        if got != *expected {
            return Err(ArtifactError::Digest { path: self.path.clone(), expected: *expected, got });
        }
        self.keep_receipt(&receipt);
        Ok(())
    }

    /// sha256 of the whole file.
    ///
    /// # Errors
    /// [`ArtifactError::Io`].
    pub fn digest(&self) -> Result<HexWord, ArtifactError> {
        let mut hasher = Hashing { inner: io::sink(), hasher: Sha256::new() };
        let copied = File::open(&self.path).and_then(|file| io::copy(&mut BufReader::with_capacity(READ_BYTES, file), &mut hasher));
        copied.map_err(|source| self.io(source))?;
        Ok(HexWord(hasher.hasher.finalize().into()))
    }

    fn lock(&self) -> io::Result<File> {
        self.path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let lock = File::options().create(true).truncate(false).write(true).open(self.beside(".lock"))?;
        lock.lock()?;
        Ok(lock)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    }

    /// What a receipt must say for the file as it is now.
    fn receipt(&self, digest: &HexWord) -> Result<String, ArtifactError> {
        let data = fs::metadata(&self.path).map_err(|source| self.io(source))?;
        let modified = data.modified().map_err(|source| self.io(source))?;
        let modified_ns = modified.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
        Ok(format!("sha256 {digest}\nlength {}\nmodified_ns {modified_ns}\n", data.len()))
    }

    /// A receipt only saves time: on a read-only disk every use computes the digest.
    fn keep_receipt(&self, text: &str) {
        let _ = fs::write(self.beside(".ok"), text);
    }
}

/// sha256 of what `content` writes.
pub fn digest_of(content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Word> {
    let mut out = Hashing { inner: io::sink(), hasher: Sha256::new() };
    content(&mut out)?;
    Ok(out.hasher.finalize().into())
}

fn write_synced(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<HexWord> {
    let mut out = Hashing { inner: BufWriter::new(File::create(path)?), hasher: Sha256::new() };
    content(&mut out)?;
    out.inner.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(HexWord(out.hasher.finalize().into()))
}

/// Passes bytes on and hashes them.
struct Hashing<W> {
    inner: W,
    hasher: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    const CONTENT: &[u8] = b"some thousand points";

    fn written() -> (tempfile::TempDir, Artifact, HexWord) {
        let folder = tempfile::tempdir().unwrap();
        let artifact = Artifact::insecure(folder.path(), "seed", "points.bin");
        let digest = artifact.write(|out| out.write_all(CONTENT)).unwrap();
        (folder, artifact, digest)
    }

    /// Changes a byte; the time of last change moves with it, however coarse the file system's clock.
    fn spoil(artifact: &Artifact) {
        let modified = fs::metadata(artifact.path()).unwrap().modified().unwrap();
        fs::write(artifact.path(), [b"S", &CONTENT[1..]].concat()).unwrap();
        File::options().write(true).open(artifact.path()).unwrap().set_modified(modified + Duration::from_secs(1)).unwrap();
    }

    #[test]
    fn the_digest_is_sha256_of_the_file_and_the_receipt_remembers_it() {
        let (_folder, artifact, digest) = written();
        assert_eq!(digest.0, <[u8; 32]>::from(Sha256::digest(CONTENT)));
        assert_eq!((artifact.digest().unwrap(), artifact.known_digest()), (digest, Some(digest)));
        assert_eq!(digest_of(|out| out.write_all(CONTENT)).unwrap(), digest.0);
        artifact.check(&digest).unwrap();
    }

    #[test]
    fn a_file_that_arrives_without_a_receipt_is_hashed_and_gets_one() {
        let (_folder, artifact, digest) = written();
        fs::remove_file(artifact.beside(".ok")).unwrap();
        artifact.check(&digest).unwrap();
        assert_eq!(artifact.known_digest(), Some(digest));
    }

    #[test]
    fn a_changed_file_is_refused_and_another_digest_too() {
        let (_folder, artifact, digest) = written();
        let other = HexWord([7; 32]);
        assert!(matches!(artifact.check(&other), Err(ArtifactError::Digest { got, .. }) if got == digest));
        spoil(&artifact);
        assert!(matches!(artifact.check(&digest), Err(ArtifactError::Digest { .. })));
    }

    #[test]
    fn many_who_want_a_missing_file_get_the_one_that_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let artifact = Artifact::insecure(folder.path(), "seed", "points.bin");
        let made = AtomicUsize::new(0);
        let get = || {
            artifact.made_once(Artifact::known_digest, |artifact| {
                made.fetch_add(1, Ordering::SeqCst);
                artifact.write(|out| out.write_all(CONTENT))
            })
        };
        let digests: Vec<HexWord> =
            std::thread::scope(|scope| [(); 8].map(|()| scope.spawn(get)).map(|thread| thread.join().unwrap().unwrap()).to_vec());
        assert_eq!(made.load(Ordering::SeqCst), 1);
        digests.iter().for_each(|digest| artifact.check(digest).unwrap());
    }

    #[test]
    fn a_write_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let artifact = Artifact::at(folder.path().join("points.bin"));
        let failed = artifact.write(|out| out.write_all(CONTENT).and(Err(io::ErrorKind::StorageFull.into()))).unwrap_err();
        assert!(failed.to_string().contains("points.bin"), "{failed}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
