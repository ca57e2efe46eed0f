//! Schnorr signatures on Grumpkin with a 128-bit challenge: keys, signing, strict verification, the circuit's witness.
//!
//! ```text
//! key      sk != 0, A = sk G with even y (else sk := q - sk); public key = A.x
//! sign     k = HMAC-SHA512(sk; domain, op_tag, A.x, m, random) mod q, R = k G, e = Poseidon_4(domain + op_tag; R.x, A.x, m),
//!          S = k - c sk
//! verify   S < q, A.x and R.x < r, A and R on the curve, R == S G + c A with the parity of R.y that the signature states
//! ```
//!
//! Elements here are canonical by type: bytes at or above a modulus are refused by [`Signature::from_bytes`]. Verification fails
//! with [`SignatureError`] and never panics on input from outside. Proving needs more than verifying: [`witness`] also finds the
//! windows of `S` ([`recode`]), and verifies on the way. One signature: [`verify`]. Many, of which most are good: [`verify_many`].
//! Many that are to be proved: [`admit_many`]. Signing is not constant-time: it must not share a core with an attacker.

mod batch;
mod challenge;
mod recode;
mod sqrt;

pub use batch::{Check, admit_many, verify_many};
pub use challenge::{BETA, BETA_SQUARED, CHALLENGE_DIGITS, Challenge, LAMBDA, challenge, challenge_hash, endomorphism};
pub use recode::{Digit, LATTICE_VECTOR, REPRESENTATIVES, UNITS, WINDOWS, recode, windows};

pub use ark_grumpkin::{Affine, Fr as Scalar, Projective};

use crate::field::{Fr, Word, from_hex, from_word, hash_to_field, to_hex, to_word};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{BigInteger, Field, PrimeField, Zero};
use hmac::{Hmac, Mac, digest::generic_array::GenericArray};
use rand::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};
use sha2::Sha512;
use zeroize::{Zeroize, Zeroizing};

/// Bit of the first byte of a signature that states the parity of R.y.
const PARITY_BIT: u8 = 0x80;
/// Block size of SHA-512: an HMAC key of this length is used as it is.
const HMAC_BLOCK_BYTES: usize = 128;
/// HMAC key that separates seeds of secret keys from other uses of the same bytes.
const SEED_LABEL: &[u8] = b"sheaf.key";

/// Why a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The S part is not below the group order.
    #[error("signature part S is not below the order of Grumpkin")]
    ScalarNotReduced,
    /// The x-coordinate of R is not below the field modulus.
    #[error("signature part R.x is not below the field modulus")]
    CoordinateNotReduced,
    /// No point of the curve has the public key as its x-coordinate.
    #[error("public key is not the x-coordinate of a Grumpkin point")]
    KeyOffCurve,
    /// No point of the curve has R.x as its x-coordinate.
    #[error("signature part R.x is not the x-coordinate of a Grumpkin point")]
    ROffCurve,
    /// R is not S G + c A.
    #[error("signature does not match key, message, operation and domain")]
    Forged,
    /// The signature is good, but no recoding of S avoids an exceptional addition.
    #[error("signature is valid but cannot be proved: sign again with another nonce")]
    Unprovable,
}

/// Why bytes are not a secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("secret key must be in 1..q, q the order of Grumpkin")]
pub struct SecretKeyError;

/// A public key: the x-coordinate of a point, which stands for the point with even y.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKey(#[serde(with = "crate::field::fr_hex")] pub Fr);

/// A secret key, normalised so that its point has even y. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct SecretKey {
    scalar: Scalar,
    public: PublicKey,
}

/// A signature: R by its x-coordinate and the parity of its y, and S. 64 bytes: R.x big-endian with the parity in its top bit, S.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature {
    /// x-coordinate of R.
    pub r_x: Fr,
    /// Whether R.y is odd.
    pub r_y_odd: bool,
    /// The response.
    pub s: Scalar,
}

/// All that the circuit needs to prove one signature; sums and slopes follow from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigWitness {
    /// Public key.
    pub a_x: Fr,
    /// Its even y-coordinate.
    pub a_y: Fr,
    /// x-coordinate of R.
    pub r_x: Fr,
    /// The challenge hash, `h0 + 2^64 h1 + 2^128 g`.
    pub e: Fr,
    /// Signs of the challenge digits.
    pub h0: u64,
    /// Endomorphism bits of the challenge digits.
    pub h1: u64,
    /// The rest of `e`, below 2^126.
    pub g: u128,
    /// The point added in each window, from the lowest.
    pub windows: [Affine; WINDOWS],
}

impl SecretKey {
    /// The key of a big-endian scalar; a key whose point has odd y is replaced by its negative.
    ///
    /// # Errors
    /// If the scalar is zero or not below the group order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SecretKeyError> {
        from_word(bytes).ok_or(SecretKeyError).and_then(Self::normalised)
    }

    /// The key of a seed: `HMAC-SHA512("sheaf.key"; seed) mod q`.
    ///
    /// # Errors
    /// If the result is zero, which no known seed gives.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, SecretKeyError> {
        Self::normalised(hmac_to_scalar(SEED_LABEL, &[seed]).0)
    }

    /// A fresh key.
    pub fn generate(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        loop {
            let mut seed = Zeroizing::new([0u8; 32]);
            rng.fill_bytes(&mut *seed);
            if let Ok(key) = Self::from_seed(&seed) {
                return key;
            }
        }
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The normalised scalar, big-endian, for a key file. Whoever has it can spend.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(to_word(self.scalar))
    }

    fn normalised(scalar: Scalar) -> Result<Self, SecretKeyError> {
        if scalar.is_zero() { Err(SecretKeyError) } else { Ok(Self::of_nonzero(scalar)) }
    }

    fn of_nonzero(scalar: Scalar) -> Self {
        let point = recode::multiply_generator(scalar).into_affine();
        Self { scalar: if is_odd(point.y) { -scalar } else { scalar }, public: PublicKey(point.x) }
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.scalar.zeroize();
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Signature {
    /// The 64 bytes.
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0u8; 64];
        bytes[..32].copy_from_slice(&to_word(self.r_x));
        bytes[0] |= if self.r_y_odd { PARITY_BIT } else { 0 };
        bytes[32..].copy_from_slice(&to_word(self.s));
        bytes
    }

    /// Reads 64 bytes; no two byte strings are one signature.
    ///
    /// # Errors
    /// [`SignatureError::CoordinateNotReduced`] or [`SignatureError::ScalarNotReduced`].
    pub fn from_bytes(bytes: &[u8; 64]) -> Result<Self, SignatureError> {
        let (mut r_x, mut s): (Word, Word) = ([0; 32], [0; 32]);
        r_x.copy_from_slice(&bytes[..32]);
        s.copy_from_slice(&bytes[32..]);
        r_x[0] &= !PARITY_BIT;
        Ok(Self {
            r_x: from_word(&r_x).ok_or(SignatureError::CoordinateNotReduced)?,
            r_y_odd: bytes[0] & PARITY_BIT != 0,
            s: from_word(&s).ok_or(SignatureError::ScalarNotReduced)?,
        })
    }

    /// Whether `point` is the R that this signature states.
    fn states(&self, point: Projective) -> bool {
        let point = point.into_affine();
        !point.is_zero() && point.x == self.r_x && is_odd(point.y) == self.r_y_odd
    }

    /// What to say of a signature whose R did not come out.
    fn refused(&self) -> SignatureError {
        point_at(self.r_x, self.r_y_odd).map_or(SignatureError::ROffCurve, |_| SignatureError::Forged)
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> Self {
        to_hex(&signature.to_bytes())
    }
}

impl TryFrom<String> for Signature {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = from_hex(&text).ok_or("expected 0x and 128 hex digits")?;
        Self::from_bytes(&bytes).map_err(|error| error.to_string())
    }
}

/// Signs a message. `random` may be anything, even zeros: the nonce is secret and unique by the key and the message alone; fresh
/// randomness guards against faults.
pub fn sign(key: &SecretKey, domain: Fr, op_tag: u8, m: Fr, random: &[u8; 32]) -> Signature {
    let a_x = key.public.0;
    let nonce = nonce(key, domain, op_tag, m, random);
    let r = recode::multiply_generator(*nonce).into_affine();
    let e = challenge_hash(domain, op_tag, r.x, a_x, m);
    Signature { r_x: r.x, r_y_odd: is_odd(r.y), s: *nonce - challenge(e).scalar * key.scalar }
}

/// Checks one signature.
///
/// # Errors
/// [`SignatureError::KeyOffCurve`], [`SignatureError::ROffCurve`] or [`SignatureError::Forged`].
pub fn verify(pk: Fr, domain: Fr, op_tag: u8, m: Fr, signature: &Signature) -> Result<(), SignatureError> {
    let (a, challenge) = (key_point(pk)?, challenge(challenge_hash(domain, op_tag, signature.r_x, pk, m)));
    let r = recode::multiply_generator(signature.s) + challenge.multiply(a);
    if signature.states(r) { Ok(()) } else { Err(signature.refused()) }
}

/// Checks one signature and prepares its proof, for little more than the check alone.
///
/// # Errors
/// As [`verify`], and [`SignatureError::Unprovable`].
pub fn witness(pk: Fr, domain: Fr, op_tag: u8, m: Fr, signature: &Signature) -> Result<SigWitness, SignatureError> {
    let a = key_point(pk)?;
    let e = challenge_hash(domain, op_tag, signature.r_x, pk, m);
    let challenge = challenge(e);
    let start = challenge.multiply(a);
    let Some((digits, r)) = recode::chain(signature.s, start) else {
        verify(pk, domain, op_tag, m, signature)?;
        return Err(SignatureError::Unprovable);
    };
    if !signature.states(r) {
        return Err(signature.refused());
    }
    Ok(SigWitness {
        a_x: a.x,
        a_y: a.y,
        r_x: signature.r_x,
        e,
        h0: challenge.h0,
        h1: challenge.h1,
        g: high_half(e),
        windows: std::array::from_fn(|window| digits[window].point(window)),
    })
}

/// The signature in unused slots: by the known secret key `H("sheaf.dummy")`, with zeros for random bytes; the same everywhere.
pub fn dummy(domain: Fr, op_tag: u8, m: Fr) -> (PublicKey, Signature) {
    let scalar = Scalar::from_be_bytes_mod_order(&to_word(hash_to_field("sheaf.dummy", &[])));
    let key = SecretKey::of_nonzero(scalar);
    (key.public, sign(&key, domain, op_tag, m, &[0; 32]))
}

/// True if somebody could hold this key: it is the x-coordinate of a Grumpkin point.
pub fn is_key(x: Fr) -> bool {
    key_point(x).is_ok()
}

/// The point of a public key: the one with even y.
fn key_point(pk: Fr) -> Result<Affine, SignatureError> {
    point_at(pk, false).ok_or(SignatureError::KeyOffCurve)
}

/// The point with this x-coordinate and parity of y. No point has y = 0, so the two roots differ in parity.
fn point_at(x: Fr, y_odd: bool) -> Option<Affine> {
    let y = sqrt::sqrt(x.square() * x - Fr::from(17u64))?;
    Some(Affine::new_unchecked(x, if is_odd(y) == y_odd { y } else { -y }))
}

fn is_odd(value: Fr) -> bool {
    value.into_bigint().is_odd()
}

/// Bits 128 and up.
fn high_half(e: Fr) -> u128 {
    let limbs = e.into_bigint().0;
    u128::from(limbs[2]) | u128::from(limbs[3]) << 64
}

/// `k`: HMAC-SHA512 under the key of domain, op_tag (one byte), A.x, m and the random bytes, modulo q. Should it be zero, the first
/// half of the digest takes the place of the random bytes.
fn nonce(key: &SecretKey, domain: Fr, op_tag: u8, m: Fr, random: &[u8; 32]) -> Zeroizing<Scalar> {
    let secret = key.to_bytes();
    let (domain, a_x, m) = (to_word(domain), to_word(key.public.0), to_word(m));
    let mut random = *random;
    loop {
        let (scalar, digest) = hmac_to_scalar(&*secret, &[&domain, &[op_tag], &a_x, &m, &random]);
        if !scalar.is_zero() {
            return Zeroizing::new(scalar);
        }
        random.copy_from_slice(&digest[..32]);
    }
}

/// HMAC-SHA512 of the parts, as a big-endian number modulo q and as bytes. `key` is at most a block long.
fn hmac_to_scalar(key: &[u8], parts: &[&[u8]]) -> (Scalar, Zeroizing<[u8; 64]>) {
    let mut block = Zeroizing::new([0u8; HMAC_BLOCK_BYTES]);
    block[..key.len()].copy_from_slice(key);
    let mut mac = <Hmac<Sha512> as hmac::digest::KeyInit>::new(GenericArray::from_slice(&*block));
    parts.iter().for_each(|part| mac.update(part));
    let digest: Zeroizing<[u8; 64]> = Zeroizing::new(mac.finalize().into_bytes().into());
    (Scalar::from_be_bytes_mod_order(&*digest), digest)
}
