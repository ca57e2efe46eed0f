//! Forgeries in which one number of a packed word is too wide and takes from its neighbour: the word, the message or the absorbed head
//! is the one that others see, its parts are not. The honest batch is described in `slots`.

use super::slots::fr;
use super::{Forge, Forgery, forgery, variables_of};
use crate::world::token_of;
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use sheaf_circuits::float::FloatWitness;
use sheaf_circuits::signature::SignatureWitness;
use sheaf_circuits::slots::account::AccountWitness;
use sheaf_circuits::slots::fee::FeeWitness;
use sheaf_circuits::slots::transfer::TransferWitness;
use sheaf_protocol::amount::{NATIVE, SlotId};
use sheaf_protocol::batch::{PublicInput, account_pole};
use sheaf_protocol::field::pow2;
use sheaf_protocol::ops::OpTag;
use sheaf_protocol::schnorr;

/// Fees that followers read in the posted bytes and that the proof does not collect, or not there.
fn posted_fees() -> Vec<Forgery> {
    /// The transfers of the native coin, without fees.
    fn free_of_fees(f: &mut Forge) {
        for (slot, signed) in [f.world.transfer(1, 3, 0, 5_000, 0), f.world.transfer(1, 5, 1, 70_000, 0)].iter().enumerate() {
            f.use_transfer(slot, signed);
        }
    }
    vec![
        forgery("posted_fee_that_nobody_paid", &["fee.slot_range"], |f| {
            // posted: 50 to slot 1; proved: 0 to slot 1 + 50 * 2^40, the same word
            free_of_fees(f);
            f.witness.fees[0].total = Fr::ZERO;
            f.witness.fees[0].idx += fr(50) * pow2(40);
        }),
        forgery("posted_fee_that_nobody_paid_in_an_unknown_token", &["fee.token_range"], |f| {
            // proved: 0 of token 1 + 50 * 2^16
            free_of_fees(f);
            f.witness.fees[0].total = Fr::ZERO;
            f.witness.fees[0].token += fr(50) * pow2(16);
        }),
        forgery("fees_that_arrive_elsewhere_than_posted", &["fee.total_range"], |f| {
            // posted: 30 to slot 1 and 20 to slot 5; proved: 50 to slot 3, in two totals whose fractions cancel
            let transfer = f.world.transfer(2, 4, 0, 12_345, 0);
            f.use_transfer(2, &transfer);
            let withdrawal = f.world.withdrawal(4, 0, 777, 0);
            f.use_withdrawal(0, &withdrawal);
            f.balance(2, 10 - 15);
            f.balance(4, 5);
            for (fee, (posted, total)) in f.witness.fees.iter_mut().zip([(1, 30), (5, 20)]) {
                let moved = (fr(posted) - fr(3)) / pow2(40);
                *fee = FeeWitness { idx: fr(3), token: Fr::from(NATIVE.0), total: fr(total) + moved };
            }
            f.balance(1, -50);
            f.balance(3, 50);
        }),
    ]
}

/// Messages whose parts overflow into each other. Slots 1 and 3 each sign once.
fn overflowing_messages() -> Vec<Forgery> {
    /// Puts `shown` in a transfer slot: its numbers, and a signature of `signer` over the message that they make.
    fn use_numbers(f: &mut Forge, slot: usize, signer: usize, shown: TransferWitness) {
        let word = shown.from + shown.to * pow2(24) + shown.amount.mantissa * pow2(48);
        let message = word + shown.token * pow2(104) + shown.nonce * pow2(120);
        let (key, domain, tag) = (&f.world.keys[signer], f.world.domain, OpTag::Transfer as u8);
        let signature = schnorr::sign(key, domain, tag, message, &[8; 32]);
        let w = schnorr::witness(key.public().0, domain, tag, message, &signature).unwrap();
        let windows = w.windows.map(|point| (point.x, point.y));
        f.witness.transfers[slot] =
            TransferWitness { signature: SignatureWitness { key: w.a_x, key_y: w.a_y, h0: w.h0, h1: w.h1, windows }, ..shown };
    }

    /// Transfers of slot 1 and of slot 3 in place of two of slot 1, without fees: 5,000 from 1 to 3, 70,000 from 3 to 5.
    fn one_each(f: &mut Forge) -> [TransferWitness; 2] {
        f.witness.fees[0].total = Fr::ZERO;
        f.account(1).signatures -= Fr::ONE;
        f.account(1).nonce -= Fr::ONE;
        f.account(3).signatures += Fr::ONE;
        f.account(3).nonce += Fr::ONE;
        let next = [1, 3].map(|idx| f.account(idx).nonce - Fr::ONE);
        let float = |mantissa| FloatWitness { mantissa: fr(mantissa), exponent: Fr::ZERO };
        let shown = |from, to, nonce, amount| TransferWitness {
            from: fr(from),
            to: fr(to),
            token: Fr::from(NATIVE.0),
            nonce,
            amount: float(amount),
            ..TransferWitness::default()
        };
        [shown(1, 3, next[0], 5_000), shown(3, 5, next[1], 70_000)]
    }

    vec![
        forgery("payments_out_of_the_holders_other_slot", &["transfer.token_range"], |f| {
            // one key holds slots 1 and 3. Posted: 1 pays 3, 3 pays 5; proved: K(1, 1 + 2^17) = K(3, 1) pays, and the other way round
            let [mut first, mut second] = one_each(f);
            f.account(3).key = f.account(1).key;
            first.token += pow2(17);
            second.token -= pow2(17);
            use_numbers(f, 0, 1, first);
            use_numbers(f, 1, 1, second);
            f.balance(1, 50 + 5_000 + 70_000 - 50 - 70_000);
            f.balance(3, -5_000 - 5_000 + 70_000);
            f.balance(5, -70_000 + 5_000);
        }),
        forgery("nonces_of_each_others_slots", &["transfer.nonce_range"], |f| {
            // slot 1 uses up the nonce of slot 3, 2^32 * 2 away, and the other way round
            let [mut first, mut second] = one_each(f);
            let apart = pow2(32) * fr(2);
            (first.nonce, second.nonce) = (second.nonce + apart, first.nonce - apart);
            use_numbers(f, 0, 1, first);
            use_numbers(f, 1, 3, second);
            f.balance(1, 50 + 70_000 - 50);
            f.balance(3, -70_000);
        }),
    ]
}

fn accounts() -> Vec<Forgery> {
    vec![
        forgery("reads_in_fractions_that_cancel", &["account.counts_range"], |f| {
            for (idx, sign) in [(3, Fr::ONE), (6, -Fr::ONE)] {
                let [rho, zeta] = [PublicInput::Rho, PublicInput::Zeta].map(|input| f.witness.inputs[input as usize]);
                let account = f.account(idx);
                let pole = account_pole(SlotId(idx as u32), token_of(idx as u32));
                account.reads = sign * (zeta - pole - rho * (account.key + rho * account.owner));
            }
        }),
        forgery("slot_opened_beside_the_one_that_l1_named", &["account.token_range"], |f| {
            // K(8, 2^16 + 1) = K(9, 1): L1 credits slot 9, the state slot 8
            f.witness.deposits[0].pole = account_pole(SlotId(9), NATIVE);
            let opened = AccountWitness { idx: fr(8), token: pow2(16) + Fr::ONE, ..f.account(7).clone() };
            *f.account(7) = AccountWitness { idx: fr(7), ..AccountWitness::default() };
            *f.account(8) = opened;
        }),
        forgery("slot_at_a_point_outside_the_domain", &["account.idx_range"], |f| {
            // 8 = 8 * 1: K is that of slot 8, and W(8) is 1 + 8 (-2), where the column's polynomial has some value
            let bits = variables_of(("account", f.position(8)), "idx_range");
            f.set(bits[0], fr(8));
            f.set(bits[3], Fr::ZERO);
        }),
    ]
}

pub(crate) fn forgeries() -> Vec<Forgery> {
    [posted_fees(), overflowing_messages(), accounts()].into_iter().flatten().collect()
}
