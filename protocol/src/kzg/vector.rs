//! The state vector with its commitments: what the sequencer's committer holds.
//!
//! States: `current` (columns and commitments agree), and beside it any number of [`Step`]s prepared on it. Nothing changes until
//! [`StateVector::advance`]; after it, other steps prepared on the old state are stale and refused.
//!
//! ```text
//! prepare(touched) -> Step(C')  --rho-->  quotient(step) -> C_q  --zeta, claims, gamma-->  open(step, quotient) -> W
//!                        \------------------------------- advance(step) ------------------------------/
//! ```

use super::open::{Claims, SlotStatement, Statement, weigh};
use super::quotient;
use super::srs::Srs;
use super::{combine, position};
use crate::amount::SlotId;
use crate::field::{Fr, G1Affine, Word};
use crate::header::{exit_challenge, state_root};
use ark_ec::CurveGroup;
use ark_ff::{Field, One, Zero};
use rayon::prelude::*;
use std::sync::Arc;

/// A slot that a batch names, with its columns (key, dyn, owner) before and after. Padding has `old == new`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TouchedSlot {
    /// Where it lives.
    pub slot: SlotId,
    /// Columns before the batch.
    pub old: [Fr; 3],
    /// Columns after it.
    pub new: [Fr; 3],
}

/// Why touched slots are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// Slot 0 is reserved; slots at or above `2^k` do not exist.
    #[error("slot {slot} cannot be used in a state of 2^{k} slots")]
    Outside {
        /// The slot.
        slot: SlotId,
        /// Size of the state.
        k: u32,
    },
    /// Touched slots must be strictly increasing, as in the circuit.
    #[error("touched slot {0} is not above the one before it")]
    Order(SlotId),
    /// The state holds something else.
    #[error("slot {0} does not hold the old values of the batch")]
    OldValues(SlotId),
}

/// Why an opening is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The state has advanced since the step was prepared.
    #[error("the step was prepared on another state")]
    Stale,
    /// Does not happen to a hash; the caller passed something else.
    #[error("zeta is a point of the domain")]
    ZetaInDomain,
    /// The claims are not true of the touched slots, or the quotient belongs to another step or rho.
    #[error("the statement is false: claims, quotient and touched slots disagree")]
    False,
}

/// A batch's effect on the state, checked and committed to, not yet applied.
#[derive(Clone, Debug)]
pub struct Step {
    touched: Vec<TouchedSlot>,
    before: [G1Affine; 3],
    after: [G1Affine; 3],
}

impl Step {
    /// C': the commitments to key, dyn, owner after the batch.
    pub fn after(&self) -> &[G1Affine; 3] {
        &self.after
    }

    /// C: the commitments before the batch.
    pub fn before(&self) -> &[G1Affine; 3] {
        &self.before
    }

    /// The touched slots.
    pub fn touched(&self) -> &[TouchedSlot] {
        &self.touched
    }
}

/// The batch quotient: its commitment for the commit call, its values for the opening.
#[derive(Clone, Debug)]
pub struct Quotient {
    rho: Fr,
    commitment: G1Affine,
    values: Vec<Fr>,
}

impl Quotient {
    /// C_q.
    pub fn commitment(&self) -> &G1Affine {
        &self.commitment
    }

    /// The values of q over the domain, in natural order.
    pub fn values(&self) -> &[Fr] {
        &self.values
    }
}

/// Three columns of `2^k` elements and their commitments. 96 bytes a slot.
#[derive(Clone, Debug)]
pub struct StateVector {
    srs: Arc<Srs>,
    /// Key, dyn, owner in domain order.
    columns: [Vec<Fr>; 3],
    commitments: [G1Affine; 3],
}

impl StateVector {
    /// The state that holds these slots (key, dyn, owner) and nothing else.
    ///
    /// # Errors
    /// [`PrepareError::Outside`].
    pub fn new(srs: Arc<Srs>, slots: impl IntoIterator<Item = (SlotId, [Fr; 3])>) -> Result<Self, PrepareError> {
        let mut columns = std::array::from_fn(|_| vec![Fr::zero(); srs.size()]);
        for (slot, values) in slots {
            write(&mut columns, usable_position(slot, srs.k)?, &values);
        }
        let commitments = std::array::from_fn(|c| srs.commit_positions(&occupied(&columns[c])).into_affine());
        Ok(Self { srs, columns, commitments })
    }

    /// Binary logarithm of the number of slots.
    pub fn k(&self) -> u32 {
        self.srs.k
    }

    /// The reference string of the commitments.
    pub fn srs(&self) -> &Arc<Srs> {
        &self.srs
    }

    /// Commitments to key, dyn, owner.
    pub fn commitments(&self) -> &[G1Affine; 3] {
        &self.commitments
    }

    /// keccak256 of k and the six coordinates.
    pub fn root(&self) -> Word {
        state_root(self.k(), &self.commitments)
    }

    /// Key, dyn and owner of a slot; `None` outside the state.
    pub fn get(&self, slot: SlotId) -> Option<[Fr; 3]> {
        let at = usable_position(slot, self.k()).ok()?;
        Some(self.at(at))
    }

    fn at(&self, position: usize) -> [Fr; 3] {
        std::array::from_fn(|c| self.columns[c][position])
    }

    /// Checks a batch's touched slots against the state and commits to the state after it.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub fn prepare(&self, touched: &[TouchedSlot]) -> Result<Step, PrepareError> {
        let mut below = SlotId(0);
        for slot in touched {
            let at = usable_position(slot.slot, self.k())?;
            if slot.slot <= below {
                return Err(PrepareError::Order(slot.slot));
            }
            if self.at(at) != slot.old {
                return Err(PrepareError::OldValues(slot.slot));
            }
            below = slot.slot;
        }
        let after = std::array::from_fn(|c| self.srs.update(&self.commitments[c], &changes(touched, c)));
        Ok(Step { touched: touched.to_vec(), before: self.commitments, after })
    }

    /// The quotient of the step at rho, and C_q.
    ///
    /// # Errors
    /// [`OpenError::Stale`].
    pub fn quotient(&self, step: &Step, rho: Fr) -> Result<Quotient, OpenError> {
        self.check_current(step)?;
        let touched: Vec<usize> = step.touched.iter().map(|slot| position(slot.slot.0, self.k())).collect();
        let values = quotient::quotient(&self.srs.domain(), &self.combined(rho), &touched);
        let commitment = self.srs.commit_positions(&occupied(&values)).into_affine();
        Ok(Quotient { rho, commitment, values })
    }

    /// The opening W of the step at zeta, checked as L1 will check it.
    ///
    /// # Errors
    /// [`OpenError`]; untrue claims have no opening.
    pub fn open(&self, step: &Step, quotient: &Quotient, zeta: Fr, claims: Claims, gamma: Fr) -> Result<G1Affine, OpenError> {
        self.check_current(step)?;
        if zeta.pow([self.srs.size() as u64]).is_one() {
            return Err(OpenError::ZetaInDomain);
        }
        let Quotient { rho, commitment, .. } = *quotient;
        let statement = Statement { before: step.before, after: step.after, quotient: commitment, rho, zeta, claims, gamma };
        let opening = self.srs.divided_commitment(zeta, &self.opened_polynomial(step, quotient, &statement));
        self.srs.opening_key().verify(&statement, &opening).then_some(opening).ok_or(OpenError::False)
    }

    /// Values of P = (1 - g) F + g F' - Z q - (E + g Delta)(zeta - 1) L_0.
    fn opened_polynomial(&self, step: &Step, quotient: &Quotient, statement: &Statement) -> Vec<Fr> {
        let Statement { rho, gamma, claims, .. } = *statement;
        let mut values = self.combined(rho);
        values.par_iter_mut().zip(&quotient.values).filter(|(_, q)| !q.is_zero()).for_each(|(value, q)| *value -= claims.z * q);
        for slot in &step.touched {
            values[position(slot.slot.0, self.k())] += gamma * (combine(&slot.new, rho) - combine(&slot.old, rho));
        }
        values[0] -= statement.zero_slot();
        values
    }

    /// Applies the step.
    ///
    /// # Errors
    /// [`OpenError::Stale`].
    pub fn advance(&mut self, step: &Step) -> Result<(), OpenError> {
        self.check_current(step)?;
        for slot in &step.touched {
            write(&mut self.columns, position(slot.slot.0, self.srs.k), &slot.new);
        }
        self.commitments = step.after;
        Ok(())
    }

    /// What a slot holds, combined by `weights`, with its opening. Costs a multi-scalar multiplication over all `2^k` points.
    ///
    /// # Errors
    /// [`PrepareError::Outside`].
    pub fn open_slot(&self, slot: SlotId, weights: &[Fr; 3]) -> Result<(SlotStatement, G1Affine), PrepareError> {
        let at = usable_position(slot, self.k())?;
        let column: Vec<Fr> = (0..self.srs.size()).into_par_iter().map(|position| weigh(&self.at(position), weights)).collect();
        let statement = SlotStatement { commitments: self.commitments, idx: slot.0, values: self.at(at), weights: *weights };
        Ok((statement, self.srs.slot_commitment(at, &column)))
    }

    /// What L1 asks of somebody who leaves with this slot: `dyn + g owner` and its opening. As dear as [`Self::open_slot`].
    ///
    /// # Errors
    /// [`PrepareError::Outside`].
    pub fn open_exit(&self, slot: SlotId) -> Result<(SlotStatement, G1Affine), PrepareError> {
        let [_, dyn_, owner] = self.at(usable_position(slot, self.k())?);
        self.open_slot(slot, &[Fr::zero(), Fr::one(), exit_challenge(&self.root(), slot, dyn_, owner)])
    }

    fn check_current(&self, step: &Step) -> Result<(), OpenError> {
        (step.before == self.commitments).then_some(()).ok_or(OpenError::Stale)
    }

    /// `key + rho dyn + rho^2 owner` over the domain.
    fn combined(&self, rho: Fr) -> Vec<Fr> {
        (0..self.srs.size()).into_par_iter().map(|position| combine(&self.at(position), rho)).collect()
    }
}

fn usable_position(slot: SlotId, k: u32) -> Result<usize, PrepareError> {
    if slot.0 == 0 || u64::from(slot.0) >= 1 << k {
        return Err(PrepareError::Outside { slot, k });
    }
    Ok(position(slot.0, k))
}

fn write(columns: &mut [Vec<Fr>; 3], at: usize, values: &[Fr; 3]) {
    columns.iter_mut().zip(values).for_each(|(column, value)| column[at] = *value);
}

/// Positions that are not zero, with their values.
fn occupied(column: &[Fr]) -> Vec<(usize, Fr)> {
    column.par_iter().copied().enumerate().filter(|(_, value)| !value.is_zero()).collect()
}

/// What changes in column `c`.
fn changes(touched: &[TouchedSlot], c: usize) -> Vec<(u32, Fr)> {
    touched.iter().filter(|slot| slot.new[c] != slot.old[c]).map(|slot| (slot.slot.0, slot.new[c] - slot.old[c])).collect()
}
