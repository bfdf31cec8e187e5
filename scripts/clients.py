"""Writes what the clients in TypeScript and Go are generated from: the OpenAPI document, operations, and Go's stubs.

python scripts/clients.py typescript DIRECTORY    openapi.json and operations.ts
"""  # noqa: INP001

import sys
from pathlib import Path

import orjson

from holdfast_chassis.contract import METHODS, SERVICES
from holdfast_chassis.version import deployment_version
from holdfast_gateway.openapi import openapi_document
from holdfast_gateway.routes import routes_of


def typescript(directory: Path) -> None:
    """Write the OpenAPI document, and the operations with what is true of them."""
    document = openapi_document(routes_of(SERVICES), deployment_version(), knows_callers=True)
    (directory / "openapi.json").write_bytes(orjson.dumps(document))
    repeatable = {method.name: method.repeatable for method in METHODS}
    lines = ["// Generated from the contract.", "export const OPERATIONS = {"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if (name := operation.get("operationId")) in repeatable:
                keyed = any("Idempotency-Key" in each.get("$ref", "") for each in operation.get("parameters", ()))
                facts = {"method": method.upper(), "path": path, "repeatable": repeatable[name], "keyed": keyed}
                lines.append(f"  {name}: {orjson.dumps(facts).decode()},")
    (directory / "operations.ts").write_text("\n".join([*lines, "} as const;", ""]))


if __name__ == "__main__":
    {"typescript": typescript}[sys.argv[1]](Path(sys.argv[2]))
