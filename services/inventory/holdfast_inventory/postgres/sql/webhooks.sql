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
INSERT INTO webhook_deliveries AS delivery (webhook_id, sale_id, position, sent, due_at)
SELECT $1, $2, coalesce($3, 0), coalesce($3, 0), statement_timestamp()
WHERE $3 IS NOT NULL OR EXISTS (SELECT FROM webhook_deliveries WHERE webhook_id = $1 AND sale_id = $2)
ON CONFLICT (webhook_id, sale_id) DO UPDATE
SET
    position = coalesce($3, delivery.position),
    sent = coalesce($3, delivery.sent),
    through = CASE WHEN $3 IS NULL THEN delivery.through END,
    attempts = 0,
    failure = '',
    failing_since = NULL,
    parked_at = NULL,
    due_at = statement_timestamp(),
    lease = NULL
RETURNING {delivery}

-- name: sales_to_mark
-- Sales with movements that a webhook has neither sent nor waits to send. It reads the newest $3 sales, and $3 older
-- ones before the position ($1, $2): repeated calls reach all sales, and every call has the same cost. The processes
-- that move stock mark their sales themselves; this finds those of a process that was killed before.
WITH newest AS (
    SELECT sale_id, schedule_id, sequence, created_at
    FROM sales
    ORDER BY created_at DESC, sale_id COLLATE "C" DESC
    LIMIT $3
),

older AS (
    SELECT sale_id, schedule_id, sequence, created_at
    FROM sales
    WHERE (created_at, sale_id COLLATE "C") < ($1, $2)
    ORDER BY created_at DESC, sale_id COLLATE "C" DESC
    LIMIT $3
)

SELECT
    array(
        SELECT seen.sale_id
        FROM (SELECT * FROM newest UNION ALL SELECT * FROM older) AS seen
        WHERE EXISTS (
            SELECT
            FROM webhooks
            LEFT JOIN webhook_deliveries AS delivery
                ON delivery.webhook_id = webhooks.webhook_id AND delivery.sale_id = seen.sale_id
            WHERE
                (webhooks.sale_id IS NULL OR webhooks.sale_id = seen.sale_id)
                AND (webhooks.schedule_id IS NULL OR webhooks.schedule_id = seen.schedule_id)
                AND seen.sequence > coalesce(delivery.position, 0)
                AND delivery.due_at IS NULL AND delivery.parked_at IS NULL
        )
    ) AS sale_ids,
    last.created_at,
    last.sale_id
FROM (SELECT) AS one
LEFT JOIN LATERAL (
    SELECT oldest.created_at, oldest.sale_id
    FROM (
        SELECT created_at, sale_id FROM older
        UNION ALL
        SELECT created_at, sale_id FROM newest WHERE $1 IS NULL
    ) AS oldest
    ORDER BY oldest.created_at, oldest.sale_id COLLATE "C"
    LIMIT 1
) AS last ON true

-- name: mark_due
-- Make the movements of these sales due that are not yet. A webhook begins in a sale with the first batch since its own
-- creation, which is found by bisection: all batches up to `low` are older, and all after `high` are not.
WITH RECURSIVE waiting AS (
    SELECT webhooks.webhook_id, webhooks.created_at AS since, sales.sale_id, sales.sequence, delivery.position
    FROM unnest($1::text[]) AS moved (sale_id)
    INNER JOIN sales ON sales.sale_id = moved.sale_id
    INNER JOIN webhooks
        ON
            (webhooks.sale_id IS NULL OR webhooks.sale_id = sales.sale_id)
            AND (webhooks.schedule_id IS NULL OR webhooks.schedule_id = sales.schedule_id)
    LEFT JOIN webhook_deliveries AS delivery
        ON delivery.webhook_id = webhooks.webhook_id AND delivery.sale_id = sales.sale_id
    WHERE
        sales.sequence > coalesce(delivery.position, 0)
        AND delivery.due_at IS NULL AND delivery.parked_at IS NULL
),

search AS (
    SELECT waiting.webhook_id, waiting.since, waiting.sale_id, waiting.sequence, 0::bigint AS low, waiting.sequence AS high
    FROM waiting
    WHERE waiting.position IS NULL
    UNION ALL
    SELECT
        search.webhook_id,
        search.since,
        search.sale_id,
        search.sequence,
        CASE WHEN batch.created_at < search.since THEN batch.last_sequence ELSE search.low END,
        CASE WHEN batch.created_at < search.since THEN search.high ELSE batch.first_sequence - 1 END
    FROM search
    CROSS JOIN LATERAL (
        SELECT ledger.first_sequence, ledger.last_sequence, ledger.created_at
        FROM ledger
        WHERE ledger.sale_id = search.sale_id AND ledger.last_sequence > (search.low + search.high) / 2
        ORDER BY ledger.last_sequence
        LIMIT 1
    ) AS batch
    WHERE search.low < search.high
),

found AS (
    SELECT waiting.webhook_id, waiting.sale_id, waiting.sequence, waiting.position
    FROM waiting
    WHERE waiting.position IS NOT NULL
    UNION ALL
    SELECT search.webhook_id, search.sale_id, search.sequence, search.low
    FROM search
    WHERE search.low = search.high
)

INSERT INTO webhook_deliveries AS delivery (webhook_id, sale_id, position, sent, due_at)
SELECT
    found.webhook_id, found.sale_id, found.position, found.position, CASE WHEN found.sequence > found.position THEN statement_timestamp() END
FROM found
ORDER BY found.webhook_id, found.sale_id
ON CONFLICT (webhook_id, sale_id) DO UPDATE
SET due_at = excluded.due_at
WHERE delivery.due_at IS NULL AND delivery.parked_at IS NULL

-- name: claim
-- Take deliveries that are due, the oldest first, at most so many of each webhook, for as long as the lease lasts. Nobody
-- else takes them until then, and who had them before finds that its lease is gone.
WITH due AS (
    SELECT oldest.webhook_id, oldest.sale_id
    FROM unnest($1::text[], $2::bigint[]) AS free (webhook_id, places)
    INNER JOIN webhooks ON webhooks.webhook_id = free.webhook_id
    CROSS JOIN LATERAL (
        SELECT delivery.webhook_id, delivery.sale_id
        FROM webhook_deliveries AS delivery
        WHERE delivery.webhook_id = free.webhook_id AND delivery.due_at <= statement_timestamp()
        ORDER BY delivery.due_at
        LIMIT free.places
        FOR UPDATE SKIP LOCKED
    ) AS oldest
    WHERE NOT webhooks.paused
)

UPDATE webhook_deliveries
SET lease = $3, due_at = statement_timestamp() + $4
FROM due
WHERE webhook_deliveries.webhook_id = due.webhook_id AND webhook_deliveries.sale_id = due.sale_id
RETURNING {webhook_deliveries.delivery}

-- name: begin_message
-- Before a message is sent: where it ends, and a new lease, if the old one is still held. Returns the webhook, and
-- whether it follows the sale. This commits after the movements were read, so they are durable when it returns.
UPDATE webhook_deliveries AS delivery
SET through = $4, due_at = statement_timestamp() + $5
FROM webhooks
LEFT JOIN sales ON sales.sale_id = $2
WHERE
    delivery.webhook_id = $1 AND delivery.sale_id = $2 AND delivery.lease = $3
    AND webhooks.webhook_id = $1 AND NOT webhooks.paused
RETURNING
    {webhooks.webhook},
    (webhooks.sale_id IS NULL OR webhooks.sale_id = $2)
    AND (webhooks.schedule_id IS NULL OR webhooks.schedule_id IS NOT DISTINCT FROM sales.schedule_id) AS follows,
    statement_timestamp() AS now

-- name: advance
-- Everything up to $4 was delivered, or is not to be sent; $6: it was a message. The lease is renewed if more movements
-- wait, else it ends.
UPDATE webhook_deliveries AS delivery
SET
    position = $4,
    sent = CASE WHEN $6::boolean THEN $4 ELSE delivery.sent END,
    through = NULL,
    attempts = 0,
    failure = '',
    failing_since = NULL,
    due_at = CASE WHEN sales.sequence > $4 THEN statement_timestamp() + $5 END,
    lease = CASE WHEN sales.sequence > $4 THEN delivery.lease END
FROM sales
WHERE
    sales.sale_id = $2 AND delivery.webhook_id = $1 AND delivery.sale_id = $2 AND delivery.lease = $3
RETURNING delivery.due_at IS NOT NULL AS goes_on

-- name: fail
-- A message was not delivered. It is due again after $6; without one it is parked.
UPDATE webhook_deliveries
SET
    attempts = $4,
    failure = $5,
    failing_since = coalesce(failing_since, statement_timestamp()),
    parked_at = CASE WHEN $6::interval IS NULL THEN statement_timestamp() END,
    due_at = statement_timestamp() + $6::interval,
    lease = NULL
WHERE webhook_id = $1 AND sale_id = $2 AND lease = $3

-- name: give_back
-- Others may take it at once ($4), or it has nothing to send.
UPDATE webhook_deliveries
SET due_at = CASE WHEN $4::boolean THEN statement_timestamp() END, lease = NULL
WHERE webhook_id = $1 AND sale_id = $2 AND lease = $3

-- name: forget
-- Its sale was deleted.
DELETE FROM webhook_deliveries
WHERE webhook_id = $1 AND sale_id = $2 AND lease = $3

-- name: backlog
-- Of each webhook that is not paused: how many deliveries are parked, and for how many seconds the oldest movement has
-- waited, as far as that is known.
SELECT
    webhooks.webhook_id,
    (
        SELECT count(*)
        FROM webhook_deliveries AS delivery
        WHERE delivery.webhook_id = webhooks.webhook_id AND delivery.attempts > 0 AND delivery.parked_at IS NOT NULL
    ) AS parked,
    greatest(
        0,
        extract(EPOCH FROM statement_timestamp() - least(
            (
                SELECT min(delivery.failing_since)
                FROM webhook_deliveries AS delivery
                WHERE delivery.webhook_id = webhooks.webhook_id AND delivery.attempts > 0 AND delivery.parked_at IS NULL
            ),
            (
                SELECT min(delivery.due_at)
                FROM webhook_deliveries AS delivery
                WHERE delivery.webhook_id = webhooks.webhook_id AND delivery.due_at IS NOT NULL
            )
        ))
    )::double precision AS lag_seconds
FROM webhooks
WHERE NOT webhooks.paused
ORDER BY webhooks.webhook_id
