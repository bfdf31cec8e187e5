"""How the client for asyncio calls, pages and watches. async_client.py lists the methods."""

import asyncio
import copy
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast, overload

import grpc
import grpc.aio
from google.protobuf.message import Message

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.contract import Method
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_client import connection
from holdfast_client.connection import Credential
from holdfast_client.errors import HoldfastError, Unanswered
from holdfast_client.retries import Attempts, Metadata, Policy, Resumption, RetryBudget
from holdfast_client.statuses import error_of

P = ParamSpec("P")
T = TypeVar("T", bound=Message)
R = TypeVar("R")


class AsyncCaller:
    """A channel with its retries. Use it in one event loop."""

    def __init__(
        self,
        target: str,
        *,
        credential: Credential = None,
        tls: grpc.ChannelCredentials | None = None,
        policy: Policy = Policy(),  # noqa: B008 - immutable
        clock: Clock = SYSTEM_CLOCK,
        entropy: Entropy = SYSTEM_ENTROPY,
    ) -> None:
        """`target` is a name of gRPC, such as `inventory:50051`; without `tls` it is called in plain text."""
        options = connection.options()
        self._channel = (
            grpc.aio.insecure_channel(target, options=options)
            if tls is None
            else grpc.aio.secure_channel(target, tls, options=options)
        )
        self._stubs = connection.Stubs(self._channel)
        self._credential = credential
        self._policy = policy
        self.budget = RetryBudget()
        self._clock = clock
        self.entropy = entropy

    async def close(self) -> None:
        """Close the channel. Calls in progress are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        """Return itself; it connects with its first call."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()

    def within(self, timeout_seconds: float) -> Self:
        """Return a client on the same channel whose calls may take this long."""
        return self.with_policy(replace(self._policy, timeout_seconds=timeout_seconds))

    def with_policy(self, policy: Policy) -> Self:
        """Return a client on the same channel that tries as the policy says."""
        other = copy.copy(self)
        other._policy = policy  # noqa: SLF001 - a copy of itself
        return other

    async def call(self, request: Message, response: type[T]) -> T:
        """Send a request with retries. The named methods do this. Raises Refusal or Unanswered."""
        method = connection.method_of(type(request))
        connection.with_request_ids(request, self.entropy)

        async def attempt(timeout_seconds: float, sent_before: Metadata) -> T:
            return await self.attempt(method, request, response, timeout_seconds, sent_before)

        return await self.persist(method, attempt)

    async def persist(self, method: Method, attempt: Callable[[float, Metadata], Awaitable[R]]) -> R:
        """Return the result of the first attempt that succeeds. Raises the error of the last one."""
        attempts = Attempts(method, self._policy, self.budget, self._clock, self.entropy)
        while True:
            try:
                result = await attempt(attempts.timeout_seconds, attempts.metadata)
            except HoldfastError as error:
                delay = attempts.delay_after(error)
                if delay is None:
                    raise
            else:
                return result
            await asyncio.sleep(delay)

    async def attempt(
        self, method: Method, request: Message, response: type[T], timeout_seconds: float, sent_before: Metadata
    ) -> T:
        """Send a request once."""
        metadata = (*connection.metadata(self._credential), *sent_before)
        try:
            answer: T = await self._stubs.of(method, response)(request, timeout=timeout_seconds, metadata=metadata)
        except grpc.aio.AioRpcError as failure:
            error = _error_of(failure)
            self.budget.note(error)
            raise error from failure
        self.budget.note(None)
        return answer

    async def watch(self, request: Message, response: type[T]) -> AsyncGenerator[T, None]:
        """Yield the events of a watch without an end, resuming it. Raises Refusal or Unanswered."""
        method = connection.method_of(type(request))
        resumption = Resumption(self._policy, self._clock, self.entropy)
        while True:
            try:
                async for event in self._events(method, request, response):
                    resumption.heard()
                    setattr(request, "resume_token", getattr(event, "resume_token"))  # noqa: B009, B010 - any watch
                    if connection.is_news(event):
                        yield event
                ended: HoldfastError = Unanswered("the watch has ended", grpc.StatusCode.UNAVAILABLE)
            except HoldfastError as error:
                ended = error
            await asyncio.sleep(resumption.delay_after(ended))

    async def _events(self, method: Method, request: Message, response: type[T]) -> AsyncGenerator[T, None]:
        call = self._stubs.of(method, response)(request, metadata=connection.metadata(self._credential))
        try:
            while True:
                async with asyncio.timeout(connection.SILENCE_SECONDS):
                    event = await call.read()
                if event is grpc.aio.EOF:
                    return
                yield event
        except grpc.aio.AioRpcError as failure:
            raise _error_of(failure) from failure
        except TimeoutError:
            raise Unanswered("the watch is silent", grpc.StatusCode.DEADLINE_EXCEEDED) from None
        finally:
            call.cancel()


def _error_of(failure: grpc.aio.AioRpcError) -> HoldfastError:
    return error_of(failure.code(), failure.details(), failure.trailing_metadata())


class _Bound(Generic[P, T]):
    """What a named method is made from: the classes of its request, whose fields are its arguments, and response."""

    def __init__(self, request: Callable[P, Message], response: type[T]) -> None:
        self._request = request
        self._response = response


class AsyncCall(_Bound[P, T]):
    """A method with one answer."""

    @overload
    def __get__(self, client: None, owner: object) -> Self: ...
    @overload
    def __get__(self, client: AsyncCaller, owner: object) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, client: AsyncCaller | None, owner: object) -> Self | Callable[P, Awaitable[T]]:
        """Return the method of a client."""
        if client is None:
            return self
        caller = client

        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return await caller.call(self._request(*args, **kwargs), self._response)

        return call


class AsyncPages(Generic[P, T]):
    """A method that lists: all entries of all pages."""

    def __init__(self, request: Callable[P, Message], page: type[Message], entry: type[T]) -> None:
        self._request = request
        self._page = page
        self._field = connection.entries_field(page)

    @overload
    def __get__(self, client: None, owner: object) -> Self: ...
    @overload
    def __get__(self, client: AsyncCaller, owner: object) -> Callable[P, AsyncGenerator[T, None]]: ...
    def __get__(self, client: AsyncCaller | None, owner: object) -> Self | Callable[P, AsyncGenerator[T, None]]:
        """Return the method of a client."""
        if client is None:
            return self
        caller = client

        async def entries(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
            request = cast("Any", self._request(*args, **kwargs))
            while True:
                page: Any = await caller.call(request, self._page)
                for entry in getattr(page, self._field):
                    yield entry
                request.page_token = page.next_page_token
                if not request.page_token:
                    return

        return entries


class AsyncWatch(_Bound[P, T]):
    """A method that follows changes: its events, without heartbeats."""

    @overload
    def __get__(self, client: None, owner: object) -> Self: ...
    @overload
    def __get__(self, client: AsyncCaller, owner: object) -> Callable[P, AsyncGenerator[T, None]]: ...
    def __get__(self, client: AsyncCaller | None, owner: object) -> Self | Callable[P, AsyncGenerator[T, None]]:
        """Return the method of a client."""
        if client is None:
            return self
        caller = client

        def events(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
            return caller.watch(self._request(*args, **kwargs), self._response)

        return events
