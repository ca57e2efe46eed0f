//! Points as they lie in memory, and their coordinates as vectors.

use crate::groth16::field::{Element, Limbs, Machine, Mask, Vector};
use ark_bn254::{Fq, Fq2, FqConfig, Fr, G1Affine, G1Projective, G2Affine, G2Projective};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, BigInt, BigInteger, Field, MontConfig, One};

/// An affine point as the engine and its key files hold it: arkworks' limbs (`x * 2^256 mod q`, little endian, for [`G2`] real part
/// first), all zeros for infinity. No point of the two groups but infinity has `x = 0`: it would have order 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Packed<R> {
    /// The abscissa.
    pub x: R,
    /// The ordinate.
    pub y: R,
}

/// A packed point of `G`.
pub type Point<G> = Packed<<G as Curve>::Rows>;

// key files are mapped as they are
const _: () = assert!(size_of::<Point<G1>>() == 64 && size_of::<Point<G2>>() == 128);

/// A group that the engine sums in.
pub trait Curve: Sized + Send + Sync + 'static {
    /// Limbs of a coordinate.
    type Rows: Copy + Default + PartialEq + Send + Sync + std::fmt::Debug;
    /// arkworks' affine points.
    type Affine: AffineRepr<ScalarField = Fr, Group = Self::Projective>;
    /// arkworks' sums.
    type Projective: CurveGroup<ScalarField = Fr, Affine = Self::Affine>;
    /// Coordinates of [`Machine::LANES`] points.
    type Coordinate<M: Machine>: Coordinate<M, Rows = Self::Rows>;

    /// An arkworks point, packed.
    fn pack(point: &Self::Affine) -> Point<Self>;
    /// A packed point, its coordinates below `2q`, as arkworks'.
    fn unpack(point: &Point<Self>) -> Self::Affine;
}

/// The group over the base field.
#[derive(Debug)]
pub enum G1 {}

/// The group over its quadratic extension.
#[derive(Debug)]
pub enum G2 {}

/// The element of limbs below `2q`.
fn element(limbs: &Limbs) -> Fq {
    let mut limbs = BigInt(*limbs);
    if limbs >= FqConfig::MODULUS {
        limbs.sub_with_borrow(&FqConfig::MODULUS);
    }
    Fq::new_unchecked(limbs)
}

impl Curve for G1 {
    type Rows = [Limbs; 1];
    type Affine = G1Affine;
    type Projective = G1Projective;
    type Coordinate<M: Machine> = Real<M>;

    fn pack(point: &G1Affine) -> Point<Self> {
        point.xy().map_or(Packed::infinity(), |(x, y)| Packed { x: [x.0.0], y: [y.0.0] })
    }

    fn unpack(point: &Point<Self>) -> G1Affine {
        if point.is_infinity() { G1Affine::zero() } else { G1Affine::new_unchecked(element(&point.x[0]), element(&point.y[0])) }
    }
}

impl Curve for G2 {
    type Rows = [Limbs; 2];
    type Affine = G2Affine;
    type Projective = G2Projective;
    type Coordinate<M: Machine> = Complex<M>;

    fn pack(point: &G2Affine) -> Point<Self> {
        let rows = |x: Fq2| [x.c0.0.0, x.c1.0.0];
        point.xy().map_or(Packed::infinity(), |(x, y)| Packed { x: rows(x), y: rows(y) })
    }

    fn unpack(point: &Point<Self>) -> G2Affine {
        let element = |rows: &[Limbs; 2]| Fq2::new(element(&rows[0]), element(&rows[1]));
        if point.is_infinity() { G2Affine::zero() } else { G2Affine::new_unchecked(element(&point.x), element(&point.y)) }
    }
}

impl<R: Default + PartialEq> Packed<R> {
    /// The neutral point.
    pub fn infinity() -> Self {
        Self { x: R::default(), y: R::default() }
    }

    /// Whether it is the neutral point.
    pub fn is_infinity(&self) -> bool {
        self.x == R::default()
    }
}

/// A vector of coordinates; operations and bounds are those of [`Vector`].
pub trait Coordinate<M: Machine>: Copy {
    /// Limbs of one lane.
    type Rows: Copy + 'static;

    /// Two rows that differ and are not zero.
    const DISTINCT: [Self::Rows; 2];

    /// One in each lane, as a factor.
    fn one(machine: M) -> Self;
    /// The data at `row(lane)`.
    fn gather<'a>(machine: M, row: impl Fn(usize) -> &'a Self::Rows) -> Self;
    /// Hands each lane, `< 2p`, to `put`.
    fn scatter(self, put: impl FnMut(usize, Self::Rows));
    /// The product.
    fn mul(self, other: Self) -> Self;
    /// The product by a factor of the base field.
    fn scale(self, factor: M::Vector<FqConfig>) -> Self;
    /// The product by itself.
    fn square(self) -> Self;
    /// The sum.
    fn add(self, other: Self) -> Self;
    /// The difference.
    fn sub(self, other: Self) -> Self;
    /// `self - b - c`.
    fn sub2(self, b: Self, c: Self) -> Self;
    /// The difference plus `2p`, below `4p`.
    fn sub_wide(self, other: Self) -> Self;
    /// See [`Vector::sub_short`].
    fn sub_short(self, other: Self) -> Self;
    /// Minus the lanes of `mask`.
    fn neg_if(self, machine: M, mask: Mask) -> Self;
    /// Lanes of `mask` from `self`, others from `other`.
    fn select(self, mask: Mask, other: Self) -> Self;
    /// Where a lane, `< 4p`, may be zero.
    fn near_zero(self) -> Mask;
    /// Where a lane may be zero and its least residue.
    fn near_null(self) -> Mask;
    /// Where a lane, `< 2p`, is zero.
    fn is_zero(self) -> Mask;
    /// See [`Vector::invert`].
    fn invert(self, machine: M, scale: u64) -> Self;
}

/// Coordinates in the base field.
pub struct Real<M: Machine>(M::Vector<FqConfig>);

/// Coordinates in the quadratic extension: real and imaginary parts.
pub struct Complex<M: Machine>([M::Vector<FqConfig>; 2]);

impl<M: Machine> Clone for Real<M> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Machine> Copy for Real<M> {}

impl<M: Machine> Clone for Complex<M> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Machine> Copy for Complex<M> {}

impl<M: Machine> Coordinate<M> for Real<M> {
    type Rows = [Limbs; 1];

    const DISTINCT: [Self::Rows; 2] = [[[1, 0, 0, 0]], [[2, 0, 0, 0]]];

    #[inline(always)]
    fn one(machine: M) -> Self {
        Self(Vector::splat(machine, &Element::ONE))
    }

    #[inline(always)]
    fn gather<'a>(machine: M, row: impl Fn(usize) -> &'a Self::Rows) -> Self {
        Self(Vector::gather(machine, |lane| &row(lane)[0]))
    }

    #[inline(always)]
    fn scatter(self, mut put: impl FnMut(usize, Self::Rows)) {
        self.0.scatter(|lane, limbs| put(lane, [*limbs]));
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(self.0.mul(other.0))
    }

    #[inline(always)]
    fn scale(self, factor: M::Vector<FqConfig>) -> Self {
        Self(self.0.mul(factor))
    }

    #[inline(always)]
    fn square(self) -> Self {
        Self(self.0.square())
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0.add(other.0))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(self.0.sub(other.0))
    }

    #[inline(always)]
    fn sub2(self, b: Self, c: Self) -> Self {
        Self(self.0.sub2(b.0, c.0))
    }

    #[inline(always)]
    fn sub_wide(self, other: Self) -> Self {
        Self(self.0.sub_wide(other.0))
    }

    #[inline(always)]
    fn sub_short(self, other: Self) -> Self {
        Self(self.0.sub_short(other.0))
    }

    #[inline(always)]
    fn neg_if(self, machine: M, mask: Mask) -> Self {
        Self(self.0.neg_if(machine, mask))
    }

    #[inline(always)]
    fn select(self, mask: Mask, other: Self) -> Self {
        Self(self.0.select(mask, other.0))
    }

    #[inline(always)]
    fn near_zero(self) -> Mask {
        self.0.near_zero()
    }

    #[inline(always)]
    fn near_null(self) -> Mask {
        self.0.near_null()
    }

    #[inline(always)]
    fn is_zero(self) -> Mask {
        self.0.is_zero()
    }

    #[inline(always)]
    fn invert(self, machine: M, scale: u64) -> Self {
        Self(self.0.invert(machine, &Element::from(scale)))
    }
}

impl<M: Machine> Coordinate<M> for Complex<M> {
    type Rows = [Limbs; 2];

    const DISTINCT: [Self::Rows; 2] = [[[1, 0, 0, 0]; 2], [[2, 0, 0, 0]; 2]];

    #[inline(always)]
    fn one(machine: M) -> Self {
        Self([Vector::splat(machine, &Element::ONE), Vector::zero(machine)])
    }

    #[inline(always)]
    fn gather<'a>(machine: M, row: impl Fn(usize) -> &'a Self::Rows) -> Self {
        Self([Vector::gather(machine, |lane| &row(lane)[0]), Vector::gather(machine, |lane| &row(lane)[1])])
    }

    #[inline(always)]
    fn scatter(self, mut put: impl FnMut(usize, Self::Rows)) {
        let mut rows = [[[0; 4]; 2]; 8];
        self.0[0].scatter(|lane, limbs| rows[lane][0] = *limbs);
        self.0[1].scatter(|lane, limbs| rows[lane][1] = *limbs);
        for (lane, rows) in rows.into_iter().enumerate().take(M::LANES) {
            put(lane, rows);
        }
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(Vector::complex_mul(self.0, other.0))
    }

    #[inline(always)]
    fn scale(self, factor: M::Vector<FqConfig>) -> Self {
        Self([self.0[0].mul(factor), self.0[1].mul(factor)])
    }

    #[inline(always)]
    fn square(self) -> Self {
        Self(Vector::complex_square(self.0))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self([self.0[0].add(other.0[0]), self.0[1].add(other.0[1])])
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self([self.0[0].sub(other.0[0]), self.0[1].sub(other.0[1])])
    }

    #[inline(always)]
    fn sub2(self, b: Self, c: Self) -> Self {
        Self([self.0[0].sub2(b.0[0], c.0[0]), self.0[1].sub2(b.0[1], c.0[1])])
    }

    #[inline(always)]
    fn sub_wide(self, other: Self) -> Self {
        Self([self.0[0].sub_wide(other.0[0]), self.0[1].sub_wide(other.0[1])])
    }

    #[inline(always)]
    fn sub_short(self, other: Self) -> Self {
        Self([self.0[0].sub_short(other.0[0]), self.0[1].sub_short(other.0[1])])
    }

    #[inline(always)]
    fn neg_if(self, machine: M, mask: Mask) -> Self {
        Self([self.0[0].neg_if(machine, mask), self.0[1].neg_if(machine, mask)])
    }

    #[inline(always)]
    fn select(self, mask: Mask, other: Self) -> Self {
        Self([self.0[0].select(mask, other.0[0]), self.0[1].select(mask, other.0[1])])
    }

    #[inline(always)]
    fn near_zero(self) -> Mask {
        self.0[0].near_zero() & self.0[1].near_zero()
    }

    #[inline(always)]
    fn near_null(self) -> Mask {
        self.0[0].near_null() & self.0[1].near_null()
    }

    #[inline(always)]
    fn is_zero(self) -> Mask {
        self.0[0].is_zero() & self.0[1].is_zero()
    }

    #[inline(always)]
    fn invert(self, machine: M, scale: u64) -> Self {
        let mut parts = [[Fq::ZERO; 8]; 2];
        self.0[0].store(&mut parts[0][..M::LANES]);
        self.0[1].store(&mut parts[1][..M::LANES]);
        invert_lanes(&mut parts, M::LANES, scale);
        Self([Vector::load(machine, &parts[0][..M::LANES]), Vector::load(machine, &parts[1][..M::LANES])])
    }
}

/// `scale / x` of each of the first `lanes` complex elements.
#[inline(never)]
fn invert_lanes(parts: &mut [[Fq; 8]; 2], lanes: usize, scale: u64) {
    let mut before = [Fq2::one(); 8];
    let mut product = Fq2::one();
    for lane in 0..lanes {
        before[lane] = product;
        product *= Fq2::new(parts[0][lane], parts[1][lane]);
    }
    let mut rest = product.inverse().expect("the caller excludes zero lanes") * Fq2::from(scale);
    for lane in (0..lanes).rev() {
        let inverse = rest * before[lane];
        rest *= Fq2::new(parts[0][lane], parts[1][lane]);
        [parts[0][lane], parts[1][lane]] = [inverse.c0, inverse.c1];
    }
}
