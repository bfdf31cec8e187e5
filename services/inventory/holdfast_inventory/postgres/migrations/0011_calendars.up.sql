-- Schedules by a calendar, with a start, an end and a pause. The release before knows only the fixed period, and opens
-- what it finds. So the table gets another name, and `schedules`, by which that release reads and writes, becomes a view
-- of the rows that it understands in full. Ids are unique across both, because it is one table.
ALTER TABLE schedules RENAME TO sale_schedules;

ALTER TABLE sale_schedules
    -- Openings are either by a period or by a calendar.
    ALTER COLUMN period DROP NOT NULL,
    -- NULL: until the next one opens.
    ALTER COLUMN open_duration DROP NOT NULL,
    ADD COLUMN cron text,
    ADD COLUMN time_zone text,
    ADD COLUMN excluded_dates date[],
    ADD COLUMN opening_offset interval NOT NULL DEFAULT interval '0',
    ADD COLUMN start_at timestamptz,
    ADD COLUMN end_at timestamptz,
    ADD COLUMN lead_time interval,
    ADD COLUMN paused boolean NOT NULL DEFAULT false,
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN revision bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT sale_schedules_recurrence_check CHECK ((period IS NULL) = (cron IS NOT NULL)),
    ADD CONSTRAINT sale_schedules_calendar_check CHECK (
        (cron IS NULL) = (time_zone IS NULL) AND (cron IS NULL) = (excluded_dates IS NULL)
    ),
    ADD CONSTRAINT sale_schedules_window_check CHECK (end_at > start_at);

CREATE VIEW schedules AS
SELECT
    schedule_id, period, open_duration, per_customer_limit, hold_time, max_hold_time, item_ids, on_hands,
    item_per_customer_limits, source_sale_id, remainder, created_at, shop_confirms, admission_required, early_access
FROM sale_schedules
WHERE
    cron IS NULL AND opening_offset = interval '0' AND start_at IS NULL AND end_at IS NULL AND lead_time IS NULL
    AND NOT paused;

-- If another role migrates, the service's role may use the view as it may use the table.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT CASE grantee WHEN 'PUBLIC' THEN 'PUBLIC' ELSE quote_ident(grantee) END AS role, privilege_type
        FROM information_schema.role_table_grants
        WHERE table_schema = current_schema() AND table_name = 'sale_schedules'
    LOOP
        EXECUTE format('GRANT %s ON schedules TO %s', granted.privilege_type, granted.role);
    END LOOP;
END
$$;

-- 8 is RUN. The releases that come know more kinds; only they write them.
ALTER TABLE changes DROP CONSTRAINT changes_kind_check, ADD CONSTRAINT changes_kind_check CHECK (kind >= 1) NOT VALID;
