-- Who may confirm in a sale, and whom it admits. The release before does not know of these columns: its inserts leave
-- them at their defaults, and it enforces none of them.
ALTER TABLE sales
    ADD COLUMN shop_confirms boolean NOT NULL DEFAULT false,
    ADD COLUMN admission_required boolean NOT NULL DEFAULT false,
    ADD COLUMN early_access interval NOT NULL DEFAULT interval '0';
ALTER TABLE schedules
    ADD COLUMN shop_confirms boolean NOT NULL DEFAULT false,
    ADD COLUMN admission_required boolean NOT NULL DEFAULT false,
    ADD COLUMN early_access interval NOT NULL DEFAULT interval '0';
