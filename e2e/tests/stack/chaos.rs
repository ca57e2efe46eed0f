//! The fleet in chaos: four workers as processes behind a network that fails, with Postgres, gateway, operators and a saboteur that interfere.
//! Whatever happens, every batch ends proven exactly once and final on L1, and no proof that L1 would refuse reaches it.
//!
//! `make test` plays every fault once; `make chaos MINUTES=30` goes on for so long. The order follows from `SHEAF_CHAOS_SEED`, which is printed.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::keys::Keys;
use sheaf_circuits::prove::{Prover, proof_words};
use sheaf_cli::process::Process;
use sheaf_e2e::{PATIENCE, POLL, Proxy, Town, Weather, test_keys, until};
use sheaf_protocol::field::{Word, to_hex};
use sheaf_protocol::shape::by_name;
use sheaf_prover::wire::fleet::{JobQuery, JobView};
use sheaf_prover::wire::{Claim, Job};
use sheaf_prover::worker::{Client, ClientError, KeyCache};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Seconds of a lease.
const LEASE_S: u64 = 2;
/// Workers at work.
const WORKERS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    WorkerKilled,
    WorkerFrozenPastItsLease,
    WorkerToldToStop,
    WorkerDrained,
    WorkerCannotWrite,
    ConnectionsCut,
    ConnectionsDelayed,
    AnswersLost,
    ProofCorrupted,
    ProofTruncated,
    ProofForeign,
    ProofStale,
    ProofTwice,
    PostgresKilled,
    GatewayKilled,
    JobCancelled,
    JobParked,
}

const FAULTS: [Fault; 17] = [
    Fault::WorkerKilled,
    Fault::WorkerFrozenPastItsLease,
    Fault::WorkerToldToStop,
    Fault::WorkerDrained,
    Fault::WorkerCannotWrite,
    Fault::ConnectionsCut,
    Fault::ConnectionsDelayed,
    Fault::AnswersLost,
    Fault::ProofCorrupted,
    Fault::ProofTruncated,
    Fault::ProofForeign,
    Fault::ProofStale,
    Fault::ProofTwice,
    Fault::PostgresKilled,
    Fault::GatewayKilled,
    Fault::JobCancelled,
    Fault::JobParked,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_in_chaos_proves_every_batch_once() {
    let seed = std::env::var("SHEAF_CHAOS_SEED").map_or(1, |seed| seed.parse().unwrap());
    let minutes: u64 = std::env::var("SHEAF_CHAOS_MINUTES").map_or(0, |minutes| minutes.parse().unwrap());
    println!("chaos: SHEAF_CHAOS_SEED={seed} SHEAF_CHAOS_MINUTES={minutes}");
    let mut chaos = Chaos::begin(seed).await;
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    loop {
        let mut faults = FAULTS;
        faults.shuffle(&mut chaos.rng);
        for fault in faults {
            let begun = Instant::now();
            let outcome = chaos.inject(fault).await;
            println!("{fault:?}: {outcome} ({:.1} s)", begun.elapsed().as_secs_f64());
            *chaos.outcomes.entry(fault).or_default().entry(outcome).or_default() += 1;
        }
        if Instant::now() >= end {
            break;
        }
    }
    chaos.end().await;
}

struct Chaos {
    town: Town,
    proxy: Proxy,
    workers: Vec<(String, Process)>,
    started: usize,
    /// With a worker's token, not through the proxy.
    saboteur: Client,
    operator: Client,
    prover: Arc<Prover>,
    rng: StdRng,
    outcomes: BTreeMap<Fault, BTreeMap<String, usize>>,
}

fn token(file: &std::path::Path) -> String {
    std::fs::read_to_string(file).unwrap().split_whitespace().last().unwrap().to_owned()
}

fn open_prover() -> Prover {
    let options = test_keys();
    let circuit = Circuit::new(by_name("test").unwrap().shape, 1).unwrap();
    let keys = Keys::open_insecure_dev(&options.keys_dir, "test", &circuit, &options.seed).unwrap();
    Prover::new(circuit, keys).unwrap()
}

/// What the gateway says, however long it is away.
async fn heard<T, F: Future<Output = Result<T, ClientError>>>(mut ask: impl FnMut() -> F) -> Result<T, ClientError> {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(error) if error.is_transient() && Instant::now() < end => tokio::time::sleep(POLL).await,
            answer => return answer,
        }
    }
}

impl Chaos {
    async fn begin(seed: u64) -> Self {
        let mut town = Town::found_with(4, &["--lease-s", &LEASE_S.to_string()]).await.unwrap();
        town.workers.pop().unwrap().kill().await.unwrap();
        let proxy = Proxy::start(town.url().trim_start_matches("http://")).await.unwrap();
        let saboteur = Client::new(&town.url(), &token(&town.launcher.token_file())).unwrap();
        let operator = Client::new(&town.url(), &token(&town.launcher.operator_file())).unwrap();
        let (prover, rng) = (Arc::new(open_prover()), StdRng::seed_from_u64(seed));
        let mut chaos = Self { town, proxy, workers: vec![], started: 0, saboteur, operator, prover, rng, outcomes: BTreeMap::new() };
        for _ in 0..WORKERS {
            chaos.hire();
        }
        chaos
    }

    fn hire(&mut self) {
        self.started += 1;
        let name = format!("worker-{}", self.started);
        let worker = self.town.launcher.worker(&self.proxy.url(), &name, 1).unwrap();
        self.workers.push((name, worker));
    }

    fn dismiss(&mut self, name: &str) -> Process {
        let place = self.workers.iter().position(|(other, _)| other == name).unwrap();
        self.workers.swap_remove(place).1
    }

    /// Jobs in a state, however long the gateway is away.
    async fn jobs(&self, state: &str) -> Vec<JobView> {
        let query = JobQuery { state: Some(state.into()), ..JobQuery::default() };
        heard(|| self.saboteur.jobs(&query)).await.unwrap().jobs
    }

    /// Enough work for everybody.
    async fn supply(&mut self) {
        while self.jobs("open").await.len() < WORKERS {
            self.town.people.send_transfers(8).await.unwrap();
            self.town.until(sheaf_e2e::Moment::AllComputed).await.unwrap();
        }
    }

    /// A job that one of the workers has, and which.
    async fn leased(&mut self) -> (String, JobView) {
        let end = Instant::now() + PATIENCE;
        loop {
            self.supply().await;
            let mut held = self.jobs("leased").await;
            held.retain(|job| self.workers.iter().any(|(name, _)| Some(name) == job.worker.as_ref()));
            if let Some(job) = held.choose(&mut self.rng) {
                return (job.worker.clone().unwrap(), job.clone());
            }
            assert!(Instant::now() < end, "no worker has a job");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Who proved a batch, once somebody has.
    async fn proven_by(&self, batch: u64) -> String {
        until(&format!("proof of batch {batch}"), || async { heard(|| self.saboteur.job(batch)).await.unwrap().job.proven_by }).await
    }

    /// What became of the job of a worker to which something happened.
    async fn fate(&self, victim: &str, batch: u64) -> String {
        if self.proven_by(batch).await == victim { "proven by itself" } else { "proven by another" }.into()
    }

    async fn inject(&mut self, fault: Fault) -> String {
        match fault {
            Fault::WorkerKilled | Fault::WorkerFrozenPastItsLease | Fault::WorkerToldToStop | Fault::WorkerDrained => self.strike_worker(fault).await,
            Fault::WorkerCannotWrite => self.worker_cannot_write().await,
            Fault::ConnectionsCut => self.storm(Weather::Cut).await,
            Fault::ConnectionsDelayed => self.storm(Weather::Slow(Duration::from_millis(LEASE_S * 1_000 / 2))).await,
            Fault::AnswersLost => self.storm(Weather::Deaf).await,
            Fault::ProofCorrupted | Fault::ProofTruncated | Fault::ProofForeign | Fault::ProofStale | Fault::ProofTwice => self.sabotage(fault).await,
            Fault::PostgresKilled | Fault::GatewayKilled => self.crash(fault).await,
            Fault::JobCancelled | Fault::JobParked => self.order(fault).await,
        }
    }

    async fn strike_worker(&mut self, fault: Fault) -> String {
        let (name, job) = self.leased().await;
        let victim = self.dismiss(&name);
        match fault {
            Fault::WorkerKilled => victim.kill().await.unwrap(),
            Fault::WorkerFrozenPastItsLease => {
                victim.freeze().unwrap();
                self.hire();
                let over = async |job: JobView| {
                    let now = heard(|| self.saboteur.job(job.batch)).await.unwrap().job;
                    (now.attempts > job.attempts || now.state != "leased").then_some(())
                };
                until("the end of its lease", || over(job.clone())).await;
                victim.thaw().unwrap();
                let fate = self.fate(&name, job.batch).await;
                victim.kill().await.unwrap();
                return fate;
            }
            Fault::WorkerToldToStop => victim.stop().await.unwrap(),
            _ => {
                heard(|| self.operator.drain(&name, true, "chaos")).await.unwrap();
                victim.ends().await.unwrap();
            }
        }
        self.hire();
        self.fate(&name, job.batch).await
    }

    /// It cannot write its log, nor anything else; it needs no file to prove.
    async fn worker_cannot_write(&mut self) -> String {
        self.started += 1;
        let name = format!("worker-{}-without-writes", self.started);
        let limited = self.town.launcher.worker_that_cannot_write(&self.proxy.url(), &name).unwrap();
        self.workers.push((name.clone(), limited));
        let end = Instant::now() + PATIENCE;
        loop {
            self.supply().await;
            let worker = heard(|| self.saboteur.status()).await.unwrap().workers.into_iter().find(|worker| worker.name == name);
            if worker.is_some_and(|worker| worker.proven > 0) {
                break;
            }
            assert!(Instant::now() < end, "{name} proves nothing");
            tokio::time::sleep(POLL).await;
        }
        self.dismiss(&name).stop().await.unwrap();
        "proves all the same".into()
    }

    async fn storm(&mut self, weather: Weather) -> String {
        let (_, job) = self.leased().await;
        let before = self.proxy.struck();
        self.proxy.set(weather);
        let strikes = self.rng.gen_range(6..12);
        until("strikes", || async { (self.proxy.struck() >= before + strikes).then_some(()) }).await;
        self.proxy.set(Weather::Fair);
        self.proven_by(job.batch).await;
        "proven".into()
    }

    async fn crash(&mut self, fault: Fault) -> String {
        let (_, job) = self.leased().await;
        match fault {
            Fault::PostgresKilled => self.town.crash_postgres().await.unwrap(),
            _ => self.town.crash_node().await.unwrap(),
        }
        self.proven_by(job.batch).await;
        "proven".into()
    }

    async fn order(&mut self, fault: Fault) -> String {
        let (name, job) = self.leased().await;
        let verb = if fault == Fault::JobParked { "park" } else { "cancel" };
        if !self.obeyed(job.batch, verb).await {
            self.proven_by(job.batch).await;
            return "was faster".into();
        }
        if fault == Fault::JobParked && !self.obeyed(job.batch, "retry").await {
            // a proof that was on its way had arrived
            return format!("parked, {}", self.fate(&name, job.batch).await);
        }
        self.fate(&name, job.batch).await
    }

    /// False if the order means nothing in the state that the job is in.
    async fn obeyed(&self, batch: u64, verb: &str) -> bool {
        match heard(|| self.operator.order(batch, verb, "chaos")).await {
            Err(error) if error.code() == Some("not_now") => false,
            ordered => ordered.is_ok_and(|detail| detail.actions[0].action == format!("prover.{verb}")),
        }
    }

    /// A job of the saboteur's own.
    async fn stolen(&mut self) -> Job {
        let end = Instant::now() + PATIENCE;
        loop {
            self.supply().await;
            let claim = Claim { worker: "saboteur".into(), circuits: KeyCache::of([self.prover.clone()]).offers(), memory_mb: 4_096, wait_s: 1 };
            if let Some(job) = heard(|| self.saboteur.claim(&claim)).await.unwrap() {
                return job;
            }
            assert!(Instant::now() < end, "the saboteur gets no job");
        }
    }

    async fn prove(&self, job: &Job) -> Vec<Word> {
        let (prover, input) = (self.prover.clone(), job.input.clone());
        let proof = tokio::task::spawn_blocking(move || prover.prove(&input.batch, &input.challenges, &mut rand::rngs::OsRng).unwrap());
        proof_words(&proof.await.unwrap()).to_vec()
    }

    /// Code of what the gateway says about a proof, or what became of it.
    async fn submit(&self, batch: u64, lease: i64, proof: &[Word]) -> String {
        let words: Vec<String> = proof.iter().map(|word| to_hex(word)).collect();
        let timings = json!({ "witness_ms": 1, "prove_ms": 1, "verify_ms": 1, "threads": 1 });
        let body = json!({ "lease": lease, "worker": "saboteur", "proof": words, "timings": timings });
        let (url, token) = (format!("{}/prover/v1/jobs/{batch}/proof", self.town.url()), token(&self.town.launcher.token_file()));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer: Value = http.post(url).bearer_auth(token).json(&body).send().await.unwrap().json().await.unwrap();
        answer["code"].as_str().or(answer["outcome"].as_str()).unwrap().to_owned()
    }

    async fn sabotage(&mut self, fault: Fault) -> String {
        let job = self.stolen().await;
        let Job { batch, lease, .. } = job;
        let answer = match fault {
            Fault::ProofCorrupted => {
                let mut proof = self.prove(&job).await;
                let (word, byte, bit) = (self.rng.gen_range(0..8), self.rng.gen_range(0..32), self.rng.gen_range(0..8));
                proof[word][byte] ^= 1 << bit;
                let answer = self.submit(batch, lease, &proof).await;
                assert_eq!(answer, "proof_invalid", "bit {bit} of byte {byte} of word {word}");
                answer
            }
            Fault::ProofTruncated => {
                let answer = self.submit(batch, lease, &[[1; 32]; 7]).await;
                assert_eq!(answer, "malformed_body");
                answer
            }
            Fault::ProofForeign => {
                let proof = self.prove(&job).await;
                let other = self.other_batch(batch).await;
                let answer = self.submit(other, lease, &proof).await;
                assert_eq!(answer, "proof_invalid");
                answer
            }
            Fault::ProofTwice => {
                let proof = self.prove(&job).await;
                let (first, second) = (self.submit(batch, lease, &proof).await, self.submit(batch, lease, &proof).await);
                assert!(["stored", "stored_late", "already_proven"].contains(&first.as_str()), "{first}");
                assert_eq!(second, "already_proven");
                format!("{first}, {second}")
            }
            _ => {
                let proof = self.prove(&job).await;
                let invented = self.submit(batch, lease + 1_000, &proof).await;
                assert!(["stale_lease", "already_proven"].contains(&invented.as_str()), "{invented}");
                until("the end of its lease", || async {
                    let now = heard(|| self.saboteur.job(batch)).await.unwrap().job;
                    (now.attempts > lease.cast_unsigned() || now.state != "leased").then_some(())
                })
                .await;
                // in time if nobody has taken the job over meanwhile
                let answer = self.submit(batch, lease, &proof).await;
                assert!(["stored", "stored_late", "already_proven"].contains(&answer.as_str()), "{answer}");
                answer
            }
        };
        self.proven_by(batch).await;
        answer
    }

    /// A batch that is not this one.
    async fn other_batch(&self, batch: u64) -> u64 {
        let all = JobQuery::default();
        let jobs = heard(|| self.saboteur.jobs(&all)).await.unwrap().jobs;
        jobs.iter().map(|job| job.batch).find(|other| *other != batch).unwrap()
    }

    async fn end(mut self) {
        self.town.settles().await.unwrap();
        let progress = self.town.people.rollup.progress().await.unwrap();
        assert_eq!(progress.committed, progress.proven);
        for batch in 1..=progress.proven {
            let detail = self.saboteur.job(batch).await.unwrap();
            let proven = detail.attempts.iter().filter(|attempt| attempt.outcome.as_deref() == Some("proven")).count();
            assert_eq!((detail.job.state.as_str(), proven), ("proven", 1), "batch {batch}");
        }
        assert_eq!(self.town.reverted_proofs().await.unwrap(), 0, "a proof that L1 refuses was sent to it");
        println!("\n{:<26} {:>8}  outcome", "fault", "injected");
        for (fault, outcomes) in &self.outcomes {
            let told: Vec<String> = outcomes.iter().map(|(outcome, times)| format!("{times} x {outcome}")).collect();
            println!("{:<26} {:>8}  {}", format!("{fault:?}"), outcomes.values().sum::<usize>(), told.join(", "));
        }
        println!("{} batches, each proven once and final on L1; no refused proof reached it", progress.proven);
    }
}
