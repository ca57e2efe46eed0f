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
//!
//! Only who holds the lock writes, into `<file>.partial`, which then takes the file's name: a full disk leaves neither a file nor a part
//! of one, and what a killed process left is overwritten by the next. Several processes and threads that want the same missing file
//! wait for the one that makes it. A reader asks one open handle for everything, so that a file replaced meanwhile is not mixed with
//! its successor. A file that others may have mapped into memory is never changed in place, so whoever wants to change one by hand renames too.

use crate::field::{Word, from_hex};
use crate::manifest::HexWord;
use sha2::{Digest, Sha256};
use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The file system said no.
    #[error("cannot read or write {path}; check that it is there, its permissions and the free space")]
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

impl ArtifactError {
    /// True if there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// True if the file is there but its bytes are wrong, so that making it again helps.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Digest { .. })
    }
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

    /// The digest that the receipt names; `None` without a receipt, or with one that is none.
    ///
    /// # Errors
    /// [`ArtifactError::Io`] if the receipt is there but cannot be read.
    pub fn known_digest(&self) -> Result<Option<HexWord>, ArtifactError> {
        let digest = |text: String| from_hex(text.lines().next()?.strip_prefix("sha256 ")?).map(HexWord);
        match fs::read_to_string(self.beside(".ok")) {
            Ok(text) => Ok(digest(text)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(None),
            Err(source) => Err(ArtifactError::Io { path: self.beside(".ok"), source }),
        }
    }

    /// Opens the file to read it.
    ///
    /// # Errors
    /// [`ArtifactError::Io`].
    pub fn open(&self) -> Result<OpenArtifact, ArtifactError> {
        let file = File::open(&self.path).map_err(|source| self.io(source))?;
        Ok(OpenArtifact { artifact: self.clone(), file })
    }

    /// Writes the file and its receipt, and returns its digest. Folders are made. Waits for whoever is writing it.
    ///
    /// # Errors
    /// [`ArtifactError::Io`]; then nothing of the file is left behind.
    pub fn write(&self, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<HexWord, ArtifactError> {
        self.lock()?.write(content)
    }

    /// What `find` finds, or else what `make` makes, once, however many processes and threads ask at the same time.
    ///
    /// # Errors
    /// Those of `find` and `make`, and [`ArtifactError::Io`] if the lock cannot be had.
    pub fn made_once<T, E: From<ArtifactError>>(
        &self,
        find: impl Fn(&Self) -> Result<Option<T>, E>,
        make: impl FnOnce(&LockedArtifact) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(found) = find(self)? {
            return Ok(found);
        }
        let locked = self.lock()?;
        find(self)?.map_or_else(|| make(&locked), Ok)
    }

    fn lock(&self) -> Result<LockedArtifact, ArtifactError> {
        let locked = self.lock_file().and_then(|lock| lock.lock().map(|()| lock));
        locked.map(|lock| LockedArtifact { artifact: self.clone(), _lock: lock }).map_err(|source| self.io(source))
    }

    fn lock_file(&self) -> io::Result<File> {
        self.path.parent().map_or(Ok(()), fs::create_dir_all)?;
        File::options().create(true).truncate(false).write(true).open(self.beside(".lock"))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    }

    /// A receipt only saves time: on a read-only disk, or while somebody writes the file, there is none.
    fn keep_receipt(&self, text: &str) {
        let lock = self.lock_file().ok().filter(|lock| lock.try_lock().is_ok());
        if let Some(lock) = lock {
            LockedArtifact { artifact: self.clone(), _lock: lock }.write_receipt(text);
        }
    }
}

/// A file that nobody else writes meanwhile, in this process or another.
#[derive(Debug)]
pub struct LockedArtifact {
    artifact: Artifact,
    _lock: File,
}

impl LockedArtifact {
    /// The file that is locked.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// As [`Artifact::write`].
    ///
    /// # Errors
    /// As [`Artifact::write`].
    pub fn write(&self, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<HexWord, ArtifactError> {
        let Artifact { path } = &self.artifact;
        let partial = self.artifact.beside(".partial");
        let written = write_synced(&partial, content).and_then(|(digest, file)| {
            fs::rename(&partial, path)?;
            Ok((digest, receipt(&file.metadata()?, &digest)))
        });
        let (digest, receipt) = written.map_err(|source| {
            // what is left of it is of no use to anybody
            let _ = fs::remove_file(&partial);
            self.artifact.io(source)
        })?;
        self.write_receipt(&receipt);
        Ok(digest)
    }

    /// All of it or nothing, as the file itself.
    fn write_receipt(&self, text: &str) {
        let partial = self.artifact.beside(".ok.partial");
        let _ = fs::write(&partial, text).and_then(|()| fs::rename(&partial, self.artifact.beside(".ok")));
    }
}

/// A file open for reading.
#[derive(Debug)]
pub struct OpenArtifact {
    artifact: Artifact,
    file: File,
}

impl OpenArtifact {
    /// Accepts the file if it is the one of this digest; computes the whole digest only if the receipt does not fit.
    ///
    /// # Errors
    /// [`ArtifactError`].
    pub fn check(&self, expected: &HexWord) -> Result<(), ArtifactError> {
        // asked before the content is read: a change meanwhile makes the receipt unfit
        let receipt = receipt(&self.metadata()?, expected);
        if fs::read_to_string(self.artifact.beside(".ok")).is_ok_and(|found| found == receipt) {
            return Ok(());
        }
        let got = self.digest()?;
        if got != *expected {
            return Err(ArtifactError::Digest { path: self.artifact.path.clone(), expected: *expected, got });
        }
        self.artifact.keep_receipt(&receipt);
        Ok(())
    }

    /// As [`OpenArtifact::check`] with the digest of the receipt, which is returned. A whole file without a receipt was copied here,
    /// or whoever made it died in between: it is taken as it is and gets one. For files that no manifest names.
    ///
    /// # Errors
    /// [`ArtifactError`].
    pub fn check_own(&self) -> Result<HexWord, ArtifactError> {
        if let Some(expected) = self.artifact.known_digest()? {
            return self.check(&expected).map(|()| expected);
        }
        let metadata = self.metadata()?;
        let digest = self.digest()?;
        self.artifact.keep_receipt(&receipt(&metadata, &digest));
        Ok(digest)
    }

    /// sha256 of the whole file.
    ///
    /// # Errors
    /// [`ArtifactError::Io`].
    pub fn digest(&self) -> Result<HexWord, ArtifactError> {
        let mut hasher = Hashing { inner: io::sink(), hasher: Sha256::new() };
        self.reader().and_then(|mut reader| io::copy(&mut reader, &mut hasher)).map_err(|source| self.artifact.io(source))?;
        Ok(HexWord(hasher.hasher.finalize().into()))
    }

    /// The content from its first byte; one reader at a time.
    ///
    /// # Errors
    /// Those of seeking.
    pub fn reader(&self) -> io::Result<impl Read> {
        let mut file = &self.file;
        file.rewind()?;
        Ok(BufReader::with_capacity(READ_BYTES, file))
    }

    /// The handle, to map the file into memory.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Bytes of the file.
    ///
    /// # Errors
    /// [`ArtifactError::Io`].
    pub fn length(&self) -> Result<u64, ArtifactError> {
        Ok(self.metadata()?.len())
    }

    fn metadata(&self) -> Result<Metadata, ArtifactError> {
        self.file.metadata().map_err(|source| self.artifact.io(source))
    }
}

/// What a receipt must say for the file as it is now.
fn receipt(data: &Metadata, digest: &HexWord) -> String {
    let modified = data.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("sha256 {digest}\nlength {}\nmodified_ns {}\n", data.len(), modified.map_or(0, |time| time.as_nanos()))
}

/// sha256 of what `content` writes.
pub fn digest_of(content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Word> {
    let mut out = Hashing { inner: io::sink(), hasher: Sha256::new() };
    content(&mut out)?;
    Ok(out.hasher.finalize().into())
}

fn write_synced(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<(HexWord, File)> {
    let mut out = Hashing { inner: BufWriter::new(File::create(path)?), hasher: Sha256::new() };
    content(&mut out)?;
    let file = out.inner.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok((HexWord(out.hasher.finalize().into()), file))
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

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn check(artifact: &Artifact, expected: &HexWord) -> Result<(), ArtifactError> {
        artifact.open()?.check(expected)
    }

    fn find(artifact: &Artifact) -> Result<Option<HexWord>, ArtifactError> {
        artifact.known_digest()
    }

    #[test]
    fn the_digest_is_sha256_of_the_file_and_the_receipt_remembers_it() {
        let (_folder, artifact, digest) = written();
        assert_eq!(digest.0, <[u8; 32]>::from(Sha256::digest(CONTENT)));
        assert_eq!((artifact.open().unwrap().digest().unwrap(), artifact.known_digest().unwrap()), (digest, Some(digest)));
        assert_eq!(digest_of(|out| out.write_all(CONTENT)).unwrap(), digest.0);
        check(&artifact, &digest).unwrap();
        assert_eq!(names(artifact.path().parent().unwrap()), ["points.bin", "points.bin.lock", "points.bin.ok"]);
    }

    #[test]
    fn a_file_that_arrives_without_a_receipt_is_hashed_and_gets_one() {
        let (_folder, artifact, digest) = written();
        for damage in ["", "sha256 0x12", "\u{0}"] {
            fs::write(artifact.beside(".ok"), damage).unwrap();
            assert_eq!(artifact.known_digest().unwrap(), None, "{damage:?}");
            check(&artifact, &digest).unwrap();
            assert_eq!(artifact.known_digest().unwrap(), Some(digest));
        }
        fs::remove_file(artifact.beside(".ok")).unwrap();
        assert_eq!(artifact.open().unwrap().check_own().unwrap(), digest);
        assert_eq!(artifact.known_digest().unwrap(), Some(digest));
    }

    #[test]
    fn a_changed_file_is_refused_and_another_digest_too() {
        let (_folder, artifact, digest) = written();
        let other = HexWord([7; 32]);
        assert!(matches!(check(&artifact, &other), Err(ArtifactError::Digest { got, .. }) if got == digest));
        spoil(&artifact);
        assert!(check(&artifact, &digest).unwrap_err().is_damage());
        assert!(artifact.open().unwrap().check_own().unwrap_err().is_damage());
    }

    #[test]
    fn a_file_replaced_while_it_is_open_stays_what_it_was() {
        let (_folder, artifact, digest) = written();
        let open = artifact.open().unwrap();
        let other = artifact.write(|out| out.write_all(b"other points")).unwrap();
        let mut content = Vec::new();
        open.reader().unwrap().read_to_end(&mut content).unwrap();
        assert_eq!((content.as_slice(), open.digest().unwrap()), (CONTENT, digest));
        assert!(open.check(&other).unwrap_err().is_damage());
        check(&artifact, &other).unwrap();
    }

    #[test]
    fn many_who_want_a_missing_file_get_the_one_that_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let artifact = Artifact::insecure(folder.path(), "seed", "points.bin");
        let made = AtomicUsize::new(0);
        let get = || {
            artifact.made_once(find, |locked| {
                made.fetch_add(1, Ordering::SeqCst);
                locked.write(|out| out.write_all(CONTENT))
            })
        };
        let digests: Vec<HexWord> =
            std::thread::scope(|scope| [(); 8].map(|()| scope.spawn(get)).map(|thread| thread.join().unwrap().unwrap()).to_vec());
        assert_eq!(made.load(Ordering::SeqCst), 1);
        digests.iter().for_each(|digest| check(&artifact, digest).unwrap());
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_but_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let artifact = Artifact::at(folder.path().join("points.bin"));
        let failed = artifact.write(|out| out.write_all(CONTENT).and(Err(io::ErrorKind::StorageFull.into()))).unwrap_err();
        assert!(failed.to_string().contains("points.bin"), "{failed}");
        assert_eq!(names(folder.path()), ["points.bin.lock"]);
    }

    #[test]
    fn what_a_killed_process_left_is_overwritten() {
        let (folder, artifact, _) = written();
        let left = [".partial", ".ok.partial"].map(|suffix| artifact.beside(suffix));
        left.iter().for_each(|path| fs::write(path, vec![b'x'; 4 * CONTENT.len()]).unwrap());
        let digest = artifact.write(|out| out.write_all(CONTENT)).unwrap();
        check(&artifact, &digest).unwrap();
        assert!(left.iter().all(|path| !path.exists()), "{:?}", names(folder.path()));
    }

    #[test]
    fn a_cache_that_cannot_be_read_is_an_error_and_nothing_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let artifact = Artifact::at(folder.path().join("points.bin"));
        fs::create_dir(artifact.beside(".ok")).unwrap();
        let refused = artifact.made_once(find, |_| panic!("made")).unwrap_err();
        assert!(refused.to_string().contains("points.bin.ok") && !refused.is_missing() && !refused.is_damage(), "{refused}");
        let blocked = Artifact::at(folder.path().join("file/points.bin"));
        fs::write(folder.path().join("file"), b"").unwrap();
        assert!(matches!(blocked.write(|_| panic!("written")), Err(ArtifactError::Io { .. })));
    }
}
