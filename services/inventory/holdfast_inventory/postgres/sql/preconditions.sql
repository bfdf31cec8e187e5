-- What each new connection is given, and asked for.

-- name: set_session
-- After the connection's start, for a pooler passes few settings with that and drops others in silence. A setting that
-- this server does not know is left out.
SELECT set_config(wanted.name, wanted.value, false)
FROM unnest($1::text[], $2::text[]) AS wanted (name, value)
WHERE current_setting(wanted.name, true) IS NOT NULL

-- name: read_settings
-- Apart from the statement that sets them, for what a session forgets between two statements it never had.
SELECT wanted.name, current_setting(wanted.name, true) AS value
FROM unnest($1::text[]) AS wanted (name)
