"""Calls for one sale that are made at the same time travel together, which costs a fraction of separate calls."""

import asyncio
import copy
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, ParamSpec, Self, overload

import grpc
from google.protobuf.message import Message

from holdfast.inventory.v1.reservation_service_pb2 import (
    Command,
    ConfirmReservationRequest,
    CreateReservationRequest,
    ExtendReservationRequest,
    Outcome,
    ReleaseReservationRequest,
    Reservation,
    SubmitRequest,
    SubmitResponse,
)
from holdfast_client import connection
from holdfast_client.async_caller import AsyncCaller
from holdfast_client.errors import TooManyWaiting, Unanswered
from holdfast_client.retries import Metadata
from holdfast_client.statuses import result_of

P = ParamSpec("P")

_COMMANDS = 1_000
_BYTES = 3 * 1024 * 1024
_UNDER_WAY = 2
_SUBMIT = connection.method_of(SubmitRequest)


@dataclass(eq=False, slots=True)
class _Waiter:
    command: Command
    timeout_seconds: float
    sent_before: Metadata
    outcome: "asyncio.Future[Outcome]"


class _Command(Generic[P]):
    """A method of a Batch: as the client's method of the same name."""

    def __init__(self, field: str, request: Callable[P, Message]) -> None:
        self._field = field
        self._request = request

    @overload
    def __get__(self, batch: None, owner: object) -> Self: ...
    @overload
    def __get__(self, batch: "Batch", owner: object) -> Callable[P, Awaitable[Reservation]]: ...
    def __get__(self, batch: "Batch | None", owner: object) -> Self | Callable[P, Awaitable[Reservation]]:
        if batch is None:
            return self
        caller = batch

        async def call(*args: P.args, **kwargs: P.kwargs) -> Reservation:
            command = Command()
            getattr(command, self._field).CopyFrom(self._request(*args, **kwargs))
            return await caller.execute(command)

        return call


class Batch:
    """A sale's calls, in Submits: each caller gets its own reservation or refusal, with the client's retries.

    Nothing waits for a timer: while two Submits are under way, calls gather for the next one.
    """

    create_reservation = _Command("create", CreateReservationRequest)
    confirm_reservation = _Command("confirm", ConfirmReservationRequest)
    release_reservation = _Command("release", ReleaseReservationRequest)
    extend_reservation = _Command("extend", ExtendReservationRequest)

    def __init__(self, client: AsyncCaller, sale: str, most_waiting: int = 10_000) -> None:
        """`sale` is a name, `sales/{sale}`; over `most_waiting` waiting calls, others raise TooManyWaiting."""
        self._client = client
        self._sale = sale
        self._most_waiting = most_waiting
        self._waiting: deque[_Waiter] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    async def execute(self, command: Command) -> Reservation:
        """Execute a command. Raises Refusal, Unanswered or TooManyWaiting."""
        if command.HasField("create"):
            connection.with_request_ids(command.create, self._client.entropy)

        async def attempt(timeout_seconds: float, sent_before: Metadata) -> Reservation:
            try:
                async with asyncio.timeout(timeout_seconds):
                    return result_of(await self._outcome(command, timeout_seconds, sent_before))
            except TimeoutError:
                raise Unanswered("no outcome in time", grpc.StatusCode.DEADLINE_EXCEEDED) from None

        return await self._client.persist(_SUBMIT, attempt)

    def _outcome(self, command: Command, timeout_seconds: float, sent_before: Metadata) -> "asyncio.Future[Outcome]":
        if len(self._waiting) >= self._most_waiting:
            raise TooManyWaiting(f"{len(self._waiting)} calls are waiting for {self._sale}")
        loop = asyncio.get_running_loop()
        command.timeout.FromNanoseconds(int(timeout_seconds * 1e9))
        waiter = _Waiter(command, timeout_seconds, sent_before, loop.create_future())
        self._waiting.append(waiter)
        # Not at once, so that other calls of this turn of the event loop share the Submit.
        loop.call_soon(self._flush)
        return waiter.outcome

    def _flush(self) -> None:
        while self._waiting and len(self._under_way) < _UNDER_WAY:
            if batch := self._take():
                task = asyncio.create_task(self._submit(batch))
                self._under_way.add(task)
                task.add_done_callback(self._submitted)

    def _submitted(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self._flush()

    def _take(self) -> list[_Waiter]:
        """Return as many as fit, without those whose callers have gone."""
        batch: list[_Waiter] = []
        size = 0
        while self._waiting and len(batch) < _COMMANDS and size < _BYTES:
            waiter = self._waiting.popleft()
            if not waiter.outcome.done():
                batch.append(waiter)
                size += waiter.command.ByteSize()
        return batch

    async def _submit(self, batch: list[_Waiter]) -> None:
        request = SubmitRequest(parent=self._sale, commands=[waiter.command for waiter in batch])
        timeout_seconds = max(waiter.timeout_seconds for waiter in batch)
        sent_before = max(waiter.sent_before for waiter in batch)
        try:
            response = await self._client.attempt(_SUBMIT, request, SubmitResponse, timeout_seconds, sent_before)
            for waiter, outcome in zip(batch, response.outcomes, strict=True):
                _settle(waiter.outcome, outcome)
        except Exception as error:  # noqa: BLE001 - every caller must get an answer, whatever this was
            for waiter in batch:
                # One for each caller, because an exception that is raised twice collects tracebacks.
                _settle(waiter.outcome, copy.copy(error))


def _settle(future: "asyncio.Future[Outcome]", result: Outcome | Exception) -> None:
    if future.done():
        return  # Its caller has gone.
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
