-- Lists of sales, the newest first. What these index never changes, so a batch's update of its sale writes no index.
-- sale_id has another collation than its column: a look-up of one sale must not go by these, which would read all of
-- them, and to a plan that is made on a small table they look as good as the primary key.
CREATE INDEX sales_created_idx ON sales (created_at, sale_id COLLATE "C");

CREATE INDEX sales_schedule_created_idx ON sales (schedule_id, created_at, sale_id COLLATE "C")
WHERE schedule_id IS NOT NULL;
