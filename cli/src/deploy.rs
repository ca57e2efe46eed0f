//! `sheaf deploy`: creates the contract of a manifest and writes what every role reads, `deployment.json` and `manifest.json`.
//!
//! The contract has no owner and no upgrade: whatever is deployed stays so. The manifest is checked against the reference string first.

use crate::environment::variable;
use crate::node::{DEFAULT_L1_URL, read_json};
use crate::wallet::parse::address;
use anyhow::{Context, ensure};
use clap::Args;
use sheaf_protocol::amount::Address;
use sheaf_protocol::kzg::Srs;
use sheaf_protocol::manifest::Manifest;
use sheaf_settlement::deploy::{DEFAULT_TIMEOUT_S, DeployOptions, Deployment, deploy};
use sheaf_settlement::key::L1Key;
use sheaf_settlement::rpc::{Rpc, RpcOptions};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Below this many queue entries a batch, `sheaf deploy` says that a flood is cheap: a day of delay for as little as 105 million gas.
const SAFE_QUEUE_RATE: u32 = 100;

/// `sheaf deploy`
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  sheaf keys list --json > manifest.json      # development; with real money `sheaf ceremony finalize` writes it\n  SHEAF_DEPLOYER_KEY=0x.. sheaf deploy --l1-url http://127.0.0.1:8545 --operator 0x.. --manifest manifest.json --out deployment\n\nThen: sheaf sequencer --deployment deployment/deployment.json, and likewise every other role."
)]
pub struct DeployArgs {
    /// JSON-RPC of the L1 node.
    #[arg(long, env = "SHEAF_L1_URL", hide_env_values = true, default_value = DEFAULT_L1_URL)]
    l1_url: String,
    /// L1 address that may commit batches: that of the settlement role's key. It cannot be changed later.
    #[arg(long, value_parser = address)]
    operator: Address,
    /// Circuits, keys and contract, as `sheaf keys list --json` prints or `sheaf ceremony finalize` writes them.
    #[arg(long, env = "SHEAF_MANIFEST")]
    manifest: PathBuf,
    /// Folder of the SRS.
    #[arg(long, env = "SHEAF_KEYS", default_value = ".sheaf/keys")]
    keys_dir: PathBuf,
    /// File with the L1 key (hex) that pays for the creation; without it SHEAF_DEPLOYER_KEY of the environment is used.
    #[arg(long)]
    deployer_key_file: Option<PathBuf>,
    /// Folder for deployment.json and manifest.json; files there are never overwritten.
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Wei that listing a token costs.
    #[arg(long, default_value_t = 10_000_000_000_000_000)]
    listing_fee: u128,
    /// Wei that an entry of the L1 queue costs.
    #[arg(long, default_value_t = 100_000_000_000_000)]
    queue_fee: u128,
    /// Seconds after which an unserved queue entry lets anybody freeze.
    #[arg(long, default_value_t = DEFAULT_TIMEOUT_S)]
    force_timeout_s: u64,
    /// Seconds after which an unproven batch lets anybody freeze.
    #[arg(long, default_value_t = DEFAULT_TIMEOUT_S)]
    prove_timeout_s: u64,
}

/// Runs the command.
///
/// # Errors
/// What is wrong with the keys, the chain or the files; nothing was sent then, except if writing the files fails.
pub async fn run(args: DeployArgs) -> anyhow::Result<()> {
    let files = ["deployment.json", "manifest.json"].map(|name| args.out.join(name));
    let manifest: Manifest = read_json(&args.manifest, "--manifest")?;
    check_free(&files[0], None)?;
    check_free(&files[1], Some(&manifest))?;
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}; choose another folder with --out", args.out.display()))?;
    let (payer, options) = (args.payer()?, args.options());
    let rpc = Rpc::connect(&args.l1_url, RpcOptions::default()).await.context("no L1 node; name it with --l1-url")?;
    manifest.setup.check_chain(rpc.chain_id())?;
    check_balance(&rpc, &payer).await?;
    let srs = Srs::open(&args.keys_dir, &manifest)?;
    let deployment = deploy(&rpc, &payer, &manifest, &srs.tau_powers, &options).await?;
    report(&deployment, &files, &manifest)
}

impl DeployArgs {
    fn payer(&self) -> anyhow::Result<L1Key> {
        let text = match &self.deployer_key_file {
            Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
            None => variable("SHEAF_DEPLOYER_KEY").context("no key to pay with: set SHEAF_DEPLOYER_KEY or name a file with --deployer-key-file")?,
        };
        L1Key::from_hex(Zeroizing::new(text).trim()).context("the deployer's key is not 32 bytes of hex")
    }

    fn options(&self) -> DeployOptions {
        DeployOptions {
            listing_fee_wei: self.listing_fee,
            queue_fee_wei: self.queue_fee,
            force_timeout_s: self.force_timeout_s,
            prove_timeout_s: self.prove_timeout_s,
            ..DeployOptions::new(self.operator)
        }
    }
}

/// A deployment's files are its only record: nothing is overwritten but a manifest by itself.
fn check_free(path: &Path, same: Option<&Manifest>) -> anyhow::Result<()> {
    let known =
        same.filter(|_| path.is_file()).map(|manifest| read_json::<Manifest>(path, "--manifest").map(|found| found.digest() == manifest.digest()));
    ensure!(!path.exists() || known.transpose()? == Some(true), "{} exists already; choose another folder with --out", path.display());
    Ok(())
}

async fn check_balance(rpc: &Rpc, payer: &L1Key) -> anyhow::Result<()> {
    let balance = rpc.balance(payer.address()).await?;
    ensure!(balance > 0, "the deployer {} has nothing on chain {}; send it ether", payer.address(), rpc.chain_id());
    Ok(())
}

fn report(deployment: &Deployment, files: &[PathBuf; 2], manifest: &Manifest) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(deployment)?;
    let written = std::fs::write(&files[1], serde_json::to_vec_pretty(manifest)?).and_then(|()| std::fs::write(&files[0], &text));
    written
        .with_context(|| format!("the contract is deployed but {} could not be written; keep this as deployment.json: {text}", files[0].display()))?;
    println!("contract    {} on chain {}, block {}", deployment.contract, deployment.chain_id, deployment.block);
    println!("manifest    {} ({})", deployment.manifest, manifest.setup.label());
    let rate = manifest.circuits.iter().map(|circuit| circuit.shape.queue_rate()).max().unwrap_or_default();
    println!("L1 queue    {rate} entries a batch: behind a flood deadlines move back by an hour for each {rate} that wait");
    if rate < SAFE_QUEUE_RATE {
        println!(
            "            a flood is cheap here, for the operator too; with real money add a circuit for it: `sheaf keys make --shapes small,l1heavy`, or the same of `sheaf ceremony init`"
        );
    }
    println!("deployment  {}", files[0].display());
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_deployments_files_are_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deployment.json");
        assert!(check_free(&path, None).is_ok());
        std::fs::write(&path, "{}").unwrap();
        assert!(check_free(&path, None).unwrap_err().to_string().contains("--out"));
    }
}
