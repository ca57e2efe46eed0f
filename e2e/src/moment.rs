//! Moments in the life of a batch, as the database shows them.

use anyhow::ensure;
use sheaf_cli::dev::operator;
use sheaf_store::l1::TxKind;
use sheaf_store::pool::PgPool;
use sheaf_store::{batches, jobs, l1};
use std::time::{Duration, Instant};

/// How long a moment may be awaited.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks: shorter than any of the moments.
const POLL: Duration = Duration::from_millis(2);

/// When an incident strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A batch is sealed, and L1 does not know it.
    Sealed,
    /// Every sealed batch is computed, so that its job waits.
    AllComputed,
    /// A commit is signed and saved, perhaps sent, and not mined.
    CommitInFlight,
    /// A worker holds a job.
    Leased,
    /// A worker held a job for too long.
    LeaseExpired,
    /// A proof is stored, and L1 does not know it.
    ProofStored,
    /// A proof is signed and saved, perhaps sent, and not mined.
    ProofInFlight,
    /// Everything sealed is final.
    AllFinal,
}

pub(crate) async fn until(pool: &PgPool, moment: Moment) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    while !is_now(pool, moment).await? {
        ensure!(Instant::now() < end, "{moment:?} was not seen in {} s", PATIENCE.as_secs());
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

pub(crate) async fn is_now(pool: &PgPool, moment: Moment) -> anyhow::Result<bool> {
    let connection = &mut *pool.acquire().await?;
    Ok(match moment {
        Moment::Sealed => {
            let marks = batches::marks(connection).await?;
            marks.sealed > marks.committed
        }
        Moment::AllComputed => batches::members(connection, None).await?.is_empty() && batches::uncomputed(connection).await?.is_empty(),
        Moment::CommitInFlight => is_in_flight(pool, [TxKind::Commit, TxKind::CommitAndProve]).await?,
        Moment::Leased => jobs::depths(connection).await?.iter().any(|depth| depth.leased > 0),
        Moment::LeaseExpired => jobs::depths(connection).await?.iter().any(|depth| depth.expired > 0),
        Moment::ProofStored => {
            let next = batches::marks(connection).await?.proven + 1;
            batches::status(connection, next).await?.is_some_and(|batch| batch.proof_stored_at.is_some())
        }
        Moment::ProofInFlight => is_in_flight(pool, [TxKind::Prove, TxKind::CommitAndProve]).await?,
        Moment::AllFinal => {
            let marks = batches::marks(connection).await?;
            marks.sealed == marks.finalised
        }
    })
}

async fn is_in_flight(pool: &PgPool, kinds: [TxKind; 2]) -> anyhow::Result<bool> {
    let beyond = u64::from(u32::MAX);
    let live = l1::live_transactions(&mut *pool.acquire().await?, &operator()?, beyond, beyond).await?;
    Ok(live.iter().any(|transaction| kinds.contains(&transaction.kind) && transaction.mined().is_none()))
}
