-- The fleet as it is seen and steered: who works, how far a proof is, and what operators did about it.
CREATE TABLE prover_workers (
    name        text        PRIMARY KEY CHECK (name <> ''),
    memory_mb   bigint      NOT NULL CHECK (memory_mb > 0),
    circuits    integer[]   NOT NULL,
    first_seen  timestamptz NOT NULL DEFAULT now(),
    last_seen   timestamptz NOT NULL DEFAULT now(),
    drain_since timestamptz
);

ALTER TABLE proof_attempts ADD COLUMN percent smallint CHECK (percent BETWEEN 0 AND 100);
ALTER TABLE proof_attempts DROP CONSTRAINT proof_attempts_outcome_check;
ALTER TABLE proof_attempts ADD CONSTRAINT proof_attempts_outcome_check
    CHECK (outcome IN ('proven', 'failed', 'expired', 'released', 'cancelled'));
CREATE INDEX proof_attempts_faults ON proof_attempts (ended_at) WHERE outcome IN ('failed', 'expired', 'cancelled');

-- What operators did about a batch, and about the fleet.
CREATE INDEX audit_log_by_batch ON audit_log ((detail ->> 'batch'), id) WHERE action LIKE 'prover.%';
CREATE INDEX audit_log_of_provers ON audit_log (id) WHERE action LIKE 'prover.%';
