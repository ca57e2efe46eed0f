//! Parses the command line of `sheaf` and hands over to the library.

use clap::{Parser, Subcommand};
use sheaf_cli::{bench, demo, doctor, keys, node, wallet, worker};

/// Sheaf: a ZK-rollup for payments with real proofs on a laptop.
#[derive(Parser, Debug)]
#[command(
    name = "sheaf",
    version,
    propagate_version = true,
    after_help = "Examples:\n  sheaf node --dev             everything on this machine, with funded test keys\n  sheaf wallet --help          keys, deposits, transfers, withdrawals\n  sheaf doctor                 what is wrong and how to mend it"
)]
struct Cli {
    /// Print logs as JSON.
    #[arg(long, global = true, env = "SHEAF_LOG_JSON")]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Sequencer and settlement in one process; with --dev everything.
    Node(Box<node::NodeArgs>),
    /// The HTTP API, executor and committer, with the prover gateway.
    Sequencer(Box<node::SequencerArgs>),
    /// Watcher and submitter of L1.
    Settlement(Box<node::SettlementArgs>),
    /// Development keys, SRS and their manifest.
    Keys(keys::KeysArgs),
    /// Figures of docs/performance.md.
    Bench(bench::BenchArgs),
    /// The main job once, with real proofs and a crash half-way.
    Demo(demo::DemoArgs),
    /// Keys, deposits, transfers, withdrawals, claims.
    Wallet(wallet::WalletArgs),
    /// What is wrong and how to mend it.
    Doctor(doctor::DoctorArgs),
    /// Workers of the prover fleet.
    Prover(worker::ProverArgs),
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    start_logs(cli.log_json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli.command)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Node(args) => node::run_node(*args).await,
        Command::Sequencer(args) => node::run_sequencer(*args).await,
        Command::Settlement(args) => node::run_settlement(*args).await,
        Command::Keys(args) => keys::run(&args),
        Command::Bench(args) => bench::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Wallet(args) => wallet::run(args).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Prover(args) => worker::run(args).await,
    }
}

/// Logs go to standard error, `SHEAF_LOG` filters them (default: warnings, and our own progress).
fn start_logs(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SHEAF_LOG").unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json { logs.json().init() } else { logs.with_target(false).init() }
}
