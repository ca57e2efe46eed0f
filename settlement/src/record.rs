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
use sheaf_protocol::derive::{OpsWords, da_words};
use sheaf_protocol::field::{Fr, Word, hash_to_field, keccak_words, to_word};
use sheaf_protocol::follower::PublishedBatch;
use sheaf_protocol::header::{data_hash, ops_hash};
use sheaf_protocol::shape::SHAPES;
use sheaf_store::l1::RecordWords;

/// The record whose hash is `expected`, of a batch in the deployment with this domain; `None` if no shape gives it.
pub(crate) fn record(named: &RecordWords, batch: &PublishedBatch, domain: Fr, expected: &Word) -> Option<RecordWords> {
    let ops = OpsWords::of(batch).ok()?;
    let mut record = *named;
    (record[12], record[13]) = (ops_hash(&batch.choices, &ops.used()), data_hash(&batch.data));
    let rho = hash_to_field("rho", &[to_word(domain), keccak_words(&record[..14])]);
    let zeta = hash_to_field("zeta", &[to_word(rho), record[14], record[15]]);
    SHAPES.iter().find_map(|named| {
        let [da, ops] = [da_words(&batch.data, &named.shape).ok()?, ops.padded(&named.shape).ok()?];
        (record[16], record[17]) = (to_word(evaluate(&da, zeta)), to_word(evaluate(&ops, zeta)));
        (keccak_words(&record) == *expected).then_some(record)
    })
}
