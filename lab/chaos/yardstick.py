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

from holdfast_devstack.postgres import children_of
from lab.chaos.history import Kind
from lab.chaos.judge.pace import COMMIT, CPU, EMPTY_CALL

_EVERY_SECONDS = 0.02
_ANSWER_SECONDS = 2.0
_TABLE = "CREATE TABLE IF NOT EXISTS yardstick (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)"
_INSERT = "INSERT INTO yardstick DEFAULT VALUES"
_FAILURES = (grpc.aio.AioRpcError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def yardsticks(recorder, topology):
    """Within the block, measure and record both repeatedly, with each inventory in turn. At its begin and end, record
    the CPU time that the services and the primary have used.
    """
    channels = [
        grpc.aio.insecure_channel(topology.links[f"client -> {each.name}"].address) for each in topology.inventories
    ]
    # Directly to the primary, in a database that Holdfast does not use.
    connection = await asyncpg.connect(topology.databases.primary.url(), command_timeout=_ANSWER_SECONDS)
    try:
        await connection.execute(_TABLE)
        async with _beside(_take_all(recorder, channels, connection)):
            _record(recorder, CPU, _cpu_seconds(topology))
            yield
            _record(recorder, CPU, _cpu_seconds(topology))
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


def _cpu_seconds(topology):
    """Return the CPU seconds of the services and the primary, including backends that have ended."""
    postmaster = topology.databases.primary.child.pid
    pids = [service.process.pid for service in topology.services]
    ticks = sum(_ticks(pid)[0] for pid in (*pids, *children_of(postmaster))) + sum(_ticks(postmaster))
    return ticks / _TICKS_PER_SECOND


def _ticks(pid):
    """Return the CPU seconds of a process and of its children that have ended: proc(5)."""
    try:
        _, _, fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")
    except FileNotFoundError:  # a backend that has ended since
        return 0, 0
    user, system, children_user, children_system = map(int, fields.split()[11:15])
    return user + system, children_user + children_system
