"""How the blocking client calls, pages and watches. sync_client.py lists the methods."""

import copy
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast, overload

import grpc
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


class Caller:
    """A channel with its retries. Threads may share it; do not fork after it was made."""

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
            grpc.insecure_channel(target, options=options)
            if tls is None
            else grpc.secure_channel(target, tls, options=options)
        )
        self._stubs = connection.Stubs(self._channel)
        self._credential = credential
        self._policy = policy
        self._budget = RetryBudget()
        self._clock = clock
        self._entropy = entropy
        self._closing = threading.Event()

    def close(self) -> None:
        """Close the channel. Calls in progress are cancelled."""
        self._closing.set()
        self._channel.close()

    def __enter__(self) -> Self:
        """Return itself; it connects with its first call."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def within(self, timeout_seconds: float) -> Self:
        """Return a client on the same channel whose calls may take this long."""
        return self.with_policy(replace(self._policy, timeout_seconds=timeout_seconds))

    def with_policy(self, policy: Policy) -> Self:
        """Return a client on the same channel that tries as the policy says."""
        other = copy.copy(self)
        other._policy = policy  # noqa: SLF001 - a copy of itself
        return other

    def call(self, request: Message, response: type[T]) -> T:
        """Send a request with retries. The named methods do this. Raises Refusal or Unanswered."""
        method = connection.method_of(type(request))
        connection.with_request_ids(request, self._entropy)
        attempts = Attempts(method, self._policy, self._budget, self._clock, self._entropy)
        while True:
            try:
                answer = self._attempt(method, request, response, attempts.timeout_seconds, attempts.metadata)
            except HoldfastError as error:
                delay = attempts.delay_after(error)
                if delay is None or self._closing.wait(delay):
                    raise
            else:
                return answer

    def _attempt(
        self, method: Method, request: Message, response: type[T], timeout_seconds: float, sent_before: Metadata
    ) -> T:
        metadata = (*connection.metadata(self._credential), *sent_before)
        try:
            answer: T = self._stubs.of(method, response)(request, timeout=timeout_seconds, metadata=metadata)
        except grpc.RpcError as failure:
            error = _error_of(failure)
            self._budget.note(error)
            raise error from failure
        self._budget.note(None)
        return answer

    def watch(self, request: Message, response: type[T]) -> Generator[T, None, None]:
        """Yield the events of a watch without an end, resuming it. Raises Refusal or Unanswered."""
        method = connection.method_of(type(request))
        resumption = Resumption(self._policy, self._clock, self._entropy)
        while True:
            try:
                for event in self._events(method, request, response):
                    resumption.heard()
                    setattr(request, "resume_token", getattr(event, "resume_token"))  # noqa: B009, B010 - any watch
                    if connection.is_news(event):
                        yield event
                ended: HoldfastError = Unanswered("the watch has ended", grpc.StatusCode.UNAVAILABLE)
            except HoldfastError as error:
                ended = error
            if self._closing.wait(resumption.delay_after(ended)):
                raise ended

    def _events(self, method: Method, request: Message, response: type[T]) -> Generator[T, None, None]:
        call = self._stubs.of(method, response)(request, metadata=connection.metadata(self._credential))
        silence = _Silence(call, self._clock)
        try:
            for event in call:
                silence.interrupted()
                yield event
        except grpc.RpcError as failure:
            raise _error_of(failure) from failure
        finally:
            silence.stop()
            call.cancel()


class _Silence:
    """Cancels a call that has been silent for too long, because a read that blocks has no timeout of its own."""

    def __init__(self, call: Any, clock: Clock) -> None:  # noqa: ANN401 - grpc's
        self._call = call
        self._clock = clock
        self._stopped = False
        self.interrupted()
        self._look_in(connection.SILENCE_SECONDS)

    def interrupted(self) -> None:
        self._heard = self._clock.monotonic()

    def stop(self) -> None:
        self._stopped = True
        self._timer.cancel()

    def _look_in(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        left = self._heard + connection.SILENCE_SECONDS - self._clock.monotonic()
        if left <= 0:
            self._call.cancel()
        elif not self._stopped:
            self._look_in(left)


def _error_of(failure: grpc.RpcError) -> HoldfastError:
    call = cast("grpc.Call", failure)
    return error_of(call.code(), call.details(), call.trailing_metadata())


class _Bound(Generic[P, T]):
    """What a named method is made from: the classes of its request, whose fields are its arguments, and response."""

    def __init__(self, request: Callable[P, Message], response: type[T]) -> None:
        self._request = request
        self._response = response


class Call(_Bound[P, T]):
    """A method with one answer."""

    @overload
    def __get__(self, client: None, owner: object) -> Self: ...
    @overload
    def __get__(self, client: Caller, owner: object) -> Callable[P, T]: ...
    def __get__(self, client: Caller | None, owner: object) -> Self | Callable[P, T]:
        """Return the method of a client."""
        if client is None:
            return self
        caller = client

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return caller.call(self._request(*args, **kwargs), self._response)

        return call


class Pages(Generic[P, T]):
    """A method that lists: all entries of all pages."""

    def __init__(self, request: Callable[P, Message], page: type[Message], entry: type[T]) -> None:
        self._request = request
        self._page = page
        self._field = connection.entries_field(page)

    @overload
    def __get__(self, client: None, owner: object) -> Self: ...
    @overload
    def __get__(self, client: Caller, owner: object) -> Callable[P, Generator[T, None, None]]: ...
    def __get__(self, client: Caller | None, owner: object) -> Self | Callable[P, Generator[T, None, None]]:
        """Return the method of a client."""
        if client is None:
            return self
        caller = client

        def entries(*args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
            request = cast("Any", self._request(*args, **kwargs))
            while True:
                page: Any = caller.call(request, self._page)
                yield from getattr(page, self._field)
                request.page_token = page.next_page_token
                if not request.page_token:
                    return

        return entries


class Watch(_Bound[P, T]):
    """A method that follows changes: its events, without heartbeats."""

    @overload
    def __get__(self, client: None, owner: object) -> Self: ...
    @overload
    def __get__(self, client: Caller, owner: object) -> Callable[P, Generator[T, None, None]]: ...
    def __get__(self, client: Caller | None, owner: object) -> Self | Callable[P, Generator[T, None, None]]:
        """Return the method of a client."""
        if client is None:
            return self
        caller = client

        def events(*args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
            return caller.watch(self._request(*args, **kwargs), self._response)

        return events
