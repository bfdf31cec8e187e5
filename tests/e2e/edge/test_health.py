"""Only replicas that report readiness get traffic."""

import asyncio

from holdfast.inventory.v1 import reservation_service_pb2, reservation_service_pb2_grpc
from tests.support.eventually import eventually


async def ask_rest(edge, rest, count=1):
    """Return the replicas that answered."""
    served = []
    for _ in range(count):
        async with rest.get(f"{edge.url}/v1/sales") as answer:
            assert answer.status == 200
            served.append(answer.headers["x-served-by"])
    return set(served)


async def ask_grpc(channel, count=1):
    """Return the replicas that answered."""
    stub = reservation_service_pb2_grpc.ReservationServiceStub(channel)
    served = []
    for _ in range(count):
        call = stub.GetReservation(reservation_service_pb2.GetReservationRequest(name="x"), timeout=5)
        served.append(dict(await call.initial_metadata())["x-served-by"])
        await call
    return set(served)


async def healthy(edge, service, count):
    """Wait until this many of its replicas are healthy, for changes and for reads."""

    async def is_so():
        clusters = (service, f"{service}_looks")
        return [await edge.stat(f"cluster.{each}.membership_healthy") for each in clusters] == [count, count]

    await eventually(is_so)


async def test_a_gateway_that_is_not_ready_gets_no_traffic_until_it_is_again(
    start_edge, start_gateway, inventory, rest
):
    one, two = await start_gateway("one"), await start_gateway("two")
    edge = await start_edge([one, two], [inventory])
    assert await ask_rest(edge, rest, 20) == {"one", "two"}
    one.ready = False
    await healthy(edge, "gateways", 1)
    assert await ask_rest(edge, rest, 20) == {"two"}
    one.ready = True
    await healthy(edge, "gateways", 2)
    assert await ask_rest(edge, rest, 20) == {"one", "two"}


async def test_an_inventory_that_is_not_serving_gets_no_traffic_until_it_is_again(
    start_edge, start_inventory, gateway, channel
):
    one, two = await start_inventory("one"), await start_inventory("two")
    edge = await start_edge([gateway], [one, two])
    opened = channel(edge.target)
    assert await ask_grpc(opened, 20) == {"one", "two"}
    await one.be_serving(False)
    await healthy(edge, "inventories", 1)
    assert await ask_grpc(opened, 20) == {"two"}
    await one.be_serving(True)
    await healthy(edge, "inventories", 2)
    assert await ask_grpc(opened, 20) == {"one", "two"}


async def test_one_answer_of_a_draining_gateway_sends_the_next_elsewhere(start_edge, start_gateway, inventory, rest):
    one, two = await start_gateway("one"), await start_gateway("two")
    edge = await start_edge([one, two], [inventory])
    one.draining = True
    async with asyncio.timeout(5):
        while await ask_rest(edge, rest) != {"one"}:
            pass

    async def is_told():
        return await edge.stat("cluster.gateways_looks.health_check.passive_failure") == 1

    await eventually(is_told)
    await healthy(edge, "gateways", 1)
    assert await ask_rest(edge, rest, 20) == {"two"}


async def test_clients_do_not_see_that_a_gateway_drains(edge, gateway, rest):
    gateway.draining = True
    async with rest.get(f"{edge.url}/v1/sales") as answer:
        assert "x-envoy-immediate-health-check-fail" not in answer.headers
        assert answer.headers.get("connection") != "close"


async def test_a_gateway_that_vanishes_costs_no_request(start_edge, start_gateway, inventory, rest):
    one, two = await start_gateway("one"), await start_gateway("two")
    edge = await start_edge([one, two], [inventory])
    await one.stop()
    assert await ask_rest(edge, rest, 20) == {"two"}


async def test_a_gateway_that_comes_later_is_found(start_edge, start_gateway, inventory, rest, free_port):
    one = await start_gateway("one")
    port = free_port()
    edge = await start_edge([one, f"127.0.0.1:{port}"], [inventory])
    assert await ask_rest(edge, rest, 10) == {"one"}
    late = await start_gateway("late", port)
    await healthy(edge, "gateways", 2)
    assert late.name in await ask_rest(edge, rest, 20)


async def test_a_name_stands_for_every_address_that_it_has(start_edge, gateway, inventory, rest):
    edge = await start_edge([f"localhost:{gateway.port}"], [inventory])
    assert await ask_rest(edge, rest) == {"gateway"}


async def test_without_a_healthy_inventory_grpc_is_refused_and_rest_is_not(start_edge, gateway, inventory, rest):
    await inventory.be_serving(False)
    edge = await start_edge([gateway], [inventory])
    assert await ask_rest(edge, rest) == {"gateway"}
    assert await edge.stat("cluster.inventories.membership_healthy") == 0


async def test_the_edge_is_ready_regardless_of_the_services(start_edge, rest, free_port):
    unreachable = f"127.0.0.1:{free_port()}"
    edge = await start_edge([unreachable], [unreachable])
    async with rest.get(f"{edge.url}/health/ready") as answer:
        assert answer.status == 200
