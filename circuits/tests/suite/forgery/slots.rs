//! Forgeries of slots: what a thieving operator or user would try. The honest batch (see `rich_batch`):
//!
//! ```text
//! transfers    1 -> 3: 5,000 fee 30 | 1 -> 5: 70,000 fee 20 | 2 -> 4: 12,345 fee 10 | unused
//! withdrawals  4: 777 fee 5 | unused           deposits  7: 4,000, which opens it | unused
//! fees         token 1: 50 to slot 1 | token 2: 15 to slot 2
//! accounts     1 .. 7, and 8, which is empty and pads
//! ```

use super::{Forge, Forgery, forgery, variables_of};
use crate::world::TOKEN;
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use sheaf_circuits::builder::Section;
use sheaf_circuits::float::FloatWitness;
use sheaf_circuits::slots::account::AccountWitness;
use sheaf_circuits::slots::deposit::DepositWitness;
use sheaf_circuits::witness::{transfer_witness, withdraw_witness};
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId};
use sheaf_protocol::batch::{PublicInput, Signed, account_pole};
use sheaf_protocol::field::pow2;
use sheaf_protocol::ops::{Transfer, Withdraw};
use sheaf_protocol::poseidon::params;

const WITHDRAW: Section = ("withdraw", 0);

pub(super) fn fr(value: i64) -> Fr {
    Fr::from(value)
}

impl Forge {
    /// Where the account slot of this index stands.
    pub(super) fn position(&self, idx: usize) -> usize {
        self.witness.accounts.iter().position(|account| account.idx == fr(idx as i64)).unwrap()
    }

    pub(crate) fn account(&mut self, idx: usize) -> &mut AccountWitness {
        let position = self.position(idx);
        &mut self.witness.accounts[position]
    }

    /// Replaces the padding slot by `account`, in front of all others.
    pub(crate) fn replace_padding(&mut self, account: AccountWitness) {
        self.witness.accounts.pop();
        self.witness.accounts.insert(0, account);
    }

    /// Moves a final balance.
    pub(super) fn balance(&mut self, idx: usize, by: i64) {
        self.account(idx).balance += fr(by);
    }

    pub(crate) fn use_transfer(&mut self, slot: usize, signed: &Signed<Transfer>) {
        self.witness.transfers[slot] = transfer_witness(signed, self.world.domain).unwrap();
    }

    pub(super) fn use_withdrawal(&mut self, slot: usize, signed: &Signed<Withdraw>) {
        self.witness.withdrawals[slot] = withdraw_witness(signed, self.world.domain).unwrap();
    }

    /// The first transfer, changed by `change` and signed by `signer`.
    pub(super) fn change_transfer(&mut self, signer: u32, change: impl Fn(&mut Transfer)) {
        let mut op = self.world.transfer(1, 3, 0, 5_000, 30).op;
        change(&mut op);
        let signed = self.world.sign_transfer(op, signer);
        self.use_transfer(0, &signed);
    }

    /// The first withdrawal, changed by `change` and signed by `signer`.
    pub(super) fn change_withdrawal(&mut self, signer: u32, change: impl Fn(&mut Withdraw)) {
        let mut op = self.world.withdrawal(4, 0, 777, 5).op;
        change(&mut op);
        let signed = self.world.sign_withdrawal(op, signer);
        self.use_withdrawal(0, &signed);
    }

    /// Gives a slot more before the batch, and so after it.
    pub(super) fn richer(&mut self, idx: usize, by: Fr) {
        self.account(idx).dyn_old += by;
        self.account(idx).balance += by;
    }

    /// Switches off a slot that is in use.
    pub(crate) fn disable(&mut self, section: Section) {
        let [en, inverse] = variables_of(section, "enabled")[..] else { panic!("en and its inverse") };
        self.set(en, Fr::ZERO);
        self.set(inverse, Fr::ZERO);
    }
}

fn signatures_and_nonces() -> Vec<Forgery> {
    vec![
        forgery("replayed_nonce", &["batch.nonce_bus"], |f| {
            let replay = f.world.transfer(1, 5, 0, 70_000, 20);
            f.use_transfer(1, &replay);
        }),
        forgery("nonce_with_a_gap", &["batch.nonce_bus"], |f| {
            let ahead = f.world.transfer(1, 5, 2, 70_000, 20);
            f.use_transfer(1, &ahead);
        }),
        forgery("foreign_key", &["batch.key_bus"], |f| f.change_transfer(3, |_| ())),
        forgery("foreign_key_of_a_withdrawal", &["batch.key_bus"], |f| f.change_withdrawal(2, |_| ())),
        forgery("foreign_key_behind_a_wrong_fraction", &["transfer.key_bus"], |f| {
            let fraction = variables_of(("transfer", 0), "key_bus")[1];
            let honest = f.value(fraction);
            f.change_transfer(3, |_| ());
            f.set(fraction, honest);
        }),
        forgery("replayed_nonce_behind_a_wrong_fraction", &["transfer.nonce_bus"], |f| {
            let fraction = variables_of(("transfer", 1), "nonce_bus")[1];
            let honest = f.value(fraction);
            let replay = f.world.transfer(1, 5, 0, 70_000, 20);
            f.use_transfer(1, &replay);
            f.set(fraction, honest);
        }),
        forgery("nonce_used_without_a_signature", &["batch.key_bus", "batch.nonce_bus"], |f| {
            f.account(6).signatures += Fr::ONE;
            f.account(6).nonce += Fr::ONE;
        }),
        forgery("nonce_beyond_32_bits", &["account.nonce_range"], nonce_beyond_32_bits),
        forgery("wrong_domain", &["register.signature.digits_low", "transfer.signature.digits_low", "withdraw.signature.digits_low"], |f| {
            f.witness.inputs[PublicInput::Domain as usize] += Fr::ONE;
        }),
    ]
}

/// Slot 1 signs its last two nonces and one more than there are.
fn nonce_beyond_32_bits(f: &mut Forge) {
    let last = u32::MAX;
    let old = f.account(1).nonce - fr(2);
    f.account(1).dyn_old += pow2(128) * (Fr::from(last - 1) - old);
    f.account(1).nonce = pow2(32);
    for (slot, to, nonce, amount, fee) in [(0, 3, last - 1, 5_000, 30), (1, 5, last, 70_000, 20)] {
        let op = Transfer { nonce: Nonce(nonce), ..f.world.transfer(1, to, 0, amount, fee).op };
        let signed = f.world.sign_transfer(op, 1);
        f.use_transfer(slot, &signed);
    }
}

fn balances() -> Vec<Forgery> {
    vec![
        forgery("inflated_balance", &["batch.balance_bus"], |f| f.balance(3, 1)),
        forgery("inflated_balance_behind_a_wrong_fraction", &["account.balance_bus"], |f| {
            let fraction = variables_of(("account", f.position(3)), "balance_bus")[0];
            let honest = f.value(fraction);
            f.balance(3, 1);
            f.set(fraction, honest);
        }),
        forgery("withdrawal_of_more_than_the_balance", &["account.balance_range"], |f| {
            f.change_withdrawal(4, |op| op.amount = Amount(2_000_000));
            f.balance(4, 777 - 2_000_000);
        }),
        forgery("transfer_of_more_than_the_balance", &["account.balance_range"], |f| {
            f.change_transfer(1, |op| op.amount = AmountFloat::from_amount(Amount(3_000_000)).unwrap());
            f.balance(1, 5_000 - 3_000_000);
            f.balance(3, 3_000_000 - 5_000);
        }),
        forgery("balance_of_2_to_the_120", &["account.balance_range"], |f| {
            f.witness.deposits[0].amount = pow2(120);
            f.account(7).balance = pow2(120);
        }),
        forgery("amount_worth_more_than_its_float", &["transfer.amount_value"], |f| {
            f.shift(*variables_of(("transfer", 0), "amount_value").last().unwrap(), fr(1_000));
            f.balance(1, -1_000);
            f.balance(3, 1_000);
        }),
        forgery("fee_worth_more_than_its_float", &["transfer.fee_value"], |f| {
            f.shift(*variables_of(("transfer", 0), "fee_value").last().unwrap(), fr(7));
            f.witness.fees[0].total += fr(7);
        }),
        forgery("withdrawal_fee_worth_more_than_its_float", &["withdraw.fee_value"], |f| {
            f.shift(*variables_of(WITHDRAW, "fee_value").last().unwrap(), fr(7));
            f.witness.fees[1].total += fr(7);
            f.balance(4, -7);
            f.balance(2, 7);
        }),
        forgery("mantissa_beyond_36_bits", &["transfer.amount_range"], |f| {
            // signed: nothing, as 0 * 10^1; proved: 2^36
            f.change_transfer(1, |op| op.amount = AmountFloat::from_packed(1 << 36).unwrap());
            f.witness.transfers[0].amount = FloatWitness { mantissa: pow2(36), exponent: Fr::ZERO };
            f.richer(1, pow2(40));
            f.balance(1, 5_000 - (1 << 36));
            f.balance(3, (1 << 36) - 5_000);
        }),
        forgery("fee_mantissa_beyond_12_bits", &["transfer.fee_range"], |f| {
            f.change_transfer(1, |op| op.fee = FeeFloat::from_packed(1 << 12).unwrap());
            f.witness.transfers[0].fee = FloatWitness { mantissa: pow2(12), exponent: Fr::ZERO };
            f.witness.fees[0].total += fr(4096 - 30);
        }),
        forgery("withdrawal_fee_mantissa_beyond_12_bits", &["withdraw.fee_range"], |f| {
            f.change_withdrawal(4, |op| op.fee = FeeFloat::from_packed(1 << 12).unwrap());
            f.witness.withdrawals[0].fee = FloatWitness { mantissa: pow2(12), exponent: Fr::ZERO };
            f.witness.fees[1].total += fr(4096 - 5);
            f.balance(4, 5 - 4096);
            f.balance(2, 4096 - 5);
        }),
        forgery("receiver_beyond_24_bits", &["transfer.slots_range"], |f| {
            // signed: 1 unit to slot 3; proved: nothing to slot 3 + 2^24, the same word
            f.change_transfer(1, |op| op.amount = AmountFloat::from_amount(Amount(1)).unwrap());
            f.witness.transfers[0].amount.mantissa = Fr::ZERO;
            f.witness.transfers[0].to += pow2(24);
            f.balance(1, 5_000);
            f.balance(3, -5_000);
        }),
        forgery("message_of_another_withdrawal", &["withdraw.message"], message_of_another_withdrawal),
    ]
}

/// 1,777 leave though 777 were signed: the last S-box of the message hash lies.
fn message_of_another_withdrawal(f: &mut Forge) {
    let signed = f.world.withdrawal(4, 0, 777, 5).op.message(f.world.domain);
    f.witness.withdrawals[0].amount += fr(1_000);
    f.balance(4, -1_000);
    let message = variables_of(WITHDRAW, "message");
    let assignment = f.assignment();
    let (last, mds) = (message.len() - 12, &params(4).mds[0]);
    let output = |i: usize| message[last + 3 * i + 2];
    let hash: Fr = (0..4).map(|i| mds[i] * assignment[output(i) as usize]).sum();
    f.shift(output(0), (signed - hash) / mds[0]);
}

fn tokens_and_fees() -> Vec<Forgery> {
    vec![
        forgery("wrong_token", &["batch.key_bus"], |f| {
            f.change_transfer(1, |op| (op.token, op.amount, op.fee) = (TOKEN, AmountFloat::default(), FeeFloat::default()));
            f.balance(1, 5_000);
            f.balance(3, -5_000);
            f.witness.fees[0].total -= fr(30);
        }),
        forgery("wrong_token_with_an_amount", &["batch.key_bus", "batch.balance_bus"], |f| f.change_transfer(1, |op| op.token = TOKEN)),
        forgery("fee_not_collected", &["batch.balance_bus"], |f| {
            f.witness.fees[0].total -= fr(10);
            f.balance(1, -10);
        }),
        forgery("fee_of_another_token", &["batch.balance_bus"], |f| f.witness.fees[0].token = Fr::from(TOKEN.0)),
        forgery("fee_invented", &["batch.balance_bus"], |f| {
            f.witness.fees[0].total += fr(10);
            f.balance(1, 10);
        }),
    ]
}

fn disabled_slots() -> Vec<Forgery> {
    vec![
        forgery("disabled_transfer_with_effect", &["transfer.enabled"], |f| {
            // slot 6 signs for slot 1; the other transfer of slot 1 takes the only nonce
            f.change_transfer(6, |_| ());
            let only = f.world.transfer(1, 5, 0, 70_000, 20);
            f.use_transfer(1, &only);
            f.disable(("transfer", 0));
            f.account(1).signatures -= Fr::ONE;
            f.account(1).nonce -= Fr::ONE;
        }),
        forgery("disabled_withdrawal_with_effect", &["withdraw.enabled"], |f| {
            f.change_withdrawal(6, |_| ());
            f.disable(WITHDRAW);
            f.account(4).signatures -= Fr::ONE;
            f.account(4).nonce -= Fr::ONE;
        }),
        forgery("disabled_withdrawal_that_l1_pays", &["withdraw.enabled"], |f| {
            // empty word, so no debit of anybody; the amount is taken from the void slot (0, token 0)
            let signed = f.world.sign_withdrawal(Withdraw { amount: Amount(500), ..Withdraw::default() }, 6);
            f.use_withdrawal(1, &signed);
            f.replace_padding(AccountWitness { dyn_old: fr(500), ..AccountWitness::default() });
        }),
        forgery("disabled_deposit_with_effect", &["deposit.enabled"], |f| {
            f.witness.deposits[1] = DepositWitness { pole: account_pole(SlotId(3), NATIVE), amount: fr(100), owner: fr(9), key: fr(9) };
            f.disable(("deposit", 1));
            f.balance(3, 100);
        }),
        forgery("enabled_transfer_of_nothing", &["transfer.enabled"], |f| {
            // bumps the nonce of slot 0, which no follower would see
            let en = variables_of(("transfer", 3), "enabled")[0];
            f.set(en, Fr::ONE);
            let unused = &f.witness.transfers[3];
            let (key, nonce) = (unused.signature.key, unused.nonce);
            f.replace_padding(AccountWitness { key, nonce: nonce + Fr::ONE, signatures: Fr::ONE, ..AccountWitness::default() });
        }),
    ]
}

fn openings() -> Vec<Forgery> {
    vec![
        forgery("deposit_to_a_slot_with_another_key", &["batch.open_bus"], |f| f.witness.deposits[0].key += Fr::ONE),
        forgery("deposit_to_a_slot_with_another_owner", &["batch.open_bus"], |f| f.witness.deposits[0].owner += Fr::ONE),
        forgery("deposit_to_a_slot_with_another_token", &["batch.balance_bus", "batch.open_bus"], |f| f.witness.deposits[0].pole += Fr::ONE),
        forgery("opening_counted_twice", &["batch.open_bus"], |f| f.account(7).openings += Fr::ONE),
        forgery("credit_to_an_empty_slot", &["batch.balance_bus"], |f| {
            f.change_transfer(1, |op| op.to = SlotId(8));
            f.balance(3, -5_000);
            f.balance(8, 5_000);
            f.account(8).token = Fr::from(NATIVE.0);
        }),
        forgery("slot_opened_by_nobody", &["account.new_needs_an_opening"], |f| {
            f.change_transfer(1, |op| op.to = SlotId(8));
            f.balance(3, -5_000);
            *f.account(8) = AccountWitness {
                idx: fr(8),
                token: Fr::from(NATIVE.0),
                balance: fr(5_000),
                is_new: Fr::ONE,
                key: fr(9),
                owner: fr(9),
                ..AccountWitness::default()
            };
        }),
        forgery("slot_opened_over_another", &["account.new_was_empty"], |f| f.richer(7, fr(5))),
        forgery("slot_opened_with_a_nonce", &["account.new_nonce_starts_at_zero"], |f| {
            // balances only because this deposit is beyond what L1 lets in
            f.account(7).nonce = Fr::ONE;
            f.witness.deposits[0].amount += pow2(128);
        }),
        forgery("slot_opened_with_money_from_nowhere", &["account.old_balance"], |f| {
            let product = variables_of(("account", f.position(7)), "old_balance")[0];
            f.shift(product, -fr(5) / pow2(168));
            f.balance(7, -5);
        }),
        forgery("slot_opened_twofold", &["account.flags"], |f| {
            // with token 0 nothing but E and Delta depend on is_new
            f.witness.deposits[0].pole = account_pole(SlotId(7), Default::default());
            f.account(7).token = Fr::ZERO;
            f.account(7).is_new = fr(2);
        }),
        forgery("exit_without_a_request", &["batch.exit_bus"], |f| f.account(8).exits = Fr::ONE),
        forgery("exit_that_leaves_a_balance", &["account.exit_empties", "batch.exit_bus"], |f| f.account(3).exits = Fr::ONE),
        forgery("two_exits_that_leave_balances_and_cancel", &["account.exit_empties"], |f| {
            let poles = [(3, NATIVE), (6, TOKEN)].map(|(slot, token)| account_pole(SlotId(slot), token));
            f.witness.inputs[PublicInput::Zeta as usize] = (poles[0] + poles[1]) / fr(2);
            [3, 6].into_iter().for_each(|idx| f.account(idx).exits = Fr::ONE);
        }),
        forgery("read_without_a_request", &["batch.read_bus"], |f| f.account(3).reads = Fr::ONE),
        forgery("rotation_without_a_request", &["batch.rotate_bus"], |f| f.account(3).rotates = Fr::ONE),
    ]
}

fn state_and_words() -> Vec<Forgery> {
    vec![
        forgery("unsorted_slots", &["batch.sorted"], |f| f.witness.accounts.swap(3, 4)),
        forgery("duplicate_slot", &["batch.sorted"], |f| {
            // slot 1 a second time, in place of padding, with values of the forger's choice
            let twin = AccountWitness { dyn_old: fr(123_456) + pow2(168), ..f.account(1).clone() };
            f.replace_padding(AccountWitness { balance: fr(123_456), nonce: Fr::ZERO, signatures: Fr::ZERO, ..twin });
        }),
        forgery("altered_old_value", &["batch.claim_e"], |f| {
            f.richer(6, Fr::ONE);
            f.pin(PublicInput::E);
        }),
        forgery("altered_key_of_a_slot", &["batch.claim_e"], |f| {
            f.account(6).key += Fr::ONE;
            f.pin(PublicInput::E);
        }),
        forgery("altered_owner_of_a_slot", &["batch.claim_e"], |f| {
            f.account(6).owner += Fr::ONE;
            f.pin(PublicInput::E);
        }),
        forgery("other_claim_about_the_new_state", &["batch.claim_delta"], |f| {
            f.witness.inputs[PublicInput::Delta as usize] += Fr::ONE;
            f.pin(PublicInput::Delta);
        }),
        forgery("other_claim_about_the_touched_slots", &["batch.claim_z"], |f| {
            f.witness.inputs[PublicInput::Z as usize] += Fr::ONE;
            f.pin(PublicInput::Z);
        }),
        forgery("transcript_of_another_batch", &["batch.transcript"], |f| {
            f.witness.inputs[PublicInput::H as usize] += Fr::ONE;
            f.pin(PublicInput::H);
        }),
        forgery("tampered_data_word", &["batch.words_da"], |f| {
            f.change_transfer(1, |op| op.to = SlotId(5));
            f.balance(3, -5_000);
            f.balance(5, 5_000);
            f.pin(PublicInput::YDa);
        }),
        forgery("tampered_fee_word", &["batch.words_da"], |f| {
            // posted: fees to slot 1; proved: to slot 3
            f.witness.fees[0].idx = fr(3);
            f.balance(1, -50);
            f.balance(3, 50);
            f.pin(PublicInput::YDa);
        }),
        forgery("tampered_deposit_amount", &["batch.words_ops"], |f| {
            f.witness.deposits[0].amount += fr(1_000);
            f.balance(7, 1_000);
            f.pin(PublicInput::YOps);
        }),
        forgery("tampered_withdrawal_address", &["batch.words_ops"], |f| {
            f.change_withdrawal(4, |op| op.address = Address([0xcd; 20]));
            f.pin(PublicInput::YOps);
        }),
        forgery("withdrawal_hidden_from_l1", &["batch.words_ops"], |f| {
            f.change_withdrawal(4, |op| op.amount = Amount(10));
            f.balance(4, 767);
            f.pin(PublicInput::YOps);
        }),
    ]
}

pub(crate) fn forgeries() -> Vec<Forgery> {
    let groups = [signatures_and_nonces(), balances(), tokens_and_fees(), disabled_slots(), openings(), state_and_words()];
    groups.into_iter().flatten().collect()
}
