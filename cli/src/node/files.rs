//! What every role is told: which database, which deployment.

use crate::dev::DevDeployment;
use anyhow::{Context, ensure};
use clap::Args;
use sheaf_protocol::field::to_word;
use sheaf_protocol::manifest::Manifest;
use sheaf_settlement::anvil::DEV_CHAIN_ID;
use sqlx::PgPool;
use std::path::{Path, PathBuf};

/// Where a deployment file is looked for unless it is named.
const DEFAULT_DEPLOYMENT: &str = "deployment.json";

/// What every role needs.
#[derive(Args, Clone, Debug)]
pub struct RoleArgs {
    /// Postgres. A URL with a password belongs into the environment, not into arguments.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Chain, contract and manifest digest, as `sheaf deploy` writes them [default: deployment.json]
    #[arg(long, env = "SHEAF_DEPLOYMENT")]
    deployment: Option<PathBuf>,
    /// Circuits and keys of the deployment [default: manifest.json beside the deployment file]
    #[arg(long, env = "SHEAF_MANIFEST")]
    manifest: Option<PathBuf>,
    /// Dollars for one ether: L1 costs are shown in dollars too.
    #[arg(long, env = "SHEAF_ETH_USD", value_parser = price)]
    eth_usd: Option<f64>,
}

fn price(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|price: &f64| price.is_finite() && *price > 0.0).ok_or("expected a number above 0")
}

impl RoleArgs {
    /// The database, if one is named.
    pub(crate) fn database_url(&self) -> Option<String> {
        self.database_url.clone().filter(|url| !url.is_empty())
    }

    /// The deployment file that is named, or is where it is looked for.
    pub(crate) fn deployment_file(&self) -> Option<PathBuf> {
        let default = PathBuf::from(DEFAULT_DEPLOYMENT);
        self.deployment.clone().or_else(|| default.is_file().then_some(default))
    }

    /// The manifest that is named, or the one beside the deployment file.
    pub(crate) fn manifest_file(&self) -> Option<PathBuf> {
        self.manifest.clone().or_else(|| Some(self.deployment_file()?.with_file_name("manifest.json")))
    }
}

/// A deployment as its files describe it, and what else every role is told.
pub(crate) struct Files {
    pub(crate) deployment: DevDeployment,
    pub(crate) manifest: Manifest,
    /// Dollars for one ether, if told.
    pub(crate) eth_usd: Option<f64>,
}

/// Reads both files and checks that they belong together, and that the keys may be used on the chain.
pub(crate) fn read(role: &RoleArgs) -> anyhow::Result<Files> {
    let missing = || {
        format!("no {DEFAULT_DEPLOYMENT} here; name the deployment file with --deployment, make one with `sheaf deploy`, or use `sheaf node --dev`")
    };
    let deployment: DevDeployment = read_json(&role.deployment_file().with_context(missing)?, "--deployment")?;
    let manifest: Manifest = read_json(&role.manifest_file().with_context(missing)?, "--manifest")?;
    let (expected, found) = (deployment.deployment.manifest, manifest.digest());
    ensure!(expected == found, "the manifest has digest {found}, the contract was deployed with {expected}; use the manifest of this deployment");
    manifest.setup.check_chain(deployment.deployment.chain_id)?;
    Ok(Files { deployment, manifest, eth_usd: role.eth_usd })
}

/// The file that `flag` names, decoded.
///
/// # Errors
/// If it cannot be read or is another kind of file.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path, flag: &str) -> anyhow::Result<T> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}; name it with {flag}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not a {} file", path.display(), flag.trim_start_matches('-')))
}

/// Connects, migrates, and binds the database to the deployment: one that belongs to another is refused.
pub(crate) async fn open_database(role: &RoleArgs, files: &Files) -> anyhow::Result<PgPool> {
    let pool = sheaf_store::pool::connect(&named_database(role)?).await?;
    sheaf_store::deployment::bind(&mut *pool.acquire().await?, &bound(files)).await?;
    Ok(pool)
}

/// Connects to a database of this version and deployment, and cannot write to it.
pub(crate) async fn open_database_to_read(role: &RoleArgs, files: &Files) -> anyhow::Result<PgPool> {
    let pool = sheaf_store::pool::connect_to_read(&named_database(role)?).await?;
    sheaf_store::deployment::check(&mut *pool.acquire().await?, &bound(files)).await?;
    Ok(pool)
}

fn named_database(role: &RoleArgs) -> anyhow::Result<String> {
    role.database_url().context("no database: set DATABASE_URL to a Postgres, or use `sheaf node --dev`")
}

fn bound(files: &Files) -> sheaf_store::deployment::Deployment {
    let deployment = &files.deployment.deployment;
    sheaf_store::deployment::Deployment {
        chain_id: deployment.chain_id,
        contract: deployment.contract,
        domain: to_word(sheaf_protocol::header::domain(deployment.chain_id, &deployment.contract)),
        deploy_block: deployment.block,
        manifest_digest: deployment.manifest.0,
        k: deployment.k,
        finality_depth: if deployment.chain_id == DEV_CHAIN_ID { 1 } else { 64 },
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use sheaf_protocol::amount::Address;
    use sheaf_protocol::manifest::{HexWord, Setup, SrsEntry};
    use sheaf_settlement::deploy::Deployment;

    fn manifest(setup: Setup) -> Manifest {
        let zero = HexWord([0; 32]);
        let srs = SrsEntry { k: 16, digest: zero, tau: [zero; 4], l0: [[zero; 2]; 9] };
        Manifest { setup, contract: zero, srs, alpha: [zero; 2], beta: [zero; 4], circuits: vec![] }
    }

    /// What every role says of these two files.
    fn refusal(chain_id: u64, named: HexWord, manifest: &Manifest) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let deployment = Deployment { chain_id, contract: Address([1; 20]), block: 5, k: 16, manifest: named };
        let files = ["deployment.json", "manifest.json"].map(|name| folder.path().join(name));
        std::fs::write(&files[0], serde_json::to_vec(&DevDeployment { deployment, test_token: None }).unwrap()).unwrap();
        std::fs::write(&files[1], serde_json::to_vec(manifest).unwrap()).unwrap();
        let role = RoleArgs { database_url: None, deployment: Some(files[0].clone()), manifest: None, eth_usd: None };
        read(&role).err().map(|error| error.to_string())
    }

    #[test]
    fn no_role_starts_with_development_keys_where_money_is() {
        let development = manifest(Setup::InsecureDevelopment { seed: "s".into() });
        assert_eq!(refusal(31_337, development.digest(), &development), None);
        let refused = refusal(1, development.digest(), &development).unwrap();
        assert!(refused.contains("INSECURE") && refused.contains("chain 1") && refused.contains("sheaf ceremony"), "{refused}");
        let ceremony = manifest(Setup::Ceremony { powers: HexWord([1; 32]), transcripts: vec![] });
        assert_eq!(refusal(1, ceremony.digest(), &ceremony), None);
    }

    #[test]
    fn no_role_starts_with_the_manifest_of_another_deployment() {
        let ours = manifest(Setup::InsecureDevelopment { seed: "s".into() });
        let refused = refusal(31_337, HexWord([7; 32]), &ours).unwrap();
        assert!(refused.contains(&ours.digest().to_string()), "{refused}");
    }
}
