"""Webhooks, and how far each sale's movements were sent to them."""

from collections.abc import Callable
from datetime import timedelta

from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_inventory.domain.errors import (
    AlreadyExists,
    FieldViolation,
    InvalidRequest,
    NotFound,
    WebhookLimitReached,
)
from holdfast_inventory.domain.movement import MovementKind
from holdfast_inventory.domain.webhook import MAX_WEBHOOKS, SECRET_BYTES, Delivery, Target, Webhook
from holdfast_inventory.postgres.columns import DELIVERY, WEBHOOK, Row
from holdfast_inventory.postgres.database import Connection, Database
from holdfast_inventory.postgres.statements import load

SQL = load("webhooks")


class WebhookStore:
    """Reads and writes of webhooks. Raises `DatabaseUnavailable` and, when writing, `OutcomeUnknown`."""

    def __init__(self, database: Database, entropy: Entropy = SYSTEM_ENTROPY) -> None:
        self._database = database
        self._entropy = entropy

    async def create_webhook(self, webhook_id: str, target: Target) -> Webhook:
        """Create a webhook with a new secret. Raises `AlreadyExists` and `WebhookLimitReached`."""
        secret = self._entropy.token_bytes(SECRET_BYTES)
        async with self._database.writing() as connection:
            row = await connection.fetchrow(SQL["insert_webhook"], webhook_id, *_columns(target), secret, MAX_WEBHOOKS)
            if row is not None:
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

    async def update_webhook(self, webhook_id: str, change: Callable[[Target], Target]) -> Webhook:
        """Change what a webhook sends where. `change` may raise `InvalidRequest`. Raises `NotFound`."""
        async with self._database.writing() as connection:
            webhook = _found(await connection.fetchrow(SQL["lock_webhook"], webhook_id), webhook_id)
            target = change(webhook.target)
            if target == webhook.target:
                return webhook
            return _found(await connection.fetchrow(SQL["update_webhook"], webhook_id, *_columns(target)), webhook_id)

    async def set_webhook_paused(self, webhook_id: str, *, paused: bool) -> Webhook:
        """Pause a webhook, or resume it and make all that waits for a retry due. Raises `NotFound`."""
        async with self._database.writing() as connection:
            row = await connection.fetchrow(SQL["set_webhook_paused"], webhook_id, paused)
            if not paused:
                await connection.execute(SQL["retry_now"], webhook_id)
        return _found(row, webhook_id)

    async def rotate_secret(self, webhook_id: str, overlap: timedelta) -> Webhook:
        """Give a webhook a new secret; the one before stays valid for `overlap`. Raises `NotFound`."""
        secret = self._entropy.token_bytes(SECRET_BYTES)
        async with self._database.writing() as connection:
            row = await connection.fetchrow(SQL["rotate_secret"], webhook_id, secret, overlap)
        return _found(row, webhook_id)

    async def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook, and its positions. Raises `NotFound`."""
        async with self._database.writing() as connection:
            if await connection.fetchval(SQL["delete_webhook"], webhook_id) is None:
                raise NotFound(_name(webhook_id))

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
