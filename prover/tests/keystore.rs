//! Keys from an S3-compatible store, s3rver of the pinned tools: what is missing, cut, altered or foreign, and a worker that starts from it.
#![expect(clippy::unwrap_used, reason = "tests")]

use object_store::ObjectStoreExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Name;
use sha2::{Digest, Sha256};
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::keys::Keys;
use sheaf_protocol::field::{g1_words, g2_words};
use sheaf_protocol::manifest::{HexWord, Manifest, Setup, SrsEntry};
use sheaf_protocol::shape::by_name;
use sheaf_prover::worker::{KeyCache, KeyCacheError, KeyStore, KeyStoreError};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long the server may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);
const SEED: &str = "prover tests";

struct Server {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/node_modules/s3rver/bin/s3rver.js");
        assert!(program.exists(), "no s3rver; run `make tools`");
        let folder = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("node");
        command.arg(program).args(["--address", "127.0.0.1", "--port", &port.to_string(), "--configure-bucket", "keys", "--silent", "--directory"]);
        let process = command.arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { process, port, _folder: folder };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "s3rver does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn settings(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        let settings = [
            ("AWS_ACCESS_KEY_ID", "S3RVER"),
            ("AWS_SECRET_ACCESS_KEY", "S3RVER"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT", &endpoint),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    fn store(&self) -> KeyStore {
        KeyStore::with_settings("s3://keys/of/us", self.settings()).unwrap()
    }

    /// Puts an object below the prefix.
    async fn put(&self, name: &str, bytes: &[u8]) {
        let builder = AmazonS3Builder::new().with_bucket_name("keys").with_access_key_id("S3RVER").with_secret_access_key("S3RVER");
        let bucket: AmazonS3 = builder.with_endpoint(format!("http://127.0.0.1:{}", self.port)).with_allow_http(true).build().unwrap();
        bucket.put(&Name::from(format!("of/us/{name}")), bytes.to_vec().into()).await.unwrap();
    }
}

fn digest(bytes: &[u8]) -> HexWord {
    HexWord(Sha256::digest(bytes).into())
}

fn some_key() -> Vec<u8> {
    (0..300_000u32).flat_map(|n| n.to_le_bytes()).collect()
}

#[tokio::test]
async fn a_download_that_was_cut_is_resumed_and_one_that_went_wrong_starts_again() {
    let (server, folder, key) = (Server::start(), TempDir::new().unwrap(), some_key());
    server.put("key", &key).await;
    let (store, expected) = (server.store(), digest(&key));
    let beginnings = [key[..500_000].to_vec(), vec![7; 500_000], vec![7; key.len() + 1], key.clone(), Vec::new()];
    for (number, beginning) in beginnings.iter().enumerate() {
        let file = folder.path().join(format!("key-{number}"));
        std::fs::write(folder.path().join(format!("key-{number}.part")), beginning).unwrap();
        store.fetch("key", &expected, &file).await.unwrap();
        assert_eq!(digest(&std::fs::read(&file).unwrap()), expected, "beginning {number}");
        assert!(!folder.path().join(format!("key-{number}.part")).exists());
    }
    // a file that is there is not fetched again
    let there = folder.path().join("there");
    std::fs::write(&there, "anything").unwrap();
    store.fetch("nowhere", &expected, &there).await.unwrap();
}

#[tokio::test]
async fn what_is_missing_altered_or_foreign_is_refused_and_says_so() {
    let (server, folder, key) = (Server::start(), TempDir::new().unwrap(), some_key());
    let (store, file) = (server.store(), folder.path().join("key"));
    let error = store.fetch("key", &digest(&key), &file).await.unwrap_err();
    assert!(matches!(&error, KeyStoreError::Missing { .. }) && error.to_string().contains("s3://keys/of/us holds no key"), "{error}");
    let mut altered = key.clone();
    altered[1_000] ^= 1;
    for wrong in [&altered[..], b"another deployment's", &key[..key.len() - 1]] {
        server.put("key", wrong).await;
        let error = store.fetch("key", &digest(&key), &file).await.unwrap_err();
        assert!(matches!(&error, KeyStoreError::Digest { got, .. } if *got == digest(wrong)), "{error}");
        assert!(!file.exists() && !folder.path().join("key.part").exists(), "nothing is left");
    }
    let mut nobody = server.settings();
    nobody.retain(|(name, _)| name != "AWS_ENDPOINT");
    nobody.push(("AWS_ENDPOINT".into(), "http://127.0.0.1:1".into()));
    let error = KeyStore::with_settings("s3://keys", nobody).unwrap().fetch("key", &digest(&key), &file).await.unwrap_err();
    assert!(matches!(error, KeyStoreError::Unavailable { .. }) && error.to_string().contains("AWS_ENDPOINT"), "{error}");
}

/// Several workers of one host start at once with an empty folder of keys.
#[tokio::test]
async fn workers_that_share_a_folder_fetch_a_key_once() {
    let (server, folder, key) = (Server::start(), TempDir::new().unwrap(), some_key());
    server.put("key", &key).await;
    let fetch = || {
        let (store, expected, file) = (server.store(), digest(&key), folder.path().join("key"));
        tokio::spawn(async move { store.fetch("key", &expected, &file).await })
    };
    for fetched in [fetch(), fetch(), fetch(), fetch()] {
        fetched.await.unwrap().unwrap();
    }
    assert_eq!(std::fs::read(folder.path().join("key")).unwrap(), key);
}

fn made_key(folder: &Path) -> Manifest {
    let circuit = Circuit::new(by_name("test").unwrap().shape, 1).unwrap();
    let keys = Keys::insecure_dev(folder, "test", &circuit, SEED, &mut |_, _| {}).unwrap();
    let zero = HexWord([0; 32]);
    let vk = keys.verifying();
    Manifest {
        setup: Setup::InsecureDevelopment { seed: SEED.into() },
        contract: zero,
        srs: SrsEntry { k: 16, digest: zero, tau: [zero; 4], l0: [[zero; 2]; 9] },
        alpha: g1_words(&vk.alpha_g1).map(HexWord),
        beta: g2_words(&vk.beta_g2).map(HexWord),
        circuits: vec![keys.entry("test", &circuit)],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_starts_with_keys_from_the_store_alone() {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let manifest = tokio::task::spawn_blocking(|| made_key(made)).await.unwrap();
    let path = Keys::path_of(made, &manifest.setup, &manifest.circuits[0]);
    let name = path.strip_prefix(made).unwrap().to_str().unwrap().to_owned();
    let (server, folder) = (Server::start(), TempDir::new().unwrap());
    let open = async |store: KeyStore| {
        let (directory, manifest) = (folder.path().to_owned(), manifest.clone());
        tokio::task::spawn_blocking(move || KeyCache::open_from(&directory, &manifest, &[], Some(&store))).await.unwrap()
    };
    let error = open(server.store()).await.unwrap_err();
    assert!(matches!(error, KeyCacheError::Fetch { .. }), "{error}");
    server.put(&name, &std::fs::read(&path).unwrap()).await;
    let keys = open(server.store()).await.unwrap();
    keys.lay_out().unwrap();
    assert_eq!(keys.offers()[0].verifying_key, manifest.circuits[0].verifying_key);
    // once fetched, the store is not needed
    drop(server);
    assert!(KeyCache::open(folder.path(), &manifest, &[]).is_ok());
}
