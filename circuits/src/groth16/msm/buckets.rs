//! The buckets of one window: summed, then weighed.
//!
//! ```text
//! arena: [ padding 2 | infinity | one sum a bucket | running sums | ring of three rounds ]
//! ```
//!
//! References of a bucket are added in pairs, the sums in pairs again, until one is left. A round takes pairs of as many buckets as make
//! a full [`Batch`]: first of those that it has begun, then of new ones. A round's sums are used up two rounds later at the latest: a
//! round never has more pairs of sums than the one before had sums, so they always fit, and one left over is first in the next.
//! So three rounds' room is enough, which stays in the second-level cache.
//!
//! The weighted sum `1 B1 + 2 B2 + ...` is taken in segments side by side, each by running sums, and these are put together in arkworks.

use super::curve::{Curve, Packed, Point};
use super::digits::Sorted;
use super::pairs::{ARENA, Batch, MINUS, padding};
use crate::groth16::field::Machine;
use ark_ff::{AdditiveGroup, Zero};
use std::ops::Range;

/// Additions of a full batch.
const ROUND: usize = 1 << 11;

/// Rounds whose sums are kept.
const RING: usize = 3;

/// Room behind outputs for the lanes that fill a vector up.
const SLACK: usize = 8;

/// Most segments of a weighted sum.
const SEGMENTS: usize = 256;

/// Where infinity is in the arena, behind the padding.
const NULL: usize = 2;

/// Where the sums of buckets begin.
const SUMS: usize = 3;

/// Room for one window: kept to be used again.
pub(super) struct Workspace<M: Machine, G: Curve> {
    pub(super) sorted: Sorted,
    batch: Batch<M, G>,
    arena: Vec<Point<G>>,
    /// Buckets begun, oldest first.
    lists: Vec<List>,
}

/// What is left to add of a bucket.
struct List {
    bucket: usize,
    /// The place of its references among the sorted, and their number.
    at: usize,
    left: usize,
    /// The last round had no room for all of it: only the newest list may be so.
    partial: bool,
}

impl<M: Machine, G: Curve> Workspace<M, G> {
    /// Empty room.
    pub(super) fn new() -> Self {
        Self { sorted: Sorted::default(), batch: Batch::new(), arena: vec![], lists: vec![] }
    }

    /// `sum of (first + 1 + b) * (sum of bucket b)` over the buckets in `sorted`.
    pub(super) fn weigh(&mut self, machine: M, bases: &[Point<G>], first: usize) -> G::Projective {
        let buckets = self.sorted.starts.len() - 1;
        if self.sorted.references.is_empty() {
            return G::Projective::zero();
        }
        // empty buckets at the end weigh nothing
        let used = (0..buckets).rev().find(|b| self.sorted.starts[*b] < self.sorted.starts[b + 1]).map_or(0, |b| b + 1);
        self.sum_buckets(machine, bases, used);
        let (weighted, plain) = self.running_sums(machine, bases, used);
        weighted + times::<G>(plain, first)
    }

    /// Writes the sum of each bucket into the arena.
    fn sum_buckets(&mut self, machine: M, bases: &[Point<G>], buckets: usize) {
        let ring = SUMS + buckets + 2 * SEGMENTS + SLACK;
        self.arena.resize((ring + RING * (ROUND + SLACK)).max(self.arena.len()), Packed::infinity());
        self.arena[..NULL].copy_from_slice(&padding::<M, G>());
        self.arena[NULL] = Packed::infinity();
        self.lists.clear();
        let mut next = 0;
        for round in 0.. {
            let start = ring + round % RING * (ROUND + SLACK);
            let mut free = start..start + ROUND;
            // those that were down to one reference before this round are done
            for list in self.lists.extract_if(.., |list| list.left == 1) {
                self.arena[SUMS + list.bucket] = point::<G>(bases, &self.arena, self.sorted.references[list.at]);
            }
            for list in &mut self.lists {
                list.pair(&mut self.sorted.references, &mut self.batch, &mut free);
            }
            while next < buckets && !free.is_empty() && self.lists.last().is_none_or(|list| !list.partial) {
                let at = self.sorted.starts[next] as usize;
                let mut list = List { bucket: next, at, left: self.sorted.starts[next + 1] as usize - at, partial: false };
                match list.left {
                    0 => self.arena[SUMS + next] = Packed::infinity(),
                    1 => self.arena[SUMS + next] = point::<G>(bases, &self.arena, self.sorted.references[at]),
                    _ => {
                        list.pair(&mut self.sorted.references, &mut self.batch, &mut free);
                        self.lists.push(list);
                    }
                }
                next += 1;
            }
            if self.lists.is_empty() && next == buckets {
                return;
            }
            self.batch.add(machine, bases, &mut self.arena, start);
        }
    }

    /// `sum of (b + 1) * bucket b` and `sum of bucket b`.
    fn running_sums(&mut self, machine: M, bases: &[Point<G>], buckets: usize) -> (G::Projective, G::Projective) {
        let length = buckets.div_ceil(SEGMENTS).next_power_of_two();
        let segments = buckets.div_ceil(length);
        let (plain, weighted) = (SUMS + buckets, SUMS + buckets + segments);
        // the first step: the last bucket of each segment; the last segment may be shorter
        for segment in 0..segments {
            let last = self.arena.get(SUMS + segment * length + length - 1).filter(|_| (segment + 1) * length <= buckets);
            let last = last.copied().unwrap_or(Packed::infinity());
            self.arena[plain + segment] = last;
            self.arena[weighted + segment] = Packed::infinity();
        }
        for step in (0..length - 1).rev() {
            // weighted sums come last: they take the plain sums as they were
            for segment in 0..segments {
                let bucket = segment * length + step;
                self.batch.left.push(ARENA | (plain + segment) as u32);
                self.batch.right.push(ARENA | if bucket < buckets { SUMS + bucket } else { NULL } as u32);
            }
            for segment in 0..segments {
                self.batch.left.push(ARENA | (weighted + segment) as u32);
                self.batch.right.push(ARENA | (plain + segment) as u32);
            }
            self.batch.add(machine, bases, &mut self.arena, plain);
        }
        let mut total = G::Projective::zero();
        let (mut running, mut shifted) = (G::Projective::zero(), G::Projective::zero());
        for segment in (0..segments).rev() {
            let sum = G::unpack(&self.arena[plain + segment]);
            total += G::unpack(&self.arena[weighted + segment]);
            total += sum;
            shifted += running;
            running += sum;
        }
        // segment k weighs k * length more: shifted = sum of k * sum k
        (total + times::<G>(shifted, length), running)
    }
}

impl List {
    /// Adds the references in pairs, from the front, as far as there is room; the sums take their place, one left over goes first.
    fn pair<M: Machine, G: Curve>(&mut self, references: &mut [u32], batch: &mut Batch<M, G>, free: &mut Range<usize>) {
        let references = &mut references[self.at..self.at + self.left];
        let pairs = (self.left / 2).min(free.len());
        self.partial = pairs < self.left / 2;
        let over = (!self.partial && self.left % 2 == 1).then(|| references[self.left - 1]);
        let sums = pairs + usize::from(over.is_some());
        // backwards: sums overwrite only what is read
        for pair in (0..pairs).rev() {
            batch.left.push(references[2 * pair]);
            batch.right.push(references[2 * pair + 1]);
            references[sums + pair] = ARENA | free.start as u32;
            free.start += 1;
        }
        if let Some(over) = over {
            references[pairs] = over;
        }
        self.at += pairs;
        self.left -= pairs;
    }
}

/// The point of a reference.
fn point<G: Curve>(bases: &[Point<G>], arena: &[Point<G>], reference: u32) -> Point<G> {
    let index = (reference & !(ARENA | MINUS)) as usize;
    if reference & ARENA != 0 {
        arena[index]
    } else if reference & MINUS != 0 {
        G::pack(&-G::unpack(&bases[index]))
    } else {
        bases[index]
    }
}

/// `count * point`.
fn times<G: Curve>(point: G::Projective, count: usize) -> G::Projective {
    let mut product = G::Projective::zero();
    for bit in (0..usize::BITS - count.leading_zeros()).rev() {
        product.double_in_place();
        if count >> bit & 1 == 1 {
            product += point;
        }
    }
    product
}
