"""Webhooks: which movements a message has, when a failed one is sent again, and when that ends.

Each webhook has a position in each sale: every movement up to it was delivered, or is not to be sent. The ledger is
the queue, so a webhook costs a sale's commits nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from holdfast_inventory.domain.movement import Movement, MovementKind

MAX_WEBHOOKS = 100
SECRET_BYTES = 32
DEFAULT_OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=7)
PAGE_MOVEMENTS = 100
"""The most movements in a message."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a webhook sends where. No kinds: all. No sale and no schedule: all sales; both: both must be right."""

    url: str
    kinds: frozenset[MovementKind] = frozenset()
    sale_id: str | None = None
    schedule_id: str | None = None

    def sends(self, movement: Movement) -> bool:
        """Return whether a movement is of a kind that is sent."""
        return not self.kinds or movement.kind in self.kinds


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook. `old_secret` signs messages, too, until `old_secret_until`."""

    webhook_id: str
    target: Target
    paused: bool
    secret: bytes
    old_secret: bytes | None
    old_secret_until: datetime | None
    created_at: datetime
    updated_at: datetime

    def secrets_at(self, now: datetime) -> tuple[bytes, ...]:
        """Return the secrets that sign a message, the new one first."""
        if self.old_secret is None or self.old_secret_until is None or self.old_secret_until <= now:
            return (self.secret,)
        return self.secret, self.old_secret


class DeliveryState(Enum):
    """Whether movements wait, and for what."""

    DELIVERED = 1
    PENDING = 2
    RETRYING = 3
    PARKED = 4


@dataclass(frozen=True, slots=True)
class Delivery:
    """The position of a webhook in a sale, and what prevents its progress.

    `sent`: where the last message ended that was delivered. `through`: where the message ends whose delivery was begun
    last; it is kept until that succeeds, so that a repetition has the same movements and the same id. `due_at`: when
    the next attempt may begin; None: no movement waits, or it is parked.
    """

    webhook_id: str
    sale_id: str
    position: int
    sent: int
    through: int | None = None
    attempts: int = 0
    failure: str = ""
    failing_since: datetime | None = None
    parked_at: datetime | None = None
    due_at: datetime | None = None

    @property
    def next_movements(self) -> int:
        """How many movements the next message is made from, at most."""
        return PAGE_MOVEMENTS if self.through is None else self.through - self.position

    @property
    def state(self) -> DeliveryState:
        """The state, as callers see it."""
        if self.parked_at is not None:
            return DeliveryState.PARKED
        if self.attempts:
            return DeliveryState.RETRYING
        return DeliveryState.DELIVERED if self.due_at is None else DeliveryState.PENDING


class Message(NamedTuple):
    """The movements to send of the sequences after `after` and up to `through`; none if all are of other kinds."""

    sale_id: str
    after: int
    through: int
    movements: Sequence[Movement]

    @property
    def message_id(self) -> str:
        """The id: the same whenever this message is sent, and without a dot, because dots separate what is signed."""
        return f"{self.sale_id.replace('.', '~')}:{self.after + 1}-{self.through}"


def next_message(delivery: Delivery, page: Sequence[Movement], target: Target) -> Message:
    """Return the message of a page: the movements after the position, at least one and at most `next_movements`."""
    wanted = [movement for movement in page if target.sends(movement)]
    return Message(delivery.sale_id, delivery.sent, page[-1].sequence, wanted)


def after_page(delivery: Delivery, through: int, *, sent: bool) -> Delivery:
    """Return the delivery after a page up to `through`, of which movements were sent or not."""
    return Delivery(delivery.webhook_id, delivery.sale_id, through, through if sent else delivery.sent)


@dataclass(frozen=True, slots=True)
class RetryRules:
    """When a message that failed is sent again: after `first`, then twice as long each time, but at most `longest`.

    After `give_up` since the first failure it is parked.
    """

    first: timedelta = timedelta(seconds=1)
    longest: timedelta = timedelta(hours=1)
    give_up: timedelta = timedelta(hours=24)


class Retry(NamedTuple):
    """What follows a failed attempt: the delay until the next, or None to park."""

    attempts: int
    delay: timedelta | None


def after_failure(
    delivery: Delivery, now: datetime, jitter: float, rules: RetryRules, asked: timedelta | None = None
) -> Retry:
    """Return what follows a failure at `now`, by the database's clock.

    `jitter` is a random number from 0 to 1, so that messages that failed together are not repeated together. `asked`:
    the delay that the receiver asks for, respected up to the longest.
    """
    attempts = delivery.attempts + 1
    if delivery.failing_since is not None and now - delivery.failing_since >= rules.give_up:
        return Retry(attempts, None)
    full = _doubled(rules, delivery.attempts)
    delay = full / 2 + full / 2 * jitter
    return Retry(attempts, delay if asked is None else max(delay, min(asked, rules.longest)))


def _doubled(rules: RetryRules, times: int) -> timedelta:
    delay = rules.first
    for _ in range(times):
        if delay >= rules.longest:
            break
        delay *= 2
    return min(delay, rules.longest)


@dataclass(frozen=True, slots=True)
class Concurrency:
    """The most messages in flight of a webhook, of one whose last attempt failed, and of all webhooks together."""

    per_webhook: int = 4
    failing: int = 1
    total: int = MAX_WEBHOOKS + 28


def free_places(
    webhooks: Iterable[str], in_flight: Mapping[str, int], failing: Collection[str], limits: Concurrency
) -> dict[str, int]:
    """Return how many more messages each webhook may send now; those that may send none are left out.

    Each webhook may always have one in flight, so receivers that hang delay no other webhook.
    """
    wanted = dict(_wanted_places(webhooks, in_flight, failing, limits))
    places = {webhook: 1 for webhook, want in wanted.items() if want and not in_flight.get(webhook)}
    shared = limits.total - sum(in_flight.values()) - len(places)
    for webhook, want in wanted.items():
        more = min(want - places.get(webhook, 0), max(shared, 0))
        if more > 0:
            places[webhook] = places.get(webhook, 0) + more
            shared -= more
    return places


def _wanted_places(
    webhooks: Iterable[str], in_flight: Mapping[str, int], failing: Collection[str], limits: Concurrency
) -> Iterator[tuple[str, int]]:
    for webhook in webhooks:
        most = limits.failing if webhook in failing else limits.per_webhook
        yield webhook, max(most - in_flight.get(webhook, 0), 0)
