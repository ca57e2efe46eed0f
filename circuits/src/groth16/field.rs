//! Vectors of prime field elements: what the kernels of the prover engine compute with.
//!
//! A [`Machine`] is a way to compute: [`Ifma`](super::ifma::Ifma) (eight lanes of AVX-512 IFMA, handed out only where the
//! processor has it) or [`Portable`] (one lane of arkworks). Kernels are written once, over any machine:
//!
//! ```text
//! Engine::detect() ──┬── Ifma ───── Vector = 8 lanes, 5 limbs of 52 bits ── ifma/ (all the intrinsics)
//!                    └── Portable ─ Vector = 1 lane, Single(ark_ff::Fp)
//! ```
//!
//! **Data and factors.** Memory always holds what arkworks holds: four 64-bit limbs of `x * 2^256 mod p`. A vector takes them as
//! they are; nothing is converted. The product of the eight-lane machine divides by `2^260`, not `2^256`, so the product of two
//! loaded vectors comes out short by a factor `2^SHORT` (16; 1 on the portable machine). Where one side is a *factor* (a constant
//! of [`Vector::splat`], or data turned by [`Vector::factor`], as twiddles should be once) the product is the plain one:
//! `data * factor = data`, `factor * factor = factor`. Sums and differences do not care. A kernel that multiplies data by data
//! makes it up in a constant it multiplies by anyway.
//!
//! **Bounds.** A vector's lanes are residues, not always the least. Operations return lanes `< 2p` and take lanes `< 2p`, except:
//!
//! | operation | takes | returns |
//! |---|---|---|
//! | `gather`, `load` | arkworks' values; eight lanes: any 256 bits | as they are |
//! | `mul`, `square` | `< 8p` | `< 2p` |
//! | `add_wide(a, b)` | `a + b < 8p` | `a + b` |
//! | `sub_wide(a, b)` | `a < 6p`, `b < 2p` | `a - b + 2p` |
//! | `reduce` | `< 8p` | `< 2p` |
//! | `canonical` | `< 2p` | `< p` |
//!
//! **Speed.** Everything here is `#[inline(always)]` and only fast inside [`Machine::run`], which enters the instruction set: put a
//! whole loop into one [`Kernel`] whose `run` is `#[inline(always)]`, and let it call nothing that is not.

use ark_ff::{AdditiveGroup, BigInt, Field, Fp, MontBackend, MontConfig, One, Zero};

/// An arkworks field element of four limbs.
pub type Element<C> = Fp<MontBackend<C, 4>, 4>;

/// Its limbs in memory, least significant first: `x * 2^256 mod p`.
pub type Limbs = [u64; 4];

/// One bit a lane, lane 0 lowest.
pub type Mask = u8;

/// A way to compute. A value of the type proves that this processor can.
pub trait Machine: Copy + Send + Sync + std::fmt::Debug + 'static {
    /// Its vectors over the field of `C`.
    type Vector<C: MontConfig<4>>: Vector<C, Machine = Self>;
    /// Lanes of a vector, of whatever field.
    const LANES: usize;
    /// `log2` of what the product of data by data lacks; even.
    const SHORT: u32;

    /// The highest bit of each of `LANES` words.
    #[inline(always)]
    fn high_bits(self, words: &[u32]) -> Mask {
        words[..Self::LANES].iter().enumerate().fold(0, |mask, (lane, word)| mask | ((word >> 31) as Mask) << lane)
    }

    /// Runs `kernel` with the machine's instruction set enabled.
    fn run<K: Kernel<Self>>(self, kernel: K) -> K::Output;
}

/// A loop worth entering an instruction set for.
pub trait Kernel<M: Machine> {
    /// What it returns.
    type Output;

    /// The loop; implement it `#[inline(always)]`.
    fn run(self, machine: M) -> Self::Output;
}

/// `Machine::LANES` elements side by side. See the module for bounds, data and factors.
pub trait Vector<C: MontConfig<4>>: Copy {
    /// Whose vector it is.
    type Machine: Machine<Vector<C> = Self>;

    /// Zero in each lane.
    fn zero(machine: Self::Machine) -> Self;
    /// The factor `value` in each lane.
    fn splat(machine: Self::Machine, value: &Element<C>) -> Self;
    /// The data at `row(lane)`.
    fn gather<'a>(machine: Self::Machine, row: impl Fn(usize) -> &'a Limbs) -> Self;
    /// Hands each lane, `< 2p`, to `put`.
    fn scatter(self, put: impl FnMut(usize, &Limbs));

    /// Data as a factor.
    fn factor(self) -> Self;
    /// The product; see the module for its scale.
    fn mul(self, other: Self) -> Self;
    /// The product by itself.
    fn square(self) -> Self;
    /// The sum.
    fn add(self, other: Self) -> Self;
    /// The difference.
    fn sub(self, other: Self) -> Self;
    /// `self - b - c` in one reduction.
    fn sub2(self, b: Self, c: Self) -> Self;
    /// The sum, unreduced.
    fn add_wide(self, other: Self) -> Self;
    /// The difference plus `2p`, unreduced.
    fn sub_wide(self, other: Self) -> Self;
    /// `(self - other) * 2^(SHORT / 2)`, both `< 2p`: to be multiplied by a vector `< 2p`, nothing else.
    fn sub_short(self, other: Self) -> Self;
    /// Back below `2p`.
    fn reduce(self) -> Self;
    /// The least residues.
    fn canonical(self) -> Self;
    /// Lanes whose bit is set from `self`, the others from `other`.
    fn select(self, mask: Mask, other: Self) -> Self;
    /// Where a lane, `< 4p`, may be zero: never misses one, and names another once in `2^50`.
    fn near_zero(self) -> Mask;
    /// Where a lane may be zero and its least residue; as `near_zero` otherwise.
    fn near_null(self) -> Mask;

    /// `(a0 + a1 i)(b0 + b1 i)` with `i^2 = -1`; `a0, a1, b0, b1 < 4p`, or one side of `sub_short` and the other `< 2p`.
    #[inline(always)]
    fn complex_mul(a: [Self; 2], b: [Self; 2]) -> [Self; 2] {
        let (low, high) = (a[0].mul(b[0]), a[1].mul(b[1]));
        [low.sub(high), a[0].add(a[1]).mul(b[0].add(b[1])).sub2(low, high)]
    }

    /// `(a0 + a1 i)^2`; `a0, a1 < 2p`.
    #[inline(always)]
    fn complex_square(a: [Self; 2]) -> [Self; 2] {
        [a[0].add_wide(a[1]).mul(a[0].sub_wide(a[1])), a[0].add_wide(a[0]).mul(a[1])]
    }

    /// `LANES` consecutive elements as data.
    #[inline(always)]
    fn load(machine: Self::Machine, elements: &[Element<C>]) -> Self {
        let elements = &elements[..Self::Machine::LANES];
        Self::gather(machine, |lane| &elements[lane].0.0)
    }

    /// Writes `LANES` consecutive elements, least residues.
    #[inline(always)]
    fn store(self, elements: &mut [Element<C>]) {
        let elements = &mut elements[..Self::Machine::LANES];
        self.canonical().scatter(|lane, limbs| elements[lane].0.0 = *limbs);
    }

    /// Twice the vector.
    #[inline(always)]
    fn double(self) -> Self {
        self.add(self)
    }

    /// Minus the vector in the lanes of `mask`, itself in the others.
    #[inline(always)]
    fn neg_if(self, machine: Self::Machine, mask: Mask) -> Self {
        Self::zero(machine).sub(self).select(mask, self)
    }

    /// Minus the vector.
    #[inline(always)]
    fn neg(self, machine: Self::Machine) -> Self {
        Self::zero(machine).sub(self)
    }

    /// Where a lane, `< 2p`, is zero.
    #[inline(always)]
    fn is_zero(self) -> Mask {
        let mut lanes = [Element::<C>::zero(); 8];
        self.store(&mut lanes);
        lanes[..Self::Machine::LANES].iter().enumerate().fold(0, |mask, (lane, x)| mask | Mask::from(x.is_zero()) << lane)
    }

    /// `scale / lane` in each lane, of the elements as they lie in memory, by one inversion in the field.
    ///
    /// # Panics
    ///
    /// Where a lane is zero.
    #[inline(always)]
    fn invert(self, machine: Self::Machine, scale: &Element<C>) -> Self {
        let mut lanes = [Element::<C>::one(); 8];
        self.store(&mut lanes);
        invert_lanes(&mut lanes, scale);
        Self::load(machine, &lanes)
    }
}

/// `scale / x` of each.
#[inline(never)]
fn invert_lanes<C: MontConfig<4>>(lanes: &mut [Element<C>; 8], scale: &Element<C>) {
    let mut before = [*scale; 8];
    for lane in 1..8 {
        before[lane] = before[lane - 1] * lanes[lane - 1];
    }
    let all = before[7] * lanes[7];
    // scale / (scale * x0 ... x7), times scale again lane by lane
    let mut rest = all.inverse().expect("the caller excludes zero lanes") * scale;
    for lane in (0..8).rev() {
        let inverse = rest * before[lane];
        rest *= lanes[lane];
        lanes[lane] = inverse;
    }
}

/// arkworks' own arithmetic, one lane.
#[derive(Debug, Clone, Copy)]
pub struct Portable;

impl Machine for Portable {
    type Vector<C: MontConfig<4>> = Single<C>;
    const LANES: usize = 1;
    const SHORT: u32 = 0;

    #[inline(always)]
    fn run<K: Kernel<Self>>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

/// One element.
pub struct Single<C: MontConfig<4>>(Element<C>);

impl<C: MontConfig<4>> Clone for Single<C> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<C: MontConfig<4>> Copy for Single<C> {}

impl<C: MontConfig<4>> Vector<C> for Single<C> {
    type Machine = Portable;

    #[inline(always)]
    fn zero(_: Portable) -> Self {
        Self(Element::ZERO)
    }

    #[inline(always)]
    fn splat(_: Portable, value: &Element<C>) -> Self {
        Self(*value)
    }

    #[inline(always)]
    fn gather<'a>(_: Portable, row: impl Fn(usize) -> &'a Limbs) -> Self {
        Self(Fp::new_unchecked(BigInt(*row(0))))
    }

    #[inline(always)]
    fn scatter(self, mut put: impl FnMut(usize, &Limbs)) {
        put(0, &self.0.0.0);
    }

    #[inline(always)]
    fn factor(self) -> Self {
        self
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }

    #[inline(always)]
    fn square(self) -> Self {
        Self(self.0.square())
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }

    #[inline(always)]
    fn sub2(self, b: Self, c: Self) -> Self {
        Self(self.0 - b.0 - c.0)
    }

    #[inline(always)]
    fn add_wide(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    #[inline(always)]
    fn sub_wide(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }

    #[inline(always)]
    fn sub_short(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }

    #[inline(always)]
    fn reduce(self) -> Self {
        self
    }

    #[inline(always)]
    fn canonical(self) -> Self {
        self
    }

    #[inline(always)]
    fn select(self, mask: Mask, other: Self) -> Self {
        if mask & 1 == 1 { self } else { other }
    }

    #[inline(always)]
    fn near_zero(self) -> Mask {
        Mask::from(self.0.is_zero())
    }

    #[inline(always)]
    fn near_null(self) -> Mask {
        self.near_zero()
    }

    #[inline(always)]
    fn invert(self, _: Portable, scale: &Element<C>) -> Self {
        Self(self.0.inverse().expect("the caller excludes zero lanes") * scale)
    }
}

#[cfg(test)]
mod tests;
