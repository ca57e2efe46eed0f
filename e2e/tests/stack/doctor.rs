//! The doctor as an operator uses it: the real binary against a running town, and on a machine without one.

use serde_json::Value;
use sheaf_e2e::{Town, running, sheaf_binary, test_keys};
use sheaf_settlement::anvil::DEV_KEYS;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);

/// Whether all is well, and the names of the checks that failed.
async fn findings(command: &mut Command) -> (bool, Vec<String>) {
    let output = command.kill_on_drop(true).output().await.unwrap();
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let failed = findings.iter().filter(|finding| finding["ok"] == false).map(|finding| finding["check"].as_str().unwrap().to_owned());
    (output.status.success(), failed.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_town_is_well_and_what_is_missing_is_named() {
    let town = Town::found(2).await.unwrap();
    let keys = test_keys();
    let tokens = town.launcher.token_file();
    let doctor = |l1_url: &str| {
        let mut command = Command::new(sheaf_binary().unwrap());
        command.args(["doctor", "--json", "--listen", town.url().trim_start_matches("http://"), "--shapes", "test", "--deployment"]);
        command.arg(&town.stack.deployment_file).args(["--seed", &keys.seed]).env("SHEAF_KEYS", &keys.keys_dir).env("SHEAF_PROVER_TOKENS", &tokens);
        command.env("DATABASE_URL", &town.stack.database_url).env("SHEAF_L1_URL", l1_url).env("SHEAF_OPERATOR_KEY", DEV_KEYS[0]);
        command
    };
    let l1_url = &town.stack.l1_url;
    let ill = |checks: &[&str]| (false, checks.iter().map(|check| (*check).to_owned()).collect::<Vec<_>>());
    assert_eq!(findings(&mut doctor(l1_url)).await, (true, vec![]));
    assert_eq!(findings(&mut doctor("http://127.0.0.1:1")).await, ill(&["l1", "deployment", "operator"]));
    assert_eq!(findings(doctor(l1_url).args(["--keys-dir", "/nowhere"])).await, ill(&["keys", "srs"]));
    assert_eq!(findings(doctor(l1_url).args(["--manifest", "/nowhere/manifest.json"])).await, ill(&["manifest", "keys", "srs"]));
    assert_eq!(findings(doctor(l1_url).env("SHEAF_OPERATOR_KEY", DEV_KEYS[4])).await, ill(&["operator"]));
    assert_eq!(findings(doctor(l1_url).env_remove("DATABASE_URL")).await, ill(&["database"]));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    std::fs::write(&file, "letmein\n").unwrap();
    assert_eq!(findings(doctor(l1_url).env("SHEAF_PROVER_TOKENS", &file)).await, ill(&["tokens"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_that_is_interrupted_leaves_no_server_behind() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let place = folder.path().to_str().unwrap();
    let mut command = Command::new(sheaf_binary().unwrap());
    command.arg("doctor").current_dir(folder.path()).env("TMPDIR", place).env("SHEAF_KEYS", test_keys().keys_dir).env_remove("DATABASE_URL");
    let mut doctor = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let servers = || running().into_iter().filter(|process| process.arguments.contains(place)).count();
    let end = Instant::now() + PATIENCE;
    while servers() == 0 {
        assert!(Instant::now() < end, "the doctor starts no Postgres");
        tokio::time::sleep(POLL).await;
    }
    let pid = doctor.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    assert!(!tokio::time::timeout(PATIENCE, doctor.wait()).await.unwrap().unwrap().success());
    while servers() > 0 {
        assert!(Instant::now() < end, "a server is left: {:?}", running());
        tokio::time::sleep(POLL).await;
    }
}
