//! Field elements, 32-byte words and the keccak hash that L1 shares with us.
//!
//! A *word* is 32 bytes big-endian, as the EVM sees it. Decoding a word into a field element is strict: two byte strings
//! never mean one element.

use ark_ff::{BigInteger, Field, PrimeField};
use serde::{Deserialize, Deserializer, Serializer, de::Error as _};
use sha3::{Digest, Keccak256};

pub use ark_bn254::{Fq, Fr, G1Affine, G2Affine};

/// Thirty-two bytes, big-endian: one EVM word.
pub type Word = [u8; 32];

/// `2^k` as a field element.
pub fn pow2(k: u64) -> Fr {
    Fr::from(2u64).pow([k])
}

/// Big-endian canonical bytes of a field element.
pub fn to_word<F: PrimeField>(value: F) -> Word {
    let mut word = [0u8; 32];
    let bytes = value.into_bigint().to_bytes_be();
    word[32 - bytes.len()..].copy_from_slice(&bytes);
    word
}

/// The element that `word` names, or `None` if the word is not below the modulus.
pub fn from_word<F: PrimeField>(word: &Word) -> Option<F> {
    let value = F::from_be_bytes_mod_order(word);
    (to_word(value) == *word).then_some(value)
}

/// A word holding a small integer.
pub fn word_u128(value: u128) -> Word {
    let mut word = [0u8; 32];
    word[16..].copy_from_slice(&value.to_be_bytes());
    word
}

/// A word holding an address in its low 20 bytes.
pub fn word_address(address: &[u8; 20]) -> Word {
    let mut word = [0u8; 32];
    word[12..].copy_from_slice(address);
    word
}

/// The field element of an address (always below the modulus).
pub fn address_to_fr(address: &[u8; 20]) -> Fr {
    Fr::from_be_bytes_mod_order(address)
}

/// keccak256 of bytes.
pub fn keccak(bytes: &[u8]) -> Word {
    Keccak256::digest(bytes).into()
}

/// keccak256 of `abi.encode` of static words.
pub fn keccak_words(words: &[Word]) -> Word {
    let mut hasher = Keccak256::new();
    for word in words {
        hasher.update(word);
    }
    hasher.finalize().into()
}

/// `H(tag, words..)` of the protocol: keccak256 of the left-aligned ASCII tag and the words, top byte cleared so that it fits `Fr`.
///
/// # Panics
/// If the tag is longer than 32 bytes: tags are constants of this crate.
pub fn hash_to_field(tag: &str, words: &[Word]) -> Fr {
    let mut head = [0u8; 32];
    head[..tag.len()].copy_from_slice(tag.as_bytes());
    let mut hasher = Keccak256::new();
    hasher.update(head);
    for word in words {
        hasher.update(word);
    }
    let mut digest: Word = hasher.finalize().into();
    digest[0] = 0;
    Fr::from_be_bytes_mod_order(&digest)
}

/// Affine coordinates of a G1 point as two words; the identity is (0, 0).
pub fn g1_words(point: &G1Affine) -> [Word; 2] {
    use ark_ec::AffineRepr;
    match point.xy() {
        Some((x, y)) => [to_word(x), to_word(y)],
        None => [[0u8; 32]; 2],
    }
}

/// The G1 point of two words, or `None` if a coordinate is not canonical or the point is off the curve.
pub fn g1_from_words(words: &[Word; 2]) -> Option<G1Affine> {
    if words == &[[0u8; 32]; 2] {
        return Some(G1Affine::identity());
    }
    let (x, y) = (from_word(&words[0])?, from_word(&words[1])?);
    let point = G1Affine::new_unchecked(x, y);
    point.is_on_curve().then_some(point)
}

/// Coordinates of a G2 point in EIP-197 order: x.c1, x.c0, y.c1, y.c0. The identity is all zero.
pub fn g2_words(point: &G2Affine) -> [Word; 4] {
    use ark_ec::AffineRepr;
    match point.xy() {
        Some((x, y)) => [to_word(x.c1), to_word(x.c0), to_word(y.c1), to_word(y.c0)],
        None => [[0u8; 32]; 4],
    }
}

/// The G2 point of four words in EIP-197 order, or `None` if a coordinate is not canonical or the point is off the curve or outside its group.
pub fn g2_from_words(words: &[Word; 4]) -> Option<G2Affine> {
    if words == &[[0u8; 32]; 4] {
        return Some(G2Affine::identity());
    }
    let [x1, x0, y1, y0] = words.map(|word| from_word::<Fq>(&word));
    let point = G2Affine::new_unchecked(ark_bn254::Fq2::new(x0?, x1?), ark_bn254::Fq2::new(y0?, y1?));
    (point.is_on_curve() && point.is_in_correct_subgroup_assuming_on_curve()).then_some(point)
}

/// Serde form of a field element: `0x` and 64 hex digits, strict.
pub mod fr_hex {
    use super::*;

    /// Writes the element as 0x hex.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(value: &Fr, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(&to_word(*value)))
    }

    /// Reads 0x hex of a canonical element.
    ///
    /// # Errors
    /// If the text is not 0x and 64 hex digits, or not below the modulus.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fr, D::Error> {
        let text = String::deserialize(deserializer)?;
        let word: Word = from_hex(&text).ok_or_else(|| D::Error::custom("expected 0x and 64 hex digits"))?;
        from_word(&word).ok_or_else(|| D::Error::custom("field element not below the modulus"))
    }
}

/// Serde form of fixed byte arrays: `0x` hex.
pub mod bytes_hex {
    use super::*;

    /// Writes the bytes as 0x hex.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer, const N: usize>(value: &[u8; N], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(value))
    }

    /// Reads 0x hex of exactly `N` bytes.
    ///
    /// # Errors
    /// If the text is not 0x hex of exactly `N` bytes.
    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text).ok_or_else(|| D::Error::custom(format!("expected 0x and {} hex digits", 2 * N)))
    }
}

/// `0x` and lower-case hex.
pub fn to_hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// Exactly `N` bytes from `0x` hex.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0u8; N];
    hex::decode_to_slice(text.strip_prefix("0x")?, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_word_at_or_above_the_modulus_is_refused() {
        let modulus: Word = {
            let bytes = Fr::MODULUS.to_bytes_be();
            bytes.try_into().unwrap()
        };
        assert_eq!(from_word::<Fr>(&modulus), None);
        assert_eq!(from_word::<Fr>(&[0xff; 32]), None);
        assert_eq!(from_word::<Fr>(&to_word(-Fr::from(1u64))), Some(-Fr::from(1u64)));
    }

    #[test]
    fn hash_fits_31_bytes() {
        assert_eq!(to_word(hash_to_field("rho", &[[7; 32]]))[0], 0);
    }
}
