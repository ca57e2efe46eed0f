//! A whole ceremony of the shape `test` by the commands of docs/ceremony.md. Takes minutes: `make ceremony` runs it, `make test` does not.
//!
//! The SRS is of 2^14 slots, imported by the library: `sheaf keys import` asks for 2^24 powers, which nobody makes in a test.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../../protocol/tests/snarkjs/mod.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod snarkjs;

use rand::SeedableRng;
use rand::rngs::StdRng;
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::ceremony::power;
use sheaf_e2e::sheaf_binary;
use sheaf_protocol::kzg::{Ptau, Srs};
use sheaf_protocol::manifest::{Manifest, Setup};
use sheaf_protocol::shape::by_name;
use sheaf_prover::worker::KeyCache;
use std::fs;
use std::path::Path;
use std::process::Command;

fn sheaf(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(sheaf_binary().unwrap()).args(arguments).current_dir(folder).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn a_ceremony_ends_with_keys_that_workers_open() {
    let folder = tempfile::tempdir().unwrap();
    let good = |arguments: &[&str]| {
        let (succeeded, said) = sheaf(folder.path(), arguments);
        assert!(succeeded, "{arguments:?}: {said}");
        said
    };
    let k = power(&Circuit::new(by_name("test").unwrap().shape, 1).unwrap());
    let ptau = snarkjs::ptau(k);
    let (file, k_text) = (ptau.to_str().unwrap(), k.to_string());
    good(&["ceremony", "init", "--ptau", file, "--shapes", "test"]);
    let finalize = ["ceremony", "finalize", "--ptau", file, "--k", &k_text, "--keys-dir", "keys"];
    let (succeeded, said) = sheaf(folder.path(), &finalize);
    assert!(!succeeded && said.contains("sheaf keys import"), "{said}");
    let (srs, _) = Srs::from_ptau(&Ptau::open(&ptau).unwrap(), k, &mut StdRng::seed_from_u64(1), &mut |_, _| {}).unwrap();
    fs::create_dir(folder.path().join("keys")).unwrap();
    srs.save(&folder.path().join("keys").join(Srs::file_name(k, srs.origin))).unwrap();
    let (succeeded, said) = sheaf(folder.path(), &finalize);
    assert!(!succeeded && said.contains("nobody has contributed"), "{said}");

    let ada = good(&["ceremony", "contribute", "--name", "Ada"]);
    good(&["ceremony", "contribute", "--name", "Grace"]);
    let verified = good(&["ceremony", "verify", "--ptau", file]);
    assert!(verified.contains("2 contributions, all good"), "{verified}");
    let published = ada.split_whitespace().find(|word| word.len() == 66).unwrap();
    assert!(verified.contains(published), "{verified}");

    let with_beacon = [&finalize[..], &["--beacon", "0xc0ffee", "--beacon-power", "4"]].concat();
    good(&with_beacon);
    let manifest: Manifest = serde_json::from_slice(&fs::read(folder.path().join("manifest.json")).unwrap()).unwrap();
    assert!(matches!(&manifest.setup, Setup::Ceremony { transcripts, .. } if transcripts.len() == 1));
    let keys = KeyCache::open(&folder.path().join("keys"), &manifest, &[]).unwrap();
    keys.lay_out().unwrap();
    assert_eq!(keys.offers().len(), 1);
    Srs::open(&folder.path().join("keys"), &manifest).unwrap();
    good(&with_beacon);
    let again: Manifest = serde_json::from_slice(&fs::read(folder.path().join("manifest.json")).unwrap()).unwrap();
    assert_eq!(again.digest(), manifest.digest(), "finalised again, the same");

    // somebody exchanges a point of Grace's
    let of_grace = folder.path().join("ceremony/test-1-0002.ceremony");
    let mut bytes = fs::read(&of_grace).unwrap();
    let end = bytes.len();
    bytes.copy_within(end - 128..end - 64, end - 64);
    fs::write(&of_grace, bytes).unwrap();
    let (succeeded, said) = sheaf(folder.path(), &["ceremony", "verify", "--ptau", file]);
    assert!(!succeeded && said.contains("contribution 2 (Grace)"), "{said}");
}
