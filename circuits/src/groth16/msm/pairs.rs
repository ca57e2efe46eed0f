//! Many independent affine additions at once, with one inversion.
//!
//! The slope of a sum of two points divides by the difference of their abscissas. A batch multiplies all differences up (first
//! pass), inverts the product, and takes each inverse out of it going back (second pass): three products instead of an inversion.
//!
//! **Scale.** On a machine that divides products by `2^(256 + S)`, the inverse of the batch is scaled so that slopes come out as
//! `slope * 2^(256 + S/2)`: their squares are then data, and their products with data lack `2^(S/2)`, which
//! [`sub_short`](crate::groth16::field::Vector::sub_short) puts in. Points are never converted.
//!
//! **Exceptions.** Equal points, opposite points and infinity have no slope by that formula. A vector in which some lane may be one
//! (low limbs tell, hardly ever falsely) is looked at again, lane by lane, out of the way of the others: see [`Special`].

use super::curve::{Coordinate, Curve, Packed, Point};
use crate::groth16::field::{Element, Kernel, Machine, Mask, Vector};
#[cfg(target_arch = "x86_64")]
use crate::groth16::ifma::prefetch;
use ark_bn254::FqConfig;

/// In a reference to a point: take it from the arena, not from the bases.
pub(super) const ARENA: u32 = 1 << 30;
/// In a reference to a base: minus it.
pub(super) const MINUS: u32 = 1 << 31;
/// The rest of a reference.
const INDEX: u32 = ARENA - 1;

/// Room of a batch: kept to be used again.
pub(super) struct Batch<M: Machine, G: Curve> {
    /// Pairs to add: references.
    pub(super) left: Vec<u32>,
    pub(super) right: Vec<u32>,
    products: Vec<G::Coordinate<M>>,
    denominators: Vec<G::Coordinate<M>>,
    special: Vec<(usize, Special)>,
}

/// Lanes that need more than the formula, disjoint.
#[derive(Debug, Clone, Copy)]
struct Special {
    /// Both points are the same: the tangent.
    double: Mask,
    /// The points are opposite: infinity.
    cancel: Mask,
    /// The first is infinity: the second.
    first_null: Mask,
    /// The second is, the first not: the first.
    second_null: Mask,
}

impl<M: Machine, G: Curve> Batch<M, G> {
    /// An empty batch.
    pub(super) fn new() -> Self {
        Self { left: vec![], right: vec![], products: vec![], denominators: vec![], special: vec![] }
    }

    /// Adds the pairs into `arena[start..]`, in order; forgets them. An output may be the place of its own inputs, or of an input of
    /// a later pair. The arena's first two points are [`padding`], and up to `LANES - 1` points behind the last output are overwritten.
    pub(super) fn add(&mut self, machine: M, bases: &[Point<G>], arena: &mut [Point<G>], start: usize) {
        while !self.left.len().is_multiple_of(M::LANES) {
            self.left.push(ARENA);
            self.right.push(ARENA | 1);
        }
        if !self.left.is_empty() {
            machine.run(AddPairs { batch: self, bases, arena, start });
        }
        self.left.clear();
        self.right.clear();
    }
}

/// Two points that may be added without exception.
pub(super) fn padding<M: Machine, G: Curve>() -> [Point<G>; 2] {
    G::Coordinate::<M>::DISTINCT.map(|rows| Packed { x: rows, y: rows })
}

struct AddPairs<'a, M: Machine, G: Curve> {
    batch: &'a mut Batch<M, G>,
    bases: &'a [Point<G>],
    arena: &'a mut [Point<G>],
    start: usize,
}

/// Pairs ahead of which bases are asked for.
const AHEAD: usize = 32;

#[cfg(not(target_arch = "x86_64"))]
fn prefetch<T>(_value: &T) {}

#[inline(always)]
fn resolve<'a, R>(bases: &'a [Packed<R>], arena: &'a [Packed<R>], reference: u32) -> &'a Packed<R> {
    let points = if reference & ARENA == 0 { bases } else { arena };
    &points[(reference & INDEX) as usize]
}

impl<M: Machine, G: Curve> AddPairs<'_, M, G> {
    #[inline(always)]
    fn abscissas(&self, machine: M, references: &[u32]) -> G::Coordinate<M> {
        Coordinate::gather(machine, |lane| &resolve(self.bases, self.arena, references[lane]).x)
    }

    #[inline(always)]
    fn ordinates(&self, machine: M, references: &[u32]) -> G::Coordinate<M> {
        let y = G::Coordinate::<M>::gather(machine, |lane| &resolve(self.bases, self.arena, references[lane]).y);
        y.neg_if(machine, machine.high_bits(references))
    }

    /// Asks for the bases of a vector of pairs; the arena is near anyway.
    #[inline(always)]
    fn ask(&self, pair: usize) {
        if pair < self.batch.left.len() {
            for references in [&self.batch.left, &self.batch.right] {
                for reference in &references[pair..pair + M::LANES] {
                    if reference & ARENA == 0 {
                        prefetch(&self.bases[(reference & INDEX) as usize]);
                    }
                }
            }
        }
    }
}

impl<M: Machine, G: Curve> Kernel<M> for AddPairs<'_, M, G> {
    type Output = ();

    #[inline(always)]
    fn run(self, machine: M) {
        let vectors = self.batch.left.len() / M::LANES;
        let one = G::Coordinate::<M>::one(machine);
        self.batch.products.clear();
        self.batch.denominators.clear();
        let mut product = one;
        for vector in 0..vectors {
            let lanes = vector * M::LANES..(vector + 1) * M::LANES;
            self.ask(lanes.start + AHEAD);
            let x1 = self.abscissas(machine, &self.batch.left[lanes.clone()]);
            let x2 = self.abscissas(machine, &self.batch.right[lanes.clone()]);
            let mut denominator = x2.sub_wide(x1);
            if denominator.near_zero() | x1.near_null() | x2.near_null() != 0 {
                let y1 = self.ordinates(machine, &self.batch.left[lanes.clone()]);
                let y2 = self.ordinates(machine, &self.batch.right[lanes.clone()]);
                let special;
                (denominator, special) = machine.run(Classify::<M, G> { p1: [x1, y1], p2: [x2, y2] });
                self.batch.special.push((vector, special));
            }
            self.batch.products.push(product);
            self.batch.denominators.push(denominator);
            product = product.mul(denominator);
        }
        let mut inverse = product.invert(machine, 1 << (2 * M::SHORT - M::SHORT / 2));
        for vector in (0..vectors).rev() {
            let lanes = vector * M::LANES..(vector + 1) * M::LANES;
            let reciprocal = inverse.mul(self.batch.products[vector]);
            inverse = inverse.mul(self.batch.denominators[vector]);
            let x1 = self.abscissas(machine, &self.batch.left[lanes.clone()]);
            let x2 = self.abscissas(machine, &self.batch.right[lanes.clone()]);
            let y1 = self.ordinates(machine, &self.batch.left[lanes.clone()]);
            let y2 = self.ordinates(machine, &self.batch.right[lanes.clone()]);
            let mut sum = finish::<M, G>(y2.sub_wide(y1), reciprocal, [x1, y1], x2);
            if let Some((_, special)) = self.batch.special.pop_if(|special| special.0 == vector) {
                sum = machine.run(Except::<M, G> { special, p1: [x1, y1], p2: [x2, y2], reciprocal, sum });
            }
            let out = &mut self.arena[self.start + lanes.start..][..M::LANES];
            sum[0].scatter(|lane, rows| out[lane].x = rows);
            sum[1].scatter(|lane, rows| out[lane].y = rows);
        }
    }
}

/// The sum of `p1` and a point of abscissa `x2` on the line whose rise is `numerator` where its run is 1 / `reciprocal`.
#[inline(always)]
fn finish<M: Machine, G: Curve>(
    numerator: G::Coordinate<M>,
    reciprocal: G::Coordinate<M>,
    [x1, y1]: [G::Coordinate<M>; 2],
    x2: G::Coordinate<M>,
) -> [G::Coordinate<M>; 2] {
    let slope = numerator.mul(reciprocal);
    let x3 = slope.square().sub2(x1, x2);
    [x3, x1.sub_short(x3).mul(slope).sub(y1)]
}

/// Which lanes are special, and denominators that fit: twice the ordinate for a tangent, one where none is wanted.
struct Classify<M: Machine, G: Curve> {
    p1: [G::Coordinate<M>; 2],
    p2: [G::Coordinate<M>; 2],
}

impl<M: Machine, G: Curve> Kernel<M> for Classify<M, G> {
    type Output = (G::Coordinate<M>, Special);

    #[inline(always)]
    fn run(self, machine: M) -> Self::Output {
        let ([x1, y1], [x2, y2]) = (self.p1, self.p2);
        let (first_null, second_null) = (x1.is_zero(), x2.is_zero());
        let same = x2.sub(x1).is_zero() & !first_null & !second_null;
        let double = same & y2.sub(y1).is_zero();
        let special = Special { double, cancel: same & !double, first_null, second_null: second_null & !first_null };
        let none = special.cancel | first_null | second_null;
        let denominator = G::Coordinate::<M>::one(machine).select(none, x2.sub_wide(x1));
        (y1.add(y1).select(double, denominator), special)
    }
}

/// The sums with those of the special lanes put in.
struct Except<M: Machine, G: Curve> {
    special: Special,
    p1: [G::Coordinate<M>; 2],
    p2: [G::Coordinate<M>; 2],
    reciprocal: G::Coordinate<M>,
    sum: [G::Coordinate<M>; 2],
}

impl<M: Machine, G: Curve> Kernel<M> for Except<M, G> {
    type Output = [G::Coordinate<M>; 2];

    #[inline(always)]
    fn run(self, machine: M) -> Self::Output {
        let Self { special, p1, p2, reciprocal, sum } = self;
        // 3 x^2: a product of data by data lacks 2^SHORT
        let three = M::Vector::<FqConfig>::splat(machine, &Element::from(3u64 << M::SHORT));
        let tangent = finish::<M, G>(p1[0].square().scale(three), reciprocal, p1, p2[0]);
        let null = p1[0].sub(p1[0]);
        std::array::from_fn(|i| {
            let sum = tangent[i].select(special.double, sum[i]);
            let sum = p2[i].select(special.first_null, p1[i].select(special.second_null, sum));
            null.select(special.cancel, sum)
        })
    }
}
