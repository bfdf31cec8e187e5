"""The comments of the protos, by the full names of the elements that they describe."""

from collections.abc import Iterator
from importlib import resources
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

_PACKAGE = "holdfast.inventory.v1"


def proto_comments() -> dict[str, str]:
    """Return all comments. They are not in the stubs, so they are read from the descriptor set."""
    packed = resources.files(_PACKAGE).joinpath("descriptors.binpb").read_bytes()
    files = FileDescriptorSet.FromString(packed).file
    return {name: text for file in files if file.package == _PACKAGE for name, text in _comments(file)}


def _comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        text = location.leading_comments or location.trailing_comments
        if text and len(location.path) % 2 == 0:
            yield ".".join((file.package, *_names(file, location.path))), _unwrapped(text)


def _names(file: FileDescriptorProto, path: Any) -> Iterator[str]:  # noqa: ANN401 - the repeated field has no name
    """Return the full name at a path of field numbers and indexes, such as message_type[2].field[0]."""
    here: Any = file
    for number, index in zip(path[::2], path[1::2], strict=True):
        here = getattr(here, here.DESCRIPTOR.fields_by_number[number].name)[index]
        yield here.name


def _unwrapped(text: str) -> str:
    """Join lines, which are wrapped in the source, but keep paragraphs."""
    paragraphs = ("\n".join(line.strip() for line in text.splitlines())).strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)
