//! Phase 2 of the set-up: many people make the proving key of one circuit, and it is sound if one of them forgot what they drew.
//!
//! ```text
//! powers of tau ──> initial key, delta = 1 ──share_1──> delta = d_1 ──share_2──> delta = d_1 d_2 ── .. ──beacon──> proving key
//!                   (initial)                (contribute, record)                                                  (finalize)
//! ```
//! alpha, beta, gamma = the G2 generator, IC and the queries A and B never change. A share d multiplies delta and divides every point of the
//! queries H and L. A [`Ceremony`] is the whole transcript: one [`Record`] a contribution, and H and L after the last one.
//!
//! A record proves that its maker knew the share (the proof of knowledge of Bowe, Gabizon and Miers, "MMORPG"), bound to everything before it
//! and to the points that it left. [`verify`](Ceremony::verify) recomputes the initial key and names the first contribution that is wrong.
//!
//! Secrets: a share lives in memory only, until its contribution is written, and is overwritten then. No file ever holds one, so that a
//! contribution that was killed is made anew, with a new share. What a person must do against a machine that spies is in docs/ceremony.md.

mod file;
mod initial;
mod record;
mod verify;

pub use file::FileError;
pub use initial::{InitialKey, initial_key, key_digest, power};
pub use record::{BEACON, MAX_BEACON_BYTES, MAX_BEACON_POWER, MAX_NAME_BYTES, Proof, Record, Share, check_beacon};
pub use verify::{Fault, Query, VerifyError};

use crate::batch::Circuit;
use ark_bn254::{Bn254, G1Affine, G1Projective, G2Affine};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::Field;
use ark_groth16::ProvingKey;
use rand::rngs::StdRng;
use rand::{CryptoRng, RngCore};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use sheaf_protocol::field::{Fr, Word, g1_words};
use sheaf_protocol::manifest::HexWord;

/// Points between two calls of a progress callback.
const CHUNK: usize = 1 << 12;

/// Which key a ceremony makes, and from what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Name of the circuit's shape.
    pub name: String,
    /// Id of the circuit.
    pub id: u32,
    /// Digest of its constraints.
    pub circuit: Word,
    /// Digest of the powers of tau, `Powers::digest`.
    pub powers: HexWord,
    /// Digest of the initial key, [`key_digest`].
    pub initial: Word,
}

/// A ceremony as one file holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceremony {
    /// What it is for.
    pub header: Header,
    /// The contributions so far.
    pub records: Vec<Record>,
    /// `[tau^i Z(tau) / delta]_1`.
    pub h: Vec<G1Affine>,
    /// `[(beta a_i + alpha b_i + c_i) / delta]_1` of the witness.
    pub l: Vec<G1Affine>,
}

impl Ceremony {
    /// A ceremony without a contribution.
    pub fn begin(name: &str, circuit: &Circuit, initial: &InitialKey) -> Self {
        let InitialKey { key, powers } = initial;
        let header = Header { name: name.to_owned(), id: circuit.id(), circuit: circuit.digest(), powers: *powers, initial: key_digest(key) };
        Self { header, records: Vec::new(), h: key.h_query.clone(), l: key.l_query.clone() }
    }

    /// delta as it stands.
    pub fn delta(&self) -> (G1Affine, G2Affine) {
        self.records.last().map_or((G1Affine::generator(), G2Affine::generator()), |record| (record.delta_g1, record.delta_g2))
    }

    /// Digest of everything that was contributed: what a contributor publishes, and what the next contribution is bound to.
    pub fn transcript(&self) -> HexWord {
        HexWord(self.records.last().map_or_else(|| self.header.digest(), Record::digest))
    }

    /// Contributions by people; a beacon is not one.
    pub fn contributions(&self) -> usize {
        self.records.iter().filter(|record| !record.is_beacon()).count()
    }

    /// Adds a contribution: checks the records before it, multiplies delta by the share and proves that it was known.
    /// `progress` hears (points done, points in all).
    ///
    /// # Errors
    /// [`VerifyError`] if the ceremony is broken already, or the name cannot be used.
    pub fn contribute(
        self,
        name: &str,
        share: Share,
        rng: &mut (impl RngCore + CryptoRng),
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, VerifyError> {
        record::check_name(name).map_err(|fault| VerifyError::contribution(self.records.len() + 1, name, fault))?;
        self.check_open(name)?;
        let (previous, delta) = (self.transcript().0, self.delta());
        let mut next = self.divided(&share, progress);
        let record = Record::prove(name, previous, delta, next.queries_digest(), &share, rng);
        next.records.push(record);
        Ok(next)
    }

    /// Ends the ceremony with a share that nobody chose: `2^iterations` times sha256 of a value that nobody knew before the last contribution.
    ///
    /// # Errors
    /// [`VerifyError`] if the ceremony is broken already, or the value or its number of hashes is out of bounds.
    pub fn beacon(self, value: &[u8], iterations: u8, progress: &mut dyn FnMut(usize, usize)) -> Result<Self, VerifyError> {
        self.check_open(record::BEACON)?;
        let (previous, delta) = (self.transcript().0, self.delta());
        let refused = |fault| VerifyError::contribution(self.records.len() + 1, record::BEACON, fault);
        let share = Share::of_beacon(&previous, value, iterations).map_err(refused)?;
        let mut next = self.divided(&share, progress);
        let record = Record::of_beacon(previous, delta, next.queries_digest(), &share, (value, iterations));
        next.records.push(record);
        Ok(next)
    }

    /// Checks everything that the file says, given the initial key of its circuit, which the caller has computed. `rng` must be
    /// unpredictable to whoever made the file.
    ///
    /// # Errors
    /// [`VerifyError`], the first thing wrong.
    pub fn verify(&self, circuit: &Circuit, initial: &InitialKey, rng: &mut StdRng) -> Result<(), VerifyError> {
        self.check_source(circuit, initial.powers)?;
        self.check_initial(&initial.key)?;
        self.check_records()?;
        self.check_queries(&initial.key, rng)
    }

    /// The proving key, after everything was verified and found to have at least one contribution.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn finalize(&self, circuit: &Circuit, initial: InitialKey, rng: &mut StdRng) -> Result<ProvingKey<Bn254>, VerifyError> {
        self.verify(circuit, &initial, rng)?;
        if self.contributions() == 0 {
            return Err(VerifyError::NoContribution);
        }
        let mut key = initial.key;
        (key.delta_g1, key.vk.delta_g2) = self.delta();
        (key.h_query, key.l_query) = (self.h.clone(), self.l.clone());
        Ok(key)
    }

    /// Sound so far, and not ended by a beacon.
    fn check_open(&self, name: &str) -> Result<(), VerifyError> {
        self.check_records()?;
        match self.records.last() {
            Some(last) if last.is_beacon() => Err(VerifyError::contribution(self.records.len() + 1, name, Fault::AfterBeacon)),
            _ => Ok(()),
        }
    }

    /// sha256 of the words of H and L.
    fn queries_digest(&self) -> Word {
        let mut hasher = Sha256::new();
        for points in self.h.chunks(CHUNK).chain(self.l.chunks(CHUNK)) {
            let words: Vec<[Word; 2]> = points.par_iter().map(g1_words).collect();
            hasher.update(words.as_flattened().as_flattened());
        }
        hasher.finalize().into()
    }

    /// H and L divided by a share.
    fn divided(self, share: &Share, progress: &mut dyn FnMut(usize, usize)) -> Self {
        let (mut done, all) = (0, self.h.len() + self.l.len());
        let mut told = |points: usize| {
            done += points;
            progress(done, all);
        };
        let inverse = share.inverse();
        let (h, l) = (scaled(&self.h, &inverse, &mut told), scaled(&self.l, &inverse, &mut told));
        Self { h, l, ..self }
    }
}

impl Header {
    /// What the first contribution is bound to.
    pub fn digest(&self) -> Word {
        let mut hasher = Sha256::new();
        hasher.update(b"sheaf.ceremony.1");
        hasher.update(self.id.to_be_bytes());
        [&self.circuit, &self.powers.0, &self.initial].into_iter().for_each(|word| hasher.update(word));
        hasher.update(self.name.as_bytes());
        hasher.finalize().into()
    }
}

fn scaled(points: &[G1Affine], factor: &Fr, told: &mut dyn FnMut(usize)) -> Vec<G1Affine> {
    let mut out = Vec::with_capacity(points.len());
    for piece in points.chunks(CHUNK) {
        let products: Vec<G1Projective> = piece.par_iter().map(|point| *point * factor).collect();
        out.extend(G1Projective::normalize_batch(&products));
        told(piece.len());
    }
    out
}

impl Share {
    fn inverse(&self) -> zeroize::Zeroizing<Fr> {
        // a share is not 0
        zeroize::Zeroizing::new(self.value().inverse().unwrap_or_default())
    }
}
