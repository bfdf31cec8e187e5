"""Changes of sales and schedules, written within the transaction of the change."""

from collections.abc import Sequence

from holdfast_inventory.domain.change import Cause, Change, ChangeKind, Condition, FieldChange
from holdfast_inventory.domain.errors import RequestIdReused
from holdfast_inventory.postgres.columns import Row
from holdfast_inventory.postgres.database import Connection
from holdfast_inventory.postgres.statements import load

SQL = load("changes")

_KINDS = {kind.value: kind for kind in ChangeKind}


async def record_change(
    connection: Connection, resource: str, kind: ChangeKind, cause: Cause, fields: Sequence[FieldChange] = ()
) -> None:
    """Record a change of a resource, whose row must be locked."""
    names, old_values, new_values = zip(*fields, strict=True) if fields else ((), (), ())
    await connection.execute(
        SQL["insert_change"], resource, kind.value, cause.actor, cause.request_id, names, old_values, new_values
    )


async def was_made(connection: Connection, sale_id: str, condition: Condition) -> bool:
    """Return whether this change of a locked sale was made before. Raises `RequestIdReused`."""
    if condition.change_id is None:
        return False
    fingerprint = await connection.fetchval(SQL["fingerprint_of_change"], condition.change_id, sale_id)
    if fingerprint not in {None, condition.fingerprint}:
        raise RequestIdReused
    return fingerprint is not None


async def remember(connection: Connection, sale_id: str, condition: Condition) -> None:
    """Remember that a change of a locked sale was made, also one that had no effect.

    Otherwise a repetition that comes late could undo what another caller has changed since.
    """
    if condition.change_id is not None:
        await connection.execute(SQL["remember_change"], condition.change_id, sale_id, condition.fingerprint)


async def read_changes(connection: Connection, resource: str, after: int, limit: int) -> list[Change]:
    """Return up to `limit` changes of a resource after a number."""
    return [_change(row) for row in await connection.fetch(SQL["list_changes"], resource, after, limit)]


def _change(row: Row) -> Change:
    fields = tuple(map(FieldChange, row["fields"], row["old_values"], row["new_values"]))
    cause = Cause(row["actor"], row["request_id"])
    return Change(row["number"], _KINDS[row["kind"]], cause, fields, row["created_at"])
