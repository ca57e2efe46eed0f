//! What the API answers. Amounts, counters and field elements are decimal strings, hashes and addresses 0x hex, times RFC 3339 in UTC.

mod explorer;

pub use explorer::{Activity, L1CallView, LevelView, ProofView, QueueView};

use crate::problem::Problem;
use serde::Serialize;
use sheaf_protocol::amount::SlotId;
use sheaf_protocol::field::{Word, to_hex, to_word};
use sheaf_protocol::header::{QueueEntry, QueueKind};
use sheaf_protocol::ledger::{Slot, Triple};
use sheaf_protocol::ops::Op;
use sheaf_protocol::shape::Shape;
use sheaf_store::batches;
use sheaf_store::costs::{Cost, usd};
use sheaf_store::transactions::{self, HistoryItem, L1Facts};
use utoipa::ToSchema;

/// What a sender sends: one or many.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Submission {
    /// One; the answer is its receipt or problem.
    One(SignedOperation),
    /// Many; the answer is one result for each.
    Many(Vec<SignedOperation>),
}

/// A signed operation. Every field is a string and none may be missing.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum SignedOperation {
    /// Moves an amount between two slots.
    Transfer {
        /// Paying slot, decimal.
        from: String,
        /// Paid slot, decimal.
        to: String,
        /// Token of both, decimal.
        token: String,
        /// The payer's nonce, decimal.
        nonce: String,
        /// What arrives, decimal: at most 36 significant bits times a power of ten.
        amount: String,
        /// What the operator gets, decimal: at most 12 significant bits times a power of ten.
        fee: String,
        /// 0x and 128 hex digits: R, S.
        signature: String,
    },
    /// Moves an amount to L1.
    Withdraw {
        /// Paying slot, decimal.
        from: String,
        /// Its token, decimal.
        token: String,
        /// The payer's nonce, decimal.
        nonce: String,
        /// What the operator gets, decimal: at most 12 significant bits times a power of ten.
        fee: String,
        /// What leaves, decimal, below 2^112.
        amount: String,
        /// 0x and 40 hex digits: who may claim it on L1.
        address: String,
        /// 0x and 128 hex digits: R, S.
        signature: String,
    },
    /// Opens an account for somebody else; nothing but the fee if it exists already.
    Register {
        /// The sponsor's slot, decimal.
        from: String,
        /// The sponsor's token, decimal: the fee is paid in it.
        token: String,
        /// The sponsor's nonce, decimal.
        nonce: String,
        /// What the operator gets, decimal: at most 12 significant bits times a power of ten.
        fee: String,
        /// 0x and 64 hex digits: the account's public key.
        key: String,
        /// 0x and 40 hex digits: the L1 address that may force its exit and replace its key.
        owner: String,
        /// Its token, decimal.
        account_token: String,
        /// 0x and 128 hex digits: R, S.
        signature: String,
    },
}

/// The answer to a submission.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Answer {
    /// To one.
    Receipt(Receipt),
    /// To many.
    Results(Results),
}

/// What a sender gets: the transaction is durable and will be in a batch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Receipt {
    /// Hash of the operation in this domain; the signature is not in it.
    pub hash: String,
    /// Place in the order of acceptance.
    pub seq: String,
    /// Always `accepted`; GET /v1/transactions/{hash} tells the present state.
    pub state: String,
    /// When it was stored.
    pub accepted_at: String,
}

/// Answers to many transactions, in their order.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Results {
    /// One for each transaction.
    pub results: Vec<ItemResult>,
}

/// The answer to one of many.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemResult {
    /// It was accepted, now or earlier.
    Receipt(Receipt),
    /// It was not.
    Problem(Problem),
}

/// A signed operation without its signature.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Operation {
    /// Moves an amount between two slots.
    Transfer {
        /// Paying slot.
        from: String,
        /// Paid slot.
        to: String,
        /// Token of both.
        token: String,
        /// The payer's nonce.
        nonce: String,
        /// What arrives.
        amount: String,
        /// What the operator gets.
        fee: String,
    },
    /// Moves an amount to L1.
    Withdraw {
        /// Paying slot.
        from: String,
        /// Its token.
        token: String,
        /// The payer's nonce.
        nonce: String,
        /// What leaves.
        amount: String,
        /// What the operator gets.
        fee: String,
        /// Who may claim it on L1.
        address: String,
    },
    /// Opens an account for somebody else.
    Register {
        /// The sponsor's slot.
        from: String,
        /// The sponsor's token.
        token: String,
        /// The sponsor's nonce.
        nonce: String,
        /// What the operator gets.
        fee: String,
        /// The account's public key.
        key: String,
        /// The account's owner on L1.
        owner: String,
        /// The account's token.
        account_token: String,
        /// The slot that holds the account.
        account: Option<String>,
    },
}

/// The L1 facts behind a state.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct L1 {
    /// L1 transaction that committed the batch.
    pub commit_tx: Option<String>,
    /// Its block.
    pub commit_block: Option<String>,
    /// That block's time.
    pub committed_at: Option<String>,
    /// L1 transaction that proved the batch.
    pub prove_tx: Option<String>,
    /// Its block.
    pub prove_block: Option<String>,
    /// That block's time.
    pub proven_at: Option<String>,
    /// Time of the block that made it final.
    pub final_at: Option<String>,
}

/// A transaction with its present state.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Transaction {
    /// Hash.
    pub hash: String,
    /// Place in the order of acceptance.
    pub seq: String,
    /// What it does.
    #[serde(flatten)]
    pub operation: Operation,
    /// `accepted`, `sealed`, `committed`, `proven` or `final`.
    pub state: String,
    /// When it was stored.
    pub accepted_at: String,
    /// Its batch, once sealed.
    pub batch: Option<String>,
    /// When its batch was sealed.
    pub sealed_at: Option<String>,
    /// What L1 says.
    pub l1: L1,
}

/// An entry of the L1 queue: a deposit, or a request by whoever says to be the owner.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct L1Entry {
    /// Place in the order of acceptance.
    pub seq: String,
    /// `deposit`, `exit` or `rotation`.
    pub op: &'static str,
    /// Index in the L1 queue.
    pub queue_index: String,
    /// Who sent it on L1.
    pub sender: String,
    /// Token of a deposit.
    pub token: Option<String>,
    /// Amount of a deposit.
    pub amount: Option<String>,
    /// The new key that a rotation asks for.
    pub key: Option<String>,
    /// As of a transaction.
    pub state: String,
    /// Its batch, once sealed.
    pub batch: Option<String>,
}

/// A line of a slot's history.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum HistoryLine {
    /// Signed or received.
    Transaction(Box<Transaction>),
    /// Arrived from L1.
    Entry(L1Entry),
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items, newest first unless told otherwise.
    pub items: Vec<T>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next: Option<String>,
}

/// A slot with every accepted transaction applied.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SlotView {
    /// Index.
    pub id: String,
    /// Public key: an x-coordinate of Grumpkin.
    pub key: String,
    /// L1 address that may force an exit.
    pub owner: String,
    /// Token.
    pub token: String,
    /// Balance.
    pub balance: String,
    /// The next nonce.
    pub nonce: String,
}

/// A batch with its present state.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BatchView {
    /// Number.
    pub number: String,
    /// Circuit id.
    pub circuit: u32,
    /// `sealed`, `committed`, `proven` or `final`.
    pub state: String,
    /// `size`, `age`, `cost`, `asked`, or `resealed`: L1 took an earlier batch of these members back.
    pub seal_reason: String,
    /// True while it is being taken back from L1 to be sealed again in another circuit, or one before it.
    pub taken_back: bool,
    /// Signed operations in it.
    pub transactions: String,
    /// L1 queue entries taken, once computed.
    pub queue_entries: Option<String>,
    /// State root after it, once computed.
    pub root: Option<String>,
    /// When it was sealed.
    pub sealed_at: String,
    /// When commitments and opening were ready.
    pub computed_at: Option<String>,
    /// When its proof was stored.
    pub proof_stored_at: Option<String>,
    /// What L1 says.
    pub l1: L1,
}

/// A batch with its members.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BatchDetail {
    /// The batch.
    #[serde(flatten)]
    pub batch: BatchView,
    /// Hashes of its transactions in order of acceptance.
    pub hashes: Vec<String>,
    /// What it has cost on L1 so far; empty before its commit is mined.
    pub l1_costs: Vec<L1Cost>,
    /// State root before it, once computed.
    pub old_root: Option<String>,
    /// Bytes posted on L1, once computed.
    pub posted_bytes: Option<String>,
    /// Its proof, once stored.
    pub proof: Option<ProofView>,
    /// The operator's mined transactions about it, in order of signing, at most 64.
    pub l1_transactions: Vec<L1CallView>,
}

/// What one kind of L1 transaction cost a batch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct L1Cost {
    /// `commit`, `prove`, `settle` or `refund`.
    pub kind: String,
    /// Mined transactions about the batch, those that reverted included.
    pub transactions: String,
    /// Its share of their gas: a call about several batches is split evenly.
    pub gas: String,
    /// Its share of what was paid, in wei.
    pub wei: String,
    /// The same in dollars, where the node is told the price of ether.
    pub usd: Option<String>,
}

impl L1Cost {
    /// A cost as clients see it.
    pub(crate) fn new(cost: &Cost, eth_usd: Option<f64>) -> Self {
        Self {
            kind: cost.kind.clone(),
            transactions: cost.transactions.to_string(),
            gas: cost.gas.to_string(),
            wei: cost.wei.to_string(),
            usd: eth_usd.map(|price| usd(cost.wei, price)),
        }
    }
}

/// A token.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenView {
    /// Number.
    pub id: String,
    /// Its contract on L1; null for the native coin.
    pub erc20: Option<String>,
    /// The slot that collects its fees; null: only transactions without fee.
    pub fee_slot: Option<String>,
    /// The least fee.
    pub minimum_fee: String,
}

/// What an operation costs now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FeeQuote {
    /// The operation.
    pub op: String,
    /// The token that the fee is paid in.
    pub token: String,
    /// The least fee.
    pub minimum: String,
    /// The least fee that has an exact float: what to pay.
    pub fee: String,
    /// The slot that collects it; null: only fee 0 is taken.
    pub fee_slot: Option<String>,
}

/// A circuit of the deployment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CircuitView {
    /// Id, from 1.
    pub id: u32,
    /// Name of its shape.
    pub name: String,
    /// Transfers it holds.
    pub transfers: u32,
    /// Distinct accounts it holds.
    pub accounts: u32,
    /// Fee slots it holds.
    pub fees: u32,
    /// Deposits it holds.
    pub deposits: u32,
    /// Withdrawals it holds.
    pub withdrawals: u32,
    /// Registers it holds.
    pub registers: u32,
    /// Forced exits it holds.
    pub exits: u32,
    /// Key rotations it holds.
    pub rotations: u32,
    /// Its constraints; null if this node was not told.
    pub constraints: Option<String>,
}

/// A batch number and the state root after it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Progress {
    /// Highest batch that has come this far, 0 for none.
    pub batch: String,
    /// State root after it; null if not computed yet or none.
    pub root: Option<String>,
}

/// What runs here and how far it has come.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Status {
    /// Version of the program.
    pub version: &'static str,
    /// L1's chain.
    pub chain_id: String,
    /// The contract.
    pub contract: String,
    /// What signatures are bound to: a field element.
    pub domain: String,
    /// The state has 2^k slots.
    pub k: u32,
    /// Where keys and SRS come from. INSECURE-DEV: anybody can forge proofs.
    pub trusted_setup: String,
    /// Digest of circuits, keys and SRS.
    pub manifest_digest: String,
    /// Base URL of a block explorer for L1; null: none is named.
    pub l1_explorer: Option<String>,
    /// Circuits.
    pub circuits: Vec<CircuitView>,
    /// Highest sealed batch.
    pub sealed: Progress,
    /// Highest batch whose state root is known.
    pub computed: Progress,
    /// Highest batch committed on L1.
    pub committed: Progress,
    /// Highest batch proven on L1.
    pub proven: Progress,
    /// Highest final batch.
    #[serde(rename = "final")]
    pub finalised: Progress,
    /// Accepted transactions.
    pub transactions: String,
    /// Of these, not in a batch.
    pub unsealed: String,
    /// L1 queue entries known.
    pub queue_known: String,
    /// Of these, taken.
    pub queue_taken: String,
}

impl From<&transactions::Receipt> for Receipt {
    fn from(receipt: &transactions::Receipt) -> Self {
        let transactions::Receipt { hash, seq, accepted_at } = receipt;
        Self { hash: hash.to_string(), seq: seq.to_string(), state: "accepted".to_owned(), accepted_at: accepted_at.clone() }
    }
}

impl From<&Op> for Operation {
    fn from(op: &Op) -> Self {
        let (from, token, nonce) = (op.from().to_string(), op.token().to_string(), op.nonce().to_string());
        let (amount, fee) = (op.amount().to_string(), op.fee().to_string());
        match op {
            Op::Transfer(transfer) => Self::Transfer { from, to: transfer.to.to_string(), token, nonce, amount, fee },
            Op::Withdraw(withdraw) => Self::Withdraw { from, token, nonce, amount, fee, address: withdraw.address.to_string() },
            Op::Register(register) => {
                let Triple { key, owner, token: account_token } = register.account;
                let (key, owner, account_token) = (to_hex(&to_word(key)), owner.to_string(), account_token.to_string());
                Self::Register { from, token, nonce, fee, key, owner, account_token, account: None }
            }
        }
    }
}

impl Operation {
    /// What it does, and the slot it got if it is a register.
    fn placed(op: &Op, slot: Option<SlotId>) -> Self {
        let mut operation = Self::from(op);
        if let Self::Register { account, .. } = &mut operation {
            *account = slot.map(|slot| slot.to_string());
        }
        operation
    }
}

impl From<&L1Facts> for L1 {
    fn from(facts: &L1Facts) -> Self {
        Self {
            commit_tx: facts.commit_tx.as_ref().map(hex),
            commit_block: facts.commit_block.map(|block| block.to_string()),
            committed_at: facts.committed_at.clone(),
            prove_tx: facts.prove_tx.as_ref().map(hex),
            prove_block: facts.prove_block.map(|block| block.to_string()),
            proven_at: facts.proven_at.clone(),
            final_at: facts.final_at.clone(),
        }
    }
}

impl From<&transactions::Status> for Transaction {
    fn from(status: &transactions::Status) -> Self {
        Self {
            hash: status.receipt.hash.to_string(),
            seq: status.receipt.seq.to_string(),
            operation: Operation::placed(&status.op.op, status.account),
            state: status.state.clone(),
            accepted_at: status.receipt.accepted_at.clone(),
            batch: status.batch.map(|number| number.to_string()),
            sealed_at: status.sealed_at.clone(),
            l1: (&status.l1).into(),
        }
    }
}

impl From<&HistoryItem> for HistoryLine {
    fn from(item: &HistoryItem) -> Self {
        match item {
            HistoryItem::Transaction(status) => Self::Transaction(Box::new(status.as_ref().into())),
            HistoryItem::Entry { seq, queue_index, entry, batch, state } => Self::Entry(l1_entry(*seq, *queue_index, entry, *batch, state)),
        }
    }
}

fn queue_kind(kind: QueueKind) -> &'static str {
    match kind {
        QueueKind::Deposit => "deposit",
        QueueKind::Exit => "exit",
        QueueKind::Rotation => "rotation",
    }
}

fn l1_entry(seq: u64, queue_index: u64, entry: &QueueEntry, batch: Option<u64>, state: &str) -> L1Entry {
    let is_deposit = entry.kind == QueueKind::Deposit;
    L1Entry {
        seq: seq.to_string(),
        op: queue_kind(entry.kind),
        queue_index: queue_index.to_string(),
        sender: entry.sender.to_string(),
        token: is_deposit.then(|| entry.token.to_string()),
        amount: is_deposit.then(|| entry.amount.to_string()),
        key: (entry.kind == QueueKind::Rotation).then(|| to_hex(&to_word(entry.key))),
        state: state.to_owned(),
        batch: batch.map(|number| number.to_string()),
    }
}

impl SlotView {
    /// A slot as clients see it.
    pub(crate) fn new(id: SlotId, slot: &Slot) -> Self {
        Self {
            id: id.to_string(),
            key: slot.triple.key.to_string(),
            owner: slot.triple.owner.to_string(),
            token: slot.triple.token.to_string(),
            balance: slot.balance.to_string(),
            nonce: slot.nonce.to_string(),
        }
    }
}

impl From<&batches::Status> for BatchView {
    fn from(status: &batches::Status) -> Self {
        Self {
            number: status.number.to_string(),
            circuit: status.circuit,
            state: status.state.clone(),
            seal_reason: status.seal_reason.clone(),
            taken_back: status.taken_back,
            transactions: status.transactions.to_string(),
            queue_entries: status.taken.map(|taken| taken.to_string()),
            root: status.root.as_ref().map(hex),
            sealed_at: status.sealed_at.clone(),
            computed_at: status.computed_at.clone(),
            proof_stored_at: status.proof_stored_at.clone(),
            l1: (&status.l1).into(),
        }
    }
}

impl From<&crate::config::Circuit> for CircuitView {
    fn from(circuit: &crate::config::Circuit) -> Self {
        let Shape { transfers, accounts, fees, deposits, withdrawals, registers, exits, rotations } = circuit.shape;
        Self {
            id: circuit.id,
            name: circuit.name.clone(),
            transfers,
            accounts,
            fees,
            deposits,
            withdrawals,
            registers,
            exits,
            rotations,
            constraints: circuit.constraints.map(|constraints| constraints.to_string()),
        }
    }
}

/// 0x hex of a word.
pub(crate) fn hex(word: &Word) -> String {
    to_hex(word)
}
