//! Bearer tokens of workers. The configuration holds SHA-256 digests, so that a leaked configuration opens nothing;
//! comparison takes the same time wherever it fails.

use axum::http::{HeaderMap, header};
use rand::RngCore;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use subtle::{Choice, ConstantTimeEq};

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// The longest header that is looked at, in bytes.
const MAX_HEADER_BYTES: usize = 512;

/// SHA-256 of a bearer token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

/// The text is not a token's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the SHA-256 of a token as 64 hex digits")]
pub struct TokenHashError;

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl FromStr for TokenHash {
    type Err = TokenHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut hash = [0u8; 32];
        hex::decode_to_slice(text.trim(), &mut hash).map_err(|_| TokenHashError)?;
        Ok(Self(hash))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A fresh token from the operating system's randomness, as 64 hex digits.
pub fn new_token() -> String {
    let mut bytes = [0u8; TOKEN_BYTES];
    rand::rngs::OsRng.fill_bytes(&mut bytes);
    hex::encode(bytes)
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    #[error("send the worker's token as `Authorization: Bearer <token>`")]
    Missing,
    #[error("this token is not known here")]
    Wrong,
}

/// Lets a request in if its token is one of `known`.
pub(crate) fn authorize(headers: &HeaderMap, known: &[TokenHash]) -> Result<(), AuthError> {
    let token = bearer(headers).ok_or(AuthError::Missing)?;
    let hash = TokenHash::of(token);
    let found = known.iter().fold(Choice::from(0), |found, other| found | hash.0.ct_eq(&other.0));
    if bool::from(found) { Ok(()) } else { Err(AuthError::Wrong) }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION).filter(|value| value.len() <= MAX_HEADER_BYTES)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token.trim())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use axum::http::HeaderValue;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn only_a_known_token_gets_in() {
        let (token, other) = (new_token(), new_token());
        let known = [TokenHash::of(&other), TokenHash::of(&token)];
        assert_eq!(authorize(&headers(&format!("Bearer {token}")), &known), Ok(()));
        assert_eq!(authorize(&headers(&format!("bearer {token}")), &known), Ok(()));
        assert_eq!(authorize(&headers(&format!("Bearer {}", new_token())), &known), Err(AuthError::Wrong));
        assert_eq!(authorize(&headers(&format!("Bearer {token}")), &[]), Err(AuthError::Wrong));
        for value in ["Bearer", "Bearer ", &token, &format!("Basic {token}")] {
            assert_eq!(authorize(&headers(value), &known), Err(AuthError::Missing), "{value}");
        }
        assert_eq!(authorize(&HeaderMap::new(), &known), Err(AuthError::Missing));
    }

    #[test]
    fn a_hash_survives_its_text() {
        let hash = TokenHash::of("secret");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!("12".parse::<TokenHash>(), Err(TokenHashError));
    }
}
