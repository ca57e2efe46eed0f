//! Bearer tokens of workers and operators. The configuration holds SHA-256 digests, so that a leaked configuration opens nothing;
//! comparison takes the same time wherever it fails. A token has one role: a worker's orders nothing, an operator's proves nothing.

use crate::gateway::{GatewayConfig, GatewayError};
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

/// A token of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorToken {
    /// Whose it is: the name in the audit log.
    pub name: String,
    /// SHA-256 of the token.
    pub hash: TokenHash,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    #[error("a token is asked for here")]
    Missing,
    #[error("this token is not known here")]
    Wrong,
}

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller<'a> {
    /// One of the workers.
    Worker,
    /// The operator of that name.
    Operator(&'a str),
}

/// Whose token a request carries. Every known hash is compared, whichever matches.
pub(crate) fn identify<'a>(headers: &HeaderMap, config: &'a GatewayConfig) -> Result<Caller<'a>, GatewayError> {
    let hash = TokenHash::of(bearer(headers).ok_or(GatewayError::Auth(AuthError::Missing))?);
    let worker = config.tokens.iter().fold(Choice::from(0), |found, other| found | hash.0.ct_eq(&other.0));
    let operators = config.operators.iter().map(|known| (bool::from(hash.0.ct_eq(&known.hash.0)), known.name.as_str()));
    let operator = operators.fold(None, |found, (same, name)| if same { Some(name) } else { found });
    match (bool::from(worker), operator) {
        (true, _) => Ok(Caller::Worker),
        (false, Some(name)) => Ok(Caller::Operator(name)),
        (false, None) => Err(GatewayError::Auth(AuthError::Wrong)),
    }
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
    fn only_a_known_token_gets_in_and_in_its_role() {
        let [token, other, operator] = [(); 3].map(|()| new_token());
        let config = GatewayConfig {
            operators: vec![OperatorToken { name: "alice".into(), hash: TokenHash::of(&operator) }],
            ..GatewayConfig::new(vec![TokenHash::of(&other), TokenHash::of(&token)])
        };
        let who = |value: &str| identify(&headers(value), &config).map_err(|error| error.code().0);
        assert_eq!(who(&format!("Bearer {token}")), Ok(Caller::Worker));
        assert_eq!(who(&format!("bearer {token}")), Ok(Caller::Worker));
        assert_eq!(who(&format!("Bearer {operator}")), Ok(Caller::Operator("alice")));
        assert_eq!(who(&format!("Bearer {}", new_token())), Err("token_wrong"));
        for value in ["Bearer", "Bearer ", &token, &format!("Basic {token}")] {
            assert_eq!(who(value), Err("token_missing"), "{value}");
        }
        assert!(identify(&HeaderMap::new(), &config).is_err());
        assert!(identify(&headers(&format!("Bearer {token}")), &GatewayConfig::new(vec![])).is_err());
    }

    #[test]
    fn a_hash_survives_its_text() {
        let hash = TokenHash::of("secret");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!("12".parse::<TokenHash>(), Err(TokenHashError));
    }
}
