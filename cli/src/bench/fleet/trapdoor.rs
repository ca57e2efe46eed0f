//! A Groth16 key whose trapdoor is known, so that a valid proof of any public inputs takes one multiplication: what a benchmark of those who
//! *check* proofs needs. Such a key proves nothing and never leaves this process.
//!
//! A proof is valid if `a b = alpha beta + sum x_i ic_i + c delta`; whoever knows the scalars solves it for `c`.

use ark_bn254::{Fr, G1Affine, G1Projective, G2Affine, G2Projective};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{Field, UniformRand};
use sheaf_protocol::batch::{PUBLIC_INPUTS, PublicInputs};
use sheaf_protocol::field::{Word, g1_words, g2_words};
use sheaf_protocol::manifest::{CircuitEntry, HexWord, Manifest, Setup, SrsEntry};
use sheaf_protocol::shape::NamedShape;

/// The scalars behind a key.
#[derive(Clone, Debug)]
pub(super) struct Trapdoor {
    alpha: Fr,
    beta: Fr,
    delta: Fr,
    ic: [Fr; PUBLIC_INPUTS + 1],
    /// Scalars of A and B, the same in every proof.
    a: Fr,
    b: Fr,
    /// A and B as words.
    front: [Word; 6],
}

impl Trapdoor {
    pub(super) fn random() -> Self {
        let rng = &mut rand::rngs::OsRng;
        let mut scalar = || Fr::rand(rng);
        let (a, b) = (scalar(), scalar());
        let ([ax, ay], [b0, b1, b2, b3]) = (g1_words(&g1(a)), g2_words(&g2(b)));
        let front = [ax, ay, b0, b1, b2, b3];
        Self { alpha: scalar(), beta: scalar(), delta: scalar(), ic: std::array::from_fn(|_| scalar()), a, b, front }
    }

    /// A manifest with this key for one circuit, number 1.
    pub(super) fn manifest(&self, named: &NamedShape) -> Manifest {
        let zero = HexWord([0; 32]);
        let key = ark_groth16::VerifyingKey::<ark_bn254::Bn254> {
            alpha_g1: g1(self.alpha),
            beta_g2: g2(self.beta),
            gamma_g2: G2Affine::generator(),
            delta_g2: g2(self.delta),
            gamma_abc_g1: self.ic.iter().map(|scalar| g1(*scalar)).collect(),
        };
        let digest = HexWord(sheaf_circuits::keys::verifying_key_digest(&key));
        let circuit = CircuitEntry {
            id: 1,
            name: named.name.to_owned(),
            shape: named.shape,
            circuit: zero,
            proving_key: zero,
            verifying_key: digest,
            delta: g2_words(&key.delta_g2).map(HexWord),
            ic: self.ic.map(|scalar| g1_words(&g1(scalar)).map(HexWord)),
        };
        Manifest {
            setup: Setup::InsecureDevelopment { seed: "a known trapdoor".into() },
            contract: zero,
            srs: SrsEntry { k: 16, digest: zero, tau: [zero; 4], l0: [[zero; 2]; 9] },
            alpha: g1_words(&key.alpha_g1).map(HexWord),
            beta: g2_words(&key.beta_g2).map(HexWord),
            circuits: vec![circuit],
        }
    }

    /// The eight words of a proof of these inputs.
    pub(super) fn prove(&self, inputs: &PublicInputs) -> Option<[Word; 8]> {
        let [constant, ic @ ..] = &self.ic;
        let sum = inputs.iter().zip(ic).fold(*constant, |sum, (input, scalar)| sum + *input * scalar);
        let c = (self.a * self.b - self.alpha * self.beta - sum) * self.delta.inverse()?;
        [&self.front[..], &g1_words(&g1(c))].concat().try_into().ok()
    }
}

fn g1(scalar: Fr) -> G1Affine {
    (G1Projective::from(G1Affine::generator()) * scalar).into_affine()
}

fn g2(scalar: Fr) -> G2Affine {
    (G2Projective::from(G2Affine::generator()) * scalar).into_affine()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use sheaf_protocol::shape::by_name;
    use sheaf_prover::gateway::Verifier;

    #[test]
    fn the_gateway_takes_its_proofs_and_only_for_their_inputs() {
        let trapdoor = Trapdoor::random();
        let verifier = Verifier::new(&trapdoor.manifest(by_name("test").unwrap())).unwrap();
        let inputs = std::array::from_fn(|i| Fr::from(i as u64));
        let proof = trapdoor.prove(&inputs).unwrap();
        assert!(verifier.verify(1, &inputs, &proof).is_ok());
        let mut other = inputs;
        other[4] += Fr::from(1u64);
        assert!(verifier.verify(1, &other, &proof).is_err());
    }
}
