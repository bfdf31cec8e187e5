-- Schedules, and the sales that they open.

-- name: insert_schedule
-- Once: whoever comes second gets no row.
INSERT INTO schedules (
    schedule_id, period, open_duration, per_customer_limit, hold_time, max_hold_time, item_ids, on_hands,
    item_per_customer_limits, source_sale_id, remainder, created_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, clock_timestamp())
ON CONFLICT DO NOTHING
RETURNING
    schedule_id, period, open_duration, per_customer_limit, hold_time, max_hold_time, item_ids, on_hands,
    item_per_customer_limits, source_sale_id, remainder, created_at

-- name: get_schedule
-- One schedule.
SELECT
    schedule_id, period, open_duration, per_customer_limit, hold_time, max_hold_time, item_ids, on_hands,
    item_per_customer_limits, source_sale_id, remainder, created_at
FROM schedules
WHERE schedule_id = $1

-- name: list_schedules
-- Schedules behind an id.
SELECT
    schedule_id, period, open_duration, per_customer_limit, hold_time, max_hold_time, item_ids, on_hands,
    item_per_customer_limits, source_sale_id, remainder, created_at
FROM schedules
WHERE schedule_id > $1
ORDER BY schedule_id
LIMIT $2

-- name: delete_schedule
-- Its sales stay.
DELETE FROM schedules
WHERE schedule_id = $1
RETURNING schedule_id

-- name: keep_schedule
-- Keeps the schedule from being deleted while it opens a sale.
SELECT true
FROM schedules
WHERE schedule_id = $1
FOR KEY SHARE

-- name: remaining_items
-- What is left on the shelves of a sale, which must be locked.
SELECT item_id, on_hand, held, sold, per_customer_limit, version
FROM items
WHERE sale_id = $1 AND on_hand > 0
ORDER BY item_id

-- name: occurrences_to_settle
-- Sales of the schedule that are over, hold nothing and have units left; the oldest first.
SELECT sales.sale_id
FROM sales
WHERE
    sales.schedule_id = $1 AND (sales.close_at <= clock_timestamp() OR sales.cancelled_at IS NOT NULL)
    AND EXISTS (SELECT FROM items WHERE items.sale_id = sales.sale_id AND items.on_hand > 0)
    AND NOT EXISTS (SELECT FROM items WHERE items.sale_id = sales.sale_id AND items.held > 0)
ORDER BY sales.open_at
LIMIT $2

-- name: next_occurrence
-- The sale that the units of an earlier one ($2) move to: the first behind it that is not over itself.
SELECT later.sale_id
FROM sales AS later
WHERE
    later.schedule_id = $1 AND later.cancelled_at IS NULL AND later.close_at > clock_timestamp()
    AND later.open_at > (SELECT sales.open_at FROM sales WHERE sales.sale_id = $2)
ORDER BY later.open_at
LIMIT 1
