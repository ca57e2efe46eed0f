//! The one opening of a batch, and openings of single slots.
//!
//! With the claims E, Z, Delta of the circuit, which lack the factor (zeta^n - 1)/n, the polynomial
//!
//! ```text
//! P = (1 - g) F + g F' - Z q - (E + g Delta)(zeta - 1) L_0
//! ```
//! vanishes at zeta, since L_0(zeta)(zeta - 1) supplies the factor. W = P/(X - zeta). P is zero on every empty slot but 0, so both
//! multi-scalar multiplications grow with the slots in use.

use super::quotient::over_domain;
use super::srs::{Srs, pairs};
use super::{TouchedSlot, combine, domain_point};
use crate::field::{Fr, G1Affine, G2Affine};
use ark_bn254::{G1Projective, G2Projective};
use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::{One, Zero, batch_inversion};
use ark_poly::EvaluationDomain;
use serde::{Deserialize, Serialize};

/// What the circuit claims about the touched slots at zeta, without the factor `(zeta^n - 1)/n` that L1 supplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// E: sum of W/(zeta - W) times the old value of each touched slot.
    #[serde(with = "crate::field::fr_hex")]
    pub e: Fr,
    /// Z: product of zeta - W, the vanishing polynomial of the touched slots.
    #[serde(with = "crate::field::fr_hex")]
    pub z: Fr,
    /// Delta: sum of W/(zeta - W) times the change of each touched slot.
    #[serde(with = "crate::field::fr_hex")]
    pub delta: Fr,
}

impl Claims {
    /// The claims that are true of these slots.
    pub fn of(touched: &[TouchedSlot], rho: Fr, zeta: Fr) -> Self {
        let points: Vec<Fr> = touched.iter().map(|slot| domain_point(slot.slot.0)).collect();
        let mut inverses: Vec<Fr> = points.iter().map(|point| zeta - point).collect();
        let z = inverses.iter().product();
        batch_inversion(&mut inverses);
        let mut claims = Self { e: Fr::zero(), z, delta: Fr::zero() };
        for ((slot, point), inverse) in touched.iter().zip(points).zip(inverses) {
            let old = combine(&slot.old, rho);
            claims.e += point * inverse * old;
            claims.delta += point * inverse * (combine(&slot.new, rho) - old);
        }
        claims
    }

    /// E, Z, Delta: the order of the public inputs.
    pub fn to_array(&self) -> [Fr; 3] {
        [self.e, self.z, self.delta]
    }
}

/// What L1 knows when it checks a batch's opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Commitments to key, dyn, owner before the batch.
    pub before: [G1Affine; 3],
    /// And after it.
    pub after: [G1Affine; 3],
    /// C_q.
    pub quotient: G1Affine,
    /// First challenge.
    pub rho: Fr,
    /// Second challenge.
    pub zeta: Fr,
    /// What the circuit proved at zeta.
    pub claims: Claims,
    /// Third challenge.
    pub gamma: Fr,
}

impl Statement {
    /// Commitment to P, from commitments.
    fn polynomial(&self, l0: &G1Affine) -> G1Projective {
        let [before, after] = [&self.before, &self.after].map(|commitments| combine_points(commitments, self.rho));
        let divided = G1Projective::from(self.quotient) * self.claims.z;
        before + (after - before) * self.gamma - divided - *l0 * self.zero_slot()
    }

    /// `(E + g Delta)(zeta - 1)`: the factor of L_0.
    pub(super) fn zero_slot(&self) -> Fr {
        (self.claims.e + self.gamma * self.claims.delta) * (self.zeta - Fr::one())
    }
}

/// `C_key + rho C_dyn + rho^2 C_owner`.
fn combine_points(commitments: &[G1Affine; 3], rho: Fr) -> G1Projective {
    (commitments[2] * rho + commitments[1]) * rho + commitments[0]
}

/// What a verifier of openings holds: two points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpeningKey {
    /// `[tau]_2`.
    pub tau_g2: G2Affine,
    /// `[L_0(tau)]_1` of the state's size.
    pub l0: G1Affine,
}

impl OpeningKey {
    /// True if `opening` shows the batch's statement: `e(P + zeta W, G2) = e(W, [tau]_2)`.
    pub fn verify(&self, statement: &Statement, opening: &G1Affine) -> bool {
        self.vanishes(statement.polynomial(&self.l0), statement.zeta, opening)
    }

    /// True if `opening` shows the slot's combined value.
    pub fn verify_slot(&self, statement: &SlotStatement, opening: &G1Affine) -> bool {
        self.vanishes(statement.polynomial(), domain_point(statement.idx), opening)
    }

    /// True if the committed polynomial vanishes at `point`.
    fn vanishes(&self, polynomial: G1Projective, point: Fr, opening: &G1Affine) -> bool {
        let left = polynomial + *opening * point;
        pairs(&[(left, G2Projective::generator().into_affine()), (-G1Projective::from(*opening), self.tau_g2)])
    }
}

/// A claim about one slot: its three values, combined by weights (L1's exit uses 0, 1, g).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotStatement {
    /// Commitments to key, dyn, owner.
    pub commitments: [G1Affine; 3],
    /// Slot index.
    pub idx: u32,
    /// Claimed key, dyn, owner.
    pub values: [Fr; 3],
    /// What each column is multiplied by.
    pub weights: [Fr; 3],
}

impl SlotStatement {
    /// Commitment to the combined column minus the combined value.
    fn polynomial(&self) -> G1Projective {
        let mut sum = -G1Projective::generator() * weigh(&self.values, &self.weights);
        for (commitment, weight) in self.commitments.iter().zip(self.weights) {
            sum += *commitment * weight;
        }
        sum
    }
}

/// Sum of the values times their weights.
pub(super) fn weigh(values: &[Fr; 3], weights: &[Fr; 3]) -> Fr {
    values.iter().zip(weights).map(|(value, weight)| *value * weight).sum()
}

impl Srs {
    /// Commitment to `P/(X - zeta)`, P given by its values; `zeta` is outside the domain.
    pub(super) fn divided_commitment(&self, zeta: Fr, polynomial: &[Fr]) -> G1Affine {
        let domain = self.domain();
        let entries = over_domain(&domain, |positions, mut root| {
            let (mut entries, mut denominators) = (Vec::new(), Vec::new());
            for position in positions {
                if !polynomial[position].is_zero() {
                    entries.push((position, polynomial[position]));
                    denominators.push(root - zeta);
                }
                root *= domain.group_gen;
            }
            batch_inversion(&mut denominators);
            entries.iter_mut().zip(denominators).for_each(|(entry, inverse)| entry.1 *= inverse);
            entries
        });
        self.commit_positions(&entries).into_affine()
    }

    /// Commitment to `(p - p(W)) / (X - W)` for the slot at `at`. Dense: every slot counts, so this is an exit's or an auditor's
    /// tool, not a request handler's.
    ///
    /// At the slot itself the quotient is 0/0; its value follows from the degree: `sum_j q_j w^j = 0`.
    pub(super) fn slot_commitment(&self, at: usize, column: &[Fr]) -> G1Affine {
        let domain = self.domain();
        let (point, claimed) = (domain.element(at), column[at]);
        let quotients = over_domain(&domain, |positions, mut root| {
            let (mut roots, mut inverses) = (Vec::new(), Vec::new());
            for _ in positions.clone() {
                roots.push(root);
                inverses.push(root - point);
                root *= domain.group_gen;
            }
            batch_inversion(&mut inverses);
            positions.zip(inverses).zip(roots).map(|((position, inverse), root)| ((column[position] - claimed) * inverse, root)).collect()
        });
        // inversion leaves the zero at `at` as it is, so the sum runs over the others
        let sum: Fr = quotients.iter().map(|(quotient, root)| *quotient * root).sum();
        let entries: Vec<(usize, Fr)> = quotients
            .into_iter()
            .enumerate()
            .map(|(position, (quotient, _))| (position, if position == at { -sum / point } else { quotient }))
            .collect();
        self.commit_positions(&entries).into_affine()
    }
}
