//! `sheaf ceremony` and `sheaf keys import` as people call them: interrupted, repeated, and with files that cannot do.

#[path = "../../../protocol/tests/snarkjs/mod.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod snarkjs;

use sheaf_circuits::batch::Circuit;
use sheaf_circuits::ceremony::{Ceremony, Header, power};
use sheaf_e2e::sheaf_binary;
use sheaf_protocol::field::{g1_from_words, word_u128};
use sheaf_protocol::manifest::HexWord;
use sheaf_protocol::shape::by_name;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// A ceremony that nobody has contributed to. To contribute, its circuit need not be known: points are multiplied, whatever they are.
fn begin(folder: &Path, name: &str, id: u32, points: usize) {
    let header = Header { name: name.into(), id, circuit: [id as u8; 32], powers: HexWord([1; 32]), initial: [2; 32] };
    let generator = g1_from_words(&[word_u128(1), word_u128(2)]).unwrap();
    let points = vec![generator; points];
    let ceremony = Ceremony { header, records: vec![], h: points.clone(), l: points[..10].to_vec() };
    ceremony.save(&folder.join(format!("{name}-{id}-0000.ceremony"))).unwrap();
}

fn sheaf(arguments: &[&str]) -> Command {
    let mut command = Command::new(sheaf_binary().unwrap());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn contribute(folder: &Path, name: &str) -> Command {
    sheaf(&["ceremony", "contribute", "--folder", folder.to_str().unwrap(), "--name", name])
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Killed between two circuits, or in the second: what is done stays, the rest is done by the same command, nothing else is left behind.
#[test]
fn a_contribution_that_is_killed_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    begin(folder.path(), "quick", 1, 16);
    begin(folder.path(), "long-one", 2, 1 << 15);
    let (first, second) = (folder.path().join("quick-1-0001.ceremony"), folder.path().join("long-one-2-0001.ceremony"));
    let mut child = contribute(folder.path(), "Ada").spawn().unwrap();
    until("the first circuit", || first.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = fs::read(&first).unwrap();

    let again = contribute(folder.path(), "Ada").output().unwrap();
    assert!(again.status.success() && text(&again).contains("Ada has contributed already"), "{}", text(&again));
    assert_eq!(fs::read(&first).unwrap(), kept, "what was done stays");
    for (file, id) in [(&first, 1), (&second, 2)] {
        let ceremony = Ceremony::load(file).unwrap();
        ceremony.check_records().unwrap();
        assert_eq!((ceremony.contributions(), ceremony.header.id), (1, id));
        assert!(text(&again).contains(&ceremony.transcript().to_string()), "what to publish: {}", text(&again));
    }
    let next = contribute(folder.path(), "Grace").output().unwrap();
    assert!(next.status.success(), "{}", text(&next));
    let mut names: Vec<String> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    // a kill may leave a note of digest half-made, which is written anew when it is needed
    names.retain(|name| ![".lock", ".ok", ".ok.partial"].iter().any(|end| name.ends_with(end)));
    names.sort();
    let expected = ["long-one-2-0000", "long-one-2-0001", "long-one-2-0002", "quick-1-0000", "quick-1-0001", "quick-1-0002"];
    assert_eq!(names, expected.map(|name| format!("{name}.ceremony")));
}

fn refused(arguments: &[&str]) -> String {
    let output = sheaf(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}: {}", text(&output));
    text(&output)
}

#[test]
fn powers_that_no_deployment_can_use_are_refused_with_what_to_fetch() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().to_str().unwrap();
    let small = snarkjs::ptau(6);
    let import = |ptau: &str| refused(&["keys", "import", "--ptau", ptau, "--k", "16", "--keys-dir", keys]);
    let said = import(small.to_str().unwrap());
    assert!(said.contains("2^6") && said.contains("2^24 are needed") && said.contains("download a larger file"), "{said}");
    assert!(import("/nowhere/pot.ptau").contains("/nowhere/pot.ptau"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let ceremony = folder.path().join("ceremony");
    let ceremony = ceremony.to_str().unwrap();
    let said = refused(&["ceremony", "init", "--ptau", small.to_str().unwrap(), "--folder", ceremony, "--shapes", "test"]);
    assert!(said.contains("2^6") && said.contains("download a larger file"), "{said}");
    assert!(refused(&["ceremony", "contribute", "--folder", ceremony, "--name", "Ada"]).contains("sheaf ceremony init"));
}

/// A file that is there was begun with other powers of tau, or for another circuit: nothing goes on from it, and it stays as it is.
#[test]
fn init_keeps_no_file_that_was_begun_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let circuit = Circuit::new(by_name("test").unwrap().shape, 1).unwrap();
    let (path, ptau) = (folder.path().join("test-1-0000.ceremony"), snarkjs::ptau(power(&circuit)));
    let arguments = ["ceremony", "init", "--folder", folder.path().to_str().unwrap(), "--ptau", ptau.to_str().unwrap(), "--shapes", "test"];
    for (digest, because) in [(circuit.digest(), "was begun with the powers of tau"), ([7; 32], "is for circuit test 1")] {
        let _ = fs::remove_file(&path);
        begin(folder.path(), "test", 1, 16);
        let mut ceremony = Ceremony::load(&path).unwrap();
        ceremony.header.circuit = digest;
        fs::remove_file(&path).unwrap();
        ceremony.save(&path).unwrap();
        let said = refused(&arguments);
        assert!(said.contains("test-1-0000.ceremony is not what") && said.contains("--folder") && said.contains(because), "{said}");
        assert_eq!(Ceremony::load(&path).unwrap(), ceremony);
    }
}

/// Of two circuits the second is not ready, or the manifest has no place: the first is not ended either.
#[test]
fn no_circuit_is_ended_before_all_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let ceremony = folder.path().join("ceremony");
    fs::create_dir(&ceremony).unwrap();
    begin(&ceremony, "quick", 1, 16);
    assert!(contribute(&ceremony, "Ada").output().unwrap().status.success());
    begin(&ceremony, "other", 2, 16);
    let (ptau, keys, taken) = (snarkjs::ptau(6), folder.path().join("keys"), folder.path().join("taken.json"));
    fs::write(&taken, "somebody's").unwrap();
    let finalize = |beacon: &str, manifest: &Path| {
        let [folder, ptau, keys, manifest] = [&ceremony, &ptau, &keys, manifest].map(|path| path.to_str().unwrap());
        let files = ["--folder", folder, "--ptau", ptau, "--keys-dir", keys, "--manifest", manifest];
        refused(&[&["ceremony", "finalize", "--beacon", beacon, "--beacon-power", "2"], &files[..]].concat())
    };
    let free = folder.path().join("manifest.json");
    let said = finalize("0xc0ffee", &free);
    assert!(said.contains("circuit 2 other: nobody has contributed") && said.contains("sheaf ceremony contribute"), "{said}");
    assert!(contribute(&ceremony, "Grace").output().unwrap().status.success());
    for (beacon, manifest, because) in [("c0ffee", &free, "--beacon"), ("0xc0ffee", &taken, "--manifest"), ("0xc0ffee", &ceremony, "--manifest")] {
        let said = finalize(beacon, manifest);
        assert!(said.contains(because), "{said}");
    }
    let ended = ["quick-1-0003.ceremony", "other-2-0002.ceremony"].map(|name| ceremony.join(name).exists());
    assert!(ended == [false, false] && !free.exists() && fs::read(&taken).unwrap() == b"somebody's");
}

#[test]
fn a_file_under_another_name_and_a_damaged_one_are_named() {
    let folder = tempfile::tempdir().unwrap();
    begin(folder.path(), "quick", 1, 16);
    let begun = folder.path().join("quick-1-0000.ceremony");
    fs::copy(&begun, folder.path().join("quick-1-0007.ceremony")).unwrap();
    let said = text(&contribute(folder.path(), "Ada").output().unwrap());
    assert!(said.contains("should be named quick-1-0000.ceremony"), "{said}");
    fs::remove_file(folder.path().join("quick-1-0007.ceremony")).unwrap();
    let bytes = fs::read(&begun).unwrap();
    fs::write(&begun, &bytes[..bytes.len() - 1]).unwrap();
    let said = text(&contribute(folder.path(), "Ada").output().unwrap());
    assert!(said.contains("quick-1-0000.ceremony") && said.contains("cut short"), "{said}");
}
