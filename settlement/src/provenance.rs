//! Is the contract on L1 the one of our manifest? Answered from the transaction that created it, which holds the contract's code and every
//! key that it will ever trust.
//!
//! ```text
//! deployment.json: block ──> its creations ──> the one whose receipt names the contract ──> calldata = code | parameters
//!                                                          manifest.contract = keccak(code), manifest's keys = parameters
//! ```

use crate::abi;
use crate::deploy::{Deployment, contract_digest, params_of};
use crate::rpc::{Rpc, RpcError};
use ethers_core::abi::{AbiType, Tokenizable, decode, encode};
use ethers_core::types::{Bytes, H160};
use sheaf_protocol::amount::Address;
use sheaf_protocol::field::Word;
use sheaf_protocol::manifest::{HexWord, InsecureSetup, Manifest};
use sheaf_protocol::shape::Shape;

/// Why a service must not work with this contract.
#[derive(Debug, thiserror::Error)]
pub enum ProvenanceError {
    /// The node failed.
    #[error(transparent)]
    Rpc(RpcError),
    /// Development keys on a real chain.
    #[error(transparent)]
    InsecureKeys(InsecureSetup),
    /// The manifest is not the one of the deployment.
    #[error("the manifest has digest {found}, the deployment names {expected}; use the manifest of this deployment")]
    Manifest {
        /// By the deployment.
        expected: HexWord,
        /// Given.
        found: HexWord,
    },
    /// The manifest's contract is not this program's.
    #[error("the manifest names the contract with digest {found}, this program has {expected}; use the version that the deployment was made with")]
    Version {
        /// This program's.
        expected: HexWord,
        /// The manifest's.
        found: HexWord,
    },
    /// The block does not create the contract.
    #[error(
        "block {block} does not create contract {contract}; check both in the deployment file or as --contract and --from-block, and that the L1 node keeps old blocks"
    )]
    NotCreated {
        /// By the deployment.
        contract: Address,
        /// By the deployment.
        block: u64,
    },
    /// The contract was created from other code.
    #[error(
        "contract {0} was created from other code than the manifest or this program names; check the deployment file, nothing that it says can be trusted, and the program's version"
    )]
    Code(Address),
    /// The contract trusts other keys.
    #[error("contract {contract} was created with another {what} than the manifest's; use the manifest that it was deployed with")]
    Parameter {
        /// The contract.
        contract: Address,
        /// Which part.
        what: String,
    },
}

impl ProvenanceError {
    /// True if the same question may be answered later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Rpc(error) if error.is_transient())
    }
}

/// Checks that the deployment's contract was made of this manifest and of nothing else.
///
/// # Errors
/// [`ProvenanceError`].
pub async fn check(rpc: &Rpc, deployment: &Deployment, manifest: &Manifest) -> Result<(), ProvenanceError> {
    manifest.setup.check_chain(rpc.chain_id()).map_err(ProvenanceError::InsecureKeys)?;
    let (expected, found) = (deployment.manifest, manifest.digest());
    if expected != found {
        return Err(ProvenanceError::Manifest { expected, found });
    }
    if manifest.contract != contract_digest() {
        return Err(ProvenanceError::Version { expected: contract_digest(), found: manifest.contract });
    }
    check_creation(&creation(rpc, deployment.contract, deployment.block).await?, deployment.contract, manifest)
}

/// A circuit as the contract was created with it. Points are words in the EVM's order.
#[derive(Clone, Debug)]
pub struct CircuitOnL1 {
    /// Its shape.
    pub shape: Shape,
    /// G1, of all circuits.
    pub alpha: [Word; 2],
    /// G2, of all circuits.
    pub beta: [Word; 4],
    /// G2.
    pub delta: [Word; 4],
    /// G1, one for each public input and the constant.
    pub ic: [[Word; 2]; 10],
}

/// The circuits of a contract by id, from the transaction of `block` that created it.
///
/// # Errors
/// [`ProvenanceError`]: also if it was created from other code than this program's.
pub async fn circuits(rpc: &Rpc, contract: Address, block: u64) -> Result<Vec<CircuitOnL1>, ProvenanceError> {
    let params = params(&creation(rpc, contract, block).await?).ok_or(ProvenanceError::Code(contract))?;
    let (alpha, beta) = (params.alpha.map(Word::from), params.beta.map(Word::from));
    let circuit = |key: &abi::VerifyingKey| {
        let ic = std::array::from_fn(|i| [key.ic[2 * i], key.ic[2 * i + 1]].map(Word::from));
        CircuitOnL1 { shape: shape(&key.shape), alpha, beta, delta: key.delta.map(Word::from), ic }
    };
    Ok(params.circuits.iter().map(circuit).collect())
}

fn shape(shape: &abi::Shape) -> Shape {
    Shape {
        transfers: shape.transfers,
        accounts: shape.accounts,
        fees: shape.fees,
        deposits: shape.deposits,
        withdrawals: shape.withdrawals,
        registers: shape.registers,
        exits: shape.exits,
        rotations: shape.rotations,
    }
}

async fn creation(rpc: &Rpc, contract: Address, block: u64) -> Result<Bytes, ProvenanceError> {
    for (hash, input) in rpc.creations(block).await.map_err(ProvenanceError::Rpc)? {
        let receipt = rpc.receipt(hash).await.map_err(ProvenanceError::Rpc)?;
        if receipt.and_then(|receipt| receipt.contract_address) == Some(H160(contract.0)) {
            return Ok(input);
        }
    }
    Err(ProvenanceError::NotCreated { contract, block })
}

/// What the contract was created with, if it was from this program's code.
fn params(input: &[u8]) -> Option<abi::Params> {
    let encoded = input.strip_prefix(abi::ROLLUPCONTRACT_BYTECODE.as_ref())?;
    let made = decode(&[abi::Params::param_type()], encoded).ok().and_then(|mut tokens| abi::Params::from_token(tokens.pop()?).ok());
    made.filter(|made| encode(&[made.clone().into_token()]) == encoded)
}

fn check_creation(input: &[u8], contract: Address, manifest: &Manifest) -> Result<(), ProvenanceError> {
    let refused = |what: &str| ProvenanceError::Parameter { contract, what: what.to_owned() };
    let (made, ours) = (params(input).ok_or(ProvenanceError::Code(contract))?, params_of(manifest));
    let parts = [
        ("k", made.k == ours.k),
        ("alpha", made.alpha == ours.alpha),
        ("beta", made.beta == ours.beta),
        ("tau", made.tau == ours.tau),
        ("L_0", made.l_0 == ours.l_0),
        ("number of circuits", made.circuits.len() == ours.circuits.len()),
    ];
    if let Some((what, _)) = parts.iter().find(|(_, same)| !same) {
        return Err(refused(what));
    }
    for (id, (made, ours)) in (1..).zip(made.circuits.iter().zip(&ours.circuits)) {
        let parts = [("shape", made.shape == ours.shape), ("delta", made.delta == ours.delta), ("IC", made.ic == ours.ic)];
        if let Some((what, _)) = parts.iter().find(|(_, same)| !same) {
            return Err(refused(&format!("{what} of circuit {id}")));
        }
    }
    Ok(())
}
