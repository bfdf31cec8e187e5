"""Traces, as an OpenTelemetry collector receives them."""

import re
import sys
from uuid import uuid4

import aiohttp
import pytest

from holdfast.inventory.v1.sale_service_pb2 import ListSalesRequest
from holdfast_devstack.ports import free_port
from lab.kit.grpc_client import GrpcClient
from tests.support.otlp import receiver_over_grpc, receiver_over_http
from tests.support.programs import succeed

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"
SUBMIT = "holdfast.inventory.v1.ReservationService/Submit"
PATIENT = {"log_slow_seconds": 60}
"""Nothing is slow."""


@pytest.fixture(params=["grpc", "http/protobuf"])
async def collector(request, monkeypatch):
    opening = receiver_over_grpc if request.param == "grpc" else receiver_over_http
    async with opening() as (receiver, endpoint):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", request.param)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        yield receiver


@pytest.fixture
async def traced(start_inventory, start_gateway, rest_client, collector):
    """A REST client of services that send traces, and a sale."""
    inventory = await start_inventory(**PATIENT).is_serving()
    gateway = await start_gateway(inventory, **PATIENT).is_serving()
    client = rest_client(gateway.url)
    return client, await new_sale(client)


async def new_sale(client):
    sale = {"items": [{"item": "socks", "onHand": 5}]}
    answer = await client.post(f"/v1/sales?sale_id=traced-{uuid4()}", sale)
    assert answer.status == 200, answer.body
    return answer.body["name"]


async def hold(client, sale, traceparent):
    body = {"customer": "c-1", "lines": [{"item": "socks", "quantity": 1}]}
    return await client.post(f"/v1/{sale}/reservations", body, traceparent=traceparent)


def by_name(spans, trace_id):
    return {span.name: span for span in spans if span.trace_id == trace_id}


async def test_a_trace_shows_where_a_request_waited_and_for_which_statements(traced, collector):
    client, sale = traced
    assert (await hold(client, sale, SAMPLED)).status == 200

    await collector.until(lambda spans: by_name(spans, TRACE).keys() >= {"in a batch", REQUEST})
    mine = by_name(collector.spans, TRACE)
    request = mine[REQUEST]
    assert (request.service, request.parent_id) == ("holdfast-gateway", CALLER)
    assert request.attributes["http.response.status_code"] == 200
    parts = ["wait for a Submit", "in a Submit", "wait for a batch", "in a batch"]
    assert {mine[part].parent_id for part in parts} == {request.span_id}
    assert mine["in a batch"].service == "holdfast-inventory"
    assert all(request.began <= mine[part].began <= mine[part].ended <= request.ended for part in parts)

    [(submit_trace, submit_span)] = mine["in a Submit"].links
    await collector.until(lambda spans: by_name(spans, submit_trace).keys() == {"Submit", SUBMIT})
    submit = by_name(collector.spans, submit_trace)
    assert submit["Submit"].span_id == submit_span
    assert submit[SUBMIT].parent_id == submit_span

    [(batch_trace, _)] = mine["in a batch"].links
    batch = by_name(collector.spans, batch_trace)
    assert set(batch) == {"batch", "statement read", "statement append"}
    assert batch["batch"].attributes["holdfast.sale"] == sale.removeprefix("sales/")
    assert (TRACE, request.span_id) in batch["batch"].links


REQUEST = "POST /v1/{parent=sales/*}/reservations"


async def test_latencies_have_exemplars_of_recorded_calls(start_inventory, collector):
    inventory = await start_inventory(**PATIENT).is_serving()
    async with GrpcClient(inventory.address) as shop:
        await shop.sales.ListSales(ListSalesRequest(), metadata=(("traceparent", SAMPLED),))
    headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with aiohttp.ClientSession() as session, session.get(inventory.metrics_url, headers=headers) as answer:
        text = await answer.text()
    assert re.search(rf'grpc_server_handling_seconds_bucket.*"ListSales".*# {{trace_id="{TRACE}"}}', text), text


async def test_a_call_that_is_not_sampled_is_recorded_if_it_failed(start_gateway, rest_client, collector):
    gateway = await start_gateway(f"127.0.0.1:{free_port()}", **PATIENT, connect_wait_seconds=0.1).is_serving()
    client = rest_client(gateway.url)
    assert (await client.get("/v1/sales/drop", headers={"traceparent": NOT_SAMPLED})).status == 503
    span = (await collector.until(lambda spans: by_name(spans, TRACE)))["GET /v1/{name=sales/*}"]
    assert span.failure == "INVENTORY_UNAVAILABLE"


async def test_a_call_that_is_not_sampled_and_went_well_is_not_recorded(traced, collector):
    client, sale = traced
    other = SAMPLED.replace("4bf9", "5bf9")
    assert (await hold(client, sale, NOT_SAMPLED)).status == 200
    assert (await hold(client, sale, other)).status == 200
    # Spans of a process arrive in order.
    await collector.until(lambda spans: {"in a batch", REQUEST} <= by_name(spans, other[3:35]).keys())
    assert not by_name(collector.spans, TRACE)


async def test_without_a_collector_calls_succeed_and_stopping_ends_in_time(
    start_inventory, start_gateway, rest_client, monkeypatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    inventory = await start_inventory().is_serving()
    gateway = await start_gateway(inventory).is_serving()
    client = rest_client(gateway.url)
    assert (await hold(client, await new_sale(client), SAMPLED)).status == 200
    for service in (gateway, inventory):
        service.terminate()
        assert await service.exit_code() == 0


async def test_without_a_collector_nothing_that_sends_traces_is_loaded():
    """redis-py loads OpenTelemetry's API and metrics if they are installed."""
    told = "import sys, holdfast_inventory.app, holdfast_gateway.app; print('holdfast_chassis.otlp' in sys.modules)"
    assert await succeed(sys.executable, "-c", told) == "False\n"
