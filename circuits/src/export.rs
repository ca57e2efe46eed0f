//! Keys, proofs and public inputs in the JSON that snarkjs reads: an independent verifier of ours.
//!
//! Numbers are decimal strings, points projective with z = 1, G2 coordinates as (c0, c1).

use ark_bn254::{Bn254, Fq2, Fr, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_groth16::{Proof, VerifyingKey};
use serde_json::{Value, json};

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
