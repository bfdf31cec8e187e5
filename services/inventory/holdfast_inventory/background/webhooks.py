"""The sender of webhooks: follows the ledgers of all sales, and sends their movements to the webhooks.

The ledger is the queue. A sale with movements to send is marked in the database: by the process that made them, right
after its commit, or within about a second per 200 sales if that process was killed. Any number of replicas may send:
a delivery, which is one webhook's position in one sale, belongs to the one that holds its lease.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from standardwebhooks import Webhook as Signer

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.logs import get_logger
from holdfast_inventory.background.recurring import Recurring
from holdfast_inventory.domain.errors import DatabaseUnavailable, NotFound, OutcomeUnknown
from holdfast_inventory.domain.movement import Movement
from holdfast_inventory.domain.webhook import (
    MAX_WEBHOOKS,
    Concurrency,
    Delivery,
    Message,
    RetryRules,
    after_failure,
    after_page,
    free_places,
    next_message,
)
from holdfast_inventory.ports import Committed
from holdfast_inventory.postgres.webhook_store import Backlog, Begun, SalePosition, WebhookStore

_STRETCH_SALES = 200
_MOST_MOVED_SALES = 10_000
"""The most sales that are remembered to be marked. Others are found by the search."""
_GATHER_SECONDS = 0.05
_MESSAGES_PER_LEASE = 20
"""After this many messages a sale gives way to others of its webhook."""
_CONCURRENT_STATEMENTS = 2
"""Sending must not take the connections that sales need."""
_FINISH_SECONDS = 2.0

_log = get_logger("holdfast.webhooks")

_Value = TypeVar("_Value")
ReadMovements = Callable[[str, int, int], Awaitable[list[Movement]]]
"""Return up to so many durable movements of a sale after a sequence."""


class Answer(NamedTuple):
    """The outcome of an attempt. `failure` is empty if the message was accepted."""

    failure: str = ""
    retry_after: timedelta | None = None


class Client(Protocol):
    """What sends messages over HTTP."""

    async def start(self) -> None:
        """Prepare to send."""

    async def stop(self) -> None:
        """Close all connections."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a message, and wait for the status of its answer. Raises nothing that a receiver can cause."""
        ...


class SenderMetrics(Protocol):
    """The sender's metrics."""

    def webhook_attempt(self, webhook_id: str, *, delivered: bool) -> None:
        """Count an attempt to deliver a message."""

    def webhook_backlog(self, backlog: list[Backlog]) -> None:
        """Note what each webhook has not delivered."""


@dataclass(frozen=True, slots=True)
class SenderLimits:
    """Limits of the sender. A lease must last longer than an attempt, with its statements before and after."""

    interval_seconds: float = 1.0
    lease: timedelta = timedelta(seconds=30)
    concurrency: Concurrency = field(default_factory=Concurrency)
    retries: RetryRules = field(default_factory=RetryRules)


class _Claimed(NamedTuple):
    delivery: Delivery
    lease: UUID


class WebhookSender:
    """Tasks that send movements to webhooks. `start` and `stop` may be called at any time, and twice."""

    def __init__(
        self,
        store: WebhookStore,
        read_movements: ReadMovements,
        client: Client,
        encode: Callable[[Message], str],
        metrics: SenderMetrics,
        limits: SenderLimits | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        entropy: Entropy = SYSTEM_ENTROPY,
    ) -> None:
        """`encode` makes the body of a message, always the same of the same message."""
        self._store = store
        self._read_movements = read_movements
        self._client = client
        self._encode = encode
        self._metrics = metrics
        self._limits = limits or SenderLimits()
        self._clock = clock
        self._entropy = entropy
        self._moved: set[str] = set()
        self._webhooks: list[str] = []
        self._failing: set[str] = set()
        self._look_before: SalePosition | None = None
        self._look_at = clock.monotonic()
        self._in_flight: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._statements = asyncio.Semaphore(_CONCURRENT_STATEMENTS)
        self._rounds = Recurring("webhooks", self._round, self._limits.interval_seconds, entropy)

    async def start(self) -> None:
        """Start sending."""
        await self._client.start()
        await self._rounds.start()

    async def stop(self) -> None:
        """Stop within six seconds. A message that is cut off is sent again when its lease ends."""
        await self._rounds.stop()
        if self._tasks:
            _, unfinished = await asyncio.wait(self._tasks, timeout=_FINISH_SECONDS)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        await self._client.stop()

    def on_committed(self, change: Committed) -> None:
        """Process a commit of this process: its movements are to be sent. Cheap if there is no webhook."""
        if len(self._moved) < _MOST_MOVED_SALES:
            self._moved.add(change.sale_id)
        if self._webhooks:
            self._rounds.wake()

    def wake(self) -> None:
        """Look for due messages now, because webhooks were changed."""
        self._look_at = self._clock.monotonic()
        self._rounds.wake()

    # A round

    async def _round(self) -> bool:
        await asyncio.sleep(_GATHER_SECONDS)
        if self._clock.monotonic() >= self._look_at:
            await self._look()
        moved, self._moved = self._moved, set()
        if moved and self._webhooks:
            await self._mark(moved)
        places = free_places(self._webhooks, self._in_flight, self._failing, self._limits.concurrency)
        if places:
            await self._claim(places)
        return False

    async def _look(self) -> None:
        """Read the webhooks and what they have not delivered, and search for sales that nobody marked."""
        backlog = await self._store.backlog()
        self._webhooks = [each.webhook_id for each in backlog][:MAX_WEBHOOKS]
        self._failing &= set(self._webhooks)
        self._metrics.webhook_backlog(backlog)
        if backlog:
            found, self._look_before = await self._store.sales_to_mark(self._look_before, _STRETCH_SALES)
            self._moved.update(found)
        self._look_at = self._clock.monotonic() + self._limits.interval_seconds

    async def _mark(self, moved: set[str]) -> None:
        try:
            await self._store.mark_due(moved)
        except (DatabaseUnavailable, OutcomeUnknown):
            self._moved |= moved
            raise

    async def _claim(self, places: dict[str, int]) -> None:
        lease = self._entropy.uuid4()
        for delivery in await self._store.claim(places, lease, self._limits.lease):
            webhook_id = delivery.webhook_id
            self._in_flight[webhook_id] = self._in_flight.get(webhook_id, 0) + 1
            task = asyncio.create_task(self._deliver_safely(_Claimed(delivery, lease)), name=f"webhook {webhook_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # A delivery

    async def _deliver_safely(self, claimed: _Claimed) -> None:
        delivery = claimed.delivery
        try:
            await self._deliver(claimed)
        except (DatabaseUnavailable, OutcomeUnknown) as error:
            _log.warning("a delivery is interrupted", **_names(delivery), error=repr(error))
        except Exception:  # noqa: BLE001 - the failure of one delivery must not affect the others
            _log.exception("a delivery failed", **_names(delivery))
        finally:
            self._in_flight[delivery.webhook_id] -= 1
            if not self._in_flight[delivery.webhook_id]:
                del self._in_flight[delivery.webhook_id]
            self._rounds.wake()

    async def _deliver(self, claimed: _Claimed) -> None:
        """Send messages of one sale to one webhook, while there are any, and the lease is held."""
        delivery, lease = claimed
        for _ in range(_MESSAGES_PER_LEASE):
            page = await self._page(delivery)
            if page is None:
                await self._do(self._store.forget(delivery, lease))
                return
            after = await self._send(delivery, lease, page) if page else delivery
            if after is None:
                return
            if not await self._do(self._store.advance(after, lease, self._limits.lease)):
                # A commit between this statement's snapshot and its end was marked in vain.
                self._moved.add(delivery.sale_id)
                return
            delivery = after
        await self._do(self._store.give_back(delivery, lease, due=True))

    async def _page(self, delivery: Delivery) -> list[Movement] | None:
        """Return the movements of the next message; None: the sale was deleted."""
        try:
            return await self._read_movements(delivery.sale_id, delivery.position, delivery.next_movements)
        except NotFound:
            return None

    async def _send(self, delivery: Delivery, lease: UUID, page: list[Movement]) -> Delivery | None:
        """Send the message of a page. Return the delivery after it; None: it was not delivered."""
        begun_at = self._clock.monotonic()
        begun = await self._do(self._store.begin_message(delivery, lease, page[-1].sequence, self._limits.lease))
        if begun is None or not begun.follows:
            await self._do(self._store.give_back(delivery, lease, due=begun is None))
            return None
        message = next_message(delivery, page, begun.webhook.target)
        if not message.movements:
            return after_page(delivery, message.through, sent=False)
        left_seconds = self._limits.lease.total_seconds() - (self._clock.monotonic() - begun_at)
        answer = await self._post(message, begun, left_seconds)
        self._metrics.webhook_attempt(delivery.webhook_id, delivered=not answer.failure)
        if answer.failure:
            await self._note_failure(delivery, lease, begun, answer)
            return None
        self._failing.discard(delivery.webhook_id)
        return after_page(delivery, message.through, sent=True)

    async def _post(self, message: Message, begun: Begun, left_seconds: float) -> Answer:
        """Send a message while the lease is held for certain: after it, another replica may send the next one."""
        body = self._encode(message)
        # By the database's clock: receivers refuse a time that is minutes off.
        headers = signed(message.message_id, begun.now, body, begun.webhook.secrets_at(begun.now))
        try:
            async with asyncio.timeout(left_seconds):
                return await self._client.post(begun.webhook.target.url, headers, body.encode())
        except TimeoutError:
            return Answer("no answer within the lease")

    async def _note_failure(self, delivery: Delivery, lease: UUID, begun: Begun, answer: Answer) -> None:
        rules, jitter = self._limits.retries, self._entropy.uniform(0.0, 1.0)
        retry = after_failure(delivery, begun.now, jitter, rules, answer.retry_after)
        self._failing.add(delivery.webhook_id)
        told = _log.info if retry.delay else _log.warning
        told(
            "a message was not delivered" if retry.delay else "a delivery is parked",
            **_names(delivery),
            failure=answer.failure,
            attempts=retry.attempts,
        )
        await self._do(self._store.fail(delivery, lease, retry, answer.failure))

    async def _do(self, statement: Awaitable[_Value]) -> _Value:
        async with self._statements:
            return await statement


def _names(delivery: Delivery) -> dict[str, str]:
    return {"webhook": delivery.webhook_id, "sale": delivery.sale_id}


def signed(message_id: str, now: datetime, body: str, secrets: Sequence[bytes]) -> dict[str, str]:
    """Return the headers of Standard Webhooks, with a signature by each secret."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Signer(secret).sign(message_id, now, body) for secret in secrets),
    }
