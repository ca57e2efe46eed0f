//! From the API to the executor: cheap checks first, then signatures in groups, off the async threads.
//!
//! ```text
//! API ──bounded queue──> group (whatever waits, at most N) ──> cheap checks ──> signatures on all cores ──> executor
//! ```
//! While a group is being verified the next one gathers, so groups grow with the load and a lone transaction does not wait. Order of arrival is kept.

use crate::config::{AdmissionConfig, FeeConfig};
use crate::refusal::Refusal;
use crate::view::View;
use sheaf_protocol::amount::Address;
use sheaf_protocol::field::Fr;
use sheaf_protocol::ops::{Op, SignedOp, TxHash};
use sheaf_protocol::schnorr::{self, Check};
use sheaf_protocol::transition::Rejection;
use sheaf_store::transactions::Receipt;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Groups that may wait for the executor.
const GROUPS_AHEAD: usize = 4;

/// Where the receipt or the refusal goes.
pub(crate) type Reply = oneshot::Sender<Result<Receipt, Refusal>>;

/// A transaction as it arrived.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) op: SignedOp,
    pub(crate) hash: TxHash,
    pub(crate) reply: Reply,
}

/// An arrival whose signature holds for this key.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) arrival: Arrival,
    pub(crate) key: Fr,
}

/// The API's end of the queue.
#[derive(Clone, Debug)]
pub(crate) struct Door(mpsc::Sender<Arrival>);

/// What the checks need.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) domain: Fr,
    pub(crate) view: Arc<View>,
    pub(crate) fees: FeeConfig,
    pub(crate) config: AdmissionConfig,
}

impl Door {
    /// Queues all of `ops` or none; each answer comes by itself, in any order.
    ///
    /// # Errors
    /// [`Refusal::QueueFull`], [`Refusal::Stopping`].
    pub(crate) fn enter(&self, ops: Vec<(SignedOp, TxHash)>) -> Result<Vec<oneshot::Receiver<Result<Receipt, Refusal>>>, Refusal> {
        let permits = self.0.try_reserve_many(ops.len()).map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => Refusal::QueueFull,
            mpsc::error::TrySendError::Closed(()) => Refusal::Stopping,
        })?;
        let enter = |(permit, (op, hash)): (mpsc::Permit<'_, Arrival>, _)| {
            let (reply, answer) = oneshot::channel();
            permit.send(Arrival { op, hash, reply });
            answer
        };
        Ok(permits.zip(ops).map(enter).collect())
    }
}

/// The queues from the API to the executor.
pub(crate) struct Pipeline {
    /// Where the API puts arrivals.
    pub(crate) door: Door,
    /// Where [`run`] takes them.
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
    /// Where it puts verified groups.
    pub(crate) groups: mpsc::Sender<Vec<Verified>>,
    /// Where the executor takes them.
    pub(crate) verified: mpsc::Receiver<Vec<Verified>>,
}

impl Pipeline {
    pub(crate) fn new(config: &AdmissionConfig) -> Self {
        let (door, arrivals) = mpsc::channel(config.max_queued);
        let (groups, verified) = mpsc::channel(GROUPS_AHEAD);
        Self { door: Door(door), arrivals, groups, verified }
    }
}

/// Verifies groups until every door is gone or the executor is.
pub(crate) async fn run(rules: Rules, mut arrivals: mpsc::Receiver<Arrival>, groups: mpsc::Sender<Vec<Verified>>) {
    let rules = Arc::new(rules);
    let mut group = Vec::new();
    while arrivals.recv_many(&mut group, rules.config.max_group).await > 0 {
        let (group, rules) = (std::mem::take(&mut group), Arc::clone(&rules));
        metrics::histogram!("sheaf_admission_group").record(group.len() as f64);
        let verified = match tokio::task::spawn_blocking(move || rules.admit(group)).await {
            Ok(verified) => verified,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a group was lost while it was being verified");
                continue;
            }
        };
        if !verified.is_empty() && groups.send(verified).await.is_err() {
            return;
        }
    }
}

impl Rules {
    /// Answers what is refused and returns the rest in order.
    fn admit(&self, group: Vec<Arrival>) -> Vec<Verified> {
        let checked: Vec<_> = group.into_iter().filter_map(|arrival| self.cheap(arrival)).collect();
        let checks: Vec<Check> = checked.iter().map(|(_, check)| *check).collect();
        let verdicts = verify(&checks);
        let verified = |((arrival, check), verdict): ((Arrival, Check), Result<(), Refusal>)| {
            let (arrival, ()) = answer(arrival, verdict)?;
            Some(Verified { arrival, key: check.pk })
        };
        checked.into_iter().zip(verdicts).filter_map(verified).collect()
    }

    fn cheap(&self, arrival: Arrival) -> Option<(Arrival, Check)> {
        let verdict = self.check(&arrival.op);
        answer(arrival, verdict)
    }

    /// What costs no cryptography and cannot change for the better while the transaction waits.
    fn check(&self, signed: &SignedOp) -> Result<Check, Refusal> {
        let op = &signed.op;
        let payer = self.view.slot(op.from()).filter(|slot| !slot.is_empty());
        let payer = payer.ok_or(Refusal::Rejected(Rejection::UnknownSlot(op.from())))?;
        let (holds, named) = (payer.triple.token, op.token());
        if holds != named {
            return Err(Refusal::Rejected(Rejection::WrongToken { slot: op.from(), holds, named }));
        }
        match op {
            Op::Withdraw(withdraw) if withdraw.address == Address::default() => return Err(Refusal::ZeroAddress("address")),
            Op::Register(register) if register.account.owner == Address::default() => return Err(Refusal::ZeroAddress("owner")),
            Op::Register(register) if !schnorr::is_key(register.account.key) => return Err(Refusal::AccountKey),
            _ => {}
        }
        self.check_nonce(signed, payer.nonce.0)?;
        let (minimum, got) = (self.fees.minimum(named), op.fee());
        if got < minimum {
            return Err(Refusal::FeeTooLow { token: named, minimum, got });
        }
        Ok(Check { pk: payer.triple.key, domain: self.domain, op_tag: op.tag() as u8, m: op.message(self.domain), signature: signed.signature })
    }

    /// A nonce may be ahead of the durable state as far as its predecessors may be in the queue.
    fn check_nonce(&self, signed: &SignedOp, next: u32) -> Result<(), Refusal> {
        let (expected, got) = (sheaf_protocol::amount::Nonce(next), signed.op.nonce());
        if got < expected {
            return Err(Refusal::Rejected(Rejection::NonceTooLow { expected, got }));
        }
        if got.0 - next > self.config.max_nonce_lead {
            return Err(Refusal::Rejected(Rejection::NonceTooHigh { expected, got }));
        }
        Ok(())
    }
}

/// Sends a refusal to whoever waits for it, or passes the arrival on.
fn answer<T>(arrival: Arrival, verdict: Result<T, Refusal>) -> Option<(Arrival, T)> {
    match verdict {
        Ok(value) => Some((arrival, value)),
        Err(refusal) => {
            // the client may have gone
            let _ = arrival.reply.send(Err(refusal));
            None
        }
    }
}

/// Checks the group's signatures with one multi-scalar multiplication, and that each can be proved.
fn verify(checks: &[Check]) -> Vec<Result<(), Refusal>> {
    let verdicts = schnorr::admit_many(checks, &mut rand::rngs::OsRng);
    verdicts.into_iter().map(|verdict| verdict.map_err(Refusal::Signature)).collect()
}
