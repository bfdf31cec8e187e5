-- Customers that are being erased. A row is deleted when nothing is left of the customer; then `changes` has a record of
-- it, under the pseudonym. The release before does not know of this table, and erases nobody.
CREATE TABLE erasures (
    customer     text        NOT NULL,
    pseudonym    text        NOT NULL,
    actor        text        NOT NULL,
    request_id   text        NOT NULL,
    reservations bigint      NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL,
    CONSTRAINT erasures_pkey PRIMARY KEY (customer),
    CONSTRAINT erasures_reservations_check CHECK (reservations >= 0)
);
