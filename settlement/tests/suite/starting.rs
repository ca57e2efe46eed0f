//! The role starts, or says whether waiting helps.

use crate::common::{RPC, World, key, manifest, operator, srs, tau_powers};
use serde_json::json;
use sheaf_protocol::amount::Address;
use sheaf_protocol::manifest::{HexWord, Manifest};
use sheaf_settlement::deploy::{DeployError, DeployOptions, Deployment, deploy};
use sheaf_settlement::key::L1Key;
use sheaf_settlement::provenance::ProvenanceError;
use sheaf_settlement::rpc::Rpc;
use sheaf_settlement::service::{Service, ServiceOptions, StartError};
use sheaf_settlement::status::Board;
use sqlx::PgPool;

async fn refusal(world: &World, key: L1Key, edit: impl FnOnce(&mut ServiceOptions)) -> StartError {
    let mut options = ServiceOptions::new(world.anvil.url(), world.deployment.clone(), world.manifest.clone());
    options.rpc = RPC;
    edit(&mut options);
    Service::start(world.pool.clone(), key, options, Board::default()).await.unwrap_err()
}

#[test]
fn options_show_no_secret_of_the_address() {
    let deployment = Deployment { chain_id: 31_337, contract: Address([1; 20]), block: 0, k: 16, manifest: HexWord([0; 32]) };
    let options = ServiceOptions::new("https://user:secret@l1.example.org/secret", deployment, manifest(&srs()));
    let shown = format!("{options:?}");
    assert!(shown.contains("https://l1.example.org") && !shown.contains("secret"), "{shown}");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn only_a_node_that_does_not_answer_is_worth_waiting_for(pool: PgPool) {
    let world = World::new(pool).await;
    let silent = refusal(&world, operator(), |options| options.l1_url = "http://127.0.0.1:1".into()).await;
    assert!(silent.is_transient(), "{silent}");
    world.anvil.pause().unwrap();
    let frozen = refusal(&world, operator(), |_| {}).await;
    world.anvil.resume().unwrap();
    assert!(frozen.is_transient(), "{frozen}");

    let malformed = refusal(&world, operator(), |options| options.l1_url = "l1.example.org".into()).await;
    let foreign = refusal(&world, operator(), |options| options.deployment.chain_id = 1).await;
    let absent = refusal(&world, operator(), |options| options.deployment.contract = Address([1; 20])).await;
    let stranger = refusal(&world, key(3), |_| {}).await;
    for hopeless in [malformed, foreign, absent, stranger] {
        assert!(!hopeless.is_transient(), "{hopeless}");
    }
}

/// A manifest that says of itself what the deployment file says of it.
async fn refusal_of(world: &World, edit: impl FnOnce(&mut Manifest)) -> ProvenanceError {
    let refused = refusal(world, operator(), |options| {
        edit(&mut options.manifest);
        options.deployment.manifest = options.manifest.digest();
    });
    match refused.await {
        StartError::Provenance(error) => error,
        other => panic!("{other}"),
    }
}

/// Whatever a deployment's files say, the contract's creation on L1 says what it trusts.
#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_contract_that_was_made_of_something_else_is_refused_by_the_part_that_differs(pool: PgPool) {
    type Edit = fn(&mut Manifest);
    let world = World::new(pool).await;
    let edits: [(&str, Edit); 9] = [
        ("k", |manifest| manifest.srs.k = 17),
        ("alpha", |manifest| manifest.alpha.swap(0, 1)),
        ("beta", |manifest| manifest.beta.swap(0, 1)),
        ("tau", |manifest| manifest.srs.tau.swap(0, 1)),
        ("L_0", |manifest| manifest.srs.l0.swap(0, 1)),
        ("number of circuits", |manifest| manifest.circuits.push(manifest.circuits[0].clone())),
        ("shape of circuit 1", |manifest| manifest.circuits[0].shape.accounts += 1),
        ("delta of circuit 1", |manifest| manifest.circuits[0].delta.swap(0, 1)),
        ("IC of circuit 1", |manifest| manifest.circuits[0].ic.swap(8, 9)),
    ];
    for (part, edit) in edits {
        let refused = refusal_of(&world, edit).await;
        assert!(matches!(&refused, ProvenanceError::Parameter { what, .. } if what == part), "{part}: {refused}");
    }
    let version = refusal_of(&world, |manifest| manifest.contract = HexWord([1; 32])).await;
    assert!(matches!(version, ProvenanceError::Version { .. }), "{version}");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_deployment_that_names_another_manifest_block_or_contract_is_refused(pool: PgPool) {
    let world = World::new(pool).await;
    let of = |error: StartError| match error {
        StartError::Provenance(error) => error,
        other => panic!("{other}"),
    };
    let manifest = of(refusal(&world, operator(), |options| options.manifest.srs.k = 17).await);
    assert!(matches!(manifest, ProvenanceError::Manifest { .. }), "{manifest}");
    for block in [world.deployment.block - 1, world.deployment.block + 1_000] {
        let elsewhere = of(refusal(&world, operator(), |options| options.deployment.block = block).await);
        assert!(matches!(elsewhere, ProvenanceError::NotCreated { .. }), "block {block}: {elsewhere}");
    }
    // it answers like ours, but was not created by that block
    let code = world.anvil("eth_getCode", vec![json!(world.deployment.contract), json!("latest")]).await;
    let impostor = Address([0x66; 20]);
    world.anvil("anvil_setCode", vec![json!(impostor), code]).await;
    let not_created = of(refusal(&world, operator(), |options| options.deployment.contract = impostor).await);
    assert!(matches!(not_created, ProvenanceError::NotCreated { .. }), "{not_created}");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn development_keys_are_refused_on_another_chain(pool: PgPool) {
    let world = World::new(pool).await;
    world.anvil("anvil_setChainId", vec![json!(1)]).await;
    let refused = refusal(&world, operator(), |options| options.deployment.chain_id = 1).await;
    assert!(matches!(&refused, StartError::Provenance(ProvenanceError::InsecureKeys(error)) if error.chain_id == 1), "{refused}");
    assert!(!refused.is_transient() && refused.to_string().contains("sheaf ceremony"), "{refused}");
    let (rpc, options) = (Rpc::connect(world.anvil.url(), RPC).await.unwrap(), DeployOptions::new(operator().address()));
    let deployed = deploy(&rpc, &operator(), &world.manifest, &tau_powers(&srs()), &options).await;
    assert!(matches!(deployed, Err(DeployError::InsecureKeys(error)) if error.chain_id == 1));
}
