//! What the native rules accept is what the circuit accepts.

use crate::world::{World, rich_witness, test_circuit};
use ark_bn254::Fr;
use proptest::collection::vec;
use proptest::prelude::*;
use sheaf_circuits::batch::CircuitError;
use sheaf_circuits::builder::Tampering;
use sheaf_protocol::amount::Amount;
use sheaf_protocol::batch::Batch;
use sheaf_protocol::ops::Withdraw;

#[test]
fn an_honest_batch_satisfies_every_constraint() {
    let circuit = test_circuit();
    let (_, witness) = rich_witness();
    let assignment = circuit.assign(&witness).unwrap();
    assert_eq!(circuit.violations(&assignment), vec![]);
    assert_eq!(assignment.len(), 10 + circuit.witness_variables());
}

#[test]
fn parallel_and_sequential_assignments_are_one() {
    let circuit = test_circuit();
    let (_, witness) = rich_witness();
    let (sequential, computed) = circuit.assign_tampered(&witness, &Tampering::new()).unwrap();
    assert_eq!(circuit.assign(&witness).unwrap(), sequential);
    assert_eq!(computed.h, witness.inputs[3]);
}

/// What a random batch is made from: (from, to, amount, fee) of transfers, (from, amount) of withdrawals, deposit slots.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    transfers: Vec<(u32, u32, u128, u128)>,
    withdrawals: Vec<(u32, u128)>,
    deposits: Vec<(u32, u128)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let transfer =
        (1u32..=4, 0u32..2, 0u128..200_000, 0u128..100).prop_map(|(from, hop, amount, fee)| (from, (from + 2 * hop - 1) % 4 + 1, amount, fee));
    (0u64..1 << 32, vec(transfer, 0..=4), vec((1u32..=4, 0u128..200_000), 0..=2), vec((prop_oneof![1u32..=4, Just(5u32)], 1u128..1 << 60), 0..=2))
        .prop_map(|(seed, transfers, withdrawals, deposits)| Plan { seed, transfers, withdrawals, deposits })
}

/// The honest batch of a plan; every signer's nonces follow on.
fn batch_of(plan: &Plan) -> (World, Batch) {
    let world = World::new(plan.seed, 4);
    let mut signed = [0u32; 5];
    let mut next = |from: u32| {
        signed[from as usize] += 1;
        signed[from as usize] - 1
    };
    let transfers = plan.transfers.iter().map(|&(from, to, amount, fee)| world.transfer(from, to, next(from), amount, fee)).collect();
    let withdrawals = plan.withdrawals.iter().map(|&(from, amount)| world.withdrawal(from, next(from), amount, 3)).collect();
    let deposits = plan.deposits.iter().map(|&(slot, amount)| world.deposit(slot, amount)).collect();
    let batch = world.assemble(transfers, withdrawals, deposits).unwrap();
    (world, batch)
}

/// A change to some number of a batch, re-signed where a signature covers it; many are invalid, some are not.
fn mutate(world: &World, batch: &mut Batch, kind: u8, which: usize, by: u32) {
    let account = which % batch.accounts.len();
    let slot = &mut batch.accounts[account];
    let small = by % 3 + 1;
    match kind {
        0 => slot.new.balance.0 += u128::from(small),
        1 => slot.new.balance.0 = slot.new.balance.0.wrapping_sub(u128::from(by)),
        2 => slot.new.nonce.0 += small,
        3 => slot.signed += small as u16,
        4 => slot.opens += small as u8,
        5 => slot.is_new = !slot.is_new,
        6 => slot.new.triple.key += Fr::from(by),
        7 => slot.new.triple.owner.0[3] ^= small as u8,
        8 => slot.new.triple.token.0 ^= 3,
        9 => slot.old.balance.0 += u128::from(small),
        10 => (slot.old.balance.0, slot.new.balance.0) = (slot.old.balance.0 + u128::from(by), slot.new.balance.0 + u128::from(by)),
        11 => batch.accounts.swap(account, (account + 1) % 8),
        12 => slot.id.0 = slot.id.0.wrapping_add(small) & 0xff_ffff,
        13 => (slot.old.triple.key, slot.new.triple.key) = (Fr::from(by), Fr::from(by)),
        14..=17 => mutate_transfer(world, batch, kind, which, by),
        18 | 19 => mutate_deposit(batch, kind, which, by),
        20 => {
            if let Some(fee) = batch.fees.first_mut() {
                fee.total.0 += u128::from(small)
            }
        }
        21 => {
            if let Some(fee) = batch.fees.first_mut() {
                fee.slot.0 ^= 2
            }
        }
        22 => {
            if let Some(withdrawal) = batch.withdrawals.first_mut() {
                let op = Withdraw { amount: Amount(u128::from(by)), ..withdrawal.op };
                *withdrawal = world.sign_withdrawal(op, op.from.0);
            }
        }
        _ => {
            if let Some(transfer) = batch.transfers.first_mut() {
                transfer.op.to.0 ^= 2
            }
        }
    }
}

fn mutate_transfer(world: &World, batch: &mut Batch, kind: u8, which: usize, by: u32) {
    let count = batch.transfers.len().max(1);
    let Some(transfer) = batch.transfers.get_mut(which % count) else { return };
    let mut op = transfer.op;
    let mut signer = op.from.0;
    match kind {
        14 => op.nonce.0 ^= by % 4,
        15 => op.token.0 ^= 3,
        16 => op.to.0 = by % 8,
        _ => signer = by % 4 + 1,
    }
    *transfer = world.sign_transfer(op, signer);
}

fn mutate_deposit(batch: &mut Batch, kind: u8, which: usize, by: u32) {
    let count = batch.deposits.len().max(1);
    let Some(deposit) = batch.deposits.get_mut(which % count) else { return };
    if kind == 18 { deposit.triple.key += Fr::from(by % 2) } else { deposit.slot.0 = by % 7 + 1 }
}

/// True if the circuit has a satisfying assignment for what the batch says.
fn circuit_accepts(batch: &Batch, world: &mut World) -> bool {
    let circuit = test_circuit();
    match circuit.witness(batch, &world.challenges()) {
        Ok(witness) => circuit.violations(&circuit.assign(&witness).unwrap()).is_empty(),
        Err(error) => {
            assert!(matches!(error, CircuitError::Signature(_)), "{error}");
            false
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_honest_batch_is_provable(plan in plan()) {
        let (mut world, batch) = batch_of(&plan);
        prop_assert_eq!(batch.check(), Ok(()));
        prop_assert!(circuit_accepts(&batch, &mut world));
    }

    #[test]
    fn native_rules_and_circuit_agree_on_changed_batches(plan in plan(), kind in 0u8..24, which in 0usize..8, by in 0u32..1000) {
        let (mut world, mut batch) = batch_of(&plan);
        mutate(&world, &mut batch, kind, which, by);
        prop_assert_eq!(batch.check().is_ok(), circuit_accepts(&batch, &mut world), "{:?}", batch.check());
    }
}
