//! Our proofs by somebody else's verifier: snarkjs, as installed by `make tools`.

use crate::keys::prover;
use crate::world::rich_batch;
use ark_bn254::Fr;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde_json::Value;
use sheaf_circuits::export;
use std::fs;
use std::path::Path;
use std::process::Command;

const SNARKJS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/node_modules/snarkjs/build/cli.cjs");

/// snarkjs's verdict and what it printed.
fn snarkjs_verify(key: &Value, public: &Value, proof: &Value) -> (bool, String) {
    assert!(Path::new(SNARKJS).exists(), "snarkjs is not installed: run make tools");
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [("verification_key.json", key), ("public.json", public), ("proof.json", proof)] {
        fs::write(folder.path().join(name), value.to_string()).unwrap();
    }
    let mut command = Command::new("node");
    command.arg(SNARKJS).args(["groth16", "verify", "verification_key.json", "public.json", "proof.json"]);
    let output = command.current_dir(folder.path()).output().expect("node runs; it is needed for the tools");
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), printed)
}

#[test]
fn snarkjs_accepts_our_proof_and_no_other_inputs() {
    let (_, batch, challenges) = rich_batch();
    let proof = prover().prove(&batch, &challenges, &mut ChaCha20Rng::seed_from_u64(4)).unwrap();
    let (key, proof) = (export::verification_key(prover().keys().verifying()), export::proof(&proof));
    let mut inputs = batch.public_inputs(&challenges);
    let (accepted, printed) = snarkjs_verify(&key, &export::public_inputs(&inputs), &proof);
    assert!(accepted && printed.contains("OK!"), "{printed}");
    inputs[3] += Fr::from(1u64);
    let (accepted, printed) = snarkjs_verify(&key, &export::public_inputs(&inputs), &proof);
    assert!(!accepted && printed.contains("Invalid proof"), "{printed}");
}
