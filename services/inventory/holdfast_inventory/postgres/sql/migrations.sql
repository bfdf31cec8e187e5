-- The statements of the migration runner. Off the hot path.

-- name: try_to_lock_migrations
-- One runner at a time. The lock belongs to the session, because each migration of a run has its own transaction; the
-- server releases it when the runner's connection ends. This does not wait: an index that is built while its table is in
-- use waits for all transactions that are older, so one that waited for the runner would wait for ever.
SELECT pg_try_advisory_lock($1)

-- name: set_lock_timeout
-- How long a statement waits for locks, for the rest of the session.
SELECT set_config('lock_timeout', $1, false)

-- name: has_history
-- Whether any migration has run in this database. A separate statement, so that the check creates nothing.
SELECT to_regclass('schema_migrations') IS NOT NULL

-- name: create_history
-- Not a migration itself: this table records the migrations.
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer     NOT NULL,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT schema_migrations_pkey PRIMARY KEY (version)
)

-- name: read_history
-- The applied migrations.
SELECT version, checksum
FROM schema_migrations

-- name: record_migration
-- In the migration's own transaction, so that it is recorded if and only if it was applied.
INSERT INTO schema_migrations (version, name, checksum)
VALUES ($1, $2, $3)

-- name: forget_migration
-- In the transaction that undoes the migration.
DELETE FROM schema_migrations
WHERE version = $1
