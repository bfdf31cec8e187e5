#!/usr/bin/env bash
# Writes the Go client's module into a directory: clients/go, and what is generated from the contract. Needs Go and .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:?a directory}
plugins=(
  google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
  google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
)

rm -rf "$target"
cp -r clients/go "$target"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for plugin in "${plugins[@]}"; do GOBIN="$work" go install "$plugin"; done
PATH="$work:$PATH" .venv/bin/python scripts/clients.py go "$target"
go fmt -C "$target" ./... >/dev/null
