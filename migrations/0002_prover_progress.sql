-- What an operator wants to know about a lease while it runs, and why it ended.
ALTER TABLE proof_attempts
    ADD COLUMN phase        text,
    ADD COLUMN heartbeat_at timestamptz,
    ADD COLUMN detail       text CHECK (octet_length(detail) <= 1000);

-- The queue is looked at several times a second; history must not make that slower.
CREATE INDEX proof_jobs_unproven ON proof_jobs (batch_number) WHERE state <> 'proven';
