"""Clients that send too much, too slowly, or not at all."""

import asyncio
import time

import pytest

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from tests.support.eventually import eventually

RESERVATIONS = "/v1/sales/s/reservations"


async def exchange(gateway, *pieces, pause_seconds=0.0):
    """Send bytes as they are, and return the answer until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.app.http.bound_port)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause_seconds)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def head(path=RESERVATIONS, **headers):
    lines = [f"POST {path} HTTP/1.1", "Host: gateway", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("path", ["/v1/sales", "/health/live"])
@pytest.mark.parametrize(
    ("hosts", "is_taken"),
    [
        ([], False),
        (["a", "a"], False),
        (["a", "b"], False),
        ([""], False),
        (["a b"], False),
        (["user@a"], False),
        (["a/b"], False),
        (["a:x"], False),
        (["a,b"], False),
        (["shop.example:8080"], True),
        (["[::1]:8080"], True),
        (["shop_1.internal"], True),
    ],
)
async def test_a_request_is_for_one_host(gateway, path, hosts, is_taken):
    lines = [f"GET {path} HTTP/1.1", "Connection: close", *(f"Host: {host}" for host in hosts), "", ""]
    answer = await exchange(gateway, "\r\n".join(lines).encode())
    assert answer.startswith(b"HTTP/1.1 200 " if is_taken else b"HTTP/1.1 400 ")
    assert is_taken or b'"field":"Host"' in answer


async def test_http_1_0_needs_no_host(gateway):
    assert (await exchange(gateway, b"GET /v1/sales HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 200 ")


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(start_gateway):
    gateway = await start_gateway(body_limit_bytes=1024)
    answer = await exchange(gateway, head(Content_Length=1025))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"reason":"BODY_TOO_LARGE"' in answer


async def test_a_body_of_unknown_length_is_bounded_too(start_gateway):
    gateway = await start_gateway(body_limit_bytes=1024)
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    answer = await exchange(gateway, head(Transfer_Encoding="chunked"), chunk, chunk)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_of_unknown_length_is_read(gateway):
    body = b'{"customer": "c"}'
    request = head(Transfer_Encoding="chunked", Connection="close") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    assert (await exchange(gateway, request)).startswith(b"HTTP/1.1 200 ")


async def test_a_slow_body_is_cut_off(start_gateway):
    gateway = await start_gateway(body_timeout_seconds=0.3)
    began_at = time.monotonic()
    answer = await exchange(gateway, head(Content_Length=100), b"{")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"retryable":true' in answer
    assert time.monotonic() - began_at < 5


async def test_slow_headers_are_cut_off(start_gateway):
    gateway = await start_gateway(header_timeout_seconds=0.3)
    assert await exchange(gateway, b"POST / HTTP/1.1\r\nHost:") == b""


@pytest.mark.parametrize(("size_bytes", "is_told"), [(8_000, None), (8_200, True), (20_000, False)])
async def test_headers_that_are_too_large_are_refused(start_gateway, size_bytes, is_told):
    """From twice the limit on, the server itself refuses it, without a reason."""
    gateway = await start_gateway(header_limit_bytes=8192)
    lines = ["GET /v1/sales HTTP/1.1", "Host: gateway", "Connection: close", f"X-Large: {'x' * size_bytes}", "", ""]
    answer = await exchange(gateway, "\r\n".join(lines).encode())
    assert answer.startswith(b"HTTP/1.1 200 " if is_told is None else b"HTTP/1.1 431 ")
    assert (b'"reason":"HEADERS_TOO_LARGE"' in answer) is bool(is_told)


async def test_a_body_that_ends_too_soon_affects_no_other_request(gateway):
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.app.http.bound_port)
    writer.write(head(Content_Length=100) + b"{")
    await writer.drain()
    writer.close()
    status, _, _ = await gateway.send("GET", "/v1/sales/s/items/i")
    assert status == 200
    await eventually(lambda: gateway.app._gateway.in_flight.count == 0)


async def test_connections_over_the_limit_wait_for_a_place(start_gateway):
    gateway = await start_gateway(connection_limit=2, header_timeout_seconds=0.3)
    idle = [await asyncio.open_connection("127.0.0.1", gateway.app.http.bound_port) for _ in range(2)]
    # The idle ones are disconnected because they send no headers; then there is a free place.
    status, _, _ = await gateway.send("GET", "/v1/sales/s/items/i")
    assert status == 200
    for _, writer in idle:
        writer.close()


async def test_with_too_much_in_progress_reads_are_refused_before_creates_and_confirms_last(start_gateway, inventory):
    gateway = await start_gateway(call_limit=5)
    may_answer = asyncio.Event()

    async def hold_back(request, context):
        await may_answer.wait()
        return rs.SubmitResponse(outcomes=[inventory.outcome(request.parent, command) for command in request.commands])

    inventory.answers["Submit"] = hold_back
    body = {"customer": "c-1", "lines": [{"item": "a", "quantity": 1}]}
    places = gateway.app._api._concurrency
    # One after the other: a place is taken when a request arrives.
    calls, statuses = [], []

    async def take(method, path, **options):
        before = places.taken
        call = asyncio.ensure_future(gateway.send(method, path, **options))
        await eventually(lambda: places.taken > before or call.done())
        calls.append(call)
        if call.done():
            status, problem, headers = call.result()
            assert (problem["reason"], "retry-after" in headers) == ("OVERLOADED", True)
            statuses.append(status)
        else:
            statuses.append("waits")

    for _ in range(2):
        await take("POST", RESERVATIONS, json=body)
    await take("GET", "/v1/sales/s/items/i")
    for _ in range(3):
        await take("POST", RESERVATIONS, json=body)
    for _ in range(2):
        await take("POST", f"{RESERVATIONS}/r:confirm", json={})
    may_answer.set()
    await asyncio.gather(*calls)
    assert statuses == ["waits", "waits", 429, "waits", "waits", 429, "waits", 429]
    assert places.taken == 0
