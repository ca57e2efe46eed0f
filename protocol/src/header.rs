//! What L1 hashes: header, record, state root, queue digest, operations hash, posted data, and the challenges derived from them.
//!
//! Order is security: data, h and C' come before rho; C_q before zeta; the claims before gamma.

use crate::amount::{Address, Amount, AmountError, AmountFloat, FeeFloat, SlotId, TokenId};
use crate::batch::{Exit, Registered, Rotation};
use crate::field::{Fr, G1Affine, Word, from_word, g1_words, hash_to_field, keccak, keccak_words, to_word, word_address, word_u128};
use crate::ledger::Triple;
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
    /// The exit finds this token and pays this amount, below 2^112: 0 unless the owner asks.
    Exit(TokenId, Amount),
    /// The rotation finds this token.
    Rotation(TokenId),
}

impl From<&Exit> for Choice {
    fn from(exit: &Exit) -> Self {
        Choice::Exit(exit.found.triple.token, exit.amount)
    }
}

impl From<&Rotation> for Choice {
    fn from(rotation: &Rotation) -> Self {
        Choice::Rotation(rotation.found.triple.token)
    }
}

impl Choice {
    /// `kind | payload << 8`; payload of a deposit: slot, 0 for a refund; of an exit: `token | amount << 16`; of a rotation: token.
    pub fn word(&self) -> Word {
        let (kind, low, amount) = match self {
            Choice::Deposit(slot) => (QueueKind::Deposit, slot.0, Amount(0)),
            Choice::Refund => (QueueKind::Deposit, 0, Amount(0)),
            Choice::Exit(token, amount) => (QueueKind::Exit, token.0.into(), *amount),
            Choice::Rotation(token) => (QueueKind::Rotation, token.0.into(), Amount(0)),
        };
        let mut word = word_u128(u128::from(low) << 8 | kind as u128);
        // 14 bytes from bit 24 on, where only the slot of a deposit has others
        word[15..28].copy_from_slice(&amount.0.to_be_bytes()[2..15]);
        word[28] |= amount.0 as u8;
        word
    }

    /// Reads the word back; `None` if it is of no kind or has bits that its kind does not use.
    pub fn from_word(word: &Word) -> Option<Self> {
        let (low, amount) = (be_u128(&word[28..31]) as u32, Amount(be_u128(&word[15..29])));
        let token = TokenId(be_u128(&word[29..31]) as u16);
        let choice = match word[31] {
            1 if low == 0 => Choice::Refund,
            1 => Choice::Deposit(SlotId(low)),
            2 => Choice::Exit(token, amount),
            3 => Choice::Rotation(token),
            _ => return None,
        };
        (choice.word() == *word).then_some(choice)
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

/// A register as posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostedRegister {
    /// The sponsor's slot.
    pub from: SlotId,
    /// The slot that holds the account afterwards.
    pub new: SlotId,
    /// What the operator gets.
    pub fee: FeeFloat,
    /// Key, owner and token of the account.
    pub account: Triple,
}

impl From<&Registered> for PostedRegister {
    fn from(registered: &Registered) -> Self {
        let op = &registered.signed.op;
        Self { from: op.from, new: registered.new, fee: op.fee, account: op.account }
    }
}

impl PostedRegister {
    /// `w0` in 10 bytes, key, owner.
    fn bytes(&self) -> [u8; REGISTER_BYTES] {
        let w0 =
            u128::from(self.from.0) | u128::from(self.new.0) << 24 | u128::from(self.account.token.0) << 48 | u128::from(self.fee.packed()) << 64;
        let mut bytes = [0; REGISTER_BYTES];
        bytes[..10].copy_from_slice(&w0.to_be_bytes()[6..]);
        bytes[10..42].copy_from_slice(&to_word(self.account.key));
        bytes[42..].copy_from_slice(&self.account.owner.0);
        bytes
    }
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
/// Bytes of a posted register.
pub const REGISTER_BYTES: usize = 62;
/// Bytes of a posted fee slot.
pub const FEE_BYTES: usize = 19;
/// Bytes of the three counts.
pub const COUNTS_BYTES: usize = 6;

/// The posted bytes: counts `nT | nR | nF` (u16 each), pairs of transfers, registers, fees; all big-endian.
///
/// # Panics
/// If a count exceeds u16: shapes are far below.
pub fn posted_data(transfer_words: &[u128], registers: &[PostedRegister], fees: &[FeeCredit]) -> Vec<u8> {
    let counts = [transfer_words.len(), registers.len(), fees.len()];
    let mut out = Vec::with_capacity(posted_bytes(counts));
    for count in counts {
        assert!(count <= usize::from(u16::MAX), "counts are u16");
        out.extend_from_slice(&(count as u16).to_be_bytes());
    }
    for pair in transfer_words.chunks(2) {
        out.extend_from_slice(&pair.get(1).copied().unwrap_or(0).to_be_bytes()[3..]);
        out.extend_from_slice(&pair[0].to_be_bytes()[3..]);
    }
    registers.iter().for_each(|register| out.extend_from_slice(&register.bytes()));
    fees.iter().for_each(|fee| out.extend_from_slice(&fee.word_bytes()));
    out
}

/// Length of the posted bytes of so many transfers, registers and fees.
pub const fn posted_bytes([transfers, registers, fees]: [usize; 3]) -> usize {
    COUNTS_BYTES + transfers.div_ceil(2) * PAIR_BYTES + registers * REGISTER_BYTES + fees * FEE_BYTES
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
    /// A register's key is not below the field's modulus.
    #[error("the key of posted register {0} is not below the field's modulus")]
    Key(usize),
    /// The upper half of an odd last pair is not zero.
    #[error("the missing half of the last pair is not zero")]
    Padding,
    /// A number is out of range.
    #[error("posted number: {0}")]
    Number(#[from] AmountError),
}

/// What posted bytes say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostedData {
    /// Transfers.
    pub transfers: Vec<PostedTransfer>,
    /// Registers.
    pub registers: Vec<PostedRegister>,
    /// Fees.
    pub fees: Vec<FeeCredit>,
}

/// Reads posted bytes back.
///
/// Exactly what L1 accepts is read, whatever the order of the fees: a follower that refused a proven batch would stand still.
///
/// # Errors
/// [`PostedDataError`].
pub fn read_posted_data(data: &[u8]) -> Result<PostedData, PostedDataError> {
    let count = |i: usize| data.get(2 * i..2 * i + 2).map_or(0, |b| usize::from(u16::from_be_bytes([b[0], b[1]])));
    let counts @ [transfers, registers, fees] = [0, 1, 2].map(count);
    let expected = posted_bytes(counts);
    if data.len() != expected {
        return Err(PostedDataError::Length { expected, got: data.len() });
    }
    let (rest, fee_bytes) = data.split_at(expected - fees * FEE_BYTES);
    let (rest, register_bytes) = rest.split_at(rest.len() - registers * REGISTER_BYTES);
    let pairs = &rest[COUNTS_BYTES..];
    let mut words: Vec<u128> = pairs.chunks(PAIR_BYTES).flat_map(|pair| [be_u128(&pair[13..]), be_u128(&pair[..13])]).collect();
    if words.split_off(transfers).iter().any(|word| *word != 0) {
        return Err(PostedDataError::Padding);
    }
    Ok(PostedData {
        transfers: words.into_iter().map(read_transfer_word).collect::<Result<_, _>>()?,
        registers: register_bytes.chunks(REGISTER_BYTES).enumerate().map(|(i, bytes)| read_register(i, bytes)).collect::<Result<_, _>>()?,
        fees: fee_bytes.chunks(FEE_BYTES).map(read_fee).collect(),
    })
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

fn read_register(i: usize, bytes: &[u8]) -> Result<PostedRegister, PostedDataError> {
    let (mut key, mut owner) = ([0; 32], [0; 20]);
    key.copy_from_slice(&bytes[10..42]);
    owner.copy_from_slice(&bytes[42..]);
    let w0 = be_u128(&bytes[..10]);
    Ok(PostedRegister {
        from: SlotId(w0 as u32 & 0xff_ffff),
        new: SlotId((w0 >> 24) as u32 & 0xff_ffff),
        fee: FeeFloat::from_packed((w0 >> 64) as u64)?,
        account: Triple { key: from_word(&key).ok_or(PostedDataError::Key(i))?, owner: Address(owner), token: TokenId((w0 >> 48) as u16) },
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
        fn posted_data_round_trip(words in prop::collection::vec(0u128..1 << 104, 0..9), w0s in prop::collection::vec(0u128..1 << 80, 0..4), total in 0u128..1 << 112) {
            let registers: Vec<PostedRegister> = w0s.iter().enumerate().map(|(i, w0)| {
                let account = Triple { key: Fr::from(*w0) * Fr::from(*w0) * Fr::from(*w0), owner: Address([i as u8; 20]), token: TokenId((w0 >> 48) as u16) };
                let (from, new) = (SlotId(*w0 as u32 & 0xff_ffff), SlotId((w0 >> 24) as u32 & 0xff_ffff));
                PostedRegister { from, new, fee: FeeFloat::from_packed((w0 >> 64) as u64).unwrap(), account }
            }).collect();
            let fees = [FeeCredit { slot: SlotId(77), token: TokenId(2), total: Amount(total) }];
            let data = posted_data(&words, &registers, &fees);
            let read = read_posted_data(&data).unwrap();
            prop_assert_eq!(read.fees, fees.to_vec());
            prop_assert_eq!(read.registers, registers);
            let back: Vec<u128> = read.transfers.iter().map(|t| u128::from(t.from.0) | u128::from(t.to.0) << 24 | u128::from(t.amount.packed()) << 48 | u128::from(t.fee.packed()) << 88).collect();
            prop_assert_eq!(back, words);
        }

        #[test]
        fn choices_round_trip(kind in 0..4usize, slot in 1u32..1 << 24, token: u16, amount in 0u128..1 << 112) {
            let choice = [Choice::Refund, Choice::Deposit(SlotId(slot)), Choice::Exit(TokenId(token), Amount(amount)), Choice::Rotation(TokenId(token))][kind];
            prop_assert_eq!(Choice::from_word(&choice.word()), Some(choice));
        }
    }

    #[test]
    fn choices_with_bits_of_another_kind_are_none() {
        let flipped = |choice: Choice, byte: usize| {
            let mut word = choice.word();
            word[byte] ^= 1;
            word
        };
        assert_eq!(Choice::from_word(&flipped(Choice::Refund, 27)), None, "a deposit has no amount");
        assert_eq!(Choice::from_word(&flipped(Choice::Rotation(TokenId(1)), 28)), None, "nor a rotation");
        assert_eq!(Choice::from_word(&flipped(Choice::Exit(TokenId(1), Amount(0)), 14)), None, "2^112");
        assert_eq!(Choice::from_word(&word_u128(4)), None);
        assert_eq!(Choice::Exit(TokenId(2), Amount(1)).word(), word_u128(2 | 2 << 8 | 1 << 24));
    }

    #[test]
    fn fees_in_any_order_are_read_as_they_stand() {
        let credit = |slot, token, total| FeeCredit { slot: SlotId(slot), token: TokenId(token), total: Amount(total) };
        let fees = [credit(9, 2, 5), credit(3, 1, 7), credit(4, 1, 0)];
        assert_eq!(read_posted_data(&posted_data(&[], &[], &fees)).unwrap().fees, fees.to_vec());
    }

    #[test]
    fn posted_data_of_another_length_is_refused() {
        let mut data = posted_data(&[1, 2, 3], &[], &[]);
        data.push(0);
        assert!(matches!(read_posted_data(&data), Err(PostedDataError::Length { .. })));
        assert!(matches!(read_posted_data(&[]), Err(PostedDataError::Length { expected: 6, got: 0 })));
    }
}
