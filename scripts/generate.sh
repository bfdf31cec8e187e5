#!/usr/bin/env bash
# Generates the Python stubs, their types and a descriptor set from the protos, into protos/gen.
# --check: fails if this would change the committed files.
set -euo pipefail
cd "$(dirname "$0")/.."

python="${PYTHON:-.venv/bin/python}"
target=protos/gen
if [[ "${1:-}" == "--check" ]]; then
  target=$(mktemp -d)
  trap 'rm -rf "$target"' EXIT
fi

PATH="$(dirname "$python"):$PATH"
rm -rf "$target"/{holdfast,buf}
mkdir -p "$target"
"$python" -m grpc_tools.protoc -I protos -I protos/third_party \
  --python_out="$target" --grpc_python_out="$target" \
  --mypy_out="$target" --mypy_grpc_out="$target" \
  --descriptor_set_out="$target/holdfast-descriptors.binpb" --include_source_info --include_imports \
  protos/holdfast/options/v1/*.proto protos/holdfast/inventory/v1/*.proto
# The protos in third_party that are in no PyPI package, generated for the same runtime.
"$python" -m grpc_tools.protoc -I protos/third_party --python_out="$target" \
  protos/third_party/buf/validate/validate.proto
# With the comments, which the stubs omit and the gateway's OpenAPI document needs.
mv "$target/holdfast-descriptors.binpb" "$target/holdfast/inventory/v1/descriptors.binpb"
touch "$target"/holdfast{,/{inventory,options}{,/v1}}/__init__.py
touch "$target"/holdfast/py.typed

if [[ "$target" != protos/gen ]]; then
  diff --recursive --exclude=__pycache__ protos/gen "$target" ||
    { echo "protos/gen is stale: run 'make generate'" >&2; exit 1; }
fi
