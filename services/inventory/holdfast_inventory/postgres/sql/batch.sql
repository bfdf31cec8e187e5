-- The hot path: what a batch of one sale's commands reads and appends.
-- They run on connections that plan once and always by index; a test explains each of them on a grown sale.
-- A plan made while a table is empty must be right when it is full, so nothing is left to the planner's choice: each
-- look-up is a LATERAL subquery that LIMIT or OFFSET keeps from being flattened into a join, which could be run from
-- the other side, and rows are updated by INSERT ... ON CONFLICT, which always goes by its index.

-- name: lock_sale
-- One lock for each sale. What is read after it, by another statement, is what the next append finds. NO KEY UPDATE,
-- because nothing changes the key.
SELECT {sale}
FROM sales
WHERE sale_id = :sale_id
FOR NO KEY UPDATE

-- name: read
-- All that a batch touches, in one snapshot and one row, or no row when there is no such sale: the sale with what its
-- next append compares, the clock that decides, the reservations that the batch names, the first open holds that have
-- run out (any open holds, of a cancelled sale), stock levels, the customers' use, and which of its adjustments and
-- transfers were done before. Use is asked for only when the sale limits customers; its collation is the index's.
WITH sale AS MATERIALIZED (
    SELECT {sale}, revision, xmin AS row_version, clock_timestamp() AS now
    FROM sales
    WHERE sale_id = :sale_id
),

named AS MATERIALIZED (
    SELECT {reservation.reservation}
    FROM unnest(:reservation_ids::uuid[]) AS wanted (reservation_id)
    CROSS JOIN LATERAL (
        SELECT {reservation}
        FROM reservations
        WHERE reservations.reservation_id = wanted.reservation_id AND reservations.sale_id = :sale_id
        LIMIT 1
    ) AS reservation
),

due AS MATERIALIZED (
    SELECT {reservation}
    FROM reservations
    WHERE
        sale_id = :sale_id AND state = 1
        AND expires_at <= (SELECT CASE WHEN cancelled_at IS NULL THEN now ELSE 'infinity' END FROM sale)
    ORDER BY expires_at
    LIMIT :due_limit
),

level AS (
    SELECT {item.item}
    FROM (
        SELECT item_id FROM unnest(:item_ids::text[]) AS wanted (item_id)
        UNION
        SELECT unnest(item_ids) FROM named
        UNION
        SELECT unnest(item_ids) FROM due
    ) AS wanted
    CROSS JOIN LATERAL (
        SELECT {item}
        FROM items
        WHERE items.sale_id = :sale_id AND items.item_id = wanted.item_id
        LIMIT 1
    ) AS item
),

used AS (
    SELECT wanted.customer, line.item_id, sum(line.quantity)::integer AS units
    FROM (
        SELECT customer FROM unnest(:customers::text[]) AS wanted (customer)
        UNION
        SELECT customer FROM named WHERE reservation_id = ANY(:late_ids::uuid[])
    ) AS wanted
    CROSS JOIN LATERAL (
        SELECT item_ids, quantities
        FROM reservations
        WHERE
            reservations.customer = wanted.customer AND reservations.sale_id COLLATE "C" = :sale_id
            AND (state = 2 OR (state = 1 AND expires_at > (SELECT now FROM sale)))
        OFFSET 0
    ) AS reservation
    CROSS JOIN LATERAL unnest(reservation.item_ids, reservation.quantities) AS line (item_id, quantity)
    WHERE (SELECT limits_customers FROM sale)
    GROUP BY wanted.customer, line.item_id
),

change AS (
    SELECT {known.stock_change}
    FROM unnest(:change_ids::uuid[]) AS wanted (change_id)
    CROSS JOIN LATERAL (
        SELECT {stock_change}
        FROM stock_changes
        WHERE stock_changes.change_id = wanted.change_id AND stock_changes.sale_id = :sale_id
        LIMIT 1
    ) AS known
)

SELECT sale.*, named.*, due.*, level.*, used.*, change.*
FROM sale
CROSS JOIN (SELECT {named.reservation[]} FROM named) AS named
CROSS JOIN (SELECT {due.reservation[]} FROM due) AS due
CROSS JOIN (SELECT {level.item[]} FROM level) AS level
CROSS JOIN (SELECT {used.use[]} FROM used) AS used
CROSS JOIN (SELECT {change.stock_change[]} FROM change) AS change

-- name: read_bound_ids
-- Which of these ids have a reservation: asked before a create is refused from memory, because a request that was
-- granted before must be answered with its reservation.
SELECT reservation.reservation_id
FROM unnest(:reservation_ids::uuid[]) AS wanted (reservation_id)
CROSS JOIN LATERAL (
    SELECT reservations.reservation_id
    FROM reservations
    WHERE reservations.reservation_id = wanted.reservation_id AND reservations.sale_id = :sale_id
    LIMIT 1
) AS reservation

-- name: append
-- All that a batch changes, if the sale is still as it was read, and else nothing; returns which. The first part waits
-- for the sale's lock and then compares its newest version, whatever this statement's snapshot shows; every other part
-- takes its rows from the first. What has changed shows in `revision`, which everything that a batch reads counts up;
-- and in the row's version, for writers that do not know of `revision`. What was decided too long ago is not appended
-- either, for its clock would no longer be that of the commit.
WITH sale AS (
    UPDATE sales
    SET sequence = :sequence, revision = revision + 1
    WHERE
        sale_id = :sale_id AND revision = :revision AND xmin = :row_version
        AND statement_timestamp() < :read_at::timestamptz + interval '2 seconds'
    RETURNING sale_id
),

level AS (
    INSERT INTO items (sale_id, {item})
    SELECT sale.sale_id, {item}
    FROM sale
    CROSS JOIN unnest(:levels.item) AS level ({item})
    ON CONFLICT ON CONSTRAINT items_pkey DO UPDATE
    SET on_hand = excluded.on_hand, held = excluded.held, sold = excluded.sold, version = excluded.version
),

created AS (
    INSERT INTO reservations (sale_id, {reservation})
    SELECT sale.sale_id, {reservation::}
    FROM sale
    CROSS JOIN unnest(:created.reservation) AS created ({reservation})
),

changed AS (
    INSERT INTO reservations (sale_id, {reservation})
    SELECT sale.sale_id, {reservation::}
    FROM sale
    CROSS JOIN unnest(:changed.reservation) AS changed ({reservation})
    ON CONFLICT ON CONSTRAINT reservations_pkey DO UPDATE
    SET
        state = excluded.state, expires_at = excluded.expires_at, ended_at = excluded.ended_at,
        order_id = excluded.order_id
),

stock_change AS (
    INSERT INTO stock_changes (sale_id, created_at, {stock_change})
    SELECT sale.sale_id, :read_at, {stock_change}
    FROM sale
    CROSS JOIN unnest(:stock_changes.stock_change) AS new ({stock_change})
),

movements AS (
    INSERT INTO ledger (sale_id, first_sequence, last_sequence, created_at, {ledger})
    SELECT sale.sale_id, :first_sequence::bigint, :sequence, :read_at, :movements.ledger
    FROM sale
    WHERE :first_sequence <= :sequence
)

SELECT EXISTS (SELECT FROM sale) AS is_appended

-- name: read_salt
-- What makes a sale's reservation ids unguessable. It never changes. The weakest lock, which no batch waits for, so
-- that the transaction has something to commit.
SELECT salt
FROM sales
WHERE sale_id = :sale_id
FOR KEY SHARE
