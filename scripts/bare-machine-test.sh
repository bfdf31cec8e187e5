#!/usr/bin/env bash
# Runs `make up` and `make test` like a new user: on a Debian 12 with only python3, python3-venv, make, git and certificates,
# once as root in a clone under /root, once as an ordinary user who may not install packages. It tests what is
# committed. Needs root and debootstrap, on a machine that reaches PyPI, npm, Go and Debian packages.
#   ROLES="root user"         the users to test
#   ARGS="tests/unit -k up"   for make test; default: all tests
#   TOOLS=.tools              programs that were built before; saves minutes, but does not test building them
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "bare-machine-test: $*" >&2; exit 1; }

((EUID == 0)) || fail "only root can make a bare machine"
command -v debootstrap >/dev/null || fail "debootstrap is needed"

# In separate namespaces, so that its mounts and processes end with it. So root cannot create namespaces for its
# servers either (a chroot may make none), as in most containers.
if [[ "${1:-}" != --inside ]]; then
  exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$0" --inside
fi

roles=${ROLES:-root user}
args=${ARGS:-}
user=shopkeeper
packages=python3,python3-venv,make,git,ca-certificates
up_seconds=900
stop_seconds=120
work=$(mktemp -d -t holdfast-bare.XXXXXX)
trap 'umount --recursive --lazy "$work"/*/{proc,sys,dev} 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM

# The variables that tell pip, Go and npm where packages are, and which certificates to trust.
mapfile -t settings < <(env | grep -E '^(PIP_(INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|CERT|PROXY|DEFAULT_TIMEOUT)|GO(PROXY|SUMDB|NOSUMDB|PRIVATE)|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|NODE_EXTRA_CA_CERTS|npm_config_[a-z_]+|[a-zA-Z]+_(proxy|PROXY))=')

make_machine() {
  echo "making a Debian 12 with $packages"
  debootstrap --variant=minbase --include="$packages" bookworm "$work/pristine" >"$work/debootstrap.log" ||
    fail "debootstrap: $(tail -n 1 "$work/debootstrap.log")"
  # The new machine gets packages in the same way as this one.
  cp -r /etc/apt/. "$work/pristine/etc/apt/"
  cp -L /etc/ssl/certs/ca-certificates.crt "$work/pristine/etc/ssl/certs/"
  local file
  for file in /etc/resolv.conf /etc/hosts /etc/pip.conf; do
    if [[ -f "$file" ]]; then cp -L "$file" "$work/pristine/etc/"; fi
  done
}

# Creates a machine for a role, with a clone in its home: boot <role>
boot() {
  root="$work/$1"
  cp -a "$work/pristine" "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs shm "$root/dev/shm"
  home=/root
  if [[ "$1" == user ]]; then
    chroot "$root" useradd --create-home --shell /bin/bash "$user"
    home=/home/$user
  fi
  git clone --quiet --no-hardlinks "$PWD" "$root$home/holdfast"
  if [[ -n "${TOOLS:-}" ]]; then cp -a "$TOOLS" "$root$home/holdfast/.tools"; fi
  chroot "$root" chown --recursive "$(owner "$1")" "$home/holdfast"
}

owner() { if [[ "$1" == user ]]; then echo "$user:$user"; else echo root:root; fi; }

# Runs a command in the clone: on <role> <command...>
on() {
  env --ignore-environment HOME="$home" USER="$(owner "$1" | cut -d: -f1)" LANG=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${settings[@]}" \
    chroot --userspec="$(owner "$1")" "$root" env --chdir="$home/holdfast" "${@:2}"
}

# Free ports, so that other programs on this machine do not interfere.
choose_ports() {
  local names=(HTTP GRPC METRICS GATEWAY_METRICS POSTGRES VALKEY) numbers
  mapfile -t numbers < <(python3 -c 'import random, socket
probes = [socket.socket() for _ in range(6)]
for probe in probes:
    while True:
        try:
            probe.bind(("127.0.0.1", random.randrange(10_000, 32_768)))
            break
        except OSError:
            pass
    print(probe.getsockname()[1])')
  ports=()
  for index in "${!names[@]}"; do ports+=("HOLDFAST_${names[index]}_PORT=${numbers[index]}"); done
  rest="http://127.0.0.1:${numbers[0]}"
}

# A first `make up` sells, and stops in order.
test_up() {
  local log="$work/$1-up.log" began=$SECONDS
  choose_ports
  set -m # A process group of its own, which is sent what Ctrl-C sends.
  on "$1" env "${ports[@]}" make up >"$log" 2>&1 &
  local up=$!
  set +m
  until [[ -f "$log" ]] && grep -q "Ctrl-C stops it" "$log"; do
    kill -0 "$up" 2>/dev/null || { cat "$log" >&2; fail "make up ended, as $1"; }
    ((SECONDS - began < up_seconds)) || { cat "$log" >&2; fail "make up does not serve after $up_seconds s, as $1"; }
    sleep 0.5
  done
  echo "$1: make up serves after $((SECONDS - began)) s"
  deploy/smoke-test.sh --rest "$rest" --rest-only
  kill -INT -- "-$up"
  timeout "$stop_seconds" tail --pid="$up" --follow /dev/null || fail "make up does not stop, as $1"
  grep -q "stopped PostgreSQL after" "$log" || { cat "$log" >&2; fail "make up did not stop in order, as $1"; }
  sed 's/^/  | /' "$log"
}

# A user who may not install gets one sentence, before anything else, with what is missing and the command to install it.
test_request() {
  local said how
  if said=$(on user make --no-print-directory test 2>&1); then fail "make test does without what this machine lacks"; fi
  [[ "$(grep --count --invert-match '^make: ' <<<"$said")" == 1 ]] || fail "not one sentence: $said"
  how=$(sed -n 's/^.* needs .*: as root, run: //p' <<<"$said")
  echo "user: ${said%%$'\n'*}"
  chroot "$root" env DEBIAN_FRONTEND=noninteractive "${settings[@]}" sh -c "${how:?nothing is asked for}" >"$work/apt.log" 2>&1 ||
    fail "$how: $(tail -n 3 "$work/apt.log")"
}

make_machine
for role in $roles; do
  boot "$role"
  test_up "$role"
  if [[ "$role" == user ]]; then test_request; fi
  began=$SECONDS
  on "$role" make test ${args:+ARGS="$args"} || fail "make test failed, as $role"
  echo "$role: make test passed after $((SECONDS - began)) s"
done
echo "bare-machine-test: passed, as $roles"
