//! The reference string as a flat file, and its digest.
//!
//! ```text
//! "SHEAFSRS" | version u32 | k u32 | origin, 32 bytes | [tau]_2 | 9 x L_0 | 9 x tau powers | 2^k Lagrange points
//! ```
//! Integers and coordinates big-endian, points affine and uncompressed (G2 in EIP-197 order). [`crate::artifact`] says when the
//! whole digest is computed and when its receipt is trusted; the header is checked at every load, the points are read without
//! curve checks.

use super::srs::{Origin, SetupError, Srs};
use super::{MAX_K, SIZES};
use crate::artifact::{Artifact, ArtifactError, OpenArtifact, digest_of};
use crate::field::{Fq, G1Affine, G2Affine, Word, g1_words, g2_words};
use crate::manifest::{HexWord, Manifest, Setup, SrsEntry};
use ark_bn254::Fq2;
use ark_ff::{BigInt, PrimeField};
use rayon::prelude::*;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"SHEAFSRS";
const VERSION: u32 = 1;
const G1_BYTES: usize = 64;
const G2_BYTES: usize = 128;
const ORIGIN_BYTES: usize = 32;
const HEADER_BYTES: usize = 8 + 4 + 4 + ORIGIN_BYTES;
/// Bytes in front of the Lagrange points.
const FRONT_BYTES: usize = HEADER_BYTES + G2_BYTES + 2 * SIZES * G1_BYTES;
/// How a reference string of a ceremony is had.
const IMPORT: &str = "make it with `sheaf keys import`";
/// Points read or written at a time.
const CHUNK: usize = 1 << 14;

/// Why a reference string's file is refused.
#[derive(Debug, thiserror::Error)]
pub enum SrsFileError {
    /// The file system said no, or the bytes are not the expected ones.
    #[error("reference string: {0}")]
    Artifact(#[from] ArtifactError),
    /// Not a reference string, another version, a size or an origin that does not exist, or a wrong length.
    #[error("{path} is not a reference string of this version: {reason}; delete it and make or fetch it again")]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// A coordinate is not below the modulus.
    #[error("{path} holds a coordinate at or above the modulus; delete it and make or fetch it again")]
    Coordinate {
        /// The file.
        path: PathBuf,
    },
    /// There is no such file, and whoever asks does not make it.
    #[error("no SRS at {path}; {remedy}, or name its folder with --keys-dir")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// How to get it.
        remedy: &'static str,
    },
    /// A development file under a manifest of a ceremony, or the other way round.
    #[error("{path} is of the origin \"{found}\", the manifest's keys are \"{expected}\"; fetch the SRS that the manifest was made with")]
    Origin {
        /// The file.
        path: PathBuf,
        /// By the file.
        found: &'static str,
        /// By the manifest.
        expected: &'static str,
    },
    /// The development set-up failed.
    #[error("set-up: {0}")]
    Setup(#[from] SetupError),
}

impl SrsFileError {
    /// True if the file is missing or damaged: making it again helps, as it does not with what cannot be read.
    fn asks_for_a_new_file(&self) -> bool {
        match self {
            Self::Artifact(error) => error.is_missing() || error.is_damage(),
            Self::Header { .. } | Self::Coordinate { .. } | Self::Missing { .. } => true,
            Self::Setup(_) | Self::Origin { .. } => false,
        }
    }
}

impl From<&Setup> for Origin {
    fn from(setup: &Setup) -> Self {
        match setup {
            Setup::InsecureDevelopment { .. } => Self::InsecureDevelopment,
            Setup::Ceremony { .. } => Self::Ceremony,
        }
    }
}

impl Origin {
    /// What files and messages say.
    pub fn label(self) -> &'static str {
        match self {
            Origin::InsecureDevelopment => "INSECURE development",
            Origin::Ceremony => "ceremony",
        }
    }

    /// The label as headers of keys and reference strings hold it.
    pub fn bytes(self) -> [u8; ORIGIN_BYTES] {
        let mut bytes = [0; ORIGIN_BYTES];
        bytes[..self.label().len()].copy_from_slice(self.label().as_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        [Origin::InsecureDevelopment, Origin::Ceremony].into_iter().find(|origin| origin.bytes() == bytes)
    }
}

impl Srs {
    /// `srs-<k>.bin`, or `srs-<k>-INSECURE.bin` for a development set-up.
    pub fn file_name(k: u32, origin: Origin) -> String {
        match origin {
            Origin::InsecureDevelopment => format!("srs-{k}-INSECURE.bin"),
            Origin::Ceremony => format!("srs-{k}.bin"),
        }
    }

    /// sha256 of the file that [`Srs::save`] writes.
    pub fn digest(&self) -> HexWord {
        match digest_of(|out| self.write(out)) {
            Ok(digest) => HexWord(digest),
            Err(_) => unreachable!("a sink takes every write"),
        }
    }

    /// The manifest's entry for the reference string in the file of this digest.
    pub fn entry(&self, digest: HexWord) -> SrsEntry {
        SrsEntry { k: self.k, digest, tau: g2_words(&self.tau_g2).map(HexWord), l0: self.l0.map(|point| g1_words(&point).map(HexWord)) }
    }

    /// The INSECURE development set-up from the cache directory, or a fresh one put there, with its digest. `progress` hears
    /// (points made, points in all); nothing if it was cached.
    ///
    /// # Errors
    /// [`SrsFileError`]; a damaged cached file is replaced, not refused, but one that cannot be read is an error.
    pub fn insecure_dev_in(directory: &Path, k: u32, seed: &str, progress: impl FnMut(usize, usize)) -> Result<(Self, HexWord), SrsFileError> {
        let name = Self::file_name(k, Origin::InsecureDevelopment);
        Artifact::insecure(directory, seed, &name).made_once(Self::find, |locked| {
            let srs = Self::insecure_dev_with(k, seed, progress)?;
            let digest = locked.write(|out| srs.write(out))?;
            Ok((srs, digest))
        })
    }

    /// The file if it is there and whole.
    fn find(artifact: &Artifact) -> Result<Option<(Self, HexWord)>, SrsFileError> {
        let read = || {
            let file = artifact.open()?;
            Self::read(artifact.path(), &file, || file.check_own())
        };
        match read() {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.asks_for_a_new_file() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where [`Srs::insecure_dev_in`] keeps the reference string of this seed.
    pub fn insecure_dev_path(directory: &Path, k: u32, seed: &str) -> PathBuf {
        Artifact::insecure(directory, seed, &Self::file_name(k, Origin::InsecureDevelopment)).path().to_owned()
    }

    /// Where the reference string of a manifest lies in the folder of keys.
    pub fn path_of(directory: &Path, manifest: &Manifest) -> PathBuf {
        match &manifest.setup {
            Setup::InsecureDevelopment { seed } => Self::insecure_dev_path(directory, manifest.srs.k, seed),
            Setup::Ceremony { .. } => directory.join(Self::file_name(manifest.srs.k, Origin::Ceremony)),
        }
    }

    /// The reference string that a manifest names, from the folder of keys.
    ///
    /// # Errors
    /// [`SrsFileError`].
    pub fn open(directory: &Path, manifest: &Manifest) -> Result<Self, SrsFileError> {
        let (path, expected) = (Self::path_of(directory, manifest), Origin::from(&manifest.setup));
        let remedy = match expected {
            Origin::InsecureDevelopment => "make it with `sheaf keys make`",
            Origin::Ceremony => IMPORT,
        };
        let srs = Self::load(&path, &manifest.srs.digest).map_err(|error| match error {
            SrsFileError::Artifact(error) if error.is_missing() => SrsFileError::Missing { path: path.clone(), remedy },
            error => error,
        })?;
        if srs.origin == expected { Ok(srs) } else { Err(SrsFileError::Origin { path, found: srs.origin.label(), expected: expected.label() }) }
    }

    /// The imported reference string of `2^k` slots in the folder of keys, with its digest.
    ///
    /// # Errors
    /// [`SrsFileError`].
    pub fn find_ceremony(directory: &Path, k: u32) -> Result<(Self, HexWord), SrsFileError> {
        let artifact = Artifact::at(directory.join(Self::file_name(k, Origin::Ceremony)));
        let file = artifact.open().map_err(|error| match error {
            error if error.is_missing() => SrsFileError::Missing { path: artifact.path().to_owned(), remedy: IMPORT },
            error => error.into(),
        })?;
        let (srs, digest) = Self::read(artifact.path(), &file, || file.check_own())?;
        let (found, expected) = (srs.origin.label(), Origin::Ceremony.label());
        if found == expected { Ok((srs, digest)) } else { Err(SrsFileError::Origin { path: artifact.path().to_owned(), found, expected }) }
    }

    /// Writes the file (all of it or nothing) and its receipt, and returns the digest for the manifest.
    ///
    /// # Errors
    /// [`SrsFileError::Artifact`].
    pub fn save(&self, path: &Path) -> Result<HexWord, SrsFileError> {
        Ok(Artifact::at(path).write(|out| self.write(out))?)
    }

    fn write(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_be_bytes())?;
        out.write_all(&self.k.to_be_bytes())?;
        out.write_all(&self.origin.bytes())?;
        out.write_all(g2_words(&self.tau_g2).as_flattened())?;
        out.write_all(&encode(&self.l0))?;
        out.write_all(&encode(&self.tau_powers))?;
        self.lagrange.chunks(CHUNK).try_for_each(|points| out.write_all(&encode(points)))
    }

    /// Loads a file that must have this digest. The whole digest is computed on arrival only; see the module's text.
    ///
    /// # Errors
    /// [`SrsFileError`].
    pub fn load(path: &Path, expected: &HexWord) -> Result<Self, SrsFileError> {
        let file = Artifact::at(path).open()?;
        Ok(Self::read(path, &file, || file.check(expected).map(|()| *expected))?.0)
    }

    fn read(path: &Path, file: &OpenArtifact, check: impl FnOnce() -> Result<HexWord, ArtifactError>) -> Result<(Self, HexWord), SrsFileError> {
        let (k, origin) = read_header(path, file)?;
        let digest = check()?;
        let mut reader = Reader { path, bytes: file.reader().map_err(|source| io_error(path, source))? };
        reader.bytes(HEADER_BYTES)?;
        let tau_g2 = reader.g2()?;
        let (l0, tau_powers) = (reader.points(SIZES)?, reader.points(SIZES)?);
        let lagrange = reader.points(1 << k)?;
        let (l0, tau_powers) = (std::array::from_fn(|i| l0[i]), std::array::from_fn(|i| tau_powers[i]));
        Ok((Self { k, origin, lagrange, tau_g2, l0, tau_powers }, digest))
    }
}

fn io_error(path: &Path, source: io::Error) -> SrsFileError {
    Artifact::at(path).io(source).into()
}

fn read_header(path: &Path, file: &OpenArtifact) -> Result<(u32, Origin), SrsFileError> {
    let refuse = |reason| SrsFileError::Header { path: path.to_owned(), reason };
    let mut bytes = [0; HEADER_BYTES];
    file.reader().and_then(|mut reader| reader.read_exact(&mut bytes)).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => refuse("shorter than a header"),
        _ => io_error(path, source),
    })?;
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if bytes[..8] != MAGIC[..] || word(8) != VERSION {
        return Err(refuse("wrong magic or version"));
    }
    let (k, origin) = (word(12), Origin::from_bytes(&bytes[16..]).ok_or_else(|| refuse("unknown origin"))?);
    if !(1..=MAX_K).contains(&k) {
        return Err(refuse("k is outside 1..=24"));
    }
    if file.length()? != (FRONT_BYTES + (G1_BYTES << k)) as u64 {
        return Err(refuse("wrong length"));
    }
    Ok((k, origin))
}

fn encode(points: &[G1Affine]) -> Vec<u8> {
    let words: Vec<[Word; 2]> = points.par_iter().map(g1_words).collect();
    words.into_flattened().into_flattened()
}

/// Reads points whose bytes are trusted: coordinates are checked to be canonical, the curve equation is not.
struct Reader<'a, R> {
    path: &'a Path,
    bytes: R,
}

impl<R: Read> Reader<'_, R> {
    fn bytes(&mut self, count: usize) -> Result<Vec<u8>, SrsFileError> {
        let mut bytes = vec![0; count];
        self.bytes.read_exact(&mut bytes).map_err(|source| io_error(self.path, source))?;
        Ok(bytes)
    }

    fn coordinate_error(&self) -> SrsFileError {
        SrsFileError::Coordinate { path: self.path.to_owned() }
    }

    fn points(&mut self, count: usize) -> Result<Vec<G1Affine>, SrsFileError> {
        let mut points = Vec::with_capacity(count);
        while points.len() < count {
            let bytes = self.bytes(G1_BYTES * CHUNK.min(count - points.len()))?;
            let chunk: Option<Vec<G1Affine>> = bytes.par_chunks_exact(G1_BYTES).map(decode_g1).collect();
            points.extend(chunk.ok_or_else(|| self.coordinate_error())?);
        }
        Ok(points)
    }

    fn g2(&mut self) -> Result<G2Affine, SrsFileError> {
        let bytes = self.bytes(G2_BYTES)?;
        let words: Option<Vec<Fq>> = bytes.chunks_exact(32).map(decode_fq).collect();
        let words = words.ok_or_else(|| self.coordinate_error())?;
        Ok(G2Affine::new_unchecked(Fq2::new(words[1], words[0]), Fq2::new(words[3], words[2])))
    }
}

fn decode_fq(bytes: &[u8]) -> Option<Fq> {
    let mut limbs = [0u64; 4];
    for (limb, bytes) in limbs.iter_mut().rev().zip(bytes.chunks_exact(8)) {
        *limb = bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    }
    Fq::from_bigint(BigInt::new(limbs))
}

fn decode_g1(bytes: &[u8]) -> Option<G1Affine> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Some(G1Affine::identity());
    }
    Some(G1Affine::new_unchecked(decode_fq(&bytes[..32])?, decode_fq(&bytes[32..])?))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use sha2::{Digest, Sha256};
    use std::fs::{self, File};
    use tempfile::TempDir;

    fn saved() -> (TempDir, PathBuf, Srs, HexWord) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(Srs::file_name(5, Origin::InsecureDevelopment));
        let srs = Srs::insecure_dev(5, "file").unwrap();
        let digest = srs.save(&path).unwrap();
        (folder, path, srs, digest)
    }

    /// Overwrites one byte; the receipt no longer fits, since the time of last change moves.
    fn spoil(path: &Path, at: usize) {
        let mut bytes = fs::read(path).unwrap();
        bytes[at] ^= 1;
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        fs::write(path, bytes).unwrap();
        File::options().write(true).open(path).unwrap().set_modified(modified + std::time::Duration::from_secs(1)).unwrap();
    }

    #[test]
    fn a_saved_string_loads_as_it_was() {
        let (_folder, path, srs, digest) = saved();
        assert!(path.ends_with("srs-5-INSECURE.bin"));
        assert_eq!(digest, srs.digest());
        assert_eq!(digest.0, <[u8; 32]>::from(Sha256::digest(fs::read(&path).unwrap())), "sha256sum of the file");
        let loaded = Srs::load(&path, &digest).unwrap();
        assert_eq!((loaded.k, loaded.origin, loaded.tau_g2), (5, Origin::InsecureDevelopment, srs.tau_g2));
        assert_eq!((loaded.lagrange, loaded.l0, loaded.tau_powers), (srs.lagrange, srs.l0, srs.tau_powers));
    }

    #[test]
    fn a_cached_development_string_is_found_again_and_a_damaged_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (first, digest) = Srs::insecure_dev_in(folder.path(), 5, "file", |_, _| {}).unwrap();
        let again = Srs::insecure_dev_in(folder.path(), 5, "file", |_, _| panic!("made again")).unwrap();
        assert_eq!((&again.0.lagrange, again.1), (&first.lagrange, digest));
        assert_eq!(first.entry(digest).l0[0], g1_words(&first.l0[0]).map(HexWord));
        spoil(&Srs::insecure_dev_path(folder.path(), 5, "file"), FRONT_BYTES);
        assert_eq!(Srs::insecure_dev_in(folder.path(), 5, "file", |_, _| {}).unwrap().1, digest);
        assert_ne!(Srs::insecure_dev_in(folder.path(), 5, "another", |_, _| {}).unwrap().1, digest);
    }

    #[test]
    fn a_cached_string_without_a_receipt_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let (_, digest) = Srs::insecure_dev_in(folder.path(), 5, "file", |_, _| {}).unwrap();
        let path = Srs::insecure_dev_path(folder.path(), 5, "file");
        fs::remove_file(path.with_extension("bin.ok")).unwrap();
        assert_eq!(Srs::insecure_dev_in(folder.path(), 5, "file", |_, _| panic!("made again")).unwrap().1, digest);
    }

    #[test]
    fn a_cache_that_cannot_be_read_is_an_error_and_nothing_is_made() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(Srs::insecure_dev_path(folder.path(), 5, "file")).unwrap();
        let refused = Srs::insecure_dev_in(folder.path(), 5, "file", |_, _| panic!("made")).unwrap_err();
        assert!(matches!(refused, SrsFileError::Artifact(ArtifactError::Io { .. })), "{refused}");
    }

    #[test]
    fn a_point_changed_after_arrival_is_refused() {
        let (_folder, path, _, digest) = saved();
        spoil(&path, FRONT_BYTES + 100);
        assert!(matches!(Srs::load(&path, &digest).unwrap_err(), SrsFileError::Artifact(ArtifactError::Digest { .. })));
    }

    #[test]
    fn a_wrong_header_or_length_is_refused_by_name() {
        for (at, expected) in
            [(0, "wrong magic or version"), (11, "wrong magic or version"), (15, "wrong length"), (12, "k is outside 1..=24"), (20, "unknown origin")]
        {
            let (_folder, path, _, digest) = saved();
            spoil(&path, at);
            assert!(matches!(Srs::load(&path, &digest).unwrap_err(), SrsFileError::Header { reason, .. } if reason == expected), "byte {at}");
        }
        let (_folder, path, _, digest) = saved();
        File::options().write(true).open(&path).unwrap().set_len(10_000).unwrap();
        assert!(matches!(Srs::load(&path, &digest).unwrap_err(), SrsFileError::Header { reason: "wrong length", .. }));
    }

    fn manifest_of(srs: &Srs, digest: HexWord, setup: Setup) -> Manifest {
        let zero = HexWord([0; 32]);
        Manifest { setup, contract: zero, srs: srs.entry(digest), alpha: [zero; 2], beta: [zero; 4], circuits: vec![] }
    }

    /// Where it is looked for follows from the manifest, and so does who may know its tau.
    #[test]
    fn the_string_of_a_manifest_is_opened_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (ceremony, development) =
            (Setup::Ceremony { powers: HexWord([0; 32]), transcripts: vec![] }, Setup::InsecureDevelopment { seed: "file".into() });
        let (srs, digest) = Srs::insecure_dev_in(folder.path(), 5, "file", |_, _| {}).unwrap();
        let opened = Srs::open(folder.path(), &manifest_of(&srs, digest, development)).unwrap();
        assert_eq!((opened.lagrange, opened.origin), (srs.lagrange.clone(), Origin::InsecureDevelopment));

        let of_ceremony = manifest_of(&srs, digest, ceremony.clone());
        let missing = Srs::open(folder.path(), &of_ceremony).unwrap_err();
        assert!(matches!(missing, SrsFileError::Missing { .. }) && missing.to_string().contains("sheaf keys import"), "{missing}");
        let place = Srs::path_of(folder.path(), &of_ceremony);
        fs::copy(Srs::insecure_dev_path(folder.path(), 5, "file"), &place).unwrap();
        for refused in [Srs::open(folder.path(), &of_ceremony).unwrap_err(), Srs::find_ceremony(folder.path(), 5).unwrap_err()] {
            assert!(matches!(refused, SrsFileError::Origin { found: "INSECURE development", .. }), "{refused}");
        }
        let imported = Srs { origin: Origin::Ceremony, ..srs };
        let digest = imported.save(&place).unwrap();
        assert_eq!(Srs::open(folder.path(), &manifest_of(&imported, digest, ceremony.clone())).unwrap().origin, Origin::Ceremony);
        assert_eq!(Srs::find_ceremony(folder.path(), 5).unwrap().1, digest);
        let other = Srs::open(folder.path(), &manifest_of(&imported, HexWord([9; 32]), ceremony)).unwrap_err();
        assert!(matches!(other, SrsFileError::Artifact(ArtifactError::Digest { .. })), "{other}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let refused = Srs::load(Path::new("/nowhere/srs.bin"), &HexWord([0; 32])).unwrap_err();
        assert!(refused.to_string().contains("/nowhere/srs.bin"));
    }
}
