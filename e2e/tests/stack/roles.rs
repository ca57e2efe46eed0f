//! Every role as a process of its own, from `sheaf deploy` on: what starts, what stands by, what never can, what survives `kill -9`.

use serde_json::Value;
use sheaf_cli::folder::RunFolder;
use sheaf_cli::guard::Guard;
use sheaf_cli::keys::prepare;
use sheaf_cli::process::{Signal, send};
use sheaf_e2e::{repository, sheaf_binary, test_keys};
use sheaf_settlement::anvil::{Anvil, AnvilOptions, DEV_KEYS};
use sheaf_settlement::key::L1Key;
use sheaf_store::embedded::{Cluster, ClusterOptions, Durability};
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(50);

/// Postgres, Anvil and a deployment; the roles are the tests' business.
struct Site {
    cluster: Cluster,
    anvil: Option<Anvil>,
    l1_url: String,
    sequencer: SocketAddr,
    status: SocketAddr,
    folder: RunFolder,
    guard: Guard,
}

impl Site {
    async fn deployed() -> Self {
        let (folder, guard) = (RunFolder::new(None, "sheaf-roles-").unwrap(), Guard::start(&sheaf_binary().unwrap()).unwrap());
        prepare(&test_keys()).unwrap();
        let options = ClusterOptions { durability: Durability::Disposable, pids: Some(guard.pids()), ..ClusterOptions::default() };
        let cluster = Cluster::start_with(&folder.path().join("postgres"), options).await.unwrap();
        let mut site = Self { cluster, anvil: None, l1_url: String::new(), sequencer: free_address(), status: free_address(), folder, guard };
        site.start_anvil(None).await;
        let manifest = site.run(&["keys", "list", "--json", "--shapes", "test"]).await;
        std::fs::write(site.path("given.json"), manifest.stdout).unwrap();
        let operator = L1Key::from_hex(DEV_KEYS[0]).unwrap().address().to_string();
        let (given, out) = (site.text("given.json"), site.text("deployment"));
        let deployed = site.run(&["deploy", "--operator", &operator, "--manifest", &given, "--out", &out]).await;
        assert!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
        let token = site.run(&["prover", "tokens"]).await;
        let words = String::from_utf8(token.stdout).unwrap();
        let secret = words.split_whitespace().find(|word| word.len() == 64).unwrap();
        let hash = words.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap();
        std::fs::write(site.path("worker-token"), secret).unwrap();
        std::fs::write(site.path("node-tokens"), format!("# the worker of this test\n{hash}\n")).unwrap();
        let made: Value = serde_json::from_slice(&site.run(&["prover", "tokens", "--operator", "alice", "--json"]).await.stdout).unwrap();
        std::fs::write(site.path("operator-token"), made["token"].as_str().unwrap()).unwrap();
        std::fs::write(site.path("node-operators"), made["hash"].as_str().unwrap()).unwrap();
        site
    }

    async fn start_anvil(&mut self, port: Option<u16>) {
        let options = AnvilOptions { port, state: Some(self.path("anvil.json")), pids: Some(self.guard.pids()), ..AnvilOptions::default() };
        let anvil = Anvil::start(options).await.unwrap();
        self.l1_url = anvil.url().to_owned();
        self.anvil = Some(anvil);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The binary as an operator of this site calls it.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(sheaf_binary().unwrap());
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command.envs(left_out_of_compose().map(|name| (name, "")));
        command.env("DATABASE_URL", self.cluster.url()).env("SHEAF_L1_URL", &self.l1_url).env("SHEAF_KEYS", test_keys().keys_dir);
        command.env("SHEAF_OPERATOR_KEY", DEV_KEYS[0]).env("SHEAF_DEPLOYER_KEY", DEV_KEYS[1]).env("SHEAF_PASSWORD", "a password");
        command.env("SHEAF_NODE", format!("http://{}", self.sequencer)).env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        tokio::time::timeout(PATIENCE, self.command(arguments).output()).await.unwrap().unwrap()
    }

    /// What a command that must fail says.
    async fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(!output.status.success(), "{arguments:?} was not refused");
        String::from_utf8(output.stderr).unwrap()
    }

    async fn wallet(&self, name: &str, arguments: &[&str]) -> Value {
        let keystore = self.text(name);
        let output = self.run(&[&["wallet", "--json", "--keystore", &keystore], arguments].concat()).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn person(&self, name: &str, l1_key: &str) -> Value {
        let file = self.path(&format!("{name}.l1"));
        std::fs::write(&file, l1_key).unwrap();
        self.wallet(name, &["keygen", "--l1-key-file", file.to_str().unwrap()]).await
    }

    fn start(&self, name: &str, arguments: &[&str]) -> Role {
        let log = self.path(&format!("{name}.log"));
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let child = self.command(arguments).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Role { child, log }
    }

    fn sequencer_at(&self, name: &str, address: SocketAddr) -> Role {
        let (deployment, tokens, operators) = (self.text("deployment/deployment.json"), self.text("node-tokens"), self.text("node-operators"));
        let (files, listen) = (["--prover-tokens", &tokens, "--operator-tokens", &operators], address.to_string());
        let rest = ["--deployment", &deployment, "--listen", &listen, "--seal-age-ms", "300"];
        self.start(name, &[&["sequencer"], &files[..], &rest].concat())
    }

    fn sequencer(&self) -> Role {
        self.sequencer_at("sequencer", self.sequencer)
    }

    fn settlement(&self) -> Role {
        let (deployment, status) = (self.text("deployment/deployment.json"), self.status.to_string());
        // three L1 nodes, the first of which is always away
        let (away, l1) = (format!("http://127.0.0.1:1,{}", self.l1_url), &self.l1_url);
        let nodes = ["--l1-url", &away, "--l1", l1, "--eth-usd", "2500"];
        self.start("settlement", &[&["settlement", "--deployment", &deployment, "--status-listen", &status], &nodes[..]].concat())
    }

    /// An operator sees the fleet and drains it: the worker that runs ends in order.
    async fn drain_all_workers(&self, mut running: Role) {
        let (gateway, token) = (format!("http://{}", self.sequencer), self.text("operator-token"));
        let verb = async |arguments: &[&str]| -> Value {
            let output = self.run(&[&["prover"], arguments, &["--gateway", &gateway, "--json"]].concat()).await;
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            serde_json::from_slice(&output.stdout).unwrap()
        };
        let status = verb(&["status"]).await;
        let names: Vec<&str> = status["workers"].as_array().unwrap().iter().map(|worker| worker["name"].as_str().unwrap()).collect();
        assert!(!names.is_empty() && status["circuits"][0]["name"] == "test", "{status}");
        let order = ["--reason", "the test ends", "--token-file", &token];
        let drained = verb(&[&["drain"], &names[..], &order].concat()).await;
        assert!(drained.as_array().unwrap().iter().all(|worker| worker["drain_since"].is_string()), "{drained}");
        let ended = tokio::time::timeout(PATIENCE, running.child.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "a drained worker ends in order");
        let job = verb(&["jobs", "1"]).await;
        assert_eq!((&job["job"]["state"], &job["attempts"][0]["outcome"]), (&"proven".into(), &"proven".into()), "{job}");
        assert_eq!(verb(&["status"]).await["actions"][0]["actor"], "alice");
        let refused = self.refused(&[&["prover", "park", "1", "--gateway", &gateway], &order[..]].concat()).await;
        assert!(refused.contains("batch 1") && refused.contains("not_now"), "{refused}");
    }

    fn prover(&self) -> Role {
        self.prover_that_shows(free_address())
    }

    /// A worker that serves its metrics there.
    fn prover_that_shows(&self, metrics: SocketAddr) -> Role {
        let (gateway, token, metrics) = (format!("http://{}", self.sequencer), self.text("worker-token"), metrics.to_string());
        let shape = ["--shapes", "test", "--threads", "1", "--memory-mb", "88"];
        let arguments = ["prover", "run", "--gateway", &gateway, "--token-file", &token, "--metrics-listen", &metrics];
        self.start("prover", &[&arguments[..], &shape].concat())
    }
}

struct Role {
    child: Child,
    log: PathBuf,
}

impl Role {
    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    fn pid(&self) -> i32 {
        self.child.id().unwrap().cast_signed()
    }

    async fn says(&self, words: &str) {
        let end = Instant::now() + PATIENCE;
        while !read(&self.log).contains(words) {
            assert!(Instant::now() < end, "never said {words:?}:\n{}", read(&self.log));
            tokio::time::sleep(POLL).await;
        }
    }
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

/// What compose sets to nothing for a role unless whoever starts it says something else: `NAME: ${NAME:-}`.
fn left_out_of_compose() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("../../../deploy/compose.yaml").lines();
    lines.filter_map(|line| line.trim().split_once(": ")).filter(|(_, value)| value.starts_with("${") && value.ends_with(":-}")).map(|(name, _)| name)
}

/// One that nobody listens on now.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Status and JSON of an answer; nothing while nobody answers.
async fn get(address: SocketAddr, path: &str) -> Option<(u16, Value)> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
    let answer = client.get(format!("http://{address}{path}")).send().await.ok()?;
    Some((answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null)))
}

async fn text(address: SocketAddr, path: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
    client.get(format!("http://{address}{path}")).send().await.unwrap().text().await.unwrap()
}

/// The answer as soon as it is a good one.
async fn until(address: SocketAddr, path: &str, good: impl Fn(u16, &Value) -> bool) -> Value {
    let (end, mut last) = (Instant::now() + PATIENCE, None);
    while Instant::now() < end {
        last = get(address, path).await;
        if let Some((status, value)) = &last
            && good(*status, value)
        {
            return value.clone();
        }
        tokio::time::sleep(POLL).await;
    }
    panic!("{path} of {address} stays {last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_run_alone_and_each_is_killed_once() {
    let site = Site::deployed().await;
    let (mut sequencer, mut settlement, mut prover) = (site.sequencer(), site.settlement(), site.prover());
    sequencer.says("listening").await;
    let payee = site.person("bob", DEV_KEYS[6]).await;
    site.person("alice", DEV_KEYS[5]).await;
    site.wallet("alice", &["deposit", "--amount", "0.5ether"]).await;
    site.wallet("bob", &["deposit", "--amount", "1000"]).await;
    let (key, owner) = (payee["key"].as_str().unwrap(), payee["owner"].as_str().unwrap());
    let transfer = ["transfer", "--to-key", key, "--to-owner", owner, "--amount", "5000000000", "--fee", "0"];

    let first = site.wallet("alice", &transfer).await;
    sequencer.kill().await;
    settlement.kill().await;
    prover.kill().await;
    (sequencer, settlement, prover) = (site.sequencer(), site.settlement(), site.prover());

    let last = site.wallet("alice", &[&transfer[..], &["--wait", "final"]].concat()).await;
    assert_eq!(last["state"], "final");
    let path = format!("/v1/transactions/{}", first["hash"].as_str().unwrap());
    until(site.sequencer, &path, |_, found| found["state"] == "final").await;
    assert_eq!(site.wallet("bob", &["balance"]).await["accounts"][0]["balance"], "10000001000");

    let status = until(site.status, "/status", |_, status| status["leader"] == true && status["proven"].as_u64() >= Some(1)).await;
    assert!(status["operator_balance_wei"].is_string() && status["blocked"].is_null(), "{status}");
    let away: Vec<bool> = status["endpoints"].as_array().unwrap().iter().map(|endpoint| endpoint["error"].is_string()).collect();
    assert_eq!(away, [true, false, false]);
    assert!(status["costs"]["usd_per_batch"].is_string() && status["batches_affordable"].as_u64() > Some(100), "{status}");
    let batch = until(site.sequencer, "/v1/batches/1", |status, _| status == 200).await;
    let kinds: Vec<&str> = batch["l1_costs"].as_array().unwrap().iter().map(|cost| cost["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds, &batch["l1_costs"][0]["usd"]), (vec!["commit", "prove"], &Value::Null), "{batch}");
    site.drain_all_workers(prover).await;
    drop((sequencer, settlement));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_lives_refuses_and_takes_over() {
    let site = Site::deployed().await;
    let (leader, other) = (site.sequencer(), free_address());
    until(site.sequencer, "/v1/status", |status, _| status == 200).await;
    let standby = site.sequencer_at("standby", other);
    until(other, "/health", |status, _| status == 200).await;
    let (status, problem) = get(other, "/v1/status").await.unwrap();
    assert_eq!((status, problem["code"].as_str()), (503, Some("standby")));
    assert_eq!(get(other, "/ready").await.unwrap().0, 503);
    leader.kill().await;
    until(other, "/v1/status", |status, _| status == 200).await;
    until(other, "/ready", |status, _| status == 200).await;
    drop(standby);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_and_the_gateway_are_both_described() {
    let site = Site::deployed().await;
    let _sequencer = site.sequencer();
    until(site.sequencer, "/ready", |status, _| status == 200).await;
    let offered = text(site.sequencer, "/docs/swagger-initializer.js").await;
    for (address, route) in [("/openapi.json", "/v1/transactions"), ("/prover/v1/openapi.json", "/prover/v1/claim")] {
        assert!(offered.contains(&format!("\"{address}\"")), "{address} is not in {offered}");
        assert!(until(site.sequencer, address, |status, _| status == 200).await["paths"][route].is_object(), "{route}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_overtaken_does_not_show_itself_as_leader() {
    let site = Site::deployed().await;
    let (leader, other) = (site.sequencer(), free_address());
    let leads = async |address| text(address, "/metrics").await.lines().any(|line| line == "sheaf_sequencer_leader 1");
    until(site.sequencer, "/ready", |status, _| status == 200).await;
    let standby = site.sequencer_at("standby", other);
    until(other, "/health", |status, _| status == 200).await;
    assert!(leads(site.sequencer).await && !leads(other).await);
    send(leader.pid(), Signal::STOP).unwrap();
    until(other, "/ready", |status, _| status == 200).await;
    send(leader.pid(), Signal::CONT).unwrap();
    until(site.sequencer, "/ready", |status, _| status == 503).await;
    assert!(!leads(site.sequencer).await && leads(other).await);
    drop(standby);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_counter_is_there_before_its_first_event() {
    let site = Site::deployed().await;
    let worker_metrics = free_address();
    let (_sequencer, _settlement) = (site.sequencer(), site.settlement());
    let _worker = site.prover_that_shows(worker_metrics);
    until(site.sequencer, "/ready", |status, _| status == 200).await;
    until(site.status, "/status", |_, status| status["head"].is_u64()).await;
    let mut shown = String::new();
    for address in [site.sequencer, site.status, worker_metrics] {
        until(address, "/metrics", |status, _| status == 200).await;
        shown += &text(address, "/metrics").await;
    }
    let counters: BTreeSet<&str> = shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    assert_eq!(counters, counted_in_sources(), "counters begin at 0 in `counts.rs`, `metrics.rs` and `status.rs`");
    // an alert on growth of one kind needs that kind
    for exact in [
        r#"sheaf_prover_submissions_total{outcome="invalid"} 0"#,
        r#"sheaf_prover_failures_total{reason="self_check"} 0"#,
        "sheaf_batches_resealed_total 0",
        "sheaf_l1_doubts_total 0",
    ] {
        assert!(shown.lines().any(|line| line == exact), "{exact} is not in\n{shown}");
    }
}

/// Every name that our sources count under.
fn counted_in_sources() -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let mut folders: Vec<PathBuf> = ["sequencer", "prover", "settlement"].iter().map(|name| repository().join(name).join("src")).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text: &'static str = std::fs::read_to_string(path).unwrap().leak();
                found.extend(text.split("counter!(\"").skip(1).map(|rest| rest.split('"').next().unwrap()));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn settlement_waits_for_an_l1_that_is_not_up_yet() {
    let mut site = Site::deployed().await;
    let anvil = site.anvil.take().unwrap();
    let port = anvil.port();
    anvil.stop().await.unwrap();
    let settlement = site.settlement();
    settlement.says("settlement starts again").await;
    site.start_anvil(Some(port)).await;
    until(site.status, "/status", |_, status| status["head"].is_u64()).await;
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    assert_eq!(left_out_of_compose().collect::<Vec<_>>(), ["SHEAF_FEE_KEY", "SHEAF_FEE_OWNER"]);
    // every variable that an option names: the help tells of those that are read
    let variables = |help: Vec<u8>| -> Vec<String> {
        String::from_utf8(help).unwrap().split("[env: ").skip(1).map(|rest| rest.split(['=', ']']).next().unwrap().to_owned()).collect()
    };
    for role in [&["sequencer"][..], &["settlement"], &["node"], &["prover", "run"], &["prover", "status"], &["wallet"], &["doctor"]] {
        let read = |empty: &[String]| {
            let mut command = std::process::Command::new(sheaf_binary().unwrap());
            command.args(role).arg("--help").env_clear().envs(empty.iter().map(|name| (name, "")));
            variables(command.output().unwrap().stdout)
        };
        let names = read(&[]);
        assert!(!names.is_empty(), "{role:?} names no variable");
        assert!(read(&names).is_empty(), "{role:?} reads variables that are empty: {names:?}");
    }
    let mut worker = std::process::Command::new(sheaf_binary().unwrap());
    worker.args(["prover", "run", "--gateway", "http://127.0.0.1:1", "--token-file", "/nowhere/token"]).env_clear();
    for name in ["SHEAF_WORKER_NAME", "SHEAF_PROVER_THREADS", "SHEAF_PROVER_MEMORY_MB", "SHEAF_MANIFEST", "SHEAF_KEY_STORE", "SHEAF_LOG_JSON"] {
        worker.env(name, "");
    }
    let said = String::from_utf8(worker.output().unwrap().stderr).unwrap();
    assert!(said.contains("/nowhere/token"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_work_ends_with_its_remedy() {
    let site = Site::deployed().await;
    let deployment = site.text("deployment/deployment.json");
    let settlement = ["settlement", "--deployment", &deployment];
    assert!(site.refused(&[&settlement[..], &["--l1-url", "not an address"]].concat()).await.contains("--l1-url"));
    assert!(site.refused(&[&settlement[..], &["--l1", "http://127.0.0.1:1", "--l1", "ftp://secret@l1"]].concat()).await.contains("ftp://l1 is not"));
    let foreign = site.path("foreign.key");
    std::fs::write(&foreign, DEV_KEYS[4]).unwrap();
    let foreign = ["--operator-key-file", foreign.to_str().unwrap()];
    assert!(site.refused(&[&settlement[..], &foreign].concat()).await.contains("the contract's operator is"));

    let sequencer = ["sequencer", "--listen", "127.0.0.1:0", "--deployment", &deployment];
    std::fs::write(site.path("bad-tokens"), "letmein\n").unwrap();
    let bad = site.text("bad-tokens");
    assert!(site.refused(&[&sequencer[..], &["--prover-tokens", &bad]].concat()).await.contains("line 1"));
    assert!(site.refused(&[&sequencer[..], &["--keys-dir", "/nowhere"]].concat()).await.contains("sheaf keys make"));
    assert!(site.refused(&["sequencer", "--deployment", "/nowhere/deployment.json"]).await.contains("--deployment"));

    let (given, out) = (site.text("given.json"), site.text("deployment"));
    let operator = format!("0x{}", "11".repeat(20));
    let deploy = ["deploy", "--operator", &operator, "--manifest", &given, "--out", &out];
    assert!(site.refused(&deploy).await.contains("exists already"));
    assert!(site.refused(&["node", "--dev", "--l1-url", "http://127.0.0.1:1"]).await.contains("cannot be used with --dev"));
    let (nowhere, token) = (["--gateway", "http://127.0.0.1:1"], site.text("worker-token"));
    let order = ["prover", "retry", "7", "--token-file", &token];
    assert!(site.refused(&[&order[..], &["--reason", "a test"], &nowhere].concat()).await.contains("batch 7: the gateway does not answer"));
    assert!(site.refused(&[&order[..], &["--reason", " "], &nowhere].concat()).await.contains("--reason: say why"));
    assert!(site.refused(&["prover", "status", "--gateway", "127.0.0.1"]).await.contains("http://host:port"));
    std::fs::write(site.path("nameless"), format!("{}\n", "0a".repeat(32))).unwrap();
    let nameless = site.text("nameless");
    assert!(site.refused(&[&sequencer[..], &["--operator-tokens", &nameless]].concat()).await.contains("needs a name"));
}
