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
