#!/usr/bin/env bash
# Builds the clients that the end-to-end tests speak through into .tools/bin. Needs Go. Does nothing for those that are there.
set -euo pipefail
cd "$(dirname "$0")/.."

# name, module and version, package in the module, name to install it by
tools=(
  "github.com/bojand/ghz                        v0.121.0 ./cmd/ghz     ghz"
  "github.com/fullstorydev/grpcurl              v1.9.4   ./cmd/grpcurl grpcurl"
  "github.com/grpc-ecosystem/grpc-health-probe  v0.4.42  .             grpc_health_probe"
)

bin="$PWD/.tools/bin"
mkdir -p "$bin"

for tool in "${tools[@]}"; do
  read -r module version package name <<<"$tool"
  if [[ "$(cat "$bin/.$name.version" 2>/dev/null)" == "$version" && -x "$bin/$name" ]]; then
    continue
  fi
  command -v go >/dev/null || { echo "Go is needed to build $name: install golang" >&2; exit 1; }
  echo "building $name $version"
  # From the module's own directory: there its go.sum pins what it is built from, and its go.mod may replace modules.
  directory=$(go mod download -json "$module@$version" | sed -n 's/^\s*"Dir": "\(.*\)",\?$/\1/p')
  [[ -d "$directory" ]] || { echo "$module@$version cannot be had from the module proxy" >&2; exit 1; }
  (cd "$directory" && CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "-s -w" -o "$bin/$name" "$package")
  echo "$version" >"$bin/.$name.version"
done
