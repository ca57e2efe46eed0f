//! `sheaf doctor`: what is wrong on this machine and how to mend it. It looks and starts nothing that stays; exit code 1 if a check failed.
//!
//! What is configured is checked as configured; where nothing is configured, the check is whether `sheaf node --dev` can bring its own.

use crate::dev::DevDeployment;
use crate::keys::KeyOptions;
use anyhow::{Context, bail, ensure};
use clap::Args;
use serde::Serialize;
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::keys::Keys;
use sheaf_protocol::manifest::Manifest;
use sheaf_protocol::shape;
use sheaf_prover::worker::KeyCache;
use sheaf_settlement::anvil::{Anvil, AnvilOptions};
use sheaf_settlement::key::L1Key;
use sheaf_settlement::rollup::Rollup;
use sheaf_settlement::rpc::{Rpc, RpcOptions};
use sheaf_store::embedded::{Cluster, ClusterOptions, Durability};
use sheaf_store::pool::{MIGRATOR, OLDEST_POSTGRES};
use sqlx::migrate::Migrate;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// An operator with less cannot pay for many batches: 0.05 ether.
const LOW_BALANCE_WEI: u128 = 50_000_000_000_000_000;

/// `sheaf doctor`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf doctor\n  sheaf doctor --json\n  DATABASE_URL=postgres://.. SHEAF_L1_URL=http://.. sheaf doctor --deployment deployment.json"
)]
pub struct DoctorArgs {
    /// The database.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// The L1 node.
    #[arg(long, env = "SHEAF_L1_URL", hide_env_values = true)]
    l1_url: Option<String>,
    /// Deployment file of the node.
    #[arg(long, env = "SHEAF_DEPLOYMENT")]
    deployment: Option<PathBuf>,
    /// Its manifest; default: manifest.json beside the deployment file.
    #[arg(long, env = "SHEAF_MANIFEST")]
    manifest: Option<PathBuf>,
    /// The operator's L1 key.
    #[arg(long, env = "SHEAF_OPERATOR_KEY", hide_env_values = true, hide = true)]
    operator_key: Option<String>,
    /// Address where the node is to listen.
    #[arg(long, env = "SHEAF_LISTEN", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: KeyOptions,
}

/// One check and how it went.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    /// What was found, or what is wrong and the remedy.
    detail: String,
}

impl Finding {
    fn of(check: &'static str, outcome: anyhow::Result<String>) -> Self {
        match outcome {
            Ok(detail) => Self { check, ok: true, detail },
            Err(error) => Self { check, ok: false, detail: format!("{error:#}") },
        }
    }
}

/// Runs the command.
///
/// # Errors
/// If a check failed.
pub async fn run(args: DoctorArgs) -> anyhow::Result<()> {
    let findings = [
        Finding::of("database", database(args.database_url.as_deref()).await),
        Finding::of("l1", l1(args.l1_url.as_deref()).await),
        Finding::of("keys", keys(&args)),
        Finding::of("deployment", deployment(&args).await),
        Finding::of("operator", operator(&args).await),
        Finding::of("port", port(args.listen).await),
    ];
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        findings.iter().for_each(|finding| println!("{:<5} {:<11} {}", if finding.ok { "ok" } else { "FAIL" }, finding.check, finding.detail));
    }
    let failed = findings.iter().filter(|finding| !finding.ok).count();
    ensure!(failed == 0, "{failed} of {} checks failed", findings.len());
    Ok(())
}

async fn database(url: Option<&str>) -> anyhow::Result<String> {
    let Some(url) = url else { return own_database().await };
    let options =
        PgConnectOptions::from_str(url).context("DATABASE_URL is not a Postgres URL; expected postgres://user:password@host:port/database")?;
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
    let folder = tempfile::tempdir()?;
    let options = ClusterOptions { durability: Durability::Disposable, ..ClusterOptions::default() };
    Cluster::start_with(&folder.path().join("postgres"), options).await.context("DATABASE_URL is not set, and no Postgres of our own starts")?;
    Ok("DATABASE_URL is not set; `sheaf node --dev` starts its own Postgres (tried)".to_owned())
}

async fn l1(url: Option<&str>) -> anyhow::Result<String> {
    let Some(url) = url else {
        Anvil::start(AnvilOptions::default()).await.context("SHEAF_L1_URL is not set, and no Anvil of our own starts")?;
        return Ok("SHEAF_L1_URL is not set; `sheaf node --dev` starts its own Anvil (tried)".to_owned());
    };
    let rpc = connect(url).await?;
    Ok(format!("chain {}, block {}", rpc.chain_id(), rpc.block_number().await?))
}

async fn connect(url: &str) -> anyhow::Result<Rpc> {
    let connecting = tokio::time::timeout(PATIENCE, Rpc::connect(url, RpcOptions::default())).await;
    connecting
        .context("the L1 node does not answer; is SHEAF_L1_URL right?")?
        .context("the L1 node does not answer as it should; is SHEAF_L1_URL right?")
}

/// With a deployment: its keys, every digest checked. Without: which development keys are there.
fn keys(args: &DoctorArgs) -> anyhow::Result<String> {
    let directory = args.keys.keys_dir.display();
    if let Some(manifest) = read_manifest(args)? {
        KeyCache::open(&args.keys.keys_dir, &manifest, &[])?;
        let names: Vec<&str> = manifest.circuits.iter().map(|circuit| circuit.name.as_str()).collect();
        return Ok(format!("{} in {directory} are the deployment's ({})", names.join(", "), manifest.setup.label()));
    }
    let mut found = Vec::new();
    for (name, id) in args.keys.shapes.iter().zip(1..) {
        let names: Vec<&str> = shape::SHAPES.iter().map(|named| named.name).collect();
        let named = shape::by_name(name).with_context(|| format!("unknown shape {name}; --shapes takes {}", names.join(", ")))?;
        let path = Keys::insecure_dev_path(&args.keys.keys_dir, name, &Circuit::new(named.shape, id)?, &args.keys.seed);
        found.extend(path.is_file().then_some(name.as_str()));
    }
    if found.len() == args.keys.shapes.len() {
        return Ok(format!("{} in {directory} (INSECURE-DEV)", found.join(", ")));
    }
    Ok(format!("{} of {} in {directory}; `sheaf keys make` makes the others, and so does the first start", found.len(), args.keys.shapes.len()))
}

fn read_manifest(args: &DoctorArgs) -> anyhow::Result<Option<Manifest>> {
    let beside = args.deployment.as_ref().map(|file| file.with_file_name("manifest.json"));
    let Some(file) = args.manifest.clone().or(beside) else { return Ok(None) };
    let text = std::fs::read(&file).with_context(|| format!("cannot read {}; name the deployment's manifest with --manifest", file.display()))?;
    serde_json::from_slice(&text).map(Some).with_context(|| format!("{} is not a manifest", file.display()))
}

fn read_deployment(args: &DoctorArgs) -> anyhow::Result<Option<DevDeployment>> {
    let Some(file) = &args.deployment else { return Ok(None) };
    let text = std::fs::read(file).with_context(|| format!("cannot read {}; name the file of your deployment with --deployment", file.display()))?;
    serde_json::from_slice(&text).map(Some).with_context(|| format!("{} is not a deployment file", file.display()))
}

async fn rollup(args: &DoctorArgs, deployment: &DevDeployment) -> anyhow::Result<Rollup> {
    let url = args.l1_url.as_deref().context("a deployment is named but no L1 node; set SHEAF_L1_URL")?;
    let rpc = connect(url).await?;
    let (ours, theirs) = (deployment.deployment.chain_id, rpc.chain_id());
    ensure!(ours == theirs, "the deployment is on chain {ours}, SHEAF_L1_URL on chain {theirs}");
    Ok(Rollup::at(rpc, deployment.deployment.contract))
}

/// Deployment file, contract and manifest must name the same thing.
async fn deployment(args: &DoctorArgs) -> anyhow::Result<String> {
    let Some(file) = read_deployment(args)? else { return Ok("none named; `sheaf node --dev` makes one".to_owned()) };
    let rollup = rollup(args, &file).await?;
    let deployment = &file.deployment;
    let domain = rollup.domain().await.context("the contract does not answer; is this deployment on another chain, or was the chain reset?")?;
    let expected = sheaf_protocol::header::domain(deployment.chain_id, &deployment.contract);
    ensure!(domain == expected, "the contract at {} belongs to another protocol version", deployment.contract);
    let manifest =
        read_manifest(args)?.map(|manifest| manifest.digest()).context("no manifest beside the deployment file; name it with --manifest")?;
    ensure!(
        manifest == deployment.manifest,
        "the manifest has digest {manifest}, the deployment names {}; use the one it was made with",
        deployment.manifest
    );
    let progress = rollup.progress().await?;
    Ok(format!("contract {}, {} batches committed, {} proven", deployment.contract, progress.committed, progress.proven))
}

async fn operator(args: &DoctorArgs) -> anyhow::Result<String> {
    let (Some(key), Some(file)) = (&args.operator_key, read_deployment(args)?) else {
        return Ok("SHEAF_OPERATOR_KEY or the deployment is not set; `sheaf node --dev` uses a public test key".to_owned());
    };
    let (key, rollup) = (L1Key::from_hex(key).context("SHEAF_OPERATOR_KEY")?, rollup(args, &file).await?);
    let operator = rollup.operator().await?;
    ensure!(operator == key.address(), "SHEAF_OPERATOR_KEY is the key of {}, but the contract's operator is {operator}", key.address());
    let balance = rollup.rpc().balance(operator).await?;
    ensure!(balance >= LOW_BALANCE_WEI, "operator {operator} has {balance} wei; send it ether, it pays for every batch");
    Ok(format!("{operator} with {balance} wei"))
}

/// Free, or taken by a node of ours.
async fn port(address: SocketAddr) -> anyhow::Result<String> {
    let Err(error) = TcpListener::bind(address) else { return Ok(format!("{address} is free")) };
    let answer = reqwest::Client::builder().timeout(PATIENCE).build()?.get(format!("http://{address}/v1/status")).send().await;
    if answer.is_ok_and(|answer| answer.status().is_success()) {
        return Ok(format!("a node answers on {address}"));
    }
    bail!("cannot listen on {address}: {error}; stop what listens there, or choose another with --listen")
}
