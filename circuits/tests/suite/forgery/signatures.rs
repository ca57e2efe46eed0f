//! Forged signatures. The victim's secret key is never used, except in those forgeries where a holder answers another
//! challenge than the one its hash demands (which would let two answers to one R be had, and so the key).

use super::{Base, Forge, Forgery, forgery_on, variables_of};
use ark_bn254::Fr;
use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::{AdditiveGroup, BigInt, BigInteger, BitIteratorBE, Field, MontFp, PrimeField, UniformRand, Zero};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use sheaf_circuits::builder::{Section, VarIndex};
use sheaf_circuits::signature::SignatureWitness;
use sheaf_protocol::field::{from_word, pow2};
use sheaf_protocol::ops::OpTag;
use sheaf_protocol::poseidon::params;
use sheaf_protocol::schnorr::{
    self, Affine, BETA, BETA_SQUARED, Challenge, LAMBDA, Projective, Scalar, Signature, SignatureError, WINDOWS, challenge, challenge_hash,
};
use std::collections::BTreeSet;

/// The signature under attack: the third transfer's (2 -> 4), the withdrawal's (from 4) or the register's (by 2).
struct Target {
    section: Section,
    tag: OpTag,
    message: Fr,
    domain: Fr,
    slot: u32,
    key: Affine,
    rng: ChaCha20Rng,
}

impl Target {
    fn new(f: &Forge, kind: &'static str) -> Self {
        let domain = f.world.domain;
        let (tag, slot, message) = match kind {
            "transfer" => (OpTag::Transfer, 2, f.world.transfer(2, 4, 0, 12_345, 10).op.message()),
            "register" => (OpTag::Register, 2, f.world.register(2, 0, 7, 9).signed.op.message(domain)),
            _ => (OpTag::Withdraw, 4, f.world.withdrawal(4, 0, 777, 5).op.message(domain)),
        };
        let honest = signature(f, kind);
        let key = Affine::new_unchecked(honest.key, honest.key_y);
        let index = if kind == "transfer" { 2 } else { 0 };
        Self { section: (kind, index), tag, message, domain, slot, key, rng: ChaCha20Rng::seed_from_u64(11) }
    }

    fn variables(&self, group: &str) -> Vec<VarIndex> {
        variables_of(self.section, &format!("signature.{group}"))
    }

    /// A number nobody knows more about than the forger does.
    fn scalar(&mut self) -> Scalar {
        Scalar::rand(&mut self.rng)
    }

    /// A point whose discrete logarithm plays no role.
    fn point(&mut self) -> Affine {
        (Projective::generator() * self.scalar()).into_affine()
    }

    fn hash(&self, r: Affine) -> Fr {
        challenge_hash(self.domain, self.tag as u8, r.x, self.key.x, self.message)
    }

    fn witness(&self, challenge: Challenge, windows: [(Fr, Fr); WINDOWS]) -> SignatureWitness {
        SignatureWitness { key: self.key.x, key_y: self.key.y, h0: challenge.h0, h1: challenge.h1, windows }
    }

    /// The holder's answer to another challenge, for nonce `k`.
    fn answer(&self, f: &Forge, k: Scalar, c: Scalar) -> Scalar {
        let secret: Scalar = from_word(&f.world.keys[self.slot as usize].to_bytes()).unwrap();
        k - c * secret
    }
}

const KINDS: [&str; 3] = ["transfer", "withdraw", "register"];

/// A batch with a signature of that kind.
fn base(kind: &str) -> Base {
    if kind == "register" { Base::Requests } else { Base::Rich }
}

fn signature<'f>(f: &'f Forge, kind: &str) -> &'f SignatureWitness {
    match kind {
        "transfer" => &f.witness.transfers[2].signature,
        "register" => &f.witness.registers[0].signature,
        _ => &f.witness.withdrawals[0].signature,
    }
}

fn install(f: &mut Forge, target: &Target, witness: SignatureWitness) {
    match target.section.0 {
        "transfer" => f.witness.transfers[2].signature = witness,
        "register" => f.witness.registers[0].signature = witness,
        _ => f.witness.withdrawals[0].signature = witness,
    }
}

/// The windows of `s G`, chained onto `start`.
fn windows(s: Scalar, start: Affine) -> [(Fr, Fr); WINDOWS] {
    let digits = schnorr::recode(s, start).unwrap();
    std::array::from_fn(|i| {
        let point = digits[i].point(i);
        (point.x, point.y)
    })
}

fn affine(point: Projective) -> Affine {
    point.into_affine()
}

fn digits_of(h0: u64, h1: u64) -> Challenge {
    challenge(Fr::from(u128::from(h0) | u128::from(h1) << 64))
}

/// Sets the rest g of the challenge; what does not fit goes to the top digit.
fn set_rest(f: &mut Forge, target: &Target, g: Fr) {
    let digits = target.variables("challenge_range");
    let (integer, top) = (g.into_bigint(), digits.len() - 1);
    let mut low = Fr::zero();
    for (i, digit) in digits[..top].iter().enumerate() {
        let bit = Fr::from(integer.get_bit(i));
        low += bit * pow2(i as u64);
        f.set(*digit, bit);
    }
    f.set(digits[top], (g - low) / pow2(top as u64));
}

/// The challenge is chosen first, and the rest of e takes up the difference.
fn rest_of_the_challenge(f: &mut Forge, mut t: Target) {
    let (s, c) = (t.scalar(), digits_of(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210));
    let start = affine(t.key * c.scalar);
    let r = affine(start + Projective::generator() * s);
    install(f, &t, t.witness(c, windows(s, start)));
    let g = (t.hash(r) - Fr::from(c.h0) - pow2(64) * Fr::from(c.h1)) / pow2(128);
    set_rest(f, &t, g);
}

/// The challenge is chosen first, and the last S-box of the hash makes e fit.
fn wrong_hash(f: &mut Forge, mut t: Target) {
    let (s, e) = (t.scalar(), Fr::from(u128::MAX - 12_345));
    let start = affine(t.key * challenge(e).scalar);
    let r = affine(start + Projective::generator() * s);
    install(f, &t, t.witness(challenge(e), windows(s, start)));
    let hash = t.variables("hash");
    let output = hash[hash.len() - 10];
    f.shift(output, (e - t.hash(r)) / params(4).mds[0][0]);
}

/// c A is whatever makes R come out.
fn wrong_ladder_sum(f: &mut Forge, mut t: Target) {
    let (s, r) = (t.scalar(), t.point());
    let wanted = affine(r - Projective::generator() * s);
    install(f, &t, t.witness(challenge(t.hash(r)), windows(s, wanted)));
    let [.., x, y] = t.variables("ladder_add")[..] else { panic!("a ladder") };
    f.set(x, wanted.x);
    f.set(y, wanted.y);
}

/// The ladder starts where it must to end where R asks.
fn wrong_start(f: &mut Forge, mut t: Target) {
    let (s, r) = (t.scalar(), t.point());
    let c = challenge(t.hash(r));
    let wanted = affine(r - Projective::generator() * s);
    let shift = Scalar::from(1u128 << 64);
    let from_digits = c.scalar - shift * Scalar::from(2u64) * (Scalar::from(1u64) + LAMBDA);
    let start = affine((wanted - t.key * from_digits) * shift.inverse().unwrap());
    install(f, &t, t.witness(c, windows(s, wanted)));
    let [_, square, product] = t.variables("start")[..] else { panic!("slope, its square, a product") };
    f.set(square, start.x + Fr::from(2u64) * BETA_SQUARED * t.key.x);
    f.set(product, start.y - t.key.y);
}

/// The last addition ends at R, whatever it adds.
fn wrong_window_sum(f: &mut Forge, mut t: Target) {
    let (s, r) = (t.scalar(), t.point());
    let c = challenge(t.hash(r));
    install(f, &t, t.witness(c, windows(s, affine(t.key * c.scalar))));
    let last = *t.variables("window_add").last().unwrap();
    f.set(last, r.x);
}

/// The last window is the point that is missing to R, on the curve but none of the 24.
fn foreign_window_point(f: &mut Forge, mut t: Target) {
    let (s, r) = (t.scalar(), t.point());
    let c = challenge(t.hash(r));
    let start = affine(t.key * c.scalar);
    let mut windows = windows(s, start);
    let others: Projective = windows[..WINDOWS - 1].iter().map(|(x, y)| Affine::new_unchecked(*x, *y)).sum();
    let missing = affine(Projective::from(r) - start - others);
    windows[WINDOWS - 1] = (missing.x, missing.y);
    install(f, &t, t.witness(c, windows));
}

/// The holder answers a challenge with other lambda digits than e has.
fn other_high_digits(f: &mut Forge, mut t: Target) {
    let k = t.scalar();
    let honest = challenge(t.hash(affine(Projective::generator() * k)));
    let other = digits_of(honest.h0, honest.h1 ^ 1);
    let s = t.answer(f, k, other.scalar);
    install(f, &t, t.witness(other, windows(s, affine(t.key * other.scalar))));
    // h1 is the first variable of its group, and the only one
    f.set(t.variables("digits_high")[0], Fr::from(honest.h1));
}

/// The holder answers a challenge with other signs than e has.
fn other_low_digits(f: &mut Forge, mut t: Target) {
    let k = t.scalar();
    let honest = challenge(t.hash(affine(Projective::generator() * k)));
    let other = digits_of(honest.h0 ^ 1, honest.h1);
    let s = t.answer(f, k, other.scalar);
    install(f, &t, t.witness(other, windows(s, affine(t.key * other.scalar))));
}

/// A digit lambda^2, which is no digit: `1 + beta` of h1 stands for it, so e has a second reading.
fn digit_lambda_squared(f: &mut Forge, mut t: Target) {
    let k = t.scalar();
    let e = t.hash(affine(Projective::generator() * k));
    let (j, reading) = (0..64).map(|j| (j, e - pow2(64 + j) * (BETA + Fr::from(1u64)))).find(|(j, x)| challenge(*x).h1 >> j & 1 == 0).unwrap();
    let other = challenge(reading);
    let sign = if other.h0 >> j & 1 == 1 { Scalar::from(1u64) } else { -Scalar::from(1u64) };
    let scalar = other.scalar + sign * Scalar::from(1u128 << j) * (LAMBDA.square() - Scalar::from(1u64));
    let s = t.answer(f, k, scalar);
    install(f, &t, t.witness(other, windows(s, affine(t.key * scalar))));
    let digit = t.variables("ladder_digit")[2 * (63 - j as usize)];
    f.set(digit, BETA_SQUARED * t.key.x);
    f.set(t.variables("digits_high")[0], Fr::from(other.h1) + pow2(j) * (BETA + Fr::from(1u64)));
    set_rest(f, &t, Fr::from_bigint(reading.into_bigint() >> 128).unwrap());
}

/// A prime that divides the order of one of Grumpkin's twists, the curves y^2 = x^3 + b.
const SMALL_ORDER: usize = 613;
/// That order, divided by the prime.
const TWIST_COFACTOR: Fr = MontFp!("35706758355365864962881575440876468333925466814515209890242792598447607344");

/// Chord or tangent on y^2 = x^3 + b for whatever b the points have; `None` at infinity.
fn add_anywhere(p: Option<(Fr, Fr)>, q: Option<(Fr, Fr)>) -> Option<(Fr, Fr)> {
    let (Some(p), Some(q)) = (p, q) else { return p.or(q) };
    let slope = match (q.0 - p.0).inverse() {
        Some(inverse) => (q.1 - p.1) * inverse,
        None if p.1 == q.1 => Fr::from(3u64) * p.0.square() * p.1.double().inverse()?,
        None => return None,
    };
    let x = slope.square() - p.0 - q.0;
    Some((x, slope * (p.0 - x) - p.1))
}

fn multiply_anywhere(p: (Fr, Fr), factor: Fr) -> Option<(Fr, Fr)> {
    BitIteratorBE::new(factor.into_bigint()).fold(None, |sum, bit| {
        let double = add_anywhere(sum, sum);
        if bit { add_anywhere(double, Some(p)) } else { double }
    })
}

/// The multiples of a point of order 613, from 0, on a curve that is not ours.
fn small_group(rng: &mut ChaCha20Rng) -> Vec<Option<(Fr, Fr)>> {
    loop {
        let Some(a) = multiply_anywhere((Fr::rand(rng), Fr::rand(rng)), TWIST_COFACTOR) else { continue };
        let multiples: Vec<_> = std::iter::successors(Some(None), |sum| Some(add_anywhere(*sum, Some(a)))).take(SMALL_ORDER + 1).collect();
        if multiples[SMALL_ORDER].is_none() && multiples[1..SMALL_ORDER].iter().all(Option::is_some) {
            return multiples[..SMALL_ORDER].to_vec();
        }
    }
}

/// c as a multiple of A in that group, where `(beta x, y)` is `lambda A`; `None` if the ladder meets a digit or infinity, as it may there.
fn challenge_in(c: Challenge, lambda: usize) -> Option<usize> {
    (0..64).rev().try_fold(2 * (1 + lambda), |sum, i| {
        let digit = if c.h1 >> i & 1 == 1 { lambda } else { 1 };
        let signed = if c.h0 >> i & 1 == 1 { digit } else { SMALL_ORDER - digit };
        let (sum, next) = (sum % SMALL_ORDER, (2 * sum + signed) % SMALL_ORDER);
        (sum != digit && sum != SMALL_ORDER - digit && next != 0).then_some(next)
    })
}

/// A key off the curve, of order 613 on another one: c A takes so few values that one can be guessed. Nobody holds it.
fn key_off_the_curve(f: &mut Forge, mut t: Target) {
    let multiples = small_group(&mut t.rng);
    let (x, y) = multiples[1].unwrap();
    t.key = Affine::new_unchecked(x, y);
    f.witness.accounts.iter_mut().filter(|account| account.idx == Fr::from(t.slot)).for_each(|account| account.key = x);
    let lambda = multiples.iter().position(|point| *point == Some((BETA * x, y))).unwrap();
    let honest = signature(f, t.section.0).windows;
    let choices =
        |window: usize| (0..24u8).map(move |i| schnorr::Digit { unit: i % 6, representative: i / 6 }.point(window)).map(|point| (point.x, point.y));
    let found = (1..SMALL_ORDER).find_map(|guess| {
        let before = honest[..WINDOWS - 2].iter().fold(multiples[guess], |sum, point| add_anywhere(sum, Some(*point)));
        let mut pairs = choices(WINDOWS - 2).flat_map(|first| choices(WINDOWS - 1).map(move |second| [first, second]));
        pairs.find_map(|pair| {
            let r = pair.iter().fold(before, |sum, point| add_anywhere(sum, Some(*point)))?;
            let c = challenge(t.hash(Affine::new_unchecked(r.0, r.1)));
            (challenge_in(c, lambda) == Some(guess)).then_some((c, pair))
        })
    });
    let (c, pair) = found.unwrap();
    let mut windows = honest;
    windows[WINDOWS - 2..].copy_from_slice(&pair);
    install(f, &t, t.witness(c, windows));
    let cube = t.variables("key_on_curve")[3];
    f.set(cube, y.square() + Fr::from(17u64));
}

pub(crate) fn forgeries() -> Vec<Forgery> {
    type Attack = fn(&mut Forge, Target);
    let attacks: [(&str, &'static str, Attack); 10] = [
        ("key_on_curve", "key_off_the_curve", key_off_the_curve),
        ("start", "wrong_start", wrong_start),
        ("ladder_digit", "digit_lambda_squared", digit_lambda_squared),
        ("ladder_add", "wrong_ladder_sum", wrong_ladder_sum),
        ("digits_high", "other_high_digits", other_high_digits),
        ("digits_low", "other_low_digits", other_low_digits),
        ("window_point", "foreign_window_point", foreign_window_point),
        ("window_add", "wrong_window_sum", wrong_window_sum),
        ("hash", "wrong_hash", wrong_hash),
        ("challenge_range", "rest_of_the_challenge_beyond_126_bits", rest_of_the_challenge),
    ];
    let of_kind = |kind: &'static str| {
        attacks.iter().map(move |(group, name, attack)| {
            let attack = *attack;
            forgery_on(base(kind), &format!("{kind}_{name}"), &[&format!("{kind}.signature.{group}")], move |f| {
                let target = Target::new(f, kind);
                attack(f, target);
            })
        })
    };
    KINDS.into_iter().flat_map(of_kind).collect()
}

/// What is looser in the circuit than in `verify`: nothing catches it, and nobody but the key's holder can make it.
fn assert_provable_but_not_verified(kind: &'static str, sign: fn(&mut Forge, Target) -> Signature) {
    let mut forge = Forge::on(base(kind));
    let target = Target::new(&forge, kind);
    let (key, domain, tag, message) = (target.key.x, target.domain, target.tag as u8, target.message);
    let signature = sign(&mut forge, target);
    assert_eq!(forge.caught_by(), BTreeSet::new());
    assert_eq!(schnorr::verify(key, domain, tag, message, &signature), Err(SignatureError::Forged));
}

fn stated(r: Affine, s: Scalar) -> Signature {
    Signature { r_x: r.x, r_y_odd: r.y.into_bigint().is_odd(), s }
}

/// `e + r`, if it has 254 bits as well.
fn second_reading(e: Fr) -> Option<BigInt<4>> {
    let mut reading = e.into_bigint();
    let carry = reading.add_with_carry(&Fr::MODULUS);
    (!carry && reading.num_bits() <= 254).then_some(reading)
}

#[test]
fn e_has_a_second_reading_that_only_the_holder_can_answer() {
    for kind in KINDS {
        assert_provable_but_not_verified(kind, |f, mut t| {
            let (k, r, reading) = loop {
                let k = t.scalar();
                let r = affine(Projective::generator() * k);
                if let Some(reading) = second_reading(t.hash(r)) {
                    break (k, r, reading);
                }
            };
            let other = digits_of(reading.0[0], reading.0[1]);
            let s = t.answer(f, k, other.scalar);
            install(f, &t, t.witness(other, windows(s, affine(t.key * other.scalar))));
            f.set(t.variables("digits_high")[0], Fr::from(reading.0[1]));
            set_rest(f, &t, Fr::from_bigint(reading >> 128).unwrap());
            stated(r, s)
        });
    }
}

/// 2^254 / r - 1 = 32.3 % of all values, as docs/protocol.md says.
#[test]
fn a_third_of_all_hashes_has_a_second_reading() {
    let mut rng = ChaCha20Rng::seed_from_u64(12);
    let doubled = (0..10_000).filter(|_| second_reading(Fr::rand(&mut rng)).is_some()).count();
    assert!((3_080..=3_370).contains(&doubled), "{doubled} of 10,000");
    assert!(second_reading(Fr::from(0u64)).is_some() && second_reading(-Fr::from(1u64)).is_none());
}

#[test]
fn the_holder_may_sign_for_the_other_root_of_the_key() {
    for kind in KINDS {
        assert_provable_but_not_verified(kind, |f, mut t| {
            let k = t.scalar();
            let r = affine(Projective::generator() * k);
            let c = challenge(t.hash(r));
            let s = k + k - t.answer(f, k, c.scalar);
            t.key = -t.key;
            install(f, &t, t.witness(c, windows(s, affine(t.key * c.scalar))));
            stated(r, s)
        });
    }
}
