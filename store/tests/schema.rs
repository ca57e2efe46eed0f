//! The schema refuses what the protocol forbids, and its views derive what nobody writes.
#![expect(clippy::unwrap_used, reason = "tests")]

use sheaf_protocol::amount::Address;
use sheaf_store::StoreError;
use sheaf_store::batches;
use sheaf_store::deployment::{self, Deployment, DeploymentError};
use sheaf_store::pool::connect_to_read;
use sqlx::{ConnectOptions, PgPool, Row};

/// Fails unless the database refuses the statement by the named constraint (a domain's check is named after the domain).
async fn refused(pool: &PgPool, statement: &'static str, constraint: &str) {
    let error = sqlx::raw_sql(statement).execute(pool).await.expect_err(statement);
    let database = error.as_database_error().unwrap_or_else(|| panic!("{statement}: {error}"));
    assert_eq!(database.constraint().unwrap_or(database.message()), constraint, "{statement}");
}

async fn run(pool: &PgPool, statement: &'static str) {
    sqlx::raw_sql(statement).execute(pool).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

async fn states(pool: &PgPool, view: &'static str) -> Vec<String> {
    let query = match view {
        "batch_status" => "SELECT state FROM batch_status ORDER BY number",
        _ => "SELECT state FROM transaction_status ORDER BY seq",
    };
    sqlx::query_scalar(query).fetch_all(pool).await.unwrap()
}

/// Helpers of these statements: a word, an address, a record of a transfer (slot 7 pays slot 9 with nonce 5) and of a withdrawal.
const HELPERS: &str = r"
    CREATE FUNCTION w(i integer) RETURNS bytea LANGUAGE sql AS $$ SELECT decode(lpad(to_hex(i), 64, '0'), 'hex') $$;
    CREATE FUNCTION a(i integer) RETURNS bytea LANGUAGE sql AS $$ SELECT decode(lpad(to_hex(i), 40, '0'), 'hex') $$;
    CREATE FUNCTION transfer(nonce integer) RETURNS bytea LANGUAGE sql AS
        $$ SELECT decode('01000007000009' || '0001' || lpad(to_hex(nonce), 8, '0') || repeat('00', 71), 'hex') $$;
    CREATE FUNCTION withdrawal(nonce integer) RETURNS bytea LANGUAGE sql AS
        $$ SELECT decode('02000007' || '0001' || lpad(to_hex(nonce), 8, '0') || repeat('00', 100), 'hex') $$;
    CREATE FUNCTION record(number integer, circuit integer, taken integer) RETURNS bytea LANGUAGE sql AS
        $$ SELECT w(number) || w(circuit) || w(100) || w(1) || w(2) || w(3) || w(4) || w(5) || w(6) || w(200) || w(300) || w(taken)
                  || w(400) || w(500) || w(7) || w(8) || w(600) || w(700) $$;
    CREATE PROCEDURE compute(n integer, entries integer) LANGUAGE sql AS $$ UPDATE batches SET computed_at = now(), record = record(n, 1, entries),
        new_root = w(101), opening = w(1) || w(2), claim_e = w(1), claim_z = w(2), claim_delta = w(3), posted_data = '\x000000000000',
        choices = decode(repeat('00', 32 * entries), 'hex'), ops_words = '', input = '{}' WHERE number = n $$;
    CREATE PROCEDURE seal(n integer) LANGUAGE sql AS $$ INSERT INTO batches (number, circuit, seal_reason) VALUES (n, 1, 'size') $$;
";

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn widths_are_checked(pool: PgPool) {
    run(&pool, HELPERS).await;
    run(&pool, "CALL seal(1)").await;
    refused(&pool, "INSERT INTO transactions (hash, seq, record) VALUES ('\\x01', 1, transfer(0))", "word_check").await;
    refused(&pool, "INSERT INTO slots VALUES (0, w(1), a(1), 1, 0, 0, 1)", "slot_id_check").await;
    refused(&pool, "INSERT INTO slots VALUES (16777216, w(1), a(1), 1, 0, 0, 1)", "slot_id_check").await;
    refused(&pool, "INSERT INTO slots VALUES (1, w(1), w(1), 1, 0, 0, 1)", "address_check").await;
    refused(&pool, "INSERT INTO slots VALUES (1, w(1), a(1), 0, 0, 0, 1)", "token_id_check").await;
    refused(&pool, "INSERT INTO slots VALUES (1, w(1), a(1), 65536, 0, 0, 1)", "token_id_check").await;
    refused(&pool, "INSERT INTO slots VALUES (1, w(1), a(1), 1, 4294967296, 0, 1)", "slots_nonce_check").await;
    refused(&pool, "INSERT INTO slots VALUES (1, w(1), a(1), 1, 0, -1, 1)", "slots_balance_check").await;
    refused(&pool, "INSERT INTO slots VALUES (1, w(1), a(1), 1, 0, 2::numeric ^ 120, 1)", "slots_balance_check").await;
    run(&pool, "INSERT INTO slots VALUES (16777215, w(1), a(1), 65535, 4294967295, 2::numeric ^ 120 - 1, 1)").await;
    refused(&pool, "INSERT INTO deployment VALUES (true, 1, a(1), w(1), 0, w(1), 25, 64)", "deployment_k_check").await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_transaction_says_only_what_its_record_says(pool: PgPool) {
    run(&pool, HELPERS).await;
    run(&pool, "INSERT INTO transactions (hash, seq, record) VALUES (w(1), 1, transfer(5)), (w(2), 2, withdrawal(6))").await;
    let rows = sqlx::query("SELECT op_tag, from_slot, to_slot, nonce FROM transactions ORDER BY seq").fetch_all(&pool).await.unwrap();
    let read: Vec<(i16, i32, Option<i32>, i64)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    assert_eq!(read, [(1, 7, Some(9), 5), (2, 7, None, 6)]);
    refused(&pool, "INSERT INTO transactions (hash, seq, record) VALUES (w(3), 3, transfer(7) || '\\x00')", "record_is_an_operation").await;
    refused(&pool, "INSERT INTO transactions (hash, seq, record) VALUES (w(3), 3, '\\x03')", "record_is_an_operation").await;
    assert!(sqlx::query("INSERT INTO transactions (hash, seq, record, nonce) VALUES (w(3), 3, transfer(7), 8)").execute(&pool).await.is_err());
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_nonce_a_hash_and_a_place_are_used_once(pool: PgPool) {
    run(&pool, HELPERS).await;
    run(&pool, "INSERT INTO transactions (hash, seq, record) VALUES (w(1), 1, transfer(5))").await;
    refused(&pool, "INSERT INTO transactions (hash, seq, record) VALUES (w(2), 2, withdrawal(5))", "nonce_used_once").await;
    refused(&pool, "INSERT INTO transactions (hash, seq, record) VALUES (w(1), 2, transfer(6))", "transactions_pkey").await;
    refused(&pool, "INSERT INTO transactions (hash, seq, record) VALUES (w(2), 1, transfer(6))", "transactions_seq_key").await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn what_was_accepted_cannot_be_deleted(pool: PgPool) {
    run(&pool, HELPERS).await;
    run(&pool, "INSERT INTO transactions (hash, seq, record) VALUES (w(1), 1, transfer(5))").await;
    refused(&pool, "DELETE FROM transactions", "transactions is append-only").await;
    refused(&pool, "TRUNCATE transactions", "transactions is append-only").await;
    run(&pool, "INSERT INTO audit_log (actor, action) VALUES ('a', 'b')").await;
    refused(&pool, "UPDATE audit_log SET actor = 'c'", "audit_log is append-only").await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn batches_and_queue_entries_have_no_gaps(pool: PgPool) {
    run(&pool, HELPERS).await;
    refused(&pool, "CALL seal(2)", "batches_previous_fkey").await;
    refused(&pool, "CALL seal(0)", "batches_number_check").await;
    run(&pool, "CALL seal(1)").await;
    run(&pool, "CALL seal(2)").await;
    refused(&pool, "INSERT INTO queue_taken (queue_index, seq, slot, entry) VALUES (2, 1, 5, '{}')", "queue_taken_previous_fkey").await;
    run(&pool, "INSERT INTO queue_taken (queue_index, seq, slot, entry) VALUES (1, 1, 5, '{}'), (2, 2, NULL, '{}')").await;
    refused(&pool, "DELETE FROM batches WHERE number = 1", "batches_previous_fkey").await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_batch_is_computed_as_a_whole(pool: PgPool) {
    run(&pool, HELPERS).await;
    run(&pool, "CALL seal(1)").await;
    refused(&pool, "UPDATE batches SET computed_at = now()", "computed_all_or_nothing").await;
    refused(&pool, "UPDATE batches SET record = record(2, 1, 0)", "computed_all_or_nothing").await;
    run(&pool, "CALL compute(1, 2)").await;
    refused(&pool, "UPDATE batches SET record = record(2, 1, 2)", "record_names_this_batch").await;
    refused(&pool, "UPDATE batches SET record = record(1, 2, 2)", "record_names_this_batch").await;
    refused(&pool, "UPDATE batches SET record = record(1, 1, 3)", "one_choice_per_entry").await;
    let parts = "SELECT old_root = w(100) AND commitments = w(1) || w(2) || w(3) || w(4) || w(5) || w(6) AND h = w(200) AND queue_digest = w(300)
        AND taken = 2 AND ops_hash = w(400) AND data_hash = w(500) AND cq = w(7) || w(8) AND y_da = w(600) AND y_ops = w(700) FROM batches";
    assert!(sqlx::query_scalar::<_, bool>(parts).fetch_one(&pool).await.unwrap());
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_lease_is_whole_and_a_proof_names_its_attempt(pool: PgPool) {
    run(&pool, HELPERS).await;
    run(&pool, "CALL seal(1)").await;
    run(&pool, "INSERT INTO proof_jobs (batch_number) VALUES (1)").await;
    refused(&pool, "UPDATE proof_jobs SET state = 'leased', worker = 'w'", "lease_is_whole").await;
    refused(&pool, "UPDATE proof_jobs SET worker = 'w', lease_expires_at = now()", "lease_is_whole").await;
    run(&pool, "UPDATE proof_jobs SET state = 'leased', worker = 'w', lease_expires_at = now(), fencing_token = 1").await;
    let proof = "INSERT INTO proofs (batch_number, proof, fencing_token, witness_ms, prove_ms) VALUES (1, decode(repeat('00', 256), 'hex'), 1, 0, 0)";
    refused(&pool, proof, "proofs_batch_number_fencing_token_fkey").await;
    run(&pool, "INSERT INTO proof_attempts (batch_number, fencing_token, worker) VALUES (1, 1, 'w')").await;
    refused(&pool, "UPDATE proof_attempts SET outcome = 'proven'", "ended_with_an_outcome").await;
    run(&pool, proof).await;
    refused(&pool, "UPDATE proofs SET proof = '\\x00'", "proofs_proof_check").await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn one_l1_transaction_a_nonce_is_live(pool: PgPool) {
    run(&pool, HELPERS).await;
    run(
        &pool,
        "CREATE PROCEDURE sign(h integer, n integer) LANGUAGE sql AS $$ INSERT INTO l1_transactions
        (kind, sender, nonce, hash, raw, gas_limit, max_fee_per_gas, max_priority_fee_per_gas, calldata_bytes, calldata_gas)
        VALUES ('cancel', a(1), n, w(h), '\\x02', 21000, 10, 1, 0, 0) $$; CALL sign(1, 0);",
    )
    .await;
    refused(&pool, "CALL sign(2, 0)", "l1_transactions_live_nonce").await;
    run(&pool, "UPDATE l1_transactions SET state = 'replaced'; CALL sign(2, 0);").await;
    refused(&pool, "UPDATE l1_transactions SET state = 'mined' WHERE hash = w(2)", "receipt_with_its_state").await;
    refused(&pool, "UPDATE l1_transactions SET kind = 'commit'", "about_batches").await;
    refused(&pool, "UPDATE l1_transactions SET max_priority_fee_per_gas = 11", "tip_within_fee").await;
}

/// Blocks 10 to 13; batch 1 is committed in 11 and proven in 12, finality is 2 deep.
const CHAIN: &str = "
    INSERT INTO deployment VALUES (true, 31337, a(1), w(1), 10, w(1), 16, 2);
    INSERT INTO l1_blocks SELECT n, w(n), w(n - 1), to_timestamp(n) FROM generate_series(10, 13) n;
    INSERT INTO l1_events VALUES (11, 0, w(1), 'committed', 1, NULL, '{}'), (12, 0, w(2), 'proven', 1, NULL, '{}');
    INSERT INTO transactions (hash, seq, record) VALUES (w(1), 1, transfer(5)), (w(2), 2, transfer(6)), (w(3), 3, transfer(7));
    CALL seal(1); CALL seal(2);
    UPDATE transactions SET batch_number = seq WHERE seq < 3;";

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn states_follow_l1_back_and_forth(pool: PgPool) {
    run(&pool, HELPERS).await;
    run(&pool, CHAIN).await;
    assert_eq!(states(&pool, "batch_status").await, ["final", "sealed"]);
    assert_eq!(states(&pool, "transaction_status").await, ["final", "sealed", "accepted"]);
    let at: i64 =
        sqlx::query_scalar("SELECT extract(epoch FROM final_at)::bigint FROM batch_status WHERE number = 1").fetch_one(&pool).await.unwrap();
    assert_eq!(at, 13);
    for (drop_from, state) in [
        ("DELETE FROM l1_blocks WHERE number >= 13", "proven"),
        ("DELETE FROM l1_blocks WHERE number >= 12", "committed"),
        ("DELETE FROM l1_blocks WHERE number >= 11", "sealed"),
    ] {
        run(&pool, drop_from).await;
        assert_eq!(states(&pool, "transaction_status").await, [state, "sealed", "accepted"]);
    }
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_commit_counts_until_l1_reverts_to_an_earlier_batch(pool: PgPool) {
    run(&pool, HELPERS).await;
    run(&pool, CHAIN).await;
    let committed = async || batches::marks(&mut pool.acquire().await.unwrap()).await.unwrap().committed;
    for (event, mark, states_now) in [
        ("INSERT INTO l1_events VALUES (13, 0, w(3), 'committed', 2, NULL, '{}')", 2, ["final", "committed"]),
        ("INSERT INTO l1_events VALUES (13, 1, w(4), 'reverted', 2, NULL, '{}')", 2, ["final", "committed"]),
        ("INSERT INTO l1_events VALUES (13, 2, w(5), 'reverted', 1, NULL, '{}')", 1, ["final", "sealed"]),
        ("INSERT INTO l1_events VALUES (13, 3, w(6), 'committed', 2, NULL, '{}')", 2, ["final", "committed"]),
    ] {
        run(&pool, event).await;
        assert_eq!((committed().await, states(&pool, "batch_status").await), (mark, states_now.map(str::to_owned).to_vec()), "{event}");
    }
    refused(&pool, "INSERT INTO l1_events VALUES (13, 4, w(7), 'reverted', NULL, NULL, '{}')", "names_its_batch").await;
    refused(&pool, "INSERT INTO l1_events VALUES (13, 4, w(7), 'committed', 0, NULL, '{}')", "l1_events_batch_number_check").await;
    run(&pool, "INSERT INTO l1_events VALUES (13, 4, w(7), 'reverted', 0, NULL, '{}')").await;
    assert_eq!(committed().await, 0);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn one_revert_is_open_and_ends_in_one_way(pool: PgPool) {
    run(&pool, HELPERS).await;
    run(&pool, "CALL seal(1)").await;
    let open = "INSERT INTO reverts (batch, circuit, first_seq, last_seq, actor, reason) VALUES (1, 1, 1, 2, 'a', 'b')";
    run(&pool, open).await;
    refused(&pool, open, "reverts_one_is_open").await;
    refused(&pool, "UPDATE reverts SET abandoned_at = now()", "abandoned_for_a_reason").await;
    run(&pool, "UPDATE reverts SET undone_at = now()").await;
    refused(&pool, "UPDATE reverts SET abandoned_at = now(), abandoned_because = 'c'", "ends_once").await;
    run(&pool, open).await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn l1_events_name_what_they_are_about(pool: PgPool) {
    run(&pool, HELPERS).await;
    run(&pool, "INSERT INTO l1_blocks VALUES (1, w(1), w(0), now())").await;
    refused(&pool, "INSERT INTO l1_events VALUES (1, 0, w(1), 'proven', NULL, NULL, '{}')", "names_its_batch").await;
    refused(&pool, "INSERT INTO l1_events VALUES (1, 0, w(1), 'queued', NULL, NULL, '{}')", "names_its_entry").await;
    refused(&pool, "INSERT INTO l1_events VALUES (2, 0, w(1), 'claimed', NULL, NULL, '{}')", "l1_events_block_number_fkey").await;
    run(&pool, "INSERT INTO l1_events VALUES (1, 0, w(1), 'token_listed', NULL, NULL, '{\"token\": 2, \"erc20\": \"0x00000000000000000000000000000000000000ff\"}')").await;
    let tokens: Vec<(i32, Option<Vec<u8>>)> = sqlx::query_as("SELECT id, erc20 FROM tokens ORDER BY id").fetch_all(&pool).await.unwrap();
    let mut erc20 = vec![0; 20];
    erc20[19] = 0xff;
    assert_eq!(tokens, [(1, None), (2, Some(erc20))]);
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn who_only_reads_changes_nothing_and_needs_this_schema_and_deployment(pool: PgPool) {
    let url = pool.connect_options().to_url_lossy().to_string();
    let readers = connect_to_read(&url).await.unwrap();
    let mut reader = readers.acquire().await.unwrap();
    let ours =
        Deployment { chain_id: 5, contract: Address([1; 20]), domain: [2; 32], deploy_block: 3, manifest_digest: [4; 32], k: 16, finality_depth: 1 };
    assert!(matches!(deployment::check(&mut reader, &ours).await, Err(DeploymentError::Unbound)));
    let refused = deployment::bind(&mut reader, &ours).await.unwrap_err();
    assert!(matches!(&refused, DeploymentError::Database(error) if error.to_string().contains("read-only")), "{refused:?}");
    deployment::bind(&mut pool.acquire().await.unwrap(), &ours).await.unwrap();
    deployment::check(&mut reader, &ours).await.unwrap();
    let other = deployment::check(&mut reader, &Deployment { k: 17, ..ours }).await;
    assert!(matches!(other, Err(DeploymentError::Other { .. })));
    run(&pool, "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)").await;
    assert!(matches!(connect_to_read(&url).await, Err(StoreError::OtherSchema { .. })));
    run(&pool, "DROP TABLE _sqlx_migrations").await;
    assert!(matches!(connect_to_read(&url).await, Err(StoreError::OtherSchema { applied: 0, .. })), "none of ours");
}
