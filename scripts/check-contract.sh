#!/usr/bin/env bash
# Checks the protos: style, formatting, compatibility with main, and that the generated code is current.
set -euo pipefail
cd "$(dirname "$0")/.."

buf lint
buf format --diff --exit-code --path protos/holdfast

# A clone has main as its own branch, or as the origin's.
main=$(git rev-parse --verify --quiet 'origin/main^{commit}' || git rev-parse --verify --quiet 'main^{commit}' || true)
if [[ -z "$main" ]]; then
  echo "no main in this clone: the protos are compared with nothing" >&2
elif git cat-file -e "$main:protos/holdfast" 2>/dev/null; then
  released=$(mktemp -d)
  trap 'rm -rf "$released"' EXIT
  git archive "$main" protos buf.yaml | tar --extract --directory "$released"
  buf breaking --against "$released"
fi

PYTHON="$(command -v python)" scripts/generate.sh --check
