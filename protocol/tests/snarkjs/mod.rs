//! Powers of tau made by snarkjs, as installed by `make tools`: from a beacon, so that every run has the same. Made once and kept below
//! the target folder.

use sheaf_protocol::artifact::{Artifact, ArtifactError};
use std::path::{Path, PathBuf};
use std::process::Command;

const SNARKJS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/node_modules/snarkjs/build/cli.cjs");

/// Runs snarkjs in a folder.
pub(crate) fn snarkjs(folder: &Path, arguments: &[&str]) {
    assert!(Path::new(SNARKJS).exists(), "snarkjs is not installed: run make tools");
    let output = Command::new("node").arg(SNARKJS).args(arguments).current_dir(folder).output().expect("node runs; it is needed for the tools");
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "snarkjs {arguments:?}: {printed}");
}

/// Where `make` puts its file, made if it is not there yet.
fn made(name: &str, make: impl Fn(&Path)) -> PathBuf {
    let artifact = Artifact::at(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    let find = |artifact: &Artifact| Ok(artifact.path().exists().then_some(()));
    let found = artifact.made_once(find, |locked| -> Result<(), ArtifactError> {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path());
        let bytes = std::fs::read(folder.path().join("made.ptau")).unwrap();
        locked.write(|out| out.write_all(&bytes)).map(drop)
    });
    found.unwrap();
    artifact.path().to_owned()
}

/// Powers to which nobody contributed.
pub(crate) fn fresh(power: u32) -> PathBuf {
    made(&format!("fresh-{power}.ptau"), |folder| snarkjs(folder, &["powersoftau", "new", "bn128", &power.to_string(), "made.ptau"]))
}

/// `2^power` powers of a tau that nobody chose.
pub(crate) fn ptau(power: u32) -> PathBuf {
    let beacon = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";
    made(&format!("beacon-{power}.ptau"), |folder| {
        let fresh = fresh(power);
        snarkjs(folder, &["powersoftau", "beacon", fresh.to_str().unwrap(), "made.ptau", beacon, "10"]);
    })
}

/// The same, prepared for phase 2 of snarkjs: minutes for powers above 2^11.
pub(crate) fn prepared(power: u32) -> PathBuf {
    made(&format!("prepared-{power}.ptau"), |folder| {
        snarkjs(folder, &["powersoftau", "prepare", "phase2", ptau(power).to_str().unwrap(), "made.ptau"]);
    })
}
