//! Schnorr on Grumpkin in the circuit: 1,301 constraints.
//!
//! ```text
//! key_on_curve    x2 = x^2, x3 = x2 x, y^2 = x3 - 17                                3
//! start           acc = 2 (A + phi A) = 2 (beta^2 x, -y)                            3
//! ladder          64 times: a digit (xq, yq), then acc = 2 acc + (xq, yq)           64 (2 + 5)
//! digits_high     sum 2^i xq_i = x (2^64 - 1 + (beta - 1) h1)                       1
//! window          57 times: a point of 24, then acc += point (the last: x only)    57 (5 + 3) - 1
//! hash            e = Poseidon_4(domain + op_tag; acc.x, x, m)                      264
//! challenge_range e = h0 + 2^64 h1 + 2^128 g, g of 126 bits                         126
//! digits_low      sum 2^i yq_i = y (2 h0 - (2^64 - 1))                              1
//! ```
//!
//! The 24 points of window i are u 5^i d_m G: six units u times four digits d_m. A digit of the ladder is xq in {x, beta x} and
//! yq in {y, -y}: no booleans, because x and y are never 0 on this curve. h0 and h1 need no range: the two sums make them
//! 64-bit numbers. S itself is never rebuilt: that the windows sum to some S G is all that knowledge of a signature means, and
//! Groth16 is a proof of knowledge.
//!
//! The windows are chained onto c A. A stand-alone accumulator could be driven into 0/0 by chosen digits and then be
//! anything; chained, an exceptional addition gives away the discrete logarithm of A. In the ladder acc = [k] A with |k| >= 2, so
//! acc is never +-(xq, yq) and no slope is 0/0, whatever the prover does.
//!
//! Free choices: y (either root: who signs for A signs for -A), the sign of R.y, which of many window digits spell S, and, for the 32 %
//! of values below 2^254 - r, the reading of e: g has 126 bits, so h0, h1 and g may spell e + r as well, whose low half is another
//! challenge. Only the key's holder can use any of them; a forger gets two tries for each R, so the challenge is worth 127 bits.

use crate::builder::{Builder, Num};
use crate::poseidon::hash3;
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field, PrimeField};
use sheaf_protocol::field::pow2;
use sheaf_protocol::ops::OpTag;
use sheaf_protocol::schnorr::{self, CHALLENGE_DIGITS, WINDOWS};

/// A point in the circuit.
type Point = (Num, Num);

/// Bits of g, the part of e above the challenge.
const REST_BITS: usize = 126;

/// A signature as the numbers of the circuit.
#[derive(Clone, Debug, PartialEq)]
pub struct SignatureWitness {
    /// x of the key, the public key; tied to a slot by KEY.
    pub key: Fr,
    /// y of the key, the root the signer used.
    pub key_y: Fr,
    /// Low half of the challenge.
    pub h0: u64,
    /// High half of the challenge.
    pub h1: u64,
    /// The point of each window.
    pub windows: [(Fr, Fr); WINDOWS],
}

impl Default for SignatureWitness {
    fn default() -> Self {
        Self { key: Fr::ZERO, key_y: Fr::ZERO, h0: 0, h1: 0, windows: [(Fr::ZERO, Fr::ZERO); WINDOWS] }
    }
}

struct Key {
    x: Num,
    y: Num,
    x_squared: Num,
    /// `x^3 - 17`, the square of y.
    y_squared: Num,
}

fn key_on_curve(b: &mut Builder<'_>, w: &SignatureWitness) -> Key {
    b.group("signature.key_on_curve");
    let (x, y) = (b.alloc(w.key), b.alloc(w.key_y));
    let x_squared = b.mul(&x, &x);
    let y_squared = &b.mul(&x_squared, &x) - Fr::from(17u64);
    b.enforce(&y, &y, &y_squared);
    Key { x, y, x_squared, y_squared }
}

/// `2 (A + phi A)`: since `1 + phi + phi^2 = 0` it is the double of `-phi^2 A = (beta^2 x, -y)`.
fn start(b: &mut Builder<'_>, key: &Key) -> Point {
    b.group("signature.start");
    let beta = schnorr::BETA;
    let (px, py) = (&key.x * schnorr::BETA_SQUARED, -&key.y);
    // the slope 3 px^2 / (2 py), with (beta^2 x)^2 = beta x^2
    let slope = b.divide(&(&key.x_squared * (beta * Fr::from(3u64))), &(&py * Fr::from(2u64)));
    let slope_squared = b.mul(&slope, &slope);
    let x = &slope_squared - &(&px * Fr::from(2u64));
    let y = &b.mul(&slope, &(&px - &x)) - &py;
    (x, y)
}

/// `(x', y')` of the sum of two points at slope `slope`, of which one is `p` and `others` is the sum of both x.
fn third_point(b: &mut Builder<'_>, slope: &Num, p: &Point, others: &Num) -> Point {
    let x = line_x(b, slope, others);
    let y = b.alloc(slope.value() * (p.0.value() - x.value()) - p.1.value());
    b.enforce(slope, &(&p.0 - &x), &(&y + &p.1));
    (x, y)
}

/// x of the third point on a line: `slope^2 = x + others`.
fn line_x(b: &mut Builder<'_>, slope: &Num, others: &Num) -> Num {
    let x = b.alloc(slope.value().square() - others.value());
    b.enforce(slope, slope, &(&x + others));
    x
}

/// `2 p + q` as `(p + q) + p`, without the y of `p + q`: 5 constraints.
fn double_add(b: &mut Builder<'_>, p: &Point, q: &Point) -> Point {
    let first = b.divide(&(&q.1 - &p.1), &(&q.0 - &p.0));
    let middle = line_x(b, &first, &(&p.0 + &q.0));
    let both = b.divide(&(&p.1 * Fr::from(2u64)), &(&p.0 - &middle));
    third_point(b, &(&both - &first), p, &(&middle + &p.0))
}

/// The challenge ladder; returns c A and `sum 2^i yq_i`.
fn ladder(b: &mut Builder<'_>, key: &Key, h1: &Num, w: &SignatureWitness) -> (Point, Num) {
    let beta = schnorr::BETA;
    let mut acc = start(b, key);
    let mut digits: Vec<Point> = Vec::with_capacity(CHALLENGE_DIGITS);
    for i in (0..CHALLENGE_DIGITS).rev() {
        b.group("signature.ladder_digit");
        let x = b.alloc(if w.h1 >> i & 1 == 1 { w.key * beta } else { w.key });
        let y = b.alloc(if w.h0 >> i & 1 == 1 { w.key_y } else { -w.key_y });
        b.enforce(&(&x - &key.x), &(&x - &(&key.x * beta)), &Num::zero());
        b.enforce(&y, &y, &key.y_squared);
        digits.push((x, y));
        b.group("signature.ladder_add");
        acc = double_add(b, &acc, &digits[digits.len() - 1]);
    }
    let weight = |step: usize| pow2((CHALLENGE_DIGITS - 1 - step) as u64);
    let sum_x = Num::weighted(Fr::ZERO, digits.iter().enumerate().map(|(step, digit)| (weight(step), &digit.0)));
    let sum_y = Num::weighted(Fr::ZERO, digits.iter().enumerate().map(|(step, digit)| (weight(step), &digit.1)));
    b.group("signature.digits_high");
    b.enforce(&key.x, &(&(h1 * (beta - Fr::ONE)) + Fr::from(u64::MAX)), &sum_x);
    (acc, sum_y)
}

/// One of the 24 points of window `i`: `y^2 = x^3 - 17` and x^3 one of four constants.
fn window_point(b: &mut Builder<'_>, i: usize, value: (Fr, Fr)) -> Point {
    b.group("signature.window_point");
    let (x, y) = (b.alloc(value.0), b.alloc(value.1));
    let square = b.mul(&x, &x);
    let cube = b.mul(&square, &x);
    b.enforce(&y, &y, &(&cube - Fr::from(17u64)));
    let cube_squared = b.mul(&cube, &cube);
    let c = schnorr::windows()[i].map(|point| point.x.square() * point.x);
    let pair = |c0: Fr, c1: Fr| Num::weighted(c0 * c1, [(Fr::ONE, &cube_squared), (-(c0 + c1), &cube)].into_iter());
    b.enforce(&pair(c[0], c[1]), &pair(c[2], c[3]), &Num::zero());
    (x, y)
}

/// Adds the windows onto `acc`; returns x of the sum, which is R.x.
fn windows(b: &mut Builder<'_>, mut acc: Point, w: &SignatureWitness) -> Num {
    for (i, value) in w.windows.iter().enumerate() {
        let q = window_point(b, i, *value);
        b.group("signature.window_add");
        let slope = b.divide(&(&q.1 - &acc.1), &(&q.0 - &acc.0));
        let others = &acc.0 + &q.0;
        if i + 1 == WINDOWS {
            return line_x(b, &slope, &others);
        }
        acc = third_point(b, &slope, &acc, &others);
    }
    acc.0
}

/// Ties e to the ladder's digits: `e = h0 + 2^64 h1 + 2^128 g`, of which h0 is what is left.
fn split_challenge(b: &mut Builder<'_>, key: &Key, e: &Num, h1: &Num, sum_y: &Num) {
    b.group("signature.challenge_range");
    let high = e.value().into_bigint() >> 128;
    let (g, _) = b.ranged(Fr::from_bigint(high).unwrap_or_default(), REST_BITS);
    let h0 = Num::weighted(Fr::ZERO, [(Fr::ONE, e), (-pow2(64), h1), (-pow2(128), &g)].into_iter());
    b.group("signature.digits_low");
    b.enforce(&key.y, &(&(&h0 * Fr::from(2u64)) - Fr::from(u64::MAX)), sum_y);
}

/// Verifies that the holder of a key signed `message`; returns the key's x and e, which the transcript must absorb.
pub fn verify(b: &mut Builder<'_>, domain: &Num, op_tag: OpTag, message: &Num, w: &SignatureWitness) -> (Num, Num) {
    let key = key_on_curve(b, w);
    b.group("signature.digits_high");
    let h1 = b.alloc(Fr::from(w.h1));
    let (challenge_times_key, sum_y) = ladder(b, &key, &h1, w);
    let r_x = windows(b, challenge_times_key, w);
    b.group("signature.hash");
    let e = hash3(b, &(domain + Fr::from(op_tag as u64)), [&r_x, &key.x, message]);
    split_challenge(b, &key, &e, &h1, &sum_y);
    (key.x, e)
}
