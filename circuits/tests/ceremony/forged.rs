//! What a cheat may try on a ceremony. Each attempt is refused by its own fault, at the contribution that did it.

use crate::snarkjs;
use crate::world::{begun, circuit, contribution, initial, other_circuit, powers, steps, verify};
use ark_bn254::{Fr, G1Affine, G2Affine};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::Field;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use sheaf_circuits::ceremony::{BEACON, Ceremony, Fault, InitialKey, Proof, Query, Share, VerifyError, initial_key};
use sheaf_protocol::field::g1_words;
use sheaf_protocol::kzg::Ptau;
use std::sync::OnceLock;

/// The share of a cheat.
const SHARE: u64 = 123;

/// Number and fault of the contribution that is refused.
fn fault(ceremony: &Ceremony) -> (usize, Fault) {
    match verify(ceremony).unwrap_err() {
        VerifyError::Contribution { number, fault, .. } => (number, fault),
        other => panic!("{other}"),
    }
}

fn edited(edit: impl FnOnce(&mut Ceremony)) -> Ceremony {
    let mut ceremony = steps()[2].clone();
    edit(&mut ceremony);
    ceremony
}

/// What a cheat does who writes down whatever points it likes: the digest is made to fit, and the proof is its own, made with a share it knows.
fn contributed(edit: impl FnOnce(&mut Ceremony)) -> Ceremony {
    static DIVIDED: OnceLock<Ceremony> = OnceLock::new();
    let divided = DIVIDED.get_or_init(|| {
        let (mut ceremony, inverse) = (steps()[1].clone(), Fr::from(SHARE).inverse().unwrap());
        ceremony.h.par_iter_mut().chain(&mut ceremony.l).for_each(|point| *point = (*point * inverse).into_affine());
        ceremony
    });
    let mut ceremony = divided.clone();
    edit(&mut ceremony);
    recorded(ceremony, Fr::from(SHARE))
}

/// With a second record, of this factor, that fits the points as they are.
fn recorded(mut ceremony: Ceremony, factor: Fr) -> Ceremony {
    let mut hasher = Sha256::new();
    ceremony.h.iter().chain(&ceremony.l).for_each(|point| hasher.update(g1_words(point).as_flattened()));
    let (before, mut record) = (ceremony.delta(), steps()[2].records[1].clone());
    (record.delta_g1, record.delta_g2) = ((before.0 * factor).into_affine(), (before.1 * factor).into_affine());
    record.queries = hasher.finalize().into();
    ceremony.records.push(record);
    proved(&mut ceremony, factor);
    ceremony
}

/// Proves the last record's factor anew, as anybody can who knows it.
fn proved(ceremony: &mut Ceremony, factor: Fr) {
    let s = (G1Affine::generator() * Fr::from(77u64)).into_affine();
    let last = ceremony.records.last_mut().unwrap();
    last.proof = Proof::Knowledge { s, s_delta: (s * factor).into_affine(), r_delta: G2Affine::generator() };
    let r = last.challenge_point();
    last.proof = Proof::Knowledge { s, s_delta: (s * factor).into_affine(), r_delta: (r * factor).into_affine() };
}

/// The helper above makes good contributions unless it is told not to: the faults below are the edits' own.
#[test]
fn an_honest_contribution_by_hand_is_accepted() {
    verify(&contributed(|_| {})).unwrap();
}

#[test]
fn changing_one_query_only_is_refused_at_its_first_wrong_point() {
    let before = &steps()[1];
    let old_l = contributed(|ceremony| ceremony.l.clone_from(&before.l));
    let is_witness_used = before.l.iter().position(|point| !point.is_zero()).unwrap();
    assert_eq!(fault(&old_l), (2, Fault::Query { query: Query::L, index: is_witness_used }), "H only");
    let old_h = contributed(|ceremony| ceremony.h.clone_from(&before.h));
    assert_eq!(fault(&old_h), (2, Fault::Query { query: Query::H, index: 0 }), "L only");
    let one_point = contributed(|ceremony| ceremony.h[700] = before.h[700]);
    assert_eq!(fault(&one_point), (2, Fault::Query { query: Query::H, index: 700 }));
}

#[test]
fn swapped_points_are_refused_where_the_first_stands() {
    let swapped = contributed(|ceremony| ceremony.h.swap(40, 1_000));
    assert_eq!(fault(&swapped), (2, Fault::Query { query: Query::H, index: 40 }));
    let across = contributed(|ceremony| {
        let Ceremony { h, l, .. } = ceremony;
        std::mem::swap(h.last_mut().unwrap(), l.last_mut().unwrap());
    });
    assert_eq!(fault(&across), (2, Fault::Query { query: Query::H, index: steps()[1].h.len() - 1 }));
}

#[test]
fn a_point_at_infinity_is_refused() {
    let infinite = contributed(|ceremony| ceremony.h[9] = G1Affine::identity());
    assert_eq!(fault(&infinite), (2, Fault::QueryInfinity { query: Query::H, index: 9 }));
    assert_eq!(fault(&edited(|ceremony| ceremony.records[1].delta_g1 = G1Affine::identity())), (2, Fault::Infinity));
    assert_eq!(fault(&edited(|ceremony| ceremony.records[0].delta_g2 = G2Affine::identity())), (1, Fault::Infinity));
}

#[test]
fn points_exchanged_after_the_contribution_are_not_those_that_it_left() {
    assert_eq!(fault(&edited(|ceremony| ceremony.l.swap(1, 2))), (2, Fault::Points));
    assert_eq!(fault(&edited(|ceremony| ceremony.h.clone_from(&steps()[1].h))), (2, Fault::Points));
}

#[test]
fn a_contribution_without_a_proof_of_knowledge_is_refused() {
    for skipped in 0..3 {
        let without = edited(|ceremony| {
            let Proof::Knowledge { s, s_delta, r_delta } = &mut ceremony.records[1].proof else { panic!("no beacon") };
            match skipped {
                0 => *s = G1Affine::identity(),
                1 => *s_delta = G1Affine::identity(),
                _ => *r_delta = G2Affine::identity(),
            }
        });
        assert_eq!(fault(&without), (2, Fault::NoProof), "{skipped}");
    }
    let invented = edited(|ceremony| {
        let generator = G1Affine::generator();
        ceremony.records[1].proof = Proof::Knowledge { s: generator, s_delta: generator, r_delta: G2Affine::generator() };
    });
    assert_eq!(fault(&invented), (2, Fault::Knowledge));
}

#[test]
fn the_proof_of_another_contribution_is_refused() {
    let copied = edited(|ceremony| ceremony.records[1].proof = ceremony.records[0].proof.clone());
    assert_eq!(fault(&copied), (2, Fault::ReusedProof(1)));
    let from_elsewhere = contribution(begun(), "Elsewhere").unwrap().records[0].proof.clone();
    assert_eq!(fault(&edited(|ceremony| ceremony.records[0].proof = from_elsewhere)), (1, Fault::Knowledge));
}

/// The proof is of a share that the maker knew, but delta is moved by another.
#[test]
fn a_delta_that_the_proof_does_not_explain_is_refused() {
    let moved = |by: Fr| {
        let mut ceremony = contributed(|_| {});
        let last = ceremony.records.last_mut().unwrap();
        (last.delta_g1, last.delta_g2) = ((last.delta_g1 * by).into_affine(), (last.delta_g2 * by).into_affine());
        proved(&mut ceremony, Fr::from(SHARE));
        ceremony
    };
    assert_eq!(fault(&moved(Fr::from(3u64))), (2, Fault::Chain));
    let only_g2 = edited(|ceremony| ceremony.records[1].delta_g2 = ceremony.records[0].delta_g2);
    assert_eq!(fault(&only_g2), (2, Fault::Twins));
}

/// Who cancels everybody's share ends at delta = 1, where everybody can forge; who adds nothing adds nothing.
#[test]
fn a_delta_of_one_or_as_before_is_refused() {
    let one = edited(|ceremony| {
        let record = &mut ceremony.records[1];
        (record.delta_g1, record.delta_g2) = (G1Affine::generator(), G2Affine::generator());
    });
    assert_eq!(fault(&one), (2, Fault::One));
    let minus_one = edited(|ceremony| {
        let record = &mut ceremony.records[1];
        (record.delta_g1, record.delta_g2) = (-G1Affine::generator(), -G2Affine::generator());
    });
    assert_eq!(fault(&minus_one), (2, Fault::One));
    assert_eq!(fault(&recorded(steps()[1].clone(), Fr::from(1u64))), (2, Fault::Unchanged));
}

#[test]
fn a_contribution_that_is_changed_later_breaks_its_proof() {
    assert_eq!(fault(&edited(|ceremony| ceremony.records[0].name = "Eve".to_owned())), (1, Fault::Knowledge));
    assert_eq!(fault(&edited(|ceremony| ceremony.records[0].queries[0] ^= 1)), (1, Fault::Knowledge));
}

#[test]
fn contributions_in_another_order_or_with_one_missing_are_refused() {
    let mut reordered = steps()[3].clone();
    reordered.records.swap(0, 1);
    assert_eq!(fault(&reordered), (1, Fault::Order));
    let mut dropped = steps()[3].clone();
    dropped.records.remove(1);
    assert_eq!(fault(&dropped), (2, Fault::Missing));
    // who mends the links breaks the proofs
    dropped.records[1].previous = dropped.records[0].digest();
    assert_eq!(fault(&dropped), (2, Fault::Knowledge));
    let mut last_gone = steps()[3].clone();
    last_gone.records.pop();
    assert_eq!(fault(&last_gone), (2, Fault::Points));
    let mut all_gone = steps()[3].clone();
    all_gone.records.clear();
    assert_eq!(verify(&all_gone).unwrap_err(), VerifyError::NotInitial);
}

#[test]
fn the_transcript_of_another_circuit_or_of_other_powers_is_refused() {
    let rng = &mut StdRng::seed_from_u64(6);
    let other = other_circuit();
    let refused = steps()[2].verify(&other, initial(), rng).unwrap_err();
    assert!(matches!(refused, VerifyError::OtherCircuit { .. }), "{refused}");
    let renamed = edited(|ceremony| (ceremony.header.circuit, ceremony.header.id) = (other.digest(), other.id()));
    let refused = renamed.verify(&other, initial(), rng).unwrap_err();
    assert_eq!(refused, VerifyError::Contribution { number: 1, name: "Ada".into(), fault: Fault::Missing }, "its records are of the other one");
    let foreign = InitialKey { powers: sheaf_protocol::manifest::HexWord([8; 32]), ..initial().clone() };
    let refused = steps()[2].verify(circuit(), &foreign, rng).unwrap_err();
    assert!(matches!(refused, VerifyError::OtherPowers { .. }), "{refused}");
}

/// A coordinator who begins with a key of its own, of which it knows more than others.
#[test]
fn another_initial_key_is_refused() {
    let mut own = initial().clone();
    own.key.a_query.swap(3, 4);
    let ceremony = contribution(Ceremony::begin("tiny", circuit(), &own), "Ada").unwrap();
    let refused = verify(&ceremony).unwrap_err();
    assert!(matches!(refused, VerifyError::OtherInitial { .. }), "{refused}");
    let shorter = edited(|ceremony| ceremony.h.truncate(2_000));
    assert!(matches!(verify(&shorter).unwrap_err(), VerifyError::Count { query: Query::H, .. }));
}

#[test]
fn powers_of_another_size_make_no_key() {
    let small = Ptau::open(&snarkjs::ptau(powers().k)).unwrap().read(4, &mut StdRng::seed_from_u64(7), &mut |_, _| {}).unwrap();
    assert_eq!(initial_key(circuit(), &small, &mut |_, _| {}).unwrap_err(), VerifyError::Power { needed: powers().k, got: 4 });
}

#[test]
fn a_beacon_that_is_not_its_value_or_not_the_last_is_refused() {
    let ended = steps()[1].clone().beacon(b"block 20000000", 4, &mut |_, _| {}).unwrap();
    verify(&ended).unwrap();
    let with = |edit: fn(&mut Proof)| {
        let mut ceremony = ended.clone();
        edit(&mut ceremony.records[1].proof);
        ceremony
    };
    let other = |proof: &mut Proof| *proof = Proof::Beacon { value: b"block 20000001".to_vec(), iterations: 4 };
    assert_eq!(fault(&with(other)), (2, Fault::Beacon));
    let fewer = |proof: &mut Proof| *proof = Proof::Beacon { value: b"block 20000000".to_vec(), iterations: 3 };
    assert_eq!(fault(&with(fewer)), (2, Fault::Beacon));
    let endless = |proof: &mut Proof| *proof = Proof::Beacon { value: vec![1], iterations: 33 };
    assert_eq!(fault(&with(endless)), (2, Fault::BeaconBounds));
    let after = contribution(ended.clone(), "Late").unwrap_err();
    assert_eq!(after, VerifyError::Contribution { number: 3, name: "Late".into(), fault: Fault::AfterBeacon });
}

#[test]
fn a_name_that_says_nothing_or_too_much_is_refused() {
    for name in ["", " Ada", "two\nlines", "beacon", "Beacon", "\u{1b}[2JAda", "A\u{202e}da", "Ada\u{200b}", &"x".repeat(65)] {
        let refused = contribution(begun(), name).unwrap_err();
        assert!(matches!(refused, VerifyError::Contribution { number: 1, fault: Fault::Name, .. }), "{name:?}: {refused}");
    }
    assert_eq!(fault(&edited(|ceremony| ceremony.records[1].name = "beacon".into())), (2, Fault::Name));
}

/// Everybody knows a beacon's share: under a person's name it would count as a secret.
#[test]
fn a_beacon_that_poses_as_a_person_is_refused() {
    let ended = steps()[1].clone().beacon(b"block 20000000", 4, &mut |_, _| {}).unwrap();
    assert_eq!((ended.records[1].name.as_str(), ended.records[1].beacon()), (BEACON, Some((&b"block 20000000"[..], 4))));
    for name in ["Ada", "Beacon", "", "beacon\n   3  0x00  Emmy"] {
        let mut forged = ended.clone();
        forged.records[1].name = name.into();
        assert_eq!(fault(&forged), (2, Fault::BeaconName), "{name:?}");
        assert!(!verify(&forged).unwrap_err().to_string().contains(char::is_control), "{name:?}");
    }
}

/// With a proof that holds, by somebody who wants to be read as a beacon or to write over the screen of whoever verifies.
#[test]
fn a_person_under_the_name_of_a_beacon_or_with_control_characters_is_refused() {
    for name in ["beacon", "BEACON", "Ada\u{1b}[1A\u{1b}[2K", "Ada\r\n   2  0x00  Emmy", "Ada\u{202e}", "\u{7}"] {
        let mut forged = contributed(|_| {});
        forged.records[1].name = name.into();
        proved(&mut forged, Fr::from(SHARE));
        assert_eq!(fault(&forged), (2, Fault::Name), "{name:?}");
        assert!(!verify(&forged).unwrap_err().to_string().contains(char::is_control), "{name:?}");
    }
    let mut honest = contributed(|_| {});
    honest.records[1].name = "Zoë O'Neill".into();
    proved(&mut honest, Fr::from(SHARE));
    verify(&honest).unwrap();
}

/// A contribution on top of a broken transcript would lend it its good name.
#[test]
fn nobody_contributes_to_a_broken_ceremony() {
    let broken = edited(|ceremony| ceremony.l.swap(1, 2));
    let refused = broken.contribute("Ada", Share::draw(&mut StdRng::seed_from_u64(8), b""), &mut StdRng::seed_from_u64(8), &mut |_, _| {});
    assert!(matches!(refused.unwrap_err(), VerifyError::Contribution { number: 2, fault: Fault::Points, .. }));
}
