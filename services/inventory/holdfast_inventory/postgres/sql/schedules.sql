-- Schedules, and the sales that they open.

-- name: insert_schedule
-- No row if it exists already.
INSERT INTO sale_schedules ({schedule})
VALUES (
    :schedule_id, :period, :open_duration, :per_customer_limit, :hold_time, :max_hold_time, :item_ids, :on_hands,
    :item_per_customer_limits, :source_sale_id, :remainder, :shop_confirms, :admission_required, :early_access, :cron,
    :time_zone, :excluded_dates, :opening_offset, :start_at, :end_at, :lead_time, :paused,
    clock_timestamp(), clock_timestamp(), 0
)
ON CONFLICT DO NOTHING
RETURNING {schedule}

-- name: lock_schedule
-- One schedule, for a change. The schedulers that open its sales at this moment come first.
SELECT {schedule}
FROM sale_schedules
WHERE schedule_id = $1
FOR NO KEY UPDATE

-- name: update_schedule
-- All that can change in a locked schedule.
UPDATE sale_schedules
SET
    period = :period,
    open_duration = :open_duration,
    per_customer_limit = :per_customer_limit,
    hold_time = :hold_time,
    max_hold_time = :max_hold_time,
    item_ids = :item_ids,
    on_hands = :on_hands,
    item_per_customer_limits = :item_per_customer_limits,
    source_sale_id = :source_sale_id,
    remainder = :remainder,
    shop_confirms = :shop_confirms,
    admission_required = :admission_required,
    early_access = :early_access,
    cron = :cron,
    time_zone = :time_zone,
    excluded_dates = :excluded_dates,
    opening_offset = :opening_offset,
    start_at = :start_at,
    end_at = :end_at,
    lead_time = :lead_time,
    paused = :paused,
    updated_at = clock_timestamp(),
    revision = revision + 1
WHERE schedule_id = :schedule_id
RETURNING {schedule}

-- name: get_schedule
-- One schedule.
SELECT {schedule}
FROM sale_schedules
WHERE schedule_id = $1

-- name: list_schedules
-- Schedules after an id.
SELECT {schedule}
FROM sale_schedules
WHERE schedule_id > $1
ORDER BY schedule_id
LIMIT $2

-- name: delete_schedule
-- Its sales stay.
DELETE FROM sale_schedules
WHERE schedule_id = $1
RETURNING schedule_id

-- name: keep_schedule
-- No row if the schedule is not as it was read. Prevents it from being changed or deleted while it opens a sale.
SELECT true
FROM sale_schedules
WHERE schedule_id = $1 AND created_at = $2 AND revision = $3
FOR SHARE

-- name: remaining_items
-- The items of a sale with units left. The sale must be locked.
SELECT {item}
FROM items
WHERE sale_id = $1 AND on_hand > 0
ORDER BY item_id

-- name: occurrences_to_settle
-- Sales of the schedule that are over, hold nothing and have units left, the oldest first; and the opening before which
-- to continue next time. It reads the newest $3 sales, where nearly all of these are, and $3 older ones that opened
-- before $2: repeated calls reach all sales, and every call has the same cost. For units that come back to an old sale
-- this is early enough. Items are summed up per sale, because otherwise the planner would read the items of all sales.
WITH newest AS (
    SELECT sale_id, open_at, close_at, cancelled_at
    FROM sales
    WHERE schedule_id = $1 AND deleted_at IS NULL
    ORDER BY open_at DESC
    LIMIT $3
),

older AS (
    SELECT sale_id, open_at, close_at, cancelled_at
    FROM sales
    WHERE schedule_id = $1 AND deleted_at IS NULL AND open_at < least($2, (SELECT min(newest.open_at) FROM newest))
    ORDER BY open_at DESC
    LIMIT $3
)

SELECT
    array(
        SELECT seen.sale_id
        FROM (SELECT * FROM newest UNION ALL SELECT * FROM older) AS seen
        CROSS JOIN LATERAL (
            SELECT sum(on_hand) AS on_hand, sum(held) AS held
            FROM items
            WHERE items.sale_id = seen.sale_id
        ) AS stock
        WHERE
            (seen.close_at <= clock_timestamp() OR seen.cancelled_at IS NOT NULL)
            AND stock.on_hand > 0 AND stock.held = 0
        ORDER BY seen.open_at
    ) AS sale_ids,
    (SELECT min(older.open_at) FROM older) AS looked_back_to

-- name: next_occurrence
-- The sale to which the units of an earlier one ($2) move: the first one after it that is not over.
SELECT later.sale_id
FROM sales AS later
WHERE
    later.schedule_id = $1 AND later.cancelled_at IS NULL AND later.close_at > clock_timestamp()
    AND later.open_at > (SELECT sales.open_at FROM sales WHERE sales.sale_id = $2)
ORDER BY later.open_at
LIMIT 1
