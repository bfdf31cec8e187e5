-- Lists of reservations, the newest first, in stretches behind a place. What no index finds is filtered afterwards.
-- No index has the whole order, because other statements must not go by it (see ADR 1). What is as old as the last row
-- is read with it and sorted, so that no plan needs to sort more.

-- name: reservations_of_customer
-- The reservations of a customer ($2) behind a place ($3, $4), created from $5 on: in one sale ($1), or without it in
-- all. The index has one order for each sale, so this steps from one of the customer's sales to the next. The collation
-- is that of the index.
WITH RECURSIVE visited AS (
    (
        SELECT sale_id
        FROM reservations
        WHERE customer = $2 AND sale_id COLLATE "C" >= coalesce($1::text, '')
        ORDER BY sale_id COLLATE "C"
        LIMIT 1
    )
    UNION ALL
    SELECT following.sale_id
    FROM visited
    CROSS JOIN LATERAL (
        SELECT sale_id
        FROM reservations
        WHERE customer = $2 AND sale_id COLLATE "C" > visited.sale_id AND $1 IS NULL
        ORDER BY sale_id COLLATE "C"
        LIMIT 1
    ) AS following
)

SELECT visited.sale_id, {known.reservation}
FROM visited
CROSS JOIN LATERAL (
    SELECT {reservation}
    FROM reservations
    WHERE
        customer = $2 AND sale_id COLLATE "C" = visited.sale_id
        AND created_at <= $3 AND (created_at, reservation_id) < ($3, $4) AND created_at >= $5
    ORDER BY created_at DESC
    FETCH FIRST ($6) ROWS WITH TIES
) AS known
WHERE visited.sale_id = $1 OR $1 IS NULL
ORDER BY known.created_at DESC, known.reservation_id DESC
LIMIT $6

-- name: reservations_of_order
-- The same for an order ($1) in all sales, whose place is $2, $3.
SELECT *
FROM (
    SELECT sale_id, {reservation}
    FROM reservations
    WHERE
        order_id = $1 AND order_id <> ''
        AND created_at <= $2 AND (created_at, reservation_id) < ($2, $3) AND created_at >= $4
    ORDER BY created_at DESC
    FETCH FIRST ($5) ROWS WITH TIES
) AS known
ORDER BY created_at DESC, reservation_id DESC
LIMIT $5

-- name: open_reservations
-- Open holds behind a place ($2, $3), those that end last first, in one sale ($1) or in all. The index has one order
-- for each sale.
WITH RECURSIVE visited AS (
    (
        SELECT sale_id
        FROM reservations
        WHERE state = 1 AND sale_id >= coalesce($1::text, '')
        ORDER BY sale_id
        LIMIT 1
    )
    UNION ALL
    SELECT following.sale_id
    FROM visited
    CROSS JOIN LATERAL (
        SELECT sale_id
        FROM reservations
        WHERE state = 1 AND sale_id > visited.sale_id AND $1 IS NULL
        ORDER BY sale_id
        LIMIT 1
    ) AS following
)

SELECT visited.sale_id, {known.reservation}
FROM visited
CROSS JOIN LATERAL (
    SELECT {reservation}
    FROM reservations
    WHERE
        sale_id = visited.sale_id AND state = 1
        AND expires_at <= $2 AND (expires_at, reservation_id) < ($2, $3)
    ORDER BY expires_at DESC
    FETCH FIRST ($4) ROWS WITH TIES
) AS known
WHERE visited.sale_id = $1 OR $1 IS NULL
ORDER BY known.expires_at DESC, known.reservation_id DESC
LIMIT $4

-- name: sequence_at
-- The first sequence of a sale ($1) that is not before a time ($2); one after the last if there is none. A binary
-- search: the times of a ledger rise with its sequence, and no index has both.
WITH RECURSIVE search AS (
    SELECT 1::bigint AS low, sequence + 1 AS high
    FROM sales
    WHERE sale_id = $1
    UNION ALL
    SELECT
        CASE WHEN probe.created_at < $2 THEN probe.last_sequence + 1 ELSE search.low END,
        CASE WHEN probe.created_at < $2 THEN search.high ELSE probe.first_sequence END
    FROM search
    CROSS JOIN LATERAL (
        SELECT first_sequence, last_sequence, created_at
        FROM ledger
        WHERE sale_id = $1 AND last_sequence >= (search.low + search.high) / 2
        ORDER BY last_sequence
        LIMIT 1
    ) AS probe
    WHERE search.low < search.high
)

SELECT low
FROM search
WHERE low = high

-- name: batches_of_sale
-- A sale's batches ($1) from one sequence on ($2) and before another ($3), the newest first. A batch that contains the
-- latter is among them.
SELECT sale_id, first_sequence, last_sequence, created_at
FROM ledger
WHERE sale_id = $1 AND first_sequence >= $2 AND first_sequence < $3
ORDER BY first_sequence DESC
LIMIT $4

-- name: batches_of_all_sales
-- The batches of all sales from a time on ($1) and behind a place ($2, $3, $4), the newest first.
SELECT sale_id, first_sequence, last_sequence, created_at
FROM ledger
WHERE created_at >= $1 AND created_at <= $2 AND (created_at, sale_id, first_sequence) < ($2, $3, $4)
ORDER BY created_at DESC, sale_id DESC, first_sequence DESC
LIMIT $5

-- name: reservations_of_batches
-- The reservations that these batches ($1, $2) created or, if $3, ended. No index has them, because it would cost time
-- for every reservation. Each was created by one movement: that of its first line, a HOLD (1), or a CONFIRM (2) of a
-- reservation that was never held, whose end is its beginning. It was ended by the movement of its state at its end.
SELECT
    batch.sale_id,
    batch.created_at AS at,
    batch.first_sequence + movement.ordinal - 1 AS sequence,
    {known.reservation}
FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS wanted (sale_id, first_sequence, place)
CROSS JOIN LATERAL (
    SELECT sale_id, created_at, first_sequence, kinds, item_ids, reservation_ids
    FROM ledger
    WHERE ledger.sale_id = wanted.sale_id AND ledger.first_sequence = wanted.first_sequence
    LIMIT 1
) AS batch
CROSS JOIN LATERAL unnest(batch.kinds, batch.item_ids, batch.reservation_ids)
    WITH ORDINALITY AS movement (kind, item_id, reservation_id, ordinal)
CROSS JOIN LATERAL (
    SELECT {reservation}
    FROM reservations
    WHERE reservations.reservation_id = movement.reservation_id AND reservations.sale_id = batch.sale_id
    LIMIT 1
) AS known
WHERE
    movement.kind BETWEEN CASE WHEN $3 THEN 2 ELSE 1 END AND CASE WHEN $3 THEN 4 ELSE 2 END
    AND movement.item_id = known.item_ids[1]
    AND CASE
        WHEN $3::boolean THEN movement.kind = known.state AND known.state > 1 AND known.ended_at = batch.created_at
        ELSE movement.kind = 1 OR (movement.kind = 2 AND known.expires_at = known.created_at)
    END
ORDER BY wanted.place, movement.ordinal DESC
