import contextlib
import json

import grpc
import pytest
from prometheus_client import CollectorRegistry

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast.inventory.v1 import sale_service_pb2
from holdfast_chassis.contract import RESERVATION_SERVICE, SALE_SERVICE
from holdfast_inventory.api.calls import CallLimits, Calls
from holdfast_inventory.metrics import CallMetrics
from tests.support.transports import served

RETRIES = {
    "maxAttempts": 2,
    "initialBackoff": "0.01s",
    "maxBackoff": "0.01s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
RETRYING = [("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": RETRIES}]}))]


class Stage:
    """A server of real calls whose methods do as a test says, and a channel to it."""

    def __init__(self):
        self.registry = CollectorRegistry()
        self.handle = None

    async def _unary(self, request, call):
        return await self.handle(request, call)

    async def _stream(self, request, call):
        async with contextlib.aclosing(self.handle(request, call)) as events:
            async for event in events:
                yield event

    def __getattr__(self, name):
        return self._stream if name.startswith("watch_") else self._unary

    def count(self, name, **labels):
        return self.registry.get_sample_value(name, labels) or 0


@pytest.fixture
async def stage():
    """Serve `stage.handle(request, call)` as every method; `stage.get` and `stage.watch` call one."""
    stage = Stage()
    stage.calls = Calls(CallLimits(in_flight=6, default_seconds=0.2, write_seconds=0.3), CallMetrics(stage.registry))
    endpoints = [
        *stage.calls.endpoints(RESERVATION_SERVICE, stage),
        *stage.calls.endpoints(SALE_SERVICE, stage),
    ]
    async with (
        served(endpoints) as address,
        grpc.aio.insecure_channel(address) as channel,
        grpc.aio.insecure_channel(address, options=RETRYING) as retrying,
    ):
        prefix = "/holdfast.inventory.v1."
        stage.get = channel.unary_unary(
            f"{prefix}ReservationService/GetReservation",
            pb.GetReservationRequest.SerializeToString,
            pb.Reservation.FromString,
        )
        stage.create = channel.unary_unary(
            f"{prefix}ReservationService/CreateReservation",
            pb.CreateReservationRequest.SerializeToString,
            pb.Reservation.FromString,
        )
        stage.get_raw = channel.unary_unary(f"{prefix}ReservationService/GetReservation")
        stage.release, stage.release_with_retries = (
            each.unary_unary(
                f"{prefix}ReservationService/ReleaseReservation",
                pb.ReleaseReservationRequest.SerializeToString,
                pb.Reservation.FromString,
            )
            for each in (channel, retrying)
        )
        stage.watch = channel.unary_stream(
            f"{prefix}SaleService/WatchStock",
            sale_service_pb2.WatchStockRequest.SerializeToString,
            sale_service_pb2.WatchStockResponse.FromString,
        )
        yield stage
