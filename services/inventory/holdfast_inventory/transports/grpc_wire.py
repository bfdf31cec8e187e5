"""gRPC's format over HTTP/2 (PROTOCOL-HTTP2.md): messages, metadata, timeouts and statuses."""

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
ARRIVAL = b"holdfast-arrival"
"""The header with the time at which the server in front got the call, in seconds since 1970. Callers cannot set it."""
_PREFIX_BYTES = 5
_BINARY = b"-bin"
# The allowed values of Content-Type without parameters, and the headers of the protocol that are not metadata.
_CONTENT_TYPES = frozenset({b"application/grpc", b"application/grpc+proto"})
_OF_THE_PROTOCOL = frozenset(
    {
        b"content-type",
        b"te",
        b"grpc-timeout",
        b"grpc-encoding",
        b"grpc-accept-encoding",
        b"host",
        b"content-length",
        ARRIVAL,
    }
)
_UNIT_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT_DIGITS = 8
# zlib's code for the header of a stream.
_WINDOW_BITS = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
# Visible characters and the space. The percent sign begins an escape.
_PLAIN_IN_STATUS = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


class WireError(Exception):
    """The request is not valid gRPC, or too large: the call ends with this code and text."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.ending = Ending(b"", (), code, description)


class RequestHeaders(NamedTuple):
    """The headers of a call."""

    metadata: Metadata
    timeout_seconds: float | None
    encoding: bytes
    arrived_at: float | None


def is_grpc(method: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether an HTTP request is a gRPC call with Protocol Buffers."""
    content_type = next((value for name, value in headers if name == b"content-type"), b"")
    return method == "POST" and content_type.partition(b";")[0].strip() in _CONTENT_TYPES


def read_headers(headers: Iterable[tuple[bytes, bytes]]) -> RequestHeaders:
    """Return the parsed headers. Raises WireError."""
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
        # A proxy that drops this header may drop trailers, too, which contain the status of a call.
        raise WireError(Code.INTERNAL, "the header `te: trailers` is missing")
    encoding = protocol.get(b"grpc-encoding", b"identity")
    if encoding != b"identity" and encoding not in _WINDOW_BITS:
        raise WireError(Code.UNIMPLEMENTED, f"grpc-encoding is none of {ENCODINGS.decode()}")
    timeout, arrival = protocol.get(b"grpc-timeout"), protocol.get(ARRIVAL)
    return RequestHeaders(
        metadata, None if timeout is None else _seconds(timeout), encoding, None if arrival is None else float(arrival)
    )


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
    """A parser that splits the input into messages of at most `limit_bytes` after decompression."""

    __slots__ = ("_buffer", "_encoding", "_limit_bytes")

    def __init__(self, encoding: bytes, limit_bytes: int) -> None:
        self._buffer = bytearray()
        self._encoding = encoding
        self._limit_bytes = limit_bytes

    def single(self, body: bytes) -> bytes | None:
        """Return the message if `body` is exactly one, as in most requests. If this returns None, use `feed`."""
        size_bytes = len(body) - _PREFIX_BYTES
        if body[:1] == b"\0" and int.from_bytes(body[1:_PREFIX_BYTES]) == size_bytes <= self._limit_bytes:
            return body[_PREFIX_BYTES:]
        return None

    def feed(self, data: bytes) -> None:
        """Add input."""
        self._buffer += data

    def next(self) -> bytes | None:
        """Return the next message; None if it is not complete yet. Raises WireError."""
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
        """Note the end of the input. Raises WireError in the middle of a message."""
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
            raise WireError(Code.INTERNAL, "a message is compressed, but there is no grpc-encoding")
        inflater = zlib.decompressobj(bits)
        try:
            # One byte more than the limit shows that there is too much, without decompressing all of it.
            inflated = inflater.decompress(message, self._limit_bytes + 1)
        except zlib.error:
            raise WireError(Code.INTERNAL, "a message cannot be decompressed") from None
        self._checked(len(inflated))
        if not inflater.eof:
            raise WireError(Code.INTERNAL, "a compressed message is truncated")
        return inflated


def framed(message: bytes) -> bytes:
    """Return an uncompressed message in the wire format."""
    return b"\0" + len(message).to_bytes(4) + message


def trailers_of(ending: Ending) -> Headers:
    """Return the trailers of an ending."""
    trailers = [(b"grpc-status", b"%d" % ending.code)]
    if ending.description:
        trailers.append((b"grpc-message", quote(ending.description, _PLAIN_IN_STATUS).encode()))
    return trailers + headers_of(ending.trailers)


def headers_of(metadata: Metadata) -> Headers:
    """Return metadata in the wire format."""
    return [(key.encode(), _encoded(value)) for key, value in metadata]


def _encoded(value: str | bytes) -> bytes:
    if isinstance(value, bytes):
        return base64.b64encode(value).rstrip(b"=")
    return value.encode("latin-1", "replace")
