//! The quotient of Groth16: h = (a b - c) / (x^n - 1), from the values of a and b on the domain.
//!
//! Write a b = low + high x^n, both below degree n. On the domain x^n = 1 and a b = c, so low + high is c; on the coset x^n = -1, so the
//! polynomial with the values of a b there is low - high. And a b - c = high (x^n - 1): the quotient is high, half of the difference of two
//! interpolations. That takes six transforms; dividing on a coset as libsnark's reduction describes it takes seven for the same h.

use super::field::{Kernel, Machine, Vector};
use super::on_machine;
use super::transform::{Modulus, Roots, reversed};
use crate::batch::Circuit;
use ark_bn254::{Fr, FrConfig};
use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;
use sheaf_protocol::batch::PUBLIC_INPUTS;
use std::sync::atomic::{AtomicBool, Ordering};

/// Values of one task.
const CHUNK: usize = 1 << 12;

/// Values of a, b and a b at row `row` of the domain; `None` if the assignment violates it.
fn row(circuit: &Circuit, assignment: &[Fr], row: usize) -> Option<[Fr; 3]> {
    let constraints = circuit.constraints();
    if row >= constraints {
        // one row per public input and the constant one, "x_i 0 = 0", which keeps them independent
        let input = row - constraints;
        return Some([if input <= PUBLIC_INPUTS { assignment[input] } else { Fr::ZERO }, Fr::ZERO, Fr::ZERO]);
    }
    let [a, b, c] = circuit.products(row, assignment);
    (a * b == c).then_some([a, b, c])
}

/// Swaps each value with the one at its place's bits reversed.
fn reverse(values: &mut [Fr]) {
    let bits = values.len().trailing_zeros();
    for at in 0..values.len() {
        let other = reversed(at, bits);
        if at < other {
            values.swap(at, other);
        }
    }
}

/// Values of a, b and c in the order of the transforms; `None` if the assignment violates a row.
fn values(circuit: &Circuit, assignment: &[Fr]) -> Option<[Vec<Fr>; 3]> {
    let size = circuit.domain();
    let [mut a, mut b, mut c] = [(); 3].map(|()| vec![Fr::ZERO; size]);
    let violated = AtomicBool::new(false);
    // in their own order, since neighbours look at the same variables
    a.par_iter_mut().zip(&mut b).zip(&mut c).enumerate().for_each(|(at, ((a, b), c))| match row(circuit, assignment, at) {
        Some(values) => [*a, *b, *c] = values,
        None => violated.store(true, Ordering::Relaxed),
    });
    [&mut a, &mut b, &mut c].into_par_iter().for_each(|values| reverse(values));
    (!violated.into_inner()).then_some([a, b, c])
}

/// `a b factor` in place of `a`.
struct Multiply<'a> {
    a: &'a mut [Fr],
    b: &'a [Fr],
    factor: Fr,
}

/// `(a - b) factor` in place of `a`.
struct Subtract<'a> {
    a: &'a mut [Fr],
    b: &'a [Fr],
    factor: Fr,
}

impl<M: Machine> Kernel<M> for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, machine: M) {
        // a product of data lacks this
        let short = Fr::from(1u64 << M::SHORT);
        let factor = M::Vector::<FrConfig>::splat(machine, &(self.factor * short));
        for (a, b) in self.a.chunks_exact_mut(M::LANES).zip(self.b.chunks_exact(M::LANES)) {
            M::Vector::<FrConfig>::load(machine, a).mul(Vector::load(machine, b)).mul(factor).store(a);
        }
    }
}

impl<M: Machine> Kernel<M> for Subtract<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, machine: M) {
        let factor = M::Vector::<FrConfig>::splat(machine, &self.factor);
        for (a, b) in self.a.chunks_exact_mut(M::LANES).zip(self.b.chunks_exact(M::LANES)) {
            M::Vector::<FrConfig>::load(machine, a).sub(Vector::load(machine, b)).mul(factor).store(a);
        }
    }
}

/// Coefficients of the quotient, lowest first; `None` if the assignment violates a constraint.
pub(crate) fn quotient(circuit: &Circuit, roots: &Roots, assignment: &[Fr]) -> Option<Vec<Fr>> {
    let [mut a, mut b, mut c] = values(circuit, assignment)?;
    for values in [&mut a, &mut b] {
        roots.backward(values, Modulus::Domain);
        roots.forward(values, Modulus::Coset);
    }
    roots.backward(&mut c, Modulus::Domain);
    // an interpolation comes out n-fold: a b n^2-fold, to be n-fold again as c is
    let n = Fr::from(a.len() as u64);
    let [n_inverse, half] = [n, n + n].map(|n| n.inverse().unwrap_or_default());
    let factor = n_inverse.square();
    on_machine!(roots.engine(), machine => a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).for_each(|(a, b)| machine.run(Multiply { a, b, factor })));
    drop(b);
    roots.backward(&mut a, Modulus::Coset);
    on_machine!(roots.engine(), machine => c.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).for_each(|(a, b)| machine.run(Subtract { a, b, factor: half })));
    Some(c)
}
