"""What the stock core, the store and the watches say to each other."""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol
from uuid import UUID

from holdfast_inventory.domain.commands import Command, Transfer
from holdfast_inventory.domain.decide import Decision, State
from holdfast_inventory.domain.item import Item


class Committed(NamedTuple):
    """What a commit did to a sale's stock: the items that moved, as it left them."""

    sale_id: str
    previous_sequence: int
    sequence: int
    items: Sequence[Item]


class StoreFault(Exception):
    """A batch did not end with its commit acknowledged."""


class NotApplied(StoreFault):
    """Nothing was done, and trying again can help."""


class InDoubt(StoreFault):
    """The store did not say how the commit ended. Only executing again under the same identities tells."""


class Rejected(StoreFault):
    """The store refuses what it was given; nothing was done, and trying again is of no use."""


class Batch(Protocol):
    """Commands of one sale, and what the store has of everything that they touch."""

    @property
    def state(self) -> State:
        """What was read, at one moment."""

    async def commit(self, decision: Decision) -> None:
        """Appends what was decided on `state`, all of it or nothing. At most once for each batch.

        Returns when the decision is durable, and all that `state` shows.
        """


class TransferBatch(Protocol):
    """A transfer between two sales, and what the store has of both."""

    @property
    def source(self) -> State:
        """What was read of the sale that gives."""

    @property
    def destination(self) -> State:
        """What was read of the sale that takes."""

    async def commit(self, taken: Decision, given: Decision) -> None:
        """As `Batch.commit`, for both sales together: `taken` for the source, `given` for the destination."""


class SaleStore(Protocol):
    """Where sales are kept.

    What is opened is left by the end of its `async with` block, and has done nothing without a `commit`. Such a block
    raises `NotApplied` and `Rejected`, `InDoubt` once it commits, and `NotFound` for a sale. `due_limit`: the most due
    holds to read.
    """

    def open(self, sale_id: str, commands: Sequence[Command], due_limit: int) -> AbstractAsyncContextManager[Batch]:
        """Reads what `commands` touch."""

    def open_transfer(self, command: Transfer, due_limit: int) -> AbstractAsyncContextManager[TransferBatch]:
        """Reads what a transfer touches."""

    async def bound_ids(self, sale_id: str, ids: Collection[UUID]) -> set[UUID]:
        """Which of `ids` have a reservation in the sale. Raises `DatabaseUnavailable`."""

    async def salt(self, sale_id: str) -> bytes:
        """What a sale's ids are derived with, such as no failover takes back.

        Raises `DatabaseUnavailable` and `NotFound`.
        """
