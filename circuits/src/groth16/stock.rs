//! The kernels by arkworks, for benchmarks: compiled here, where everything is optimised, and not in the crate that measures.

use ark_bn254::{Fr, G1Affine, G1Projective, G2Affine, G2Projective};
use ark_ec::VariableBaseMSM;
use ark_poly::{EvaluationDomain, GeneralEvaluationDomain};

/// The sum of scalars times points of G1, as many as the shorter list has.
pub fn g1(bases: &[G1Affine], scalars: &[Fr]) -> G1Projective {
    G1Projective::msm_unchecked(bases, scalars)
}

/// The sum of scalars times points of G2, as many as the shorter list has.
pub fn g2(bases: &[G2Affine], scalars: &[Fr]) -> G2Projective {
    G2Projective::msm_unchecked(bases, scalars)
}

/// The values of a polynomial on its domain, whose size is the number of coefficients. False if there is no domain of that size.
pub fn forward(values: &mut Vec<Fr>) -> bool {
    let domain = GeneralEvaluationDomain::<Fr>::new(values.len());
    domain.map(|domain| domain.fft_in_place(values)).is_some()
}
