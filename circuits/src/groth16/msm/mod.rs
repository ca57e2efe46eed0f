//! Multi-scalar multiplication: `sum of scalar * base` in either group, for the scalars of a witness: many are zero, one, or short.
//!
//! Pippenger's method with signed digits and affine additions:
//!
//! ```text
//! scalars ── digits: windows of signed digits, zeros dropped ── sort by bucket
//!               ── pairs: 2048 affine additions with one inversion, eight at once ── buckets: sums of each, weighed
//!               ── windows put together in arkworks
//! ```
//!
//! A task is a window, or a part of its buckets where that divides the work evenly; tasks are taken in order by as many loops as the
//! current rayon pool has threads, each with room of its own (about 30 bytes a base and 4 MB).

mod buckets;
mod curve;
mod digits;
mod pairs;
#[cfg(test)]
mod tests;

pub use curve::{Curve, G1, G2, Packed, Point};

use super::field::Machine;
use super::{Engine, on_machine};
use ark_bn254::{Fr, G1Projective, G2Projective};
use ark_ff::{AdditiveGroup, Zero};
use buckets::Workspace;
use digits::{Terms, best_window};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `sum of scalar * base` in G1.
///
/// # Panics
///
/// Where the lengths differ or pass `2^30`.
pub fn g1(engine: Engine, bases: &[Point<G1>], scalars: &[Fr]) -> G1Projective {
    on_machine!(engine, machine => sum::<_, G1>(machine, bases, scalars))
}

/// `sum of scalar * base` in G2.
///
/// # Panics
///
/// Where the lengths differ or pass `2^30`.
pub fn g2(engine: Engine, bases: &[Point<G2>], scalars: &[Fr]) -> G2Projective {
    on_machine!(engine, machine => sum::<_, G2>(machine, bases, scalars))
}

/// Additions that a bucket costs when it is weighed.
const BUCKET_COST: usize = 3;

/// A window, and some of its buckets.
struct Task {
    window: usize,
    first: usize,
    count: usize,
}

fn sum<M: Machine, G: Curve>(machine: M, bases: &[Point<G>], scalars: &[Fr]) -> G::Projective {
    assert_eq!(bases.len(), scalars.len(), "a scalar for each base");
    assert!(bases.len() < pairs::ARENA as usize, "more bases than references");
    let terms = Terms::new(scalars, |base| !bases[base].is_infinity(), |long, short| best_window(long, short, BUCKET_COST));
    let threads = rayon::current_num_threads();
    let tasks = tasks(&terms, threads);
    let (next, sums) = (AtomicUsize::new(0), Mutex::new(vec![G::Projective::zero(); terms.windows()]));
    rayon::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|_| {
                let mut workspace = Workspace::<M, G>::new();
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    terms.sort(task.window, task.first, task.count, &mut workspace.sorted);
                    let sum = workspace.weigh(machine, bases, task.first);
                    sums.lock().expect("no holder panics")[task.window] += sum;
                }
            });
        }
    });
    let sums = sums.into_inner().expect("no holder panics");
    sums.into_iter().rev().fold(G::Projective::zero(), |mut total, sum| {
        for _ in 0..terms.window_bits() {
            total.double_in_place();
        }
        total + sum
    })
}

/// Whole windows first, parts of the last ones to even the threads out.
fn tasks(terms: &Terms, threads: usize) -> Vec<Task> {
    let (windows, buckets) = (terms.windows(), terms.buckets());
    let whole = if threads == 1 { windows } else { windows.saturating_sub(threads) };
    let mut tasks: Vec<_> = (0..whole).map(|window| Task { window, first: 0, count: buckets }).collect();
    let parts = (2 * threads).min(buckets);
    for window in whole..windows {
        for part in 0..parts {
            let (first, end) = (buckets * part / parts, buckets * (part + 1) / parts);
            tasks.push(Task { window, first, count: end - first });
        }
    }
    tasks
}
