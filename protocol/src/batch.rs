//! A batch: its slots, the statement that the circuit proves about them, its transcript, words, claims and public inputs.
//!
//! [`Batch`] is plain data and the prover's input. [`Batch::assemble`] makes it from the state and the operations;
//! [`Batch::check`] is the native twin of the circuit: same groups, same order, same names. Inside a batch operations commute.
//!
//! ```text
//! signed slots ────────┐                       BAL    credits - debits = change of balance, per (slot, token)
//! deposits, requests ──┼── seven buses ── account slots (sorted, padded)      KEY NONCE OPEN READ EXIT ROT
//! fee slots ───────────┘
//! ```

mod assemble;
mod check;

use crate::amount::{Address, Amount, SlotId, TokenId};
use crate::field::{Fr, pow2};
use crate::header::{Choice, FeeCredit, PostedRegister, posted_data};
use crate::kzg::{Claims, TouchedSlot};
use crate::ledger::{Slot, Triple};
use crate::ops::{Op, OpTag, Register, Transfer, Withdraw};
use crate::poseidon::Sponge17;
use crate::schnorr::{self, Signature};
use crate::shape::Shape;
use ark_ff::Zero;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(crate) use assemble::spare_slots;
pub use assemble::{Operations, Request};

/// Signed operations of one slot and batch are below `2^12`.
pub const SIGNED_BITS: u32 = 12;
/// Deposits and registers naming one slot in a batch are below `2^8`.
pub const OPENS_BITS: u32 = 8;
/// Requests naming one slot in a batch are below `2^8`.
pub const READS_BITS: u32 = 8;
/// Slots that registers open, packed into one absorbed element.
pub const NEW_SLOTS_PER_ELEMENT: usize = 10;

/// A signed operation in the batch with the key that signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed<T> {
    /// The operation.
    pub op: T,
    /// x-coordinate of the key: a free witness of the circuit, tied to the slot by the KEY bus.
    #[serde(with = "crate::field::fr_hex")]
    pub key: Fr,
    /// The signature.
    pub signature: Signature,
}

/// A deposit taken from the L1 queue into a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// The slot it credits, opened by it or holding exactly its triple.
    pub slot: SlotId,
    /// Key, owner and token as L1 has them.
    pub triple: Triple,
    /// Below 2^112.
    pub amount: Amount,
}

/// A register in the batch with the slot that the operator chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The sponsor's operation.
    pub signed: Signed<Register>,
    /// The slot it opens, or that holds exactly the account already.
    pub new: SlotId,
}

/// What a request from the L1 queue finds at its slot: key and owner at the start of the batch, or those it is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The slot it names.
    pub slot: SlotId,
    /// Key, owner and token there; all zero in an empty slot.
    pub triple: Triple,
    /// Who asks on L1.
    pub requester: Address,
}

/// A forced exit taken from the L1 queue: pays what is left in the slot if its owner asks, else nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Slot and requester.
    pub found: Found,
    /// What leaves, below 2^112.
    pub amount: Amount,
}

/// A key rotation taken from the L1 queue: replaces the slot's key if its owner asks, else does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Slot and requester.
    pub found: Found,
    /// x-coordinate of the new key.
    #[serde(with = "crate::field::fr_hex")]
    pub new_key: Fr,
}

/// One touched (or padding) slot, before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSlot {
    /// Its index.
    pub id: SlotId,
    /// Content before the batch.
    pub old: Slot,
    /// Content after the batch.
    pub new: Slot,
    /// The key under which this batch sees the slot: the one before it, or the one it is opened with. A rotation alone makes it differ from the
    /// new key.
    #[serde(with = "crate::field::fr_hex")]
    pub key: Fr,
    /// True if this batch opens it.
    pub is_new: bool,
    /// m: operations it signed in this batch.
    pub signed: u16,
    /// c: deposits and registers naming it.
    pub opens: u8,
    /// r: requests naming it.
    pub reads: u8,
    /// x: an exit acts on it.
    pub exits: bool,
    /// y: a rotation acts on it.
    pub rotates: bool,
}

/// A batch as the prover gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Capacities of the circuit.
    pub shape: Shape,
    /// Circuit id in the deployment.
    pub circuit: u32,
    /// The deployment's domain.
    #[serde(with = "crate::field::fr_hex")]
    pub domain: Fr,
    /// At most T.
    pub transfers: Vec<Signed<Transfer>>,
    /// At most W.
    pub withdrawals: Vec<Signed<Withdraw>>,
    /// At most R.
    pub registers: Vec<Registered>,
    /// At most D, in queue order, without refunds.
    pub deposits: Vec<Deposit>,
    /// At most X, in queue order.
    pub exits: Vec<Exit>,
    /// At most Y, in queue order.
    pub rotations: Vec<Rotation>,
    /// At most F, strictly increasing tokens.
    pub fees: Vec<FeeCredit>,
    /// Exactly A, strictly increasing indices.
    pub accounts: Vec<AccountSlot>,
}

/// The challenges that L1 derives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenges {
    /// Batches the columns and the keys.
    #[serde(with = "crate::field::fr_hex")]
    pub rho: Fr,
    /// The point at which everything is evaluated.
    #[serde(with = "crate::field::fr_hex")]
    pub zeta: Fr,
}

/// What a prover needs: stored with the batch, sent to workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProverInput {
    /// The batch.
    pub batch: Batch,
    /// rho and zeta.
    pub challenges: Challenges,
}

impl ProverInput {
    /// Reads one from JSON. Gateways and workers read with this one, for it is compiled in this crate, which every profile optimises.
    ///
    /// # Errors
    /// If it is not the JSON of a [`ProverInput`].
    pub fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// Order of the public inputs, in Rust, circuit and Solidity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum PublicInput {
    /// The deployment's domain.
    Domain = 0,
    /// Challenge rho.
    Rho,
    /// Challenge zeta.
    Zeta,
    /// Transcript h.
    H,
    /// Claim E.
    E,
    /// Claim Z.
    Z,
    /// Claim Delta.
    Delta,
    /// `P_da(zeta)`.
    YDa,
    /// `P_ops(zeta)`.
    YOps,
}

/// Number of public inputs.
pub const PUBLIC_INPUTS: usize = 9;

/// The public inputs in order.
pub type PublicInputs = [Fr; PUBLIC_INPUTS];

/// Why a batch is not provable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// More of a kind than the circuit holds.
    #[error("{got} {kind} in a batch whose circuit holds {capacity}")]
    Capacity {
        /// Which kind.
        kind: &'static str,
        /// How many.
        got: usize,
        /// How many fit.
        capacity: u32,
    },
    /// A used slot names slot 0.
    #[error("an operation in use names slot 0")]
    Disabled,
    /// A number exceeds its width.
    #[error("{0} exceeds its width")]
    Range(&'static str),
    /// Account slots are not strictly increasing, or not exactly A.
    #[error("account slots are not {0} strictly increasing indices")]
    Unsorted(u32),
    /// A signature does not verify under the key that comes with it.
    #[error("signature of slot {0} does not verify")]
    Signature(SlotId),
    /// An account slot's old and new content do not belong together.
    #[error("account slot {0}: old and new content do not belong together")]
    Account(SlotId),
    /// Credits and debits of a (slot, token) are not its change of balance.
    #[error("balance bus: slot {0}, token {1}")]
    Balance(SlotId, TokenId),
    /// Fees collected and credited differ.
    #[error("balance bus: fees of token {0}")]
    Fee(TokenId),
    /// Fee slots do not name strictly increasing tokens: a batch has one form, though the circuit would prove others.
    #[error("fee slots do not name strictly increasing tokens")]
    FeeOrder,
    /// The key that signed is not the slot's.
    #[error("key bus: slot {0}")]
    Key(SlotId),
    /// Nonces are not used exactly once each without a gap.
    #[error("nonce bus: slot {0}")]
    Nonce(SlotId),
    /// A deposit or register does not name exactly its slot's key, owner and token.
    #[error("open bus: slot {0}")]
    Open(SlotId),
    /// A request does not carry exactly its slot's key, owner and token.
    #[error("read bus: slot {0}")]
    Read(SlotId),
    /// Acting exits of a slot are not what its account slot says, or more than one.
    #[error("exit bus: slot {0}")]
    Exit(SlotId),
    /// Acting rotations of a slot are not what its account slot says, or more than one, or to another key.
    #[error("rotate bus: slot {0}")]
    Rotate(SlotId),
    /// An exit that is not the owner's pays something.
    #[error("the exit of slot {0} is not its owner's and pays something")]
    ForeignExit(SlotId),
    /// No fee slot was given for a token that paid fees.
    #[error("no fee slot for token {0}")]
    NoFeeSlot(TokenId),
    /// The state has fewer slots than the circuit's account slots.
    #[error("the state has {0} slots, too few to fill the circuit's account slots")]
    StateTooSmall(u32),
}

/// `K(i, t) = 2^16 i + t`.
pub fn account_pole(slot: SlotId, token: TokenId) -> Fr {
    Fr::from(u64::from(slot.0) << 16 | u64::from(token.0))
}

impl Signed<Transfer> {
    /// `e`: the challenge hash that binds R.x, key and message.
    pub fn challenge_hash(&self, domain: Fr) -> Fr {
        schnorr::challenge_hash(domain, OpTag::Transfer as u8, self.signature.r_x, self.key, self.op.message())
    }
}

impl Signed<Withdraw> {
    /// `e`: the challenge hash that binds R.x, key and message.
    pub fn challenge_hash(&self, domain: Fr) -> Fr {
        schnorr::challenge_hash(domain, OpTag::Withdraw as u8, self.signature.r_x, self.key, self.op.message(domain))
    }
}

impl Signed<Register> {
    /// `e`: the challenge hash that binds R.x, key and message.
    pub fn challenge_hash(&self, domain: Fr) -> Fr {
        schnorr::challenge_hash(domain, OpTag::Register as u8, self.signature.r_x, self.key, self.op.message(domain))
    }
}

/// The transfer that fills unused slots: zero words, signed by the dummy key.
pub fn dummy_transfer(domain: Fr) -> Signed<Transfer> {
    let op = Transfer::default();
    let (key, signature) = schnorr::dummy(domain, OpTag::Transfer as u8, op.message());
    Signed { op, key: key.0, signature }
}

/// The withdrawal that fills unused slots: zero words, signed by the dummy key.
pub fn dummy_withdrawal(domain: Fr) -> Signed<Withdraw> {
    let op = Withdraw::default();
    let (key, signature) = schnorr::dummy(domain, OpTag::Withdraw as u8, op.message(domain));
    Signed { op, key: key.0, signature }
}

/// The register that fills unused slots: zero words, signed by the dummy key.
pub fn dummy_register(domain: Fr) -> Registered {
    let op = Register::default();
    let (key, signature) = schnorr::dummy(domain, OpTag::Register as u8, op.message(domain));
    Registered { signed: Signed { op, key: key.0, signature }, new: SlotId(0) }
}

impl Registered {
    /// The three posted words: w0, key, owner.
    pub fn words(&self) -> [Fr; 3] {
        self.signed.op.words(self.new)
    }
}

impl Found {
    /// True if the owner asks.
    pub fn acts(&self) -> bool {
        self.requester == self.triple.owner
    }

    /// Five absorbed elements, the first three being words of `P_ops`: K, requester, `third`, owner, key.
    fn absorbed(&self, third: Fr) -> [Fr; 5] {
        let Found { slot, triple, requester } = self;
        [account_pole(*slot, triple.token), requester.to_fr(), third, triple.owner.to_fr(), triple.key]
    }
}

impl Exit {
    /// K, requester, amount, owner, key: all absorbed, the first three are words of `P_ops`.
    pub fn absorbed(&self) -> [Fr; 5] {
        self.found.absorbed(Fr::from(self.amount.0))
    }

    /// The three words of `P_ops`.
    pub fn words(&self) -> [Fr; 3] {
        let [pole, requester, amount, ..] = self.absorbed();
        [pole, requester, amount]
    }
}

impl Rotation {
    /// K, requester, new key, owner, key: all absorbed, the first three are words of `P_ops`.
    pub fn absorbed(&self) -> [Fr; 5] {
        self.found.absorbed(self.new_key)
    }

    /// The three words of `P_ops`.
    pub fn words(&self) -> [Fr; 3] {
        let [pole, requester, new_key, ..] = self.absorbed();
        [pole, requester, new_key]
    }
}

impl Deposit {
    /// The four words of `P_ops`: K, amount, owner, key.
    pub fn words(&self) -> [Fr; 4] {
        [account_pole(self.slot, self.triple.token), Fr::from(self.amount.0), self.triple.owner.to_fr(), self.triple.key]
    }
}

impl AccountSlot {
    /// An untouched slot, as padding.
    pub fn untouched(id: SlotId, slot: Slot) -> Self {
        let key = slot.triple.key;
        Self { id, old: slot, new: slot, key, is_new: false, signed: 0, opens: 0, reads: 0, exits: false, rotates: false }
    }

    /// Key, owner and token under which this batch sees the slot.
    pub fn seen(&self) -> Triple {
        Triple { key: self.key, ..self.new.triple }
    }

    /// The first of the four absorbed elements:
    /// `dyn' + 2^184 idx + 2^208 is_new + 2^209 m + 2^221 c + 2^229 r + 2^237 x + 2^238 y`.
    pub fn absorbed_head(&self) -> Fr {
        self.new.packed()
            + pow2(184) * Fr::from(self.id.0)
            + pow2(208) * Fr::from(self.is_new)
            + pow2(209) * Fr::from(self.signed)
            + pow2(221) * Fr::from(self.opens)
            + pow2(229) * Fr::from(self.reads)
            + pow2(237) * Fr::from(self.exits)
            + pow2(238) * Fr::from(self.rotates)
    }

    /// All four absorbed elements: head, old dyn, key, owner.
    pub fn absorbed(&self) -> [Fr; 4] {
        [self.absorbed_head(), self.old.packed(), self.key, self.new.triple.owner.to_fr()]
    }
}

impl Batch {
    /// All signed operations: transfers, withdrawals, registers.
    pub fn signed_ops(&self) -> impl Iterator<Item = (Op, Fr, &Signature)> {
        let transfers = self.transfers.iter().map(|s| (Op::Transfer(s.op), s.key, &s.signature));
        let withdrawals = self.withdrawals.iter().map(|s| (Op::Withdraw(s.op), s.key, &s.signature));
        let registers = self.registers.iter().map(|r| (Op::Register(r.signed.op), r.signed.key, &r.signed.signature));
        transfers.chain(withdrawals).chain(registers)
    }

    /// Slot and triple of everything that opens a slot or names exactly what it holds: deposits, then registers.
    fn openings(&self) -> impl Iterator<Item = (SlotId, Triple)> {
        let deposits = self.deposits.iter().map(|deposit| (deposit.slot, deposit.triple));
        deposits.chain(self.registers.iter().map(|register| (register.new, register.signed.op.account)))
    }

    /// What exits and rotations found.
    fn found(&self) -> impl Iterator<Item = &Found> {
        self.exits.iter().map(|exit| &exit.found).chain(self.rotations.iter().map(|rotation| &rotation.found))
    }

    fn fee_totals(&self) -> BTreeMap<TokenId, u128> {
        let mut totals = BTreeMap::new();
        for (op, _, _) in self.signed_ops() {
            *totals.entry(op.token()).or_insert(0u128) += op.fee().0;
        }
        totals
    }

    /// Balance bus of this batch's operations: per (slot, token), credits minus debits.
    fn balance_changes(&self) -> BTreeMap<(SlotId, TokenId), i128> {
        let mut changes = BTreeMap::new();
        let mut add = |slot: SlotId, token: TokenId, value: i128| *changes.entry((slot, token)).or_insert(0i128) += value;
        for (op, _, _) in self.signed_ops() {
            add(op.from(), op.token(), -((op.amount().0 + op.fee().0) as i128));
            if let Op::Transfer(transfer) = op {
                add(transfer.to, transfer.token, op.amount().0 as i128);
            }
        }
        for deposit in &self.deposits {
            add(deposit.slot, deposit.triple.token, deposit.amount.0 as i128);
        }
        for fee in &self.fees {
            add(fee.slot, fee.token, fee.total.0 as i128);
        }
        for exit in &self.exits {
            add(exit.found.slot, exit.found.triple.token, -(exit.amount.0 as i128));
        }
        changes
    }

    /// The transcript `h`: one sponge over everything that varies, in the protocol's order.
    pub fn transcript(&self) -> Fr {
        let mut sponge = Sponge17::new(Fr::from(self.circuit));
        for element in self.absorbed() {
            sponge.absorb(element);
        }
        sponge.finish()
    }

    /// Every absorbed element: e of transfers, withdrawals and registers, slots opened by registers, deposits, exits, rotations, fee words,
    /// account slots.
    pub fn absorbed(&self) -> Vec<Fr> {
        let mut out: Vec<Fr> = self.transfers.iter().map(|t| t.challenge_hash(self.domain)).collect();
        let spare = self.shape.transfers as usize - self.transfers.len();
        out.extend(std::iter::repeat_n(dummy_transfer(self.domain).challenge_hash(self.domain), spare));
        out.extend(self.withdrawals.iter().map(|w| w.challenge_hash(self.domain)));
        let spare = self.shape.withdrawals as usize - self.withdrawals.len();
        out.extend(std::iter::repeat_n(dummy_withdrawal(self.domain).challenge_hash(self.domain), spare));
        out.extend(self.registers.iter().map(|r| r.signed.challenge_hash(self.domain)));
        let spare = self.shape.registers as usize - self.registers.len();
        out.extend(std::iter::repeat_n(dummy_register(self.domain).signed.challenge_hash(self.domain), spare));
        out.extend(padded(self.packed_new_slots(), self.shape.registers.div_ceil(NEW_SLOTS_PER_ELEMENT as u32)));
        out.extend(padded(self.deposits.iter().flat_map(Deposit::words), 4 * self.shape.deposits));
        out.extend(padded(self.exits.iter().flat_map(Exit::absorbed), 5 * self.shape.exits));
        out.extend(padded(self.rotations.iter().flat_map(Rotation::absorbed), 5 * self.shape.rotations));
        out.extend(padded(self.fees.iter().map(FeeCredit::word), self.shape.fees));
        out.extend(self.accounts.iter().flat_map(AccountSlot::absorbed));
        out
    }

    /// 24 bits each, ten to an element, the first lowest.
    fn packed_new_slots(&self) -> impl Iterator<Item = Fr> {
        let pack = |chunk: &[Registered]| chunk.iter().rev().fold(Fr::zero(), |sum, register| sum * pow2(24) + Fr::from(register.new.0));
        self.registers.chunks(NEW_SLOTS_PER_ELEMENT).map(pack)
    }

    /// The used words of `P_ops`, in order: withdrawals, deposits, exits, rotations.
    pub fn used_ops_words(&self) -> Vec<Fr> {
        let withdrawals = self.withdrawals.iter().flat_map(|w| w.op.words());
        let requests = self.exits.iter().map(Exit::words).chain(self.rotations.iter().map(Rotation::words));
        withdrawals.chain(self.deposits.iter().flat_map(Deposit::words)).chain(requests.flatten()).collect()
    }

    /// All words of `P_ops`, unused ones zero.
    pub fn ops_words(&self) -> Vec<Fr> {
        let mut words = padded(self.withdrawals.iter().flat_map(|w| w.op.words()), self.shape.deposits_offset());
        words.extend(self.deposits.iter().flat_map(Deposit::words));
        words = padded(words.into_iter(), self.shape.exits_offset());
        words.extend(self.exits.iter().flat_map(Exit::words));
        words = padded(words.into_iter(), self.shape.rotations_offset());
        words.extend(self.rotations.iter().flat_map(Rotation::words));
        padded(words.into_iter(), self.shape.ops_words())
    }

    /// All words of `P_da`, unused ones zero.
    pub fn da_words(&self) -> Vec<Fr> {
        let pairs =
            self.transfers.chunks(2).map(|pair| Fr::from(pair[0].op.word()) + pair.get(1).map_or(Fr::zero(), |t| pow2(104) * Fr::from(t.op.word())));
        let mut words = padded(pairs, self.shape.registers_offset());
        words.extend(self.registers.iter().flat_map(Registered::words));
        words = padded(words.into_iter(), self.shape.fees_offset());
        words.extend(self.fees.iter().map(FeeCredit::word));
        padded(words.into_iter(), self.shape.da_words())
    }

    /// The bytes posted to L1.
    pub fn posted_data(&self) -> Vec<u8> {
        let words: Vec<u128> = self.transfers.iter().map(|t| t.op.word()).collect();
        let registers: Vec<PostedRegister> = self.registers.iter().map(PostedRegister::from).collect();
        posted_data(&words, &registers, &self.fees)
    }

    /// The choices of the entries taken when the queue holds deposits, exits and rotations in this order and none is refunded.
    pub fn choices(&self) -> Vec<Choice> {
        let deposits = self.deposits.iter().map(|deposit| Choice::Deposit(deposit.slot));
        deposits.chain(self.exits.iter().map(Choice::from)).chain(self.rotations.iter().map(Choice::from)).collect()
    }

    /// E, Z and Delta at zeta.
    pub fn claims(&self, challenges: &Challenges) -> Claims {
        Claims::of(&self.touched_slots(), challenges.rho, challenges.zeta)
    }

    /// The nine public inputs.
    pub fn public_inputs(&self, challenges: &Challenges) -> PublicInputs {
        let Claims { e, z, delta } = self.claims(challenges);
        let y_da = evaluate(&self.da_words(), challenges.zeta);
        let y_ops = evaluate(&self.ops_words(), challenges.zeta);
        [self.domain, challenges.rho, challenges.zeta, self.transcript(), e, z, delta, y_da, y_ops]
    }

    /// The account slots as the state vector takes them.
    pub fn touched_slots(&self) -> Vec<TouchedSlot> {
        self.accounts.iter().map(|a| TouchedSlot { slot: a.id, old: a.old.columns(), new: a.new.columns() }).collect()
    }
}

/// `sum_i words_i x^i`.
pub fn evaluate(words: &[Fr], x: Fr) -> Fr {
    words.iter().rev().fold(Fr::zero(), |sum, word| sum * x + word)
}

fn padded(words: impl Iterator<Item = Fr>, length: u32) -> Vec<Fr> {
    let mut words: Vec<Fr> = words.collect();
    words.resize(length as usize, Fr::zero());
    words
}
