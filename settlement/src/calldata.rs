//! Calls to the contract, rebuilt from the store or from L1's history: the same rows always give the same bytes.

use crate::abi;
use ethers_core::abi::AbiEncode;
use ethers_core::types::{Bytes, H160, U256};
use sheaf_protocol::field::{Word, to_word};
use sheaf_protocol::header::QueueEntry;
use sheaf_store::l1::{CommitInput, ProofInput, RecordWords, RefundInput, RevertInput, SettleInput};

/// Gas beyond the calldata that a commit surely does not exceed: used only where another commit is still on its way, so that nothing can
/// be simulated yet.
const COMMIT_BASE_GAS: u64 = 300_000;
/// The same, per posted word (19 bytes at least).
const COMMIT_WORD_GAS: u64 = 150;
/// The same, per queue entry or withdrawal.
const COMMIT_ITEM_GAS: u64 = 30_000;
/// Fewest posted bytes of a word.
const WORD_BYTES: u64 = 19;

/// `commit(Commit)`.
pub(crate) fn commit(input: &CommitInput) -> Bytes {
    abi::CommitCall { batch: batch(input) }.encode().into()
}

/// `commitAndProve(Commit, oldCommitments, BatchProof[])`.
pub(crate) fn commit_and_prove(input: &CommitInput, old_commitments: &[Word; 6], inputs: &[ProofInput]) -> Bytes {
    let batches = inputs.iter().map(batch_proof).collect();
    abi::CommitAndProveCall { batch: batch(input), old_commitments: old_commitments.map(U256::from), batches }.encode().into()
}

/// What is committed.
pub(crate) fn batch(input: &CommitInput) -> abi::Commit {
    let header = header(&input.record);
    abi::Commit {
        number: header.number,
        circuit: header.circuit,
        old_root: header.old_root,
        commitments: header.commitments,
        h: header.h,
        cq: uints(&input.record, 14),
        queue_digest: header.queue_digest,
        taken: input.taken.iter().map(entry).collect(),
        choices: input.choices.iter().map(U256::from).collect(),
        withdrawals: input.withdrawals.iter().map(withdrawal).collect(),
        data: input.data.clone().into(),
    }
}

/// An upper bound of a commit's execution gas.
pub(crate) fn commit_gas(input: &CommitInput) -> u64 {
    let items = (input.taken.len() + input.withdrawals.len()) as u64;
    COMMIT_BASE_GAS + COMMIT_WORD_GAS * (input.data.len() as u64).div_ceil(WORD_BYTES) + COMMIT_ITEM_GAS * items
}

/// `prove(oldCommitments, BatchProof[])`.
pub(crate) fn prove(old_commitments: &[Word; 6], inputs: &[ProofInput]) -> Bytes {
    let batches = inputs.iter().map(batch_proof).collect();
    abi::ProveCall { old_commitments: old_commitments.map(U256::from), batches }.encode().into()
}

/// `settle(record, choices, words, first, count)`.
pub(crate) fn settle(input: &SettleInput, first: u64, count: u64) -> Bytes {
    let call = abi::SettleCall {
        record: record(&input.record),
        choices: input.choices.iter().map(U256::from).collect(),
        words: input.words.iter().map(U256::from).collect(),
        first: first.into(),
        count: count.into(),
    };
    call.encode().into()
}

/// `settleRefunds(record, choices, words, last entry, first, entries)`.
pub(crate) fn settle_refunds(input: &RefundInput) -> Bytes {
    let call = abi::SettleRefundsCall {
        record: record(&input.record),
        choices: input.choices.iter().map(U256::from).collect(),
        words: input.words.iter().map(U256::from).collect(),
        last_entry: input.last_entry.into(),
        first: input.first.into(),
        entries: input.entries.iter().map(entry).collect(),
    };
    call.encode().into()
}

/// `refund(first, entries)`.
pub(crate) fn refund(first: u64, entries: &[QueueEntry]) -> Bytes {
    abi::RefundCall { first: first.into(), entries: entries.iter().map(entry).collect() }.encode().into()
}

/// `revertTo(to, record, last entry)`.
pub(crate) fn revert(input: &RevertInput) -> Bytes {
    abi::RevertToCall { to: input.to.into(), record: record(&input.record), last_entry: input.last_entry.into() }.encode().into()
}

/// What proves one batch.
pub(crate) fn batch_proof(input: &ProofInput) -> abi::BatchProof {
    let [e, z, delta] = input.claims.map(U256::from);
    abi::BatchProof { record: record(&input.record), groth_16: input.groth16.map(U256::from), e, z, delta, opening: input.opening.map(U256::from) }
}

fn record(words: &RecordWords) -> abi::Record {
    abi::Record { header: header(words), cq: uints(words, 14), y_da: uint(words, 16), y_ops: uint(words, 17) }
}

fn header(words: &RecordWords) -> abi::Header {
    abi::Header {
        number: uint(words, 0),
        circuit: uint(words, 1),
        old_root: words[2],
        commitments: uints(words, 3),
        h: uint(words, 9),
        queue_digest: words[10],
        taken: uint(words, 11),
        ops_hash: words[12],
        data_hash: words[13],
    }
}

/// A queue entry as the contract hashes it.
pub(crate) fn entry(entry: &QueueEntry) -> abi::QueueEntry {
    abi::QueueEntry {
        kind: entry.kind as u8,
        sender: H160(entry.sender.0),
        token: entry.token.0,
        amount: entry.amount.0,
        idx: entry.slot.0,
        owner: H160(entry.owner.0),
        key: to_word(entry.key).into(),
    }
}

fn withdrawal(words: &[Word; 3]) -> abi::Withdrawal {
    let [w0, amount, recipient] = words.map(U256::from);
    abi::Withdrawal { w_0: w0, amount, recipient }
}

fn uint(words: &RecordWords, place: usize) -> U256 {
    words[place].into()
}

fn uints<const N: usize>(words: &RecordWords, first: usize) -> [U256; N] {
    std::array::from_fn(|i| words[first + i].into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use ethers_core::abi::AbiDecode;
    use sheaf_protocol::field::word_u128;

    #[test]
    fn a_commit_names_the_words_of_its_record() {
        let record: RecordWords = std::array::from_fn(|i| word_u128(100 + i as u128));
        let input =
            CommitInput { record, taken: vec![], choices: vec![], withdrawals: vec![[word_u128(1), word_u128(2), word_u128(3)]], data: vec![0; 6] };
        let commit = abi::CommitCall::decode(commit(&input)).unwrap().batch;
        assert_eq!((commit.number, commit.circuit, commit.h), (100.into(), 101.into(), 109.into()));
        assert_eq!(commit.old_root, word_u128(102));
        assert_eq!(commit.commitments, [103, 104, 105, 106, 107, 108].map(U256::from));
        assert_eq!((commit.queue_digest, commit.cq), (word_u128(110), [114, 115].map(U256::from)));
        assert_eq!(commit.withdrawals[0].recipient, 3.into());
    }
}
