-- Nobody listens for these two tables, and a hint is not free: from NOTIFY to the end of its commit a transaction holds a lock that every other one
-- with a hint waits for, the wait for the disk included. Claims and heartbeats would commit one by one.
DROP TRIGGER hint ON proof_jobs;
DROP TRIGGER hint ON l1_transactions;
