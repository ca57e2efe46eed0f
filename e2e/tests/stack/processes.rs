//! What `sheaf demo` and `sheaf node --dev` leave behind when they end, however they end: nothing that runs, and nothing outside their folder.

use sheaf_cli::process::{Signal, send};
use sheaf_e2e::{Running, running, sheaf_binary, test_keys};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Longest wait for a line, or for processes to end.
const PATIENCE: Duration = Duration::from_secs(90);
/// The last line of a development node that is up.
const DEV_IS_UP: &str = "Ctrl-C stops everything.";
const DEMO: [&str; 3] = ["demo", "--shapes", "test"];
const DEV: [&str; 6] = ["node", "--dev", "--dev-shapes", "test", "--listen", "127.0.0.1:0"];

/// A command that runs a stack. Its temporary files are in `folder`; it was started in a folder of its own.
struct Stack {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    folder: TempDir,
    _started_in: TempDir,
}

impl Stack {
    /// In a temporary folder of its own choice.
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o711)).tempdir().unwrap();
        Self::start_in(folder, arguments)
    }

    fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let started_in = tempfile::tempdir().unwrap();
        let mut command = Command::new(sheaf_binary().unwrap());
        command.args(arguments).env("SHEAF_KEYS", test_keys().keys_dir).env("TMPDIR", folder.path()).kill_on_drop(true);
        command.current_dir(started_in.path()).env_remove("SHEAF_SEED");
        // somebody's own database, and a setting of a node, which would keep this one from crediting any deposit
        command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none").env("PGHOST", "127.0.0.1").env("PGPORT", "1");
        if arguments == DEMO {
            command.env("SHEAF_DEPOSIT_DEPTH", "1000000");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, folder, _started_in: started_in }
    }

    fn pid(&self) -> i32 {
        self.child.id().unwrap().cast_signed()
    }

    async fn says(&mut self, part: &str) -> String {
        let reading = async {
            loop {
                let line = self.lines.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended without saying {part:?}"));
                if line.contains(part) {
                    return line;
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("it does not say {part:?}"))
    }

    async fn ends_by(&mut self, signal: Signal) -> ExitStatus {
        send(self.pid(), signal).unwrap();
        tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap()
    }

    /// Postgres, Anvil, node and workers, each of which names a file of its folder in its arguments.
    fn processes(&self) -> Vec<Running> {
        let folder = format!("{}/", self.folder.path().display());
        running().into_iter().filter(|process| process.arguments.contains(&folder)).collect()
    }

    async fn leaves_no_process(&self) {
        let end = Instant::now() + PATIENCE;
        while !self.processes().is_empty() {
            assert!(Instant::now() < end, "left behind: {:?}", self.processes());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_sigterm_and_kill_9_of_the_demo_leave_no_process() {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let mut demo = Stack::start(&DEMO);
        demo.says("sending 300 transfers").await;
        assert!(demo.processes().len() >= 5, "Postgres, Anvil, node, two workers: {:?}", demo.processes());
        assert!(!demo.ends_by(signal).await.success());
        demo.leaves_no_process().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_demo_while_it_starts_leaves_no_process() {
    let mut demo = Stack::start(&DEMO);
    demo.says("starting Postgres").await;
    let end = Instant::now() + PATIENCE;
    while demo.processes().is_empty() {
        assert!(Instant::now() < end, "nothing was started");
    }
    demo.ends_by(Signal::KILL).await;
    demo.leaves_no_process().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_sigterm_sighup_and_kill_9_of_a_development_node_leave_no_process_and_its_folder_goes_on() {
    let home = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o711)).tempdir().unwrap();
    let folder = home.path().join("dev/");
    let arguments = [&DEV[..], &["--dev-dir", folder.to_str().unwrap().trim_end_matches('/')]].concat();
    let mut dev = Stack::start_in(home, &arguments);
    let mut accounts = Vec::new();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::KILL, Signal::INT] {
        accounts.push(dev.says("token 2 ").await);
        dev.says(DEV_IS_UP).await;
        let status = dev.ends_by(signal).await;
        assert_eq!(status.success(), signal != Signal::KILL, "{signal:?}: {status}");
        dev.leaves_no_process().await;
        dev = Stack::start_in(dev.folder, &arguments);
    }
    assert!(accounts.iter().all(|account| *account == accounts[0]), "the same accounts each time: {accounts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_leaves_nothing_outside_its_folder_and_takes_the_folder_with_it() {
    let mut dev = Stack::start(&DEV);
    dev.says(DEV_IS_UP).await;
    let processes = dev.processes();
    // started by root, Postgres runs as somebody else, whose data were elsewhere if it could not reach the folder
    assert!(processes.iter().any(|process| process.arguments.contains("postgres -D")), "{processes:?}");
    assert!(dev.ends_by(Signal::TERM).await.success());
    assert_eq!(std::fs::read_dir(dev.folder.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_whose_worker_dies_says_so_at_once_and_keeps_what_was_left() {
    let mut demo = Stack::start(&DEMO);
    demo.says("opening 20 accounts").await;
    let worker = demo.processes().into_iter().find(|process| process.arguments.contains("--name worker-2")).unwrap();
    send(worker.pid, Signal::KILL).unwrap();
    let output = tokio::time::timeout(PATIENCE, demo.child.wait_with_output()).await.unwrap().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("worker-2 ended by itself"), "{error}");
    let kept = error.lines().find_map(|line| line.strip_prefix("what was left is in ")).unwrap();
    assert!(Path::new(kept).join("node.log").is_file(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_does_not_go_on_in_a_used_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("deployment.json"), "{}").unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let demo = Stack::start_in(folder, &[&DEMO[..], &["--dir", &path]].concat());
    let output = tokio::time::timeout(PATIENCE, demo.child.wait_with_output()).await.unwrap().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("name a new folder"), "{error}");
}
