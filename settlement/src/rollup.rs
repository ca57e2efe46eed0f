//! The contract's views, and one-off transactions that a person or a tool sends and waits for.
//!
//! The operator's own stream of commits and proofs does not go through here: see `submitter`.

use crate::abi;
use crate::calldata;
use crate::fees::suggest;
use crate::gas::{Gas, floor_gas};
use crate::key::{Draft, KeyError, L1Key};
use crate::revert::Revert;
use crate::rpc::{CallRequest, Receipt, Rpc, RpcError, TxHash, to_u128};
use ethers_contract::EthCall;
use ethers_core::abi::{AbiDecode, AbiEncode};
use ethers_core::types::{Bytes, H160, H256, U256};
use serde::{Deserialize, Serialize};
use sheaf_protocol::amount::{Address, Amount, SlotId, TokenId};
use sheaf_protocol::field::{Fr, G1Affine, Word, from_word, g1_words, to_word};
use sheaf_protocol::header::QueueEntry;
use sheaf_protocol::kzg::MIN_K;
use sheaf_store::l1::Levels;
use std::time::Duration;

/// Most wei per gas that a one-off transaction pays: 500 gwei.
const MAX_FEE_WEI: u128 = 500_000_000_000;
/// How long a one-off transaction is waited for.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(180);
/// Pause between two looks for a receipt.
const RECEIPT_POLL: Duration = Duration::from_millis(160);
/// The first of these pauses; each is twice the one before.
const FIRST_RECEIPT_POLL: Duration = Duration::from_millis(10);

/// Why the contract could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The node failed.
    #[error(transparent)]
    Rpc(RpcError),
    /// The contract refused the call.
    #[error("the contract refused {call}: {revert}")]
    Reverted {
        /// The function.
        call: String,
        /// Its reason.
        revert: Revert,
    },
    /// There is no contract, or another one.
    #[error("{contract} does not answer {call} like the rollup contract: wrong address, or the chain was reset")]
    NotOurs {
        /// The address asked.
        contract: Address,
        /// The function.
        call: String,
    },
}

/// Why a one-off transaction did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The node failed or refused.
    #[error(transparent)]
    Rpc(RpcError),
    /// Reading failed.
    #[error(transparent)]
    View(ViewError),
    /// The contract would refuse it; nothing was sent.
    #[error("refused: {0}")]
    Reverted(Revert),
    /// It was mined, but failed.
    #[error("transaction {0} was mined but failed")]
    Failed(TxHash),
    /// It was sent but is not mined yet.
    #[error("transaction {hash} was not mined in {seconds} s")]
    NotMined {
        /// Its hash: look for it before sending again.
        hash: TxHash,
        /// How long we waited.
        seconds: u64,
    },
    /// The key failed.
    #[error(transparent)]
    Key(KeyError),
}

/// What is left of a one-off transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TxReceipt {
    /// Its hash.
    pub hash: TxHash,
    /// The block that holds it.
    pub block: u64,
    /// What it cost.
    pub gas: Gas,
}

/// Where the contract stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Batches committed.
    pub committed: u64,
    /// Batches proven.
    pub proven: u64,
    /// Root of the last proven batch.
    pub state_root: Word,
    /// Queue entries so far.
    pub queue_length: u64,
}

/// What an exit shows L1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The slot.
    pub slot: SlotId,
    /// `balance + 2^128 nonce + 2^168 token`, as the state holds it.
    pub dyn_: Fr,
    /// Who may claim the balance.
    pub owner: Address,
    /// To key, dyn and owner: those of the state root.
    pub commitments: [G1Affine; 3],
    /// As `StateVector::open_exit` makes it.
    pub opening: G1Affine,
}

impl Exit {
    /// The whole call as calldata, for a wallet that signs elsewhere.
    pub fn calldata(&self) -> Vec<u8> {
        self.call().encode()
    }

    fn call(&self) -> abi::ExitCall {
        let [key, dyns, owners] = self.commitments.each_ref().map(g1_words);
        abi::ExitCall {
            idx: self.slot.0.into(),
            dyn_: to_word(self.dyn_).into(),
            owner: H160(self.owner.0),
            commitments: [key[0], key[1], dyns[0], dyns[1], owners[0], owners[1]].map(U256::from),
            opening: g1_words(&self.opening).map(U256::from),
        }
    }
}

/// What the contract keeps of the reference string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpeningPoints {
    /// `[tau]_2`.
    pub tau: [Word; 4],
    /// `L_0` of the state's size.
    pub l0: [Word; 2],
}

impl OpeningPoints {
    /// From the code that holds the keys: a byte, then words, of which alpha and beta are the first six; `place` counts the sizes from the smallest.
    fn read(code: &[u8], place: usize) -> Option<Self> {
        let words = code.get(1..)?.as_chunks::<32>().0;
        let tau = words.get(6..10)?.try_into().ok()?;
        let l0 = words.get(10 + 2 * place..12 + 2 * place)?.try_into().ok()?;
        Some(Self { tau, l0 })
    }
}

/// A deployed contract.
#[derive(Clone, Debug)]
pub struct Rollup {
    rpc: Rpc,
    address: Address,
    /// The block whose state is read; the newest if it is not fixed.
    block: Option<H256>,
}

impl Rollup {
    /// The contract at `address`; nothing is asked yet.
    pub fn at(rpc: Rpc, address: Address) -> Self {
        Self { rpc, address, block: None }
    }

    /// The same contract as one node shows it, after a fixed block.
    pub(crate) fn pinned(&self, rpc: Rpc, block: H256) -> Self {
        Self { rpc, address: self.address, block: Some(block) }
    }

    /// Its address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The node it is asked through.
    pub fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    pub(crate) fn h160(&self) -> H160 {
        H160(self.address.0)
    }

    pub(crate) async fn view<C: EthCall, R: AbiDecode>(&self, call: C) -> Result<R, ViewError> {
        view_at(&self.rpc, self.address, call, self.block).await
    }

    /// The domain that signatures and proofs are bound to, as the contract computed it.
    ///
    /// # Errors
    /// [`ViewError`].
    pub async fn domain(&self) -> Result<Fr, ViewError> {
        let word: Word = self.view::<_, U256>(abi::DomainCall).await?.into();
        from_word(&word).ok_or_else(|| ViewError::NotOurs { contract: self.address, call: "domain".into() })
    }

    /// Where the contract stands, in five calls: exact after a fixed block, or while nothing is mined in between.
    ///
    /// # Errors
    /// [`ViewError`].
    pub async fn progress(&self) -> Result<Progress, ViewError> {
        Ok(Progress {
            committed: self.count(abi::CommittedCall).await?,
            proven: self.count(abi::ProvenCall).await?,
            state_root: self.view(abi::StateRootCall).await?,
            queue_length: self.count(abi::QueueLengthCall).await?,
        })
    }

    /// What the contract counts of what its events tell.
    pub(crate) async fn levels(&self) -> Result<Levels, ViewError> {
        Ok(Levels {
            queued: self.count(abi::QueueLengthCall).await?,
            committed: self.count(abi::CommittedCall).await?,
            proven: self.count(abi::ProvenCall).await?,
        })
    }

    /// Since when the first unproven batch has waited, 0 if none does, and how long it may: Unix seconds and seconds.
    pub(crate) async fn patience(&self) -> Result<(u64, u64), ViewError> {
        Ok((self.count(abi::PendingSinceCall).await?, self.count(abi::ProveTimeoutCall).await?))
    }

    async fn count<C: EthCall>(&self, call: C) -> Result<u64, ViewError> {
        Ok(self.view::<C, U256>(call).await?.low_u64())
    }

    /// Who may commit.
    ///
    /// # Errors
    /// [`ViewError`].
    pub async fn operator(&self) -> Result<Address, ViewError> {
        self.view::<_, H160>(abi::OperatorCall).await.map(|h160| Address(h160.0))
    }

    /// The state has `2^k` slots.
    ///
    /// # Errors
    /// [`ViewError`].
    pub async fn k(&self) -> Result<u32, ViewError> {
        Ok(self.count(abi::KCall).await? as u32)
    }

    /// The queue digest after the entry with this index; zero for 0.
    ///
    /// # Errors
    /// [`ViewError`].
    pub async fn queue_digest(&self, index: u64) -> Result<Word, ViewError> {
        self.view(abi::QueueDigestCall { index: index.into() }).await
    }

    /// Hash of the record stored under a batch number.
    ///
    /// # Errors
    /// [`ViewError`].
    pub async fn batch_hash(&self, number: u64) -> Result<Word, ViewError> {
        self.view(abi::BatchHashCall { number: number.into() }).await
    }

    /// ERC-20 contract of a token, `None` if not listed (or the native coin).
    ///
    /// # Errors
    /// [`ViewError`].
    pub async fn token_address(&self, token: TokenId) -> Result<Option<Address>, ViewError> {
        let found: H160 = self.view(abi::TokenAddressCall { token: token.0 }).await?;
        Ok((!found.is_zero()).then_some(Address(found.0)))
    }

    /// Number of a listed ERC-20, `None` if not listed.
    ///
    /// # Errors
    /// [`ViewError`].
    pub async fn token_id(&self, erc20: Address) -> Result<Option<TokenId>, ViewError> {
        let found: u16 = self.view(abi::TokenIdCall { erc_20: H160(erc20.0) }).await?;
        Ok((found != 0).then_some(TokenId(found)))
    }

    /// What `account` can claim of a token, in its smallest unit.
    ///
    /// # Errors
    /// [`ViewError`].
    pub async fn claimable(&self, token: TokenId, account: Address) -> Result<Amount, ViewError> {
        self.amount(abi::ClaimableCall { token: token.0, account: H160(account.0) }).await
    }

    /// What the contract holds of a token for its users.
    ///
    /// # Errors
    /// [`ViewError`].
    pub async fn escrow(&self, token: TokenId) -> Result<Amount, ViewError> {
        self.amount(abi::EscrowCall { token: token.0 }).await
    }

    /// Fee of every queue entry, in wei.
    ///
    /// # Errors
    /// [`ViewError`].
    pub async fn queue_fee(&self) -> Result<Amount, ViewError> {
        self.amount(abi::QueueFeeCall).await
    }

    /// Fee of listing a token, in wei.
    ///
    /// # Errors
    /// [`ViewError`].
    pub async fn listing_fee(&self) -> Result<Amount, ViewError> {
        self.amount(abi::ListingFeeCall).await
    }

    /// True once somebody froze the contract.
    ///
    /// # Errors
    /// [`ViewError`].
    pub async fn is_frozen(&self) -> Result<bool, ViewError> {
        self.view(abi::FrozenCall).await
    }

    async fn amount<C: EthCall>(&self, call: C) -> Result<Amount, ViewError> {
        let value: U256 = self.view(call).await?;
        to_u128(value).map(Amount).ok_or_else(|| ViewError::NotOurs { contract: self.address, call: C::function_name().into() })
    }

    /// Deposits the native coin for (key, owner).
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn deposit(&self, from: &L1Key, amount: Amount, key: Word, owner: Address) -> Result<TxReceipt, SendError> {
        let fee = self.queue_fee().await.map_err(SendError::View)?;
        let call = abi::DepositCall { key: key.into(), owner: H160(owner.0) };
        self.transact(from, call, U256::from(fee.0) + U256::from(amount.0)).await
    }

    /// Approves and deposits an ERC-20 for (key, owner). Returns the deposit's receipt.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn deposit_token(&self, from: &L1Key, token: TokenId, amount: Amount, key: Word, owner: Address) -> Result<TxReceipt, SendError> {
        let erc20 = self.token_address(token).await.map_err(SendError::View)?;
        let erc20 = erc20.ok_or_else(|| SendError::Reverted(Revert { name: "TokenNotListed".into(), detail: token.to_string() }))?;
        let approve = abi::ApproveCall { spender: self.h160(), amount: amount.0.into() };
        send_call(&self.rpc, from, erc20, approve, U256::zero()).await?;
        let fee = self.queue_fee().await.map_err(SendError::View)?;
        let call = abi::DepositTokenCall { token: token.0, amount: amount.0.into(), key: key.into(), owner: H160(owner.0) };
        self.transact(from, call, fee.0.into()).await
    }

    /// Asks for everything in a slot to be paid out; it acts if `from` is the slot's owner.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn request_exit(&self, from: &L1Key, slot: SlotId) -> Result<TxReceipt, SendError> {
        let fee = self.queue_fee().await.map_err(SendError::View)?;
        self.transact(from, abi::RequestExitCall { idx: slot.0.into() }, fee.0.into()).await
    }

    /// Asks for another key of a slot; it acts if `from` is the slot's owner.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn request_rotation(&self, from: &L1Key, slot: SlotId, new_key: Word) -> Result<TxReceipt, SendError> {
        let fee = self.queue_fee().await.map_err(SendError::View)?;
        self.transact(from, abi::RequestRotationCall { idx: slot.0.into(), new_key: new_key.into() }, fee.0.into()).await
    }

    /// Pays out what `from` can claim of a token, to `to`.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn claim(&self, from: &L1Key, token: TokenId, to: Address) -> Result<TxReceipt, SendError> {
        self.transact(from, abi::ClaimCall { token: token.0, to: H160(to.0) }, U256::zero()).await
    }

    /// Freezes the contract for good; refused while nothing is late.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn freeze(&self, from: &L1Key) -> Result<TxReceipt, SendError> {
        self.transact(from, abi::FreezeCall, U256::zero()).await
    }

    /// True if what the slot held was paid out.
    ///
    /// # Errors
    /// [`ViewError`].
    pub async fn is_exited(&self, slot: SlotId) -> Result<bool, ViewError> {
        self.view(abi::ExitedCall { idx: slot.0.into() }).await
    }

    /// True if an item of a proven batch was credited.
    pub(crate) async fn is_settled(&self, batch: u64, item: u64) -> Result<bool, ViewError> {
        self.view(abi::SettledCall { number: batch.into(), item: item.into() }).await
    }

    /// True if a queue entry went back to who sent it.
    pub(crate) async fn is_refunded(&self, index: u64) -> Result<bool, ViewError> {
        self.view(abi::RefundedCall { index: index.into() }).await
    }

    /// Queue entries in proven batches.
    pub(crate) async fn queue_proven(&self) -> Result<u64, ViewError> {
        self.count(abi::QueueProvenCall).await
    }

    /// The points that every opening of the state is checked with, as the contract keeps them: they follow from the reference string.
    ///
    /// # Errors
    /// [`ViewError`].
    pub async fn opening_points(&self) -> Result<OpeningPoints, ViewError> {
        let k = self.k().await?;
        let keys: H160 = self.view(abi::KeysCall).await?;
        let code = self.rpc.code(keys, self.block).await.map_err(ViewError::Rpc)?;
        let found = k.checked_sub(MIN_K).and_then(|place| OpeningPoints::read(&code, place as usize));
        found.ok_or_else(|| ViewError::NotOurs { contract: self.address, call: "keys".into() })
    }

    /// Makes what a slot of the frozen state holds claimable by its owner.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn exit(&self, from: &L1Key, exit: &Exit) -> Result<TxReceipt, SendError> {
        self.transact(from, exit.call(), U256::zero()).await
    }

    /// After a freeze: gives deposits that no proven batch took back to who sent them. `entries` are a run of the queue, the first one at
    /// index `first`.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn refund(&self, from: &L1Key, first: u64, entries: &[QueueEntry]) -> Result<TxReceipt, SendError> {
        self.send(from, calldata::refund(first, entries)).await
    }

    /// Sends a call with this calldata and no coins.
    pub(crate) async fn send(&self, from: &L1Key, data: Bytes) -> Result<TxReceipt, SendError> {
        send_data(&self.rpc, from, self.address, data, U256::zero()).await
    }

    /// Lists an ERC-20 and returns its number, the known one if it is listed already.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn list_token(&self, from: &L1Key, erc20: Address) -> Result<TokenId, SendError> {
        if let Some(known) = self.token_id(erc20).await.map_err(SendError::View)? {
            return Ok(known);
        }
        let fee = self.listing_fee().await.map_err(SendError::View)?;
        self.transact(from, abi::ListTokenCall { erc_20: H160(erc20.0) }, fee.0.into()).await?;
        let listed = self.token_id(erc20).await.map_err(SendError::View)?;
        listed.ok_or_else(|| SendError::View(ViewError::NotOurs { contract: self.address, call: "tokenId".into() }))
    }

    async fn transact<C: EthCall>(&self, from: &L1Key, call: C, value: U256) -> Result<TxReceipt, SendError> {
        send_call(&self.rpc, from, self.address, call, value).await
    }
}

/// ERC-20 balance of an account.
///
/// # Errors
/// [`ViewError`].
pub async fn token_balance(rpc: &Rpc, erc20: Address, account: Address) -> Result<Amount, ViewError> {
    let value: U256 = view_at(rpc, erc20, abi::BalanceOfCall { account: H160(account.0) }, None).await?;
    to_u128(value).map(Amount).ok_or_else(|| ViewError::NotOurs { contract: erc20, call: "balanceOf".into() })
}

/// Mints a development token, which lets anybody do so.
///
/// # Errors
/// [`SendError`].
pub async fn mint_test_token(rpc: &Rpc, from: &L1Key, erc20: Address, to: Address, amount: Amount) -> Result<TxReceipt, SendError> {
    send_call(rpc, from, erc20, abi::MintCall { to: H160(to.0), amount: amount.0.into() }, U256::zero()).await
}

async fn view_at<C: EthCall, R: AbiDecode>(rpc: &Rpc, contract: Address, call: C, block: Option<H256>) -> Result<R, ViewError> {
    let name = C::function_name().into_owned();
    let request = CallRequest { from: H160::zero(), to: Some(H160(contract.0)), value: U256::zero(), data: call.encode().into() };
    let output = rpc.call(&request, block).await.map_err(|error| match Revert::of(&error) {
        Some(revert) => ViewError::Reverted { call: name.clone(), revert },
        None => ViewError::Rpc(error),
    })?;
    R::decode(output).map_err(|_| ViewError::NotOurs { contract, call: name })
}

async fn send_call<C: EthCall>(rpc: &Rpc, from: &L1Key, to: Address, call: C, value: U256) -> Result<TxReceipt, SendError> {
    send_data(rpc, from, to, call.encode().into(), value).await
}

async fn send_data(rpc: &Rpc, from: &L1Key, to: Address, data: Bytes, value: U256) -> Result<TxReceipt, SendError> {
    let (hash, receipt) = send(rpc, from, Some(H160(to.0)), value, data.clone()).await?;
    let used = receipt.gas_used.low_u64();
    Ok(TxReceipt { hash, block: receipt.block_number.as_u64(), gas: Gas::split(used, &data) })
}

/// Simulates, signs, sends and waits. Safe only for a key that nothing else uses at the same time.
pub(crate) async fn send(rpc: &Rpc, from: &L1Key, to: Option<H160>, value: U256, data: Bytes) -> Result<(TxHash, Receipt), SendError> {
    let sender = H160(from.address().0);
    let request = CallRequest { from: sender, to, value, data: data.clone() };
    let estimate = rpc.estimate_gas(&request, true).await.map_err(|error| match Revert::of(&error) {
        Some(revert) => SendError::Reverted(revert),
        None => SendError::Rpc(error),
    })?;
    let draft = Draft {
        chain_id: rpc.chain_id(),
        nonce: rpc.pending_nonce(sender).await.map_err(SendError::Rpc)?,
        to,
        value,
        gas_limit: (estimate + estimate / 5).max(floor_gas(&data)),
        data,
        fees: suggest(&rpc.market(None).await.map_err(SendError::Rpc)?, MAX_FEE_WEI),
    };
    let signed = from.sign(&draft).map_err(SendError::Key)?;
    let hash = TxHash(signed.hash.0);
    let delivered = deliver(rpc, hash, &signed.raw);
    let receipt = tokio::time::timeout(RECEIPT_TIMEOUT, delivered)
        .await
        .map_err(|_| SendError::NotMined { hash, seconds: RECEIPT_TIMEOUT.as_secs() })?
        .map_err(SendError::Rpc)?;
    if receipt.status.is_zero() { Err(SendError::Failed(hash)) } else { Ok((hash, receipt)) }
}

/// Sends the same bytes until they are mined. Whether a sending without an answer arrived is unknown: it is asked by hash, and a node that
/// does not know the transaction gets it again. Ends early only if a node that does not hold it refuses it, or answers nonsense.
async fn deliver(rpc: &Rpc, hash: TxHash, raw: &[u8]) -> Result<Receipt, RpcError> {
    let mut pause = FIRST_RECEIPT_POLL;
    loop {
        match offer(rpc, hash, raw).await {
            Ok(Some(receipt)) => return Ok(receipt),
            Ok(None) => {}
            Err(error) if error.is_transient() => tracing::debug!(%hash, %error, "waiting for the L1 node"),
            Err(error) => return Err(error),
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(RECEIPT_POLL);
    }
}

/// The receipt, if there is one; else a node holds the transaction after this.
async fn offer(rpc: &Rpc, hash: TxHash, raw: &[u8]) -> Result<Option<Receipt>, RpcError> {
    let mined = rpc.receipt(hash.0.into()).await?;
    if mined.is_none() {
        rpc.deliver(hash.0.into(), raw).await?;
    }
    Ok(mined)
}
