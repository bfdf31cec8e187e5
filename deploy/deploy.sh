#!/usr/bin/env bash
# Rolls a version out: the schema, the inventories, the gateways, the edge, waiting for each; then a smoke test.
# If a step fails, all of them are rolled back. The schema stays, because the previous version works with it.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'END'
deploy.sh [--dry-run] [--images PREFIX] [--key FILE] [--no-rollback] ENVIRONMENT VERSION
  ENVIRONMENT      dev, staging or production: Kubernetes, by the overlay of that name and kubectl's current context
                   swarm: the stack holdfast, by deploy/swarm/stack.yaml
  VERSION          the images' tag
  --images PREFIX  what the images' names begin with, such as registry.internal:5000/shop/
  --key FILE       what the smoke test calls with: an API key of all scopes
  --no-rollback    leave a deploy that failed as it is, to look at
  --dry-run        only print the commands
END
}

fail() { echo "deploy: $*" >&2; exit 1; }

dry_run=false images="" roll_back=true positional=() credential=()
while (($#)); do
  case "$1" in
    --dry-run) dry_run=true; shift ;;
    --images) images=${2:?--images needs a prefix}; shift 2 ;;
    --key) credential=(--key "${2:?--key needs a file}"); shift 2 ;;
    --no-rollback) roll_back=false; shift ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; echo "deploy: unknown argument $1" >&2; exit 2 ;;
    *) positional+=("$1"); shift ;;
  esac
done
((${#positional[@]} == 2)) || { usage >&2; exit 2; }
environment=${positional[0]} version=${positional[1]}
[[ "$version" =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] || fail "$version is no tag of an image"
[[ "$version" != latest ]] || fail "latest is no version: it could not be rolled back to"

PATH="$PWD/.tools/bin:$PATH"
work=$(mktemp -d "$PWD/k8s/.deploy.XXXXXX")
forwarding=""
trap '[[ -z "$forwarding" ]] || kill "$forwarding" 2>/dev/null || true; rm -rf "$work"' EXIT

# Runs a command, or with --dry-run prints it.
run() {
  if $dry_run; then echo "${*//$work/WORK}"; else "$@"; fi
}

deployments=(inventory gateway edge) # A gateway may need what the new inventory can do, and the edge both.
declare -A before=()

##### Kubernetes

# The overlay with the version's images; kustomize accepts bases only as relative paths.
render() {
  cat >"$work/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../overlays/$environment]
images:
$(for name in "${deployments[@]}"; do
    printf '  - {name: holdfast-%s, newName: "%sholdfast-%s", newTag: "%s"}\n' "$name" "$images" "$name" "$version"
  done)
END
  kubectl kustomize "$work" >"$work/manifests.yaml"
}

# Prints the revision of a deployment; nothing if there is none.
revision() {
  kubectl --namespace "$namespace" get deployment "$1" --ignore-not-found \
    --output 'jsonpath={.metadata.annotations.deployment\.kubernetes\.io/revision}'
}

# Waits until the migration has succeeded.
wait_for_migration() {
  if $dry_run; then echo "kubectl --namespace $namespace wait --for=condition=Complete job/migrate"; return; fi
  local deadline=$((SECONDS + 1800)) state
  while ((SECONDS < deadline)); do
    state=$(kubectl --namespace "$namespace" get job migrate \
      --output 'jsonpath={range .status.conditions[?(@.status=="True")]}{.type} {end}')
    case " $state " in
      *" Complete "*) return 0 ;;
      *" Failed "*) kubectl --namespace "$namespace" logs job/migrate --tail 20 >&2 || true; return 1 ;;
    esac
    sleep 1
  done
  return 1
}

apply() { run kubectl apply --selector "app.kubernetes.io/component $1" --filename "$work/manifests.yaml"; }

roll_out() {
  local name
  for name in "${deployments[@]}"; do
    apply "in ($name)" || return 1
    # Longer than a pod may take to stop, times the pods: the deployment's own deadline for progress ends it sooner.
    run kubectl --namespace "$namespace" rollout status "deployment/$name" --timeout 60m || return 1
  done
}

# Through the API server, so that it needs no public name and tests the edge itself.
smoke_test() {
  if $dry_run; then
    echo "kubectl --namespace $namespace port-forward service/edge :8000"
    echo "deploy/smoke-test.sh --version $version ${credential[*]}"
    return
  fi
  kubectl --namespace "$namespace" port-forward service/edge :8000 >"$work/forward" &
  forwarding=$!
  local deadline=$((SECONDS + 30)) port=""
  until port=$(sed -n 's/^Forwarding from 127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$work/forward") && [[ -n "$port" ]]; do
    kill -0 "$forwarding" 2>/dev/null && ((SECONDS < deadline)) || return 1
    sleep 0.2
  done
  deploy/smoke-test.sh --rest "http://127.0.0.1:$port" --grpc "127.0.0.1:$port" --version "$version" "${credential[@]}"
}

# Rolls back only what this deploy has changed.
undo() {
  local name now changed=()
  for name in "${deployments[@]}"; do
    now=$(revision "$name")
    [[ -z "${before[$name]}" || "$now" == "${before[$name]}" ]] || changed+=("$name=${before[$name]}")
  done
  ((${#changed[@]})) || fail "$version failed in $environment, and was left as it is: there is nothing to roll back"
  deploy/rollback.sh "$environment" "${changed[@]}"
}

deploy_to_kubernetes() {
  command -v kubectl >/dev/null || fail "kubectl is needed"
  render || fail "the overlay cannot be rendered"
  for name in "${deployments[@]}"; do
    if $dry_run; then before[$name]=""; else before[$name]=$(revision "$name"); fi
  done
  run kubectl --namespace "$namespace" delete job migrate --ignore-not-found --wait
  apply "notin (inventory, gateway, edge)" || fail "nothing was rolled out"
  wait_for_migration || fail "the migration failed: nothing was rolled out"
  if roll_out && smoke_test; then return; fi
  $roll_back || fail "$version failed in $environment, and was left as it is"
  echo "deploy: $version failed in $environment; rolling back" >&2
  undo || fail "rolling back failed too: see docs/runbook/rollback.md"
  fail "$version was rolled back in $environment"
}

##### Swarm

# Prints the image of a service; nothing if there is none.
image() {
  docker service inspect --format '{{.Spec.TaskTemplate.ContainerSpec.Image}}' "holdfast_$1" 2>/dev/null || true
}

# Prints the state of a service's update; nothing if it was created.
update_state() { docker service inspect --format '{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}' "holdfast_$1"; }

# Swarm itself rolls back a service whose new tasks fail (deploy/swarm/stack.yaml); this rolls back the others.
deploy_to_swarm() {
  command -v docker >/dev/null || fail "docker is needed"
  export HOLDFAST_VERSION=$version HOLDFAST_IMAGES=$images
  local name state changed=() failed=""
  for name in "${deployments[@]}"; do
    if $dry_run; then before[$name]=""; else before[$name]=$(image "$name"); fi
  done
  run docker stack deploy --with-registry-auth --detach=false --compose-file deploy/swarm/stack.yaml holdfast ||
    failed=" the stack"
  if ! $dry_run; then
    for name in "${deployments[@]}"; do
      state=$(update_state "$name")
      [[ -z "$state" || "$state" == completed ]] || failed="$failed $name ($state)"
      [[ -z "${before[$name]}" || "$(image "$name")" == "${before[$name]}" ]] || changed+=("$name")
    done
  fi
  if [[ -n "$failed" ]]; then
    echo "deploy: not updated:$failed" >&2
  elif run deploy/smoke-test.sh --version "$version" "${credential[@]}"; then
    return
  fi
  $roll_back || fail "$version failed, and was left as it is"
  ((${#changed[@]})) || fail "$version failed, and was left as it is: there is nothing to roll back"
  deploy/rollback.sh swarm "${changed[@]}" || fail "rolling back failed too: see docs/runbook/rollback.md"
  fail "$version was rolled back"
}

case "$environment" in
  dev) namespace=holdfast-dev; deploy_to_kubernetes ;;
  staging) namespace=holdfast-staging; deploy_to_kubernetes ;;
  production) namespace=holdfast; deploy_to_kubernetes ;;
  swarm) deploy_to_swarm ;;
  *) usage >&2; echo "deploy: there is no environment $environment: dev, staging, production or swarm" >&2; exit 2 ;;
esac
$dry_run || echo "deploy: $version serves in $environment"
