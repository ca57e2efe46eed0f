//! The thin layer that every gadget is written on.
//!
//! A [`Num`] is a value together with the linear combination of variables it came from. A [`Builder`] hands out variables and
//! takes constraints in one of two modes, through one code path:
//!
//! ```text
//! constraints   symbolic: rows go straight to the three matrices; values are meaningless        (once per circuit)
//! values        numbers only: no linear combination is ever stored, rows are not even built     (once per batch)
//! ```
//!
//! Because gadgets never look at a linear combination, both modes allocate the same variables in the same order; a test
//! compares them. Neither fails: values mode checks nothing, and an impossible witness comes out as an assignment that violates rows,
//! which is what the tests of soundness feed on.

use crate::groth16::sparse::{Rows, Sparse};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, BigInteger, Field, One, PrimeField, Zero};
use sheaf_protocol::field::pow2;
use std::collections::BTreeMap;
use std::ops::{Add, Mul, Neg, Sub};

/// Position of a variable in the full assignment: 0 is the constant one, then the public inputs, then the witness.
pub type VarIndex = u32;

/// A number in the circuit: its value and, in constraints mode, the linear combination that makes it.
#[derive(Clone, Debug)]
pub struct Num {
    value: Fr,
    constant: Fr,
    terms: Vec<(VarIndex, Fr)>,
}

impl Num {
    /// A constant of the circuit.
    pub fn constant(value: Fr) -> Self {
        Self { value, constant: value, terms: Vec::new() }
    }

    /// The constant 0.
    pub fn zero() -> Self {
        Self::constant(Fr::ZERO)
    }

    /// The constant 1.
    pub fn one() -> Self {
        Self::constant(Fr::ONE)
    }

    /// The value; meaningless in constraints mode.
    pub fn value(&self) -> Fr {
        self.value
    }

    /// `constant + sum of coefficient * number`, the way to add many numbers at once.
    pub fn weighted<'a>(constant: Fr, parts: impl Iterator<Item = (Fr, &'a Num)>) -> Self {
        let mut sum = Self::constant(constant);
        for (coefficient, num) in parts {
            sum.value += coefficient * num.value;
            sum.constant += coefficient * num.constant;
            sum.terms.extend(num.terms.iter().map(|(var, c)| (*var, coefficient * c)));
        }
        sum.merge_terms();
        sum
    }

    /// The plain sum of numbers.
    pub fn sum<'a>(parts: impl IntoIterator<Item = &'a Num>) -> Self {
        Self::weighted(Fr::ZERO, parts.into_iter().map(|num| (Fr::ONE, num)))
    }

    /// `sum of part_i 2^shift_i`: fields packed into one word by shifts.
    pub fn packed(parts: &[(&Num, u64)]) -> Self {
        Self::weighted(Fr::ZERO, parts.iter().map(|(num, shift)| (pow2(*shift), *num)))
    }

    fn merge_terms(&mut self) {
        if self.terms.is_empty() {
            return;
        }
        self.terms.sort_unstable_by_key(|term| term.0);
        self.terms.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                earlier.1 += later.1;
            }
            same
        });
        self.terms.retain(|term| !term.1.is_zero());
    }

    /// Columns with their coefficients, the constant's first.
    fn row(&self) -> impl Iterator<Item = (VarIndex, Fr)> + '_ {
        let constant = (!self.constant.is_zero()).then_some((0, self.constant));
        constant.into_iter().chain(self.terms.iter().copied())
    }
}

impl Add for &Num {
    type Output = Num;
    fn add(self, other: &Num) -> Num {
        Num::weighted(Fr::ZERO, [(Fr::ONE, self), (Fr::ONE, other)].into_iter())
    }
}

impl Sub for &Num {
    type Output = Num;
    fn sub(self, other: &Num) -> Num {
        Num::weighted(Fr::ZERO, [(Fr::ONE, self), (-Fr::ONE, other)].into_iter())
    }
}

impl Neg for &Num {
    type Output = Num;
    fn neg(self) -> Num {
        self * -Fr::ONE
    }
}

impl Add<Fr> for &Num {
    type Output = Num;
    fn add(self, constant: Fr) -> Num {
        let mut sum = self.clone();
        sum.value += constant;
        sum.constant += constant;
        sum
    }
}

impl Sub<Fr> for &Num {
    type Output = Num;
    fn sub(self, constant: Fr) -> Num {
        self + -constant
    }
}

impl Mul<Fr> for &Num {
    type Output = Num;
    fn mul(self, factor: Fr) -> Num {
        Num::weighted(Fr::ZERO, [(factor, self)].into_iter())
    }
}

macro_rules! owned_operators {
    ($($trait:ident $method:ident $other:ty),*) => {$(
        impl $trait<$other> for Num {
            type Output = Num;
            fn $method(self, other: $other) -> Num {
                (&self).$method(other)
            }
        }
    )*};
}
owned_operators!(Add add &Num, Sub sub &Num, Add add Fr, Sub sub Fr, Mul mul Fr);

/// Which slot of a batch something belongs to, e.g. the third transfer; the tail of the circuit is `("batch", 0)`.
pub type Section = (&'static str, usize);

/// Names of the constraint groups and slots that every row and variable belongs to, in order of allocation.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    groups: Vec<String>,
    sections: Vec<Section>,
    rows: Vec<Place>,
    variables: Vec<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    section: u16,
    group: u16,
}

impl Layout {
    /// The names of all constraint groups, in order of first use.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The group and the slot of constraint `row`.
    pub fn row(&self, row: usize) -> (&str, Section) {
        self.place(self.rows[row])
    }

    /// The group and the slot in which witness variable `witness` (counted from the first witness) was allocated.
    pub fn variable(&self, witness: usize) -> (&str, Section) {
        self.place(self.variables[witness])
    }

    /// How many constraints a slot has.
    pub fn rows_in(&self, section: Section) -> usize {
        let wanted = self.sections.iter().position(|name| *name == section);
        self.rows.iter().filter(|place| Some(usize::from(place.section)) == wanted).count()
    }

    /// How many constraints belong to a group.
    pub fn rows_of(&self, group: &str) -> usize {
        let wanted = self.groups.iter().position(|name| name == group);
        self.rows.iter().filter(|place| Some(usize::from(place.group)) == wanted).count()
    }

    fn place(&self, place: Place) -> (&str, Section) {
        (&self.groups[usize::from(place.group)], self.sections[usize::from(place.section)])
    }
}

/// Values that replace what honest witness generation would allocate; everything computed from them follows the lie.
/// Empty except in tests of soundness.
pub type Tampering = BTreeMap<VarIndex, Fr>;

/// What constraints mode leaves: rows, their names and the number of witness variables.
#[derive(Debug)]
pub(crate) struct Laid {
    pub(crate) layout: Layout,
    /// A, B and C.
    pub(crate) matrices: [Sparse; 3],
    pub(crate) witness_variables: usize,
}

#[expect(clippy::large_enum_variant, reason = "one a circuit or slot, never kept")]
enum Mode<'a> {
    Constraints { rows: [Rows; 3], layout: Layout, here: Place },
    Values { tampering: &'a Tampering, values: Vec<Fr> },
}

/// Allocates variables and takes constraints; see the module text for its two modes.
pub struct Builder<'a> {
    mode: Mode<'a>,
    inputs: u32,
    next: VarIndex,
    section: Section,
}

impl Builder<'static> {
    /// Constraints mode, after `inputs` public inputs.
    pub fn constraints(inputs: u32) -> Self {
        let (rows, here) = ([(); 3].map(|()| Rows::new()), Place { section: 0, group: 0 });
        let mode = Mode::Constraints { rows, layout: Layout::default(), here };
        Self { mode, inputs, next: inputs + 1, section: ("", 0) }
    }
}

impl<'a> Builder<'a> {
    /// Values mode. `first` is the index of the first variable this builder will allocate, which only `tampering` looks at.
    pub fn values(inputs: u32, first: VarIndex, tampering: &'a Tampering) -> Self {
        Self { mode: Mode::Values { tampering, values: Vec::new() }, inputs, next: first, section: ("", 0) }
    }

    /// The number of public input `position` (from 0). Its value is given because values mode does not store inputs.
    pub fn input(&self, position: u32, value: Fr) -> Num {
        debug_assert!(position < self.inputs, "no such public input");
        self.num(position + 1, value)
    }

    /// Starts a slot: the rows and variables that follow belong to it.
    pub fn section(&mut self, kind: &'static str, index: usize) {
        self.section = (kind, index);
        if let Mode::Constraints { layout, here, .. } = &mut self.mode {
            here.section = layout.sections.len() as u16;
            layout.sections.push(self.section);
        }
    }

    /// Names the constraint group of the rows that follow: `<kind of slot>.<name>`.
    pub fn group(&mut self, name: &str) {
        if let Mode::Constraints { layout, here, .. } = &mut self.mode {
            let full = format!("{}.{name}", self.section.0);
            let known = layout.groups.iter().position(|group| *group == full);
            here.group = known.unwrap_or(layout.groups.len()) as u16;
            if known.is_none() {
                layout.groups.push(full);
            }
        }
    }

    /// A fresh witness variable. Nothing constrains it yet: the caller says who does.
    pub fn alloc(&mut self, value: Fr) -> Num {
        let index = self.next;
        self.next += 1;
        let value = match &mut self.mode {
            Mode::Constraints { layout, here, .. } => {
                layout.variables.push(*here);
                value
            }
            Mode::Values { tampering, values } => {
                let value = if tampering.is_empty() { value } else { *tampering.get(&index).unwrap_or(&value) };
                values.push(value);
                value
            }
        };
        self.num(index, value)
    }

    fn num(&self, index: VarIndex, value: Fr) -> Num {
        let terms = match self.mode {
            Mode::Constraints { .. } => vec![(index, Fr::ONE)],
            Mode::Values { .. } => Vec::new(),
        };
        Num { value, constant: Fr::ZERO, terms }
    }

    /// The constraint `a b = c`.
    pub fn enforce(&mut self, a: &Num, b: &Num, c: &Num) {
        let Mode::Constraints { rows, layout, here } = &mut self.mode else { return };
        layout.rows.push(*here);
        rows.iter_mut().zip([a, b, c]).for_each(|(rows, num)| rows.push(num.row()));
    }

    /// `a = b`, one constraint.
    pub fn equal(&mut self, a: &Num, b: &Num) {
        self.enforce(&(a - b), &Num::one(), &Num::zero());
    }

    /// `a b`, one constraint.
    pub fn mul(&mut self, a: &Num, b: &Num) -> Num {
        let product = self.alloc(a.value * b.value);
        self.enforce(a, b, &product);
        product
    }

    /// `numerator / denominator`, one constraint `q d = n`. The caller says why the denominator is not 0: where both are 0
    /// the quotient would be free.
    pub fn divide(&mut self, numerator: &Num, denominator: &Num) -> Num {
        let inverse = denominator.value.inverse().unwrap_or_default();
        let quotient = self.alloc(numerator.value * inverse);
        self.enforce(&quotient, denominator, numerator);
        quotient
    }

    /// A bit: boolean here.
    pub fn boolean(&mut self, value: Fr) -> Num {
        let bit = self.alloc(value);
        self.enforce(&bit, &(&bit - Fr::ONE), &Num::zero());
        bit
    }

    /// A number of `width` bits, lowest first: every bit is boolean here, and the number is their sum by construction.
    /// A value that does not fit leaves its excess in the top bit, whose row it then violates.
    pub fn ranged(&mut self, value: Fr, width: usize) -> (Num, Vec<Num>) {
        let mut bits: Vec<Num> = Vec::with_capacity(width);
        for bit in split(value, width) {
            bits.push(self.boolean(bit));
        }
        let sum = Num::weighted(Fr::ZERO, powers_of_two().zip(&bits));
        (sum, bits)
    }

    /// Constrains `number` to `width` bits: `width` constraints but only `width - 1` variables, since the lowest bit is what
    /// the others leave of the number.
    pub fn range_check(&mut self, number: &Num, width: usize) {
        let high: Vec<Num> = split(number.value, width).into_iter().skip(1).map(|bit| self.boolean(bit)).collect();
        let rest = Num::weighted(Fr::ZERO, powers_of_two().skip(1).zip(&high));
        let lowest = number - &rest;
        self.enforce(&lowest, &(&lowest - Fr::ONE), &Num::zero());
    }

    /// The values allocated in values mode; empty in constraints mode.
    pub fn into_values(self) -> Vec<Fr> {
        match self.mode {
            Mode::Values { values, .. } => values,
            Mode::Constraints { .. } => Vec::new(),
        }
    }

    /// What was laid out in constraints mode; empty in values mode.
    pub(crate) fn finish(self) -> Laid {
        let (rows, layout) = match self.mode {
            Mode::Constraints { rows, layout, .. } => (rows, layout),
            Mode::Values { .. } => ([(); 3].map(|()| Rows::new()), Layout::default()),
        };
        Laid { witness_variables: layout.variables.len(), matrices: rows.map(Rows::finish), layout }
    }
}

fn powers_of_two() -> impl Iterator<Item = Fr> {
    std::iter::successors(Some(Fr::one()), |power| Some(power.double()))
}

/// `width` numbers whose sum by powers of two is `value`: bits, except that the top one carries whatever does not fit.
fn split(value: Fr, width: usize) -> Vec<Fr> {
    let integer = value.into_bigint();
    let mut digits: Vec<Fr> = (0..width).map(|i| Fr::from(integer.get_bit(i))).collect();
    if integer.num_bits() as usize > width {
        let low: Fr = powers_of_two().zip(&digits[..width - 1]).map(|(power, bit)| power * bit).sum();
        digits[width - 1] = (value - low) * pow2(width as u64 - 1).inverse().unwrap_or_default();
    }
    digits
}
