//! A proving key as it lies in its file: mapped, looked at and never copied as a whole.
//!
//! ```text
//! verifying key | beta G1 | delta G1 | A | B in G1 | B in G2 | H | L        each vector: length u64, then its points
//! ```
//! That is ark-serialize's uncompressed `ProvingKey`: little-endian integers, 64 bytes a point of G1 and 128 of G2, infinity flagged in the
//! highest byte of y. To bring a coordinate into Montgomery form costs one multiplication a proof, under a hundredth of what the point
//! costs after it, so there is no second file in another form, and the manifest's digest is that of the file in use.
//!
//! Points are not validated: the file's digest was checked when it arrived, and what is wrong in it makes proofs that fail their check.

use super::field::{Kernel, Limbs, Machine, Vector};
use super::map::Map;
use super::msm::Packed;
use super::{Engine, on_machine};
use ark_bn254::{Bn254, Fq, FqConfig, G1Affine};
use ark_ff::Field;
use ark_groth16::{ProvingKey, VerifyingKey};
use ark_serialize::{CanonicalDeserialize, SerializationError};
use rayon::prelude::*;
use sheaf_protocol::batch::PUBLIC_INPUTS;
use std::ops::Range;

/// A point of G1 as it lies in the file: x, y.
pub(crate) type G1Bytes = [u8; 64];
/// A point of G2 as it lies in the file: x.c0, x.c1, y.c0, y.c1.
pub(crate) type G2Bytes = [u8; 128];

/// Flag of the point at infinity, in the highest byte of y.
const INFINITY: u8 = 1 << 6;
/// Points of one task.
const TASK: usize = 1 << 11;
/// Both flags of ark-serialize.
const FLAGS: u8 = 0b11 << 6;

/// True for the point at infinity.
fn is_infinity(point: &[u8]) -> bool {
    point.last().is_some_and(|last| last & FLAGS == INFINITY)
}

/// A point as the kernels take it, but for its coordinates' form.
fn plain<const N: usize>(bytes: &[u8]) -> Packed<[Limbs; N]> {
    let mut point = Packed { x: [[0; 4]; N], y: [[0; 4]; N] };
    if !is_infinity(bytes) {
        let limbs = point.x.iter_mut().chain(&mut point.y).flatten();
        limbs.zip(bytes.as_chunks().0).for_each(|(limb, bytes)| *limb = u64::from_le_bytes(*bytes));
        point.y[N - 1][3] &= u64::MAX >> 2;
    }
    point
}

/// Brings coordinates into Montgomery form.
struct Montgomery<'a, const N: usize>(&'a mut [Packed<[Limbs; N]>]);

impl<M: Machine, const N: usize> Kernel<M> for Montgomery<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run(self, machine: M) {
        let factor = M::Vector::<FqConfig>::splat(machine, &Fq::from(2u64).pow([256]));
        for points in self.0.chunks_mut(M::LANES) {
            let last = points.len() - 1;
            for i in 0..N {
                let x = M::Vector::<FqConfig>::gather(machine, |lane| &points[lane.min(last)].x[i]).mul(factor).canonical();
                let y = M::Vector::<FqConfig>::gather(machine, |lane| &points[lane.min(last)].y[i]).mul(factor).canonical();
                x.scatter(|lane, limbs| {
                    if let Some(point) = points.get_mut(lane) {
                        point.x[i] = *limbs;
                    }
                });
                y.scatter(|lane, limbs| {
                    if let Some(point) = points.get_mut(lane) {
                        point.y[i] = *limbs;
                    }
                });
            }
        }
    }
}

/// Reads points into `out`, as the kernels take them.
pub(crate) fn read<const N: usize, const BYTES: usize>(engine: Engine, bytes: &[[u8; BYTES]], out: &mut Vec<Packed<[Limbs; N]>>) {
    out.clear();
    out.par_extend(bytes.par_iter().with_min_len(TASK).map(|bytes| plain(bytes)));
    on_machine!(engine, machine => out.par_chunks_mut(TASK).for_each(|points| machine.run(Montgomery(points))));
}

/// A mapped proving key.
#[derive(Debug)]
pub(crate) struct MappedKey {
    map: Map,
    body: usize,
    verifying: VerifyingKey<Bn254>,
    beta_g1: G1Affine,
    delta_g1: G1Affine,
    a: Range<usize>,
    b_g1: Range<usize>,
    b_g2: Range<usize>,
    h: Range<usize>,
    l: Range<usize>,
}

/// Walks the body.
struct Cursor<'m> {
    map: &'m [u8],
    at: usize,
}

impl Cursor<'_> {
    fn value<T: CanonicalDeserialize>(&mut self) -> Result<T, SerializationError> {
        let mut rest = self.map.get(self.at..).ok_or(SerializationError::NotEnoughSpace)?;
        let before = rest.len();
        let value = T::deserialize_uncompressed_unchecked(&mut rest)?;
        self.at += before - rest.len();
        Ok(value)
    }

    /// Where a vector of points of `size` bytes lies; its length stands before it.
    fn points(&mut self, size: usize) -> Result<Range<usize>, SerializationError> {
        let count = self.value::<u64>()?;
        let end = usize::try_from(count).ok().and_then(|count| count.checked_mul(size)?.checked_add(self.at));
        let end = end.filter(|end| *end <= self.map.len()).ok_or(SerializationError::NotEnoughSpace)?;
        Ok(std::mem::replace(&mut self.at, end)..end)
    }
}

impl MappedKey {
    /// The key whose body starts at `body`.
    ///
    /// # Errors
    /// If the body is shorter or longer than its vectors, or their lengths are not those of one circuit.
    pub(crate) fn new(map: Map, body: usize) -> Result<Self, SerializationError> {
        let mut cursor = Cursor { map: &map, at: body };
        let (verifying, beta_g1, delta_g1) = (cursor.value()?, cursor.value()?, cursor.value()?);
        let (a, b_g1, b_g2) = (cursor.points(64)?, cursor.points(64)?, cursor.points(128)?);
        let (h, l) = (cursor.points(64)?, cursor.points(64)?);
        let is_one_circuit = a.len() == b_g1.len() && 2 * a.len() == b_g2.len() && a.len() == l.len() + 64 * (PUBLIC_INPUTS + 1);
        if cursor.at != map.len() || !is_one_circuit {
            return Err(SerializationError::InvalidData);
        }
        Ok(Self { body, verifying, beta_g1, delta_g1, a, b_g1, b_g2, h, l, map })
    }

    /// Witness variables and size of the domain of the circuit that it is for.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.l().len(), self.h().len() + 1)
    }

    /// The verifying key.
    pub(crate) fn verifying(&self) -> &VerifyingKey<Bn254> {
        &self.verifying
    }

    /// beta and delta in G1.
    pub(crate) fn beta_delta_g1(&self) -> [G1Affine; 2] {
        [self.beta_g1, self.delta_g1]
    }

    fn g1_points(&self, range: &Range<usize>) -> &[G1Bytes] {
        self.map[range.clone()].as_chunks().0
    }

    /// A of all variables.
    pub(crate) fn a(&self) -> &[G1Bytes] {
        self.g1_points(&self.a)
    }

    /// B of all variables, in G1.
    pub(crate) fn b_g1(&self) -> &[G1Bytes] {
        self.g1_points(&self.b_g1)
    }

    /// B of all variables, in G2.
    pub(crate) fn b_g2(&self) -> &[G2Bytes] {
        self.map[self.b_g2.clone()].as_chunks().0
    }

    /// Powers of the secret point times the vanishing polynomial.
    pub(crate) fn h(&self) -> &[G1Bytes] {
        self.g1_points(&self.h)
    }

    /// L of the witness.
    pub(crate) fn l(&self) -> &[G1Bytes] {
        self.g1_points(&self.l)
    }

    /// The whole key, as ark-groth16 has it.
    ///
    /// # Errors
    /// If the file was changed while it was mapped.
    pub(crate) fn to_proving_key(&self) -> Result<ProvingKey<Bn254>, SerializationError> {
        ProvingKey::deserialize_uncompressed_unchecked(&self.map[self.body..])
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::groth16::msm::{Curve, G1, G2};
    use ark_bn254::{G1Projective, G2Affine, G2Projective};
    use ark_ec::CurveGroup;
    use ark_ff::UniformRand;
    use ark_serialize::CanonicalSerialize;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    fn bytes<const BYTES: usize>(point: &impl CanonicalSerialize) -> [u8; BYTES] {
        let mut bytes = Vec::new();
        point.serialize_uncompressed(&mut bytes).unwrap();
        bytes.try_into().unwrap()
    }

    /// Points with either sign of y, and infinity, in numbers that no vector divides.
    #[test]
    fn points_of_a_file_are_those_of_arkworks() {
        let mut rng = ChaCha20Rng::seed_from_u64(31);
        let mut g1: Vec<G1Affine> = (0..21).map(|_| G1Projective::rand(&mut rng).into_affine()).collect();
        let mut g2: Vec<G2Affine> = (0..21).map(|_| G2Projective::rand(&mut rng).into_affine()).collect();
        (g1[3], g2[20]) = (G1Affine::identity(), G2Affine::identity());
        (g1[4], g2[5]) = (-g1[5], -g2[6]);
        for engine in [Engine::detect(), Engine::portable()] {
            for count in [0, 1, 7, 8, 21] {
                let (mut read1, mut read2) = (Vec::new(), Vec::new());
                read(engine, &g1[..count].iter().map(bytes).collect::<Vec<G1Bytes>>(), &mut read1);
                read(engine, &g2[..count].iter().map(bytes).collect::<Vec<G2Bytes>>(), &mut read2);
                assert_eq!(read1, g1[..count].iter().map(G1::pack).collect::<Vec<_>>());
                assert_eq!(read2, g2[..count].iter().map(G2::pack).collect::<Vec<_>>());
            }
        }
    }
}
