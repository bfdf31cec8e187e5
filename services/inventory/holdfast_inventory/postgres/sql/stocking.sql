-- Creating sales and items.

-- name: insert_sale
-- A second insert of the same id waits for the first and returns no row. Without an opening time ($2) it opens at once.
INSERT INTO sales (
    sale_id, open_at, close_at, per_customer_limit, hold_time, max_hold_time, created_at, updated_at, schedule_id,
    salt, limits_customers, shop_confirms, admission_required, early_access, display_name, labels
)
VALUES (
    $1, coalesce($2, statement_timestamp()), $3, $4, $5, $6, statement_timestamp(), statement_timestamp(), $7, $8, $9,
    $10, $11, $12, $13, $14
)
ON CONFLICT DO NOTHING
RETURNING {sale}

-- name: insert_items
-- Items without stock, in a locked sale; their stock follows as movements. Returns those that did not exist. From the
-- first item with a customer limit on, the customers' use is counted.
WITH sale AS (
    UPDATE sales
    SET revision = revision + 1, limits_customers = limits_customers OR 0 < ANY ($3::integer[])
    WHERE sale_id = $1
)

INSERT INTO items (sale_id, item_id, on_hand, held, sold, per_customer_limit, version, display_name, labels)
SELECT $1, item_id, 0, 0, 0, per_customer_limit, 0, display_name, labels
FROM unnest($2::text[], $3::integer[], $4::text[], $5::text[]) AS new (item_id, per_customer_limit, display_name, labels)
ON CONFLICT DO NOTHING
RETURNING item_id

-- name: set_item_rules
-- The limit for each customer ($3), the name and the labels of an item in a locked sale.
WITH item AS (
    UPDATE items
    SET per_customer_limit = $3, display_name = $4, labels = $5
    WHERE sale_id = $1 AND item_id = $2
)

UPDATE sales
SET
    revision = revision + 1,
    limits_customers = per_customer_limit > 0 OR $3 > 0 OR EXISTS (
        SELECT FROM items WHERE items.sale_id = $1 AND items.item_id <> $2 AND items.per_customer_limit > 0
    )
WHERE sale_id = $1

-- name: has_sale
-- Whether the sale exists: distinguishes an empty list from a missing sale.
SELECT EXISTS (SELECT FROM sales WHERE sale_id = $1 AND deleted_at IS NULL)

-- name: database_now
-- The database's clock, which decides.
SELECT clock_timestamp()
