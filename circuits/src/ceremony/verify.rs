//! What can be wrong with a ceremony, and how it is found.

use super::record::{self, Proof, Record, Share};
use super::{Ceremony, Header, key_digest};
use crate::batch::Circuit;
use ark_bn254::{Bn254, G1Affine, G1Projective, G2Affine};
use ark_ec::pairing::Pairing;
use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM};
use ark_ff::Zero;
use ark_groth16::ProvingKey;
use rand::rngs::StdRng;
use sheaf_protocol::field::Word;
use sheaf_protocol::kzg::weights;
use sheaf_protocol::manifest::HexWord;
use std::ops::Range;

/// The queries that contributions change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// The quotient's.
    H,
    /// The witness's.
    L,
}

/// What is wrong with a contribution.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Empty, too long, more than a line, not all of it visible, or the name of a beacon.
    #[error("a person's name must have 1 to 64 bytes on one line, all of it visible, and not be \"beacon\"")]
    Name,
    /// A beacon that calls itself something else, and would be taken for a person.
    #[error("it is a beacon and must be named \"beacon\": everybody can compute its share")]
    BeaconName,
    /// What it was made on top of is not in the file.
    #[error("it was made after a contribution that is missing before it")]
    Missing,
    /// What it was made on top of is elsewhere in the file.
    #[error("it stands in another place than it was made at: the contributions were put into another order")]
    Order,
    /// delta is the identity.
    #[error("delta is the point at infinity")]
    Infinity,
    /// delta is 1, which is also gamma, or -1: everybody could forge proofs.
    #[error("delta is the generator or its opposite: everybody could forge proofs")]
    One,
    /// It changed nothing.
    #[error("delta is what it was before: nothing was contributed")]
    Unchanged,
    /// There is no proof of knowledge.
    #[error("it has no proof of knowledge: a point of it is the point at infinity")]
    NoProof,
    /// The proof of knowledge of another contribution.
    #[error("its proof of knowledge is that of contribution {0}")]
    ReusedProof(usize),
    /// The proof of knowledge does not hold.
    #[error("its proof of knowledge does not hold: its maker did not know the share, or what it is bound to was changed since")]
    Knowledge,
    /// delta is not the one before times the proved share.
    #[error("delta is not the one before it times the share that its maker proved to know")]
    Chain,
    /// delta differs between the groups.
    #[error("delta in G2 is not delta in G1")]
    Twins,
    /// The beacon's share is another.
    #[error("delta is not the one before it times the beacon's share")]
    Beacon,
    /// The beacon cannot be computed.
    #[error("a beacon has 1 to 255 bytes and is hashed at most 2^32 times")]
    BeaconBounds,
    /// A beacon ends a ceremony.
    #[error("it stands after the beacon, which ends the ceremony")]
    AfterBeacon,
    /// The file's points are others than it left.
    #[error("the file's points are not those that it left; the file is damaged, fetch it again")]
    Points,
    /// A point is infinite, or is not and should be.
    #[error("point {index} of the query {query:?} is the point at infinity, or was it at the beginning")]
    QueryInfinity {
        /// Which query.
        query: Query,
        /// Which point, from 0.
        index: usize,
    },
    /// A point is not the initial one divided by delta.
    #[error("point {index} of the query {query:?} is not the initial one divided by delta")]
    Query {
        /// Which query.
        query: Query,
        /// Which point, from 0: the first that is wrong.
        index: usize,
    },
}

/// Why a ceremony is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It makes the key of another circuit.
    #[error("the ceremony is for circuit {found}, this is {expected}; use the transcript of this circuit, with the version that it was begun with")]
    OtherCircuit {
        /// Ours: name, id and digest.
        expected: String,
        /// Its own.
        found: String,
    },
    /// It was begun with other powers of tau.
    #[error("the ceremony was begun with the powers of tau {found}, these are {expected}; use the .ptau file that it was begun with")]
    OtherPowers {
        /// Ours.
        expected: HexWord,
        /// Its own.
        found: HexWord,
    },
    /// It began with another key than the powers of tau give.
    #[error(
        "the ceremony began with the initial key {found}, circuit and powers give {expected}; somebody changed it, begin again with `sheaf ceremony init`"
    )]
    OtherInitial {
        /// Ours.
        expected: HexWord,
        /// Its own.
        found: HexWord,
    },
    /// Powers of another size.
    #[error("the circuit needs 2^{needed} powers of tau, got 2^{got}")]
    Power {
        /// Of the circuit's domain.
        needed: u32,
        /// Given.
        got: u32,
    },
    /// A query of another length.
    #[error("the query {query:?} has {found} points, the circuit needs {expected}; the file is damaged, fetch it again")]
    Count {
        /// Which query.
        query: Query,
        /// Of the initial key.
        expected: usize,
        /// In the file.
        found: usize,
    },
    /// The first contribution that is wrong.
    #[error("contribution {number} ({name}): {fault}")]
    Contribution {
        /// Its number, from 1.
        number: usize,
        /// Who made it.
        name: String,
        /// What is wrong.
        #[source]
        fault: Fault,
    },
    /// A file without a contribution holds other points than the initial key's.
    #[error("nobody contributed, but the file's points are not those of the initial key; begin again with `sheaf ceremony init`")]
    NotInitial,
    /// An earlier file holds other contributions.
    #[error("contribution {0} is another in an earlier file: somebody rewrote history; go on from the earlier file")]
    Rewritten(usize),
    /// Nobody contributed.
    #[error("nobody has contributed: delta would be 1 and everybody could forge proofs; contribute first with `sheaf ceremony contribute`")]
    NoContribution,
}

impl VerifyError {
    pub(super) fn contribution(number: usize, name: &str, fault: Fault) -> Self {
        Self::Contribution { number, name: record::shown(name), fault }
    }
}

impl Header {
    fn circuit_label(&self) -> String {
        format!("{} {} {}", record::shown(&self.name), self.id, HexWord(self.circuit))
    }
}

/// True if `e(a, b) = e(c, d)`.
fn same(a: impl Into<G1Affine>, b: G2Affine, c: impl Into<G1Affine>, d: G2Affine) -> bool {
    let (a, c): (G1Affine, G1Affine) = (a.into(), c.into());
    Bn254::multi_pairing([a, -c], [b, d]).is_zero()
}

impl Ceremony {
    /// Checks that the ceremony is this circuit's, from these powers of tau.
    ///
    /// # Errors
    /// [`VerifyError::OtherCircuit`], [`VerifyError::OtherPowers`].
    pub fn check_source(&self, circuit: &Circuit, powers: HexWord) -> Result<(), VerifyError> {
        if (self.header.circuit, self.header.id) != (circuit.digest(), circuit.id()) {
            let ours = Header { circuit: circuit.digest(), id: circuit.id(), ..self.header.clone() };
            return Err(VerifyError::OtherCircuit { expected: ours.circuit_label(), found: self.header.circuit_label() });
        }
        if self.header.powers == powers { Ok(()) } else { Err(VerifyError::OtherPowers { expected: powers, found: self.header.powers }) }
    }

    pub(super) fn check_initial(&self, initial: &ProvingKey<Bn254>) -> Result<(), VerifyError> {
        let expected = key_digest(initial);
        if self.header.initial != expected {
            return Err(VerifyError::OtherInitial { expected: HexWord(expected), found: HexWord(self.header.initial) });
        }
        for (query, expected, found) in [(Query::H, &initial.h_query, &self.h), (Query::L, &initial.l_query, &self.l)] {
            if expected.len() != found.len() {
                return Err(VerifyError::Count { query, expected: expected.len(), found: found.len() });
            }
        }
        Ok(())
    }

    /// Checks every record, and that the last one left the points of this file.
    ///
    /// # Errors
    /// [`VerifyError::Contribution`].
    pub fn check_records(&self) -> Result<(), VerifyError> {
        let digests: Vec<Word> = self.records.iter().map(Record::digest).collect();
        let (mut previous, mut delta) = (self.header.digest(), (G1Affine::generator(), G2Affine::generator()));
        for (place, record) in self.records.iter().enumerate() {
            let refused = |fault| VerifyError::contribution(place + 1, &record.name, fault);
            if record.previous != previous {
                let is_elsewhere = record.previous == self.header.digest() || digests.contains(&record.previous);
                return Err(refused(if is_elsewhere { Fault::Order } else { Fault::Missing }));
            }
            record.check(delta, &self.records[..place]).map_err(refused)?;
            (previous, delta) = (digests[place], (record.delta_g1, record.delta_g2));
        }
        match self.records.last() {
            Some(last) if last.queries != self.queries_digest() => Err(VerifyError::contribution(self.records.len(), &last.name, Fault::Points)),
            _ => Ok(()),
        }
    }

    pub(super) fn check_queries(&self, initial: &ProvingKey<Bn254>, rng: &mut StdRng) -> Result<(), VerifyError> {
        let Some(last) = self.records.last() else {
            return if self.h == initial.h_query && self.l == initial.l_query { Ok(()) } else { Err(VerifyError::NotInitial) };
        };
        for (query, before, after) in [(Query::H, &initial.h_query, &self.h), (Query::L, &initial.l_query, &self.l)] {
            let refused = |fault| VerifyError::contribution(self.records.len(), &last.name, fault);
            if let Some(index) = before.iter().zip(after).position(|(before, after)| before.is_zero() != after.is_zero()) {
                return Err(refused(Fault::QueryInfinity { query, index }));
            }
            if let Some(index) = first_wrong(before, after, last.delta_g2, rng) {
                return Err(refused(Fault::Query { query, index }));
            }
        }
        Ok(())
    }

    /// Checks that this file goes on from an earlier one of the same ceremony.
    ///
    /// # Errors
    /// [`VerifyError::Rewritten`], or [`VerifyError::OtherCircuit`] if it is another ceremony.
    pub fn check_follows(&self, earlier: &Ceremony) -> Result<(), VerifyError> {
        if self.header != earlier.header {
            return Err(VerifyError::OtherCircuit { expected: earlier.header.circuit_label(), found: self.header.circuit_label() });
        }
        let differing = earlier.records.iter().enumerate().find(|(place, record)| self.records.get(*place) != Some(record));
        differing.map_or(Ok(()), |(place, _)| Err(VerifyError::Rewritten(place + 1)))
    }
}

impl Record {
    fn check(&self, before: (G1Affine, G2Affine), earlier: &[Record]) -> Result<(), Fault> {
        self.check_name()?;
        if earlier.last().is_some_and(Record::is_beacon) {
            return Err(Fault::AfterBeacon);
        }
        if self.delta_g1.is_zero() || self.delta_g2.is_zero() {
            return Err(Fault::Infinity);
        }
        // points with the same x are equal or opposite
        if self.delta_g1.x == G1Affine::generator().x || self.delta_g2.x == G2Affine::generator().x {
            return Err(Fault::One);
        }
        if (self.delta_g1, self.delta_g2) == before {
            return Err(Fault::Unchanged);
        }
        if !same(self.delta_g1, G2Affine::generator(), G1Affine::generator(), self.delta_g2) {
            return Err(Fault::Twins);
        }
        match &self.proof {
            Proof::Beacon { value, iterations } => {
                let share = Share::of_beacon(&self.previous, value, *iterations)?;
                if self.delta_g1 == before.0 * share.value() { Ok(()) } else { Err(Fault::Beacon) }
            }
            Proof::Knowledge { s, s_delta, r_delta } => {
                if s.is_zero() || s_delta.is_zero() || r_delta.is_zero() {
                    return Err(Fault::NoProof);
                }
                let reused = |other: &Record| matches!(&other.proof, Proof::Knowledge { s: of_other, .. } if of_other == s);
                if let Some(place) = earlier.iter().position(reused) {
                    return Err(Fault::ReusedProof(place + 1));
                }
                let r = self.challenge_point();
                if !same(*s, *r_delta, *s_delta, r) {
                    return Err(Fault::Knowledge);
                }
                if same(before.0, *r_delta, self.delta_g1, r) { Ok(()) } else { Err(Fault::Chain) }
            }
        }
    }
}

/// The first point that is not the one before divided by delta, by random linear combinations of ever shorter ranges.
fn first_wrong(before: &[G1Affine], after: &[G1Affine], delta: G2Affine, rng: &mut StdRng) -> Option<usize> {
    let mut holds = |range: Range<usize>| {
        let weights = weights(range.len(), rng);
        let combine = |points: &[G1Affine]| G1Projective::msm_unchecked(&points[range.clone()], &weights).into_affine();
        same(combine(after), delta, combine(before), G2Affine::generator())
    };
    if holds(0..before.len()) {
        return None;
    }
    let (mut low, mut high) = (0, before.len());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(low..middle) { low = middle } else { high = middle }
    }
    Some(low)
}
