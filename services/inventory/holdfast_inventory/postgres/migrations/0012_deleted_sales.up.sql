-- When a sale was deleted. The release before does not know of it: to that, the sale is cancelled.
ALTER TABLE sales ADD COLUMN deleted_at timestamptz;
