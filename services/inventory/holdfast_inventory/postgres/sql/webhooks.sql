-- Webhooks, and how far each sale's movements were sent to them. All times are those of the database's clock.

-- name: insert_webhook
-- No row if it exists already, or if there are as many as there may be. Two at once may exceed the limit by one.
INSERT INTO webhooks ({webhook})
SELECT $1, $2, $3, $4, $5, false, $6, NULL, NULL, statement_timestamp(), statement_timestamp()
WHERE (SELECT count(*) FROM webhooks) < $7
ON CONFLICT DO NOTHING
RETURNING {webhook}

-- name: get_webhook
-- One webhook.
SELECT {webhook}
FROM webhooks
WHERE webhook_id = $1

-- name: lock_webhook
-- One webhook, to be changed.
SELECT {webhook}
FROM webhooks
WHERE webhook_id = $1
FOR NO KEY UPDATE

-- name: list_webhooks
-- Webhooks after an id.
SELECT {webhook}
FROM webhooks
WHERE webhook_id > $1
ORDER BY webhook_id
LIMIT $2

-- name: update_webhook
-- Its new target.
UPDATE webhooks
SET url = $2, kinds = $3, sale_id = $4, schedule_id = $5, updated_at = statement_timestamp()
WHERE webhook_id = $1
RETURNING {webhook}

-- name: set_webhook_paused
-- Pause or resume it.
UPDATE webhooks
SET paused = $2, updated_at = statement_timestamp()
WHERE webhook_id = $1
RETURNING {webhook}

-- name: retry_now
-- What waits for a retry, and is not being sent, is due now.
UPDATE webhook_deliveries
SET due_at = statement_timestamp()
WHERE webhook_id = $1 AND attempts > 0 AND parked_at IS NULL AND lease IS NULL

-- name: rotate_secret
-- The new secret ($2) and the one before are valid for $3. If an earlier rotation is not over, the oldest stays: the
-- answer with the newer one may have been lost.
UPDATE webhooks
SET
    secret = $2,
    old_secret = CASE
        WHEN $3 = interval '0' THEN NULL
        WHEN old_secret_until > statement_timestamp() THEN old_secret
        ELSE secret
    END,
    old_secret_until = CASE WHEN $3 <> interval '0' THEN statement_timestamp() + $3 END,
    updated_at = statement_timestamp()
WHERE webhook_id = $1
RETURNING {webhook}

-- name: delete_webhook
-- With its deliveries.
DELETE FROM webhooks
WHERE webhook_id = $1
RETURNING webhook_id

-- name: list_deliveries
-- A webhook's deliveries after a sale.
SELECT {delivery}
FROM webhook_deliveries
WHERE webhook_id = $1 AND sale_id > $2
ORDER BY sale_id
LIMIT $3

-- name: list_failing_deliveries
-- Only those whose last attempt failed, by the collation of their index.
SELECT {delivery}
FROM webhook_deliveries
WHERE webhook_id = $1 AND attempts > 0 AND sale_id COLLATE "C" > $2
ORDER BY sale_id COLLATE "C"
LIMIT $3

-- name: sequence_of
-- How far a sale's ledger reaches.
SELECT sequence
FROM sales
WHERE sale_id = $1

-- name: redeliver
-- Continue after $3, or where it is if that is not given. Who sends at present finds that its lease is gone.
INSERT INTO webhook_deliveries AS delivery (webhook_id, sale_id, position, due_at)
SELECT $1, $2, coalesce($3, 0), statement_timestamp()
WHERE $3 IS NOT NULL OR EXISTS (SELECT FROM webhook_deliveries WHERE webhook_id = $1 AND sale_id = $2)
ON CONFLICT (webhook_id, sale_id) DO UPDATE
SET
    position = coalesce($3, delivery.position),
    through = CASE WHEN $3 IS NULL THEN delivery.through END,
    attempts = 0,
    failure = '',
    failing_since = NULL,
    parked_at = NULL,
    due_at = statement_timestamp(),
    lease = NULL
RETURNING {delivery}
