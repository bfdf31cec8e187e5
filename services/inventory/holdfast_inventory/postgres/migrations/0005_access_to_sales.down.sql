ALTER TABLE schedules DROP COLUMN shop_confirms, DROP COLUMN admission_required, DROP COLUMN early_access;
ALTER TABLE sales DROP COLUMN shop_confirms, DROP COLUMN admission_required, DROP COLUMN early_access;
