"""gRPC's format over HTTP/2."""

import gzip
import tracemalloc
import zlib

import pytest
from google.rpc.code_pb2 import Code

from holdfast_inventory.ports import Ending
from holdfast_inventory.transports.grpc_wire import (
    Messages,
    WireError,
    framed,
    is_grpc,
    read_headers,
    trailers_of,
)

LIMIT = 1000
TE = (b"te", b"trailers")


def zipped(message):
    """Without its time, which would be in the names of tests, on which xdist's processes must agree."""
    return gzip.compress(message, mtime=0)


def compressed(message, by=zipped):
    content = by(message)
    return b"\1" + len(content).to_bytes(4, "big") + content


def messages_of(*chunks, encoding=b"identity"):
    messages, came = Messages(encoding, LIMIT), []
    for chunk in chunks:
        messages.feed(chunk)
        while (message := messages.next()) is not None:
            came.append(message)
    messages.end()
    return came


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_messages_may_come_in_pieces_of_any_size(size):
    raw = framed(b"one") + framed(b"") + framed(b"x" * LIMIT)
    assert messages_of(*(raw[at : at + size] for at in range(0, len(raw), size))) == [b"one", b"", b"x" * LIMIT]


@pytest.mark.parametrize(("encoding", "by"), [(b"gzip", zipped), (b"deflate", zlib.compress)])
def test_a_message_may_be_compressed(encoding, by):
    raw = compressed(b"one", by) + framed(b"plain") + compressed(b"", by) + compressed(b"x" * LIMIT, by)
    assert messages_of(raw, encoding=encoding) == [b"one", b"plain", b"", b"x" * LIMIT]


@pytest.mark.parametrize(
    ("raw", "encoding", "code"),
    [
        (framed(b"x" * (LIMIT + 1)), b"identity", Code.RESOURCE_EXHAUSTED),
        (framed(b"x" * (LIMIT + 1))[:5], b"identity", Code.RESOURCE_EXHAUSTED),
        (compressed(b"x" * (LIMIT + 1)), b"gzip", Code.RESOURCE_EXHAUSTED),
        (compressed(b"one"), b"identity", Code.INTERNAL),
        (compressed(b"one"), b"deflate", Code.INTERNAL),
        (compressed(b"one", lambda message: zipped(message)[:-3]), b"gzip", Code.INTERNAL),
        (framed(b"one")[:-1], b"identity", Code.INTERNAL),
        (b"\0\0", b"identity", Code.INTERNAL),
    ],
)
def test_what_is_no_message_is_refused(raw, encoding, code):
    with pytest.raises(WireError) as refused:
        messages_of(raw, encoding=encoding)
    assert refused.value.ending.code == code


def test_a_bomb_is_not_inflated():
    messages = Messages(b"gzip", 4_000_000)
    messages.feed(compressed(bytes(200_000_000)))
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            messages.next()
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("message", [b"", b"one", b"x" * LIMIT])
def test_a_single_message_is_seen_at_once(message):
    assert Messages(b"identity", LIMIT).single(framed(message)) == message


@pytest.mark.parametrize(
    "body",
    [b"", b"\0\0", framed(b"one") + b"\0", framed(b"one")[:-1], compressed(b"one"), framed(b"x" * (LIMIT + 1))],
)
def test_anything_else_is_left_to_a_closer_look(body):
    assert Messages(b"gzip", LIMIT).single(body) is None


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(b"5S", 5), (b"1500m", 1.5), (b"2M", 120), (b"1H", 3600), (b"99999999n", 0.099999999), (b"0u", 0)],
)
def test_a_timeout_has_a_unit(timeout, seconds):
    assert read_headers([TE, (b"grpc-timeout", timeout)]).timeout_seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    "timeout", [b"", b"5", b"S", b"-5S", b"+5S", b"5 S", b"5s", b"123456789S", "\N{ARABIC-INDIC DIGIT FIVE}S".encode()]
)
def test_a_malformed_timeout_is_refused(timeout):
    with pytest.raises(WireError):
        read_headers([TE, (b"grpc-timeout", timeout)])


def test_metadata_is_what_does_not_belong_to_the_protocol():
    headers = [
        (b"host", b"here"),
        (b"content-type", b"application/grpc"),
        TE,
        (b"grpc-accept-encoding", b"gzip"),
        (b"x-request-id", b"r-1"),
        (b"two-bin", b"/wA,/wA="),
        (b"grpc-previous-rpc-attempts", b"1"),
    ]
    assert read_headers(headers).metadata == [
        ("x-request-id", "r-1"),
        ("two-bin", b"\xff\x00"),
        ("two-bin", b"\xff\x00"),
        ("grpc-previous-rpc-attempts", "1"),
    ]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], Code.INTERNAL),
        ([(b"te", b"gzip")], Code.INTERNAL),
        ([TE, (b"some-bin", b"*")], Code.INTERNAL),
        ([TE, (b"grpc-encoding", b"br")], Code.UNIMPLEMENTED),
    ],
)
def test_headers_that_cannot_be_served_are_refused(headers, code):
    with pytest.raises(WireError) as refused:
        read_headers(headers)
    assert refused.value.ending.code == code


@pytest.mark.parametrize(
    ("method", "content_type", "is_one"),
    [
        ("POST", b"application/grpc", True),
        ("POST", b"application/grpc+proto", True),
        ("POST", b"application/grpc; charset=utf-8", True),
        ("POST", b"application/grpc+json", False),
        ("POST", b"application/grpc-web", False),
        ("POST", b"application/json", False),
        ("GET", b"application/grpc", False),
    ],
)
def test_a_call_is_a_post_of_its_content_type(method, content_type, is_one):
    assert is_grpc(method, [(b"content-type", content_type)]) is is_one


def test_a_status_is_text_whatever_is_in_it():
    ending = Ending(b"", (("some-bin", b"\xff\x00"), ("plain", "a b")), 9, "50 % \n\N{SNOWMAN}")
    assert trailers_of(ending) == [
        (b"grpc-status", b"9"),
        (b"grpc-message", b"50 %25 %0A%E2%98%83"),
        (b"some-bin", b"/wA"),
        (b"plain", b"a b"),
    ]
    assert trailers_of(Ending(b"", ())) == [(b"grpc-status", b"0")]
