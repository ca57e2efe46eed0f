//! What workers and gateway say to each other, version 1: JSON over HTTP under `/prover/v1`.
//!
//! ```text
//! POST /prover/v1/claim                        Claim      -> 204 | 200 Job | 409 draining   waits up to wait_s for a job
//! POST /prover/v1/jobs/{batch}/heartbeat       Heartbeat  -> 200 Lease | 409 stale_lease
//! POST /prover/v1/jobs/{batch}/proof           Submission -> 200 Accepted | 422 proof_invalid
//! POST /prover/v1/jobs/{batch}/failure         Failure    -> 200 Released | 409 stale_lease
//! GET  /prover/v1/openapi.json                               200 this, for programs
//! ```
//!
//! What operators see and order is in [`fleet`]; only a worker's routes take a worker's token.
//!
//! A lease is a number that grows with every claim of a batch: the *fencing token*. Only the newest one can extend the lease or give it
//! back, and only in the name of the worker that claimed it. A proof is judged by its validity alone, so a submission may be repeated until an answer arrives, and a late one still counts.
//! Lease times travel as durations: the clocks of workers and database need not agree.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use sheaf_protocol::amount::Address;
use sheaf_protocol::batch::{PUBLIC_INPUTS, ProverInput, PublicInputs};
use sheaf_protocol::field::{from_word, to_word};
use sheaf_protocol::manifest::HexWord;
use utoipa::ToSchema;

pub mod fleet;

/// Path under which the gateway is mounted.
pub const PREFIX: &str = "/prover/v1";
/// Path of the OpenAPI document of what is mounted there.
pub const DOCUMENT: &str = "/prover/v1/openapi.json";
/// The longest a claim may wait for a job, in seconds.
pub const MAX_WAIT_S: u32 = 30;
/// The longest name of a worker, in bytes.
pub const MAX_WORKER_BYTES: usize = 64;
/// The longest description of a failure that is kept, in bytes; the rest is cut.
pub const MAX_DETAIL_BYTES: usize = 1_000;
/// The most circuits a worker may offer.
pub const MAX_CIRCUITS: usize = 64;
/// Words of a proof: A.x A.y, B x.c1 x.c0 y.c1 y.c0, C.x C.y.
pub const PROOF_WORDS: usize = 8;

/// A worker asks for the oldest job that it can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Name of the worker, unique among running workers: up to 64 of `A-Z a-z 0-9 . _ -`.
    #[schema(example = "host-1-4242")]
    pub worker: String,
    /// The circuits whose keys it holds.
    pub circuits: Vec<OfferedCircuit>,
    /// Megabytes that it may use; it gets no circuit that needs more.
    #[schema(minimum = 1, example = 4096)]
    pub memory_mb: u64,
    /// Seconds to wait for a job if there is none; at most 30.
    #[serde(default)]
    #[schema(maximum = 30)]
    pub wait_s: u32,
}

/// A circuit that a worker can prove, with the key that it would use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferedCircuit {
    /// Circuit id of the deployment.
    pub circuit: u32,
    /// Digest of the verifying key that belongs to the worker's proving key.
    #[schema(value_type = String, example = "0x5f16f4c7f149ac4f9510d9cf8cf384038ad348b3bcdc01915f95de12df9d1b02")]
    pub verifying_key: HexWord,
}

/// A batch to prove, leased to one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Batch number.
    pub batch: u64,
    /// Circuit id.
    pub circuit: u32,
    /// Chain of the deployment.
    pub chain_id: u64,
    /// Contract of the deployment: with the chain it makes the first public input, so that a worker can check both.
    #[schema(value_type = String)]
    pub contract: Address,
    /// Digest of the verifying key that the proof must satisfy.
    #[schema(value_type = String)]
    pub verifying_key: HexWord,
    /// The fencing token: it grows with every claim of this batch number, also when the batch is sealed again.
    pub lease: i64,
    /// Milliseconds until the lease expires unless a heartbeat extends it.
    pub lease_ms: u64,
    /// What to prove: the batch with its slots of every kind, and the challenges it is proved at.
    #[serde(deserialize_with = "input")]
    #[schema(value_type = Object)]
    pub input: ProverInput,
    /// The nine public inputs that the proof must have, as 0x hex words in the protocol's order.
    #[schema(value_type = Vec<String>)]
    pub public_inputs: PublicWords,
}

fn input<'de, D: Deserializer<'de>>(json: D) -> Result<ProverInput, D::Error> {
    let raw = Box::<RawValue>::deserialize(json)?;
    ProverInput::from_json(raw.get()).map_err(D::Error::custom)
}

/// A [`Job`] without its input, which is large: the gateway passes on the JSON that the database holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobHead {
    /// Batch number.
    pub batch: u64,
    /// Circuit id.
    pub circuit: u32,
    /// Chain of the deployment.
    pub chain_id: u64,
    /// Contract of the deployment.
    pub contract: Address,
    /// Digest of the verifying key that the proof must satisfy.
    pub verifying_key: HexWord,
    /// The fencing token.
    pub lease: i64,
    /// Milliseconds until the lease expires unless a heartbeat extends it.
    pub lease_ms: u64,
    /// The nine public inputs that the proof must have.
    pub public_inputs: PublicWords,
}

impl JobHead {
    /// The whole [`Job`] as JSON.
    pub(crate) fn with_input(&self, input: &str) -> Result<String, serde_json::Error> {
        let head = serde_json::to_string(self)?;
        Ok(format!("{},\"input\":{input}}}", head.trim_end_matches('}')))
    }
}

/// Public inputs as words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicWords(pub [HexWord; PUBLIC_INPUTS]);

impl From<&PublicInputs> for PublicWords {
    fn from(inputs: &PublicInputs) -> Self {
        Self(inputs.map(|value| HexWord(to_word(value))))
    }
}

impl PublicWords {
    /// The field elements, or `None` if a word is not below the modulus.
    pub fn decode(&self) -> Option<PublicInputs> {
        let mut inputs = PublicInputs::default();
        for (input, word) in inputs.iter_mut().zip(&self.0) {
            *input = from_word(&word.0)?;
        }
        Some(inputs)
    }
}

/// A sign of life; extends the lease.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// The fencing token.
    pub lease: i64,
    /// Name of the worker that holds the lease.
    pub worker: String,
    /// What the worker is doing.
    pub progress: Phase,
    /// How far it is with that, as well as it can tell: 0 to 100.
    #[serde(default)]
    #[schema(maximum = 100)]
    pub percent: Option<u8>,
}

/// Where a worker is in a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waiting for the circuit's constraints, which a worker lays out once, while it asks for its first job.
    LayOut,
    /// Computing the assignment.
    Witness,
    /// Computing the proof.
    Prove,
    /// Checking its own proof.
    Verify,
    /// Sending it.
    Submit,
}

impl Phase {
    /// Name in JSON, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Phase::LayOut => "lay_out",
            Phase::Witness => "witness",
            Phase::Prove => "prove",
            Phase::Verify => "verify",
            Phase::Submit => "submit",
        }
    }
}

/// A lease as it stands after a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lease {
    /// Milliseconds until it expires.
    pub lease_ms: u64,
    /// What the worker is to do.
    pub order: WorkerOrder,
}

/// What a worker is to do, as an operator ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerOrder {
    /// Go on.
    Continue,
    /// Finish this job and ask for no other.
    Drain,
    /// Drop this job: the lease was taken back.
    Cancel,
}

/// A proof.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The fencing token under which it was made, current or not.
    pub lease: i64,
    /// Name of the worker.
    pub worker: String,
    /// A.x A.y, B x.c1 x.c0 y.c1 y.c0, C.x C.y as 0x hex words.
    #[schema(value_type = Vec<String>)]
    pub proof: [HexWord; PROOF_WORDS],
    /// How long it took.
    pub timings: Timings,
}

/// Milliseconds by phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Timings {
    /// Computing the assignment.
    pub witness_ms: u64,
    /// Computing the proof.
    pub prove_ms: u64,
    /// Checking it.
    pub verify_ms: u64,
    /// Threads used.
    pub threads: u32,
}

/// The proof is valid and the batch has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a valid proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Stored under the current lease.
    Stored,
    /// Stored although the lease was no longer current: the batch still lacked a proof.
    StoredLate,
    /// The batch had a proof already; that one stays.
    AlreadyProven,
}

/// The worker gives the job up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The fencing token.
    pub lease: i64,
    /// Name of the worker that holds the lease.
    pub worker: String,
    /// Why.
    pub reason: FailureReason,
    /// For the operator; up to 1,000 bytes are kept, control characters as U+FFFD.
    #[serde(default)]
    pub detail: String,
}

/// Why a worker gave a job up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// It does not hold the key that the job asks for.
    Key,
    /// Its program has no circuit for the key, most often because it is another version than the deployment's; the worker ends, so this is not
    /// counted as a failure of the job.
    LayOut,
    /// The batch has no satisfying assignment, or its public inputs are not those of the job.
    Witness,
    /// The prover failed.
    Prove,
    /// Its own check refused the proof.
    SelfCheck,
    /// It is shutting down and the job would outlast its grace period; not counted as a failure of the job.
    Drained,
    /// The gateway refused its proof. Set by the gateway.
    ProofInvalid,
    /// The gateway cannot read the batch from the database. Set by the gateway, which parks the job at once.
    Unreadable,
    /// Too many of its leases ended without a word: it seems to end its workers. Set by the gateway, which parks the job.
    Silent,
}

impl FailureReason {
    /// Every reason.
    pub const ALL: [Self; 9] =
        [Self::Key, Self::LayOut, Self::Witness, Self::Prove, Self::SelfCheck, Self::Drained, Self::ProofInvalid, Self::Unreadable, Self::Silent];

    /// Name in JSON, metrics and the database.
    pub fn name(self) -> &'static str {
        match self {
            FailureReason::Key => "key",
            FailureReason::LayOut => "lay_out",
            FailureReason::Witness => "witness",
            FailureReason::Prove => "prove",
            FailureReason::SelfCheck => "self_check",
            FailureReason::Drained => "drained",
            FailureReason::ProofInvalid => "proof_invalid",
            FailureReason::Unreadable => "unreadable",
            FailureReason::Silent => "silent",
        }
    }

    /// True if it may speak against the job, and so counts towards parking.
    pub fn counts(self) -> bool {
        !matches!(self, FailureReason::Drained | FailureReason::LayOut)
    }
}

/// The lease is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Released {
    /// True if too many different workers failed on it: nobody gets it until an operator has looked.
    pub parked: bool,
}

/// An error: RFC 9457 problem details with a stable `code`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemBody {
    /// Always `about:blank`; `code` says which.
    pub r#type: String,
    /// Short text for the status.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable, for programs.
    pub code: String,
    /// For people.
    pub detail: String,
    /// The field or parameter it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// True if `name` can name a worker.
pub fn is_worker_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    // `.` and `..` mean something else in an address
    name.len() <= MAX_WORKER_BYTES && name.bytes().all(allowed) && name.bytes().any(|byte| byte != b'.')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn public_words_at_the_modulus_are_refused() {
        let inputs = PublicInputs::default();
        let mut words = PublicWords::from(&inputs);
        assert_eq!(words.decode(), Some(inputs));
        words.0[3] = HexWord([0xff; 32]);
        assert_eq!(words.decode(), None);
    }

    #[test]
    fn a_job_put_together_from_its_parts_reads_as_one() {
        let zero = HexWord([0; 32]);
        let public_inputs = PublicWords([zero; PUBLIC_INPUTS]);
        let (contract, verifying_key) = (Address([1; 20]), zero);
        let head = JobHead { batch: 7, circuit: 1, chain_id: 31_337, contract, verifying_key, lease: 2, lease_ms: 3, public_inputs };
        let job: serde_json::Value = serde_json::from_str(&head.with_input(r#"{"batch":{}}"#).unwrap()).unwrap();
        let mut expected = serde_json::to_value(&head).unwrap();
        expected["input"] = serde_json::json!({ "batch": {} });
        assert_eq!(job, expected);
        assert_eq!(serde_json::from_value::<JobHead>(job).unwrap(), head, "and as a head, whatever the input is");
    }

    #[test]
    fn worker_names_are_bounded_and_plain() {
        assert!(is_worker_name("host-1.example_42"));
        for name in ["", "a b", "a\n", "é", &"x".repeat(MAX_WORKER_BYTES + 1)] {
            assert!(!is_worker_name(name), "{name}");
        }
    }

    #[test]
    fn names_in_json_and_in_metrics_are_the_same() {
        for phase in [Phase::LayOut, Phase::Witness, Phase::Prove, Phase::Verify, Phase::Submit] {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
        }
        for reason in [FailureReason::Key, FailureReason::LayOut, FailureReason::SelfCheck, FailureReason::Drained, FailureReason::ProofInvalid] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.name());
        }
    }
}
