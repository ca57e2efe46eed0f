-- The operator's transactions that a reorg may still drop: looked for at every new head.
CREATE INDEX l1_transactions_mined ON l1_transactions (sender, block_number) WHERE state IN ('mined', 'failed');
