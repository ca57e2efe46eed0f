//! The development stack: Postgres, Anvil, a deployed contract with a listed test token, all in one folder.
//!
//! Started in order, stopped by dropping: every child process has its owner here.

use crate::keys::KeySet;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use sheaf_protocol::amount::{Address, Amount};
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
pub(crate) struct DevDeployment {
    /// Contract, chain and manifest.
    #[serde(flatten)]
    pub(crate) deployment: Deployment,
    /// Token 2: an ERC-20 anybody may mint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) test_token: Option<TestToken>,
}

/// Everything a node needs, running.
pub(crate) struct DevStack {
    /// Postgres, unless the caller brought one.
    pub(crate) cluster: Option<Cluster>,
    /// The chain.
    pub(crate) anvil: Anvil,
    /// Where the database answers.
    pub(crate) database_url: String,
    /// What was deployed.
    pub(crate) deployment: DevDeployment,
    /// `deployment.json`.
    pub(crate) deployment_file: PathBuf,
}

impl DevStack {
    /// Starts Postgres (unless `database_url` names one) and Anvil on free ports and deploys the contract of `keys`.
    pub(crate) async fn start(dir: &Path, database_url: Option<String>, keys: &KeySet) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let cluster = match database_url {
            Some(_) => None,
            None => Some(Cluster::start(&dir.join("postgres")).await?),
        };
        let database_url = database_url.or_else(|| cluster.as_ref().map(|c| c.url().to_owned())).unwrap_or_default();
        let anvil = Anvil::start(AnvilOptions::default()).await?;
        let deployment = deploy_all(anvil.url(), keys).await?;
        let deployment_file = dir.join("deployment.json");
        std::fs::write(&deployment_file, serde_json::to_vec_pretty(&deployment)?)?;
        Ok(Self { cluster, anvil, database_url, deployment, deployment_file })
    }

    /// The contract, through a fresh connection.
    pub(crate) async fn rollup(&self) -> anyhow::Result<Rollup> {
        let rpc = Rpc::connect(self.anvil.url(), RpcOptions::default()).await?;
        Ok(Rollup::at(rpc, self.deployment.deployment.contract))
    }
}

/// One of Anvil's public keys. 0 is the operator, 1 the test token's owner and the payer of deposits.
pub(crate) fn dev_key(index: usize) -> anyhow::Result<L1Key> {
    Ok(L1Key::from_hex(DEV_KEYS[index])?)
}

/// The operator of the development stack.
pub(crate) fn operator() -> anyhow::Result<Address> {
    Ok(dev_key(0)?.address())
}

async fn deploy_all(url: &str, keys: &KeySet) -> anyhow::Result<DevDeployment> {
    let rpc = Rpc::connect(url, RpcOptions::default()).await?;
    let options = DeployOptions::new(operator()?);
    let payer = dev_key(1)?;
    let deployment = deploy(&rpc, &payer, &keys.manifest, &keys.srs.tau_powers, &options).await?;
    let rollup = Rollup::at(rpc, deployment.contract);
    let test_token = deploy_test_token(&rollup, &payer, TEST_SUPPLY).await?;
    Ok(DevDeployment { deployment, test_token: Some(test_token) })
}
