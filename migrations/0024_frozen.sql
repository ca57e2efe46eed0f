-- The contract's end: after it no batch is committed or proven any more, so nothing more is accepted.
ALTER TABLE l1_events DROP CONSTRAINT l1_events_kind_check;
ALTER TABLE l1_events ADD CONSTRAINT l1_events_kind_check
    CHECK (kind IN ('queued', 'token_listed', 'committed', 'reverted', 'proven', 'credited', 'refunded', 'claimed', 'frozen'));
