//! The same phase 2 by somebody else: snarkjs makes its initial key from our circuit in `.r1cs` and the same powers of tau, and every point of
//! it must be ours. Takes minutes, most of them snarkjs's: `make ceremony` runs it on the shape `test`, `make test` does not.
//!
//! snarkjs keeps H as values on a coset, `H'_i = [Z(tau) l_i(tau) / -2]_1` with `l_i` the Lagrange polynomials of the odd roots of order 2n, we as
//! powers, `H_i = [Z(tau) tau^i]_1`. Both commit to a quotient, so both are asked to commit to the same random one.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../../protocol/tests/snarkjs/mod.rs"]
mod snarkjs;

use ark_bn254::{Fq, Fq2, G1Projective};
use ark_ec::{CurveGroup, VariableBaseMSM};
use ark_ff::{BigInt, Field, UniformRand, Zero};
use ark_poly::{DenseUVPolynomial, Polynomial, univariate::DensePolynomial};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rayon::prelude::*;
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::ceremony::{initial_key, power};
use sheaf_circuits::export;
use sheaf_protocol::field::{Fr, G1Affine, G2Affine};
use sheaf_protocol::kzg::{Ptau, root_of_unity};
use sheaf_protocol::shape::by_name;
use std::collections::HashMap;
use std::fs;

/// Sections of a `.zkey` by number.
fn sections(bytes: &[u8]) -> HashMap<u32, &[u8]> {
    assert_eq!(&bytes[..4], b"zkey");
    let (mut found, mut rest) = (HashMap::new(), &bytes[12..]);
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[4..12].try_into().unwrap()) as usize;
        found.insert(u32::from_le_bytes(rest[..4].try_into().unwrap()), &rest[12..12 + length]);
        rest = &rest[12 + length..];
    }
    found
}

fn fq(bytes: &[u8]) -> Fq {
    let limbs: Vec<u64> = bytes.chunks_exact(8).map(|limb| u64::from_le_bytes(limb.try_into().unwrap())).collect();
    Fq::new_unchecked(BigInt::new(limbs.try_into().unwrap()))
}

fn g1(bytes: &[u8]) -> G1Affine {
    let point = G1Affine::new_unchecked(fq(&bytes[..32]), fq(&bytes[32..]));
    if point.x.is_zero() && point.y.is_zero() { G1Affine::identity() } else { point }
}

fn g2(bytes: &[u8]) -> G2Affine {
    let point = G2Affine::new_unchecked(Fq2::new(fq(&bytes[..32]), fq(&bytes[32..64])), Fq2::new(fq(&bytes[64..96]), fq(&bytes[96..])));
    if point.x.is_zero() && point.y.is_zero() { G2Affine::identity() } else { point }
}

fn all_g1(bytes: &[u8]) -> Vec<G1Affine> {
    bytes.chunks_exact(64).map(g1).collect()
}

#[test]
fn snarkjs_makes_the_same_initial_key() {
    let circuit = Circuit::new(by_name("test").unwrap().shape, 1).unwrap();
    let (k, size) = (power(&circuit), circuit.domain());
    let prepared = snarkjs::prepared(k);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("circuit.r1cs"), export::r1cs(&circuit)).unwrap();
    snarkjs::snarkjs(folder.path(), &["groth16", "setup", "circuit.r1cs", prepared.to_str().unwrap(), "circuit.zkey"]);
    let bytes = fs::read(folder.path().join("circuit.zkey")).unwrap();
    let theirs = sections(&bytes);

    let rng = &mut StdRng::seed_from_u64(1);
    let powers = Ptau::open(&prepared).unwrap().read(k, rng, &mut |_, _| {}).unwrap();
    let ours = initial_key(&circuit, &powers, &mut |_, _| {}).unwrap().key;

    let header = theirs[&2];
    let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!([number(72), number(76), number(80)], [ours.a_query.len(), 9, size], "variables, public inputs, domain");
    let points = &header[84..];
    assert_eq!(g1(&points[..64]), ours.vk.alpha_g1);
    assert_eq!(g1(&points[64..128]), ours.beta_g1);
    assert_eq!(g2(&points[128..256]), ours.vk.beta_g2);
    assert_eq!(g2(&points[256..384]), ours.vk.gamma_g2);
    assert_eq!(g1(&points[384..448]), ours.delta_g1);
    assert_eq!(g2(&points[448..576]), ours.vk.delta_g2);
    assert_eq!(all_g1(theirs[&3]), ours.vk.gamma_abc_g1, "IC");
    assert_eq!(all_g1(theirs[&5]), ours.a_query, "A");
    assert_eq!(all_g1(theirs[&6]), ours.b_g1_query, "B in G1");
    assert_eq!(theirs[&7].chunks_exact(128).map(g2).collect::<Vec<_>>(), ours.b_g2_query, "B in G2");
    assert_eq!(all_g1(theirs[&8]), ours.l_query, "L");

    let quotient = DensePolynomial::from_coefficients_vec((0..size - 1).map(|_| Fr::rand(rng)).collect());
    let root = root_of_unity(k + 1);
    let halves = -Fr::from(2u64).inverse().unwrap();
    // X^n - 1 is -2 at every odd root of order 2n
    let values: Vec<Fr> = (0..size as u64).into_par_iter().map(|i| quotient.evaluate(&root.pow([2 * i + 1])) / halves).collect();
    let (commitment, of_theirs) = (G1Projective::msm_unchecked(&ours.h_query, &quotient), G1Projective::msm_unchecked(&all_g1(theirs[&9]), &values));
    assert_eq!(commitment.into_affine(), of_theirs.into_affine(), "H");
}
