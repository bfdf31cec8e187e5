"""Planted bugs, each with the faults that reveal it and the rules of the judge that it breaks.

They are patched into the running services, or into the servers' settings; the product does not contain them.
"""

# ruff: noqa: PLC0415 - only what the launched service itself imports

import asyncio
import math
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

_LATE_SECONDS = 0.05
_CACHED_SECONDS = 10.0
_REMEMBERED_SECONDS = 1.0
_STALE_SECONDS = 0.1
_ANSWER_SECONDS = 0.2


@dataclass(frozen=True)
class Bug:
    """`injections` are the entries of a schedule: at, seconds, fault, target."""

    plant: Callable[[], None]
    injections: tuple[tuple[float, float, str, str], ...]
    found_as: frozenset[str]
    """Rules of the judge that it breaks; the judge must report at least one of them."""
    seconds: float = 2.0
    """The duration of the faults and of their effects; they are repeated until there were `operations` operations."""
    operations: int = 500
    habits: Mapping[str, Any] = field(default_factory=lambda: _BUYING)
    inventory_settings: Mapping[str, str] = field(default_factory=dict)
    database_settings: Mapping[str, str] = field(default_factory=dict)


_BUYING = {"weights": {"create": 40, "replay": 25, "adjust": 20, "confirm": 10, "race": 5}}
"""Many short reservations and many repeated requests."""


def _acknowledge_before_commit():
    """Send answers before the commit."""
    import asyncpg

    from holdfast_inventory.postgres.statements import load

    append, pending = load("batch")["append"], {}

    def commits(connection, query):
        return query == "COMMIT" or (query == append and not connection.is_in_transaction())

    def answering(run, answer):
        async def commit_later(connection, query, *arguments):
            await asyncio.sleep(_LATE_SECONDS)
            await run(connection, query, *arguments)

        async def answering_run(self, query, *arguments, **options):
            if (earlier := pending.pop(self, None)) is not None:
                await asyncio.wait({earlier})
            if not commits(self, query):
                return await run(self, query, *arguments, **options)
            pending[self] = asyncio.ensure_future(commit_later(self, query, *arguments))
            return answer

        return answering_run

    for name, answer in (("execute", "COMMIT"), ("fetch", None), ("fetchrow", None), ("fetchval", True)):
        setattr(asyncpg.Connection, name, answering(getattr(asyncpg.Connection, name), answer))


def _redis_as_truth():
    """Let Redis decide to which reservation a request id is bound."""
    from redis import Redis, RedisError

    from holdfast_inventory.api.reservation_requests import CreateRequest

    redis = Redis.from_url(os.environ["REDIS_URL"], socket_timeout=_ANSWER_SECONDS)

    def bound_command(self, _salt):
        key = f"bound:{self.sale_id}:{self.customer}:{self.request_id}"
        identity = uuid.uuid4()
        try:
            if not redis.set(key, identity.bytes, nx=True):
                identity = uuid.UUID(bytes=redis.get(key))
        except (RedisError, TypeError):
            pass
        return self._command(identity, bound=True)

    CreateRequest.bound_command = bound_command


def _retry_without_key():
    """Retry after a lost COMMIT with a new request id."""
    from holdfast_inventory.domain.commands import Create
    from holdfast_inventory.stock.group_commit import GroupCommit

    still_waiting = GroupCommit._still_waiting

    def forgetful(self, lane, batch):
        patient = still_waiting(self, lane, batch)
        for waiting in patient:
            if waiting.doubts and isinstance(waiting.command, Create):
                waiting.command = waiting.command._replace(reservation_id=uuid.uuid4())
        return patient

    GroupCommit._still_waiting = forgetful


def _replay_without_durability():
    """Do not commit a batch that contains only replays."""
    from holdfast_inventory.stock import group_commit

    group_commit._must_commit = lambda _state, decision, _batch: not decision.is_empty


def _confirm_racing_expiry():
    """Let the service's own clock decide whether a hold has expired."""
    from holdfast_chassis.clock import SYSTEM_CLOCK
    from holdfast_inventory.domain.reservation import Reservation

    is_due = Reservation.is_due
    Reservation.is_due = lambda self, _now: is_due(self, SYSTEM_CLOCK.now())


def _dropped_watch_event():
    """Drop the first movement of every fifth page."""
    from holdfast_inventory.watches.followers import MovementFollower

    movements_after = MovementFollower.movements_after
    pages = 0

    async def leaky(self, sequence):
        nonlocal pages
        page = await movements_after(self, sequence)
        if len(page) > 1:
            pages += 1
            if pages % 5 == 0:
                return page[1:]
        return page

    MovementFollower.movements_after = leaky


def _webhook_at_most_once():
    """Note that a webhook's message was delivered before it is sent."""
    from holdfast_inventory.domain.webhook import after_page
    from holdfast_inventory.postgres.webhook_store import WebhookStore

    begin_message = WebhookStore.begin_message

    async def hasty(self, delivery, lease, through, duration):
        begun = await begin_message(self, delivery, lease, through, duration)
        if begun is not None:
            await self.advance(after_page(delivery, through, sent=True), lease, duration)
        return begun

    WebhookStore.begin_message = hasty


class _Memory:
    """How long a state that was read is used, even if a newer one is read in the meantime."""

    def __init__(self, seconds):
        self._seconds = seconds
        self._known = {}

    def of(self, key, fresh):
        at, known = self._known.get(key, (-math.inf, None))
        if time.monotonic() - at <= self._seconds:
            return known
        self._known[key] = time.monotonic(), fresh
        return fresh


def _limit_outside_lock():
    """Cache a customer's use for some time instead of reading it for each batch."""
    from holdfast_inventory.domain.commands import Create
    from holdfast_inventory.postgres import sale_store

    read, memory = sale_store.read, _Memory(_CACHED_SECONDS)

    async def remembered(connection, sale_id, commands, *arguments, **options):
        snapshot = await read(connection, sale_id, commands, *arguments, **options)
        fresh = snapshot.state.used
        customers = {command.customer for command in commands if isinstance(command, Create)}
        used = {customer: memory.of((sale_id, customer), fresh.get(customer, {})) for customer in customers}
        return replace(snapshot, state=replace(snapshot.state, used=used))

    sale_store.read = remembered


def _remembered_rules():
    """Cache a sale's rules for some time instead of reading them for each batch."""
    from holdfast_inventory.postgres import sale_store

    read, memory = sale_store.read, _Memory(_REMEMBERED_SECONDS)

    async def remembering(connection, sale_id, *arguments, **options):
        snapshot = await read(connection, sale_id, *arguments, **options)
        sale = snapshot.state.sale
        rules = memory.of(sale_id, sale)
        sale = replace(sale, paused=rules.paused, open_at=rules.open_at, close_at=rules.close_at)
        return replace(snapshot, state=replace(snapshot.state, sale=sale))

    sale_store.read = remembering


def _version_outside_lock():
    """Compare versions with an older state."""
    from holdfast_inventory.domain import decide as module
    from holdfast_inventory.domain.commands import Adjust

    adjust, memory = module._HANDLERS[Adjust], _Memory(_STALE_SECONDS)

    def late(self, command):
        version = self.item(command.item_id).version
        if command.expected_version == memory.of((self.state.sale.sale_id, command.item_id), version):
            command = replace(command, expected_version=version)
        return adjust(self, command)

    module._HANDLERS[Adjust] = late


def _unlimited_extensions():
    """Let extensions exceed the maximum hold time by one second."""
    from datetime import timedelta

    from holdfast_inventory.domain import decide as module
    from holdfast_inventory.domain.commands import Extend

    extend = module._HANDLERS[Extend]

    def generous(self, command):
        sale = self.state.sale
        self.state = replace(self.state, sale=replace(sale, max_hold_time=sale.max_hold_time + timedelta(seconds=1)))
        try:
            return extend(self, command)
        finally:
            self.state = replace(self.state, sale=sale)

    module._HANDLERS[Extend] = generous


def _nothing():
    """Do nothing: the bug is in the servers' settings."""


_LINK = "standby -> primary"
BUGS = {
    "acknowledge-before-commit": Bug(
        _acknowledge_before_commit,
        tuple((1.0 + 1.5 * at, 1.0, "kill-in-commit", f"inventory-{1 + at % 2} before-commit") for at in range(4)),
        frozenset({"acknowledged-lost"}),
        # A retry creates what was lost, and the only trace left is that it was created late.
        habits={"weights": {"create": 40, "adjust": 20, "confirm": 10}},
    ),
    "redis-as-truth": Bug(
        _redis_as_truth,
        ((1.0, 0.1, "flush-valkey", "valkey"), (2.0, 0.1, "flush-valkey", "valkey")),
        frozenset({"key-of-two-reservations", "replay-differs"}),
    ),
    "retry-without-key": Bug(
        _retry_without_key,
        tuple((0.3 * at, 1.0, "lose-in-commit", f"inventory-{1 + at % 2} before-reply") for at in range(6)),
        frozenset({"row-without-operation", "key-of-two-reservations"}),
    ),
    "synchronous-commit-off": Bug(
        _nothing,
        ((2.0, 0.1, "kill-primary", "primary"),),
        frozenset({"acknowledged-lost"}),
        operations=100,
        inventory_settings={"HOLDFAST_ALLOW_UNSAFE_DURABILITY": "true"},
        database_settings={"synchronous_commit": "off", "wal_writer_delay": "10s"},
    ),
    "replay-without-durability": Bug(
        _replay_without_durability,
        (
            # A waiting client loses the connection once, and has enough time for a retry even on a busy machine.
            (0.5, 7.0, "swallow-answers", _LINK),
            (1.5, 0.1, "terminate-backends", "primary"),
            (3.5, 0.1, "terminate-backends", "primary"),
            (6.0, 0.1, "promote-standby", "standby"),
        ),
        # Lost for good, or created again by a retry.
        frozenset({"acknowledged-lost", "fields-differ"}),
        operations=100,
    ),
    "confirm-racing-expiry": Bug(
        _confirm_racing_expiry,
        ((0.0, 6.0, "jump-clock", "inventory-1 -3600"), (0.0, 6.0, "jump-clock", "inventory-2 -3600")),
        frozenset({"ended-after-expiry"}),
        habits={"weights": {"create": 40, "confirm": 25, "adjust": 20}, "late": 0.9},
    ),
    "dropped-watch-event": Bug(_dropped_watch_event, (), frozenset({"watch-gap"})),
    "webhook-at-most-once": Bug(_webhook_at_most_once, (), frozenset({"watch-gap"})),
    "limit-outside-lock": Bug(_limit_outside_lock, (), frozenset({"limit-exceeded"})),
    "remembered-rules": Bug(
        _remembered_rules,
        (),
        # A reopened sale still refuses, and a closed one still sells.
        frozenset({"given-while-closed", "needless-refusal"}),
        habits={"weights": {"create": 60, "shut": 8}},
    ),
    "version-outside-lock": Bug(
        _version_outside_lock,
        (),
        frozenset({"changed-unseen"}),
        habits={"weights": {"create": 30, "recount": 20, "adjust": 10}},
    ),
    "unlimited-extensions": Bug(
        _unlimited_extensions,
        (),
        frozenset({"held-too-long"}),
        habits={"weights": {"create": 30, "extend": 30, "adjust": 10}},
    ),
}
"""The planted bugs by name. Each is tested on two inventories and one gateway."""
