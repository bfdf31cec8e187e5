-- Reports of sales. They are summed in stretches: the movements after $2, up to $3, which are read by the ledger's key.
-- Units are summed for each batch first: within a batch they are few, so only its sums have to be sorted.

-- name: report_sale
-- The sale's last movement, and the clock.
SELECT sequence, open_at, clock_timestamp() AS now
FROM sales
WHERE sale_id = $1 AND deleted_at IS NULL

-- name: report_checkpoint
-- The sums that an earlier report has stored.
SELECT sums
FROM report_checkpoints
WHERE sale_id = $1 AND format = $2

-- name: store_report_checkpoint
-- Store sums, unless those of more movements are stored.
INSERT INTO report_checkpoints (sale_id, sequence, format, sums)
VALUES ($1, $2, $3, $4)
ON CONFLICT ON CONSTRAINT report_checkpoints_pkey DO UPDATE
SET sequence = excluded.sequence, format = excluded.format, sums = excluded.sums
WHERE report_checkpoints.format <> excluded.format OR report_checkpoints.sequence < excluded.sequence

-- name: report_stretches
-- The ends of the stretches after $2 with about $3 movements each, and the last time in each. All times before an end
-- are at most that, and all times after it later, even if the clock went back: a stretch is longer where that is not so.
-- $4: the last time up to $2.
SELECT DISTINCT ON (stretch)
    batch.last_sequence,
    batch.reached_at,
    (batch.last_sequence - $2 - 1) / $3 AS stretch
FROM (
    SELECT
        last_sequence,
        greatest(max(created_at) OVER (ORDER BY last_sequence), $4::timestamptz) AS reached_at,
        min(created_at) OVER (
            ORDER BY last_sequence DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS next_at
    FROM ledger
    WHERE sale_id = $1 AND last_sequence > $2
) AS batch
WHERE batch.next_at IS NULL OR batch.reached_at < batch.next_at
ORDER BY stretch, batch.last_sequence DESC

-- name: report_items
-- The sums of each item, and the movement with which customers took its last available unit for the first time. $4 and
-- $5: the items, and their available units after $2.
SELECT
    batch.item_id,
    sum(batch.reserved)::bigint AS reserved,
    sum(batch.confirmed)::bigint AS confirmed,
    sum(batch.released)::bigint AS released,
    sum(batch.expired)::bigint AS expired,
    sum(batch.returned)::bigint AS returned,
    sum(batch.held)::bigint AS held,
    sum(batch.available)::bigint AS available,
    min(batch.last_sequence) FILTER (
        WHERE batch.reserved > 0 AND batch.running_available + coalesce(earlier.available, 0) = 0
    ) AS sell_out_sequence
FROM (
    SELECT
        sums.*,
        ledger.last_sequence,
        sum(sums.available) OVER (PARTITION BY sums.item_id ORDER BY ledger.last_sequence) AS running_available
    FROM ledger
    CROSS JOIN LATERAL (
        SELECT
            movement.item_id,
            sum(
                CASE movement.kind
                    WHEN 1 THEN movement.held_delta
                    WHEN 2 THEN movement.sold_delta + movement.held_delta
                    ELSE 0
                END
            ) AS reserved,
            sum(CASE movement.kind WHEN 2 THEN movement.sold_delta ELSE 0 END) AS confirmed,
            sum(CASE movement.kind WHEN 3 THEN -movement.held_delta ELSE 0 END) AS released,
            sum(CASE movement.kind WHEN 4 THEN -movement.held_delta ELSE 0 END) AS expired,
            sum(CASE movement.kind WHEN 7 THEN -movement.sold_delta ELSE 0 END) AS returned,
            sum(movement.held_delta) AS held,
            sum(movement.on_hand_delta - movement.held_delta) AS available
        FROM unnest(
            ledger.kinds, ledger.item_ids, ledger.on_hand_deltas, ledger.held_deltas, ledger.sold_deltas
        ) AS movement (kind, item_id, on_hand_delta, held_delta, sold_delta)
        GROUP BY movement.item_id
    ) AS sums
    WHERE ledger.sale_id = $1 AND ledger.last_sequence > $2 AND ledger.last_sequence <= $3
) AS batch
LEFT JOIN unnest($4::text[], $5::bigint[]) AS earlier (item_id, available) ON earlier.item_id = batch.item_id
GROUP BY batch.item_id
ORDER BY batch.item_id

-- name: report_times
-- The times of the batches that end with these movements.
SELECT batch.created_at
FROM unnest($2::bigint[]) WITH ORDINALITY AS wanted (last_sequence, place)
CROSS JOIN LATERAL (
    SELECT ledger.created_at
    FROM ledger
    WHERE ledger.sale_id = $1 AND ledger.last_sequence = wanted.last_sequence
    LIMIT 1
) AS batch
ORDER BY wanted.place

-- name: report_curve
-- The units that were reserved and confirmed in each interval that has any. The interval is the shortest of $4 with which
-- there are at most $5 from the first to the last.
WITH batch AS MATERIALIZED (
    SELECT ledger.created_at, sums.reserved, sums.confirmed
    FROM ledger
    CROSS JOIN LATERAL (
        SELECT
            sum(
                CASE movement.kind
                    WHEN 1 THEN movement.held_delta
                    ELSE movement.sold_delta + movement.held_delta
                END
            ) AS reserved,
            sum(CASE movement.kind WHEN 2 THEN movement.sold_delta ELSE 0 END) AS confirmed
        FROM unnest(ledger.kinds, ledger.held_deltas, ledger.sold_deltas)
            AS movement (kind, held_delta, sold_delta)
        WHERE movement.kind IN (1, 2)
    ) AS sums
    WHERE
        ledger.sale_id = $1 AND ledger.last_sequence > $2 AND ledger.last_sequence <= $3
        AND sums.reserved IS NOT NULL
),

chosen AS (
    SELECT min(width) AS width
    FROM unnest($4::interval[]) AS width
    CROSS JOIN (SELECT min(created_at) AS first_at, max(created_at) AS last_at FROM batch) AS span
    WHERE date_bin(width, span.last_at, 'epoch') < date_bin(width, span.first_at, 'epoch') + $5 * width
)

SELECT
    chosen.width,
    date_bin(chosen.width, batch.created_at, 'epoch') AS start_at,
    sum(batch.reserved)::bigint AS reserved,
    sum(batch.confirmed)::bigint AS confirmed
FROM batch
CROSS JOIN chosen
GROUP BY 1, 2
ORDER BY 2

-- name: report_customers
-- The customers whose first confirmation is in the stretch. Until its last time ($4) they have no other confirmed
-- reservation than those of the stretch. The collation is that of the index.
SELECT count(*) AS customers
FROM (
    SELECT reservation.customer, count(*) AS confirmed
    FROM ledger
    CROSS JOIN LATERAL (
        SELECT DISTINCT movement.reservation_id
        FROM unnest(ledger.kinds, ledger.reservation_ids) AS movement (kind, reservation_id)
        WHERE movement.kind = 2
    ) AS sold
    CROSS JOIN LATERAL (
        SELECT reservations.customer
        FROM reservations
        WHERE reservations.reservation_id = sold.reservation_id AND reservations.sale_id = $1
        LIMIT 1
    ) AS reservation
    WHERE ledger.sale_id = $1 AND ledger.last_sequence > $2 AND ledger.last_sequence <= $3
    GROUP BY reservation.customer
) AS buyer
WHERE
    buyer.confirmed = (
        SELECT count(*)
        FROM reservations
        WHERE
            reservations.customer = buyer.customer AND reservations.sale_id COLLATE "C" = $1
            AND reservations.state = 2 AND reservations.ended_at <= $4
    )

-- name: report_refusals
-- How many creates were refused, by reason.
SELECT reason, sum(refusals)::bigint AS refusals
FROM refusal_counts
WHERE sale_id = $1
GROUP BY reason
ORDER BY 2 DESC, 1

-- name: report_refusal_curve
-- How many creates were refused in each interval that has any. The interval is chosen as for the curve. The first and the
-- last minute are not looked up by the index on minutes, which has those of all sales.
WITH counted AS MATERIALIZED (
    SELECT minute, sum(refusals) AS refusals
    FROM refusal_counts
    WHERE sale_id = $1
    GROUP BY minute
),

chosen AS (
    SELECT min(width) AS width
    FROM unnest($2::interval[]) AS width
    CROSS JOIN (SELECT min(minute) AS first_at, max(minute) AS last_at FROM counted) AS span
    WHERE date_bin(width, span.last_at, 'epoch') < date_bin(width, span.first_at, 'epoch') + $3 * width
)

SELECT
    chosen.width,
    date_bin(chosen.width, counted.minute, 'epoch') AS start_at,
    sum(counted.refusals)::bigint AS refusals
FROM counted
CROSS JOIN chosen
GROUP BY 1, 2
ORDER BY 2
