//! `sheaf bench prove`: a proof from its witness, interleaved with stock ark-groth16 on the same circuit and witness.

use super::median;
use crate::keys::{KeyOptions, prover};
use anyhow::Context;
use ark_bn254::Fr;
use ark_ff::UniformRand;
use clap::Args;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use sheaf_circuits::prove::{Prover, verify};
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId};
use sheaf_protocol::batch::{Batch, Challenges, Operations, Signed};
use sheaf_protocol::ledger::{Ledger, Slot, Triple};
use sheaf_protocol::ops::{OpTag, Transfer};
use sheaf_protocol::schnorr::{self, SecretKey};
use sheaf_protocol::shape::Shape;
use std::path::PathBuf;
use std::time::Instant;

/// `sheaf bench prove`
#[derive(Args, Debug)]
pub(super) struct ProveArgs {
    /// Folder of cached keys.
    #[arg(long, env = "SHEAF_KEYS", default_value = ".sheaf/keys")]
    keys_dir: PathBuf,
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
    pub(super) json: bool,
}

pub(super) fn run(args: &ProveArgs) -> anyhow::Result<Value> {
    let options = KeyOptions { keys_dir: args.keys_dir.clone(), ..KeyOptions::from_environment()? };
    let prover = prover(&options, &args.shape, 1)?;
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| interleaved(&prover, &args.shape, threads, args.runs.max(1)))
}

fn interleaved(prover: &Prover, name: &str, threads: usize, runs: usize) -> anyhow::Result<Value> {
    let mut rng = StdRng::seed_from_u64(1);
    let batch = full_batch(prover.circuit().shape())?;
    let challenges = Challenges { rho: Fr::rand(&mut rng), zeta: Fr::rand(&mut rng) };
    let assignment = prover.assignment(&batch, &challenges)?;
    let inputs = batch.public_inputs(&challenges);
    let rival = prover.stock()?;
    let (mut ours, mut stock, mut peak_mb) = (Vec::new(), Vec::new(), None);
    for _ in 0..runs {
        // the peak of one proof of ours, the loaded key included
        let is_reset = reset_peak();
        let start = Instant::now();
        let proof = prover.prove_assignment(&assignment, &mut rng)?;
        ours.push(start.elapsed().as_secs_f64() * 1e3);
        peak_mb = is_reset.then(peak).flatten().max(peak_mb);
        verify(prover.keys().verifying(), &inputs, &proof)?;
        let start = Instant::now();
        rival.prove_blinded(&assignment, Fr::rand(&mut rng), Fr::rand(&mut rng))?;
        stock.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(json!({ "shape": name, "threads": threads, "ours_ms": median(ours), "stock_ms": median(stock), "peak_mb": peak_mb }))
}

/// Forgets the process's peak of resident memory so far, where the system can (Linux).
fn reset_peak() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Peak resident memory of this process in MB since the last reset, where the system tells (Linux).
fn peak() -> Option<u64> {
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
    Batch::assemble(&ledger, (1, *shape), domain, Operations { transfers, ..Operations::default() }, |_| Some(SlotId(1)))
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
