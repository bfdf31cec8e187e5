-- Who changed the rules of a sale, or a schedule, when, and how. Stock has its own record, the ledger.
CREATE TABLE changes (
    -- sales/{sale} or saleSchedules/{schedule}
    resource   text        NOT NULL,
    -- 1, 2, 3, and so on for each resource
    number     bigint      NOT NULL,
    -- 1 CREATE, 2 UPDATE, 3 PAUSE, 4 RESUME, 5 CANCEL, 6 CREATE_ITEM, 7 DELETE
    kind       smallint    NOT NULL,
    actor      text        NOT NULL,
    request_id text        NOT NULL,
    fields     text[]      NOT NULL,
    old_values text[]      NOT NULL,
    new_values text[]      NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT changes_pkey PRIMARY KEY (resource, number),
    CONSTRAINT changes_kind_check CHECK (kind BETWEEN 1 AND 7),
    CONSTRAINT changes_fields_check CHECK (
        cardinality(fields) = cardinality(old_values) AND cardinality(fields) = cardinality(new_values)
    )
);
