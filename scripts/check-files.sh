#!/usr/bin/env bash
# Checks all files that are neither Python nor proto, each with its own validator. A missing validator is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

# Prints the files, committed or about to be, whose paths match any of the patterns.
files() {
  git ls-files --cached --others --exclude-standard --deduplicate -- "$@" | while read -r file; do
    if [[ -e "$file" ]]; then echo "$file"; fi
  done
}

# Runs a command on the files that match, if there are any: check <title> <command...> -- <patterns...>
check() {
  local title=$1 command=() found
  shift
  while [[ "$1" != "--" ]]; do command+=("$1"); shift; done
  shift
  mapfile -t found < <(files "$@")
  ((${#found[@]})) || return 0
  echo "$title: ${#found[@]} files"
  "${command[@]}" "${found[@]}"
}

check "shell scripts" shellcheck --external-sources -- '*.sh' '.ci/run'
check "Dockerfiles" hadolint --no-color -- '*Dockerfile' '*.Dockerfile'
check "compose files" check-jsonschema --builtin-schema vendor.compose-spec -- 'compose/*.yaml' 'deploy/swarm/*.yaml'
check "Kubernetes manifests" kubernetes-validate --strict --quiet -- 'k8s/base/*.yaml' ':!*/kustomization.yaml'
check "alert rules" promtool check rules -- 'monitoring/*rules.yaml'
check "tests of alert rules" promtool test rules -- 'monitoring/*rules_test.yaml'
check "Prometheus" promtool check config --syntax-only -- 'monitoring/prometheus.yml'

# Overlays as rendered by kustomize, ECS definitions by AWS's shapes, units by systemd, and every variable that they set.
echo "overlays, ECS definitions, systemd units"
pytest --quiet --no-header -p no:cacheprovider tests/deploy/test_{kubernetes,definitions,environments}.py
