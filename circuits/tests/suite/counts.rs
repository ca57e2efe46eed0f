//! Constraint counts, exactly as committed, the budget they must keep, and shapes that fill their domain.

use crate::soundness::nightly;
use crate::world::{shape, test_circuit};
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::counts::Counts;
use sheaf_protocol::shape::{NamedShape, SHAPES, Shape};
use std::fs;
use std::path::Path;

/// Set to rewrite golden files instead of comparing with them.
const UPDATE: &str = "UPDATE_GOLDEN";

/// Compares `text` with the committed file, or rewrites it when asked to.
pub(crate) fn golden(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&file, text).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == text, "{path} differs from what the code gives; run with {UPDATE}=1 and review the diff:\n{text}");
}

fn predicted(named: &NamedShape) -> Counts {
    Counts::predict(named, test_circuit())
}

#[test]
fn constraint_counts_are_the_committed_ones_and_within_budget() {
    let counts: Vec<Counts> = SHAPES.iter().map(predicted).collect();
    golden("constraints.json", &(serde_json::to_string_pretty(&counts).unwrap() + "\n"));
    for count in &counts {
        assert!(count.transfer_slot <= 1530.0 && count.account_slot <= 460.0, "{count:?}");
        assert!(count.marginal_worst <= 2450.0 && count.marginal_hot <= 1800.0, "{count:?}");
    }
}

/// The other shapes are made in the long run only: `large` takes gigabytes.
#[test]
fn counts_are_those_of_the_circuits_that_are_made() {
    let odd = Shape { transfers: 7, withdrawals: 1, registers: 23, deposits: 3, exits: 4, rotations: 5, fees: 6, accounts: 9 };
    let odd = NamedShape { name: "odd", shape: odd };
    let made = SHAPES.iter().filter(|named| named.name == "test" || nightly());
    for named in made.chain([&odd]) {
        let circuit = Circuit::new(named.shape, 1).unwrap();
        let counts = Counts::of(named.name, &circuit);
        assert_eq!(counts, predicted(named));
        assert_eq!((counts.constraints, counts.domain), (circuit.constraints(), circuit.domain()), "{}", named.name);
        println!("{}: {} constraints, domain {}", named.name, counts.constraints, counts.domain);
    }
}

/// Filled close to its power of two: what the shape is for does not fit once more.
#[test]
fn every_shape_fills_its_domain() {
    let domain = |shape: Shape| predicted(&NamedShape { name: "", shape }).domain;
    let with =
        |shape: Shape, transfers: u32, accounts: u32| Shape { transfers: shape.transfers + transfers, accounts: shape.accounts + accounts, ..shape };
    let [small, hot, large, heavy] = ["small", "small-hot", "large", "l1heavy"].map(shape);
    for (shape, log, transfers, accounts) in [(small, 18, 1, 2), (hot, 18, 2, 1), (large, 21, 1, 2)] {
        assert_eq!((domain(shape), domain(with(shape, transfers, accounts))), (1 << log, 2 << log), "{shape:?}");
    }
    assert!(small.transfers >= 100 && small.accounts == 2 * small.transfers);
    assert!(hot.transfers >= 135 && hot.accounts == hot.transfers / 2);
    assert!(large.transfers >= 860 && large.accounts == 2 * large.transfers);
    let Shape { deposits, exits, rotations, .. } = heavy;
    assert!([deposits, exits, rotations].iter().all(|entries| *entries >= 400) && heavy.accounts >= deposits + exits + rotations);
    let fuller = Shape { deposits: deposits + 1, exits: exits + 1, rotations: rotations + 1, ..with(heavy, 0, 3) };
    assert_eq!((domain(heavy), domain(fuller)), (1 << 20, 2 << 20));
}
