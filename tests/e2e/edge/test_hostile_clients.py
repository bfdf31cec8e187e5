"""Clients that are slow or flood: cut off, without ever costing a gateway anything."""

import asyncio
import struct

import pytest

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, PRIORITY, RST_STREAM, SETTINGS = 1, 2, 3, 4
END_OF_HEADERS_AND_STREAM = 5
# :method GET, :scheme http, :path /, :authority edge
GET_ROOT = b"\x82\x86\x84\x41\x04edge"


def frame(kind, stream, payload=b"", flags=0):
    """One of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


@pytest.fixture
async def impatient_edge(start_edge, gateway, inventory):
    """An edge with little time."""
    return await start_edge([gateway], [inventory], header_timeout_seconds=0.5, request_timeout_seconds=1)


@pytest.fixture
async def connect():
    """Opens plain connections."""
    writers = []

    async def opened(edge):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.ports["http"])
        writers.append(writer)
        return reader, writer

    yield opened
    for writer in writers:
        writer.close()


async def end_of(reader):
    """What is still sent until the connection is closed."""
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
        writer.write(frame(HEADERS, number, GET_ROOT, END_OF_HEADERS_AND_STREAM))
        writer.write(frame(RST_STREAM, number, struct.pack(">I", 8)))
    await end_of(reader)
    assert await edge.stat("http.edge.downstream_rq_too_many_premature_resets") == 1
    async with rest.get(f"{edge.url}/v1/sales") as answer:
        assert answer.status == 200
