//! `sheaf bench load`: receipts under load, on a stack of its own: Postgres that syncs every commit, Anvil, a node; no prover.
//!
//! ```text
//! 1  closed loop   every client sends its next transfer as soon as it has its receipt       -> accepted per second
//! 2  half load     every client sends at fixed times, half that rate in all                 -> p50, p99 of a receipt
//! ```
//! A receipt means that the transfer is on disk. At half load a request that starts late counts from the time it was due, so that a stall
//! shows in all the requests it delays. Clients, node and Postgres share the machine. Everything is signed before the clock starts.

use crate::dev::DevStack;
use crate::folder::RunFolder;
use crate::guard::Guard;
use crate::keys::{KeyOptions, prepare};
use crate::process::Launcher;
use crate::scenario::Scenario;
use clap::Args;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Longest wait for one receipt.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(30);

/// `sheaf bench load`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sheaf bench load --clients 100 --seconds 10 --json")]
pub(super) struct LoadArgs {
    /// Folder of cached keys.
    #[arg(long, env = "SHEAF_KEYS", default_value = ".sheaf/keys")]
    keys_dir: PathBuf,
    /// HTTP clients, each with an account and a connection of its own.
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// Seconds of each phase.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,
    /// Transfers signed beforehand for each client; a phase ends early when they run out.
    #[arg(long, default_value_t = 600)]
    transfers: usize,
    /// One JSON object a line.
    #[arg(long)]
    pub(super) json: bool,
}

/// A client: its connection and the bodies it still has to send, in order of their nonces.
struct Sender {
    http: reqwest::Client,
    url: Arc<str>,
    bodies: std::vec::IntoIter<String>,
}

/// What a phase saw.
#[derive(Default)]
struct Seen {
    /// Milliseconds to each receipt.
    receipts_ms: Vec<f64>,
    /// Answers that were no receipt, and requests without an answer.
    errors: Vec<String>,
}

pub(super) async fn run(args: &LoadArgs) -> anyhow::Result<Value> {
    let options = KeyOptions { shapes: vec!["small-hot".to_owned()], keys_dir: args.keys_dir.clone(), ..KeyOptions::from_environment()? };
    let keys = prepare(&options)?;
    let guard = Guard::start(&std::env::current_exe()?)?;
    let folder = RunFolder::new(None, "sheaf-load-")?;
    let stack = DevStack::start(folder.path(), &keys, &guard).await?;
    let launcher = Launcher::new(std::env::current_exe()?, folder.path().to_owned(), options, &guard)?.with_node_arguments(&["--rate", "0"]);
    let node = launcher.node(&stack, "127.0.0.1:0").await?;
    let mut people = Scenario::new(&stack, node.url()).await?;
    eprintln!("opening {} accounts and signing {} transfers ...", args.clients, args.clients * args.transfers);
    people.open_accounts(args.clients).await?;
    let senders = senders(&mut people, node.url(), args.transfers)?;

    let length = Duration::from_secs(args.seconds);
    let start = Instant::now();
    let (senders, closed) = phase(senders, |_, sender| sender.send_until(start + length, None)).await?;
    let rate = closed.receipts_ms.len() as f64 / start.elapsed().as_secs_f64();

    let start = Instant::now();
    let period = Duration::from_secs_f64(2.0 * args.clients as f64 / rate.max(1.0));
    let first = |i: usize| start + period.mul_f64(i as f64 / args.clients as f64);
    let (_, half) = phase(senders, |i, sender| sender.send_until(start + length, Some((first(i), period)))).await?;
    let half_rate = half.receipts_ms.len() as f64 / start.elapsed().as_secs_f64();
    node.process.stop().await?;
    closed.errors.iter().chain(&half.errors).take(5).for_each(|error| eprintln!("error: {error}"));
    Ok(json!({
        "clients": args.clients,
        "max_per_s": rate.round(), "max_p50_ms": percentile(&closed.receipts_ms, 50), "max_p99_ms": percentile(&closed.receipts_ms, 99),
        "half_per_s": half_rate.round(), "half_p50_ms": percentile(&half.receipts_ms, 50), "half_p99_ms": percentile(&half.receipts_ms, 99),
        "receipts": closed.receipts_ms.len() + half.receipts_ms.len(), "errors": closed.errors.len() + half.errors.len(),
    }))
}

/// One sender an account, everything signed; accounts pay each other in rings of one token.
fn senders(people: &mut Scenario, node: &str, transfers: usize) -> anyhow::Result<Vec<Sender>> {
    let url: Arc<str> = format!("{node}/v1/transactions").into();
    let slots: Vec<_> = people.users.iter().map(|user| user.slot).collect();
    let domain = people.domain;
    let make = |(i, user): (usize, &mut crate::scenario::User)| {
        let to = slots[(i + 2) % slots.len()];
        let bodies =
            (0..transfers).map(|_| Ok(crate::client::to_json(&user.transfer(domain, to)?).to_string())).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Sender { http: reqwest::Client::builder().no_proxy().build()?, url: Arc::clone(&url), bodies: bodies.into_iter() })
    };
    people.users.iter_mut().enumerate().map(make).collect()
}

impl Sender {
    /// Sends until `end`: one transfer after the other, or at fixed times from the first one on.
    async fn send_until(mut self, end: Instant, schedule: Option<(Instant, Duration)>) -> (Self, Seen) {
        let mut seen = Seen::default();
        let mut due = schedule.map_or_else(Instant::now, |(first, _)| first);
        while due < end {
            let Some(body) = self.bodies.next() else { break };
            sleep_until(due).await;
            if !self.send(body, due, &mut seen).await {
                break;
            }
            due = schedule.map_or_else(Instant::now, |(_, period)| due + period);
        }
        (self, seen)
    }

    /// Sends one transfer; false if there is no receipt, since the account's later nonces cannot be accepted then.
    async fn send(&self, body: String, due: Instant, seen: &mut Seen) -> bool {
        let request = self.http.post(&*self.url).header(reqwest::header::CONTENT_TYPE, "application/json").body(body).send();
        let problem = match timeout_at(due + RECEIPT_TIMEOUT, request).await {
            Ok(Ok(answer)) if answer.status() == StatusCode::OK => match answer.bytes().await {
                Ok(_) => {
                    seen.receipts_ms.push(due.elapsed().as_secs_f64() * 1e3);
                    return true;
                }
                Err(error) => error.to_string(),
            },
            Ok(Ok(answer)) => format!("{}: {}", answer.status(), answer.text().await.unwrap_or_default()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer after {} s", RECEIPT_TIMEOUT.as_secs()),
        };
        seen.errors.push(problem);
        false
    }
}

/// Runs all senders at once and gathers what they saw, receipts sorted by time.
async fn phase<F>(senders: Vec<Sender>, run: impl Fn(usize, Sender) -> F) -> anyhow::Result<(Vec<Sender>, Seen)>
where
    F: Future<Output = (Sender, Seen)> + Send + 'static,
{
    let mut tasks: JoinSet<_> = senders.into_iter().enumerate().map(|(i, sender)| run(i, sender)).collect();
    let (mut senders, mut all) = (Vec::new(), Seen::default());
    while let Some(ended) = tasks.join_next().await {
        let (sender, seen) = ended?;
        senders.push(sender);
        all.receipts_ms.extend(seen.receipts_ms);
        all.errors.extend(seen.errors);
    }
    all.receipts_ms.sort_by(f64::total_cmp);
    Ok((senders, all))
}

/// The value that `percent` of the sorted values do not exceed, to a tenth; `None` of nothing.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map(|value| (value * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99)), (Some(100.0), Some(198.0)));
        assert_eq!((percentile(&[7.25], 99), percentile(&[], 99)), (Some(7.3), None));
    }
}
