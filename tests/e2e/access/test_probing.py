"""What an attacker could learn or spoil besides the stock: pages of others, existence, logs, metrics."""

import json
import re

import aiohttp
import grpc
import pytest

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import sale_service_pb2 as ss
from holdfast_inventory.api import page_tokens
from holdfast_inventory.api.reservation_requests import list_reservations
from holdfast_inventory.postgres.statements import load
from lab.kit.grpc_client import create
from tests.e2e.access.test_buyers import AFTER_THE_FACT, about
from tests.support.sound_requests import METHODS, UNKNOWN_ID, VARIANTS, method_of, sound_request
from tests.support.spoiled_fields import places

# Background work has others, and no call waits for it.
OF_CALLS = {f'statement="{name}"' for name in (*load("batch"), *load("history"))}
EVIL = "\x1b[31mred\r\n" + json.dumps({"level": "info", "event": "planted"})
CURSORS = [
    "", "x", "-1", "9" * 300, "1e9", "\u0663", "a\x00b", "/", "2026-01-01", f"2026-01-01T00:00:00/{UNKNOWN_ID}",
    f"2026-01-01T00:00:00+00:00/{UNKNOWN_ID}", f"9999-12-31T23:59:59+00:00/{UNKNOWN_ID}",
    f"0001-01-01T00:00:00+23:59/{UNKNOWN_ID}",
    f"infinity/{UNKNOWN_ID}", f"9999-12-31T23:59:59+00:00/{UNKNOWN_ID}/0", f"0001-01-01T00:00:00+23:59/{UNKNOWN_ID}/0",
    f"2026-01-01T00:00:00+00:00/x/{'9' * 30}", "2026-01-01T00:00:00+00:00/x", "' OR true --", "\U0001f45f", "\ufffe",
]  # fmt: skip


def lists(sale):
    """Return the requests of all lists, with what their page tokens are bound to."""
    schedules = "saleSchedules/nobody"
    return [
        (ss.ListSalesRequest(), ("sales, newest first", "0", "")),
        (ss.ListItemsRequest(parent=sale), ("items", sale)),
        (ss.ListMovementsRequest(parent=sale), ("movements", sale, "0")),
        (ss.ListSaleChangesRequest(parent=sale), ("changes", sale)),
        (ss.ListSaleSchedulesRequest(), ("schedules",)),
        (ss.ListSaleScheduleChangesRequest(parent=schedules), ("changes", schedules)),
        *(
            (request, list_reservations(request).filters)
            for parent in (sale, "sales/-")
            for fields in ({}, {"state": 1}, {"customer": "c-1"}, {"order": "o-1"})
            for request in [rs.ListReservationsRequest(parent=parent, **fields)]
        ),
    ]


async def test_a_forged_page_token_is_a_position_or_refused_and_never_a_fault(caller, guarded, stock):
    sale, _ = stock
    told = {}
    for request, bound_to in lists(sale):
        for cursor in CURSORS:
            request.page_token = page_tokens.encode(cursor, *bound_to)
            name = type(request).__name__.removesuffix("Request")
            answer = await caller.call("grpc", METHODS[name], request, guarded.operator)
            told.setdefault(answer.reason, []).append((name, cursor))
    assert told.keys() <= {"OK", "INVALID_REQUEST", "NOT_FOUND"}, {
        reason: cursors for reason, cursors in told.items() if reason not in {"OK", "INVALID_REQUEST", "NOT_FOUND"}
    }
    assert {name for name, _ in told["INVALID_REQUEST"]} >= {"ListMovements", "ListReservations", "ListSaleChanges"}


async def test_a_forged_page_token_shows_a_buyer_its_own_reservations_alone(caller, guarded):
    sale, own = guarded.open_sale()
    await caller.call("grpc", METHODS["CreateReservation"], create(sale, "", a=1), guarded.buyer("c-2"))
    last = f"9999-01-01T00:00:00+00:00/{UNKNOWN_ID}/0"
    bound_to = list_reservations(rs.ListReservationsRequest(parent=sale, customer="c-1")).filters
    request = rs.ListReservationsRequest(parent=sale, page_token=page_tokens.encode(last, *bound_to))
    answer = await caller.call("grpc", METHODS["ListReservations"], request, guarded.buyer("c-1"))
    assert [each["name"] for each in answer.body["reservations"]] == [own]


async def page_of(url):
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


async def statements(inventory):
    """Return how often each statement was executed, without those of background work."""
    page = await page_of(inventory.metrics_url)
    counts = re.findall(r"^holdfast_query_seconds_count\{(.*?)\} (\S+)$", page, re.MULTILINE)
    return {labels: float(count) for labels, count in counts if labels in OF_CALLS}


@pytest.mark.parametrize("method", AFTER_THE_FACT)
async def test_a_foreign_reservation_and_a_missing_one_take_the_same_statements(caller, guarded, stock, method):
    """Their number says how long an answer takes, more exactly than a clock."""
    sale, foreign = stock
    spent = []
    for name in (foreign, f"{sale}/reservations/{UNKNOWN_ID}"):
        before = await statements(guarded.inventory)
        answer = await caller.call("grpc", METHODS[method], about(method, name), guarded.buyer("c-2"))
        assert answer.reason == "NOT_FOUND"
        after = await statements(guarded.inventory)
        spent.append(
            {labels: count - before.get(labels, 0) for labels, count in after.items() if count != before.get(labels, 0)}
        )
    assert spent[0] == spent[1]
    assert spent[0]


async def test_no_field_writes_a_line_of_a_log(caller, guarded, stock):
    for variant in VARIANTS:
        method = method_of(variant)
        if method.server_streaming:
            continue
        for place in places(sound_request(variant, *stock)):
            if place.field.type != place.field.TYPE_STRING or place.field.is_repeated:
                continue
            request = sound_request(variant, *stock)
            setattr(place.owner(request), place.field.name, EVIL)
            await caller.call("grpc", method, request, guarded.operator)
    for name in ("X-Request-Id", "traceparent", "User-Agent", "Holdfast-Admission"):
        headers = {name: "a\x1b[31m\\n{}".replace("\x1b", "%1b")}
        await caller.call("rest", METHODS["GetSale"], sound_request("GetSale", *stock), guarded.operator, **headers)
    lines = [line for service in guarded.services for line in service.output.splitlines() if line]
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert not any("\x1b" in line for line in lines)
    assert not any(json.loads(line)["event"] == "planted" for line in lines)


async def test_hostile_names_make_no_series(caller, guarded, stock):
    sale, _ = stock

    async def names():
        """Name what nobody has: sales, items, customers, methods of gRPC and of HTTP, paths."""
        for number in range(60):
            evil = f"evil-{number}"
            for transport in ("grpc", "rest"):
                for request in (
                    create(f"sales/{evil}", evil, evil, **{evil: 1}),
                    create(sale, evil, evil, **{evil: 1}),
                ):
                    await caller.call(transport, METHODS["CreateReservation"], request, guarded.operator)
            async with grpc.aio.insecure_channel(guarded.inventory.address) as channel:
                with pytest.raises(grpc.aio.AioRpcError):
                    await channel.unary_unary(f"/{evil}.Service/{evil}")(b"", timeout=20)
            async with aiohttp.ClientSession() as session:
                for method, path in (("GET", evil), (evil.upper(), "v1/sales"), ("GET", f"v1/{evil}/x:{evil}")):
                    async with session.request(method, f"{guarded.gateway.url}/{path}") as response:
                        await response.read()

    async def series():
        page = await page_of(guarded.inventory.metrics_url)
        assert "evil" not in page
        return {line.rpartition(" ")[0] for line in page.splitlines() if not line.startswith("#")}

    await names()
    once = await series()
    await names()
    assert await series() == once
