//! Why the contract said no: revert data read back into the name of the contract's own error.

use crate::abi::ROLLUPCONTRACT_ABI;
use crate::rpc::RpcError;
use ethers_core::abi::{AbiDecode, Token};
use ethers_core::utils::keccak256;
use std::fmt;

/// A revert, as the contract meant it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revert {
    /// Name of the custom error, `Error` for a reason string, `Panic` for a failed assertion, `Unknown` otherwise.
    pub name: String,
    /// Its arguments, or the raw data in hex, for people.
    pub detail: String,
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name, self.detail)
    }
}

/// Selector of Solidity's `Error(string)`.
const REASON: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
/// Selector of Solidity's `Panic(uint256)`.
const PANIC: [u8; 4] = [0x4e, 0x48, 0x7b, 0x71];

/// The contract's errors for what nothing is left to do of.
const DONE_ALREADY: [&str; 3] = ["NothingToProve", "NothingToSettle", "NothingToRefund"];

impl Revert {
    /// True if somebody did it before.
    pub fn is_done_already(&self) -> bool {
        DONE_ALREADY.contains(&self.name.as_str())
    }

    /// Reads revert data.
    pub fn decode(data: &[u8]) -> Self {
        let Some((selector, arguments)) = data.split_first_chunk::<4>() else {
            return Self { name: "Unknown".into(), detail: hex::encode(data) };
        };
        match *selector {
            REASON => Self { name: "Error".into(), detail: String::decode(arguments).unwrap_or_default() },
            PANIC => Self { name: "Panic".into(), detail: hex::encode(arguments.last_chunk::<1>().unwrap_or(&[0])) },
            _ => custom(*selector, arguments).unwrap_or_else(|| Self { name: "Unknown".into(), detail: hex::encode(data) }),
        }
    }

    /// The revert in a refused simulation; `None` if the node did not say that execution reverted.
    pub(crate) fn of(error: &RpcError) -> Option<Self> {
        match error {
            RpcError::Refused { data: Some(data), .. } => Some(Self::decode(data)),
            RpcError::Refused { code: 3, message, .. } => Some(Self { name: "Unknown".into(), detail: message.clone() }),
            _ => None,
        }
    }
}

fn custom(selector: [u8; 4], arguments: &[u8]) -> Option<Revert> {
    let error = ROLLUPCONTRACT_ABI.errors().find(|error| {
        let kinds: Vec<String> = error.inputs.iter().map(|input| input.kind.to_string()).collect();
        keccak256(format!("{}({})", error.name, kinds.join(",")))[..4] == selector
    })?;
    let tokens = error.decode(arguments).unwrap_or_default();
    Some(Revert { name: error.name.clone(), detail: tokens.iter().map(show).collect::<Vec<_>>().join(", ") })
}

fn show(token: &Token) -> String {
    match token {
        Token::Uint(value) | Token::Int(value) => value.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ethers_core::abi::AbiEncode;

    #[test]
    fn reasons_and_unknown_data_are_told_apart() {
        let mut data = REASON.to_vec();
        data.extend(String::from("no").encode());
        assert_eq!(Revert::decode(&data).to_string(), "Error(no)");
        assert_eq!(Revert::decode(&[1, 2, 3, 4, 5]).name, "Unknown");
        assert_eq!(Revert::decode(&[]).name, "Unknown");
    }

    #[test]
    fn every_error_of_the_contract_decodes_to_its_name() {
        for error in ROLLUPCONTRACT_ABI.errors() {
            let kinds: Vec<String> = error.inputs.iter().map(|input| input.kind.to_string()).collect();
            let mut data = keccak256(format!("{}({})", error.name, kinds.join(",")))[..4].to_vec();
            data.extend(vec![0; 32 * kinds.len()]);
            assert_eq!(Revert::decode(&data).name, error.name);
        }
    }
}
