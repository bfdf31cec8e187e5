-- How a transaction of the ledger ends.

-- name: commit
-- Without a time limit: a COMMIT that runs into one while it waits for a standby is acknowledged all the same, with
-- a warning. The timeout of a string of statements starts anew with each.
SET LOCAL statement_timeout = 0;
COMMIT
