"""The rate of a caller is one for both protocols: gRPC calls past the gateway are counted in the same buckets."""

import itertools
import uuid
from contextlib import ExitStack

import aiohttp
import grpc
import pytest

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast.inventory.v1 import sale_pb2, sale_service_pb2
from holdfast.inventory.v1.reservation_service_pb2_grpc import ReservationServiceStub
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceStub
from holdfast_chassis import direct
from lab.kit.grpc_client import create
from lab.kit.refusals import refused, told
from tests.support.services import NO_DRAIN, OTHER_TRANSPORT, TRANSPORT, Gateway, Inventory

RATE = 3
SETTINGS = {"rate_limit_requests": RATE, "rate_limit_window": 3600, "trusted_hops": 1, **NO_DRAIN}
CALL_SECONDS = 20
numbers = itertools.count()


def new_address():
    number = next(numbers)
    return f"198.51.{number // 250}.{number % 250}"


class Shop:
    """An inventory and a gateway in front of it. Both count callers, who have no credentials, by the address that a
    proxy saw and by the customer.
    """

    def __init__(self, started, database_url, **settings):
        inventory = Inventory(database_url, migrate_on_start=True, **settings, **SETTINGS)
        self.address = started.enter_context(inventory).wait_until_serving().address
        del settings["transport"]
        gateway = started.enter_context(Gateway([self.address], **settings, **SETTINGS))
        self.url = gateway.wait_until_serving().url


@pytest.fixture(scope="module", params=[TRANSPORT, OTHER_TRANSPORT])
def shop(request, postgres18, valkey_server):
    database = f"rates_{request.param}"
    with ExitStack() as started:
        url = postgres18.create_database(database)
        yield Shop(started, url, transport=request.param, redis_url=valkey_server.url)
    postgres18.drop_database(database)


class Client:
    """Buys of a new sale."""

    async def open(self, shop):
        self._channel = grpc.aio.insecure_channel(shop.address, direct.CHANNEL_OPTIONS)
        self._session = aiohttp.ClientSession(shop.url, timeout=aiohttp.ClientTimeout(total=CALL_SECONDS))
        self.reservations = ReservationServiceStub(self._channel)
        new = sale_pb2.Sale(items=[sale_pb2.Item(item="a", on_hand=1_000)])
        wanted = sale_service_pb2.CreateSaleRequest(sale_id=f"sale-{uuid.uuid4().hex}", sale=new)
        sales = SaleServiceStub(self._channel)
        self.sale = (await sales.CreateSale(wanted, timeout=CALL_SECONDS, metadata=seen(new_address()))).name
        return self

    async def close(self):
        await self._session.close()
        await self._channel.close()

    async def over_grpc(self, customer, address=None):
        """The reason why a create is refused, or OK."""
        wanted = create(self.sale, customer, a=1)
        try:
            await self.reservations.CreateReservation(
                wanted, timeout=CALL_SECONDS, metadata=seen(address or new_address())
            )
        except grpc.aio.AioRpcError as error:
            refusal = refused(error)
            return refusal.reason if refusal.retry_seconds else f"{refusal.reason} without RetryInfo"
        return "OK"

    async def over_rest(self, customer):
        """The same."""
        body = {"customer": customer, "lines": [{"item": "a", "quantity": 1}]}
        headers = dict(seen(new_address()))
        async with self._session.post(f"/v1/{self.sale}/reservations", json=body, headers=headers) as answer:
            return (await answer.json()).get("reason", "OK")


def seen(address):
    """What a proxy tells of a client at this address."""
    return [("x-forwarded-for", address)]


@pytest.fixture
async def client(shop, opened):
    return await opened(Client()).open(shop)


@pytest.fixture
def customer():
    return f"c-{uuid.uuid4().hex}"


async def test_a_call_through_the_gateway_is_counted_once_and_then_by_both(client, customer):
    assert [await client.over_rest(customer) for _ in range(RATE)] == ["OK"] * RATE
    assert await client.over_grpc(customer) == "RATE_LIMITED"
    assert await client.over_rest(customer) == "RATE_LIMITED"


async def test_calls_past_the_gateway_are_counted(client, customer):
    assert [await client.over_grpc(customer) for _ in range(RATE + 1)] == ["OK"] * RATE + ["RATE_LIMITED"]
    assert await client.over_rest(customer) == "RATE_LIMITED"


async def test_an_address_is_counted_as_a_proxy_saw_it(client):
    address = new_address()
    answers = [await client.over_grpc(f"c-{uuid.uuid4().hex}", address) for _ in range(RATE + 1)]
    assert answers == ["OK"] * RATE + ["RATE_LIMITED"]


async def test_each_command_of_a_submit_is_counted(client, customer):
    commands = [pb.Command(create=create("", customer, a=1)) for _ in range(RATE + 2)]
    request = pb.SubmitRequest(parent=client.sale, commands=commands)
    answer = await client.reservations.Submit(request, timeout=CALL_SECONDS, metadata=seen(new_address()))
    reasons = [told(outcome.error).reason or "OK" for outcome in answer.outcomes]
    assert sorted(reasons) == ["OK"] * RATE + ["RATE_LIMITED"] * 2


async def test_what_ends_a_purchase_has_no_rate(client, customer):
    address = new_address()
    held = await client.reservations.CreateReservation(
        create(client.sale, customer, a=1), timeout=CALL_SECONDS, metadata=seen(address)
    )
    for _ in range(RATE + 2):
        wanted = pb.ConfirmReservationRequest(name=held.name)
        await client.reservations.ConfirmReservation(wanted, timeout=CALL_SECONDS, metadata=seen(address))


async def test_without_valkey_an_inventory_counts_by_itself(customer, database_url, opened):
    with ExitStack() as started:
        alone = Shop(started, database_url, transport=TRANSPORT)
        buyer = await opened(Client()).open(alone)
        answers = [await buyer.over_grpc(customer) for _ in range(RATE + 1)]
    assert answers == ["OK"] * RATE + ["RATE_LIMITED"]
