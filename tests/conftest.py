"""Fixtures for all tests: real servers, one of each for each test process, and a new database for each test."""

import asyncio
import gc
import signal
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import pytest

from holdfast_devstack.ports import free_port as any_free_port
from holdfast_devstack.postgres import PostgresServer
from holdfast_devstack.valkey import ValkeyServer
from holdfast_inventory.postgres.migrations import migrate

REPOSITORY = Path(__file__).resolve().parent.parent
DEBIAN_POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")

# Durable as in production; small, since several run at once.
POSTGRES_SETTINGS = {"shared_buffers": "64MB", "max_connections": "200", "max_wal_size": "256MB"}
TEMPLATE = "migrated"

# The duration of an example has no meaning on a busy machine.
hypothesis.settings.register_profile("holdfast", deadline=None)
hypothesis.settings.load_profile("holdfast")


def _serve_postgres(binaries: Path | None) -> Iterator[PostgresServer]:
    with tempfile.TemporaryDirectory(prefix="holdfast-postgres-") as directory:
        server = PostgresServer(Path(directory), binaries=binaries, settings=POSTGRES_SETTINGS)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres18() -> Iterator[PostgresServer]:
    """PostgreSQL 18, the embedded one."""
    yield from _serve_postgres(None)


@pytest.fixture(scope="session")
def postgres15() -> Iterator[PostgresServer]:
    """PostgreSQL 15, Debian's."""
    if not DEBIAN_POSTGRES_15.is_dir():
        pytest.fail(f"{DEBIAN_POSTGRES_15} is missing: `make test` installs it")
    yield from _serve_postgres(DEBIAN_POSTGRES_15)


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> PostgresServer:
    """The server under the test's database: 18, or as `tests.support.postgres.on_every_version` says."""
    version = getattr(request, "param", 18)
    server: PostgresServer = request.getfixturevalue(f"postgres{version}")
    return server


@pytest.fixture
def empty_database_url(postgres: PostgresServer) -> Iterator[str]:
    """URL of a fresh database without tables."""
    yield from _fresh_database(postgres, template=None)


@pytest.fixture
def database_url(postgres: PostgresServer) -> Iterator[str]:
    """URL of a fresh database with Holdfast's schema, copied from one that was migrated once."""
    if not postgres.has_database(TEMPLATE):
        _migrate(postgres)
    yield from _fresh_database(postgres, template=TEMPLATE)


def _fresh_database(server: PostgresServer, template: str | None) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    url = server.create_database(name, template)
    try:
        yield url
    finally:
        server.drop_database(name)


def _migrate(server: PostgresServer) -> None:
    """Create it under another name first, so that a template that exists is complete."""
    draft = f"{TEMPLATE}_draft"
    server.drop_database(draft)
    with ThreadPoolExecutor(max_workers=1) as aside:  # A test's own event loop may be running on this thread.
        aside.submit(asyncio.run, migrate(server.create_database(draft))).result(timeout=60)
    server.execute(f'ALTER DATABASE "{draft}" RENAME TO "{TEMPLATE}"')


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    """The Valkey that this test process shares; a test that kills one starts its own."""
    with tempfile.TemporaryDirectory(prefix="holdfast-valkey-") as directory:
        server = ValkeyServer(Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def valkey_url(valkey_server: ValkeyServer) -> str:
    """URL of a Valkey with nothing in it."""
    valkey_server.flush()
    return valkey_server.url


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey for this test alone, which it may kill, freeze and fill with garbage."""
    server = ValkeyServer(tmp_path)
    server.start()
    yield server
    server.child.send_signal(signal.SIGCONT)
    server.kill()


@pytest.fixture
def cut_off_connections_are_collected() -> Iterator[None]:
    """asyncio's streams leave a cancelled connection attempt to the garbage collector: collect it in this test,
    because otherwise the next test is blamed.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Return a free port of the loopback interface at each call."""
    return any_free_port


@pytest.fixture
def tool() -> Callable[[str], Path]:
    """Return the path of a program that scripts/install-tools.sh installs; missing is a failure, never a skip."""

    def find(name: str) -> Path:
        path = REPOSITORY / ".tools" / "bin" / name
        if not path.is_file():
            pytest.fail(f"{path} is missing: make tools")
        return path

    return find


@pytest.fixture
def drawn(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Report at the end of the run what a test has drawn at random, so that it can be repeated."""
    return lambda what: record_property("drawn", what)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was drawn. Processes of xdist have no terminal for it."""
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for name, what in report.user_properties if report.when == "call" else ():
            if name == "drawn":
                terminalreporter.write_line(f"drawn by chance: {what}")
