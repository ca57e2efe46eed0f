//! `sheaf settle`: what the contract owes and nobody has credited, from L1 alone.
//!
//! ```text
//! L1 node ── history ──> withdrawals, forced exits, refunds not credited yet, after a freeze the rest of the queue ──> calls ──> claim
//! ```
//!
//! The operator does the first three as long as it runs. Anybody may do all of it; each coin is credited to whose it is.

use crate::exit::Payer;
use crate::progress::Progress;
use crate::restore::{ContractOptions, FromBlock};
use clap::Args;
use serde_json::{Value, json};
use sheaf_protocol::amount::{Address, Amount};
use sheaf_protocol::field::to_hex;
use sheaf_settlement::owed::{Call, Credit, Owed};
use sheaf_settlement::rollup::Rollup;
use sheaf_settlement::rpc::parse_address;

/// `sheaf settle`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf settle --contract 0x.. --l1-key-file key.txt                  everything that is owed to anybody\n  sheaf settle --contract 0x.. --owner 0x.. --l1-key-file key.txt     what is owed to that L1 address\n  sheaf settle --contract 0x.. --owner 0x.. --calldata                for a hardware wallet\nThen each owner claims:  sheaf wallet claim --contract 0x.."
)]
pub struct SettleArgs {
    #[command(flatten)]
    contract: ContractOptions,
    #[command(flatten)]
    from: FromBlock,
    /// Only what this L1 address can claim afterwards: as recipient of a withdrawal, owner of a forced exit, sender of a deposit or request.
    #[arg(long, value_parser = |text: &str| parse_address(text).ok_or("expected 0x and 40 hex digits"))]
    owner: Option<Address>,
    #[command(flatten)]
    payer: Payer,
    /// Print one JSON object a call.
    #[arg(long)]
    json: bool,
}

/// Reads what is owed, and sends the calls that credit it or prints them.
///
/// # Errors
/// If L1 does not answer, its history is not whole, or it refuses a call.
pub async fn run(args: SettleArgs) -> anyhow::Result<()> {
    let rollup = args.contract.connect().await?;
    let key = args.payer.key()?;
    let due = read(&args, &rollup).await?.due(args.owner).await?;
    if due.waiting > 0 {
        eprintln!("{} entries of the queue are in no proven batch; if no batch takes them, they come back after `sheaf freeze`", due.waiting);
    }
    if due.calls.is_empty() && !args.json {
        println!("nothing is owed that was not credited; `sheaf wallet claim --contract {}` pays out what was", rollup.address());
    }
    let mut progress = Progress::new("crediting on L1");
    for (done, call) in due.calls.iter().enumerate() {
        let Some(key) = &key else {
            show(&args, call, json!({ "to": rollup.address(), "calldata": to_hex(&call.calldata) }));
            continue;
        };
        progress.step(done, due.calls.len());
        match call.send(&rollup, key).await? {
            Some(receipt) => show(&args, call, json!({ "l1_hash": receipt.hash, "gas": receipt.gas })),
            None => show(&args, call, json!({ "credited": "before" })),
        }
    }
    Ok(())
}

async fn read(args: &SettleArgs, rollup: &Rollup) -> anyhow::Result<Owed> {
    // a wrong address is told before its history is searched
    rollup.domain().await?;
    let (first, last) = (args.from.from_block, rollup.rpc().block_number().await?);
    anyhow::ensure!(first <= last, "--from-block {first} lies above block {last}, the newest");
    let mut owed = Owed::new(rollup.clone(), first);
    let mut progress = Progress::new("reading L1");
    while let Some(next) = owed.read(last).await? {
        progress.step((next - first) as usize, (last + 1 - first) as usize);
    }
    Ok(owed)
}

fn show(args: &SettleArgs, call: &Call, mut done: Value) {
    if args.json {
        let credit = |credit: &Credit| json!({ "to": credit.to, "token": credit.token.to_string(), "amount": credit.amount });
        done["call"] = json!(call.entry.name());
        done["batch"] = json!(call.batch.map(|number| number.to_string()));
        done["credits"] = call.credits.iter().map(credit).collect();
        done["queue_fee"] = json!(call.fee);
        println!("{done}");
        return;
    }
    let batch = call.batch.map_or_else(|| "queue".to_owned(), |number| format!("batch {number}"));
    for Credit { to, token, amount } in &call.credits {
        let fee = if call.fee == Amount(0) { String::new() } else { format!(" and the queue's fee, {} wei,", call.fee) };
        println!("{batch}: {amount} of token {token}{fee} for {to}");
    }
    println!("{batch}: {}: {done}", call.entry.name());
}
