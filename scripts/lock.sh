#!/usr/bin/env bash
# Pins and hashes all dependencies of pyproject.toml, one file per kind of installation. Compatible pins are kept.
# --check: fails if this would change the committed files.
# --upgrade: uses the newest compatible versions.
set -euo pipefail
cd "$(dirname "$0")/.."

uv="${UV:-.venv/bin/uv}"
declare -A sources=(
  [inventory]="pyproject.toml --extra inventory --extra envoy --extra tracing --extra errors"
  [gateway]="pyproject.toml --extra gateway --extra tracing --extra errors"
  [edge]="pyproject.toml --extra edge"
  [devstack]="pyproject.toml --extra devstack --extra build"
  [dev]="pyproject.toml --extra dev"
  [go]="--group pyproject.toml:go"
  [node]="--group pyproject.toml:node"
  [openapi]="--group pyproject.toml:openapi"
)

target=requirements
upgrade=()
case "${1:-}" in
  --check)
    target=$(mktemp -d)
    trap 'rm -rf "$target"' EXIT
    cp requirements/*.txt "$target" # What is pinned there is kept if it still fits.
    ;;
  --upgrade) upgrade=(--upgrade) ;;
esac

for name in "${!sources[@]}"; do
  read -ra source <<<"${sources[$name]}"
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --custom-compile-command "make lock" "${source[@]}" "${upgrade[@]}" --output-file "$target/$name.txt"
done

if [[ "$target" != requirements ]]; then
  diff --unified=0 requirements "$target" || { echo "requirements/ is stale: run 'make lock'" >&2; exit 1; }
fi
