//! Parses the command line of `sheaf` and hands over to the library.

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use sheaf_cli::{bench, ceremony, demo, deploy, doctor, environment, exit, guard, keys, node, replay, restore, settle, stop, wallet, worker};
use std::io::IsTerminal;

/// Sheaf: a ZK-rollup for payments with real proofs on a laptop.
#[derive(Parser, Debug)]
#[command(
    name = "sheaf",
    version,
    propagate_version = true,
    after_help = "Examples:\n  sheaf node --dev             everything on this machine, with funded test keys\n  sheaf deploy --help          a deployment with roles of its own\n  sheaf wallet --help          keys, deposits, transfers, withdrawals\n  sheaf doctor                 what is wrong and how to mend it"
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
    /// Create the contract of a manifest on L1.
    Deploy(Box<deploy::DeployArgs>),
    /// Development keys, SRS and their manifest; import of powers of tau.
    Keys(keys::KeysArgs),
    /// Proving keys for real money, made by many people.
    Ceremony(ceremony::CeremonyArgs),
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
    /// The whole state from L1 alone, every root compared with the proven one.
    Restore(restore::RestoreArgs),
    /// A batch derived again from the database or from L1, compared with what was stored and posted.
    Replay(replay::ReplayArgs),
    /// End the rollup for good, once a time-out of its operator has passed.
    Freeze(exit::FreezeArgs),
    /// Leave a frozen rollup: show L1 what a slot holds, and have it paid out.
    Exit(exit::ExitArgs),
    /// Have L1 credit what it owes and nobody has credited: withdrawals, forced exits and refunds of proven batches, after a freeze the rest of the queue.
    Settle(settle::SettleArgs),
    /// Ends the processes that an owner on the other end of standard input leaves behind.
    #[command(hide = true)]
    Guard,
}

fn main() -> std::process::ExitCode {
    let cli = parse();
    start_logs(cli.log_json, cli.command.is_role());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    match stop::run(runtime, run(cli.command)) {
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
        Command::Deploy(args) => deploy::run(*args).await,
        Command::Keys(args) => keys::run(&args),
        Command::Ceremony(args) => ceremony::run(&args),
        Command::Bench(args) => bench::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Wallet(args) => wallet::run(args).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Prover(args) => worker::run(args).await,
        Command::Restore(args) => restore::run(args).await,
        Command::Replay(args) => replay::run(args).await,
        Command::Freeze(args) => exit::freeze(args).await,
        Command::Exit(args) => exit::run(args).await,
        Command::Settle(args) => settle::run(args).await,
        Command::Guard => guard::run(),
    }
}

/// The command line; what clap cannot say of it is checked here.
fn parse() -> Cli {
    let matches = environment::without_empty(Cli::command()).get_matches();
    if let Some(option) = refused(&matches) {
        let text = format!("{option} cannot be used with --dev, which makes its own");
        Cli::command().error(ErrorKind::ArgumentConflict, text).exit();
    }
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn refused(matches: &ArgMatches) -> Option<String> {
    node::refused_with_dev(matches.subcommand_matches("node")?)
}

impl Command {
    /// True for what runs until it is told to stop.
    fn is_role(&self) -> bool {
        matches!(self, Command::Node(_) | Command::Sequencer(_) | Command::Settlement(_) | Command::Prover(_))
    }
}

/// Logs go to standard error. SHEAF_LOG filters them; without it roles tell their own progress too, other commands only warn.
fn start_logs(json: bool, role: bool) {
    // our targets are the names of our crates, which all begin with sheaf
    let default = if role { "warn,sheaf=info" } else { "warn" };
    let told = environment::variable("SHEAF_LOG").and_then(|text| tracing_subscriber::EnvFilter::try_new(text).ok());
    let filter = told.unwrap_or_else(|| tracing_subscriber::EnvFilter::new(default));
    let colours = std::io::stderr().is_terminal();
    // a log that cannot be written is no reason to stop working
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).log_internal_errors(false);
    if json { logs.json().init() } else { logs.with_target(false).init() }
}
