"""gRPC's format on top of HTTP/2: messages, metadata, timeouts and statuses, as its specification has them."""

import base64
import binascii
import zlib
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote

from google.rpc.code_pb2 import Code

from holdfast_inventory.ports import Ending, Metadata

Headers = list[tuple[bytes, bytes]]

ENCODINGS = b"identity,gzip,deflate"
_PREFIX_BYTES = 5
_BINARY = b"-bin"
# What a header named Content-Type may say (parameters apart), and what belongs to the protocol and not to the caller.
_CONTENT_TYPES = frozenset({b"application/grpc", b"application/grpc+proto"})
_OF_THE_PROTOCOL = frozenset(
    {b"content-type", b"te", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding", b"host", b"content-length"}
)
_UNIT_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT_DIGITS = 8
# zlib's way to say by which header a stream begins.
_WINDOW_BITS = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
# All that is visible, and the space; the percent sign begins an escape.
_PLAIN_IN_STATUS = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


class WireError(Exception):
    """What came in is not gRPC, or more than is read: the call ends with this code and text."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.ending = Ending(b"", (), code, description)


class RequestHeaders(NamedTuple):
    """What the headers of a call say."""

    metadata: Metadata
    timeout_seconds: float | None
    encoding: bytes


def is_grpc(method: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request of HTTP is a call of gRPC in Protocol Buffers."""
    content_type = next((value for name, value in headers if name == b"content-type"), b"")
    return method == "POST" and content_type.partition(b";")[0].strip() in _CONTENT_TYPES


def read_headers(headers: Iterable[tuple[bytes, bytes]]) -> RequestHeaders:
    """Return what they say. Raises WireError."""
    protocol: dict[bytes, bytes] = {}
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name in _OF_THE_PROTOCOL:
            protocol[name] = value
        elif name.endswith(_BINARY):
            metadata += ((name.decode("latin-1"), _binary(part)) for part in value.split(b","))
        else:
            metadata.append((name.decode("latin-1"), value.decode("latin-1")))
    if protocol.get(b"te") != b"trailers":
        # A proxy that drops it may drop trailers too, and so how a call ended.
        raise WireError(Code.INTERNAL, "the header `te: trailers` is missing")
    encoding = protocol.get(b"grpc-encoding", b"identity")
    if encoding != b"identity" and encoding not in _WINDOW_BITS:
        raise WireError(Code.UNIMPLEMENTED, f"grpc-encoding is none of {ENCODINGS.decode()}")
    timeout = protocol.get(b"grpc-timeout")
    return RequestHeaders(metadata, None if timeout is None else _seconds(timeout), encoding)


def _seconds(timeout: bytes) -> float:
    digits, unit = timeout[:-1], _UNIT_SECONDS.get(timeout[-1:])
    if unit is None or not digits.isdigit() or len(digits) > _TIMEOUT_DIGITS:
        raise WireError(Code.INTERNAL, "grpc-timeout is malformed")
    return int(digits) * unit


def _binary(value: bytes) -> bytes:
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        raise WireError(Code.INTERNAL, "metadata in -bin is not base64") from None


class Messages:
    """Cuts what comes in into messages, none over `limit_bytes`, however small it is on the wire."""

    __slots__ = ("_buffer", "_encoding", "_limit_bytes")

    def __init__(self, encoding: bytes, limit_bytes: int) -> None:
        self._buffer = bytearray()
        self._encoding = encoding
        self._limit_bytes = limit_bytes

    def single(self, body: bytes) -> bytes | None:
        """Return the message if `body` is just one, as most requests are; None: feed it, for there is more to see."""
        size_bytes = len(body) - _PREFIX_BYTES
        if body[:1] == b"\0" and int.from_bytes(body[1:_PREFIX_BYTES]) == size_bytes <= self._limit_bytes:
            return body[_PREFIX_BYTES:]
        return None

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        self._buffer += data

    def next(self) -> bytes | None:
        """Return the next message; None when it has not come yet. Raises WireError."""
        buffer = self._buffer
        if len(buffer) < _PREFIX_BYTES:
            return None
        end = _PREFIX_BYTES + self._checked(int.from_bytes(buffer[1:_PREFIX_BYTES]))
        if len(buffer) < end:
            return None
        flag, message = buffer[0], bytes(buffer[_PREFIX_BYTES:end])
        del buffer[:end]
        return self._inflated(message) if flag else message

    def end(self) -> None:
        """All has come. Raises WireError in the middle of a message."""
        if self._buffer:
            raise WireError(Code.INTERNAL, "the request ended in the middle of a message")

    def _checked(self, size_bytes: int) -> int:
        if size_bytes > self._limit_bytes:
            raise WireError(
                Code.RESOURCE_EXHAUSTED,
                f"SERVER: Received message larger than max ({size_bytes} vs. {self._limit_bytes})",
            )
        return size_bytes

    def _inflated(self, message: bytes) -> bytes:
        bits = _WINDOW_BITS.get(self._encoding)
        if bits is None:
            raise WireError(Code.INTERNAL, "a message is compressed, without a grpc-encoding that says how")
        inflater = zlib.decompressobj(bits)
        try:
            # One byte more than is taken tells that there is too much, without making all of it.
            inflated = inflater.decompress(message, self._limit_bytes + 1)
        except zlib.error:
            raise WireError(Code.INTERNAL, "a message cannot be decompressed") from None
        self._checked(len(inflated))
        if not inflater.eof:
            raise WireError(Code.INTERNAL, "a compressed message is cut off")
        return inflated


def framed(message: bytes) -> bytes:
    """Return a message as it is sent, uncompressed."""
    return b"\0" + len(message).to_bytes(4) + message


def trailers_of(ending: Ending) -> Headers:
    """Return how a call has ended, as the trailers say it."""
    trailers = [(b"grpc-status", b"%d" % ending.code)]
    if ending.description:
        trailers.append((b"grpc-message", quote(ending.description, _PLAIN_IN_STATUS).encode()))
    for key, value in ending.trailers:
        encoded = (
            base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode("latin-1", "replace")
        )
        trailers.append((key.encode(), encoded))
    return trailers
