-- Which batches have credits to settle is asked in every round of settlement: it must not read their words each time.
-- Withdrawals take three words each; four go before them for every deposit that is not refunded, whose choice names a slot above its lowest byte.
CREATE FUNCTION withdrawal_count(choices bytea, ops_words bytea) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT greatest(octet_length(ops_words) / 32 - 4 * (count(*) FILTER (
              WHERE substring(choices FROM 32 * i + 1 FOR 31) <> decode(repeat('00', 31), 'hex')))::integer, 0) / 3
          FROM generate_series(0, octet_length(choices) / 32 - 1) i $$;
ALTER TABLE batches ADD COLUMN withdrawals integer GENERATED ALWAYS AS (withdrawal_count(choices, ops_words)) STORED;
CREATE INDEX batches_to_settle ON batches (number) WHERE withdrawals > 0;
