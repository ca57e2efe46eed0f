//! Number-theoretic transforms without permutations: coefficients in order, values in bit-reversed order.
//!
//! A node k of a binary tree stands for the polynomials modulo x^m - g_k^2, which a butterfly takes apart into x^(m/2) - g_k (node 2k) and
//! x^(m/2) + g_k (node 2k + 1). With psi a root of unity of order 2n and g_k = psi^(bits of k reversed), node 0 is x^n - 1, whose leaves are
//! the values on the domain, and node 1 is x^n + 1, whose leaves are those on the coset of psi. So one table serves both, subtrees are
//! independent, and depth first keeps them in the cache.
//!
//! Nothing is scaled: going up from n leaves to a root multiplies by n.

#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no machine has eight lanes here"))]
mod lanes;

use super::field::Machine;
use super::{Engine, on_machine};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, FftField, Field};
use lanes::Factors;
use rayon::prelude::*;

/// Subtrees of fewer values are one task.
const TASK: usize = 1 << 12;

/// The roots of a domain's size, for one machine.
#[derive(Debug)]
pub(crate) struct Roots {
    engine: Engine,
    /// g_k.
    down: Vec<Fr>,
    /// 1 / g_k.
    up: Vec<Fr>,
}

/// What a transform is taken modulo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Modulus {
    /// x^n - 1: values on the domain.
    Domain = 0,
    /// x^n + 1: values on the coset.
    Coset = 1,
}

/// The lowest `bits` bits of `index`, reversed.
pub(crate) fn reversed(index: usize, bits: u32) -> usize {
    if bits == 0 { 0 } else { index.reverse_bits() >> (usize::BITS - bits) }
}

fn table(psi: Fr, bits: u32) -> Vec<Fr> {
    // psi^(2^i), which belongs to node 2^(bits - 1 - i)
    let powers: Vec<Fr> = std::iter::successors(Some(psi), |power| Some(power.square())).take(bits as usize).collect();
    let mut table = Vec::with_capacity(1 << bits);
    table.push(Fr::ONE);
    // a node's root is that of its highest bit times that of its other bits
    for power in powers.iter().rev() {
        let known = table.len();
        table.resize(2 * known, Fr::ZERO);
        let (known, new) = table.split_at_mut(known);
        new.par_iter_mut().zip(known).for_each(|(new, known)| *new = *known * power);
    }
    table
}

impl Roots {
    /// The roots for `size` values, a power of two, as factors of the machine.
    ///
    /// # Panics
    /// If the field has no root of twice this order: above 2^27, where a set-up has no domain either.
    pub(crate) fn new(engine: Engine, size: usize) -> Self {
        assert!(size.is_power_of_two() && size.trailing_zeros() < Fr::TWO_ADICITY, "no domain of {size} values");
        let psi = Fr::get_root_of_unity(2 * size as u64).unwrap_or_default();
        let bits = size.trailing_zeros();
        let (down, up) = rayon::join(|| table(psi, bits), || table(psi.inverse().unwrap_or_default(), bits));
        let mut roots = Self { engine: if size < lanes::LEAF { Engine::portable() } else { engine }, down, up };
        on_machine!(roots.engine, machine => {
            machine.run(Factors(&mut roots.down));
            machine.run(Factors(&mut roots.up));
        });
        roots
    }

    /// The machine: the portable one for a handful of values.
    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }

    /// Coefficients to values.
    pub(crate) fn forward(&self, values: &mut [Fr], modulus: Modulus) {
        match self.engine {
            Engine::Portable(_) => forward(values, modulus as usize, &self.down),
            #[cfg(target_arch = "x86_64")]
            Engine::Ifma(machine) => lanes::forward(machine, values, modulus, &self.down),
        }
    }

    /// Values to coefficients, times their number.
    pub(crate) fn backward(&self, values: &mut [Fr], modulus: Modulus) {
        match self.engine {
            Engine::Portable(_) => backward(values, modulus as usize, &self.up),
            #[cfg(target_arch = "x86_64")]
            Engine::Ifma(machine) => lanes::backward(machine, values, modulus, &self.up),
        }
    }
}

fn each_pair(values: &mut [Fr], butterfly: impl Fn(&mut Fr, &mut Fr) + Sync) {
    let (left, right) = values.split_at_mut(values.len() / 2);
    if left.len() < TASK {
        left.iter_mut().zip(right).for_each(|(x, y)| butterfly(x, y));
    } else {
        left.par_iter_mut().with_min_len(TASK / 2).zip(right).for_each(|(x, y)| butterfly(x, y));
    }
}

fn both(values: &mut [Fr], node: usize, work: impl Fn(&mut [Fr], usize) + Sync) {
    let (left, right) = values.split_at_mut(values.len() / 2);
    if left.len() < TASK {
        work(left, 2 * node);
        work(right, 2 * node + 1);
    } else {
        rayon::join(|| work(left, 2 * node), || work(right, 2 * node + 1));
    }
}

fn forward(values: &mut [Fr], node: usize, roots: &[Fr]) {
    if values.len() < 2 {
        return;
    }
    let root = roots[node];
    each_pair(values, |x, y| {
        let term = *y * root;
        *y = *x - term;
        *x += term;
    });
    both(values, node, |half, node| forward(half, node, roots));
}

fn backward(values: &mut [Fr], node: usize, roots: &[Fr]) {
    if values.len() < 2 {
        return;
    }
    both(values, node, |half, node| backward(half, node, roots));
    let root = roots[node];
    each_pair(values, |x, y| {
        let difference = *x - *y;
        *x += *y;
        *y = difference * root;
    });
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use ark_ff::UniformRand;
    use ark_poly::{EvaluationDomain, GeneralEvaluationDomain};
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    fn bit_reversed(values: &[Fr]) -> Vec<Fr> {
        (0..values.len()).map(|at| values[reversed(at, values.len().trailing_zeros())]).collect()
    }

    /// Random, zero, and one value alone.
    fn inputs(size: usize) -> Vec<Vec<Fr>> {
        let mut rng = ChaCha20Rng::seed_from_u64(size as u64);
        let one_hot = |at: usize| (0..size).map(|i| if i == at { -Fr::ONE } else { Fr::ZERO }).collect();
        vec![(0..size).map(|_| Fr::rand(&mut rng)).collect(), vec![Fr::ZERO; size], one_hot(0), one_hot(size - 1), one_hot(size / 3)]
    }

    #[test]
    fn every_transform_is_that_of_arkworks() {
        for bits in 0..=14 {
            let size = 1usize << bits;
            let domain = GeneralEvaluationDomain::<Fr>::new(size).unwrap();
            let coset = domain.get_coset(Fr::get_root_of_unity(2 * size as u64).unwrap()).unwrap();
            let engines = [Engine::detect(), Engine::portable()];
            for (roots, coefficients) in
                engines.map(|engine| Roots::new(engine, size)).iter().flat_map(|roots| inputs(size).into_iter().map(move |input| (roots, input)))
            {
                for (modulus, domain) in [(Modulus::Domain, domain), (Modulus::Coset, coset)] {
                    let mut values = coefficients.clone();
                    roots.forward(&mut values, modulus);
                    assert_eq!(values, bit_reversed(&domain.fft(&coefficients)), "2^{bits} {modulus:?}");
                    roots.backward(&mut values, modulus);
                    let scaled: Vec<Fr> = coefficients.iter().map(|value| *value * Fr::from(size as u64)).collect();
                    assert_eq!(values, scaled, "2^{bits} {modulus:?}");
                }
            }
        }
    }
}
