ALTER TABLE reservations DROP COLUMN returned;
