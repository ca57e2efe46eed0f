//! The key that pays for and signs L1 transactions. It signs and tells its address; it never shows itself.

use crate::fees::Fees;
use crate::rpc::to_u128;
use ethers_core::types::transaction::eip2718::TypedTransaction;
use ethers_core::types::{Bytes, Eip1559TransactionRequest, H160, H256, U256};
use ethers_core::utils::keccak256;
use ethers_core::utils::rlp::Rlp;
use ethers_signers::{LocalWallet, Signer as _};
use sheaf_protocol::amount::Address;
use std::fmt;

/// Why a key or a signature could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is not 32 bytes of hex below the group order.
    #[error("not an L1 private key: expected 0x and 64 hex digits")]
    Malformed,
    /// The signer failed.
    #[error("the L1 key could not sign: {0}")]
    Sign(String),
}

/// A secp256k1 key held in memory.
#[derive(Clone)]
pub struct L1Key(LocalWallet);

impl fmt::Debug for L1Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L1Key({})", self.address())
    }
}

impl L1Key {
    /// From 32 bytes of hex, with or without 0x.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        text.trim().parse().map(Self).map_err(|_| KeyError::Malformed)
    }

    /// The account this key owns.
    pub fn address(&self) -> Address {
        Address(self.0.address().0)
    }

    pub(crate) fn sign(&self, draft: &Draft) -> Result<Signed, KeyError> {
        let typed = draft.typed();
        let signature = self.0.clone().with_chain_id(draft.chain_id).sign_transaction_sync(&typed);
        let signature = signature.map_err(|error| KeyError::Sign(error.to_string()))?;
        let raw = typed.rlp_signed(&signature);
        Ok(Signed { hash: H256(keccak256(&raw)), raw })
    }
}

/// Everything of a transaction but its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) chain_id: u64,
    pub(crate) nonce: u64,
    /// `None` creates a contract.
    pub(crate) to: Option<H160>,
    pub(crate) value: U256,
    pub(crate) data: Bytes,
    pub(crate) gas_limit: u64,
    pub(crate) fees: Fees,
}

impl Draft {
    /// The draft of a signed EIP-1559 transaction.
    pub(crate) fn from_raw(raw: &[u8]) -> Option<Self> {
        let (typed, _) = TypedTransaction::decode_signed(&Rlp::new(raw)).ok()?;
        let TypedTransaction::Eip1559(request) = typed else { return None };
        let fees =
            Fees { max_fee_per_gas: to_u128(request.max_fee_per_gas?)?, max_priority_fee_per_gas: to_u128(request.max_priority_fee_per_gas?)? };
        Some(Self {
            chain_id: request.chain_id?.as_u64(),
            nonce: request.nonce.unwrap_or_default().low_u64(),
            to: request.to.and_then(|to| to.as_address().copied()),
            value: request.value.unwrap_or_default(),
            data: request.data.unwrap_or_default(),
            gas_limit: request.gas?.low_u64(),
            fees,
        })
    }

    fn typed(&self) -> TypedTransaction {
        let mut request = Eip1559TransactionRequest::new()
            .chain_id(self.chain_id)
            .nonce(self.nonce)
            .value(self.value)
            .data(self.data.clone())
            .gas(self.gas_limit)
            .max_fee_per_gas(self.fees.max_fee_per_gas)
            .max_priority_fee_per_gas(self.fees.max_priority_fee_per_gas);
        if let Some(to) = self.to {
            request = request.to(to);
        }
        TypedTransaction::Eip1559(request)
    }
}

/// A transaction ready to send.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) hash: H256,
    pub(crate) raw: Bytes,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::anvil::DEV_KEYS;

    #[test]
    fn a_key_does_not_show_itself() {
        let key = L1Key::from_hex(DEV_KEYS[0]).unwrap();
        assert_eq!(format!("{key:?}"), "L1Key(0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266)");
        assert!(L1Key::from_hex("0x12").is_err());
    }

    #[test]
    fn a_signed_transaction_reads_back_into_its_draft() {
        let fees = Fees { max_fee_per_gas: 7_000_000_000, max_priority_fee_per_gas: 3 };
        let data: Bytes = vec![1, 2, 3].into();
        for nonce in [0, 9] {
            let draft = Draft { chain_id: 31_337, nonce, to: Some(H160([5; 20])), value: U256::zero(), data: data.clone(), gas_limit: 50_000, fees };
            let signed = L1Key::from_hex(DEV_KEYS[0]).unwrap().sign(&draft).unwrap();
            assert_eq!(Draft::from_raw(&signed.raw), Some(draft));
        }
        assert_eq!(Draft::from_raw(&[2, 0xc0]), None);
    }
}
