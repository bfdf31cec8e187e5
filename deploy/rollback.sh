#!/usr/bin/env bash
# Rolls back to the previous version: edge, gateways, inventories, waiting for each. The schema stays:
# the previous version works with it (docs/runbook/rollback.md).
set -euo pipefail

usage() {
  cat <<'END'
rollback.sh [--dry-run] ENVIRONMENT [NAME[=REVISION] ...]
  ENVIRONMENT  dev, staging, production (Kubernetes) or swarm
  NAME         inventory, gateway, edge; default all
  REVISION     of `kubectl rollout history`; default the one before. Not for swarm, which knows only the one before.
END
}

fail() { echo "rollback: $*" >&2; exit 1; }

dry_run=false environment="" wanted=()
while (($#)); do
  case "$1" in
    --dry-run) dry_run=true ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; echo "rollback: unknown argument $1" >&2; exit 2 ;;
    *) if [[ -z "$environment" ]]; then environment=$1; else wanted+=("$1"); fi ;;
  esac
  shift
done
case "$environment" in
  dev | staging) namespace=holdfast-$environment ;;
  production) namespace=holdfast ;;
  swarm) ;;
  "") usage >&2; exit 2 ;;
  *) usage >&2; echo "rollback: there is no environment $environment: dev, staging, production or swarm" >&2; exit 2 ;;
esac
((${#wanted[@]})) || wanted=(inventory gateway edge)
declare -A revisions=()
for each in "${wanted[@]}"; do
  name=${each%%=*}
  [[ "$name" =~ ^(inventory|gateway|edge)$ ]] || { echo "rollback: there is no $name" >&2; exit 2; }
  if [[ "$each" == *=* ]]; then revisions[$name]=${each#*=}; else revisions[$name]=0; fi # 0 is the one before.
  [[ "${revisions[$name]}" =~ ^[0-9]+$ ]] || { echo "rollback: ${revisions[$name]} is no revision" >&2; exit 2; }
done

run() {
  if $dry_run; then echo "$*"; else "$@"; fi
}

failed=()
for name in edge gateway inventory; do
  [[ -n "${revisions[$name]:-}" ]] || continue
  if [[ "$environment" == swarm ]]; then
    run docker service rollback --detach=false "holdfast_$name" || failed+=("$name")
  else
    { run kubectl --namespace "$namespace" rollout undo "deployment/$name" "--to-revision=${revisions[$name]}" &&
      run kubectl --namespace "$namespace" rollout status "deployment/$name" --timeout 60m; } || failed+=("$name")
  fi
done
((${#failed[@]} == 0)) || fail "not rolled back: ${failed[*]}"
$dry_run || echo "rollback: done in $environment"
