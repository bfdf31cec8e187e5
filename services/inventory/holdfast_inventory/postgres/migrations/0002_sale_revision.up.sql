-- Counts everything that changes what a batch may read of a sale, so that a batch can tell whether what it has read is
-- still so: appends of any kind, rules, new items. The release before does not know of it and counts nothing; batches
-- compare the row's version as well.
ALTER TABLE sales ADD COLUMN revision bigint NOT NULL DEFAULT 0;
