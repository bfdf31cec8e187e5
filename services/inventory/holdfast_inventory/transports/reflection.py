"""Server reflection, v1 and v1alpha, which lets clients such as grpcurl and ghz do without our protos."""

from collections.abc import Sequence

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

_STABLE_NAME = reflection.SERVICE_NAME.replace("v1alpha", "v1")


def enable(server: grpc.aio.Server, service_names: Sequence[str]) -> None:
    """Let clients of `server` ask what these services, and reflection itself, look like."""
    names = (*service_names, reflection.SERVICE_NAME, _STABLE_NAME)
    servicer = reflection.aio.ReflectionServicer(names, _Pool())
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    # The same messages by another name, for which the library has no code.
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handlers = {"ServerReflectionInfo": method}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_STABLE_NAME, handlers),))


def _stable_file() -> FileDescriptorProto:
    """Return v1alpha's file under the names of v1."""
    alpha = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    return text_format.Parse(text_format.MessageToString(alpha).replace("v1alpha", "v1"), FileDescriptorProto())


class _Pool:
    """The descriptor pool, which by itself does not find methods (grpc#34743), and these are what ghz asks for."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()
        self._pool.AddSerializedFile(_stable_file().SerializeToString())

    def __getattr__(self, name: str) -> object:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - protobuf's name
        """Return the file that declares it. Raises KeyError."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file
