//! Forgeries of registers. The honest batch (see `requests_batch`): the sponsor, slot 2, opens slot 7 for a fee of 9, which goes to slot 2 again.

use super::{Forge, Forgery, forgery, of_requests, variables_of};
use crate::forgery::slots::fr;
use crate::world::{TOKEN, owner};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use sheaf_circuits::builder::Section;
use sheaf_circuits::float::FloatWitness;
use sheaf_circuits::slots::account::AccountWitness;
use sheaf_circuits::witness::register_witness;
use sheaf_protocol::amount::{FeeFloat, NATIVE, SlotId, TokenId};
use sheaf_protocol::batch::PublicInput;
use sheaf_protocol::field::pow2;
use sheaf_protocol::ledger::Triple;
use sheaf_protocol::ops::Register;
use sheaf_protocol::poseidon::params;

const REGISTER: Section = ("register", 0);
const SPONSOR: u32 = 2;

impl Forge {
    /// The register, changed by `change`, opening `new` and signed by `signer`.
    fn change_register(&mut self, signer: u32, new: u32, change: impl Fn(&mut Register)) {
        let mut op = self.world.register(SPONSOR, 0, 7, 9).signed.op;
        change(&mut op);
        let registered = self.world.sign_register(op, SlotId(new), signer);
        self.witness.registers[0] = register_witness(&registered, self.world.domain).unwrap();
    }

    /// Slot 7 stays empty; returns what it would have been.
    fn close(&mut self) -> AccountWitness {
        let empty = AccountWitness { idx: fr(7), ..AccountWitness::default() };
        std::mem::replace(self.account(7), empty)
    }

    /// What `register` opens is at `idx` instead of 7.
    fn open_instead(&mut self, idx: usize) {
        let opened = self.close();
        *self.account(idx) = AccountWitness { idx: fr(idx as i64), ..opened };
    }
}

fn sponsors() -> Vec<Forgery> {
    vec![
        of_requests("register_by_a_foreign_key", &["batch.key_bus"], |f| f.change_register(3, 7, |_| ())),
        of_requests("register_by_a_foreign_key_behind_a_wrong_fraction", &["register.key_bus"], |f| {
            let fraction = variables_of(REGISTER, "key_bus")[1];
            let honest = f.value(fraction);
            f.change_register(3, 7, |_| ());
            f.set(fraction, honest);
        }),
        of_requests("register_with_a_replayed_nonce", &["batch.nonce_bus"], |f| f.change_register(SPONSOR, 7, |op| op.nonce.0 -= 1)),
        of_requests("register_with_a_replayed_nonce_behind_a_wrong_fraction", &["register.nonce_bus"], |f| {
            let fraction = variables_of(REGISTER, "nonce_bus")[1];
            let honest = f.value(fraction);
            f.change_register(SPONSOR, 7, |op| op.nonce.0 -= 1);
            f.set(fraction, honest);
        }),
        of_requests("register_in_another_token_than_the_sponsors", &["batch.key_bus"], |f| {
            f.change_register(SPONSOR, 7, |op| (op.token, op.fee) = (NATIVE, FeeFloat::default()));
            f.witness.fees[1].total = Fr::ZERO;
        }),
        of_requests("register_whose_fee_is_not_collected", &["batch.balance_bus"], |f| {
            f.witness.fees[1].total = Fr::ZERO;
            f.balance(2, -9);
        }),
        of_requests("register_whose_fee_nobody_pays", &["batch.balance_bus"], |f| f.balance(2, 9)),
        of_requests("register_fee_worth_more_than_its_float", &["register.fee_value"], |f| {
            f.shift(*variables_of(REGISTER, "fee_value").last().unwrap(), fr(7));
            f.witness.fees[1].total += fr(7);
        }),
        of_requests("register_fee_mantissa_beyond_12_bits", &["register.fee_range"], |f| {
            f.change_register(SPONSOR, 7, |op| op.fee = FeeFloat::from_packed(1 << 12).unwrap());
            f.witness.registers[0].fee = FloatWitness { mantissa: pow2(12), exponent: Fr::ZERO };
            f.witness.fees[1].total = fr(4096);
        }),
        of_requests("register_that_pays_in_fractions_that_cancel", &["register.balance_bus"], |f| {
            variables_of(REGISTER, "balance_bus").into_iter().for_each(|fraction| f.shift(fraction, fr(77)));
        }),
        of_requests("disabled_register_with_effect", &["register.enabled"], |f| {
            // signed by slot 6 for the sponsor; opens nothing, takes the fee
            f.change_register(6, 7, |_| ());
            f.disable(REGISTER);
            f.account(2).signatures -= Fr::ONE;
            f.account(2).nonce -= Fr::ONE;
            f.close();
        }),
        forgery("enabled_register_of_nobody", &["register.enabled"], |f| {
            // opens slot 7, which a deposit opens as well, and bumps the nonce of slot 0
            let account = f.world.triple(7);
            f.change_register(6, 7, |op| *op = Register { account, ..Register::default() });
            f.set(variables_of(REGISTER, "enabled")[0], Fr::ONE);
            f.account(7).openings += Fr::ONE;
            let key = f.witness.registers[0].signature.key;
            f.replace_padding(AccountWitness { key, nonce: Fr::ONE, signatures: Fr::ONE, ..AccountWitness::default() });
        }),
    ]
}

fn accounts() -> Vec<Forgery> {
    vec![
        of_requests("register_over_a_foreign_slot", &["batch.open_bus"], |f| {
            f.change_register(SPONSOR, 4, |_| ());
            f.close();
            f.account(4).openings = Fr::ONE;
        }),
        of_requests("register_that_counts_nowhere", &["batch.open_bus"], |f| {
            f.close();
        }),
        of_requests("register_of_another_account_behind_a_wrong_fraction", &["register.open_bus"], |f| {
            let fraction = variables_of(REGISTER, "open_bus")[2];
            let honest = f.value(fraction);
            f.change_register(SPONSOR, 7, |op| op.account.owner = owner(3));
            f.set(fraction, honest);
        }),
        of_requests("register_without_a_slot", &["register.new_is_a_slot"], |f| {
            // slot 0, which nobody may hold
            f.witness.registers[0].new = Fr::ZERO;
            let opened = f.close();
            f.replace_padding(AccountWitness { idx: Fr::ZERO, ..opened });
        }),
        of_requests("register_opens_another_slot_than_absorbed", &["batch.transcript"], |f| {
            f.witness.registers[0].new = fr(8);
            f.open_instead(8);
            f.pin(PublicInput::H);
        }),
        of_requests("register_opens_another_slot_than_posted", &["batch.words_da"], |f| {
            f.witness.registers[0].new = fr(8);
            f.open_instead(8);
            f.pin(PublicInput::YDa);
        }),
        of_requests("register_of_an_unsigned_key", &["register.signature.digits_low"], |f| {
            f.witness.registers[0].new_key += Fr::ONE;
            f.account(7).key += Fr::ONE;
        }),
        of_requests("register_of_an_unsigned_owner", &["register.signature.digits_low"], |f| {
            f.witness.registers[0].new_owner += Fr::ONE;
            f.account(7).owner += Fr::ONE;
        }),
        of_requests("register_of_an_unsigned_token", &["register.signature.digits_low"], |f| {
            f.witness.registers[0].new_token = Fr::from(TOKEN.0);
            f.account(7).token = Fr::from(TOKEN.0);
        }),
        of_requests("register_with_an_unsigned_fee", &["register.signature.digits_low"], |f| {
            f.witness.registers[0].fee.mantissa += Fr::ONE;
            f.witness.fees[1].total += Fr::ONE;
        }),
        of_requests("register_of_another_key_than_posted", &["batch.words_da"], |f| {
            f.change_register(SPONSOR, 7, |op| op.account.key += Fr::ONE);
            f.account(7).key += Fr::ONE;
            f.pin(PublicInput::YDa);
        }),
        of_requests("register_of_another_owner_than_posted", &["batch.words_da"], |f| {
            f.change_register(SPONSOR, 7, |op| op.account.owner = owner(3));
            f.account(7).owner = owner(3).to_fr();
            f.pin(PublicInput::YDa);
        }),
        of_requests("register_with_a_balance_from_nowhere", &["batch.balance_bus"], |f| f.balance(7, 5)),
        of_requests("message_of_another_register", &["register.message"], message_of_another_register),
        of_requests("register_of_token_0_and_a_slot_beyond_24_bits", &["register.slots_range", "batch.open_bus"], |f| {
            // the posted w0 is that of slot 7 and token 1
            f.change_register(SPONSOR, 7, |op| op.account = Triple { token: TokenId(0), ..op.account });
            f.witness.registers[0].new = fr(7) + pow2(24);
            f.pin(PublicInput::YDa);
        }),
    ]
}

/// Slot 7 gets an owner that was not signed: the last S-box of the message hash lies.
fn message_of_another_register(f: &mut Forge) {
    let signed = f.world.register(SPONSOR, 0, 7, 9).signed.op.message(f.world.domain);
    f.witness.registers[0].new_owner = owner(3).to_fr();
    f.account(7).owner = owner(3).to_fr();
    let message = variables_of(REGISTER, "message");
    let assignment = f.assignment();
    let (last, mds) = (message.len() - 12, &params(4).mds[0]);
    let output = |i: usize| message[last + 3 * i + 2];
    let hash: Fr = (0..4).map(|i| mds[i] * assignment[output(i) as usize]).sum();
    f.shift(output(0), (signed - hash) / mds[0]);
}

pub(crate) fn forgeries() -> Vec<Forgery> {
    [sponsors(), accounts()].into_iter().flatten().collect()
}
