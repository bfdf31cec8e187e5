"""Clients that send a request once, by gRPC or REST, and tell what became of it: granted, refused, or nobody knows."""

import random
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc

from holdfast.inventory.v1.reservation_service_pb2_grpc import ReservationServiceStub
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceStub
from lab.chaos.history import Kind
from lab.chaos.messages import answer_of_json, as_dict, http_of, request_of
from lab.kit.refusals import reason_of

CALL_SECONDS = 4.0
GRPC, REST = "grpc", "rest"
# Reasons that leave open whether the request was, or still will be, carried out. All others promise that it was not.
_INDEFINITE = {"OUTCOME_UNKNOWN", "INVENTORY_UNAVAILABLE", "INTERNAL"}
_CHANNEL_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended, as a history has it."""

    kind: Kind
    answer: dict[str, Any] = field(default_factory=dict)
    replayed: bool = False
    reason: str = ""


class GrpcClient:
    """Asks inventories, each by a channel of its own, one at random unless it is told which."""

    transport = GRPC

    def __init__(self, addresses, seed):
        self._random = random.Random(seed)
        self._channels = [grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS) for address in addresses]
        self._stubs = [(ReservationServiceStub(channel), SaleServiceStub(channel)) for channel in self._channels]

    async def close(self):
        for channel in self._channels:
            await channel.close()

    async def send(self, action, fields, seconds=CALL_SECONDS):
        reservations, sales = self.stubs()
        method = {
            "create": reservations.CreateReservation,
            "confirm": reservations.ConfirmReservation,
            "release": reservations.ReleaseReservation,
            "extend": reservations.ExtendReservation,
            "get_reservation": reservations.GetReservation,
            "adjust": sales.AdjustStock,
            "transfer": sales.TransferStock,
            "pause": sales.PauseSale,
            "resume": sales.ResumeSale,
            "update": sales.UpdateSale,
            "get_item": sales.GetItem,
        }[action]
        call = method(request_of(action, fields), timeout=seconds)
        try:
            answer = await call
            trailers = dict(await call.trailing_metadata() or ())
        except grpc.aio.AioRpcError as error:
            reason = reason_of(error)
            if reason and reason not in _INDEFINITE:
                return Outcome(Kind.FAIL, reason=reason)
            return Outcome(Kind.INFO, reason=reason or f"{error.code().name}: {error.details()}")
        return Outcome(Kind.OK, as_dict(answer), trailers.get("idempotent-replayed") == "true")

    def stubs(self):
        """Those of one replica: ReservationService's and SaleService's."""
        return self._random.choice(self._stubs)


class RestClient:
    """Asks gateways, one at random."""

    transport = REST

    def __init__(self, urls, seed):
        self._random = random.Random(seed)
        self._urls = urls
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def close(self):
        await self._session.close()

    async def send(self, action, fields, seconds=CALL_SECONDS):
        method, path, body, headers = http_of(action, fields)
        timeout = aiohttp.ClientTimeout(total=seconds)
        url = self.url()
        try:
            async with self._session.request(method, url + path, json=body, headers=headers, timeout=timeout) as answer:
                document = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return Outcome(Kind.INFO, reason=f"{type(error).__name__}: {error}")
        if answer.status == 200:
            replayed = answer.headers.get("Idempotent-Replayed") == "true"
            return Outcome(Kind.OK, answer_of_json(action, document), replayed)
        reason = document.get("reason", "") if isinstance(document, dict) else ""
        if reason and reason not in _INDEFINITE:
            return Outcome(Kind.FAIL, reason=reason)
        return Outcome(Kind.INFO, reason=reason or f"HTTP {answer.status}")

    def stream(self, path, headers):
        """An open answer, to read server-sent events from."""
        timeout = aiohttp.ClientTimeout(sock_connect=CALL_SECONDS, sock_read=CALL_SECONDS)
        return self._session.get(self.url() + path, headers=headers, timeout=timeout, read_bufsize=1 << 22)

    def url(self):
        return self._random.choice(self._urls)
