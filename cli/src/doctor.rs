//! `sheaf doctor`: what is wrong on this machine and how to mend it. It looks and starts nothing that stays; exit code 1 if a check failed.
//!
//! What is configured is checked as configured, with the defaults of the roles. Without a deployment file the question is whether
//! `sheaf node --dev` can bring its own.

mod deployment;
mod machine;
mod servers;

use crate::dev::DevDeployment;
use crate::guard::StopSignals;
use crate::keys::KeyOptions;
use crate::node::{RoleArgs, SettlementOptions, read_json};
use anyhow::{bail, ensure};
use clap::Args;
use serde::Serialize;
use sheaf_protocol::manifest::Manifest;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// `sheaf doctor`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf doctor\n  sheaf doctor --json\n  DATABASE_URL=postgres://.. SHEAF_L1_URL=http://.. sheaf doctor --deployment deployment.json --operator-key-file operator.key"
)]
pub struct DoctorArgs {
    #[command(flatten)]
    role: RoleArgs,
    #[command(flatten)]
    settlement: SettlementOptions,
    /// Address where the node is to listen [default: 127.0.0.1:3000]
    #[arg(long, env = "SHEAF_LISTEN")]
    listen: Option<SocketAddr>,
    /// File with the tokens of prover workers.
    #[arg(long, env = "SHEAF_PROVER_TOKENS")]
    prover_tokens: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: KeyOptions,
}

impl DoctorArgs {
    /// True if no deployment is named or lies here: then the machine is to run `sheaf node --dev`.
    fn is_development(&self) -> bool {
        self.role.deployment_file().is_none()
    }

    fn deployment(&self) -> anyhow::Result<Option<DevDeployment>> {
        self.role.deployment_file().map(|file| read_json(&file, "--deployment")).transpose()
    }

    fn manifest(&self) -> anyhow::Result<Option<Manifest>> {
        self.role.manifest_file().map(|file| read_json(&file, "--manifest")).transpose()
    }
}

/// One check and how it went.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    /// What was found, or what is wrong and the remedy.
    detail: String,
}

impl Finding {
    fn of(check: &'static str, outcome: anyhow::Result<String>) -> Self {
        match outcome {
            Ok(detail) => Self { check, ok: true, detail },
            Err(error) => Self { check, ok: false, detail: format!("{error:#}") },
        }
    }
}

/// Runs the command.
///
/// # Errors
/// If a check failed.
pub async fn run(args: DoctorArgs) -> anyhow::Result<()> {
    let mut stop = StopSignals::listen()?;
    let findings = tokio::select! {
        findings = examine(&args) => findings,
        () = stop.received() => bail!("interrupted"),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        findings.iter().for_each(|finding| println!("{:<5} {:<11} {}", if finding.ok { "ok" } else { "FAIL" }, finding.check, finding.detail));
    }
    let failed = findings.iter().filter(|finding| !finding.ok).count();
    ensure!(failed == 0, "{failed} of {} checks failed", findings.len());
    Ok(())
}

async fn examine(args: &DoctorArgs) -> Vec<Finding> {
    vec![
        Finding::of("tools", machine::tools(args)),
        Finding::of("disk", machine::disk(args)),
        Finding::of("database", servers::database(args).await),
        Finding::of("l1", servers::l1(args).await),
        Finding::of("manifest", deployment::manifest(args)),
        Finding::of("keys", deployment::keys(args)),
        Finding::of("srs", deployment::srs(args)),
        Finding::of("deployment", deployment::deployment(args).await),
        Finding::of("operator", deployment::operator(args).await),
        Finding::of("tokens", machine::tokens(args)),
        Finding::of("port", machine::port(args).await),
    ]
}
