-- Webhooks. The release before does not know of these tables.

CREATE TABLE webhooks (
    webhook_id       text        NOT NULL,
    url              text        NOT NULL,
    -- The kinds of movements to send, as in the ledger; none: all.
    kinds            smallint[]  NOT NULL,
    sale_id          text,
    schedule_id      text,
    paused           boolean     NOT NULL DEFAULT false,
    secret           bytea       NOT NULL,
    old_secret       bytea,
    old_secret_until timestamptz,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    CONSTRAINT webhooks_pkey PRIMARY KEY (webhook_id),
    CONSTRAINT webhooks_old_secret_check CHECK ((old_secret IS NULL) = (old_secret_until IS NULL))
);

-- How far each sale's movements were sent to a webhook. The ledger has the movements, so there is no row for each of
-- them, and what is kept does not grow with their number.
CREATE TABLE webhook_deliveries (
    webhook_id    text        NOT NULL,
    sale_id       text        NOT NULL,
    -- Every movement up to this one was delivered, or is not to be sent.
    position      bigint      NOT NULL,
    -- Where the last message ended that was delivered. Movements between this and the position are not to be sent.
    sent          bigint      NOT NULL,
    -- Where the message ends that was begun last, until it was delivered.
    through       bigint,
    attempts      integer     NOT NULL DEFAULT 0,
    failure       text        NOT NULL DEFAULT '',
    failing_since timestamptz,
    parked_at     timestamptz,
    -- When the next attempt may begin: also when the lease of the last one ends. NULL: nothing is to be sent.
    due_at        timestamptz,
    -- Who sends. It is replaced by whoever claims the row, and every later write of the one before then finds no row.
    lease         uuid,
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (webhook_id, sale_id),
    CONSTRAINT webhook_deliveries_webhook_fkey FOREIGN KEY (webhook_id) REFERENCES webhooks (webhook_id) ON DELETE CASCADE,
    CONSTRAINT webhook_deliveries_position_check CHECK (sent >= 0 AND sent <= position AND through > position),
    CONSTRAINT webhook_deliveries_attempts_check CHECK (attempts >= 0 AND (attempts > 0) = (failing_since IS NOT NULL)),
    CONSTRAINT webhook_deliveries_parked_check CHECK (parked_at IS NULL OR (attempts > 0 AND due_at IS NULL))
);

CREATE INDEX webhook_deliveries_due_idx ON webhook_deliveries (webhook_id, due_at) WHERE due_at IS NOT NULL;

CREATE INDEX webhook_deliveries_failing_idx ON webhook_deliveries (webhook_id, sale_id COLLATE "C") WHERE attempts > 0;
