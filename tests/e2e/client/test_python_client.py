"""The Python client against real replicas: what it repeats is executed once, and a deploy is not noticed."""

import asyncio
import uuid
from contextlib import aclosing

import pytest

from holdfast.inventory.v1.reservation_service_pb2 import Line, Reservation
from holdfast.inventory.v1.sale_pb2 import Item, Sale
from holdfast_client import AsyncClient, Batch, Client, Policy, Refusal, TooManyWaiting, Unanswered, refusals

ONE = [Line(item="cap", quantity=1)]
SUBMIT = "/holdfast.inventory.v1.ReservationService/Submit"
CREATE = "/holdfast.inventory.v1.ReservationService/CreateReservation"


@pytest.fixture
async def sale(client):
    """The name of a new sale with 10 caps, at most 4 for a customer."""
    return await new_sale(client, 10, per_customer_limit=4)


async def new_sale(client, units, **rules):
    rules |= {"items": [Item(item="cap", on_hand=units)]}
    return (await client.create_sale(sale_id=f"sale-{uuid.uuid4().hex}", sale=Sale(**rules))).name


async def test_it_buys_and_reads(client, sale):
    held = await client.create_reservation(parent=sale, customer="c-1", lines=ONE)
    sold = await client.confirm_reservation(name=held.name, order="o-1")
    assert (sold.state, sold.order) == (Reservation.CONFIRMED, "o-1")
    assert (await client.get_item(name=f"{sale}/items/cap")).sold == 1


async def test_a_blocking_client_does_the_same(cluster, sale):
    def shop():
        with Client(cluster.addresses[1]) as shop:
            held = shop.create_reservation(parent=sale, customer="c-1", lines=ONE)
            shop.release_reservation(name=held.name)
            with pytest.raises(refusals.CustomerLimitReached):
                shop.create_reservation(parent=sale, customer="c-1", lines=[Line(item="cap", quantity=5)])
            return [each.customer for each in shop.list_reservations(parent=sale, page_size=1)]

    assert await asyncio.to_thread(shop) == ["c-1"]


async def test_a_refusal_has_its_class_and_its_metadata(client):
    sale = await new_sale(client, 10)
    with pytest.raises(refusals.InsufficientStock) as caught:
        await client.create_reservation(parent=sale, customer="c-2", lines=[Line(item="cap", quantity=11)])
    assert caught.value.metadata == {"asked.cap": "11", "available.cap": "10"}
    with pytest.raises(refusals.InvalidRequest) as caught:
        await client.create_reservation(parent=sale, customer="c-2", lines=[Line(item="cap", quantity=0)])
    assert "lines[0].quantity" in caught.value.violations


async def test_a_list_is_all_of_its_pages(client, sale):
    for customer in range(5):
        await client.create_reservation(parent=sale, customer=f"c-{customer}", lines=ONE)
    listed = [each.customer async for each in client.list_reservations(parent=sale, page_size=2)]
    assert sorted(listed) == [f"c-{customer}" for customer in range(5)]


async def test_an_answer_that_was_lost_is_asked_for_again_and_executed_once(behind_front, front, client, sale):
    front.lose = 2
    held = await behind_front.create_reservation(parent=sale, customer="c-1", lines=ONE)
    assert [path for path, _ in front.calls] == [CREATE] * 3
    assert [metadata.get("holdfast-previous-attempts") for _, metadata in front.calls] == [None, "1", "1"]
    assert [each.name async for each in client.list_reservations(parent=sale)] == [held.name]


async def test_what_cannot_be_repeated_is_sent_once(behind_front, front):
    front.lose = 1
    with pytest.raises(Unanswered):
        await new_sale(behind_front, 1)
    assert len(front.calls) == 1


async def test_a_credential_is_asked_for_at_each_attempt(front, sale, opened_here):
    keys = iter(["first", "second"])
    client = await opened_here.enter_async_context(AsyncClient(front.target, credential=lambda: next(keys)))
    front.lose = 1
    await client.get_sale(name=sale)
    assert [metadata["authorization"] for _, metadata in front.calls] == ["Bearer first", "Bearer second"]


async def test_no_server_is_an_error_within_the_deadline(new_client, free_port):
    client = await new_client(f"127.0.0.1:{free_port()}", policy=Policy(timeout_seconds=0.5))
    with pytest.raises(Unanswered, match="UNAVAILABLE"):
        await client.get_sale(name="sales/none")


async def test_concurrent_calls_of_a_batch_share_submits_and_each_gets_its_own_outcome(behind_front, front, client):
    sale = await new_sale(client, 150)
    batch = Batch(behind_front, sale)
    calls = [batch.create_reservation(customer=f"c-{each}", lines=ONE) for each in range(200)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    granted = [each for each in outcomes if isinstance(each, Reservation)]
    refused = [each for each in outcomes if isinstance(each, refusals.InsufficientStock)]
    assert (len(granted), len(refused)) == (150, 50)
    assert len({each.name for each in granted}) == 150
    assert [path for path, _ in front.calls] == [SUBMIT]
    sold = await asyncio.gather(*(batch.confirm_reservation(name=each.name) for each in granted))
    assert {each.state for each in sold} == {Reservation.CONFIRMED}


async def test_a_submit_whose_answer_is_lost_is_repeated_and_executed_once(behind_front, front, client, sale):
    front.lose = 1
    batch = Batch(behind_front, sale)
    await asyncio.gather(*(batch.create_reservation(customer=f"c-{each}", lines=ONE) for each in range(10)))
    assert (await client.get_item(name=f"{sale}/items/cap")).held == 10
    assert front.calls[-1][1]["holdfast-previous-attempts"] == "1"


async def test_a_batch_has_a_limit_of_waiting_calls(behind_front, sale):
    batch = Batch(behind_front, sale, most_waiting=3)
    calls = [batch.create_reservation(customer=f"c-{each}", lines=ONE) for each in range(5)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(each, TooManyWaiting) for each in outcomes] == [False] * 3 + [True] * 2


async def test_a_replica_that_drains_and_stops_is_not_noticed(start_inventory, new_client):
    """The policy's budget is for outages: here each call may be repeated, and must succeed."""
    leaving = start_inventory(drain_quiet_seconds=0.3, drain_min_seconds=0.5).wait_until_serving()
    staying = start_inventory().wait_until_serving()
    client = await new_client(leaving.address, staying.address)
    sale = await new_sale(client, 100_000)
    left = asyncio.Event()

    async def shop(number):
        held = 0
        while not left.is_set():
            await client.create_reservation(parent=sale, customer=f"c-{number}", lines=ONE)
            held += 1
        return held

    async def leave():
        await asyncio.to_thread(leaving.stop)
        left.set()

    *held, _ = await asyncio.gather(*(shop(number) for number in range(4)), leave())
    assert (await client.get_item(name=f"{sale}/items/cap")).held == sum(held) > 0


async def test_a_watch_is_resumed_at_another_replica_without_gap(start_inventory, new_client):
    leaving = start_inventory().wait_until_serving()
    staying = start_inventory().wait_until_serving()
    client, other = await new_client(leaving.address, staying.address), await new_client(staying.address)
    sale = await new_sale(other, 100)
    sequences = []
    async with aclosing(client.watch_movements(parent=sale)) as events:
        async for event in events:
            sequences += [movement.sequence for movement in event.movements]
            if len(sequences) == 1:
                await asyncio.to_thread(leaving.stop)
            if len(sequences) > 5:
                break
            await other.create_reservation(parent=sale, customer=f"c-{len(sequences)}", lines=ONE)
    assert sequences == list(range(1, len(sequences) + 1))


async def test_a_blocking_watch_yields_the_stock(cluster, client, sale):
    def follow():
        with Client(cluster.addresses[2]) as shop:
            return next(shop.watch_stock(name=sale))

    event = await asyncio.to_thread(follow)
    assert [item.available for item in event.snapshot.items] == [10]


async def test_a_watch_of_a_missing_sale_is_refused(client):
    with pytest.raises(refusals.NotFound):
        await anext(client.watch_stock(name="sales/none"))


def test_every_refusal_is_caught_by_one_class():
    assert issubclass(refusals.NotFound, Refusal)
