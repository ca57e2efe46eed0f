//! `sheaf node`, `sheaf sequencer` and `sheaf settlement`: the roles as processes.
//!
//! ```text
//! node       = sequencer + settlement (+ with --dev: Postgres, Anvil, contract, test accounts, two workers)
//! sequencer  = API, executor, committer, and the prover gateway beside the API
//! settlement = watcher and submitter
//! ```
//! What cannot work (no key, another chain, a damaged database) ends the process with its remedy. What may pass (Postgres or L1 away, the lead
//! lost) does not: the role starts again from what Postgres holds. SIGTERM and Ctrl-C end in order.

mod files;
mod sequencer;
mod settlement;

pub use files::RoleArgs;
pub use sequencer::SequencerOptions;
pub use settlement::SettlementOptions;

pub(crate) use files::{open_database_to_read, read, read_json};
pub(crate) use sequencer::{DEFAULT_LISTEN, load_srs};
pub(crate) use settlement::DEFAULT_L1_URL;

use crate::dev_node::Passed;
use crate::stop;
use clap::{ArgMatches, Args, parser::ValueSource};
use sequencer::Sequencing;
use sheaf_sequencer::RenderMetrics;
use sheaf_settlement::status::Board;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Pause before a role that failed is started again; it doubles with every failure in a row.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// The longest such pause.
const MAX_RESTART_PAUSE: Duration = Duration::from_secs(30);

/// What a sequencer counts.
const SEQUENCER_COUNTS: [fn(); 2] = [sheaf_sequencer::count_from_zero, sheaf_prover::metrics::count_gateway_from_zero];
/// What settlement counts.
const SETTLEMENT_COUNTS: [fn(); 1] = [sheaf_settlement::status::count_from_zero];

/// Options that name what `--dev` makes by itself.
const NOT_WITH_DEV: [&str; 13] = [
    "database_url",
    "deployment",
    "manifest",
    "eth_usd",
    "ready_file",
    "prover_tokens",
    "operator_tokens",
    "fee_key",
    "fee_owner",
    "l1_url",
    "l1_agree",
    "operator_key_file",
    "revert_after_s",
];

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
    after_help = "Example:\n  DATABASE_URL=postgres://.. SHEAF_OPERATOR_KEY=0x.. sheaf settlement --deployment deployment.json --l1-url https://l1.example.org --status-listen 127.0.0.1:3001"
)]
pub struct SettlementArgs {
    #[command(flatten)]
    role: RoleArgs,
    #[command(flatten)]
    options: SettlementOptions,
    /// Serve /health, /status and /metrics here.
    #[arg(long, env = "SHEAF_STATUS_LISTEN")]
    status_listen: Option<SocketAddr>,
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

/// The option on the command line of `sheaf node` that has no meaning beside `--dev`, if there is one. The environment does not count:
/// the file that a development node writes sets SHEAF_L1_URL, and another one may be started from the same shell.
pub fn refused_with_dev(node: &ArgMatches) -> Option<String> {
    let typed = |id: &&str| node.value_source(id) == Some(ValueSource::CommandLine);
    let found = NOT_WITH_DEV.iter().find(|id| typed(id)).filter(|_| node.get_flag("dev"))?;
    Some(format!("--{}", found.replace('_', "-")))
}

/// Runs sequencer and gateway.
///
/// # Errors
/// If the role cannot work.
pub async fn run_sequencer(args: SequencerArgs) -> anyhow::Result<()> {
    let (stop, files) = (stop::on_signals()?, files::read(&args.role)?);
    let pool = files::open_database(&args.role, &files).await?;
    Sequencing::prepare(&args.options, pool, &files, metrics(&SEQUENCER_COUNTS)?, None).await?.run(stop).await
}

/// Runs watcher and submitter.
///
/// # Errors
/// If the role cannot work.
pub async fn run_settlement(args: SettlementArgs) -> anyhow::Result<()> {
    let (stop, files, board) = (stop::on_signals()?, files::read(&args.role)?, Board::default());
    if let Some(address) = args.status_listen {
        settlement::serve_status(address, board.clone(), metrics(&SETTLEMENT_COUNTS)?, stop.clone()).await?;
    }
    let pool = files::open_database(&args.role, &files).await?;
    settlement::run(&args.options, pool, &files, board, stop).await
}

/// Runs all roles.
///
/// # Errors
/// If one cannot work.
pub async fn run_node(args: NodeArgs) -> anyhow::Result<()> {
    if args.dev {
        let passed =
            Passed { listen: args.sequencer.dev_address()?, keys_dir: args.sequencer.keys_dir.clone(), arguments: args.sequencer.passed_on() };
        return crate::dev_node::run(args.dev_options, passed).await;
    }
    let (stop, files, board) = (stop::on_signals()?, files::read(&args.role)?, Board::default());
    let pool = files::open_database(&args.role, &files).await?;
    let metrics = metrics(&[&SEQUENCER_COUNTS[..], &SETTLEMENT_COUNTS].concat())?;
    let sequencing = Sequencing::prepare(&args.sequencer, pool.clone(), &files, metrics, Some(board.clone())).await?;
    let _ends = stop.clone().drop_guard();
    let (sequenced, settled) = tokio::join!(sequencing.run(stop.clone()), settlement::run(&args.settlement, pool, &files, board, stop.clone()));
    sequenced.and(settled)
}

fn metrics(from_zero: &[fn()]) -> anyhow::Result<RenderMetrics> {
    let handle = crate::metrics::collect(from_zero)?;
    Ok(Arc::new(move || handle.render()))
}

/// The pause after the given number of failures in a row, at least one.
fn restart_pause(failures: u32) -> Duration {
    RESTART_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(MAX_RESTART_PAUSE)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use clap::Command;

    fn parsed(arguments: &[&str]) -> ArgMatches {
        NodeArgs::augment_args(Command::new("node")).try_get_matches_from([&["node"], arguments].concat()).unwrap()
    }

    #[test]
    fn options_that_a_development_node_would_ignore_are_refused() {
        let with_dev = |arguments: &[&str]| refused_with_dev(&parsed(&[&["--dev"], arguments].concat()));
        assert_eq!(with_dev(&["--l1-url", "http://127.0.0.1:8545"]).as_deref(), Some("--l1-url"));
        assert_eq!(with_dev(&["--operator-key-file", "key"]).as_deref(), Some("--operator-key-file"));
        assert_eq!(with_dev(&["--listen", "127.0.0.1:4000", "--seal-age-ms", "300"]), None);
        assert_eq!(refused_with_dev(&parsed(&["--l1-url", "http://127.0.0.1:8545"])), None);
        let known = NodeArgs::augment_args(Command::new("node"));
        for id in NOT_WITH_DEV {
            assert!(known.get_arguments().any(|argument| argument.get_id() == id), "{id} is no option");
        }
    }

    #[test]
    fn pauses_grow_up_to_half_a_minute() {
        assert_eq!([1, 2, 3, 7, 1_000].map(|failures| restart_pause(failures).as_millis()), [500, 1_000, 2_000, 30_000, 30_000]);
    }
}
