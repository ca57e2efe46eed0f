//! Forgeries of requests from the L1 queue, and of what account slots say of them. The honest batch (see `requests_batch`):
//!
//! ```text
//! transfer 1 -> 3: 600 fee 30      register 7, by 2      exit of 6, by its owner: 1,000,000      rotation of 5, by its owner
//! accounts 1 .. 7, and 8, which is empty and pads
//! ```

use super::{Base, Forge, Forgery, forgery, forgery_on, of_requests, variables_of};
use crate::forgery::slots::fr;
use crate::world::{TOKEN, owner, requests_batch};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use sheaf_circuits::builder::Section;
use sheaf_circuits::slots::account::AccountWitness;
use sheaf_circuits::slots::exit::ExitWitness;
use sheaf_circuits::slots::rotate::RotateWitness;
use sheaf_protocol::amount::{NATIVE, SlotId, TokenId};
use sheaf_protocol::batch::{Batch, PublicInput, account_pole};
use sheaf_protocol::field::pow2;
use sheaf_protocol::kzg::domain_point;
use sheaf_protocol::poseidon::Sponge17;

const EXIT: Section = ("exit", 0);
const ROTATE: Section = ("rotate", 0);
const LEFT: i64 = 1_000_000;

fn stranger() -> Fr {
    owner(3).to_fr()
}

impl Forge {
    /// Slot 6 keeps what it has, as if its owner had not asked.
    fn stay(&mut self) {
        self.account(6).balance = fr(LEFT);
        self.account(6).exits = Fr::ZERO;
    }

    /// The exit is for slot 8, which is empty.
    fn exit_of_an_empty_slot(&mut self) {
        self.stay();
        self.account(6).reads = Fr::ZERO;
        self.account(8).reads = Fr::ONE;
        let pole = account_pole(SlotId(8), TokenId(0));
        self.witness.exits[0] = ExitWitness { pole, requester: stranger(), ..ExitWitness::default() };
    }

    /// Makes a request act, or not, whoever asks.
    fn acts(&mut self, section: Section, acts: Fr) {
        self.set(variables_of(section, "owner_asks")[0], acts);
    }

    /// Pins h to that of absorbed elements in disorder.
    fn disorder(&mut self, change: impl Fn(&Batch, &mut Vec<Fr>)) {
        let batch = requests_batch().1;
        let mut absorbed = batch.absorbed();
        change(&batch, &mut absorbed);
        let mut sponge = Sponge17::new(Fr::from(batch.circuit));
        absorbed.into_iter().for_each(|element| sponge.absorb(element));
        self.witness.inputs[PublicInput::H as usize] = sponge.finish();
        self.pin(PublicInput::H);
    }
}

fn exits_of_strangers() -> Vec<Forgery> {
    vec![
        of_requests("stranger_leaves_as_the_owner", &["batch.read_bus"], |f| {
            let exit = &mut f.witness.exits[0];
            (exit.requester, exit.owner) = (stranger(), stranger());
        }),
        of_requests("stranger_leaves_as_the_owner_behind_a_wrong_fraction", &["exit.read_bus"], |f| {
            let fraction = variables_of(EXIT, "read_bus")[2];
            let honest = f.value(fraction);
            let exit = &mut f.witness.exits[0];
            (exit.requester, exit.owner) = (stranger(), stranger());
            f.set(fraction, honest);
        }),
        of_requests("stranger_leaves_by_a_key_that_makes_up_for_the_owner", &["batch.transcript"], |f| {
            // key + rho owner is the slot's: nothing but the transcript makes rho come after both
            let rho = f.witness.inputs[PublicInput::Rho as usize];
            let exit = &mut f.witness.exits[0];
            exit.key += rho * (exit.owner - stranger());
            (exit.requester, exit.owner) = (stranger(), stranger());
            f.pin(PublicInput::H);
        }),
        of_requests("exit_with_another_key", &["batch.read_bus"], |f| f.witness.exits[0].key += Fr::ONE),
        of_requests("stranger_acts", &["exit.owner_asks"], |f| {
            f.witness.exits[0].requester = stranger();
            f.acts(EXIT, Fr::ONE);
        }),
        of_requests("stranger_is_paid_though_nothing_acts", &["exit.foreign_pays_nothing"], |f| {
            f.witness.exits[0].requester = stranger();
            f.account(6).exits = Fr::ZERO;
        }),
        of_requests("exit_of_an_empty_slot_that_pays", &["exit.foreign_pays_nothing"], |f| {
            f.exit_of_an_empty_slot();
            f.witness.exits[0].amount = fr(500);
            f.account(8).dyn_old = fr(500);
        }),
        of_requests("exit_of_an_empty_slot_that_acts", &["exit.owner_asks"], |f| {
            f.exit_of_an_empty_slot();
            f.account(8).exits = Fr::ONE;
            f.acts(EXIT, Fr::ONE);
        }),
        of_requests("exit_of_an_empty_slot_with_an_owner", &["batch.read_bus"], |f| {
            f.exit_of_an_empty_slot();
            f.witness.exits[0].owner = stranger();
            f.account(8).exits = Fr::ONE;
        }),
        forgery("enabled_exit_of_nothing", &["exit.enabled"], |f| {
            f.set(variables_of(EXIT, "enabled")[0], Fr::ONE);
            f.replace_padding(AccountWitness { reads: Fr::ONE, exits: Fr::ONE, ..AccountWitness::default() });
        }),
    ]
}

fn exits_of_owners() -> Vec<Forgery> {
    vec![
        of_requests("owners_exit_suppressed", &["exit.owner_asks"], |f| {
            f.witness.exits[0].amount = Fr::ZERO;
            f.acts(EXIT, Fr::ZERO);
            f.stay();
        }),
        of_requests("owners_exit_suppressed_by_another_owner", &["batch.read_bus"], |f| {
            (f.witness.exits[0].amount, f.witness.exits[0].owner) = (Fr::ZERO, stranger());
            f.stay();
        }),
        of_requests("owners_exit_acts_by_half", &["exit.owner_asks", "exit.foreign_pays_nothing", "batch.exit_bus"], |f| {
            f.acts(EXIT, fr(2).inverse().unwrap())
        }),
        of_requests("disabled_exit", &["exit.enabled"], |f| {
            f.witness.exits[0].amount = Fr::ZERO;
            f.disable(EXIT);
            f.stay();
            f.account(6).reads = Fr::ZERO;
        }),
        of_requests("owners_exit_that_leaves_a_balance", &["account.exit_empties"], |f| {
            f.witness.exits[0].amount -= fr(10);
            f.balance(6, 10);
        }),
        of_requests("exit_that_leaves_a_balance_unmarked", &["batch.exit_bus"], |f| {
            f.witness.exits[0].amount -= fr(10);
            f.balance(6, 10);
            f.account(6).exits = Fr::ZERO;
        }),
        of_requests("exit_that_leaves_a_balance_behind_a_wrong_fraction", &["exit.exit_bus"], |f| {
            f.witness.exits[0].amount -= fr(10);
            f.balance(6, 10);
            f.account(6).exits = Fr::ZERO;
            f.set(variables_of(EXIT, "exit_bus")[0], Fr::ZERO);
        }),
        of_requests("exit_of_more_than_there_is", &["batch.balance_bus"], |f| f.witness.exits[0].amount += fr(10)),
        of_requests("exit_of_more_than_there_is_behind_a_wrong_fraction", &["exit.balance_bus"], |f| {
            let fraction = variables_of(EXIT, "balance_bus")[0];
            let honest = f.value(fraction);
            f.witness.exits[0].amount += fr(10);
            f.set(fraction, honest);
        }),
        of_requests("exit_in_another_token", &["batch.balance_bus", "batch.exit_bus", "batch.read_bus"], |f| {
            f.witness.exits[0].pole = account_pole(SlotId(6), NATIVE);
        }),
        of_requests("read_not_counted", &["batch.read_bus"], |f| f.account(6).reads = Fr::ZERO),
        of_requests("read_counted_twice", &["batch.read_bus"], |f| f.account(6).reads += Fr::ONE),
        of_requests("exit_hidden_from_l1", &["batch.words_ops"], |f| {
            f.richer(6, fr(5));
            f.witness.exits[0].amount += fr(5);
            f.account(6).balance = Fr::ZERO;
            f.pin(PublicInput::YOps);
        }),
        of_requests("exit_asked_by_another_than_on_l1", &["batch.words_ops"], |f| {
            (f.witness.exits[0].requester, f.witness.exits[0].amount) = (stranger(), Fr::ZERO);
            f.stay();
            f.pin(PublicInput::YOps);
        }),
    ]
}

fn rotations() -> Vec<Forgery> {
    vec![
        of_requests("stranger_rotates_as_the_owner", &["batch.read_bus"], |f| {
            let rotation = &mut f.witness.rotations[0];
            (rotation.requester, rotation.owner) = (stranger(), stranger());
        }),
        of_requests("stranger_rotates_as_the_owner_behind_a_wrong_fraction", &["rotate.read_bus"], |f| {
            let fraction = variables_of(ROTATE, "read_bus")[2];
            let honest = f.value(fraction);
            let rotation = &mut f.witness.rotations[0];
            (rotation.requester, rotation.owner) = (stranger(), stranger());
            f.set(fraction, honest);
        }),
        of_requests("stranger_rotates", &["rotate.owner_asks"], |f| {
            f.witness.rotations[0].requester = stranger();
            f.acts(ROTATE, Fr::ONE);
        }),
        of_requests("rotation_from_another_key", &["batch.read_bus"], |f| f.witness.rotations[0].key += Fr::ONE),
        of_requests("rotation_of_an_empty_slot", &["rotate.owner_asks"], |f| {
            // gives slot 8 a key, and so a holder without an owner
            let new_key = f.witness.rotations[0].new_key;
            f.witness.rotations[0] = RotateWitness { idx: fr(8), requester: stranger(), new_key, ..RotateWitness::default() };
            f.acts(ROTATE, Fr::ONE);
            (f.account(5).reads, f.account(5).rotates) = (Fr::ZERO, Fr::ZERO);
            (f.account(8).reads, f.account(8).rotates) = (Fr::ONE, Fr::ONE);
        }),
        of_requests("owners_rotation_suppressed", &["rotate.owner_asks"], |f| {
            f.acts(ROTATE, Fr::ZERO);
            f.account(5).rotates = Fr::ZERO;
        }),
        of_requests("disabled_rotation", &["rotate.enabled"], |f| {
            f.disable(ROTATE);
            (f.account(5).reads, f.account(5).rotates) = (Fr::ZERO, Fr::ZERO);
        }),
        of_requests("rotation_that_counts_nowhere", &["batch.rotate_bus"], |f| f.account(5).rotates = Fr::ZERO),
        of_requests("rotation_that_counts_nowhere_behind_a_wrong_fraction", &["rotate.rotate_bus"], |f| {
            f.account(5).rotates = Fr::ZERO;
            f.set(variables_of(ROTATE, "rotate_bus")[0], Fr::ZERO);
        }),
        forgery("enabled_rotation_of_nothing", &["rotate.enabled"], |f| {
            // gives slot 0 a key
            f.set(variables_of(ROTATE, "enabled")[0], Fr::ONE);
            f.witness.rotations[0].new_key = fr(9);
            f.replace_padding(AccountWitness { reads: Fr::ONE, rotates: Fr::ONE, ..AccountWitness::default() });
        }),
        of_requests("rotation_to_another_key_than_asked", &["batch.words_ops"], |f| {
            f.witness.rotations[0].new_key += Fr::ONE;
            f.pin(PublicInput::YOps);
        }),
        of_requests("rotation_that_leaves_the_key", &["batch.claim_delta"], |f| {
            let term = f.value(variables_of(ROTATE, "claims")[2]);
            f.witness.inputs[PublicInput::Delta as usize] -= term;
            f.pin(PublicInput::Delta);
        }),
        of_requests("rotation_by_another_difference", &["rotate.claims"], |f| f.shift(variables_of(ROTATE, "claims")[0], Fr::ONE)),
        of_requests("rotation_of_the_key_of_another_slot", &["rotate.claims"], |f| {
            let (w, zeta) = (domain_point(3), f.witness.inputs[PublicInput::Zeta as usize]);
            f.set(variables_of(ROTATE, "claims")[1], w / (zeta - w));
        }),
        of_requests("rotation_by_another_term", &["rotate.claims"], |f| f.shift(variables_of(ROTATE, "claims")[2], Fr::ONE)),
        of_requests("rotation_at_another_point", &["rotate.domain_point"], |f| {
            let point = *variables_of(ROTATE, "domain_point").last().unwrap();
            f.set(point, domain_point(3));
        }),
        of_requests("rotation_whose_k_is_split_above", &["rotate.token_range"], |f| {
            // K(4, 1 + 2^16) = K(5, 1), and the key of slot 4 changes
            (f.witness.rotations[0].idx, f.witness.rotations[0].token) = (fr(4), fr(1) + pow2(16));
        }),
        of_requests("rotation_whose_k_is_split_below", &["rotate.slot_range"], |f| {
            (f.witness.rotations[0].idx, f.witness.rotations[0].token) = (fr(5) + pow2(16).inverse().unwrap(), Fr::ZERO);
        }),
    ]
}

fn transcripts() -> Vec<Forgery> {
    /// Elements before the first of the exits.
    fn before_exits(batch: &Batch) -> usize {
        (4 + 2 + 1) + 1 + 4 * batch.shape.deposits as usize
    }
    vec![
        of_requests("transcript_without_the_slot_that_a_register_opens", &["batch.transcript"], |f| f.disorder(|_, all| all[7] = Fr::ZERO)),
        of_requests("transcript_with_the_register_before_the_signatures", &["batch.transcript"], |f| f.disorder(|_, all| all.swap(6, 7))),
        of_requests("transcript_without_the_owner_an_exit_found", &["batch.transcript"], |f| {
            f.disorder(|batch, all| all[before_exits(batch) + 3] = Fr::ZERO);
        }),
        of_requests("transcript_without_the_key_a_rotation_found", &["batch.transcript"], |f| {
            f.disorder(|batch, all| all[before_exits(batch) + 5 + 4] = Fr::ZERO);
        }),
        of_requests("transcript_with_rotations_before_exits", &["batch.transcript"], |f| {
            f.disorder(|batch, all| all[before_exits(batch)..][..10].rotate_left(5));
        }),
        of_requests("transcript_without_the_flags_of_an_account", &["batch.transcript"], |f| {
            f.disorder(|batch, all| {
                let slot = before_exits(batch) + 10 + batch.shape.fees as usize + 4 * 5;
                assert_eq!(all[slot], batch.accounts[5].absorbed_head());
                all[slot] -= pow2(237) + pow2(229);
            });
        }),
    ]
}

/// The owner and a stranger ask for slot 6 to leave and for slot 5 to take another key; registers open 7 and name 3.
fn twofold() -> Vec<Forgery> {
    let on = |name: &str, groups: &[&str], forge: fn(&mut Forge)| forgery_on(Base::Twofold, name, groups, forge);
    let asks_twice = |f: &mut Forge| f.witness.exits[1].requester = f.witness.exits[0].requester;
    vec![
        forgery_on(Base::Twofold, "exit_twice", &["batch.exit_bus"], asks_twice),
        forgery_on(Base::Twofold, "exit_twice_in_two_parts", &["batch.exit_bus"], move |f| {
            asks_twice(f);
            f.witness.exits[0].amount -= fr(400);
            f.witness.exits[1].amount += fr(400);
        }),
        forgery_on(Base::Twofold, "exit_twice_and_counted_twice", &["account.flags"], move |f| {
            asks_twice(f);
            f.account(6).exits = fr(2);
        }),
        on("stranger_takes_a_part_of_the_exit", &["exit.foreign_pays_nothing"], |f| {
            f.witness.exits[0].amount -= fr(400);
            f.witness.exits[1].amount += fr(400);
        }),
        on("rotation_twice", &["batch.rotate_bus"], |f| f.witness.rotations[1].requester = f.witness.rotations[0].requester),
        on("rotation_twice_and_counted_twice", &["account.flags"], |f| {
            f.witness.rotations[1].requester = f.witness.rotations[0].requester;
            f.account(5).rotates = fr(2);
        }),
        on("register_of_what_is_there_counts_nowhere", &["batch.open_bus"], |f| f.account(3).openings = Fr::ZERO),
        on("two_registers_under_each_others_slots", &["batch.open_bus"], |f| {
            let [first, second] = &mut f.witness.registers[..] else { panic!("two") };
            std::mem::swap(&mut first.new, &mut second.new);
        }),
    ]
}

/// In the unused slots of the other batch.
fn unused() -> Vec<Forgery> {
    vec![
        forgery("unused_exit_that_pays", &["exit.foreign_pays_nothing"], |f| {
            // out of the void slot (0, token 0)
            f.witness.exits[0].amount = fr(500);
            f.replace_padding(AccountWitness { dyn_old: fr(500), ..AccountWitness::default() });
        }),
        forgery("rotation_without_a_request_of_the_key_of_slot_0", &["rotate.owner_asks"], |f| {
            f.witness.rotations[0].new_key = fr(9);
            f.acts(ROTATE, Fr::ONE);
            f.replace_padding(AccountWitness { rotates: Fr::ONE, ..AccountWitness::default() });
        }),
        forgery("request_for_a_slot_in_a_foreign_token", &["batch.read_bus"], |f| {
            // a stranger's, which does nothing, but the slot holds another token
            let pole = account_pole(SlotId(3), TOKEN);
            let (owner, key) = (f.account(3).owner, f.account(3).key);
            f.witness.exits[0] = ExitWitness { pole, requester: fr(9), amount: Fr::ZERO, owner, key };
            f.account(3).reads = Fr::ONE;
        }),
    ]
}

pub(crate) fn forgeries() -> Vec<Forgery> {
    let groups = [exits_of_strangers(), exits_of_owners(), rotations(), transcripts(), twofold(), unused()];
    groups.into_iter().flatten().collect()
}
