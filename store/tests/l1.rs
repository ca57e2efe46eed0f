//! The operator's nonces and what is due on L1, as far as the rows tell.
#![expect(clippy::unwrap_used, reason = "tests")]

use sheaf_protocol::amount::{Address, Amount, NATIVE, SlotId};
use sheaf_protocol::field::Fr;
use sheaf_protocol::header::{QueueEntry, QueueKind};
use sheaf_store::costs;
use sheaf_store::l1::{self, BlockRow, Credited, Event, EventRow, FreeNonce, Mined, NewTransaction, Proven, Refunded, TxKind};
use sheaf_store::queue::{self, Taken};
use sqlx::PgPool;

const OPERATOR: Address = Address([1; 20]);

fn commit(nonce: u64, batch: u64) -> NewTransaction {
    NewTransaction {
        sender: OPERATOR,
        nonce,
        kind: TxKind::Commit,
        first_batch: batch,
        last_batch: batch,
        commits: 0,
        commit_gas: 0,
        hash: [nonce as u8 + 1; 32],
        raw: vec![2],
        gas_limit: 21_000,
        max_fee_wei: 2,
        tip_wei: 1,
        calldata_bytes: 0,
        calldata_gas: 0,
    }
}

async fn save(pool: &PgPool, new: &NewTransaction) -> i64 {
    let mut transaction = pool.begin().await.unwrap();
    let id = l1::save_transaction(&mut transaction, new, None).await.unwrap();
    transaction.commit().await.unwrap();
    id
}

async fn mine(pool: &PgPool, nonce: u64, id: i64, block: u64) {
    let mined = Mined { block, block_hash: [block as u8; 32], succeeded: true, gas_used: 21_000, gas_price_wei: 1 };
    let mut transaction = pool.begin().await.unwrap();
    l1::set_mined(&mut transaction, &OPERATOR, nonce, id, &mined, None).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn free(pool: &PgPool, mined_nonce: u64) -> (u64, bool) {
    let FreeNonce { nonce, is_hole } = l1::free_nonce(&mut pool.acquire().await.unwrap(), &OPERATOR, mined_nonce).await.unwrap();
    (nonce, is_hole)
}

async fn live(pool: &PgPool, settled: u64, mined_nonce: u64) -> Vec<u64> {
    let mut connection = pool.acquire().await.unwrap();
    let live = l1::live_transactions(&mut connection, &OPERATOR, settled, mined_nonce).await.unwrap();
    live.iter().map(|transaction| transaction.nonce).collect()
}

/// Batches 1 to `last`, each with `withdrawals` withdrawals, one deposit and one refund.
async fn batches(pool: &PgPool, last: i64, withdrawals: i32) {
    let query = "INSERT INTO batches (number, circuit, seal_reason, computed_at, record, new_root, opening, claim_e, claim_z, claim_delta,
                     posted_data, choices, ops_words, input)
                 SELECT n, 1, 'size', now(), w(n) || w(1) || zeros(9) || w(2) || zeros(6), w(0), zeros(2), w(0), w(0), w(0), zeros(1),
                     w(257) || w(1), ones(3 * $2 + 4), '{}' FROM generate_series(1, $1) n";
    let helpers = "CREATE FUNCTION w(i bigint) RETURNS bytea LANGUAGE sql AS $$ SELECT decode(lpad(to_hex(i), 64, '0'), 'hex') $$;
                   CREATE FUNCTION zeros(n integer) RETURNS bytea LANGUAGE sql AS $$ SELECT decode(repeat('00', 32 * n), 'hex') $$;
                   CREATE FUNCTION ones(n integer) RETURNS bytea LANGUAGE sql AS $$ SELECT decode(repeat(lpad('1', 64, '0'), n), 'hex') $$;";
    sqlx::raw_sql(helpers).execute(pool).await.unwrap();
    sqlx::query(query).bind(last).bind(withdrawals).execute(pool).await.unwrap();
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn the_smallest_unused_nonce_is_free(pool: PgPool) {
    batches(&pool, 4, 0).await;
    assert_eq!(free(&pool, 7).await, (7, false));
    save(&pool, &commit(7, 1)).await;
    let eighth = save(&pool, &commit(8, 2)).await;
    save(&pool, &commit(10, 4)).await;
    assert_eq!(free(&pool, 7).await, (9, true));
    assert_eq!(free(&pool, 5).await, (5, true));
    assert_eq!(free(&pool, 11).await, (11, false));
    mine(&pool, 8, eighth, 3).await;
    assert_eq!(free(&pool, 8).await, (9, true), "mined, although L1 does not say so: not free");
    l1::set_dropped(&mut pool.acquire().await.unwrap(), &OPERATOR, 10, "a test").await.unwrap();
    assert_eq!(free(&pool, 8).await, (9, false), "nothing waits above");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn what_was_given_up_can_be_signed_again(pool: PgPool) {
    batches(&pool, 1, 0).await;
    let id = save(&pool, &commit(7, 1)).await;
    let again = l1::save_transaction(&mut pool.begin().await.unwrap(), &commit(7, 1), None).await;
    assert!(again.is_err(), "the same bytes are live");
    l1::set_dropped(&mut pool.acquire().await.unwrap(), &OPERATOR, 7, "a test").await.unwrap();
    assert_eq!(live(&pool, 0, 0).await, [0u64; 0]);
    assert_eq!(save(&pool, &commit(7, 1)).await, id);
    assert_eq!(live(&pool, 0, 0).await, [7]);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn old_mined_transactions_live_again_when_l1_forgets_their_nonces(pool: PgPool) {
    batches(&pool, 3, 0).await;
    for (nonce, batch) in [(7, 1), (8, 2), (9, 3)] {
        let id = save(&pool, &commit(nonce, batch)).await;
        mine(&pool, nonce, id, batch).await;
    }
    assert_eq!(live(&pool, 2, 10).await, [9], "the others are too deep to be dropped");
    assert_eq!(live(&pool, 9, 10).await, [0u64; 0]);
    assert_eq!(live(&pool, 9, 8).await, [8, 9]);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_transaction_about_no_batch_reads_back(pool: PgPool) {
    save(&pool, &NewTransaction { kind: TxKind::Cancel, ..commit(7, 0) }).await;
    let live = l1::live_transactions(&mut pool.acquire().await.unwrap(), &OPERATOR, 0, 0).await.unwrap();
    assert_eq!((live[0].kind, live[0].first_batch, live[0].last_batch), (TxKind::Cancel, 0, 0));
}

async fn block(pool: &PgPool, number: u64, events: Vec<Event>) {
    let mut connection = pool.acquire().await.unwrap();
    let row = BlockRow { number, hash: [number as u8; 32], parent_hash: [number as u8 - 1; 32], timestamp_s: number };
    l1::append_block(&mut connection, &row).await.unwrap();
    for (log_index, event) in (0..).zip(events) {
        l1::append_event(&mut connection, &EventRow { block: number, log_index, tx_hash: [9; 32], event }).await.unwrap();
    }
}

fn credited(batch: u64) -> Event {
    Event::Credited(batch, Credited { to: OPERATOR, token: NATIVE, amount: Amount(1) })
}

/// Withdrawals, a deposit, exits and a rotation: whoever gets nothing is credited by no event, so none is waited for.
#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn what_pays_nothing_is_not_waited_for(pool: PgPool) {
    batches(&pool, 1, 0).await;
    let counts = async |choices: &str, words: &str| {
        let set = format!(
            "UPDATE batches SET record = overlay(record PLACING w(octet_length({choices}) / 32) FROM 353 FOR 32), choices = {choices}, ops_words = {words}"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&pool).await.unwrap();
        let credits: i32 = sqlx::query_scalar("SELECT credits FROM batches").fetch_one(&pool).await.unwrap();
        let settle = l1::settle_input(&mut pool.acquire().await.unwrap(), 1).await.unwrap().unwrap();
        let commit = l1::commit_input(&mut pool.begin().await.unwrap(), 1).await.unwrap().unwrap();
        (credits, settle.items, commit.withdrawals.len())
    };
    let (deposit, refund, exit, rotation) = ("w(257)", "w(1)", "w(258)", "w(259)");
    assert_eq!(counts(refund, "ones(6)").await, (2, 2, 2));
    assert_eq!(counts(refund, "ones(3) || w(1) || w(0) || w(1)").await, (1, 2, 2), "a withdrawal of nothing");
    let all = [deposit, exit, refund, rotation, exit].join(" || ");
    let words = "ones(3) || ones(4) || ones(3) || w(1) || w(1) || w(0) || ones(3)";
    assert_eq!(counts(&all, words).await, (2, 3, 1), "one withdrawal, one exit that pays and one that does not");
    assert_eq!(counts(rotation, "ones(3)").await, (0, 0, 0));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn nothing_is_settled_for_good_before_its_block_is_final(pool: PgPool) {
    batches(&pool, 3, 2).await;
    let proven = (1..=3).map(|number| Event::Proven(number, Proven { root: [0; 32] })).collect();
    block(&pool, 1, proven).await;
    block(&pool, 2, vec![credited(1), credited(1), credited(2)]).await;
    let ready = async |settled, final_block| {
        let ready = l1::ready(&mut pool.begin().await.unwrap(), 3, settled, final_block).await.unwrap();
        (ready.unsettled, ready.settled)
    };
    assert_eq!(ready(0, 1).await, (vec![2, 3], 0), "credited, but in a block that may go");
    assert_eq!(ready(0, 2).await, (vec![2, 3], 1));
    assert_eq!(ready(1, 2).await, (vec![2, 3], 1));
    l1::rewind(&mut pool.acquire().await.unwrap(), 1).await.unwrap();
    assert_eq!(ready(0, 1).await, (vec![1, 2, 3], 0));
    block(&pool, 2, (1..=3).flat_map(|number| [credited(number), credited(number)]).collect()).await;
    assert_eq!(ready(0, 2).await, (vec![], 3));
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_proof_of_three_batches_is_split_so_that_the_shares_make_the_whole(pool: PgPool) {
    batches(&pool, 4, 0).await;
    let id = save(&pool, &NewTransaction { kind: TxKind::Prove, last_batch: 3, ..commit(7, 1) }).await;
    let mined = Mined { block: 2, block_hash: [2; 32], succeeded: true, gas_used: 100, gas_price_wei: 2 };
    let mut transaction = pool.begin().await.unwrap();
    l1::set_mined(&mut transaction, &OPERATOR, 7, id, &mined, None).await.unwrap();
    transaction.commit().await.unwrap();
    let failed = save(&pool, &commit(8, 1)).await;
    let mut transaction = pool.begin().await.unwrap();
    let mined = Mined { succeeded: false, gas_used: 50, gas_price_wei: 3, ..mined };
    l1::set_mined(&mut transaction, &OPERATOR, 8, failed, &mined, Some("a test")).await.unwrap();
    transaction.commit().await.unwrap();
    save(&pool, &commit(9, 1)).await;

    let costs = async |batch| {
        let costs = costs::of_batch(&mut pool.acquire().await.unwrap(), batch).await.unwrap();
        costs.into_iter().map(|cost| (cost.kind, cost.transactions, cost.gas, cost.wei)).collect::<Vec<_>>()
    };
    let prove = |gas, wei| ("prove".to_owned(), 1, gas, wei);
    assert_eq!(costs(1).await, [("commit".to_owned(), 1, 50, 150), prove(34, 67)], "what reverted is paid for, what waits is not");
    assert_eq!((costs(2).await, costs(3).await, costs(4).await), (vec![prove(33, 67)], vec![prove(33, 66)], vec![]));
}

/// Queue entries of one batch, those named to be given back.
async fn taken(pool: &PgPool, batch: i64, entries: std::ops::RangeInclusive<u64>, refunds: &[u64]) {
    let mut connection = pool.acquire().await.unwrap();
    let entry = |index: u64| QueueEntry {
        kind: QueueKind::Deposit,
        sender: OPERATOR,
        token: NATIVE,
        amount: Amount(index.into()),
        slot: SlotId(0),
        owner: OPERATOR,
        key: Fr::from(1u64),
    };
    let slot = |index: u64| (!refunds.contains(&index)).then_some(SlotId(1));
    let rows: Vec<Taken> = entries.map(|index| Taken { index, seq: index, slot: slot(index), entry: entry(index) }).collect();
    queue::insert(&mut connection, &rows).await.unwrap();
    let query = "UPDATE queue_taken SET batch_number = $1 WHERE batch_number IS NULL";
    sqlx::query(query).bind(batch).execute(&mut *connection).await.unwrap();
}

fn refunded(index: u64) -> Event {
    Event::Refunded(index, Refunded { to: OPERATOR, token: NATIVE, amount: Amount(index.into()) })
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn refunds_are_due_until_l1_shows_them_and_go_out_in_runs(pool: PgPool) {
    batches(&pool, 3, 0).await;
    taken(&pool, 1, 1..=2, &[]).await;
    taken(&pool, 2, 3..=140, &[4, 6, 110]).await;
    taken(&pool, 3, 141..=142, &[142]).await;
    block(&pool, 1, vec![]).await;
    let due = async |final_block| {
        let ready = l1::ready(&mut pool.begin().await.unwrap(), 3, 0, final_block).await.unwrap();
        (ready.unrefunded, ready.settled)
    };
    let run = async |batch| {
        let input = l1::refund_input(&mut pool.acquire().await.unwrap(), batch).await.unwrap();
        input.map(|input| (input.first, input.entries.len(), input.last_entry))
    };
    assert_eq!(due(1).await, (vec![2, 3], 1));
    assert_eq!((run(1).await, run(2).await, run(3).await), (None, Some((4, 3, 140)), Some((142, 1, 142))));
    block(&pool, 2, vec![refunded(4), refunded(6), refunded(142)]).await;
    assert_eq!((due(1).await, due(2).await), ((vec![2], 1), (vec![2], 1)));
    assert_eq!((run(2).await, run(3).await), (Some((110, 1, 140)), None));
    block(&pool, 3, vec![refunded(110)]).await;
    assert_eq!((due(2).await, due(3).await), ((vec![], 1), (vec![], 3)), "given back, but in a block that may go");
    l1::rewind(&mut pool.acquire().await.unwrap(), 1).await.unwrap();
    assert_eq!(due(1).await, (vec![2, 3], 1));
}
