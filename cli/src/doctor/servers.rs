//! Checks of Postgres and of the L1 node.

use super::{DoctorArgs, PATIENCE};
use crate::folder::RunFolder;
use crate::guard::Guard;
use anyhow::{Context, bail, ensure};
use sheaf_settlement::anvil::{Anvil, AnvilOptions};
use sheaf_settlement::rpc::{Rpc, RpcOptions, site};
use sheaf_store::embedded::{Cluster, ClusterOptions, Durability};
use sheaf_store::pool::{MIGRATOR, OLDEST_POSTGRES};
use sqlx::migrate::Migrate;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use std::str::FromStr;

/// The one that is configured, or one of our own.
pub(super) async fn database(args: &DoctorArgs) -> anyhow::Result<String> {
    let Some(url) = args.role.database_url() else {
        ensure!(args.is_development(), "a deployment is named but no database; set DATABASE_URL");
        return own_database().await;
    };
    let options =
        PgConnectOptions::from_str(&url).context("DATABASE_URL is not a Postgres URL; expected postgres://user:password@host:port/database")?;
    let connecting = tokio::time::timeout(PATIENCE, options.connect()).await;
    let mut connection = connecting.context("Postgres does not answer; is it running, and is DATABASE_URL right?")??;
    let version = connection.server_version_num().map_or(0, |number| number / 10_000);
    ensure!(version >= OLDEST_POSTGRES as u32, "Postgres {version} is too old; version {OLDEST_POSTGRES} or newer is needed");
    Ok(format!("Postgres {version}, {}", schema(&mut connection).await?))
}

/// Which of our migrations the database has.
async fn schema(connection: &mut PgConnection) -> anyhow::Result<String> {
    let known = MIGRATOR.iter().count();
    let Ok(applied) = connection.list_applied_migrations("_sqlx_migrations").await else {
        return Ok("empty; the node writes its schema at start".to_owned());
    };
    let ours = |version: i64| MIGRATOR.iter().any(|migration| migration.version == version);
    if let Some(foreign) = applied.iter().find(|migration| !ours(migration.version)) {
        bail!("the schema has migration {}, which this program does not know; use a newer version of it", foreign.version);
    }
    Ok(format!("{} of {known} migrations applied", applied.len()))
}

async fn own_database() -> anyhow::Result<String> {
    let (folder, guard) = (RunFolder::new(None, "sheaf-doctor-")?, Guard::start(&std::env::current_exe()?)?);
    let options = ClusterOptions { durability: Durability::Disposable, pids: Some(guard.pids()), ..ClusterOptions::default() };
    Cluster::start_with(&folder.path().join("postgres"), options).await.context("DATABASE_URL is not set, and no Postgres of our own starts")?;
    Ok("DATABASE_URL is not set; `sheaf node --dev` starts its own Postgres (tried)".to_owned())
}

/// The one that is configured, or one of our own.
pub(super) async fn l1(args: &DoctorArgs) -> anyhow::Result<String> {
    if args.settlement.l1_url.is_empty() && args.is_development() {
        let guard = Guard::start(&std::env::current_exe()?)?;
        let options = AnvilOptions { pids: Some(guard.pids()), ..AnvilOptions::default() };
        Anvil::start(options).await.context("SHEAF_L1_URL is not set, and no Anvil of our own starts")?;
        return Ok("SHEAF_L1_URL is not set; `sheaf node --dev` starts its own Anvil (tried)".to_owned());
    }
    let mut heads = Vec::new();
    for url in args.settlement.l1_urls() {
        let found = async { anyhow::Ok(connect_to(url).await?.block_number().await?) };
        heads.push(found.await.with_context(|| format!("{} is not usable", site(url)))?.to_string());
    }
    Ok(format!("chain {}, block {}", connect(args).await?.chain_id(), heads.join(", ")))
}

/// The L1 nodes that settlement would use.
pub(super) async fn connect(args: &DoctorArgs) -> anyhow::Result<Rpc> {
    connect_to(&args.settlement.l1_urls().join(",")).await
}

async fn connect_to(urls: &str) -> anyhow::Result<Rpc> {
    let connecting = tokio::time::timeout(PATIENCE, Rpc::connect(urls, RpcOptions::default())).await;
    connecting
        .context("the L1 node does not answer; is SHEAF_L1_URL right?")?
        .context("the L1 node does not answer as it should; is SHEAF_L1_URL right?")
}
