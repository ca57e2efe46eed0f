//! Forgeries that only touch variables: digits that are no bits but spell the same number, fractions that are wrong but cancel,
//! inner products. They find a missing row where no story does.

use super::{Base, Forge, Forgery, forgery, forgery_on, variables_of};
use ark_bn254::Fr;
use ark_ff::Field;
use sheaf_circuits::builder::{Section, VarIndex};

/// A ranged number that keeps its value: one digit 2 more, the next one less. Its digits start at `first` in the group.
fn not_bits(base: Base, section: Section, group: &'static str, number: &str, first: usize) -> Forgery {
    let name = format!("digits_of_{}_{number}_are_not_bits", section.0);
    forgery_on(base, &name, &[&format!("{}.{group}", section.0)], move |f| {
        let bits = variables_of(section, group);
        f.shift(bits[first], Fr::from(2u64));
        f.shift(bits[first + 1], -Fr::ONE);
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
const REGISTER: Section = ("register", 0);
const ROTATE: Section = ("rotate", 0);
/// Slots without use in the batch of transfers, whose amounts and fees are 0 whatever their exponents.
const UNUSED: [Section; 3] = [("transfer", 3), ("withdraw", 1), REGISTER];
const FEE: Section = ("fee", 0);
/// A slot that signs and is credited.
const ACCOUNT: Section = ("account", 1);
const BATCH: Section = ("batch", 0);

/// Numbers of a group by name and width, in order of allocation.
pub(crate) type Ranged = (&'static str, &'static [(&'static str, usize)]);

const SIGNED: [Ranged; 5] = [
    ("token_range", &[("token", 16)]),
    ("nonce_range", &[("nonce", 32)]),
    ("fee_range", &[("fee_mantissa", 12), ("fee_exponent", 4)]),
    ("signature.challenge_range", &[("rest_of_e", 126)]),
    ("slots_range", &[("from", 24)]),
];

/// The numbers of a kind of slot in groups, and the batch that uses such a slot.
pub(crate) fn ranged() -> [(Base, Section, Vec<Ranged>); 6] {
    let of_transfers: [Ranged; 2] = [("slots_range", &[("from", 24), ("to", 24)]), ("amount_range", &[("mantissa", 36), ("exponent", 4)])];
    let of_fees: [Ranged; 3] = [("slot_range", &[("idx", 24)]), ("token_range", &[("token", 16)]), ("total_range", &[("total", 112)])];
    let of_accounts: [Ranged; 5] = [
        ("idx_range", &[("idx", 24)]),
        ("token_range", &[("token", 16)]),
        ("nonce_range", &[("nonce", 32)]),
        ("balance_range", &[("balance", 120)]),
        ("counts_range", &[("signatures", 12), ("openings", 8), ("reads", 8)]),
    ];
    let of_registers: [Ranged; 2] = [("token_range", &[("token", 16), ("new_token", 16)]), ("slots_range", &[("from", 24), ("new", 24)])];
    let of_rotations: [Ranged; 2] = [("slot_range", &[("idx", 24)]), ("token_range", &[("token", 16)])];
    [
        (Base::Rich, TRANSFER, [&SIGNED[..4], &of_transfers].concat()),
        (Base::Rich, WITHDRAW, SIGNED.to_vec()),
        (Base::Requests, REGISTER, [&SIGNED[1..4], &of_registers].concat()),
        (Base::Requests, ROTATE, of_rotations.to_vec()),
        (Base::Rich, FEE, of_fees.to_vec()),
        (Base::Rich, ACCOUNT, of_accounts.to_vec()),
    ]
}

/// Every ranged number of every kind of slot.
fn ranges() -> Vec<Forgery> {
    let mut all = Vec::new();
    for (base, section, groups) in ranged() {
        for (group, numbers) in groups {
            let widths: usize = numbers.iter().map(|(_, width)| width).sum();
            assert_eq!(variables_of(section, group).len(), widths, "{section:?} {group} holds other numbers");
            let mut first = 0;
            for (number, width) in numbers {
                // a false exponent of a used slot shows on the balance bus as well
                let unused = UNUSED.into_iter().find(|unused| number.ends_with("exponent") && unused.0 == section.0);
                let (base, section) = unused.map_or((base, section), |unused| (Base::Rich, unused));
                all.push(not_bits(base, section, group, number, first));
                first += width;
            }
        }
    }
    all
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
