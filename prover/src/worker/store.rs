//! Proving keys from an S3-compatible store: fetched once into the worker's folder of keys, checked there, and opened as any other.
//!
//! ```text
//! missing ──fetch into <file>.part──> whole ──sha256 is the manifest's──> <file>
//!              ^      │ cut: resumed where it was         │ not: from the start once, then refused
//!              └──────┘                                   └─────────────> nothing is left
//! ```
//! Objects are named as the files are. Several workers that share a folder fetch a key once: the others wait for the lock beside it. Before the first
//! byte there must be room for the last. Credentials, region and endpoint come from the usual variables (`AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`).

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path as Name;
use object_store::{ClientConfigKey, GetOptions, GetRange, ObjectStore, ObjectStoreExt, RetryConfig};
use sha2::{Digest, Sha256};
use sheaf_protocol::manifest::HexWord;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Attempts to go on with a download that broke.
const ATTEMPTS: u32 = 5;
/// Pause between them.
const PAUSE: Duration = Duration::from_millis(500);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one answer may take altogether.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3_600);
/// Bytes hashed at a time.
const READ_BYTES: usize = 1 << 20;

/// Why a key cannot be had from a store.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The address is none.
    #[error("--key-store {address}: expected s3://bucket or s3://bucket/prefix")]
    Address {
        /// As given.
        address: String,
    },
    /// The settings do not make a client.
    #[error("--key-store {address}: check AWS_REGION, AWS_ENDPOINT and the AWS credentials")]
    Settings {
        /// As given.
        address: String,
        /// Why.
        #[source]
        source: Box<object_store::Error>,
    },
    /// There is no such object.
    #[error("{store} holds no {name}; upload the key that the manifest names under this name, or correct --key-store")]
    Missing {
        /// The store.
        store: String,
        /// The object.
        name: String,
    },
    /// The store does not answer, or refuses.
    #[error("{store} does not give {name}; check that it can be reached (AWS_ENDPOINT) and that the credentials may read it")]
    Unavailable {
        /// The store.
        store: String,
        /// The object.
        name: String,
        /// Why.
        #[source]
        source: Box<object_store::Error>,
    },
    /// The object is not the manifest's.
    #[error("{name} in {store} has digest {got}, the manifest names {expected}: it is another deployment's or was altered; upload the right one")]
    Digest {
        /// The store.
        store: String,
        /// The object.
        name: String,
        /// By the manifest.
        expected: HexWord,
        /// Found.
        got: HexWord,
    },
    /// The folder of keys is too small.
    #[error("{path} needs {needed_mb} MB and its disk has {free_mb} MB free; make room, or choose another --keys-dir")]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// What is missing of the file.
        needed_mb: u64,
        /// What there is.
        free_mb: u64,
    },
    /// The folder of keys does not take it.
    #[error("cannot write {path}; check its permissions and the free space")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A place that keys are fetched from.
#[derive(Clone, Debug)]
pub struct KeyStore {
    objects: Arc<dyn ObjectStore>,
    prefix: Name,
    address: String,
}

impl KeyStore {
    /// The store at `s3://bucket/prefix`, with the settings of the environment; nothing is asked of it yet.
    ///
    /// # Errors
    /// [`KeyStoreError::Address`], [`KeyStoreError::Settings`].
    pub fn open(address: &str) -> Result<Self, KeyStoreError> {
        Self::with_settings(address, std::env::vars())
    }

    /// As [`KeyStore::open`], with these variables.
    ///
    /// # Errors
    /// [`KeyStoreError::Address`], [`KeyStoreError::Settings`].
    pub fn with_settings(address: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, KeyStoreError> {
        let wrong = || KeyStoreError::Address { address: address.to_owned() };
        let (bucket, prefix) = address.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, ""))).ok_or_else(wrong)?;
        if bucket.is_empty() || prefix.starts_with('/') || prefix.contains("//") {
            return Err(wrong());
        }
        let prefix = Name::parse(prefix.trim_end_matches('/')).map_err(|_| wrong())?;
        let retry = RetryConfig { max_retries: 2, retry_timeout: Duration::from_secs(30), ..RetryConfig::default() };
        let known = |(name, value): (String, String)| {
            let key = (name.starts_with("AWS_") && !value.is_empty()).then(|| name.to_lowercase())?;
            Some((key.parse::<AmazonS3ConfigKey>().ok()?, value))
        };
        let settings = variables.into_iter().filter_map(known);
        let mut builder = settings.fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(key, value));
        for (key, value) in [(ClientConfigKey::ConnectTimeout, CONNECT_TIMEOUT), (ClientConfigKey::Timeout, ANSWER_TIMEOUT)] {
            builder = builder.with_config(AmazonS3ConfigKey::Client(key), format!("{} seconds", value.as_secs()));
        }
        let objects = builder.with_bucket_name(bucket).with_retry(retry).build();
        let objects = objects.map_err(|source| KeyStoreError::Settings { address: address.to_owned(), source: Box::new(source) })?;
        Ok(Self { objects: Arc::new(objects), prefix, address: address.trim_end_matches('/').to_owned() })
    }

    /// Brings the object called `name` to `file`, unless there is a file already: whoever opens that checks it.
    ///
    /// # Errors
    /// [`KeyStoreError`]; what arrived of a download that broke stays for the next attempt.
    pub async fn fetch(&self, name: &str, expected: &HexWord, file: &Path) -> Result<(), KeyStoreError> {
        if file.exists() {
            return Ok(());
        }
        let lock = beside(file, ".fetch");
        let _lock = tokio::task::spawn_blocking(move || locked(&lock).map_err(|source| KeyStoreError::Write { path: lock, source }))
            .await
            .unwrap_or_else(|error| Err(KeyStoreError::Write { path: file.to_owned(), source: io::Error::other(error) }))?;
        if file.exists() {
            return Ok(());
        }
        let part = beside(file, ".part");
        let resumed = length(&part) > 0;
        tracing::info!(store = self.address, name, resumed, "fetching a proving key");
        let mut got = self.bring(name, &part).await?;
        if got != *expected && resumed {
            tracing::warn!(name, "what was resumed is not the key; fetching it from the start");
            remove(&part)?;
            got = self.bring(name, &part).await?;
        }
        if got != *expected {
            remove(&part)?;
            return Err(KeyStoreError::Digest { store: self.address.clone(), name: name.to_owned(), expected: *expected, got });
        }
        fs::rename(&part, file).map_err(|source| KeyStoreError::Write { path: file.to_owned(), source })
    }

    /// All of the object in `part`, and its digest.
    async fn bring(&self, name: &str, part: &Path) -> Result<HexWord, KeyStoreError> {
        let object: Name = self.prefix.parts().chain(Name::from(name).parts()).collect();
        let refused = |source| self.refused(name, source);
        let size = self.objects.head(&object).await.map_err(refused)?.size;
        if length(part) > size {
            remove(part)?;
        }
        check_room(part, size - length(part))?;
        let mut left = ATTEMPTS;
        while length(part) < size {
            match self.go_on(&object, part).await {
                Err(Broken::Write(source)) => return Err(KeyStoreError::Write { path: part.to_owned(), source }),
                Err(Broken::Read(source)) if left == 0 => return Err(refused(source)),
                // what is short after all attempts, the digest refuses
                Ok(()) if left == 0 || length(part) >= size => break,
                Ok(()) | Err(Broken::Read(_)) => {}
            }
            left -= 1;
            tracing::warn!(name, left, bytes = length(part), "the download broke; going on with it");
            tokio::time::sleep(PAUSE).await;
        }
        let path = part.to_owned();
        let digest = tokio::task::spawn_blocking(move || digest(&path)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        digest.map_err(|source| KeyStoreError::Write { path: part.to_owned(), source })
    }

    /// Appends what is missing until the end or a break.
    async fn go_on(&self, object: &Name, part: &Path) -> Result<(), Broken> {
        let options = GetOptions { range: Some(GetRange::Offset(length(part))), ..GetOptions::default() };
        let mut pieces = self.objects.get_opts(object, options).await.map_err(Broken::Read)?.into_stream();
        let mut out = File::options().create(true).append(true).open(part).map_err(Broken::Write)?;
        while let Some(piece) = futures::StreamExt::next(&mut pieces).await {
            out.write_all(&piece.map_err(Broken::Read)?).map_err(Broken::Write)?;
        }
        out.sync_all().map_err(Broken::Write)
    }

    fn refused(&self, name: &str, source: object_store::Error) -> KeyStoreError {
        let (store, name) = (self.address.clone(), name.to_owned());
        match source {
            object_store::Error::NotFound { .. } => KeyStoreError::Missing { store, name },
            source => KeyStoreError::Unavailable { store, name, source: Box::new(source) },
        }
    }
}

/// Which end of a download broke.
enum Broken {
    Read(object_store::Error),
    Write(io::Error),
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}

fn remove(file: &Path) -> Result<(), KeyStoreError> {
    match fs::remove_file(file) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(KeyStoreError::Write { path: file.to_owned(), source }),
        _ => Ok(()),
    }
}

fn locked(path: &Path) -> io::Result<File> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let lock = File::options().create(true).truncate(false).write(true).open(path)?;
    lock.lock().map(|()| lock)
}

fn check_room(file: &Path, needed: u64) -> Result<(), KeyStoreError> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let disk = rustix::fs::statvfs(folder).map_err(|error| KeyStoreError::Write { path: folder.to_owned(), source: error.into() })?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let no_room = || KeyStoreError::NoRoom { path: file.to_owned(), needed_mb: needed.div_ceil(1 << 20), free_mb: free >> 20 };
    if needed <= free { Ok(()) } else { Err(no_room()) }
}

fn digest(file: &Path) -> io::Result<HexWord> {
    let (mut hasher, mut bytes, mut file) = (Sha256::new(), vec![0; READ_BYTES], File::open(file)?);
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(HexWord(hasher.finalize().into())),
            length => hasher.update(&bytes[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_no_bucket_is_refused() {
        for wrong in ["", "bucket", "http://host/bucket", "s3://", "s3:///prefix", "s3://bucket//a"] {
            assert!(matches!(KeyStore::open(wrong), Err(KeyStoreError::Address { .. })), "{wrong}");
        }
    }
}
