-- What the explorer asks: how far everything had come at a moment. Each is one step into an index, however long the history is.
CREATE INDEX transactions_by_time ON transactions (accepted_at, seq);
CREATE INDEX batches_by_time ON batches (sealed_at, number);
CREATE INDEX l1_blocks_by_time ON l1_blocks (mined_at, number);

-- Transactions up to a place in the order of acceptance, and up to a batch. Transactions and queue entries share that order without gaps, and batches
-- follow it, so that nothing has to be counted.
CREATE FUNCTION transactions_up_to(place bigint) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT coalesce($1, 0) - coalesce((SELECT q.queue_index FROM queue_taken q WHERE q.seq <= $1 ORDER BY q.seq DESC LIMIT 1), 0) $$;
CREATE FUNCTION transactions_in_batches(last bigint) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT transactions_up_to(greatest(
              (SELECT t.seq FROM transactions t WHERE t.batch_number <= $1 ORDER BY t.batch_number DESC, t.seq DESC LIMIT 1),
              (SELECT q.seq FROM queue_taken q WHERE q.batch_number <= $1 ORDER BY q.batch_number DESC, q.seq DESC LIMIT 1))) $$;
