//! What an operator can set, one struct per concern, with the defaults of a small deployment. Nothing here reads the environment or the
//! command line; whoever starts the sequencer does.

use sheaf_protocol::amount::{Address, Amount, TokenId};
use sheaf_protocol::field::{Fr, Word};
use sheaf_protocol::header;
use sheaf_protocol::ledger::Triple;
use sheaf_protocol::manifest::Manifest;
use sheaf_protocol::shape::Shape;
use std::collections::HashMap;
use std::time::Duration;

/// Everything an operator can set.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The lease.
    pub lead: LeadConfig,
    /// From the API to the executor.
    pub admission: AdmissionConfig,
    /// When a batch is closed.
    pub sealing: SealingConfig,
    /// The committer.
    pub committing: CommittingConfig,
    /// Who gets the fees and how much they must be.
    pub fees: FeeConfig,
    /// Entries of the L1 queue.
    pub deposits: DepositConfig,
    /// The HTTP surface.
    pub api: ApiConfig,
}

/// The sequencer's lease in Postgres.
#[derive(Clone, Debug)]
pub struct LeadConfig {
    /// Name shown to people: host and process.
    pub holder: String,
    /// After this long without renewal another sequencer may take over. Renewed three times as often.
    pub lease: Duration,
}

impl Default for LeadConfig {
    fn default() -> Self {
        Self { holder: format!("process {}", std::process::id()), lease: Duration::from_secs(5) }
    }
}

/// Queues and groups between the API and the executor.
#[derive(Clone, Debug)]
pub struct AdmissionConfig {
    /// Transactions that wait for their signature check; beyond it the answer is 429.
    pub max_queued: usize,
    /// Signatures verified at once.
    pub max_group: usize,
    /// Accepted transactions that may wait for a batch; beyond it the answer is 429.
    pub max_unsealed: usize,
    /// How far above the next nonce a nonce may be and still wait for its predecessors in the queue.
    pub max_nonce_lead: u32,
    /// How long one exchange with Postgres may take. Of a write that took longer the outcome is looked up.
    pub write_timeout: Duration,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self { max_queued: 8_192, max_group: 256, max_unsealed: 65_536, max_nonce_lead: 8_192, write_timeout: Duration::from_secs(5) }
    }
}

/// When a batch is closed before it is full.
#[derive(Clone, Debug)]
pub struct SealingConfig {
    /// The oldest member waits at most this long.
    pub max_age: Duration,
    /// Bytes of L1 calldata that one commit may carry.
    pub max_calldata_bytes: usize,
    /// Sealed batches that may wait for the committer; beyond it nothing is sealed.
    pub max_uncomputed: usize,
}

impl Default for SealingConfig {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(2), max_calldata_bytes: 64 * 1024, max_uncomputed: 16 }
    }
}

/// The committer.
#[derive(Clone, Debug)]
pub struct CommittingConfig {
    /// Threads that compute batches. They are the committer's own: receipts, whose signatures all cores check, do not wait for it.
    pub threads: usize,
}

impl Default for CommittingConfig {
    /// Half of the cores.
    fn default() -> Self {
        Self { threads: std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)) }
    }
}

/// Who gets the fees and how much they must be.
#[derive(Clone, Debug, Default)]
pub struct FeeConfig {
    /// The operator's account. Its slot of a token collects that token's fees; without one, only transfers without fee are taken.
    pub account: Option<FeeAccount>,
    /// The least fee of a token without an entry in `minimum`.
    pub default_minimum: Amount,
    /// The least fee by token.
    pub minimum: HashMap<TokenId, Amount>,
}

/// The operator's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeAccount {
    /// Its key.
    pub key: Fr,
    /// Its owner on L1.
    pub owner: Address,
}

impl FeeConfig {
    /// The least fee of a transaction in this token.
    pub fn minimum(&self, token: TokenId) -> Amount {
        self.minimum.get(&token).copied().unwrap_or(self.default_minimum)
    }

    /// Which slot collects the fees of this token: exactly this triple.
    pub fn triple(&self, token: TokenId) -> Option<Triple> {
        self.account.map(|FeeAccount { key, owner }| Triple { key, owner, token })
    }
}

/// Entries of the L1 queue.
#[derive(Clone, Debug)]
pub struct DepositConfig {
    /// An entry is taken when its block is this deep; a block at the head is 1 deep.
    pub confirmations: u64,
    /// Entries taken at once.
    pub max_group: u64,
    /// How often the queue is looked at without a hint.
    pub poll: Duration,
}

impl Default for DepositConfig {
    fn default() -> Self {
        Self { confirmations: 12, max_group: 256, poll: Duration::from_secs(1) }
    }
}

/// The HTTP surface.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Largest request body.
    pub max_body_bytes: usize,
    /// Most transactions in one request.
    pub max_records: usize,
    /// Origins of browsers that may call; `*` for all. Empty: none.
    pub cors_origins: Vec<String>,
    /// Base URL of a block explorer for L1, to which the pages link: `{l1_explorer}/tx/0x..`.
    pub l1_explorer: Option<String>,
    /// Descriptions of what is served beside this API, by name and address; /docs offers them too.
    pub documents: Vec<(&'static str, &'static str)>,
    /// Dollars for one ether, to show L1 costs in dollars too.
    pub eth_usd: Option<f64>,
    /// Budget of one client, `None` for no limit.
    pub rate: Option<RateConfig>,
    /// Header with the client's address, set by a proxy that overwrites what clients send. `None`: the peer's address counts.
    pub client_ip_header: Option<String>,
    /// A client must send its request's head within this time.
    pub header_read_timeout: Duration,
    /// And its body with no longer a pause than this.
    pub body_read_timeout: Duration,
    /// And all of its body within this time.
    pub body_timeout: Duration,
    /// How long a request may wait for the database to answer a question.
    pub read_timeout: Duration,
    /// Open connections; further ones wait.
    pub max_connections: usize,
    /// Of these, of one client; further ones are closed. Behind a proxy, which is one client, only `max_connections` counts.
    pub max_connections_per_client: usize,
    /// Open event streams; further ones get 429.
    pub max_event_streams: usize,
    /// Of these, of one client.
    pub max_event_streams_per_client: usize,
    /// Requests that wait for a state; further ones get 429.
    pub max_waiters: usize,
    /// Of these, of one client.
    pub max_waiters_per_client: usize,
    /// The longest `timeout_s` of a waiting request.
    pub max_wait: Duration,
    /// The longest page of a list.
    pub max_page: u64,
}

/// Budget of one client: an IPv4 address or an IPv6 /64.
#[derive(Clone, Copy, Debug)]
pub struct RateConfig {
    /// Requests and transactions per second, in the long run. At least 1.
    pub per_second: u32,
    /// And at once. At least 1.
    pub burst: u32,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 1 << 20,
            max_records: 4_096,
            cors_origins: vec!["*".to_owned()],
            l1_explorer: None,
            documents: Vec::new(),
            eth_usd: None,
            rate: Some(RateConfig { per_second: 2_000, burst: 8_192 }),
            client_ip_header: None,
            header_read_timeout: Duration::from_secs(10),
            body_read_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(5),
            max_connections: 4_096,
            max_connections_per_client: 1_024,
            max_event_streams: 256,
            max_event_streams_per_client: 64,
            max_waiters: 2_048,
            max_waiters_per_client: 512,
            max_wait: Duration::from_secs(60),
            max_page: 200,
        }
    }
}

/// A circuit of the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circuit {
    /// Position in the deployment's list, from 1.
    pub id: u32,
    /// Name of its shape.
    pub name: String,
    /// Capacities.
    pub shape: Shape,
    /// Its constraints, for people; whoever knows circuits sets it.
    pub constraints: Option<u64>,
}

/// What this sequencer runs.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// L1's chain.
    pub chain_id: u64,
    /// The contract.
    pub contract: Address,
    /// `H("sheaf.v1", chain id, contract)`.
    pub domain: Fr,
    /// The state has `2^k` slots.
    pub k: u32,
    /// Its circuits, by id.
    pub circuits: Vec<Circuit>,
    /// Where keys and SRS come from, as a label.
    pub trusted_setup: String,
    /// Digest of circuits, keys and SRS.
    pub manifest_digest: Word,
}

impl Deployment {
    /// The deployment of a manifest behind a contract.
    pub fn new(chain_id: u64, contract: Address, manifest: &Manifest) -> Self {
        let circuits =
            manifest.circuits.iter().map(|entry| Circuit { id: entry.id, name: entry.name.clone(), shape: entry.shape, constraints: None });
        Self {
            chain_id,
            contract,
            domain: header::domain(chain_id, &contract),
            k: manifest.srs.k,
            circuits: circuits.collect(),
            trusted_setup: manifest.setup.label().to_owned(),
            manifest_digest: manifest.digest().0,
        }
    }

    /// The circuit with this id.
    pub fn circuit(&self, id: u32) -> Option<&Circuit> {
        self.circuits.iter().find(|circuit| circuit.id == id)
    }
}
