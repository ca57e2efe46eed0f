//! What a development node tells its user: on the screen, and in files with which the README's commands work when pasted.
//!
//! ```text
//! .sheaf/dev/env             `. .sheaf/dev/env` sets the addresses, a wallet file of this run and the path of this program
//! .sheaf/dev/transfer.json   a signed transfer to post, and transfer.hash, by which it is found afterwards
//! .sheaf/dev/account.key     secret key of a funded account, and l1.key, the key of its owner, for `sheaf wallet keygen`
//! ```
//! The files end with the node. Nothing in them is worth anything elsewhere.

use crate::client::to_json;
use crate::dev::DevStack;
use crate::scenario::{Scenario, User};
use anyhow::Context;
use sheaf_protocol::field::to_hex;
use sheaf_settlement::anvil::DEV_KEYS;
use std::path::{Path, PathBuf};

/// Where the files are, from the folder in which the node was started.
const FOLDER: &str = ".sheaf/dev";
/// Index of the person who signed the transfer.
const PAYER: usize = 0;
/// Index of the person whose keys are written down: the same token, another account, so that neither uses the other's nonces.
const WALLET: usize = 2;
/// Anvil's key that owns every funded account.
const OWNER: usize = 1;

/// The files of a running node. Dropping removes those that no other node has replaced.
#[derive(Debug)]
pub(crate) struct Notes {
    written: Vec<(PathBuf, String)>,
}

impl Notes {
    /// Writes the files and prints what there is; `dir` is the stack's folder.
    pub(crate) fn publish(stack: &DevStack, url: &str, people: &mut Scenario, dir: &Path) -> anyhow::Result<Self> {
        let to = people.users[WALLET].slot;
        let signed = people.users[PAYER].transfer(people.domain, to)?;
        let mut notes = Self { written: Vec::new() };
        std::fs::create_dir_all(FOLDER).with_context(|| format!("cannot create {FOLDER}"))?;
        notes.write("env", environment(url, &stack.l1_url, dir)?)?;
        notes.write("transfer.json", to_json(&signed).to_string())?;
        notes.write("transfer.hash", signed.op.hash(people.domain).to_string())?;
        notes.write("account.key", to_hex(&*people.users[WALLET].key.to_bytes()))?;
        notes.write("l1.key", DEV_KEYS[OWNER].to_owned())?;
        print(stack, url, people, dir);
        Ok(notes)
    }

    fn write(&mut self, name: &str, text: String) -> anyhow::Result<()> {
        let path = Path::new(FOLDER).join(name);
        std::fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        self.written.push((path, text));
        Ok(())
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        for (path, text) in &self.written {
            if std::fs::read_to_string(path).is_ok_and(|found| found == *text) {
                // a leftover only names a node that is gone
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// Commands for a shell.
fn environment(url: &str, l1_url: &str, dir: &Path) -> anyhow::Result<String> {
    let program = std::env::current_exe()?;
    let programs = program.parent().context("this program lies in no folder")?;
    let keystore = std::path::absolute(dir)?.join("wallet.json");
    let exports = [("SHEAF_NODE", url), ("SHEAF_L1_URL", l1_url), ("SHEAF_KEYSTORE", &keystore.to_string_lossy()), ("SHEAF_PASSWORD", "development")]
        .map(|(name, value)| format!("export {name}={}\n", quoted(value)));
    let path = format!("export PATH={}:\"$PATH\"\n", quoted(&programs.to_string_lossy()));
    Ok(format!("# the development node that runs now; the wallet file ends with it\n{}{path}", exports.concat()))
}

/// One word of a shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn print(stack: &DevStack, url: &str, people: &Scenario, dir: &Path) {
    println!("\nSheaf runs with INSECURE development keys.\n");
    println!("  explorer    {url}");
    println!("  API         {url}/v1/status");
    println!("  API pages   {url}/docs");
    println!("  settlement  {url}/v1/settlement");
    println!("  L1          {} (chain 31337), contract {}", stack.l1_url, stack.deployment.deployment.contract);
    println!("  Postgres    {}", stack.database_url);
    println!("  logs        {}", dir.display());
    println!("\nFunded test accounts, all owned by Anvil's key {OWNER} (secret keys of development):");
    for User { key, token, slot, .. } in &people.users {
        println!("  slot {slot}  token {token}  secret {}", to_hex(&*key.to_bytes()));
    }
    println!("\nIn another terminal, in this folder:\n");
    println!("  . {FOLDER}/env");
    println!("  curl -s $SHEAF_NODE/v1/transactions -H 'content-type: application/json' --data @{FOLDER}/transfer.json");
    println!("  curl -s \"$SHEAF_NODE/v1/transactions/$(cat {FOLDER}/transfer.hash)?wait=final&timeout_s=60\"");
    println!("\n  sheaf wallet keygen --account-key-file {FOLDER}/account.key --l1-key-file {FOLDER}/l1.key");
    println!("  sheaf wallet transfer --to {} --amount 1000000 --wait final", people.users[PAYER].slot);
    println!("  sheaf wallet balance\n");
    println!("Ctrl-C stops everything.");
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::process::Command;

    #[test]
    fn a_shell_reads_the_environment_as_it_was_meant() {
        let text = environment("http://127.0.0.1:3000", "http://127.0.0.1:8545", Path::new("/a folder/it's")).unwrap();
        let script = format!("{text}echo \"$SHEAF_NODE|$SHEAF_L1_URL|$SHEAF_KEYSTORE|$SHEAF_PASSWORD\"");
        let output = Command::new("sh").args(["-euc", &script]).output().unwrap();
        let expected = "http://127.0.0.1:3000|http://127.0.0.1:8545|/a folder/it's/wallet.json|development\n";
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }

    #[test]
    fn a_nodes_files_end_with_it_unless_another_replaced_them() {
        let folder = tempfile::tempdir().unwrap();
        let [mine, replaced] = ["mine", "replaced"].map(|name| folder.path().join(name));
        std::fs::write(&mine, "old").unwrap();
        std::fs::write(&replaced, "new").unwrap();
        drop(Notes { written: vec![(mine.clone(), "old".into()), (replaced.clone(), "old".into())] });
        assert!(!mine.exists() && replaced.exists());
    }
}
