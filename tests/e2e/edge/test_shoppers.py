"""The shoppers' listener serves what a buyer may do by the contract, and nothing else by whatever spelling."""

import asyncio
import re

import aiohttp
import pytest

from holdfast_chassis.contract import METHODS
from holdfast_edge.shoppers import BUYERS_SCOPE

FOR_SHOPPERS = [method for method in METHODS if BUYERS_SCOPE in method.scopes]
FOR_STAFF = [method for method in METHODS if BUYERS_SCOPE not in method.scopes]
ATTACKS = [
    r"GET /v1\sales",
    r"GET /v1/sales/x/reservations/..\..\..\sales",
    r"POST /v1/sales/x\:cancel",
    "GET /v1//sales",
    "GET //v1/sales",
    "GET /v1/./sales",
    "GET /v1/sales/",
    "GET /v1/sales?x=/v1/sales/x:watch",
    "GET /v1/sales;/v1/sales/x:watch",
    "GET /v1/sales/x/reservations/../../../sales",
    "GET /v1/sales/x/reservations/%2e%2e/%2e%2e/%2e%2e/sales",
    "GET /v1/sales%2Fx/movements",
    "GET /v1/sales/x%2Fmovements",
    "GET /v1/sales/x/reservations%5C..%5Cmovements",
    "POST /v1/sales/x:cancel",
    "POST /v1/sales/x%3Acancel",
    "POST /v1/sales/x%3acancel",
    "POST /v1/sales/x:%63ancel",
    "POST /v1/sales/x%253Acancel",
    "POST /v1/sales/x/reservations:submit",
    "POST /v1/sales/x/reservations%3Asubmit",
    "POST /v1/sales/x/reservations/y:submit",
    "GET /v1/sales/x:verify",
    "GET /v1/sales/x:verify?:watch",
    "GET /v1/sales/x:verify:watch",
    "GET /v1/sales/x/movements:watch",
    "GET /v1/sales/x:watch/../movements",
    "PATCH /v1/sales/x",
    "DELETE /v1/saleSchedules/x",
    "PUT /v1/sales/x/reservations",
    "GET http://edge/v1/sales",
    "GET /metrics",
    "GET /stats/prometheus",
    "GET /docs",
    "GET /openapi.json",
    "GET /",
    "POST /quitquitquit",
    "POST /holdfast.inventory.v1.SaleService/CancelSale",
    "POST /holdfast.inventory.v1.ReservationService/../SaleService/CancelSale",
    "POST /grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
]


def a_path(template):
    """A path of a template, with names that look like any other."""
    return re.sub(r"\{[\w.]+=?([^{}]*)\}", lambda variable: variable[1].replace("*", "a-1.b_c"), template)


async def statuses(edge, rest, port, methods):
    """The statuses over REST, by method and path."""
    found = {}
    for method in methods:
        for binding in method.bindings:
            url = f"http://127.0.0.1:{edge.ports[port]}{a_path(binding.template)}"
            async with rest.request(binding.http_method, url) as answer:
                found[method.path, binding.template] = answer.status
    return found


async def missing(edge, channel, methods):
    """Those of the methods that the edge itself refuses to shoppers over gRPC, whatever the inventory has."""
    opened = channel(f"127.0.0.1:{edge.ports['shoppers']}")
    found = []
    for method in methods:
        call = opened.unary_unary(method.path)(b"", timeout=10)
        await call.code()
        if "The path does not exist" in (await call.details() or ""):
            found.append(method)
    return found


async def test_shoppers_reach_all_that_is_theirs_over_rest(edge, rest):
    assert set((await statuses(edge, rest, "shoppers", FOR_SHOPPERS)).values()) == {200}


async def test_shoppers_reach_nothing_of_staffs_over_rest(edge, rest, gateway):
    assert set((await statuses(edge, rest, "shoppers", FOR_STAFF)).values()) == {404}
    assert gateway.requests == []


async def test_staff_reach_everything_over_rest(edge, rest):
    assert set((await statuses(edge, rest, "http", METHODS)).values()) == {200}


async def test_methods_over_grpc_are_for_shoppers_or_not(edge, channel):
    assert await missing(edge, channel, METHODS) == FOR_STAFF


async def test_health_is_for_everybody(edge, rest):
    for path in ("/health", "/health/live", "/health/ready"):
        async with rest.get(f"http://127.0.0.1:{edge.ports['shoppers']}{path}") as answer:
            assert answer.status == 200, path


async def test_a_browser_may_ask_what_it_may_send(edge, rest):
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    for path, status in (("/v1/sales/x/reservations", 200), ("/v1/sales", 404)):
        async with rest.options(f"http://127.0.0.1:{edge.ports['shoppers']}{path}", headers=asked) as answer:
            assert answer.status == status, path


@pytest.mark.parametrize("content_type", ["application/json", "application/grpc"])
async def test_no_spelling_leads_to_staffs_routes(edge, gateway, content_type):
    for attack in ATTACKS:
        assert await is_refused(edge, attack, content_type), attack
        assert gateway.requests == [], attack


async def is_refused(edge, attack, content_type):
    """Whether the edge itself refuses a request, written as it is."""
    method, target = attack.split(" ", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.ports["shoppers"])
    headers = f"host: edge\r\ncontent-type: {content_type}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    writer.write(f"{method} {target} HTTP/1.1\r\n{headers}".encode())
    async with asyncio.timeout(15):
        answer = await reader.read()
    writer.close()
    status = int(answer.split(b" ", 2)[1])
    # Over gRPC a refusal has the status 200, and its own in a header.
    return status in (400, 404) or b"grpc-status: 12" in answer or b"grpc-status: 3" in answer


async def test_an_upgrade_of_the_protocol_does_not_pass(edge, gateway):
    async with aiohttp.ClientSession() as session:
        headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
        async with session.get(f"http://127.0.0.1:{edge.ports['shoppers']}/v1/sales", headers=headers) as answer:
            assert answer.status in (403, 404)
    assert gateway.requests == []
