DROP INDEX sales_schedule_created_idx;
DROP INDEX sales_created_idx;
