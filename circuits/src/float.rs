//! Decimal floats: `value = mantissa * 10^exponent`, `packed = mantissa + 2^M exponent`.
//!
//! Both fields are ranged bit by bit here, so the packed form is injective and the value is below 2^86.
//! `10^exponent = prod_j (1 + e_j (10^(2^j) - 1))` over the exponent's bits: 3 constraints, the first factor being linear.
//! Native twin: `sheaf_protocol::amount::DecimalFloat`. Count: M + 4 + 4.

use crate::builder::{Builder, Num};
use ark_bn254::Fr;
use ark_ff::{Field, PrimeField};
use sheaf_protocol::amount::{DecimalFloat, EXPONENT_BITS};

/// What a float is made of; plain field elements, so that a test can ask for ones that do not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FloatWitness {
    /// The mantissa; ranged in the circuit.
    pub mantissa: Fr,
    /// The decimal exponent; ranged in the circuit.
    pub exponent: Fr,
}

impl<const M: u32> From<DecimalFloat<M>> for FloatWitness {
    fn from(float: DecimalFloat<M>) -> Self {
        Self { mantissa: Fr::from(float.mantissa()), exponent: Fr::from(float.exponent()) }
    }
}

impl FloatWitness {
    /// `mantissa * 10^exponent` in the field, for an exponent of any size.
    pub fn value(&self) -> Fr {
        self.mantissa * Fr::from(10u64).pow(self.exponent.into_bigint())
    }
}

/// A float in the circuit.
#[derive(Clone, Debug)]
pub struct Float {
    /// `mantissa * 10^exponent`.
    pub value: Num,
    /// `mantissa + 2^M exponent`.
    pub packed: Num,
}

/// A float with a mantissa of `mantissa_bits` bits.
pub fn float(b: &mut Builder<'_>, name: &str, witness: &FloatWitness, mantissa_bits: u32) -> Float {
    b.group(&format!("{name}_range"));
    let (mantissa, _) = b.ranged(witness.mantissa, mantissa_bits as usize);
    let (exponent, bits) = b.ranged(witness.exponent, EXPONENT_BITS as usize);
    b.group(&format!("{name}_value"));
    let mut factors = bits.iter().enumerate().map(|(j, bit)| &(bit * (Fr::from(10u64).pow([1 << j]) - Fr::ONE)) + Fr::ONE);
    let mut power = factors.next().unwrap_or_else(Num::one);
    for factor in factors {
        power = b.mul(&power, &factor);
    }
    let value = b.mul(&mantissa, &power);
    Float { value, packed: Num::packed(&[(&mantissa, 0), (&exponent, u64::from(mantissa_bits))]) }
}
