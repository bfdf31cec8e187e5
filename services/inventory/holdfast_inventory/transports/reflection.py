"""Server reflection, which lets clients such as grpcurl and ghz do without our protos."""

from collections.abc import Sequence

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection


def enable(server: grpc.aio.Server, service_names: Sequence[str]) -> None:
    """Let clients of `server` ask what these services, and reflection itself, look like."""
    reflection.enable_server_reflection((*service_names, reflection.SERVICE_NAME), server, _MethodsToo())


class _MethodsToo:
    """The descriptor pool, which by itself does not find methods (grpc#34743), and these are what ghz asks for."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> object:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - protobuf's name
        """Return the file that declares it. Raises KeyError."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file
