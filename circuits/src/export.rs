//! Keys, proofs and public inputs in the JSON that snarkjs reads, and circuits in iden3's `.r1cs`: an independent verifier and an
//! independent set-up of ours.
//!
//! JSON: numbers are decimal strings, points projective with z = 1, G2 coordinates as (c0, c1). `.r1cs`: wire 0 is 1, then the public inputs,
//! then the witness, which is our order too; integers and coefficients little-endian.

use crate::batch::Circuit;
use ark_bn254::{Bn254, Fq2, Fr, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::{BigInteger, PrimeField};
use ark_groth16::{Proof, VerifyingKey};
use serde_json::{Value, json};
use sheaf_protocol::batch::PUBLIC_INPUTS;

fn g1(point: &G1Affine) -> Value {
    match point.xy() {
        Some((x, y)) => json!([x.to_string(), y.to_string(), "1"]),
        None => json!(["0", "1", "0"]),
    }
}

fn g2(point: &G2Affine) -> Value {
    let pair = |value: Fq2| json!([value.c0.to_string(), value.c1.to_string()]);
    match point.xy() {
        Some((x, y)) => json!([pair(x), pair(y), ["1", "0"]]),
        None => json!([["0", "0"], ["1", "0"], ["0", "0"]]),
    }
}

/// `verification_key.json`. snarkjs recomputes `vk_alphabeta_12`, so it is left out.
pub fn verification_key(key: &VerifyingKey<Bn254>) -> Value {
    json!({
        "protocol": "groth16",
        "curve": "bn128",
        "nPublic": key.gamma_abc_g1.len().saturating_sub(1),
        "vk_alpha_1": g1(&key.alpha_g1),
        "vk_beta_2": g2(&key.beta_g2),
        "vk_gamma_2": g2(&key.gamma_g2),
        "vk_delta_2": g2(&key.delta_g2),
        "IC": key.gamma_abc_g1.iter().map(g1).collect::<Vec<_>>(),
    })
}

/// `proof.json`.
pub fn proof(proof: &Proof<Bn254>) -> Value {
    json!({ "protocol": "groth16", "curve": "bn128", "pi_a": g1(&proof.a), "pi_b": g2(&proof.b), "pi_c": g1(&proof.c) })
}

/// `public.json`.
pub fn public_inputs(inputs: &[Fr]) -> Value {
    inputs.iter().map(Fr::to_string).collect()
}

/// The circuit as an `.r1cs` file of version 1.
pub fn r1cs(circuit: &Circuit) -> Vec<u8> {
    let (wires, constraints) = (1 + PUBLIC_INPUTS + circuit.witness_variables(), circuit.constraints());
    let numbers = |numbers: &[usize]| numbers.iter().flat_map(|number| (*number as u32).to_le_bytes()).collect::<Vec<u8>>();
    let mut header = numbers(&[32]);
    header.extend(Fr::MODULUS.to_bytes_le());
    // public outputs, public inputs, private inputs: we call all public numbers inputs
    header.extend(numbers(&[wires, 0, PUBLIC_INPUTS, 0]));
    header.extend((wires as u64).to_le_bytes());
    header.extend(numbers(&[constraints]));
    let mut rows = Vec::new();
    for row in 0..constraints {
        for matrix in 0..3 {
            rows.extend(numbers(&[circuit.row(matrix, row).count()]));
            for (coefficient, wire) in circuit.row(matrix, row) {
                rows.extend(numbers(&[wire]));
                rows.extend(coefficient.into_bigint().to_bytes_le());
            }
        }
    }
    let labels: Vec<u8> = (0..wires as u64).flat_map(u64::to_le_bytes).collect();
    let mut file = b"r1cs".to_vec();
    file.extend(numbers(&[1, 3]));
    for (number, section) in (1..).zip([header, rows, labels]) {
        file.extend(numbers(&[number]));
        file.extend((section.len() as u64).to_le_bytes());
        file.extend(section);
    }
    file
}
