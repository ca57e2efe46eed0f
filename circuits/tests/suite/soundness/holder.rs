//! What only the holder of a key can make: signatures in which one row lies and S makes up for it, so that no other row notices. In an
//! addition the lie changes the sign of a point or stops half-way; the sum stays on the curve, and its multiple of A is known.

use super::score::Lie;
use crate::forgery::{Forge, variables_of};
use ark_bn254::Fr;
use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::{AdditiveGroup, BitIteratorBE, Field, PrimeField, UniformRand};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sheaf_circuits::builder::{Builder, Num, Section, Tampering, VarIndex};
use sheaf_circuits::poseidon::hash3;
use sheaf_circuits::signature::SignatureWitness;
use sheaf_protocol::field::{from_word, pow2};
use sheaf_protocol::ops::{OpTag, Register, TAG_REGISTER_MESSAGE, TAG_WITHDRAW_MESSAGE, Transfer, Withdraw};
use sheaf_protocol::schnorr::{
    self, Affine, BETA, BETA_SQUARED, CHALLENGE_DIGITS, Challenge, LAMBDA, Projective, REPRESENTATIVES, Scalar, WINDOWS, challenge, challenge_hash,
};

/// Every signature of the circuit; they are unused slots' here, signed by the holder of key 1.
pub(super) const SIGNATURES: [Section; 7] =
    [("transfer", 0), ("transfer", 1), ("transfer", 2), ("transfer", 3), ("withdraw", 0), ("withdraw", 1), ("register", 0)];

/// Tries with other nonces before a lie is given up.
const TRIES: usize = 400;

impl Forge {
    pub(super) fn signature(&mut self, (kind, i): Section) -> &mut SignatureWitness {
        match kind {
            "transfer" => &mut self.witness.transfers[i].signature,
            "withdraw" => &mut self.witness.withdrawals[i].signature,
            _ => &mut self.witness.registers[i].signature,
        }
    }
}

fn affine(point: Projective) -> Affine {
    point.into_affine()
}

struct Holder {
    section: Section,
    secret: Scalar,
    key: Affine,
    domain: Fr,
    tag: OpTag,
    message: Fr,
    rng: ChaCha20Rng,
}

/// A nonce and what follows from it.
struct Nonce {
    k: Scalar,
    r: Affine,
    e: Fr,
}

impl Holder {
    fn of(f: &Forge, section: Section) -> Self {
        let secret: Scalar = from_word(&f.world.keys[1].to_bytes()).unwrap();
        let domain = f.world.domain;
        let (tag, message) = match section.0 {
            "transfer" => (OpTag::Transfer, Transfer::default().message()),
            "withdraw" => (OpTag::Withdraw, Withdraw::default().message(domain)),
            _ => (OpTag::Register, Register::default().message(domain)),
        };
        let key = affine(Projective::generator() * secret);
        Self { section, secret, key, domain, tag, message, rng: ChaCha20Rng::seed_from_u64(21) }
    }

    fn variable(&self, group: &str, at: usize) -> VarIndex {
        variables_of(self.section, &format!("signature.{group}"))[at]
    }

    fn nonce(&mut self) -> Nonce {
        let k = Scalar::rand(&mut self.rng);
        let r = affine(Projective::generator() * k);
        Nonce { k, r, e: challenge_hash(self.domain, self.tag as u8, r.x, self.key.x, self.message) }
    }

    /// The first nonce for which `lie` works; without one there is no lie, and nothing is said of its row.
    fn search(&mut self, mut lie: impl FnMut(&mut Self, &Nonce) -> Option<()>) {
        (0..TRIES).find_map(|_| {
            let nonce = self.nonce();
            lie(self, &nonce)
        });
    }

    /// The windows of `s G` from `start` on.
    fn windows(s: Scalar, start: Affine) -> Option<Vec<Affine>> {
        let digits = schnorr::recode(s, start)?;
        Some((0..WINDOWS).map(|i| digits[i].point(i)).collect())
    }

    fn install(&self, f: &mut Forge, c: Challenge, windows: &[Affine]) {
        let windows = std::array::from_fn(|i| (windows[i].x, windows[i].y));
        *f.signature(self.section) = SignatureWitness { key: self.key.x, key_y: self.key.y, h0: c.h0, h1: c.h1, windows };
    }

    /// A signature whose ladder ends at `multiple` A.
    fn sign(&self, f: &mut Forge, nonce: &Nonce, c: Challenge, multiple: Scalar) -> Option<()> {
        let windows = Self::windows(nonce.k - multiple * self.secret, affine(self.key * multiple))?;
        self.install(f, c, &windows);
        Some(())
    }
}

// ---- The hashes ----

/// The hash with one variable 5 more; its value, and the hash.
fn hash_with_a_lie(capacity: Fr, inputs: [Fr; 3], at: usize) -> (Fr, Fr) {
    let run = |lies: &Tampering| {
        let mut b = Builder::values(0, 1, lies);
        let [x, y, z] = inputs.map(Num::constant);
        let hash = hash3(&mut b, &Num::constant(capacity), [&x, &y, &z]).value();
        (b.into_values(), hash)
    };
    let lie = run(&Tampering::new()).0[at] + Fr::from(5u64);
    (lie, run(&Tampering::from([(at as VarIndex + 1, lie)])).1)
}

fn challenge_hashes(section: Section) -> Vec<Lie> {
    let lie = |at: usize| -> Lie {
        Box::new(move |f| {
            let mut holder = Holder::of(f, section);
            holder.search(|holder, nonce| {
                let (value, e) = hash_with_a_lie(holder.domain + Fr::from(holder.tag as u64), [nonce.r.x, holder.key.x, holder.message], at);
                let c = challenge(e);
                holder.sign(f, nonce, c, c.scalar)?;
                f.set(holder.variable("hash", at), value);
                Some(())
            });
        })
    };
    (0..variables_of(section, "signature.hash").len()).map(lie).collect()
}

/// The message's hash lies, and the holder signs what comes out.
fn message_hashes(section: Section) -> Vec<Lie> {
    let lie = |at: usize| -> Lie {
        Box::new(move |f| {
            let mut holder = Holder::of(f, section);
            let tag = if section.0 == "withdraw" { TAG_WITHDRAW_MESSAGE } else { TAG_REGISTER_MESSAGE };
            let (value, message) = hash_with_a_lie(holder.domain + Fr::from(tag), [Fr::ZERO; 3], at);
            holder.message = message;
            holder.search(|holder, nonce| {
                let c = challenge(nonce.e);
                holder.sign(f, nonce, c, c.scalar)
            });
            // after the two words
            f.set(variables_of(section, "message")[2 + at], value);
        })
    };
    (0..variables_of(section, "message").len() - 2).map(lie).collect()
}

// ---- The ladder ----

/// Rows of one step, in order.
#[derive(Clone, Copy)]
enum Row {
    First,
    Middle,
    Both,
    X,
    Y,
}

const ROWS: [Row; 5] = [Row::First, Row::Middle, Row::Both, Row::X, Row::Y];

/// The digit of step `step`, as a multiple of A.
fn digit(c: Challenge, step: usize) -> Scalar {
    let i = CHALLENGE_DIGITS - 1 - step;
    let size = if c.h1 >> i & 1 == 1 { LAMBDA } else { Scalar::from(1u64) };
    if c.h0 >> i & 1 == 1 { size } else { -size }
}

/// The multiple of A before each step and at the end, from `start`, where step `lie.0` ends elsewhere; `None` if an addition is exceptional.
fn multiples(c: Challenge, start: Scalar, lie: Option<(usize, Row)>) -> Option<Vec<Scalar>> {
    let mut all = vec![start];
    for step in 0..CHALLENGE_DIGITS {
        let (k, d) = (all[step], digit(c, step));
        let next = k.double() + d;
        if k == d || k == -d || next.is_zero_scalar() {
            return None;
        }
        all.push(match lie {
            Some((at, row)) if at == step => match row {
                Row::First => k.double() - d,
                Row::Middle => k - d,
                Row::Both => -d,
                Row::X => -k,
                Row::Y => -next,
            },
            _ => next,
        });
    }
    Some(all)
}

trait IsZero {
    fn is_zero_scalar(&self) -> bool;
}

impl IsZero for Scalar {
    fn is_zero_scalar(&self) -> bool {
        *self == Scalar::from(0u64)
    }
}

fn slope(p: Affine, q: Affine) -> Fr {
    (q.y - p.y) / (q.x - p.x)
}

fn honest_start() -> Scalar {
    Scalar::from(2u64) * (Scalar::from(1u64) + LAMBDA)
}

fn ladder(section: Section, step: usize, row: Row) -> Lie {
    Box::new(move |f| {
        let mut holder = Holder::of(f, section);
        holder.search(|holder, nonce| {
            let c = challenge(nonce.e);
            let all = multiples(c, honest_start(), Some((step, row)))?;
            holder.sign(f, nonce, c, all[CHALLENGE_DIGITS])?;
            let [p, q] = [all[step], digit(c, step)].map(|multiple| affine(holder.key * multiple));
            let value = match row {
                Row::First => slope(p, -q),
                Row::Middle => q.x,
                Row::Both => slope(p, -affine(p + q)) + slope(p, q),
                Row::X => p.x,
                Row::Y => -affine(p + q + p).y,
            };
            f.set(holder.variable("ladder_add", 5 * step + row as usize), value);
            Some(())
        });
    })
}

/// The ladder starts at half, or on the other side: 2 P is the start, P = -lambda^2 A.
fn start(section: Section, half: bool) -> Lie {
    Box::new(move |f| {
        let mut holder = Holder::of(f, section);
        holder.search(|holder, nonce| {
            let c = challenge(nonce.e);
            let all = multiples(c, if half { LAMBDA.square() } else { -honest_start() }, None)?;
            holder.sign(f, nonce, c, all[CHALLENGE_DIGITS])?;
            let p = Affine::new_unchecked(BETA_SQUARED * holder.key.x, -holder.key.y);
            if half {
                f.set(holder.variable("start", 1), p.x * Fr::from(3u64));
            } else {
                let product = affine(p + p).y + p.y;
                f.set(holder.variable("start", 2), p.y.double() - product);
            }
            Some(())
        });
    })
}

/// A digit lambda^2: `1 + beta` of h1 stands for it, so e has a second reading.
fn digit_beyond(section: Section, step: usize) -> Lie {
    Box::new(move |f| {
        let mut holder = Holder::of(f, section);
        let j = (CHALLENGE_DIGITS - 1 - step) as u64;
        holder.search(|holder, nonce| {
            let reading = nonce.e - pow2(64 + j) * (BETA + Fr::ONE);
            let other = Some(challenge(reading)).filter(|other| other.h1 >> j & 1 == 0)?;
            let sign = if other.h0 >> j & 1 == 1 { Scalar::from(1u64) } else { -Scalar::from(1u64) };
            let multiple = other.scalar + sign * Scalar::from(1u128 << j) * (LAMBDA.square() - Scalar::from(1u64));
            holder.sign(f, nonce, other, multiple)?;
            f.set(holder.variable("ladder_digit", 2 * step), BETA_SQUARED * holder.key.x);
            f.set(holder.variable("digits_high", 0), Fr::from(other.h1) + pow2(j) * (BETA + Fr::ONE));
            let rest = reading.into_bigint() >> 128;
            for (i, bit) in variables_of(holder.section, "signature.challenge_range").into_iter().enumerate() {
                f.set(bit, Fr::from(ark_ff::BigInteger::get_bit(&rest, i)));
            }
            Some(())
        });
    })
}

/// The holder answers another challenge than e has: other signs, or other sizes of its digits.
fn other_challenge(section: Section, high: bool) -> Lie {
    Box::new(move |f| {
        let mut holder = Holder::of(f, section);
        holder.search(|holder, nonce| {
            let honest = challenge(nonce.e);
            let low = u128::from(honest.h0) ^ u128::from(!high);
            let other = challenge(Fr::from(low | u128::from(honest.h1 ^ u64::from(high)) << 64));
            holder.sign(f, nonce, other, other.scalar)?;
            f.set(holder.variable("digits_high", 0), Fr::from(honest.h1));
            Some(())
        });
    })
}

// ---- The windows ----

/// The sum of what stands before window `i`.
fn before(start: Affine, windows: &[Affine], i: usize) -> Affine {
    affine(windows[..i].iter().fold(Projective::from(start), |sum, point| sum + point))
}

/// The slope goes to the other side of the window's point.
fn window_slope(section: Section, i: usize) -> Lie {
    Box::new(move |f| {
        let mut holder = Holder::of(f, section);
        holder.search(|holder, nonce| {
            let c = challenge(nonce.e);
            let start = affine(holder.key * c.scalar);
            let mut windows = Holder::windows(nonce.k - c.scalar * holder.secret, start)?;
            let slope = slope(before(start, &windows, i), windows[i]);
            windows[i] = -windows[i];
            holder.install(f, c, &windows);
            f.set(holder.variable("window_add", 3 * i), slope);
            Some(())
        });
    })
}

/// The sum so far changes its sign; so do the windows before.
fn window_y(section: Section, i: usize) -> Lie {
    Box::new(move |f| {
        let mut holder = Holder::of(f, section);
        holder.search(|holder, nonce| {
            let c = challenge(nonce.e);
            let start = -affine(holder.key * c.scalar);
            let mut windows = Holder::windows(nonce.k + c.scalar * holder.secret, start)?;
            let sum = before(start, &windows, i + 1);
            windows[..=i].iter_mut().for_each(|point| *point = -*point);
            holder.install(f, c, &windows);
            f.set(holder.variable("window_add", 3 * i + 2), sum.y);
            Some(())
        });
    })
}

/// What stands when the sum before window `i` changes its sign and the window is left out.
struct LeftOut {
    /// Every window, those before `i` with the other sign.
    windows: Vec<Affine>,
    /// The sum before window `i`, as the circuit has it.
    sum: Affine,
}

impl Holder {
    fn leave_out(&mut self, nonce: &Nonce, c: Challenge, i: usize) -> Option<LeftOut> {
        // one of the 24 digits, in the hope that it comes out
        let unit = [Scalar::from(1u64), LAMBDA, LAMBDA.square()][self.rng.gen_range(0..3)];
        let (a, b) = REPRESENTATIVES[self.rng.gen_range(0..REPRESENTATIVES.len())];
        let sign = if self.rng.r#gen() { Scalar::from(1u64) } else { -Scalar::from(1u64) };
        let left_out = sign * unit * (Scalar::from(a) + LAMBDA * Scalar::from(b)) * Scalar::from(5u64).pow([i as u64]);
        let point = affine(Projective::generator() * left_out);
        let start = -affine(self.key * c.scalar);
        let mut windows = Self::windows(nonce.k + c.scalar * self.secret + left_out, start)?;
        if windows[i] != point {
            return None;
        }
        let sum = -before(start, &windows, i);
        windows[..=i].iter_mut().for_each(|point| *point = -*point);
        Some(LeftOut { windows, sum })
    }
}

/// The sum before the window changes its sign, and the window is left out.
fn window_x(section: Section, i: usize) -> Lie {
    Box::new(move |f| {
        let mut holder = Holder::of(f, section);
        holder.search(|holder, nonce| {
            let c = challenge(nonce.e);
            let left_out = holder.leave_out(nonce, c, i)?;
            holder.install(f, c, &left_out.windows);
            f.set(holder.variable("window_add", 3 * i + 1), left_out.sum.x);
            Some(())
        });
    })
}

/// A row of a window's point that lies.
#[derive(Clone, Copy, PartialEq)]
enum PointRow {
    YSquare,
    XSquare,
    XCube,
}

/// A window's point off the curve that the sum P comes back from. Any slope l leads to `(l^2 - 2 P.x, ...)`, after which the chord ends in
/// `-P`, as if it were a tangent in P: so the window is left out and the sum changes its sign.
fn point_off_the_curve(section: Section, i: usize, row: PointRow) -> Lie {
    Box::new(move |f| {
        let mut holder = Holder::of(f, section);
        holder.search(|holder, nonce| {
            let c = challenge(nonce.e);
            let LeftOut { mut windows, sum } = holder.leave_out(nonce, c, i)?;
            let points = schnorr::windows()[i].into_iter().flat_map(|point| [point, -point]);
            let (slope, cube) = match row {
                PointRow::YSquare => {
                    let slopes = points.map(|point| (sum.x.double() + point.x).sqrt());
                    (slopes.flatten().next()?, None)
                }
                _ => {
                    let slopes = points.map(|point| Some((slope_to(sum, point.y)?, Some(point.x.square() * point.x))));
                    slopes.flatten().next()?
                }
            };
            let x = slope.square() - sum.x.double();
            windows[i] = Affine::new_unchecked(x, sum.y + slope * (x - sum.x));
            holder.install(f, c, &windows);
            if let Some(cube) = cube {
                let (variable, value) = if row == PointRow::XSquare { (2, cube / x) } else { (3, cube) };
                f.set(holder.variable("window_point", 5 * i + variable), value);
            }
            Some(())
        });
    })
}

/// A slope l from `p` to a point with this y and x = `l^2 - 2 p.x`: the one root of `l^3 - 3 p.x l + p.y - y`, if it has one.
fn slope_to(p: Affine, y: Fr) -> Option<Fr> {
    let (linear, constant) = (p.x * Fr::from(3u64), y - p.y);
    // modulo l^3 = linear l + constant
    let multiply = |a: [Fr; 3], b: [Fr; 3]| {
        let [third, fourth] = [a[1] * b[2] + a[2] * b[1], a[2] * b[2]];
        [
            a[0] * b[0] + third * constant,
            a[0] * b[1] + a[1] * b[0] + third * linear + fourth * constant,
            a[0] * b[2] + a[1] * b[1] + a[2] * b[0] + fourth * linear,
        ]
    };
    let l = [Fr::ZERO, Fr::ONE, Fr::ZERO];
    let mut power = [Fr::ONE, Fr::ZERO, Fr::ZERO];
    for bit in BitIteratorBE::without_leading_zeros(Fr::MODULUS) {
        power = multiply(power, power);
        if bit {
            power = multiply(power, l);
        }
    }
    // l^r - l, whose roots are all the field, has this rest; its common root with the cubic is that of one more rest
    let [h0, h1, h2] = [power[0], power[1] - Fr::ONE, power[2]];
    let (h0, h1) = (h0 * h2.inverse()?, h1 * h2.inverse()?);
    let (r0, r1) = (h0 * h1 - constant, h1.square() - h0 - linear);
    Some(-r0 * r1.inverse()?).filter(|root| root.square() * root == linear * root + constant)
}

/// The last sum is R, whatever was added.
fn last_window(section: Section) -> Lie {
    Box::new(move |f| {
        let mut holder = Holder::of(f, section);
        holder.search(|holder, nonce| {
            let c = challenge(nonce.e);
            let other = Scalar::rand(&mut holder.rng);
            holder.install(f, c, &Holder::windows(other, affine(holder.key * c.scalar))?);
            f.set(holder.variable("window_add", 3 * (WINDOWS - 1) + 1), nonce.r.x);
            Some(())
        });
    })
}

/// A window's point that is none of its 24 but on the curve: what is missing to R. Its cube is one of the four, or its cube's square lies.
fn foreign_point(section: Section, i: usize, square: bool) -> Lie {
    Box::new(move |f| {
        let mut holder = Holder::of(f, section);
        holder.search(|holder, nonce| {
            let c = challenge(nonce.e);
            let start = affine(holder.key * c.scalar);
            let mut windows = Holder::windows(Scalar::rand(&mut holder.rng), start)?;
            let others = before(start, &windows, WINDOWS) - windows[i];
            windows[i] = affine(Projective::from(nonce.r) - others);
            holder.install(f, c, &windows);
            if square {
                let cubes = schnorr::windows()[i].map(|point| point.x.square() * point.x);
                let cube = windows[i].x.square() * windows[i].x;
                f.set(holder.variable("window_point", 5 * i + 4), (cubes[0] + cubes[1]) * cube - cubes[0] * cubes[1]);
            }
            Some(())
        });
    })
}

/// Every lie of a holder.
pub(super) fn lies() -> Vec<Lie> {
    let mut lies: Vec<Lie> = Vec::new();
    for section in SIGNATURES {
        lies.extend(challenge_hashes(section));
        lies.extend([start(section, true), start(section, false), other_challenge(section, true), other_challenge(section, false)]);
        for step in 0..CHALLENGE_DIGITS {
            lies.push(digit_beyond(section, step));
            lies.extend(ROWS.map(|row| ladder(section, step, row)));
        }
        for i in 0..WINDOWS {
            lies.extend([foreign_point(section, i, true), foreign_point(section, i, false), window_slope(section, i)]);
            if i + 1 < WINDOWS {
                lies.extend([window_x(section, i), window_y(section, i)]);
            }
            lies.extend([PointRow::YSquare, PointRow::XSquare, PointRow::XCube].map(|row| point_off_the_curve(section, i, row)));
        }
        lies.push(last_window(section));
    }
    for section in [("withdraw", 0), ("withdraw", 1), ("register", 0)] {
        lies.extend(message_hashes(section));
    }
    lies
}
