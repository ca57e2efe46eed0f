//! `sheaf bench prove`: a proof from its witness, interleaved with other provers on the same circuit, key and witness.
//!
//! One row for each number of threads, then what two workers make of two cores, how long a cached key takes to open, and the kernels
//! alone against arkworks. taceo-groth16 is linked only where the program was built with `--features taceo`.

use super::kernels;
use super::median;
use crate::keys::{KeyOptions, circuit, development_keys};
use anyhow::{Context, bail};
use ark_bn254::Fr;
use ark_ff::UniformRand;
use clap::{Args, ValueEnum};
use rand::SeedableRng;
use rand::rngs::{OsRng, StdRng};
use serde_json::{Value, json};
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::groth16::Engine;
#[cfg(feature = "taceo")]
use sheaf_circuits::groth16::taceo::Taceo;
use sheaf_circuits::keys::Keys;
use sheaf_circuits::prove::{Prover, StockProver, verify};
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId};
use sheaf_protocol::batch::{Batch, Challenges, Deposit, Operations, PublicInputs, Request, Signed};
use sheaf_protocol::ledger::{Ledger, Slot, Triple};
use sheaf_protocol::ops::{OpTag, Transfer};
use sheaf_protocol::schnorr::{self, SecretKey};
use sheaf_protocol::shape::Shape;
use std::path::PathBuf;
use std::time::Instant;

/// Another prover of the same proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rival {
    /// ark-groth16 0.6 as it is published.
    Stock,
    /// taceo-groth16 0.2.
    Taceo,
}

/// `sheaf bench prove`
#[derive(Args, Debug)]
pub(super) struct ProveArgs {
    /// Folder of cached keys.
    #[arg(long, env = "SHEAF_KEYS", default_value = ".sheaf/keys")]
    keys_dir: PathBuf,
    /// Shape of the batch.
    #[arg(long, default_value = "small")]
    shape: String,
    /// Threads of a prover, one row for each; default: all cores.
    #[arg(long, value_delimiter = ',')]
    threads: Vec<usize>,
    /// Provers to compare with, in the same rounds.
    #[arg(long, value_delimiter = ',', default_value = "stock")]
    against: Vec<Rival>,
    /// Interleaved rounds; figures are their medians.
    #[arg(long, alias = "runs", default_value_t = 3)]
    rounds: usize,
    /// Without the processor's vector instructions.
    #[arg(long)]
    portable: bool,
    /// Transfers a second to be proved: prints how many workers of one core that takes.
    #[arg(long)]
    rate: Option<f64>,
    /// Only the proofs, not the kernels, workers and key.
    #[arg(long)]
    proofs_only: bool,
    /// One JSON object a line.
    #[arg(long)]
    pub(super) json: bool,
}

/// A full batch ready to be proved.
struct Work {
    prover: Prover,
    inputs: PublicInputs,
    assignment: Vec<Fr>,
}

impl Work {
    fn new(circuit: Circuit, keys: Keys, engine: Engine) -> anyhow::Result<Self> {
        let prover = Prover::on(circuit, keys, engine)?;
        let batch = full_batch(prover.circuit().shape())?;
        let mut rng = StdRng::seed_from_u64(1);
        let challenges = Challenges { rho: Fr::rand(&mut rng), zeta: Fr::rand(&mut rng) };
        let assignment = prover.assignment(&batch, &challenges)?;
        Ok(Self { inputs: batch.public_inputs(&challenges), assignment, prover })
    }

    /// Milliseconds of a proof of ours, which must hold.
    fn ours(&self) -> anyhow::Result<f64> {
        let (proof, took) = timed(|| self.prover.prove_assignment(&self.assignment, &mut OsRng));
        verify(self.prover.keys().verifying(), &self.inputs, &proof?)?;
        Ok(took)
    }
}

/// A result and its milliseconds.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64() * 1e3)
}

fn pool(threads: usize) -> anyhow::Result<rayon::ThreadPool> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(threads).build()?)
}

pub(super) fn run(args: &ProveArgs, mut print: impl FnMut(Value) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if args.against.contains(&Rival::Taceo) && cfg!(not(feature = "taceo")) {
        bail!(
            "this program was built without taceo-groth16; run `cargo run --locked --features sheaf-cli/taceo --bin sheaf -- bench prove --against stock,taceo`"
        );
    }
    let engine = if args.portable { Engine::portable() } else { Engine::detect() };
    let options = KeyOptions { keys_dir: args.keys_dir.clone(), ..KeyOptions::from_environment()? };
    let circuit = circuit(&args.shape, 1)?;
    // made if it is not there
    drop(development_keys(&options, &args.shape, &circuit)?);
    let (keys, open_ms) = timed(|| Keys::open_insecure_dev(&options.keys_dir, &args.shape, &circuit, &options.seed));
    let keys = keys?;
    let key_mb = std::fs::metadata(Keys::insecure_dev_path(&options.keys_dir, &args.shape, &circuit, &options.seed))?.len() >> 20;
    let work = Work::new(circuit, keys, engine)?;
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if args.threads.is_empty() { vec![all] } else { args.threads.clone() };
    // before the others' keys and matrices are in memory
    let peaks = threads.iter().map(|threads| pool(*threads)?.install(|| peak_of(&work))).collect::<anyhow::Result<Vec<_>>>()?;
    let rivals = Rivals::new(&work, &args.against)?;
    let rounds = args.rounds.max(1);
    for (threads, peak_mb) in threads.iter().zip(peaks) {
        let times = pool(*threads)?.install(|| interleaved(&work, &rivals, rounds))?;
        print(row(args, &work, *threads, &times, (peak_mb, key_mb)))?;
    }
    if args.proofs_only {
        return Ok(());
    }
    print(json!({ "shape": args.shape, "open_cached_key_ms": (open_ms * 10.0).round() / 10.0, "key_mb": key_mb }))?;
    print(two_workers(&work, rounds)?)?;
    drop((work, rivals));
    pool(1)?.install(|| kernels::rows(engine, rounds)).into_iter().try_for_each(print)
}

/// Medians of interleaved rounds, in milliseconds.
struct Times {
    ours: f64,
    stock: Option<f64>,
    taceo: Option<f64>,
}

fn row(args: &ProveArgs, work: &Work, threads: usize, times: &Times, (peak_mb, key_mb): (Option<u64>, u64)) -> Value {
    let circuit = work.prover.circuit();
    let (constraints, transfers) = (circuit.constraints() as f64, f64::from(circuit.shape().transfers));
    let proofs_per_s = 1e3 / times.ours;
    let per_core = transfers * proofs_per_s / threads as f64;
    let ratio = |other: Option<f64>| other.map(|other| (other / times.ours * 100.0).round() / 100.0);
    let above_key = peak_mb.map(|peak| (peak.saturating_sub(key_mb) as f64 * f64::from(1 << 20) / constraints).round());
    json!({
        "shape": args.shape, "threads": threads, "ours_ms": times.ours, "stock_ms": times.stock, "taceo_ms": times.taceo,
        "peak_mb": peak_mb, "simd": work.prover.engine().name(),
        "stock_ratio": ratio(times.stock), "taceo_ratio": ratio(times.taceo),
        "peak_bytes_per_constraint_above_key": above_key,
        "proofs_per_s": (proofs_per_s * 1e3).round() / 1e3,
        "constraints_per_s": (constraints * proofs_per_s).round(),
        "transfers_per_s_per_core": (per_core * 10.0).round() / 10.0,
        "cores_for_rate": args.rate.map(|rate| (rate / per_core).ceil()),
    })
}

fn peak_of(work: &Work) -> anyhow::Result<Option<u64>> {
    // the peak of one proof, the key's pages included
    let is_reset = reset_peak();
    work.ours()?;
    Ok(is_reset.then(peak).flatten())
}

/// The provers to compare with, what they need in memory.
struct Rivals {
    stock: Option<StockProver>,
    #[cfg(feature = "taceo")]
    taceo: Option<Taceo>,
}

impl Rivals {
    fn new(work: &Work, wanted: &[Rival]) -> anyhow::Result<Self> {
        Ok(Self {
            stock: wanted.contains(&Rival::Stock).then(|| work.prover.stock()).transpose()?,
            #[cfg(feature = "taceo")]
            taceo: wanted.contains(&Rival::Taceo).then(|| Taceo::new(&work.prover)).transpose()?,
        })
    }
}

fn interleaved(work: &Work, rivals: &Rivals, rounds: usize) -> anyhow::Result<Times> {
    let (mut ours, mut stock) = (Vec::new(), Vec::new());
    #[cfg(feature = "taceo")]
    let mut taceo = Vec::new();
    #[cfg(not(feature = "taceo"))]
    let taceo = Vec::new();
    for _ in 0..rounds {
        ours.push(work.ours()?);
        let [r, s] = [(); 2].map(|()| Fr::rand(&mut OsRng));
        if let Some(rival) = &rivals.stock {
            let (proof, took) = timed(|| rival.prove_blinded(&work.assignment, r, s));
            proof?;
            stock.push(took);
        }
        #[cfg(feature = "taceo")]
        if let Some(rival) = &rivals.taceo {
            let (proof, took) = timed(|| rival.prove(&work.assignment, r, s));
            verify(work.prover.keys().verifying(), &work.inputs, &proof.map_err(anyhow::Error::msg)?)?;
            taceo.push(took);
        }
    }
    let of = |times: Vec<f64>| (!times.is_empty()).then(|| median(times));
    Ok(Times { ours: median(ours), stock: of(stock), taceo: of(taceo) })
}

/// What two workers of one thread each prove in the time that one takes alone.
fn two_workers(work: &Work, rounds: usize) -> anyhow::Result<Value> {
    let (mut alone, mut both) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        alone.push(pool(1)?.install(|| work.ours())?);
        let (proved, took) = timed(|| {
            std::thread::scope(|scope| {
                let workers = [(); 2].map(|()| scope.spawn(|| pool(1)?.install(|| work.ours())));
                workers.map(|worker| worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?)
            })
        });
        proved.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        both.push(took);
    }
    let (alone, both) = (median(alone), median(both));
    Ok(json!({ "workers": 2, "one_worker_ms": alone, "two_workers_ms": both, "ratio": (200.0 * alone / both).round() / 100.0 }))
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

/// A batch that fills the shape's transfers, paying between as many slots as the shape has; slots that these leave go to requests of L1.
pub(super) fn full_batch(shape: &Shape) -> anyhow::Result<Batch> {
    let users = shape.accounts.min(2 * shape.transfers) - 1;
    let [deposits, exits, rotations] = [shape.deposits, shape.exits, shape.rotations].map(|count| count.min((shape.accounts - users) / 3));
    let mut ledger = Ledger::new(16);
    let (first_exit, first_rotation, first_new) = (users + 1, users + exits + 1, users + exits + rotations + 1);
    let keys: Vec<SecretKey> = (1..first_new + deposits).map(|i| SecretKey::generate(&mut StdRng::seed_from_u64(u64::from(i)))).collect();
    for (id, key) in (1..first_new).zip(&keys) {
        ledger.set(SlotId(id), Slot { balance: Amount(1_000_000), ..Slot::opened(triple(key)) });
    }
    let domain = Fr::from(31337u64);
    let mut nonces = vec![0u32; users as usize];
    let transfers =
        (0..shape.transfers).map(|i| transfer(domain, &keys, &mut nonces, 2 * i % users, (2 * i + 1) % users)).collect::<anyhow::Result<_>>()?;
    let request = |slot: u32| Request { slot: SlotId(slot), requester: OWNER };
    let deposit = |slot: u32| Deposit { slot: SlotId(slot), triple: triple(&keys[slot as usize - 1]), amount: Amount(1_000) };
    let operations = Operations {
        transfers,
        deposits: (first_new..first_new + deposits).map(deposit).collect(),
        exits: (first_exit..first_rotation).map(request).collect(),
        rotations: (first_rotation..first_new).map(|slot| (request(slot), keys[0].public().0)).collect(),
        ..Operations::default()
    };
    Batch::assemble(&ledger, (1, *shape), domain, operations, |_| Some(SlotId(1))).context("the benchmark's batch does not fit its shape")
}

/// Of every slot.
const OWNER: Address = Address([1; 20]);

fn triple(key: &SecretKey) -> Triple {
    Triple { key: key.public().0, owner: OWNER, token: NATIVE }
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
