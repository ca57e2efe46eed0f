//! The sequencer role: one listener for the life of the process, and turns from taking the lead to losing it.
//!
//! ```text
//! prepared ──> standing by: /health ok, the rest 503 "standby" ──lead taken, state recovered──> API and gateway
//!                  ^                                                                             │
//!                  └──────────── lead lost, database gone: a pause, the next turn ───────────────┘
//! ```

use super::files::Files;
use super::{restart_pause, settlement};
use crate::tokens;
use anyhow::{Context, ensure};
use axum::http::{HeaderName, HeaderValue};
use clap::Args;
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::counts::Counts;
use sheaf_protocol::amount::{Address, Amount};
use sheaf_protocol::field::{Fr, from_hex, from_word};
use sheaf_protocol::kzg::Srs;
use sheaf_protocol::manifest::Manifest;
use sheaf_protocol::shape::{NamedShape, by_name};
use sheaf_prover::gateway::{Gateway, GatewayConfig, Verifier};
use sheaf_sequencer::config::{FeeAccount, RateConfig};
use sheaf_sequencer::{Config, Deployment, Fatal, Front, RecoveryError, RenderMetrics, Sequencer, StartError, serve};
use sheaf_settlement::anvil::DEV_CHAIN_ID;
use sheaf_settlement::status::Board;
use sheaf_settlement::watcher::WatcherOptions;
use sqlx::PgPool;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Where a node listens unless told.
pub(crate) const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 3_000);
/// Ports after the default one that a development node tries.
const DEV_PORTS: u16 = 100;
/// A turn that lasted so long did not fail at once.
const LASTING: Duration = Duration::from_secs(60);

/// What the sequencer needs.
#[derive(Args, Clone, Debug)]
pub struct SequencerOptions {
    /// Folder of the SRS.
    #[arg(long, env = "SHEAF_KEYS", default_value = ".sheaf/keys")]
    pub(super) keys_dir: PathBuf,
    /// Address of API and prover gateway; port 0 takes any free one [default: 127.0.0.1:3000, with --dev the next free port]
    #[arg(long, env = "SHEAF_LISTEN")]
    listen: Option<SocketAddr>,
    /// Written once the API listens: {"url": ".."}.
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// File with the tokens of prover workers or their hashes (`sheaf prover tokens` prints both), one a line.
    #[arg(long, env = "SHEAF_PROVER_TOKENS")]
    prover_tokens: Option<PathBuf>,
    /// File with the tokens of operators of the prover fleet or their hashes, one a line after the operator's name: `alice sha256:..`.
    #[arg(long, env = "SHEAF_OPERATOR_TOKENS")]
    operator_tokens: Option<PathBuf>,
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
    /// L1 confirmations before a deposit is credited; default: 65, one more than the depth taken for final, so that no reorg short of that takes a credited deposit away; on the development chain 1.
    #[arg(long, env = "SHEAF_DEPOSIT_DEPTH")]
    deposit_depth: Option<u64>,
    /// Origins that browsers may call from (https://wallet.example.org), comma-separated; `*` for any.
    #[arg(long, env = "SHEAF_CORS", value_delimiter = ',', default_value = "*", value_parser = origin)]
    cors: Vec<String>,
    /// Base URL of a block explorer for L1 (https://etherscan.io), to which the pages link.
    #[arg(long, env = "SHEAF_L1_EXPLORER", value_parser = web_address)]
    l1_explorer: Option<String>,
    /// Requests and transactions of one client a second; 0 for no limit.
    #[arg(long, env = "SHEAF_RATE", default_value_t = 2_000)]
    rate: u32,
    /// Header with the client's address, set by a proxy in front that overwrites what clients send; for --rate.
    #[arg(long, env = "SHEAF_CLIENT_IP_HEADER")]
    client_ip_header: Option<HeaderName>,
}

/// One more than the depth at which settlement takes a block for final: a deposit that is credited stays on L1 as long as what is final does.
fn default_deposit_depth(chain_id: u64) -> u64 {
    if chain_id == DEV_CHAIN_ID { 1 } else { WatcherOptions::new(chain_id, 0).finality_depth + 1 }
}

/// `*`, or scheme and host as browsers send them.
fn origin(text: &str) -> Result<String, String> {
    let wrong = || "`*` or an origin as browsers send it: https://host or http://host:port, without a path".to_owned();
    let host = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let plain = |host: &str| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
    let usable = text == "*" || (host.is_some_and(plain) && HeaderValue::from_str(text).is_ok());
    usable.then(|| text.to_owned()).ok_or_else(wrong)
}

/// Where a browser can be sent to, without the slash at the end.
fn web_address(text: &str) -> Result<String, String> {
    let address = text.trim_end_matches('/');
    let host = ["https://", "http://"].iter().find_map(|scheme| address.strip_prefix(scheme));
    let usable = host.is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', '@', ' ', '"']));
    usable.then(|| address.to_owned()).ok_or_else(|| "an address as browsers show it: https://host, without a query".to_owned())
}

impl SequencerOptions {
    /// The address for a development node: the one asked for, else the first free one from the default port on.
    pub(super) fn dev_address(&self) -> anyhow::Result<SocketAddr> {
        let is_free = |address: &SocketAddr| std::net::TcpListener::bind(address).is_ok();
        if let Some(address) = self.listen {
            ensure!(is_free(&address), "cannot listen on {address}; choose another address with --listen");
            return Ok(address);
        }
        let ports = DEFAULT_LISTEN.port()..DEFAULT_LISTEN.port() + DEV_PORTS;
        let address = ports.map(|port| SocketAddr::new(DEFAULT_LISTEN.ip(), port)).find(is_free);
        let address = address.context("no port from 3000 to 3099 is free; choose an address with --listen")?;
        if address != DEFAULT_LISTEN {
            eprintln!("port {} is taken; this node listens on port {}", DEFAULT_LISTEN.port(), address.port());
        }
        Ok(address)
    }

    /// What a development node passes on to its node process.
    pub(super) fn passed_on(&self) -> Vec<String> {
        let mut passed = vec![
            format!("--lease-s={}", self.lease_s),
            format!("--fee-minimum={}", self.fee_minimum),
            format!("--seal-age-ms={}", self.seal_age_ms),
            format!("--cors={}", self.cors.join(",")),
            format!("--rate={}", self.rate),
        ];
        passed.extend(self.deposit_depth.map(|depth| format!("--deposit-depth={depth}")));
        passed.extend(self.l1_explorer.as_ref().map(|address| format!("--l1-explorer={address}")));
        passed.extend(self.client_ip_header.as_ref().map(|name| format!("--client-ip-header={name}")));
        passed
    }

    fn config(&self, chain_id: u64) -> anyhow::Result<Config> {
        let mut config = Config::default();
        config.deposits.confirmations = self.deposit_depth.unwrap_or_else(|| default_deposit_depth(chain_id));
        if config.deposits.confirmations < default_deposit_depth(chain_id) {
            tracing::warn!(
                depth = config.deposits.confirmations,
                "--deposit-depth is less than what is taken for final: a reorg that drops or reorders a credited deposit stops settlement until the database is restored"
            );
        }
        config.sealing.max_age = Duration::from_millis(self.seal_age_ms);
        config.fees.default_minimum = Amount(self.fee_minimum.into());
        config.fees.account = self.fee_account()?;
        ensure!(self.fee_minimum == 0 || config.fees.account.is_some(), "--fee-minimum without --fee-key and --fee-owner: no fee could be collected");
        config.api.cors_origins = self.cors.clone();
        config.api.l1_explorer = self.l1_explorer.clone();
        config.api.client_ip_header = self.client_ip_header.as_ref().map(HeaderName::to_string);
        config.api.rate = (self.rate > 0).then(|| RateConfig { per_second: self.rate, burst: self.rate.saturating_mul(4) });
        Ok(config)
    }

    fn fee_account(&self) -> anyhow::Result<Option<FeeAccount>> {
        let (Some(key), Some(owner)) = (&self.fee_key, &self.fee_owner) else { return Ok(None) };
        let key: Option<Fr> = from_hex(key).and_then(|word| from_word(&word));
        Ok(Some(FeeAccount {
            key: key.context("--fee-key takes 0x and 64 hex digits of an x-coordinate")?,
            owner: Address(from_hex(owner).context("--fee-owner takes 0x and 40 hex digits")?),
        }))
    }

    fn gateway(&self) -> anyhow::Result<GatewayConfig> {
        ensure!(self.lease_s > 0, "--lease-s must be at least 1");
        let known = match &self.prover_tokens {
            Some(file) => tokens::hashes(file)?,
            None => {
                tracing::warn!("no --prover-tokens: no prover worker can work for this node");
                Vec::new()
            }
        };
        let operators = self.operator_tokens.as_deref().map(tokens::operators).transpose()?.unwrap_or_default();
        let both = operators.iter().find(|operator| known.contains(&operator.hash));
        ensure!(
            both.is_none(),
            "the token of operator {} is a worker's as well; make another with `sheaf prover tokens`",
            both.map_or("", |o| &o.name)
        );
        Ok(GatewayConfig { operators, lease_ms: self.lease_s.saturating_mul(1_000), ..GatewayConfig::new(known) })
    }
}

/// The role with everything that could be wrong from the start found right.
pub(super) struct Sequencing {
    listener: TcpListener,
    leading: Leading,
}

/// What every turn needs.
struct Leading {
    config: Config,
    gateway: GatewayConfig,
    manifest: Manifest,
    deployment: Deployment,
    pool: PgPool,
    srs: Arc<Srs>,
    metrics: RenderMetrics,
    board: Option<Board>,
    address: SocketAddr,
    ready_file: Option<PathBuf>,
}

/// Why a turn ended.
enum End {
    /// The next one has something to do first.
    Again(Fatal),
    /// The next one may do better.
    Passing(anyhow::Error),
    /// No other would.
    Final(anyhow::Error),
}

impl Sequencing {
    /// Reads keys and tokens and listens; `board` is shown beside the API.
    ///
    /// # Errors
    /// What is wrong with the options, the files or the address.
    pub(super) async fn prepare(
        options: &SequencerOptions,
        pool: PgPool,
        files: &Files,
        metrics: RenderMetrics,
        board: Option<Board>,
    ) -> anyhow::Result<Self> {
        let Files { deployment, manifest, eth_usd } = files;
        let (chain_id, contract) = (deployment.deployment.chain_id, deployment.deployment.contract);
        let (mut config, gateway) = (options.config(chain_id)?, options.gateway()?);
        config.api.eth_usd = *eth_usd;
        config.api.documents = vec![("Prover gateway", sheaf_prover::wire::DOCUMENT)];
        Verifier::new(manifest)?;
        let listener = listen(options.listen.unwrap_or(DEFAULT_LISTEN)).await?;
        let address = listener.local_addr()?;
        tracing::info!(%address, "listening");
        let leading = Leading {
            config,
            gateway,
            manifest: manifest.clone(),
            deployment: counted(Deployment::new(chain_id, contract, manifest))?,
            pool,
            srs: load_srs(options.keys_dir.clone(), manifest.clone()).await?,
            metrics,
            board,
            address,
            ready_file: options.ready_file.clone(),
        };
        Ok(Self { listener, leading })
    }

    /// Answers and takes turns until told to stop.
    ///
    /// # Errors
    /// If the database holds what cannot be continued.
    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { listener, leading } = self;
        let front = Front::new(&leading.config.api, Some(leading.metrics.clone()));
        let router = leading.board.clone().map(settlement::route).unwrap_or_default().merge(front.router());
        let api = leading.config.api.clone();
        let (ended, ()) = tokio::join!(leading.turns(&front, stop.clone()), serve(listener, router, &api, stop));
        ended
    }
}

impl Leading {
    async fn turns(&self, front: &Front, stop: CancellationToken) -> anyhow::Result<()> {
        let _ends = stop.clone().drop_guard();
        let mut failures = 0;
        while !stop.is_cancelled() {
            let started = Instant::now();
            let ended = self.turn(front, stop.child_token()).await;
            front.close();
            match ended {
                Ok(()) => {}
                Err(End::Again(why)) => tracing::warn!("the sequencer starts again: {why}"),
                Err(End::Passing(error) | End::Final(error)) if stop.is_cancelled() => tracing::debug!("while stopping: {error:#}"),
                Err(End::Final(error)) => return Err(error),
                Err(End::Passing(error)) => {
                    failures = if started.elapsed() > LASTING { 1 } else { failures + 1 };
                    tracing::error!("the sequencer starts again: {error:#}");
                    let _ = stop.run_until_cancelled(tokio::time::sleep(restart_pause(failures))).await;
                }
            }
        }
        Ok(())
    }

    /// One turn: from standing by to losing the lead.
    async fn turn(&self, front: &Front, turn: CancellationToken) -> Result<(), End> {
        let _ends = turn.clone().drop_guard();
        let (config, deployment, metrics) = (self.config.clone(), self.deployment.clone(), self.metrics.clone());
        let started = Sequencer::start(config, self.pool.clone(), self.srs.clone(), deployment, Some(metrics), turn.clone()).await;
        let sequencer = started.map_err(End::of_start)?;
        let verifier = Verifier::new(&self.manifest).map_err(|error| End::Final(error.into()))?;
        let gateway = Gateway::new(self.pool.clone(), verifier, self.gateway.clone(), turn);
        front.open(sequencer.router().merge(gateway.router()));
        tracing::info!(address = %self.address, "leading: transactions are taken");
        if let Some(file) = &self.ready_file {
            write_ready(file, &self.address).map_err(End::Final)?;
        }
        let (ended, ()) = tokio::join!(sequencer.stopped(), gateway.watch());
        ended.map_err(|fatal| if matches!(fatal, Fatal::TakenBack(_)) { End::Again(fatal) } else { End::Passing(fatal.into()) })
    }
}

impl End {
    fn of_start(error: StartError) -> Self {
        match error {
            StartError::Recovery(RecoveryError::Store(_) | RecoveryError::Interrupted) | StartError::Lead(_) | StartError::Stopped => {
                Self::Passing(error.into())
            }
            StartError::Recovery(_) | StartError::Circuits(_) | StartError::Threads(_) => Self::Final(error.into()),
        }
    }
}

/// The deployment with the constraints of its circuits, for the pages: they follow from the smallest circuit, which is made in a moment.
fn counted(mut deployment: Deployment) -> anyhow::Result<Deployment> {
    let smallest = by_name("test").context("there is no shape `test`")?;
    let made = Circuit::new(smallest.shape, 1)?;
    for circuit in &mut deployment.circuits {
        circuit.constraints = Some(Counts::predict(&NamedShape { name: "", shape: circuit.shape }, &made).constraints as u64);
    }
    Ok(deployment)
}

/// Reads the reference string off the async threads: it is large.
pub(crate) async fn load_srs(keys_dir: PathBuf, manifest: Manifest) -> anyhow::Result<Arc<Srs>> {
    Ok(tokio::task::spawn_blocking(move || Srs::open(&keys_dir, &manifest).map(Arc::new)).await??)
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}; choose another address with --listen"))
}

/// The file appears whole: a reader never sees half of it.
fn write_ready(file: &Path, address: &SocketAddr) -> anyhow::Result<()> {
    let write = || {
        let partial = file.with_extension("partial");
        std::fs::write(&partial, serde_json::to_vec(&crate::process::Ready { url: format!("http://{address}") })?)?;
        std::fs::rename(partial, file)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use clap::{Command, FromArgMatches};

    fn options(arguments: &[&str]) -> Result<SequencerOptions, clap::Error> {
        let matches = SequencerOptions::augment_args(Command::new("node")).try_get_matches_from([&["node"], arguments].concat())?;
        SequencerOptions::from_arg_matches(&matches)
    }

    #[test]
    fn an_origin_that_no_browser_sends_is_refused() {
        for good in ["*", "https://wallet.example.org", "http://127.0.0.1:8080", "https://a.org,https://b.org"] {
            assert!(options(&["--cors", good]).is_ok(), "{good}");
        }
        for bad in ["", "wallet.example.org", "https://", "https://a.org/", "https://a.org/path", "ftp://a.org", "https://a.org,b.org"] {
            assert!(options(&["--cors", bad]).is_err(), "{bad}");
        }
        assert!(options(&["--client-ip-header", "not a header"]).is_err());
        assert_eq!(options(&["--l1-explorer", "https://etherscan.io/"]).unwrap().l1_explorer.as_deref(), Some("https://etherscan.io"));
        assert!(options(&["--l1-explorer", "javascript:alert(1)"]).is_err());
    }

    #[test]
    fn what_is_passed_on_is_understood_and_says_the_same() {
        let given = [
            "--seal-age-ms=300",
            "--cors=https://a.org,https://b.org",
            "--rate=5",
            "--client-ip-header=x-real-ip",
            "--deposit-depth=3",
            "--l1-explorer=https://a.org",
        ];
        let first = options(&given).unwrap();
        let passed = first.passed_on();
        let again = options(&passed.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{first:?}"));
        assert_eq!(again.config(1).unwrap().api.client_ip_header.as_deref(), Some("x-real-ip"));
        assert_eq!(again.config(1).unwrap().deposits.confirmations, 3);
        assert_eq!(options(&[]).unwrap().config(1).unwrap().deposits.confirmations, 65);
        assert_eq!(options(&[]).unwrap().config(DEV_CHAIN_ID).unwrap().deposits.confirmations, 1);
    }

    #[test]
    fn a_taken_port_is_refused_if_asked_for() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let refused = options(&["--listen", &address]).unwrap().dev_address().unwrap_err();
        assert!(refused.to_string().contains("--listen"), "{refused}");
    }

    #[test]
    fn a_damaged_database_is_final_and_one_that_is_away_is_not() {
        let damaged = StartError::Recovery(RecoveryError::Size { srs: 16, deployment: 17 });
        assert!(matches!(End::of_start(damaged), End::Final(_)));
        let away = sheaf_store::StoreError::from(sqlx::Error::PoolTimedOut);
        assert!(matches!(End::of_start(StartError::Lead(away)), End::Passing(_)));
    }
}
