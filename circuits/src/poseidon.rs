//! Poseidon in the circuit: 3 constraints per fifth power, everything else linear.
//!
//! In the partial rounds only `state[0]` meets an S-box, so every element of the state stays a linear form in the `t` numbers
//! that enter the partial rounds and the S-box outputs since. The forms are the same in every permutation of one width; they
//! are computed once and both modes of the builder evaluate them.
//!
//! ```text
//! full rounds   x -> M (x + ark)^5                            t S-boxes each, 4 + 4 rounds
//! y             outputs of the last S-box layer before the partial rounds
//! partial r     s_r = (before_r(y, s_0 .. s_(r-1)))^5         1 S-box each
//! after         state_i = after_i(y, s_0 .. s_(last))
//! ```
//!
//! Native twin: `sheaf_protocol::poseidon`, held equal by a test. Counts: 3 (8 t + partial rounds).

use crate::builder::{Builder, Num};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use sheaf_protocol::poseidon::{Params, SPONGE_RATE, SPONGE_WIDTH, params};
use std::sync::OnceLock;

/// A linear form: constant, then coefficients of `y` and of the S-box outputs so far.
#[derive(Clone)]
struct Form {
    constant: Fr,
    coefficients: Vec<Fr>,
}

impl Form {
    fn apply(&self, basis: &[Num]) -> Num {
        Num::weighted(self.constant, self.coefficients.iter().copied().zip(basis))
    }
}

struct PartialRounds {
    before: Vec<Form>,
    after: Vec<Form>,
}

impl PartialRounds {
    fn new(params: &Params) -> Self {
        let mut state = mix(params, &unit_forms(params.t));
        let mut before = Vec::with_capacity(params.partial_rounds);
        let first = params.full_rounds / 2;
        for (round, constants) in params.ark[first..first + params.partial_rounds].iter().enumerate() {
            for (form, constant) in state.iter_mut().zip(constants) {
                form.constant += constant;
            }
            let output = unit_form(params.t + round);
            before.push(std::mem::replace(&mut state[0], output));
            state = mix(params, &state);
        }
        Self { before, after: state }
    }

    fn of(t: usize) -> &'static Self {
        static CACHE: [OnceLock<PartialRounds>; 16] = [const { OnceLock::new() }; 16];
        CACHE[t - 2].get_or_init(|| Self::new(params(t)))
    }
}

fn unit_form(position: usize) -> Form {
    let mut coefficients = vec![Fr::ZERO; position + 1];
    coefficients[position] = Fr::ONE;
    Form { constant: Fr::ZERO, coefficients }
}

fn unit_forms(t: usize) -> Vec<Form> {
    (0..t).map(unit_form).collect()
}

fn mix(params: &Params, state: &[Form]) -> Vec<Form> {
    let length = state.iter().map(|form| form.coefficients.len()).max().unwrap_or(0);
    let row_times_state = |row: &Vec<Fr>| {
        let mut sum = Form { constant: Fr::ZERO, coefficients: vec![Fr::ZERO; length] };
        for (factor, form) in row.iter().zip(state) {
            sum.constant += *factor * form.constant;
            for (into, coefficient) in sum.coefficients.iter_mut().zip(&form.coefficients) {
                *into += *factor * coefficient;
            }
        }
        sum
    };
    params.mds.iter().map(row_times_state).collect()
}

fn fifth_power(b: &mut Builder<'_>, x: &Num) -> Num {
    let square = b.mul(x, x);
    let fourth = b.mul(&square, &square);
    b.mul(&fourth, x)
}

fn sbox_layer(b: &mut Builder<'_>, state: &[Num], constants: &[Fr]) -> Vec<Num> {
    state.iter().zip(constants).map(|(element, constant)| fifth_power(b, &(element + *constant))).collect()
}

fn mix_numbers(params: &Params, state: &[Num]) -> Vec<Num> {
    params.mds.iter().map(|row| Num::weighted(Fr::ZERO, row.iter().copied().zip(state))).collect()
}

/// The permutation of width `state.len()`.
pub fn permute(b: &mut Builder<'_>, state: &[Num]) -> Vec<Num> {
    let params = params(state.len());
    let (half, rounds) = (params.full_rounds / 2, PartialRounds::of(params.t));
    let mut basis = sbox_layer(b, state, &params.ark[0]);
    for constants in &params.ark[1..half] {
        basis = sbox_layer(b, &mix_numbers(params, &basis), constants);
    }
    for before in &rounds.before {
        let output = fifth_power(b, &before.apply(&basis));
        basis.push(output);
    }
    let mut state: Vec<Num> = rounds.after.iter().map(|after| after.apply(&basis)).collect();
    for constants in &params.ark[half + params.partial_rounds..] {
        state = mix_numbers(params, &sbox_layer(b, &state, constants));
    }
    state
}

/// `Poseidon_4(cap; x, y, z)`: 264 constraints.
pub fn hash3(b: &mut Builder<'_>, cap: &Num, inputs: [&Num; 3]) -> Num {
    let state = [cap, inputs[0], inputs[1], inputs[2]].map(Num::clone);
    permute(b, &state).swap_remove(0)
}

/// The transcript of the batch, width 17, over all absorbed numbers at once: 612 constraints per 16 of them.
/// The capacity element is the circuit's id, a constant of the circuit.
pub fn sponge17(b: &mut Builder<'_>, circuit_id: Fr, absorbed: &[Num]) -> Num {
    let mut state = vec![Num::zero(); SPONGE_WIDTH];
    state[0] = Num::constant(circuit_id);
    for block in absorbed.chunks(SPONGE_RATE) {
        for (element, number) in state[1..].iter_mut().zip(block) {
            *element = &*element + number;
        }
        state = permute(b, &state);
    }
    state.swap_remove(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Tampering;
    use sheaf_protocol::poseidon as native;

    #[test]
    fn gadget_is_the_native_hash() {
        let honest = Tampering::new();
        let mut b = Builder::values(0, 1, &honest);
        let numbers: Vec<Num> = (0..40u64).map(|i| b.alloc(Fr::from(i * i + 7))).collect();
        let hash = hash3(&mut b, &numbers[0], [&numbers[1], &numbers[2], &numbers[3]]);
        let [cap, x, y, z] = [0, 1, 2, 3].map(|i| numbers[i].value());
        assert_eq!(hash.value(), native::hash3(cap, x, y, z));
        for count in [1, 15, 16, 17, 40] {
            let mut sponge = native::Sponge17::new(Fr::from(3u64));
            numbers[..count].iter().for_each(|number| sponge.absorb(number.value()));
            assert_eq!(sponge17(&mut b, Fr::from(3u64), &numbers[..count]).value(), sponge.finish());
        }
    }
}
