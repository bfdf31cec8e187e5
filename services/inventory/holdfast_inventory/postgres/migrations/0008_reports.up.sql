-- What reports of sales have summed so far. It can be deleted at any time: the next report sums it again.
CREATE TABLE report_checkpoints (
    sale_id  text     NOT NULL,
    sequence bigint   NOT NULL,
    format   smallint NOT NULL,
    sums     jsonb    NOT NULL,
    CONSTRAINT report_checkpoints_pkey PRIMARY KEY (sale_id)
);
