#!/usr/bin/env bash
# Dumps Holdfast's database into a file, and checks that the file is readable. Sales continue meanwhile.
set -euo pipefail

usage() {
  cat <<'END'
backup.sh [--directory DIRECTORY] [--dry-run]      needs pg_dump, not older than the server
  DATABASE_URL or DATABASE_URL_FILE   the database, straight, not through a pooler
  KEEP_DAYS                           dumps older than this are deleted; default 14
END
}

fail() { echo "backup: $*" >&2; exit 1; }

directory=. dry_run=false
while (($#)); do
  case "$1" in
    --directory) directory=${2:?--directory needs a directory}; shift 2 ;;
    --dry-run) dry_run=true; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail "unknown argument $1" ;;
  esac
done
keep_days=${KEEP_DAYS:-14}
[[ "$keep_days" =~ ^[0-9]+$ ]] || fail "KEEP_DAYS is not a number of days"
if [[ -n "${DATABASE_URL_FILE:-}" ]]; then DATABASE_URL=$(<"$DATABASE_URL_FILE"); fi
url=${DATABASE_URL:?which database}
unset DATABASE_URL
# Other users can read a program's arguments but not its environment, so the password is in the environment.
if [[ "$url" =~ ^([a-z]+://[^:/@]+):([^@]*)@(.*)$ ]]; then
  url="${BASH_REMATCH[1]}@${BASH_REMATCH[3]}"
  PGPASSWORD=$(printf '%b' "${BASH_REMATCH[2]//%/\\x}")
  export PGPASSWORD
fi

dump="$directory/holdfast-$(date -u +%Y%m%dT%H%M%SZ).dump"
dumping=(pg_dump --dbname="$url" --format=custom --no-owner --no-privileges --lock-wait-timeout=60s --file="$dump.part")
if $dry_run; then
  echo "${dumping[@]}"
  echo "mv $dump.part $dump"
  exit 0
fi

umask 077
mkdir -p "$directory"
trap 'rm -f "$dump.part"' EXIT
"${dumping[@]}"
pg_restore --list "$dump.part" >/dev/null
sync "$dump.part"
# A dump is complete when its name does not end with .part.
mv "$dump.part" "$dump"
(cd "$directory" && sha256sum "${dump##*/}" >"${dump##*/}.sha256")
find "$directory" -maxdepth 1 -name 'holdfast-*.dump*' -mtime "+$keep_days" -delete
echo "backed up to $dump: $(stat --format=%s "$dump") bytes"
