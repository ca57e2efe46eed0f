-- The whole schema. README.md in this folder explains every table and column and draws the state machines.
--
-- Rules: nothing that can be derived is written by hand (views and generated columns derive it); every width of the
-- protocol is a CHECK; rows of the past are never changed, they gain a fact or a later row.

CREATE DOMAIN word AS bytea CHECK (octet_length(VALUE) = 32);
CREATE DOMAIN address AS bytea CHECK (octet_length(VALUE) = 20);
CREATE DOMAIN slot_id AS integer CHECK (VALUE BETWEEN 1 AND 16777215);
CREATE DOMAIN token_id AS integer CHECK (VALUE BETWEEN 1 AND 65535);
CREATE DOMAIN wei AS numeric(39, 0) CHECK (VALUE >= 0);

-- Big-endian integer of `size` (1 to 7) bytes from `start` (counted from 0).
CREATE FUNCTION be_int(data bytea, start integer, size integer) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT ('x' || lpad(encode(substring(data FROM start + 1 FOR size), 'hex'), 16, '0'))::bit(64)::bigint $$;

-- Words `first` to `first + count - 1` (counted from 0) of a concatenation of 32-byte words.
CREATE FUNCTION words(data bytea, first integer, count integer) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT substring(data FROM 32 * first + 1 FOR 32 * count) $$;

CREATE TABLE deployment (
    singleton       boolean  PRIMARY KEY DEFAULT true CHECK (singleton),
    chain_id        bigint   NOT NULL CHECK (chain_id > 0),
    contract        address  NOT NULL,
    domain          word     NOT NULL,
    deploy_block    bigint   NOT NULL CHECK (deploy_block >= 0),
    manifest_digest word     NOT NULL,
    k               smallint NOT NULL CHECK (k BETWEEN 16 AND 24),
    finality_depth  integer  NOT NULL CHECK (finality_depth >= 1)
);

CREATE TABLE leader (
    role       text        PRIMARY KEY CHECK (role <> ''),
    epoch      bigint      NOT NULL CHECK (epoch >= 1),
    holder     text        NOT NULL CHECK (holder <> ''),
    expires_at timestamptz NOT NULL
);

CREATE TABLE batches (
    number       bigint      PRIMARY KEY CHECK (number >= 1),
    -- a batch without its predecessor cannot be written, so numbers have no gaps
    previous     bigint      GENERATED ALWAYS AS (nullif(number - 1, 0)) STORED REFERENCES batches (number),
    circuit      integer     NOT NULL CHECK (circuit >= 1),
    sealed_at    timestamptz NOT NULL DEFAULT now(),
    seal_reason  text        NOT NULL CHECK (seal_reason IN ('size', 'age', 'cost', 'asked')),

    -- written by the committer, all at once
    computed_at  timestamptz,
    record       bytea       CHECK (octet_length(record) = 18 * 32),
    new_root     word,
    opening      bytea       CHECK (octet_length(opening) = 64),
    claim_e      word,
    claim_z      word,
    claim_delta  word,
    posted_data  bytea       CHECK (octet_length(posted_data) >= 6),
    choices      bytea       CHECK (octet_length(choices) % 32 = 0),
    ops_words    bytea       CHECK (octet_length(ops_words) % 32 = 0),
    input        jsonb       CHECK (jsonb_typeof(input) = 'object'),

    -- parts of the record by name
    old_root     bytea       GENERATED ALWAYS AS (words(record, 2, 1)) STORED,
    commitments  bytea       GENERATED ALWAYS AS (words(record, 3, 6)) STORED,
    h            bytea       GENERATED ALWAYS AS (words(record, 9, 1)) STORED,
    queue_digest bytea       GENERATED ALWAYS AS (words(record, 10, 1)) STORED,
    taken        bigint      GENERATED ALWAYS AS (be_int(words(record, 11, 1), 25, 7)) STORED,
    ops_hash     bytea       GENERATED ALWAYS AS (words(record, 12, 1)) STORED,
    data_hash    bytea       GENERATED ALWAYS AS (words(record, 13, 1)) STORED,
    cq           bytea       GENERATED ALWAYS AS (words(record, 14, 2)) STORED,
    y_da         bytea       GENERATED ALWAYS AS (words(record, 16, 1)) STORED,
    y_ops        bytea       GENERATED ALWAYS AS (words(record, 17, 1)) STORED,

    CONSTRAINT computed_all_or_nothing CHECK (num_nulls(
        computed_at, record, new_root, opening, claim_e, claim_z, claim_delta, posted_data, choices, ops_words, input) IN (0, 11)),
    CONSTRAINT record_names_this_batch CHECK (be_int(words(record, 0, 1), 25, 7) = number AND be_int(words(record, 1, 1), 25, 7) = circuit),
    CONSTRAINT one_choice_per_entry CHECK (octet_length(choices) = 32 * taken)
);
CREATE INDEX batches_to_compute ON batches (number) WHERE computed_at IS NULL;

CREATE TABLE transactions (
    hash         word        PRIMARY KEY,
    seq          bigint      NOT NULL UNIQUE CHECK (seq >= 1),
    record       bytea       NOT NULL,
    accepted_at  timestamptz NOT NULL DEFAULT now(),
    batch_number bigint      REFERENCES batches (number),

    -- parts of the record by name
    op_tag       smallint    NOT NULL GENERATED ALWAYS AS (get_byte(record, 0)) STORED,
    from_slot    integer     NOT NULL GENERATED ALWAYS AS (be_int(record, 1, 3)) STORED,
    to_slot      integer     GENERATED ALWAYS AS (CASE get_byte(record, 0) WHEN 1 THEN be_int(record, 4, 3) END) STORED,
    nonce        bigint      NOT NULL GENERATED ALWAYS AS (CASE get_byte(record, 0) WHEN 1 THEN be_int(record, 9, 4) ELSE be_int(record, 6, 4) END) STORED,

    CONSTRAINT record_is_transfer_or_withdraw CHECK (
        (get_byte(record, 0) = 1 AND octet_length(record) = 84) OR (get_byte(record, 0) = 2 AND octet_length(record) = 110)),
    CONSTRAINT nonce_used_once UNIQUE (from_slot, nonce)
);
CREATE INDEX transactions_unsealed ON transactions (seq) WHERE batch_number IS NULL;
CREATE INDEX transactions_by_batch ON transactions (batch_number, seq);
CREATE INDEX transactions_by_sender ON transactions (from_slot, seq);
CREATE INDEX transactions_by_recipient ON transactions (to_slot, seq) WHERE to_slot IS NOT NULL;

CREATE TABLE queue_taken (
    queue_index  bigint  PRIMARY KEY CHECK (queue_index >= 1),
    -- entries are taken in queue order without a gap
    previous     bigint  GENERATED ALWAYS AS (nullif(queue_index - 1, 0)) STORED REFERENCES queue_taken (queue_index),
    seq          bigint  NOT NULL UNIQUE CHECK (seq >= 1),
    slot         slot_id,
    entry        jsonb   NOT NULL CHECK (jsonb_typeof(entry) = 'object'),
    batch_number bigint  REFERENCES batches (number)
);
CREATE INDEX queue_taken_unsealed ON queue_taken (seq) WHERE batch_number IS NULL;
CREATE INDEX queue_taken_by_batch ON queue_taken (batch_number, seq);
CREATE INDEX queue_taken_by_slot ON queue_taken (slot, seq) WHERE slot IS NOT NULL;

CREATE TABLE slots (
    idx          slot_id  PRIMARY KEY,
    key          word     NOT NULL,
    owner        address  NOT NULL,
    token        token_id NOT NULL,
    nonce        bigint   NOT NULL CHECK (nonce BETWEEN 0 AND 4294967295),
    balance      numeric(39, 0) NOT NULL CHECK (balance >= 0 AND balance < 1329227995784915872903807060280344576), -- 2^120
    batch_number bigint   NOT NULL REFERENCES batches (number)
);
CREATE INDEX slots_by_key ON slots (key, token);
CREATE INDEX slots_by_owner ON slots (owner);

CREATE TABLE proof_jobs (
    batch_number     bigint      PRIMARY KEY REFERENCES batches (number),
    state            text        NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'leased', 'proven', 'parked')),
    fencing_token    bigint      NOT NULL DEFAULT 0 CHECK (fencing_token >= 0),
    worker           text        CHECK (worker <> ''),
    lease_expires_at timestamptz,
    available_at     timestamptz NOT NULL DEFAULT now(),
    created_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT lease_is_whole CHECK (
        CASE state WHEN 'leased' THEN num_nulls(worker, lease_expires_at) = 0 ELSE num_nulls(worker, lease_expires_at) = 2 END)
);
CREATE INDEX proof_jobs_open ON proof_jobs (batch_number) WHERE state IN ('queued', 'leased');

CREATE TABLE proof_attempts (
    batch_number  bigint      NOT NULL REFERENCES proof_jobs (batch_number),
    fencing_token bigint      NOT NULL CHECK (fencing_token >= 1),
    worker        text        NOT NULL CHECK (worker <> ''),
    started_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    outcome       text        CHECK (outcome IN ('proven', 'failed', 'expired', 'released')),
    reason        text,
    PRIMARY KEY (batch_number, fencing_token),
    CONSTRAINT ended_with_an_outcome CHECK (num_nulls(ended_at, outcome) IN (0, 2))
);

CREATE TABLE proofs (
    batch_number  bigint      PRIMARY KEY REFERENCES proof_jobs (batch_number),
    proof         bytea       NOT NULL CHECK (octet_length(proof) = 256),
    fencing_token bigint      NOT NULL,
    witness_ms    integer     NOT NULL CHECK (witness_ms >= 0),
    prove_ms      integer     NOT NULL CHECK (prove_ms >= 0),
    proven_at     timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (batch_number, fencing_token) REFERENCES proof_attempts (batch_number, fencing_token)
);

CREATE TABLE l1_transactions (
    id                       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind                     text        NOT NULL CHECK (kind IN ('deploy', 'commit', 'prove', 'commit_and_prove', 'settle', 'cancel')),
    batch_from               bigint      REFERENCES batches (number),
    batch_to                 bigint      REFERENCES batches (number),
    sender                   address     NOT NULL,
    nonce                    bigint      NOT NULL CHECK (nonce >= 0),
    hash                     word        NOT NULL UNIQUE,
    raw                      bytea       NOT NULL CHECK (octet_length(raw) > 0),
    gas_limit                bigint      NOT NULL CHECK (gas_limit > 0),
    max_fee_per_gas          wei         NOT NULL,
    max_priority_fee_per_gas wei         NOT NULL,
    calldata_bytes           integer     NOT NULL CHECK (calldata_bytes >= 0),
    calldata_gas             bigint      NOT NULL CHECK (calldata_gas >= 0),
    replaces                 bigint      REFERENCES l1_transactions (id),
    created_at               timestamptz NOT NULL DEFAULT now(),
    sent_at                  timestamptz,
    state                    text        NOT NULL DEFAULT 'signed' CHECK (state IN ('signed', 'sent', 'mined', 'failed', 'replaced', 'dropped')),
    block_number             bigint,
    block_hash               word,
    gas_used                 bigint      CHECK (gas_used > 0),
    effective_gas_price      wei,
    reason                   text,
    CONSTRAINT batch_range CHECK (num_nulls(batch_from, batch_to) IN (0, 2) AND batch_from <= batch_to),
    CONSTRAINT about_batches CHECK ((kind IN ('deploy', 'cancel')) = (batch_from IS NULL)),
    CONSTRAINT tip_within_fee CHECK (max_priority_fee_per_gas <= max_fee_per_gas),
    CONSTRAINT receipt_with_its_state CHECK (
        num_nulls(block_number, block_hash, gas_used, effective_gas_price) = CASE WHEN state IN ('mined', 'failed') THEN 0 ELSE 4 END)
);
CREATE UNIQUE INDEX l1_transactions_live_nonce ON l1_transactions (sender, nonce) WHERE state IN ('signed', 'sent', 'mined', 'failed');
CREATE INDEX l1_transactions_by_batch ON l1_transactions (batch_from, batch_to);
CREATE INDEX l1_transactions_pending ON l1_transactions (sender, nonce) WHERE state IN ('signed', 'sent');

CREATE TABLE l1_blocks (
    number      bigint      PRIMARY KEY CHECK (number >= 0),
    hash        word        NOT NULL UNIQUE,
    parent_hash word        NOT NULL,
    mined_at    timestamptz NOT NULL
);

CREATE TABLE l1_events (
    block_number bigint  NOT NULL REFERENCES l1_blocks (number) ON DELETE CASCADE,
    log_index    integer NOT NULL CHECK (log_index >= 0),
    tx_hash      word    NOT NULL,
    kind         text    NOT NULL CHECK (kind IN ('queued', 'token_listed', 'committed', 'proven', 'credited', 'claimed')),
    batch_number bigint  CHECK (batch_number >= 1),
    queue_index  bigint  CHECK (queue_index >= 1),
    payload      jsonb   NOT NULL CHECK (jsonb_typeof(payload) = 'object'),
    PRIMARY KEY (block_number, log_index),
    CONSTRAINT names_its_batch CHECK ((batch_number IS NOT NULL) = (kind IN ('committed', 'proven', 'credited'))),
    CONSTRAINT names_its_entry CHECK ((queue_index IS NOT NULL) = (kind = 'queued'))
);
CREATE UNIQUE INDEX l1_events_queue ON l1_events (queue_index) WHERE kind = 'queued';
CREATE UNIQUE INDEX l1_events_proven ON l1_events (batch_number) WHERE kind = 'proven';
CREATE INDEX l1_events_by_batch ON l1_events (batch_number, kind) WHERE batch_number IS NOT NULL;
CREATE INDEX l1_events_by_kind ON l1_events (kind, block_number, log_index);

CREATE TABLE audit_log (
    id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now(),
    actor  text        NOT NULL CHECK (actor <> ''),
    action text        NOT NULL CHECK (action <> ''),
    detail jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object')
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$;
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER accepted_is_for_ever BEFORE DELETE OR TRUNCATE ON transactions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Hints: a listener on channel `sheaf` learns which table changed and looks for itself. Nothing depends on a hint arriving.
CREATE FUNCTION hint() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN PERFORM pg_notify('sheaf', TG_TABLE_NAME); RETURN NULL; END $$;
CREATE TRIGGER hint AFTER INSERT OR UPDATE ON batches FOR EACH STATEMENT EXECUTE FUNCTION hint();
CREATE TRIGGER hint AFTER INSERT OR UPDATE ON proof_jobs FOR EACH STATEMENT EXECUTE FUNCTION hint();
CREATE TRIGGER hint AFTER INSERT ON proofs FOR EACH STATEMENT EXECUTE FUNCTION hint();
CREATE TRIGGER hint AFTER INSERT OR UPDATE ON l1_transactions FOR EACH STATEMENT EXECUTE FUNCTION hint();
CREATE TRIGGER hint AFTER INSERT OR DELETE ON l1_blocks FOR EACH STATEMENT EXECUTE FUNCTION hint();

-- Tokens: the native coin, then what L1 has listed.
CREATE VIEW tokens AS
    SELECT 1 AS id, NULL::bytea AS erc20, NULL::bigint AS listed_block
    UNION ALL
    SELECT (payload ->> 'token')::integer, decode(substr(payload ->> 'erc20', 3), 'hex'), block_number
    FROM l1_events WHERE kind = 'token_listed';

-- One row a batch with the state a user sees and the L1 facts behind it. A block at the head is 1 deep.
CREATE VIEW batch_status AS
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
        SELECT e.tx_hash, e.block_number, l.mined_at FROM l1_events e JOIN l1_blocks l ON l.number = e.block_number
        WHERE e.kind = 'committed' AND e.batch_number = b.number ORDER BY e.block_number DESC, e.log_index DESC LIMIT 1) c ON true
    LEFT JOIN LATERAL (
        SELECT e.tx_hash, e.block_number, l.mined_at FROM l1_events e JOIN l1_blocks l ON l.number = e.block_number
        WHERE e.kind = 'proven' AND e.batch_number = b.number) v ON true
    LEFT JOIN LATERAL (
        SELECT l.mined_at FROM l1_blocks l WHERE l.number >= v.block_number + d.finality_depth - 1 ORDER BY l.number LIMIT 1) f ON true;

-- One row a transaction: its batch's state, or `accepted`.
CREATE VIEW transaction_status AS
    SELECT t.hash, t.seq, t.op_tag, t.from_slot, t.to_slot, t.nonce, t.record, t.accepted_at, t.batch_number,
           coalesce(s.state, 'accepted') AS state, s.sealed_at, s.computed_at,
           s.commit_tx, s.commit_block, s.committed_at, s.prove_tx, s.prove_block, s.proven_at, s.final_at
    FROM transactions t LEFT JOIN batch_status s ON s.number = t.batch_number;
