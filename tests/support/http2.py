"""Frames of HTTP/2 (RFC 9113) as an attacker sends them, one by one."""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 2, 3, 4, 6, 9
END_STREAM, END_HEADERS = 1, 4
CANCEL = struct.pack(">I", 8)


def frame(kind, stream, payload=b"", flags=0):
    """Return a frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """Return a header that no table of HPACK has (RFC 7541, 6.2.2), so that each costs its whole length."""
    return b"\x00" + _text(name) + _text(value)


def _text(text):
    length = len(text)
    if length < 127:
        return bytes([length]) + text
    rest, coded = length - 127, bytearray([127])
    while rest >= 128:
        coded.append(rest % 128 + 128)
        rest //= 128
    return bytes(coded) + bytes([rest]) + text


def grpc_headers(path, *more):
    """Return the headers of a gRPC call."""
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"inventory")]
    fields += [(b"content-type", b"application/grpc"), (b"te", b"trailers"), *more]
    return b"".join(literal(name, value) for name, value in fields)
