-- Not in a transaction: sales continue while the index is built.
DROP INDEX CONCURRENTLY IF EXISTS ledger_created_idx;
DROP INDEX CONCURRENTLY IF EXISTS reservations_order_idx;
DROP INDEX CONCURRENTLY IF EXISTS reservations_customer_idx;
CREATE INDEX CONCURRENTLY reservations_customer_idx ON reservations (customer, sale_id COLLATE "C");
DROP INDEX CONCURRENTLY IF EXISTS reservations_customer_created_idx;
