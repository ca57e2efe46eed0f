//! The titles of `kzg` as tests: what opens, what must not, and the golden file (`UPDATE_VECTORS=1` rewrites it; a change is a protocol change).
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::amount::SlotId;
use crate::field::{G1Affine, to_hex, to_word};
use crate::header::{self, exit_challenge};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{Field, MontFp, UniformRand, Zero};
use ark_poly::EvaluationDomain;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

const K: u32 = 6;

static SRS: LazyLock<Arc<Srs>> = LazyLock::new(|| Arc::new(Srs::insecure_dev(K, "tests").unwrap()));

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn random_values(rng: &mut ChaCha20Rng) -> [Fr; 3] {
    std::array::from_fn(|_| Fr::rand(rng))
}

/// `p(x)` from the values over the domain.
fn evaluate(values: &[Fr], x: Fr) -> Fr {
    let domain = ark_poly::Radix2EvaluationDomain::<Fr>::new(values.len()).unwrap();
    domain.ifft(values).iter().rev().fold(Fr::zero(), |sum, coefficient| sum * x + coefficient)
}

/// A state with 20 slots, and a batch that changes three, opens one and pads with one in use and one empty.
fn example() -> (StateVector, Vec<TouchedSlot>) {
    let mut rng = rng(1);
    let slots: Vec<_> = (1..=20).map(|idx| (SlotId(idx), random_values(&mut rng))).collect();
    let state = StateVector::new(SRS.clone(), slots).unwrap();
    let mut touched: Vec<TouchedSlot> = [2, 3, 11, 15, 40, 63].map(|idx| untouched(&state, idx)).into();
    for i in [0, 1, 3, 4] {
        touched[i].new = random_values(&mut rng);
    }
    (state, touched)
}

fn untouched(state: &StateVector, idx: u32) -> TouchedSlot {
    let old = state.get(SlotId(idx)).unwrap();
    TouchedSlot { slot: SlotId(idx), old, new: old }
}

/// A batch's whole walk, with random challenges.
struct Walk {
    state: StateVector,
    step: Step,
    quotient: Quotient,
    statement: Statement,
    opening: G1Affine,
}

fn walk(state: StateVector, touched: &[TouchedSlot], seed: u64) -> Walk {
    let mut rng = rng(seed);
    let [rho, zeta, gamma] = random_values(&mut rng);
    let step = state.prepare(touched).unwrap();
    let quotient = state.quotient(&step, rho).unwrap();
    let claims = Claims::of(touched, rho, zeta);
    let opening = state.open(&step, &quotient, zeta, claims, gamma).unwrap();
    let statement = Statement { before: *step.before(), after: *step.after(), quotient: *quotient.commitment(), rho, zeta, claims, gamma };
    Walk { state, step, quotient, statement, opening }
}

fn recommit(state: &StateVector) -> [G1Affine; 3] {
    let slots = (1..1 << state.k()).map(|idx| (SlotId(idx), state.get(SlotId(idx)).unwrap()));
    *StateVector::new(state.srs().clone(), slots).unwrap().commitments()
}

#[test]
fn the_root_of_unity_is_the_protocols() {
    let root: Fr = MontFp!("19103219067921713944291392827692070036145651957329286315305642004821462161904");
    assert_eq!(root_of_unity(28), root);
    assert_eq!(root_of_unity(24), root.pow([16u64]));
}

#[test]
fn a_slots_point_is_the_domain_point_at_its_position_for_every_k() {
    for k in [1, 4, 7, 16, 24] {
        let omega = root_of_unity(k);
        for idx in [0u32, 1, 2, 3, 5, 6, 11, 127, 40_000, 65_535, 12_345_678, (1 << 24) - 1].into_iter().filter(|idx| idx >> k == 0) {
            assert_eq!(domain_point(idx), omega.pow([position(idx, k) as u64]), "slot {idx}, k {k}");
        }
    }
}

#[test]
fn the_reference_string_is_a_lagrange_basis() {
    let domain = SRS.domain();
    let ones: Vec<_> = (0..1 << K).map(|idx| (idx, Fr::one())).collect();
    assert_eq!(SRS.commit(&ones), G1Affine::generator());
    assert_eq!(domain.size(), SRS.lagrange.len());
    assert!(SRS.is_consistent());
}

#[test]
fn a_wrong_point_makes_the_reference_string_inconsistent() {
    let point = SRS.lagrange[3];
    for (name, spoil) in [
        ("a basis point", Box::new(move |srs: &mut Srs| srs.lagrange[7] = point) as Box<dyn Fn(&mut Srs)>),
        ("two basis points swapped", Box::new(|srs: &mut Srs| srs.lagrange.swap(1, 2))),
        ("[tau]_2", Box::new(|srs: &mut Srs| srs.tau_g2 = (srs.tau_g2 * Fr::from(2u64)).into_affine())),
        ("an L_0", Box::new(|srs: &mut Srs| srs.l0.swap(4, 5))),
    ] {
        let mut spoiled = Srs::clone(&SRS);
        spoil(&mut spoiled);
        assert!(!spoiled.is_consistent(), "{name}");
    }
}

#[test]
fn a_reference_string_of_a_deployable_size_starts_with_l1s_point() {
    let mut calls = Vec::new();
    let srs = Srs::insecure_dev_with(MIN_K, "tests", |done, all| calls.push((done, all))).unwrap();
    assert_eq!(srs.lagrange[0], srs.l0[0]);
    assert_eq!(srs.l0, SRS.l0, "L1's points depend on the secret alone");
    assert!(calls.is_sorted() && calls.last() == Some(&(srs.size(), srs.size())));
}

#[test]
fn sizes_without_a_domain_are_refused() {
    assert_eq!(Srs::insecure_dev(0, "tests").unwrap_err(), SetupError::Size(0));
    assert_eq!(Srs::insecure_dev(25, "tests").unwrap_err(), SetupError::Size(25));
}

#[test]
fn the_empty_state_has_identity_commitments_and_takes_a_first_batch() {
    let state = StateVector::new(SRS.clone(), []).unwrap();
    assert_eq!(*state.commitments(), [G1Affine::identity(); 3]);
    assert_eq!(state.root(), header::state_root(K, &[G1Affine::identity(); 3]));
    let mut touched = [1, 2, 3].map(|idx| untouched(&state, idx));
    touched[0].new = random_values(&mut rng(9));
    let Walk { mut state, step, statement, opening, .. } = walk(state, &touched, 2);
    assert_eq!(statement.quotient, G1Affine::identity(), "nothing to divide");
    assert!(SRS.opening_key().verify(&statement, &opening));
    state.advance(&step).unwrap();
    assert_eq!(*state.commitments(), recommit(&state));
}

#[test]
fn a_batch_that_touches_nothing_is_legal() {
    let (state, _) = example();
    let walk = walk(state, &[], 3);
    assert_eq!(walk.statement.before, walk.statement.after);
    assert!(SRS.opening_key().verify(&walk.statement, &walk.opening));
}

#[test]
fn every_usable_slot_may_be_touched_at_once() {
    let (state, _) = example();
    let mut rng = rng(4);
    let touched: Vec<_> = (1..1 << K).map(|idx| TouchedSlot { new: random_values(&mut rng), ..untouched(&state, idx) }).collect();
    let walk = walk(state, &touched, 5);
    assert!(SRS.opening_key().verify(&walk.statement, &walk.opening));
}

#[test]
fn f_minus_r_is_q_times_z() {
    let (state, touched) = example();
    let f: Vec<Fr> = {
        let mut values = vec![Fr::zero(); 1 << K];
        (1..1 << K).for_each(|idx| values[position(idx, K)] = combine(&state.get(SlotId(idx)).unwrap(), Fr::from(77u64)));
        values
    };
    let mut r = vec![Fr::zero(); 1 << K];
    touched.iter().for_each(|slot| r[position(slot.slot.0, K)] = f[position(slot.slot.0, K)]);
    let quotient = state.quotient(&state.prepare(&touched).unwrap(), Fr::from(77u64)).unwrap();
    let mut rng = rng(6);
    for _ in 0..4 {
        let x = Fr::rand(&mut rng);
        let z: Fr = touched.iter().map(|slot| x - domain_point(slot.slot.0)).product();
        assert_eq!(evaluate(&f, x) - evaluate(&r, x), evaluate(quotient.values(), x) * z);
    }
}

#[test]
fn a_large_touched_set_uses_the_product_tree() {
    let srs = Arc::new(Srs::insecure_dev(9, "tests").unwrap());
    let mut rng = rng(7);
    let state = StateVector::new(srs.clone(), (1..400).map(|idx| (SlotId(idx), random_values(&mut rng)))).unwrap();
    let touched: Vec<_> = (100..430).map(|idx| TouchedSlot { new: random_values(&mut rng), ..untouched(&state, idx) }).collect();
    let walk = walk(state, &touched, 8);
    assert!(srs.opening_key().verify(&walk.statement, &walk.opening));
}

#[test]
fn every_number_and_point_of_the_statement_is_bound() {
    let (state, touched) = example();
    let one = walk(state.clone(), &touched, 10);
    let other = walk(state, &touched, 11);
    let more = |point: G1Affine| (point + G1Affine::generator()).into_affine();
    let key = SRS.opening_key();
    assert!(key.verify(&one.statement, &one.opening));
    for (name, forge) in [
        ("E", Box::new(|s: &mut Statement| s.claims.e += Fr::one()) as Box<dyn Fn(&mut Statement)>),
        ("Z", Box::new(|s: &mut Statement| s.claims.z += Fr::one())),
        ("Delta", Box::new(|s: &mut Statement| s.claims.delta += Fr::one())),
        ("gamma", Box::new(|s: &mut Statement| s.gamma += Fr::one())),
        ("zeta", Box::new(|s: &mut Statement| s.zeta += Fr::one())),
        ("rho", Box::new(|s: &mut Statement| s.rho += Fr::one())),
        ("C'key", Box::new(move |s: &mut Statement| s.after[0] = more(s.after[0]))),
        ("C'dyn", Box::new(move |s: &mut Statement| s.after[1] = more(s.after[1]))),
        ("C'owner", Box::new(move |s: &mut Statement| s.after[2] = more(s.after[2]))),
        ("C", Box::new(move |s: &mut Statement| s.before[1] = more(s.before[1]))),
        ("C_q of another batch", Box::new(move |s: &mut Statement| s.quotient = other.statement.quotient)),
    ] {
        let mut forged = one.statement.clone();
        forge(&mut forged);
        assert!(!key.verify(&forged, &one.opening), "{name}");
    }
    assert!(!key.verify(&one.statement, &other.opening), "W of another batch");
    assert!(!key.verify(&one.statement, &G1Affine::identity()), "no opening");
}

/// The best a cheating operator can do: divide the false polynomial anyway.
fn forged_opening(walk: &Walk, statement: &Statement, f_new: &[Fr], f: &[Fr]) -> G1Affine {
    let mut values: Vec<Fr> =
        (0..f.len()).map(|j| f[j] + statement.gamma * (f_new[j] - f[j]) - statement.claims.z * walk.quotient.values()[j]).collect();
    values[0] -= statement.zero_slot();
    SRS.divided_commitment(statement.zeta, &values)
}

fn combined(state: &StateVector, rho: Fr) -> Vec<Fr> {
    let mut values = vec![Fr::zero(); 1 << K];
    (1..1 << K).for_each(|idx| values[position(idx, K)] = combine(&state.get(SlotId(idx)).unwrap(), rho));
    values
}

#[test]
fn the_forger_helper_makes_the_honest_opening_of_a_true_statement() {
    let (state, touched) = example();
    let walk = walk(state, &touched, 12);
    let f = combined(&walk.state, walk.statement.rho);
    let mut after = walk.state.clone();
    after.advance(&walk.step).unwrap();
    let f_new = combined(&after, walk.statement.rho);
    assert_eq!(forged_opening(&walk, &walk.statement, &f_new, &f), walk.opening);
}

#[test]
fn a_credit_to_an_untouched_slot_has_no_opening() {
    let (state, touched) = example();
    let walk = walk(state, &touched, 13);
    let gift = Fr::from(10u64.pow(18));
    let mut statement = walk.statement.clone();
    statement.after[1] = SRS.update(&statement.after[1], &[(5, gift)]);
    let f = combined(&walk.state, statement.rho);
    let mut after = walk.state.clone();
    after.advance(&walk.step).unwrap();
    let mut f_new = combined(&after, statement.rho);
    f_new[position(5, K)] += statement.rho * gift;
    let opening = forged_opening(&walk, &statement, &f_new, &f);
    assert!(!SRS.opening_key().verify(&statement, &opening));
}

#[test]
fn a_false_old_value_has_no_opening() {
    let (state, touched) = example();
    let walk = walk(state, &touched, 14);
    let mut lie = touched;
    lie[0].old[1] += Fr::one();
    lie[0].new[1] += Fr::one();
    let mut statement = walk.statement.clone();
    statement.claims = Claims::of(&lie, statement.rho, statement.zeta);
    let f = combined(&walk.state, statement.rho);
    let mut after = walk.state.clone();
    after.advance(&walk.step).unwrap();
    let opening = forged_opening(&walk, &statement, &combined(&after, statement.rho), &f);
    assert!(!SRS.opening_key().verify(&statement, &opening));
}

#[test]
fn untrue_claims_and_stale_steps_are_refused() {
    let (state, touched) = example();
    let Walk { mut state, step, quotient, statement, .. } = walk(state, &touched, 15);
    let Statement { zeta, gamma, claims, .. } = statement;
    let wrong = Claims { e: claims.e + Fr::one(), ..claims };
    assert_eq!(state.open(&step, &quotient, zeta, wrong, gamma), Err(OpenError::False));
    assert_eq!(state.open(&step, &quotient, domain_point(9), claims, gamma), Err(OpenError::ZetaInDomain));
    state.advance(&step).unwrap();
    assert_eq!(state.open(&step, &quotient, zeta, claims, gamma), Err(OpenError::Stale));
    assert_eq!(state.quotient(&step, statement.rho).unwrap_err(), OpenError::Stale);
    assert_eq!(state.advance(&step), Err(OpenError::Stale));
}

#[test]
fn touched_slots_that_do_not_fit_the_state_are_refused() {
    let (state, touched) = example();
    let refused = |touched: &[TouchedSlot]| state.prepare(touched).unwrap_err();
    let zero = TouchedSlot { slot: SlotId(0), old: [Fr::zero(); 3], new: [Fr::zero(); 3] };
    let beyond = TouchedSlot { slot: SlotId(1 << K), ..zero };
    assert_eq!(refused(&[zero]), PrepareError::Outside { slot: SlotId(0), k: K });
    assert_eq!(refused(&[beyond]), PrepareError::Outside { slot: SlotId(1 << K), k: K });
    assert_eq!(refused(&[touched[0], touched[0]]), PrepareError::Order(touched[0].slot));
    assert_eq!(refused(&[touched[1], touched[0]]), PrepareError::Order(touched[0].slot));
    let mut lie = touched[2];
    lie.old[2] += Fr::one();
    assert_eq!(refused(&[lie]), PrepareError::OldValues(lie.slot));
}

#[test]
fn one_slot_can_be_shown() {
    let (state, _) = example();
    let weights = [Fr::zero(), Fr::one(), Fr::from(31u64)];
    for idx in [1, 20, 21, 63] {
        let (statement, opening) = state.open_slot(SlotId(idx), &weights).unwrap();
        let key = SRS.opening_key();
        assert!(key.verify_slot(&statement, &opening), "slot {idx}");
        for column in [1, 2] {
            let mut forged = statement.clone();
            forged.values[column] += Fr::one();
            assert!(!key.verify_slot(&forged, &opening), "column {column}");
        }
        assert!(!key.verify_slot(&SlotStatement { idx: idx ^ 2, ..statement }, &opening), "another slot");
    }
    assert!(state.open_slot(SlotId(0), &weights).is_err());
}

#[test]
fn an_exit_is_opened_at_the_challenge_of_its_own_values() {
    let (state, _) = example();
    let key = SRS.opening_key();
    let (statement, opening) = state.open_exit(SlotId(5)).unwrap();
    let [_, dyn_, owner] = statement.values;
    assert_eq!(statement.weights, [Fr::zero(), Fr::one(), exit_challenge(&state.root(), SlotId(5), dyn_, owner)]);
    assert!(key.verify_slot(&statement, &opening));
    let weights = [Fr::zero(), Fr::one(), exit_challenge(&state.root(), SlotId(6), dyn_, owner)];
    assert!(!key.verify_slot(&SlotStatement { weights, ..statement }, &opening), "the challenge of another slot");
    assert!(state.open_exit(SlotId(0)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_chains_of_batches_open_and_stay_recommittable(
        k in 4u32..=7,
        occupied in proptest::collection::btree_set(1u32..128, 0..40),
        batches in proptest::collection::vec(proptest::collection::btree_map(1u32..128, 0u8..3, 0..20), 1..4),
        seed: u64,
    ) {
        let srs = Arc::new(Srs::insecure_dev(k, "proptest").unwrap());
        let mut rng = rng(seed);
        let occupied = occupied.into_iter().filter(|idx| idx >> k == 0).map(|idx| (SlotId(idx), random_values(&mut rng)));
        let mut state = StateVector::new(srs.clone(), occupied.collect::<Vec<_>>()).unwrap();
        for (i, batch) in batches.into_iter().enumerate() {
            let touched = random_batch(&state, batch, &mut rng);
            let walk = walk(state, &touched, seed ^ i as u64);
            prop_assert!(srs.opening_key().verify(&walk.statement, &walk.opening));
            state = walk.state;
            state.advance(&walk.step).unwrap();
            prop_assert_eq!(*state.commitments(), recommit(&state));
        }
    }
}

/// How: 0 leaves the slot alone, 1 changes dyn, 2 writes all columns.
fn random_batch(state: &StateVector, how: BTreeMap<u32, u8>, rng: &mut ChaCha20Rng) -> Vec<TouchedSlot> {
    let usable = how.into_iter().filter(|(idx, _)| idx >> state.k() == 0);
    let change = |(idx, how): (u32, u8)| {
        let mut slot = untouched(state, idx);
        match how {
            0 => {}
            1 => slot.new[1] = Fr::rand(rng),
            _ => slot.new = random_values(rng),
        }
        slot
    };
    usable.map(change).collect()
}

fn hex(value: Fr) -> String {
    to_hex(&to_word(value))
}

fn g1_hex(point: &G1Affine) -> [String; 2] {
    crate::field::g1_words(point).map(|word| to_hex(&word))
}

fn points_hex(points: &[G1Affine]) -> Vec<[String; 2]> {
    points.iter().map(g1_hex).collect()
}

fn set_up_case() -> serde_json::Value {
    let srs = Srs::insecure_dev(K, "golden").unwrap();
    let points =
        [1u32, 2, 3, 5, 1000, 65_535, (1 << 24) - 1].map(|idx| serde_json::json!({ "idx": idx.to_string(), "point": hex(domain_point(idx)) }));
    serde_json::json!({
        "seed": "golden", "k": K, "digest": srs.digest().to_string(), "l0": g1_hex(&srs.lagrange[0]),
        "tau_g2": crate::field::g2_words(&srs.tau_g2).map(|word| to_hex(&word)), "l0_16_to_24": points_hex(&srs.l0),
        "domain_points": points,
    })
}

fn batch_case() -> serde_json::Value {
    let srs = Arc::new(Srs::insecure_dev(K, "golden").unwrap());
    let values = |idx: u64| [1u64, 2, 3].map(|column| Fr::from(1000 * idx + column));
    let state = StateVector::new(srs, (1..=8).map(|idx| (SlotId(idx), values(idx.into())))).unwrap();
    let mut touched = [2, 5, 9].map(|idx| untouched(&state, idx));
    touched[0].new[1] += Fr::from(500u64);
    touched[2].new = values(9);
    let step = state.prepare(&touched).unwrap();
    let rho = Fr::from(12_345u64);
    let quotient = state.quotient(&step, rho).unwrap();
    let zeta = header::zeta(rho, quotient.commitment());
    let claims = Claims::of(&touched, rho, zeta);
    let gamma = header::gamma(zeta, claims.to_array(), Fr::zero(), Fr::zero());
    let opening = state.open(&step, &quotient, zeta, claims, gamma).unwrap();
    let rows = |pick: fn(&TouchedSlot) -> &[Fr; 3]| touched.iter().map(|slot| pick(slot).map(hex)).collect::<Vec<_>>();
    serde_json::json!({
        "note": "slots 1..8 hold (1000 idx + 1, + 2, + 3); y_da = y_ops = 0 in gamma",
        "before": points_hex(step.before()), "root_before": to_hex(&state.root()),
        "touched": touched.map(|slot| slot.slot.0.to_string()), "old": rows(|slot| &slot.old), "new": rows(|slot| &slot.new),
        "after": points_hex(step.after()), "root_after": to_hex(&header::state_root(K, step.after())),
        "rho": hex(rho), "quotient": g1_hex(quotient.commitment()), "zeta": hex(zeta),
        "e": hex(claims.e), "z": hex(claims.z), "delta": hex(claims.delta), "gamma": hex(gamma), "opening": g1_hex(&opening),
    })
}

#[test]
fn commitments_and_openings_equal_the_golden_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/kzg.json");
    let got = serde_json::to_string_pretty(&serde_json::json!({ "set_up": set_up_case(), "batch": batch_case() })).unwrap() + "\n";
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(path, &got).unwrap();
    }
    let golden = std::fs::read_to_string(path).expect("protocol/vectors/kzg.json is committed");
    assert_eq!(got, golden, "a commitment changed: that is a protocol change");
}
