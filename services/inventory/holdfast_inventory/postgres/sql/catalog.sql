-- Sales and items off the hot path: creating, changing and reading them.

-- name: get_sale
-- A sale, and the time from which its state is derived.
SELECT {sale}, statement_timestamp() AS now
FROM sales
WHERE sale_id = $1 AND deleted_at IS NULL

-- name: list_sales
-- A stretch of all sales behind one ($1), the newest first. A sale's age never changes, so a sale that is created
-- meanwhile is before the first page and moves no other. The collation is the index's. Sales' states are not told here:
-- only the domain derives them.
SELECT {sale}, statement_timestamp() AS now
FROM sales
WHERE
    deleted_at IS NULL
    AND (created_at, sale_id COLLATE "C") < (coalesce((SELECT created_at FROM sales WHERE sale_id = $1), 'infinity'), $1)
ORDER BY created_at DESC, sale_id COLLATE "C" DESC
LIMIT $2

-- name: list_sales_of_schedule
-- The same of one schedule ($3).
SELECT {sale}, statement_timestamp() AS now
FROM sales
WHERE
    schedule_id = $3 AND deleted_at IS NULL
    AND (created_at, sale_id COLLATE "C") < (coalesce((SELECT created_at FROM sales WHERE sale_id = $1), 'infinity'), $1)
ORDER BY created_at DESC, sale_id COLLATE "C" DESC
LIMIT $2

-- name: store_rules
-- The rules that were decided under the sale's lock.
UPDATE sales
SET
    open_at = $2,
    close_at = $3,
    per_customer_limit = $4,
    hold_time = $5,
    max_hold_time = $6,
    paused = $7,
    cancelled_at = $8,
    shop_confirms = $9,
    admission_required = $10,
    early_access = $11,
    display_name = $12,
    labels = $13,
    updated_at = statement_timestamp(),
    revision = revision + 1,
    limits_customers = $4 > 0 OR EXISTS (
        SELECT FROM items WHERE items.sale_id = $1 AND items.per_customer_limit > 0
    )
WHERE sale_id = $1
RETURNING {sale}, statement_timestamp() AS now

-- name: is_in_use
-- Whether anything but adjustments (5) was ever made in a sale, or a schedule takes units from it.
SELECT
    EXISTS (SELECT FROM ledger WHERE sale_id = $1 AND NOT kinds <@ ARRAY[5]::smallint[])
    OR EXISTS (SELECT FROM schedules WHERE source_sale_id = $1)

-- name: delete_sale
-- The row stays, so that the id is not used again: replicas, watches and webhooks remember sales by it. To the release
-- before, which does not know of deleted sales, it is cancelled.
UPDATE sales
SET
    deleted_at = statement_timestamp(),
    cancelled_at = coalesce(cancelled_at, statement_timestamp()),
    revision = revision + 1
WHERE sale_id = $1

-- name: get_item
-- One stock level.
SELECT {item}
FROM items
WHERE
    sale_id = $1 AND item_id = $2
    AND EXISTS (SELECT FROM sales WHERE sales.sale_id = $1 AND deleted_at IS NULL)

-- name: get_items
-- Some stock levels ($2), in that order.
SELECT {item}
FROM unnest($2::text[]) WITH ORDINALITY AS wanted (id, place)
CROSS JOIN LATERAL (
    SELECT {item}
    FROM items
    WHERE sale_id = $1 AND item_id = wanted.id
    LIMIT 1
) AS known
ORDER BY wanted.place

-- name: list_items
-- A sale's stock levels after an item.
SELECT {item}
FROM items
WHERE
    sale_id = $1 AND item_id > $2
    AND EXISTS (SELECT FROM sales WHERE sales.sale_id = $1 AND deleted_at IS NULL)
ORDER BY item_id
LIMIT $3

-- name: snapshot
-- One statement, so that levels and sequence belong together. At least one row if the sale exists.
SELECT
    sales.sequence, {items.item}
FROM sales
LEFT JOIN items ON items.sale_id = sales.sale_id
WHERE sales.sale_id = $1 AND sales.deleted_at IS NULL
ORDER BY items.item_id

-- name: sales_to_sweep
-- Sales with due holds, or cancelled sales with open holds; the oldest hold first. It steps through the index of open
-- holds with one probe per sale, so sales without open holds cost nothing.
WITH RECURSIVE holding AS (
    (
        SELECT sale_id, expires_at
        FROM reservations
        WHERE state = 1
        ORDER BY sale_id, expires_at
        LIMIT 1
    )
    UNION ALL
    SELECT following.sale_id, following.expires_at
    FROM holding
    CROSS JOIN LATERAL (
        SELECT sale_id, expires_at
        FROM reservations
        WHERE state = 1 AND sale_id > holding.sale_id
        ORDER BY sale_id, expires_at
        LIMIT 1
    ) AS following
)

SELECT holding.sale_id, clock_timestamp() - holding.expires_at AS due_for
FROM holding
CROSS JOIN LATERAL (
    SELECT cancelled_at
    FROM sales
    WHERE sales.sale_id = holding.sale_id
) AS sale
WHERE holding.expires_at <= clock_timestamp() OR sale.cancelled_at IS NOT NULL
ORDER BY holding.expires_at
LIMIT $1
