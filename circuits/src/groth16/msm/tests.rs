//! Sums against arkworks', on every machine: bases and scalars of every kind that the method treats apart.

use super::*;
use ark_ec::{AffineRepr, CurveGroup, PrimeGroup, VariableBaseMSM};
use ark_ff::{PrimeField, UniformRand};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Lengths about the lanes of a vector, and those of several groups of buckets.
const LENGTHS: [usize; 7] = [0, 1, 7, 8, 9, 1000, 5000];

fn engines() -> Vec<Engine> {
    let mut engines = vec![Engine::portable()];
    if !matches!(Engine::detect(), Engine::Portable(_)) {
        engines.push(Engine::detect());
    }
    engines
}

/// `count` points that are all different.
fn points<G: Curve>(count: usize) -> Vec<G::Affine> {
    let step = G::Projective::generator() * Fr::from(0x5ea1u64);
    let mut next = G::Projective::generator();
    let points: Vec<_> = (0..count)
        .map(|_| {
            next += step;
            next
        })
        .collect();
    G::Projective::normalize_batch(&points)
}

/// A scalar as witnesses have them: half of them short, some negative.
fn witness_value(rng: &mut StdRng) -> Fr {
    let value = match rng.gen_range(0..10) {
        0 | 1 => Fr::from(rng.gen_range(0..2u8)),
        2 => Fr::from(rng.r#gen::<u16>()),
        3 => Fr::from(rng.r#gen::<u64>()),
        4 => [Fr::from(u64::MAX), Fr::from(1u128 << 64), Fr::from(Fr::MODULUS_MINUS_ONE_DIV_TWO)][rng.gen_range(0..3)],
        _ => Fr::rand(rng),
    };
    if rng.r#gen::<bool>() { value } else { -value }
}

fn agree<G: Curve>(name: &str, bases: &[G::Affine], scalars: &[Fr], ours: impl Fn(Engine, &[Point<G>], &[Fr]) -> G::Projective)
where
    G::Projective: VariableBaseMSM<MulBase = G::Affine>,
{
    let packed: Vec<_> = bases.iter().map(G::pack).collect();
    let expected = G::Projective::msm(bases, scalars).expect("one length");
    for engine in engines() {
        assert!(ours(engine, &packed, scalars) == expected, "{name}, {} terms, {engine:?}", bases.len());
    }
}

fn all_agree<G: Curve>(ours: impl Fn(Engine, &[Point<G>], &[Fr]) -> G::Projective)
where
    G::Projective: VariableBaseMSM<MulBase = G::Affine>,
{
    let mut rng = StdRng::seed_from_u64(18);
    for length in LENGTHS {
        let bases = points::<G>(length);
        let mut scalars = |of: &mut dyn FnMut(&mut StdRng, usize) -> Fr| (0..length).map(|i| of(&mut rng, i)).collect::<Vec<_>>();
        let uniform = scalars(&mut |rng, _| Fr::rand(rng));
        let witness = scalars(&mut |rng, _| witness_value(rng));
        agree::<G>("uniform", &bases, &uniform, &ours);
        agree::<G>("witness", &bases, &witness, &ours);
        for value in
            [Fr::from(0u64), Fr::from(1u64), Fr::from(-1i64), Fr::from(Fr::MODULUS_MINUS_ONE_DIV_TWO), uniform.first().copied().unwrap_or_default()]
        {
            agree::<G>("one scalar", &bases, &vec![value; length], &ours);
        }
        let bits = scalars(&mut |rng, _| Fr::from(rng.r#gen::<bool>()));
        agree::<G>("bits", &bases, &bits, &ours);
        // one base for all: every addition doubles, cancels, or meets infinity
        agree::<G>("one base", &vec![G::Affine::generator(); length], &witness, &ours);
        agree::<G>("one base, one scalar", &vec![G::Affine::generator(); length], &vec![uniform.first().copied().unwrap_or_default(); length], &ours);
        let mut some_null = bases.clone();
        some_null.iter_mut().step_by(4).for_each(|base| *base = G::Affine::zero());
        agree::<G>("a quarter at infinity", &some_null, &witness, &ours);
        agree::<G>("all at infinity", &vec![G::Affine::zero(); length], &uniform, &ours);
        // neighbours equal or opposite, under scalars that are the same or opposite: sums double and cancel at every level
        let few: Vec<_> = bases.iter().enumerate().map(|(i, _)| if i % 3 == 0 { -bases[i % 5 % length] } else { bases[i % 5 % length] }).collect();
        let equal = scalars(&mut |_, i| if i % 2 == 0 { uniform[i / 64 % length] } else { -uniform[i / 64 % length] });
        agree::<G>("equal and opposite", &few, &equal, &ours);
        let pairs: Vec<_> = (0..length).map(|i| if i % 2 == 0 { bases[i] } else { -bases[i - 1] }).collect();
        agree::<G>("cancelling pairs", &pairs, &scalars(&mut |_, i| uniform[i / 2]), &ours);
    }
}

#[test]
fn sums_of_the_first_group_are_those_of_arkworks() {
    all_agree::<G1>(g1);
}

/// More than one round of additions in one bucket, beside many that are short, on one thread and on several.
#[test]
fn a_bucket_longer_than_a_round_is_summed() {
    let mut rng = StdRng::seed_from_u64(11);
    let bases = points::<G1>(20_000);
    let scalars: Vec<_> = (0..bases.len()).map(|i| if i % 2 == 0 { Fr::from(1u64) } else { Fr::from(rng.r#gen::<u64>()) }).collect();
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| agree::<G1>("a long bucket", &bases, &scalars, g1));
    }
}

#[test]
fn sums_of_the_second_group_are_those_of_arkworks() {
    all_agree::<G2>(g2);
}
