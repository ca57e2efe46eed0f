//! A whole ceremony of two circuits of the shape `test` by the commands of docs/ceremony.md. Takes minutes: `make ceremony` runs it, `make test` does not.
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
    let init = |shapes: &'static str| ["ceremony", "init", "--ptau", file, "--shapes", shapes];
    good(&init("test"));
    let again = good(&init("test,test"));
    assert!(again.contains("test-1-0000.ceremony is there already, and the same") && again.contains("circuit 2 test"), "{again}");
    let beacon = "aa".repeat(32);
    snarkjs::snarkjs(folder.path(), &["powersoftau", "beacon", snarkjs::fresh(k).to_str().unwrap(), "another.ptau", &beacon, "10"]);
    let refused = |arguments: &[&str], because: &str| {
        let (succeeded, said) = sheaf(folder.path(), arguments);
        assert!(!succeeded && said.contains(because), "{arguments:?}: {said}");
        said
    };
    let said = refused(&["ceremony", "init", "--ptau", "another.ptau", "--shapes", "test,test"], "test-1-0000.ceremony");
    assert!(said.contains("begun with the powers of tau") && said.contains("--folder"), "{said}");
    let finalize = ["ceremony", "finalize", "--ptau", file, "--k", &k_text, "--keys-dir", "keys"];
    refused(&finalize, "nobody has contributed");
    let ada = good(&["ceremony", "contribute", "--name", "Ada"]);
    good(&["ceremony", "contribute", "--name", "Grace"]);
    let with_beacon = [&finalize[..], &["--beacon", "0xc0ffee", "--beacon-power", "4"]].concat();
    let files = || fs::read_dir(folder.path().join("ceremony")).unwrap().count();
    let before = files();
    refused(&with_beacon, "sheaf keys import");
    let (srs, _) = Srs::from_ptau(&Ptau::open(&ptau).unwrap(), k, &mut StdRng::seed_from_u64(1), &mut |_, _| {}).unwrap();
    fs::create_dir(folder.path().join("keys")).unwrap();
    srs.save(&folder.path().join("keys").join(Srs::file_name(k, srs.origin))).unwrap();

    // no beacon is applied to the first circuit before the second is known to be good, and the manifest's place
    let (last, aside) = (folder.path().join("ceremony/test-2-0002.ceremony"), folder.path().join("aside"));
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, [&bytes[..bytes.len() - 64], &bytes[bytes.len() - 128..bytes.len() - 64]].concat()).unwrap();
    refused(&with_beacon, "contribution 2 (Grace)");
    fs::write(&last, &bytes).unwrap();
    for later in ["test-2-0001", "test-2-0002"].map(|name| folder.path().join(format!("ceremony/{name}.ceremony"))) {
        fs::create_dir_all(&aside).unwrap();
        fs::rename(&later, aside.join(later.file_name().unwrap())).unwrap();
    }
    refused(&with_beacon, "circuit 2 test: nobody has contributed");
    for name in ["test-2-0001.ceremony", "test-2-0002.ceremony"] {
        fs::rename(aside.join(name), folder.path().join("ceremony").join(name)).unwrap();
    }
    fs::write(folder.path().join("taken.json"), "not ours").unwrap();
    for manifest in ["taken.json", "nowhere/manifest.json"] {
        refused(&[&with_beacon[..], &["--manifest", manifest]].concat(), "--manifest");
    }
    assert_eq!(files(), before, "nothing was written");

    good(&with_beacon);
    let ended = good(&["ceremony", "verify", "--ptau", file]);
    assert!(ended.contains("2 contributions of people, all good") && ended.contains("0xc0ffee, hashed 2^4 times"), "{ended}");
    let published = ada.split_whitespace().find(|word| word.len() == 66).unwrap();
    assert!(ended.contains(published), "{ended}");
    let manifest: Manifest = serde_json::from_slice(&fs::read(folder.path().join("manifest.json")).unwrap()).unwrap();
    assert!(matches!(&manifest.setup, Setup::Ceremony { transcripts, .. } if transcripts.len() == 2));
    let keys = KeyCache::open(&folder.path().join("keys"), &manifest, &[]).unwrap();
    keys.lay_out().unwrap();
    assert_eq!(keys.offers().len(), 2);
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
    refused(&["ceremony", "verify", "--ptau", file], "contribution 2 (Grace)");
}
