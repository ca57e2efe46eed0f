//! Values on the command line of a wallet, each refused with what would be taken.

use sheaf_protocol::amount::{Address, Amount, SlotId, TokenId};
use sheaf_protocol::field::{Fr, from_hex, from_word};
use std::str::FromStr;

pub(crate) fn token(text: &str) -> Result<TokenId, String> {
    text.parse().ok().filter(|number| *number != 0).map(TokenId).ok_or_else(|| "a token number from 1 to 65535".to_owned())
}

pub(crate) fn slot(text: &str) -> Result<SlotId, String> {
    text.parse().ok().filter(|number| (1..1 << 24).contains(number)).map(SlotId).ok_or_else(|| "a slot number from 1 to 16777215".to_owned())
}

pub(crate) fn address(text: &str) -> Result<Address, String> {
    from_hex(text).map(Address).ok_or_else(|| "0x and 40 hex digits".to_owned())
}

pub(crate) fn key(text: &str) -> Result<Fr, String> {
    from_hex(text).and_then(|word| from_word(&word)).ok_or_else(|| "0x and 64 hex digits below the field's modulus".to_owned())
}

/// A whole number of the smallest unit, or a decimal with `gwei` or `ether`.
pub(crate) fn amount(text: &str) -> Result<Amount, String> {
    let wrong = || "a whole number of the smallest unit, or like 0.5ether, 3gwei".to_owned();
    let units = [("ether", 18usize), ("gwei", 9)];
    let (digits, decimals) = units.iter().find_map(|(unit, decimals)| Some((text.strip_suffix(unit)?.trim_end(), *decimals))).unwrap_or((text, 0));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > decimals {
        return Err(wrong());
    }
    u128::from_str(&format!("{whole}{fraction:0<decimals$}")).map(Amount).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        assert_eq!(amount("5"), Ok(Amount(5)));
        assert_eq!(amount("0.5ether"), Ok(Amount(500_000_000_000_000_000)));
        assert_eq!(amount("1 ether"), Ok(Amount(1_000_000_000_000_000_000)));
        assert_eq!(amount("1.000000000000000001ether"), Ok(Amount(1_000_000_000_000_000_001)));
        assert_eq!(amount("3gwei"), Ok(Amount(3_000_000_000)));
        for bad in ["", "-1", "+1", "1.5", ".5ether", "1e3", "0.0000000000000000001ether", "0x5", "1,5ether", &"9".repeat(50)] {
            assert!(amount(bad).is_err(), "{bad}");
        }
    }
}
