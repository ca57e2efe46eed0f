//! Gas of a transaction, calldata and execution apart.
//!
//! EIP-7623: a transaction pays 21,000 plus the larger of (4 a token + execution) and (10 a token), where a zero byte of calldata is one
//! token and any other byte is four. When the floor wins, execution is free and the whole charge is calldata's.

use serde::{Deserialize, Serialize};

/// Intrinsic gas of any transaction.
pub const TRANSACTION_GAS: u64 = 21_000;
/// The most gas that one transaction may have (EIP-7825).
pub(crate) const MAX_TRANSACTION_GAS: u64 = 1 << 24;
/// Standard price of a calldata token (EIP-2028: 4 a zero byte, 16 any other).
pub const STANDARD_TOKEN_GAS: u64 = 4;
/// Floor price of a calldata token (EIP-7623).
pub const FLOOR_TOKEN_GAS: u64 = 10;

/// What one mined transaction cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gas {
    /// As the receipt says.
    pub used: u64,
    /// Share that calldata paid.
    pub calldata: u64,
    /// The rest, without the 21,000 of every transaction; zero where the floor won.
    pub execution: u64,
    /// True if the calldata floor set the price.
    pub at_floor: bool,
}

/// Calldata tokens of EIP-7623.
pub fn calldata_tokens(data: &[u8]) -> u64 {
    let zeros = data.iter().filter(|&&byte| byte == 0).count() as u64;
    zeros + 4 * (data.len() as u64 - zeros)
}

impl Gas {
    /// Splits `used` of a call (not a creation) that carried `data`.
    pub fn split(used: u64, data: &[u8]) -> Self {
        let tokens = calldata_tokens(data);
        let at_floor = tokens > 0 && used == TRANSACTION_GAS + FLOOR_TOKEN_GAS * tokens;
        let calldata = tokens * if at_floor { FLOOR_TOKEN_GAS } else { STANDARD_TOKEN_GAS };
        Self { used, calldata, execution: used.saturating_sub(TRANSACTION_GAS + calldata), at_floor }
    }
}

/// The least gas limit with which a node takes a transaction carrying `data`.
pub(crate) fn floor_gas(data: &[u8]) -> u64 {
    TRANSACTION_GAS + FLOOR_TOKEN_GAS * calldata_tokens(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_and_floor_prices_are_told_apart() {
        let data = [0, 0, 1, 2, 3];
        assert_eq!(calldata_tokens(&data), 14);
        assert_eq!(Gas::split(50_000, &data), Gas { used: 50_000, calldata: 56, execution: 28_944, at_floor: false });
        assert_eq!(Gas::split(21_140, &data), Gas { used: 21_140, calldata: 140, execution: 0, at_floor: true });
    }
}
