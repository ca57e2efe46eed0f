//! The README's commands, as they are pasted: every `sh` block of "Stay and play" runs against a development node.

use sheaf_e2e::{repository, sheaf_binary, test_keys};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Longest wait for the start, and for the commands.
const PATIENCE: Duration = Duration::from_secs(300);

/// The `sh` blocks of a section.
fn commands(readme: &str, heading: &str) -> String {
    let section = readme.split_once(&format!("\n## {heading}\n")).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    section.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

/// A development node in `folder`, ready.
async fn development_node(folder: &Path) -> Child {
    let mut command = Command::new(sheaf_binary().unwrap());
    command.args(["node", "--dev", "--dev-shapes", "test", "--seal-age-ms", "300"]).current_dir(folder).env("SHEAF_KEYS", test_keys().keys_dir);
    let mut node = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("Ctrl-C stops everything") {
                return;
            }
        }
        panic!("the node ended before it was ready");
    };
    tokio::time::timeout(PATIENCE, ready).await.unwrap();
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_readme_says_works_when_pasted() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let script = commands(&readme, "Stay and play");
    for part in ["curl -s", "--data @", "wait=final", "sheaf wallet keygen", "sheaf wallet transfer", "sheaf wallet claim"] {
        assert!(script.contains(part), "the README shows no {part}");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut node = development_node(folder.path()).await;

    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &script]).current_dir(folder.path()).env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    let output = tokio::time::timeout(PATIENCE, shell.kill_on_drop(true).output()).await.unwrap().unwrap();
    let (said, complained) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{said}\n{complained}");
    for expected in ["\"chain_id\":\"31337\"", "\"state\":\"accepted\"", "\"state\":\"final\"", "claimed 5000000 of token 1", "withdraw", "deposited"]
    {
        assert!(said.contains(expected), "no {expected} in\n{said}\n{complained}");
    }
    assert!(!said.contains("\"code\":"), "an answer is a problem:\n{said}");

    let notes = folder.path().join(".sheaf/dev");
    assert!(notes.join("env").is_file());
    let pid = node.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let status = tokio::time::timeout(PATIENCE, node.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(std::fs::read_dir(notes).unwrap().count(), 0, "files of a node that is gone");
}
