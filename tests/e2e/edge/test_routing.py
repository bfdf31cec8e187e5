"""The edge sends REST to gateways, gRPC and gRPC-Web to inventories, and refuses everything else."""

import asyncio
import struct

import grpc
import pytest

from holdfast.inventory.v1 import (
    reservation_service_pb2,
    reservation_service_pb2_grpc,
    sale_service_pb2,
    sale_service_pb2_grpc,
)
from holdfast_gateway.paths import segments_of
from holdfast_gateway.problems import ProblemError
from tests.support.eventually import eventually

GET_RESERVATION = "/holdfast.inventory.v1.ReservationService/GetReservation"


def reservations(channel):
    return reservation_service_pb2_grpc.ReservationServiceStub(channel)


def a_request(name="sales/a/reservations/b"):
    return reservation_service_pb2.GetReservationRequest(name=name)


async def test_rest_reaches_a_gateway_with_its_query_and_body(edge, gateway, rest):
    async with rest.post(f"{edge.url}/v1/sales/a/reservations?x=1", json={"customer": "c"}) as answer:
        assert answer.status == 200
        assert await answer.json() | {"headers": None} == {
            "path": "/v1/sales/a/reservations?x=1",
            "headers": None,
            "size": 17,
        }


async def test_grpc_reaches_an_inventory(edge, inventory, channel):
    call = reservations(channel(edge.target)).GetReservation(a_request(), timeout=5)
    assert (await call).name == "sales/a/reservations/b"
    assert inventory.calls == ["sales/a/reservations/b"]


async def test_grpc_web_reaches_an_inventory_and_is_answered_in_grpc_web(edge, inventory, rest):
    message = a_request().SerializeToString()
    async with rest.post(
        edge.url + GET_RESERVATION,
        data=struct.pack(">BI", 0, len(message)) + message,
        headers={"content-type": "application/grpc-web+proto", "origin": "https://shop.example", "x-grpc-web": "1"},
    ) as answer:
        body = await answer.read()
        assert answer.headers["content-type"] == "application/grpc-web+proto"
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    size = struct.unpack(">I", body[1:5])[0]
    assert reservation_service_pb2.Reservation.FromString(body[5 : 5 + size]).name == "sales/a/reservations/b"
    assert body[5 + size] == 0x80
    assert b"grpc-status:0" in body
    assert inventory.calls == ["sales/a/reservations/b"]


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://shop.example", "https://shop.example"), ("https://elsewhere.example", None)]
)
async def test_browsers_may_call_from_our_origins_only(edge, rest, inventory, origin, allowed):
    headers = {"origin": origin, "access-control-request-method": "POST"}
    async with rest.options(edge.url + GET_RESERVATION, headers=headers) as answer:
        assert answer.headers.get("access-control-allow-origin") == allowed
    assert inventory.calls == []


async def test_a_watch_over_grpc_streams(edge, channel):
    stub = sale_service_pb2_grpc.SaleServiceStub(channel(edge.target))
    watch = stub.WatchStock(sale_service_pb2.WatchStockRequest(name="sales/a"), timeout=5)
    assert await watch.read() is not grpc.aio.EOF
    watch.cancel()


async def test_a_watch_over_rest_streams(edge, gateway, rest):
    async with rest.get(f"{edge.url}/v1/sales/a:watch") as answer, asyncio.timeout(5):
        assert await answer.content.readline() == b'data: {"first": true}\n'


@pytest.mark.parametrize("path", ["/metrics", "/admin", "/stats", "/v2/sales", "/holdfast.inventory.v1.SaleService/X"])
async def test_other_paths_reach_no_service(edge, gateway, rest, path):
    async with rest.get(edge.url + path) as answer:
        assert answer.status == 404
        assert (await answer.json(content_type="application/problem+json"))["reason"] == "NOT_FOUND"
    assert gateway.requests == []


async def test_an_unknown_grpc_service_is_unimplemented(edge, channel):
    call = channel(edge.target).unary_unary("/other.Service/Method")(b"", timeout=5)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def raw_exchange(edge, *lines):
    """Send a request as it is, and return all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.ports["http"])
    writer.write(b"\r\n".join([*lines, b"connection: close", b"", b""]))
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


async def test_two_headers_of_a_name_stay_two(edge, gateway):
    await raw_exchange(edge, b"GET /v1/sales HTTP/1.1", b"host: a", b"idempotency-key: a", b"idempotency-key: b")
    assert gateway.requests[0].headers.getall("idempotency-key") == ["a", "b"]


async def test_a_request_names_a_host(edge, gateway):
    assert (await raw_exchange(edge, b"GET /v1/sales HTTP/1.1")).startswith(b"HTTP/1.1 400 ")
    assert gateway.requests == []


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/sales/a",
        b"/v1/./sales/x/../a",
        b"/v1/sales/x/%2e%2E/a",
        b"/v1/sales//a",
        b"/v1/sales/a/",
        b"/v1/sales/a/..",
        b"/v1/sales/drop%2D1",
        b"/v1/sales/a%2525",
        b"/v1/sales/caf%C3%A9",
        b"/v1/sales/a;b=c,d",
        b"/v1/sales/a%3Apause",
        b"/v1/sales/a%zz",
        b"/v1/sales/a%20b",
        b"/v1/sales/a%2Fitems%2Fx",
        b"/v1/sales%2fa",
        b"/v1/sales/a%5Cb",
        b"/v1/sales/a\\b",
        b"/v1/sales/%ff",
        b"/v1/sales/a%00",
        b"/v1/sales/caf\xc3\xa9",
    ],
)
async def test_a_path_is_read_as_the_gateway_reads_it(edge, gateway, path):
    answer = await raw_exchange(edge, b"GET " + path + b" HTTP/1.1", b"host: edge")
    expected = reading(path.decode("latin-1"))
    if gateway.requests:
        assert reading(gateway.requests[0].raw_path) == expected
    else:
        assert (expected, answer[:13]) == (None, b"HTTP/1.1 400 ")


def reading(path):
    """Return how a gateway reads the path, or None if it refuses it."""
    try:
        return segments_of(path)
    except ProblemError:
        return None


async def test_headers_from_outside_do_not_control_envoy(edge, gateway, rest):
    headers = {"x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-retry-on": "5xx", "x-envoy-max-retries": "9"}
    async with rest.get(f"{edge.url}/v1/sales?status=503", headers=headers) as answer:
        assert answer.status == 503
        got = set((await answer.json())["headers"])
    assert {name for name in got if name.startswith("x-envoy")} <= {"x-envoy-external-address"}
    assert len(gateway.requests) == 1


async def test_the_callers_request_id_is_kept_and_returned(edge, inventory, rest, channel):
    async with rest.get(f"{edge.url}/v1/sales", headers={"x-request-id": "order-77"}) as answer:
        assert answer.headers["x-request-id"] == "order-77"
        assert (await answer.json())["headers"]["x-request-id"] == "order-77"
    await reservations(channel(edge.target)).GetReservation(a_request(), timeout=5, metadata=[("x-request-id", "o-1")])
    assert inventory.metadata["x-request-id"] == "o-1"


async def test_requests_are_logged_as_json_without_their_query(edge, gateway, rest):
    async with rest.get(f"{edge.url}/v1/sales?customer=secret", headers={"x-request-id": "r-1"}):
        pass
    line = (await eventually(lambda: edge.events("request")))[0]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/v1/sales", 200)
    assert (line["request_id"], line["cluster"], line["upstream"]) == ("r-1", "gateways_looks", gateway.address)


async def test_metrics_and_probes_have_a_port_of_their_own(edge, rest):
    async with rest.get(f"{edge.metrics_url}/metrics") as answer:
        assert "envoy_http_downstream_rq_total" in await answer.text()
    for path in ("/health/ready", "/health/live"):
        async with rest.get(edge.metrics_url + path) as answer:
            assert answer.status == 200
    for path in ("/quitquitquit", "/config_dump", "/stats"):
        async with rest.post(edge.metrics_url + path) as answer:
            assert answer.status == 404
