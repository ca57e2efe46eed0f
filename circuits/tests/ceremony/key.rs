//! The finalised key, its files, and the ceremony's own.

use crate::snarkjs::snarkjs;
use crate::world::{batch, begun, circuit, contribution, initial, steps, verify};
use ark_bn254::{G1Affine, G2Affine};
use ark_ec::AffineRepr;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_chacha::ChaCha20Rng;
use sheaf_circuits::ceremony::{Ceremony, FileError, Share, VerifyError};
use sheaf_circuits::export;
use sheaf_circuits::keys::{KeyError, Keys};
use sheaf_circuits::prove::{Prover, verify as verify_proof};
use sheaf_protocol::field::Fr;
use sheaf_protocol::kzg::Origin;
use sheaf_protocol::manifest::{HexWord, Setup};
use std::fs;
use std::path::Path;

fn rng() -> StdRng {
    StdRng::seed_from_u64(4)
}

fn ceremony_setup() -> Setup {
    Setup::Ceremony { powers: HexWord([1; 32]), transcripts: vec![HexWord([2; 32])] }
}

fn write(folder: &Path, name: &str, value: &serde_json::Value) {
    fs::write(folder.join(name), value.to_string()).unwrap();
}

/// From the powers of snarkjs over two people and a beacon to a proof that snarkjs accepts.
#[test]
fn a_proof_under_the_finalised_key_is_accepted_by_us_and_by_snarkjs() {
    let ended = steps()[2].clone().beacon(b"a block hash", 3, &mut |_, _| {}).unwrap();
    verify(&ended).unwrap();
    assert_eq!((ended.contributions(), ended.records.len()), (2, 3));
    let proving = ended.finalize(circuit(), initial().clone(), &mut rng()).unwrap();
    assert_ne!(proving.vk.delta_g2, G2Affine::generator());
    assert_eq!((proving.delta_g1, proving.vk.delta_g2), ended.delta());

    let folder = tempfile::tempdir().unwrap();
    let made = proving.clone();
    let saved = Keys::save_ceremony(folder.path(), "tiny", circuit(), proving).unwrap();
    let entry = saved.entry("tiny", circuit());
    let keys = Keys::open(folder.path(), &ceremony_setup(), &entry).unwrap();
    assert_eq!((keys.origin, keys.to_proving_key().unwrap()), (Origin::Ceremony, made));
    let file = Keys::path_of(folder.path(), &ceremony_setup(), &entry);
    assert!(!file.to_str().unwrap().contains("INSECURE"));

    let (batch, challenges) = batch();
    let prover = Prover::new(sheaf_circuits::batch::Circuit::new(*circuit().shape(), circuit().id()).unwrap(), keys).unwrap();
    let proof = prover.prove(&batch, &challenges, &mut ChaCha20Rng::seed_from_u64(5)).unwrap();
    let inputs = batch.public_inputs(&challenges);
    verify_proof(prover.keys().verifying(), &inputs, &proof).unwrap();
    let mut other = inputs;
    other[4] += Fr::from(1u64);
    assert!(verify_proof(prover.keys().verifying(), &other, &proof).is_err());

    write(folder.path(), "key.json", &export::verification_key(prover.keys().verifying()));
    write(folder.path(), "proof.json", &export::proof(&proof));
    write(folder.path(), "public.json", &export::public_inputs(&inputs));
    snarkjs(folder.path(), &["groth16", "verify", "key.json", "public.json", "proof.json"]);
}

/// A key that says it is for development is none of a ceremony's, whatever the manifest's digest.
#[test]
fn a_manifest_of_a_ceremony_takes_no_development_key() {
    let folder = tempfile::tempdir().unwrap();
    let development = Keys::insecure_dev(folder.path(), "tiny", circuit(), "seed", &mut |_, _| {}).unwrap();
    let entry = development.entry("tiny", circuit());
    let place = Keys::path_of(folder.path(), &ceremony_setup(), &entry);
    fs::copy(Keys::insecure_dev_path(folder.path(), "tiny", circuit(), "seed"), &place).unwrap();
    let refused = Keys::open(folder.path(), &ceremony_setup(), &entry).unwrap_err();
    assert!(matches!(refused, KeyError::Origin { found: Origin::InsecureDevelopment, .. }), "{refused}");
    assert!(refused.to_string().contains("INSECURE"), "{refused}");
}

#[test]
fn nobody_contributed_is_no_key() {
    let refused = begun().finalize(circuit(), initial().clone(), &mut rng()).unwrap_err();
    assert_eq!(refused, VerifyError::NoContribution);
    let only_beacon = begun().beacon(b"public", 0, &mut |_, _| {}).unwrap();
    verify(&only_beacon).unwrap();
    assert_eq!(only_beacon.finalize(circuit(), initial().clone(), &mut rng()).unwrap_err(), VerifyError::NoContribution);
}

#[test]
fn every_step_of_a_ceremony_is_good_and_follows_the_one_before() {
    for (count, ceremony) in steps().iter().enumerate() {
        verify(ceremony).unwrap();
        assert_eq!((ceremony.records.len(), ceremony.contributions()), (count, count));
        steps()[..=count].iter().for_each(|earlier| ceremony.check_follows(earlier).unwrap());
    }
    assert_eq!(steps()[2].check_follows(&steps()[3]).unwrap_err(), VerifyError::Rewritten(3));
    let other = contribution(steps()[1].clone(), "Mallory").unwrap();
    assert_eq!(other.check_follows(&steps()[2]).unwrap_err(), VerifyError::Rewritten(2));
}

/// The same maker, the same words typed in, the same file: another secret, and nothing left of the first.
#[test]
fn a_contribution_that_is_made_again_has_a_new_secret() {
    let (first, second) = [1, 2].map(|seed| Share::draw(&mut ChaCha20Rng::seed_from_u64(seed), b"typed in")).into();
    let other_words = Share::draw(&mut ChaCha20Rng::seed_from_u64(1), b"typed otherwise");
    assert_eq!(format!("{first:?}"), "Share(secret)");
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let deltas = [first, second, other_words].map(|share| begun().contribute("Ada", share, &mut rng, &mut |_, _| {}).unwrap().delta());
    assert!(deltas[0] != deltas[1] && deltas[0] != deltas[2] && deltas[1] != deltas[2]);
}

#[test]
fn a_saved_ceremony_loads_as_it_was_and_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    for ceremony in [&steps()[0], &steps()[3], &steps()[1].clone().beacon(&[7; 255], 1, &mut |_, _| {}).unwrap()] {
        let path = folder.path().join(ceremony.transcript().to_string());
        ceremony.save(&path).unwrap();
        assert_eq!(Ceremony::load(&path).unwrap(), *ceremony);
        let refused = steps()[2].save(&path).unwrap_err();
        assert!(matches!(refused, FileError::Exists { .. }), "{refused}");
        assert_eq!(Ceremony::load(&path).unwrap(), *ceremony);
    }
}

/// The file with its bytes changed.
fn reload(edit: impl FnOnce(&mut Vec<u8>)) -> FileError {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.ceremony");
    steps()[2].save(&path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    edit(&mut bytes);
    fs::write(&path, bytes).unwrap();
    Ceremony::load(&path).unwrap_err()
}

#[test]
fn a_file_that_is_cut_short_or_damaged_is_refused_by_name() {
    let points = 64 * (steps()[2].h.len() + steps()[2].l.len());
    let of = |error: FileError| match error {
        FileError::Format { reason, .. } => reason.to_owned(),
        FileError::Point { what, .. } => what,
        other => panic!("{other}"),
    };
    for keep in [0, 7, 20, 200, 700] {
        assert_eq!(of(reload(|bytes| bytes.truncate(keep))), "it is cut short", "{keep} bytes");
    }
    assert_eq!(of(reload(|bytes| bytes.truncate(bytes.len() - 1))), "it is cut short");
    assert_eq!(of(reload(|bytes| bytes.push(0))), "longer than it says");
    assert_eq!(of(reload(|bytes| bytes[0] ^= 1)), "wrong magic or version");
    assert_eq!(of(reload(|bytes| bytes[11] ^= 1)), "wrong magic or version");
    let from_end = |back: usize, value: u8| {
        reload(move |bytes| {
            let at = bytes.len() - back;
            bytes[at] ^= value;
        })
    };
    assert_eq!(of(from_end(1, 1)), format!("point {} of the query L", steps()[2].l.len() - 1), "off the curve");
    assert_eq!(of(from_end(points, 0xff)), "point 0 of the query H", "a coordinate above the modulus");
    // the second record ends with its d r, the first begins with a name of 3 bytes behind the header
    assert_eq!(of(from_end(points + 1, 1)), "d r of contribution 2");
    let delta = 8 + 4 + 4 + 1 + 4 + 3 * 32 + 3 * 4 + 1 + 3 + 32;
    assert_eq!(of(reload(|bytes| bytes[delta + 63] ^= 1)), "delta in G1 of contribution 1");
    assert_eq!(of(reload(|bytes| bytes[delta + 64 + 127] ^= 1)), "delta in G2 of contribution 1");
    let missing = Ceremony::load(Path::new("/nowhere/x.ceremony")).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/x.ceremony"), "{missing}");
    assert_ne!(steps()[2].delta().0, G1Affine::generator());
}
