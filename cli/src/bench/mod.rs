//! `sheaf bench`: the figures of docs/performance.md, each printed by its command.
//!
//! Times are medians of interleaved runs in one process: the machine's noise hits both sides alike.

mod commit;
mod fleet;
mod kernels;
mod load;
mod prove;
mod start;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::counts::Counts;
use sheaf_protocol::shape;

/// `sheaf bench`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf bench circuit --json\n  sheaf bench prove --shape small --threads 1,2 --rounds 5 --json\n  sheaf bench start --shape l1heavy --json\n  sheaf bench commit --json\n  sheaf bench load --clients 100 --json\n  sheaf bench fleet --workers 50 --json"
)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Constraints of every shape, and of one transfer more.
    Circuit {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// A proof from its witness, side by side with other provers on the same circuit and witness; kernels, key, two workers.
    Prove(prove::ProveArgs),
    /// How soon a worker with a cached key asks a gateway for work, and what it does not wait for.
    Start(start::StartArgs),
    /// The sequencer's share of a batch: C', C_q and W over an occupied state.
    Commit(commit::CommitArgs),
    /// Receipts under load: HTTP clients that each send one signed transfer at a time to a node of their own with a durable Postgres.
    Load(load::LoadArgs),
    /// Lease operations of the prover gateway: many workers over HTTP, every proof checked, a durable Postgres of its own.
    Fleet(fleet::FleetArgs),
}

/// Runs the command.
///
/// # Errors
/// If a shape or its key is missing.
pub async fn run(args: BenchArgs) -> anyhow::Result<()> {
    match args.what {
        What::Circuit { json } => circuit(json),
        What::Prove(args) => prove::run(&args, |row| {
            print(row, args.json)?;
            if !args.json {
                println!();
            }
            Ok(())
        }),
        What::Start(args) => print(start::run(&args).await?, args.json),
        What::Commit(args) => print(commit::run(&args)?, args.json),
        What::Load(args) => print(load::run(&args).await?, args.json),
        What::Fleet(args) => print(fleet::run(&args).await?, args.json),
    }
}

fn print(row: Value, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{row}");
        return Ok(());
    }
    for (name, value) in row.as_object().into_iter().flatten() {
        println!("{name:<16} {value}");
    }
    Ok(())
}

fn circuit(json: bool) -> anyhow::Result<()> {
    let test = shape::by_name("test").context("the smallest shape has a name")?;
    // the others follow from a circuit with a slot of each kind; `make soundness` makes them all, which takes gigabytes
    let made = Circuit::new(test.shape, 1)?;
    for named in shape::SHAPES {
        let counts = Counts::predict(named, &made);
        let row = json!({
            "shape": named.name, "domain": counts.domain, "transfers": counts.transfers, "accounts": counts.accounts,
            "constraints": counts.constraints, "marginal_worst": counts.marginal_worst, "marginal_hot": counts.marginal_hot,
        });
        print(row, json)?;
        if !json {
            println!();
        }
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default().round()
}
