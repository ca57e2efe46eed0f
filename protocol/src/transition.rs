//! The only definition of validity: what one operation does to the state, or why it is refused.
//!
//! The rule is stricter than the circuit's, which nets a whole batch: here a payer must be able to pay at that very moment.
//! Whatever these rules accept in some order, the batch circuit accepts in any order.

use crate::amount::{Address, Amount, BALANCE_BITS, Nonce, SlotId, TokenId, WHOLE_AMOUNT_BITS};
use crate::field::Fr;
use crate::ledger::{Ledger, Slot, Triple};
use crate::ops::Op;

/// Why an operation is refused. The state is untouched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The signing slot is empty or outside the state.
    #[error("slot {0} does not exist")]
    UnknownSlot(SlotId),
    /// The receiving slot is empty or outside the state.
    #[error("receiving slot {0} does not exist")]
    UnknownReceiver(SlotId),
    /// A slot holds another token than the operation names.
    #[error("slot {slot} holds token {holds}, not {named}")]
    WrongToken {
        /// The slot.
        slot: SlotId,
        /// What it holds.
        holds: TokenId,
        /// What the operation named.
        named: TokenId,
    },
    /// The nonce was already used.
    #[error("nonce {got} is already used, the next is {expected}")]
    NonceTooLow {
        /// The slot's next nonce.
        expected: Nonce,
        /// The operation's.
        got: Nonce,
    },
    /// The nonce leaves a gap.
    #[error("nonce {got} leaves a gap, the next is {expected}")]
    NonceTooHigh {
        /// The slot's next nonce.
        expected: Nonce,
        /// The operation's.
        got: Nonce,
    },
    /// The slot has used all its nonces.
    #[error("slot {0} has used all its nonces; move its balance to another slot with a withdrawal")]
    NonceExhausted(SlotId),
    /// The balance does not cover amount and fee.
    #[error("balance {balance} does not cover amount and fee {needed}")]
    InsufficientFunds {
        /// What the slot holds.
        balance: Amount,
        /// What the operation takes.
        needed: Amount,
    },
    /// A withdrawal's amount is not below 2^112.
    #[error("amount {0} is not below 2^112")]
    AmountTooLarge(Amount),
    /// A credit would lift a balance to 2^120 or more (impossible under the L1 caps).
    #[error("balance of slot {0} would reach 2^120")]
    BalanceOverflow(SlotId),
    /// A deposit or register names a slot that is neither empty nor exactly its triple.
    #[error("slot {0} is not the account's")]
    ForeignSlot(SlotId),
    /// A key, owner or token of an account to open is zero.
    #[error("an account needs a key, an owner and a token")]
    IncompleteTriple,
    /// No slot is left for an account to open.
    #[error("all slots of the state are in use")]
    StateFull,
}

/// New contents of the slots that an operation touches, in no particular order, each slot once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Slot and its content afterwards.
    pub changes: Vec<(SlotId, Slot)>,
    /// Fee that the operator's fee slot of this token gets when the batch is sealed.
    pub fee: (TokenId, Amount),
    /// The slot of a register's account.
    pub registered: Option<SlotId>,
}

impl Effect {
    /// One slot changes, nobody pays a fee.
    fn of(id: SlotId, slot: Slot) -> Self {
        Effect { changes: vec![(id, slot)], fee: (slot.triple.token, Amount(0)), registered: None }
    }

    /// Writes the effect into the state.
    pub fn write(&self, ledger: &mut Ledger) {
        for (id, slot) in &self.changes {
            ledger.set(*id, *slot);
        }
    }
}

/// What `op` does to `ledger`; nothing is changed. The signature is checked elsewhere.
///
/// # Errors
/// [`Rejection`], the first rule that fails, in the order of the enum's use here.
pub fn apply(ledger: &Ledger, op: &Op) -> Result<Effect, Rejection> {
    let payer = existing(ledger, op.from()).ok_or(Rejection::UnknownSlot(op.from()))?;
    holds(op.from(), &payer, op.token())?;
    if let Op::Withdraw(withdraw) = op
        && withdraw.amount.0 >> WHOLE_AMOUNT_BITS != 0
    {
        return Err(Rejection::AmountTooLarge(withdraw.amount));
    }
    next_nonce(op.from(), &payer, op.nonce())?;
    let needed = Amount(op.amount().0 + op.fee().0);
    let balance = payer.balance.0.checked_sub(needed.0).ok_or(Rejection::InsufficientFunds { balance: payer.balance, needed })?;
    let payer = Slot { balance: Amount(balance), nonce: Nonce(payer.nonce.0 + 1), ..payer };
    let mut changes = vec![(op.from(), payer)];
    let mut registered = None;
    match op {
        Op::Transfer(transfer) => credit_receiver(ledger, transfer.to, op.token(), op.amount(), &mut changes)?,
        Op::Register(register) => {
            complete(&register.account)?;
            let home = ledger.home(&register.account).ok_or(Rejection::StateFull)?;
            if ledger.get(home).is_empty() {
                changes.push((home, Slot::opened(register.account)));
            }
            registered = Some(home);
        }
        Op::Withdraw(_) => {}
    }
    Ok(Effect { changes, fee: (op.token(), op.fee()), registered })
}

fn complete(triple: &Triple) -> Result<(), Rejection> {
    let empty = Slot::EMPTY.triple;
    let whole = triple.key != empty.key && triple.owner != empty.owner && triple.token != empty.token;
    whole.then_some(()).ok_or(Rejection::IncompleteTriple)
}

/// What a forced exit of slot `id` does when `requester` asks: what is left leaves if the owner asks, else nothing happens.
/// Returns what leaves, or `None` for a request that does nothing.
pub fn apply_exit(ledger: &Ledger, id: SlotId, requester: Address) -> Option<(Effect, Amount)> {
    let slot = asked_by_owner(ledger, id, requester)?;
    Some((Effect::of(id, Slot { balance: Amount(0), ..slot }), slot.balance))
}

/// What a rotation of slot `id` to `key` does when `requester` asks; `None` if nothing, since the owner did not ask.
pub fn apply_rotation(ledger: &Ledger, id: SlotId, requester: Address, key: Fr) -> Option<Effect> {
    let slot = asked_by_owner(ledger, id, requester)?;
    Some(Effect::of(id, Slot { triple: Triple { key, ..slot.triple }, ..slot }))
}

fn asked_by_owner(ledger: &Ledger, id: SlotId, requester: Address) -> Option<Slot> {
    existing(ledger, id).filter(|slot| slot.triple.owner == requester)
}

/// What a deposit of `amount` for `triple` into slot `id` does: opens the slot if it is empty, then credits it.
///
/// # Errors
/// [`Rejection::ForeignSlot`] if the slot is somebody else's, [`Rejection::UnknownReceiver`] if it is outside the state.
pub fn apply_deposit(ledger: &Ledger, id: SlotId, triple: Triple, amount: Amount) -> Result<Effect, Rejection> {
    if !ledger.contains(id) {
        return Err(Rejection::UnknownReceiver(id));
    }
    complete(&triple)?;
    let slot = match ledger.get(id) {
        slot if slot.is_empty() => Slot::opened(triple),
        slot if slot.triple == triple => slot,
        _ => return Err(Rejection::ForeignSlot(id)),
    };
    Ok(Effect::of(id, credited(id, slot, amount)?))
}

/// What crediting the operator's fees of a batch does.
///
/// # Errors
/// As a receiver of a transfer: the slot must exist and hold the token.
pub fn apply_fee(ledger: &Ledger, id: SlotId, token: TokenId, total: Amount) -> Result<Effect, Rejection> {
    let slot = existing(ledger, id).ok_or(Rejection::UnknownReceiver(id))?;
    holds(id, &slot, token)?;
    Ok(Effect::of(id, credited(id, slot, total)?))
}

fn existing(ledger: &Ledger, id: SlotId) -> Option<Slot> {
    Some(ledger.get(id)).filter(|slot| ledger.contains(id) && !slot.is_empty())
}

fn holds(id: SlotId, slot: &Slot, named: TokenId) -> Result<(), Rejection> {
    if slot.triple.token == named {
        return Ok(());
    }
    Err(Rejection::WrongToken { slot: id, holds: slot.triple.token, named })
}

fn next_nonce(id: SlotId, slot: &Slot, got: Nonce) -> Result<(), Rejection> {
    let expected = slot.nonce;
    match got.cmp(&expected) {
        std::cmp::Ordering::Less => Err(Rejection::NonceTooLow { expected, got }),
        std::cmp::Ordering::Greater => Err(Rejection::NonceTooHigh { expected, got }),
        std::cmp::Ordering::Equal if expected.0 == u32::MAX => Err(Rejection::NonceExhausted(id)),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

fn credit_receiver(ledger: &Ledger, to: SlotId, token: TokenId, amount: Amount, changes: &mut Vec<(SlotId, Slot)>) -> Result<(), Rejection> {
    let (payer_id, payer) = changes[0];
    if to == payer_id {
        changes[0].1 = credited(to, payer, amount)?;
        return Ok(());
    }
    let receiver = existing(ledger, to).ok_or(Rejection::UnknownReceiver(to))?;
    holds(to, &receiver, token)?;
    changes.push((to, credited(to, receiver, amount)?));
    Ok(())
}

fn credited(id: SlotId, slot: Slot, amount: Amount) -> Result<Slot, Rejection> {
    let balance = slot.balance.0.checked_add(amount.0).filter(|sum| sum >> BALANCE_BITS == 0).ok_or(Rejection::BalanceOverflow(id))?;
    Ok(Slot { balance: Amount(balance), ..slot })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::amount::{AmountFloat, FeeFloat, NATIVE};
    use crate::ops::{Register, Transfer, Withdraw};

    fn triple(n: u64) -> Triple {
        Triple { key: Fr::from(n), owner: Address([n as u8; 20]), token: NATIVE }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(16);
        for n in 1..=3u32 {
            ledger.set(SlotId(n), Slot { balance: Amount(100), ..Slot::opened(triple(u64::from(n))) });
        }
        ledger
    }

    fn transfer(from: u32, to: u32, nonce: u32, amount: u128, fee: u128) -> Op {
        Op::Transfer(Transfer {
            from: SlotId(from),
            to: SlotId(to),
            token: NATIVE,
            nonce: Nonce(nonce),
            amount: AmountFloat::from_amount(Amount(amount)).unwrap(),
            fee: FeeFloat::from_amount(Amount(fee)).unwrap(),
        })
    }

    #[test]
    fn a_transfer_moves_amount_and_takes_fee() {
        let mut ledger = ledger();
        let effect = apply(&ledger, &transfer(1, 2, 0, 40, 3)).unwrap();
        effect.write(&mut ledger);
        assert_eq!(ledger.get(SlotId(1)).balance, Amount(57));
        assert_eq!(ledger.get(SlotId(1)).nonce, Nonce(1));
        assert_eq!(ledger.get(SlotId(2)).balance, Amount(140));
        assert_eq!(effect.fee, (NATIVE, Amount(3)));
    }

    #[test]
    fn a_transfer_to_oneself_costs_only_the_fee() {
        let mut ledger = ledger();
        apply(&ledger, &transfer(1, 1, 0, 40, 3)).unwrap().write(&mut ledger);
        assert_eq!(ledger.get(SlotId(1)).balance, Amount(97));
    }

    #[test]
    fn refusals_name_the_rule() {
        let l = ledger();
        assert_eq!(apply(&l, &transfer(9, 1, 0, 1, 0)), Err(Rejection::UnknownSlot(SlotId(9))));
        assert_eq!(apply(&l, &transfer(0, 1, 0, 1, 0)), Err(Rejection::UnknownSlot(SlotId(0))));
        assert_eq!(apply(&l, &transfer(1, 9, 0, 1, 0)), Err(Rejection::UnknownReceiver(SlotId(9))));
        assert!(matches!(apply(&l, &transfer(1, 2, 1, 1, 0)), Err(Rejection::NonceTooHigh { .. })));
        assert!(matches!(apply(&l, &transfer(1, 2, 0, 98, 3)), Err(Rejection::InsufficientFunds { .. })));
        let huge = Op::Withdraw(Withdraw { from: SlotId(1), token: NATIVE, amount: Amount(1 << 112), ..Withdraw::default() });
        assert_eq!(apply(&l, &huge), Err(Rejection::AmountTooLarge(Amount(1 << 112))));
    }

    #[test]
    fn a_deposit_opens_or_credits_only_its_own_slot() {
        let mut l = ledger();
        apply_deposit(&l, SlotId(7), triple(7), Amount(5)).unwrap().write(&mut l);
        assert_eq!(l.get(SlotId(7)).balance, Amount(5));
        assert_eq!(l.find(&triple(7)), Some(SlotId(7)));
        assert_eq!(apply_deposit(&l, SlotId(7), triple(8), Amount(5)), Err(Rejection::ForeignSlot(SlotId(7))));
        assert_eq!(apply_deposit(&l, SlotId(0), triple(8), Amount(5)), Err(Rejection::UnknownReceiver(SlotId(0))));
        assert_eq!(l.lowest_empty(), Some(SlotId(4)));
    }

    fn register(from: u32, nonce: u32, account: Triple) -> Op {
        let fee = FeeFloat::from_amount(Amount(3)).unwrap();
        Op::Register(Register { from: SlotId(from), token: NATIVE, nonce: Nonce(nonce), fee, account })
    }

    #[test]
    fn a_register_opens_the_lowest_empty_slot_once_and_costs_the_sponsor_the_fee() {
        let mut l = ledger();
        let effect = apply(&l, &register(1, 0, triple(7))).unwrap();
        assert_eq!(effect.registered, Some(SlotId(4)));
        effect.write(&mut l);
        assert_eq!((l.get(SlotId(4)), l.get(SlotId(1)).balance), (Slot::opened(triple(7)), Amount(97)));
        let again = apply(&l, &register(1, 1, triple(7))).unwrap();
        assert_eq!((again.registered, again.changes.len(), again.fee), (Some(SlotId(4)), 1, (NATIVE, Amount(3))));
        let nobody = Triple { owner: Address::default(), ..triple(8) };
        assert_eq!(apply(&l, &register(1, 1, nobody)), Err(Rejection::IncompleteTriple));
        let mut full = Ledger::new(2);
        (1..4).for_each(|n| full.set(SlotId(n), Slot { balance: Amount(9), ..Slot::opened(triple(n.into())) }));
        assert_eq!(apply(&full, &register(1, 0, triple(7))), Err(Rejection::StateFull));
    }

    #[test]
    fn only_the_owner_takes_a_slot_out_or_replaces_its_key() {
        let mut l = ledger();
        assert_eq!(apply_exit(&l, SlotId(1), Address([2; 20])), None);
        assert_eq!(apply_exit(&l, SlotId(9), Address([9; 20])), None, "an empty slot");
        assert_eq!(apply_exit(&l, SlotId(9), Address([0; 20])), None, "which nobody owns");
        assert_eq!(apply_exit(&l, SlotId(1 << 20), Address([0; 20])), None, "outside the state");
        let (effect, amount) = apply_exit(&l, SlotId(1), Address([1; 20])).unwrap();
        effect.write(&mut l);
        assert_eq!((amount, l.get(SlotId(1)).balance), (Amount(100), Amount(0)));
        assert_eq!(apply_rotation(&l, SlotId(2), Address([1; 20]), Fr::from(8u64)), None);
        apply_rotation(&l, SlotId(2), Address([2; 20]), Fr::from(8u64)).unwrap().write(&mut l);
        let moved = Triple { key: Fr::from(8u64), ..triple(2) };
        assert_eq!((l.find(&moved), l.find(&triple(2))), (Some(SlotId(2)), None));
    }
}
