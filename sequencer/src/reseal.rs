//! A batch that was taken back from L1 is sealed again: before a sequencer that takes the lead does anything else.
//!
//! ```text
//! slots before the batch ── replay its members ── longest prefix that a circuit holds, again and again ──> parts       ─┐ one
//! later batches: members and circuits as they were, numbers behind the parts ─────────────────────────────────────────┴─ transaction
//! ```
//! The batch is only ever split, never merged with what comes later: fees are credited when a batch is sealed, and whatever was accepted later may have
//! spent them. Splitting credits them earlier, which everything accepted survives. A part goes into a circuit in which none of its members was tried; a
//! member that no such circuit holds goes alone into whichever holds it, since it must stay in its place.

use crate::book::Book;
use crate::config::{Circuit, Config, Deployment};
use crate::recovery::{RecoveryError, stored_ledger};
use crate::sealer::{self, Plan, Pressure};
use sheaf_protocol::ledger::Ledger;
use sheaf_store::StoreError;
use sheaf_store::batches::{self, Member};
use sheaf_store::leader::Lease;
use sheaf_store::reverts::{self, Part};
use sqlx::{Connection, PgConnection};

/// Undoes and seals again what L1 has taken back, if anything is due. Killed at any moment, nothing has happened.
///
/// # Errors
/// [`RecoveryError`].
pub(crate) async fn reseal_due(connection: &mut PgConnection, lease: &Lease, deployment: &Deployment, config: &Config) -> Result<(), RecoveryError> {
    let mut transaction = connection.begin().await.map_err(StoreError::from)?;
    lease.guard(&mut transaction).await?;
    let Some(revert) = reverts::due(&mut transaction).await.map_err(StoreError::from)? else { return Ok(()) };
    let tried = reverts::tried(&mut transaction, revert.batch).await.map_err(StoreError::from)?;
    reverts::take_back(&mut transaction, &revert).await.map_err(StoreError::from)?;
    let ledger = stored_ledger(&mut transaction, deployment.k).await?;
    let members = batches::members(&mut transaction, Some(revert.batch)).await.map_err(StoreError::from)?;
    let parts = split(ledger, members, &deployment.circuits, &tried, config)?;
    let sealed = reverts::reseal(&mut transaction, &revert, &parts).await.map_err(StoreError::from)?;
    transaction.commit().await.map_err(StoreError::from)?;
    metrics::counter!("sheaf_batches_resealed_total").increment(sealed);
    tracing::warn!(batch = revert.batch, parts = parts.len(), sealed, actor = revert.actor, reason = revert.reason, "sealed again what L1 took back");
    Ok(())
}

/// The parts of a batch, on the state before it.
fn split(ledger: Ledger, members: Vec<Member>, circuits: &[Circuit], tried: &[u32], config: &Config) -> Result<Vec<Part>, RecoveryError> {
    let mut book = Book::new(ledger, config.fees.clone(), 0, 0);
    members.into_iter().try_for_each(|member| book.replay(member))?;
    let others: Vec<Circuit> = circuits.iter().filter(|circuit| !tried.contains(&circuit.id)).cloned().collect();
    let mut parts = Vec::new();
    while book.waiting() > 0 {
        let plan = next_part(&book, &others, circuits, config.sealing.max_calldata_bytes);
        let Some(Plan { count, circuit, .. }) = plan else {
            return Err(RecoveryError::Replay("no circuit of the deployment holds a member of the batch that L1 took back".to_owned()));
        };
        parts.push(Part { circuit, last_seq: book.seq_at(count) });
        book.seal(count).map_err(|rejection| RecoveryError::Replay(format!("fees of a part: {rejection}")))?;
    }
    Ok(parts)
}

fn next_part(book: &Book, others: &[Circuit], all: &[Circuit], max_calldata_bytes: usize) -> Option<Plan> {
    let part = sealer::plan(book.footprints(), others, max_calldata_bytes, Pressure::Asked);
    part.or_else(|| {
        let first = *book.footprints().front()?;
        sealer::plan(&[first], all, max_calldata_bytes, Pressure::Asked)
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::config::{FeeAccount, FeeConfig};
    use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId, TokenId};
    use sheaf_protocol::field::Fr;
    use sheaf_protocol::header::{QueueEntry, QueueKind};
    use sheaf_protocol::ledger::Slot;
    use sheaf_protocol::ops::{Op, SignedOp, Transfer, Withdraw};
    use sheaf_protocol::schnorr;
    use sheaf_protocol::shape::by_name;

    fn config() -> Config {
        let fees = FeeConfig { account: Some(FeeAccount { key: Fr::from(1u64), owner: Address([1; 20]) }), ..FeeConfig::default() };
        Config { fees, ..Config::default() }
    }

    fn circuits(names: &[&str]) -> Vec<Circuit> {
        let named = names.iter().zip(1..);
        named.map(|(name, id)| Circuit { id, name: (*name).to_owned(), shape: by_name(name).unwrap().shape, constraints: None }).collect()
    }

    fn deposit(person: u64, amount: u128) -> QueueEntry {
        let owner = Address([person as u8; 20]);
        QueueEntry { kind: QueueKind::Deposit, sender: owner, token: NATIVE, amount: Amount(amount), slot: SlotId(0), owner, key: Fr::from(person) }
    }

    fn exit(slot: u32) -> QueueEntry {
        let owner = Address([slot as u8; 20]);
        let (token, amount, slot) = (TokenId(0), Amount(0), SlotId(slot));
        QueueEntry { kind: QueueKind::Exit, sender: owner, token, amount, slot, owner: Address([0; 20]), key: Fr::from(0u64) }
    }

    fn fee() -> FeeFloat {
        FeeFloat::from_amount(Amount(3)).unwrap()
    }

    fn send(book: &mut Book, op: Op) {
        let domain = Fr::from(1u64);
        let signed = SignedOp { op, signature: schnorr::dummy(domain, 1, op.message(domain)).1 };
        book.accept(op.hash(domain), signed, Fr::from(op.from().0)).unwrap();
        book.keep();
    }

    fn transfer(from: u32, to: u32, nonce: u32, amount: u128) -> Op {
        let amount = AmountFloat::from_amount(Amount(amount)).unwrap();
        Op::Transfer(Transfer { from: SlotId(from), to: SlotId(to), token: NATIVE, nonce: Nonce(nonce), amount, fee: fee() })
    }

    fn withdraw(from: u32, nonce: u32) -> Op {
        Op::Withdraw(Withdraw { from: SlotId(from), token: NATIVE, nonce: Nonce(nonce), fee: fee(), amount: Amount(1), address: Address([9; 20]) })
    }

    /// Slots 1 (which collects fees and has hardly anything else), 2 and 3.
    fn world() -> Book {
        let mut book = Book::new(Ledger::new(6), config().fees, 0, 0);
        for (person, amount) in [(1, 1), (2, 1_000), (3, 1_000)] {
            book.take(deposit(person, amount));
        }
        book.keep();
        book.seal(3).unwrap();
        book
    }

    fn state(book: &Book) -> Vec<(SlotId, Slot)> {
        book.live().occupied().map(|(id, slot)| (id, *slot)).collect()
    }

    fn batch(book: &mut Book) -> Vec<Member> {
        book.seal(book.waiting()).unwrap().0.members
    }

    #[test]
    fn a_batch_of_a_large_circuit_is_split_for_a_small_one_and_later_batches_still_find_its_fees() {
        let mut book = world();
        let before = book.live().clone();
        (0..10).for_each(|nonce| send(&mut book, transfer(2 + nonce % 2, 3 - nonce % 2, nonce / 2, 5)));
        book.take(exit(3));
        book.keep();
        let parked = batch(&mut book);
        // spends what the ten have paid, without which too little is there; then the collector leaves with the rest
        send(&mut book, transfer(1, 2, 0, 20));
        let later = batch(&mut book);
        book.take(exit(1));
        book.keep();
        let last = batch(&mut book);

        let parts = split(before.clone(), parked.clone(), &circuits(&["small-hot", "test"]), &[1], &config()).unwrap();
        let expected = [(2, 4), (2, 8), (2, 11)].map(|(circuit, count)| Part { circuit, last_seq: 3 + count });
        assert_eq!(parts, expected);
        let mut again = Book::new(before, config().fees, 0, 0);
        for batch in [&parked[..4], &parked[4..8], &parked[8..], &later[..], &last[..]] {
            batch.iter().for_each(|member| again.replay(member.clone()).unwrap());
            again.seal(batch.len()).unwrap();
        }
        assert_eq!(state(&again), state(&book));
    }

    #[test]
    fn what_no_other_circuit_holds_goes_alone_into_one_that_does() {
        let mut book = world();
        let before = book.live().clone();
        (0..2).for_each(|nonce| send(&mut book, transfer(2, 3, nonce, 5)));
        send(&mut book, withdraw(2, 2));
        (3..5).for_each(|nonce| send(&mut book, transfer(2, 3, nonce, 5)));
        let members = batch(&mut book);
        let mut circuits = circuits(&["small", "test"]);
        circuits[1].shape.withdrawals = 0;
        let parts = split(before.clone(), members.clone(), &circuits, &[1], &config()).unwrap();
        assert_eq!(parts, [(2, 5), (1, 6), (2, 8)].map(|(circuit, last_seq)| Part { circuit, last_seq }));
        circuits.remove(0);
        assert!(matches!(split(before, members, &circuits, &[], &config()), Err(RecoveryError::Replay(_))));
    }

    #[test]
    fn the_whole_batch_goes_into_another_circuit_that_holds_it() {
        let mut book = world();
        let before = book.live().clone();
        (0..4).for_each(|nonce| send(&mut book, transfer(2, 3, nonce, 5)));
        let members = batch(&mut book);
        let parts = split(before, members, &circuits(&["test", "small"]), &[1], &config()).unwrap();
        assert_eq!(parts, [Part { circuit: 2, last_seq: 7 }]);
    }
}
