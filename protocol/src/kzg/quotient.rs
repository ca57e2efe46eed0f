//! The batch quotient q = (f - r) / Z_I, in evaluation form.
//!
//! Off I: q(w) = f(w) / Z_I(w), zero wherever f is. On I both vanish; by l'Hopital q(w) = X(f - r)'(w) / X Z_I'(w), where f - r
//! is f with the touched positions set to zero. Touched positions are distinct; callers check.

use crate::field::Fr;
use ark_ff::{Field, One, Zero, batch_inversion};
use ark_poly::univariate::DensePolynomial;
use ark_poly::{DenseUVPolynomial, EvaluationDomain, Radix2EvaluationDomain};
use rayon::prelude::*;

/// Up to this many roots are multiplied one by one; above, two halves by FFT.
const SCHOOLBOOK_ROOTS: usize = 64;
/// Elements per rayon task.
const CHUNK: usize = 1 << 12;

/// Values of q over the domain, from the values of f and the touched positions.
pub(super) fn quotient(domain: &Radix2EvaluationDomain<Fr>, f: &[Fr], touched: &[usize]) -> Vec<Fr> {
    let roots: Vec<Fr> = touched.iter().map(|position| domain.element(*position)).collect();
    let mut rest = f.to_vec();
    touched.iter().for_each(|position| rest[*position] = Fr::zero());

    let mut denominators = domain.fft(&vanishing(&roots));
    let derivative = scaled_derivative(domain, &rest);
    for (position, value) in touched.iter().zip(scaled_vanishing_derivative(&roots)) {
        denominators[*position] = value;
        rest[*position] = derivative[*position];
    }
    divide(&mut rest, &mut denominators);
    rest
}

/// `numerators[i] / denominators[i]` in place.
pub(super) fn divide(numerators: &mut [Fr], denominators: &mut [Fr]) {
    numerators.par_chunks_mut(CHUNK).zip(denominators.par_chunks_mut(CHUNK)).for_each(|(numerators, denominators)| {
        batch_inversion(denominators);
        numerators.iter_mut().zip(denominators).for_each(|(numerator, inverse)| *numerator *= *inverse);
    });
}

/// Coefficients of `prod (X - root)`, by a product tree.
fn vanishing(roots: &[Fr]) -> Vec<Fr> {
    if roots.len() <= SCHOOLBOOK_ROOTS {
        return roots.iter().fold(vec![Fr::one()], times_linear);
    }
    let (low, high) = roots.split_at(roots.len() / 2);
    let (low, high) = rayon::join(|| vanishing(low), || vanishing(high));
    (&DensePolynomial::from_coefficients_vec(low) * &DensePolynomial::from_coefficients_vec(high)).coeffs
}

/// Coefficients times `X - root`.
fn times_linear(mut coefficients: Vec<Fr>, root: &Fr) -> Vec<Fr> {
    coefficients.push(Fr::zero());
    for i in (0..coefficients.len()).rev() {
        let below = if i == 0 { Fr::zero() } else { coefficients[i - 1] };
        coefficients[i] = below - coefficients[i] * root;
    }
    coefficients
}

/// Values of `X p'(X)` over the domain: coefficient i is multiplied by i.
fn scaled_derivative(domain: &Radix2EvaluationDomain<Fr>, values: &[Fr]) -> Vec<Fr> {
    let mut coefficients = domain.ifft(values);
    coefficients.par_iter_mut().enumerate().for_each(|(i, coefficient)| *coefficient *= Fr::from(i as u64));
    domain.fft_in_place(&mut coefficients);
    coefficients
}

/// `X Z'(X)` at each root: `w_i prod_(j != i) (w_i - w_j)`.
fn scaled_vanishing_derivative(roots: &[Fr]) -> Vec<Fr> {
    let at = |i: usize, root: &Fr| roots.iter().enumerate().filter(|(j, _)| *j != i).fold(*root, |product, (_, other)| product * (*root - other));
    roots.par_iter().enumerate().map(|(i, root)| at(i, root)).collect()
}

/// Splits the domain into ranges of positions, calls `task(range, w^start)` on all cores, and joins the results in order.
pub(super) fn over_domain<T: Send>(domain: &Radix2EvaluationDomain<Fr>, task: impl Fn(std::ops::Range<usize>, Fr) -> Vec<T> + Sync) -> Vec<T> {
    let size = domain.size();
    let starts: Vec<usize> = (0..size).step_by(CHUNK).collect();
    let root = |start: usize| domain.group_gen.pow([start as u64]);
    starts.into_par_iter().flat_map_iter(|start| task(start..size.min(start + CHUNK), root(start))).collect()
}
