//! A batch computed again from what was accepted, as if for the first time: the operator's own check of what it stored.
//!
//! ```text
//! batches before it ── followed as anybody would ──> state before ─┐
//! members, slots that collect fees ────────────────────────────────┴─ the committer's own computation ──> to be compared with the stored one
//! ```
//! Nothing is written and no lead is taken: it may run beside a sequencer.

use crate::book::Leaving;
use crate::committer::{Committed, Sealed};
use crate::config::Deployment;
use sheaf_protocol::field::{Word, to_hex};
use sheaf_protocol::follower::{FollowError, PublishedBatch, follow};
use sheaf_protocol::header::{Choice, PostedDataError, read_posted_data};
use sheaf_protocol::kzg::{PrepareError, Srs, StateVector};
use sheaf_protocol::ledger::Ledger;
use sheaf_store::batches::{self, Computed};
use sheaf_store::l1::{self, CommitInput};
use sqlx::PgPool;
use std::sync::Arc;

/// Place of the state root before a batch in its record.
const OLD_ROOT: usize = 2;
/// Place of the queue digest after a batch in its record.
const QUEUE_DIGEST: usize = 10;

/// Why a batch cannot be computed again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The database failed.
    #[error("the database cannot be read: {0}")]
    Store(#[from] sqlx::Error),
    /// It was not computed yet, or one before it was not.
    #[error("batch {0} is not computed; `sheaf replay` is for batches that are")]
    NotComputed(u64),
    /// A stored choice is none.
    #[error("batch {0} holds a choice of no kind")]
    Choice(u64),
    /// A batch before it does not follow.
    #[error("batch {number} does not follow: {source}")]
    Follow {
        /// The batch.
        number: u64,
        /// Why.
        source: FollowError,
    },
    /// The state before it cannot be committed to.
    #[error("the state before it: {0}")]
    Prepare(#[from] PrepareError),
    /// The batches before it lead to another state.
    #[error("the batches before it lead to root {found}, it was computed on {recorded}")]
    Root {
        /// By the record.
        recorded: String,
        /// By following.
        found: String,
    },
    /// Its stored bytes are not a batch's.
    #[error("its posted data: {0}")]
    Data(#[from] PostedDataError),
    /// The committer refuses its members.
    #[error("its members cannot be computed: {0}")]
    Compute(String),
}

/// Computes batch `number` again; `step` is told how many batches of how many were followed.
///
/// # Errors
/// [`ReplayError`].
pub async fn replay(
    pool: &PgPool,
    srs: Arc<Srs>,
    deployment: Arc<Deployment>,
    number: u64,
    mut step: impl FnMut(u64, u64),
) -> Result<Computed, ReplayError> {
    let mut transaction = pool.begin().await?;
    let mut ledger = Ledger::new(deployment.k);
    let mut queue_digest: Word = [0; 32];
    for before in 1..number {
        let input = l1::commit_input(&mut transaction, before).await?.ok_or(ReplayError::NotComputed(before))?;
        queue_digest = input.record[QUEUE_DIGEST];
        follow(&mut ledger, &published(before, input)?).map_err(|source| ReplayError::Follow { number: before, source })?;
        step(before, number);
    }
    let input = l1::commit_input(&mut transaction, number).await?.ok_or(ReplayError::NotComputed(number))?;
    let circuit = batches::status(&mut transaction, number).await?.ok_or(ReplayError::NotComputed(number))?.circuit;
    let members = batches::members(&mut transaction, Some(number)).await?;
    let vector = StateVector::new(srs, ledger.occupied().map(|(id, slot)| (id, slot.columns())))?;
    if vector.root() != input.record[OLD_ROOT] {
        return Err(ReplayError::Root { recorded: to_hex(&input.record[OLD_ROOT]), found: to_hex(&vector.root()) });
    }
    // which slot collects is the operator's choice, like the slots of deposits
    let collectors = read_posted_data(&input.data)?.fees.iter().map(|fee| (fee.token, fee.slot)).collect();
    let sealed = Sealed { number, circuit, leaving: Leaving { members, collectors } };
    let committed = Committed { deployment, ledger, vector, queue_digest };
    let computing = tokio::task::spawn_blocking(move || committed.compute(&sealed).map(|next| next.computed).map_err(|error| error.to_string()));
    computing.await.unwrap_or_else(|error| Err(error.to_string())).map_err(ReplayError::Compute)
}

fn published(number: u64, input: CommitInput) -> Result<PublishedBatch, ReplayError> {
    let choices = input.choices.iter().map(Choice::from_word).collect::<Option<_>>().ok_or(ReplayError::Choice(number))?;
    Ok(PublishedBatch { data: input.data, withdrawals: input.withdrawals, taken: input.taken, choices })
}
