ALTER TABLE sales DROP COLUMN deleted_at;
