ALTER TABLE reservations DROP COLUMN notes;
ALTER TABLE items DROP COLUMN display_name, DROP COLUMN labels;
ALTER TABLE sales DROP COLUMN display_name, DROP COLUMN labels;
