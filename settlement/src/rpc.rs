//! A small JSON-RPC client for an Ethereum node.
//!
//! Every request has a timeout, its answer's id is checked, and reading calls are repeated a bounded number of times with growing pauses.
//! Sending a transaction is never repeated here: whether it arrived is a question for the submitter, which asks by hash and nonce.
//!
//! Three outcomes are kept apart: the node *refused* (it answered with an error), the node was *unreachable* (the result is unknown),
//! and the answer was *malformed*.

use backon::{ExponentialBuilder, Retryable};
use ethers_core::types::{Bytes, H160, H256, Log, U64, U256};
use jsonrpsee::core::client::{ClientT, Error as ClientError};
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sheaf_protocol::amount::Address;
use sheaf_protocol::field::{Word, from_hex, to_hex};
use std::fmt;
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

/// "Limit exceeded" of EIP-1474: the node may answer later.
const LIMIT_EXCEEDED: i32 = -32_005;

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The address is not one of an HTTP node.
    #[error("{site} is not the address of a JSON-RPC node; expected http:// or https:// and a host")]
    Url {
        /// What may be shown of it, see [`site`].
        site: String,
    },
    /// No answer: whether the node acted on the request is unknown.
    #[error("{method}: the L1 node did not answer")]
    Unreachable {
        /// The request.
        method: &'static str,
        /// What the transport said.
        #[source]
        source: ClientError,
    },
    /// The node answered with an error.
    #[error("{method}: the L1 node refused ({code}): {message}")]
    Refused {
        /// The request.
        method: &'static str,
        /// JSON-RPC error code; 3 is "execution reverted".
        code: i32,
        /// The node's words, for people only.
        message: String,
        /// Revert data, where there is any.
        data: Option<Vec<u8>>,
    },
    /// The answer is not what the method promises.
    #[error("{method}: malformed answer from the L1 node: {detail}")]
    Malformed {
        /// The request.
        method: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The node serves another chain.
    #[error("the L1 node serves chain {found}, expected {expected}")]
    WrongChain {
        /// From the configuration.
        expected: u64,
        /// From the node.
        found: u64,
    },
}

impl RpcError {
    fn new(method: &'static str, error: ClientError) -> Self {
        match error {
            ClientError::Call(object) => Self::Refused {
                method,
                code: object.code(),
                message: object.message().chars().take(300).collect(),
                data: object.data().and_then(|raw| revert_data(raw.get())),
            },
            ClientError::ParseError(source) => Self::Malformed { method, detail: source.to_string() },
            ClientError::InvalidRequestId(source) => Self::Malformed { method, detail: source.to_string() },
            source => Self::Unreachable { method, source },
        }
    }

    /// True if repeating a reading call may help: there was no answer, or too many were asked for.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Refused { code: LIMIT_EXCEEDED, .. })
    }
}

/// Revert data of an error object: a hex string, or an object with such a string under `data`.
fn revert_data(raw: &str) -> Option<Vec<u8>> {
    let value: serde_json::Value = serde_json::from_str(raw).ok()?;
    let text = value.as_str().or_else(|| value.get("data")?.as_str())?;
    hex::decode(text.strip_prefix("0x")?).ok()
}

/// How long and how often to ask.
#[derive(Clone, Copy, Debug)]
pub struct RpcOptions {
    /// Longest wait for one answer.
    pub request_timeout_ms: u64,
    /// How often a reading call is repeated after the first try.
    pub max_retries: usize,
}

impl Default for RpcOptions {
    fn default() -> Self {
        Self { request_timeout_ms: 10_000, max_retries: 3 }
    }
}

/// A block's head, as far as the watcher needs it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockHead {
    pub(crate) number: U64,
    pub(crate) hash: H256,
    pub(crate) parent_hash: H256,
    pub(crate) timestamp: U64,
}

/// A mined transaction's receipt.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
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

/// A connection to one node, bound to the chain it served when it was opened.
#[derive(Clone)]
pub struct Rpc {
    client: HttpClient,
    site: String,
    chain_id: u64,
    retries: usize,
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rpc({}, chain {})", self.site, self.chain_id)
    }
}

impl Rpc {
    /// Connects and learns the chain id.
    ///
    /// # Errors
    /// If the address is unusable or the node does not answer.
    pub async fn connect(url: &str, options: RpcOptions) -> Result<Self, RpcError> {
        let client = HttpClientBuilder::default()
            .request_timeout(Duration::from_millis(options.request_timeout_ms))
            .build(url)
            .map_err(|_| RpcError::Url { site: site(url) })?;
        let mut rpc = Self { client, site: site(url), chain_id: 0, retries: options.max_retries };
        rpc.chain_id = rpc.ask_chain_id().await?;
        Ok(rpc)
    }

    /// As [`Rpc::connect`], and refuses any chain but `chain_id`.
    ///
    /// # Errors
    /// Also [`RpcError::WrongChain`].
    pub async fn connect_to(url: &str, chain_id: u64, options: RpcOptions) -> Result<Self, RpcError> {
        let rpc = Self::connect(url, options).await?;
        match rpc.chain_id {
            found if found == chain_id => Ok(rpc),
            found => Err(RpcError::WrongChain { expected: chain_id, found }),
        }
    }

    /// The chain the node served at connection.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Number of the newest block.
    ///
    /// # Errors
    /// If the node does not answer.
    pub async fn block_number(&self) -> Result<u64, RpcError> {
        Ok(self.read::<U64>("eth_blockNumber", Vec::new()).await?.as_u64())
    }

    /// Balance in wei.
    ///
    /// # Errors
    /// If the node does not answer, or the balance exceeds 128 bits.
    pub async fn balance(&self, account: Address) -> Result<u128, RpcError> {
        let wei: U256 = self.read("eth_getBalance", vec![json(&H160(account.0)), json("latest")]).await?;
        to_u128(wei).ok_or(RpcError::Malformed { method: "eth_getBalance", detail: format!("balance {wei}") })
    }

    /// Any request, once, with its parameters and result as JSON: for development nodes' own methods such as `anvil_reorg`.
    ///
    /// # Errors
    /// If the node does not answer or refuses.
    pub async fn raw(&self, method: &'static str, params: Vec<serde_json::Value>) -> Result<serde_json::Value, RpcError> {
        self.once(method, &params).await
    }

    async fn ask_chain_id(&self) -> Result<u64, RpcError> {
        Ok(self.read::<U64>("eth_chainId", Vec::new()).await?.as_u64())
    }

    async fn once<T: DeserializeOwned>(&self, method: &'static str, params: &[serde_json::Value]) -> Result<T, RpcError> {
        let mut array = ArrayParams::new();
        for param in params {
            array.insert(param).map_err(|e| RpcError::Malformed { method, detail: e.to_string() })?;
        }
        self.client.request(method, array).await.map_err(|error| RpcError::new(method, error))
    }

    async fn read<T: DeserializeOwned>(&self, method: &'static str, params: Vec<serde_json::Value>) -> Result<T, RpcError> {
        let pauses = ExponentialBuilder::default().with_min_delay(Duration::from_millis(100)).with_max_times(self.retries).with_jitter();
        (|| self.once(method, &params)).retry(pauses).when(RpcError::is_transient).await
    }

    pub(crate) async fn latest_block(&self) -> Result<BlockHead, RpcError> {
        let head: Option<BlockHead> = self.read("eth_getBlockByNumber", vec![json("latest"), json(&false)]).await?;
        head.ok_or(RpcError::Malformed { method: "eth_getBlockByNumber", detail: "no latest block".into() })
    }

    pub(crate) async fn block(&self, number: u64) -> Result<Option<BlockHead>, RpcError> {
        self.read("eth_getBlockByNumber", vec![json(&U64::from(number)), json(&false)]).await
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

    pub(crate) async fn receipt(&self, hash: H256) -> Result<Option<Receipt>, RpcError> {
        self.read("eth_getTransactionReceipt", vec![json(&hash)]).await
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

    /// Number of transactions of `account` in mined blocks: its next nonce, if none is waiting.
    pub(crate) async fn mined_nonce(&self, account: H160) -> Result<u64, RpcError> {
        Ok(self.read::<U64>("eth_getTransactionCount", vec![json(&account), json("latest")]).await?.as_u64())
    }

    /// Next nonce of `account`, counting waiting transactions.
    pub(crate) async fn pending_nonce(&self, account: H160) -> Result<u64, RpcError> {
        Ok(self.read::<U64>("eth_getTransactionCount", vec![json(&account), json("pending")]).await?.as_u64())
    }

    pub(crate) async fn call(&self, request: &CallRequest) -> Result<Bytes, RpcError> {
        self.read("eth_call", vec![json(request), json("latest")]).await
    }

    pub(crate) async fn estimate_gas(&self, request: &CallRequest) -> Result<u64, RpcError> {
        let gas: U256 = self.read("eth_estimateGas", vec![json(request), json("latest")]).await?;
        Ok(gas.low_u64())
    }

    /// The last ten blocks' fees, with the median tip of each.
    pub(crate) async fn fee_history(&self) -> Result<FeeHistory, RpcError> {
        self.read("eth_feeHistory", vec![json(&U64::from(10)), json("latest"), json(&[50.0])]).await
    }

    /// Hands a signed transaction over, once. An error says nothing about whether it will be mined.
    pub(crate) async fn send_raw(&self, raw: &[u8]) -> Result<H256, RpcError> {
        self.once("eth_sendRawTransaction", &[json(&to_hex(raw))]).await
    }
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

    #[test]
    fn revert_data_is_found_in_both_shapes() {
        assert_eq!(revert_data("\"0x0102\""), Some(vec![1, 2]));
        assert_eq!(revert_data("{\"data\":\"0x03\"}"), Some(vec![3]));
        assert_eq!(revert_data("{\"other\":1}"), None);
    }
}
