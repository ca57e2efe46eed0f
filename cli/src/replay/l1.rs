//! A batch derived again from L1 alone, beside what L1 holds of it.

use super::account::Account;
use crate::progress::Progress;
use crate::restored::{Home, Restored, StateOptions};
use anyhow::Context;
use ark_bn254::{Bn254, G2Affine};
use ark_ec::AffineRepr;
use ark_groth16::VerifyingKey;
use sheaf_circuits::prove::{proof_from_words, verify};
use sheaf_protocol::batch::PublicInputs;
use sheaf_protocol::derive::{Derived, Given, derive};
use sheaf_protocol::field::{Fr, Word, from_word, g1_from_words, g1_words, g2_from_words, hash_to_field, keccak_words, to_word};
use sheaf_protocol::header::{self, Choice};
use sheaf_settlement::history::{History, ProvenBatch};
use sheaf_settlement::posted::Posted;
use sheaf_settlement::provenance::{self, CircuitOnL1};
use sheaf_settlement::rollup::Rollup;
use sheaf_store::l1::{CommitInput, ProofInput, RecordWords};

/// Words of a record that are its header.
const HEADER_WORDS: usize = 14;

/// What L1 says of a batch, twice.
pub(super) struct OnL1 {
    /// Derived from what was posted.
    pub(super) derived: Account,
    /// What else was posted, proven and stored.
    pub(super) posted: Account,
}

/// Derives batch `number` from L1; reading begins at `from_block`, the block that created the contract, or where the state file goes on.
///
/// # Errors
/// If L1 does not hold the batch, or the batches before it do not follow.
pub(super) async fn read(rollup: &Rollup, options: &StateOptions, from_block: u64, number: u64) -> anyhow::Result<OnL1> {
    let circuits = provenance::circuits(rollup.rpc(), rollup.address(), from_block).await?;
    let home = Home::of(rollup).await?;
    let mut restored = options.open_or_begin(&home, from_block)?;
    if restored.batches >= number {
        restored = options.begin(&home, from_block)?;
    }
    let proven = follow_up_to(rollup, &mut restored, number).await?;
    let queue_digest = restored
        .queue_digest
        .with_context(|| format!("{} is of a version that did not keep the queue digest; name another file with --state", options.state.display()))?;
    let posted = rollup.posted(&proven).await?;
    let id = posted.circuit;
    let circuit = (id as usize).checked_sub(1).and_then(|place| circuits.get(place)).with_context(|| format!("the contract has no circuit {id}"))?;
    let h = from_word(&posted.h).with_context(|| format!("h of batch {number} on L1 is no field element"))?;
    let domain = header::domain(rollup.rpc().chain_id(), &rollup.address());
    let given = Given { number, circuit: id, shape: circuit.shape, domain, h, queue_digest };
    let mut on_l1 = OnL1 { derived: Account::new("derived"), posted: Account::new("posted") };
    on_l1.posted.word("domain", &to_word(rollup.domain().await?)).bytes("posted_data", &proven.published.data);
    on_l1.derived.word("domain", &to_word(domain));
    tell_posted(&mut on_l1.posted, &proven, &posted, domain);
    match derive(&restored.ledger, &restored.vector, &proven.published, &given) {
        Ok(batch) => tell_derived(&mut on_l1.derived, &batch, &proven, &posted, circuit, domain),
        Err(error) => {
            on_l1.derived.word("data_hash", &header::data_hash(&proven.published.data)).part("state", format!("none, {error}"));
            on_l1.posted.part("state", "proven".to_owned());
        }
    }
    Ok(on_l1)
}

async fn follow_up_to(rollup: &Rollup, restored: &mut Restored, number: u64) -> anyhow::Result<ProvenBatch> {
    let (first, last) = (restored.next_block, rollup.rpc().block_number().await?);
    let mut history = History::new(rollup.clone(), first);
    let mut progress = Progress::new("reading L1");
    while let Some(chapter) = history.next(restored.batches, last).await? {
        for batch in chapter.batches {
            if batch.number == number {
                return Ok(batch);
            }
            restored.follow(&batch)?;
        }
        progress.step_with((history.resume_at() - first) as usize, (last + 1 - first) as usize, &format!("batch {}", restored.batches));
    }
    anyhow::bail!("batch {number} is not proven on L1, which is at batch {}; without --l1-url it is derived from the database", restored.batches)
}

fn tell_posted(account: &mut Account, proven: &ProvenBatch, posted: &Posted, domain: Fr) {
    let ProofInput { record, claims, opening, .. } = &posted.proof;
    account.record(record).proof(claims, opening);
    for (name, word) in challenges(record, claims, domain) {
        account.word(name, &word);
    }
    account.word("new_root", &proven.root).word("committed root", &proven.found.committed_root);
    account.word("record hash", &proven.found.batch_hash).word("stored hash", &posted.batch_hash);
    account.bytes("choices", &proven.published.choices.iter().map(Choice::word).collect::<Vec<_>>().concat());
    account.bytes("commit call", &posted.commit_call).bytes("prove call", &posted.prove_call).part("proof", HOLDS.to_owned());
}

fn tell_derived(account: &mut Account, batch: &Derived, proven: &ProvenBatch, posted: &Posted, circuit: &CircuitOnL1, domain: Fr) {
    let opened = &batch.opened;
    let words = opened.record.words();
    let record: RecordWords = std::array::from_fn(|i| words[i]);
    let (claims, opening) = (opened.claims.to_array().map(to_word), g1_words(&opened.opening));
    account.record(&record).proof(&claims, &opening);
    account.word("rho", &to_word(opened.challenges.rho)).word("zeta", &to_word(opened.challenges.zeta)).word("gamma", &to_word(opened.gamma));
    account.word("new_root", &batch.new_root).word("committed root", &batch.new_root);
    account.word("record hash", &opened.record.hash()).word("stored hash", &opened.record.hash());
    account.bytes("ops_words", &batch.ops_words.iter().map(|word| to_word(*word)).collect::<Vec<_>>().concat());
    let commit = CommitInput {
        record,
        taken: proven.published.taken.clone(),
        choices: proven.published.choices.iter().map(Choice::word).collect(),
        withdrawals: proven.published.withdrawals.clone(),
        data: proven.published.data.clone(),
    };
    let proof = ProofInput { record, groth16: posted.proof.groth16, claims, opening };
    let before = batch.before.each_ref().map(g1_words);
    let old_commitments = std::array::from_fn(|i| before[i / 2][i % 2]);
    account.bytes("commit call", &posted.commit_call_of(&commit)).bytes("prove call", &posted.prove_call_of(&proof, &old_commitments));
    account.part("proof", proof_holds(circuit, &opened.public_inputs(domain), &posted.proof.groth16));
}

/// What is said of a proof that holds.
const HOLDS: &str = "holds for the public inputs";

/// What the verifying key says of the posted proof and the derived public inputs.
fn proof_holds(circuit: &CircuitOnL1, inputs: &PublicInputs, groth16: &[Word; 8]) -> String {
    let Some(key) = verifying_key(circuit) else { return "a point of the verifying key is none".to_owned() };
    match proof_from_words(groth16).and_then(|proof| verify(&key, inputs, &proof)) {
        Ok(()) => HOLDS.to_owned(),
        Err(error) => error.to_string(),
    }
}

/// gamma is the generator.
fn verifying_key(circuit: &CircuitOnL1) -> Option<VerifyingKey<Bn254>> {
    Some(VerifyingKey {
        alpha_g1: g1_from_words(&circuit.alpha)?,
        beta_g2: g2_from_words(&circuit.beta)?,
        gamma_g2: G2Affine::generator(),
        delta_g2: g2_from_words(&circuit.delta)?,
        gamma_abc_g1: circuit.ic.iter().map(g1_from_words).collect::<Option<_>>()?,
    })
}

/// The challenges that L1 computed from what it was given.
fn challenges(record: &RecordWords, claims: &[Word; 3], domain: Fr) -> [(&'static str, Word); 3] {
    let [cq_x, cq_y, y_da, y_ops] = [14, 15, 16, 17].map(|place| record[place]);
    let rho = to_word(hash_to_field("rho", &[to_word(domain), keccak_words(&record[..HEADER_WORDS])]));
    let zeta = to_word(hash_to_field("zeta", &[rho, cq_x, cq_y]));
    let gamma = hash_to_field("gamma", &[zeta, claims[0], claims[1], claims[2], y_da, y_ops]);
    [("rho", rho), ("zeta", zeta), ("gamma", to_word(gamma))]
}
