-- Not in a transaction: sales continue while the indexes are built.
-- Lists of reservations, the newest first. What these indexes have never changes once it is written.
-- An attempt that was cut off leaves an index that is not valid: it is dropped first.
DROP INDEX CONCURRENTLY IF EXISTS reservations_customer_created_idx;
-- In the place of reservations_customer_idx, which it contains, so that a reservation costs no more entries. As there,
-- sale_id has another collation than its column.
CREATE INDEX CONCURRENTLY reservations_customer_created_idx
ON reservations (customer, sale_id COLLATE "C", created_at);
DROP INDEX CONCURRENTLY IF EXISTS reservations_customer_idx;
DROP INDEX CONCURRENTLY IF EXISTS reservations_order_idx;
-- Only what was sold has an order.
CREATE INDEX CONCURRENTLY reservations_order_idx ON reservations (order_id, created_at) WHERE order_id <> '';
DROP INDEX CONCURRENTLY IF EXISTS ledger_created_idx;
-- One entry for each batch, always at the right end.
CREATE INDEX CONCURRENTLY ledger_created_idx ON ledger (created_at);
