-- The hot path: the statements with which a batch reads a sale and appends to it.
-- They run on connections that plan once and always use an index; a test explains each of them on a large sale.
-- A plan that was made while a table was empty must be good when it is full, so the planner has no choice: each look-up
-- is a LATERAL subquery with LIMIT or OFFSET, which is not flattened into a join whose order could be reversed, and rows
-- are updated by INSERT ... ON CONFLICT, which always uses the index of its constraint. See ADR 1.

-- name: lock_sale
-- One lock per sale. A later statement reads what the next append will find. NO KEY UPDATE, because the key never
-- changes.
SELECT {sale}
FROM sales
WHERE sale_id = :sale_id AND deleted_at IS NULL
FOR NO KEY UPDATE

-- name: read
-- Everything that a batch touches, in one snapshot and one row, or no row if the sale does not exist: the sale with the
-- values that its next append compares, the clock that decides, the reservations that the batch names, the first due
-- holds (in a cancelled sale, the first open holds), stock levels, the next holds to end, the customers' use, and the
-- adjustments and transfers that were made before. Use is read only if the sale limits customers, with the collation of
-- its index. The next holds to end are read only if a held item may be short. They are few, and of any item, because no
-- index finds the holds on one item.
WITH sale AS MATERIALIZED (
    SELECT {sale}, revision, xmin AS row_version, clock_timestamp() AS now
    FROM sales
    WHERE sale_id = :sale_id AND deleted_at IS NULL
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

level AS MATERIALIZED (
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

running AS (
    SELECT {hold}
    FROM reservations
    WHERE
        sale_id = :sale_id AND state = 1 AND expires_at > (SELECT now FROM sale)
        AND EXISTS (SELECT FROM level WHERE held > 0 AND on_hand - held < :most_units)
    ORDER BY expires_at
    LIMIT :running_limit
),

used AS (
    SELECT wanted.customer, line.item_id, sum(line.quantity - coalesce(line.returned, 0))::integer AS units
    FROM (
        SELECT customer FROM unnest(:customers::text[]) AS wanted (customer)
        UNION
        SELECT customer FROM named WHERE reservation_id = ANY(:late_ids::uuid[])
    ) AS wanted
    CROSS JOIN LATERAL (
        SELECT item_ids, quantities, returned
        FROM reservations
        WHERE
            reservations.customer = wanted.customer AND reservations.sale_id COLLATE "C" = :sale_id
            AND (state = 2 OR (state = 1 AND expires_at > (SELECT now FROM sale)))
        OFFSET 0
    ) AS reservation
    CROSS JOIN LATERAL unnest(reservation.item_ids, reservation.quantities, reservation.returned)
        AS line (item_id, quantity, returned)
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

SELECT sale.*, named.*, due.*, level.*, running.*, used.*, change.*
FROM sale
CROSS JOIN (SELECT {named.reservation[]} FROM named) AS named
CROSS JOIN (SELECT {due.reservation[]} FROM due) AS due
CROSS JOIN (SELECT {level.item[]} FROM level) AS level
CROSS JOIN (SELECT {running.hold[]} FROM running) AS running
CROSS JOIN (SELECT {used.use[]} FROM used) AS used
CROSS JOIN (SELECT {change.stock_change[]} FROM change) AS change

-- name: read_bound_ids
-- Those of the ids that have a reservation. This is read before a create is refused from memory, because a request that
-- was granted before must be answered with its reservation.
SELECT reservation.reservation_id
FROM unnest(:reservation_ids::uuid[]) AS wanted (reservation_id)
CROSS JOIN LATERAL (
    SELECT reservations.reservation_id
    FROM reservations
    WHERE reservations.reservation_id = wanted.reservation_id AND reservations.sale_id = :sale_id
    LIMIT 1
) AS reservation

-- name: append
-- Append all changes of a batch if the sale has not changed since it was read, else nothing; return which. The first
-- part waits for the sale's lock and then compares its newest version, not that of this statement's snapshot; every
-- other part takes its rows from the first. A change shows in `revision`, which counts every change of what a batch
-- reads, and in the row's version, for writers that do not know `revision`. A decision that is too old is not appended
-- either, because its clock would differ from that of the commit. See ADR 21.
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
        order_id = excluded.order_id, returned = excluded.returned
),

stock_change AS (
    INSERT INTO stock_changes (sale_id, {stock_change})
    SELECT sale.sale_id, {stock_change}
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
-- The secret that makes a sale's reservation ids unguessable. It never changes. The lock is the weakest one, for which
-- no batch waits; with it the transaction has something to commit.
SELECT salt
FROM sales
WHERE sale_id = :sale_id AND deleted_at IS NULL
FOR KEY SHARE
