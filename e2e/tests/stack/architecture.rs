//! The import rules of ARCHITECTURE.md, read from `cargo metadata` and the sources: a new edge fails here first.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who imports whom, of any kind of dependency. Exactly this: an edge that is gone goes from here too.
const EDGES: [(&str, &[&str]); 8] = [
    ("protocol", &[]),
    ("circuits", &["protocol"]),
    ("store", &["protocol"]),
    ("sequencer", &["protocol", "store"]),
    ("settlement", &["protocol", "store"]),
    ("prover", &["circuits", "protocol", "store"]),
    ("cli", &["circuits", "protocol", "prover", "sequencer", "settlement", "store"]),
    ("e2e", &["circuits", "cli", "protocol", "prover", "sequencer", "settlement", "store"]),
];

/// Crates that only some of ours may name.
const CONFINED: [(&str, &[&str]); 11] = [
    ("ethers-core", &["settlement"]),
    ("ethers-signers", &["settlement"]),
    ("ethers-contract", &["settlement"]),
    ("jsonrpsee", &["settlement"]),
    ("ark-groth16", &["circuits", "prover", "cli", "e2e"]),
    ("ark-relations", &["circuits", "prover", "cli", "e2e"]),
    ("taceo-groth16", &["circuits"]),
    ("memmap2", &["circuits"]),
    ("sqlx", &["store", "sequencer", "settlement", "prover", "cli", "e2e"]),
    ("axum", &["sequencer", "prover", "cli", "e2e"]),
    ("tokio", &["store", "sequencer", "settlement", "prover", "cli", "e2e"]),
];

/// Crates that must not be in the tree at all; the reasons are in deny.toml, which says more where cargo-deny is installed.
const BANNED: [&str; 5] = ["ethers", "ethers-providers", "ethers-middleware", "openssl", "native-tls"];

/// The only place that crates come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// How SQL looks in Rust.
const SQL: [&str; 5] = ["sqlx::query", "sqlx::raw_sql", "QueryBuilder", "query_scalar", "query_as"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Names of the declared dependencies of every crate of the workspace, of all kinds; our own without their prefix.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().trim_start_matches("sheaf-").to_owned();
    let names = |package: &Value| package["dependencies"].as_array().unwrap().iter().map(name).collect();
    metadata["packages"].as_array().unwrap().iter().map(|package| (name(package), names(package))).collect()
}

/// Rust files below a folder, test modules apart.
fn sources(folder: &Path) -> Vec<PathBuf> {
    files(folder, &["rs"]).into_iter().filter(|path| path.file_stem().is_some_and(|stem| stem != "tests")).collect()
}

/// Files below a folder with one of these extensions.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extensions));
        } else if path.extension().and_then(|extension| extension.to_str()).is_some_and(|extension| extensions.contains(&extension)) {
            found.push(path);
        }
    }
    found
}

/// Places below `folder` (relative to the workspace) that contain one of `words`.
fn mentions(folder: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in sources(&root().join(folder)) {
        for (index, line) in std::fs::read_to_string(&file).unwrap().lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{}: {}", file.strip_prefix(root()).unwrap().display(), index + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn crates_import_each_other_as_the_architecture_says() {
    let ours: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    let declared: BTreeMap<String, BTreeSet<String>> = dependencies()
        .into_iter()
        .map(|(name, dependencies)| (name, dependencies.into_iter().filter(|dependency| ours.contains(dependency.as_str())).collect()))
        .collect();
    let allowed: BTreeMap<String, BTreeSet<String>> =
        EDGES.iter().map(|(name, edges)| ((*name).to_owned(), edges.iter().map(|edge| (*edge).to_owned()).collect())).collect();
    assert_eq!(declared, allowed, "left: Cargo.toml, right: ARCHITECTURE.md");
}

#[test]
fn confined_crates_stay_where_they_belong() {
    for (name, dependencies) in dependencies() {
        for (confined, homes) in CONFINED {
            assert!(!dependencies.contains(confined) || homes.contains(&name.as_str()), "{name} must not import {confined}");
        }
    }
}

#[test]
fn the_whole_tree_is_from_the_registry_and_holds_nothing_banned() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let value = |line: &str, key: &str| line.strip_prefix(key)?.strip_suffix('"').map(str::to_owned);
    let names: Vec<String> = lock.lines().filter_map(|line| value(line, "name = \"")).collect();
    let sources: BTreeSet<String> = lock.lines().filter_map(|line| value(line, "source = \"")).collect();
    assert!(names.len() > EDGES.len(), "Cargo.lock is not read as it is written");
    assert_eq!(sources, BTreeSet::from([REGISTRY.to_owned()]));
    let banned: Vec<&String> = names.iter().filter(|name| BANNED.contains(&name.as_str())).collect();
    assert!(banned.is_empty(), "banned in deny.toml: {banned:?}");
}

#[test]
fn sql_is_in_the_store_only() {
    for (name, _) in EDGES.iter().filter(|(name, _)| *name != "store") {
        let found = mentions(&format!("{name}/src"), &SQL);
        assert!(found.is_empty(), "SQL belongs in store/:\n{}", found.join("\n"));
    }
}

#[test]
fn a_worker_sees_no_database() {
    let found = mentions("prover/src/worker", &["sheaf_store", "sqlx"]);
    assert!(found.is_empty(), "a worker reaches the gateway and nothing else:\n{}", found.join("\n"));
}

#[test]
fn the_rules_of_sheaf_know_no_world() {
    let found = mentions("protocol/src", &["std::net", "Command::new", "std::env", "SystemTime", "Instant::now", "OsRng", "thread_rng"]);
    assert!(found.is_empty(), "protocol has no network, environment, clock or OS randomness:\n{}", found.join("\n"));
}

/// Every name in the last column of docs/security.md's tables is a test of Rust, a test of the contracts or a forgery.
#[test]
fn the_tests_that_security_names_exist() {
    let folders = ["circuits", "protocol", "sequencer", "prover", "settlement", "store", "cli", "e2e", "contracts/test"];
    let text: String =
        folders.iter().flat_map(|folder| files(&root().join(folder), &["rs", "sol"])).map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let page = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let threats = page.split("## L2BEAT").next().unwrap();
    let names: BTreeSet<&str> = threats.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit(" | ").next()).flat_map(quoted).collect();
    assert!(names.len() > 40, "{} names", names.len());
    let exists = |name: &&&str| {
        text.contains(&format!("fn {name}(")) || text.contains(&format!("function {name}(")) || text.contains(&format!("forgery(\"{name}\""))
    };
    let missing: Vec<&&str> = names.iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "docs/security.md names tests that do not exist: {missing:?}");
}

/// What stands between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}
