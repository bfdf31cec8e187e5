-- The stock core: sales, their items, reservations and ledger.
--
-- sale_id is in every key and predicate, so that the same statements stay on one shard of a distributed
-- PostgreSQL. Composite keys put the selective column first: with sale_id first, a plan made while a table is
-- empty scans the whole sale ever after.

CREATE TABLE sales (
    sale_id            text        NOT NULL,
    open_at            timestamptz NOT NULL,
    close_at           timestamptz,
    per_customer_limit integer     NOT NULL,
    hold_time          interval    NOT NULL,
    max_hold_time      interval    NOT NULL,
    paused             boolean     NOT NULL DEFAULT false,
    cancelled_at       timestamptz,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    schedule_id        text,
    -- The last movement. The row is locked by each batch and updated by most: nothing indexes what changes.
    sequence           bigint      NOT NULL DEFAULT 0,
    salt               bytea       NOT NULL,
    limits_customers   boolean     NOT NULL,
    CONSTRAINT sales_pkey PRIMARY KEY (sale_id),
    CONSTRAINT sales_window_check CHECK (close_at IS NULL OR close_at > open_at),
    CONSTRAINT sales_per_customer_limit_check CHECK (per_customer_limit >= 0),
    CONSTRAINT sales_hold_time_check CHECK (hold_time > interval '0' AND hold_time <= max_hold_time),
    CONSTRAINT sales_sequence_check CHECK (sequence >= 0),
    CONSTRAINT sales_salt_check CHECK (octet_length(salt) = 32)
) WITH (fillfactor = 50);

CREATE INDEX sales_schedule_idx ON sales (schedule_id, open_at) WHERE schedule_id IS NOT NULL;

CREATE TABLE items (
    item_id            text    NOT NULL,
    sale_id            text    NOT NULL,
    on_hand            integer NOT NULL,
    held               integer NOT NULL,
    sold               integer NOT NULL,
    per_customer_limit integer NOT NULL,
    version            bigint  NOT NULL,
    CONSTRAINT items_pkey PRIMARY KEY (sale_id, item_id),
    -- Promise 1: with these, no code can oversell.
    CONSTRAINT items_on_hand_check CHECK (on_hand >= 0),
    CONSTRAINT items_held_check CHECK (held >= 0 AND held <= on_hand),
    CONSTRAINT items_sold_check CHECK (sold >= 0),
    CONSTRAINT items_per_customer_limit_check CHECK (per_customer_limit >= 0)
) WITH (fillfactor = 50);

CREATE TABLE reservations (
    reservation_id uuid        NOT NULL,
    sale_id        text        NOT NULL,
    customer       text        NOT NULL,
    item_ids       text[]      NOT NULL,
    quantities     integer[]   NOT NULL,
    -- 1 HELD, 2 CONFIRMED, 3 RELEASED, 4 EXPIRED
    state          smallint    NOT NULL,
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    order_id       text        NOT NULL,
    fingerprint    bytea       NOT NULL,
    CONSTRAINT reservations_pkey PRIMARY KEY (reservation_id, sale_id),
    CONSTRAINT reservations_lines_check CHECK (
        cardinality(item_ids) > 0 AND cardinality(item_ids) = cardinality(quantities) AND 0 < ALL (quantities)
    ),
    CONSTRAINT reservations_state_check CHECK (state BETWEEN 1 AND 4),
    CONSTRAINT reservations_ended_check CHECK ((state = 1) = (ended_at IS NULL))
) WITH (fillfactor = 80);

-- What a customer holds and has bought, and a customer's reservations. While the table is empty, this index looks as
-- good as the primary key for finding a reservation by its sale and id, and a plan made then would read the whole sale
-- ever after. So sale_id has another collation here: only who asks for it can go by this index, and by no other.
CREATE INDEX reservations_customer_idx ON reservations (customer, sale_id COLLATE "C");

-- Open holds by their end, for expiry. An entry goes when its hold ends, which is once for each reservation.
CREATE INDEX reservations_open_idx ON reservations (sale_id, expires_at) WHERE state = 1;

-- The ledger: a row for each batch, its movements in arrays, for a row and an index entry for each movement would
-- cost more than all the rest. The view `movements` shows them as rows.
CREATE TABLE ledger (
    sale_id         text        NOT NULL,
    first_sequence  bigint      NOT NULL,
    last_sequence   bigint      NOT NULL,
    created_at      timestamptz NOT NULL,
    kinds           smallint[]  NOT NULL,
    item_ids        text[]      NOT NULL,
    on_hand_deltas  integer[]   NOT NULL,
    held_deltas     integer[]   NOT NULL,
    sold_deltas     integer[]   NOT NULL,
    reservation_ids uuid[]      NOT NULL,
    reasons         smallint[]  NOT NULL,
    actors          text[]      NOT NULL,
    CONSTRAINT ledger_pkey PRIMARY KEY (sale_id, last_sequence),
    CONSTRAINT ledger_first_sequence_key UNIQUE (sale_id, first_sequence),
    CONSTRAINT ledger_length_check CHECK (
        last_sequence - first_sequence + 1 = cardinality(kinds)
        AND cardinality(kinds) > 0
        AND cardinality(item_ids) = cardinality(kinds)
        AND cardinality(on_hand_deltas) = cardinality(kinds)
        AND cardinality(held_deltas) = cardinality(kinds)
        AND cardinality(sold_deltas) = cardinality(kinds)
        AND cardinality(reservation_ids) = cardinality(kinds)
        AND cardinality(reasons) = cardinality(kinds)
        AND cardinality(actors) = cardinality(kinds)
    )
);

CREATE VIEW movements AS
SELECT
    ledger.sale_id,
    ledger.first_sequence + movement.ordinal - 1 AS sequence,
    movement.kind,
    movement.item_id,
    movement.on_hand_delta,
    movement.held_delta,
    movement.sold_delta,
    movement.reservation_id,
    movement.reason,
    movement.actor,
    ledger.created_at
FROM ledger
CROSS JOIN LATERAL unnest(
    ledger.kinds, ledger.item_ids, ledger.on_hand_deltas, ledger.held_deltas, ledger.sold_deltas,
    ledger.reservation_ids, ledger.reasons, ledger.actors
) WITH ORDINALITY AS movement (
    kind, item_id, on_hand_delta, held_delta, sold_delta, reservation_id, reason, actor, ordinal
);

-- Adjustments and transfers that were done, by the id that their request id is bound to.
CREATE TABLE stock_changes (
    change_id   uuid        NOT NULL,
    sale_id     text        NOT NULL,
    fingerprint bytea       NOT NULL,
    created_at  timestamptz NOT NULL,
    CONSTRAINT stock_changes_pkey PRIMARY KEY (change_id, sale_id)
);

CREATE TABLE schedules (
    schedule_id              text        NOT NULL,
    period                   interval    NOT NULL,
    open_duration            interval    NOT NULL,
    per_customer_limit       integer     NOT NULL,
    hold_time                interval    NOT NULL,
    max_hold_time            interval    NOT NULL,
    item_ids                 text[]      NOT NULL,
    on_hands                 integer[]   NOT NULL,
    item_per_customer_limits integer[]   NOT NULL,
    source_sale_id           text,
    -- 1 STAY, 2 RETURN, 3 CARRY_OVER
    remainder                smallint    NOT NULL,
    created_at               timestamptz NOT NULL,
    CONSTRAINT schedules_pkey PRIMARY KEY (schedule_id),
    CONSTRAINT schedules_period_check CHECK (period >= interval '60 seconds'),
    CONSTRAINT schedules_open_duration_check CHECK (open_duration > interval '0' AND open_duration <= period),
    CONSTRAINT schedules_items_check CHECK (
        cardinality(item_ids) = cardinality(on_hands)
        AND cardinality(item_ids) = cardinality(item_per_customer_limits)
    ),
    CONSTRAINT schedules_remainder_check CHECK (remainder BETWEEN 1 AND 3)
);
