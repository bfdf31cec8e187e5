"""What only the Envoy around the endpoints does."""

import asyncio
import http.client
import json
import socket
import stat
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from holdfast_inventory.transports.grpc_wire import ARRIVAL
from tests.conformance.transport.test_transport import client_of
from tests.support.transports import LIMITS, Envoy

FORBIDDEN = 403


@asynccontextmanager
async def running():
    envoy = Envoy(LIMITS, [])
    await envoy.start()
    try:
        yield envoy
    finally:
        await envoy.stop(0)


def unix_sockets():
    return {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()}


def admin_socket(pid):
    variables = dict(each.split("=", 1) for each in Path(f"/proc/{pid}/environ").read_text().split("\0") if each)
    return Path(variables["ENVOY_ADMIN_SOCKET"])


def admin_status(pid, method, path):
    """Return the answer of Envoy's administration."""
    connection = http.client.HTTPConnection("envoy", timeout=10)
    with socket.socket(socket.AF_UNIX) as connection.sock:
        connection.sock.settimeout(10)
        connection.sock.connect(str(admin_socket(pid)))
        connection.request(method, path)
        return connection.getresponse().status


async def test_when_a_call_arrived_is_for_envoy_to_say():
    async with running() as envoy, client_of(envoy.address) as client:
        long_ago = (ARRIVAL.decode(), "0")
        shown = json.loads(await client.unary("show", metadata=[long_ago], timeout=60))
    assert ARRIVAL.decode() not in dict(shown["metadata"])
    assert shown["remaining"] > 0


def program_and_children(pid):
    process = Path(f"/proc/{pid}")
    return (process / "exe").resolve().name, (process / f"task/{pid}/children").read_text()


async def test_it_is_the_process_that_was_started():
    async with running() as envoy:
        assert program_and_children(envoy.pid) == ("envoy", "")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/quitquitquit"), ("POST", "/logging"), ("GET", "/config_dump"), ("GET", "/memory")]
)
async def test_its_administration_neither_ends_nor_shows_it(method, path):
    async with running() as envoy:
        assert await asyncio.to_thread(admin_status, envoy.pid, "GET", "/listeners") == 200
        assert await asyncio.to_thread(admin_status, envoy.pid, method, path) == FORBIDDEN


async def test_only_its_own_user_reaches_its_administration():
    async with running() as envoy:
        socket_path = admin_socket(envoy.pid)
        assert stat.filemode(socket_path.stat().st_mode) == "srw-------"
        assert stat.filemode(socket_path.parent.stat().st_mode) == "drwx------"
        sockets = unix_sockets()
        assert str(socket_path) in sockets
        assert [name for name in sockets if name.startswith("@holdfast")] == []


async def test_it_leaves_no_directory_behind():
    envoy = Envoy(LIMITS, [])
    await envoy.start()
    directory = admin_socket(envoy.pid).parent
    assert directory.exists()
    await envoy.stop(10)
    assert not directory.exists()


async def test_the_directory_of_a_killed_one_is_removed_by_the_next():
    async with running() as killed:
        left = admin_socket(killed.pid).parent
    async with running() as other:
        used = admin_socket(other.pid).parent
        async with running():
            assert not left.exists()
            assert used.exists()
