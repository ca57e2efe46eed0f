//! `sheaf replay`: one batch derived again, and compared word by word with what was stored and posted.
//!
//! ```text
//! Postgres ── batches before ── members ──> batch, commitments, challenges, claims, opening ──> equal to the stored ones?
//!                                                   └──> witness ──> every constraint of its circuit holds?
//! L1 ──────── batches before ── what it left there ──> the same without signatures ───────────> equal to the posted ones, calldata included?
//! both ───────────────────────────────────────────────────────────────────────────────────────> is what is stored what was posted?
//! ```
//! `account` holds two sources against each other, `l1` is the second source.

mod account;
mod l1;

use crate::dev::DevDeployment;
use crate::node::{DEFAULT_L1_URL, RoleArgs, load_srs, open_database_to_read, read, read_json};
use crate::progress::Progress;
use crate::restored::StateOptions;
use account::{Account, Line};
use anyhow::{Context, ensure};
use clap::Args;
use serde_json::{Value, json};
use sheaf_circuits::batch::Circuit;
use sheaf_protocol::amount::Address;
use sheaf_protocol::batch::ProverInput;
use sheaf_protocol::field::{to_hex, to_word};
use sheaf_sequencer::Deployment;
use sheaf_settlement::rollup::Rollup;
use sheaf_settlement::rpc::{Rpc, RpcOptions, parse_address};
use sheaf_store::batches;
use std::sync::Arc;

/// What L1 cannot tell.
const NOT_ON_L1: &str = "signatures are not on L1: the transcript h and the points of the proof are taken from there, not derived, and there is no \
                         witness to check; the proof is verified against the derived public inputs instead";

/// `sheaf replay`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf replay --batch 7                            with DATABASE_URL and deployment.json\n  sheaf replay --batch 7 --deployment /etc/sheaf/deployment.json --json\n  sheaf replay --batch 7 --l1-url http://127.0.0.1:8545 --contract 0x.. --from-block 19000000     from L1 alone\n\nFrom the database everything is derived, the witness of the circuit too. From L1 it is what follows from public data: touched slots, commitments,\nquotient, hashes, challenges, claims, opening, root, and the calldata of commit and prove. Signatures are not on L1: the transcript h and the points of\nthe proof are taken from there, the proof is verified against the derived public inputs, and no witness is made. With both, what is stored is also\ncompared with what was posted.\n\nIt only reads, and may run beside a node. It ends with an error if anything differs."
)]
pub struct ReplayArgs {
    /// The batch.
    #[arg(long)]
    batch: u64,
    #[command(flatten)]
    role: RoleArgs,
    /// Derive a proven batch from L1, through this node or several, separated by commas; never taken from the environment [default with
    /// --contract: http://127.0.0.1:8545]
    #[arg(long, visible_alias = "l1")]
    l1_url: Option<String>,
    /// Derive a proven batch from L1: the rollup's contract [default with --l1-url: the deployment file's]
    #[arg(long, value_parser = |text: &str| parse_address(text).ok_or("expected 0x and 40 hex digits"))]
    contract: Option<Address>,
    /// The block that created the contract, which holds its circuits too [default: the deployment file's]
    #[arg(long)]
    from_block: Option<u64>,
    #[command(flatten)]
    state: StateOptions,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Default)]
struct Found {
    lines: Vec<Line>,
    /// What the circuit is, and the groups that the witness violates; nothing without the database.
    witness: Option<(String, Vec<String>)>,
}

/// Runs the command.
///
/// # Errors
/// If the batch cannot be derived, or anything differs.
pub async fn run(args: ReplayArgs) -> anyhow::Result<()> {
    let from_l1 = args.l1_url.is_some() || args.contract.is_some();
    let mut found = Found::default();
    let mut stored = None;
    if args.role.database_url().is_some() || !from_l1 {
        stored = Some(from_database(&args, &mut found).await?);
    }
    if from_l1 {
        let (rollup, from_block) = connect(&args).await?;
        let on_l1 = l1::read(&rollup, &args.state, from_block, args.batch).await.with_context(|| format!("batch {}", args.batch))?;
        found.lines.extend(on_l1.derived.beside(&on_l1.posted));
        found.lines.extend(stored.iter().flat_map(|stored: &Account| stored.beside(&on_l1.posted)));
    }
    report(&args, &found, from_l1);
    let differing: Vec<String> = found.lines.iter().filter(|line| !line.is_same()).map(Line::name).collect();
    ensure!(differing.is_empty(), "batch {}: {} of {} parts differ: {}", args.batch, differing.len(), found.lines.len(), differing.join(", "));
    let violated = found.witness.map(|(_, violated)| violated).unwrap_or_default();
    ensure!(violated.is_empty(), "batch {}: its witness violates {}", args.batch, violated.join(", "));
    Ok(())
}

/// Derives the batch from its members; returns what is stored.
async fn from_database(args: &ReplayArgs, found: &mut Found) -> anyhow::Result<Account> {
    let files = read(&args.role)?;
    let pool = open_database_to_read(&args.role, &files).await?;
    let deployment = &files.deployment.deployment;
    let deployment = Arc::new(Deployment::new(deployment.chain_id, deployment.contract, &files.manifest));
    let srs = load_srs(args.state.keys_dir.clone(), files.manifest.clone()).await?;
    let mut progress = Progress::new("following the batches before");
    let derived = sheaf_sequencer::replay(&pool, srs, Arc::clone(&deployment), args.batch, |done, all| progress.step(done as usize, all as usize))
        .await
        .with_context(|| format!("batch {}", args.batch))?;
    let stored = batches::computed(&mut *pool.acquire().await?, args.batch).await?;
    let stored = Account::computed("stored", &stored.with_context(|| format!("batch {} is not computed", args.batch))?);
    found.lines.extend(Account::computed("derived", &derived).beside(&stored));
    found.witness = Some(check_witness(derived.input).await?);
    Ok(stored)
}

/// The contract, and the block that created it.
async fn connect(args: &ReplayArgs) -> anyhow::Result<(Rollup, u64)> {
    let file = args.role.deployment_file().map(|file| read_json::<DevDeployment>(&file, "--deployment").map(|file| file.deployment)).transpose()?;
    // a deployment file that lies about may be another contract's
    let file = file.filter(|file| args.contract.is_none_or(|contract| contract == file.contract));
    let contract = args.contract.or(file.as_ref().map(|file| file.contract)).context("which contract? name it with --contract, or --deployment")?;
    let block = args.from_block.or(file.map(|file| file.block));
    let block = block.context("which block created the contract? name it with --from-block; deployment.json and `sheaf deploy` tell it")?;
    let url = args.l1_url.as_deref().unwrap_or(DEFAULT_L1_URL);
    Ok((Rollup::at(Rpc::connect(url, RpcOptions::default()).await?, contract), block))
}

/// What the circuit says of the witness: its description, and the groups that are violated.
async fn check_witness(input: Value) -> anyhow::Result<(String, Vec<String>)> {
    let ProverInput { batch, challenges } = serde_json::from_value(input)?;
    let check = move || {
        let circuit = Circuit::new(batch.shape, batch.circuit)?;
        let witness = circuit.witness(&batch, &challenges)?;
        let assignment = circuit.assign(&witness)?;
        let h = to_hex(&to_word(witness.inputs[sheaf_protocol::batch::PublicInput::H as usize]));
        let text = format!("{} constraints of circuit {}, transcript {h}", circuit.constraints(), circuit.id());
        anyhow::Ok((text, circuit.violated_groups(&assignment).into_iter().collect()))
    };
    tokio::task::spawn_blocking(check).await?
}

fn report(args: &ReplayArgs, found: &Found, from_l1: bool) {
    if args.json {
        let compared: Vec<Value> = found.lines.iter().map(Line::json).collect();
        let (circuit, violated) = found.witness.as_ref().map_or((Value::Null, Value::Null), |(circuit, violated)| (json!(circuit), json!(violated)));
        let not_compared = from_l1.then_some(NOT_ON_L1);
        println!("{}", json!({ "batch": args.batch, "compared": compared, "circuit": circuit, "violated": violated, "not_on_l1": not_compared }));
        return;
    }
    found.lines.iter().for_each(Line::print);
    if let Some((circuit, violated)) = &found.witness {
        println!("{:14} {}  {circuit}", "witness", if violated.is_empty() { "holds" } else { "VIOLATED" });
    }
    if from_l1 {
        println!("\n{NOT_ON_L1}");
    }
}
