#!/usr/bin/env bash
# Builds the images and runs them as in production: without root, a writable file system and capabilities.
# Needs root on a Debian machine, and a container engine: a running one, or it starts its own.
# Bases come from the engine if it has them or can pull them. Otherwise a substitute is made of Debian packages
# under the base's name, which tests the Dockerfile but not the base. The last line says which was used.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.0.0-test
services=(inventory gateway edge)
declare -A dockerfiles=([inventory]=services/inventory/Dockerfile [gateway]=gateway/Dockerfile [edge]=gateway/edge/Dockerfile)
base=$(sed -n 's/^ARG PYTHON_IMAGE=//p' services/inventory/Dockerfile)
base_kind="the base image itself"
work=$(mktemp -d -t holdfast-images.XXXXXX)
containers=()
engine_pid=""

fail() { echo "images-test: $*" >&2; exit 1; }

engine() { docker ${DOCKER_HOST:+--host "$DOCKER_HOST"} "$@"; }

clean_up() {
  local container
  for container in "${containers[@]}"; do engine rm --force --volumes "$container" >/dev/null 2>&1 || true; done
  if [[ -n "$engine_pid" ]]; then
    kill "$engine_pid" 2>/dev/null || true
    # It unmounts all but one of its mounts, which must end before the directory is removed.
    while kill -0 "$engine_pid" 2>/dev/null; do sleep 0.2; done
    umount "$work"/exec/netns/* 2>/dev/null || true
  fi
  rm -rf --one-file-system "$work"
}
trap clean_up EXIT

have_engine() {
  engine info >/dev/null 2>&1 && return
  command -v dockerd >/dev/null || fail "no container engine: start one, or install docker.io and debootstrap"
  ((EUID == 0)) || fail "no container engine runs, and only root can start one"
  export DOCKER_HOST="unix://$work/docker.sock"
  dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/dockerd.pid" \
    --bridge=none --iptables=false --ip6tables=false >"$work/dockerd.log" 2>&1 &
  engine_pid=$!
  local deadline=$((SECONDS + 30))
  until engine info >/dev/null 2>&1; do
    kill -0 "$engine_pid" 2>/dev/null || fail "the container engine cannot be started here: $(tail -n 1 "$work/dockerd.log")"
    ((SECONDS < deadline)) || fail "the container engine does not answer"
    sleep 0.5
  done
}

have_base() {
  if ! engine image inspect "$base" >/dev/null 2>&1; then
    timeout 120 docker ${DOCKER_HOST:+--host "$DOCKER_HOST"} pull --quiet "$base" >/dev/null 2>&1 || make_base
  fi
  if [[ "$(engine image inspect --format '{{index .Config.Labels "holdfast.stand-in"}}' "$base")" == true ]]; then
    base_kind="a stand-in of Debian's packages for $base"
  fi
}

make_base() {
  command -v debootstrap >/dev/null || fail "$base cannot be pulled; install debootstrap for a stand-in"
  echo "making a stand-in for $base"
  debootstrap --variant=minbase --include=python3,python3-pip,libpython3.11,ca-certificates bookworm "$work/root" >"$work/debootstrap.log" ||
    fail "debootstrap: $(tail -n 1 "$work/debootstrap.log")"
  # The build uses the same package index as this machine.
  cp -L /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"
  if [[ -f /etc/pip.conf ]]; then cp /etc/pip.conf "$work/root/etc/"; fi
  tar --create --one-file-system --directory "$work/root" . |
    engine import --change "LABEL holdfast.stand-in=true" - "$base" >/dev/null
  rm -rf --one-file-system "$work/root"
}

build() {
  local name
  for name in "${services[@]}"; do
    echo "building $name"
    DOCKER_BUILDKIT=0 engine build --quiet --network host --file "${dockerfiles[$name]}" --build-arg "VERSION=$version" \
      --tag "holdfast-$name:$version" . >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; fail "$name cannot be built"; }
  done
}

# Prints a field of an image's configuration.
of_image() { engine image inspect --format "{{$2}}" "holdfast-$1:$version"; }

expect() { [[ "$2" == "$3" ]] || fail "$1: expected '$2', got '$3'"; }

check_configuration() {
  local name
  for name in "${services[@]}"; do
    expect "$name's user" "10001:10001" "$(of_image "$name" .Config.User)"
    expect "$name's stop signal" "SIGTERM" "$(of_image "$name" .Config.StopSignal)"
    expect "$name's version" "$version" "$(of_image "$name" 'index .Config.Labels "org.opencontainers.image.version"')"
    expect "$name's entry point" "[python3 -m holdfast_$name]" "$(of_image "$name" .Config.Entrypoint)"
    expect "$name's command" "[serve]" "$(of_image "$name" .Config.Cmd)"
    expect "$name's health check" "[CMD python3 -m holdfast_$name health]" "$(of_image "$name" .Config.Healthcheck.Test)"
  done
}

# Writes the SBOM of each image: the lock's packages, and those of its base.
write_sboms() {
  local name
  mkdir -p build/sbom
  for name in "${services[@]}"; do
    # shellcheck disable=SC2016 # dpkg-query expands it
    engine run --rm --network none --entrypoint dpkg-query "holdfast-$name:$version" \
      --show --showformat '${Package} ${Version} ${Architecture}\n' |
      .venv/bin/python scripts/sbom.py "$name" "$version" >"build/sbom/$name.json"
    grep -q '"pkg:deb/debian/libc6@' "build/sbom/$name.json" || fail "the SBOM of $name lacks the packages of its base"
  done
}

# Runs an image as production does: run <docker's options> -- <image> <arguments>
run() {
  local options=()
  while [[ "$1" != "--" ]]; do options+=("$1"); shift; done
  shift
  engine run --network host --read-only --cap-drop ALL --security-opt no-new-privileges --pids-limit 256 --memory 1g \
    --env-file "$work/environment" "${options[@]}" "holdfast-$1:$version" "${@:2}"
}

start() {
  containers+=("holdfast-test-$1")
  run --detach --name "holdfast-test-$1" -- "$1" >/dev/null
  local deadline=$((SECONDS + 90)) status=""
  while status=$(engine inspect --format '{{.State.Health.Status}}' "holdfast-test-$1"); [[ "$status" != healthy ]]; do
    if ((SECONDS >= deadline)) || [[ "$(engine inspect --format '{{.State.Status}}' "holdfast-test-$1")" != running ]]; then
      engine logs --tail 20 "holdfast-test-$1" >&2
      fail "$1 is not healthy"
    fi
    sleep 0.5
  done
  echo "$1 is healthy"
}

stop() {
  engine stop --time 120 "holdfast-test-$1" >/dev/null
  expect "$1's exit code" 0 "$(engine inspect --format '{{.State.ExitCode}}' "holdfast-test-$1")"
  if engine logs "holdfast-test-$1" 2>&1 | grep -q '"level":"error"'; then
    engine logs "holdfast-test-$1" 2>&1 | grep '"level":"error"' >&2
    fail "$1 logged errors"
  fi
  echo "$1 stopped with 0"
}

have_engine
have_base
build
check_configuration
write_sboms
# Servers for them, with ports that are free.
coproc servers { exec .venv/bin/python -m tests.deploy.servers "$work/environment"; }
# shellcheck disable=SC2154 # coproc sets it
read -r -t 120 <&"${servers[0]}" || fail "PostgreSQL for the test did not start"
run --rm -- inventory migrate
for name in "${services[@]}"; do start "$name"; done
# shellcheck disable=SC1091
source "$work/environment"
edge="127.0.0.1:$HOLDFAST_EDGE_HTTP_PORT"
deploy/smoke-test.sh --rest "http://$edge" --grpc "$edge" --version "$version"
for name in edge gateway inventory; do stop "$name"; done
for name in "${services[@]}"; do
  printf '%-10s %s MB\n' "$name" "$(($(of_image "$name" .Size) / 1000000))"
done
echo "images-test: passed, on $base_kind"
