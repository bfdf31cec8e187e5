ALTER TABLE sales DROP COLUMN revision;
