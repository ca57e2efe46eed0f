//! From a batch to the field elements of its slots: what the circuit is given.

use crate::batch::CircuitError;
use crate::float::FloatWitness;
use crate::signature::SignatureWitness;
use crate::slots::account::AccountWitness;
use crate::slots::deposit::DepositWitness;
use crate::slots::exit::ExitWitness;
use crate::slots::fee::FeeWitness;
use crate::slots::register::RegisterWitness;
use crate::slots::rotate::RotateWitness;
use crate::slots::transfer::TransferWitness;
use crate::slots::withdraw::WithdrawWitness;
use ark_bn254::Fr;
use rayon::prelude::*;
use sheaf_protocol::batch::{
    AccountSlot, Batch, Challenges, Deposit, Exit, Found, PublicInputs, Registered, Rotation, Signed, dummy_register, dummy_transfer,
    dummy_withdrawal,
};
use sheaf_protocol::header::FeeCredit;
use sheaf_protocol::ops::{OpTag, Transfer, Withdraw};
use sheaf_protocol::schnorr::{self, Signature};
use sheaf_protocol::shape::Shape;

/// Slot witnesses of a batch, padded to the shape, with its public inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchWitness {
    /// The public inputs in order.
    pub inputs: PublicInputs,
    /// T of them.
    pub transfers: Vec<TransferWitness>,
    /// W of them.
    pub withdrawals: Vec<WithdrawWitness>,
    /// R of them.
    pub registers: Vec<RegisterWitness>,
    /// D of them.
    pub deposits: Vec<DepositWitness>,
    /// X of them.
    pub exits: Vec<ExitWitness>,
    /// Y of them.
    pub rotations: Vec<RotateWitness>,
    /// F of them.
    pub fees: Vec<FeeWitness>,
    /// A of them.
    pub accounts: Vec<AccountWitness>,
}

fn fill<T: Clone>(
    kind: &'static str,
    mut used: Vec<T>,
    capacity: u32,
    spare: impl FnOnce() -> Result<T, CircuitError>,
) -> Result<Vec<T>, CircuitError> {
    let (got, capacity) = (used.len(), capacity as usize);
    if got > capacity {
        return Err(CircuitError::Capacity { kind, got, capacity });
    }
    if got < capacity {
        used.resize(capacity, spare()?);
    }
    Ok(used)
}

fn signature_witness(key: Fr, domain: Fr, tag: OpTag, message: Fr, signature: &Signature) -> Option<SignatureWitness> {
    let witness = schnorr::witness(key, domain, tag as u8, message, signature).ok()?;
    Some(SignatureWitness { key, key_y: witness.a_y, h0: witness.h0, h1: witness.h1, windows: witness.windows.map(|point| (point.x, point.y)) })
}

/// Slot witness of a signed transfer.
///
/// # Errors
/// [`CircuitError::Signature`] if the signature does not verify.
pub fn transfer_witness(signed: &Signed<Transfer>, domain: Fr) -> Result<TransferWitness, CircuitError> {
    let Transfer { from, to, token, nonce, amount, fee } = signed.op;
    let signature = signature_witness(signed.key, domain, OpTag::Transfer, signed.op.message(), &signed.signature);
    Ok(TransferWitness {
        from: Fr::from(from.0),
        to: Fr::from(to.0),
        token: Fr::from(token.0),
        nonce: Fr::from(nonce.0),
        amount: FloatWitness::from(amount),
        fee: FloatWitness::from(fee),
        signature: signature.ok_or(CircuitError::Signature(from.0))?,
    })
}

/// Slot witness of a signed withdrawal.
///
/// # Errors
/// [`CircuitError::Signature`] if the signature does not verify.
pub fn withdraw_witness(signed: &Signed<Withdraw>, domain: Fr) -> Result<WithdrawWitness, CircuitError> {
    let Withdraw { from, token, nonce, fee, amount, address } = signed.op;
    let signature = signature_witness(signed.key, domain, OpTag::Withdraw, signed.op.message(domain), &signed.signature);
    Ok(WithdrawWitness {
        from: Fr::from(from.0),
        token: Fr::from(token.0),
        nonce: Fr::from(nonce.0),
        fee: FloatWitness::from(fee),
        amount: Fr::from(amount.0),
        address: address.to_fr(),
        signature: signature.ok_or(CircuitError::Signature(from.0))?,
    })
}

/// Slot witness of a register.
///
/// # Errors
/// [`CircuitError::Signature`] if the sponsor's signature does not verify.
pub fn register_witness(registered: &Registered, domain: Fr) -> Result<RegisterWitness, CircuitError> {
    let Signed { op, key, signature } = &registered.signed;
    let signature = signature_witness(*key, domain, OpTag::Register, op.message(domain), signature);
    Ok(RegisterWitness {
        from: Fr::from(op.from.0),
        token: Fr::from(op.token.0),
        nonce: Fr::from(op.nonce.0),
        fee: FloatWitness::from(op.fee),
        new: Fr::from(registered.new.0),
        new_token: Fr::from(op.account.token.0),
        new_key: op.account.key,
        new_owner: op.account.owner.to_fr(),
        signature: signature.ok_or(CircuitError::Signature(op.from.0))?,
    })
}

impl From<&Exit> for ExitWitness {
    fn from(exit: &Exit) -> Self {
        let [pole, requester, amount, owner, key] = exit.absorbed();
        Self { pole, requester, amount, owner, key }
    }
}

impl From<&Rotation> for RotateWitness {
    fn from(rotation: &Rotation) -> Self {
        let [_, requester, new_key, owner, key] = rotation.absorbed();
        let Found { slot, triple, .. } = rotation.found;
        Self { idx: Fr::from(slot.0), token: Fr::from(triple.token.0), requester, new_key, owner, key }
    }
}

impl From<&Deposit> for DepositWitness {
    fn from(deposit: &Deposit) -> Self {
        let [pole, amount, owner, key] = deposit.words();
        Self { pole, amount, owner, key }
    }
}

impl From<&FeeCredit> for FeeWitness {
    fn from(fee: &FeeCredit) -> Self {
        Self { idx: Fr::from(fee.slot.0), token: Fr::from(fee.token.0), total: Fr::from(fee.total.0) }
    }
}

impl From<&AccountSlot> for AccountWitness {
    fn from(account: &AccountSlot) -> Self {
        let AccountSlot { id, old, new, key, is_new, signed, opens, reads, exits, rotates } = account;
        Self {
            idx: Fr::from(id.0),
            token: Fr::from(new.triple.token.0),
            nonce: Fr::from(new.nonce.0),
            balance: Fr::from(new.balance.0),
            signatures: Fr::from(*signed),
            openings: Fr::from(*opens),
            reads: Fr::from(*reads),
            is_new: Fr::from(*is_new),
            exits: Fr::from(*exits),
            rotates: Fr::from(*rotates),
            dyn_old: old.packed(),
            key: *key,
            owner: new.triple.owner.to_fr(),
        }
    }
}

impl BatchWitness {
    /// Padded slot witnesses of `batch` at `challenges`; the costly part, window digits of every signature, runs in parallel.
    ///
    /// # Errors
    /// [`CircuitError::Capacity`] if it does not fit its shape, [`CircuitError::Signature`] if a signature does not verify.
    pub fn new(batch: &Batch, challenges: &Challenges) -> Result<Self, CircuitError> {
        let (shape, domain) = (&batch.shape, batch.domain);
        let transfers = batch.transfers.par_iter().map(|t| transfer_witness(t, domain)).collect::<Result<_, _>>()?;
        let withdrawals = batch.withdrawals.par_iter().map(|w| withdraw_witness(w, domain)).collect::<Result<_, _>>()?;
        let registers = batch.registers.par_iter().map(|r| register_witness(r, domain)).collect::<Result<_, _>>()?;
        let (got, capacity) = (batch.accounts.len(), shape.accounts as usize);
        if got != capacity {
            return Err(CircuitError::Capacity { kind: "account slots", got, capacity });
        }
        Ok(Self {
            inputs: batch.public_inputs(challenges),
            transfers: fill("transfers", transfers, shape.transfers, || transfer_witness(&dummy_transfer(domain), domain))?,
            withdrawals: fill("withdrawals", withdrawals, shape.withdrawals, || withdraw_witness(&dummy_withdrawal(domain), domain))?,
            registers: fill("registers", registers, shape.registers, || register_witness(&dummy_register(domain), domain))?,
            exits: fill("exits", batch.exits.iter().map(ExitWitness::from).collect(), shape.exits, || Ok(ExitWitness::default()))?,
            rotations: fill(
                "rotations",
                batch.rotations.iter().map(RotateWitness::from).collect(),
                shape.rotations,
                || Ok(RotateWitness::default()),
            )?,
            deposits: fill("deposits", batch.deposits.iter().map(DepositWitness::from).collect(), shape.deposits, || Ok(DepositWitness::default()))?,
            fees: fill("fees", batch.fees.iter().map(FeeWitness::from).collect(), shape.fees, || Ok(FeeWitness::default()))?,
            accounts: batch.accounts.iter().map(AccountWitness::from).collect(),
        })
    }

    /// As many slots as the shape has, all zero: enough to name variables and constraints, satisfied by nothing.
    pub(crate) fn blank(shape: &Shape) -> Self {
        Self {
            inputs: PublicInputs::default(),
            transfers: vec![TransferWitness::default(); shape.transfers as usize],
            withdrawals: vec![WithdrawWitness::default(); shape.withdrawals as usize],
            registers: vec![RegisterWitness::default(); shape.registers as usize],
            deposits: vec![DepositWitness::default(); shape.deposits as usize],
            exits: vec![ExitWitness::default(); shape.exits as usize],
            rotations: vec![RotateWitness::default(); shape.rotations as usize],
            fees: vec![FeeWitness::default(); shape.fees as usize],
            accounts: vec![AccountWitness::default(); shape.accounts as usize],
        }
    }

    pub(crate) fn fits(&self, shape: &Shape) -> bool {
        let Shape { transfers, accounts, fees, deposits, withdrawals, registers, exits, rotations } = *shape;
        let signed = [self.transfers.len(), self.withdrawals.len(), self.registers.len()];
        let taken = [self.deposits.len(), self.exits.len(), self.rotations.len()];
        signed == [transfers, withdrawals, registers].map(|count| count as usize)
            && taken == [deposits, exits, rotations].map(|count| count as usize)
            && [self.fees.len(), self.accounts.len()] == [fees, accounts].map(|count| count as usize)
    }
}
