//! The development stack: Postgres, Anvil, a deployed contract with a listed test token, all in one folder.
//!
//! ```text
//! start ──> running ──stop──> chain saved: the folder can be started again, with everything in it
//!              └──drop──> ended; without a saved chain the folder is refused
//! ```
//! The chain's state is on disk only between a stop and the next start, so that nobody goes on from an old one.

use crate::guard::Guard;
use crate::keys::KeySet;
use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use sheaf_protocol::amount::{Address, Amount};
use sheaf_protocol::field::{keccak, to_word};
use sheaf_protocol::schnorr::SecretKey;
use sheaf_settlement::anvil::{Anvil, AnvilOptions, DEV_KEYS};
use sheaf_settlement::deploy::{DeployOptions, Deployment, TestToken, deploy, deploy_test_token};
use sheaf_settlement::key::L1Key;
use sheaf_settlement::rollup::Rollup;
use sheaf_settlement::rpc::{Rpc, RpcOptions};
use sheaf_store::embedded::{Cluster, ClusterOptions};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

/// Names the contract and the test token; a folder with it has been used.
pub(crate) const DEPLOYMENT_FILE: &str = "deployment.json";
/// What the test token's deployer gets: 2^100 units.
const TEST_SUPPLY: Amount = Amount(1 << 100);

/// A deployment with its test token, as [`DEPLOYMENT_FILE`] holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DevDeployment {
    /// Contract, chain and manifest.
    #[serde(flatten)]
    pub deployment: Deployment,
    /// Token 2: an ERC-20 anybody may mint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_token: Option<TestToken>,
}

/// Everything a node needs, running.
#[derive(Debug)]
pub struct DevStack {
    /// Postgres.
    pub cluster: Cluster,
    /// The chain; `None` only while it restarts.
    anvil: Option<Anvil>,
    chain: PathBuf,
    pids: Sender<i32>,
    /// Where the chain answers.
    pub l1_url: String,
    /// Where the database answers.
    pub database_url: String,
    /// What was deployed.
    pub deployment: DevDeployment,
    /// `deployment.json`.
    pub deployment_file: PathBuf,
}

impl DevStack {
    /// Starts Postgres and Anvil on free ports and deploys the contract of `keys`, or goes on with what a stopped stack left in `dir`.
    /// A database of the environment is not used: it is somebody's own.
    ///
    /// # Errors
    /// If a process does not start, the deployment is refused, or `dir` is of other keys or of a stack that was not stopped.
    pub async fn start(dir: &Path, keys: &KeySet, guard: &Guard) -> anyhow::Result<Self> {
        let (deployment_file, chain) = (dir.join(DEPLOYMENT_FILE), dir.join("anvil.json"));
        let known = known_deployment(&deployment_file, &chain, keys)?;
        let cluster = Cluster::start_with(&dir.join("postgres"), ClusterOptions { pids: Some(guard.pids()), ..ClusterOptions::default() }).await?;
        let anvil = start_chain(&chain, None, guard.pids()).await?;
        let deployment = match known {
            Some(deployment) => deployment,
            None => {
                let deployment = deploy_all(anvil.url(), keys).await?;
                std::fs::write(dir.join("manifest.json"), serde_json::to_vec_pretty(&keys.manifest)?)?;
                std::fs::write(&deployment_file, serde_json::to_vec_pretty(&deployment)?)?;
                deployment
            }
        };
        let (l1_url, database_url) = (anvil.url().to_owned(), cluster.url().to_owned());
        Ok(Self { cluster, anvil: Some(anvil), chain, pids: guard.pids(), l1_url, database_url, deployment, deployment_file })
    }

    /// The chain's process.
    ///
    /// # Errors
    /// If a restart of it failed.
    pub fn anvil(&self) -> anyhow::Result<&Anvil> {
        self.anvil.as_ref().context("anvil did not come up again")
    }

    /// Ends the chain in order and starts it again from its saved state, on the same port.
    ///
    /// # Errors
    /// If it does not come up again.
    pub async fn restart_anvil(&mut self) -> anyhow::Result<()> {
        let anvil = self.anvil.take().context("anvil did not come up again")?;
        let port = anvil.port();
        anvil.stop().await?;
        self.anvil = Some(start_chain(&self.chain, Some(port), self.pids.clone()).await?);
        Ok(())
    }

    /// Ends everything in order; the folder can be started again.
    ///
    /// # Errors
    /// If the chain cannot save its state.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.anvil.take().context("anvil did not come up again")?.stop().await?)
    }

    /// The contract, through a fresh connection.
    ///
    /// # Errors
    /// If the chain does not answer.
    pub async fn rollup(&self) -> anyhow::Result<Rollup> {
        let rpc = Rpc::connect(&self.l1_url, RpcOptions::default()).await?;
        Ok(Rollup::at(rpc, self.deployment.deployment.contract))
    }
}

/// One of Anvil's public keys. 0 is the operator, 1 the test token's owner and the payer of deposits.
///
/// # Errors
/// None for an index below 10.
pub fn dev_key(index: usize) -> anyhow::Result<L1Key> {
    Ok(L1Key::from_hex(DEV_KEYS[index])?)
}

/// The operator of the development stack.
///
/// # Errors
/// None.
pub fn operator() -> anyhow::Result<Address> {
    Ok(dev_key(0)?.address())
}

/// The operator's account in the rollup, which collects fees. Public, as everything of the development stack.
///
/// # Errors
/// None: the seed gives a key.
pub fn fee_key() -> anyhow::Result<SecretKey> {
    Ok(SecretKey::from_seed(&keccak(b"sheaf development operator"))?)
}

/// What a stopped stack left: `None` in a new folder.
fn known_deployment(file: &Path, chain: &Path, keys: &KeySet) -> anyhow::Result<Option<DevDeployment>> {
    if !file.is_file() {
        return Ok(None);
    }
    let known: DevDeployment = serde_json::from_slice(&std::fs::read(file)?).with_context(|| format!("{} is damaged", file.display()))?;
    let folder = file.parent().unwrap_or(file).display();
    ensure!(known.deployment.manifest == keys.manifest.digest(), "{folder} was made with other keys or shapes; name those, or another folder");
    ensure!(chain.is_file(), "{folder} was not stopped in order, or is in use: its chain was not saved; delete it or name another folder");
    Ok(Some(known))
}

/// Starts the chain from its saved state, if there is one. The file goes: it is written anew when the chain stops.
async fn start_chain(state: &Path, port: Option<u16>, pids: Sender<i32>) -> anyhow::Result<Anvil> {
    let options = AnvilOptions { state: Some(state.to_owned()), port, pids: Some(pids), ..AnvilOptions::default() };
    let anvil = Anvil::start(options).await?;
    match std::fs::remove_file(state) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| format!("cannot remove {}", state.display())),
        _ => Ok(anvil),
    }
}

async fn deploy_all(url: &str, keys: &KeySet) -> anyhow::Result<DevDeployment> {
    let rpc = Rpc::connect(url, RpcOptions::default()).await?;
    let options = DeployOptions::new(operator()?);
    let payer = dev_key(1)?;
    let deployment = deploy(&rpc, &payer, &keys.manifest, &keys.srs.tau_powers, &options).await?;
    let rollup = Rollup::at(rpc, deployment.contract);
    let test_token = deploy_test_token(&rollup, &payer, TEST_SUPPLY).await?;
    let (key, owner) = (to_word(fee_key()?.public().0), operator()?);
    rollup.deposit(&payer, Amount(1), key, owner).await?;
    rollup.deposit_token(&payer, test_token.token, Amount(1), key, owner).await?;
    Ok(DevDeployment { deployment, test_token: Some(test_token) })
}
