-- Changes of sales and schedules.

-- name: insert_change
-- The resource's row must be locked: then no other transaction takes the same number.
INSERT INTO changes (resource, number, kind, actor, request_id, fields, old_values, new_values, created_at)
SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6, $7, statement_timestamp()
FROM changes
WHERE resource = $1

-- name: list_changes
-- A page of a resource's changes.
SELECT number, kind, actor, request_id, fields, old_values, new_values, created_at
FROM changes
WHERE resource = $1 AND number > $2
ORDER BY number
LIMIT $3

-- name: fingerprint_of_change
-- The fingerprint of the request that made a change, an adjustment, a transfer or a return, if one with this id did.
SELECT fingerprint
FROM stock_changes
WHERE change_id = $1 AND sale_id = $2

-- name: remember_change
-- In a locked sale. Batches read these ids, so the sale's revision counts it.
WITH sale AS (
    UPDATE sales
    SET revision = revision + 1
    WHERE sale_id = $2
)

INSERT INTO stock_changes (change_id, sale_id, fingerprint, created_at)
VALUES ($1, $2, $3, statement_timestamp())
