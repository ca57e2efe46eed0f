//! A batch derived again from what it left on L1, as far as that goes without signatures.
//!
//! ```text
//! posted bytes, withdrawals, queue entries, choices ─┬─> words ─> hashes ─────────────────────────────┐
//!                                                    └─> follow ─> touched slots, padded ─> C' ──────┴─ h given ─> header
//! header ─> rho ─> C_q ─> zeta ─> E, Z, Delta, y_da, y_ops ─> gamma ─> W
//! ```
//! The transcript h covers signatures, which are never posted: it is taken as L1 has it. That it is the batch's own is what the proof says, and
//! the proof holds for the public inputs that are derived here or for none.

use crate::amount::SlotId;
use crate::batch::{Challenges, Deposit, Exit, Found, PublicInputs, Rotation, evaluate, spare_slots};
use crate::field::{Fr, G1Affine, Word, from_word};
use crate::follower::{FollowError, PublishedBatch, follow};
use crate::header::{self, Choice, Header, PostedDataError, QueueEntry, QueueKind, Record, read_posted_data};
use crate::kzg::{Claims, OpenError, PrepareError, StateVector, Step, TouchedSlot};
use crate::ledger::{Ledger, Triple};
use crate::ops::Register;
use crate::shape::Shape;
use ark_ff::{PrimeField, Zero};
use std::collections::HashSet;

/// Why a batch cannot be derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeriveError {
    /// It does not follow the state before it.
    #[error("it does not follow: {0}")]
    Follow(#[from] FollowError),
    /// The state before it cannot be changed so.
    #[error("the state before it: {0}")]
    Prepare(#[from] PrepareError),
    /// It has no opening.
    #[error("its opening: {0}")]
    Open(#[from] OpenError),
    /// A word of a withdrawal is not below the field's modulus.
    #[error("a word of withdrawal {0} is not below the field's modulus")]
    Withdrawal(usize),
    /// More of a kind than the circuit holds.
    #[error("it holds more {0} than its circuit")]
    Capacity(&'static str),
}

impl From<PostedDataError> for DeriveError {
    fn from(error: PostedDataError) -> Self {
        Self::Follow(error.into())
    }
}

/// What is not derived: where the batch stands, and what covers signatures.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// Its number.
    pub number: u64,
    /// Its circuit.
    pub circuit: u32,
    /// The circuit's shape.
    pub shape: Shape,
    /// The deployment's domain.
    pub domain: Fr,
    /// The transcript.
    pub h: Fr,
    /// Queue digest after the batch before.
    pub queue_digest: Word,
}

/// Challenges, claims and opening of a step, in the order that security asks for.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Header, quotient and what the words are at zeta.
    pub record: Record,
    /// rho and zeta.
    pub challenges: Challenges,
    /// The last challenge.
    pub gamma: Fr,
    /// E, Z, Delta.
    pub claims: Claims,
    /// W.
    pub opening: G1Affine,
}

impl Opened {
    /// Opens a step whose header is fixed; `da` and `ops` are all words, unused ones zero.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn of(vector: &StateVector, step: &Step, header: Header, domain: Fr, [da, ops]: [&[Fr]; 2]) -> Result<Self, OpenError> {
        let rho = header.rho(domain);
        let quotient = vector.quotient(step, rho)?;
        let zeta = header::zeta(rho, quotient.commitment());
        let claims = Claims::of(step.touched(), rho, zeta);
        let (y_da, y_ops) = (evaluate(da, zeta), evaluate(ops, zeta));
        let gamma = header::gamma(zeta, claims.to_array(), y_da, y_ops);
        let opening = vector.open(step, &quotient, zeta, claims, gamma)?;
        let record = Record { header, quotient: *quotient.commitment(), y_da, y_ops };
        Ok(Self { record, challenges: Challenges { rho, zeta }, gamma, claims, opening })
    }

    /// The nine public inputs of the circuit.
    pub fn public_inputs(&self, domain: Fr) -> PublicInputs {
        let (Challenges { rho, zeta }, Claims { e, z, delta }) = (self.challenges, self.claims);
        [domain, rho, zeta, self.record.header.h, e, z, delta, self.record.y_da, self.record.y_ops]
    }
}

/// A batch as it must have been.
#[derive(Clone, Debug)]
pub struct Derived {
    /// Everything that was posted or proven of it.
    pub opened: Opened,
    /// C: the commitments to key, dyn, owner before it.
    pub before: [G1Affine; 3],
    /// State root after it.
    pub new_root: Word,
    /// Used words of `P_ops`.
    pub ops_words: Vec<Fr>,
}

/// Derives the batch that was published on top of this state; neither changes.
///
/// # Errors
/// [`DeriveError`].
pub fn derive(ledger: &Ledger, vector: &StateVector, published: &PublishedBatch, given: &Given) -> Result<Derived, DeriveError> {
    let ops = OpsWords::of(published)?;
    let [da_words, ops_words] = [da_words(&published.data, &given.shape)?, ops.padded(&given.shape)?];
    let step = vector.prepare(&touched(ledger, published, &given.shape)?)?;
    let used = ops.used();
    let header = Header {
        number: given.number,
        circuit: given.circuit,
        old_root: vector.root(),
        commitments: *step.after(),
        h: given.h,
        queue_digest: queue_digest(given.queue_digest, &published.taken),
        taken: published.taken.len() as u32,
        ops_hash: header::ops_hash(&published.choices, &used),
        data_hash: header::data_hash(&published.data),
    };
    let opened = Opened::of(vector, &step, header, given.domain, [&da_words, &ops_words])?;
    Ok(Derived { opened, before: *step.before(), new_root: header::state_root(vector.k(), step.after()), ops_words: used })
}

/// The queue digest after these entries.
pub fn queue_digest(before: Word, taken: &[QueueEntry]) -> Word {
    taken.iter().fold(before, |digest, entry| entry.digest_after(&digest))
}

/// What the batch touches, filled up with untouched slots as the operator does.
fn touched(ledger: &Ledger, published: &PublishedBatch, shape: &Shape) -> Result<Vec<TouchedSlot>, DeriveError> {
    let mut touched = follow(&mut ledger.clone(), published)?;
    let used: HashSet<SlotId> = touched.iter().map(|slot| slot.slot).collect();
    let spare = (shape.accounts as usize).checked_sub(used.len()).ok_or(DeriveError::Capacity("accounts"))?;
    touched.extend(spare_slots(ledger.capacity(), &used, spare).map(|slot| {
        let columns = ledger.get(slot).columns();
        TouchedSlot { slot, old: columns, new: columns }
    }));
    touched.sort_by_key(|slot| slot.slot);
    Ok(touched)
}

/// All words of `P_da`, unused ones zero.
///
/// # Errors
/// [`DeriveError`] if the bytes are no batch's, or hold more than the circuit.
pub fn da_words(data: &[u8], shape: &Shape) -> Result<Vec<Fr>, DeriveError> {
    let posted = read_posted_data(data)?;
    if posted.transfers.len() > shape.transfers as usize {
        return Err(DeriveError::Capacity("transfers"));
    }
    let (pairs, _) = data[header::COUNTS_BYTES..].as_chunks::<{ header::PAIR_BYTES }>();
    let pairs = pairs.iter().take(posted.transfers.len().div_ceil(2)).map(|pair| Fr::from_be_bytes_mod_order(pair));
    let mut words = Vec::with_capacity(shape.da_words() as usize);
    extend(&mut words, pairs, shape.registers_offset(), "transfers")?;
    let registers = posted.registers.iter().flat_map(|posted| {
        let op = Register { from: posted.from, fee: posted.fee, account: posted.account, ..Register::default() };
        op.words(posted.new)
    });
    extend(&mut words, registers, shape.fees_offset(), "registers")?;
    extend(&mut words, posted.fees.iter().map(header::FeeCredit::word), shape.da_words(), "fees")?;
    Ok(words)
}

/// Appends the words and zeros up to `end`.
fn extend(words: &mut Vec<Fr>, more: impl Iterator<Item = Fr>, end: u32, kind: &'static str) -> Result<(), DeriveError> {
    words.extend(more);
    if words.len() > end as usize {
        return Err(DeriveError::Capacity(kind));
    }
    words.resize(end as usize, Fr::zero());
    Ok(())
}

/// Words of `P_ops` by kind.
#[derive(Clone, Debug, Default)]
pub struct OpsWords {
    withdrawals: Vec<Fr>,
    deposits: Vec<Fr>,
    exits: Vec<Fr>,
    rotations: Vec<Fr>,
}

impl OpsWords {
    /// Those of a batch.
    ///
    /// # Errors
    /// [`DeriveError::Withdrawal`].
    pub fn of(published: &PublishedBatch) -> Result<Self, DeriveError> {
        let mut words = Self::default();
        for (i, withdrawal) in published.withdrawals.iter().enumerate() {
            for word in withdrawal {
                words.withdrawals.push(from_word(word).ok_or(DeriveError::Withdrawal(i))?);
            }
        }
        for (entry, choice) in published.taken.iter().zip(&published.choices) {
            // key and owner of what a request finds are no words of it
            let found = |token| Found { slot: entry.slot, triple: Triple { token, ..blank() }, requester: entry.sender };
            match (entry.kind, *choice) {
                (QueueKind::Deposit, Choice::Deposit(slot)) => {
                    let triple = Triple { key: entry.key, owner: entry.owner, token: entry.token };
                    words.deposits.extend(Deposit { slot, triple, amount: entry.amount }.words());
                }
                (QueueKind::Exit, Choice::Exit(token, amount)) => words.exits.extend(Exit { found: found(token), amount }.words()),
                (QueueKind::Rotation, Choice::Rotation(token)) => {
                    words.rotations.extend(Rotation { found: found(token), new_key: entry.key }.words());
                }
                // refunds have no words; following refuses what does not fit
                _ => {}
            }
        }
        Ok(words)
    }

    /// The used ones, kind after kind, as a commit's hash takes them.
    pub fn used(&self) -> Vec<Fr> {
        [&self.withdrawals, &self.deposits, &self.exits, &self.rotations].into_iter().flatten().copied().collect()
    }

    /// All words that a circuit has, unused ones zero.
    ///
    /// # Errors
    /// [`DeriveError::Capacity`].
    pub fn padded(&self, shape: &Shape) -> Result<Vec<Fr>, DeriveError> {
        let mut words = Vec::with_capacity(shape.ops_words() as usize);
        for (kind, more, end) in [
            ("withdrawals", &self.withdrawals, shape.deposits_offset()),
            ("deposits", &self.deposits, shape.exits_offset()),
            ("exits", &self.exits, shape.rotations_offset()),
            ("rotations", &self.rotations, shape.ops_words()),
        ] {
            extend(&mut words, more.iter().copied(), end, kind)?;
        }
        Ok(words)
    }
}

fn blank() -> Triple {
    crate::ledger::Slot::EMPTY.triple
}
