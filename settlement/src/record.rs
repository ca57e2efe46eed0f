//! The record that the contract made of a commit, made again from the commit's arguments: whoever settles shows it.
//!
//! ```text
//! withdrawals, entries, choices ──> used words ──┬─> hash of operations ─┐
//! posted bytes ──────────────────────────────────┼─> hash of data ───────┴─> header ─> rho ─> zeta ─┐
//!                                                └─ as the circuit's shape lays them out ───────────┴─> y_da, y_ops ─> the hash that L1 stores?
//! ```
//!
//! A commit names its circuit by number, and the contract shows no shape. So every shape that there are keys for is tried, and the hash that the
//! contract stores under the batch tells which one it is. Neither the operator nor whoever proved the batch is needed, nor how they sent it.

use sheaf_protocol::batch::evaluate;
use sheaf_protocol::field::{Fr, Word, from_word, hash_to_field, keccak, keccak_words, to_word, word_address, word_u128};
use sheaf_protocol::follower::PublishedBatch;
use sheaf_protocol::header::{COUNTS_BYTES, Choice, FEE_BYTES, PAIR_BYTES, REGISTER_BYTES, ops_hash};
use sheaf_protocol::shape::{SHAPES, Shape};
use sheaf_store::l1::RecordWords;

/// The used words of `P_ops` by kind, in the order of the commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operations {
    withdrawals: Vec<Word>,
    deposits: Vec<Word>,
    exits: Vec<Word>,
    rotations: Vec<Word>,
}

impl Operations {
    pub(crate) fn of(batch: &PublishedBatch) -> Self {
        let mut made = Self { withdrawals: batch.withdrawals.as_flattened().to_vec(), ..Self::default() };
        for (entry, choice) in batch.taken.iter().zip(&batch.choices) {
            let pole = |slot: u32, token: u16| word_u128(u128::from(slot) << 16 | u128::from(token));
            let (sender, key) = (word_address(&entry.sender.0), to_word(entry.key));
            match choice {
                Choice::Refund => {}
                Choice::Deposit(slot) => {
                    made.deposits.extend([pole(slot.0, entry.token.0), word_u128(entry.amount.0), word_address(&entry.owner.0), key]);
                }
                Choice::Exit(token, amount) => made.exits.extend([pole(entry.slot.0, token.0), sender, word_u128(amount.0)]),
                Choice::Rotation(token) => made.rotations.extend([pole(entry.slot.0, token.0), sender, key]),
            }
        }
        made
    }

    /// All of them, kind after kind.
    pub(crate) fn words(&self) -> Vec<Word> {
        [&self.withdrawals, &self.deposits, &self.exits, &self.rotations].into_iter().flatten().copied().collect()
    }

    /// With zeros where the circuit has room for more; `None` if there is too much.
    fn laid_out(&self, shape: &Shape) -> Option<Vec<Fr>> {
        let ends = [shape.deposits_offset(), shape.exits_offset(), shape.rotations_offset(), shape.ops_words()];
        let mut words = Vec::new();
        for (kind, end) in [&self.withdrawals, &self.deposits, &self.exits, &self.rotations].into_iter().zip(ends) {
            words.extend(kind.iter().map(from_word::<Fr>).collect::<Option<Vec<_>>>()?);
            fill(&mut words, end)?;
        }
        Some(words)
    }
}

/// The record whose hash is `expected`, of a batch in the deployment with this domain; `None` if no shape gives it.
pub(crate) fn record(named: &RecordWords, batch: &PublishedBatch, domain: Fr, expected: &Word) -> Option<RecordWords> {
    let operations = Operations::of(batch);
    let words: Vec<Fr> = operations.words().iter().map(from_word).collect::<Option<_>>()?;
    let mut record = *named;
    (record[12], record[13]) = (ops_hash(&batch.choices, &words), keccak(&batch.data));
    let rho = hash_to_field("rho", &[to_word(domain), keccak_words(&record[..14])]);
    let zeta = hash_to_field("zeta", &[to_word(rho), record[14], record[15]]);
    SHAPES.iter().find_map(|named| {
        let evaluated = |words: Vec<Fr>| to_word(evaluate(&words, zeta));
        (record[16], record[17]) = (evaluated(posted(&batch.data, &named.shape)?), evaluated(operations.laid_out(&named.shape)?));
        (keccak_words(&record) == *expected).then_some(record)
    })
}

/// The words of `P_da`: pairs of transfers, registers, fees.
fn posted(data: &[u8], shape: &Shape) -> Option<Vec<Fr>> {
    let (counts, rest) = data.split_at_checked(COUNTS_BYTES)?;
    let [transfers, registers, _] = [0, 1, 2].map(|i| usize::from(u16::from_be_bytes([counts[2 * i], counts[2 * i + 1]])));
    let (pairs, rest) = rest.split_at_checked(transfers.div_ceil(2) * PAIR_BYTES)?;
    let (registers, fees) = rest.split_at_checked(registers * REGISTER_BYTES)?;
    let mut words: Vec<Fr> = pairs.chunks(PAIR_BYTES).map(number).collect::<Option<_>>()?;
    fill(&mut words, shape.registers_offset())?;
    for register in registers.chunks(REGISTER_BYTES) {
        words.extend([number(&register[..10])?, number(&register[10..42])?, number(&register[42..])?]);
    }
    fill(&mut words, shape.fees_offset())?;
    words.extend(fees.chunks(FEE_BYTES).map(number).collect::<Option<Vec<_>>>()?);
    fill(&mut words, shape.da_words())?;
    Some(words)
}

/// Big-endian, at most 32 bytes.
fn number(bytes: &[u8]) -> Option<Fr> {
    let mut word = [0; 32];
    word[32 - bytes.len()..].copy_from_slice(bytes);
    from_word(&word)
}

/// Zeros up to `end`; `None` if the words go beyond.
fn fill(words: &mut Vec<Fr>, end: u32) -> Option<()> {
    let end = end as usize;
    (words.len() <= end).then(|| words.resize(end, Fr::from(0u64)))
}
