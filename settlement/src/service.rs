//! The settlement role of a node: keeps the lead, follows L1 and sends to it, until cancelled.

use crate::deploy::Deployment;
use crate::key::L1Key;
use crate::lead::Lead;
use crate::provenance::{self, ProvenanceError};
use crate::rollup::{Rollup, ViewError};
use crate::rpc::{Rpc, RpcError, RpcOptions, sites};
use crate::status::{Board, Status};
use crate::submitter::{Submitter, SubmitterOptions};
use crate::watcher::{Watcher, WatcherOptions};
use sheaf_protocol::amount::Address;
use sheaf_protocol::manifest::Manifest;
use sqlx::PgPool;
use std::fmt;
use tokio_util::sync::CancellationToken;

/// What the role needs to know.
#[derive(Clone)]
pub struct ServiceOptions {
    /// Addresses of the L1 nodes, separated by commas.
    pub l1_url: String,
    /// Which contract.
    pub deployment: Deployment,
    /// What it must have been made of.
    pub manifest: Manifest,
    /// Name of this process, for people.
    pub holder: String,
    /// How long a silent leader is waited for.
    pub lease_ms: u64,
    /// How L1 is asked.
    pub rpc: RpcOptions,
    /// How L1 is followed.
    pub watcher: WatcherOptions,
    /// How transactions are sent.
    pub submitter: SubmitterOptions,
}

impl fmt::Debug for ServiceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { l1_url, deployment, manifest: _, holder, lease_ms, rpc, watcher, submitter } = self;
        let mut shown = f.debug_struct("ServiceOptions");
        shown.field("l1_url", &sites(l1_url)).field("deployment", deployment).field("holder", holder).field("lease_ms", lease_ms);
        shown.field("rpc", rpc).field("watcher", watcher).field("submitter", submitter).finish()
    }
}

impl ServiceOptions {
    /// Defaults for the deployment's chain.
    pub fn new(l1_url: &str, deployment: Deployment, manifest: Manifest) -> Self {
        let chain_id = deployment.chain_id;
        let (lease_ms, lag_patience_ms) = if chain_id == crate::anvil::DEV_CHAIN_ID { (3_000, 2_000) } else { (15_000, 60_000) };
        Self {
            l1_url: l1_url.to_owned(),
            holder: format!("pid {}", std::process::id()),
            lease_ms,
            rpc: RpcOptions { lag_patience_ms, ..RpcOptions::default() },
            watcher: WatcherOptions::new(chain_id, deployment.block),
            submitter: SubmitterOptions { circuits: manifest.circuits.len() as u32, ..SubmitterOptions::new(chain_id) },
            deployment,
            manifest,
        }
    }
}

/// Why the role does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The node does not answer, or serves another chain.
    #[error(transparent)]
    Rpc(RpcError),
    /// There is no such contract.
    #[error(transparent)]
    View(ViewError),
    /// The contract is not the one of the manifest, or the manifest's keys must not be used here.
    #[error(transparent)]
    Provenance(ProvenanceError),
    /// The contract takes commits from somebody else.
    #[error("the contract's operator is {expected}, the key given is for {found}")]
    NotOperator {
        /// By the contract.
        expected: Address,
        /// By the key.
        found: Address,
    },
}

impl StartError {
    /// True if the same start may succeed later without anybody's help: the node does not answer yet, or limits our requests. A wrong
    /// address, chain, contract or key stays wrong however often it is tried.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Rpc(error) | Self::View(ViewError::Rpc(error)) => error.is_transient(),
            Self::Provenance(error) => error.is_transient(),
            Self::View(_) | Self::NotOperator { .. } => false,
        }
    }
}

/// The role, checked and ready to run.
#[derive(Debug)]
pub struct Service {
    lead: Lead,
    watcher: Watcher,
    submitter: Submitter,
}

impl Service {
    /// Connects and checks chain, contract, manifest and key. What happens later is shown on `board`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(pool: PgPool, key: L1Key, options: ServiceOptions, board: Board) -> Result<Self, StartError> {
        let deployment = &options.deployment;
        // of a role that ended and starts again
        board.edit(Status::stand_by);
        let rpc = Rpc::connect_to(&options.l1_url, deployment.chain_id, options.rpc).await.map_err(StartError::Rpc)?;
        let rollup = Rollup::at(rpc.clone(), deployment.contract);
        let expected = rollup.operator().await.map_err(StartError::View)?;
        if expected != key.address() {
            return Err(StartError::NotOperator { expected, found: key.address() });
        }
        provenance::check(&rpc, deployment, &options.manifest).await.map_err(StartError::Provenance)?;
        let lead = Lead::new(pool, &options.holder, options.lease_ms);
        let watcher = Watcher::new(rollup.clone(), lead.clone(), options.watcher, board.clone());
        let submitter = Submitter::new(rollup, key, lead.clone(), options.submitter, board);
        Ok(Self { lead, watcher, submitter })
    }

    /// Runs until cancelled; the lead is given up last, so that nobody takes over while a round is under way.
    pub async fn run(self, cancel: CancellationToken) {
        let keep = CancellationToken::new();
        // a loop that panics gives the lead up too: the role that starts in its place must not wait for itself
        let _kept = keep.clone().drop_guard();
        let lead = tokio::spawn(self.lead.run(keep.clone()));
        tokio::join!(self.watcher.run(cancel.clone()), self.submitter.run(cancel));
        keep.cancel();
        if let Err(error) = lead.await {
            tracing::error!(error = &error as &dyn std::error::Error, "keeping the lead of settlement");
        }
    }
}
