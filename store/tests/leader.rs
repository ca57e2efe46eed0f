//! One leader a role: late writers are fenced off, the present one is never pushed aside in the middle of a write; hints wake who waits.
#![expect(clippy::unwrap_used, reason = "tests")]

use sheaf_store::StoreError;
use sheaf_store::hints::Hints;
use sheaf_store::leader::{Lease, Role, acquire};
use sqlx::PgPool;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(20);

async fn take(pool: &PgPool, holder: &str, duration: Duration) -> Option<Lease> {
    acquire(&mut pool.acquire().await.unwrap(), Role::Sequencer, holder, duration).await.unwrap()
}

async fn guarded_write(pool: &PgPool, lease: &Lease) -> Result<(), StoreError> {
    let mut transaction = pool.begin().await?;
    lease.guard(&mut transaction).await?;
    sqlx::query("INSERT INTO audit_log (actor, action) VALUES ('leader', 'write')").execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_frozen_leader_wakes_up_and_is_refused(pool: PgPool) {
    let old = take(&pool, "old", Duration::ZERO).await.unwrap();
    guarded_write(&pool, &old).await.unwrap();
    let new = take(&pool, "new", LONG).await.unwrap();
    assert_eq!(new.epoch(), old.epoch() + 1);
    assert!(matches!(guarded_write(&pool, &old).await, Err(StoreError::LostLead { role: Role::Sequencer, epoch: 1 })));
    let mut connection = pool.acquire().await.unwrap();
    assert!(matches!(old.renew(&mut connection, LONG).await, Err(StoreError::LostLead { .. })));
    old.release(&mut connection).await.unwrap();
    assert_eq!(take(&pool, "third", LONG).await, None, "the late release did not free the new lead");
    guarded_write(&pool, &new).await.unwrap();
    let writes: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_log").fetch_one(&pool).await.unwrap();
    assert_eq!(writes, 2);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_lead_is_held_until_it_is_released(pool: PgPool) {
    let lease = take(&pool, "one", Duration::ZERO).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    lease.renew(&mut connection, LONG).await.unwrap();
    assert_eq!(take(&pool, "two", LONG).await, None);
    lease.release(&mut connection).await.unwrap();
    assert_eq!(take(&pool, "two", LONG).await.unwrap().epoch(), 2);
    let other = acquire(&mut connection, Role::Settlement, "one", LONG).await.unwrap().unwrap();
    assert_eq!(other.epoch(), 1, "roles are apart");
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_take_over_waits_for_the_write_under_way(pool: PgPool) {
    let lease = take(&pool, "old", Duration::ZERO).await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    lease.guard(&mut transaction).await.unwrap();
    let heir = tokio::spawn({
        let pool = pool.clone();
        async move { take(&pool, "new", LONG).await }
    });
    until_somebody_waits_for_a_lock(&pool).await;
    assert!(!heir.is_finished());
    transaction.commit().await.unwrap();
    let heir = tokio::time::timeout(PATIENCE, heir).await.unwrap().unwrap();
    assert_eq!(heir.unwrap().epoch(), 2);
}

async fn until_somebody_waits_for_a_lock(pool: &PgPool) {
    let started = Instant::now();
    let query = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";
    while !sqlx::query_scalar::<_, bool>(query).fetch_one(pool).await.unwrap() {
        assert!(started.elapsed() < PATIENCE, "nobody waits");
    }
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_change_wakes_who_waits_for_its_table(pool: PgPool) {
    let mut hints = Hints::listen(&pool).await.unwrap();
    sqlx::query("INSERT INTO l1_blocks VALUES (1, decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'), now())")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("INSERT INTO batches (number, circuit, seal_reason) VALUES (1, 1, 'size')").execute(&pool).await.unwrap();
    let started = Instant::now();
    hints.wait(&["batches"], LONG).await;
    assert!(started.elapsed() < PATIENCE);
    let started = Instant::now();
    hints.wait(&["batches"], Duration::from_millis(50)).await;
    assert!(started.elapsed() >= Duration::from_millis(50), "the hint about another table was used up by the first wait");
}

/// A commit with a hint waits for every other one, so that leases, which nobody listens for, must give none.
#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn only_tables_that_somebody_waits_for_give_hints(pool: PgPool) {
    let query = "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgfoid = 'hint()'::regprocedure ORDER BY 1";
    let tables: Vec<String> = sqlx::query_scalar(query).fetch_all(&pool).await.unwrap();
    assert_eq!(tables, ["batches", "l1_blocks", "proofs", "reverts"]);
}
