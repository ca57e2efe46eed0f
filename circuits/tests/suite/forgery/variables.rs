//! Forgeries that only touch variables: digits that are no bits but spell the same number, fractions that are wrong but cancel,
//! inner products. They find a missing row where no story does.

use super::{Forge, Forgery, forgery, variables_of};
use ark_bn254::Fr;
use ark_ff::Field;
use sheaf_circuits::builder::{Section, VarIndex};

/// A ranged number that keeps its value: one digit 2 more, the next one less.
fn not_bits(section: Section, group: &'static str) -> Forgery {
    let name = format!("digits_of_{}_{group}_are_not_bits", section.0);
    forgery(&name, &[&format!("{}.{group}", section.0)], move |f| {
        let bits = variables_of(section, group);
        f.shift(bits[0], Fr::from(2u64));
        f.shift(bits[1], -Fr::ONE);
    })
}

/// A fraction too large in one slot and too small in another.
fn cancelling(kind: &'static str, group: &'static str, position: usize) -> Forgery {
    let name = format!("cancelling_fractions_in_{kind}_{group}");
    forgery(&name, &[&format!("{kind}.{group}")], move |f| {
        let [first, second] = [0, 1].map(|slot| variables_of((kind, slot), group)[position]);
        f.shift(first, Fr::from(77u64));
        f.shift(second, -Fr::from(77u64));
    })
}

fn shifted(name: &'static str, section: Section, group: &'static str, position: usize) -> Forgery {
    forgery(name, &[&format!("{}.{group}", section.0)], move |f| f.shift(variables_of(section, group)[position], Fr::from(5u64)))
}

const TRANSFER: Section = ("transfer", 0);
const WITHDRAW: Section = ("withdraw", 0);
const FEE: Section = ("fee", 0);
/// A slot that signs and is credited.
const ACCOUNT: Section = ("account", 1);
const BATCH: Section = ("batch", 0);

fn ranges() -> Vec<Forgery> {
    let groups: [(Section, &[&'static str]); 4] = [
        (TRANSFER, &["slots_range", "token_range", "nonce_range", "amount_range", "fee_range", "signature.challenge_range"]),
        (WITHDRAW, &["slots_range", "token_range", "nonce_range", "fee_range", "signature.challenge_range"]),
        (FEE, &["slot_range", "token_range", "total_range"]),
        (ACCOUNT, &["idx_range", "token_range", "nonce_range", "balance_range", "counts_range"]),
    ];
    groups.into_iter().flat_map(|(section, names)| names.iter().map(move |name| not_bits(section, name))).collect()
}

fn fractions() -> Vec<Forgery> {
    vec![
        cancelling("transfer", "key_bus", 1),
        cancelling("transfer", "nonce_bus", 1),
        cancelling("transfer", "balance_bus", 0),
        cancelling("withdraw", "key_bus", 1),
        cancelling("withdraw", "nonce_bus", 1),
        cancelling("withdraw", "balance_bus", 0),
        cancelling("deposit", "balance_bus", 0),
        cancelling("deposit", "open_bus", 2),
        cancelling("fee", "balance_bus", 0),
        cancelling("account", "balance_bus", 0),
        cancelling("account", "key_bus", 1),
        cancelling("account", "nonce_bus", 1),
        cancelling("account", "open_bus", 1),
        cancelling("account", "read_bus", 0),
        cancelling("account", "exit_bus", 0),
        cancelling("account", "rotate_bus", 0),
    ]
}

/// A difference of indices that keeps its value: one digit 2 more, the next one less.
fn sorted_digits(f: &mut Forge) {
    let digits: Vec<VarIndex> = variables_of(BATCH, "sorted");
    f.shift(digits[0], Fr::from(2u64));
    f.shift(digits[1], -Fr::ONE);
}

pub(crate) fn forgeries() -> Vec<Forgery> {
    let mut all = ranges();
    all.extend(fractions());
    all.extend([
        shifted("a_wrong_point_of_the_domain", ACCOUNT, "domain_point", 7),
        shifted("a_wrong_term_of_e", ACCOUNT, "claims", 4),
        shifted("a_wrong_term_of_delta", ACCOUNT, "claims", 5),
        shifted("an_inner_value_of_the_sponge", BATCH, "transcript", 300),
        shifted("a_wrong_power_of_rho", BATCH, "rho_squared", 0),
        shifted("a_wrong_partial_product_of_z", BATCH, "claim_z", 2),
        shifted("a_wrong_partial_sum_of_posted_words", BATCH, "words_da", 0),
        shifted("a_wrong_partial_sum_of_l1_words", BATCH, "words_ops", 3),
        forgery("digits_of_a_difference_are_not_bits", &["batch.sorted"], sorted_digits),
    ]);
    all
}
