//! Development keys on disk, proofs, and what must be refused.

use crate::world::{ID, rich_batch, shape, test_circuit};
use ark_bn254::{Bn254, Fr, G2Affine};
use ark_ec::AffineRepr;
use ark_groth16::VerifyingKey;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::keys::{KeyError, Keys, VerifyingKeyError, check_verifying_key};
use sheaf_circuits::prove::{Prover, VerifyError, proof_from_words, proof_words, verify};
use sheaf_protocol::artifact::ArtifactError;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const SEED: &str = "circuits test";

/// Made once per run; a second test of the binary finds it cached.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIRECTORY.get_or_init(|| tempfile::tempdir().unwrap()).path()
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
        Prover::new(circuit, keys.unwrap())
    })
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
    assert_eq!((again.digest, &again.proving), (keys.digest, &keys.proving));
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
