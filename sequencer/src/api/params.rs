//! Parameters of requests, as strict as bodies: every one known, none twice, numbers decimal.

use crate::problem::{Code, Problem, echo};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use sheaf_protocol::amount::parse_decimal;
use sheaf_protocol::field::{Fr, from_hex, from_word};

/// The one variable part of a path.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(text)| Self(text)).map_err(|error| Problem::new(Code::InvalidParameter, error.to_string()))
    }
}

/// The query of a request.
pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::try_from_uri(&parts.uri).map_err(|error| Problem::new(Code::InvalidParameter, echo(&error.to_string())))?;
        Ok(Self(query.0))
    }
}

impl Params {
    /// Refuses parameters that are not in `known` or come twice.
    pub(super) fn check(&self, known: &[&str]) -> Result<(), Problem> {
        for (i, (name, _)) in self.0.iter().enumerate() {
            if !known.contains(&name.as_str()) || self.0[..i].iter().any(|(earlier, _)| earlier == name) {
                let problem = Problem::new(Code::InvalidParameter, format!("parameter {:?} is unknown or comes twice", echo(name))).field(name);
                return Err(problem.hint(format!("parameters: {}", known.join(", "))));
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn number(&self, name: &str, bits: u32) -> Result<Option<u64>, Problem> {
        self.get(name).map(|text| number(name, text, bits)).transpose()
    }

    /// The length of a page: 50 unless told, at most `max`.
    pub(super) fn limit(&self, max: u64) -> Result<u64, Problem> {
        match self.number("limit", 16)? {
            Some(limit) if limit == 0 || limit > max => Err(Problem::new(Code::InvalidParameter, format!("limit is from 1 to {max}")).field("limit")),
            limit => Ok(limit.unwrap_or(50).min(max)),
        }
    }

    pub(super) fn bytes<const N: usize>(&self, name: &str) -> Result<Option<[u8; N]>, Problem> {
        self.get(name).map(|text| bytes(name, text)).transpose()
    }

    /// A field element, decimal or 0x hex of 32 bytes.
    pub(super) fn element(&self, name: &str) -> Result<Option<Fr>, Problem> {
        self.get(name).map(|text| element(name, text)).transpose()
    }
}

/// A decimal number below `2^bits`, at most 64 of them.
pub(super) fn number(name: &str, text: &str, bits: u32) -> Result<u64, Problem> {
    parse_decimal(text, bits).map(|value| value as u64).map_err(|error| Problem::number(name, &error))
}

pub(super) fn bytes<const N: usize>(name: &str, text: &str) -> Result<[u8; N], Problem> {
    from_hex(text).ok_or_else(|| Problem::new(Code::InvalidHex, format!("expected 0x and {} hex digits", 2 * N)).field(name))
}

fn element(name: &str, text: &str) -> Result<Fr, Problem> {
    if text.starts_with("0x") {
        let word = bytes(name, text)?;
        return from_word(&word).ok_or_else(|| Problem::new(Code::NumberTooLarge, "not below the field modulus").field(name));
    }
    if text.is_empty() || text.len() > 77 || !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Problem::new(Code::InvalidNumber, "expected a decimal field element or 0x and 64 hex digits").field(name));
    }
    let value = text.bytes().fold(Fr::from(0u64), |value, digit| value * Fr::from(10u64) + Fr::from(digit - b'0'));
    if value.to_string() == text { Ok(value) } else { Err(Problem::new(Code::NumberTooLarge, "not a canonical field element").field(name)) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn elements_read_in_both_forms_and_only_canonical() {
        assert_eq!(element("key", "258").unwrap(), Fr::from(258u64));
        assert_eq!(element("key", &format!("0x{}0102", "00".repeat(30))).unwrap(), Fr::from(258u64));
        assert_eq!(element("key", "0").unwrap(), Fr::from(0u64));
        let modulus = "21888242871839275222246405745257275088548364400416034343698204186575808495617";
        for (bad, code) in [(modulus, Code::NumberTooLarge), ("01", Code::NumberTooLarge), ("-1", Code::InvalidNumber), ("0x12", Code::InvalidHex)] {
            assert_eq!(element("key", bad).unwrap_err().code, code, "{bad}");
        }
    }
}
