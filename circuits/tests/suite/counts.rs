//! Constraint counts, exactly as committed, and the budget they must keep.

use sheaf_circuits::batch::Circuit;
use sheaf_circuits::counts::Counts;
use sheaf_protocol::shape::SHAPES;
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

fn all_counts() -> Vec<Counts> {
    SHAPES.iter().map(|named| Counts::of(named.name, &Circuit::new(named.shape, 1).unwrap())).collect()
}

#[test]
fn constraint_counts_are_the_committed_ones_and_within_budget() {
    let counts = all_counts();
    golden("constraints.json", &(serde_json::to_string_pretty(&counts).unwrap() + "\n"));
    for count in &counts {
        assert!(count.transfer_slot <= 1530.0 && count.account_slot <= 460.0, "{count:?}");
        assert!(count.marginal_worst <= 2450.0 && count.marginal_hot <= 1800.0, "{count:?}");
    }
    let small = |name: &str| counts.iter().find(|count| count.shape == name).unwrap();
    let (worst, hot) = (small("small"), small("small-hot"));
    assert!(worst.domain == 1 << 18 && worst.transfers >= 100 && worst.accounts == 2 * worst.transfers);
    assert!(hot.domain == 1 << 18 && hot.transfers >= 135 && hot.accounts == hot.transfers / 2);
}
