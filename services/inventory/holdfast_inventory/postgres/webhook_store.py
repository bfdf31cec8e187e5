"""Webhooks, and how far each sale's movements were sent to them."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_inventory.domain.change import UNKNOWN_CAUSE, Cause, Change, ChangeKind, FieldChange, differences
from holdfast_inventory.domain.errors import (
    AlreadyExists,
    FieldViolation,
    InvalidRequest,
    NotFound,
    WebhookLimitReached,
)
from holdfast_inventory.domain.movement import MovementKind
from holdfast_inventory.domain.webhook import MAX_WEBHOOKS, SECRET_BYTES, Delivery, Retry, Target, Webhook
from holdfast_inventory.postgres.changes import read_changes, record_change
from holdfast_inventory.postgres.columns import DELIVERY, WEBHOOK, Row
from holdfast_inventory.postgres.database import Connection, Database
from holdfast_inventory.postgres.statements import load

SQL = load("webhooks")

_SECRET = (FieldChange("secret", "", ""),)
"""A secret was changed. Its values are not recorded."""


class SalePosition(NamedTuple):
    """A position in the list of sales, which is ordered by age."""

    created_at: datetime
    sale_id: str


class Begun(NamedTuple):
    """What is true of a message that may be sent now: its webhook, whether that follows the sale, and the time."""

    webhook: Webhook
    follows: bool
    now: datetime


class Backlog(NamedTuple):
    """What a webhook has not delivered: the number of its sales that are parked, and the age of the oldest movement."""

    webhook_id: str
    parked: int
    lag_seconds: float


class WebhookStore:
    """Reads and writes of webhooks. Raises `DatabaseUnavailable` and, when writing, `OutcomeUnknown`."""

    def __init__(self, database: Database, entropy: Entropy = SYSTEM_ENTROPY) -> None:
        self._database = database
        self._entropy = entropy

    async def create_webhook(self, webhook_id: str, target: Target, cause: Cause = UNKNOWN_CAUSE) -> Webhook:
        """Create a webhook with a new secret. Raises `AlreadyExists` and `WebhookLimitReached`."""
        secret = self._entropy.token_bytes(SECRET_BYTES)
        async with self._database.writing() as connection:
            row = await connection.fetchrow(SQL["insert_webhook"], webhook_id, *_columns(target), secret, MAX_WEBHOOKS)
            if row is not None:
                await record_change(connection, _name(webhook_id), ChangeKind.CREATE, cause, differences(None, target))
                return _webhook(row)
            if await connection.fetchrow(SQL["get_webhook"], webhook_id) is None:
                raise WebhookLimitReached(MAX_WEBHOOKS)
            raise AlreadyExists(_name(webhook_id))

    async def get_webhook(self, webhook_id: str) -> Webhook:
        """Read a webhook. Raises `NotFound`."""
        async with self._database.reading() as connection:
            return await _require(connection, webhook_id)

    async def list_webhooks(self, page_size: int, after: str | None) -> tuple[list[Webhook], str | None]:
        """Return a page of webhooks by id, and where the next page begins."""
        async with self._database.reading() as connection:
            rows = await connection.fetch(SQL["list_webhooks"], after or "", page_size + 1)
        page = [_webhook(row) for row in rows[:page_size]]
        return page, page[-1].webhook_id if len(rows) > page_size else None

    async def update_webhook(
        self, webhook_id: str, change: Callable[[Target], Target], cause: Cause = UNKNOWN_CAUSE
    ) -> Webhook:
        """Change what a webhook sends where. Raises `NotFound`."""
        async with self._database.writing() as connection:
            webhook = _found(await connection.fetchrow(SQL["lock_webhook"], webhook_id), webhook_id)
            target = change(webhook.target)
            if target == webhook.target:
                return webhook
            fields = differences(webhook.target, target)
            await record_change(connection, _name(webhook_id), ChangeKind.UPDATE, cause, fields)
            return _found(await connection.fetchrow(SQL["update_webhook"], webhook_id, *_columns(target)), webhook_id)

    async def set_webhook_paused(self, webhook_id: str, *, paused: bool, cause: Cause = UNKNOWN_CAUSE) -> Webhook:
        """Pause a webhook, or resume it and make all that waits for a retry due. Raises `NotFound`."""
        async with self._database.writing() as connection:
            webhook = _found(await connection.fetchrow(SQL["lock_webhook"], webhook_id), webhook_id)
            if not paused:
                await connection.execute(SQL["retry_now"], webhook_id)
            if webhook.paused == paused:
                return webhook
            kind = ChangeKind.PAUSE if paused else ChangeKind.RESUME
            await record_change(connection, _name(webhook_id), kind, cause)
            return _found(await connection.fetchrow(SQL["set_webhook_paused"], webhook_id, paused), webhook_id)

    async def rotate_secret(self, webhook_id: str, overlap: timedelta, cause: Cause = UNKNOWN_CAUSE) -> Webhook:
        """Give a webhook a new secret; the one before stays valid for `overlap`. Raises `NotFound`."""
        secret = self._entropy.token_bytes(SECRET_BYTES)
        async with self._database.writing() as connection:
            rotated = _found(await connection.fetchrow(SQL["rotate_secret"], webhook_id, secret, overlap), webhook_id)
            await record_change(connection, _name(webhook_id), ChangeKind.UPDATE, cause, _SECRET)
        return rotated

    async def delete_webhook(self, webhook_id: str, cause: Cause = UNKNOWN_CAUSE) -> None:
        """Delete a webhook, and its positions. Raises `NotFound`."""
        async with self._database.writing() as connection:
            if await connection.fetchval(SQL["delete_webhook"], webhook_id) is None:
                raise NotFound(_name(webhook_id))
            await record_change(connection, _name(webhook_id), ChangeKind.DELETE, cause)

    async def list_webhook_changes(self, webhook_id: str, after: int, limit: int) -> list[Change]:
        """Return up to `limit` changes of a webhook after a number, in order; also of one that was deleted.

        Raises `NotFound`.
        """
        async with self._database.reading() as connection:
            changes = await read_changes(connection, _name(webhook_id), after, limit)
            if not changes:
                await _require(connection, webhook_id)
        return changes

    async def list_deliveries(
        self, webhook_id: str, page_size: int, after: str | None, *, failing: bool
    ) -> tuple[list[Delivery], str | None]:
        """Return a page of a webhook's deliveries by sale, and where the next page begins. Raises `NotFound`.

        `failing`: only those whose last attempt failed.
        """
        statement = SQL["list_failing_deliveries" if failing else "list_deliveries"]
        async with self._database.reading() as connection:
            rows = await connection.fetch(statement, webhook_id, after or "", page_size + 1)
            if not rows:
                await _require(connection, webhook_id)
        page = [_delivery(row) for row in rows[:page_size]]
        return page, page[-1].sale_id if len(rows) > page_size else None

    async def redeliver(self, webhook_id: str, sale_id: str, after_sequence: int | None) -> Delivery:
        """Make a delivery due now, after a sequence or where it is.

        Raises `NotFound`, and `InvalidRequest` for a sequence that the sale has not reached.
        """
        async with self._database.writing() as connection:
            await _require(connection, webhook_id)
            if after_sequence is not None:
                await _require_reached(connection, sale_id, after_sequence)
            row = await connection.fetchrow(SQL["redeliver"], webhook_id, sale_id, after_sequence)
        if row is None:
            raise NotFound(f"{_name(webhook_id)}/deliveries/{sale_id}")
        return _delivery(row)

    # Sending. A delivery belongs to whoever holds its lease; a write without the lease has no effect.

    async def sales_to_mark(self, before: SalePosition | None, stretch: int) -> tuple[list[str], SalePosition | None]:
        """Return sales with movements that are not due to be sent yet, and the next `before`.

        This looks at the newest `stretch` sales, and at as many before `before`. At the oldest sale the next one is
        None.
        """
        async with self._database.reading() as connection:
            [row] = await connection.fetch(SQL["sales_to_mark"], *(before or (None, "")), stretch)
        return row["sale_ids"], None if row["sale_id"] is None else SalePosition(row["created_at"], row["sale_id"])

    async def mark_due(self, sale_ids: Collection[str]) -> None:
        """Make all movements of these sales due that were not sent."""
        async with self._database.writing() as connection:
            await connection.execute(SQL["mark_due"], sorted(sale_ids))

    async def claim(self, places: Mapping[str, int], lease: UUID, duration: timedelta) -> list[Delivery]:
        """Take up to so many due deliveries of each webhook, for `duration`."""
        async with self._database.writing() as connection:
            rows = await connection.fetch(SQL["claim"], list(places), list(places.values()), lease, duration)
        return [_delivery(row) for row in rows]

    async def begin_message(self, delivery: Delivery, lease: UUID, through: int, duration: timedelta) -> Begun | None:
        """Begin the message up to `through`. Return None if the lease is lost or the webhook is paused or deleted."""
        async with self._database.writing() as connection:
            row = await connection.fetchrow(SQL["begin_message"], *_key(delivery), lease, through, duration)
        return None if row is None else Begun(_webhook(row), row["follows"], row["now"])

    async def advance(self, after: Delivery, lease: UUID, duration: timedelta) -> bool:
        """Note a new position. Return whether the lease is held because more waits."""
        async with self._database.writing() as connection:
            goes_on = await connection.fetchval(
                SQL["advance"], *_key(after), lease, after.position, duration, after.sent == after.position
            )
        return bool(goes_on)

    async def fail(self, delivery: Delivery, lease: UUID, retry: Retry, failure: str) -> None:
        """Note a failed attempt, and end the lease."""
        async with self._database.writing() as connection:
            await connection.execute(SQL["fail"], *_key(delivery), lease, retry.attempts, failure, retry.delay)

    async def give_back(self, delivery: Delivery, lease: UUID, *, due: bool) -> None:
        """End the lease. `due`: there is more to send."""
        async with self._database.writing() as connection:
            await connection.execute(SQL["give_back"], *_key(delivery), lease, due)

    async def forget(self, delivery: Delivery, lease: UUID) -> None:
        """Delete the delivery of a sale that does not exist any more."""
        async with self._database.writing() as connection:
            await connection.execute(SQL["forget"], *_key(delivery), lease)

    async def backlog(self) -> list[Backlog]:
        """Return what each webhook that is not paused has not delivered."""
        async with self._database.reading() as connection:
            return [Backlog(**row) for row in await connection.fetch(SQL["backlog"])]


def _key(delivery: Delivery) -> tuple[str, str]:
    return delivery.webhook_id, delivery.sale_id


async def _require(connection: Connection, webhook_id: str) -> Webhook:
    return _found(await connection.fetchrow(SQL["get_webhook"], webhook_id), webhook_id)


async def _require_reached(connection: Connection, sale_id: str, sequence: int) -> None:
    reached = await connection.fetchval(SQL["sequence_of"], sale_id)
    if reached is None:
        raise NotFound(f"sales/{sale_id}")
    if sequence > reached:
        raise InvalidRequest((FieldViolation("after_sequence", f"must be at most the sale's sequence, {reached}"),))


def _name(webhook_id: str) -> str:
    return f"webhooks/{webhook_id}"


def _columns(target: Target) -> tuple[str, list[int], str | None, str | None]:
    return target.url, sorted(kind.value for kind in target.kinds), target.sale_id, target.schedule_id


def _found(row: Row | None, webhook_id: str) -> Webhook:
    if row is None:
        raise NotFound(_name(webhook_id))
    return _webhook(row)


def _webhook(row: Row) -> Webhook:
    columns = {column: row[column] for column in WEBHOOK}
    target = Target(
        columns.pop("url"),
        frozenset(map(MovementKind, columns.pop("kinds"))),
        columns.pop("sale_id"),
        columns.pop("schedule_id"),
    )
    return Webhook(target=target, **columns)


def _delivery(row: Row) -> Delivery:
    return Delivery(**{column: row[column] for column in DELIVERY})
