-- Schedules, and the sales that they open.

-- name: insert_schedule
-- Once: whoever comes second gets no row.
INSERT INTO schedules ({schedule})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, clock_timestamp())
ON CONFLICT DO NOTHING
RETURNING {schedule}

-- name: get_schedule
-- One schedule.
SELECT {schedule}
FROM schedules
WHERE schedule_id = $1

-- name: list_schedules
-- Schedules behind an id.
SELECT {schedule}
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
SELECT {item}
FROM items
WHERE sale_id = $1 AND on_hand > 0
ORDER BY item_id

-- name: occurrences_to_settle
-- Sales of the schedule that are over, hold nothing and have units left, the oldest first; and before which opening to
-- look next time. Looks at the newest $3 sales, where nearly all of these are, and at $3 of those before that opened
-- before $2: whoever goes on like that gets to all of them, and no look costs more than another. Where a unit comes back
-- to a sale long past, that is early enough. Shelves are summed up, for the planner would read all that there are, of
-- all sales, rather than look for units sale by sale.
WITH newest AS (
    SELECT sale_id, open_at, close_at, cancelled_at
    FROM sales
    WHERE schedule_id = $1
    ORDER BY open_at DESC
    LIMIT $3
),

older AS (
    SELECT sale_id, open_at, close_at, cancelled_at
    FROM sales
    WHERE schedule_id = $1 AND open_at < least($2, (SELECT min(newest.open_at) FROM newest))
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
        ) AS shelves
        WHERE
            (seen.close_at <= clock_timestamp() OR seen.cancelled_at IS NOT NULL)
            AND shelves.on_hand > 0 AND shelves.held = 0
        ORDER BY seen.open_at
    ) AS sale_ids,
    (SELECT min(older.open_at) FROM older) AS looked_back_to

-- name: next_occurrence
-- The sale that the units of an earlier one ($2) move to: the first behind it that is not over itself.
SELECT later.sale_id
FROM sales AS later
WHERE
    later.schedule_id = $1 AND later.cancelled_at IS NULL AND later.close_at > clock_timestamp()
    AND later.open_at > (SELECT sales.open_at FROM sales WHERE sales.sale_id = $2)
ORDER BY later.open_at
LIMIT 1
