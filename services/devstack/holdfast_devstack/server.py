"""A server of another project as a child process, on a port of the loopback interface."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from holdfast_devstack.child_process import ChildProcess, StartError
from holdfast_devstack.ports import LOOPBACK, free_port


class Server(ABC):
    """Call `start`, or `prepare`, `spawn` and `wait_until_ready` to start several servers at the same time."""

    name: ClassVar[str]
    start_timeout_seconds: ClassVar[float]

    def __init__(self, directory: Path, port: int = 0) -> None:
        """`directory` keeps what it writes, and is created if it does not exist; port 0 means any free one."""
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
            raise RuntimeError(f"{self.name} was never started")
        return self._child

    def start(self, timeout_seconds: float | None = None) -> None:
        """Prepare and start it, and wait until it answers. Raises StartError, with the end of the log."""
        self.prepare()
        self.spawn()
        self.wait_until_ready(timeout_seconds)

    @abstractmethod
    def prepare(self) -> None:
        """Create what it needs on disk. Raises StartError."""

    def spawn(self) -> None:
        """Start it without waiting. Call it on the main thread (see ChildProcess)."""
        self.port = self.port or free_port()
        self._child = self._new_child()
        self._child.spawn()

    def wait_until_ready(self, timeout_seconds: float | None = None) -> None:
        """Wait until it answers. Raises StartError if it ends or the time is up."""
        seconds = self.start_timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            self.child.wait_until(self._is_ready, seconds)
        except StartError:
            self.child.kill()
            raise

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.child.kill()

    @abstractmethod
    def _new_child(self) -> ChildProcess: ...

    @abstractmethod
    def _is_ready(self) -> bool: ...
