-- The units of each line that came back after the confirmation. NULL: none, which most reservations stay.
ALTER TABLE reservations ADD COLUMN returned integer[];

-- NOT VALID: the rows that exist have no value, and checking them would block sales for as long as it takes.
ALTER TABLE reservations ADD CONSTRAINT reservations_returned_check CHECK (
    returned IS NULL OR (state = 2 AND cardinality(returned) = cardinality(quantities) AND 0 <= ALL (returned))
) NOT VALID;
