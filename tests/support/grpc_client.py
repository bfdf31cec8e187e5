"""A shop's backend that speaks gRPC to one replica."""

import uuid

import grpc
from google.protobuf import json_format

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import sale_pb2
from holdfast.inventory.v1 import sale_service_pb2 as ss
from holdfast.inventory.v1.reservation_service_pb2_grpc import ReservationServiceStub
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceStub
from lab.kit.refusals import refused

CALL_SECONDS = 30


class GrpcClient:
    """Opened in a test's event loop; close it there."""

    def __init__(self, address):
        self.channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.reservations = ReservationServiceStub(self.channel)
        self.sales = SaleServiceStub(self.channel)

    async def close(self):
        await self.channel.close()

    async def open_sale(self, limit=0, hold_seconds=120, **on_hand):
        """A new sale that sells `on_hand`; its name."""
        sale = sale_pb2.Sale(per_customer_limit=limit)
        sale.items.extend(sale_pb2.Item(item=item, on_hand=units) for item, units in on_hand.items())
        sale.hold_time.FromSeconds(hold_seconds)
        request = ss.CreateSaleRequest(sale_id=f"sale-{uuid.uuid4().hex}", sale=sale)
        return (await self.sales.CreateSale(request, timeout=CALL_SECONDS)).name

    async def reserve(self, sale, customer, request_id="", **quantities):
        """A reservation. Raises what gRPC raises."""
        return await self.reservations.CreateReservation(
            create(sale, customer, request_id, **quantities), timeout=CALL_SECONDS
        )

    async def get(self, name):
        return await self.reservations.GetReservation(rs.GetReservationRequest(name=name), timeout=CALL_SECONDS)

    async def item(self, sale, item):
        return await self.sales.GetItem(ss.GetItemRequest(name=f"{sale}/items/{item}"), timeout=CALL_SECONDS)

    async def check_ledger(self, sale):
        """Fails unless the movements sum up to the stock."""
        verified = await self.sales.VerifyLedger(ss.VerifyLedgerRequest(name=sale), timeout=CALL_SECONDS)
        assert verified.consistent, json_format.MessageToDict(verified)


def create(sale, customer, request_id="", **quantities):
    lines = [rs.Line(item=item, quantity=quantity) for item, quantity in quantities.items()]
    return rs.CreateReservationRequest(parent=sale, customer=customer, lines=lines, request_id=request_id)


async def outcome(call):
    """What a call returns, or why it was refused."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return refused(error)


async def end_of(stream):
    """Reads a stream to its end; the code that it ended with."""
    try:
        while await stream.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
