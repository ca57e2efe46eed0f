//! Deployment: checks everything that the contract will trust for ever, then creates it.
//!
//! The contract has no owner and no upgrade, so a wrong point here cannot be repaired: every key is checked to lie on its curve and in its
//! group, `delta` and `tau` must be neither the G2 generator nor its opposite (proofs and openings could be forged), no `delta` may be used
//! twice, and each `L_0` is checked against `tau` by a pairing. Development keys, whose secrets are public, are refused on any chain but 31337.

use crate::abi;
use crate::anvil::DEV_CHAIN_ID;
use crate::key::L1Key;
use crate::rollup::{Rollup, SendError, ViewError, mint_test_token, send};
use crate::rpc::Rpc;
use ark_bn254::Bn254;
use ark_ec::pairing::Pairing;
use ark_ec::{AffineRepr, CurveGroup};
use ethers_core::abi::{Tokenizable, encode};
use ethers_core::types::{H160, U256};
use serde::{Deserialize, Serialize};
use sheaf_protocol::amount::{Address, Amount, TokenId};
use sheaf_protocol::field::{Fr, G1Affine, G2Affine, g1_from_words, g2_from_words, keccak};
use sheaf_protocol::kzg::{MAX_K, MIN_K, SIZES};
use sheaf_protocol::manifest::{CircuitEntry, HexWord, InsecureSetup, Manifest, Setup};

/// What the manifest does not say.
#[derive(Clone, Copy, Debug)]
pub struct DeployOptions {
    /// Who may commit.
    pub operator: Address,
    /// Fee of listing a token, in wei.
    pub listing_fee_wei: u128,
    /// Fee of a queue entry, in wei.
    pub queue_fee_wei: u128,
    /// Seconds after which an unserved queue entry lets anybody freeze.
    pub force_timeout_s: u64,
    /// Seconds after which an unproven batch lets anybody freeze.
    pub prove_timeout_s: u64,
}

/// Seven days.
pub const DEFAULT_TIMEOUT_S: u64 = 7 * 24 * 3600;

impl DeployOptions {
    /// The defaults: 0.01 ether to list, 0.0001 ether to queue, seven days for both time-outs.
    pub fn new(operator: Address) -> Self {
        Self {
            operator,
            listing_fee_wei: 10_000_000_000_000_000,
            queue_fee_wei: 100_000_000_000_000,
            force_timeout_s: DEFAULT_TIMEOUT_S,
            prove_timeout_s: DEFAULT_TIMEOUT_S,
        }
    }
}

/// What every service needs to know of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The chain.
    pub chain_id: u64,
    /// The contract.
    pub contract: Address,
    /// The block that holds its creation: followers start here.
    pub block: u64,
    /// The state has `2^k` slots.
    pub k: u32,
    /// Digest of the manifest it was made from.
    pub manifest: HexWord,
}

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// A point is off its curve, outside its group, or the identity.
    #[error("{name} is not a usable point")]
    Point {
        /// Which.
        name: String,
    },
    /// `delta` is the G2 generator, which is also gamma, or its opposite: proofs could be forged.
    #[error("delta of circuit {circuit} is the generator or its opposite: proofs could be forged")]
    Delta {
        /// Its id.
        circuit: u32,
    },
    /// `delta` is that of another circuit, or its opposite: the circuit had no set-up of its own.
    #[error("delta of circuit {circuit} is that of circuit {other} or its opposite: run the set-up of each circuit anew")]
    DeltaRepeated {
        /// Its id.
        circuit: u32,
        /// The circuit before it.
        other: u32,
    },
    /// `tau` is the G2 generator or its opposite: every polynomial would open to everything.
    #[error("tau is the generator or its opposite: openings could be forged")]
    Tau,
    /// `L_0^(k)` does not belong to tau.
    #[error("L_0 for k = {k} does not belong to tau")]
    LagrangeZero {
        /// The size.
        k: u32,
    },
    /// No such state size.
    #[error("k = {0} is not between 16 and 24")]
    Size(u32),
    /// Circuit ids are not 1, 2, 3, ...
    #[error("circuit ids must be 1, 2, 3, ... in order; found {found} at place {expected}")]
    CircuitId {
        /// Place in the list, from 1.
        expected: u32,
        /// The id there.
        found: u32,
    },
    /// There is no circuit.
    #[error("the manifest names no circuit")]
    NoCircuit,
    /// Not the contract of this program.
    #[error("the manifest names the contract with digest {found}, this program has {expected}; use the version that the manifest was made with")]
    Contract {
        /// This program's.
        expected: HexWord,
        /// The manifest's.
        found: HexWord,
    },
    /// Not one transcript a circuit.
    #[error("{transcripts} transcripts of ceremonies for {circuits} circuits; run `sheaf ceremony finalize` again")]
    Transcripts {
        /// How many.
        transcripts: usize,
        /// For how many.
        circuits: usize,
    },
}

/// Why nothing was deployed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// Development keys on a real chain.
    #[error(transparent)]
    InsecureKeys(InsecureSetup),
    /// A test token on a real chain.
    #[error("the test token, which anybody may mint, is for chain 31337 only; this is chain {chain_id}")]
    TestToken {
        /// Where.
        chain_id: u64,
    },
    /// The manifest is unusable.
    #[error("manifest: {0}")]
    Manifest(ManifestError),
    /// The creation failed.
    #[error("creating the contract")]
    Send(#[source] SendError),
    /// The new contract does not answer as it should.
    #[error("checking the contract")]
    View(#[source] ViewError),
    /// The node says the creation succeeded but names no contract.
    #[error("the node names no address for the new contract")]
    NoAddress,
}

/// Checks a manifest against the powers of tau `[tau^(2^k)]_1` for k = 16..=24.
///
/// # Errors
/// [`ManifestError`], the first thing wrong.
pub fn check_manifest(manifest: &Manifest, tau_powers: &[G1Affine; SIZES]) -> Result<(), ManifestError> {
    if manifest.contract != contract_digest() {
        return Err(ManifestError::Contract { expected: contract_digest(), found: manifest.contract });
    }
    if let Setup::Ceremony { transcripts, .. } = &manifest.setup
        && transcripts.len() != manifest.circuits.len()
    {
        return Err(ManifestError::Transcripts { transcripts: transcripts.len(), circuits: manifest.circuits.len() });
    }
    if !(MIN_K..=MAX_K).contains(&manifest.srs.k) {
        return Err(ManifestError::Size(manifest.srs.k));
    }
    g1("alpha", &manifest.alpha).map(drop)?;
    g2("beta", &manifest.beta).map(drop)?;
    check_lagrange_zero(manifest, tau_powers)?;
    if manifest.circuits.is_empty() {
        return Err(ManifestError::NoCircuit);
    }
    (1..).zip(&manifest.circuits).try_for_each(|(place, circuit)| check_circuit(place, circuit))?;
    check_deltas_differ(&manifest.circuits)
}

/// Points with the same x are equal or opposite.
fn check_deltas_differ(circuits: &[CircuitEntry]) -> Result<(), ManifestError> {
    for (place, circuit) in circuits.iter().enumerate() {
        if let Some(other) = circuits[..place].iter().find(|other| other.delta[..2] == circuit.delta[..2]) {
            return Err(ManifestError::DeltaRepeated { circuit: circuit.id, other: other.id });
        }
    }
    Ok(())
}

fn check_circuit(place: u32, circuit: &CircuitEntry) -> Result<(), ManifestError> {
    if circuit.id != place {
        return Err(ManifestError::CircuitId { expected: place, found: circuit.id });
    }
    let delta = g2(&format!("delta of circuit {place}"), &circuit.delta)?;
    if delta.x == G2Affine::generator().x {
        return Err(ManifestError::Delta { circuit: place });
    }
    circuit.ic.iter().try_for_each(|ic| g1(&format!("an IC of circuit {place}"), ic).map(drop))
}

/// `e(L_0^(k), n([tau]_2 - G2)) = e([tau^n]_1 - [1]_1, G2)` for every size n = 2^k.
fn check_lagrange_zero(manifest: &Manifest, tau_powers: &[G1Affine; SIZES]) -> Result<(), ManifestError> {
    let tau = g2("tau", &manifest.srs.tau)?;
    let generator = G2Affine::generator();
    if tau.x == generator.x {
        return Err(ManifestError::Tau);
    }
    let shifted = (tau.into_group() - generator).into_affine();
    for (k, (words, power)) in (MIN_K..).zip(manifest.srs.l0.iter().zip(tau_powers)) {
        let l0 = g1(&format!("L_0 for k = {k}"), words)?;
        let scaled = (l0 * Fr::from(1u64 << k)).into_affine();
        let right = (power.into_group() - G1Affine::generator()).into_affine();
        if Bn254::pairing(scaled, shifted) != Bn254::pairing(right, generator) {
            return Err(ManifestError::LagrangeZero { k });
        }
    }
    Ok(())
}

/// A G1 point other than the identity. The curve has prime order: on it means in the group.
fn g1(name: &str, words: &[HexWord; 2]) -> Result<G1Affine, ManifestError> {
    let point = g1_from_words(&[words[0].0, words[1].0]).filter(|point| !point.is_zero());
    point.ok_or_else(|| ManifestError::Point { name: name.to_owned() })
}

/// A G2 point of the right order other than the identity.
fn g2(name: &str, words: &[HexWord; 4]) -> Result<G2Affine, ManifestError> {
    let point = g2_from_words(&words.map(|word| word.0)).filter(|point| !point.is_zero());
    point.ok_or_else(|| ManifestError::Point { name: name.to_owned() })
}

/// keccak256 of the contract's creation code without its parameters: what a manifest names the contract by.
pub fn contract_digest() -> HexWord {
    HexWord(keccak(&abi::ROLLUPCONTRACT_BYTECODE))
}

/// Checks the manifest and creates the contract, paid by `payer`.
///
/// # Errors
/// [`DeployError`]; nothing was sent if the manifest or the keys were refused.
pub async fn deploy(
    rpc: &Rpc,
    payer: &L1Key,
    manifest: &Manifest,
    tau_powers: &[G1Affine; SIZES],
    options: &DeployOptions,
) -> Result<Deployment, DeployError> {
    manifest.setup.check_chain(rpc.chain_id()).map_err(DeployError::InsecureKeys)?;
    check_manifest(manifest, tau_powers).map_err(DeployError::Manifest)?;
    let code = creation_code(manifest, options);
    let (_, receipt) = send(rpc, payer, None, U256::zero(), code.into()).await.map_err(DeployError::Send)?;
    let contract = receipt.contract_address.map(|h160| Address(h160.0)).ok_or(DeployError::NoAddress)?;
    let k = Rollup::at(rpc.clone(), contract).k().await.map_err(DeployError::View)?;
    let block = receipt.block_number.as_u64();
    Ok(Deployment { chain_id: rpc.chain_id(), contract, block, k, manifest: manifest.digest() })
}

/// What [`deploy`] sends: the contract's creation code and its parameters.
pub fn creation_code(manifest: &Manifest, options: &DeployOptions) -> Vec<u8> {
    let mut code = abi::ROLLUPCONTRACT_BYTECODE.to_vec();
    code.extend(encode(&[params(manifest, options).into_token()]));
    code
}

fn params(manifest: &Manifest, options: &DeployOptions) -> abi::Params {
    abi::Params {
        operator: H160(options.operator.0),
        listing_fee: options.listing_fee_wei.into(),
        queue_fee: options.queue_fee_wei.into(),
        force_timeout: options.force_timeout_s.into(),
        prove_timeout: options.prove_timeout_s.into(),
        ..params_of(manifest)
    }
}

/// What follows from the manifest; the rest is 0.
pub(crate) fn params_of(manifest: &Manifest) -> abi::Params {
    abi::Params {
        k: manifest.srs.k.into(),
        alpha: manifest.alpha.map(uint),
        beta: manifest.beta.map(uint),
        tau: manifest.srs.tau.map(uint),
        l_0: flatten(&manifest.srs.l0),
        circuits: manifest.circuits.iter().map(verifying_key).collect(),
        ..abi::Params::default()
    }
}

fn verifying_key(circuit: &CircuitEntry) -> abi::VerifyingKey {
    let shape = circuit.shape;
    abi::VerifyingKey {
        shape: abi::Shape {
            transfers: shape.transfers,
            accounts: shape.accounts,
            fees: shape.fees,
            deposits: shape.deposits,
            withdrawals: shape.withdrawals,
            registers: shape.registers,
            exits: shape.exits,
            rotations: shape.rotations,
        },
        delta: circuit.delta.map(uint),
        ic: flatten(&circuit.ic),
    }
}

fn uint(word: HexWord) -> U256 {
    word.0.into()
}

fn flatten<const POINTS: usize, const WORDS: usize>(points: &[[HexWord; 2]; POINTS]) -> [U256; WORDS] {
    std::array::from_fn(|i| points[i / 2][i % 2].0.into())
}

/// A token for development, listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestToken {
    /// Its ERC-20 contract, in which anybody may mint.
    pub erc20: Address,
    /// Its number in the rollup.
    pub token: TokenId,
}

/// Creates a development token, lists it and mints `supply` for the payer.
///
/// # Errors
/// [`DeployError`]; refused on any chain but 31337.
pub async fn deploy_test_token(rollup: &Rollup, payer: &L1Key, supply: Amount) -> Result<TestToken, DeployError> {
    let chain_id = rollup.rpc().chain_id();
    if chain_id != DEV_CHAIN_ID {
        return Err(DeployError::TestToken { chain_id });
    }
    let code = abi::TESTTOKEN_BYTECODE.clone();
    let (_, receipt) = send(rollup.rpc(), payer, None, U256::zero(), code).await.map_err(DeployError::Send)?;
    let erc20 = receipt.contract_address.map(|h160| Address(h160.0)).ok_or(DeployError::NoAddress)?;
    let token = rollup.list_token(payer, erc20).await.map_err(DeployError::Send)?;
    mint_test_token(rollup.rpc(), payer, erc20, payer.address(), supply).await.map_err(DeployError::Send)?;
    Ok(TestToken { erc20, token })
}
