//! Everything that L1 holds of one proven batch, and its calls made anew: for whoever compares a batch that was derived with what was posted.
//!
//! ```text
//! commit transaction ─> header, C_q, data            prove transaction ─> record, proof, claims, opening
//! Committed, Proven ──> root, hash of the record     contract ──────────> hash of the record
//! ```

use crate::abi;
use crate::calldata::{batch, batch_proof};
use crate::calls::Call;
use crate::history::{HistoryError, ProvenBatch};
use crate::rollup::{Rollup, ViewError};
use crate::rpc::TxHash;
use ethers_core::abi::AbiEncode;
use ethers_core::types::{Bytes, U256};
use sheaf_protocol::field::Word;
use sheaf_store::l1::{CommitInput, ProofInput};

/// Why what L1 holds cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PostedError {
    /// The contract does not answer.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A transaction cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Anybody may prove, through a contract of their own too.
    #[error(
        "transaction {hash} proved batch {number}, but not by a call of its own to `prove`: its calldata cannot be compared; compare with the database, by DATABASE_URL instead of --l1-url"
    )]
    NoProof {
        /// The batch.
        number: u64,
        /// The transaction.
        hash: TxHash,
    },
}

/// A batch as L1 holds it.
#[derive(Clone, Debug)]
pub struct Posted {
    /// Its circuit, by its commit.
    pub circuit: u32,
    /// Its transcript, by its commit.
    pub h: Word,
    /// Its record and proof, by the call that proved it.
    pub proof: ProofInput,
    /// C, the commitments before it, if that call told: it does for the first batch that it proves.
    pub old_commitments: Option<[Word; 6]>,
    /// keccak256 of the record, by the contract now.
    pub batch_hash: Word,
    /// Calldata of the commit's transaction.
    pub commit_call: Bytes,
    /// Calldata of the proof's transaction.
    pub prove_call: Bytes,
    commit: Call,
    prove: Call,
    place: usize,
}

impl Rollup {
    /// Reads what L1 holds of a batch.
    ///
    /// # Errors
    /// [`PostedError`].
    pub async fn posted(&self, proven: &ProvenBatch) -> Result<Posted, PostedError> {
        let (number, found) = (proven.number, &proven.found);
        let missing = |hash| HistoryError::Commit { number, hash, detail: "is not known to the L1 node" };
        let input = async |hash: TxHash| match self.rpc().transaction_input(hash.0.into()).await {
            Ok(input) => input.ok_or_else(|| missing(hash)),
            Err(error) => Err(error.into()),
        };
        let (commit_call, prove_call) = (input(found.commit).await?, input(found.prove).await?);
        let no_commit = || HistoryError::Commit { number, hash: found.commit, detail: "is not a commit" };
        let commit = Call::read(&commit_call).ok_or_else(no_commit)?;
        let header = commit.commit.as_ref().ok_or_else(no_commit)?;
        let (circuit, h) = (header.circuit.min(u32::MAX.into()).as_u32(), header.h.into());
        let no_proof = PostedError::NoProof { number, hash: found.prove };
        let Some(prove) = Call::read(&prove_call) else { return Err(no_proof) };
        let Some((first, batches)) = &prove.proofs else { return Err(no_proof) };
        let Some(place) = batches.iter().position(|batch| batch.record.header.number == U256::from(number)) else { return Err(no_proof) };
        let (proof, old_commitments) = (proof_of(&batches[place]), (place == 0).then(|| first.map(Word::from)));
        let batch_hash = self.batch_hash(number).await?;
        Ok(Posted { circuit, h, proof, old_commitments, batch_hash, commit_call, prove_call, commit, prove, place })
    }
}

impl Posted {
    /// The commit's transaction, had it committed this.
    pub fn commit_call_of(&self, input: &CommitInput) -> Bytes {
        Call { commit: Some(batch(input)), ..self.commit.clone() }.encode()
    }

    /// The proof's transaction, had it proved this: other batches of the call stay as they are.
    pub fn prove_call_of(&self, input: &ProofInput, old_commitments: &[Word; 6]) -> Bytes {
        let mut call = self.prove.clone();
        if let Some((first, batches)) = &mut call.proofs {
            batches[self.place] = batch_proof(input);
            if self.place == 0 {
                *first = old_commitments.map(U256::from);
            }
        }
        call.encode()
    }
}

fn proof_of(batch: &abi::BatchProof) -> ProofInput {
    // a record is static: it is encoded as its words
    let words = batch.record.clone().encode();
    let record = std::array::from_fn(|i| words.as_chunks().0[i]);
    let claims = [batch.e, batch.z, batch.delta].map(Word::from);
    ProofInput { record, groth16: batch.groth_16.map(Word::from), claims, opening: batch.opening.map(Word::from) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sheaf_protocol::field::word_u128;

    #[test]
    fn a_proof_is_read_back_as_it_was_sent() {
        let words = |first: u128| move |i: usize| word_u128(first + i as u128);
        let input = ProofInput {
            record: std::array::from_fn(words(100)),
            groth16: std::array::from_fn(words(200)),
            claims: std::array::from_fn(words(300)),
            opening: std::array::from_fn(words(400)),
        };
        let back = proof_of(&batch_proof(&input));
        assert_eq!((back.record, back.groth16, back.claims, back.opening), (input.record, input.groth16, input.claims, input.opening));
    }
}
