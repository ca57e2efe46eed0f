//! One contribution: the new delta, and a proof that its maker knew the factor.
//!
//! ```text
//! challenge = sha256(digest of the record before | name | new delta | digest of H and L | s | d s)
//! r = a G2 point hashed from the challenge ; the proof is (s, d s, d r) with s a random G1 point
//! holds if  e(s, d r) = e(d s, r)  and  e(old delta, d r) = e(new delta, r)
//! digest of the record = sha256(challenge | d r)
//! ```
//! A beacon has no proof: everybody computes its factor again.

use super::verify::Fault;
use ark_bn254::{Fq, Fq2, G1Affine, G2Affine};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, Field, PrimeField, UniformRand, Zero};
use rand::{CryptoRng, RngCore};
use sha2::{Digest, Sha256, Sha512};
use sheaf_protocol::field::{Fr, Word, g1_words, g2_words};
use zeroize::Zeroizing;

/// Longest name of a contributor.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest value of a beacon.
pub const MAX_BEACON_BYTES: usize = 255;
/// A beacon is hashed at most 2 to this times.
pub const MAX_BEACON_POWER: u8 = 32;
/// The name of a beacon's record, and of no other.
pub const BEACON: &str = "beacon";

/// A contribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who made it, as they call themselves.
    pub name: String,
    /// Digest of the record before, or of the ceremony's header.
    pub previous: Word,
    /// delta after it, in G1.
    pub delta_g1: G1Affine,
    /// delta after it, in G2.
    pub delta_g2: G2Affine,
    /// sha256 of the words of H and L after it.
    pub queries: Word,
    /// Why nobody else knows the factor, or everybody does.
    pub proof: Proof,
}

/// What a record shows of its factor d.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all records are of the large kind, and they are few")]
pub enum Proof {
    /// Its maker knew it.
    Knowledge {
        /// A random point.
        s: G1Affine,
        /// d s.
        s_delta: G1Affine,
        /// d r, with r hashed from the challenge.
        r_delta: G2Affine,
    },
    /// It follows from a public value.
    Beacon {
        /// The value.
        value: Vec<u8>,
        /// It is hashed 2 to this times.
        iterations: u8,
    },
}

/// A secret factor of delta: neither 0 nor 1. Overwritten when it goes; it can be neither copied nor printed.
pub struct Share(Zeroizing<Fr>);

impl Share {
    /// A share from 64 bytes of `rng`, which must be the operating system's randomness, and whatever a person adds: it is as hard to guess as
    /// the harder of the two.
    pub fn draw(rng: &mut (impl RngCore + CryptoRng), entropy: &[u8]) -> Self {
        loop {
            let mut bytes = Zeroizing::new([0; 64]);
            rng.fill_bytes(&mut *bytes);
            let share = Self::hashed(&[b"sheaf.ceremony.share", bytes.as_slice(), entropy]);
            if share.is_useful() {
                return share;
            }
        }
    }

    /// The share of a beacon.
    pub(super) fn of_beacon(previous: &Word, value: &[u8], iterations: u8) -> Result<Self, Fault> {
        check_beacon(value, iterations)?;
        let mut hash: Word = Sha256::digest(value).into();
        for _ in 1..1u64 << iterations {
            hash = Sha256::digest(hash).into();
        }
        let share = Self::hashed(&[b"sheaf.ceremony.beacon", previous.as_slice(), hash.as_slice()]);
        if share.is_useful() { Ok(share) } else { Err(Fault::BeaconBounds) }
    }

    fn hashed(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha512::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let mut digest = Zeroizing::new([0u8; 64]);
        digest.copy_from_slice(&hasher.finalize());
        Self(Zeroizing::new(Fr::from_be_bytes_mod_order(digest.as_slice())))
    }

    fn is_useful(&self) -> bool {
        *self.0 != Fr::ZERO && *self.0 != Fr::ONE
    }

    pub(super) fn value(&self) -> &Fr {
        &self.0
    }
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Share(secret)")
    }
}

/// True of what a beacon can be made from.
///
/// # Errors
/// [`Fault::BeaconBounds`].
pub fn check_beacon(value: &[u8], iterations: u8) -> Result<(), Fault> {
    let is_fit = (1..=MAX_BEACON_BYTES).contains(&value.len()) && iterations <= MAX_BEACON_POWER;
    if is_fit { Ok(()) } else { Err(Fault::BeaconBounds) }
}

/// A person's name: one that prints on one line and cannot be taken for a beacon's.
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    let is_fit =
        (1..=MAX_NAME_BYTES).contains(&name.len()) && name.chars().all(is_shown) && name.trim() == name && !name.eq_ignore_ascii_case(BEACON);
    if is_fit { Ok(()) } else { Err(Fault::Name) }
}

/// False for what moves a terminal, starts a line, turns the direction of writing or cannot be seen.
fn is_shown(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Text of a file as it may be shown: whatever else it holds, it stays in its line.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|c| if is_shown(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

impl Record {
    pub(super) fn prove(
        name: &str,
        previous: Word,
        delta: (G1Affine, G2Affine),
        queries: Word,
        share: &Share,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Self {
        let d = share.value();
        let (delta_g1, delta_g2) = ((delta.0 * d).into_affine(), (delta.1 * d).into_affine());
        let s = (G1Affine::generator() * nonzero(rng)).into_affine();
        let proof = Proof::Knowledge { s, s_delta: (s * d).into_affine(), r_delta: G2Affine::identity() };
        let mut record = Self { name: name.to_owned(), previous, delta_g1, delta_g2, queries, proof };
        let r = record.challenge_point();
        if let Proof::Knowledge { r_delta, .. } = &mut record.proof {
            *r_delta = (r * d).into_affine();
        }
        record
    }

    pub(super) fn of_beacon(previous: Word, delta: (G1Affine, G2Affine), queries: Word, share: &Share, (value, iterations): (&[u8], u8)) -> Self {
        let (delta_g1, delta_g2) = ((delta.0 * share.value()).into_affine(), (delta.1 * share.value()).into_affine());
        let proof = Proof::Beacon { value: value.to_vec(), iterations };
        Self { name: BEACON.to_owned(), previous, delta_g1, delta_g2, queries, proof }
    }

    /// True for the share that ends a ceremony.
    pub fn is_beacon(&self) -> bool {
        matches!(self.proof, Proof::Beacon { .. })
    }

    /// True for the beacon of this value, hashed 2 to `iterations` times.
    pub fn is_beacon_of(&self, value: &[u8], iterations: u8) -> bool {
        self.proof == Proof::Beacon { value: value.to_vec(), iterations }
    }

    /// Value and power of a beacon.
    pub fn beacon(&self) -> Option<(&[u8], u8)> {
        match &self.proof {
            Proof::Beacon { value, iterations } => Some((value, *iterations)),
            Proof::Knowledge { .. } => None,
        }
    }

    /// The name fits the kind of the record.
    pub(super) fn check_name(&self) -> Result<(), Fault> {
        match self.is_beacon() {
            true if self.name == BEACON => Ok(()),
            true => Err(Fault::BeaconName),
            false => check_name(&self.name),
        }
    }

    /// What the proof is bound to: everything but `d r`.
    fn challenge(&self) -> Word {
        let mut hasher = Sha256::new();
        hasher.update(b"sheaf.ceremony.record");
        hasher.update(self.previous);
        hasher.update([self.name.len() as u8]);
        hasher.update(self.name.as_bytes());
        hasher.update(g1_words(&self.delta_g1).as_flattened());
        hasher.update(g2_words(&self.delta_g2).as_flattened());
        hasher.update(self.queries);
        match &self.proof {
            Proof::Knowledge { s, s_delta, .. } => {
                hasher.update([1]);
                hasher.update(g1_words(s).as_flattened());
                hasher.update(g1_words(s_delta).as_flattened());
            }
            Proof::Beacon { value, iterations } => {
                hasher.update([2, *iterations]);
                hasher.update(value);
            }
        }
        hasher.finalize().into()
    }

    /// r: nobody knows its logarithm.
    pub fn challenge_point(&self) -> G2Affine {
        hash_to_g2(&self.challenge())
    }

    /// What the next record is bound to.
    pub fn digest(&self) -> Word {
        let mut hasher = Sha256::new();
        hasher.update(b"sheaf.ceremony.done");
        hasher.update(self.challenge());
        if let Proof::Knowledge { r_delta, .. } = &self.proof {
            hasher.update(g2_words(r_delta).as_flattened());
        }
        hasher.finalize().into()
    }
}

fn nonzero(rng: &mut (impl RngCore + CryptoRng)) -> Fr {
    loop {
        let scalar = Fr::rand(rng);
        if !scalar.is_zero() {
            return scalar;
        }
    }
}

/// The first x = F(seed, 0), F(seed, 1), .. that is on the curve, with its cofactor cleared.
fn hash_to_g2(seed: &Word) -> G2Affine {
    for counter in 0u32.. {
        let coordinate = |part: u8| -> Fq {
            let mut hasher = Sha512::new();
            hasher.update(b"sheaf.ceremony.g2");
            hasher.update(seed);
            hasher.update(counter.to_be_bytes());
            hasher.update([part]);
            Fq::from_be_bytes_mod_order(&hasher.finalize())
        };
        let found = G2Affine::get_point_from_x_unchecked(Fq2::new(coordinate(0), coordinate(1)), false);
        if let Some(point) = found.map(|point| point.clear_cofactor()).filter(|point| !point.is_zero()) {
            return point;
        }
    }
    unreachable!("half of all x are on the curve")
}
