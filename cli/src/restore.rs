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
use anyhow::{Context, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sheaf_protocol::amount::{Address, SlotId};
use sheaf_protocol::artifact::Artifact;
use sheaf_protocol::field::to_hex;
use sheaf_protocol::follower::follow;
use sheaf_protocol::kzg::{Srs, StateVector};
use sheaf_protocol::ledger::{Ledger, Slot};
use sheaf_protocol::manifest::HexWord;
use sheaf_settlement::anvil::DEV_CHAIN_ID;
use sheaf_settlement::history::{History, ProvenBatch};
use sheaf_settlement::rollup::Rollup;
use sheaf_settlement::rpc::{Rpc, RpcOptions, parse_address};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Blocks between two writes of the state file.
const SAVE_EVERY: u64 = 20_000;

/// `sheaf restore`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf restore --l1-url http://127.0.0.1:8545 --contract 0x..\n  sheaf restore --contract 0x.. --from-block 19000000 --state state.json --srs srs-20.bin --json"
)]
pub struct RestoreArgs {
    /// JSON-RPC of any L1 node.
    #[arg(long, env = "SHEAF_L1_URL", hide_env_values = true, default_value = crate::node::DEFAULT_L1_URL)]
    l1_url: String,
    /// The rollup's contract.
    #[arg(long, env = "SHEAF_CONTRACT", value_parser = |text: &str| parse_address(text).ok_or("expected 0x and 40 hex digits"))]
    contract: Address,
    /// The block that created the contract; nothing of it lies before.
    #[arg(long, default_value_t = 0)]
    from_block: u64,
    /// Blocks that must lie above a batch's proof; default: 64, on the development chain 0.
    #[arg(long)]
    depth: Option<u64>,
    /// Where the state is kept; a later run goes on from it.
    #[arg(long, default_value = "sheaf-state.json")]
    state: PathBuf,
    /// The reference string's file; default: the INSECURE development one of --seed in --keys-dir, made if it is missing.
    #[arg(long)]
    srs: Option<PathBuf>,
    /// Folder of cached keys and reference strings.
    #[arg(long, env = "SHEAF_KEYS", default_value = ".sheaf/keys")]
    keys_dir: PathBuf,
    /// Public seed of the INSECURE development set-up.
    #[arg(long, env = "SHEAF_SEED", default_value = "sheaf")]
    seed: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A restored state, as its file holds it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    chain_id: u64,
    contract: Address,
    k: u32,
    /// Batches followed.
    batches: u64,
    /// Root after the last of them.
    root: HexWord,
    /// Where reading goes on.
    next_block: u64,
    slots: Vec<(SlotId, Slot)>,
}

/// The state in memory, and what the next file will say of it.
struct Restoring {
    ledger: Ledger,
    vector: StateVector,
    batches: u64,
}

/// Runs the command.
///
/// # Errors
/// If L1 does not answer, or a batch gives another root than was proven.
pub async fn run(args: RestoreArgs) -> anyhow::Result<()> {
    let rpc = Rpc::connect(&args.l1_url, RpcOptions::default()).await?;
    let rollup = Rollup::at(rpc, args.contract);
    let (k, chain_id) = (rollup.k().await?, rollup.rpc().chain_id());
    let depth = args.depth.unwrap_or(if chain_id == DEV_CHAIN_ID { 0 } else { 64 });
    let last_block = rollup.rpc().block_number().await?.saturating_sub(depth);
    let srs = Arc::new(srs(&args, k)?);
    let (mut restoring, first_block) = begin(&args, chain_id, k, srs)?;
    let from = restoring.batches;
    let mut history = History::new(rollup.clone(), first_block);
    let mut progress = Progress::new("reading L1");
    let mut saved_at = first_block;
    while let Some(batches) = history.next(restoring.batches, last_block).await? {
        for batch in batches {
            restoring.take(&batch)?;
        }
        let reached = history.resume_at();
        progress.step_with((reached - first_block) as usize, (last_block + 1 - first_block) as usize, &format!("batch {}", restoring.batches));
        if reached >= saved_at + SAVE_EVERY {
            restoring.save(&args, chain_id, reached)?;
            saved_at = reached;
        }
    }
    drop(progress);
    restoring.save(&args, chain_id, history.resume_at())?;
    report(&args, &restoring, from, &rollup).await
}

async fn report(args: &RestoreArgs, restoring: &Restoring, from: u64, rollup: &Rollup) -> anyhow::Result<()> {
    let (root, on_l1) = (restoring.vector.root(), rollup.progress().await?);
    let is_current = root == on_l1.state_root;
    if args.json {
        println!(
            "{}",
            json!({
                "batches": restoring.batches, "followed": restoring.batches - from, "slots": restoring.ledger.occupied().count(),
                "root": to_hex(&root), "proven_on_l1": on_l1.proven, "root_on_l1": to_hex(&on_l1.state_root), "current": is_current,
            })
        );
        return Ok(());
    }
    println!("batches    {} ({} of them in this run), each with the root that was proven", restoring.batches, restoring.batches - from);
    println!("slots      {}", restoring.ledger.occupied().count());
    println!("root       {}", to_hex(&root));
    match is_current {
        true => println!("L1         has the same root"),
        false => println!("L1         is at batch {}; run again when it is deep enough", on_l1.proven),
    }
    println!("state      {}", args.state.display());
    Ok(())
}

fn srs(args: &RestoreArgs, k: u32) -> anyhow::Result<Srs> {
    if let Some(file) = &args.srs {
        // whatever it is: a string of another set-up gives another first root
        let digest = Artifact::at(file).open()?.digest()?;
        let srs = Srs::load(file, &digest)?;
        ensure!(srs.k == k, "{} is for 2^{} slots, the contract's state has 2^{k}", file.display(), srs.k);
        return Ok(srs);
    }
    let mut progress = Progress::new(format!("making the INSECURE development SRS of 2^{k} slots"));
    Ok(Srs::insecure_dev_in(&args.keys_dir, k, &args.seed, |done, all| progress.step(done, all))?.0)
}

/// The state to go on from and the block to go on at: those of the file, or nothing yet.
fn begin(args: &RestoreArgs, chain_id: u64, k: u32, srs: Arc<Srs>) -> anyhow::Result<(Restoring, u64)> {
    let file = args.state.display();
    let mut ledger = Ledger::new(k);
    if !args.state.exists() {
        return Ok((Restoring { ledger, vector: StateVector::new(srs, [])?, batches: 0 }, args.from_block));
    }
    let text = std::fs::read(&args.state).with_context(|| format!("cannot read {file}"))?;
    let state: State = serde_json::from_slice(&text).with_context(|| format!("{file} is not a restored state; name another file with --state"))?;
    let ours = (chain_id, args.contract, k);
    ensure!(
        (state.chain_id, state.contract, state.k) == ours,
        "{file} is the state of contract {} on chain {}; name another file with --state",
        state.contract,
        state.chain_id
    );
    for (id, slot) in &state.slots {
        ensure!(ledger.contains(*id), "{file} names slot {id}, which is outside the state; delete it and start again");
        ledger.set(*id, *slot);
    }
    let vector = StateVector::new(srs, state.slots.iter().map(|(id, slot)| (*id, slot.columns())))?;
    ensure!(vector.root() == state.root.0, "the slots in {file} do not give the root it names; delete it and start again");
    Ok((Restoring { ledger, vector, batches: state.batches }, state.next_block))
}

impl Restoring {
    fn take(&mut self, batch: &ProvenBatch) -> anyhow::Result<()> {
        let number = batch.number;
        ensure!(
            number == self.batches + 1,
            "batch {number} follows batch {} on L1; start again with --from-block at the contract's creation",
            self.batches
        );
        let touched = follow(&mut self.ledger, &batch.published).with_context(|| format!("batch {number}"))?;
        let step = self.vector.prepare(&touched)?;
        self.vector.advance(&step)?;
        let root = self.vector.root();
        ensure!(
            root == batch.root,
            "batch {number} gives the root {}, L1 was proven {}: is the reference string the deployment's?",
            to_hex(&root),
            to_hex(&batch.root)
        );
        self.batches = number;
        Ok(())
    }

    fn save(&self, args: &RestoreArgs, chain_id: u64, next_block: u64) -> anyhow::Result<()> {
        let state = State {
            chain_id,
            contract: args.contract,
            k: self.vector.k(),
            batches: self.batches,
            root: HexWord(self.vector.root()),
            next_block,
            slots: self.ledger.occupied().map(|(id, slot)| (id, *slot)).collect(),
        };
        write_whole(&args.state, &serde_json::to_vec(&state)?).with_context(|| format!("cannot write {}", args.state.display()))
    }
}

/// The old file or the new one, never a part.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
