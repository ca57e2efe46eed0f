//! The quotient of Groth16: h = (a b - c) / (x^n - 1), from the values of a and b on the domain.
//!
//! Write a b = low + high x^n, both below degree n. On the domain x^n = 1 and a b = c, so low + high is c; on the coset x^n = -1, so the
//! polynomial with the values of a b there is low - high. And a b - c = high (x^n - 1): the quotient is high, half of the difference of two
//! interpolations. That takes six transforms; dividing on a coset as libsnark's reduction describes it takes seven for the same h.

use super::transform::{Modulus, Roots, reversed};
use crate::batch::Circuit;
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField};
use rayon::prelude::*;
use sheaf_protocol::batch::PUBLIC_INPUTS;

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

/// Coefficients of the quotient, lowest first; `None` if the assignment violates a constraint.
pub(crate) fn quotient(circuit: &Circuit, roots: &Roots, assignment: &[Fr]) -> Option<Vec<BigInt<4>>> {
    let size = circuit.domain();
    let bits = size.trailing_zeros();
    let rows: Option<Vec<[Fr; 3]>> = (0..size).into_par_iter().map(|at| row(circuit, assignment, reversed(at, bits))).collect();
    let rows = rows?;
    let [mut a, mut b, mut c] = [0, 1, 2].map(|column: usize| rows.par_iter().map(|row| row[column]).collect::<Vec<Fr>>());
    drop(rows);
    rayon::join(|| to_coset(roots, &mut a), || rayon::join(|| to_coset(roots, &mut b), || roots.backward(&mut c, Modulus::Domain)));
    let n = Fr::from(size as u64);
    let inverse = n.inverse().unwrap_or_default();
    // a and b come n-fold out of their interpolation, as c does
    a.par_iter_mut().zip(b).for_each(|(a, b)| *a *= b * inverse.square());
    roots.backward(&mut a, Modulus::Coset);
    let half = (n + n).inverse().unwrap_or_default();
    Some(c.into_par_iter().zip(a).map(|(sum, difference)| ((sum - difference) * half).into_bigint()).collect())
}

fn to_coset(roots: &Roots, values: &mut [Fr]) {
    roots.backward(values, Modulus::Domain);
    roots.forward(values, Modulus::Coset);
}
