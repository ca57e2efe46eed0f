//! What the watcher sees on an undisturbed chain.

use crate::common::{RPC, World, catch_up, digest, operator, user};
use crate::relay::{Fate, relay};
use serde_json::Value;
use sheaf_protocol::amount::{Address, Amount, TokenId};
use sheaf_protocol::field::word_u128;
use sheaf_settlement::deploy::deploy_test_token;
use sheaf_settlement::rollup::Rollup;
use sheaf_settlement::rpc::Rpc;
use sheaf_settlement::status::Board;
use sheaf_settlement::watcher::{Step, Watcher, WatcherOptions};
use sheaf_store::{batches, l1};
use sqlx::PgPool;

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn deposits_are_seen_in_the_order_of_the_contract(pool: PgPool) {
    let world = World::new(pool).await;
    let token = deploy_test_token(&world.rollup, &operator(), Amount(100)).await.unwrap().token;
    world.deposit(5).await;
    world.rollup.deposit_token(&operator(), token, Amount(7), word_u128(3), Address([4; 20])).await.unwrap();
    catch_up(&world.watcher(|_| {})).await;

    let queued = world.queued().await;
    assert_eq!(queued.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(queued[0].1.sender, user().address());
    assert_eq!((queued[1].1.token, queued[1].1.amount, queued[1].1.owner), (TokenId(2), Amount(7), Address([4; 20])));
    assert_eq!(digest(&queued), world.rollup.queue_digest(2).await.unwrap());
    let tokens = batches::tokens(&mut world.pool.acquire().await.unwrap()).await.unwrap();
    assert_eq!(tokens.len(), 2);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_deposit_waits_for_its_confirmations(pool: PgPool) {
    let world = World::new(pool).await;
    world.deposit(5).await;
    let watcher = world.watcher(|_| {});
    catch_up(&watcher).await;
    let confirmed = async |depth| l1::queued(&mut world.pool.acquire().await.unwrap(), 1, depth, 10).await.unwrap().len();
    assert_eq!((confirmed(1).await, confirmed(3).await), (1, 0));
    world.mine(2).await;
    catch_up(&watcher).await;
    assert_eq!((confirmed(3).await, confirmed(4).await), (1, 0));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_long_absence_is_made_up_in_ranges(pool: PgPool) {
    let world = World::new(pool).await;
    for amount in 1..=3 {
        world.deposit(amount).await;
        world.mine(100).await;
    }
    let watcher = world.watcher(|options| options.range_blocks = 70);
    let mut steps = 0;
    while watcher.step().await.unwrap() != Step::Idle {
        steps += 1;
    }
    assert!(steps < 12, "{steps} steps for 300 blocks");
    assert_eq!(world.queued().await.len(), 3);
}

/// Blocks that a request for logs asks for, 0 for any other request.
fn range(call: &Value) -> u64 {
    let number = |name: &str| u64::from_str_radix(call["params"][0][name].as_str()?.trim_start_matches("0x"), 16).ok();
    number("toBlock").zip(number("fromBlock")).map_or(0, |(to, from)| to - from + 1)
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_node_that_gives_only_short_ranges_is_asked_for_shorter_ones(pool: PgPool) {
    let world = World::new(pool).await;
    for amount in 1..=3 {
        world.deposit(amount).await;
        world.mine(10).await;
    }
    for most in [7, 1] {
        let url =
            relay(world.anvil.port(), move |call| if range(call) > most { Fate::Refused(-32_602, "the range is too large") } else { Fate::Passes })
                .await;
        let rollup = Rollup::at(Rpc::connect(&url, RPC).await.unwrap(), world.deployment.contract);
        let options = WatcherOptions::new(world.deployment.chain_id, world.deployment.block);
        l1::rewind(&mut world.pool.acquire().await.unwrap(), 0).await.unwrap();
        catch_up(&Watcher::new(rollup, world.lead.clone(), options, Board::default())).await;
        assert_eq!(world.queued().await.len(), 3, "ranges of {most}");
    }
}
