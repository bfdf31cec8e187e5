"""Stock ledgers as several replicas have them, each with its own connections, queue and memory."""

import asyncio
import uuid
from contextlib import asynccontextmanager

import asyncpg

from holdfast_inventory.domain import identity
from holdfast_inventory.domain.commands import Create, Transfer
from holdfast_inventory.domain.reservation import merge_lines
from holdfast_inventory.postgres.database import Database, DatabaseLimits
from lab.kit import replica as kit


class Measured:
    """A ledger's metrics."""

    def __init__(self):
        self.batches = []
        self.from_memory = 0

    def on_batch(self, size, seconds):
        self.batches.append(size)

    def on_waited(self, seconds):
        pass

    def refused_from_memory(self):
        self.from_memory += 1


class Lags:
    """The metrics of a sweeper: how late holds expired, in seconds."""

    def __init__(self):
        self.seen = []

    def expiry_lag(self, seconds):
        self.seen.append(seconds)


class Statements:
    """The names of the statements that a database ran. Tests can wait for them."""

    def __init__(self):
        self.names = []
        self._awaited = []

    def __call__(self, name, seconds):
        self.names.append(name)
        for awaited in self._awaited:
            awaited.set()

    async def seen(self, name, times=1):
        """Wait until a statement has run this many times since the beginning."""
        news = asyncio.Event()
        self._awaited.append(news)
        async with asyncio.timeout(10):
            while self.names.count(name) < times:
                await news.wait()
                news.clear()

    def count(self, name):
        return self.names.count(name)


class Replica(kit.Replica):
    """A replica that records what it did."""

    def __init__(self, url, *, database_limits=None, **options):
        self.statements, self.metrics, self.commits = Statements(), Measured(), []
        database = Database(url, database_limits or DatabaseLimits(), on_query=self.statements)
        super().__init__(database, self.commits.append, metrics=self.metrics, **options)

    async def execute(self, command, *, sale_id="drop", within=None):
        deadline = None if within is None else asyncio.get_running_loop().time() + within
        return await self.ledger.execute(sale_id, command, deadline)

    async def answer(self, command, *, sale_id="drop", within=None):
        """Return the reply, or the refusal as a value."""
        deadline = None if within is None else asyncio.get_running_loop().time() + within
        return (await self.ledger.execute_all(sale_id, [(command, deadline, None)]))[0]

    async def bound_hold(self, request_id, customer="c-1", *, sale_id="drop", **quantities):
        """Return a create whose reservation id is bound to `request_id`."""
        lines = merge_lines(quantities.items())
        return Create(
            reservation_id=identity.reservation_id(await self.ledger.salt(sale_id), customer, request_id),
            customer=customer,
            lines=lines,
            hold_time=None,
            allow_partial=False,
            confirm=False,
            order="",
            fingerprint=identity.create_fingerprint(
                customer, lines, None, allow_partial=False, confirm=False, order=""
            ),
        )


def transfer(quantity, source, destination, change_id=None):
    """Return a transfer of units from one item to another, each given as (sale, item)."""
    return Transfer(
        change_id=change_id or uuid.uuid4(),
        source_sale_id=source[0],
        source_item_id=source[1],
        destination_sale_id=destination[0],
        destination_item_id=destination[1],
        quantity=quantity,
        actor="stock clerk",
        fingerprint=identity.transfer_fingerprint(source[1], destination[0], destination[1], quantity),
    )


@asynccontextmanager
async def locked(sql, sale_id="drop"):
    """Hold a sale's lock on another connection, so that its batches wait."""
    async with sql.transaction():
        await sql.execute("SELECT FROM sales WHERE sale_id = $1 FOR UPDATE", sale_id)
        yield


async def until(sql, question, *arguments):
    """Wait until the database answers a question with yes."""
    async with asyncio.timeout(10):
        while True:
            if await sql.fetchval(question, *arguments):
                return
            await asyncio.sleep(0.01)


async def until_commits_wait(postgres, sql):
    """Wait until commits wait for a standby: the checkpointer sets that some time after a backend has reloaded."""
    probe = await asyncpg.connect(postgres.url(await sql.fetchval("SELECT current_database()")))
    waits = "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $1"
    try:
        async with asyncio.timeout(10):
            while True:
                commit = asyncio.ensure_future(probe.execute("SELECT pg_logical_emit_message(true, 'probe', '')"))
                while not commit.done():
                    if await sql.fetchval(waits, probe.get_server_pid()):
                        # It ends its wait with a warning.
                        await sql.execute("SELECT pg_cancel_backend($1)", probe.get_server_pid())
                        await commit
                        return
                await commit
    finally:
        await probe.close()
