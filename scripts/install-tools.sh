#!/usr/bin/env bash
# Builds the clients that the end-to-end tests speak through, and kustomize, into .tools/bin, and gets the definitions of
# custom resources that the manifests use into .tools/crds. Needs Go. Does nothing for what is there.
set -euo pipefail
cd "$(dirname "$0")/.."

# name, module and version, package in the module, name to install it by
tools=(
  "github.com/bojand/ghz                        v0.121.0 ./cmd/ghz     ghz"
  "github.com/fullstorydev/grpcurl              v1.9.4   ./cmd/grpcurl grpcurl"
  "github.com/grpc-ecosystem/grpc-health-probe  v0.4.42  .             grpc_health_probe"
  "sigs.k8s.io/kustomize/kustomize/v5           v5.7.1   .             kustomize"
)
# module and version, definition in the module
definitions=(
  "sigs.k8s.io/gateway-api                  v1.3.0  config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"
  "sigs.k8s.io/gateway-api                  v1.3.0  config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml"
  "github.com/cloudnative-pg/cloudnative-pg v1.26.0 config/crd/bases/postgresql.cnpg.io_clusters.yaml"
)

bin="$PWD/.tools/bin"
crds="$PWD/.tools/crds"
mkdir -p "$bin" "$crds"

# Prints the directory of a module's source: <module>@<version>
module_directory() {
  local directory
  directory=$(go mod download -json "$1" | sed -n 's/^\s*"Dir": "\(.*\)",\?$/\1/p')
  [[ -d "$directory" ]] || { echo "$1 cannot be had from the module proxy" >&2; return 1; }
  echo "$directory"
}

for tool in "${tools[@]}"; do
  read -r module version package name <<<"$tool"
  if [[ "$(cat "$bin/.$name.version" 2>/dev/null)" == "$version" && -x "$bin/$name" ]]; then
    continue
  fi
  command -v go >/dev/null || { echo "Go is needed to build $name: install golang" >&2; exit 1; }
  echo "building $name $version"
  # From the module's own directory: there its go.sum pins what it is built from, and its go.mod may replace modules.
  directory=$(module_directory "$module@$version")
  (cd "$directory" && CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "-s -w" -o "$bin/$name" "$package")
  echo "$version" >"$bin/.$name.version"
done

for definition in "${definitions[@]}"; do
  read -r module version path <<<"$definition"
  target="$crds/$version-${path##*/}"
  if [[ ! -f "$target" ]]; then
    echo "getting ${path##*/} $version"
    directory=$(module_directory "$module@$version")
    install -m 644 "$directory/$path" "$target"
  fi
done
