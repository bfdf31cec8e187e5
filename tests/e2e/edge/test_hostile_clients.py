"""Clients that are slow or send too much are disconnected, and never reach a gateway."""

import asyncio

import pytest

from tests.support.http2 import (
    CANCEL,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    frame,
    literal,
)

# :method GET, :scheme http, :path /, :authority edge
GET_ROOT = b"\x82\x86\x84\x41\x04edge"


@pytest.fixture
async def impatient_edge(start_edge, gateway, inventory):
    """An edge with short timeouts."""
    return await start_edge([gateway], [inventory], header_timeout_seconds=0.5, request_timeout_seconds=1)


@pytest.fixture
async def connect():
    """Open plain connections."""
    writers = []

    async def opened(edge):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.ports["http"])
        writers.append(writer)
        return reader, writer

    yield opened
    for writer in writers:
        writer.close()


async def end_of(reader):
    """Return all bytes until the connection is closed."""
    async with asyncio.timeout(8):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_headers_that_never_end_are_cut_off(impatient_edge, gateway, connect):
    reader, writer = await connect(impatient_edge)
    writer.write(b"GET /v1/sales HTTP/1.1\r\nhost: edge\r\nx-slow: ")
    answer = await end_of(reader)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"SLOW_SENDER" in answer
    assert gateway.requests == []


async def test_a_body_that_trickles_is_cut_off_before_a_gateway_sees_it(impatient_edge, gateway, connect):
    reader, writer = await connect(impatient_edge)
    writer.write(b"POST /v1/sales HTTP/1.1\r\nhost: edge\r\ncontent-length: 1000\r\n\r\n{")
    answer = await end_of(reader)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"retryable":true' in answer
    assert gateway.requests == []


async def test_a_watch_outlasts_the_time_for_a_request(impatient_edge, gateway, rest):
    async with rest.get(f"{impatient_edge.url}/v1/sales/a:watch") as events:
        await events.content.readline()
        await asyncio.sleep(1.5)
        gateway.let_go.set()
        assert await events.content.read() == b"\n"


async def test_a_flood_of_priority_frames_is_cut_off(edge, connect):
    reader, writer = await connect(edge)
    writer.write(PREFACE + frame(SETTINGS, 0) + frame(PRIORITY, 1, bytes(5)) * 1000)
    await end_of(reader)
    assert await edge.stat("http2.inbound_priority_frames_flood") == 1


async def test_rapid_resets_are_cut_off(edge, connect, rest):
    reader, writer = await connect(edge)
    writer.write(PREFACE + frame(SETTINGS, 0))
    for number in range(1, 1201, 2):
        writer.write(frame(HEADERS, number, GET_ROOT, END_HEADERS | END_STREAM))
        writer.write(frame(RST_STREAM, number, CANCEL))
    await end_of(reader)
    assert await edge.stat("http.edge.downstream_rq_too_many_premature_resets") == 1
    async with rest.get(f"{edge.url}/v1/sales") as answer:
        assert answer.status == 200


async def test_headers_continued_without_end_reach_no_gateway(edge, gateway, connect, rest):
    reader, writer = await connect(edge)
    writer.write(PREFACE + frame(SETTINGS, 0) + frame(HEADERS, 1, GET_ROOT, END_STREAM))
    writer.write(frame(CONTINUATION, 1, literal(b"x-a", b"a" * 15_000)) * 64)
    await reader.read(1)
    async with rest.get(f"{edge.url}/v1/sales") as answer:
        assert answer.status == 200
    assert [request.raw_path for request in gateway.requests] == ["/v1/sales"]


async def test_empty_continuations_are_cut_off(edge, connect):
    reader, writer = await connect(edge)
    writer.write(PREFACE + frame(SETTINGS, 0) + frame(HEADERS, 1, GET_ROOT, END_STREAM))
    writer.write(frame(CONTINUATION, 1) * 10_000)
    await end_of(reader)


NOT_PROPER = {
    "two hosts": b"GET /v1/sales HTTP/1.1\r\nhost: edge\r\nhost: other\r\n\r\n",
    "two hosts alike": b"GET /v1/sales HTTP/1.1\r\nhost: edge\r\nhost: edge\r\n\r\n",
    "a host that is none": b"GET /v1/sales HTTP/1.1\r\nhost: edge, other\r\n\r\n",
    "no host": b"GET /v1/sales HTTP/1.1\r\n\r\n",
    "an unknown transfer coding": b"POST /v1/sales HTTP/1.1\r\nhost: edge\r\ntransfer-encoding: xchunked\r\n\r\n",
    "a transfer coding after chunked": (
        b"POST /v1/sales HTTP/1.1\r\nhost: edge\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n"
    ),
    "two authorizations": (
        b"GET /v1/sales HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n"
    ),
}


@pytest.mark.parametrize("request_", NOT_PROPER.values(), ids=NOT_PROPER)
async def test_what_could_be_read_in_two_ways_is_refused(edge, gateway, connect, request_):
    reader, writer = await connect(edge)
    writer.write(request_.replace(b"\r\n", b"\r\nconnection: close\r\n", 1))
    answer = await end_of(reader)
    assert answer.startswith(b"HTTP/1.1 400"), answer
    assert b'"reason":"INVALID_REQUEST"' in answer
    assert gateway.requests == []


async def test_a_gateway_sees_the_path_that_was_routed_and_no_bare_cr(edge, gateway, connect):
    """A backslash is a slash before the routes are asked; a bare CR is taken out."""
    reader, writer = await connect(edge)
    writer.write(b"GET /v1\\sales HTTP/1.1\r\nhost: edge\r\nconnection: close\r\nx-a: b\rc: d\r\n\r\n")
    assert (await end_of(reader)).startswith(b"HTTP/1.1 200")
    [request] = gateway.requests
    assert (request.raw_path, request.headers["x-a"]) == ("/v1/sales", "bc: d")
