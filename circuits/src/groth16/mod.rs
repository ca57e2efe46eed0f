//! Our prover of Groth16 over BN254: the proofs of ark-groth16, point by point, in a fraction of its time.
//!
//! ```text
//! assignment ── sparse: rows of A, B, C, each checked ── quotient (transform) ── h ──┐
//!      └────────────────────────────────────────────────────────────────────────────┴── sums of key x scalars ── proof   (pipeline)
//! key: a mapped file (map)     msm: the sums     field: what the kernels compute with; ifma: on eight lanes
//! ```

pub mod field;
#[cfg(target_arch = "x86_64")]
pub mod ifma;
pub(crate) mod key;
pub(crate) mod map;
pub mod msm;
pub(crate) mod pipeline;
mod quotient;
pub(crate) mod sparse;
pub mod stock;
#[cfg(feature = "taceo")]
pub mod taceo;
mod transform;

use field::Portable;

/// Which machine the kernels run on.
#[derive(Debug, Clone, Copy)]
pub enum Engine {
    /// Eight lanes of AVX-512 IFMA.
    #[cfg(target_arch = "x86_64")]
    Ifma(ifma::Ifma),
    /// One lane of arkworks' arithmetic.
    Portable(Portable),
}

impl Engine {
    /// The fastest machine of this processor.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(machine) = ifma::Ifma::detect() {
            return Self::Ifma(machine);
        }
        Self::portable()
    }

    /// Its name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Ifma(_) => "avx512ifma",
            Self::Portable(_) => "portable",
        }
    }

    /// The machine that every processor has.
    pub fn portable() -> Self {
        Self::Portable(Portable)
    }
}

/// Evaluates an expression with the machine of an [`Engine`] bound to a name, once for each type of machine.
macro_rules! on_machine {
    ($engine:expr, $machine:ident => $body:expr) => {
        match $engine {
            #[cfg(target_arch = "x86_64")]
            $crate::groth16::Engine::Ifma($machine) => $body,
            $crate::groth16::Engine::Portable($machine) => $body,
        }
    };
}
pub(crate) use on_machine;

/// Transforms of one size, for measurements: values are in bit-reversed order, and nothing is scaled.
#[derive(Debug)]
pub struct Fft(transform::Roots);

impl Fft {
    /// Of `size` values, a power of two.
    ///
    /// # Panics
    /// Above 2^27 values.
    pub fn new(engine: Engine, size: usize) -> Self {
        Self(transform::Roots::new(engine, size))
    }

    /// Coefficients to values on the domain.
    pub fn forward(&self, values: &mut [ark_bn254::Fr]) {
        self.0.forward(values, transform::Modulus::Domain);
    }

    /// Back, times their number.
    pub fn backward(&self, values: &mut [ark_bn254::Fr]) {
        self.0.backward(values, transform::Modulus::Domain);
    }
}
