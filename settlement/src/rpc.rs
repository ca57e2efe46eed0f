//! A small JSON-RPC client for one Ethereum node or several of the same chain.
//!
//! Every request has a timeout, its answer's id is checked, and a reading call that one node does not answer is asked of the next; all are
//! asked again a bounded number of times with growing pauses. A transaction goes to every node, once: whether it arrived is a question for
//! the submitter, which asks by hash and nonce.
//!
//! Three outcomes are kept apart: the node *refused* (it answered with an error), the node was *unreachable* (the result is unknown),
//! and the answer was *malformed*. `endpoint` is one node and its rests; `agree` is what several say together.

mod agree;
mod endpoint;
mod error;

pub(crate) use agree::Quorum;
pub use endpoint::EndpointStatus;
pub use error::RpcError;

use crate::fees::Market;
use crate::gas::MAX_TRANSACTION_GAS;
use agree::Seen;
use backon::{ExponentialBuilder, Retryable};
use endpoint::Endpoint;
use ethers_core::types::{Bytes, H160, H256, Log, U64, U256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sheaf_protocol::amount::Address;
use sheaf_protocol::field::{Word, from_hex, to_hex};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Hash of an L1 transaction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TxHash(#[serde(with = "sheaf_protocol::field::bytes_hex")] pub Word);

impl fmt::Display for TxHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for TxHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How long and how often to ask.
#[derive(Clone, Copy, Debug)]
pub struct RpcOptions {
    /// Longest wait for one answer.
    pub request_timeout_ms: u64,
    /// How often a reading call is repeated after the first try.
    pub max_retries: usize,
    /// How many nodes must say the same of blocks, events and receipts; at most as many as there are.
    pub agree: usize,
    /// How long nodes may show less of the chain than before until the chain is believed to be shorter.
    pub lag_patience_ms: u64,
}

impl Default for RpcOptions {
    fn default() -> Self {
        Self { request_timeout_ms: 10_000, max_retries: 3, agree: 2, lag_patience_ms: 60_000 }
    }
}

/// A block's head, as far as the watcher needs it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockHead {
    pub(crate) number: U64,
    pub(crate) hash: H256,
    pub(crate) parent_hash: H256,
    pub(crate) timestamp: U64,
    #[serde(default)]
    pub(crate) base_fee_per_gas: Option<U256>,
}

/// A mined transaction's receipt.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    pub(crate) transaction_hash: H256,
    pub(crate) block_number: U64,
    pub(crate) block_hash: H256,
    pub(crate) status: U64,
    pub(crate) gas_used: U256,
    #[serde(default)]
    pub(crate) effective_gas_price: U256,
    pub(crate) contract_address: Option<H160>,
}

/// `eth_feeHistory`: base fees of the asked blocks and of the next one, and the tips paid in them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FeeHistory {
    pub(crate) base_fee_per_gas: Vec<U256>,
    #[serde(default)]
    pub(crate) reward: Option<Vec<Vec<U256>>>,
}

/// A transaction, as far as history and provenance need it.
#[derive(Clone, Debug, Deserialize)]
struct Transaction {
    hash: H256,
    input: Bytes,
    /// Nobody: it creates a contract.
    #[serde(default)]
    to: Option<H160>,
}

/// A block's transactions.
#[derive(Clone, Debug, Deserialize)]
struct BlockBody {
    transactions: Vec<Transaction>,
}

/// A call that is only simulated.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CallRequest {
    pub(crate) from: H160,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<H160>,
    pub(crate) value: U256,
    pub(crate) data: Bytes,
}

/// One node or several, bound to the chain they served when they were first asked. Clones share what they know of the nodes.
#[derive(Clone)]
pub struct Rpc {
    endpoints: Arc<[Endpoint]>,
    /// The only one to ask, of several.
    only: Option<usize>,
    chain_id: u64,
    options: RpcOptions,
    seen: Arc<Mutex<Option<Seen>>>,
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rpc({}, chain {})", self.name(), self.chain_id)
    }
}

impl Rpc {
    /// Connects to the nodes, whose addresses are separated by commas, and learns the chain id. One that answers is enough; one that serves
    /// another chain than the others is refused.
    ///
    /// # Errors
    /// If an address is unusable, no node answers, or [`RpcError::WrongChain`].
    pub async fn connect(urls: &str, options: RpcOptions) -> Result<Self, RpcError> {
        Self::open(urls, None, options).await
    }

    /// As [`Rpc::connect`], and refuses any chain but `chain_id`.
    ///
    /// # Errors
    /// As [`Rpc::connect`].
    pub async fn connect_to(urls: &str, chain_id: u64, options: RpcOptions) -> Result<Self, RpcError> {
        Self::open(urls, Some(chain_id), options).await
    }

    async fn open(urls: &str, mut expected: Option<u64>, options: RpcOptions) -> Result<Self, RpcError> {
        let endpoints = urls.split(',').map(|url| Endpoint::new(url.trim(), &options)).collect::<Result<Vec<_>, _>>()?;
        let pauses = pauses(options.max_retries);
        let mut rpc = Self { endpoints: endpoints.into(), only: None, chain_id: 0, options, seen: Arc::default() };
        let reach = async || {
            let (mut answers, mut error) = (Vec::new(), None);
            for endpoint in rpc.endpoints.iter() {
                match endpoint.chain_id().await {
                    Ok(id) => answers.push((endpoint, id)),
                    Err(failure) => error = error.or(Some(failure)),
                }
            }
            error.filter(|_| answers.is_empty()).map_or(Ok(answers), Err)
        };
        let answers = reach.retry(pauses).when(RpcError::is_transient).await?;
        for (endpoint, found) in answers {
            let expected = *expected.get_or_insert(found);
            if found != expected {
                return Err(RpcError::WrongChain { site: endpoint.site().to_owned(), expected, found });
            }
        }
        rpc.chain_id = expected.unwrap_or_default();
        Ok(rpc)
    }

    /// The chain of all nodes.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Number of the newest block.
    ///
    /// # Errors
    /// If no node answers.
    pub async fn block_number(&self) -> Result<u64, RpcError> {
        Ok(self.read::<U64>("eth_blockNumber", Vec::new()).await?.as_u64())
    }

    /// Balance in wei.
    ///
    /// # Errors
    /// If no node answers, or the balance exceeds 128 bits.
    pub async fn balance(&self, account: Address) -> Result<u128, RpcError> {
        let wei: U256 = self.read("eth_getBalance", vec![json(&H160(account.0)), json("latest")]).await?;
        to_u128(wei).ok_or_else(|| RpcError::malformed("eth_getBalance", format!("balance {wei}")))
    }

    /// Any request, once, with its parameters and result as JSON: for development nodes' own methods such as `anvil_reorg`.
    ///
    /// # Errors
    /// If no node answers or one refuses.
    pub async fn raw(&self, method: &'static str, params: Vec<serde_json::Value>) -> Result<serde_json::Value, RpcError> {
        self.pass(method, &params).await
    }

    /// Each node by itself: asked without the others, and once if there are any. Those that failed lately come last.
    pub(crate) fn nodes(&self) -> Vec<Self> {
        let max_retries = if self.endpoints.len() == 1 { self.options.max_retries } else { 0 };
        let options = RpcOptions { max_retries, ..self.options };
        self.in_order().into_iter().map(|place| Self { only: Some(place), options, ..self.clone() }).collect()
    }

    fn in_order(&self) -> Vec<usize> {
        let mut places: Vec<usize> = self.only.map_or_else(|| (0..self.endpoints.len()).collect(), |place| vec![place]);
        places.sort_by_key(|place| self.endpoints[*place].rests_until());
        places
    }

    pub(crate) fn is_resting(&self) -> bool {
        self.in_order().into_iter().all(|place| self.endpoints[place].rests_until().is_some())
    }

    /// What may be shown of the nodes' addresses, with their places where there are several.
    pub(crate) fn name(&self) -> String {
        let name = |place: usize| match self.endpoints.len() {
            1 => self.endpoints[place].site().to_owned(),
            _ => format!("{} (#{})", self.endpoints[place].site(), place + 1),
        };
        self.only.map_or_else(|| (0..self.endpoints.len()).map(name).collect::<Vec<_>>().join(", "), name)
    }

    /// Asks the nodes in order until one answers, which a revert is too.
    async fn pass<T: DeserializeOwned>(&self, method: &'static str, params: &[serde_json::Value]) -> Result<T, RpcError> {
        let mut first = None;
        for place in self.in_order() {
            match self.endpoints[place].ask(self.chain_id, method, params).await {
                Err(error) if !error.is_revert() => first = first.or(Some(error)),
                answered => return answered,
            }
        }
        Err(first.unwrap_or(RpcError::TooFew { what: method, found: 0, needed: 1 }))
    }

    async fn read<T: DeserializeOwned>(&self, method: &'static str, params: Vec<serde_json::Value>) -> Result<T, RpcError> {
        (|| self.pass(method, &params)).retry(pauses(self.options.max_retries)).when(RpcError::is_transient).await
    }

    /// The newest block of one node by itself, after making sure that it still serves our chain, and that the block is on it.
    pub(crate) async fn own_head(&self) -> Result<BlockHead, RpcError> {
        if let Some(place) = self.only {
            self.endpoints[place].verify(self.chain_id).await?;
        }
        let head: Option<BlockHead> = self.read("eth_getBlockByNumber", vec![json("latest"), json(&false)]).await?;
        let head = head.ok_or_else(|| RpcError::malformed("eth_getBlockByNumber", "no latest block"))?;
        let number = head.number.as_u64();
        // no fault that it should rest for: behind one address may be several nodes, of which one is a block behind
        if self.block(number).await?.is_none_or(|found| found != head) {
            return Err(RpcError::malformed("eth_getBlockByNumber", format!("a newest block {number} that is not on its own chain")));
        }
        if let Some(place) = self.only {
            self.endpoints[place].note_head(number);
        }
        Ok(head)
    }

    pub(crate) async fn block(&self, number: u64) -> Result<Option<BlockHead>, RpcError> {
        let found: Option<BlockHead> = self.read("eth_getBlockByNumber", vec![json(&U64::from(number)), json(&false)]).await?;
        match found {
            Some(found) if found.number.as_u64() != number => {
                self.refuse(RpcError::malformed("eth_getBlockByNumber", format!("block {} for block {number}", found.number)))
            }
            found => Ok(found),
        }
    }

    /// An answer that shows to be nonsense only beside others: the node that gave it rests, if it is known which.
    pub(crate) fn refuse<T>(&self, error: RpcError) -> Result<T, RpcError> {
        match self.only.or((self.endpoints.len() == 1).then_some(0)) {
            Some(place) => self.endpoints[place].judge(Err(error)),
            None => Err(error),
        }
    }

    /// Logs of one contract in exactly the block with this hash.
    pub(crate) async fn logs_of_block(&self, contract: H160, block: H256) -> Result<Vec<Log>, RpcError> {
        let filter = serde_json::json!({ "address": contract, "blockHash": block });
        self.read("eth_getLogs", vec![filter]).await
    }

    /// Logs of one contract in an inclusive range of blocks; the caller checks each log's block hash.
    pub(crate) async fn logs_of_range(&self, contract: H160, from: u64, to: u64) -> Result<Vec<Log>, RpcError> {
        let filter = serde_json::json!({ "address": contract, "fromBlock": U64::from(from), "toBlock": U64::from(to) });
        self.read("eth_getLogs", vec![filter]).await
    }

    /// As the first node tells that answers.
    pub(crate) async fn receipt(&self, hash: H256) -> Result<Option<Receipt>, RpcError> {
        let mut first = None;
        for node in self.nodes() {
            match node.receipt_alone(hash).await {
                Err(error) => first = first.or(Some(error)),
                told => return told,
            }
        }
        first.map_or(Ok(None), Err)
    }

    async fn receipt_alone(&self, hash: H256) -> Result<Option<Receipt>, RpcError> {
        let found: Option<Receipt> = self.read("eth_getTransactionReceipt", vec![json(&hash)]).await?;
        match found {
            Some(found) if found.transaction_hash != hash => {
                self.refuse(RpcError::malformed("eth_getTransactionReceipt", format!("the receipt of {:?} for {hash:?}", found.transaction_hash)))
            }
            found => Ok(found),
        }
    }

    /// As [`Rpc::receipt`], and its block must be on the chain that the same node shows.
    pub(crate) async fn receipt_on_chain(&self, hash: H256) -> Result<Option<Receipt>, RpcError> {
        let Some(found) = self.receipt(hash).await? else { return Ok(None) };
        match self.block(found.block_number.as_u64()).await? {
            Some(block) if block.hash == found.block_hash => Ok(Some(found)),
            _ => {
                let detail = format!("a receipt in block {:?}, which is not on its chain", found.block_hash);
                Err(RpcError::malformed("eth_getTransactionReceipt", detail))
            }
        }
    }

    /// True if the node holds the transaction, mined or waiting.
    pub(crate) async fn knows(&self, hash: H256) -> Result<bool, RpcError> {
        Ok(self.read::<Option<serde_json::Value>>("eth_getTransactionByHash", vec![json(&hash)]).await?.is_some())
    }

    /// Calldata of a transaction.
    pub(crate) async fn transaction_input(&self, hash: H256) -> Result<Option<Bytes>, RpcError> {
        Ok(self.read::<Option<Transaction>>("eth_getTransactionByHash", vec![json(&hash)]).await?.map(|found| found.input))
    }

    /// Hash and calldata of every transaction of a block that creates a contract; none if the node does not hold the block.
    pub(crate) async fn creations(&self, block: u64) -> Result<Vec<(H256, Bytes)>, RpcError> {
        let body: Option<BlockBody> = self.read("eth_getBlockByNumber", vec![json(&U64::from(block)), json(&true)]).await?;
        let transactions = body.into_iter().flat_map(|body| body.transactions);
        Ok(transactions.filter(|found| found.to.is_none()).map(|found| (found.hash, found.input)).collect())
    }

    /// Number of transactions of `account` up to a block: its next nonce, if none is waiting.
    pub(crate) async fn nonce_at(&self, account: H160, block: H256) -> Result<u64, RpcError> {
        Ok(self.read::<U64>("eth_getTransactionCount", vec![json(&account), at(Some(block))]).await?.as_u64())
    }

    /// Next nonce of `account`, counting waiting transactions.
    pub(crate) async fn pending_nonce(&self, account: H160) -> Result<u64, RpcError> {
        Ok(self.read::<U64>("eth_getTransactionCount", vec![json(&account), json("pending")]).await?.as_u64())
    }

    /// Code of a contract after a block, or the newest one.
    pub(crate) async fn code(&self, contract: H160, block: Option<H256>) -> Result<Bytes, RpcError> {
        self.read("eth_getCode", vec![json(&contract), at(block)]).await
    }

    /// A call on top of a block, or of the newest one.
    pub(crate) async fn call(&self, request: &CallRequest, block: Option<H256>) -> Result<Bytes, RpcError> {
        self.read("eth_call", vec![json(request), at(block)]).await
    }

    /// Gas that the call needs on top of the newest block: the most that enough nodes tell. A refusal by the contract on one node and none on
    /// another is a refusal only for the `cautious`: a node may lag or lie, and a transaction that reverts costs gas.
    pub(crate) async fn estimate_gas(&self, request: &CallRequest, cautious: bool) -> Result<u64, RpcError> {
        let params = vec![json(request), json("latest")];
        let told = self.some_answers(|node| node.estimate_alone(params.clone())).await?;
        let most = told.iter().flatten().max().copied();
        let refusal = told.into_iter().find_map(Result::err);
        match (most, refusal) {
            (Some(gas), None) => Ok(gas),
            (Some(gas), Some(_)) if !cautious => Ok(gas),
            (_, refusal) => Err(refusal.unwrap_or_else(|| RpcError::malformed("eth_estimateGas", "no answer"))),
        }
    }

    async fn estimate_alone(self, params: Vec<serde_json::Value>) -> Result<u64, RpcError> {
        let gas: U256 = self.read("eth_estimateGas", params).await?;
        match u64::try_from(gas) {
            Ok(gas) if gas <= MAX_TRANSACTION_GAS => Ok(gas),
            _ => self.refuse(RpcError::malformed("eth_estimateGas", format!("{gas} gas"))),
        }
    }

    /// What gas costs: the cheapest that enough nodes tell, from the last ten blocks with the median tip of each.
    pub(crate) async fn market(&self, newest_base_fee: Option<u128>) -> Result<Market, RpcError> {
        let params = vec![json(&U64::from(10)), json("latest"), json(&[50.0])];
        let ask = |node: Self| {
            let params = params.clone();
            async move { node.read::<FeeHistory>("eth_feeHistory", params).await }
        };
        let told = self.some_answers(ask).await?;
        let markets = told.into_iter().filter_map(Result::ok).map(|history| Market::of(&history, newest_base_fee));
        markets.reduce(Market::cheaper).ok_or_else(|| RpcError::malformed("eth_feeHistory", "no answer"))
    }

    /// Hands a signed transaction to every node that does not hold it, once. Fine if one of them holds it then; an error says nothing about
    /// whether it will be mined. Nodes that failed lately are asked only if no other took it.
    pub(crate) async fn deliver(&self, hash: H256, raw: &[u8]) -> Result<(), RpcError> {
        let (mut taken, mut unknown, mut refused) = (false, None, None);
        for node in self.nodes() {
            if taken && node.is_resting() {
                continue;
            }
            match node.hand_over(hash, raw).await {
                Ok(()) => taken = true,
                Err(error @ RpcError::Refused { .. }) => refused = refused.or(Some(error)),
                Err(error) => unknown = unknown.or(Some(error)),
            }
        }
        unknown.or(refused).filter(|_| !taken).map_or(Ok(()), Err)
    }

    async fn hand_over(&self, hash: H256, raw: &[u8]) -> Result<(), RpcError> {
        if self.knows(hash).await? {
            return Ok(());
        }
        match self.pass::<H256>("eth_sendRawTransaction", &[json(&to_hex(raw))]).await {
            Ok(answered) if answered == hash => Ok(()),
            Ok(answered) => self.refuse(RpcError::malformed("eth_sendRawTransaction", format!("{answered:?} for {hash:?}"))),
            // refused as known, or as used up: it arrived before, and was perhaps mined in between
            Err(RpcError::Refused { .. }) if self.knows(hash).await? => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn pauses(retries: usize) -> ExponentialBuilder {
    ExponentialBuilder::default().with_min_delay(Duration::from_millis(100)).with_max_times(retries).with_jitter()
}

/// The state after a block, by its hash, so that no node can answer from another chain; or the newest.
fn at(block: Option<H256>) -> serde_json::Value {
    block.map_or_else(|| json("latest"), |hash| serde_json::json!({ "blockHash": hash }))
}

/// JSON of a value whose serialisation cannot fail (numbers, hashes, flat structs).
fn json<T: Serialize + ?Sized>(value: &T) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or(serde_json::Value::Null)
}

/// The value, if it fits 128 bits.
pub(crate) fn to_u128(value: U256) -> Option<u128> {
    (value.bits() <= 128).then(|| value.low_u128())
}

/// What may be shown of a URL: scheme, host and port. User, password, path and query may be secrets of a provider; where they cannot be told
/// from the host, that is not shown either.
pub fn site(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "the given text".to_owned() };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => host,
        None if rest.contains('@') => "...",
        None => authority,
    };
    format!("{scheme}://{host}")
}

/// What may be shown of several URLs, separated by commas.
pub fn sites(urls: &str) -> String {
    urls.split(',').map(|url| site(url.trim())).collect::<Vec<_>>().join(", ")
}

/// A 0x-hex L1 address, or `None`.
pub fn parse_address(text: &str) -> Option<Address> {
    from_hex(text).map(Address)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_url_shows_no_secret() {
        assert_eq!(site("https://user:secret@l1.example.org:8545/v3/secret?key=secret"), "https://l1.example.org:8545");
        assert_eq!(site("http://127.0.0.1:8545"), "http://127.0.0.1:8545");
        for odd in ["https://user:sec/ret@l1.example.org", "https://user:sec#ret@l1.example.org/", "user:secret@l1.example.org", "https:\\\\secret"] {
            let shown = site(odd);
            assert!(!shown.contains("sec") && !shown.contains("user"), "{shown}");
        }
    }

    #[tokio::test]
    async fn an_unusable_address_is_refused_without_its_secrets() {
        let error = Rpc::connect("ftp://user:secret@l1.example.org/secret", RpcOptions::default()).await.unwrap_err();
        assert!(format!("{error:?} {error}").contains("ftp://l1.example.org"), "{error:?}");
        assert!(!format!("{error:?} {error}").contains("secret"), "{error:?}");
    }
}
