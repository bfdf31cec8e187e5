#!/usr/bin/env bash
# Restores a dump into an empty database, all of it or nothing. Serve from it only after verifying the ledger:
# docs/runbook/restore.md.
set -euo pipefail

usage() {
  cat <<'END'
restore.sh [--dry-run] DUMP      needs pg_restore and psql
  DATABASE_URL or DATABASE_URL_FILE   the database: it must exist and be empty
END
}

fail() { echo "restore: $*" >&2; exit 1; }

dump="" dry_run=false
while (($#)); do
  case "$1" in
    --dry-run) dry_run=true; shift ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; fail "unknown argument $1" ;;
    *) dump=$1; shift ;;
  esac
done
[[ -n "$dump" ]] || { usage >&2; fail "which dump"; }
[[ -f "$dump" ]] || fail "there is no $dump"
if [[ -n "${DATABASE_URL_FILE:-}" ]]; then DATABASE_URL=$(<"$DATABASE_URL_FILE"); fi
url=${DATABASE_URL:?which database}
unset DATABASE_URL
# Other users can read a program's arguments but not its environment, so the password is in the environment.
if [[ "$url" =~ ^([a-z]+://[^:/@]+):([^@]*)@(.*)$ ]]; then
  url="${BASH_REMATCH[1]}@${BASH_REMATCH[3]}"
  PGPASSWORD=$(printf '%b' "${BASH_REMATCH[2]//%/\\x}")
  export PGPASSWORD
fi

if [[ -f "$dump.sha256" ]]; then
  (cd "$(dirname "$dump")" && sha256sum --quiet --check "${dump##*/}.sha256") || fail "$dump is not what was dumped"
else
  echo "restore: there is no $dump.sha256: whether the dump is whole is not known" >&2
fi
restoring=(pg_restore --dbname="$url" --no-owner --no-privileges --exit-on-error --single-transaction "$dump")
if $dry_run; then
  echo "${restoring[@]}"
  exit 0
fi

tables=$(psql --dbname="$url" --no-psqlrc --tuples-only --no-align --command \
  "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'")
[[ "$tables" == 0 ]] || fail "the database is not empty: restore into a new one, and point the services there"
"${restoring[@]}"
# The planner has no statistics of the loaded data yet.
psql --dbname="$url" --no-psqlrc --quiet --command ANALYZE
echo "restored $dump"
