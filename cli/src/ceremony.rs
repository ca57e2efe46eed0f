//! `sheaf ceremony`: many people make the proving keys of a deployment, from public powers of tau, in a folder that goes from one to the next.
//!
//! ```text
//! init ──> <shape>-<id>-0000.ceremony ──contribute──> ..-0001 ──contribute──> ..-0002 .. ──finalize──> keys, manifest.json
//!                                        verify: anybody, at any time, from the .ptau file and the folder alone
//! ```
//! Each file is whole in itself and is never overwritten; the number says how many contributed. A contribution covers every circuit of the folder,
//! with a secret of its own for each. One that was killed goes on with the circuits that it has not done yet; the one it was at begins anew, with a
//! new secret, for no secret is ever on disk. What the file formats and checks are is in `sheaf_circuits::ceremony`, how to hold one in docs/ceremony.md.

use crate::keys::circuit;
use crate::node::read_json;
use crate::progress::Progress;
use crate::restored::{check_writable, write_whole};
use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use rand::SeedableRng;
use rand::rngs::{OsRng, StdRng};
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::ceremony::{Ceremony, InitialKey, Share, VerifyError, check_beacon, initial_key, power};
use sheaf_circuits::export;
use sheaf_circuits::keys::Keys;
use sheaf_protocol::field::{g1_words, g2_words};
use sheaf_protocol::kzg::{Powers, Ptau, Srs};
use sheaf_protocol::manifest::{CircuitEntry, HexWord, Manifest, Setup};
use sheaf_settlement::deploy::contract_digest;
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// `sheaf ceremony`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf ceremony init --ptau pot.ptau --shapes small,small-hot\n  sheaf ceremony contribute --name \"Ada Lovelace\"\n  sheaf ceremony verify --ptau pot.ptau\n  sheaf ceremony finalize --ptau pot.ptau --beacon 0x.. --k 20\n\ndocs/ceremony.md has the whole procedure."
)]
pub struct CeremonyArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Clone, Debug)]
enum Verb {
    /// Begin: make the initial key of every circuit from powers of tau.
    Init {
        #[command(flatten)]
        folder: Folder,
        /// Powers of tau, checked point by point.
        #[arg(long)]
        ptau: PathBuf,
        /// Circuits of the deployment by shape, in order; their ids count from 1.
        #[arg(long, env = "SHEAF_SHAPES", value_delimiter = ',', default_value = "small,small-hot")]
        shapes: Vec<String>,
    },
    /// Add your secret to every circuit of the folder. Run again after an interruption: it goes on.
    Contribute {
        #[command(flatten)]
        folder: Folder,
        /// Who you are, for the transcript; the same name again means the same contribution.
        #[arg(long)]
        name: String,
        /// File with randomness of your own beside the system's, - for standard input. An argument would be public.
        #[arg(long)]
        entropy_file: Option<PathBuf>,
    },
    /// Check every contribution; names the first bad one.
    Verify {
        #[command(flatten)]
        folder: Folder,
        /// The powers of tau that the ceremony was begun with, or a larger file of the same.
        #[arg(long)]
        ptau: PathBuf,
    },
    /// Check everything, then write the proving keys and the manifest.
    Finalize(FinalizeArgs),
}

#[derive(Args, Clone, Debug)]
struct Folder {
    /// Folder of the ceremony's files.
    #[arg(long, env = "SHEAF_CEREMONY", default_value = "ceremony")]
    folder: PathBuf,
}

#[derive(Args, Clone, Debug)]
struct FinalizeArgs {
    #[command(flatten)]
    folder: Folder,
    /// The powers of tau that the ceremony was begun with, or a larger file of the same.
    #[arg(long)]
    ptau: PathBuf,
    /// Public randomness (hex) that nobody knew before the last contribution, for instance a block hash announced beforehand.
    #[arg(long)]
    beacon: Option<String>,
    /// The beacon is hashed 2^N times.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(0..=32), requires = "beacon")]
    beacon_power: u8,
    /// Folder of keys and of the SRS that `sheaf keys import` made.
    #[arg(long, env = "SHEAF_KEYS", default_value = ".sheaf/keys")]
    keys_dir: PathBuf,
    /// The state has 2^k slots, 16 to 24: which SRS of the folder to name.
    #[arg(long, env = "SHEAF_K", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=24))]
    k: u32,
    /// Where the manifest goes; another one is never overwritten.
    #[arg(long, default_value = "manifest.json")]
    manifest: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// The first thing wrong with the powers, the files or a contribution, with its remedy.
pub fn run(args: &CeremonyArgs) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Init { folder, ptau, shapes } => init(&folder.folder, ptau, shapes),
        Verb::Contribute { folder, name, entropy_file } => contribute(&folder.folder, name, &entropy(entropy_file.as_deref())?),
        Verb::Verify { folder, ptau } => verify(&folder.folder, ptau),
        Verb::Finalize(args) => finalize(args),
    }
}

/// The files of one circuit, in the order of their contributions.
struct Track {
    name: String,
    id: u32,
    files: Vec<PathBuf>,
}

fn file_name(name: &str, id: u32, contributions: usize) -> String {
    format!("{name}-{id}-{contributions:04}.ceremony")
}

/// Every circuit of the folder, by id.
fn tracks(folder: &Path) -> anyhow::Result<Vec<Track>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}; name the ceremony's folder with --folder", folder.display()))?;
    let mut files: Vec<(u32, u32, String, PathBuf)> = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let Some(stem) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".ceremony")) else { continue };
        let mut parts = stem.rsplitn(3, '-');
        let numbers = [parts.next(), parts.next()].map(|part| part.and_then(|part| part.parse::<u32>().ok()));
        // the folder comes from others, and names are printed
        let is_plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        let ([Some(number), Some(id)], Some(name)) = (numbers, parts.next().filter(is_plain)) else {
            bail!("{path:?} is not named like a ceremony's file, NAME-1-0000.ceremony; take it out of the folder");
        };
        files.push((id, number, name.to_owned(), path.clone()));
    }
    files.sort();
    let mut tracks: Vec<Track> = Vec::new();
    for (id, _, name, path) in files {
        match tracks.last_mut() {
            Some(track) if track.id == id && track.name == name => track.files.push(path),
            Some(track) if track.id == id => {
                bail!("circuit {id} is both {} and {name} in {}; keep one ceremony a folder", track.name, folder.display())
            }
            _ => tracks.push(Track { name, id, files: vec![path] }),
        }
    }
    ensure!(!tracks.is_empty(), "{} holds no ceremony; begin one with `sheaf ceremony init`", folder.display());
    Ok(tracks)
}

impl Track {
    fn load(&self, file: &Path) -> anyhow::Result<Ceremony> {
        let ceremony = Ceremony::load(file)?;
        let (expected, found) = (file_name(&self.name, self.id, ceremony.records.len()), file.file_name().unwrap_or_default());
        ensure!(found == expected.as_str(), "{} holds what should be named {expected}; give the file its name back", file.display());
        ensure!(
            (ceremony.header.name.as_str(), ceremony.header.id) == (self.name.as_str(), self.id),
            "{} is of circuit {:?} {}; give the file its name back",
            file.display(),
            ceremony.header.name,
            ceremony.header.id
        );
        Ok(ceremony)
    }

    fn last(&self) -> anyhow::Result<Ceremony> {
        let file = self.files.last().context("a track has a file")?;
        self.load(file)
    }

    fn label(&self) -> String {
        format!("circuit {} {}", self.id, self.name)
    }
}

/// A file of powers, of which each size is read once.
struct Source {
    file: Ptau,
    read: Option<Powers>,
}

impl Source {
    fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { file: Ptau::open(path)?, read: None })
    }

    fn powers(&mut self, k: u32) -> anyhow::Result<&Powers> {
        let known = self.read.take().filter(|powers| powers.k == k);
        let powers = match known {
            Some(powers) => powers,
            None => {
                let mut progress = Progress::new(format!("reading and checking 2^{k} powers of tau"));
                self.file.read(k, &mut StdRng::from_entropy(), &mut |done, all| progress.step(done, all))?
            }
        };
        Ok(self.read.insert(powers))
    }

    fn initial(&mut self, name: &str, circuit: &Circuit) -> anyhow::Result<InitialKey> {
        let powers = self.powers(power(circuit))?;
        let mut progress = Progress::new(format!("computing the initial key of circuit {name}"));
        Ok(initial_key(circuit, powers, &mut |done, all| progress.step(done, all))?)
    }
}

fn init(folder: &Path, ptau: &Path, shapes: &[String]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}; choose another folder with --folder", folder.display()))?;
    let mut source = Source::open(ptau)?;
    for (name, id) in shapes.iter().zip(1..) {
        let (circuit, path) = (circuit(name, id)?, folder.join(file_name(name, id, 0)));
        if path.exists() {
            let track = Track { name: name.clone(), id, files: vec![path] };
            let file = track.files[0].display();
            verified(&track, &mut source)
                .with_context(|| format!("{file} is not what this circuit and this .ptau file begin with; choose another folder with --folder"))?;
            println!("circuit {id} {name}: {file} is there already, and the same");
            continue;
        }
        let ceremony = Ceremony::begin(name, &circuit, &source.initial(name, &circuit)?);
        ceremony.save(&path)?;
        println!("circuit {id} {name}: {}", path.display());
        println!("  constraints {}  powers of tau {}", HexWord(ceremony.header.circuit), ceremony.header.powers);
        println!("  begins with {}", ceremony.transcript());
    }
    Ok(())
}

/// What a person adds to the system's randomness.
fn entropy(file: Option<&Path>) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    match file {
        None => {}
        Some(path) if path == Path::new("-") => drop(std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?),
        Some(path) => {
            let mut file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            file.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
        }
    }
    Ok(bytes)
}

fn contribute(folder: &Path, name: &str, entropy: &[u8]) -> anyhow::Result<()> {
    let mut said = Vec::new();
    for track in tracks(folder)? {
        let last = track.last()?;
        if last.records.last().is_some_and(|record| record.name == name) {
            println!("{}: {name} has contributed already", track.label());
            said.push(format!("{}  {}", track.label(), last.transcript()));
            continue;
        }
        let mut progress = Progress::new(format!("contributing to {}", track.label()));
        let next = last.contribute(name, Share::draw(&mut OsRng, entropy), &mut OsRng, &mut |done, all| progress.step(done, all))?;
        let path = folder.join(file_name(&track.name, track.id, next.records.len()));
        next.save(&path)?;
        println!("{}: {}", track.label(), path.display());
        said.push(format!("{}  {}", track.label(), next.transcript()));
    }
    println!("\nYour contribution is in the folder; hand it to the next. Publish these lines where people know you:\n\n{}", said.join("\n"));
    Ok(())
}

/// The last ceremony of a track with its circuit and initial key, everything checked.
fn verified(track: &Track, source: &mut Source) -> anyhow::Result<(Circuit, InitialKey, Ceremony)> {
    let circuit = circuit(&track.name, track.id)?;
    let mut last = track.load(&track.files[0])?;
    last.check_source(&circuit, source.powers(power(&circuit))?.digest()).with_context(|| track.label())?;
    let initial = source.initial(&track.name, &circuit)?;
    let mut progress = Progress::new(format!("checking the files of {}", track.label()));
    for (place, file) in track.files.iter().enumerate() {
        let ceremony = if place == 0 { last.clone() } else { track.load(file)? };
        ceremony.check_follows(&last).with_context(|| file.display().to_string())?;
        ceremony.verify(&circuit, &initial, &mut StdRng::from_entropy()).with_context(|| file.display().to_string())?;
        progress.step(place + 1, track.files.len());
        last = ceremony;
    }
    Ok((circuit, initial, last))
}

/// A ceremony that was found good, line by line: people by number, the beacon apart from them.
fn told(ceremony: &Ceremony) -> Vec<String> {
    let mut lines = vec![format!("{} contributions of people, all good", ceremony.contributions())];
    lines.push(format!("constraints {}  powers of tau {}", HexWord(ceremony.header.circuit), ceremony.header.powers));
    let mut beacon = "no beacon yet".to_owned();
    for (number, record) in (1..).zip(&ceremony.records) {
        let digest = HexWord(record.digest());
        match record.beacon() {
            None => lines.push(format!("{number:>4}  {digest}  {}", record.name)),
            Some((value, power)) => beacon = format!("beacon  {digest}  0x{}, hashed 2^{power} times", hex::encode(value)),
        }
    }
    lines.push(beacon);
    lines
}

fn verify(folder: &Path, ptau: &Path) -> anyhow::Result<()> {
    let mut source = Source::open(ptau)?;
    for track in tracks(folder)? {
        let (_, _, ceremony) = verified(&track, &mut source)?;
        println!("{}: {}", track.label(), told(&ceremony).join("\n  "));
    }
    Ok(())
}

/// A beacon as it was told.
struct Beacon {
    value: Vec<u8>,
    power: u8,
}

impl FinalizeArgs {
    fn beacon(&self) -> anyhow::Result<Option<Beacon>> {
        let Some(text) = &self.beacon else { return Ok(None) };
        let value = text.strip_prefix("0x").and_then(|digits| hex::decode(digits).ok()).context("--beacon takes bytes in hex, with 0x in front")?;
        check_beacon(&value, self.beacon_power).context("--beacon")?;
        Ok(Some(Beacon { value, power: self.beacon_power }))
    }
}

impl Beacon {
    /// True if the ceremony is still to be ended with it.
    fn is_due(&self, label: &str, ceremony: &Ceremony) -> anyhow::Result<bool> {
        let Some(ended) = ceremony.records.last().filter(|record| record.is_beacon()) else { return Ok(true) };
        ensure!(
            ended.is_beacon_of(&self.value, self.power),
            "{label} ended with another beacon already; name that one with --beacon and --beacon-power"
        );
        Ok(false)
    }
}

/// Everything that can be said against ending these ceremonies without computing an initial key, which takes minutes. A beacon that was applied cannot be taken back,
/// so nothing may be found wrong after the first one.
fn check_ends(ends: &[(String, Ceremony)], beacon: Option<&Beacon>, manifest: &Path) -> anyhow::Result<()> {
    let mut changes = false;
    for (label, ceremony) in ends {
        if ceremony.contributions() == 0 {
            return Err(VerifyError::NoContribution).with_context(|| label.clone());
        }
        ceremony.check_records().with_context(|| label.clone())?;
        changes |= beacon.map_or(Ok(false), |beacon| beacon.is_due(label, ceremony))?;
    }
    if manifest.is_file() {
        let not_ours = || format!("{} is of other keys; choose another file with --manifest", manifest.display());
        let found: Manifest = read_json(manifest, "--manifest").with_context(not_ours)?;
        let transcripts: Vec<HexWord> = ends.iter().map(|(_, ceremony)| ceremony.transcript()).collect();
        // the beacon makes keys that no manifest can name yet
        ensure!(!changes && matches!(&found.setup, Setup::Ceremony { transcripts: theirs, .. } if *theirs == transcripts), not_ours());
    }
    check_writable(manifest).with_context(|| format!("cannot write {}; choose another file with --manifest", manifest.display()))
}

fn finalize(args: &FinalizeArgs) -> anyhow::Result<()> {
    let (folder, beacon) = (&args.folder.folder, args.beacon()?);
    let tracks = tracks(folder)?;
    let found: Vec<u32> = tracks.iter().map(|track| track.id).collect();
    ensure!((1..).zip(&found).all(|(place, id)| place == *id), "circuits {found:?} are in {}; ids must be 1, 2, 3 ..", folder.display());
    let ends = tracks.iter().map(|track| Ok((track.label(), track.last()?))).collect::<anyhow::Result<Vec<_>>>()?;
    check_ends(&ends, beacon.as_ref(), &args.manifest)?;
    drop(ends);
    let mut source = Source::open(&args.ptau)?;
    let (srs, srs_digest) = Srs::find_ceremony(&args.keys_dir, args.k)?;
    let (mut good, mut shared) = (Vec::new(), None);
    for track in &tracks {
        let (circuit, initial, ceremony) = verified(track, &mut source)?;
        let powers = source.powers(power(&circuit))?;
        ensure!(
            powers.tau_g2[1] == srs.tau_g2,
            "the SRS is of other powers of tau than the keys; import it from the same .ptau file with `sheaf keys import`"
        );
        shared = Some((g1_words(&powers.alpha_tau_g1[0]).map(HexWord), g2_words(&powers.beta_g2).map(HexWord), powers.digest()));
        good.push((track, circuit, initial, ceremony));
    }
    let (alpha, beta, powers) = shared.context("a ceremony has a circuit")?;
    // all of them are good: from here on files are written
    let (mut circuits, mut transcripts): (Vec<CircuitEntry>, Vec<HexWord>) = (Vec::new(), Vec::new());
    for (track, circuit, initial, ceremony) in good {
        let ceremony = with_beacon(folder, track, ceremony, beacon.as_ref())?;
        let proving = ceremony.finalize(&circuit, initial, &mut StdRng::from_entropy()).with_context(|| track.label())?;
        let keys = Keys::save_ceremony(&args.keys_dir, &track.name, &circuit, proving)?;
        let file = args.keys_dir.join(format!("{}-{}.verification_key.json", track.name, track.id));
        write_whole(&file, &serde_json::to_vec_pretty(&export::verification_key(keys.verifying()))?)?;
        println!("{}: proving key {}, {} contributions of people", track.label(), HexWord(keys.digest), ceremony.contributions());
        circuits.push(keys.entry(&track.name, &circuit));
        transcripts.push(ceremony.transcript());
    }
    let setup = Setup::Ceremony { powers, transcripts };
    let manifest = Manifest { setup, contract: contract_digest(), srs: srs.entry(srs_digest), alpha, beta, circuits };
    write_manifest(&args.manifest, &manifest)?;
    println!("manifest {} in {}", manifest.digest(), args.manifest.display());
    Ok(())
}

/// Ends the ceremony with the beacon, unless it has ended with it already.
fn with_beacon(folder: &Path, track: &Track, ceremony: Ceremony, beacon: Option<&Beacon>) -> anyhow::Result<Ceremony> {
    let Some(beacon) = beacon else { return Ok(ceremony) };
    if !beacon.is_due(&track.label(), &ceremony)? {
        return Ok(ceremony);
    }
    let mut progress = Progress::new(format!("applying the beacon to {}", track.label()));
    let ended = ceremony.beacon(&beacon.value, beacon.power, &mut |done, all| progress.step(done, all))?;
    ended.save(&folder.join(file_name(&track.name, track.id, ended.records.len())))?;
    Ok(ended)
}

fn write_manifest(path: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let same = path.is_file().then(|| read_json::<Manifest>(path, "--manifest").map(|found| found.digest() == manifest.digest()));
    ensure!(!path.exists() || same.transpose()? == Some(true), "{} is of other keys; choose another file with --manifest", path.display());
    write_whole(path, &serde_json::to_vec_pretty(manifest)?).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use sheaf_circuits::ceremony::Header;
    use sheaf_protocol::field::{g1_from_words, word_u128};

    /// After so many people; the circuit is nobody's.
    fn ceremony(id: u32, people: usize) -> Ceremony {
        let header = Header { name: "tiny".into(), id, circuit: [id as u8; 32], powers: HexWord([1; 32]), initial: [2; 32] };
        let points = vec![g1_from_words(&[word_u128(1), word_u128(2)]).unwrap(); 4];
        let begun = Ceremony { header, records: vec![], h: points.clone(), l: points };
        let rng = &mut StdRng::seed_from_u64(1);
        (0..people)
            .fold(begun, |before, n| before.contribute(&format!("person {n}"), Share::draw(&mut OsRng, b""), &mut *rng, &mut |_, _| {}).unwrap())
    }

    fn ends(ceremonies: Vec<Ceremony>) -> Vec<(String, Ceremony)> {
        (1..).zip(ceremonies).map(|(id, ceremony)| (format!("circuit {id}"), ceremony)).collect()
    }

    fn refusal(ceremonies: Vec<Ceremony>, beacon: Option<&Beacon>, manifest: &Path) -> Option<String> {
        check_ends(&ends(ceremonies), beacon, manifest).err().map(|error| format!("{error:#}"))
    }

    #[test]
    fn nothing_is_ended_unless_everything_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let (free, beacon) = (folder.path().join("manifest.json"), Beacon { value: vec![0xc0], power: 2 });
        let ended = |ceremony: Ceremony| ceremony.beacon(&[0xc0], 2, &mut |_, _| {}).unwrap();
        assert_eq!(refusal(vec![ceremony(1, 2), ceremony(2, 1)], Some(&beacon), &free), None);
        assert_eq!(refusal(vec![ended(ceremony(1, 2)), ceremony(2, 1)], Some(&beacon), &free), None, "a run that was killed goes on");

        let second_is_empty = refusal(vec![ceremony(1, 2), ceremony(2, 0)], Some(&beacon), &free).unwrap();
        assert!(second_is_empty.starts_with("circuit 2: nobody has contributed"), "{second_is_empty}");
        let other = Beacon { value: vec![0xc1], power: 2 };
        let second_ended = refusal(vec![ceremony(1, 1), ended(ceremony(2, 1))], Some(&other), &free).unwrap();
        assert!(second_ended.contains("circuit 2 ended with another beacon"), "{second_ended}");
        let mut broken = ceremony(2, 2);
        broken.l.truncate(3);
        let second_is_broken = refusal(vec![ceremony(1, 2), broken], Some(&beacon), &free).unwrap();
        assert!(second_is_broken.starts_with("circuit 2: contribution 2 (person 1)"), "{second_is_broken}");
        let nowhere = refusal(vec![ceremony(1, 1)], Some(&beacon), &folder.path().join("missing/manifest.json")).unwrap();
        assert!(nowhere.contains("missing/manifest.json") && nowhere.contains("--manifest"), "{nowhere}");
        let a_folder = refusal(vec![ceremony(1, 1)], Some(&beacon), folder.path()).unwrap();
        assert!(a_folder.contains("--manifest"), "{a_folder}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "trying leaves nothing behind");
    }

    #[test]
    fn a_manifest_that_is_there_must_be_of_these_transcripts() {
        let folder = tempfile::tempdir().unwrap();
        let (path, beacon) = (folder.path().join("manifest.json"), Beacon { value: vec![0xc0], power: 2 });
        let ended = ceremony(1, 1).beacon(&[0xc0], 2, &mut |_, _| {}).unwrap();
        let zero = HexWord([0; 32]);
        let srs = sheaf_protocol::manifest::SrsEntry { k: 16, digest: zero, tau: [zero; 4], l0: [[zero; 2]; 9] };
        let setup = Setup::Ceremony { powers: zero, transcripts: vec![ended.transcript()] };
        let manifest = Manifest { setup, contract: zero, srs, alpha: [zero; 2], beta: [zero; 4], circuits: vec![] };
        write_whole(&path, &serde_json::to_vec(&manifest).unwrap()).unwrap();
        assert_eq!(refusal(vec![ended.clone()], Some(&beacon), &path), None, "finalised again");
        for not_ours in [vec![ceremony(1, 1)], vec![ended, ceremony(2, 1)]] {
            let refused = refusal(not_ours, Some(&beacon), &path).unwrap();
            assert!(refused.contains("other keys") && refused.contains("--manifest"), "{refused}");
        }
        std::fs::write(&path, "something else").unwrap();
        assert!(refusal(vec![ceremony(1, 1)], None, &path).unwrap().contains("manifest.json is not a manifest file"));
    }

    #[test]
    fn people_are_counted_and_the_beacon_is_shown_apart() {
        let people = ceremony(1, 2);
        let lines = told(&people);
        assert_eq!((lines.len(), lines[0].as_str(), lines[4].as_str()), (5, "2 contributions of people, all good", "no beacon yet"));
        assert!(lines[2].starts_with("   1  0x") && lines[3].ends_with("person 1"), "{lines:?}");
        let lines = told(&people.beacon(&[0xc0, 0xff], 3, &mut |_, _| {}).unwrap());
        assert_eq!((lines.len(), lines[0].as_str()), (5, "2 contributions of people, all good"));
        assert!(lines[4].starts_with("beacon  0x") && lines[4].ends_with("  0xc0ff, hashed 2^3 times"), "{lines:?}");
    }

    #[test]
    fn a_beacon_is_bytes_in_hex() {
        let args = |beacon: &str| FinalizeArgs {
            folder: Folder { folder: "ceremony".into() },
            ptau: "pot.ptau".into(),
            beacon: Some(beacon.into()),
            beacon_power: 3,
            keys_dir: "keys".into(),
            k: 20,
            manifest: "manifest.json".into(),
        };
        assert_eq!(args("0xc0ffee").beacon().unwrap().unwrap().value, [0xc0, 0xff, 0xee]);
        let endless = format!("0x{}", "00".repeat(256));
        for wrong in ["c0ffee", "0xc0f", "0x", &endless] {
            assert!(format!("{:#}", args(wrong).beacon().err().unwrap()).contains("--beacon"), "{wrong}");
        }
    }
}
