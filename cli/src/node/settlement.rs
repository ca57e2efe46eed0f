//! The settlement role: started until it works, shown on a board.

use super::files::Files;
use super::restart_pause;
use crate::environment::variable;
use anyhow::{Context, anyhow};
use axum::routing::get;
use axum::{Json, Router};
use clap::Args;
use sheaf_sequencer::config::ApiConfig;
use sheaf_sequencer::{RenderMetrics, serve};
use sheaf_settlement::key::L1Key;
use sheaf_settlement::service::{Service, ServiceOptions};
use sheaf_settlement::status::Board;
use sqlx::PgPool;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// Where L1 is looked for unless it is named.
pub(crate) const DEFAULT_L1_URL: &str = "http://127.0.0.1:8545";

/// What settlement needs.
#[derive(Args, Clone, Debug)]
pub struct SettlementOptions {
    /// JSON-RPC of the L1 nodes, repeated or separated by commas [default: http://127.0.0.1:8545]
    #[arg(long, visible_alias = "l1", env = "SHEAF_L1_URL", hide_env_values = true, value_delimiter = ',')]
    pub(crate) l1_url: Vec<String>,
    /// How many L1 nodes must show the same block and events before they are believed; at most as many as there are.
    #[arg(long, env = "SHEAF_L1_AGREE", default_value_t = 2)]
    l1_agree: usize,
    /// File with the operator's L1 key in hex; without it SHEAF_OPERATOR_KEY of the environment is used.
    #[arg(long)]
    pub(crate) operator_key_file: Option<PathBuf>,
    /// Seconds that the first unproven batch has waited on L1 when one whose proof job is parked is taken back and sealed again in another circuit;
    /// at most half of the contract's time for proofs [default: a quarter of that]
    #[arg(long, env = "SHEAF_REVERT_AFTER_S")]
    revert_after_s: Option<u64>,
}

impl SettlementOptions {
    /// The L1 nodes: those that are named, or where one is looked for.
    pub(crate) fn l1_urls(&self) -> Vec<&str> {
        if self.l1_url.is_empty() { vec![DEFAULT_L1_URL] } else { self.l1_url.iter().map(String::as_str).collect() }
    }

    /// The operator's key from the file or the environment; `None` if neither is given.
    pub(crate) fn operator_key(&self) -> anyhow::Result<Option<L1Key>> {
        let text = match &self.operator_key_file {
            Some(file) => Some(std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?),
            None => variable("SHEAF_OPERATOR_KEY"),
        };
        let Some(text) = text.map(Zeroizing::new) else { return Ok(None) };
        L1Key::from_hex(text.trim()).map(Some).context("the operator key is not 32 bytes of hex")
    }
}

/// Follows L1 and sends to it until told to stop.
///
/// # Errors
/// If that can never work: no key, another chain, another operator.
pub(super) async fn run(options: &SettlementOptions, pool: PgPool, files: &Files, board: Board, stop: CancellationToken) -> anyhow::Result<()> {
    let _ends = stop.clone().drop_guard();
    let key = options.operator_key()?.context("no operator key: set SHEAF_OPERATOR_KEY or name a file with --operator-key-file")?;
    let mut service = ServiceOptions::new(&options.l1_urls().join(","), files.deployment.deployment.clone(), files.manifest.clone());
    service.rpc.agree = options.l1_agree;
    service.submitter.eth_usd = files.eth_usd;
    service.submitter.revert_after_s = options.revert_after_s;
    let mut failures = 0;
    while !stop.is_cancelled() {
        let failed = match Service::start(pool.clone(), key.clone(), service.clone(), board.clone()).await {
            Ok(role) => {
                tracing::info!(operator = %key.address(), contract = %service.deployment.contract, "following L1");
                failures = 0;
                match tokio::spawn(role.run(stop.clone())).await {
                    Ok(()) => anyhow!("it ended by itself"),
                    Err(error) => error.into(),
                }
            }
            Err(error) if error.is_transient() => error.into(),
            Err(error) => return Err(error).context("settlement cannot work; check --l1-url, the deployment file and the operator key"),
        };
        if !stop.is_cancelled() {
            failures += 1;
            tracing::warn!("settlement starts again: {failed:#}");
            let _ = stop.run_until_cancelled(tokio::time::sleep(restart_pause(failures))).await;
        }
    }
    Ok(())
}

/// The board beside a node's API.
pub(super) fn route(board: Board) -> Router {
    Router::new().route("/v1/settlement", get(async move || Json(board.status())))
}

/// Serves the board of a settlement process, until told to stop.
///
/// # Errors
/// If the address is taken.
pub(super) async fn serve_status(address: SocketAddr, board: Board, metrics: RenderMetrics, stop: CancellationToken) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}; choose another with --status-listen"))?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/health", get(async || "ok\n"))
        .route("/status", get(async move || Json(board.status())))
        .route("/metrics", get(async move || metrics()));
    tracing::info!(%address, "serving /health, /status and /metrics");
    tokio::spawn(async move { serve(listener, router, &ApiConfig::default(), stop).await });
    Ok(())
}
