//! The buckets of one window: summed, then weighed.
//!
//! ```text
//! arena: [ padding 2 | infinity | one sum a bucket | running sums 2 g | tree of a group of buckets ... ]
//! ```
//!
//! References of a bucket are added in pairs, the sums in pairs again, until one is left: all additions of a level, over a group of
//! buckets that fits the cache, are one [`Batch`]. The weighted sum `1 B1 + 2 B2 + ...` is taken in `g` segments side by side, each by
//! running sums, and the segments are put together in arkworks.

use super::curve::{Curve, Packed, Point};
use super::digits::Sorted;
use super::pairs::{ARENA, Batch, MINUS, padding};
use crate::groth16::field::Machine;
use ark_ff::{AdditiveGroup, Zero};

/// References of a group of buckets: its tree and the batch's products stay in the second-level cache.
const GROUP: usize = 1 << 12;

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
    /// References of the group, and where each bucket's begin and how many are left.
    group: Vec<u32>,
    lists: Vec<(usize, usize)>,
}

impl<M: Machine, G: Curve> Workspace<M, G> {
    /// Empty room.
    pub(super) fn new() -> Self {
        Self { sorted: Sorted::default(), batch: Batch::new(), arena: vec![], group: vec![], lists: vec![] }
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

    fn sum_buckets(&mut self, machine: M, bases: &[Point<G>], buckets: usize) {
        let longest = self.sorted.starts.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0);
        let tree = SUMS + buckets + 2 * SEGMENTS + 8;
        let room = tree + GROUP.max(longest) + 8 * 32;
        if self.arena.len() < room {
            self.arena.resize(room, Packed::infinity());
        }
        self.arena[..NULL].copy_from_slice(&padding::<M, G>());
        self.arena[NULL] = Packed::infinity();
        let mut done = 0;
        while done < buckets {
            let start = self.sorted.starts[done] as usize;
            let mut end = done + 1;
            while end < buckets && self.sorted.starts[end + 1] as usize - start <= GROUP {
                end += 1;
            }
            self.group.clear();
            self.group.extend_from_slice(&self.sorted.references[start..self.sorted.starts[end] as usize]);
            self.lists.clear();
            self.lists.extend(self.sorted.starts[done..=end].windows(2).map(|pair| (pair[0] as usize - start, (pair[1] - pair[0]) as usize)));
            self.sum_group(machine, bases, tree);
            for (bucket, (at, left)) in (done..end).zip(&self.lists) {
                self.arena[SUMS + bucket] = match left {
                    0 => Packed::infinity(),
                    _ => self.point(bases, self.group[*at]),
                };
            }
            done = end;
        }
    }

    /// Adds the references of each list in pairs until it holds one at most.
    fn sum_group(&mut self, machine: M, bases: &[Point<G>], tree: usize) {
        let mut free = tree;
        loop {
            let start = free;
            for (at, left) in &mut self.lists {
                let pairs = *left / 2;
                for pair in 0..pairs {
                    self.batch.left.push(self.group[*at + 2 * pair]);
                    self.batch.right.push(self.group[*at + 2 * pair + 1]);
                    self.group[*at + pair] = ARENA | free as u32;
                    free += 1;
                }
                if *left % 2 == 1 {
                    self.group[*at + pairs] = self.group[*at + *left - 1];
                }
                *left -= pairs;
            }
            if free == start {
                return;
            }
            self.batch.add(machine, bases, &mut self.arena, start);
            free += 8;
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

    /// The point of a reference.
    fn point(&self, bases: &[Point<G>], reference: u32) -> Point<G> {
        let index = (reference & !(ARENA | MINUS)) as usize;
        if reference & ARENA != 0 {
            self.arena[index]
        } else if reference & MINUS != 0 {
            G::pack(&G::negate(G::unpack(&bases[index])))
        } else {
            bases[index]
        }
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
