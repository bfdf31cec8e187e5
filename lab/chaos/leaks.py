"""Leaks: descriptors, tasks, calls, connections or locks that remain after everything is healed and quiet."""

import asyncio
from pathlib import Path
from typing import NamedTuple

import asyncpg

from lab.chaos.service import INVENTORY
from lab.kit.metrics import total

_QUIET_SECONDS = 12.0
_LOOK_SECONDS = 0.25
# Caches fill up, and clients choose replicas at random, so a service may have more connections than before.
_MORE_FILES, _MORE_TASKS = 12, 12
_IDLE_GAUGES = ("holdfast_calls_in_flight", "holdfast_waiting_commands", "holdfast_open_watches")
_SQL_SECONDS = 5.0
_STUCK = """
SELECT pid, state, wait_event, left(query, 60) AS query
FROM pg_stat_activity
WHERE application_name = 'holdfast-inventory' AND state <> 'idle'
"""
_PREPARED = "SELECT count(*) FROM pg_prepared_xacts"
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast-inventory'"


class Use(NamedTuple):
    """What a process uses. `files` are descriptors except connections to PostgreSQL, whose number changes."""

    files: int
    tasks: int
    busy: dict[str, float]


async def measure(topology):
    """Return what each service uses now."""
    return {service.name: await _use(topology, service) for service in topology.services}


async def leaks(topology, before):
    """Return what is used more than before, as soon as that is nothing, or after a time limit."""
    found = ["not measured"]
    try:
        async with asyncio.timeout(_QUIET_SECONDS):
            while found:
                found = [*_grown(before, await measure(topology)), *await _in_the_database(topology)]
                if found:
                    await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        pass
    return found


async def _use(topology, service):
    metrics = await service.metrics()
    answer = await topology.desk.send(service.orders_port, "tasks") or {}
    connections = sum(total(metrics, "holdfast_database_connections", f'kind="{kind}"') for kind in _OPEN)
    files = len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))  # noqa: ASYNC240 - in /proc
    busy = {name: total(metrics, name) for name in _IDLE_GAUGES} if service.kind == INVENTORY else {}
    return Use(files - int(connections), answer.get("tasks", 0), busy)


_OPEN = ("writers", "readers")


def _grown(before, now):
    found = []
    for name, use in now.items():
        was = before[name]
        if use.files > was.files + _MORE_FILES:
            found.append(f"{name} has {use.files} descriptors, and had {was.files}")
        if use.tasks > was.tasks + _MORE_TASKS:
            found.append(f"{name} has {use.tasks} tasks, and had {was.tasks}")
        found += [f"{name} says {gauge} = {value:g}" for gauge, value in use.busy.items() if value]
    return found


async def _in_the_database(topology):
    connection = await asyncpg.connect(topology.databases.primary.url(), timeout=_SQL_SECONDS)
    try:
        stuck = [f"a backend is left over: {dict(row)}" for row in await connection.fetch(_STUCK)]
        prepared = await connection.fetchval(_PREPARED)
        count = await connection.fetchval(_CONNECTIONS)
    finally:
        connection.terminate()
    most = sum(_MOST_CONNECTIONS for _ in topology.inventories)
    if prepared:
        stuck.append(f"{prepared} prepared transactions are left over")
    if count > most:
        stuck.append(f"the services have {count} connections to PostgreSQL, and may have {most}")
    return stuck


_MOST_CONNECTIONS = 8
"""The connections of each inventory: 4 writers and 4 readers."""
