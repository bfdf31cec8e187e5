#!/usr/bin/env bash
# Creates the secrets of the compose files, each in a file of compose/secrets. Existing ones are kept.
set -euo pipefail
cd "$(dirname "$0")"

# Other users cannot enter the directory; the services' user must be able to read its files.
mkdir -p -m 0700 secrets
umask 022

# Prints 32 characters that need no escaping in a URL.
password() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }

[[ -s secrets/database_password ]] || password >secrets/database_password
[[ -s secrets/database_url ]] ||
  echo "postgresql://holdfast:$(<secrets/database_password)@postgres:5432/holdfast" >secrets/database_url
[[ -s secrets/grafana_password ]] || password >secrets/grafana_password
# A key of an operator with all scopes, and its hash, which is all that the services get. Create more keys with
# `holdfast-inventory key create --file compose/secrets/api_keys.json`.
if [[ ! -s secrets/api_keys.json ]]; then
  operator_key=holdfast_$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n')
  echo "$operator_key" >secrets/operator_key
  scopes='"reservations.write", "stock.read", "stock.write", "sales.read", "sales.write", "webhooks.read", "webhooks.write", "customers.erase"'
  printf '{"keys": [{"name": "operator", "scopes": [%s], "sha256": "%s"}]}\n' \
    "$scopes" "$(printf %s "$operator_key" | sha256sum | cut -d ' ' -f 1)" >secrets/api_keys.json
fi
echo "secrets are in $PWD/secrets"
