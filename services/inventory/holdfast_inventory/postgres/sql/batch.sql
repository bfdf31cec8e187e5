-- The hot path: what a batch of one sale's commands reads and appends.
-- They run on connections that plan once and always by index; a test explains each of them on a grown sale.
-- A plan made while a table is empty must be right when it is full, so nothing is left to the planner's choice: each
-- look-up is a LATERAL subquery that LIMIT or OFFSET keeps from being flattened into a join, which could be run from
-- the other side, and rows are updated by INSERT ... ON CONFLICT, which always goes by its index.

-- name: lock_sale
-- One lock for each sale, taken before anything is read: a read in this statement would see the state before the
-- wait. NO KEY UPDATE, for nothing here changes the key.
SELECT
    sale_id, open_at, close_at, per_customer_limit, hold_time, max_hold_time, paused, cancelled_at, created_at,
    updated_at, schedule_id, sequence, salt, limits_customers
FROM sales
WHERE sale_id = $1
FOR NO KEY UPDATE

-- name: read_reservations
-- The clock that decides, the reservations that the batch names ($2), and the first $3 open holds that have run
-- out (all open holds of a cancelled sale, $4). One row at least, for the clock.
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS now
),

found AS (
    SELECT reservation.*, false AS is_due
    FROM unnest($2::uuid[]) AS named (reservation_id)
    CROSS JOIN LATERAL (
        SELECT
            reservations.reservation_id, customer, item_ids, quantities, state, created_at, expires_at, ended_at,
            order_id, fingerprint
        FROM reservations
        WHERE reservations.reservation_id = named.reservation_id AND reservations.sale_id = $1
        LIMIT 1
    ) AS reservation
    UNION ALL
    (
        SELECT
            reservation_id, customer, item_ids, quantities, state, created_at, expires_at, ended_at, order_id,
            fingerprint, true AS is_due
        FROM reservations
        WHERE
            sale_id = $1 AND state = 1
            AND expires_at <= CASE WHEN $4 THEN 'infinity' ELSE (SELECT now FROM moment) END
        ORDER BY expires_at
        LIMIT $3
    )
)

SELECT moment.now, found.*
FROM moment
LEFT JOIN found ON true

-- name: read_items
-- The stock levels that the batch touches ($2).
SELECT items.item_id, items.on_hand, items.held, items.sold, items.per_customer_limit, items.version
FROM unnest($2::text[]) AS named (item_id)
CROSS JOIN LATERAL (
    SELECT item_id, on_hand, held, sold, per_customer_limit, version
    FROM items
    WHERE items.sale_id = $1 AND items.item_id = named.item_id
    LIMIT 1
) AS items

-- name: read_used
-- What the customers ($2) hold or have bought of each item at the time of the batch ($3). Asked only when the sale
-- limits customers. The collation is that of the index.
SELECT named.customer, line.item_id, sum(line.quantity)::integer AS units
FROM unnest($2::text[]) AS named (customer)
CROSS JOIN LATERAL (
    SELECT item_ids, quantities
    FROM reservations
    WHERE
        reservations.customer = named.customer AND reservations.sale_id COLLATE "C" = $1
        AND (state = 2 OR (state = 1 AND expires_at > $3))
    OFFSET 0
) AS reservation
CROSS JOIN LATERAL unnest(reservation.item_ids, reservation.quantities) AS line (item_id, quantity)
GROUP BY named.customer, line.item_id

-- name: read_stock_changes
-- Which of the batch's adjustments and transfers ($2) were done before.
SELECT stock_changes.change_id, stock_changes.fingerprint
FROM unnest($2::uuid[]) AS named (change_id)
CROSS JOIN LATERAL (
    SELECT change_id, fingerprint
    FROM stock_changes
    WHERE stock_changes.change_id = named.change_id AND stock_changes.sale_id = $1
    LIMIT 1
) AS stock_changes

-- name: read_bound_ids
-- Which of these ids ($2) have a reservation: asked before a create is refused from memory, for a request that was
-- granted before must be answered with its reservation.
SELECT reservation.reservation_id
FROM unnest($2::uuid[]) AS named (reservation_id)
CROSS JOIN LATERAL (
    SELECT reservations.reservation_id
    FROM reservations
    WHERE reservations.reservation_id = named.reservation_id AND reservations.sale_id = $1
    LIMIT 1
) AS reservation

-- name: append
-- All that a batch changes, in one round trip. A line's arrays travel as text, for arrays of arrays must be
-- rectangular.
WITH sale AS (
    UPDATE sales SET sequence = $2 WHERE sale_id = $1
),

item AS (
    INSERT INTO items (item_id, sale_id, on_hand, held, sold, per_customer_limit, version)
    SELECT item_id, $1, on_hand, held, sold, per_customer_limit, version
    FROM unnest($4::text[], $5::integer[], $6::integer[], $7::integer[], $8::integer[], $9::bigint[])
        AS level (item_id, on_hand, held, sold, per_customer_limit, version)
    ON CONFLICT ON CONSTRAINT items_pkey DO UPDATE
    SET on_hand = excluded.on_hand, held = excluded.held, sold = excluded.sold, version = excluded.version
),

created AS (
    INSERT INTO reservations (
        reservation_id, sale_id, customer, item_ids, quantities, state, created_at, expires_at, ended_at, order_id,
        fingerprint
    )
    SELECT
        reservation_id, $1, customer, item_ids::text[], quantities::integer[], state, created_at, expires_at,
        ended_at, order_id, fingerprint
    FROM unnest(
        $10::uuid[], $11::text[], $12::text[], $13::text[], $14::smallint[], $15::timestamptz[],
        $16::timestamptz[], $17::timestamptz[], $18::text[], $19::bytea[]
    ) AS new (
        reservation_id, customer, item_ids, quantities, state, created_at, expires_at, ended_at, order_id,
        fingerprint
    )
),

changed AS (
    INSERT INTO reservations (
        reservation_id, sale_id, customer, item_ids, quantities, state, created_at, expires_at, ended_at, order_id,
        fingerprint
    )
    SELECT
        reservation_id, $1, customer, item_ids::text[], quantities::integer[], state, created_at, expires_at,
        ended_at, order_id, fingerprint
    FROM unnest(
        $20::uuid[], $21::text[], $22::text[], $23::text[], $24::smallint[], $25::timestamptz[],
        $26::timestamptz[], $27::timestamptz[], $28::text[], $29::bytea[]
    ) AS new (
        reservation_id, customer, item_ids, quantities, state, created_at, expires_at, ended_at, order_id,
        fingerprint
    )
    ON CONFLICT ON CONSTRAINT reservations_pkey DO UPDATE
    SET state = excluded.state, expires_at = excluded.expires_at, ended_at = excluded.ended_at,
        order_id = excluded.order_id
),

change AS (
    INSERT INTO stock_changes (change_id, sale_id, fingerprint, created_at)
    SELECT change_id, $1, fingerprint, $3
    FROM unnest($30::uuid[], $31::bytea[]) AS new (change_id, fingerprint)
)

INSERT INTO ledger (
    sale_id, first_sequence, last_sequence, created_at, kinds, item_ids, on_hand_deltas, held_deltas, sold_deltas,
    reservation_ids, reasons, actors
)
SELECT
    $1, $2 - cardinality($32::smallint[]) + 1, $2, $3, $32::smallint[], $33::text[], $34::integer[], $35::integer[],
    $36::integer[], $37::uuid[], $38::smallint[], $39::text[]
WHERE cardinality($32::smallint[]) > 0

-- name: read_salt
-- What makes a sale's reservation ids unguessable. It never changes. The weakest lock, which no batch waits for, so
-- that the transaction has something to commit.
SELECT salt FROM sales WHERE sale_id = $1 FOR KEY SHARE
