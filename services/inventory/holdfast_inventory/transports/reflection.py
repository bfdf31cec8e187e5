"""Server reflection, v1 and v1alpha, so that clients such as grpcurl and ghz do not need the protos."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence

from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

from holdfast_inventory.api.call import Call
from holdfast_inventory.ports import Endpoint

SERVICE = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
_NAMES = (SERVICE.full_name, SERVICE.full_name.replace("v1alpha", "v1"))


class Reflection:
    """A servicer that describes the services of these names, and reflection itself."""

    def __init__(self, service_names: Sequence[str]) -> None:
        self._servicer = reflection.aio.ReflectionServicer((*service_names, *_NAMES), _Pool())

    def server_reflection_info(
        self, requests: AsyncIterator[reflection_pb2.ServerReflectionRequest], _: Call
    ) -> AsyncGenerator[reflection_pb2.ServerReflectionResponse]:
        """Answer each request."""
        answers: AsyncGenerator[reflection_pb2.ServerReflectionResponse] = self._servicer.ServerReflectionInfo(
            requests, None
        )
        return answers


def under_both_names(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """Return reflection's endpoints, under both of its names."""
    older, newer = _NAMES
    return [
        endpoint._replace(path=endpoint.path.replace(older, name)) for endpoint in endpoints for name in (older, newer)
    ]


def _stable_file() -> FileDescriptorProto:
    """Return v1alpha's file under the names of v1: the messages are the same, and the library has no code for v1."""
    alpha = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    return text_format.Parse(text_format.MessageToString(alpha).replace("v1alpha", "v1"), FileDescriptorProto())


class _Pool:
    """A descriptor pool that finds methods, which the library's pool does not (grpc#34743) and ghz needs."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()
        self._pool.AddSerializedFile(_stable_file().SerializeToString())

    def __getattr__(self, name: str) -> object:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - protobuf's name
        """Return the file that declares a symbol. Raises KeyError."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file
