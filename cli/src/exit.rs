//! `sheaf freeze` and `sheaf exit`: leaving without the operator, from L1 alone.
//!
//! ```text
//! operator silent ── time-out ──> freeze (anybody) ──> restore ──> exit, one opening a slot ──> claim
//! ```
//!
//! An exit shows L1 what a slot holds, by one opening against the root it has stored, and makes the whole balance claimable by the slot's
//! owner. Anybody may send it; it needs a restored state of exactly that root, no database and no node of ours. What lies in no slot, `sheaf settle` credits.

use crate::restore::ContractOptions;
use crate::restored::{Home, Restored, StateOptions};
use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;
use sheaf_protocol::amount::{Address, Amount, SlotId};
use sheaf_protocol::field::to_hex;
use sheaf_protocol::ledger::Slot;
use sheaf_settlement::key::L1Key;
use sheaf_settlement::rollup::Exit;
use sheaf_settlement::rpc::parse_address;
use std::path::{Path, PathBuf};

/// `sheaf freeze`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sheaf freeze --contract 0x.. --l1-key-file key.txt")]
pub struct FreezeArgs {
    #[command(flatten)]
    contract: ContractOptions,
    /// File with the L1 key (hex) that pays for the transaction.
    #[arg(long)]
    l1_key_file: PathBuf,
}

/// `sheaf exit`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf restore --contract 0x..\n  sheaf exit --contract 0x.. --owner 0x.. --l1-key-file key.txt    every account of the owner\n  sheaf exit --contract 0x.. --slot 7 --calldata                   for a hardware wallet\nThen the owner claims:  sheaf wallet claim --contract 0x.."
)]
pub struct ExitArgs {
    #[command(flatten)]
    contract: ContractOptions,
    #[command(flatten)]
    state: StateOptions,
    /// Slots to pay out.
    #[arg(long, value_parser = crate::wallet::parse::slot, required_unless_present = "owner")]
    slot: Vec<SlotId>,
    /// Pay out every slot of this owner that holds something.
    #[arg(long, value_parser = |text: &str| parse_address(text).ok_or("expected 0x and 40 hex digits"))]
    owner: Option<Address>,
    #[command(flatten)]
    payer: Payer,
    /// Print one JSON object a slot.
    #[arg(long)]
    json: bool,
}

/// Who sends what anybody may send.
#[derive(Args, Debug)]
pub(crate) struct Payer {
    /// File with the L1 key (hex) that pays for the transactions; it need not be the owner's.
    #[arg(long, required_unless_present = "calldata")]
    l1_key_file: Option<PathBuf>,
    /// Print each transaction's calldata instead of sending it.
    #[arg(long, conflicts_with = "l1_key_file")]
    calldata: bool,
}

impl Payer {
    /// The key, `None` if calldata is asked for.
    pub(crate) fn key(&self) -> anyhow::Result<Option<L1Key>> {
        self.l1_key_file.as_deref().map(read_key).transpose()
    }
}

/// Freezes the rollup if one of its time-outs has passed.
///
/// # Errors
/// If none has, or L1 does not take the transaction.
pub async fn freeze(args: FreezeArgs) -> anyhow::Result<()> {
    let rollup = args.contract.connect().await?;
    ensure!(!rollup.is_frozen().await?, "the rollup is frozen already; `sheaf restore`, `sheaf exit` and `sheaf settle` come next");
    let receipt = rollup.freeze(&read_key(&args.l1_key_file)?).await?;
    println!("frozen by L1 transaction {}; `sheaf restore`, `sheaf exit` and `sheaf settle` come next", receipt.hash);
    Ok(())
}

/// Sends the exits, or prints them.
///
/// # Errors
/// If the rollup is not frozen, the state is not L1's, or L1 refuses an exit.
pub async fn run(args: ExitArgs) -> anyhow::Result<()> {
    let rollup = args.contract.connect().await?;
    let restored = args.state.open(&Home::of(&rollup).await?)?;
    let on_l1 = rollup.progress().await?.state_root;
    let root = restored.vector.root();
    ensure!(root == on_l1, "the restored state has root {}, L1 has {}; run `sheaf restore` again", to_hex(&root), to_hex(&on_l1));
    let slots = chosen(&args, &restored)?;
    let Some(key) = args.payer.key()? else {
        for (id, slot) in slots {
            let calldata = opening(&restored, id, &slot)?.calldata();
            show(&args, id, &slot, json!({ "to": rollup.address(), "calldata": to_hex(&calldata) }));
        }
        return Ok(());
    };
    ensure!(rollup.is_frozen().await?, "the rollup is not frozen: withdraw through its node, or see `sheaf freeze --help` if the operator is gone");
    for (id, slot) in slots {
        if rollup.is_exited(id).await? {
            show(&args, id, &slot, json!({ "exited": "before" }));
            continue;
        }
        let receipt = rollup.exit(&key, &opening(&restored, id, &slot)?).await.with_context(|| format!("slot {id}"))?;
        show(&args, id, &slot, json!({ "l1_hash": receipt.hash, "gas": receipt.gas }));
    }
    Ok(())
}

/// The slots named, or those of the owner, with what they hold.
fn chosen(args: &ExitArgs, restored: &Restored) -> anyhow::Result<Vec<(SlotId, Slot)>> {
    let named = args.slot.iter().map(|id| (*id, restored.ledger.get(*id)));
    let owned = restored.ledger.occupied().filter(|(_, slot)| Some(slot.triple.owner) == args.owner && slot.balance != Amount(0));
    let slots: Vec<(SlotId, Slot)> = named.chain(owned.map(|(id, slot)| (id, *slot))).collect();
    if let Some((id, _)) = slots.iter().find(|(_, slot)| slot.is_empty()) {
        anyhow::bail!("slot {id} is empty: no proven batch opened it");
    }
    ensure!(!slots.is_empty(), "no slot of this owner holds anything in the proven state");
    Ok(slots)
}

/// The exit of a slot: what it holds, and the opening that shows it.
fn opening(restored: &Restored, id: SlotId, slot: &Slot) -> anyhow::Result<Exit> {
    let (statement, opening) = restored.vector.open_exit(id)?;
    Ok(Exit { slot: id, dyn_: slot.packed(), owner: slot.triple.owner, commitments: statement.commitments, opening })
}

fn show(args: &ExitArgs, id: SlotId, slot: &Slot, mut done: serde_json::Value) {
    if !args.json {
        println!("slot {id}: {} of token {} for {}: {done}", slot.balance, slot.triple.token, slot.triple.owner);
        return;
    }
    done["slot"] = json!(id.to_string());
    done["token"] = json!(slot.triple.token.to_string());
    done["amount"] = json!(slot.balance);
    done["owner"] = json!(slot.triple.owner);
    println!("{done}");
}

fn read_key(file: &Path) -> anyhow::Result<L1Key> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    L1Key::from_hex(text.trim()).with_context(|| file.display().to_string())
}
