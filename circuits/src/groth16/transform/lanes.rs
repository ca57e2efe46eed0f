//! The transforms on a machine with eight lanes.
//!
//! Two layers of the tree are done at a time, so that values pass through memory half as often; a block of 64 does its six layers in two
//! rounds of eight vectors: first with a block in each vector, then, read across, with a block in each lane. Between passes memory holds
//! residues below 2p; the last pass leaves the least.

use super::Modulus;
use crate::groth16::field::{Kernel, Machine, Vector};
use ark_bn254::{Fr, FrConfig};
use rayon::prelude::*;

/// Values of the smallest block: eight vectors.
pub(super) const LEAF: usize = 64;
/// Values of a block that one task takes through all its layers, in the cache of its core.
const TASK: usize = 1 << 12;
/// Values of a quarter that one task takes through two layers of a larger block.
const CHUNK: usize = 1 << 10;

/// An array of eight, an expression of the index each: closures may stay calls, which vectors do not survive in registers.
macro_rules! eight {
    ($i:ident => $lanes:expr) => {
        eight!(@ $i $lanes; 0 1 2 3 4 5 6 7)
    };
    (@ $i:ident $lanes:expr; $($n:literal)*) => {
        [$({
            const $i: usize = $n;
            $lanes
        }),*]
    };
}

type Lanes<M> = <M as Machine>::Vector<FrConfig>;

/// The roots of a block's first two layers.
type Roots3<M> = [Lanes<M>; 3];

#[inline(always)]
fn load<M: Machine>(machine: M, values: &[Fr], at: usize) -> Lanes<M> {
    Lanes::<M>::load(machine, &values[at..])
}

#[inline(always)]
fn least<M: Machine>(lanes: [Lanes<M>; 8]) -> [Lanes<M>; 8] {
    eight!(I => lanes[I].canonical())
}

#[inline(always)]
fn put<M: Machine>(lanes: Lanes<M>, values: &mut [Fr]) {
    let values = &mut values[..M::LANES];
    lanes.scatter(|lane, limbs| values[lane].0.0 = *limbs);
}

#[inline(always)]
fn root<M: Machine>(machine: M, roots: &[Fr], node: usize) -> Lanes<M> {
    let root = &roots[node];
    Lanes::<M>::gather(machine, |_| &root.0.0)
}

#[inline(always)]
fn roots3<M: Machine>(machine: M, roots: &[Fr], node: usize) -> Roots3<M> {
    [root(machine, roots, node), root(machine, roots, 2 * node), root(machine, roots, 2 * node + 1)]
}

/// Two layers down: four equal parts of a block, below 2p before and after.
#[inline(always)]
fn down4<M: Machine>([x0, x1, x2, x3]: [Lanes<M>; 4], [g, g0, g1]: &Roots3<M>) -> [Lanes<M>; 4] {
    let (t2, t3) = (x2.mul(*g), x3.mul(*g));
    // below 4p
    let (y0, y2) = (x0.add_wide(t2), x0.sub_wide(t2));
    let (y1, y3) = (x1.add_wide(t3).mul(*g0), x1.sub_wide(t3).mul(*g1));
    [y0.add_wide(y1).reduce(), y0.sub_wide(y1).reduce(), y2.add_wide(y3).reduce(), y2.sub_wide(y3).reduce()]
}

/// Two layers up: the other way round, times 4.
#[inline(always)]
fn up4<M: Machine>([z0, z1, z2, z3]: [Lanes<M>; 4], [g, g0, g1]: &Roots3<M>) -> [Lanes<M>; 4] {
    let (y0, y1) = (z0.add(z1), z0.sub_wide(z1).mul(*g0));
    let (y2, y3) = (z2.add(z3), z2.sub_wide(z3).mul(*g1));
    [y0.add(y2), y1.add(y3), y0.sub_wide(y2).mul(*g), y1.sub_wide(y3).mul(*g)]
}

#[inline(always)]
fn down2<M: Machine>([x, y]: [Lanes<M>; 2], g: Lanes<M>) -> [Lanes<M>; 2] {
    let term = y.mul(g);
    [x.add(term), x.sub(term)]
}

#[inline(always)]
fn up2<M: Machine>([x, y]: [Lanes<M>; 2], g: Lanes<M>) -> [Lanes<M>; 2] {
    [x.add(y), x.sub_wide(y).mul(g)]
}

/// Three layers down: eight equal parts of a block; `g` are the roots of its node, the two below and the four below these.
#[inline(always)]
fn down8<M: Machine>(x: [Lanes<M>; 8], g: &[Lanes<M>; 7]) -> [Lanes<M>; 8] {
    let top = [g[0], g[1], g[2]];
    let e = down4::<M>([x[0], x[2], x[4], x[6]], &top);
    let o = down4::<M>([x[1], x[3], x[5], x[7]], &top);
    let [[a, b], [c, d]] = [down2::<M>([e[0], o[0]], g[3]), down2::<M>([e[1], o[1]], g[4])];
    let [[i, j], [k, l]] = [down2::<M>([e[2], o[2]], g[5]), down2::<M>([e[3], o[3]], g[6])];
    [a, b, c, d, i, j, k, l]
}

/// Three layers up.
#[inline(always)]
fn up8<M: Machine>(x: [Lanes<M>; 8], g: &[Lanes<M>; 7]) -> [Lanes<M>; 8] {
    let top = [g[0], g[1], g[2]];
    let [[e0, o0], [e1, o1]] = [up2::<M>([x[0], x[1]], g[3]), up2::<M>([x[2], x[3]], g[4])];
    let [[e2, o2], [e3, o3]] = [up2::<M>([x[4], x[5]], g[5]), up2::<M>([x[6], x[7]], g[6])];
    let e = up4::<M>([e0, e1, e2, e3], &top);
    let o = up4::<M>([o0, o1, o2, o3], &top);
    [e[0], o[0], e[1], o[1], e[2], o[2], e[3], o[3]]
}

/// Roots of the eight blocks' nodes from `8 node` on, a block in each lane.
#[inline(always)]
fn roots_across<M: Machine>(machine: M, roots: &[Fr], node: usize) -> [Lanes<M>; 7] {
    macro_rules! across {
        ($level:literal, $i:literal) => {
            Lanes::<M>::gather(machine, |lane| &roots[(8 * node + lane) * $level + $i].0.0)
        };
    }
    [across!(1, 0), across!(2, 0), across!(2, 1), across!(4, 0), across!(4, 1), across!(4, 2), across!(4, 3)]
}

/// Roots of a block of 64 and its three layers, the same in each lane.
#[inline(always)]
fn roots_within<M: Machine>(machine: M, roots: &[Fr], node: usize) -> [Lanes<M>; 7] {
    let [a, b, c] = roots3(machine, roots, node);
    let [d, e] = [root(machine, roots, 4 * node), root(machine, roots, 4 * node + 1)];
    [a, b, c, d, e, root(machine, roots, 4 * node + 2), root(machine, roots, 4 * node + 3)]
}

#[inline(always)]
fn rows<M: Machine>(machine: M, values: &[Fr]) -> [Lanes<M>; 8] {
    eight!(ROW => Lanes::<M>::load(machine, &values[8 * ROW..]))
}

#[inline(always)]
fn columns<M: Machine>(machine: M, values: &[Fr]) -> [Lanes<M>; 8] {
    let values = &values[..LEAF];
    eight!(COLUMN => Lanes::<M>::gather(machine, |lane| &values[8 * lane + COLUMN].0.0))
}

#[inline(always)]
fn put_rows<M: Machine>(lanes: [Lanes<M>; 8], values: &mut [Fr]) {
    for row in 0..8 {
        put::<M>(lanes[row], &mut values[8 * row..]);
    }
}

#[inline(always)]
fn put_columns<M: Machine>(lanes: [Lanes<M>; 8], values: &mut [Fr]) {
    let values = &mut values[..LEAF];
    for column in 0..8 {
        lanes[column].scatter(|lane, limbs| values[8 * lane + column].0.0 = *limbs);
    }
}

/// Two layers of a block, or of a piece of it: the same piece of each of its four parts.
struct Pass<'a> {
    parts: [&'a mut [Fr]; 4],
    node: usize,
    roots: &'a [Fr],
    way: Way,
}

/// The direction, and whether a pass is the last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Down,
    Up,
    UpLast,
}

impl<M: Machine> Kernel<M> for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, machine: M) {
        let Self { parts: [a, b, c, d], node, roots, way } = self;
        pass4(machine, [a, b, c, d], &roots3(machine, roots, node), way);
    }
}

#[inline(always)]
fn pass4<M: Machine>(machine: M, [a, b, c, d]: [&mut [Fr]; 4], roots: &Roots3<M>, way: Way) {
    for at in (0..a.len()).step_by(M::LANES) {
        let x = [load::<M>(machine, a, at), load::<M>(machine, b, at), load::<M>(machine, c, at), load::<M>(machine, d, at)];
        let [p, q, r, s] = match way {
            Way::Down => down4::<M>(x, roots),
            Way::Up => up4::<M>(x, roots),
            Way::UpLast => {
                let [p, q, r, s] = up4::<M>(x, roots);
                [p.canonical(), q.canonical(), r.canonical(), s.canonical()]
            }
        };
        put::<M>(p, &mut a[at..]);
        put::<M>(q, &mut b[at..]);
        put::<M>(r, &mut c[at..]);
        put::<M>(s, &mut d[at..]);
    }
}

#[inline(always)]
fn pass2<M: Machine>(machine: M, values: &mut [Fr], root: Lanes<M>, way: Way) {
    let (left, right) = values.split_at_mut(values.len() / 2);
    for at in (0..left.len()).step_by(M::LANES) {
        let x = [load::<M>(machine, left, at), load::<M>(machine, right, at)];
        let [p, q] = match way {
            Way::Down => down2::<M>(x, root),
            Way::Up => up2::<M>(x, root),
            Way::UpLast => {
                let [p, q] = up2::<M>(x, root);
                [p.canonical(), q.canonical()]
            }
        };
        put::<M>(p, &mut left[at..]);
        put::<M>(q, &mut right[at..]);
    }
}

#[inline(always)]
fn quarters(values: &mut [Fr]) -> [&mut [Fr]; 4] {
    let (left, right) = values.split_at_mut(values.len() / 2);
    let (a, b) = left.split_at_mut(left.len() / 2);
    let (c, d) = right.split_at_mut(right.len() / 2);
    [a, b, c, d]
}

/// All layers of a block that fits a cache.
struct Block<'a> {
    values: &'a mut [Fr],
    node: usize,
    roots: &'a [Fr],
    way: Way,
}

impl<M: Machine> Kernel<M> for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, machine: M) {
        if self.way == Way::Down { self.down(machine) } else { self.up(machine) }
    }
}

impl Block<'_> {
    /// True if the layers above blocks of 64 are an odd number: then one goes alone, at the top.
    #[inline(always)]
    fn is_odd(&self) -> bool {
        (self.values.len() / LEAF).trailing_zeros() % 2 == 1
    }

    #[inline(always)]
    fn down<M: Machine>(self, machine: M) {
        let mut size = self.values.len();
        if self.is_odd() {
            pass2(machine, self.values, root(machine, self.roots, self.node), Way::Down);
            size /= 2;
        }
        while size > LEAF {
            let first = self.node * (self.values.len() / size);
            for (i, block) in self.values.chunks_exact_mut(size).enumerate() {
                pass4(machine, quarters(block), &roots3(machine, self.roots, first + i), Way::Down);
            }
            size /= 4;
        }
        let first = self.node * (self.values.len() / LEAF);
        for (i, block) in self.values.chunks_exact_mut(LEAF).enumerate() {
            let (within, across) = (roots_within(machine, self.roots, first + i), roots_across(machine, self.roots, first + i));
            put_rows::<M>(down8::<M>(rows(machine, block), &within), block);
            put_columns::<M>(least::<M>(down8::<M>(columns(machine, block), &across)), block);
        }
    }

    #[inline(always)]
    fn up<M: Machine>(self, machine: M) {
        let length = self.values.len();
        let first = self.node * (length / LEAF);
        let is_last = |size: usize| self.way == Way::UpLast && size == length;
        for (i, block) in self.values.chunks_exact_mut(LEAF).enumerate() {
            let (within, across) = (roots_within(machine, self.roots, first + i), roots_across(machine, self.roots, first + i));
            put_columns::<M>(up8::<M>(columns(machine, block), &across), block);
            let lanes = up8::<M>(rows(machine, block), &within);
            put_rows::<M>(if is_last(LEAF) { least::<M>(lanes) } else { lanes }, block);
        }
        let mut size = 4 * LEAF;
        while size <= length {
            let first = self.node * (length / size);
            let way = if is_last(size) { Way::UpLast } else { Way::Up };
            for (i, block) in self.values.chunks_exact_mut(size).enumerate() {
                pass4(machine, quarters(block), &roots3(machine, self.roots, first + i), way);
            }
            size *= 4;
        }
        if (length / LEAF).trailing_zeros() % 2 == 1 {
            pass2(machine, self.values, root(machine, self.roots, self.node), self.way);
        }
    }
}

fn pass<M: Machine>(machine: M, values: &mut [Fr], node: usize, roots: &[Fr], way: Way) {
    let [a, b, c, d] = quarters(values).map(|part| part.par_chunks_mut(CHUNK));
    a.zip(b).zip(c).zip(d).for_each(|(((a, b), c), d)| machine.run(Pass { parts: [a, b, c, d], node, roots, way }));
}

fn parts(values: &mut [Fr], node: usize, work: impl Fn(&mut [Fr], usize) + Sync) {
    let quarter = values.len() / 4;
    values.par_chunks_mut(quarter).enumerate().for_each(|(i, part)| work(part, 4 * node + i));
}

fn down<M: Machine>(machine: M, values: &mut [Fr], node: usize, roots: &[Fr]) {
    if values.len() <= TASK {
        return machine.run(Block { values, node, roots, way: Way::Down });
    }
    pass(machine, values, node, roots, Way::Down);
    parts(values, node, |part, node| down(machine, part, node, roots));
}

fn up<M: Machine>(machine: M, values: &mut [Fr], node: usize, roots: &[Fr], way: Way) {
    if values.len() <= TASK {
        return machine.run(Block { values, node, roots, way });
    }
    parts(values, node, |part, node| up(machine, part, node, roots, Way::Up));
    pass(machine, values, node, roots, way);
}

/// Coefficients to values; at least 64 of them.
pub(super) fn forward<M: Machine>(machine: M, values: &mut [Fr], modulus: Modulus, roots: &[Fr]) {
    down(machine, values, modulus as usize, roots);
}

/// Values to coefficients, times their number; at least 64 of them.
pub(super) fn backward<M: Machine>(machine: M, values: &mut [Fr], modulus: Modulus, roots: &[Fr]) {
    up(machine, values, modulus as usize, roots, Way::UpLast);
}

/// Turns elements into factors, in place.
pub(super) struct Factors<'a>(pub(super) &'a mut [Fr]);

impl<M: Machine> Kernel<M> for Factors<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, machine: M) {
        for chunk in self.0.chunks_exact_mut(M::LANES) {
            Lanes::<M>::load(machine, chunk).factor().store(chunk);
        }
    }
}
