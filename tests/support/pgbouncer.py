"""Debian's PgBouncer in front of a test's PostgreSQL."""

import socket
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from holdfast_devstack.child_process import ChildProcess
from holdfast_devstack.ports import LOOPBACK, free_port
from holdfast_devstack.unprivileged import identity_for

PROGRAM = Path("/usr/sbin/pgbouncer")
START_SECONDS = 20


@contextmanager
def pgbouncer(directory, url, **settings):
    """Serve the database of `url` by a PgBouncer, and return the URL that leads through it."""
    if not PROGRAM.is_file():
        pytest.fail(f"{PROGRAM} is missing: install Debian's pgbouncer (make test does where it may)")
    server, port = urlsplit(url), free_port()
    directory.mkdir()
    file = directory / "pgbouncer.ini"
    file.write_text(_configuration(server, {"listen_port": port, **settings}))
    identity = identity_for(PROGRAM, directory)
    identity.own(directory)
    child = ChildProcess("PgBouncer", [str(PROGRAM), str(file)], directory / "log", prefix=identity.prefix)
    child.spawn()
    try:
        child.wait_until(lambda: _accepts(port), START_SECONDS)
        yield f"postgresql://{server.username}@{LOOPBACK}:{port}{server.path}"
    finally:
        child.stop(5)


def _configuration(server, settings):
    target = f"host={server.hostname} port={server.port} user={server.username} password={server.password}"
    lines = {"listen_addr": LOOPBACK, "unix_socket_dir": "", "auth_type": "any", **settings}
    text = "\n".join(f"{name} = {value}" for name, value in lines.items())
    return f"[databases]\n* = {target}\n[pgbouncer]\n{text}\n"


def _accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
