-- The checks of the server and of each new connection, and the settings of a connection.

-- name: session
-- The identity of the server's session.
SELECT concat_ws(' ', pid, backend_start)
FROM pg_stat_get_activity(pg_backend_pid())

-- name: set_session
-- After the start of the connection, because a pooler passes on few startup parameters and silently drops the others.
-- Only PostgreSQL 17 and later know transaction_timeout.
SELECT set_config(wanted.name, wanted.value, false)
FROM unnest($1::text[], $2::text[]) AS wanted (name, value)
WHERE wanted.name <> 'transaction_timeout' OR current_setting(wanted.name, true) IS NOT NULL

-- name: read_settings
-- Separate from the statement that sets them: a pooler may change the session between two statements.
SELECT wanted.name, current_setting(wanted.name, true) AS value
FROM unnest($1::text[]) AS wanted (name)

-- name: unusable_tables
-- Tables that a crash would empty, and tables on which a privilege is missing.
SELECT wanted.name, relation.relpersistence = 'u' AS is_unlogged
FROM unnest($1::text[], $2::text[]) AS wanted (name, privileges)
JOIN pg_class AS relation ON relation.oid = to_regclass(wanted.name)
WHERE relation.relpersistence = 'u' OR EXISTS (
    SELECT
    FROM unnest(string_to_array(wanted.privileges, ' ')) AS privilege
    WHERE NOT has_table_privilege(relation.oid, privilege)
)
