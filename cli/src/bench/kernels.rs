//! The prover's kernels alone, against arkworks, one thread: sums in both groups and a transform, 2^18 random scalars.

use super::median;
use super::prove::timed;
use ark_bn254::{Fr, G1Projective, G2Projective};
use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::UniformRand;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use sheaf_circuits::groth16::msm::{self, Curve, G1, G2, Point};
use sheaf_circuits::groth16::{Engine, Fft, stock as arkworks};

const SIZE: usize = 1 << 18;

/// Different points: 1 G, 2 G, 3 G ..
fn points<G: PrimeGroup + CurveGroup>() -> Vec<G::Affine> {
    let multiples: Vec<G> = std::iter::successors(Some(G::generator()), |point| Some(*point + G::generator())).take(SIZE).collect();
    G::normalize_batch(&multiples)
}

fn row(kernel: &str, engine: Engine, rounds: usize, mut ours: impl FnMut(), mut stock: impl FnMut()) -> Value {
    let (our_times, stock_times): (Vec<f64>, Vec<f64>) = (0..rounds).map(|_| (timed(&mut ours).1, timed(&mut stock).1)).unzip();
    let (ours, stock) = (median(our_times), median(stock_times));
    json!({
        "kernel": kernel, "size": SIZE, "threads": rayon::current_num_threads(), "ours_ms": ours, "arkworks_ms": stock,
        "ratio": (stock / ours * 100.0).round() / 100.0, "simd": engine.name(),
    })
}

/// One row a kernel, on the current pool.
pub(super) fn rows(engine: Engine, rounds: usize) -> Vec<Value> {
    let mut rng = StdRng::seed_from_u64(18);
    let scalars: Vec<Fr> = (0..SIZE).map(|_| Fr::rand(&mut rng)).collect();
    let mut rows = Vec::new();
    let bases = points::<G1Projective>();
    let packed: Vec<Point<G1>> = bases.iter().map(G1::pack).collect();
    let (mut ours, mut stock) = (None, None);
    let mine = || ours = Some(msm::g1(engine, &packed, &scalars));
    let theirs = || stock = Some(arkworks::g1(&bases, &scalars));
    rows.push(row("g1_msm", engine, rounds, mine, theirs));
    assert_eq!(ours, stock, "both sums are the same point");
    drop((bases, packed));
    let bases = points::<G2Projective>();
    let packed: Vec<Point<G2>> = bases.iter().map(G2::pack).collect();
    let (mut ours, mut stock) = (None, None);
    let mine = || ours = Some(msm::g2(engine, &packed, &scalars));
    let theirs = || stock = Some(arkworks::g2(&bases, &scalars));
    rows.push(row("g2_msm", engine, rounds, mine, theirs));
    assert_eq!(ours, stock, "both sums are the same point");
    drop((bases, packed));
    let transforms = Fft::new(engine, SIZE);
    let (mut ours, mut stock) = (scalars.clone(), scalars.clone());
    transforms.forward(&mut ours);
    assert!(arkworks::forward(&mut stock), "a power of two");
    // ours leaves them as the prover takes them, in the order of reversed bits
    let reversed = |i: usize| (i as u64).reverse_bits() as usize >> (64 - SIZE.trailing_zeros());
    assert!((0..SIZE).all(|i| ours[i] == stock[reversed(i)]), "both transforms have the same values");
    let (mut ours, mut stock) = (scalars.clone(), scalars);
    rows.push(row("fft", engine, rounds, || transforms.forward(&mut ours), || assert!(arkworks::forward(&mut stock), "a power of two")));
    rows
}
