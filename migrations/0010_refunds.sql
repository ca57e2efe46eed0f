-- Settlement sends refunds of proven batches itself, and follows them.
ALTER TABLE l1_transactions DROP CONSTRAINT l1_transactions_kind_check;
ALTER TABLE l1_transactions ADD CONSTRAINT l1_transactions_kind_check
    CHECK (kind IN ('deploy', 'commit', 'prove', 'commit_and_prove', 'settle', 'refund', 'cancel'));
ALTER TABLE l1_events DROP CONSTRAINT l1_events_kind_check;
ALTER TABLE l1_events ADD CONSTRAINT l1_events_kind_check
    CHECK (kind IN ('queued', 'token_listed', 'committed', 'proven', 'credited', 'refunded', 'claimed'));
ALTER TABLE l1_events DROP CONSTRAINT names_its_entry;
ALTER TABLE l1_events ADD CONSTRAINT names_its_entry CHECK ((queue_index IS NOT NULL) = (kind IN ('queued', 'refunded')));
CREATE UNIQUE INDEX l1_events_refunded ON l1_events (queue_index) WHERE kind = 'refunded';
CREATE INDEX queue_taken_refunds ON queue_taken (batch_number, queue_index) WHERE slot IS NULL AND entry ->> 'kind' = 'deposit';
-- Watchers followed no refunds until now: whatever they have followed is read again.
DELETE FROM l1_blocks;

-- What a batch cost is read off the receipts of the transactions about it, a proof call being about several.
CREATE INDEX l1_transactions_about ON l1_transactions USING gist (int8range(batch_from, batch_to, '[]')) WHERE state IN ('mined', 'failed');
