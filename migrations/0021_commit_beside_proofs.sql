-- One transaction commits a batch beside the proofs of earlier ones: `batch_from` to `batch_to` are proven, `commits` is committed, and `commit_gas` is what
-- that commit alone was to cost, which is its share.
ALTER TABLE l1_transactions ADD COLUMN commits bigint REFERENCES batches (number), ADD COLUMN commit_gas bigint CHECK (commit_gas > 0),
    ADD CONSTRAINT commits_beside_proofs CHECK (num_nulls(commits, commit_gas) = CASE kind WHEN 'commit_and_prove' THEN 0 ELSE 2 END);
CREATE INDEX l1_transactions_committing ON l1_transactions (commits) WHERE commits IS NOT NULL;
