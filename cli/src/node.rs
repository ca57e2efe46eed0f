//! `sheaf node`, `sheaf sequencer` and `sheaf settlement`: the roles as processes.
//!
//! ```text
//! node       = sequencer + settlement (+ with --dev: Postgres, Anvil, contract, test accounts, two workers)
//! sequencer  = API, executor, committer, and the prover gateway beside the API
//! settlement = watcher and submitter
//! ```
//! A role that loses its database or its lead is started again from what Postgres holds; SIGTERM and Ctrl-C end in order.

use crate::dev::DevDeployment;
use anyhow::{Context, ensure};
use clap::Args;
use sheaf_protocol::amount::{Address, Amount};
use sheaf_protocol::field::{Fr, from_hex, from_word, to_word};
use sheaf_protocol::kzg::Srs;
use sheaf_protocol::manifest::{Manifest, Setup};
use sheaf_prover::gateway::{Gateway, GatewayConfig, TokenHash, Verifier};
use sheaf_sequencer::config::FeeAccount;
use sheaf_sequencer::{Config, RenderMetrics, Sequencer, serve};
use sheaf_settlement::anvil::DEV_CHAIN_ID;
use sheaf_settlement::key::L1Key;
use sheaf_settlement::service::{Service, ServiceOptions};
use sheaf_settlement::status::Board;
use sqlx::PgPool;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Pause before a role that failed is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// What every role needs.
#[derive(Args, Clone, Debug)]
pub struct RoleArgs {
    /// Postgres. A URL with a password belongs into the environment, not into arguments.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, default_value = "")]
    database_url: String,
    /// deployment.json: chain, contract and manifest digest.
    #[arg(long, env = "SHEAF_DEPLOYMENT", default_value = "deployment.json")]
    deployment: PathBuf,
    /// manifest.json of the deployment; default: beside deployment.json.
    #[arg(long, env = "SHEAF_MANIFEST")]
    manifest: Option<PathBuf>,
}

/// What the sequencer needs.
#[derive(Args, Clone, Debug)]
pub struct SequencerOptions {
    /// Folder of the SRS.
    #[arg(long, env = "SHEAF_KEYS", default_value = ".sheaf/keys")]
    keys_dir: PathBuf,
    /// Address of API and prover gateway; port 0 takes any free one.
    #[arg(long, env = "SHEAF_LISTEN", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Written once the API listens: {"url": ".."}.
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// File with the tokens of prover workers or their hashes (`sheaf prover token` prints both), one a line.
    #[arg(long, env = "SHEAF_PROVER_TOKENS")]
    prover_tokens: Option<PathBuf>,
    /// Seconds that a worker keeps a job without a heartbeat.
    #[arg(long, env = "SHEAF_LEASE_S", default_value_t = 15)]
    lease_s: u64,
    /// Key (x-coordinate, 0x hex) of the account that collects fees.
    #[arg(long, env = "SHEAF_FEE_KEY", requires = "fee_owner")]
    fee_key: Option<String>,
    /// L1 address that owns the account that collects fees.
    #[arg(long, env = "SHEAF_FEE_OWNER", requires = "fee_key")]
    fee_owner: Option<String>,
    /// Least fee of an operation, in the token's smallest unit.
    #[arg(long, env = "SHEAF_FEE_MINIMUM", default_value_t = 0)]
    fee_minimum: u64,
    /// Milliseconds that the oldest waiting transaction waits for its batch.
    #[arg(long, env = "SHEAF_SEAL_AGE_MS", default_value_t = 2_000)]
    seal_age_ms: u64,
    /// L1 confirmations before a deposit is credited; default: 12, on the development chain 1.
    #[arg(long, env = "SHEAF_DEPOSIT_DEPTH")]
    deposit_depth: Option<u64>,
    /// Origins that browsers may call from, comma-separated; `*` for any.
    #[arg(long, env = "SHEAF_CORS", value_delimiter = ',', default_value = "*")]
    cors: Vec<String>,
    /// Requests and transactions of one client a second; 0 for no limit.
    #[arg(long, env = "SHEAF_RATE", default_value_t = 2_000)]
    rate: u32,
}

/// What settlement needs.
#[derive(Args, Clone, Debug)]
pub struct SettlementOptions {
    /// JSON-RPC of the L1 node.
    #[arg(long, env = "SHEAF_L1_URL", hide_env_values = true, default_value = "http://127.0.0.1:8545")]
    l1_url: String,
    /// File with the operator's L1 key in hex; without it SHEAF_OPERATOR_KEY of the environment is used.
    #[arg(long)]
    operator_key_file: Option<PathBuf>,
}

/// `sheaf sequencer`
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  DATABASE_URL=postgres://.. sheaf sequencer --deployment deployment.json --prover-tokens tokens --listen 0.0.0.0:3000"
)]
pub struct SequencerArgs {
    #[command(flatten)]
    role: RoleArgs,
    #[command(flatten)]
    options: SequencerOptions,
}

/// `sheaf settlement`
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  DATABASE_URL=postgres://.. SHEAF_OPERATOR_KEY=0x.. sheaf settlement --deployment deployment.json --l1-url https://l1.example.org"
)]
pub struct SettlementArgs {
    #[command(flatten)]
    role: RoleArgs,
    #[command(flatten)]
    options: SettlementOptions,
}

/// `sheaf node`
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  sheaf node --dev                                everything on this machine, with funded test keys\n  DATABASE_URL=.. SHEAF_OPERATOR_KEY=.. sheaf node --deployment deployment.json --l1-url http://127.0.0.1:8545"
)]
pub struct NodeArgs {
    /// Start Postgres, Anvil, a contract, test accounts and two prover workers as well.
    #[arg(long)]
    dev: bool,
    #[command(flatten)]
    role: RoleArgs,
    #[command(flatten)]
    sequencer: SequencerOptions,
    #[command(flatten)]
    settlement: SettlementOptions,
    #[command(flatten)]
    dev_options: crate::dev_node::DevOptions,
}

/// A deployment as its files describe it.
struct Files {
    deployment: DevDeployment,
    manifest: Manifest,
}

/// Runs sequencer and gateway.
///
/// # Errors
/// If the role cannot start.
pub async fn run_sequencer(args: SequencerArgs) -> anyhow::Result<()> {
    let (stop, files) = (stop_on_signals()?, files(&args.role)?);
    let pool = open_database(&args.role, &files).await?;
    sequencer(&args.options, pool, &files, stop).await
}

/// Runs watcher and submitter.
///
/// # Errors
/// If the role cannot start.
pub async fn run_settlement(args: SettlementArgs) -> anyhow::Result<()> {
    let (stop, files) = (stop_on_signals()?, files(&args.role)?);
    let pool = open_database(&args.role, &files).await?;
    settlement(&args.options, pool, &files, stop).await
}

/// Runs all roles.
///
/// # Errors
/// If one cannot start.
pub async fn run_node(args: NodeArgs) -> anyhow::Result<()> {
    if args.dev {
        return crate::dev_node::run(args.dev_options).await;
    }
    let (stop, files) = (stop_on_signals()?, files(&args.role)?);
    let pool = open_database(&args.role, &files).await?;
    let _ends = stop.clone().drop_guard();
    let (sequencing, settling) =
        tokio::join!(sequencer(&args.sequencer, pool.clone(), &files, stop.clone()), settlement(&args.settlement, pool, &files, stop.clone()));
    sequencing.and(settling)
}

fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        told.cancel();
    });
    Ok(stop)
}

fn files(role: &RoleArgs) -> anyhow::Result<Files> {
    let deployment: DevDeployment = read_json(&role.deployment, "--deployment")?;
    let beside = role.deployment.with_file_name("manifest.json");
    let manifest: Manifest = read_json(role.manifest.as_deref().unwrap_or(&beside), "--manifest")?;
    let (expected, found) = (deployment.deployment.manifest, manifest.digest());
    ensure!(expected == found, "the manifest has digest {found}, the contract was deployed with {expected}; use the manifest of this deployment");
    Ok(Files { deployment, manifest })
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path, flag: &str) -> anyhow::Result<T> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}; name it with {flag}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not a {} file", path.display(), flag.trim_start_matches('-')))
}

async fn open_database(role: &RoleArgs, files: &Files) -> anyhow::Result<PgPool> {
    ensure!(!role.database_url.is_empty(), "no database: set DATABASE_URL to a Postgres, or start with --dev");
    let pool = sheaf_store::pool::connect(&role.database_url).await?;
    let deployment = &files.deployment.deployment;
    let finality_depth = if deployment.chain_id == DEV_CHAIN_ID { 1 } else { 64 };
    let bound = sheaf_store::deployment::Deployment {
        chain_id: deployment.chain_id,
        contract: deployment.contract,
        domain: to_word(sheaf_protocol::header::domain(deployment.chain_id, &deployment.contract)),
        deploy_block: deployment.block,
        manifest_digest: deployment.manifest.0,
        k: deployment.k,
        finality_depth,
    };
    sheaf_store::deployment::bind(&mut *pool.acquire().await?, &bound).await?;
    Ok(pool)
}

async fn sequencer(options: &SequencerOptions, pool: PgPool, files: &Files, stop: CancellationToken) -> anyhow::Result<()> {
    let _ends = stop.clone().drop_guard();
    let manifest = &files.manifest;
    let Setup::InsecureDevelopment { seed } = &manifest.setup;
    let path = Srs::insecure_dev_path(&options.keys_dir, manifest.srs.k, seed);
    let srs =
        Arc::new(Srs::load(&path, &manifest.srs.digest).with_context(|| format!("no SRS at {}; make it with `sheaf keys make`", path.display()))?);
    let (config, metrics) = (config(options, files)?, metrics()?);
    let mut address = options.listen;
    while !stop.is_cancelled() {
        let turn = stop.child_token();
        let listener = listen(address).await?;
        address = listener.local_addr()?;
        match lead(&config, options, &pool, &srs, files, metrics.clone(), listener, turn).await {
            Err(error) if stop.is_cancelled() => tracing::debug!("while stopping: {error:#}"),
            Err(error) => {
                tracing::error!("the sequencer starts again: {error:#}");
                let _ = stop.run_until_cancelled(tokio::time::sleep(RESTART_PAUSE)).await;
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}; choose another address with --listen"))
}

/// One turn: from taking the lead to losing it.
#[expect(clippy::too_many_arguments, reason = "a turn needs everything the role has, and nothing is shared between turns")]
async fn lead(
    config: &Config,
    options: &SequencerOptions,
    pool: &PgPool,
    srs: &Arc<Srs>,
    files: &Files,
    metrics: RenderMetrics,
    listener: TcpListener,
    turn: CancellationToken,
) -> anyhow::Result<()> {
    let _ends = turn.clone().drop_guard();
    let Files { deployment, manifest } = files;
    let described = sheaf_sequencer::Deployment::new(deployment.deployment.chain_id, deployment.deployment.contract, manifest);
    let sequencer = Sequencer::start(config.clone(), pool.clone(), srs.clone(), described, Some(metrics), turn.clone()).await?;
    let gateway_config = GatewayConfig { lease_ms: options.lease_s * 1_000, ..GatewayConfig::new(tokens(options)?) };
    let gateway = Gateway::new(pool.clone(), Verifier::new(manifest)?, gateway_config, turn.clone());
    let router = sequencer.router().merge(gateway.router());
    let address = listener.local_addr()?;
    if let Some(file) = &options.ready_file {
        write_ready(file, &address)?;
    }
    tracing::info!(%address, "listening");
    let (ended, (), ()) = tokio::join!(sequencer.stopped(), gateway.watch(), serve(listener, router, &config.api, turn));
    Ok(ended?)
}

/// The file appears whole: a reader never sees half of it.
fn write_ready(file: &Path, address: &SocketAddr) -> anyhow::Result<()> {
    let partial = file.with_extension("partial");
    std::fs::write(&partial, serde_json::to_vec(&crate::process::Ready { url: format!("http://{address}") })?)?;
    Ok(std::fs::rename(partial, file)?)
}

fn config(options: &SequencerOptions, files: &Files) -> anyhow::Result<Config> {
    let mut config = Config::default();
    let development = files.deployment.deployment.chain_id == DEV_CHAIN_ID;
    config.deposits.confirmations = options.deposit_depth.unwrap_or(if development { 1 } else { 12 });
    config.sealing.max_age = Duration::from_millis(options.seal_age_ms);
    config.fees.default_minimum = Amount(options.fee_minimum.into());
    config.fees.account = fee_account(options)?;
    config.api.cors_origins = options.cors.clone();
    config.api.rate =
        (options.rate > 0).then(|| sheaf_sequencer::config::RateConfig { per_second: options.rate, burst: options.rate.saturating_mul(4) });
    Ok(config)
}

fn fee_account(options: &SequencerOptions) -> anyhow::Result<Option<FeeAccount>> {
    let (Some(key), Some(owner)) = (&options.fee_key, &options.fee_owner) else { return Ok(None) };
    let key: Option<Fr> = from_hex(key).and_then(|word| from_word(&word));
    Ok(Some(FeeAccount {
        key: key.context("--fee-key takes 0x and 64 hex digits of an x-coordinate")?,
        owner: Address(from_hex(owner).context("--fee-owner takes 0x and 40 hex digits")?),
    }))
}

fn tokens(options: &SequencerOptions) -> anyhow::Result<Vec<TokenHash>> {
    let Some(file) = &options.prover_tokens else {
        tracing::warn!("no --prover-tokens: no prover worker can work for this node");
        return Ok(Vec::new());
    };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| token_hash(line).with_context(|| file.display().to_string())).collect()
}

/// A token, or only its hash: the node needs no more.
fn token_hash(line: &str) -> anyhow::Result<TokenHash> {
    Ok(match line.strip_prefix("sha256:") {
        Some(hash) => hash.parse()?,
        None => TokenHash::of(line),
    })
}

fn metrics() -> anyhow::Result<RenderMetrics> {
    let handle = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?;
    Ok(Arc::new(move || handle.render()))
}

async fn settlement(options: &SettlementOptions, pool: PgPool, files: &Files, stop: CancellationToken) -> anyhow::Result<()> {
    let _ends = stop.clone().drop_guard();
    let key = operator_key(options)?;
    let service = ServiceOptions::new(&options.l1_url, files.deployment.deployment.clone());
    loop {
        match Service::start(pool.clone(), key.clone(), service.clone(), Board::default()).await {
            Ok(role) => {
                role.run(stop).await;
                return Ok(());
            }
            Err(sheaf_settlement::service::StartError::Rpc(error)) => tracing::warn!("L1 does not answer yet: {error}"),
            Err(error) => return Err(error.into()),
        }
        if stop.run_until_cancelled(tokio::time::sleep(RESTART_PAUSE)).await.is_none() {
            return Ok(());
        }
    }
}

fn operator_key(options: &SettlementOptions) -> anyhow::Result<L1Key> {
    let text = match &options.operator_key_file {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => std::env::var("SHEAF_OPERATOR_KEY").context("no operator key: set SHEAF_OPERATOR_KEY or name a file with --operator-key-file")?,
    };
    L1Key::from_hex(text.trim()).context("the operator key is not 32 bytes of hex")
}
