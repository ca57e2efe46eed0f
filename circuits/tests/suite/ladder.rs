//! The challenge ladder never divides by zero, so no slope is free: neither for the numbers that a signer meets nor for any at all.

use crate::world::{rich_witness, test_circuit};
use ark_bn254::Fr;
use ark_ff::Zero;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sheaf_protocol::schnorr::CHALLENGE_DIGITS;

/// a^2 - a b + b^2 of a + b lambda.
fn norm((a, b): (i128, i128)) -> i128 {
    a * a - a * b + b * b
}

const DIGITS: [(i128, i128); 4] = [(1, 0), (-1, 0), (0, 1), (0, -1)];

fn step((a, b): (i128, i128), (c, d): (i128, i128)) -> (i128, i128) {
    (2 * a + c, 2 * b + d)
}

/// acc = [k] A meets a digit's x-coordinate only if k is one of the six units, of norm 1 (the middle point k + digit meets k only if
/// 2 k is one). Doubling and adding a digit takes a norm n to at least (2 sqrt n - 1)^2, which is more than n from 4 on.
#[test]
fn no_prefix_of_any_challenge_is_a_unit() {
    let mut prefixes = vec![(2, 2)];
    for _ in 0..8 {
        let least = prefixes.iter().copied().map(norm).min().unwrap();
        assert!(least >= 4);
        let next: Vec<_> = prefixes.iter().flat_map(|prefix| DIGITS.map(|digit| step(*prefix, digit))).collect();
        for (prefix, after) in prefixes.iter().flat_map(|prefix| [prefix; 4]).zip(&next) {
            let bound = (2.0 * (norm(*prefix) as f64).sqrt() - 1.0).powi(2);
            assert!(norm(*after) as f64 >= bound - 1e-6 && norm(*after) > norm(*prefix), "{prefix:?} -> {after:?}");
        }
        prefixes = next;
    }
    assert_eq!(prefixes.len(), 4usize.pow(8));
}

/// In the field: every divisor of every ladder, for challenges at the edges and in between.
#[test]
fn no_divisor_of_the_ladder_is_zero() {
    let circuit = test_circuit();
    let is_of_a_ladder = |row: &usize| matches!(circuit.layout().row(*row), ("transfer.signature.ladder_add", ("transfer", _)));
    let rows: Vec<usize> = (0..circuit.constraints()).filter(is_of_a_ladder).collect();
    // of five rows a step, the first and the third are q d = n
    let divisions: Vec<usize> = rows.chunks(5).flat_map(|step| [step[0], step[2]]).collect();
    assert_eq!(divisions.len(), 4 * 2 * CHALLENGE_DIGITS);
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    let (_, mut witness) = rich_witness();
    let edges = [0, u64::MAX, 1, 1 << 63, 0x5555_5555_5555_5555];
    let challenges = edges.iter().flat_map(|h0| edges.map(|h1| (*h0, h1))).chain((0..25).map(|_| rng.r#gen()).collect::<Vec<(u64, u64)>>());
    for (at, (h0, h1)) in challenges.enumerate() {
        let signature = &mut witness.transfers[at % 4].signature;
        (signature.h0, signature.h1) = (h0, h1);
        if at % 4 != 3 {
            continue;
        }
        let assignment = circuit.assign(&witness).unwrap();
        for row in &divisions {
            let divisor: Fr = circuit.products(*row, &assignment)[1];
            assert!(!divisor.is_zero(), "row {row}: {:?}", circuit.layout().row(*row));
            assert!(circuit.holds(*row, &assignment));
        }
    }
}
