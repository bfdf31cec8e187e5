"""An inventory and gateways that know callers, and what callers prove themselves by."""

import json
import uuid
from contextlib import ExitStack
from typing import NamedTuple

import aiohttp
import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from holdfast.inventory.v1 import sale_pb2, sale_service_pb2
from holdfast.inventory.v1.reservation_service_pb2_grpc import ReservationServiceStub
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceStub
from holdfast_chassis.identity.api_keys import GRANTABLE, new_key, render_keys
from holdfast_gateway.routes import routes_of
from lab.kit.grpc_client import create
from lab.kit.refusals import refused
from tests.support.issuer import ISSUER, SigningKey, jwks
from tests.support.rest_parts import parts
from tests.support.services import NO_DRAIN, OTHER_TRANSPORT, Gateway, Inventory
from tests.support.sound_requests import SERVICES

CALL_SECONDS = 20
ROUTES = {route.rpc.name: route for route in routes_of(SERVICES)}
GRPC = ["grpc", "grpc by the other transport"]
REST = ["rest", "rest through a gateway without authentication"]
TRANSPORTS = [*GRPC, *REST]


class Answer(NamedTuple):
    """How a call ended; `reason` is OK when it was not refused."""

    reason: str
    metadata: dict
    challenge: str | None
    body: object


class Guarded:
    """The services, and the keys that they know."""

    def __init__(self, started, database_url, directory):
        """The services end with the exit stack `started`."""
        self.key, self.admission_key = SigningKey(), SigningKey("room-1", "EdDSA")
        self.key_file, self.jwks_file = directory / "keys.json", directory / "jwks.json"
        self.jwks_file.write_text(jwks(self.key))
        admission_jwks = directory / "admission.json"
        admission_jwks.write_text(jwks(self.admission_key))
        self.operator_secret, operator = new_key("operator", sorted(GRANTABLE), None)
        self.shop_secret, shop = new_key("shop", ["reservations.write"], None)
        self.key_file.write_text(render_keys([operator, shop]))
        known = {"token_issuer": ISSUER, "token_jwks": self.jwks_file, "api_keys_path": self.key_file}
        admitting = {**known, "admission_jwks": admission_jwks}
        self.inventory = started.enter_context(Inventory(database_url, migrate_on_start=True, **admitting, **NO_DRAIN))
        address = self.inventory.wait_until_serving().address
        self.other_inventory = started.enter_context(
            Inventory(database_url, **admitting, **NO_DRAIN, transport=OTHER_TRANSPORT)
        ).wait_until_serving()
        self.gateway = started.enter_context(Gateway([address], **known, **NO_DRAIN))
        self.open_gateway = started.enter_context(Gateway([address], **NO_DRAIN))
        for gateway in (self.gateway, self.open_gateway):
            gateway.wait_until_serving()
        self.services = (self.inventory, self.other_inventory, self.gateway, self.open_gateway)

    def new_sale(self, **rules):
        """Return the name of a new sale."""
        new = sale_pb2.Sale(items=[sale_pb2.Item(item="a", on_hand=1000)], **rules)
        wanted = sale_service_pb2.CreateSaleRequest(sale_id=f"sale-{uuid.uuid4().hex}", sale=new)
        options = {"metadata": (("authorization", self.operator),), "timeout": CALL_SECONDS}
        with grpc.insecure_channel(self.inventory.address) as channel:
            return SaleServiceStub(channel).CreateSale(wanted, **options).name

    def open_sale(self):
        """Return a new sale, and a reservation of c-1's in it; their names."""
        sale = self.new_sale()
        options = {"metadata": (("authorization", self.operator),), "timeout": CALL_SECONDS}
        with grpc.insecure_channel(self.inventory.address) as channel:
            held = ReservationServiceStub(channel).CreateReservation(create(sale, "c-1", a=1), **options)
        return sale, held.name

    @property
    def operator(self):
        return f"Bearer {self.operator_secret}"

    def buyer(self, customer="c-1", **claims):
        return f"Bearer {self.key.token(sub=customer, **claims)}"


@pytest.fixture(scope="session")
def guarded(postgres18, tmp_path_factory):
    database = "guarded"
    with ExitStack() as started:
        yield Guarded(started, postgres18.create_database(database), tmp_path_factory.mktemp("guarded"))
    postgres18.drop_database(database)


@pytest.fixture(scope="session")
def stock(guarded):
    """A sale, and a reservation of c-1's."""
    return guarded.open_sale()


class Caller:
    """Calls any method over any transport, with an Authorization or without."""

    def __init__(self, guarded, channels, session):
        self._channels, self._session = dict(zip(GRPC, channels, strict=True)), session
        self._urls = dict(zip(REST, (guarded.gateway.url, guarded.open_gateway.url), strict=True))

    async def call(self, transport, descriptor, request, authorization, **headers):
        """Return how it ends; of a watch, with its first message."""
        if transport in GRPC:
            return await self._over_grpc(self._channels[transport], descriptor, request, authorization)
        return await self._over_rest(self._urls[transport], ROUTES[descriptor.name], request, authorization, headers)

    async def _over_grpc(self, channel, descriptor, request, authorization):
        path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
        make = channel.unary_stream if descriptor.server_streaming else channel.unary_unary
        method = make(path, type(request).SerializeToString, GetMessageClass(descriptor.output_type).FromString)
        metadata = () if authorization is None else (("authorization", authorization),)
        call = method(request, metadata=metadata, timeout=CALL_SECONDS)
        try:
            body = await (call.read() if descriptor.server_streaming else call)
        except grpc.aio.AioRpcError as error:
            told = refused(error)
            return Answer(told.reason, told.metadata, None, None)
        finally:
            call.cancel()
        return Answer("OK", {}, None, json_format.MessageToDict(body))

    async def _over_rest(self, url, route, request, authorization, headers):
        document = json_format.MessageToDict(request)
        path, query, body = parts(route, document)
        if authorization is not None:
            headers["Authorization"] = authorization
        data = json.dumps(body).encode() if route.body else None
        headers["Content-Type"] = "application/json"
        where = aiohttp.client.URL(url + path, encoded=True).update_query(query)
        async with self._session.request(route.http_method, where, data=data, headers=headers) as response:
            if response.content_type == "text/event-stream":
                return Answer("OK", {}, None, None)
            told = await response.json(content_type=None)
            reason = "OK" if response.status == 200 else told["reason"]
            metadata = told.get("metadata", {}) if response.status != 200 else {}
            return Answer(reason, metadata, response.headers.get("WWW-Authenticate"), told)


@pytest.fixture
async def caller(guarded):
    timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
    async with (
        grpc.aio.insecure_channel(guarded.inventory.address) as channel,
        grpc.aio.insecure_channel(guarded.other_inventory.address) as other_channel,
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        yield Caller(guarded, [channel, other_channel], session)
