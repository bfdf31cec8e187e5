"""A client of Holdfast over gRPC: one channel, and the most frequent requests."""

import uuid
from collections.abc import Iterable
from typing import Any, Self

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2_grpc

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import sale_pb2
from holdfast.inventory.v1 import sale_service_pb2 as ss
from holdfast.inventory.v1.reservation_service_pb2_grpc import ReservationServiceStub
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceStub
from holdfast.inventory.v1.webhook_service_pb2_grpc import WebhookServiceStub
from lab.kit.refusals import refused

CALL_SECONDS = 30.0
_PAGE_SIZE = 1000
_OWN_CONNECTIONS = ("grpc.use_local_subchannel_pool", 1)


class GrpcClient:
    """A client of one address or name, with its own connections. Open and close it in the same event loop."""

    def __init__(self, target: str, options: Iterable[tuple[str, Any]] = ()) -> None:
        """`options` are arguments of the channel."""
        self.channel = grpc.aio.insecure_channel(target, options=[_OWN_CONNECTIONS, *options])
        self.reservations: Any = ReservationServiceStub(self.channel)
        self.sales: Any = SaleServiceStub(self.channel)
        self.webhooks: Any = WebhookServiceStub(self.channel)
        self.health: Any = health_pb2_grpc.HealthStub(self.channel)

    async def close(self) -> None:
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def call(self, request: Message, seconds: float | None = CALL_SECONDS, **options: Any) -> Any:
        """Call the method that takes this request. Return grpc.aio's call, to await or, for a watch, to iterate."""
        method = type(request).__name__.removesuffix("Request")
        service = next(each for each in (self.reservations, self.sales, self.webhooks) if hasattr(each, method))
        return getattr(service, method)(request, timeout=seconds, **options)

    async def all_of(self, request: Any, field: str) -> list[Any]:
        """Return all entries of a list, from all pages; `field` is the response's field that has them."""
        found: list[Any] = []
        request.page_size = _PAGE_SIZE
        while True:
            page = await self.call(request)
            found += getattr(page, field)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return found

    async def open_sale(self, limit: int = 0, hold_seconds: int = 120, **on_hand: int) -> str:
        """Create a sale with `on_hand` units by item, and return its name."""
        sale = sale_pb2.Sale(per_customer_limit=limit)
        sale.items.extend(sale_pb2.Item(item=item, on_hand=units) for item, units in on_hand.items())
        sale.hold_time.FromSeconds(hold_seconds)
        name: str = (await self.call(ss.CreateSaleRequest(sale_id=f"sale-{uuid.uuid4().hex}", sale=sale))).name
        return name

    async def reserve(self, sale: str, customer: str, request_id: str = "", **quantities: int) -> Any:
        """Hold stock, and return the reservation."""
        return await self.call(create(sale, customer, request_id, **quantities))

    async def get(self, name: str) -> Any:
        """Read a reservation."""
        return await self.call(rs.GetReservationRequest(name=name))

    async def item(self, sale: str, item: str) -> Any:
        """Read the stock of an item."""
        return await self.call(ss.GetItemRequest(name=f"{sale}/items/{item}"))

    async def check_ledger(self, sale: str) -> None:
        """Raise AssertionError unless the movements sum up to the stock."""
        verified = await self.call(ss.VerifyLedgerRequest(name=sale))
        assert verified.consistent, json_format.MessageToDict(verified)


def create(sale: str, customer: str, request_id: str = "", **quantities: int) -> rs.CreateReservationRequest:
    """Return a request to hold a number of units of each item."""
    lines = [rs.Line(item=item, quantity=quantity) for item, quantity in quantities.items()]
    return rs.CreateReservationRequest(parent=sale, customer=customer, lines=lines, request_id=request_id)


async def outcome(call: Any) -> Any:
    """Return the result of a call or, as `Refused`, the reason of its refusal."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return refused(error)


async def end_of(stream: Any) -> grpc.StatusCode:
    """Read a stream to its end, and return its status code."""
    try:
        while await stream.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
