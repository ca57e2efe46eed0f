//! `sheaf bench`: the figures of docs/performance.md, each printed by its command.
//!
//! Times are medians of interleaved runs in one process: the machine's noise hits both sides alike.

use crate::keys::{KeyOptions, prover};
use anyhow::Context;
use ark_bn254::{Bn254, Fr};
use ark_ff::UniformRand;
use ark_groth16::Groth16;
use clap::{Args, Subcommand};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::counts::Counts;
use sheaf_circuits::prove::Prover;
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId};
use sheaf_protocol::batch::{Batch, Challenges, Signed};
use sheaf_protocol::header::{gamma, zeta};
use sheaf_protocol::kzg::{Claims, Srs, StateVector};
use sheaf_protocol::ledger::{Ledger, Slot, Triple};
use sheaf_protocol::ops::{OpTag, Transfer};
use sheaf_protocol::schnorr::{self, SecretKey};
use sheaf_protocol::shape::{self, NamedShape, Shape};
use std::sync::Arc;
use std::time::Instant;

/// `sheaf bench`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf bench circuit --json\n  sheaf bench prove --shape small --threads 2 --runs 5 --json\n  sheaf bench commit --json"
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
    /// A proof from its witness, side by side with stock ark-groth16 on the same circuit and witness.
    Prove {
        #[command(flatten)]
        keys: KeyOptions,
        /// Shape of the batch.
        #[arg(long, default_value = "small")]
        shape: String,
        /// Threads of the prover; default: all cores.
        #[arg(long)]
        threads: Option<usize>,
        /// Interleaved runs of each side.
        #[arg(long, default_value_t = 3)]
        runs: usize,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// The sequencer's share of a batch: C', C_q and W over an occupied state.
    Commit {
        /// The state has 2^k slots.
        #[arg(long, default_value_t = 16)]
        k: u32,
        /// Slots in use.
        #[arg(long, default_value_t = 20_000)]
        occupied: u32,
        /// Slots touched by the batch.
        #[arg(long, default_value_t = 202)]
        touched: u32,
        /// Runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// If a shape or its key is missing.
pub async fn run(args: BenchArgs) -> anyhow::Result<()> {
    match args.what {
        What::Circuit { json } => circuit(json),
        What::Prove { keys, shape, threads, runs, json } => print(prove(&keys, &shape, threads, runs)?, json),
        What::Commit { k, occupied, touched, runs, json } => print(commit(k, occupied, touched, runs)?, json),
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
    for (NamedShape { name, shape }, id) in shape::SHAPES.iter().zip(1..) {
        let counts = Counts::of(name, &Circuit::new(*shape, id)?);
        let row = json!({
            "shape": name, "domain": counts.domain, "transfers": counts.transfers, "accounts": counts.accounts,
            "constraints": counts.constraints, "marginal_worst": counts.marginal_worst, "marginal_hot": counts.marginal_hot,
        });
        print(row, json)?;
        if !json {
            println!();
        }
    }
    Ok(())
}

fn prove(keys: &KeyOptions, name: &str, threads: Option<usize>, runs: usize) -> anyhow::Result<Value> {
    let prover = prover(keys, name, 1)?;
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| prove_runs(&prover, name, threads, runs))
}

fn prove_runs(prover: &Prover, name: &str, threads: usize, runs: usize) -> anyhow::Result<Value> {
    let mut rng = StdRng::seed_from_u64(1);
    let batch = full_batch(prover.circuit().shape())?;
    let challenges = Challenges { rho: Fr::rand(&mut rng), zeta: Fr::rand(&mut rng) };
    let assignment = prover.assignment(&batch, &challenges)?;
    let inputs = prover.circuit().witness(&batch, &challenges)?.inputs;
    let instance = inputs.len() + 1;
    let (mut ours, mut stock) = (Vec::new(), Vec::new());
    for _ in 0..runs.max(1) {
        let start = Instant::now();
        let proof = prover.prove_assignment(&assignment, &mut rng)?;
        ours.push(start.elapsed().as_secs_f64() * 1e3);
        sheaf_circuits::prove::verify(prover.keys().verifying(), &inputs, &proof)?;
        let (r, s) = (Fr::rand(&mut rng), Fr::rand(&mut rng));
        let start = Instant::now();
        Groth16::<Bn254>::create_proof_with_reduction_and_matrices(
            &prover.keys().proving,
            r,
            s,
            prover.circuit().matrices(),
            instance,
            prover.circuit().constraints(),
            &assignment,
        )?;
        stock.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(json!({ "shape": name, "threads": threads, "ours_ms": median(ours), "stock_ms": median(stock), "peak_mb": peak_mb() }))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default().round()
}

/// Peak resident memory of this process in MB, where the system tells.
fn peak_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kb| kb / 1024)
}

/// A batch that fills the shape's transfers, paying between as many slots as the shape has.
fn full_batch(shape: &Shape) -> anyhow::Result<Batch> {
    let users = shape.accounts.min(2 * shape.transfers) - 1;
    let mut ledger = Ledger::new(16);
    let keys: Vec<SecretKey> = (0..users).map(|i| SecretKey::generate(&mut StdRng::seed_from_u64(u64::from(i)))).collect();
    for (id, key) in (1..).zip(&keys) {
        ledger.set(SlotId(id), Slot { balance: Amount(1_000_000), ..Slot::opened(triple(key)) });
    }
    let domain = Fr::from(31337u64);
    let mut nonces = vec![0u32; users as usize];
    let transfers =
        (0..shape.transfers).map(|i| transfer(domain, &keys, &mut nonces, 2 * i % users, (2 * i + 1) % users)).collect::<anyhow::Result<_>>()?;
    Batch::assemble(&ledger, (1, *shape), domain, transfers, vec![], vec![], |_| Some(SlotId(1)))
        .context("the benchmark's batch does not fit its shape")
}

fn triple(key: &SecretKey) -> Triple {
    Triple { key: key.public().0, owner: Address([1; 20]), token: NATIVE }
}

fn transfer(domain: Fr, keys: &[SecretKey], nonces: &mut [u32], from: u32, to: u32) -> anyhow::Result<Signed<Transfer>> {
    let nonce = Nonce(nonces[from as usize]);
    nonces[from as usize] += 1;
    let (amount, fee) = (AmountFloat::from_amount(Amount(100))?, FeeFloat::from_amount(Amount(1))?);
    let op = Transfer { from: SlotId(from + 1), to: SlotId(to + 1), token: NATIVE, nonce, amount, fee };
    let key = &keys[from as usize];
    let signature = schnorr::sign(key, domain, OpTag::Transfer as u8, op.message(), &[0; 32]);
    Ok(Signed { op, key: key.public().0, signature })
}

fn commit(k: u32, occupied: u32, touched: u32, runs: usize) -> anyhow::Result<Value> {
    let srs = Arc::new(Srs::insecure_dev(k, "bench")?);
    let mut rng = StdRng::seed_from_u64(1);
    let slots: Vec<(SlotId, [Fr; 3])> = (1..=occupied).map(|id| (SlotId(id), std::array::from_fn(|_| Fr::rand(&mut rng)))).collect();
    let vector = StateVector::new(srs, slots.iter().copied())?;
    let stride = (occupied / touched.max(1)).max(1) as usize;
    let changes: Vec<_> = slots
        .iter()
        .step_by(stride)
        .take(touched as usize)
        .map(|(slot, old)| sheaf_protocol::kzg::TouchedSlot { slot: *slot, old: *old, new: [old[0], Fr::rand(&mut rng), old[2]] })
        .collect();
    let (mut update, mut quotient, mut opening) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs.max(1) {
        let rho = Fr::rand(&mut rng);
        let start = Instant::now();
        let step = vector.prepare(&changes)?;
        update.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        let q = vector.quotient(&step, rho)?;
        quotient.push(start.elapsed().as_secs_f64() * 1e3);
        let zeta = zeta(rho, q.commitment());
        let claims = Claims::of(&changes, rho, zeta);
        let g = gamma(zeta, claims.to_array(), Fr::from(0u64), Fr::from(0u64));
        let start = Instant::now();
        let _opening = vector.open(&step, &q, zeta, claims, g)?;
        opening.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(
        json!({ "k": k, "occupied": occupied, "touched": changes.len(), "update_ms": median(update), "quotient_ms": median(quotient), "opening_ms": median(opening) }),
    )
}
