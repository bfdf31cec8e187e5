-- Only the schedules that the release before understands stay.
DROP VIEW schedules;
DELETE FROM sale_schedules
WHERE
    cron IS NOT NULL OR opening_offset <> interval '0' OR start_at IS NOT NULL OR end_at IS NOT NULL
    OR lead_time IS NOT NULL OR paused;
ALTER TABLE sale_schedules
    ALTER COLUMN period SET NOT NULL,
    ALTER COLUMN open_duration SET NOT NULL,
    DROP COLUMN cron,
    DROP COLUMN time_zone,
    DROP COLUMN excluded_dates,
    DROP COLUMN opening_offset,
    DROP COLUMN start_at,
    DROP COLUMN end_at,
    DROP COLUMN lead_time,
    DROP COLUMN paused,
    DROP COLUMN updated_at,
    DROP COLUMN revision;
ALTER TABLE sale_schedules RENAME TO schedules;
-- NOT VALID: the records of runs stay.
ALTER TABLE changes
    DROP CONSTRAINT changes_kind_check,
    ADD CONSTRAINT changes_kind_check CHECK (kind BETWEEN 1 AND 7) NOT VALID;
