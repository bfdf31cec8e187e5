-- Refused creates, for reports: how many in each minute. Replicas add their counts.
CREATE TABLE refusal_counts (
    sale_id  text        NOT NULL,
    minute   timestamptz NOT NULL,
    reason   text        NOT NULL,
    refusals bigint      NOT NULL,
    CONSTRAINT refusal_counts_pkey PRIMARY KEY (sale_id, minute, reason)
) WITH (fillfactor = 50);

CREATE INDEX refusal_counts_minute_idx ON refusal_counts (minute);

-- Why a customer was refused, for support: one row for each reason, and the lines that were asked for last.
CREATE TABLE customer_refusals (
    customer   text        NOT NULL,
    sale_id    text        NOT NULL,
    reason     text        NOT NULL,
    refusals   bigint      NOT NULL,
    first_at   timestamptz NOT NULL,
    last_at    timestamptz NOT NULL,
    item_ids   text[]      NOT NULL,
    quantities integer[]   NOT NULL,
    CONSTRAINT customer_refusals_pkey PRIMARY KEY (customer, sale_id, reason)
);

CREATE INDEX customer_refusals_last_idx ON customer_refusals (last_at);
