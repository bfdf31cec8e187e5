-- Refused creates. They are written in groups, off the hot path; those of sales that do not exist are left out. Rows are
-- written in the order of their keys, so that replicas do not wait for each other in a circle.

-- name: add_refusal_counts
-- Add counts to those of the present minute.
INSERT INTO refusal_counts (sale_id, minute, reason, refusals)
SELECT counted.sale_id, date_trunc('minute', statement_timestamp()), counted.reason, counted.refusals
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS counted (sale_id, reason, refusals)
CROSS JOIN LATERAL (SELECT FROM sales WHERE sales.sale_id = counted.sale_id LIMIT 1) AS sale
ORDER BY counted.sale_id, counted.reason
ON CONFLICT ON CONSTRAINT refusal_counts_pkey DO UPDATE
SET refusals = refusal_counts.refusals + excluded.refusals

-- name: add_customer_refusals
-- Add customers' refusals to those for the same reason.
INSERT INTO customer_refusals (customer, sale_id, reason, refusals, first_at, last_at, item_ids, quantities)
SELECT
    refused.customer,
    refused.sale_id,
    refused.reason,
    refused.refusals,
    refused.first_at,
    refused.last_at,
    string_to_array(refused.item_ids, ','),
    string_to_array(refused.quantities, ',')::integer[]
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::text[]
) AS refused (customer, sale_id, reason, refusals, first_at, last_at, item_ids, quantities)
CROSS JOIN LATERAL (SELECT FROM sales WHERE sales.sale_id = refused.sale_id LIMIT 1) AS sale
ORDER BY refused.customer, refused.sale_id, refused.reason
ON CONFLICT ON CONSTRAINT customer_refusals_pkey DO UPDATE
SET
    refusals = customer_refusals.refusals + excluded.refusals,
    first_at = least(customer_refusals.first_at, excluded.first_at),
    last_at = greatest(customer_refusals.last_at, excluded.last_at),
    item_ids = excluded.item_ids,
    quantities = excluded.quantities

-- name: delete_old_refusal_counts
-- Delete up to $2 counts that are older than $1. Returns how many.
WITH deleted AS (
    DELETE FROM refusal_counts
    WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM refusal_counts WHERE minute < statement_timestamp() - $1::interval ORDER BY minute LIMIT $2
    ))
    RETURNING sale_id
)

SELECT count(*) FROM deleted

-- name: delete_old_customer_refusals
-- Delete up to $2 customers' refusals that are older than $1. Returns how many.
WITH deleted AS (
    DELETE FROM customer_refusals
    WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM customer_refusals WHERE last_at < statement_timestamp() - $1::interval ORDER BY last_at LIMIT $2
    ))
    RETURNING sale_id
)

SELECT count(*) FROM deleted

-- name: list_customer_refusals
-- The refusals of a customer in a sale, the latest first: one row for each reason.
SELECT customer, sale_id, reason, refusals, first_at, last_at, item_ids, quantities
FROM customer_refusals
WHERE customer = $1 AND sale_id = $2
ORDER BY last_at DESC, reason
