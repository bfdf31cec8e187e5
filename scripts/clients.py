"""Writes what the clients in TypeScript and Go are generated from: the OpenAPI document, operations, and Go's stubs.

python scripts/clients.py typescript DIRECTORY    openapi.json and operations.ts
python scripts/clients.py go DIRECTORY            holdfast/contract.go, and the stubs in inventory/v1
"""  # noqa: INP001

import subprocess
import sys
from importlib import resources
from pathlib import Path

import orjson
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message

from holdfast_chassis.contract import METHODS, SERVICES
from holdfast_chassis.version import deployment_version
from holdfast_gateway.openapi import openapi_document
from holdfast_gateway.routes import routes_of

_PACKAGE = "holdfast.inventory.v1"


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


def go(directory: Path) -> None:
    """Write the stubs by Go's plugins for protoc, which must be in the PATH, and the services with their methods."""
    request = CodeGeneratorRequest(
        file_to_generate=[file.name for file in _files() if file.package == _PACKAGE],
        parameter="module=holdfast.dev/api",
        proto_file=[_without_options(file) if file.package == _PACKAGE else file for file in _files()],
    )
    for plugin in ("protoc-gen-go", "protoc-gen-go-grpc"):
        finished = subprocess.run([plugin], input=request.SerializeToString(), stdout=subprocess.PIPE, check=True)  # noqa: S603
        response = CodeGeneratorResponse.FromString(finished.stdout)
        if response.error:
            sys.exit(response.error)
        for file in response.file:
            path = directory / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.content)
    (directory / "holdfast/contract.go").write_text(_contract_in_go())


def _go(value: bool) -> str:
    return str(value).lower()


def _files() -> list[FileDescriptorProto]:
    packed = resources.files(_PACKAGE).joinpath("descriptors.binpb").read_bytes()
    return list(FileDescriptorSet.FromString(packed).file)


def _without_options(file: FileDescriptorProto) -> FileDescriptorProto:
    """Return a file without the options that other programs read: their packages are not needed then."""
    plain = FileDescriptorProto()
    plain.CopyFrom(file)
    _clear_options(plain)
    plain.options.go_package = file.options.go_package
    unused = ("google/api/", "buf/", "holdfast/options/")
    kept = [name for name in plain.dependency if not name.startswith(unused)]
    del plain.dependency[:]
    plain.dependency.extend(kept)
    return plain


def _clear_options(message: Message) -> None:
    for field, value in message.ListFields():
        if field.name == "options":
            message.ClearField("options")
        elif field.message_type is not None and field.name != "source_code_info":
            for each in value if field.is_repeated else (value,):
                _clear_options(each)


def _contract_in_go() -> str:
    names = {service.name: f"{service.name.removesuffix('Service')}s" for service in SERVICES}
    fields = "\n".join(f"\t{field} pb.{name}Client" for name, field in names.items())
    values = ", ".join(f"pb.New{name}Client(conn)" for name in names)
    rows = "\n".join(
        f'\t"{each.path}": {{repeatable: {_go(each.repeatable)}, read: {_go(each.kind.changes_nothing)}}},'
        for each in METHODS
    )
    return f"""// Generated from the contract.

package holdfast

import (
\t"google.golang.org/grpc"

\tpb "holdfast.dev/api/inventory/v1"
)

type services struct {{
{fields}
}}

func newServices(conn grpc.ClientConnInterface) services {{
\treturn services{{{values}}}
}}

// facts are what the contract says about a method.
type facts struct{{ repeatable, read bool }}

var methods = map[string]facts{{
{rows}
}}
"""


if __name__ == "__main__":
    {"typescript": typescript, "go": go}[sys.argv[1]](Path(sys.argv[2]))
