"""The present speed of the machine: an empty call to a service, and a bare commit in the same PostgreSQL.

Both use only the server of Holdfast, none of its logic. Other load slows them as it slows requests, so requests that
take longer relative to them have become slower themselves.
"""

import asyncio
import itertools
import os
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lab.chaos.history import Kind
from lab.chaos.judge.pace import COMMIT, CPU, EMPTY_CALL

_EVERY_SECONDS = 0.02
_ANSWER_SECONDS = 2.0
_TABLE = "CREATE TABLE IF NOT EXISTS yardstick (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)"
_INSERT = "INSERT INTO yardstick DEFAULT VALUES"
_CLIENT_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
_READ_SECONDS = 10.0
_FAILURES = (grpc.aio.AioRpcError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def yardsticks(recorder, topology):
    """Within the block, measure and record both repeatedly, with each inventory in turn. At its begin and end, record
    the CPU time of Holdfast (`_CpuTime`).
    """
    channels = [
        grpc.aio.insecure_channel(topology.links[f"client -> {each.name}"].address) for each in topology.inventories
    ]
    # Directly to the primary, in a database that Holdfast does not use.
    connection = await asyncpg.connect(topology.databases.primary.url(), command_timeout=_ANSWER_SECONDS)
    try:
        await connection.execute(_TABLE)
        cpu = _CpuTime(topology, connection)
        _record(recorder, CPU, await cpu.seconds())
        async with _beside(_take_all(recorder, channels, connection)):
            yield
        _record(recorder, CPU, await cpu.seconds())
    finally:
        connection.terminate()
        for channel in channels:
            await channel.close()


@asynccontextmanager
async def _beside(doing):
    task = asyncio.create_task(doing)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _take_all(recorder, channels, connection):
    for stub in itertools.cycle([health_pb2_grpc.HealthStub(channel) for channel in channels]):
        with suppress(*_FAILURES):
            began = time.monotonic()
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=_ANSWER_SECONDS)
            _record(recorder, EMPTY_CALL, time.monotonic() - began)
            began = time.monotonic()
            await connection.execute(_INSERT)
            _record(recorder, COMMIT, time.monotonic() - began)
        await asyncio.sleep(_EVERY_SECONDS)


def _record(recorder, name, seconds):
    recorder.record(Kind.YARDSTICK, action=name, answer={"seconds": seconds})


class _CpuTime:
    """The CPU time of the services and of the primary's client backends.

    PostgreSQL's other processes are not counted: vacuum and checkpoints run when they are due, and not more if calls
    cost more.
    """

    def __init__(self, topology, connection):
        self._topology = topology
        self._connection = connection
        self._ticks = {}

    async def seconds(self):
        """Return the CPU seconds so far. Those of a process that has ended stay in the sum, as they were last read."""
        backends = await self._connection.fetch(_CLIENT_BACKENDS, timeout=_READ_SECONDS)
        pids = [service.process.pid for service in self._topology.services]
        for pid in (*pids, *(backend["pid"] for backend in backends)):
            with suppress(FileNotFoundError):
                self._ticks[pid] = _ticks(pid)
        return sum(self._ticks.values()) / _TICKS_PER_SECOND


def _ticks(pid):
    """Return the user and system time of a process: proc(5)."""
    _, _, fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")
    return sum(map(int, fields.split()[11:13]))
