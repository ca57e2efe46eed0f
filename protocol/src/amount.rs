//! Amounts, decimal floats and the small integers that name things.
//!
//! Transfers carry a 36-bit mantissa and a 4-bit decimal exponent, fees a 12-bit mantissa and a 4-bit exponent; deposits and
//! withdrawals are whole integers below 2^112. The canonical float of a value uses the smallest exponent that represents it.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;

/// Bits of a transfer's mantissa.
pub const AMOUNT_MANTISSA_BITS: u32 = 36;
/// Bits of a fee's mantissa.
pub const FEE_MANTISSA_BITS: u32 = 12;
/// Bits of either decimal exponent.
pub const EXPONENT_BITS: u32 = 4;
/// Whole amounts (deposits, withdrawals, exits) are below `2^112`.
pub const WHOLE_AMOUNT_BITS: u32 = 112;
/// Balances are below `2^120`.
pub const BALANCE_BITS: u32 = 120;
/// Slot indices are below `2^24`.
pub const SLOT_BITS: u32 = 24;

/// Why a number is not one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// No mantissa and exponent of this width represent the value exactly.
    #[error("{value} has no exact {mantissa_bits}-bit decimal float; the nearest below is {below}")]
    Unrepresentable {
        /// What was asked for.
        value: u128,
        /// Width of the mantissa.
        mantissa_bits: u32,
        /// The largest representable value not above it.
        below: u128,
    },
    /// The number does not fit its width.
    #[error("number does not fit {bits} bits")]
    TooLarge {
        /// The width.
        bits: u32,
    },
    /// Not a plain decimal number.
    #[error("expected a decimal number without sign, leading zeros or spaces")]
    NotDecimal,
}

/// A whole quantity of a token's smallest unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u128);

/// Parses a strict decimal number below `2^bits`.
///
/// # Errors
/// [`AmountError::NotDecimal`] for anything but digits without leading zeros, [`AmountError::TooLarge`] beyond the width.
pub fn parse_decimal(text: &str, bits: u32) -> Result<u128, AmountError> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !plain {
        return Err(AmountError::NotDecimal);
    }
    let value: u128 = text.parse().map_err(|_| AmountError::TooLarge { bits })?;
    if bits < 128 && value >> bits != 0 {
        return Err(AmountError::TooLarge { bits });
    }
    Ok(value)
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_decimal(&text, 128).map(Amount).map_err(D::Error::custom)
    }
}

/// A decimal float with an `M`-bit mantissa and a 4-bit exponent; `packed = mantissa + 2^M exponent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DecimalFloat<const M: u32> {
    mantissa: u64,
    exponent: u8,
}

/// A transfer's amount: 40 bits packed.
pub type AmountFloat = DecimalFloat<AMOUNT_MANTISSA_BITS>;
/// A fee: 16 bits packed.
pub type FeeFloat = DecimalFloat<FEE_MANTISSA_BITS>;

impl<const M: u32> DecimalFloat<M> {
    /// The canonical float of `value`: smallest exponent.
    ///
    /// # Errors
    /// [`AmountError::Unrepresentable`] with the nearest representable value below.
    pub fn from_amount(value: Amount) -> Result<Self, AmountError> {
        let (mut mantissa, mut exponent) = (value.0, 0u8);
        while mantissa >> M != 0 && mantissa % 10 == 0 && exponent < 15 {
            mantissa /= 10;
            exponent += 1;
        }
        if mantissa >> M == 0 {
            return Ok(Self { mantissa: mantissa as u64, exponent });
        }
        Err(AmountError::Unrepresentable { value: value.0, mantissa_bits: M, below: Self::round_down(value).amount().0 })
    }

    /// The largest float not above `value`, with the smallest exponent that represents it.
    pub fn round_down(value: Amount) -> Self {
        let max = (1u128 << M) - 1;
        let (mut mantissa, mut exponent) = (value.0, 0u8);
        while mantissa > max && exponent < 15 {
            mantissa /= 10;
            exponent += 1;
        }
        if exponent > 0 && mantissa * 10 <= max {
            // just above the largest mantissa: that one is nearer than the next exponent's, whose steps are ten times as wide
            return Self { mantissa: max as u64, exponent: exponent - 1 };
        }
        Self { mantissa: mantissa.min(max) as u64, exponent }
    }

    /// From the packed form; every packed value below `2^(M+4)` is legal, canonical or not.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond the width.
    pub fn from_packed(packed: u64) -> Result<Self, AmountError> {
        if packed >> (M + EXPONENT_BITS) != 0 {
            return Err(AmountError::TooLarge { bits: M + EXPONENT_BITS });
        }
        Ok(Self { mantissa: packed & ((1 << M) - 1), exponent: (packed >> M) as u8 })
    }

    /// `mantissa + 2^M exponent`.
    pub fn packed(self) -> u64 {
        self.mantissa | (u64::from(self.exponent) << M)
    }

    /// The value: `mantissa * 10^exponent`, below 2^86.
    pub fn amount(self) -> Amount {
        Amount(u128::from(self.mantissa) * 10u128.pow(u32::from(self.exponent)))
    }

    /// The mantissa.
    pub fn mantissa(self) -> u64 {
        self.mantissa
    }

    /// The decimal exponent.
    pub fn exponent(self) -> u8 {
        self.exponent
    }
}

impl<const M: u32> Serialize for DecimalFloat<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.packed())
    }
}

impl<'de, const M: u32> Deserialize<'de> for DecimalFloat<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_packed(u64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Index of a slot in the state vector, below 2^24. Slot 0 is reserved and for ever empty. Nothing wider is read from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32")]
pub struct SlotId(pub u32);

impl TryFrom<u32> for SlotId {
    type Error = AmountError;

    fn try_from(index: u32) -> Result<Self, AmountError> {
        if index >> SLOT_BITS == 0 { Ok(Self(index)) } else { Err(AmountError::TooLarge { bits: SLOT_BITS }) }
    }
}

/// Token number; 0 means "empty slot", 1 is the native coin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub u16);

/// The native coin.
pub const NATIVE: TokenId = TokenId(1);

/// How many operations a slot has signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(pub u32);

/// An L1 address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(#[serde(with = "crate::field::bytes_hex")] pub [u8; 20]);

impl Address {
    /// The field element of the address.
    pub fn to_fr(self) -> crate::field::Fr {
        crate::field::address_to_fr(&self.0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::field::to_hex(&self.0))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! display_inner {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display_inner!(SlotId, TokenId, Nonce);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn canonical_float_uses_the_smallest_exponent() {
        let float = AmountFloat::from_amount(Amount(1000)).unwrap();
        assert_eq!((float.mantissa(), float.exponent()), (1000, 0));
        let big = AmountFloat::from_amount(Amount(10u128.pow(18))).unwrap();
        assert_eq!(big.amount(), Amount(10u128.pow(18)));
        assert!(big.mantissa() >= (1 << 36) / 10);
    }

    #[test]
    fn unrepresentable_names_the_value_below() {
        let error = AmountFloat::from_amount(Amount((1 << 36) + 1)).unwrap_err();
        assert_eq!(error, AmountError::Unrepresentable { value: (1 << 36) + 1, mantissa_bits: 36, below: 68719476735 });
    }

    #[test]
    fn decimal_text_is_strict() {
        for bad in ["", "01", "+1", "-1", "1.0", " 1", "1e3", "0x1"] {
            assert_eq!(parse_decimal(bad, 112), Err(AmountError::NotDecimal), "{bad}");
        }
        assert_eq!(parse_decimal("5192296858534827628530496329220096", 112), Err(AmountError::TooLarge { bits: 112 }));
        assert_eq!(parse_decimal("0", 24), Ok(0));
    }

    #[test]
    fn a_slot_index_of_24_bits_is_the_last_that_is_read() {
        assert_eq!(serde_json::from_str::<SlotId>("16777215").unwrap(), SlotId((1 << SLOT_BITS) - 1));
        assert_eq!(serde_json::to_string(&SlotId(7)).unwrap(), "7");
        let refused = serde_json::from_str::<SlotId>("16777216").unwrap_err();
        assert!(refused.to_string().contains("24 bits"), "{refused}");
    }

    /// Values just above the largest mantissa of an exponent, where the next one's steps are too wide.
    fn just_above_a_mantissa(bits: u32) -> impl Strategy<Value = u128> {
        (0u32..15, 0u128..20, 0u128..10).prop_map(move |(exponent, above, rest)| (((1 << bits) + above) * 10u128.pow(exponent)) + rest)
    }

    /// The largest of every exponent's nearest value below.
    fn best_below(value: u128, bits: u32) -> u128 {
        let below = |exponent| (value / 10u128.pow(exponent)).min((1 << bits) - 1) * 10u128.pow(exponent);
        (0..16).map(below).max().unwrap()
    }

    proptest! {
        #[test]
        fn rounding_down_is_the_best_below(value in prop_oneof![0u128..1 << 90, just_above_a_mantissa(36)]) {
            let float = AmountFloat::round_down(Amount(value));
            prop_assert_eq!(float.amount().0, best_below(value, 36));
            prop_assert_eq!(AmountFloat::from_amount(float.amount()), Ok(float), "canonical");
        }

        #[test]
        fn fees_round_down_to_the_best_below(value in prop_oneof![0u128..1 << 70, just_above_a_mantissa(12)]) {
            let float = FeeFloat::round_down(Amount(value));
            prop_assert_eq!(float.amount().0, best_below(value, 12));
            prop_assert_eq!(FeeFloat::from_amount(float.amount()), Ok(float), "canonical");
        }

        #[test]
        fn packed_round_trip(packed in 0u64..1 << 40) {
            let float = AmountFloat::from_packed(packed).unwrap();
            prop_assert_eq!(float.packed(), packed);
            let canonical = AmountFloat::from_amount(float.amount()).unwrap();
            prop_assert_eq!(canonical.amount(), float.amount());
            prop_assert!(canonical.exponent() <= float.exponent());
        }
    }
}
