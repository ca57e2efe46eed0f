//! Transactions to the contract, read back: what one commits and proves, and the same call with one part made anew.

use crate::abi;
use ethers_core::abi::{AbiDecode, AbiEncode};
use ethers_core::types::{Bytes, U256};

/// A call of `commit`, `prove` or `commitAndProve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// What it commits.
    pub(crate) commit: Option<abi::Commit>,
    /// The commitments before the first batch that it proves, and the batches.
    pub(crate) proofs: Option<([U256; 6], Vec<abi::BatchProof>)>,
}

impl Call {
    /// `None` if it is another call.
    pub(crate) fn read(input: impl AsRef<[u8]>) -> Option<Self> {
        let input = input.as_ref();
        if let Ok(call) = abi::CommitCall::decode(input) {
            return Some(Self { commit: Some(call.batch), proofs: None });
        }
        if let Ok(call) = abi::ProveCall::decode(input) {
            return Some(Self { commit: None, proofs: Some((call.old_commitments, call.batches)) });
        }
        let call = abi::CommitAndProveCall::decode(input).ok()?;
        Some(Self { commit: Some(call.batch), proofs: Some((call.old_commitments, call.batches)) })
    }

    /// The calldata.
    pub(crate) fn encode(self) -> Bytes {
        match (self.commit, self.proofs) {
            (Some(batch), None) => abi::CommitCall { batch }.encode(),
            (Some(batch), Some((old_commitments, batches))) => abi::CommitAndProveCall { batch, old_commitments, batches }.encode(),
            (None, proofs) => {
                let (old_commitments, batches) = proofs.unwrap_or_default();
                abi::ProveCall { old_commitments, batches }.encode()
            }
        }
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_back_alone_and_beside_proofs_and_nothing_else_is() {
        let batch = abi::Commit { number: 7.into(), data: vec![1, 2, 3].into(), ..abi::Commit::default() };
        let proofs = ([U256::from(5); 6], vec![abi::BatchProof { e: 9.into(), ..abi::BatchProof::default() }]);
        for (commit, proofs) in [(Some(batch.clone()), None), (Some(batch), Some(proofs.clone())), (None, Some(proofs))] {
            let call = Call { commit, proofs };
            let input = call.clone().encode();
            assert_eq!(Call::read(&input), Some(call));
            assert_eq!((Call::read(&input[..40]), Call::read([])), (None, None));
        }
    }
}
