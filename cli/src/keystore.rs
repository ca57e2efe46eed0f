//! A wallet's secrets in one file: Web3 secret storage version 3 (scrypt, AES-128-CTR, keccak MAC) around two keys, with their public
//! parts beside it so that looking needs no password.
//!
//! ```text
//! { "crypto": {..}, "id": "..", "version": 3, "sheaf": { "key": "0x..", "owner": "0x.." } }
//!               └── 64 bytes: the account key that signs transfers, then the L1 key that deposits and claims
//! ```
//!
//! The file is written once, readable by its owner only, and never overwritten. A wrong password and a changed file are refused alike.

use crate::environment::variable;
use anyhow::{Context, bail, ensure};
use eth_keystore::{EthKeystore, KdfparamsType};
use rand::RngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sheaf_protocol::amount::Address;
use sheaf_protocol::schnorr::{PublicKey, SecretKey};
use sheaf_settlement::key::L1Key;
use std::fs::{self, File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of each of the two keys.
const KEY_BYTES: usize = 32;
/// The most memory that a file may make us spend on scrypt: 128 N r bytes.
const MAX_SCRYPT_BYTES: u64 = 1 << 30;

/// What anybody may know of a wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Key of its accounts.
    pub(crate) key: PublicKey,
    /// Its L1 address: owner of its accounts.
    pub(crate) owner: Address,
}

/// Keys that a new wallet takes over, as hex.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) account: Option<Zeroizing<String>>,
    pub(crate) l1: Option<Zeroizing<String>>,
}

/// A wallet with its secrets. It shows only its public part.
#[derive(Debug)]
pub(crate) struct Wallet {
    pub(crate) key: SecretKey,
    pub(crate) l1: L1Key,
}

impl Wallet {
    /// The keys given, fresh ones in place of the others; and the secret from which they are made again.
    fn generate(given: Given) -> anyhow::Result<(Self, Zeroizing<[u8; 2 * KEY_BYTES]>)> {
        let account = given.account.map_or_else(|| Ok(SecretKey::generate(&mut OsRng).to_bytes()), |text| parse_key("account", &text))?;
        let l1 = given.l1.map_or_else(fresh_l1_key, |text| parse_key("L1", &text))?;
        let mut secret = Zeroizing::new([0u8; 2 * KEY_BYTES]);
        secret[..KEY_BYTES].copy_from_slice(&*account);
        secret[KEY_BYTES..].copy_from_slice(&*l1);
        Ok((Self::of(&*secret).context("a key given is not below its group's order")?, secret))
    }

    fn of(secret: &[u8]) -> anyhow::Result<Self> {
        let (keys, rest) = secret.as_chunks::<KEY_BYTES>();
        let ([account, l1], []) = (keys, rest) else { bail!("the keystore does not hold two keys") };
        let text = Zeroizing::new(hex::encode(l1));
        Ok(Self { key: SecretKey::from_bytes(account)?, l1: L1Key::from_hex(&text)? })
    }

    /// Its public part.
    pub(crate) fn identity(&self) -> Identity {
        Identity { key: self.key.public(), owner: self.l1.address() }
    }
}

fn fresh_l1_key() -> anyhow::Result<Zeroizing<[u8; KEY_BYTES]>> {
    loop {
        let mut bytes = Zeroizing::new([0u8; KEY_BYTES]);
        OsRng.fill_bytes(&mut *bytes);
        // all but about 2^-128 of all byte strings are keys
        if L1Key::from_hex(&Zeroizing::new(hex::encode(bytes.as_slice()))).is_ok() {
            return Ok(bytes);
        }
    }
}

fn parse_key(name: &str, text: &str) -> anyhow::Result<Zeroizing<[u8; KEY_BYTES]>> {
    let digits = text.trim();
    let mut bytes = Zeroizing::new([0u8; KEY_BYTES]);
    let decoded = hex::decode_to_slice(digits.strip_prefix("0x").unwrap_or(digits), &mut *bytes);
    decoded.ok().with_context(|| format!("the {name} key is not 64 hex digits"))?;
    Ok(bytes)
}

/// Encrypts and writes a new wallet; an existing file is left alone.
pub(crate) fn create(path: &Path, password: &str, given: Given) -> anyhow::Result<Identity> {
    ensure!(!path.exists(), "{} exists already; a wallet is never overwritten, choose another file with --keystore", path.display());
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let (wallet, secret) = Wallet::generate(given)?;
    let scratch = tempfile::Builder::new().prefix(".keystore-").tempdir_in(parent)?;
    eth_keystore::encrypt_key(scratch.path(), &mut OsRng, secret.as_slice(), password, Some("encrypted"))?;
    let mut content: Value = serde_json::from_slice(&fs::read(scratch.path().join("encrypted"))?)?;
    content["sheaf"] = serde_json::to_value(wallet.identity())?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(&serde_json::to_vec_pretty(&content)?)?;
    file.sync_all()?;
    Ok(wallet.identity())
}

/// The public part of a wallet file.
pub(crate) fn identity(path: &Path) -> anyhow::Result<Identity> {
    #[derive(Deserialize)]
    struct Public {
        sheaf: Identity,
    }
    Ok(read::<Public>(path)?.sheaf)
}

/// Decrypts a wallet file.
pub(crate) fn open(path: &Path, password: &str) -> anyhow::Result<Wallet> {
    check_parameters(&read(path)?).with_context(|| format!("{} is not a keystore of this program", path.display()))?;
    let secret = eth_keystore::decrypt_key(path, password).map_err(|_| anyhow::anyhow!("wrong password, or {} was changed", path.display()))?;
    let wallet = Wallet::of(&Zeroizing::new(secret))?;
    ensure!(wallet.identity() == identity(path)?, "{} names other public keys than it holds: it was changed", path.display());
    Ok(wallet)
}

/// Lengths and costs that the decryption takes for granted.
fn check_parameters(file: &EthKeystore) -> anyhow::Result<()> {
    ensure!(file.crypto.cipherparams.iv.len() == 16, "initialisation vector of another length");
    ensure!(file.crypto.ciphertext.len() == 2 * KEY_BYTES, "ciphertext of another length");
    let KdfparamsType::Scrypt { dklen, n, r, p, .. } = file.crypto.kdfparams else { bail!("another key derivation than scrypt") };
    ensure!(dklen == 32 && n.is_power_of_two() && p == 1, "unexpected scrypt parameters");
    ensure!(128 * u64::from(n) * u64::from(r) <= MAX_SCRYPT_BYTES, "scrypt parameters ask for too much memory");
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let file = File::open(path).with_context(|| format!("no wallet at {}; make one with `sheaf wallet keygen`", path.display()))?;
    serde_json::from_reader(std::io::BufReader::new(file)).with_context(|| format!("{} is not a keystore", path.display()))
}

/// The password: from the file named, else from `SHEAF_PASSWORD`, else asked for, twice for a new wallet.
pub(crate) fn password(file: Option<&PathBuf>, new: bool) -> anyhow::Result<Zeroizing<String>> {
    let given = match file {
        Some(path) => Some(fs::read_to_string(path).with_context(|| format!("cannot read the password in {}", path.display()))?),
        None => variable("SHEAF_PASSWORD"),
    };
    let password = match given {
        Some(text) => Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()),
        None => ask(new)?,
    };
    ensure!(!password.is_empty(), "the password is empty");
    Ok(password)
}

fn ask(new: bool) -> anyhow::Result<Zeroizing<String>> {
    ensure!(std::io::stdin().is_terminal(), "no terminal to ask for the password; use --password-file or SHEAF_PASSWORD");
    let terminal = console::Term::stderr();
    let read = |prompt: &str| -> anyhow::Result<Zeroizing<String>> {
        terminal.write_str(prompt)?;
        Ok(Zeroizing::new(terminal.read_secure_line()?))
    };
    let password = read("password: ")?;
    ensure!(!new || *read("once more: ")? == *password, "the two passwords differ");
    Ok(password)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use sheaf_settlement::anvil::DEV_KEYS;

    fn given(account: Option<&str>, l1: Option<&str>) -> Given {
        let own = |text: &str| Zeroizing::new(text.to_owned());
        Given { account: account.map(own), l1: l1.map(own) }
    }

    #[test]
    fn a_wallet_survives_its_file_and_only_its_password_opens_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/wallet.json");
        let created = create(&path, "correct horse", given(None, Some(DEV_KEYS[3]))).unwrap();
        assert_eq!(identity(&path).unwrap(), created);
        assert_eq!(open(&path, "correct horse").unwrap().identity(), created);
        assert!(open(&path, "battery staple").unwrap_err().to_string().contains("wrong password"));
        assert_eq!(created.owner, L1Key::from_hex(DEV_KEYS[3]).unwrap().address());
        assert!(create(&path, "x", Given::default()).unwrap_err().to_string().contains("never overwritten"));
    }

    #[test]
    fn an_account_key_is_taken_over_and_a_bad_one_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let secret = SecretKey::from_seed(&[7; 32]).unwrap();
        let text = format!("0x{}\n", hex::encode(*secret.to_bytes()));
        let created = create(&folder.path().join("taken.json"), "p", given(Some(&text), None)).unwrap();
        assert_eq!(created.key, secret.public());
        for bad in ["", "0x12", &"ff".repeat(32)] {
            assert!(create(&folder.path().join("bad.json"), "p", given(Some(bad), None)).is_err(), "{bad}");
        }
        assert!(!folder.path().join("bad.json").exists());
    }

    #[test]
    fn a_changed_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wallet.json");
        create(&path, "p", Given::default()).unwrap();
        let honest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let changes: [fn(&mut Value); 4] = [
            |file| file["sheaf"]["owner"] = format!("0x{}", "11".repeat(20)).into(),
            |file| file["crypto"]["ciphertext"] = "00".repeat(64).into(),
            |file| file["crypto"]["cipherparams"]["iv"] = "00".into(),
            |file| file["crypto"]["kdfparams"]["n"] = (1u32 << 31).into(),
        ];
        for change in changes {
            let mut file = honest.clone();
            change(&mut file);
            fs::write(&path, file.to_string()).unwrap();
            assert!(open(&path, "p").is_err());
        }
    }

    #[test]
    fn the_file_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wallet.json");
        create(&path, "p", Given::default()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
