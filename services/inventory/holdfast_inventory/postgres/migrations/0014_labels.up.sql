-- What callers note on sales, items and reservations. The release before does not know of these columns, and its inserts
-- leave them at their defaults. Most reservations have no notes.
ALTER TABLE sales ADD COLUMN display_name text NOT NULL DEFAULT '', ADD COLUMN labels text NOT NULL DEFAULT '';
ALTER TABLE items ADD COLUMN display_name text NOT NULL DEFAULT '', ADD COLUMN labels text NOT NULL DEFAULT '';
ALTER TABLE reservations ADD COLUMN notes text;
