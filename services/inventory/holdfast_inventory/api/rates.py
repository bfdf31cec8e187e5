"""The rates of callers, for calls that no gateway has counted. See ADR 26."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import unquote

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast_chassis.contract import Kind, method_of
from holdfast_chassis.identity.principal import Principal
from holdfast_chassis.rates.callers import client_address, is_counted, keys_of
from holdfast_chassis.rates.gcra import MICROSECONDS
from holdfast_chassis.rates.limiter import RateLimiter
from holdfast_inventory.api.access import CARRIED
from holdfast_inventory.api.call import Call
from holdfast_inventory.domain.errors import RateLimited
from holdfast_inventory.ports import Exchange

_FORWARDED_KEY = "x-forwarded-for"
_KINDS = {name: method_of(method).kind for name, method in CARRIED.items()}

Handle = Callable[[Any, Call], Any]
Answer = Callable[[Any, Exchange, Call], Awaitable[bytes]]


class Rates:
    """The rates of all callers of gRPC."""

    def __init__(self, limiter: RateLimiter, trusted_hops: int) -> None:
        self._limiter = limiter
        self._trusted_hops = trusted_hops

    def counting(self, method: MethodDescriptor, handle: Handle) -> Handle:
        """Return the handler of a method that counts its calls, and raises RateLimited. Submit counts its commands."""
        options = method_of(method)
        if not is_counted(options.kind) or options.carries_credentials:
            return handle

        async def handled(request: Message, call: Call) -> Message:
            await self._count(options.kind, call, call.principal, request)
            answer: Message = await handle(request, call)
            return answer

        async def followed(request: Message, call: Call) -> AsyncGenerator[Message]:
            await self._count(options.kind, call, call.principal, request)
            async with aclosing(handle(request, call)) as events:
                async for event in events:
                    yield event

        return followed if method.server_streaming else handled

    def addressed(self, answer: Answer) -> Answer:
        """Return what answers calls, and sets their client's address first."""

        async def answered(request: Any, exchange: Exchange, call: Call) -> bytes:  # noqa: ANN401 - as Answer's
            call.client_address = self._address_of(exchange)
            return await answer(request, exchange, call)

        return answered

    async def count_command(self, call: Call, principal: Principal, command: pb.Command) -> None:
        """Count a command of a Submit like a call of its own. Raises RateLimited."""
        name = command.WhichOneof("command")
        if name is not None and is_counted(_KINDS[name]):
            await self._count(_KINDS[name], call, principal, getattr(command, name))

    async def _count(self, kind: Kind, call: Call, principal: Principal, request: Message) -> None:
        if call.rate_counted:
            return
        verdict = await self._limiter.take(keys_of(kind, principal, call.client_address, request))
        if verdict.retry_in:
            rate = self._limiter.rate
            raise RateLimited(rate.requests, rate.window / MICROSECONDS, verdict.retry_in / MICROSECONDS)

    def _address_of(self, exchange: Exchange) -> str:
        """Return the address of a caller, as a gateway would write it."""
        forwarded = ",".join(str(value) for key, value in exchange.metadata if key == _FORWARDED_KEY)
        host = unquote(exchange.peer).partition(":")[2].rpartition(":")[0].strip("[]")
        return client_address(forwarded, host, self._trusted_hops)
