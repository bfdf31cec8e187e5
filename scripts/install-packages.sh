#!/usr/bin/env bash
# Installs the packages of a lock, and this project, with a virtual environment's Python: install-packages.sh PYTHON LOCK
# Shows its progress: the first run takes a minute or more, in which pip prints either nothing or a page.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 lock=$2

# One line that changes on a terminal, elsewhere a line each.
if [[ -t 1 ]]; then before=$'\r\e[K' after=""; else before="" after=$'\n'; fi
say() { printf '%s  %s%s' "$before" "$1" "$after"; }

show_progress() {
  local total number=0 event package
  total=$(grep --count --extended-regexp '^[a-z0-9].*==' "$lock")
  while read -r event package _; do
    case "$event" in
      Collecting) say "$((++number)) of at most $total: ${package%%==*}" ;;
      Installing) say "unpacking them" ;;
    esac
  done
  printf '%s' "$before"
}

pip=("$python" -m pip --disable-pip-version-check install)
PYTHONUNBUFFERED=1 "${pip[@]}" --progress-bar off --require-hashes --only-binary :all: -r "$lock" | show_progress
"${pip[@]}" --quiet --no-deps --no-build-isolation -e .
