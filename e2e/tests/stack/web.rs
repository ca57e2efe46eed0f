//! The pages in a real Chromium against a live node: `tools/walk.mjs` says what it looks at. With `SHEAF_SCREENSHOTS` set to a folder, the same walk in
//! both themes at both sizes over a busier node keeps a picture of each page there (`make screenshots`).

use sheaf_cli::client::to_json;
use sheaf_e2e::{Moment, Town, repository};
use sheaf_prover::wire::Claim;
use sheaf_prover::worker::KeyCache;
use std::time::Duration;
use tokio::process::Command;

/// Longest wait for the walk.
const PATIENCE: Duration = Duration::from_secs(300);
/// Where the pages link L1 hashes to.
const L1_EXPLORER: &str = "https://explorer.example.org";

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_walked_in_chromium() {
    let shots = std::env::var("SHEAF_SCREENSHOTS").ok();
    let mut town = Town::found_with(4, &["--l1-explorer", L1_EXPLORER]).await.unwrap();
    let rounds = if shots.is_some() { 24 } else { 1 };
    for _ in 0..rounds {
        town.people.send_transfers(12).await.unwrap();
        town.until(Moment::AllFinal).await.unwrap();
    }
    town.people.withdraw(1).await.unwrap();
    town.until(Moment::AllFinal).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let (domain, to) = (town.people.domain, town.people.users[2].slot);
    let transfers = ["transfer", "waiting"].map(|name| {
        let (signed, file) = (town.people.users[0].transfer(domain, to).unwrap(), folder.path().join(name));
        std::fs::write(&file, to_json(&signed).to_string()).unwrap();
        file
    });

    // a worker that does not exist
    let circuits = KeyCache::of(town.provers().to_vec()).offers();
    let (claim, asked) = (folder.path().join("claim"), Claim { worker: "walker".to_owned(), circuits, memory_mb: 4_096, wait_s: 20 });
    std::fs::write(&claim, serde_json::to_vec(&asked).unwrap()).unwrap();

    let mut walk = Command::new("node");
    walk.arg(repository().join("tools/walk.mjs")).arg(town.url()).arg("--transfer").arg(&transfers[0]);
    walk.arg("--operator").arg(town.launcher.operator_file()).args(["--worker", "worker-1"]).arg("--waiting").arg(&transfers[1]);
    walk.args(["--l1-explorer", L1_EXPLORER]).arg("--claim").arg(&claim).arg("--token").arg(town.launcher.token_file());
    if let Some(folder) = shots {
        walk.arg("--all").arg("--shots").arg(repository().join(folder));
    }
    let output = tokio::time::timeout(PATIENCE, walk.kill_on_drop(true).output()).await.unwrap().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    println!("{said}");
}
