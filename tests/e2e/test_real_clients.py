"""Clients of other projects: grpcurl, grpc_health_probe, ghz, and readers of server-sent events."""

import asyncio
import json
import urllib.request

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast.inventory.v1 import sale_service_pb2 as ss
from holdfast_chassis.contract import RESERVATION_SERVICE, SERVICE_NAMES
from lab.kit.grpc_client import CALL_SECONDS
from lab.kit.server_sent_events import next_event
from tests.support.programs import run, succeed

HEALTH_NAMES = ["", *SERVICE_NAMES, "liveness"]


async def test_grpcurl_finds_the_services_by_reflection(cluster, tool):
    address = cluster.addresses[0]
    listed = (await succeed(tool("grpcurl"), "-plaintext", address, "list")).split()
    assert {*SERVICE_NAMES, "grpc.health.v1.Health"} <= set(listed)
    for version in ("v1", "v1alpha"):
        name = f"grpc.reflection.{version}.ServerReflection"
        assert name in listed
        assert f"stream .grpc.reflection.{version}.ServerReflectionRequest" in await succeed(
            tool("grpcurl"), "-plaintext", address, "describe", name
        )
    described = await succeed(tool("grpcurl"), "-plaintext", address, "describe", RESERVATION_SERVICE.full_name)
    assert "rpc Submit ( .holdfast.inventory.v1.SubmitRequest )" in described


async def test_grpcurl_buys_and_reads_a_refusal(cluster, shop, tool):
    sale = await shop.open_sale(limit=1, sneaker=5)
    body = {"parent": sale, "customer": "c-1", "lines": [{"item": "sneaker", "quantity": 1}], "request_id": "r-1"}
    buy = [tool("grpcurl"), "-plaintext", "-d"]
    method = f"{RESERVATION_SERVICE.full_name}/CreateReservation"
    held = json.loads(await succeed(*buy, json.dumps(body), cluster.addresses[0], method))
    assert held["state"] == "HELD"
    again = await succeed(*buy[:2], "-v", "-d", json.dumps(body), cluster.addresses[1], method)
    assert held["name"] in again
    assert "idempotent-replayed: true" in again
    refused = await run(*buy, json.dumps(body | {"request_id": "r-2"}), cluster.addresses[2], method)
    assert refused.status != 0
    assert "CUSTOMER_LIMIT_REACHED" in refused.output


@pytest.mark.parametrize("name", HEALTH_NAMES, ids=lambda name: name or "(all)")
async def test_grpc_health_probe_finds_every_name_serving(cluster, tool, name):
    output = await succeed(tool("grpc_health_probe"), f"-addr={cluster.addresses[0]}", f"-service={name}")
    assert "status: SERVING" in output


async def test_grpc_health_probe_fails_for_an_unknown_name(cluster, tool):
    probed = await run(tool("grpc_health_probe"), f"-addr={cluster.addresses[0]}", "-service=nobody")
    assert probed.status != 0


async def test_health_lists_and_watches(shop):
    stub = health_pb2_grpc.HealthStub(shop.channel)
    statuses = (await stub.List(health_pb2.HealthListRequest(), timeout=CALL_SECONDS)).statuses
    assert {name: statuses[name].status for name in HEALTH_NAMES} == dict.fromkeys(HEALTH_NAMES, 1)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="nobody"), timeout=CALL_SECONDS)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


async def test_ghz_gets_an_answer_for_each_of_its_calls(cluster, shop, tool):
    sale = await shop.open_sale(sneaker=1_000_000)
    request = {"parent": sale, "customer": "c-{{.RequestNumber}}", "lines": [{"item": "sneaker", "quantity": 1}]}
    load = ["--insecure", "--total", "2000", "--concurrency", "32", "--connections", "4", "--format", "json"]
    method = f"{RESERVATION_SERVICE.full_name}/CreateReservation"
    call = ["--call", method, "--data", json.dumps(request), cluster.addresses[0]]
    report = json.loads(await succeed(tool("ghz"), *load, *call))
    assert report["statusCodeDistribution"] == {"OK": 2000}
    assert (await shop.item(sale, "sneaker")).held == 2000
    await shop.check_ledger(sale)


async def test_python_standard_library_buys_over_rest(cluster, shop):
    sale = await shop.open_sale(sneaker=5)
    body = json.dumps({"customer": "c-1", "lines": [{"item": "sneaker", "quantity": 2}]}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k-1"}
    request = urllib.request.Request(f"{cluster.url}/v1/{sale}/reservations", body, headers)

    def buy():
        with urllib.request.urlopen(request, timeout=CALL_SECONDS) as answer:
            return json.loads(answer.read())

    held = await asyncio.to_thread(buy)
    assert (held["state"], held["lines"]) == ("HELD", [{"item": "sneaker", "quantity": 2}])


async def test_watch_over_sse_resumes_behind_the_last_event(shop, rest):
    sale = await shop.open_sale(sneaker=5)
    async with rest.stream(f"/v1/{sale}:watch") as stream:
        first = await next_event(stream.content)
        assert json.loads(first["data"])["snapshot"]["items"][0]["onHand"] == 5
        await rest.reserve(sale, "c-1", sneaker=1)
        seen = await next_event(stream.content)
        assert (seen["event"], held_in(seen)) == ("change", 1)
    await rest.reserve(sale, "c-2", sneaker=2)
    async with rest.stream(f"/v1/{sale}:watch", **{"Last-Event-ID": seen["id"]}) as stream:
        # A heartbeat may come first, while the replica has not read the change.
        while (missed := await next_event(stream.content))["event"] == "heartbeat":
            pass
        assert (missed["event"], held_in(missed)) == ("change", 3)
        change = json.loads(missed["data"])["change"]
        assert change["previousSequence"] == json.loads(seen["data"])["change"]["sequence"]


async def test_movements_over_sse_resume_without_gap_or_repetition(shop, rest):
    sale = await shop.open_sale(sneaker=5)
    sequences, last_seen = [], {}
    for customer in range(3):
        await rest.reserve(sale, f"c-{customer}", sneaker=1)
        async with rest.stream(f"/v1/{sale}/movements:watch", **last_seen) as stream:
            while len(sequences) < customer + 2:  # the first stock is a movement, too
                event = await next_event(stream.content)
                last_seen = {"Last-Event-ID": event["id"]}
                sequences += [int(movement["sequence"]) for movement in movements_in(event)]
    assert sequences == [1, 2, 3, 4]


async def test_watch_at_another_replica_sees_every_sale(replicas):
    """The commit happens at one replica, the watch is at another."""
    sale = await replicas[0].open_sale(sneaker=50)
    watch = replicas[1].sales.WatchStock(ss.WatchStockRequest(name=sale), timeout=CALL_SECONDS)
    assert (await watch.read()).WhichOneof("event") == "snapshot"
    await asyncio.gather(*(replicas[0].reserve(sale, f"c-{n}", sneaker=1) for n in range(20)))
    sequence, held = 1, 0
    while held < 20:
        event = await watch.read()
        if event.WhichOneof("event") == "change":
            assert event.change.previous_sequence == sequence
            sequence, held = event.change.sequence, event.change.items[0].held
    watch.cancel()


async def test_unknown_method_is_unimplemented(shop):
    call = shop.channel.unary_unary("/holdfast.inventory.v1.SaleService/Nothing")
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call(b"", timeout=CALL_SECONDS)
    assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED


def held_in(event):
    return json.loads(event["data"])["change"]["items"][0]["held"]


def movements_in(event):
    return json.loads(event["data"]).get("movements", [])
