-- A parked job that a person sends back to work starts anew: attempts up to this fencing token no longer speak against it.
ALTER TABLE proof_jobs ADD COLUMN forgiven bigint NOT NULL DEFAULT 0;
ALTER TABLE proof_jobs ADD CONSTRAINT forgiven_attempts_exist CHECK (forgiven BETWEEN 0 AND fencing_token);
