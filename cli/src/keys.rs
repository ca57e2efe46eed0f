//! `sheaf keys`: development keys and SRS, their cache and their manifest; and the SRS of public powers of tau.
//!
//! What `make` makes is from a public seed and labelled INSECURE: file names, manifest and output say so. What `import` makes is not; its
//! proving keys come from `sheaf ceremony`.

use crate::progress::Progress;
use anyhow::{Context, bail};
use clap::{Args, Command, FromArgMatches, Subcommand};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::keys::Keys;
use sheaf_circuits::prove::Prover;
use sheaf_protocol::artifact::Artifact;
use sheaf_protocol::field::g2_words;
use sheaf_protocol::kzg::{MAX_K, Ptau, PtauFault, Srs};
use sheaf_protocol::manifest::{HexWord, Manifest, Setup};
use sheaf_protocol::shape;
use sheaf_settlement::deploy::contract_digest;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where keys are cached and what they are made from.
#[derive(Args, Clone, Debug)]
pub struct KeyOptions {
    /// Folder of cached keys and SRS.
    #[arg(long, env = "SHEAF_KEYS", default_value = ".sheaf/keys")]
    pub keys_dir: PathBuf,
    /// Public seed of the INSECURE development set-up.
    #[arg(long, env = "SHEAF_SEED", default_value = "sheaf")]
    pub seed: String,
    /// Circuits of the deployment by shape, in order; their ids count from 1.
    #[arg(long, env = "SHEAF_SHAPES", value_delimiter = ',', default_value = "small,small-hot")]
    pub shapes: Vec<String>,
    /// The state has 2^k slots, 16 to 24.
    #[arg(long, env = "SHEAF_K", default_value_t = 16, value_parser = clap::value_parser!(u32).range(16..=24))]
    pub k: u32,
}

impl KeyOptions {
    /// The defaults, changed by the environment (SHEAF_KEYS, SHEAF_SEED, SHEAF_SHAPES, SHEAF_K) as on the command line.
    ///
    /// # Errors
    /// If a variable holds what the option would not take.
    pub fn from_environment() -> anyhow::Result<Self> {
        let matches = Self::augment_args(Command::new("keys")).no_binary_name(true).try_get_matches_from([""; 0])?;
        Ok(Self::from_arg_matches(&matches)?)
    }
}

/// `sheaf keys`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf keys make                       keys of the default circuits\n  sheaf keys make --shapes test         the smallest circuit\n  sheaf keys list --shapes test --json  the manifest\n  sheaf keys verify                     recompute every digest of the cache"
)]
pub struct KeysArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Clone, Debug)]
enum Verb {
    /// Make keys and SRS that are not cached yet.
    Make(KeyOptions),
    /// Print the manifest: every circuit, key and SRS by digest.
    List {
        #[command(flatten)]
        options: KeyOptions,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make the SRS of a deployment from powers of tau, every point of which is checked.
    #[command(
        after_help = "A deployment needs powers up to 2^24, whatever its k: L1 holds one point for each size that the state may grow to.\n\nExample:\n  sheaf keys import --ptau powersOfTau28_hez_final_24.ptau --k 20"
    )]
    Import {
        /// Powers of tau in the public format of snarkjs, at least 2^24.
        #[arg(long)]
        ptau: PathBuf,
        /// The state has 2^k slots, 16 to 24.
        #[arg(long, env = "SHEAF_K", default_value_t = 20, value_parser = clap::value_parser!(u32).range(16..=24))]
        k: u32,
        /// Folder of keys and SRS.
        #[arg(long, env = "SHEAF_KEYS", default_value = ".sheaf/keys")]
        keys_dir: PathBuf,
    },
    /// Recompute the digest of every cached file and compare it with its receipt.
    Verify(KeyOptions),
}

/// Keys of a deployment: manifest, SRS and provers by circuit.
#[derive(Debug)]
pub struct KeySet {
    /// What the deployment is made of.
    pub manifest: Manifest,
    /// The state vector's reference string.
    pub srs: Arc<Srs>,
    /// Circuits with their keys, by id.
    pub provers: Vec<Arc<Prover>>,
}

/// Runs the command.
///
/// # Errors
/// If keys cannot be made, or a cached file is damaged.
pub fn run(args: &KeysArgs) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Verify(options) => verify_cache(&options.keys_dir),
        Verb::Import { ptau, k, keys_dir } => import(ptau, *k, keys_dir),
        Verb::List { options, json: true } => {
            println!("{}", serde_json::to_string_pretty(&prepare(options)?.manifest)?);
            Ok(())
        }
        Verb::Make(options) | Verb::List { options, json: false } => {
            print_set(&prepare(options)?, options);
            Ok(())
        }
    }
}

/// Loads the keys of the options' circuits, making those that are missing.
///
/// # Errors
/// If a shape is unknown, the cache cannot be written, or a cached file is not what its digest says.
pub fn prepare(options: &KeyOptions) -> anyhow::Result<KeySet> {
    let dir = &options.keys_dir;
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}; choose another folder with --keys-dir", dir.display()))?;
    let provers = options.shapes.iter().zip(1..).map(|(name, id)| prover(options, name, id)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut progress = Progress::new(format!("making the INSECURE development SRS of 2^{} slots", options.k));
    let (srs, digest) = Srs::insecure_dev_in(dir, options.k, &options.seed, |done, all| progress.step(done, all))?;
    let manifest = manifest(options, &srs, digest, &provers)?;
    Ok(KeySet { manifest, srs: Arc::new(srs), provers: provers.into_iter().map(Arc::new).collect() })
}

pub(crate) fn circuit(name: &str, id: u32) -> anyhow::Result<Circuit> {
    let names: Vec<&str> = shape::SHAPES.iter().map(|s| s.name).collect();
    let named = shape::by_name(name).with_context(|| format!("unknown shape {name}; --shapes takes {}", names.join(", ")))?;
    Ok(Circuit::new(named.shape, id)?)
}

/// The prover of one shape under one id, its key cached or made.
///
/// # Errors
/// As [`prepare`].
pub fn prover(options: &KeyOptions, name: &str, id: u32) -> anyhow::Result<Prover> {
    let circuit = circuit(name, id)?;
    let keys = development_keys(options, name, &circuit)?;
    Ok(Prover::new(circuit, keys)?)
}

/// The key of a circuit, cached or made.
pub(crate) fn development_keys(options: &KeyOptions, name: &str, circuit: &Circuit) -> anyhow::Result<Keys> {
    let mut progress = Progress::new(format!("making the INSECURE development key of circuit {name}"));
    Ok(Keys::insecure_dev(&options.keys_dir, name, circuit, &options.seed, &mut |done, all| progress.step(done, all))?)
}

fn manifest(options: &KeyOptions, srs: &Srs, digest: HexWord, provers: &[Prover]) -> anyhow::Result<Manifest> {
    let Some(first) = provers.first() else { bail!("--shapes names no circuit") };
    let vk = first.keys().verifying();
    Ok(Manifest {
        setup: Setup::InsecureDevelopment { seed: options.seed.clone() },
        contract: contract_digest(),
        srs: srs.entry(digest),
        alpha: sheaf_protocol::field::g1_words(&vk.alpha_g1).map(HexWord),
        beta: g2_words(&vk.beta_g2).map(HexWord),
        circuits: options.shapes.iter().zip(provers).map(|(name, prover)| prover.keys().entry(name, prover.circuit())).collect(),
    })
}

/// Checks powers of tau and writes the SRS that they give.
fn import(ptau: &Path, k: u32, keys_dir: &Path) -> anyhow::Result<()> {
    let file = Ptau::open(ptau)?;
    if file.power() < MAX_K {
        return Err(file.refused(PtauFault::Power { power: file.power(), needed: MAX_K }).into());
    }
    let mut progress = Progress::new(format!("checking powers of tau and making the SRS of 2^{k} slots"));
    let (srs, powers) = Srs::from_ptau(&file, k, &mut StdRng::from_entropy(), &mut |done, all| progress.step(done, all))?;
    let path = keys_dir.join(Srs::file_name(k, srs.origin));
    let digest = srs.save(&path)?;
    println!("powers of tau          {}", powers.digest());
    println!("srs 2^{k}               {digest}  {}", path.display());
    Ok(())
}

/// Recomputes the sha256 of every cached file that has a receipt.
fn verify_cache(dir: &Path) -> anyhow::Result<()> {
    let receipts: Vec<PathBuf> = walk(dir)?.into_iter().filter(|file| file.extension().is_some_and(|e| e == "ok")).collect();
    if receipts.is_empty() {
        bail!("{} holds no keys; make them with `sheaf keys make`", dir.display());
    }
    for receipt in receipts {
        let file = Artifact::at(receipt.with_extension(""));
        let expected =
            file.known_digest()?.with_context(|| format!("{} is not a receipt; delete it and run `sheaf keys make`", receipt.display()))?;
        let got = file.open()?.digest()?;
        if got != expected {
            bail!("{} has sha256 {got}, expected {expected}; delete it and run `sheaf keys make`", file.path().display());
        }
        println!("ok  {got}  {}", file.path().display());
    }
    Ok(())
}

fn walk(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry?.path();
        if path.is_dir() { files.extend(walk(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

fn print_set(set: &KeySet, options: &KeyOptions) {
    println!("{} keys in {}, seed {:?}", set.manifest.setup.label(), options.keys_dir.display(), options.seed);
    for (entry, prover) in set.manifest.circuits.iter().zip(&set.provers) {
        println!("circuit {} {:<10} {:>8} constraints  proving key {}", entry.id, entry.name, prover.circuit().constraints(), entry.proving_key);
    }
    println!("srs 2^{}               {}", set.srs.k, set.manifest.srs.digest);
    println!("manifest               {}", set.manifest.digest());
}
