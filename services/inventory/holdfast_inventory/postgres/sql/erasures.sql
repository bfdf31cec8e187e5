-- Erasures of customers.

-- name: begin_erasure
-- An erasure that was begun continues under its pseudonym.
INSERT INTO erasures (customer, pseudonym, actor, request_id, created_at)
VALUES ($1, $2, $3, $4, clock_timestamp())
ON CONFLICT DO NOTHING

-- name: pending_erasures
-- Customers of whom something may be left, the oldest erasure first.
SELECT customer
FROM erasures
ORDER BY created_at
LIMIT $1

-- name: lock_erasure
-- One step at a time.
SELECT pseudonym, actor, request_id, reservations
FROM erasures
WHERE customer = $1
FOR UPDATE

-- name: count_erased
-- How many reservations the erasure has changed.
UPDATE erasures
SET reservations = reservations + $2
WHERE customer = $1

-- name: finish_erasure
-- Nothing is left of the customer.
DELETE FROM erasures
WHERE customer = $1

-- name: sale_of_customer
-- A sale in which the customer has reservations. The collation is the index's.
SELECT sale_id
FROM reservations
WHERE customer = $1
ORDER BY sale_id COLLATE "C"
LIMIT 1

-- name: erase_reservations
-- Up to $4 reservations of a customer in a locked sale get the pseudonym ($3). Their fingerprint is replaced as well ($5),
-- because it is a hash of the customer's name, and their notes go. The times are those of the batches that created and ended them.
WITH found AS (
    SELECT reservation_id
    FROM reservations
    WHERE customer = $1 AND sale_id COLLATE "C" = $2
    LIMIT $4
)

UPDATE reservations
SET customer = $3, fingerprint = $5, notes = NULL
FROM found
WHERE reservations.reservation_id = found.reservation_id AND reservations.sale_id = $2
RETURNING reservations.created_at, reservations.ended_at

-- name: erase_actors
-- The actor ($2) of movements in batches of these times ($4) gets the pseudonym ($3).
UPDATE ledger
SET actors = array_replace(actors, $2, $3)
WHERE sale_id = $1 AND created_at = ANY($4::timestamptz[]) AND $2 = ANY(actors)

-- name: touch_sale
-- A batch that has read the customer's reservations reads again.
UPDATE sales
SET revision = revision + 1
WHERE sale_id = $1

-- name: erase_refusals
-- All refusals of a customer.
DELETE FROM customer_refusals
WHERE customer = $1

-- name: refusals_of_customer
-- The refusals of a customer in all sales, the latest first.
SELECT customer, sale_id, reason, refusals, first_at, last_at, item_ids, quantities
FROM customer_refusals
WHERE customer = $1
ORDER BY last_at DESC, sale_id, reason
LIMIT $2
