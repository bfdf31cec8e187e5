#!/usr/bin/env bash
# Buys a unit of a separate sale, `canary`, over REST and over gRPC, and gives it back. This tests the whole path to the
# database and back in a few calls. Fails if an answer is wrong, or the stock has changed at the end.
set -euo pipefail

usage() {
  cat <<'END'
smoke-test.sh [--rest URL] [--grpc HOST:PORT] [--tls] [--version VERSION] [--key FILE] [--rest-only] [--dry-run]
  --rest URL        where REST is; default http://localhost:8000
  --grpc HOST:PORT  where gRPC is; default localhost:8000
  --tls             gRPC over TLS
  --version VERSION the version that has to answer
  --key FILE        what to call with: an API key of all scopes, or a token
  --rest-only       without gRPC, which needs grpcurl
  --dry-run         only print the requests
END
}

rest=http://localhost:8000 grpc=localhost:8000 transport=(-plaintext) version="" with_grpc=true dry_run=false key_file=""
while (($#)); do
  case "$1" in
    --rest) rest=${2:?$1 needs a URL}; shift 2 ;;
    --grpc) grpc=${2:?$1 needs HOST:PORT}; shift 2 ;;
    --tls) transport=(); shift ;;
    --version) version=${2:?$1 needs a version}; shift 2 ;;
    --key) key_file=${2:?$1 needs a file}; shift 2 ;;
    --rest-only) with_grpc=false; shift ;;
    --dry-run) dry_run=true; shift ;;
    -h | --help) usage; exit 0 ;;
    *) echo "smoke-test: unknown argument $1" >&2; usage >&2; exit 2 ;;
  esac
done

cd "$(dirname "$0")/.."
PATH="$PWD/.tools/bin:$PATH"
protoset=protos/gen/holdfast/inventory/v1/descriptors.binpb
run_id="smoke-$(date -u +%Y%m%dT%H%M%S)-$$-$RANDOM"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# In a file and in the environment, because every user can read arguments.
authorization=()
if [[ -n "$key_file" ]]; then
  HOLDFAST_CREDENTIAL="Bearer $(<"$key_file")"
  export HOLDFAST_CREDENTIAL
  (umask 077 && echo "Authorization: $HOLDFAST_CREDENTIAL" >"$work/authorization")
  authorization=(--header "@$work/authorization")
  # shellcheck disable=SC2016 # grpcurl replaces it
  transport+=(-expand-headers -H 'authorization: ${HOLDFAST_CREDENTIAL}')
fi

fail() { echo "smoke-test: $*" >&2; exit 1; }

# Sends a REST request and puts the answer into $answer: ask <method> <path> <body> [header]
ask() {
  if $dry_run; then echo "$1 $rest$2 $3"; answer='{}'; return; fi
  local status options=(--silent --show-error --max-time 15 --retry 2 --dump-header "$work/headers"
    --output "$work/answer" --write-out '%{http_code}' --request "$1" --header 'Content-Type: application/json' "${authorization[@]}")
  [[ -z "$3" ]] || options+=(--data "$3")
  [[ -z "${4:-}" ]] || options+=(--header "$4")
  status=$(curl "${options[@]}" "$rest$2") || fail "$1 $2: no answer"
  answer=$(<"$work/answer")
  [[ "$status" == 200 || " ${allowed:-} " == *" $status "* ]] || fail "$1 $2: $status: $answer"
}

# Makes a gRPC call and puts the answer into $answer: call <service>/<method> <body>
call() {
  if $dry_run; then echo "gRPC $grpc $1 $2"; answer='{}'; return; fi
  answer=$(grpcurl "${transport[@]}" -connect-timeout 3 -max-time 15 -protoset "$protoset" -d "$2" "$grpc" "holdfast.inventory.v1.$1" 2>&1) ||
    fail "$1: $answer"
}

# Prints the first value of a key of $answer.
value() { { grep -oE "\"$1\": ?(\"[^\"]*\"|-?[0-9]+|true|false)" <<<"$answer" || true; } | head -n 1 | sed -E 's/^"[^"]*": ?"?//; s/"$//'; }

expect() { $dry_run || [[ "$(value "$1")" == "$2" ]] || fail "$3: $1 is not $2: $answer"; }

if ! $dry_run; then
  command -v curl >/dev/null || fail "curl is needed"
  if $with_grpc; then command -v grpcurl >/dev/null || fail "grpcurl is needed: make tools, or --rest-only"; fi
fi

item=/v1/sales/canary/items/unit
allowed=409 ask POST '/v1/sales?sale_id=canary' '{"holdTime": "60s", "items": [{"item": "unit", "onHand": 100}]}'
if [[ -n "$version" ]] && ! $dry_run; then
  found=$(sed -n 's/^x-deployment-version: *\([^[:space:]]*\).*/\1/Ip' "$work/headers")
  [[ "$found" == "$version" ]] || fail "version $found answers, not $version"
fi
ask GET "$item" ''
before=$(value available)

ask POST /v1/sales/canary/reservations "{\"customer\": \"$run_id\", \"lines\": [{\"item\": \"unit\", \"quantity\": 1}]}" \
  "Idempotency-Key: $run_id"
expect state HELD "a hold by REST"
held=$(value name)
ask POST /v1/sales/canary/reservations "{\"customer\": \"$run_id\", \"lines\": [{\"item\": \"unit\", \"quantity\": 1}]}" \
  "Idempotency-Key: $run_id"
expect name "$held" "the same request again"
ask POST "/v1/$held:confirm" "{\"order\": \"$run_id\"}"
expect state CONFIRMED "a sale by REST"
ask POST "$item:adjust" "{\"delta\": 1, \"reason\": \"RETURNED\", \"requestId\": \"$run_id\"}"

if $with_grpc; then
  call ReservationService/CreateReservation "{\"parent\": \"sales/canary\", \"customer\": \"$run_id-grpc\",
    \"request_id\": \"$run_id-grpc\", \"lines\": [{\"item\": \"unit\", \"quantity\": 1}]}"
  expect state HELD "a hold by gRPC"
  held=$(value name)
  call ReservationService/ConfirmReservation "{\"name\": \"$held\", \"order\": \"$run_id\"}"
  expect state CONFIRMED "a sale by gRPC"
  call SaleService/AdjustStock "{\"name\": \"sales/canary/items/unit\", \"delta\": 1, \"reason\": \"RETURNED\",
    \"request_id\": \"$run_id-grpc\"}"
fi

ask GET "$item" ''
expect available "$before" "the stock after everything was given back"
ask GET /v1/sales/canary:verify ''
expect consistent true "the ledger"
echo "smoke-test: passed${version:+, version $version}"
