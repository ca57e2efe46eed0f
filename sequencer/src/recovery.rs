//! Starting where the last process stopped, however it stopped: everything is in Postgres.
//!
//! ```text
//! a batch that L1 took back ──> sealed again (`reseal`)
//! slots after the last computed batch ──> state vector ──> root must be that batch's
//!         └── replay sealed batches, then what was accepted since, in order ──> live state
//! sealed batches that were not computed ──> the committer, first
//! ```

use crate::book::{Book, ReplayError};
use crate::committer::{Committed, Sealed};
use crate::config::{Config, Deployment};
use crate::reseal::reseal_due;
use sheaf_protocol::field::to_hex;
use sheaf_protocol::kzg::{PrepareError, Srs, StateVector};
use sheaf_protocol::ledger::Ledger;
use sheaf_protocol::transition::Rejection;
use sheaf_store::StoreError;
use sheaf_store::batches::{self, Marks, Position};
use sheaf_store::l1;
use sheaf_store::leader::Lease;
use sheaf_store::{queue, slots, transactions};
use sqlx::{PgConnection, PgPool};
use std::sync::Arc;

/// Why the sequencer does not start.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The database.
    #[error("the state cannot be read")]
    Store(#[from] StoreError),
    /// The SRS is of another size than the deployment.
    #[error("the SRS is for 2^{srs} slots, the deployment has 2^{deployment}")]
    Size {
        /// k of the SRS.
        srs: u32,
        /// k of the deployment.
        deployment: u32,
    },
    /// A stored slot is outside the state.
    #[error("the stored slots do not fit the state: {0}")]
    Slots(#[from] PrepareError),
    /// The slots are not those of the last computed batch.
    #[error("the slots in the database give root {found}, batch {batch} recorded {recorded}: the database is damaged or belongs to another SRS")]
    Root {
        /// The last computed batch, 0 if none.
        batch: u64,
        /// What it recorded.
        recorded: String,
        /// What the slots give.
        found: String,
    },
    /// Something that was accepted does not apply again.
    #[error("the accepted transactions in the database do not follow from its slots: {0}")]
    Replay(String),
    /// The computation was interrupted.
    #[error("rebuilding the state vector was interrupted")]
    Interrupted,
}

impl From<ReplayError> for RecoveryError {
    fn from(error: ReplayError) -> Self {
        Self::Replay(error.to_string())
    }
}

/// Everything the tasks start from.
pub(crate) struct Recovered {
    pub(crate) committed: Committed,
    pub(crate) book: Book,
    pub(crate) uncomputed: Vec<Sealed>,
    pub(crate) last_batch: u64,
    pub(crate) marks: Marks,
    /// True if L1 shows the contract frozen.
    pub(crate) frozen: bool,
}

/// Reads, checks and replays.
///
/// # Errors
/// [`RecoveryError`].
pub(crate) async fn recover(
    pool: &PgPool,
    lease: &Lease,
    srs: Arc<Srs>,
    deployment: &Arc<Deployment>,
    config: &Config,
) -> Result<Recovered, RecoveryError> {
    if srs.k != deployment.k {
        return Err(RecoveryError::Size { srs: srs.k, deployment: deployment.k });
    }
    let mut connection = pool.acquire().await.map_err(StoreError::from)?;
    // seldom anything, and much on the stack of those who wait for it
    Box::pin(reseal_due(&mut connection, lease, deployment, config)).await?;
    let position = batches::position(&mut connection).await.map_err(StoreError::from)?;
    let ledger = stored_ledger(&mut connection, deployment.k).await?;
    let vector = rebuild(srs, &ledger).await?;
    check_root(&vector, position.as_ref())?;
    let (book, uncomputed) = replay(&mut connection, ledger.clone(), config).await?;
    let computed = position.as_ref().map_or(0, |position| position.number);
    let committed =
        Committed { deployment: Arc::clone(deployment), ledger, vector, queue_digest: position.map_or([0; 32], |position| position.queue_digest) };
    let last_batch = computed + uncomputed.len() as u64;
    let marks = batches::marks(&mut connection).await.map_err(StoreError::from)?;
    let frozen = l1::frozen_in(&mut connection).await.map_err(StoreError::from)?.is_some();
    tracing::info!(computed, sealed = last_batch, waiting = book.waiting(), "state recovered");
    Ok(Recovered { committed, book, uncomputed, last_batch, marks, frozen })
}

/// The slots as they are stored.
///
/// # Errors
/// [`RecoveryError::Store`]; [`RecoveryError::Slots`] if one is outside the state.
pub(crate) async fn stored_ledger(connection: &mut PgConnection, k: u32) -> Result<Ledger, RecoveryError> {
    let mut ledger = Ledger::new(k);
    for (id, slot) in slots::all(connection).await.map_err(StoreError::from)? {
        if !ledger.contains(id) {
            return Err(PrepareError::Outside { slot: id, k }.into());
        }
        ledger.set(id, slot);
    }
    Ok(ledger)
}

async fn rebuild(srs: Arc<Srs>, ledger: &Ledger) -> Result<StateVector, RecoveryError> {
    let slots: Vec<_> = ledger.occupied().map(|(id, slot)| (id, slot.columns())).collect();
    let vector = tokio::task::spawn_blocking(move || StateVector::new(srs, slots)).await;
    Ok(vector.map_err(|_| RecoveryError::Interrupted)??)
}

/// Without a computed batch the state must be empty, and its root the genesis root.
fn check_root(vector: &StateVector, position: Option<&Position>) -> Result<(), RecoveryError> {
    let genesis = || sheaf_protocol::header::state_root(vector.k(), &Default::default());
    let (batch, recorded) = position.map_or_else(|| (0, genesis()), |position| (position.number, position.root));
    if vector.root() == recorded {
        return Ok(());
    }
    Err(RecoveryError::Root { batch, recorded: to_hex(&recorded), found: to_hex(&vector.root()) })
}

async fn replay(connection: &mut PgConnection, live: Ledger, config: &Config) -> Result<(Book, Vec<Sealed>), RecoveryError> {
    let last_seq = transactions::last_seq(connection).await.map_err(StoreError::from)?;
    let last_index = queue::last_taken(connection).await.map_err(StoreError::from)?;
    let mut book = Book::new(live, config.fees.clone(), last_seq, last_index);
    let mut uncomputed = Vec::new();
    for batch in batches::uncomputed(connection).await.map_err(StoreError::from)? {
        let members = batches::members(connection, Some(batch.number)).await.map_err(StoreError::from)?;
        members.into_iter().try_for_each(|member| book.replay(member))?;
        let credited = |rejection: Rejection| RecoveryError::Replay(format!("fees of batch {}: {rejection}", batch.number));
        let (leaving, _) = book.seal(book.waiting()).map_err(credited)?;
        uncomputed.push(Sealed { number: batch.number, circuit: batch.circuit, leaving });
    }
    let waiting = batches::members(connection, None).await.map_err(StoreError::from)?;
    waiting.into_iter().try_for_each(|member| book.replay(member))?;
    Ok((book, uncomputed))
}
