//! Development keys on disk, proofs, and what must be refused.

use crate::world::{ID, rich_batch, shape, test_circuit};
use ark_bn254::{Bn254, Fr, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_groth16::VerifyingKey;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};
use sheaf_circuits::batch::{Circuit, CircuitError};
use sheaf_circuits::keys::{KeyError, Keys, VerifyingKeyError, check_verifying_key};
use sheaf_circuits::prove::{Prover, VerifyError, proof_from_words, proof_words, verify};
use sheaf_protocol::artifact::{Artifact, ArtifactError};
use sheaf_protocol::manifest::Setup;
use sheaf_protocol::shape::Shape;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

const SEED: &str = "circuits test";

/// Made once per run; a second test of the binary finds it cached. Nothing deletes what is static, so each run deletes what earlier ones left.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("suite");
        let left = fs::read_dir(&all).into_iter().flatten().flatten();
        left.filter(|entry| !Path::new("/proc").join(entry.file_name()).exists())
            .for_each(|entry| fs::remove_dir_all(entry.path()).unwrap_or_default());
        let ours = all.join(std::process::id().to_string());
        fs::create_dir_all(&ours).unwrap();
        ours
    })
}

pub(crate) fn prover() -> &'static Prover {
    static PROVER: OnceLock<Prover> = OnceLock::new();
    PROVER.get_or_init(|| {
        let circuit = Circuit::new(shape("test"), ID).unwrap();
        let mut calls = 0;
        let keys = Keys::insecure_dev(directory(), "test", &circuit, SEED, &mut |done, all| {
            assert!(done <= all);
            calls += 1;
        });
        assert!(calls > 0, "set-up tells progress");
        Prover::new(circuit, keys.unwrap()).unwrap()
    })
}

/// The same key, opened once more.
pub(crate) fn again() -> Keys {
    let made = prover().keys();
    Keys::load(&Keys::insecure_dev_path(directory(), "test", test_circuit(), SEED), test_circuit(), &made.digest).unwrap()
}

/// A key file of its own to damage.
fn copy_of_key(name: &str) -> (PathBuf, [u8; 32]) {
    let keys = prover().keys();
    let path = Keys::insecure_dev_path(directory(), "test", test_circuit(), SEED);
    let copy = directory().join(name);
    fs::copy(path, &copy).unwrap();
    (copy, keys.digest)
}

#[test]
fn a_proof_of_the_test_circuit_verifies() {
    let (_, batch, challenges) = rich_batch();
    let proof = prover().prove(&batch, &challenges, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
    let inputs = batch.public_inputs(&challenges);
    verify(prover().keys().verifying(), &inputs, &proof).unwrap();
    assert_eq!(proof_from_words(&proof_words(&proof)), Ok(proof.clone()));
    for i in 0..inputs.len() {
        let mut other = inputs;
        other[i] += Fr::from(1u64);
        assert_eq!(verify(prover().keys().verifying(), &other, &proof), Err(VerifyError::Rejected), "input {i}");
    }
}

#[test]
fn a_malformed_proof_is_refused() {
    let (_, batch, challenges) = rich_batch();
    let proof = prover().prove(&batch, &challenges, &mut ChaCha20Rng::seed_from_u64(2)).unwrap();
    for i in 0..8 {
        let mut words = proof_words(&proof);
        words[i][31] ^= 1;
        assert_eq!(proof_from_words(&words), Err(VerifyError::Malformed), "word {i}");
        words[i] = [0xff; 32];
        assert_eq!(proof_from_words(&words), Err(VerifyError::Malformed), "word {i} above the modulus");
    }
}

#[test]
fn an_assignment_of_another_length_is_refused() {
    let (_, batch, challenges) = rich_batch();
    let mut assignment = prover().assignment(&batch, &challenges).unwrap();
    let expected = assignment.len();
    assignment.push(Fr::from(0u64));
    for length in [expected + 1, expected - 1, 3, 0] {
        let error = prover().prove_assignment(&assignment[..length], &mut ChaCha20Rng::seed_from_u64(5)).unwrap_err();
        assert_eq!(error, CircuitError::Assignment { got: length, expected }.into());
    }
}

/// The bound behind the uniqueness of dyn holds for whatever shape a circuit is made, not only for those with a name.
#[test]
fn a_shape_that_proves_nothing_has_no_circuit() {
    let refused = |shape: Shape| Circuit::new(shape, ID).unwrap_err();
    let test = shape("test");
    assert_eq!(refused(Shape { accounts: 0, ..test }), CircuitError::NoAccounts);
    assert_eq!(refused(Shape { deposits: 1 << 15, ..test }), CircuitError::Bound);
    assert_eq!(refused(Shape { deposits: 1 << 31, withdrawals: 1 << 31, ..test }), CircuitError::Bound, "their sum is 0 in 32 bits");
}

#[test]
fn an_invalid_batch_is_named_and_not_proved() {
    let (_, mut batch, challenges) = rich_batch();
    batch.accounts[1].new.balance.0 += 1;
    let error = prover().prove(&batch, &challenges, &mut ChaCha20Rng::seed_from_u64(3)).unwrap_err();
    assert!(error.to_string().contains("batch.balance_bus"), "{error}");
}

#[test]
fn a_weak_verifying_key_is_refused() {
    let good = prover().keys().verifying().clone();
    let refused = |change: &dyn Fn(&mut VerifyingKey<Bn254>)| {
        let mut key = good.clone();
        change(&mut key);
        check_verifying_key(&key).unwrap_err()
    };
    assert_eq!(good.gamma_g2, G2Affine::generator());
    assert_eq!(refused(&|key| key.delta_g2 = key.gamma_g2), VerifyingKeyError::Delta);
    assert_eq!(refused(&|key| key.delta_g2 = G2Affine::identity()), VerifyingKeyError::Delta);
    assert_eq!(refused(&|key| key.gamma_g2 = key.beta_g2), VerifyingKeyError::Gamma);
    assert_eq!(refused(&|key| (key.gamma_g2, key.delta_g2) = (key.beta_g2, G2Affine::generator())), VerifyingKeyError::Delta);
    assert_eq!(refused(&|key| key.alpha_g1 = G1Affine::identity()), VerifyingKeyError::Identity("alpha"));
    assert_eq!(refused(&|key| key.beta_g2 = G2Affine::identity()), VerifyingKeyError::Identity("beta"));
    for i in 0..10 {
        assert_eq!(refused(&|key| key.gamma_abc_g1[i] = G1Affine::identity()), VerifyingKeyError::Identity("IC"), "IC_{i}");
    }
    assert_eq!(
        refused(&|key| {
            key.gamma_abc_g1.pop();
        }),
        VerifyingKeyError::Inputs(9)
    );
}

#[test]
fn a_cached_key_is_found_again() {
    let keys = prover().keys();
    let again = Keys::insecure_dev(directory(), "test", test_circuit(), SEED, &mut |_, _| panic!("made again")).unwrap();
    assert_eq!((again.digest, again.to_proving_key().unwrap()), (keys.digest, keys.to_proving_key().unwrap()));
    let path = Keys::insecure_dev_path(directory(), "test", test_circuit(), SEED);
    assert!(path.to_str().unwrap().contains("INSECURE"));
}

#[test]
fn another_key_than_the_manifests_is_refused() {
    let (path, digest) = copy_of_key("other.pk");
    let error = Keys::load(&path, test_circuit(), &[1; 32]).unwrap_err();
    assert!(matches!(error, KeyError::Artifact(ArtifactError::Digest { .. })), "{error}");
    Keys::load(&path, test_circuit(), &digest).unwrap();
    let error = Keys::load(&path, test_circuit(), &[1; 32]).unwrap_err();
    assert!(matches!(error, KeyError::Artifact(ArtifactError::Digest { .. })), "trusted under another digest: {error}");
}

#[test]
fn a_key_of_another_circuit_is_refused() {
    let (path, digest) = copy_of_key("foreign.pk");
    let other = Circuit::new(shape("test"), ID + 1).unwrap();
    let error = Keys::load(&path, &other, &digest).unwrap_err();
    assert!(matches!(error, KeyError::Digest { what: "circuit", .. }), "{error}");
}

#[test]
fn a_damaged_key_is_refused() {
    let (path, digest) = copy_of_key("damaged.pk");
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&path, &bad).unwrap();
    assert!(matches!(Keys::load(&path, test_circuit(), &digest), Err(KeyError::Artifact(ArtifactError::Digest { .. }))));
    for (what, at) in [("magic", 0), ("version", 11), ("origin", 12), ("length", 115)] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert!(matches!(Keys::load(&path, test_circuit(), &digest), Err(KeyError::Header { .. })), "{what}");
    }
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert!(matches!(Keys::load(&path, test_circuit(), &digest), Err(KeyError::Header { .. })), "cut short");
    fs::write(&path, &good).unwrap();
    Keys::load(&path, test_circuit(), &digest).unwrap();
}

/// The right digest of a wrong file: whoever made it, and the manifest, made a mistake.
#[test]
fn a_key_whose_vectors_have_other_lengths_is_refused() {
    let (path, _) = copy_of_key("lengths.pk");
    let good = fs::read(&path).unwrap();
    // header; alpha, beta, gamma, delta; IC and its length; beta and delta in G1; then the length of A
    let at = 116 + (64 + 3 * 128) + (8 + 10 * 64) + 2 * 64;
    for change in [1, 0x80] {
        let mut bad = good.clone();
        bad[at] ^= change;
        fs::write(&path, &bad).unwrap();
        let refused = Keys::load(&path, test_circuit(), &Sha256::digest(&bad).into()).unwrap_err();
        assert!(matches!(refused, KeyError::Body { .. }), "{refused}");
    }
}

#[test]
fn a_key_opens_without_its_circuit_and_proves_with_no_other() {
    let (entry, setup) = (prover().keys().entry("test", test_circuit()), Setup::InsecureDevelopment { seed: SEED.into() });
    let with = |id| Prover::new(Circuit::new(shape("test"), id).unwrap(), Keys::open(directory(), &setup, &entry).unwrap());
    assert_eq!(with(ID).unwrap().keys().digest, prover().keys().digest);
    let refused = with(ID + 1).unwrap_err();
    assert!(matches!(refused, KeyError::Digest { what: "circuit", .. }), "{refused}");
}

/// A key whole in itself under the name of another circuit: a wrong file with the right digest.
#[test]
fn a_key_with_the_points_of_another_circuit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    Keys::insecure_dev(folder.path(), "tiny", &tiny(), SEED, &mut |_, _| {}).unwrap();
    let mut key = fs::read(Keys::insecure_dev_path(folder.path(), "tiny", &tiny(), SEED)).unwrap();
    // after magic, version and origin
    key[44..76].copy_from_slice(&test_circuit().digest());
    let path = folder.path().join("points.pk");
    fs::write(&path, &key).unwrap();
    let refused = Keys::load(&path, test_circuit(), &Sha256::digest(&key).into()).unwrap_err();
    assert!(matches!(refused, KeyError::Body { .. }), "{refused}");
}

/// What an upgrade does while workers run: the file is renamed over, and they keep the one they have open.
#[test]
fn a_key_replaced_while_it_is_in_use_goes_on_proving() {
    let (path, digest) = copy_of_key("replaced.pk");
    let keys = Keys::load(&path, test_circuit(), &digest).unwrap();
    let prover = Prover::new(Circuit::new(shape("test"), ID).unwrap(), keys).unwrap();
    Artifact::at(&path).write(|out| out.write_all(b"no key")).unwrap();
    assert!(matches!(Keys::load(&path, test_circuit(), &digest), Err(KeyError::Header { .. })));
    let (_, batch, challenges) = rich_batch();
    let proof = prover.prove(&batch, &challenges, &mut ChaCha20Rng::seed_from_u64(6)).unwrap();
    verify(prover.keys().verifying(), &batch.public_inputs(&challenges), &proof).unwrap();
}

#[test]
fn seeds_give_other_keys_and_circuits_share_alpha_and_beta() {
    let other = tempfile::tempdir().unwrap();
    let small = sheaf_protocol::shape::Shape { transfers: 0, withdrawals: 0, ..shape("test") };
    let circuit = Circuit::new(small, ID).unwrap();
    let same_seed = Keys::insecure_dev(other.path(), "tiny", &circuit, SEED, &mut |_, _| {}).unwrap();
    let other_seed = Keys::insecure_dev(other.path(), "tiny", &circuit, "another seed", &mut |_, _| {}).unwrap();
    let (ours, theirs) = (prover().keys().verifying(), same_seed.verifying());
    assert_eq!((ours.alpha_g1, ours.beta_g2, ours.gamma_g2), (theirs.alpha_g1, theirs.beta_g2, theirs.gamma_g2));
    assert_ne!(ours.delta_g2, theirs.delta_g2);
    assert_ne!(other_seed.verifying().alpha_g1, ours.alpha_g1);
    let entry = same_seed.entry("tiny", &circuit);
    assert_eq!((entry.id, entry.proving_key.0, entry.circuit.0), (ID, same_seed.digest, circuit.digest()));
}

/// A circuit whose key takes a moment.
fn tiny() -> Circuit {
    Circuit::new(Shape { transfers: 0, withdrawals: 0, ..shape("test") }, ID).unwrap()
}

#[test]
fn threads_that_want_a_missing_key_get_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let (circuit, made) = (tiny(), AtomicUsize::new(0));
    let get = || {
        let mut first = true;
        let keys = Keys::insecure_dev(folder.path(), "tiny", &circuit, SEED, &mut |_, _| {
            made.fetch_add(usize::from(std::mem::take(&mut first)), Ordering::SeqCst);
        });
        keys.unwrap().digest
    };
    let digests: Vec<[u8; 32]> = std::thread::scope(|scope| [(); 4].map(|()| scope.spawn(get)).map(|thread| thread.join().unwrap()).to_vec());
    assert_eq!(made.load(Ordering::SeqCst), 1);
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}

/// Names the folder to the processes that the next test starts of itself.
const FOLDER: &str = "SHEAF_TEST_KEY_FOLDER";

/// Several nodes and workers started at once on a fresh disk.
#[test]
fn processes_that_want_a_missing_key_make_it_once() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let mut made = false;
        let keys = Keys::insecure_dev(Path::new(&folder), "tiny", &tiny(), SEED, &mut |_, _| made = true).unwrap();
        println!("made {made}, digest {}", hex::encode(keys.digest));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "keys::processes_that_want_a_missing_key_make_it_once", "--nocapture"]);
        command.env(FOLDER, folder.path()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let outputs = [(); 3].map(|()| start()).map(|child| child.wait_with_output().unwrap());
    let printed = outputs.map(|output| String::from_utf8(output.stdout).unwrap());
    let line = |text: &str| text.lines().find(|line| line.contains("digest")).unwrap_or_else(|| panic!("{text}")).to_owned();
    let (lines, digest) = (printed.each_ref().map(|text| line(text)), line(&printed[0]).split_off(line(&printed[0]).len() - 64));
    assert_eq!(lines.iter().filter(|line| line.contains("made true")).count(), 1, "{lines:?}");
    assert!(lines.iter().all(|line| line.ends_with(&digest)), "{lines:?}");
}

#[test]
fn a_key_whose_receipt_is_lost_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let circuit = tiny();
    let keys = Keys::insecure_dev(folder.path(), "tiny", &circuit, SEED, &mut |_, _| {}).unwrap();
    let receipt = Keys::insecure_dev_path(folder.path(), "tiny", &circuit, SEED).with_extension("pk.ok");
    let kept = fs::read_to_string(&receipt).unwrap();
    fs::remove_file(&receipt).unwrap();
    let again = Keys::insecure_dev(folder.path(), "tiny", &circuit, SEED, &mut |_, _| panic!("made again")).unwrap();
    assert_eq!((again.digest, fs::read_to_string(&receipt).unwrap()), (keys.digest, kept));
}

#[test]
fn a_damaged_key_in_the_cache_is_made_again_but_only_by_those_who_make_keys() {
    let folder = tempfile::tempdir().unwrap();
    let circuit = tiny();
    let open = || Keys::open_insecure_dev(folder.path(), "tiny", &circuit, SEED);
    let missing = open().unwrap_err();
    assert!(matches!(missing, KeyError::Missing { .. }) && missing.to_string().contains("sheaf keys make"), "{missing}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "looking leaves nothing");
    let keys = Keys::insecure_dev(folder.path(), "tiny", &circuit, SEED, &mut |_, _| {}).unwrap();
    assert_eq!(open().unwrap().digest, keys.digest);
    let path = Keys::insecure_dev_path(folder.path(), "tiny", &circuit, SEED);
    let good = fs::read(&path).unwrap();
    for at in [0, 50, 110, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad[..good.len() - usize::from(at == 110)]).unwrap();
        let damaged = open().unwrap_err();
        assert!(!matches!(damaged, KeyError::Missing { .. }) && fs::read(&path).unwrap() != good, "{damaged}");
        let mut made = false;
        let again = Keys::insecure_dev(folder.path(), "tiny", &circuit, SEED, &mut |_, _| made = true).unwrap();
        assert!(made && again.digest == keys.digest, "byte {at}");
        assert_eq!(fs::read(&path).unwrap(), good);
    }
}

/// A folder in the place of the file: reading it fails, as it does without permission or on a broken disk.
#[test]
fn a_cache_that_cannot_be_read_is_an_error_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let circuit = tiny();
    fs::create_dir_all(Keys::insecure_dev_path(folder.path(), "tiny", &circuit, SEED)).unwrap();
    let made = Keys::insecure_dev(folder.path(), "tiny", &circuit, SEED, &mut |_, _| panic!("made"));
    let opened = Keys::open_insecure_dev(folder.path(), "tiny", &circuit, SEED);
    for refused in [made.unwrap_err(), opened.unwrap_err()] {
        assert!(matches!(refused, KeyError::Artifact(ArtifactError::Io { .. })), "{refused}");
    }
}
