-- A committed batch that nobody proves is taken back from L1 and its transactions are sealed again in other circuits. README.md has the states.
CREATE TABLE reverts (
    id                bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch             bigint      NOT NULL REFERENCES batches (number),
    circuit           integer     NOT NULL CHECK (circuit >= 1),
    first_seq         bigint      NOT NULL CHECK (first_seq >= 1),
    last_seq          bigint      NOT NULL,
    asked_at          timestamptz NOT NULL DEFAULT now(),
    actor             text        NOT NULL CHECK (actor <> ''),
    reason            text        NOT NULL CHECK (reason <> ''),
    undone_at         timestamptz,
    abandoned_at      timestamptz,
    abandoned_because text,
    CONSTRAINT members_in_order CHECK (first_seq <= last_seq),
    CONSTRAINT abandoned_for_a_reason CHECK (num_nulls(abandoned_at, abandoned_because) IN (0, 2)),
    CONSTRAINT ends_once CHECK (num_nulls(undone_at, abandoned_at) >= 1)
);
CREATE UNIQUE INDEX reverts_one_is_open ON reverts ((true)) WHERE undone_at IS NULL AND abandoned_at IS NULL;
CREATE TRIGGER hint AFTER INSERT OR UPDATE ON reverts FOR EACH STATEMENT EXECUTE FUNCTION hint();

-- What was taken back, as it was.
CREATE TABLE reverted_batches (
    revert        bigint      NOT NULL REFERENCES reverts (id),
    number        bigint      NOT NULL CHECK (number >= 1),
    circuit       integer     NOT NULL,
    seal_reason   text        NOT NULL,
    sealed_at     timestamptz NOT NULL,
    last_seq      bigint      NOT NULL,
    record        bytea,
    new_root      bytea,
    input         jsonb,
    fencing_token bigint      NOT NULL,
    attempts      jsonb       NOT NULL CHECK (jsonb_typeof(attempts) = 'array'),
    PRIMARY KEY (number, revert)
);

ALTER TABLE batches DROP CONSTRAINT batches_seal_reason_check;
ALTER TABLE batches ADD CONSTRAINT batches_seal_reason_check CHECK (seal_reason IN ('size', 'age', 'cost', 'asked', 'resealed'));
ALTER TABLE l1_transactions DROP CONSTRAINT l1_transactions_kind_check;
ALTER TABLE l1_transactions ADD CONSTRAINT l1_transactions_kind_check
    CHECK (kind IN ('deploy', 'commit', 'prove', 'commit_and_prove', 'settle', 'refund', 'revert', 'cancel'));
CREATE INDEX l1_transactions_reverts ON l1_transactions (batch_from) WHERE kind = 'revert';

-- A revert names the batch that is the last one committed after it, 0 for none.
ALTER TABLE l1_events DROP CONSTRAINT l1_events_kind_check;
ALTER TABLE l1_events ADD CONSTRAINT l1_events_kind_check
    CHECK (kind IN ('queued', 'token_listed', 'committed', 'reverted', 'proven', 'credited', 'refunded', 'claimed'));
ALTER TABLE l1_events DROP CONSTRAINT l1_events_batch_number_check;
ALTER TABLE l1_events ADD CONSTRAINT l1_events_batch_number_check CHECK (batch_number >= CASE kind WHEN 'reverted' THEN 0 ELSE 1 END);
ALTER TABLE l1_events DROP CONSTRAINT names_its_batch;
ALTER TABLE l1_events ADD CONSTRAINT names_its_batch CHECK ((batch_number IS NOT NULL) = (kind IN ('committed', 'reverted', 'proven', 'credited')));
-- How far L1 is committed is said by the last of these.
CREATE INDEX l1_events_committing ON l1_events (block_number, log_index) WHERE kind IN ('committed', 'reverted');

-- As before, but a commit counts only as long as no revert to an earlier batch comes after it.
CREATE OR REPLACE VIEW batch_status AS
    SELECT b.number, b.circuit, b.seal_reason, b.sealed_at, b.computed_at, p.proven_at AS proof_stored_at,
           c.tx_hash AS commit_tx, c.block_number AS commit_block, c.mined_at AS committed_at,
           v.tx_hash AS prove_tx, v.block_number AS prove_block, v.mined_at AS proven_at,
           f.mined_at AS final_at,
           CASE WHEN head.number - v.block_number + 1 >= d.finality_depth THEN 'final'
                WHEN v.block_number IS NOT NULL THEN 'proven'
                WHEN c.block_number IS NOT NULL THEN 'committed'
                ELSE 'sealed' END AS state
    FROM batches b
    LEFT JOIN deployment d ON true
    LEFT JOIN (SELECT max(number) AS number FROM l1_blocks) head ON true
    LEFT JOIN proofs p ON p.batch_number = b.number
    LEFT JOIN LATERAL (
        SELECT e.tx_hash, e.block_number, l.mined_at FROM (
            SELECT * FROM l1_events WHERE kind = 'committed' AND batch_number = b.number ORDER BY block_number DESC, log_index DESC LIMIT 1) e
        JOIN l1_blocks l ON l.number = e.block_number
        WHERE NOT EXISTS (SELECT 1 FROM l1_events r WHERE r.kind = 'reverted' AND r.batch_number < b.number
                              AND (r.block_number, r.log_index) > (e.block_number, e.log_index))) c ON true
    LEFT JOIN LATERAL (
        SELECT e.tx_hash, e.block_number, l.mined_at FROM l1_events e JOIN l1_blocks l ON l.number = e.block_number
        WHERE e.kind = 'proven' AND e.batch_number = b.number) v ON true
    LEFT JOIN LATERAL (
        SELECT l.mined_at FROM l1_blocks l WHERE l.number >= v.block_number + d.finality_depth - 1 ORDER BY l.number LIMIT 1) f ON true;
