//! The prover engine: Groth16 over BN254 with kernels of its own; its proofs are plain `ark_groth16::Proof`s.

pub mod field;
#[cfg(target_arch = "x86_64")]
pub mod ifma;
pub mod msm;

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
