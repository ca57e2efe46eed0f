//! Which batch is to be taken back from L1, because nobody proves it.
//!
//! ```text
//! job parked ──the wait is long, or an operator──> open ──nothing about it or later ones on its way──> revertTo signed ──mined──> the sequencer's turn
//!                                                    └── proven, off L1, or its job no longer parked: abandoned          └── failed: open again
//! ```
//! Once signed it is never given up by us: if somebody proves the batch first, the contract refuses the call.

use super::{Round, SubmitError, Submitter, store};
use crate::policy::{Job, TakingBack};
use crate::rollup::ViewError;
use crate::rpc::{Quorum, Rpc};
use sheaf_store::fleet::Because;
use sheaf_store::reverts::{self, Asked, Standing};

impl Submitter {
    /// The batch that is being taken back; asks for one if its time has come, gives it up if there is no need any more.
    pub(super) async fn taking_back(&mut self, round: &Round, waiting: &[Job]) -> Result<Option<TakingBack>, SubmitError> {
        let mut rows = self.lead.begin().await.map_err(store)?;
        let mut standing = reverts::standing(&mut rows).await.map_err(store)?;
        if let Some((id, because)) = standing.as_ref().and_then(|open| needless(open, round, waiting).map(|because| (open.revert.id, because))) {
            reverts::abandon(&mut rows, id, because).await.map_err(store)?;
            tracing::warn!(batch = standing.as_ref().map(|open| open.revert.batch), because, "a batch is not taken back after all");
            standing = None;
        }
        let parked = reverts::first_parked(&mut rows, round.progress.proven, round.progress.committed).await.map_err(store)?;
        rows.commit().await.map_err(store)?;
        if let (None, Some(batch)) = (&standing, parked) {
            standing = self.ask(round, batch).await?;
        }
        let shown = standing.as_ref().map(|Standing { revert, .. }| {
            let (batch, circuit, actor, reason) = (revert.batch, revert.circuit, &revert.actor, &revert.reason);
            format!("batch {batch} is taken back from L1 and sealed again in another circuit than {circuit} ({actor}: {reason})")
        });
        self.board.edit(|status| status.taking_back = shown);
        Ok(standing.map(|open| TakingBack { batch: open.revert.batch, is_sent: open.is_sent }))
    }

    /// Asks for a batch with a parked job to be taken back, once the first unproven one has waited long.
    async fn ask(&mut self, round: &Round, batch: u64) -> Result<Option<Standing>, SubmitError> {
        let head = round.head.hash;
        let ask = |node: Rpc| {
            let contract = self.rollup.pinned(node, head);
            async move { contract.patience().await }
        };
        let asked = self.rollup.rpc().agreed(Quorum::Soft, "time of the first unproven batch", ask, ViewError::Rpc).await;
        let (since, time_out) = asked.map_err(SubmitError::View)?;
        let waited = round.head.timestamp.as_u64().saturating_sub(since);
        if since == 0 || waited < self.options.revert_after_s.unwrap_or(time_out / 4).min(time_out / 2) {
            return Ok(None);
        }
        let reason = format!("its job is parked, and {waited} s of the {time_out} s for a proof have passed");
        let mut rows = self.lead.begin().await.map_err(store)?;
        let because = Because { actor: "settlement", reason: &reason };
        let asked = reverts::ask(&mut rows, batch, self.options.circuits, because).await.map_err(store)?;
        let standing = reverts::standing(&mut rows).await.map_err(store)?;
        rows.commit().await.map_err(store)?;
        match asked {
            Asked::Yes => tracing::warn!(batch, reason, "a batch is taken back from L1, to be sealed again in another circuit"),
            Asked::NoCircuitLeft => self.alarm(no_circuit_alarm(batch)),
            Asked::NoSuchJob | Asked::NotParked(_) | Asked::NotCommitted(_) | Asked::AnotherIsOpen(_) => {
                tracing::debug!(batch, ?asked, "not taken back now");
            }
        }
        Ok(standing)
    }
}

/// Why an open revert is not needed any more. One that is on its way is waited for: it takes effect or fails.
fn needless(open: &Standing, round: &Round, waiting: &[Job]) -> Option<&'static str> {
    let (batch, progress) = (open.revert.batch, &round.progress);
    if open.is_sent {
        None
    } else if progress.proven >= batch {
        Some("it is proven on L1")
    } else if !open.is_parked {
        Some("its job went back to work")
    } else if progress.committed < batch && !waiting.iter().any(|job| job.reaches(batch)) {
        Some("it is not on L1 any more")
    } else {
        None
    }
}

fn no_circuit_alarm(batch: u64) -> String {
    format!(
        "the proof job of batch {batch} is parked and no circuit is left to seal its transactions in: make a worker prove it and send it back to work \
         (`sheaf prover retry {batch}`) before the contract's time for proofs is over, after which anybody may freeze it"
    )
}
