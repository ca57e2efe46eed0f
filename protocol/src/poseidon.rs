//! Poseidon over the BN254 scalar field: circomlib's instances (x^5, 8 full rounds), width 2 to 17.
//!
//! ```text
//! Poseidon_4(c; a, b, d) = permute(c, a, b, d)[0]                                hash3, c is the domain separator
//! sponge, t = 17           state = (circuit id, 0 x 16), absorb by addition into state[1..=16], h = state[0]
//! ```
//!
//! The permutation is computed in its sparse form: the constants and the dense part of every partial round's matrix are
//! moved past the S-box, which only touches state[0]. The round constants and the matrix themselves are [`Params`]; the
//! circuit uses those, and a test holds both forms equal. Nothing here fails, and hashing does not allocate. Source: Poseidon,
//! eprint 2019/458, appendix B for the sparse form; constants by the Grain generator of its reference code.

use crate::field::Fr;
use ark_crypto_primitives::sponge::poseidon::find_poseidon_ark_and_mds;
use ark_ff::{AdditiveGroup, Field, PrimeField};
use std::sync::OnceLock;

/// Full rounds of every width, half of them before the partial ones.
pub const FULL_ROUNDS: usize = 8;
/// Partial rounds of width 2, 3, .. 17 (`N_ROUNDS_P` of circomlib's poseidon.circom, 128-bit security).
pub const PARTIAL_ROUNDS: [usize; 16] = [56, 57, 56, 60, 60, 63, 64, 63, 60, 66, 60, 65, 70, 60, 64, 68];
/// Width of the transcript sponge.
pub const SPONGE_WIDTH: usize = 17;
/// Elements the sponge takes per permutation.
pub const SPONGE_RATE: usize = SPONGE_WIDTH - 1;

/// The constants of one width.
#[derive(Debug)]
pub struct Params {
    /// Width: elements of state.
    pub t: usize,
    /// Full rounds, half first and half last.
    pub full_rounds: usize,
    /// Partial rounds in the middle.
    pub partial_rounds: usize,
    /// `ark[round][i]` is added to `state[i]` at the start of the round.
    pub ark: Vec<Vec<Fr>>,
    /// `state = mds * state` ends every round.
    pub mds: Vec<Vec<Fr>>,
}

/// The constants of width `t`, computed once per process.
///
/// # Panics
/// If `t` is not in 2..=17: widths are constants of the caller.
pub fn params(t: usize) -> &'static Params {
    static CACHE: [OnceLock<Params>; 16] = [const { OnceLock::new() }; 16];
    assert!((2..=17).contains(&t), "Poseidon width {t} is not in 2..=17");
    CACHE[t - 2].get_or_init(|| generate(t))
}

fn generate(t: usize) -> Params {
    let partial_rounds = PARTIAL_ROUNDS[t - 2];
    let bits = u64::from(Fr::MODULUS_BIT_SIZE);
    let (ark, mds) = find_poseidon_ark_and_mds::<Fr>(bits, t - 1, FULL_ROUNDS as u64, partial_rounds as u64, 0);
    Params { t, full_rounds: FULL_ROUNDS, partial_rounds, ark, mds }
}

/// `Poseidon_4(cap; a, b, d)`: one permutation of (cap, a, b, d), element 0 of the result.
pub fn hash3(cap: Fr, a: Fr, b: Fr, d: Fr) -> Fr {
    static SPARSE: OnceLock<Sparse<4>> = OnceLock::new();
    let mut state = [cap, a, b, d];
    SPARSE.get_or_init(|| Sparse::new(params(4))).permute(&mut state);
    state[0]
}

/// The transcript sponge of the batch circuit, width 17.
///
/// Element `n` (from 0) is added to `state[1 + n mod 16]`; the state is permuted before an element that finds the 16 places
/// taken, and once more by [`Sponge17::finish`]. So 16 elements cost one permutation and 17 cost two, the last block is
/// padded with zeros, and no length is absorbed: a circuit id stands for one fixed number of elements.
#[derive(Clone, Debug)]
pub struct Sponge17 {
    state: [Fr; SPONGE_WIDTH],
    taken: usize,
}

impl Sponge17 {
    /// A sponge whose capacity element is the circuit's number in the manifest.
    pub fn new(circuit_id: Fr) -> Self {
        let mut state = [Fr::ZERO; SPONGE_WIDTH];
        state[0] = circuit_id;
        Self { state, taken: 0 }
    }

    /// Takes one element.
    pub fn absorb(&mut self, element: Fr) {
        if self.taken == SPONGE_RATE {
            permute17(&mut self.state);
            self.taken = 0;
        }
        self.taken += 1;
        self.state[self.taken] += element;
    }

    /// Permutes the last block (a block of zeros if nothing was absorbed) and returns `state[0]`.
    pub fn finish(mut self) -> Fr {
        permute17(&mut self.state);
        self.state[0]
    }
}

fn permute17(state: &mut [Fr; SPONGE_WIDTH]) {
    static SPARSE: OnceLock<Sparse<SPONGE_WIDTH>> = OnceLock::new();
    SPARSE.get_or_init(|| Sparse::new(params(SPONGE_WIDTH))).permute(state);
}

type Matrix<const T: usize> = [[Fr; T]; T];

/// One partial round in sparse form: add `constant` to and take the fifth power of state[0], then
/// `state[0] = <row, state>`, `state[i] += column[i] * old state[0]`.
struct PartialRound<const T: usize> {
    constant: Fr,
    row: [Fr; T],
    column: [Fr; T],
}

/// The permutation with all partial rounds but the last in sparse form.
struct Sparse<const T: usize> {
    first: [[Fr; T]; FULL_ROUNDS / 2],
    partial: Vec<PartialRound<T>>,
    last_partial: (Fr, Matrix<T>),
    last: [[Fr; T]; FULL_ROUNDS / 2],
    mds: Matrix<T>,
}

impl<const T: usize> Sparse<T> {
    /// With M = [[m, v], [w, N]] and X = N^r in round r: M diag(1, X) = diag(1, N X) [[m, v X], [(N X)^-1 w, 1]]. The right
    /// factor is the sparse round; diag(1, N X) passes the next S-box and constant, because both act on state[0] only.
    fn new(params: &Params) -> Self {
        let half = FULL_ROUNDS / 2;
        let mds: Matrix<T> = std::array::from_fn(|i| std::array::from_fn(|j| params.mds[i][j]));
        let round = |r: usize| std::array::from_fn(|i| params.ark[r][i]);
        let (constants, after) = push_constants(params, &mds);
        let (head, tail) = constants.split_at(params.partial_rounds - 1);
        // `wide` = diag(1, X), `narrow` = diag(1, X^-1)
        let (mut wide, mut narrow) = (identity::<T>(), identity::<T>());
        let (lower, lower_inverse) = (lower_block(&mds), inverse(lower_block(&mds)));
        let partial = head
            .iter()
            .map(|&constant| {
                let row = std::array::from_fn(|j| dot(&mds[0], &column(&wide, j)));
                wide = product(&lower, &wide);
                narrow = product(&lower_inverse, &narrow);
                let mut below = column(&mds, 0);
                below[0] = Fr::ZERO;
                PartialRound { constant, row, column: apply(&narrow, &below) }
            })
            .collect();
        let mut last: [[Fr; T]; FULL_ROUNDS / 2] = std::array::from_fn(|r| round(half + params.partial_rounds + r));
        last[0] = std::array::from_fn(|i| last[0][i] + after[i]);
        Self { first: std::array::from_fn(round), partial, last_partial: (tail[0], product(&mds, &wide)), last, mds }
    }

    fn permute(&self, state: &mut [Fr; T]) {
        self.first.iter().for_each(|constants| self.full_round(state, constants));
        for round in &self.partial {
            let power = fifth_power(state[0] + round.constant);
            state[0] = power;
            let first = dot(&round.row, state);
            for (element, factor) in state.iter_mut().zip(&round.column).skip(1) {
                *element += *factor * power;
            }
            state[0] = first;
        }
        state[0] = fifth_power(state[0] + self.last_partial.0);
        *state = apply(&self.last_partial.1, state);
        self.last.iter().for_each(|constants| self.full_round(state, constants));
    }

    fn full_round(&self, state: &mut [Fr; T], constants: &[Fr; T]) {
        for (element, constant) in state.iter_mut().zip(constants) {
            *element = fifth_power(*element + constant);
        }
        *state = apply(&self.mds, state);
    }
}

/// Moves the constants of state[1..] of each partial round through its matrix into the next round: what is left is one
/// constant for state[0] per partial round, and a vector to add to the first full round after them.
fn push_constants<const T: usize>(params: &Params, mds: &Matrix<T>) -> (Vec<Fr>, [Fr; T]) {
    let mut carried = [Fr::ZERO; T];
    let rounds = &params.ark[FULL_ROUNDS / 2..FULL_ROUNDS / 2 + params.partial_rounds];
    let constants = rounds
        .iter()
        .map(|round| {
            let mut sum: [Fr; T] = std::array::from_fn(|i| carried[i] + round[i]);
            let first = std::mem::replace(&mut sum[0], Fr::ZERO);
            carried = apply(mds, &sum);
            first
        })
        .collect();
    (constants, carried)
}

fn fifth_power(x: Fr) -> Fr {
    x.square().square() * x
}

/// One product after the other: arkworks' `sum_of_products` takes 1.6 times as long at these widths.
fn dot<const T: usize>(a: &[Fr; T], b: &[Fr; T]) -> Fr {
    a.iter().zip(b).map(|(x, y)| *x * y).sum()
}

fn apply<const T: usize>(matrix: &Matrix<T>, state: &[Fr; T]) -> [Fr; T] {
    std::array::from_fn(|i| dot(&matrix[i], state))
}

fn column<const T: usize>(matrix: &Matrix<T>, j: usize) -> [Fr; T] {
    std::array::from_fn(|i| matrix[i][j])
}

fn product<const T: usize>(a: &Matrix<T>, b: &Matrix<T>) -> Matrix<T> {
    std::array::from_fn(|i| std::array::from_fn(|j| dot(&a[i], &column(b, j))))
}

fn identity<const T: usize>() -> Matrix<T> {
    std::array::from_fn(|i| std::array::from_fn(|j| Fr::from(i == j)))
}

/// diag(1, N) of the matrix [[m, v], [w, N]].
fn lower_block<const T: usize>(matrix: &Matrix<T>) -> Matrix<T> {
    let unit = identity::<T>();
    std::array::from_fn(|i| std::array::from_fn(|j| if i == 0 || j == 0 { unit[i][j] } else { matrix[i][j] }))
}

/// Gauss-Jordan without pivoting: every square block of a Cauchy matrix is invertible, so no pivot is zero.
fn inverse<const T: usize>(mut matrix: Matrix<T>) -> Matrix<T> {
    let mut result = identity::<T>();
    for pivot in 0..T {
        let scale = matrix[pivot][pivot].inverse().unwrap_or_default();
        for j in 0..T {
            matrix[pivot][j] *= scale;
            result[pivot][j] *= scale;
        }
        let (pivot_row, pivot_result) = (matrix[pivot], result[pivot]);
        for i in (0..T).filter(|&i| i != pivot) {
            let factor = matrix[i][pivot];
            for j in 0..T {
                matrix[i][j] -= factor * pivot_row[j];
                result[i][j] -= factor * pivot_result[j];
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use ark_ff::UniformRand;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    /// The definition, round by round.
    fn permute_plain(params: &Params, state: &mut Vec<Fr>) {
        for (round, constants) in params.ark.iter().enumerate() {
            let partial = (FULL_ROUNDS / 2..FULL_ROUNDS / 2 + params.partial_rounds).contains(&round);
            for i in 0..params.t {
                state[i] += constants[i];
                if i == 0 || !partial {
                    state[i] = state[i].pow([5]);
                }
            }
            *state = params.mds.iter().map(|row| row.iter().zip(&*state).map(|(m, s)| *m * s).sum()).collect();
        }
    }

    /// circomlib's `poseidon(inputs)`.
    fn circomlib(inputs: impl IntoIterator<Item = u64>) -> String {
        let mut state: Vec<Fr> = std::iter::once(0).chain(inputs).map(Fr::from).collect();
        permute_plain(params(state.len()), &mut state);
        state[0].to_string()
    }

    #[test]
    fn constants_are_circomlibs() {
        assert_eq!(circomlib(1..=2), "7853200120776062878684798364095072458815029376092732009249414926327459813530");
        assert_eq!(circomlib(1..=3), "6542985608222806190361240322586112750744169038454362455181422643027100751666", "the width of hash3");
        assert_eq!(circomlib(1..=4), "18821383157269793795438455681495246036402687001665670618754263018637548127333");
        assert_eq!(circomlib(1..=16), "9989051620750914585850546081941653841776809718687451684622678807385399211877", "the width of the sponge");
    }

    #[test]
    fn hash3_is_the_plain_permutation() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for _ in 0..20 {
            let mut state: Vec<Fr> = (0..4).map(|_| Fr::rand(&mut rng)).collect();
            let fast = hash3(state[0], state[1], state[2], state[3]);
            permute_plain(params(4), &mut state);
            assert_eq!(fast, state[0]);
        }
    }

    #[test]
    fn sparse_form_is_the_plain_permutation_in_every_element() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let mut plain: Vec<Fr> = (0..SPONGE_WIDTH).map(|_| Fr::rand(&mut rng)).collect();
        let mut fast: [Fr; SPONGE_WIDTH] = plain.clone().try_into().unwrap();
        for _ in 0..3 {
            permute17(&mut fast);
            permute_plain(params(SPONGE_WIDTH), &mut plain);
            assert_eq!(fast.as_slice(), plain);
        }
    }

    #[test]
    fn sponge_permutes_before_the_seventeenth_element_and_at_the_end() {
        for count in [0usize, 1, 15, 16, 17, 32, 33, 100] {
            let elements: Vec<Fr> = (0..count as u64).map(|i| Fr::from(i + 1000)).collect();
            let mut sponge = Sponge17::new(Fr::from(3u64));
            elements.iter().for_each(|&element| sponge.absorb(element));
            let mut state = vec![Fr::ZERO; SPONGE_WIDTH];
            state[0] = Fr::from(3u64);
            for block in 0..count.div_ceil(SPONGE_RATE).max(1) {
                for (i, &element) in elements.iter().skip(block * SPONGE_RATE).take(SPONGE_RATE).enumerate() {
                    state[1 + i] += element;
                }
                permute_plain(params(SPONGE_WIDTH), &mut state);
            }
            assert_eq!(sponge.finish(), state[0], "{count} elements");
        }
    }

    #[test]
    fn sponge_depends_on_the_circuit_and_on_every_element() {
        let digest = |id: u64, elements: &[u64]| {
            let mut sponge = Sponge17::new(Fr::from(id));
            elements.iter().for_each(|&element| sponge.absorb(Fr::from(element)));
            sponge.finish()
        };
        assert_ne!(digest(1, &[5, 6]), digest(2, &[5, 6]));
        assert_ne!(digest(1, &[5, 6]), digest(1, &[6, 5]));
        assert_ne!(digest(1, &[5]), digest(1, &[5, 6]));
    }
}
