-- Putting sales and items up.

-- name: insert_sale
-- Once: whoever comes second waits for the first, and gets no row. Opens at once when no time ($2) is given.
INSERT INTO sales (
    sale_id, open_at, close_at, per_customer_limit, hold_time, max_hold_time, created_at, updated_at, schedule_id,
    salt, limits_customers
)
VALUES (
    $1, coalesce($2, statement_timestamp()), $3, $4, $5, $6, statement_timestamp(), statement_timestamp(), $7, $8, $9
)
ON CONFLICT DO NOTHING
RETURNING {sale}

-- name: insert_items
-- Empty shelves, in a locked sale; their stock comes as movements. Returns those that were not there. From the first
-- item with a limit for each customer on, their use is counted.
WITH sale AS (
    UPDATE sales
    SET revision = revision + 1, limits_customers = limits_customers OR 0 < ANY ($3::integer[])
    WHERE sale_id = $1
)

INSERT INTO items (sale_id, item_id, on_hand, held, sold, per_customer_limit, version)
SELECT $1, item_id, 0, 0, 0, per_customer_limit, 0
FROM unnest($2::text[], $3::integer[]) AS new (item_id, per_customer_limit)
ON CONFLICT DO NOTHING
RETURNING item_id

-- name: has_sale
-- Tells an empty list from a list of nothing.
SELECT EXISTS (SELECT FROM sales WHERE sale_id = $1)

-- name: database_now
-- The clock that decides.
SELECT clock_timestamp()
