//! The development stack: Postgres, Anvil, a deployed contract with a listed test token, all in one folder.
//!
//! Started in order, stopped by dropping: every child process has its owner here.

use crate::keys::KeySet;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use sheaf_protocol::amount::{Address, Amount};
use sheaf_protocol::field::{keccak, to_word};
use sheaf_protocol::schnorr::SecretKey;
use sheaf_settlement::anvil::{Anvil, AnvilOptions, DEV_KEYS};
use sheaf_settlement::deploy::{DeployOptions, Deployment, TestToken, deploy, deploy_test_token};
use sheaf_settlement::key::L1Key;
use sheaf_settlement::rollup::Rollup;
use sheaf_settlement::rpc::{Rpc, RpcOptions};
use sheaf_store::embedded::Cluster;
use std::path::{Path, PathBuf};

/// What the test token's deployer gets: 2^100 units.
const TEST_SUPPLY: Amount = Amount(1 << 100);

/// A deployment with its test token, as `deployment.json` holds it.
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
    /// Postgres, unless the caller brought one.
    pub cluster: Option<Cluster>,
    /// The chain; `None` only while it restarts.
    anvil: Option<Anvil>,
    anvil_state: PathBuf,
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
    /// Starts Postgres (unless `database_url` names one) and Anvil on free ports and deploys the contract of `keys`.
    ///
    /// # Errors
    /// If a process does not start or the deployment is refused.
    pub async fn start(dir: &Path, database_url: Option<String>, keys: &KeySet) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let cluster = match database_url {
            Some(_) => None,
            None => Some(Cluster::start(&dir.join("postgres")).await?),
        };
        let database_url = database_url.or_else(|| cluster.as_ref().map(|c| c.url().to_owned())).unwrap_or_default();
        let anvil_state = dir.join("anvil.json");
        let anvil = Anvil::start(AnvilOptions { state: Some(anvil_state.clone()), ..AnvilOptions::default() }).await?;
        let deployment = deploy_all(anvil.url(), keys).await?;
        let deployment_file = dir.join("deployment.json");
        std::fs::write(dir.join("manifest.json"), serde_json::to_vec_pretty(&keys.manifest)?)?;
        std::fs::write(&deployment_file, serde_json::to_vec_pretty(&deployment)?)?;
        Ok(Self { cluster, l1_url: anvil.url().to_owned(), anvil: Some(anvil), anvil_state, database_url, deployment, deployment_file })
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
        self.anvil = Some(Anvil::start(AnvilOptions { state: Some(self.anvil_state.clone()), port: Some(port), ..AnvilOptions::default() }).await?);
        Ok(())
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
