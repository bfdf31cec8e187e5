"""Writes the methods and the refusals of the Python client, which the contract defines."""  # noqa: INP001

import builtins
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from holdfast.inventory.v1.refusal_pb2 import Refusal
from holdfast_chassis.contract import REASONS, SERVICES
from holdfast_gateway.proto_comments import proto_comments

# Not imported, because it may not fit the contract at this moment.
PACKAGE = Path(__file__).parents[1] / "clients/python/holdfast_client"
_COMMENTS = proto_comments()
_DO_NOT_EDIT = "Written by scripts/python_client.py (`make generate`)."
_CLIENTS = {
    "async_client.py": ("AsyncClient", "AsyncCaller", "async_caller", "Async", "A client for asyncio."),
    "sync_client.py": ("Client", "Caller", "sync_caller", "", "A client that blocks; threads may share it."),
}


def rendered() -> dict[Path, str]:
    """Return the files' texts."""
    texts = {PACKAGE / name: _formatted(_client(*parts)) for name, parts in _CLIENTS.items()}
    return texts | {PACKAGE / "refusals.py": _formatted(_refusals())}


def _formatted(text: str) -> str:
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--fix", "--quiet", "--select=I"], ["format", "--quiet"]):
        arguments = [*ruff, *command, "--stdin-filename", str(PACKAGE / "generated.py"), "-"]
        finished = subprocess.run(arguments, input=text, capture_output=True, text=True, check=True)  # noqa: S603
        text = finished.stdout
    return text


def _client(name: str, base: str, module: str, prefix: str, what: str) -> str:
    methods = [method for service in SERVICES for method in service.methods]
    lines = [f'"""The contract\'s methods. {_DO_NOT_EDIT}"""', ""]
    lines += sorted({_import(kind) for method in methods for kind in _kinds(method)})
    kinds = sorted({f"{prefix}{_descriptor(method)}" for method in methods})
    lines += [f"from holdfast_client.{module} import {', '.join([*kinds, base])}", ""]
    lines += [f"class {name}({base}):", f'    """{what} Each method raises Refusal or Unanswered."""', ""]
    for method in methods:
        arguments = ", ".join(kind.name for kind in _kinds(method))
        lines += [f"    {_snake(method.name)} = {prefix}{_descriptor(method)}({arguments})"]
        lines += [*_docstring(_COMMENTS[method.full_name], "    "), ""]
    return "\n".join(lines)


def _refusals() -> str:
    lines = [f'"""A class for each reason of a refusal. {_DO_NOT_EDIT}"""', ""]
    lines += ["from collections.abc import Mapping", "from typing import Final", ""]
    lines += ["from holdfast_client.errors import Refusal", ""]
    for value in Refusal.Reason.DESCRIPTOR.values:
        if value.number:
            comment = _COMMENTS[f"{Refusal.Reason.DESCRIPTOR.full_name}.{value.name}"]
            lines += [f"class {_camel(value.name)}(Refusal):", *_docstring(comment, "    "), ""]
    lines += ["BY_REASON: Final[Mapping[str, type[Refusal]]] = {"]
    lines += [f'    "{name}": {_camel(name)},' for name in REASONS]
    return "\n".join([*lines, "}", ""])


def _docstring(comment: str, indent: str) -> Iterator[str]:
    """Yield a docstring; the contract's comments may have a sentence that is longer than a line."""
    paragraphs = [textwrap.wrap(text, 115 - len(indent)) for text in comment.split("\n\n")]
    lines = [line for paragraph in paragraphs for line in ("", *paragraph)][1:]
    if len(lines) == 1:
        yield f'{indent}"""{lines[0]}"""'
    else:
        yield f'{indent}"""{lines[0]}'
        yield from (f"{indent}{line}" if line else "" for line in lines[1:])
        yield f'{indent}"""'


def _kinds(method: MethodDescriptor) -> list[Descriptor]:
    """Return the messages of a method: its request, its answer and, if that is a page, its entry."""
    entries = (field.message_type for field in _entries(method))
    return [method.input_type, method.output_type, *(kind for kind in entries if kind is not None)]


def _entries(method: MethodDescriptor) -> list[FieldDescriptor]:
    if "next_page_token" not in method.output_type.fields_by_name:
        return []
    return [field for field in method.output_type.fields if field.is_repeated]


def _descriptor(method: MethodDescriptor) -> str:
    if method.server_streaming:
        return "Watch"
    return "Pages" if _entries(method) else "Call"


def _import(kind: Descriptor) -> str:
    module = kind.file.name.removesuffix(".proto").replace("/", ".")
    return f"from {module}_pb2 import {kind.name}"


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _camel(name: str) -> str:
    camel = name.title().replace("_", "")
    return f"{camel}Refusal" if hasattr(builtins, camel) else camel


if __name__ == "__main__":
    for path, text in rendered().items():
        path.write_text(text, encoding="utf-8")
