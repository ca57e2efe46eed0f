//! Creating the contract and using it as a person would.

use crate::common::{RPC, World, eventually, key, manifest, operator, srs, tau_powers, user};
use crate::relay::{Fate, relay};
use serde_json::json;
use sheaf_protocol::amount::{Address, Amount, NATIVE};
use sheaf_protocol::field::{g2_words, word_u128};
use sheaf_protocol::header::domain;
use sheaf_protocol::manifest::{HexWord, InsecureSetup, Setup};
use sheaf_settlement::deploy::{ManifestError, check_manifest, contract_digest, deploy_test_token};
use sheaf_settlement::rollup::{Rollup, SendError, ViewError, token_balance};
use sheaf_settlement::rpc::Rpc;
use sqlx::PgPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_sending_without_an_answer_is_done_once(pool: PgPool) {
    let world = World::new(pool).await;
    let sendings = Arc::new(AtomicUsize::new(0));
    let counter = sendings.clone();
    let lost_first = move |call: &serde_json::Value| {
        let is_first = call["method"] == "eth_sendRawTransaction" && counter.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first { Fate::AnswerLost } else { Fate::Passes }
    };
    let url = relay(world.anvil.port(), lost_first).await;
    let rollup = Rollup::at(Rpc::connect(&url, RPC).await.unwrap(), world.deployment.contract);
    rollup.deposit(&user(), Amount(5), word_u128(42), Address([9; 20])).await.unwrap();
    assert_eq!(sendings.load(Ordering::Relaxed), 1);
    assert_eq!(world.rollup.progress().await.unwrap().queue_length, 1);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_node_that_freezes_while_a_deposit_waits_is_waited_for(pool: PgPool) {
    let world = World::new(pool).await;
    world.mine_by_hand().await;
    let rollup = world.rollup.clone();
    let deposit = tokio::spawn(async move { rollup.deposit(&user(), Amount(5), word_u128(42), Address([9; 20])).await });
    let pending = async || Some(world.anvil("txpool_status", vec![]).await).filter(|status| status["pending"] == "0x1");
    eventually("the deposit is with the node", pending).await;

    world.anvil.pause().unwrap();
    // our second question is asked when the deposit's has gone unanswered
    let mut unanswered = 0;
    while unanswered < 2 {
        unanswered += usize::from(world.rpc.block_number().await.is_err());
    }
    assert!(!deposit.is_finished());
    world.anvil.resume().unwrap();
    // forgotten as well: the same bytes are sent again
    world.anvil("anvil_dropAllTransactions", vec![]).await;
    eventually("the deposit is with the node again", pending).await;
    world.anvil("anvil_mine", vec![json!(1)]).await;
    deposit.await.unwrap().unwrap();
    assert_eq!(world.rollup.progress().await.unwrap().queue_length, 1);
}

#[test]
fn development_keys_stay_on_the_development_chain() {
    let setup = Setup::InsecureDevelopment { seed: "s".into() };
    assert_eq!(setup.check_chain(31_337), Ok(()));
    assert_eq!(setup.check_chain(1), Err(InsecureSetup { chain_id: 1 }));
    let ceremony = Setup::Ceremony { powers: HexWord([1; 32]), transcripts: vec![] };
    assert_eq!(ceremony.check_chain(1), Ok(()));
}

#[test]
fn a_manifest_with_a_wrong_point_is_refused() {
    let srs = srs();
    let (good, powers) = (manifest(&srs), tau_powers(&srs));
    assert_eq!(check_manifest(&good, &powers), Ok(()));

    let mut forgeable = good.clone();
    forgeable.circuits[0].delta = g2_words(&ark_ec::AffineRepr::generator()).map(HexWord);
    assert_eq!(check_manifest(&forgeable, &powers), Err(ManifestError::Delta { circuit: 1 }));

    forgeable.circuits[0].delta = g2_words(&-<ark_bn254::G2Affine as ark_ec::AffineRepr>::generator()).map(HexWord);
    assert_eq!(check_manifest(&forgeable, &powers), Err(ManifestError::Delta { circuit: 1 }));

    let mut repeated = good.clone();
    repeated.circuits.push(repeated.circuits[0].clone());
    repeated.circuits[1].id = 2;
    assert_eq!(check_manifest(&repeated, &powers), Err(ManifestError::DeltaRepeated { circuit: 2, other: 1 }));

    let mut public = good.clone();
    public.srs.tau = g2_words(&-<ark_bn254::G2Affine as ark_ec::AffineRepr>::generator()).map(HexWord);
    assert_eq!(check_manifest(&public, &powers), Err(ManifestError::Tau));

    let mut off_curve = good.clone();
    off_curve.circuits[0].ic[3][1] = HexWord(word_u128(5));
    assert!(matches!(check_manifest(&off_curve, &powers), Err(ManifestError::Point { .. })));

    let mut foreign = good.clone();
    foreign.srs.l0.swap(0, 1);
    assert_eq!(check_manifest(&foreign, &powers), Err(ManifestError::LagrangeZero { k: 16 }));

    let mut disordered = good.clone();
    disordered.circuits[0].id = 2;
    assert_eq!(check_manifest(&disordered, &powers), Err(ManifestError::CircuitId { expected: 1, found: 2 }));

    let mut other_version = good.clone();
    other_version.contract = HexWord([4; 32]);
    assert_eq!(check_manifest(&other_version, &powers), Err(ManifestError::Contract { expected: contract_digest(), found: HexWord([4; 32]) }));

    let mut ceremony = good.clone();
    ceremony.setup = Setup::Ceremony { powers: HexWord([1; 32]), transcripts: vec![] };
    assert_eq!(check_manifest(&ceremony, &powers), Err(ManifestError::Transcripts { transcripts: 0, circuits: 1 }));
    ceremony.setup = Setup::Ceremony { powers: HexWord([1; 32]), transcripts: vec![HexWord([2; 32])] };
    assert_eq!(check_manifest(&ceremony, &powers), Ok(()));
    // of a file with too few powers: L_0 of the sizes beyond it is unknown
    ceremony.srs.l0[8] = [HexWord([0; 32]); 2];
    assert!(matches!(check_manifest(&ceremony, &powers), Err(ManifestError::Point { .. })));

    let empty = sheaf_protocol::manifest::Manifest { circuits: vec![], ..good };
    assert_eq!(check_manifest(&empty, &powers), Err(ManifestError::NoCircuit));
}
