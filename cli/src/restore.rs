//! `sheaf restore`: the whole state from L1 alone, each root compared with the proven one.
//!
//! ```text
//! L1 node ── history ──> follow batch ──> commit ──> root = L1's? ──> next batch      ... ──> state file, written all or nothing
//!                                                    no: stop, name the batch
//! ```
//!
//! Needs no operator, no database and no prover: an L1 node, the contract's address and the reference string. The state file is where the
//! next run goes on, and what an exit is made from.

use crate::progress::Progress;
use crate::restored::{Home, Restored, StateOptions};
use anyhow::ensure;
use clap::Args;
use serde_json::json;
use sheaf_protocol::amount::Address;
use sheaf_protocol::field::to_hex;
use sheaf_settlement::anvil::DEV_CHAIN_ID;
use sheaf_settlement::history::History;
use sheaf_settlement::rollup::Rollup;
use sheaf_settlement::rpc::{Rpc, RpcOptions, parse_address};

/// Blocks between two writes of the state file.
const SAVE_EVERY: u64 = 20_000;

/// `sheaf restore`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf restore --l1-url http://127.0.0.1:8545 --contract 0x..\n  sheaf restore --contract 0x.. --from-block 19000000 --state state.json --srs srs-20.bin --json"
)]
pub struct RestoreArgs {
    #[command(flatten)]
    contract: ContractOptions,
    #[command(flatten)]
    from: FromBlock,
    /// Blocks that must lie above a batch's proof; default: 64, on the development chain 0.
    #[arg(long)]
    depth: Option<u64>,
    #[command(flatten)]
    state: StateOptions,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Where the contract's history begins.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct FromBlock {
    /// The block that created the contract; nothing of it lies before.
    #[arg(long, default_value_t = 0)]
    pub(crate) from_block: u64,
}

/// The rollup's contract, through any L1 node.
#[derive(Args, Clone, Debug)]
pub(crate) struct ContractOptions {
    /// JSON-RPC of any L1 node, or of several, separated by commas: the next is asked where one does not answer.
    #[arg(long, visible_alias = "l1", env = "SHEAF_L1_URL", hide_env_values = true, default_value = crate::node::DEFAULT_L1_URL)]
    l1_url: String,
    /// The rollup's contract.
    #[arg(long, env = "SHEAF_CONTRACT", value_parser = |text: &str| parse_address(text).ok_or("expected 0x and 40 hex digits"))]
    contract: Address,
}

impl ContractOptions {
    /// Connects.
    ///
    /// # Errors
    /// If L1 does not answer.
    pub(crate) async fn connect(&self) -> anyhow::Result<Rollup> {
        Ok(Rollup::at(Rpc::connect(&self.l1_url, RpcOptions::default()).await?, self.contract))
    }
}

/// Runs the command.
///
/// # Errors
/// If L1 does not answer, or a batch gives another root than was proven.
pub async fn run(args: RestoreArgs) -> anyhow::Result<()> {
    let rollup = args.contract.connect().await?;
    let depth = args.depth.unwrap_or(if rollup.rpc().chain_id() == DEV_CHAIN_ID { 0 } else { 64 });
    let last_block = rollup.rpc().block_number().await?.saturating_sub(depth);
    ensure!(
        args.from.from_block <= last_block + 1,
        "--from-block {} lies above block {last_block}, the last that is deep enough",
        args.from.from_block
    );
    let mut restored = args.state.open_or_begin(&Home::of(&rollup).await?, args.from.from_block)?;
    let before = restored.batches;
    read_history(&args, &rollup, &mut restored, last_block).await?;
    restored.save(&args.state)?;
    report(&args, &restored, before, &rollup).await
}

async fn read_history(args: &RestoreArgs, rollup: &Rollup, restored: &mut Restored, last_block: u64) -> anyhow::Result<()> {
    let first_block = restored.next_block;
    let mut history = History::new(rollup.clone(), first_block);
    let mut progress = Progress::new("reading L1");
    let mut saved_at = first_block;
    while let Some(chapter) = history.next(restored.batches, last_block).await? {
        for batch in &chapter.batches {
            restored.follow(batch)?;
        }
        restored.next_block = history.resume_at();
        let (done, all) = (restored.next_block - first_block, last_block + 1 - first_block);
        progress.step_with(done as usize, all as usize, &format!("batch {}", restored.batches));
        if restored.next_block >= saved_at + SAVE_EVERY {
            restored.save(&args.state)?;
            saved_at = restored.next_block;
        }
    }
    Ok(())
}

async fn report(args: &RestoreArgs, restored: &Restored, before: u64, rollup: &Rollup) -> anyhow::Result<()> {
    let (root, on_l1) = (restored.vector.root(), rollup.progress().await?);
    let (is_current, slots) = (root == on_l1.state_root, restored.ledger.occupied().count());
    if args.json {
        let found = json!({
            "batches": restored.batches, "followed": restored.batches - before, "slots": slots,
            "root": to_hex(&root), "proven_on_l1": on_l1.proven, "root_on_l1": to_hex(&on_l1.state_root), "current": is_current,
        });
        println!("{found}");
        return Ok(());
    }
    println!("batches    {} ({} of them in this run), each with the root that was proven", restored.batches, restored.batches - before);
    println!("slots      {slots}");
    println!("root       {}", to_hex(&root));
    match is_current {
        true => println!("L1         has the same root"),
        false => println!("L1         is at batch {}; run again when it is deep enough", on_l1.proven),
    }
    println!("state      {}", args.state.state.display());
    Ok(())
}
