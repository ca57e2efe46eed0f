-- Registers are transactions of a third kind, with a slot that the operator chose; exits and rotations are queue entries beside deposits.
ALTER TABLE transactions DROP CONSTRAINT record_is_transfer_or_withdraw;
ALTER TABLE transactions ADD CONSTRAINT record_is_an_operation CHECK (
    octet_length(record) = CASE get_byte(record, 0) WHEN 1 THEN 84 WHEN 2 THEN 110 WHEN 3 THEN 130 END);
ALTER TABLE transactions ADD COLUMN account_slot slot_id;
ALTER TABLE transactions ADD CONSTRAINT registers_name_their_slot CHECK ((get_byte(record, 0) = 3) = (account_slot IS NOT NULL));
CREATE INDEX transactions_by_account ON transactions (account_slot, seq) WHERE account_slot IS NOT NULL;

CREATE OR REPLACE VIEW transaction_status AS
    SELECT t.hash, t.seq, t.op_tag, t.from_slot, t.to_slot, t.nonce, t.record, t.accepted_at, t.batch_number,
           coalesce(s.state, 'accepted') AS state, s.sealed_at, s.computed_at,
           s.commit_tx, s.commit_block, s.committed_at, s.prove_tx, s.prove_block, s.proven_at, s.final_at, t.account_slot
    FROM transactions t LEFT JOIN batch_status s ON s.number = t.batch_number;

-- How often `settle` credits somebody: withdrawals and exits that pay anything, by their words of three. Before the exits stand four words for every
-- deposit that is not refunded, after them three for every rotation. The kind is a choice's lowest byte: 1 a deposit, whose slot stands above it,
-- 2 an exit, 3 a rotation.
DROP INDEX batches_to_settle;
ALTER TABLE batches DROP COLUMN withdrawals;
DROP FUNCTION withdrawal_count;
CREATE FUNCTION credit_count(choices bytea, ops_words bytea) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ WITH kinds AS (
              SELECT (count(*) FILTER (WHERE kind = 1 AND above <> decode(repeat('00', 31), 'hex')))::integer AS deposits,
                     (count(*) FILTER (WHERE kind = 2))::integer AS exits, (count(*) FILTER (WHERE kind = 3))::integer AS rotations
              FROM (SELECT get_byte(choices, 32 * i + 31) AS kind, substring(choices FROM 32 * i + 1 FOR 31) AS above
                    FROM generate_series(0, octet_length(choices) / 32 - 1) i) c),
          items AS (SELECT deposits, exits, greatest(octet_length(ops_words) / 32 - 4 * deposits - 3 * (exits + rotations), 0) / 3 AS withdrawals FROM kinds),
          amounts AS (SELECT 3 * i + 1 AS word FROM items, generate_series(0, withdrawals - 1) i
                      UNION ALL SELECT 3 * withdrawals + 4 * deposits + 3 * i + 2 FROM items, generate_series(0, exits - 1) i)
          SELECT (count(*) FILTER (WHERE substring(ops_words FROM 32 * word + 1 FOR 32) <> decode(repeat('00', 32), 'hex')))::integer FROM amounts $$;
ALTER TABLE batches ADD COLUMN credits integer GENERATED ALWAYS AS (credit_count(choices, ops_words)) STORED;
CREATE INDEX batches_to_settle ON batches (number) WHERE credits > 0;
