//! Creating the contract and using it as a person would.

use crate::common::{World, key, manifest, operator, srs, tau_powers, user};
use sheaf_protocol::amount::{Address, Amount, NATIVE};
use sheaf_protocol::field::{g2_words, word_u128};
use sheaf_protocol::header::domain;
use sheaf_protocol::manifest::{HexWord, Setup};
use sheaf_settlement::deploy::{DeployError, ManifestError, check_manifest, check_setup, deploy_test_token};
use sheaf_settlement::rollup::{Rollup, SendError, ViewError, token_balance};
use sqlx::PgPool;

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_contract_knows_what_it_was_made_of(pool: PgPool) {
    let world = World::new(pool).await;
    assert_eq!(world.rollup.k().await.unwrap(), 16);
    assert_eq!(world.rollup.operator().await.unwrap(), operator().address());
    assert_eq!(world.rollup.domain().await.unwrap(), domain(31_337, &world.deployment.contract));
    let progress = world.rollup.progress().await.unwrap();
    assert_eq!((progress.committed, progress.proven, progress.queue_length), (0, 0, 0));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn an_address_without_our_contract_is_named_so(pool: PgPool) {
    let world = World::new(pool).await;
    let nothing = Rollup::at(world.rpc.clone(), Address([1; 20]));
    assert!(matches!(nothing.k().await, Err(ViewError::NotOurs { .. })));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_token_is_listed_once_and_deposited(pool: PgPool) {
    let world = World::new(pool).await;
    let test = deploy_test_token(&world.rollup, &operator(), Amount(1_000_000)).await.unwrap();
    assert_eq!(world.rollup.list_token(&user(), test.erc20).await.unwrap(), test.token);
    assert_eq!(world.rollup.token_address(test.token).await.unwrap(), Some(test.erc20));
    world.rollup.deposit_token(&operator(), test.token, Amount(400), word_u128(7), Address([9; 20])).await.unwrap();
    assert_eq!(token_balance(&world.rpc, test.erc20, operator().address()).await.unwrap(), Amount(999_600));
    assert_eq!(world.rollup.escrow(test.token).await.unwrap(), Amount(400));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_refusal_carries_the_contracts_own_error(pool: PgPool) {
    let world = World::new(pool).await;
    let refused = world.rollup.deposit(&user(), Amount(5), [0; 32], Address([9; 20])).await;
    let Err(SendError::Reverted(revert)) = refused else { panic!("{refused:?}") };
    assert_eq!(revert.name, "KeyOutOfRange");
    let refused = world.rollup.claim(&key(2), NATIVE, key(2).address()).await;
    assert!(matches!(refused, Err(SendError::Reverted(revert)) if revert.name == "NothingToClaim"));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_receipt_tells_calldata_from_execution(pool: PgPool) {
    let world = World::new(pool).await;
    let gas = world.deposit(5).await.gas;
    assert_eq!(gas.used, 21_000 + gas.calldata + gas.execution);
    assert!(gas.calldata > 0 && gas.execution > 0 && !gas.at_floor);
}

#[test]
fn development_keys_stay_on_the_development_chain() {
    let setup = Setup::InsecureDevelopment { seed: "s".into() };
    assert!(check_setup(&setup, 31_337).is_ok());
    assert!(matches!(check_setup(&setup, 1), Err(DeployError::InsecureKeys { chain_id: 1 })));
}

#[test]
fn a_manifest_with_a_wrong_point_is_refused() {
    let srs = srs();
    let (good, powers) = (manifest(&srs), tau_powers(&srs));
    assert_eq!(check_manifest(&good, &powers), Ok(()));

    let mut forgeable = good.clone();
    forgeable.circuits[0].delta = g2_words(&ark_ec::AffineRepr::generator()).map(HexWord);
    assert_eq!(check_manifest(&forgeable, &powers), Err(ManifestError::Delta { circuit: 1 }));

    let mut off_curve = good.clone();
    off_curve.circuits[0].ic[3][1] = HexWord(word_u128(5));
    assert!(matches!(check_manifest(&off_curve, &powers), Err(ManifestError::Point { .. })));

    let mut foreign = good.clone();
    foreign.srs.l0.swap(0, 1);
    assert_eq!(check_manifest(&foreign, &powers), Err(ManifestError::LagrangeZero { k: 16 }));

    let mut disordered = good.clone();
    disordered.circuits[0].id = 2;
    assert_eq!(check_manifest(&disordered, &powers), Err(ManifestError::CircuitId { expected: 1, found: 2 }));

    let empty = sheaf_protocol::manifest::Manifest { circuits: vec![], ..good };
    assert_eq!(check_manifest(&empty, &powers), Err(ManifestError::NoCircuit));
}
