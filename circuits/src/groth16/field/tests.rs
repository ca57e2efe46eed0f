//! Every operation of every machine against arkworks: on random elements and on those that carries, borrows and reductions trip over.

use super::*;
use crate::groth16::Engine;
use ark_bn254::{FqConfig, FrConfig};
use ark_ff::{BigInteger, UniformRand};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Elements whose limbs in memory are all zeros, all ones, one off a border of 52 or 64 bits, or one off the modulus.
fn edges<C: MontConfig<4>>() -> Vec<Element<C>> {
    let one = BigInt::<4>::from(1u64);
    let mut raw = vec![BigInt::zero(), one];
    let mut last = C::MODULUS;
    last.sub_with_borrow(&one);
    raw.push(last);
    for bits in [51, 52, 53, 63, 64, 104, 128, 156, 192, 208, 252, 253] {
        let mut power = one;
        power <<= bits;
        let (mut below, mut above) = (power, power);
        below.sub_with_borrow(&one);
        above.add_with_carry(&one);
        let mut from_top = C::MODULUS;
        from_top.sub_with_borrow(&power);
        raw.extend([below, power, above, from_top]);
    }
    let mut elements: Vec<_> = raw.into_iter().map(Fp::new_unchecked).collect();
    elements.extend([1i64, 2, 3, -1, -2, 16, -16].map(Element::<C>::from));
    elements
}

/// Pairs of every edge with every edge, then of random elements; a multiple of eight.
fn pairs<C: MontConfig<4>>() -> Vec<(Element<C>, Element<C>)> {
    let edges = edges::<C>();
    let mut pairs: Vec<_> = edges.iter().flat_map(|a| edges.iter().map(|b| (*a, *b))).collect();
    let mut rng = StdRng::seed_from_u64(52);
    let random = (2048usize).next_multiple_of(8) + 8 - pairs.len() % 8;
    pairs.extend((0..random).map(|_| (Element::rand(&mut rng), Element::rand(&mut rng))));
    pairs
}

/// One operation on two vectors, inside the instruction set.
struct Pairwise<'a, C: MontConfig<4>, F> {
    pairs: &'a [(Element<C>, Element<C>)],
    operation: F,
}

impl<M: Machine, C: MontConfig<4>, F: Fn(M::Vector<C>, M::Vector<C>) -> M::Vector<C>> Kernel<M> for Pairwise<'_, C, F> {
    type Output = Vec<Element<C>>;

    #[inline(always)]
    fn run(self, machine: M) -> Self::Output {
        let mut results = vec![Element::zero(); self.pairs.len()];
        for (pairs, results) in self.pairs.chunks_exact(M::LANES).zip(results.chunks_exact_mut(M::LANES)) {
            let a: Vec<_> = pairs.iter().map(|pair| pair.0).collect();
            let b: Vec<_> = pairs.iter().map(|pair| pair.1).collect();
            (self.operation)(Vector::load(machine, &a), Vector::load(machine, &b)).store(results);
        }
        results
    }
}

fn agree<M: Machine, C: MontConfig<4>>(
    machine: M,
    name: &str,
    operation: impl Fn(M::Vector<C>, M::Vector<C>) -> M::Vector<C>,
    expected: impl Fn(Element<C>, Element<C>) -> Element<C>,
) {
    let pairs = pairs::<C>();
    let results = machine.run(Pairwise { pairs: &pairs, operation });
    for ((a, b), result) in pairs.into_iter().zip(results) {
        assert_eq!(result, expected(a, b), "{name} of {a} and {b}");
        assert!(result.0 < C::MODULUS, "{name} of {a} and {b} is not reduced");
    }
}

fn operations<M: Machine, C: MontConfig<4>>(machine: M) {
    let (half, short) = (Element::<C>::from(1u64 << (M::SHORT / 2)), Element::<C>::from(1u64 << M::SHORT));
    let splat = |value: i64| M::Vector::<C>::splat(machine, &Element::from(value));
    agree::<M, C>(machine, "data * factor", |a, b| a.mul(b.factor()), |a, b| a * b);
    agree::<M, C>(machine, "data * data", |a, b| a.mul(b), |a, b| a * b / short);
    agree::<M, C>(machine, "square", |a, _| a.square(), |a, _| a.square() / short);
    agree::<M, C>(machine, "data * constant", |a, _| a.mul(splat(-7)), |a, _| a * Element::from(-7i64));
    agree::<M, C>(machine, "factor * factor", |a, b| a.mul(b.factor().mul(splat(5))), |a, b| a * b * Element::from(5u64));
    agree::<M, C>(machine, "add", |a, b| a.add(b), |a, b| a + b);
    agree::<M, C>(machine, "sub", |a, b| a.sub(b), |a, b| a - b);
    agree::<M, C>(machine, "sub2", |a, b| a.sub2(b, a.double()), |a, b| -a - b);
    agree::<M, C>(machine, "double", |a, _| a.double(), |a, _| a.double());
    agree::<M, C>(machine, "neg", |a, _| a.neg(machine), |a, _| -a);
    agree::<M, C>(machine, "sub_short", |a, b| a.sub_short(b).mul(splat(3)), |a, b| (a - b) * half * Element::from(3u64));
    // the widest sums that the bounds allow
    agree::<M, C>(
        machine,
        "add_wide",
        |a, b| {
            let sum = a.add_wide(b);
            sum.add_wide(sum).add_wide(sum.sub_wide(b)).reduce()
        },
        |a, b| a.double() + a + b.double(),
    );
    agree::<M, C>(
        machine,
        "widest product",
        |a, b| {
            let wide = a.add_wide(a).add_wide(a.add_wide(a)).add_wide(b.add_wide(b).add_wide(b));
            wide.mul(wide.factor()).sub(wide.square())
        },
        |a, b| (a * Element::from(4u64) + b * Element::from(3u64)).square() * (Element::ONE - Element::ONE / short),
    );
    lanes::<M, C>(machine);
}

/// What tells lanes apart.
fn lanes<M: Machine, C: MontConfig<4>>(machine: M) {
    let every = edges::<C>();
    let all = Mask::MAX >> (8 - M::LANES);
    for elements in every.windows(M::LANES) {
        let a = M::Vector::<C>::load(machine, elements);
        for mask in [0, 1, 0b1010_0110 & all, all] {
            let mut result = vec![Element::<C>::zero(); M::LANES];
            a.neg_if(machine, mask).store(&mut result);
            for (lane, (x, result)) in elements.iter().zip(&result).enumerate() {
                assert_eq!(*result, if mask >> lane & 1 == 1 { -*x } else { *x });
            }
        }
        let zeros = elements.iter().enumerate().fold(0, |mask, (lane, x)| mask | Mask::from(x.is_zero()) << lane);
        assert_eq!(a.is_zero(), zeros);
        assert_eq!(a.sub(a).near_zero(), all);
        assert_eq!(a.sub_wide(a).near_zero(), all);
        assert_eq!(a.add_wide(a.sub_wide(a)).sub(a).near_zero(), all);
        assert_eq!(a.near_zero() & zeros, zeros, "a zero is missed");
        if zeros == 0 {
            let mut result = vec![Element::<C>::zero(); M::LANES];
            a.invert(machine, &Element::from(11u64)).store(&mut result);
            for (x, result) in elements.iter().zip(result) {
                assert_eq!(result * x, Element::from(11u64));
            }
        }
    }
    let mut rng = StdRng::seed_from_u64(50);
    let random: Vec<_> = (0..M::LANES).map(|_| Element::<C>::rand(&mut rng)).collect();
    assert_eq!(M::Vector::<C>::load(machine, &random).near_zero(), 0);
}

#[test]
fn the_portable_machine_computes_what_arkworks_does() {
    operations::<Portable, FqConfig>(Portable);
    operations::<Portable, FrConfig>(Portable);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_eight_lanes_compute_what_arkworks_does() {
    let Engine::Ifma(machine) = Engine::detect() else { return };
    operations::<_, FqConfig>(machine);
    operations::<_, FrConfig>(machine);
}

/// Limbs that are no least residue: the modulus and its multiples, one off them, all ones.
#[test]
#[cfg(target_arch = "x86_64")]
fn limbs_above_the_modulus_are_reduced() {
    fn check<C: MontConfig<4>>(machine: super::super::ifma::Ifma) {
        let mut values = vec![BigInt::new([u64::MAX; 4]), BigInt::new([0, 0, 0, u64::MAX])];
        let mut multiple = BigInt::zero();
        for _ in 0..5 {
            multiple.add_with_carry(&C::MODULUS);
            let (mut below, mut above) = (multiple, multiple);
            below.sub_with_borrow(&BigInt::from(1u64));
            above.add_with_carry(&BigInt::from(1u64));
            values.extend([below, multiple, above]);
        }
        values.truncate(values.len() / 8 * 8);
        for rows in values.chunks_exact(8) {
            let x = <<super::super::ifma::Ifma as Machine>::Vector<C>>::gather(machine, |lane| &rows[lane].0);
            let (mut plain, mut reduced) = ([Element::<C>::zero(); 8], [Element::<C>::zero(); 8]);
            x.mul(Vector::splat(machine, &Element::ONE)).store(&mut plain);
            x.reduce().store(&mut reduced);
            for (row, (plain, reduced)) in rows.iter().zip(plain.into_iter().zip(reduced)) {
                let mut least = *row;
                while least >= C::MODULUS {
                    least.sub_with_borrow(&C::MODULUS);
                }
                assert_eq!(plain.0, least);
                assert_eq!(reduced.0, least);
            }
        }
    }
    let Engine::Ifma(machine) = Engine::detect() else { return };
    check::<FqConfig>(machine);
    check::<FrConfig>(machine);
}
