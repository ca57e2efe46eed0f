//! A batch: its slots, the statement that the circuit proves about them, its transcript, words, claims and public inputs.
//!
//! [`Batch`] is plain data and the prover's input. [`Batch::assemble`] makes it from the state and the operations;
//! [`Batch::check`] is the native twin of the circuit: same groups, same order, same names. Inside a batch operations commute.
//!
//! ```text
//! signed slots ──┐                       BAL    credits - debits = change of balance, per (slot, token)
//! deposits ──────┼── seven buses ── account slots (sorted, padded)      KEY NONCE OPEN READ EXIT ROT
//! fee slots ─────┘
//! ```

use crate::amount::{Amount, BALANCE_BITS, Nonce, SLOT_BITS, SlotId, TokenId, WHOLE_AMOUNT_BITS};
use crate::field::{Fr, pow2};
use crate::header::{Choice, FeeCredit, posted_data};
use crate::kzg::{Claims, TouchedSlot};
use crate::ledger::{Ledger, Slot, Triple};
use crate::ops::{Op, OpTag, Transfer, Withdraw};
use crate::poseidon::Sponge17;
use crate::schnorr::{self, Signature};
use crate::shape::Shape;
use ark_ff::Zero;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Signed operations of one slot and batch are below `2^12`.
pub const SIGNED_BITS: u32 = 12;
/// Deposits naming one slot in a batch are below `2^8`.
pub const OPENS_BITS: u32 = 8;

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

/// One touched (or padding) slot, before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSlot {
    /// Its index.
    pub id: SlotId,
    /// Content before the batch.
    pub old: Slot,
    /// Content after the batch.
    pub new: Slot,
    /// True if this batch opens it.
    pub is_new: bool,
    /// m: operations it signed in this batch.
    pub signed: u16,
    /// c: deposits and registers naming it.
    pub opens: u8,
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
    /// At most D, in queue order, without refunds.
    pub deposits: Vec<Deposit>,
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
    /// A deposit does not name exactly its slot's key, owner and token.
    #[error("open bus: slot {0}")]
    Open(SlotId),
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

impl Deposit {
    /// The four words of `P_ops`: K, amount, owner, key.
    pub fn words(&self) -> [Fr; 4] {
        [account_pole(self.slot, self.triple.token), Fr::from(self.amount.0), self.triple.owner.to_fr(), self.triple.key]
    }
}

impl AccountSlot {
    /// An untouched slot, as padding.
    pub fn untouched(id: SlotId, slot: Slot) -> Self {
        Self { id, old: slot, new: slot, is_new: false, signed: 0, opens: 0 }
    }

    /// The first of the four absorbed elements:
    /// `dyn' + 2^184 idx + 2^208 is_new + 2^209 m + 2^221 c` (r, x and y are zero without requests).
    pub fn absorbed_head(&self) -> Fr {
        self.new.packed()
            + pow2(184) * Fr::from(self.id.0)
            + pow2(208) * Fr::from(self.is_new)
            + pow2(209) * Fr::from(self.signed)
            + pow2(221) * Fr::from(self.opens)
    }

    /// All four absorbed elements: head, old dyn, key, owner.
    pub fn absorbed(&self) -> [Fr; 4] {
        [self.absorbed_head(), self.old.packed(), self.new.triple.key, self.new.triple.owner.to_fr()]
    }
}

impl Batch {
    /// Makes the batch that applies the given operations to `before` and pads it with untouched slots.
    /// The fee slots are chosen by `fee_slot`, for exactly those tokens that paid fees.
    ///
    /// # Errors
    /// [`BatchError`] if the operations do not fit the circuit or do not form a valid batch on this state.
    pub fn assemble(
        before: &Ledger,
        circuit: (u32, Shape),
        domain: Fr,
        transfers: Vec<Signed<Transfer>>,
        withdrawals: Vec<Signed<Withdraw>>,
        deposits: Vec<Deposit>,
        fee_slot: impl Fn(TokenId) -> Option<SlotId>,
    ) -> Result<Batch, BatchError> {
        let (circuit, shape) = circuit;
        let mut batch = Batch { shape, circuit, domain, transfers, withdrawals, deposits, fees: Vec::new(), accounts: Vec::new() };
        // first, because the sums below rely on the widths
        batch.check_capacities()?;
        batch.check_slots()?;
        batch.fees = batch
            .fee_totals()
            .into_iter()
            .filter(|(_, total)| *total > 0)
            .map(|(token, total)| {
                let slot = fee_slot(token).ok_or(BatchError::NoFeeSlot(token))?;
                Ok(FeeCredit { slot, token, total: Amount(total) })
            })
            .collect::<Result<_, _>>()?;
        batch.accounts = batch.touched(before)?;
        batch.pad(before)?;
        batch.check()?;
        Ok(batch)
    }

    /// All signed operations: transfers, then withdrawals.
    pub fn signed_ops(&self) -> impl Iterator<Item = (Op, Fr, &Signature)> {
        let transfers = self.transfers.iter().map(|s| (Op::Transfer(s.op), s.key, &s.signature));
        let withdrawals = self.withdrawals.iter().map(|s| (Op::Withdraw(s.op), s.key, &s.signature));
        transfers.chain(withdrawals)
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
        changes
    }

    /// The account slots that the operations touch, with their contents afterwards.
    fn touched(&self, before: &Ledger) -> Result<Vec<AccountSlot>, BatchError> {
        let mut accounts: BTreeMap<SlotId, AccountSlot> = BTreeMap::new();
        for deposit in &self.deposits {
            let account = accounts.entry(deposit.slot).or_insert_with(|| open(before, deposit));
            account.opens = account.opens.checked_add(1).ok_or(BatchError::Range("deposits into one slot"))?;
        }
        for (op, _, _) in self.signed_ops() {
            let account = accounts.entry(op.from()).or_insert_with(|| AccountSlot::untouched(op.from(), before.get(op.from())));
            account.signed = account.signed.checked_add(1).ok_or(BatchError::Range("operations of one slot"))?;
            account.new.nonce = Nonce(account.new.nonce.0.checked_add(1).ok_or(BatchError::Range("nonce"))?);
        }
        for ((slot, token), change) in self.balance_changes() {
            if change == 0 && !accounts.contains_key(&slot) {
                continue;
            }
            let account = accounts.entry(slot).or_insert_with(|| AccountSlot::untouched(slot, before.get(slot)));
            let balance = i128::try_from(account.new.balance.0).ok().and_then(|old| old.checked_add(change));
            let balance = balance.filter(|b| *b >= 0 && *b >> BALANCE_BITS == 0).ok_or(BatchError::Balance(slot, token))?;
            account.new.balance = Amount(balance as u128);
        }
        Ok(accounts.into_values().collect())
    }

    /// Fills the account slots with untouched ones of the state, lowest first.
    fn pad(&mut self, before: &Ledger) -> Result<(), BatchError> {
        let wanted = self.shape.accounts as usize;
        capacity("account slots", self.accounts.len(), self.shape.accounts)?;
        let used: std::collections::HashSet<SlotId> = self.accounts.iter().map(|a| a.id).collect();
        let spare = (1..before.capacity()).map(SlotId).filter(|id| !used.contains(id)).take(wanted - used.len());
        self.accounts.extend(spare.map(|id| AccountSlot::untouched(id, before.get(id))));
        if self.accounts.len() != wanted {
            return Err(BatchError::StateTooSmall(before.capacity()));
        }
        self.accounts.sort_by_key(|account| account.id);
        Ok(())
    }

    /// The statement of the circuit, checked natively: what it accepts is provable, and nothing else, but for these exceptions.
    ///
    /// ```text
    /// refused here, provable                              who refuses it
    ///   withdrawal or deposit of 2^112 or more            L1, when it is committed or deposited
    ///   deposit into slot 0                               L1: 1 <= idx
    ///   unused slot written as one from slot 0            nobody: no word of it moves anything, and L1 pays nothing for from = 0
    ///   fees not in the order of their tokens             nobody: followers credit each as it stands
    ///   old balance of 2^120 or more                      the state's opening: no batch ends with one
    ///   other sign of R or of the key, and the second     nobody: only who holds the key can make them, and they bind the same
    ///   reading of e (schnorr, circuits' signature)       message
    /// accepted here, not provable
    ///   signature that no recoding of S can prove         admission: SignatureError::Unprovable
    ///   challenges that hit a pole or a point of the      nobody: they are hashes, the chance is below 2^-200; seal again
    ///   domain
    /// accepted here, provable, still no good
    ///   old contents or indices that are not the state's  the state's opening
    ///   deposit with a zero key, owner or token           L1: it queues none
    /// ```
    ///
    /// # Errors
    /// [`BatchError`], the first group that fails.
    pub fn check(&self) -> Result<(), BatchError> {
        self.check_capacities()?;
        self.check_slots()?;
        self.check_accounts()?;
        self.check_balance_bus()?;
        self.check_key_bus()?;
        self.check_nonce_bus()?;
        self.check_open_bus()?;
        self.check_signatures()
    }

    fn check_capacities(&self) -> Result<(), BatchError> {
        capacity("transfers", self.transfers.len(), self.shape.transfers)?;
        capacity("withdrawals", self.withdrawals.len(), self.shape.withdrawals)?;
        capacity("deposits", self.deposits.len(), self.shape.deposits)?;
        capacity("fees", self.fees.len(), self.shape.fees)
    }

    fn check_slots(&self) -> Result<(), BatchError> {
        for (op, _, _) in self.signed_ops() {
            if op.from() == SlotId(0) {
                return Err(BatchError::Disabled);
            }
            in_range(op.from(), "from")?;
            if let Op::Transfer(transfer) = op {
                in_range(transfer.to, "to")?;
            }
            whole(op.amount(), "amount")?;
        }
        for deposit in &self.deposits {
            if deposit.slot == SlotId(0) {
                return Err(BatchError::Disabled);
            }
            in_range(deposit.slot, "deposit slot")?;
            whole(deposit.amount, "deposit amount")?;
        }
        if !self.fees.windows(2).all(|pair| pair[0].token < pair[1].token) {
            return Err(BatchError::FeeOrder);
        }
        for fee in &self.fees {
            in_range(fee.slot, "fee slot")?;
            whole(fee.total, "fee total")?;
        }
        Ok(())
    }

    fn check_accounts(&self) -> Result<(), BatchError> {
        let sorted = self.accounts.windows(2).all(|pair| pair[0].id < pair[1].id);
        if !sorted || self.accounts.len() != self.shape.accounts as usize {
            return Err(BatchError::Unsorted(self.shape.accounts));
        }
        self.accounts.iter().try_for_each(check_account)
    }

    fn check_balance_bus(&self) -> Result<(), BatchError> {
        let mut changes = self.balance_changes();
        for account in &self.accounts {
            let change = account.new.balance.0 as i128 - account.old.balance.0 as i128;
            *changes.entry((account.id, account.new.triple.token)).or_insert(0) -= change;
        }
        if let Some(((slot, token), _)) = changes.into_iter().find(|(_, sum)| *sum != 0) {
            return Err(BatchError::Balance(slot, token));
        }
        let mut fees: BTreeMap<TokenId, i128> = self.fee_totals().into_iter().map(|(t, sum)| (t, sum as i128)).collect();
        for fee in &self.fees {
            *fees.entry(fee.token).or_insert(0) -= fee.total.0 as i128;
        }
        fees.into_iter().find(|(_, sum)| *sum != 0).map_or(Ok(()), |(token, _)| Err(BatchError::Fee(token)))
    }

    fn check_key_bus(&self) -> Result<(), BatchError> {
        let mut poles: HashMap<(SlotId, TokenId, Fr), i64> = HashMap::new();
        for (op, key, _) in self.signed_ops() {
            *poles.entry((op.from(), op.token(), key)).or_insert(0) += 1;
        }
        for account in &self.accounts {
            let triple = account.new.triple;
            *poles.entry((account.id, triple.token, triple.key)).or_insert(0) -= i64::from(account.signed);
        }
        poles.into_iter().find(|(_, sum)| *sum != 0).map_or(Ok(()), |((slot, _, _), _)| Err(BatchError::Key(slot)))
    }

    fn check_nonce_bus(&self) -> Result<(), BatchError> {
        let mut edges: HashMap<u64, i64> = HashMap::new();
        for (op, _, _) in self.signed_ops() {
            *edges.entry(u64::from(op.from().0) << 32 | u64::from(op.nonce().0)).or_insert(0) += 1;
        }
        for account in &self.accounts {
            let end = u64::from(account.id.0) << 32 | u64::from(account.new.nonce.0);
            for edge in end - u64::from(account.signed)..end {
                *edges.entry(edge).or_insert(0) -= 1;
            }
        }
        let bad = edges.into_iter().find(|(_, sum)| *sum != 0);
        bad.map_or(Ok(()), |(edge, _)| Err(BatchError::Nonce(SlotId((edge >> 32) as u32))))
    }

    fn check_open_bus(&self) -> Result<(), BatchError> {
        let mut opens: HashMap<(SlotId, Triple), i64> = HashMap::new();
        for deposit in &self.deposits {
            *opens.entry((deposit.slot, deposit.triple)).or_insert(0) += 1;
        }
        for account in &self.accounts {
            *opens.entry((account.id, account.new.triple)).or_insert(0) -= i64::from(account.opens);
        }
        opens.into_iter().find(|(_, sum)| *sum != 0).map_or(Ok(()), |((slot, _), _)| Err(BatchError::Open(slot)))
    }

    fn check_signatures(&self) -> Result<(), BatchError> {
        for (op, key, signature) in self.signed_ops() {
            schnorr::verify(key, self.domain, op.tag() as u8, op.message(self.domain), signature).map_err(|_| BatchError::Signature(op.from()))?;
        }
        Ok(())
    }

    /// The transcript `h`: one sponge over everything that varies, in the protocol's order.
    pub fn transcript(&self) -> Fr {
        let mut sponge = Sponge17::new(Fr::from(self.circuit));
        for element in self.absorbed() {
            sponge.absorb(element);
        }
        sponge.finish()
    }

    /// Every absorbed element: e of transfers and withdrawals, deposits, fee words, account slots.
    pub fn absorbed(&self) -> Vec<Fr> {
        let mut out: Vec<Fr> = self.transfers.iter().map(|t| t.challenge_hash(self.domain)).collect();
        let spare = self.shape.transfers as usize - self.transfers.len();
        out.extend(std::iter::repeat_n(dummy_transfer(self.domain).challenge_hash(self.domain), spare));
        out.extend(self.withdrawals.iter().map(|w| w.challenge_hash(self.domain)));
        let spare = self.shape.withdrawals as usize - self.withdrawals.len();
        out.extend(std::iter::repeat_n(dummy_withdrawal(self.domain).challenge_hash(self.domain), spare));
        out.extend(padded(self.deposits.iter().flat_map(Deposit::words), 4 * self.shape.deposits));
        out.extend(padded(self.fees.iter().map(FeeCredit::word), self.shape.fees));
        out.extend(self.accounts.iter().flat_map(AccountSlot::absorbed));
        out
    }

    /// The used words of `P_ops`, in order: withdrawals, deposits.
    pub fn used_ops_words(&self) -> Vec<Fr> {
        let withdrawals = self.withdrawals.iter().flat_map(|w| w.op.words());
        withdrawals.chain(self.deposits.iter().flat_map(Deposit::words)).collect()
    }

    /// All words of `P_ops`, unused ones zero.
    pub fn ops_words(&self) -> Vec<Fr> {
        let mut words = padded(self.withdrawals.iter().flat_map(|w| w.op.words()), self.shape.deposits_offset());
        words.extend(self.deposits.iter().flat_map(Deposit::words));
        padded(words.into_iter(), self.shape.ops_words())
    }

    /// All words of `P_da`, unused ones zero.
    pub fn da_words(&self) -> Vec<Fr> {
        let pairs =
            self.transfers.chunks(2).map(|pair| Fr::from(pair[0].op.word()) + pair.get(1).map_or(Fr::zero(), |t| pow2(104) * Fr::from(t.op.word())));
        let mut words = padded(pairs, self.shape.fees_offset());
        words.extend(self.fees.iter().map(FeeCredit::word));
        padded(words.into_iter(), self.shape.da_words())
    }

    /// The bytes posted to L1.
    pub fn posted_data(&self) -> Vec<u8> {
        let words: Vec<u128> = self.transfers.iter().map(|t| t.op.word()).collect();
        posted_data(&words, &self.fees)
    }

    /// The choices of the entries taken when none is refunded.
    pub fn choices(&self) -> Vec<Choice> {
        self.deposits.iter().map(|d| Choice::Deposit(d.slot)).collect()
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

fn open(before: &Ledger, deposit: &Deposit) -> AccountSlot {
    let old = before.get(deposit.slot);
    if old.is_empty() {
        return AccountSlot { is_new: true, new: Slot::opened(deposit.triple), ..AccountSlot::untouched(deposit.slot, old) };
    }
    AccountSlot::untouched(deposit.slot, old)
}

fn check_account(account: &AccountSlot) -> Result<(), BatchError> {
    let AccountSlot { id, old, new, is_new, signed, opens } = account;
    in_range(*id, "account slot")?;
    if (old.balance.0 | new.balance.0) >> BALANCE_BITS != 0 {
        return Err(BatchError::Range("balance"));
    }
    if u32::from(*signed) >> SIGNED_BITS != 0 {
        return Err(BatchError::Range("operations of one slot"));
    }
    let fits = if *is_new {
        *old == Slot::EMPTY && new.nonce.0 == u32::from(*signed) && *opens != 0
    } else {
        old.triple == new.triple && old.nonce.0.checked_add(u32::from(*signed)) == Some(new.nonce.0)
    };
    fits.then_some(()).ok_or(BatchError::Account(*id))
}

fn capacity(kind: &'static str, got: usize, capacity: u32) -> Result<(), BatchError> {
    if got > capacity as usize { Err(BatchError::Capacity { kind, got, capacity }) } else { Ok(()) }
}

fn in_range(slot: SlotId, name: &'static str) -> Result<(), BatchError> {
    if slot.0 >> SLOT_BITS != 0 { Err(BatchError::Range(name)) } else { Ok(()) }
}

fn whole(amount: Amount, name: &'static str) -> Result<(), BatchError> {
    if amount.0 >> WHOLE_AMOUNT_BITS != 0 { Err(BatchError::Range(name)) } else { Ok(()) }
}
