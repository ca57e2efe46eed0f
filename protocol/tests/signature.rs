//! Signatures from outside: what is accepted, every forged variation refused alike by the single check, the batch check and the
//! witness, and the golden vectors of hash and signature.
#![expect(clippy::unwrap_used, reason = "tests")]

mod golden;

use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::{AdditiveGroup, BigInteger, Field, PrimeField, UniformRand};
use golden::{compare_with_golden, hex_all, hex_fr};
use num_bigint::BigUint;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};
use sheaf_protocol::field::{Fr, from_word, to_hex, to_word};
use sheaf_protocol::ops::{Transfer, Withdraw};
use sheaf_protocol::poseidon::{self, Sponge17, hash3};
use sheaf_protocol::schnorr::{self, Check, Projective, Scalar, SecretKey, Signature, SignatureError, WINDOWS};

const TRANSFER: u8 = 1;

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn signed(key: &SecretKey, rng: &mut ChaCha20Rng) -> Check {
    let (domain, m) = (Fr::rand(rng), Fr::rand(rng));
    let signature = schnorr::sign(key, domain, TRANSFER, m, &rng.r#gen());
    Check { pk: key.public().0, domain, op_tag: TRANSFER, m, signature }
}

fn good(seed: u64) -> Check {
    let mut rng = rng(seed);
    signed(&SecretKey::generate(&mut rng), &mut rng)
}

/// The one verdict of all ways to check.
fn verdict(check: &Check) -> Result<(), SignatureError> {
    let Check { pk, domain, op_tag, m, signature } = check;
    let verdict = schnorr::verify(*pk, *domain, *op_tag, *m, signature);
    assert_eq!(schnorr::verify_many(&[*check], &mut rng(9)), [verdict]);
    assert_eq!(schnorr::admit_many(&[*check], &mut rng(9)), [verdict]);
    assert_eq!(schnorr::witness(*pk, *domain, *op_tag, *m, signature).map(|_| ()), verdict);
    verdict
}

fn point_exists(x: Fr) -> bool {
    (x.square() * x - Fr::from(17u64)).sqrt().is_some()
}

/// An x-coordinate that no point has.
fn off_curve() -> Fr {
    (1u64..).map(Fr::from).find(|x| !point_exists(*x)).unwrap()
}

fn scalar_of(key: &SecretKey) -> Scalar {
    from_word(&key.to_bytes()).unwrap()
}

/// A signature with a nonce of the signer's choice.
fn sign_with_nonce(key: &SecretKey, nonce: Scalar, domain: Fr, m: Fr) -> Check {
    let (r, pk) = ((Projective::generator() * nonce).into_affine(), key.public().0);
    let c = schnorr::challenge(schnorr::challenge_hash(domain, TRANSFER, r.x, pk, m)).scalar;
    let signature = Signature { r_x: r.x, r_y_odd: r.y.into_bigint().is_odd(), s: nonce - c * scalar_of(key) };
    Check { pk, domain, op_tag: TRANSFER, m, signature }
}

fn add_modulus(word: &[u8], modulus: BigUint) -> [u8; 32] {
    let bytes = (BigUint::from_bytes_be(word) + modulus).to_bytes_be();
    let mut out = [0u8; 32];
    out[32 - bytes.len()..].copy_from_slice(&bytes);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_signature_verifies_and_survives_its_bytes(seed: [u8; 32], m: [u8; 31], random: [u8; 32], op_tag in 1u8..=3) {
        let key = SecretKey::from_seed(&seed).unwrap();
        let (domain, m) = (Fr::from(7u64), Fr::from_be_bytes_mod_order(&m));
        let signature = schnorr::sign(&key, domain, op_tag, m, &random);
        prop_assert_eq!(verdict(&Check { pk: key.public().0, domain, op_tag, m, signature }), Ok(()));
        prop_assert_eq!(Signature::from_bytes(&signature.to_bytes()), Ok(signature));
        let json = serde_json::to_string(&signature).unwrap();
        prop_assert_eq!(serde_json::from_str::<Signature>(&json).unwrap(), signature);
    }

    #[test]
    fn one_flipped_bit_is_refused(seed: u64, bit in 0usize..512) {
        let mut check = good(seed);
        let mut bytes = check.signature.to_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(signature) = Signature::from_bytes(&bytes) {
            check.signature = signature;
            let expected = if point_exists(signature.r_x) { SignatureError::Forged } else { SignatureError::ROffCurve };
            prop_assert_eq!(verdict(&check), Err(expected));
        }
    }

    #[test]
    fn batch_finds_exactly_the_bad_ones(seed: u64, bad in proptest::collection::vec(0u8..6, 0..24)) {
        let mut checks: Vec<Check> = (0..bad.len() as u64).map(|i| good(seed.wrapping_add(i))).collect();
        for (check, &kind) in checks.iter_mut().zip(&bad) {
            match kind {
                0 => check.m += Fr::ONE,
                1 => check.pk = off_curve(),
                2 => check.signature.r_x = off_curve(),
                _ => {}
            }
        }
        let expected: Vec<_> = bad.iter().map(|kind| match kind {
            0 => Err(SignatureError::Forged),
            2 => Err(SignatureError::ROffCurve),
            1 => Err(SignatureError::KeyOffCurve),
            _ => Ok(()),
        }).collect();
        prop_assert_eq!(&schnorr::verify_many(&checks, &mut rng(seed)), &expected);
        prop_assert_eq!(schnorr::admit_many(&checks, &mut rng(seed)), expected);
    }
}

#[test]
fn another_message_domain_tag_or_key_is_refused() {
    let check = good(1);
    assert_eq!(verdict(&check), Ok(()));
    let other = good(2);
    let forged = [
        Check { m: check.m + Fr::ONE, ..check },
        Check { domain: check.domain + Fr::ONE, ..check },
        Check { op_tag: 2, ..check },
        Check { pk: other.pk, ..check },
        Check { signature: other.signature, ..check },
        Check { signature: Signature { s: check.signature.s + Scalar::ONE, ..check.signature }, ..check },
        Check { signature: Signature { s: -check.signature.s, ..check.signature }, ..check },
        Check { signature: Signature { r_y_odd: !check.signature.r_y_odd, ..check.signature }, ..check },
        Check { signature: Signature { r_x: other.signature.r_x, ..check.signature }, ..check },
        Check { signature: Signature { s: Scalar::ZERO, ..check.signature }, ..check },
    ];
    for (case, check) in forged.iter().enumerate() {
        assert_eq!(verdict(check), Err(SignatureError::Forged), "case {case}");
    }
    let nowhere = Signature { r_x: off_curve(), ..check.signature };
    assert_eq!(verdict(&Check { signature: nowhere, ..check }), Err(SignatureError::ROffCurve));
    assert_eq!(verdict(&Check { signature: Signature { r_y_odd: !nowhere.r_y_odd, ..nowhere }, ..check }), Err(SignatureError::ROffCurve));
    assert_eq!(verdict(&Check { pk: off_curve(), signature: nowhere, ..check }), Err(SignatureError::KeyOffCurve));
    assert_eq!(verdict(&Check { pk: off_curve(), ..check }), Err(SignatureError::KeyOffCurve));
    assert_eq!(verdict(&Check { pk: Fr::ZERO, ..check }), Err(SignatureError::KeyOffCurve));
}

/// A tag moves the separator by one, and so would a domain: `domain + op_tag` must not let two deployments share signatures.
#[test]
fn domains_are_hashes_and_not_neighbours() {
    let check = good(3);
    let neighbour = Check { domain: check.domain - Fr::ONE, op_tag: check.op_tag + 1, ..check };
    assert_eq!(verdict(&neighbour), Ok(()), "only the sum is bound, so a domain must be a hash");
}

#[test]
fn second_encoding_of_a_signature_is_refused() {
    let bytes = good(4).signature.to_bytes();
    let mut s_plus_q = bytes;
    s_plus_q[32..].copy_from_slice(&add_modulus(&bytes[32..], Scalar::MODULUS.into()));
    assert_eq!(Signature::from_bytes(&s_plus_q), Err(SignatureError::ScalarNotReduced));
    let mut r_plus_r = bytes;
    let parity = r_plus_r[0] & 0x80;
    r_plus_r[0] &= 0x7f;
    let sum = add_modulus(&r_plus_r[..32], Fr::MODULUS.into());
    r_plus_r[..32].copy_from_slice(&sum);
    r_plus_r[0] |= parity;
    assert_eq!(Signature::from_bytes(&r_plus_r), Err(SignatureError::CoordinateNotReduced));
    let mut top_bits = bytes;
    top_bits[0] |= 0x40;
    assert_eq!(Signature::from_bytes(&top_bits), Err(SignatureError::CoordinateNotReduced));
}

/// S = -c sk makes S G + c A the identity, whose coordinates are written (0, 0).
#[test]
fn identity_as_r_is_refused() {
    let key = SecretKey::from_seed(&[5; 32]).unwrap();
    let (pk, domain, m) = (key.public().0, Fr::from(1u64), Fr::from(2u64));
    let c = schnorr::challenge(schnorr::challenge_hash(domain, TRANSFER, Fr::ZERO, pk, m)).scalar;
    let signature = Signature { r_x: Fr::ZERO, r_y_odd: false, s: -(c * scalar_of(&key)) };
    assert_eq!(verdict(&Check { pk, domain, op_tag: TRANSFER, m, signature }), Err(SignatureError::ROffCurve), "no point has x = 0");
}

/// A signature that is wrong in one of the ways a sender can choose.
fn spoilt(check: &Check, way: usize) -> (Check, SignatureError) {
    let signature = check.signature;
    match way % 4 {
        0 => (Check { m: check.m + Fr::ONE, ..*check }, SignatureError::Forged),
        1 => (Check { signature: Signature { s: signature.s + Scalar::ONE, ..signature }, ..*check }, SignatureError::Forged),
        2 => (Check { signature: Signature { r_x: off_curve(), ..signature }, ..*check }, SignatureError::ROffCurve),
        _ => (Check { pk: off_curve(), ..*check }, SignatureError::KeyOffCurve),
    }
}

#[test]
fn a_large_group_with_bad_signatures_names_exactly_these() {
    let mut rng = rng(13);
    let key = SecretKey::generate(&mut rng);
    let honest: Vec<Check> = (0..300).map(|_| signed(&key, &mut rng)).collect();
    let everywhere: Vec<usize> = (0..honest.len()).collect();
    for bad in [&[][..], &[0], &[299], &[149, 150], &[3, 64, 65, 66, 191, 298], &everywhere] {
        let (mut checks, mut expected) = (honest.clone(), vec![Ok(()); honest.len()]);
        for &place in bad {
            let (check, error) = spoilt(&honest[place], place);
            (checks[place], expected[place]) = (check, Err(error));
        }
        assert_eq!(schnorr::verify_many(&checks, &mut rng), expected, "bad at {bad:?}");
        assert_eq!(schnorr::admit_many(&checks, &mut rng), expected, "bad at {bad:?}");
    }
}

#[test]
fn two_bad_signatures_that_cancel_are_both_found() {
    let (mut one, mut two) = (good(6), good(7));
    one.signature.s += Scalar::ONE;
    two.signature.s -= Scalar::ONE;
    let verdicts = schnorr::verify_many(&[good(8), one, two, good(9)], &mut rng(1));
    assert_eq!(verdicts, [Ok(()), Err(SignatureError::Forged), Err(SignatureError::Forged), Ok(())]);
    assert_eq!(schnorr::verify_many(&[], &mut rng(1)), []);
}

#[test]
fn aimed_nonce_is_still_provable() {
    let mut rng = rng(10);
    let top = Scalar::from(5u64).pow([WINDOWS as u64 - 1]);
    for (a, b) in schnorr::REPRESENTATIVES {
        let digit = Scalar::from(a) + schnorr::LAMBDA * Scalar::from(b);
        for _ in 0..8 {
            let key = SecretKey::generate(&mut rng);
            let check = sign_with_nonce(&key, Scalar::from(2u64) * digit * top, Fr::from(3u64), Fr::rand(&mut rng));
            assert_eq!(verdict(&check), Ok(()));
        }
    }
}

#[test]
fn keys_and_nonces_that_meet_window_points_are_still_provable() {
    for power in [0u64, 1, 28, 56] {
        for multiple in [1u64, 2, 3] {
            let scalar = Scalar::from(multiple) * Scalar::from(5u64).pow([power]);
            let key = SecretKey::from_bytes(&to_word(scalar)).unwrap();
            for nonce in [scalar, -scalar, Scalar::ONE, Scalar::from(2u64)] {
                assert_eq!(verdict(&sign_with_nonce(&key, nonce, Fr::from(1u64), Fr::from(power))), Ok(()));
            }
        }
    }
}

#[test]
fn witness_is_what_the_circuit_recomputes() {
    let Check { pk, domain, op_tag, m, signature } = good(11);
    let w = schnorr::witness(pk, domain, op_tag, m, &signature).unwrap();
    assert_eq!((w.a_x, w.r_x), (pk, signature.r_x));
    assert_eq!(w.a_y.square(), pk * pk * pk - Fr::from(17u64));
    assert!(!w.a_y.into_bigint().is_odd());
    let two64 = Fr::from(1u128 << 64);
    assert_eq!(w.e, Fr::from(w.h0) + two64 * (Fr::from(w.h1) + two64 * Fr::from(w.g)));
    assert!(w.g < 1 << 126);
    let challenge = schnorr::challenge(w.e);
    let sum: Projective = w.windows.iter().sum();
    let r = (challenge.multiply(schnorr::Affine::new_unchecked(w.a_x, w.a_y)) + sum).into_affine();
    assert_eq!((r.x, r.y.into_bigint().is_odd()), (signature.r_x, signature.r_y_odd));
    assert_eq!(sum, Projective::generator() * signature.s);
}

#[test]
fn key_and_its_negative_are_one_key() {
    let mut rng = rng(12);
    let scalar = Scalar::rand(&mut rng);
    let [plus, minus] = [scalar, -scalar].map(|s| SecretKey::from_bytes(&to_word(s)).unwrap());
    assert_eq!((plus.public(), *plus.to_bytes()), (minus.public(), *minus.to_bytes()));
    let point = (Projective::generator() * scalar_of(&plus)).into_affine();
    assert_eq!(point.x, plus.public().0);
    assert!(!point.y.into_bigint().is_odd());
}

#[test]
fn zero_and_unreduced_secret_keys_are_refused() {
    let modulus: [u8; 32] = Scalar::MODULUS.to_bytes_be().try_into().unwrap();
    assert!(SecretKey::from_bytes(&[0; 32]).is_err());
    assert!(SecretKey::from_bytes(&modulus).is_err());
    assert!(SecretKey::from_bytes(&[0xff; 32]).is_err());
}

#[test]
fn secret_is_not_printed() {
    let key = SecretKey::from_seed(&[1; 32]).unwrap();
    let printed = format!("{key:?}");
    assert!(printed.contains("public"));
    assert!(!printed.contains(&scalar_of(&key).to_string()) && !printed.contains(&hex::encode(*key.to_bytes())));
}

/// One nonce for two challenges gives the key away, so everything that enters the challenge enters the nonce.
#[test]
fn nonce_depends_on_key_domain_tag_message_and_randomness() {
    let [key, other] = [[1; 32], [2; 32]].map(|seed| SecretKey::from_seed(&seed).unwrap());
    let (domain, m) = (Fr::from(1u64), Fr::from(2u64));
    let signatures = [
        schnorr::sign(&key, domain, 1, m, &[0; 32]),
        schnorr::sign(&key, domain, 2, m, &[0; 32]),
        schnorr::sign(&key, domain + Fr::ONE, 1, m, &[0; 32]),
        schnorr::sign(&key, domain, 1, m + Fr::ONE, &[0; 32]),
        schnorr::sign(&key, domain, 1, m, &[1; 32]),
        schnorr::sign(&other, domain, 1, m, &[0; 32]),
    ];
    let distinct: std::collections::HashSet<_> = signatures.iter().map(|s| s.r_x).collect();
    assert_eq!(distinct.len(), signatures.len());
    assert_eq!(signatures[0], schnorr::sign(&key, domain, 1, m, &[0; 32]));
}

#[test]
fn dummy_is_the_same_everywhere_and_provable() {
    for op_tag in 1u8..=3 {
        let (public, signature) = schnorr::dummy(Fr::from(77u64), op_tag, Fr::ZERO);
        assert_eq!(schnorr::dummy(Fr::from(77u64), op_tag, Fr::ZERO), (public, signature));
        assert_eq!(verdict(&Check { pk: public.0, domain: Fr::from(77u64), op_tag, m: Fr::ZERO, signature }), Ok(()));
    }
}

fn hash_cases() -> Value {
    let inputs = [[0u64; 4], [1, 2, 3, 4], [u64::MAX, 0, 7, 1 << 63]].map(|input| input.map(Fr::from));
    let extra = [[-Fr::ONE; 4]];
    let case = |i: &[Fr; 4]| json!({ "capacity": hex_fr(i[0]), "inputs": [hex_fr(i[1]), hex_fr(i[2]), hex_fr(i[3])], "hash": hex_fr(hash3(i[0], i[1], i[2], i[3])) });
    inputs.iter().chain(&extra).map(case).collect()
}

/// Sponges over the elements 0, 1, .. count - 1.
fn sponge_cases() -> Value {
    let digest = |count: u64| {
        let mut sponge = Sponge17::new(Fr::from(1u64));
        (0..count).for_each(|i| sponge.absorb(Fr::from(i)));
        hex_fr(sponge.finish())
    };
    [0u64, 1, 16, 17, 100].iter().map(|&count| json!({ "circuit_id": 1, "count": count, "h": digest(count) })).collect()
}

fn matrix(rows: &[Vec<Fr>]) -> Vec<Vec<String>> {
    rows.iter().map(|row| hex_all(row)).collect()
}

#[test]
fn hashes_equal_the_golden_file() {
    let p = poseidon::params(4);
    compare_with_golden(
        "poseidon",
        &json!({
            "t": p.t, "full_rounds": p.full_rounds, "partial_rounds": p.partial_rounds,
            "round_constants": matrix(&p.ark), "mds": matrix(&p.mds), "hash": hash_cases(), "sponge": sponge_cases(),
        }),
    );
}

fn signature_case(index: u8) -> Value {
    let (seed, random) = ([index; 32], [index.wrapping_mul(17); 32]);
    let key = SecretKey::from_seed(&seed).unwrap();
    let op_tag = 1 + index % 3;
    let (domain, m) = (hash3(Fr::ZERO, Fr::from(index), Fr::ZERO, Fr::ZERO), hash3(Fr::ONE, Fr::from(index), Fr::ZERO, Fr::ZERO));
    let signature = schnorr::sign(&key, domain, op_tag, m, &random);
    let e = schnorr::challenge_hash(domain, op_tag, signature.r_x, key.public().0, m);
    let challenge = schnorr::challenge(e);
    json!({
        "seed": to_hex(&seed), "secret_key": to_hex(&*key.to_bytes()), "public_key": hex_fr(key.public().0),
        "domain": hex_fr(domain), "op_tag": op_tag, "message": hex_fr(m), "random": to_hex(&random),
        "e": hex_fr(e), "h0": format!("{:#018x}", challenge.h0), "h1": format!("{:#018x}", challenge.h1), "c": to_hex(&to_word(challenge.scalar)),
        "signature": to_hex(&signature.to_bytes()),
    })
}

#[test]
fn signatures_equal_the_golden_file() {
    compare_with_golden("signature", &(0..12).map(signature_case).collect());
}

/// The digits of one form of S, of the many that a prover may take.
fn recode_case(scalar: Scalar, start: u64) -> Value {
    let start = (Projective::generator() * Scalar::from(start)).into_affine();
    let digits = schnorr::recode(scalar, start).unwrap();
    json!({
        "s": to_hex(&to_word(scalar)), "start": [hex_fr(start.x), hex_fr(start.y)],
        "units": digits.map(|digit| digit.unit).to_vec(), "representatives": digits.map(|digit| digit.representative).to_vec(),
    })
}

fn dummy_case(op_tag: u8) -> Value {
    let domain = Fr::from(31337u64);
    let message = if op_tag == 1 { Transfer::default().message() } else { Withdraw::default().message(domain) };
    let (key, signature) = schnorr::dummy(domain, op_tag, message);
    json!({
        "domain": hex_fr(domain), "op_tag": op_tag, "message": hex_fr(message),
        "public_key": hex_fr(key.0), "signature": to_hex(&signature.to_bytes()),
    })
}

/// 64 bytes that are no signature of this check, with the reason.
fn refused_case(name: &str, check: &Check, bytes: &[u8; 64]) -> Value {
    let read = Signature::from_bytes(bytes).and_then(|signature| verdict(&Check { signature, ..*check }));
    json!({
        "case": name, "public_key": hex_fr(check.pk), "domain": hex_fr(check.domain), "op_tag": check.op_tag, "message": hex_fr(check.m),
        "signature": to_hex(bytes), "error": format!("{:?}", read.unwrap_err()),
    })
}

fn refused_cases() -> Vec<Value> {
    let (check, other) = (good(21), good(22));
    let bytes = check.signature.to_bytes();
    let of = |signature: Signature| signature.to_bytes();
    let mut s_plus_q = bytes;
    s_plus_q[32..].copy_from_slice(&add_modulus(&bytes[32..], Scalar::MODULUS.into()));
    let mut r_plus_r = bytes;
    r_plus_r[0] &= 0x7f;
    let sum = add_modulus(&r_plus_r[..32], Fr::MODULUS.into());
    r_plus_r[..32].copy_from_slice(&sum);
    vec![
        refused_case("S + q", &check, &s_plus_q),
        refused_case("R.x + r", &check, &r_plus_r),
        refused_case("R.x of no point", &check, &of(Signature { r_x: off_curve(), ..check.signature })),
        refused_case("zeros", &check, &[0; 64]),
        refused_case("key of no point", &Check { pk: off_curve(), ..check }, &bytes),
        refused_case("other sign of R.y", &check, &of(Signature { r_y_odd: !check.signature.r_y_odd, ..check.signature })),
        refused_case("-S", &check, &of(Signature { s: -check.signature.s, ..check.signature })),
        refused_case("another key", &Check { pk: other.pk, ..check }, &bytes),
        refused_case("another message", &Check { m: other.m, ..check }, &bytes),
        refused_case("another domain", &Check { domain: other.domain, ..check }, &bytes),
        refused_case("another operation", &Check { op_tag: 2, ..check }, &bytes),
    ]
}

#[test]
fn edges_of_signatures_equal_the_golden_file() {
    let scalars = [(Scalar::ZERO, 2), (Scalar::ONE, 3), (-Scalar::ONE, 5), (schnorr::LAMBDA, 7), (Scalar::from(u128::MAX), 11)];
    let recode: Vec<Value> = scalars.into_iter().map(|(scalar, start)| recode_case(scalar, start)).collect();
    compare_with_golden("signature-edges", &json!({ "refused": refused_cases(), "dummy": [dummy_case(1), dummy_case(2)], "recode": recode }));
}
