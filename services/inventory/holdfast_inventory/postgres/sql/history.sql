-- The history: reservations, movements, and their verification.

-- name: get_reservation
-- One reservation.
SELECT {reservation}
FROM reservations
WHERE reservation_id = $1 AND sale_id = $2

-- name: list_movements
-- Movements after $2, in sequence. Each batch has at least one, so as many batches as movements are enough.
SELECT
    batches.first_sequence + movement.ordinal - 1 AS sequence,
    movement.kind,
    movement.item_id,
    movement.on_hand_delta,
    movement.held_delta,
    movement.sold_delta,
    movement.reservation_id,
    movement.reason,
    movement.actor,
    batches.created_at
FROM (
    SELECT *
    FROM ledger
    WHERE ledger.sale_id = $1 AND ledger.last_sequence > $2
    ORDER BY ledger.last_sequence
    LIMIT $3
) AS batches
CROSS JOIN LATERAL unnest(
    batches.kinds, batches.item_ids, batches.on_hand_deltas, batches.held_deltas, batches.sold_deltas,
    batches.reservation_ids, batches.reasons, batches.actors
) WITH ORDINALITY AS movement (
    kind, item_id, on_hand_delta, held_delta, sold_delta, reservation_id, reason, actor, ordinal
)
WHERE batches.first_sequence + movement.ordinal - 1 > $2
ORDER BY batches.last_sequence, movement.ordinal
LIMIT $3

-- name: settle
-- Wait until everything that was read on this connection is durable. A commit becomes visible only when the standby has
-- it, unless this wait was interrupted: its backend was terminated, or the primary recovered from a crash. A failover
-- may still undo such a commit. So commit a small record after it, and wait for that. Without a synchronous standby,
-- everything that is visible is on disk, and there is nothing to do. See ADR 5.
BEGIN;
SET LOCAL statement_timeout = 0;
SELECT pg_logical_emit_message(true, 'holdfast', '')
WHERE current_setting('synchronous_standby_names') <> '';
COMMIT

-- name: set_statement_timeout
-- For this transaction only: reading a whole ledger takes longer than other reads may.
SELECT set_config('statement_timeout', $1, true)

-- name: verify_levels
-- The items whose levels are not the sums of their movements, or whose held units are not those of open reservations.
-- Stored and summed values are combined by UNION ALL and added up in one pass, so that either side may be missing.
SELECT
    item_id,
    sum(on_hand) AS on_hand,
    sum(held) AS held,
    sum(sold) AS sold,
    sum(on_hand_delta) AS on_hand_summed,
    sum(held_delta) AS held_summed,
    sum(sold_delta) AS sold_summed,
    sum(open_units) AS open_units
FROM (
    SELECT
        item_id, on_hand, held, sold, 0 AS on_hand_delta, 0 AS held_delta, 0 AS sold_delta, 0 AS open_units
    FROM items
    WHERE sale_id = $1
    UNION ALL
    SELECT movement.item_id, 0, 0, 0, movement.on_hand_delta, movement.held_delta, movement.sold_delta, 0
    FROM ledger
    CROSS JOIN LATERAL unnest(ledger.item_ids, ledger.on_hand_deltas, ledger.held_deltas, ledger.sold_deltas)
        AS movement (item_id, on_hand_delta, held_delta, sold_delta)
    WHERE ledger.sale_id = $1
    UNION ALL
    SELECT line.item_id, 0, 0, 0, 0, 0, 0, line.quantity
    FROM reservations
    CROSS JOIN LATERAL unnest(reservations.item_ids, reservations.quantities) AS line (item_id, quantity)
    WHERE reservations.sale_id = $1 AND reservations.state = 1
) AS entries
GROUP BY item_id
HAVING
    sum(on_hand) <> sum(on_hand_delta) OR sum(held) <> sum(held_delta) OR sum(sold) <> sum(sold_delta)
    OR sum(held) <> sum(open_units)
ORDER BY item_id

-- name: verify_sequence
-- The sale's sequence, and how far its ledger reaches from 1 without a gap or an overlap.
SELECT
    sales.sequence,
    coalesce(
        (
            SELECT coalesce(min(batches.expected - 1) FILTER (WHERE batches.first_sequence <> batches.expected),
                            max(batches.last_sequence))
            FROM (
                SELECT
                    ledger.first_sequence,
                    ledger.last_sequence,
                    lag(ledger.last_sequence, 1, 0::bigint) OVER (ORDER BY ledger.last_sequence) + 1 AS expected
                FROM ledger
                WHERE ledger.sale_id = $1
            ) AS batches
        ),
        0
    ) AS reached
FROM sales
WHERE sales.sale_id = $1 AND sales.deleted_at IS NULL
