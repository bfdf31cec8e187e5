"""The messages of the suites' services, from their protos: nothing is generated and kept."""

import tempfile
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_tools import protoc


class Messages:
    """The messages of one package: `Messages(...).Name` is a class."""

    def __init__(self, directory: Path, package: str, *protos: str) -> None:
        """`protos` are files under `directory`. The first use raises OSError if they cannot be compiled."""
        self._directory, self._package, self._protos = directory, package, protos

    @cached_property
    def _pool(self) -> descriptor_pool.DescriptorPool:
        pool = descriptor_pool.DescriptorPool()
        for file in _compiled(self._directory, self._protos).file:
            pool.Add(file)
        return pool

    def __getattr__(self, name: str) -> Any:
        return self._class(f"{self._package}.{name}")

    def packed(self, message: Message) -> Any:
        """Return a message as an Any of these messages."""
        type_url = f"type.googleapis.com/{message.DESCRIPTOR.full_name}"
        return self._class("google.protobuf.Any")(type_url=type_url, value=message.SerializeToString())

    def _class(self, full_name: str) -> Any:
        return GetMessageClass(self._pool.FindMessageTypeByName(full_name))


def _compiled(directory: Path, protos: tuple[str, ...]) -> descriptor_pb2.FileDescriptorSet:
    well_known = files("grpc_tools") / "_proto"
    with tempfile.NamedTemporaryFile() as output:
        arguments = ["protoc", f"-I{directory}", f"-I{well_known}", "--include_imports"]
        if protoc.main([*arguments, f"--descriptor_set_out={output.name}", *protos]):
            raise OSError(f"cannot compile {', '.join(protos)} of {directory}")
        return descriptor_pb2.FileDescriptorSet.FromString(Path(output.name).read_bytes())
