//! A ceremony as a file: what one contributor hands to the next.
//!
//! ```text
//! "SHEAFCER" | version u32 | id u32 | name, u8 + bytes | circuit | powers | initial, 32 bytes each
//! records u32 | h u32 | l u32
//! per record: name, u8 + bytes | previous | delta in G1 | delta in G2 | queries | 1 | s | d s | d r       knowledge
//!                                                                             .. | 2 | iterations u8 | value, u8 + bytes    beacon
//! h | l
//! ```
//! Integers and coordinates big-endian, points affine and uncompressed (G2 in EIP-197 order). Every point is checked as it is read: on its
//! curve, in its group. Files are written whole or not at all, and never over another.

use super::record::{MAX_NAME_BYTES, Proof, Record};
use super::{CHUNK, Ceremony, Header};
use ark_bn254::{G1Affine, G2Affine};
use rayon::prelude::*;
use sheaf_protocol::artifact::{Artifact, ArtifactError};
use sheaf_protocol::field::{Word, g1_from_words, g1_words, g2_from_words, g2_words};
use sheaf_protocol::manifest::HexWord;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"SHEAFCER";
const VERSION: u32 = 1;
/// More contributions than any ceremony had.
const MAX_RECORDS: u32 = 100_000;

/// Why a file of a ceremony is refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system said no.
    #[error("ceremony: {0}")]
    Artifact(#[from] ArtifactError),
    /// Not such a file, or not all of it.
    #[error("{path} is not a ceremony of this version: {reason}; fetch it again from whoever contributed last")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// A point is off its curve or outside its group, or a coordinate is not below the modulus.
    #[error("{path}: {what} is not a point of its group; the file is damaged or forged, fetch it again from whoever contributed last")]
    Point {
        /// The file.
        path: PathBuf,
        /// Which.
        what: String,
    },
    /// Nothing is ever written over a ceremony.
    #[error("{path} is there already; a ceremony's files are never overwritten")]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

impl Ceremony {
    /// Writes the file, all of it or nothing.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        let exists = |_: &Artifact| if path.exists() { Err(FileError::Exists { path: path.to_owned() }) } else { Ok(None) };
        Artifact::at(path).made_once(exists, |locked| Ok(locked.write(|out| self.write(out)).map(drop)?))
    }

    /// Reads a file, every point checked. Nothing else is: see [`Ceremony::verify`].
    ///
    /// # Errors
    /// [`FileError`].
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let mut bytes = Vec::new();
        let file = Artifact::at(path);
        file.open()?.reader().and_then(|mut reader| reader.read_to_end(&mut bytes)).map_err(|source| file.io(source))?;
        Parser { path, rest: &bytes }.ceremony()
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Header { name, id, circuit, powers, initial } = &self.header;
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_be_bytes())?;
        out.write_all(&id.to_be_bytes())?;
        write_short(out, name.as_bytes())?;
        [circuit, &powers.0, initial].into_iter().try_for_each(|word| out.write_all(word))?;
        for count in [self.records.len(), self.h.len(), self.l.len()] {
            out.write_all(&(count as u32).to_be_bytes())?;
        }
        self.records.iter().try_for_each(|record| record.write(out))?;
        for points in self.h.chunks(CHUNK).chain(self.l.chunks(CHUNK)) {
            let words: Vec<[Word; 2]> = points.par_iter().map(g1_words).collect();
            out.write_all(words.as_flattened().as_flattened())?;
        }
        Ok(())
    }
}

impl Record {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        write_short(out, self.name.as_bytes())?;
        out.write_all(&self.previous)?;
        out.write_all(g1_words(&self.delta_g1).as_flattened())?;
        out.write_all(g2_words(&self.delta_g2).as_flattened())?;
        out.write_all(&self.queries)?;
        match &self.proof {
            Proof::Knowledge { s, s_delta, r_delta } => {
                out.write_all(&[1])?;
                [s, s_delta].into_iter().try_for_each(|point| out.write_all(g1_words(point).as_flattened()))?;
                out.write_all(g2_words(r_delta).as_flattened())
            }
            Proof::Beacon { value, iterations } => {
                out.write_all(&[2, *iterations])?;
                write_short(out, value)
            }
        }
    }
}

fn write_short(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(&[bytes.len() as u8])?;
    out.write_all(bytes)
}

struct Parser<'a> {
    path: &'a Path,
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    fn ceremony(&mut self) -> Result<Ceremony, FileError> {
        if self.take(8)? != MAGIC || self.u32()? != VERSION {
            return Err(self.refused("wrong magic or version"));
        }
        let (id, name) = (self.u32()?, self.name()?);
        let header = Header { name, id, circuit: self.word()?, powers: HexWord(self.word()?), initial: self.word()? };
        let [records, h, l] = [self.u32()?, self.u32()?, self.u32()?];
        if records > MAX_RECORDS {
            return Err(self.refused("more contributions than there can be"));
        }
        let records = (1..=records).map(|number| self.record(number)).collect::<Result<_, _>>()?;
        let (h, l) = (self.points("H", h as usize)?, self.points("L", l as usize)?);
        if !self.rest.is_empty() {
            return Err(self.refused("longer than it says"));
        }
        Ok(Ceremony { header, records, h, l })
    }

    fn record(&mut self, number: u32) -> Result<Record, FileError> {
        let (name, previous) = (self.name()?, self.word()?);
        let delta_g1 = self.g1(number, "delta in G1")?;
        let delta_g2 = self.g2(number, "delta in G2")?;
        let queries = self.word()?;
        let proof = match self.take(1)? {
            [1] => Proof::Knowledge { s: self.g1(number, "s")?, s_delta: self.g1(number, "d s")?, r_delta: self.g2(number, "d r")? },
            [2] => Proof::Beacon { iterations: self.take(1)?[0], value: self.short()?.to_vec() },
            _ => return Err(self.refused("a contribution of an unknown kind")),
        };
        Ok(Record { name, previous, delta_g1, delta_g2, queries, proof })
    }

    fn refused(&self, reason: &'static str) -> FileError {
        FileError::Format { path: self.path.to_owned(), reason }
    }

    fn point(&self, what: String) -> FileError {
        FileError::Point { path: self.path.to_owned(), what }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], FileError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.refused("it is cut short"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, FileError> {
        Ok(self.take(4)?.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    fn word(&mut self) -> Result<Word, FileError> {
        let bytes = self.take(32)?;
        Ok(std::array::from_fn(|i| bytes[i]))
    }

    fn short(&mut self) -> Result<&'a [u8], FileError> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }

    fn name(&mut self) -> Result<String, FileError> {
        let name = std::str::from_utf8(self.short()?).ok().filter(|name| name.len() <= MAX_NAME_BYTES);
        name.map(str::to_owned).ok_or_else(|| self.refused("a name is no text"))
    }

    fn g1(&mut self, number: u32, what: &str) -> Result<G1Affine, FileError> {
        let words = [self.word()?, self.word()?];
        g1_from_words(&words).ok_or_else(|| self.point(format!("{what} of contribution {number}")))
    }

    fn g2(&mut self, number: u32, what: &str) -> Result<G2Affine, FileError> {
        let words = [self.word()?, self.word()?, self.word()?, self.word()?];
        g2_from_words(&words).ok_or_else(|| self.point(format!("{what} of contribution {number}")))
    }

    fn points(&mut self, query: &str, count: usize) -> Result<Vec<G1Affine>, FileError> {
        let words: &[[[u8; 32]; 2]] = self.take(64 * count)?.as_chunks().0.as_chunks().0;
        let decoded = words.par_iter().enumerate().map(|(index, words)| g1_from_words(words).ok_or(index));
        decoded.collect::<Result<_, _>>().map_err(|index| self.point(format!("point {index} of the query {query}")))
    }
}
