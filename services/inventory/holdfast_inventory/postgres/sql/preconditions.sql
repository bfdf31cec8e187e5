-- What the server and each new connection are asked for, and what a connection is given.

-- name: session
-- Which session of the server it is that answers.
SELECT concat_ws(' ', pid, backend_start)
FROM pg_stat_get_activity(pg_backend_pid())

-- name: set_session
-- After the connection's start, for a pooler passes few settings with that and drops others in silence. One of them is
-- known to PostgreSQL 17 and later alone.
SELECT set_config(wanted.name, wanted.value, false)
FROM unnest($1::text[], $2::text[]) AS wanted (name, value)
WHERE wanted.name <> 'transaction_timeout' OR current_setting(wanted.name, true) IS NOT NULL

-- name: read_settings
-- Apart from the statement that sets them, for what a session forgets between two statements it never had.
SELECT wanted.name, current_setting(wanted.name, true) AS value
FROM unnest($1::text[]) AS wanted (name)

-- name: unusable_tables
-- Tables that a crash would empty, and those where one of the privileges is missing.
SELECT wanted.name, relation.relpersistence = 'u' AS is_unlogged
FROM unnest($1::text[], $2::text[]) AS wanted (name, privileges)
JOIN pg_class AS relation ON relation.oid = to_regclass(wanted.name)
WHERE relation.relpersistence = 'u' OR EXISTS (
    SELECT
    FROM unnest(string_to_array(wanted.privileges, ' ')) AS privilege
    WHERE NOT has_table_privilege(relation.oid, privilege)
)
