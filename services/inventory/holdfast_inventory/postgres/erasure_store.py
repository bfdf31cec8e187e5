"""Erasures of customers: their names are replaced by a pseudonym, in steps of one sale and a bounded number of rows."""

from collections.abc import Sequence
from typing import NamedTuple

from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_inventory.domain.change import Cause, ChangeKind, FieldChange
from holdfast_inventory.domain.refusal import CustomerRefusal
from holdfast_inventory.postgres.batch import lock_sale
from holdfast_inventory.postgres.changes import record_change
from holdfast_inventory.postgres.columns import Row
from holdfast_inventory.postgres.database import Connection, Database
from holdfast_inventory.postgres.refusal_store import customer_refusal
from holdfast_inventory.postgres.statements import load

SQL = load("erasures")

STEP_RESERVATIONS = 500
_NO_FINGERPRINT = b"\x00"
"""Equal to that of no request: they begin with a version, 1 or more."""


class Erasure(NamedTuple):
    """How far an erasure is. `pseudonym` is empty if nothing was stored about the customer."""

    pseudonym: str
    reservations: int
    done: bool


class ErasureStore:
    """Reads and writes erasures. The methods raise `DatabaseUnavailable`, those that write also `OutcomeUnknown`."""

    def __init__(
        self, database: Database, *, entropy: Entropy = SYSTEM_ENTROPY, step_reservations: int = STEP_RESERVATIONS
    ) -> None:
        self._database = database
        self._entropy = entropy
        self._step_reservations = step_reservations

    async def begin(self, customer: str, cause: Cause) -> None:
        """Begin to erase a customer, or continue."""
        pseudonym = f"erased-{self._entropy.uuid4().hex}"
        async with self._database.writing() as connection:
            await connection.execute(SQL["begin_erasure"], customer, pseudonym, cause.actor, cause.request_id)

    async def step(self, customer: str) -> Erasure:
        """Erase some of what is stored about a customer, in one transaction. The last step is on record."""
        async with self._database.writing() as connection:
            row = await connection.fetchrow(SQL["lock_erasure"], customer)
            if row is None:
                return Erasure("", 0, done=True)
            sale_id = await connection.fetchval(SQL["sale_of_customer"], customer)
            if sale_id is None:
                return await _finish(connection, customer, row)
            erased = await self._erase(connection, customer, row["pseudonym"], sale_id)
            await connection.execute(SQL["count_erased"], customer, erased)
        return Erasure(row["pseudonym"], row["reservations"] + erased, done=False)

    async def pending(self, limit: int) -> list[str]:
        """Return up to `limit` customers whose erasure is not done, the oldest first."""
        async with self._database.reading() as connection:
            return [row["customer"] for row in await connection.fetch(SQL["pending_erasures"], limit)]

    async def refusals_of(self, customer: str, limit: int) -> Sequence[CustomerRefusal]:
        """Return up to `limit` refusals of a customer in all sales, the latest first."""
        async with self._database.reading() as connection:
            return [
                customer_refusal(row) for row in await connection.fetch(SQL["refusals_of_customer"], customer, limit)
            ]

    async def _erase(self, connection: Connection, customer: str, pseudonym: str, sale_id: str) -> int:
        await lock_sale(connection, sale_id)
        erased = await connection.fetch(
            SQL["erase_reservations"], customer, sale_id, pseudonym, self._step_reservations, _NO_FINGERPRINT
        )
        times = {time for row in erased for time in (row["created_at"], row["ended_at"]) if time is not None}
        await connection.execute(SQL["erase_actors"], sale_id, _actor(customer), _actor(pseudonym), sorted(times))
        await connection.execute(SQL["touch_sale"], sale_id)
        return len(erased)


async def _finish(connection: Connection, customer: str, row: Row) -> Erasure:
    refusals = await connection.execute(SQL["erase_refusals"], customer)
    await connection.execute(SQL["finish_erasure"], customer)
    erased: int = row["reservations"]
    if not erased and refusals == "DELETE 0":
        return Erasure("", 0, done=True)
    cause = Cause(row["actor"], row["request_id"])
    fields = [FieldChange("reservations", "", str(erased))]
    await record_change(connection, _actor(row["pseudonym"]), ChangeKind.ERASE, cause, fields)
    return Erasure(row["pseudonym"], erased, done=True)


def _actor(customer: str) -> str:
    """Return the name of a customer as the actor of movements."""
    return f"customers/{customer}"
