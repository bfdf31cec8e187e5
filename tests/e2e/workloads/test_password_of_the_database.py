"""The database's password is changed under load as the runbook says, and no request fails."""

import asyncio
import uuid
from contextlib import ExitStack

import aiohttp
import asyncpg
import pytest

from holdfast_devstack.ports import free_port
from tests.support.services import Gateway, Inventory

DATABASE = "password"
OWNER, FIRST, SECOND = "password_owner", "password_a", "password_b"
DRAIN = {"drain_quiet_seconds": 0.3, "drain_min_seconds": 1}


@pytest.fixture
async def administrator(postgres18):
    """A connection of a superuser to the database, whose tables belong to a role that nobody logs in as."""
    connection = await asyncpg.connect(postgres18.create_database(DATABASE))
    await connection.execute(
        f"CREATE ROLE {OWNER} NOLOGIN; ALTER DATABASE {DATABASE} OWNER TO {OWNER}; ALTER SCHEMA public OWNER TO {OWNER}"
    )
    yield connection
    await connection.close()
    postgres18.drop_database(DATABASE)
    postgres18.execute(f"DROP ROLE IF EXISTS {FIRST}, {SECOND}, {OWNER}")


async def create_role(administrator, name):
    """A role with a password of its own; both, as in a URL."""
    password = uuid.uuid4().hex
    await administrator.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE {OWNER}")
    return f"{name}:{password}"


async def shop(url, made, ending):
    """Sells until told to end."""
    async with aiohttp.ClientSession() as session:
        while not ending.is_set():
            body = {"customer": uuid.uuid4().hex, "lines": [{"item": "a", "quantity": 1}]}
            async with session.post(f"{url}/v1/sales/s/reservations", json=body) as answer:
                made.append(answer.status)


async def test_a_role_replaces_another_under_load(postgres18, administrator):
    host = postgres18.url(DATABASE).partition("@")[2]
    first = await create_role(administrator, FIRST)
    ports = [free_port(), free_port()]

    def replica(port, login):
        url = f"postgresql://{login}@{host}?options=-crole%3D{OWNER}"
        return started.enter_context(Inventory(url, grpc_port=port, migrate_on_start=True, **DRAIN))

    with ExitStack() as started:
        replicas = [replica(port, first) for port in ports]
        addresses = [(await each.is_serving()).address for each in replicas]
        gateway = await started.enter_context(Gateway(addresses, **DRAIN)).is_serving()
        async with aiohttp.ClientSession() as session:
            new = {"items": [{"item": "a", "onHand": 100_000}]}
            async with session.post(f"{gateway.url}/v1/sales?sale_id=s", json=new) as answer:
                assert answer.status == 200
        made, ending = [], asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(4):
                tasks.create_task(shop(gateway.url, made, ending))
            second = await create_role(administrator, SECOND)
            for port, former in zip(ports, replicas, strict=True):
                former.terminate()
                assert await former.exit_code() == 0
                await replica(port, second).is_serving()
            await administrator.execute(f"DROP ROLE {FIRST}")
            ending.set()
        assert set(made) == {200}
