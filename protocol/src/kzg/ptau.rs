//! Powers of tau in the public `.ptau` format of snarkjs and the Perpetual Powers of Tau.
//!
//! ```text
//! "ptau" | version u32 = 1 | sections u32 | sections: (type u32 | length u64 | bytes)          integers little-endian
//!   1 header       n8 u32 | field modulus | power p u32 | power of the ceremony u32
//!   2 tauG1        [tau^i]_1         i < 2^(p+1) - 1
//!   3 tauG2        [tau^i]_2         i < 2^p
//!   4 alphaTauG1   [alpha tau^i]_1   i < 2^p
//!   5 betaTauG1    [beta tau^i]_1    i < 2^p
//!   6 betaG2       [beta]_2
//! coordinates in Montgomery form, little-endian; a G2 coordinate is c0, c1; what else a file holds is not read
//! ```
//!
//! Nothing of a file is believed: every point read is checked to lie on its curve and in its group and not to be the identity, and
//! the sections to be powers of one tau, by random linear combinations and pairings. What the file cannot show is who took part in it:
//! compare its published hash, or check its transcript with `snarkjs powersoftau verify`.

use super::srs::pairs;
use crate::field::{Fq, Fr, G1Affine, G2Affine, g1_words, g2_words};
use crate::manifest::HexWord;
use ark_bn254::{Fq2, G1Projective, G2Projective};
use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM};
use ark_ff::{BigInt, PrimeField, Zero};
use rand::RngCore;
use rand::rngs::StdRng;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Points read at a time.
const CHUNK: usize = 1 << 13;
/// A published file has 11 sections, one that is prepared for phase 2 has 15.
const MAX_SECTIONS: u32 = 64;
/// The field's roots of unity end here.
const MAX_POWER: u32 = 28;

/// The parts of a file that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Which curve, how many powers.
    Header,
    /// Powers of tau in G1.
    TauG1,
    /// Powers of tau in G2.
    TauG2,
    /// alpha times the powers, in G1.
    AlphaTauG1,
    /// beta times the powers, in G1.
    BetaTauG1,
    /// beta in G2.
    BetaG2,
}

impl Section {
    const ALL: [Self; 6] = [Self::Header, Self::TauG1, Self::TauG2, Self::AlphaTauG1, Self::BetaTauG1, Self::BetaG2];

    fn number(self) -> u32 {
        self as u32 + 1
    }

    /// Bytes that it must have in a file of `2^power` powers.
    fn length(self, power: u32) -> u64 {
        let points = 1u64 << power;
        match self {
            Self::Header => 44,
            Self::TauG1 => (2 * points - 1) * 64,
            Self::AlphaTauG1 | Self::BetaTauG1 => points * 64,
            Self::TauG2 => points * 128,
            Self::BetaG2 => 128,
        }
    }
}

impl std::fmt::Display for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::TauG1 => "tauG1",
            Self::TauG2 => "tauG2",
            Self::AlphaTauG1 => "alphaTauG1",
            Self::BetaTauG1 => "betaTauG1",
            Self::BetaG2 => "betaG2",
        })
    }
}

/// What is wrong with powers of tau.
#[derive(Debug, thiserror::Error)]
pub enum PtauFault {
    /// The file system said no.
    #[error("cannot be read; check that it is there and its permissions")]
    Io(#[source] io::Error),
    /// Not this format.
    #[error("is not a .ptau file of version 1; download a published one, or make one with `snarkjs powersoftau`")]
    Format,
    /// Powers over another field.
    #[error("holds powers of another curve than bn128 (BN254); download the file for that curve")]
    Curve,
    /// A section is missing, twice there, cut short or of a wrong length.
    #[error("has no whole section {0}: it is cut short or damaged; download it again")]
    Section(Section),
    /// Too few powers for what is asked of it.
    #[error("holds 2^{power} powers of tau, 2^{needed} are needed; download a larger file of the same ceremony")]
    Power {
        /// In the file.
        power: u32,
        /// Asked for.
        needed: u32,
    },
    /// More powers than the field has roots of unity for, or none.
    #[error("claims 2^{0} powers of tau, possible are 2^1 to 2^28; it is damaged, download it again")]
    PowerRange(u32),
    /// A coordinate at or above the modulus, a point off its curve or outside its group, or the identity.
    #[error("{section} point {index} {what}; the file is damaged or forged, download it again")]
    Point {
        /// Where.
        section: Section,
        /// Which, from 0.
        index: usize,
        /// Why it is refused.
        what: &'static str,
    },
    /// The first power is not the generator.
    #[error("{0} does not begin with the generator; the file is damaged or forged, download it again")]
    Generator(Section),
    /// A section does not hold powers of the tau (or the beta) of the others.
    #[error("{0} does not hold powers of the file's tau; the file is damaged or forged, download it again")]
    Powers(Section),
    /// tau is 1 or another root of unity: nobody contributed, and everybody knows it.
    #[error(
        "has a tau that everybody knows: nobody contributed to it; download a published one, or contribute with `snarkjs powersoftau contribute`"
    )]
    KnownTau,
}

/// A file of powers that is refused.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {fault}")]
pub struct PtauError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub fault: PtauFault,
}

/// A `.ptau` file whose header and section table are sound; points are checked as they are read.
#[derive(Debug)]
pub struct Ptau {
    path: PathBuf,
    file: File,
    power: u32,
    sections: BTreeMap<u32, u64>,
}

/// Powers of tau for polynomials of degree below `2^k`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Powers {
    /// Binary logarithm of the number of powers.
    pub k: u32,
    /// `[tau^i]_1` for i < 2^(k+1) - 1.
    pub tau_g1: Vec<G1Affine>,
    /// `[tau^i]_2` for i < 2^k.
    pub tau_g2: Vec<G2Affine>,
    /// `[alpha tau^i]_1` for i < 2^k.
    pub alpha_tau_g1: Vec<G1Affine>,
    /// `[beta tau^i]_1` for i < 2^k.
    pub beta_tau_g1: Vec<G1Affine>,
    /// `[beta]_2`.
    pub beta_g2: G2Affine,
}

impl Powers {
    /// Points that [`Ptau::read`] reads for this size.
    pub fn points(k: u32) -> usize {
        (5 << k) as usize
    }

    /// sha256 of the words of `[tau]_1, [tau]_2, [alpha]_1, [beta]_1, [beta]_2`: every other power follows from these, so that files of
    /// one ceremony have one digest, whatever their size.
    pub fn digest(&self) -> HexWord {
        let mut hasher = Sha256::new();
        [&self.tau_g1[1], &self.alpha_tau_g1[0], &self.beta_tau_g1[0]].into_iter().for_each(|point| hasher.update(g1_words(point).as_flattened()));
        [&self.tau_g2[1], &self.beta_g2].into_iter().for_each(|point| hasher.update(g2_words(point).as_flattened()));
        HexWord(hasher.finalize().into())
    }

    fn check(&self, rng: &mut StdRng) -> Result<(), PtauFault> {
        let (one_g1, one_g2) = (G1Affine::generator(), G2Affine::generator());
        for (section, is_one) in [(Section::TauG1, self.tau_g1[0] == one_g1), (Section::TauG2, self.tau_g2[0] == one_g2)] {
            if !is_one {
                return Err(PtauFault::Generator(section));
            }
        }
        let tau = (self.tau_g1[1], self.tau_g2[1]);
        // 1 is among the roots of unity; a root of order 2^(k+1) or more is caught by whoever asks for so many powers
        if self.tau_g1[1 << self.k] == one_g1 {
            return Err(PtauFault::KnownTau);
        }
        for (section, points) in [(Section::TauG1, &self.tau_g1), (Section::AlphaTauG1, &self.alpha_tau_g1), (Section::BetaTauG1, &self.beta_tau_g1)]
        {
            let mut ratio = Ratio::default();
            ratio.add(points, rng);
            if !ratio.is(tau.1) {
                return Err(PtauFault::Powers(section));
            }
        }
        let weights = weights(self.tau_g2.len() - 1, rng);
        let (low, high) = (G2Projective::msm_unchecked(&self.tau_g2, &weights), G2Projective::msm_unchecked(&self.tau_g2[1..], &weights));
        if !pairs(&[(one_g1.into_group(), high.into_affine()), (-tau.0.into_group(), low.into_affine())]) {
            return Err(PtauFault::Powers(Section::TauG2));
        }
        let betas = [(self.beta_tau_g1[0].into_group(), one_g2), (-one_g1.into_group(), self.beta_g2)];
        if pairs(&betas) { Ok(()) } else { Err(PtauFault::Powers(Section::BetaG2)) }
    }
}

/// `sum z_i P_i` and `sum z_i P_(i+1)` over points that arrive in pieces: the second is tau times the first.
#[derive(Default)]
struct Ratio {
    low: G1Projective,
    high: G1Projective,
}

impl Ratio {
    /// Adds neighbours among `points`; the next piece begins with the last point of this one.
    fn add(&mut self, points: &[G1Affine], rng: &mut StdRng) {
        let weights = weights(points.len() - 1, rng);
        self.low += G1Projective::msm_unchecked(points, &weights);
        self.high += G1Projective::msm_unchecked(&points[1..], &weights);
    }

    fn is(&self, tau: G2Affine) -> bool {
        pairs(&[(self.high, G2Affine::generator()), (-self.low, tau)])
    }
}

/// Random odd 128-bit numbers.
pub fn weights(count: usize, rng: &mut StdRng) -> Vec<Fr> {
    let mut weight = || Fr::from(u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64()) | 1);
    (0..count).map(|_| weight()).collect()
}

impl Ptau {
    /// Opens a file and checks its header and the lengths of its sections.
    ///
    /// # Errors
    /// [`PtauError`].
    pub fn open(path: &Path) -> Result<Self, PtauError> {
        let refused = |fault| PtauError { path: path.to_owned(), fault };
        let mut file = File::open(path).map_err(|error| refused(PtauFault::Io(error)))?;
        let (power, sections) = read_table(&mut file).map_err(refused)?;
        Ok(Self { path: path.to_owned(), file, power, sections })
    }

    /// Binary logarithm of the number of powers.
    pub fn power(&self) -> u32 {
        self.power
    }

    /// The first `2^k` powers, every point and every section checked. `rng` must be unpredictable to whoever made the file;
    /// `progress` hears (points read, points in all).
    ///
    /// # Errors
    /// [`PtauError`].
    pub fn read(&self, k: u32, rng: &mut StdRng, progress: &mut dyn FnMut(usize, usize)) -> Result<Powers, PtauError> {
        let (size, all) = (1usize << k, Powers::points(k));
        let mut done = 0;
        let mut told = |points: usize| {
            done += points;
            progress(done, all);
        };
        let mut read = || -> Result<Powers, PtauFault> {
            self.need(k)?;
            let powers = Powers {
                k,
                tau_g1: self.g1(Section::TauG1, 2 * size - 1, &mut told)?,
                tau_g2: self.g2(Section::TauG2, size, &mut told)?,
                alpha_tau_g1: self.g1(Section::AlphaTauG1, size, &mut told)?,
                beta_tau_g1: self.g1(Section::BetaTauG1, size, &mut told)?,
                beta_g2: self.g2(Section::BetaG2, 1, &mut told)?[0],
            };
            powers.check(rng)?;
            Ok(powers)
        };
        read().map_err(|fault| self.refused(fault))
    }

    /// Hands `[tau^i]_1` for i from `first` to `last`, both included, to `take` piece by piece, each piece with the index of its first
    /// point. They are checked to be powers of the tau of `tau_g2`, given that the one at `first` is.
    ///
    /// # Errors
    /// [`PtauError`]; what was taken by then must not be used.
    pub fn stream_tau(
        &self,
        (first, last): (usize, usize),
        tau_g2: G2Affine,
        rng: &mut StdRng,
        take: &mut dyn FnMut(usize, &[G1Affine]),
    ) -> Result<(), PtauError> {
        let mut stream = || -> Result<(), PtauFault> {
            if last >= (2usize << self.power) - 1 {
                return Err(PtauFault::Power { power: self.power, needed: (last as u64 + 2).next_power_of_two().trailing_zeros() - 1 });
            }
            let (mut reader, mut ratio) = (self.reader(Section::TauG1, first as u64 * 64)?, Ratio::default());
            let mut before: Option<G1Affine> = None;
            for start in (first..=last).step_by(CHUNK) {
                let points = read_points(&mut reader, (Section::TauG1, start), CHUNK.min(last + 1 - start), 64, decode_g1)?;
                let neighbours: Vec<G1Affine> = before.into_iter().chain(points.iter().copied()).collect();
                ratio.add(&neighbours, rng);
                take(start, &points);
                before = points.last().copied();
            }
            if ratio.is(tau_g2) { Ok(()) } else { Err(PtauFault::Powers(Section::TauG1)) }
        };
        stream().map_err(|fault| self.refused(fault))
    }

    /// An error named after this file.
    pub fn refused(&self, fault: PtauFault) -> PtauError {
        PtauError { path: self.path.clone(), fault }
    }

    fn need(&self, k: u32) -> Result<(), PtauFault> {
        if (1..=self.power).contains(&k) { Ok(()) } else { Err(PtauFault::Power { power: self.power, needed: k }) }
    }

    fn reader(&self, section: Section, skip: u64) -> Result<impl Read, PtauFault> {
        let mut file = &self.file;
        let start = self.sections.get(&section.number()).ok_or(PtauFault::Section(section))?;
        file.seek(SeekFrom::Start(start + skip)).map_err(PtauFault::Io)?;
        Ok(BufReader::with_capacity(1 << 20, file))
    }

    fn g1(&self, section: Section, count: usize, told: &mut dyn FnMut(usize)) -> Result<Vec<G1Affine>, PtauFault> {
        let mut reader = self.reader(section, 0)?;
        collect(count, told, |start, points| read_points(&mut reader, (section, start), points, 64, decode_g1))
    }

    fn g2(&self, section: Section, count: usize, told: &mut dyn FnMut(usize)) -> Result<Vec<G2Affine>, PtauFault> {
        let mut reader = self.reader(section, 0)?;
        collect(count, told, |start, points| read_points(&mut reader, (section, start), points, 128, decode_g2))
    }
}

fn collect<P>(
    count: usize,
    told: &mut dyn FnMut(usize),
    mut read: impl FnMut(usize, usize) -> Result<Vec<P>, PtauFault>,
) -> Result<Vec<P>, PtauFault> {
    let mut points = Vec::with_capacity(count);
    while points.len() < count {
        let piece = read(points.len(), CHUNK.min(count - points.len()))?;
        told(piece.len());
        points.extend(piece);
    }
    Ok(points)
}

/// The power, and where each section begins.
fn read_table(file: &mut File) -> Result<(u32, BTreeMap<u32, u64>), PtauFault> {
    let end = file.metadata().map_err(PtauFault::Io)?.len();
    let head: [u8; 12] = array(file)?.ok_or(PtauFault::Format)?;
    let count = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    if head[..8] != *b"ptau\x01\0\0\0" || count > MAX_SECTIONS {
        return Err(PtauFault::Format);
    }
    let (mut starts, mut lengths, mut at) = (BTreeMap::new(), BTreeMap::new(), 12u64);
    for _ in 0..count {
        file.seek(SeekFrom::Start(at)).map_err(PtauFault::Io)?;
        // a file that is cut short lacks its last sections; which of ours that hits is said below
        let Some(entry) = array::<12>(file)? else { break };
        let number = u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
        let length = entry[4..].iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        let Some(next) = (at + 12).checked_add(length).filter(|next| *next <= end) else { break };
        if let Some(section) = Section::ALL.into_iter().find(|section| section.number() == number)
            && (starts.insert(number, at + 12).is_some() | lengths.insert(number, length).is_some())
        {
            return Err(PtauFault::Section(section));
        }
        at = next;
    }
    let start = *starts.get(&Section::Header.number()).ok_or(PtauFault::Section(Section::Header))?;
    file.seek(SeekFrom::Start(start)).map_err(PtauFault::Io)?;
    let header: [u8; 44] = array(file)?.ok_or(PtauFault::Section(Section::Header))?;
    if header[..4] != 32u32.to_le_bytes() || header[4..36] != modulus_bytes() {
        return Err(PtauFault::Curve);
    }
    let power = u32::from_le_bytes([header[36], header[37], header[38], header[39]]);
    if !(1..=MAX_POWER).contains(&power) {
        return Err(PtauFault::PowerRange(power));
    }
    let whole = |section: &Section| lengths.get(&section.number()) == Some(&section.length(power));
    match Section::ALL.into_iter().find(|section| !whole(section)) {
        Some(section) => Err(PtauFault::Section(section)),
        None => Ok((power, starts)),
    }
}

/// The next bytes, or `None` at the end of the file.
fn array<const N: usize>(file: &mut File) -> Result<Option<[u8; N]>, PtauFault> {
    let mut bytes = [0; N];
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(PtauFault::Io(error)),
    }
}

fn modulus_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.chunks_exact_mut(8).zip(Fq::MODULUS.0).for_each(|(bytes, limb)| bytes.copy_from_slice(&limb.to_le_bytes()));
    bytes
}

fn read_points<P: Send>(
    reader: &mut impl Read,
    (section, start): (Section, usize),
    count: usize,
    point_bytes: usize,
    decode: impl Fn(&[u8]) -> Result<P, &'static str> + Sync,
) -> Result<Vec<P>, PtauFault> {
    let mut bytes = vec![0; count * point_bytes];
    reader.read_exact(&mut bytes).map_err(PtauFault::Io)?;
    let decoded = bytes.par_chunks_exact(point_bytes).enumerate().map(|(i, bytes)| decode(bytes).map_err(|what| (start + i, what)));
    decoded.collect::<Result<_, _>>().map_err(|(index, what)| PtauFault::Point { section, index, what })
}

/// A coordinate: its Montgomery form, which is how arkworks keeps it too.
fn decode_fq(bytes: &[u8]) -> Result<Fq, &'static str> {
    let mut limbs = [0u64; 4];
    for (limb, bytes) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
        *limb = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    }
    let montgomery = BigInt::new(limbs);
    if montgomery < Fq::MODULUS { Ok(Fq::new_unchecked(montgomery)) } else { Err("has a coordinate at or above the modulus") }
}

fn decode_g1(bytes: &[u8]) -> Result<G1Affine, &'static str> {
    let (x, y) = (decode_fq(&bytes[..32])?, decode_fq(&bytes[32..])?);
    if x.is_zero() && y.is_zero() {
        return Err("is the point at infinity");
    }
    let point = G1Affine::new_unchecked(x, y);
    if point.is_on_curve() { Ok(point) } else { Err("is not on its curve") }
}

fn decode_g2(bytes: &[u8]) -> Result<G2Affine, &'static str> {
    let [x0, x1, y0, y1] = [0, 1, 2, 3].map(|i: usize| decode_fq(&bytes[32 * i..32 * (i + 1)]));
    let (x, y) = (Fq2::new(x0?, x1?), Fq2::new(y0?, y1?));
    if x.is_zero() && y.is_zero() {
        return Err("is the point at infinity");
    }
    let point = G2Affine::new_unchecked(x, y);
    if !point.is_on_curve() {
        return Err("is not on its curve");
    }
    if point.is_in_correct_subgroup_assuming_on_curve() { Ok(point) } else { Err("is outside its group") }
}
