//! Checks of a deployment: manifest, keys, reference string, contract, operator. Without one, of the development keys.

use super::{DoctorArgs, servers};
use crate::dev::DevDeployment;
use anyhow::{Context, ensure};
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::keys::Keys;
use sheaf_protocol::artifact::Artifact;
use sheaf_protocol::kzg::Srs;
use sheaf_protocol::shape;
use sheaf_prover::worker::KeyCache;
use sheaf_settlement::rollup::Rollup;

/// An operator with less cannot pay for many batches: 0.05 ether.
const LOW_BALANCE_WEI: u128 = 50_000_000_000_000_000;

/// The manifest must be the one that the deployment names.
pub(super) fn manifest(args: &DoctorArgs) -> anyhow::Result<String> {
    let Some(manifest) = args.manifest()? else { return Ok("none named; `sheaf node --dev` makes one".to_owned()) };
    let digest = manifest.digest();
    if let Some(named) = args.deployment()?.map(|file| file.deployment.manifest) {
        ensure!(digest == named, "the manifest has digest {digest}, the deployment names {named}; use the one it was made with");
    }
    Ok(format!("{digest}, {} circuits ({})", manifest.circuits.len(), manifest.setup.label()))
}

/// With a manifest: its keys, every digest checked, and that this program's circuits are theirs. Without: which development keys are there.
pub(super) fn keys(args: &DoctorArgs) -> anyhow::Result<String> {
    let directory = args.keys.keys_dir.display();
    if let Some(manifest) = args.manifest()? {
        KeyCache::open(&args.keys.keys_dir, &manifest, &[])?.lay_out()?;
        let names: Vec<&str> = manifest.circuits.iter().map(|circuit| circuit.name.as_str()).collect();
        return Ok(format!("{} in {directory} are the deployment's ({})", names.join(", "), manifest.setup.label()));
    }
    let mut found = Vec::new();
    for (name, id) in args.keys.shapes.iter().zip(1..) {
        let names: Vec<&str> = shape::SHAPES.iter().map(|named| named.name).collect();
        let named = shape::by_name(name).with_context(|| format!("unknown shape {name}; --shapes takes {}", names.join(", ")))?;
        let path = Keys::insecure_dev_path(&args.keys.keys_dir, name, &Circuit::new(named.shape, id)?, &args.keys.seed);
        found.extend(path.is_file().then_some(name.as_str()));
    }
    if found.len() == args.keys.shapes.len() {
        return Ok(format!("{} in {directory} (INSECURE-DEV)", found.join(", ")));
    }
    Ok(format!("{} of {} in {directory}; `sheaf keys make` makes the others, and so does the first start", found.len(), args.keys.shapes.len()))
}

/// With a manifest: its reference string, the digest checked. Without: whether the development one is there.
pub(super) fn srs(args: &DoctorArgs) -> anyhow::Result<String> {
    let directory = &args.keys.keys_dir;
    if let Some(manifest) = args.manifest()? {
        let path = Srs::path_of(directory, &manifest);
        let missing = || "the sequencer cannot start without its SRS; make it with `sheaf keys make` or `sheaf keys import`, or name its folder with --keys-dir";
        Artifact::at(&path).open().and_then(|file| file.check(&manifest.srs.digest)).with_context(missing)?;
        return Ok(format!("2^{} slots, {} is the deployment's", manifest.srs.k, path.display()));
    }
    let path = Srs::insecure_dev_path(directory, args.keys.k, &args.keys.seed);
    let found = if path.is_file() { "there" } else { "not there; `sheaf keys make` makes it, and so does the first start" };
    Ok(format!("2^{} slots, {} is {found}", args.keys.k, path.display()))
}

async fn rollup(args: &DoctorArgs, deployment: &DevDeployment) -> anyhow::Result<Rollup> {
    let rpc = servers::connect(args).await?;
    let (ours, theirs) = (deployment.deployment.chain_id, rpc.chain_id());
    ensure!(ours == theirs, "the deployment is on chain {ours}, SHEAF_L1_URL on chain {theirs}");
    Ok(Rollup::at(rpc, deployment.deployment.contract))
}

/// The contract must be there and of this protocol.
pub(super) async fn deployment(args: &DoctorArgs) -> anyhow::Result<String> {
    let Some(file) = args.deployment()? else { return Ok("none named; `sheaf node --dev` makes one".to_owned()) };
    let rollup = rollup(args, &file).await?;
    let deployment = &file.deployment;
    let domain = rollup.domain().await.context("the contract does not answer; is this deployment on another chain, or was the chain reset?")?;
    let expected = sheaf_protocol::header::domain(deployment.chain_id, &deployment.contract);
    ensure!(domain == expected, "the contract at {} belongs to another protocol version", deployment.contract);
    let progress = rollup.progress().await?;
    Ok(format!("contract {}, {} batches committed, {} proven", deployment.contract, progress.committed, progress.proven))
}

/// The key must be the operator's, and the operator must be able to pay.
pub(super) async fn operator(args: &DoctorArgs) -> anyhow::Result<String> {
    let Some(file) = args.deployment()? else { return Ok("`sheaf node --dev` uses a public test key".to_owned()) };
    let Some(key) = args.settlement.operator_key()? else {
        return Ok("no key given (SHEAF_OPERATOR_KEY or --operator-key-file); only settlement needs it".to_owned());
    };
    let rollup = rollup(args, &file).await?;
    let operator = rollup.operator().await?;
    ensure!(operator == key.address(), "the operator key is that of {}, but the contract's operator is {operator}", key.address());
    let balance = rollup.rpc().balance(operator).await?;
    ensure!(balance >= LOW_BALANCE_WEI, "operator {operator} has {balance} wei; send it ether, it pays for every batch");
    Ok(format!("{operator} with {balance} wei"))
}
