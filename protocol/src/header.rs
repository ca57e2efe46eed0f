//! What L1 hashes: header, record, state root, queue digest, operations hash, posted data, and the challenges derived from them.
//!
//! Order is security: data, h and C' come before rho; C_q before zeta; the claims before gamma.

use crate::amount::{Address, Amount, AmountError, AmountFloat, FeeFloat, SlotId, TokenId};
use crate::field::{Fr, G1Affine, Word, g1_words, hash_to_field, keccak, keccak_words, to_word, word_address, word_u128};
use serde::{Deserialize, Serialize};

/// Kind of an L1 queue entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum QueueKind {
    /// Coins arrived for (key, owner, token).
    Deposit = 1,
    /// A request to pay out a slot.
    Exit = 2,
    /// A request to replace a slot's key.
    Rotation = 3,
}

/// An entry of the L1 queue as the contract hashes it; fields that a kind does not use are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueEntry {
    /// What it asks for.
    pub kind: QueueKind,
    /// Who sent it.
    pub sender: Address,
    /// Token of a deposit.
    pub token: TokenId,
    /// Amount of a deposit, below 2^112.
    pub amount: Amount,
    /// Slot of a request.
    pub slot: SlotId,
    /// Owner of a deposit.
    pub owner: Address,
    /// Key of a deposit, or the new key of a rotation.
    #[serde(with = "crate::field::fr_hex")]
    pub key: Fr,
}

impl QueueEntry {
    /// keccak256 of the entry's seven words.
    pub fn hash(&self) -> Word {
        keccak_words(&[
            word_u128(self.kind as u128),
            word_address(&self.sender.0),
            word_u128(self.token.0.into()),
            word_u128(self.amount.0),
            word_u128(self.slot.0.into()),
            word_address(&self.owner.0),
            to_word(self.key),
        ])
    }

    /// The queue digest after this entry, given the digest before it.
    pub fn digest_after(&self, before: &Word) -> Word {
        keccak_words(&[*before, self.hash()])
    }
}

/// What only the operator knows about a taken queue entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The deposit goes into this slot.
    Deposit(SlotId),
    /// The deposit is given back on L1.
    Refund,
}

impl Choice {
    /// `kind | payload << 8`.
    pub fn word(&self) -> Word {
        let payload = match self {
            Choice::Deposit(slot) => u128::from(slot.0),
            Choice::Refund => 0,
        };
        word_u128(QueueKind::Deposit as u128 | payload << 8)
    }
}

/// `keccak256(abi.encode(uint256[] choices, uint256[] words))`, words being the used `P_ops` words in order.
pub fn ops_hash(choices: &[Choice], words: &[Fr]) -> Word {
    let mut out = vec![word_u128(64), word_u128(32 * (choices.len() as u128 + 3))];
    out.push(word_u128(choices.len() as u128));
    out.extend(choices.iter().map(Choice::word));
    out.push(word_u128(words.len() as u128));
    out.extend(words.iter().map(|word| to_word(*word)));
    keccak_words(&out)
}

/// The domain of a deployment: `H("sheaf.v1", chain id, contract)`.
pub fn domain(chain_id: u64, contract: &Address) -> Fr {
    hash_to_field("sheaf.v1", &[word_u128(chain_id.into()), word_address(&contract.0)])
}

/// The state root: keccak256 of `k` and the six coordinates of the commitments to key, dyn and owner.
pub fn state_root(k: u32, commitments: &[G1Affine; 3]) -> Word {
    let mut words = vec![word_u128(k.into())];
    words.extend(commitments.iter().flat_map(g1_words));
    keccak_words(&words)
}

/// Everything the challenges depend on before C_q: fourteen words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Batch number, from 1.
    pub number: u64,
    /// Circuit id: position in the deployment's list, from 1.
    pub circuit: u32,
    /// State root before the batch.
    pub old_root: Word,
    /// Commitments to key, dyn and owner after the batch.
    pub commitments: [G1Affine; 3],
    /// The transcript.
    pub h: Fr,
    /// Queue digest after the last entry taken.
    pub queue_digest: Word,
    /// Queue entries taken.
    pub taken: u32,
    /// [`ops_hash`].
    pub ops_hash: Word,
    /// keccak256 of the posted data.
    pub data_hash: Word,
}

impl Header {
    /// The fourteen words in order.
    pub fn words(&self) -> Vec<Word> {
        let mut words = vec![word_u128(self.number.into()), word_u128(self.circuit.into()), self.old_root];
        words.extend(self.commitments.iter().flat_map(g1_words));
        words.extend([to_word(self.h), self.queue_digest, word_u128(self.taken.into()), self.ops_hash, self.data_hash]);
        words
    }

    /// keccak256 of the words.
    pub fn hash(&self) -> Word {
        keccak_words(&self.words())
    }

    /// The first challenge: `H("rho", domain, header hash)`.
    pub fn rho(&self, domain: Fr) -> Fr {
        hash_to_field("rho", &[to_word(domain), self.hash()])
    }
}

/// The second challenge: `H("zeta", rho, C_q)`.
pub fn zeta(rho: Fr, quotient: &G1Affine) -> Fr {
    let [x, y] = g1_words(quotient);
    hash_to_field("zeta", &[to_word(rho), x, y])
}

/// The third challenge: `H("gamma", zeta, E, Z, Delta, y_da, y_ops)`.
pub fn gamma(zeta: Fr, claims: [Fr; 3], y_da: Fr, y_ops: Fr) -> Fr {
    let [e, z, delta] = claims;
    hash_to_field("gamma", &[zeta, e, z, delta, y_da, y_ops].map(to_word))
}

/// The challenge of an exit: `H("exit", root, idx, dyn, owner)`. Its opening shows `dyn + g owner` of the slot.
pub fn exit_challenge(root: &Word, slot: SlotId, dyn_: Fr, owner: Fr) -> Fr {
    hash_to_field("exit", &[*root, word_u128(slot.0.into()), to_word(dyn_), to_word(owner)])
}

/// A header with what L1 computed from it: eighteen words, whose keccak256 L1 stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The header.
    pub header: Header,
    /// C_q.
    pub quotient: G1Affine,
    /// `P_da(zeta)`.
    pub y_da: Fr,
    /// `P_ops(zeta)`.
    pub y_ops: Fr,
}

impl Record {
    /// The eighteen words in order.
    pub fn words(&self) -> Vec<Word> {
        let mut words = self.header.words();
        words.extend(g1_words(&self.quotient));
        words.extend([to_word(self.y_da), to_word(self.y_ops)]);
        words
    }

    /// What L1 stores under the batch number.
    pub fn hash(&self) -> Word {
        keccak_words(&self.words())
    }
}

/// A transfer as posted: what followers need to rebuild the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostedTransfer {
    /// The paying slot.
    pub from: SlotId,
    /// The paid slot.
    pub to: SlotId,
    /// What arrives.
    pub amount: AmountFloat,
    /// What the operator gets.
    pub fee: FeeFloat,
}

/// A fee slot as posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeCredit {
    /// The slot credited.
    pub slot: SlotId,
    /// Its token.
    pub token: TokenId,
    /// Sum of the batch's fees in this token, below 2^112.
    pub total: Amount,
}

impl FeeCredit {
    /// `idx | token<<24 | total<<40`: 152 bits, big-endian in 19 bytes.
    pub fn word_bytes(&self) -> [u8; 19] {
        let mut bytes = [0u8; 19];
        bytes[..14].copy_from_slice(&self.total.0.to_be_bytes()[2..]);
        bytes[14..16].copy_from_slice(&self.token.0.to_be_bytes());
        bytes[16..].copy_from_slice(&self.slot.0.to_be_bytes()[1..]);
        bytes
    }

    /// The word as a field element.
    pub fn word(&self) -> Fr {
        use ark_ff::PrimeField;
        Fr::from_be_bytes_mod_order(&self.word_bytes())
    }
}

/// Bytes of a posted pair of transfers.
pub const PAIR_BYTES: usize = 26;
/// Bytes of a posted fee slot.
pub const FEE_BYTES: usize = 19;
/// Bytes of the three counts.
pub const COUNTS_BYTES: usize = 6;

/// The posted bytes: counts `nT | nR | nF` (u16 each), pairs of transfers, fees; all big-endian.
///
/// # Panics
/// If a count exceeds u16: shapes are far below.
pub fn posted_data(transfer_words: &[u128], fees: &[FeeCredit]) -> Vec<u8> {
    let mut out = Vec::with_capacity(COUNTS_BYTES + transfer_words.len().div_ceil(2) * PAIR_BYTES + fees.len() * FEE_BYTES);
    for count in [transfer_words.len(), 0, fees.len()] {
        assert!(count <= usize::from(u16::MAX), "counts are u16");
        out.extend_from_slice(&(count as u16).to_be_bytes());
    }
    for pair in transfer_words.chunks(2) {
        out.extend_from_slice(&pair.get(1).copied().unwrap_or(0).to_be_bytes()[3..]);
        out.extend_from_slice(&pair[0].to_be_bytes()[3..]);
    }
    for fee in fees {
        out.extend_from_slice(&fee.word_bytes());
    }
    out
}

/// Why posted bytes are not a batch's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PostedDataError {
    /// The length differs from what the counts say.
    #[error("posted data has {got} bytes, its counts ask for {expected}")]
    Length {
        /// By the counts.
        expected: usize,
        /// Found.
        got: usize,
    },
    /// Registers are not part of this version's circuits.
    #[error("posted data announces {0} registers, no circuit holds any")]
    Registers(u16),
    /// The upper half of an odd last pair is not zero.
    #[error("the missing half of the last pair is not zero")]
    Padding,
    /// A number is out of range.
    #[error("posted number: {0}")]
    Number(#[from] AmountError),
}

/// Reads posted bytes back: transfers and fees.
///
/// Exactly what L1 accepts is read, whatever the order of the fees: a follower that refused a proven batch would stand still.
///
/// # Errors
/// [`PostedDataError`].
pub fn read_posted_data(data: &[u8]) -> Result<(Vec<PostedTransfer>, Vec<FeeCredit>), PostedDataError> {
    let count = |i: usize| data.get(2 * i..2 * i + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
    let (transfers, registers, fees) = (usize::from(count(0)), count(1), usize::from(count(2)));
    if registers != 0 {
        return Err(PostedDataError::Registers(registers));
    }
    let expected = COUNTS_BYTES + transfers.div_ceil(2) * PAIR_BYTES + fees * FEE_BYTES;
    if data.len() != expected {
        return Err(PostedDataError::Length { expected, got: data.len() });
    }
    let (pairs, fee_bytes) = data[COUNTS_BYTES..].split_at(expected - COUNTS_BYTES - fees * FEE_BYTES);
    let mut words: Vec<u128> = pairs.chunks(PAIR_BYTES).flat_map(|pair| [be_u128(&pair[13..]), be_u128(&pair[..13])]).collect();
    if words.split_off(transfers).iter().any(|word| *word != 0) {
        return Err(PostedDataError::Padding);
    }
    let transfers = words.into_iter().map(read_transfer_word).collect::<Result<_, _>>()?;
    Ok((transfers, fee_bytes.chunks(FEE_BYTES).map(read_fee).collect()))
}

fn be_u128(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |value, byte| value << 8 | u128::from(*byte))
}

fn read_transfer_word(word: u128) -> Result<PostedTransfer, AmountError> {
    Ok(PostedTransfer {
        from: SlotId(word as u32 & 0xff_ffff),
        to: SlotId((word >> 24) as u32 & 0xff_ffff),
        amount: AmountFloat::from_packed((word >> 48) as u64 & 0xff_ffff_ffff)?,
        fee: FeeFloat::from_packed((word >> 88) as u64 & 0xffff)?,
    })
}

fn read_fee(bytes: &[u8]) -> FeeCredit {
    FeeCredit { total: Amount(be_u128(&bytes[..14])), token: TokenId(be_u128(&bytes[14..16]) as u16), slot: SlotId(be_u128(&bytes[16..]) as u32) }
}

/// keccak256 of posted bytes.
pub fn data_hash(data: &[u8]) -> Word {
    keccak(data)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn posted_data_round_trip(words in prop::collection::vec(0u128..1 << 104, 0..9), total in 0u128..1 << 112) {
            let fees = [FeeCredit { slot: SlotId(77), token: TokenId(2), total: Amount(total) }];
            let data = posted_data(&words, &fees);
            let (transfers, read) = read_posted_data(&data).unwrap();
            prop_assert_eq!(read, fees.to_vec());
            let back: Vec<u128> = transfers.iter().map(|t| u128::from(t.from.0) | u128::from(t.to.0) << 24 | u128::from(t.amount.packed()) << 48 | u128::from(t.fee.packed()) << 88).collect();
            prop_assert_eq!(back, words);
        }
    }

    #[test]
    fn fees_in_any_order_are_read_as_they_stand() {
        let credit = |slot, token, total| FeeCredit { slot: SlotId(slot), token: TokenId(token), total: Amount(total) };
        let fees = [credit(9, 2, 5), credit(3, 1, 7), credit(4, 1, 0)];
        assert_eq!(read_posted_data(&posted_data(&[], &fees)).unwrap(), (vec![], fees.to_vec()));
    }

    #[test]
    fn posted_data_of_another_length_is_refused() {
        let mut data = posted_data(&[1, 2, 3], &[]);
        data.push(0);
        assert!(matches!(read_posted_data(&data), Err(PostedDataError::Length { .. })));
        assert!(matches!(read_posted_data(&[]), Err(PostedDataError::Length { expected: 6, got: 0 })));
    }
}
