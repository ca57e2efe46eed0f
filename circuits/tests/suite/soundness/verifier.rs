//! The verifier against inputs and proofs that are not what was proved: nothing but the proof of the very statement passes, and a proof
//! made to look different proves no other.

use super::times;
use crate::keys::prover;
use crate::world::rich_batch;
use ark_bn254::{Bn254, Fq, Fr, G1Affine, G2Affine};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{BigInteger, Field, PrimeField, UniformRand};
use ark_groth16::{Proof, VerifyingKey};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sheaf_circuits::keys::{VerifyingKeyError, check_verifying_key};
use sheaf_circuits::prove::{VerifyError, proof_from_words, proof_words, verify};
use sheaf_protocol::batch::PublicInputs;
use sheaf_protocol::field::{Word, from_word, to_word};
use std::sync::OnceLock;

const SEED: u64 = 13;

/// A proof and its inputs, made once.
fn proved() -> &'static (PublicInputs, Proof<Bn254>) {
    static PROVED: OnceLock<(PublicInputs, Proof<Bn254>)> = OnceLock::new();
    PROVED.get_or_init(|| {
        let (_, batch, challenges) = rich_batch();
        let proof = prover().prove(&batch, &challenges, &mut ChaCha20Rng::seed_from_u64(SEED)).unwrap();
        (batch.public_inputs(&challenges), proof)
    })
}

fn key() -> &'static VerifyingKey<Bn254> {
    prover().keys().verifying()
}

/// The word plus the modulus of `F`, which is the same element to a careless reader.
fn written_again<F: PrimeField>(word: &Word) -> Word {
    let mut bits: Vec<u8> = word.iter().rev().copied().collect();
    let mut carry = 0;
    for (byte, add) in bits.iter_mut().zip(F::MODULUS.to_bytes_le()) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(carry, 0, "it fits 32 bytes");
    bits.reverse();
    bits.try_into().unwrap()
}

#[test]
fn a_number_written_as_itself_and_the_modulus_is_refused() {
    let (inputs, proof) = proved();
    for (i, input) in inputs.iter().enumerate() {
        let word = to_word(*input);
        assert_eq!((from_word(&word), from_word::<Fr>(&written_again::<Fr>(&word))), (Some(*input), None), "input {i}");
    }
    for i in 0..8 {
        let mut words = proof_words(proof);
        words[i] = written_again::<Fq>(&words[i]);
        assert_eq!(proof_from_words(&words), Err(VerifyError::Malformed), "word {i}");
    }
}

/// `verify` takes nine inputs by its type; a key for another number is refused, since ark-groth16 would leave out what it has no point for.
#[test]
fn a_key_for_one_input_fewer_or_more_is_refused() {
    let (inputs, proof) = proved();
    let (mut fewer, mut more) = (key().clone(), key().clone());
    fewer.gamma_abc_g1.pop();
    more.gamma_abc_g1.push(G1Affine::generator());
    for key in [fewer, more] {
        let refused = VerifyingKeyError::Inputs(key.gamma_abc_g1.len());
        assert_eq!(check_verifying_key(&key), Err(refused));
        assert_eq!(verify(&key, inputs, proof), Err(VerifyError::Key(refused)));
    }
}

/// Off the curve, and on the twist but outside the subgroup of order r.
#[test]
fn a_point_that_is_none_is_refused() {
    let (_, proof) = proved();
    let honest = proof_words(proof);
    let one = to_word(Fq::from(1u64));
    for at in [0, 6] {
        let mut words = honest;
        (words[at], words[at + 1]) = (one, one);
        assert_eq!(proof_from_words(&words), Err(VerifyError::Malformed), "G1 at {at}");
    }
    let mut words = honest;
    words[2..6].fill(one);
    assert_eq!(proof_from_words(&words), Err(VerifyError::Malformed), "G2 off the curve");
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    let outside = std::iter::repeat_with(|| G2Affine::get_point_from_x_unchecked(UniformRand::rand(&mut rng), rng.r#gen()))
        .flatten()
        .find(|point| !point.is_in_correct_subgroup_assuming_on_curve());
    let words = proof_words(&Proof { b: outside.unwrap(), ..proof.clone() });
    assert_eq!(proof_from_words(&words), Err(VerifyError::Malformed), "G2 outside the subgroup");
}

/// One of many ways to damage a proof; the points stay points in most.
fn corrupted(proof: &Proof<Bn254>, rng: &mut ChaCha20Rng) -> [Word; 8] {
    let mut bad = proof.clone();
    let factor = Fr::rand(rng);
    match rng.gen_range(0..10) {
        0 => bad.a = -bad.a,
        1 => bad.b = -bad.b,
        2 => bad.c = (bad.c * factor).into_affine(),
        3 => bad.a = (G1Affine::generator() * factor).into_affine(),
        4 => bad.b = (G2Affine::generator() * factor).into_affine(),
        5 => bad.c = (bad.c + G1Affine::generator() * factor).into_affine(),
        6 => (bad.a, bad.c) = (bad.c, bad.a),
        7 => (bad.a, bad.b) = ((bad.a * factor).into_affine(), (bad.b * factor).into_affine()),
        8 => *[&mut bad.a, &mut bad.c][rng.gen_range(0..2)] = G1Affine::identity(),
        _ => {
            let mut words = proof_words(proof);
            words[rng.gen_range(0..8)][rng.gen_range(0..32)] ^= 1 << rng.gen_range(0..8);
            return words;
        }
    }
    proof_words(&bad)
}

#[test]
fn corrupted_proofs_are_refused() {
    let (inputs, proof) = proved();
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    let count = times(40, 1_000);
    let mut malformed = 0;
    for case in 0..count {
        let words = corrupted(proof, &mut rng);
        assert_ne!(words, proof_words(proof));
        match proof_from_words(&words) {
            Ok(bad) => assert_eq!(verify(key(), inputs, &bad), Err(VerifyError::Rejected), "case {case}"),
            Err(refused) => {
                assert_eq!(refused, VerifyError::Malformed);
                malformed += 1;
            }
        }
    }
    println!("{count} corrupted proofs of seed {SEED} refused, {malformed} of them as malformed");
}

/// Groth16 proofs can be made to look different by anybody. They prove the same statement and no other: not one with any input changed, and
/// not that of the batch after. That L1 takes one proof of a batch, whatever it looks like, is for `contracts/test/Rerandomised.t.sol`.
#[test]
fn a_proof_made_to_look_different_proves_its_statement_and_no_other() {
    let (inputs, proof) = proved();
    let (mut world, batch, challenges) = rich_batch();
    batch.accounts.iter().for_each(|account| world.ledger.set(account.id, account.new));
    let after = world.assemble(vec![], vec![], vec![]).unwrap().public_inputs(&challenges);
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    let (factor, shift) = (Fr::rand(&mut rng), Fr::rand(&mut rng));
    let scaled = Proof { a: (proof.a * factor).into_affine(), b: (proof.b * factor.inverse().unwrap()).into_affine(), c: proof.c };
    let shifted = Proof { a: proof.a, b: (proof.b + key().delta_g2 * shift).into_affine(), c: (proof.c + proof.a * shift).into_affine() };
    for other in [scaled, shifted] {
        assert_ne!(proof_words(&other), proof_words(proof));
        let sent = proof_from_words(&proof_words(&other)).unwrap();
        assert_eq!(verify(key(), inputs, &sent), Ok(()), "it is a proof of the batch");
        assert_eq!(verify(key(), &after, &sent), Err(VerifyError::Rejected), "and none of the next");
        for i in 0..inputs.len() {
            let mut changed = *inputs;
            changed[i] += Fr::from(1u64);
            assert_eq!(verify(key(), &changed, &sent), Err(VerifyError::Rejected), "input {i}");
        }
    }
}
