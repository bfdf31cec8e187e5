"""The fan-out: messages to other replicas, through Redis or Valkey, that a sale's stock has changed.

It only makes watches faster: a message only says which sale to read, and a replica that misses one polls a moment
later. So every failure here is counted, logged once, and retried after a delay.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

import orjson

from holdfast_chassis.backoff import Backoff
from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.logs import get_logger
from holdfast_chassis.redis_client import redis_client

if TYPE_CHECKING:
    from holdfast_inventory.ports import Committed

_ANSWER_SECONDS = 0.2
"""The timeout of one answer. No caller waits for it, so it is long enough for a busy event loop."""
_EXCHANGE_SECONDS = 1.0
"""The timeout of connecting, sending and all answers together, including the library's own retries."""
_PING_SECONDS = 2.0
"""A subscription is pinged after this silence, and given up after the same time again: TCP would not notice."""
_FIRST_RETRY_SECONDS = 0.1
_MOST_RETRY_SECONDS = 5.0
_STOP_SECONDS = 1.0

_MOST_WAITING_SALES = 10_000
_BATCH_SALES = 256
_LONGEST_MESSAGE_BYTES = 512
_MESSAGES_PER_TURN = 64
_LARGEST_SEQUENCE = 2**63 - 1

_Answer = TypeVar("_Answer")

_log = get_logger("holdfast.fanout")


class FanoutMetrics(Protocol):
    """The fan-out's metrics. Operations are `publish`, `subscribe` and `ping`."""

    def redis_took(self, operation: str, seconds: float) -> None:
        """Observe the seconds until an operation was answered."""

    def redis_failed(self, operation: str) -> None:
        """Count a failed operation, an invalid message (`subscribe`) or a full queue (`publish`)."""


class Fanout(Protocol):
    """The fan-out's interface for the rest of the service."""

    async def start(self) -> None:
        """Start, whether or not Redis answers."""

    async def stop(self) -> None:
        """Stop, within a bounded time."""

    def publish(self, change: "Committed") -> None:
        """Send a commit to the other replicas. Never blocks, never fails."""

    async def ping(self) -> None:
        """Check that Redis answers. Raises ConnectionError."""


class NoFanout:
    """The fan-out without Redis: replicas see each other's commits when they poll."""

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""

    def publish(self, change: "Committed") -> None:
        """Do nothing."""

    async def ping(self) -> None:
        """Do nothing: without Redis there is nothing to check."""


class StockFanout:
    """A fan-out that publishes each sale's latest sequence on one channel, and receives those of other replicas."""

    def __init__(
        self,
        url: str,
        on_change: Callable[[str, int], None],
        metrics: FanoutMetrics,
        *,
        channel_prefix: str = "holdfast",
        clock: Clock = SYSTEM_CLOCK,
        entropy: Entropy = SYSTEM_ENTROPY,
    ) -> None:
        """`on_change(sale_id, sequence)` is called on the event loop, for other replicas' commits.

        Raises ValueError for an invalid URL.
        """
        self._client = redis_client(url, answer_seconds=_ANSWER_SECONDS, connections=4)
        self._channel = f"{channel_prefix}:stock-changed"
        self._origin = entropy.token_bytes(8).hex()
        self._on_change = on_change
        self._metrics = metrics
        self._clock = clock
        self._entropy = entropy
        self._latest: dict[str, int] = {}
        self._due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._garbage_told = False

    async def start(self) -> None:
        """Start, whether or not Redis answers. Has no effect if it is running."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._keep_up("publish", self._publish), name="fanout publish"),
                asyncio.create_task(self._keep_up("subscribe", self._listen), name="fanout subscribe"),
            ]

    async def stop(self) -> None:
        """Stop within a second, whether or not Redis answers. Has no effect if it is not running."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        with suppress(Exception):
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._client.aclose()

    def publish(self, change: "Committed") -> None:
        """Queue a commit for the other replicas. Of several commits of one sale only the latest is sent."""
        if change.sale_id not in self._latest and len(self._latest) >= _MOST_WAITING_SALES:
            self._metrics.redis_failed("publish")
            return
        self._latest[change.sale_id] = change.sequence
        self._due.set()

    async def ping(self) -> None:
        """Check that Redis answers within a second. Raises ConnectionError."""
        try:
            await self._timed("ping", self._client.ping())
        except Exception as error:
            self._metrics.redis_failed("ping")
            raise ConnectionError(f"Redis does not answer: {error or type(error).__name__}") from error

    async def _keep_up(self, operation: str, work: Callable[["_Link"], Awaitable[None]]) -> None:
        """Run `work` forever. After a failure wait before the next attempt."""
        link = _Link(operation, self._entropy)
        while True:
            try:
                await work(link)
            except Exception as error:  # noqa: BLE001 - errors of the library and of the server are treated alike
                self._metrics.redis_failed(operation)
                await asyncio.sleep(link.is_down(error))

    async def _publish(self, link: "_Link") -> None:
        while True:
            await self._due.wait()
            batch = dict(list(self._latest.items())[:_BATCH_SALES])
            async with self._client.pipeline(transaction=False) as pipeline:
                for sale_id, sequence in batch.items():
                    message = {"sale_id": sale_id, "sequence": sequence, "origin": self._origin}
                    pipeline.publish(self._channel, orjson.dumps(message))
                await self._timed("publish", pipeline.execute())
            link.is_up()
            # Only now, so that what could not be sent is sent with the next attempt.
            for sale_id, sequence in batch.items():
                if self._latest[sale_id] == sequence:
                    del self._latest[sale_id]
            if not self._latest:
                self._due.clear()

    async def _listen(self, link: "_Link") -> None:
        async with aclosing(self._client.pubsub()) as subscription:
            await self._timed("subscribe", subscription.subscribe(self._channel))
            pinged = False
            heard = 0
            while True:
                message = await subscription.get_message(timeout=_PING_SECONDS)
                if message is None:
                    if pinged:
                        raise ConnectionError("the subscription went silent")
                    await self._timed("subscribe", subscription.ping())
                    pinged = True
                    continue
                link.is_up()
                pinged = False
                if message["type"] == "message":
                    self._hear(message["data"])
                heard += 1
                if heard % _MESSAGES_PER_TURN == 0:
                    # Reading messages that have already arrived never yields to other tasks.
                    await asyncio.sleep(0)

    def _hear(self, payload: bytes) -> None:
        match _parsed(payload):
            case {"origin": self._origin}:
                pass
            case {"sale_id": str(sale_id), "sequence": int(sequence)} if 0 < sequence <= _LARGEST_SEQUENCE:
                self._on_change(sale_id, sequence)
            case _:
                self._metrics.redis_failed("subscribe")
                if not self._garbage_told:
                    _log.warning("garbage on the Redis channel is ignored", channel=self._channel)
                self._garbage_told = True

    async def _timed(self, operation: str, exchange: Awaitable[_Answer]) -> _Answer:
        began = self._clock.monotonic()
        async with asyncio.timeout(_EXCHANGE_SECONDS):
            answer = await exchange
        self._metrics.redis_took(operation, self._clock.monotonic() - began)
        return answer


class _Link:
    """The state of one kind of traffic with Redis. Logs only when the state changes."""

    def __init__(self, operation: str, entropy: Entropy) -> None:
        self._operation = operation
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _MOST_RETRY_SECONDS, entropy)
        self._works: bool | None = None

    def is_up(self) -> None:
        if not self._works:
            _log.info("Redis answers", operation=self._operation)
        self._works = True
        self._backoff.reset()

    def is_down(self, error: Exception) -> float:
        """Note a failure. Return the seconds until the next attempt."""
        if self._works is not False:
            _log.warning("Redis does not answer; continuing without it", operation=self._operation, error=repr(error))
        self._works = False
        return self._backoff.next_seconds()


def _parsed(payload: bytes) -> object:
    """Return the parsed message; None if it is too long or not JSON."""
    if len(payload) > _LONGEST_MESSAGE_BYTES:
        return None
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
