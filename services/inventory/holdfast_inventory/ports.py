"""The ports: the interfaces between stock core, store and watches, and between API and transports."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from holdfast_chassis.identity.certificates import CertificateFiles
from holdfast_chassis.listening import authority
from holdfast_inventory.domain.commands import Command, Transfer
from holdfast_inventory.domain.decide import Decision, State
from holdfast_inventory.domain.item import Item


class Committed(NamedTuple):
    """A commit that changed a sale's stock, with the changed items in their new state."""

    sale_id: str
    previous_sequence: int
    sequence: int
    items: Sequence[Item]


class StoreFault(Exception):
    """A batch whose commit was not acknowledged."""


class NotApplied(StoreFault):
    """The batch had no effect; a retry can help."""


class InDoubt(StoreFault):
    """The outcome of the commit is not known. To find out, execute the commands again under the same identities."""


class Stale(StoreFault):
    """The sale has changed since it was read; the batch had no effect. Decide again, preferably exclusively."""


class Rejected(StoreFault):
    """The store refuses the decision; the batch had no effect, and a retry cannot help."""


class Batch(Protocol):
    """The commands of one sale, and the state of everything that they touch."""

    @property
    def state(self) -> State:
        """The state that was read, in one snapshot."""

    async def commit(self, decision: Decision) -> None:
        """Append the decision on `state`, all of it or nothing. Call it at most once per batch.

        Return when the decision is durable, and everything in `state`.
        """


class TransferBatch(Protocol):
    """A transfer between two sales, and the states of both."""

    @property
    def source(self) -> State:
        """The state of the source sale."""

    @property
    def destination(self) -> State:
        """The state of the destination sale."""

    async def commit(self, taken: Decision, given: Decision) -> None:
        """Append `taken` to the source and `given` to the destination, in one transaction. See `Batch.commit`."""


class SaleStore(Protocol):
    """The store of sales.

    A batch ends with its `async with` block; without a `commit` it has no effect. The block raises `NotApplied`,
    `Rejected` and `NotFound` (for a sale), and `InDoubt` after it has begun to commit. `due_limit`: the most due holds
    to read.
    """

    def open(
        self, sale_id: str, commands: Sequence[Command], due_limit: int, *, exclusive: bool
    ) -> AbstractAsyncContextManager[Batch]:
        """Read what `commands` touch. An exclusive batch locks the sale, so it is never `Stale`."""

    def open_transfer(self, command: Transfer, due_limit: int) -> AbstractAsyncContextManager[TransferBatch]:
        """Read what a transfer touches."""

    async def bound_ids(self, sale_id: str, ids: Collection[UUID]) -> set[UUID]:
        """Return which of `ids` have a reservation in the sale. Raises `DatabaseUnavailable`."""

    async def salt(self, sale_id: str) -> bytes:
        """Return the secret from which a sale's ids are derived. It is durable.

        Raises `DatabaseUnavailable` and `NotFound`.
        """


Metadata = Sequence[tuple[str, str | bytes]]
"""Metadata of a call. Keys are in lower case; values of keys that end in `-bin` are bytes."""


class Exchange(Protocol):
    """One call, as its transport presents it."""

    @property
    def metadata(self) -> Metadata:
        """The metadata that the caller sent."""

    @property
    def peer(self) -> str:
        """The address of the connection's other end."""

    @property
    def workload(self) -> Collection[str]:
        """The DNS names that the connection's other end has proven to have, by a certificate. Without TLS: none."""

    def remaining_seconds(self) -> float | None:
        """Return the seconds until the caller's deadline; None: there is no deadline."""

    async def begin(self, metadata: Metadata) -> None:
        """Send metadata before the first message, at most once. Clients do not retry a call that has begun."""

    async def write(self, message: bytes) -> None:
        """Send one message of a stream. Waits while the reader is slow."""


class Ending(NamedTuple):
    """The end of a call: with `message` (empty after a stream), or with a gRPC `code` other than OK."""

    message: bytes
    trailers: Metadata
    code: int = 0
    description: str = ""


class Endpoint(NamedTuple):
    """A method for a transport to serve.

    `path` is `/package.Service/Method`. `serve` takes the request, or an iterator over requests if `takes_stream`, and
    writes its messages itself if `gives_stream`. It never raises. The transport cancels it when the caller has gone
    away or its deadline has passed, and then ignores its answer.
    """

    path: str
    takes_stream: bool
    gives_stream: bool
    serve: Callable[[Any, Exchange], Awaitable[Ending]]


MAX_METADATA_BYTES = 64 * 1024
"""The most metadata that a transport reads. The API's own limit is lower, and its refusal gives the reason."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """A server's address and the limits of its connections. Times in seconds, sizes in bytes."""

    host: str
    port: int
    certificate: CertificateFiles | None = None
    """Proves this server to its clients, which must have certificates, too. None: without TLS."""
    plain_port: int | None = None
    """With a certificate, another port without TLS, for clients that do not use TLS yet."""
    max_request_bytes: int = 4_194_304
    max_connection_age_seconds: float = 300.0
    max_connection_age_grace_seconds: float = 400.0
    max_streams_per_connection: int = 2_000
    max_connections: int = 4096

    @property
    def addresses(self) -> str:
        """All addresses, as a person reads them."""
        ports = (self.port,) if self.plain_port is None else (self.port, self.plain_port)
        return " and ".join(map(self.address_with, ports))

    def address_with(self, port: int) -> str:
        """Return host and port as clients write them. Port 0 is replaced when the server listens."""
        return authority(self.host, port)


class Server(Protocol):
    """A transport's server, which serves endpoints."""

    address: str
    """The address on which it listens, once it has started."""

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""

    async def stop(self, grace_seconds: float) -> None:
        """Accept no more calls, and give calls in progress `grace_seconds` to end."""


NewServer = Callable[[ServerLimits, Iterable[Endpoint]], Server]
"""A transport: a function that makes a server."""
