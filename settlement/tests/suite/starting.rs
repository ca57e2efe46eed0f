//! The role starts, or says whether waiting helps.

use crate::common::{RPC, World, key, operator};
use sheaf_protocol::amount::Address;
use sheaf_protocol::manifest::HexWord;
use sheaf_settlement::deploy::Deployment;
use sheaf_settlement::key::L1Key;
use sheaf_settlement::service::{Service, ServiceOptions, StartError};
use sheaf_settlement::status::Board;
use sqlx::PgPool;

async fn refusal(world: &World, key: L1Key, edit: impl FnOnce(&mut ServiceOptions)) -> StartError {
    let mut options = ServiceOptions::new(world.anvil.url(), world.deployment.clone());
    options.rpc = RPC;
    edit(&mut options);
    Service::start(world.pool.clone(), key, options, Board::default()).await.unwrap_err()
}

#[test]
fn options_show_no_secret_of_the_address() {
    let deployment = Deployment { chain_id: 31_337, contract: Address([1; 20]), block: 0, k: 16, manifest: HexWord([0; 32]) };
    let options = ServiceOptions::new("https://user:secret@l1.example.org/secret", deployment);
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
