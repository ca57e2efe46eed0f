//! Which deployment this database belongs to: written once, compared at every start.

use sheaf_protocol::amount::Address;
use sheaf_protocol::field::Word;
use sqlx::{PgConnection, Row};

/// The deployment of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The chain.
    pub chain_id: u64,
    /// The contract.
    pub contract: Address,
    /// `H("sheaf.v1", chain id, contract)`.
    pub domain: Word,
    /// The block that created the contract.
    pub deploy_block: u64,
    /// Digest of the manifest.
    pub manifest_digest: Word,
    /// The state has `2^k` slots.
    pub k: u32,
    /// Blocks after which a proof is final; a block at the head is 1 deep.
    pub finality_depth: u64,
}

/// Why a database is not this deployment's.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// It belongs to another contract, chain or manifest.
    #[error("this database belongs to contract {found} on chain {chain_id}; point DATABASE_URL at a database of this deployment, or at an empty one")]
    Other {
        /// The contract it belongs to.
        found: Address,
        /// Its chain.
        chain_id: i64,
    },
    /// Nothing was ever written to it.
    #[error("this database belongs to no deployment yet; point DATABASE_URL at the one of a node")]
    Unbound,
    /// The database failed.
    #[error("reading the deployment")]
    Database(#[from] sqlx::Error),
}

/// Binds an empty database to the deployment, or checks that it is bound to exactly this one.
///
/// # Errors
/// [`DeploymentError::Other`] for a database of another deployment.
pub async fn bind(connection: &mut PgConnection, deployment: &Deployment) -> Result<(), DeploymentError> {
    sqlx::query(
        "INSERT INTO deployment (chain_id, contract, domain, deploy_block, manifest_digest, k, finality_depth)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (singleton) DO NOTHING",
    )
    .bind(deployment.chain_id as i64)
    .bind(deployment.contract.0.as_slice())
    .bind(deployment.domain.as_slice())
    .bind(deployment.deploy_block as i64)
    .bind(deployment.manifest_digest.as_slice())
    .bind(deployment.k as i16)
    .bind(deployment.finality_depth as i32)
    .execute(&mut *connection)
    .await?;
    check(connection, deployment).await
}

/// Checks that a database is bound to exactly this deployment; changes nothing.
///
/// # Errors
/// [`DeploymentError::Other`], or [`DeploymentError::Unbound`] for an empty one.
pub async fn check(connection: &mut PgConnection, deployment: &Deployment) -> Result<(), DeploymentError> {
    let query = "SELECT chain_id, contract, domain = $2 AND manifest_digest = $3 AND k = $4 AND chain_id = $1 AS ours FROM deployment";
    let row = sqlx::query(query)
        .bind(deployment.chain_id as i64)
        .bind(deployment.domain.as_slice())
        .bind(deployment.manifest_digest.as_slice())
        .bind(deployment.k as i16)
        .fetch_optional(connection)
        .await?
        .ok_or(DeploymentError::Unbound)?;
    if row.try_get("ours")? {
        return Ok(());
    }
    let mut found = Address::default();
    found.0.copy_from_slice(row.try_get::<&[u8], _>("contract")?);
    Err(DeploymentError::Other { found, chain_id: row.try_get("chain_id")? })
}
