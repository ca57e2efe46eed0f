//! `sheaf replay`: one batch derived again from what was accepted, and compared word by word with what was stored and posted.
//!
//! ```text
//! Postgres ── batches before ── members ──> batch, commitments, challenges, claims, opening ──> equal to the stored ones?
//!                                                   └──> witness ──> every constraint of its circuit holds?
//! ```

use crate::node::{RoleArgs, load_srs, open_database_to_read, read};
use crate::progress::Progress;
use anyhow::{Context, ensure};
use clap::Args;
use serde_json::{Value, json};
use sheaf_circuits::batch::Circuit;
use sheaf_protocol::batch::ProverInput;
use sheaf_protocol::field::{Word, to_hex, to_word};
use sheaf_sequencer::Deployment;
use sheaf_store::batches::{self, Computed};
use sqlx::PgPool;
use std::path::PathBuf;
use std::sync::Arc;

/// Names of the words of a record, in order.
const RECORD: [&str; 18] = [
    "number",
    "circuit",
    "old_root",
    "key.x",
    "key.y",
    "dyn.x",
    "dyn.y",
    "owner.x",
    "owner.y",
    "h",
    "queue_digest",
    "taken",
    "ops_hash",
    "data_hash",
    "cq.x",
    "cq.y",
    "y_da",
    "y_ops",
];

/// `sheaf replay`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf replay --batch 7                            with DATABASE_URL and deployment.json\n  sheaf replay --batch 7 --deployment /etc/sheaf/deployment.json --json\n\nIt only reads, and may run beside a node. It ends with an error if anything differs."
)]
pub struct ReplayArgs {
    /// The batch.
    #[arg(long)]
    batch: u64,
    #[command(flatten)]
    role: RoleArgs,
    /// Folder of cached keys and reference strings.
    #[arg(long, env = "SHEAF_KEYS", default_value = ".sheaf/keys")]
    keys_dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One thing that was derived again.
struct Line {
    name: String,
    derived: String,
    stored: String,
}

/// Runs the command.
///
/// # Errors
/// If the batch cannot be derived, or anything differs.
pub async fn run(args: ReplayArgs) -> anyhow::Result<()> {
    let files = read(&args.role)?;
    let pool = open_database_to_read(&args.role, &files).await?;
    let deployment = &files.deployment.deployment;
    let deployment = Arc::new(Deployment::new(deployment.chain_id, deployment.contract, &files.manifest));
    let srs = load_srs(args.keys_dir.clone(), files.manifest.clone()).await?;
    let mut progress = Progress::new("following the batches before");
    let derived = sheaf_sequencer::replay(&pool, srs, Arc::clone(&deployment), args.batch, |done, all| progress.step(done as usize, all as usize))
        .await
        .with_context(|| format!("batch {}", args.batch))?;
    let stored = stored(&pool, args.batch).await?;
    let lines = compare(&derived, &stored);
    let (circuit, violated) = check_witness(derived.input.clone()).await?;
    let differ: Vec<&Line> = lines.iter().filter(|line| line.derived != line.stored).collect();
    report(&args, &lines, &circuit, &violated);
    ensure!(differ.is_empty(), "batch {}: {} of {} things differ from what is stored", args.batch, differ.len(), lines.len());
    ensure!(violated.is_empty(), "batch {}: its witness violates {}", args.batch, violated.join(", "));
    Ok(())
}

async fn stored(pool: &PgPool, number: u64) -> anyhow::Result<Computed> {
    let mut connection = pool.acquire().await?;
    batches::computed(&mut connection, number).await?.with_context(|| format!("batch {number} is not computed"))
}

fn compare(derived: &Computed, stored: &Computed) -> Vec<Line> {
    let word = |name: &str, derived: &Word, stored: &Word| Line { name: name.to_owned(), derived: to_hex(derived), stored: to_hex(stored) };
    let mut lines: Vec<Line> = RECORD.iter().zip(derived.record.iter().zip(&stored.record)).map(|(name, (a, b))| word(name, a, b)).collect();
    lines.push(word("new_root", &derived.new_root, &stored.new_root));
    for (i, name) in ["opening.x", "opening.y"].into_iter().enumerate() {
        lines.push(word(name, &derived.opening[i], &stored.opening[i]));
    }
    for (i, name) in ["E", "Z", "Delta"].into_iter().enumerate() {
        lines.push(word(name, &derived.claims[i], &stored.claims[i]));
    }
    let whole = |name: &str, derived: String, stored: String| Line { name: name.to_owned(), derived, stored };
    lines.push(whole("posted_data", to_hex(&derived.posted_data), to_hex(&stored.posted_data)));
    lines.push(whole("choices", to_hex(&derived.choices.concat()), to_hex(&stored.choices.concat())));
    lines.push(whole("ops_words", to_hex(&derived.ops_words.concat()), to_hex(&stored.ops_words.concat())));
    lines.push(whole("prover's input", derived.input.to_string(), stored.input.to_string()));
    lines
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

fn report(args: &ReplayArgs, lines: &[Line], circuit: &str, violated: &[String]) {
    if args.json {
        let compared: Vec<Value> = lines
            .iter()
            .map(|line| json!({ "name": line.name, "derived": line.derived, "stored": line.stored, "same": line.derived == line.stored }))
            .collect();
        println!("{}", json!({ "batch": args.batch, "compared": compared, "circuit": circuit, "violated": violated }));
        return;
    }
    for line in lines {
        let same = line.derived == line.stored;
        println!("{:14} {}  {}", line.name, if same { "same" } else { "DIFFERS" }, shortened(&line.derived));
        if !same {
            println!("{:14} stored   {}", "", shortened(&line.stored));
        }
    }
    println!("{:14} {}  {circuit}", "witness", if violated.is_empty() { "holds" } else { "VIOLATED" });
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 66;
    if text.len() <= SHOWN { text.to_owned() } else { format!("{}… ({} characters)", text.get(..SHOWN).unwrap_or(text), text.len()) }
}
