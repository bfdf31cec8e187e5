"""What the stock core, the store and the watches say to each other, and what a transport is to the API."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
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


class Stale(StoreFault):
    """Others have changed the sale since it was read; nothing was done. Decide again, best on an exclusive batch."""


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

    def open(
        self, sale_id: str, commands: Sequence[Command], due_limit: int, *, exclusive: bool
    ) -> AbstractAsyncContextManager[Batch]:
        """Reads what `commands` touch. Only an exclusive batch keeps others out, and is never `Stale`."""

    def open_transfer(self, command: Transfer, due_limit: int) -> AbstractAsyncContextManager[TransferBatch]:
        """Reads what a transfer touches."""

    async def bound_ids(self, sale_id: str, ids: Collection[UUID]) -> set[UUID]:
        """Which of `ids` have a reservation in the sale. Raises `DatabaseUnavailable`."""

    async def salt(self, sale_id: str) -> bytes:
        """What a sale's ids are derived with, such as no failover takes back.

        Raises `DatabaseUnavailable` and `NotFound`.
        """


Metadata = Sequence[tuple[str, str | bytes]]
"""Keys in lower case; the values of keys that end in `-bin` are bytes."""


class Exchange(Protocol):
    """One call, as the transport that carries it shows it."""

    @property
    def metadata(self) -> Metadata:
        """What the caller sent with it."""

    @property
    def peer(self) -> str:
        """Who is at the other end of the connection."""

    def remaining_seconds(self) -> float | None:
        """How much time the caller leaves; None: all there is."""

    async def write(self, message: bytes) -> None:
        """Sends one message of a stream. Waits while the reader is slow."""


class Ending(NamedTuple):
    """How a call ends: with `message` (empty behind a stream), or with another status than OK, a gRPC `code`."""

    message: bytes
    trailers: Metadata
    code: int = 0
    description: str = ""


class Endpoint(NamedTuple):
    """A method, as a transport serves it.

    `path` is `/package.Service/Method`. `serve` takes the request, or an iterator over them where `takes_stream`, and
    writes its messages itself where `gives_stream`. It raises nothing. The transport cancels it when the caller has
    gone, or its deadline has passed, and drops what it answers then.
    """

    path: str
    takes_stream: bool
    gives_stream: bool
    serve: Callable[[Any, Exchange], Awaitable[Ending]]


MAX_METADATA_BYTES = 64 * 1024
"""More than this no transport reads. The API's own limit is lower, and its refusal says why."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Where a server listens, and the bounds of its connections. Times in seconds, sizes in bytes."""

    host: str
    port: int
    max_request_bytes: int
    max_connection_age_seconds: float
    max_connection_age_grace_seconds: float
    max_streams_per_connection: int
    max_connections: int

    def address_with(self, port: int) -> str:
        """Return host and port as clients write them. A port of 0 is another one once the server listens."""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"


class Server(Protocol):
    """What a transport is: it serves endpoints."""

    address: str
    """Where it listens, once it has started."""

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""

    async def stop(self, grace_seconds: float) -> None:
        """Take no more calls, and give those under way `grace_seconds`."""


NewServer = Callable[[ServerLimits, Iterable[Endpoint]], Server]
"""A transport, by which a server is made."""
