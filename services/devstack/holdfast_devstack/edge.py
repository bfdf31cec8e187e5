"""The edge, Envoy, as a child process before both services: `holdfast up --edge`."""

import shutil
import sys
import time
import urllib.request
from pathlib import Path

from holdfast_devstack.child_process import ChildProcess, StartError
from holdfast_devstack.ports import LOOPBACK

CONFIG = Path("gateway/envoy/envoy.yaml")
"""Relative to the repository, where `make up` runs."""

_ADMIN = f"http://{LOOPBACK}:9901"
_ADMIN_TIMEOUT_SECONDS = 2.0
_START_TIMEOUT_SECONDS = 20.0
_STOP_TIMEOUT_SECONDS = 10.0
_DRAIN_SECONDS = 1.0


class Edge:
    """Envoy with the repository's configuration."""

    name = "edge"
    address = "http://127.0.0.1:8000"

    def __init__(self, log_directory: Path) -> None:
        self._log_path = log_directory / "edge.log"
        self._child: ChildProcess | None = None

    @property
    def child(self) -> ChildProcess:
        """Envoy's process. Raises RuntimeError before the first `spawn`."""
        if self._child is None:
            raise RuntimeError("the edge was never started")
        return self._child

    def prepare(self) -> None:
        """Looks for what it needs. Raises StartError, saying what is missing."""
        self._program()
        if not CONFIG.is_file():
            raise StartError(f"the edge needs {CONFIG}, which is not here: run from the repository's root")

    def spawn(self) -> None:
        """Starts it without waiting. Call it on the main thread (see ChildProcess)."""
        command = [self._program(), "-c", str(CONFIG), "--disable-hot-restart", "--log-level", "warning"]
        self._child = ChildProcess(self.name, command, self._log_path)
        self._child.spawn()

    def wait_until_ready(self) -> None:
        """Waits until it takes connections. Raises StartError when it ends or the time is up."""
        self.child.wait_until(lambda: _ask_admin("GET", "/ready"), _START_TIMEOUT_SECONDS)

    def stop(self) -> None:
        """Drains it first: on SIGTERM alone it would close its connections at once."""
        if self._child is None:
            return
        if _ask_admin("POST", "/healthcheck/fail"):
            time.sleep(_DRAIN_SECONDS)
            _ask_admin("POST", "/drain_listeners?graceful")
        self._child.stop(_STOP_TIMEOUT_SECONDS)

    def _program(self) -> str:
        found = shutil.which(str(Path(sys.executable).parent / "envoy")) or shutil.which("envoy")
        if found is None:
            raise StartError("the edge needs Envoy: install holdfast[devstack]")
        return found


def _ask_admin(method: str, path: str) -> bool:
    request = urllib.request.Request(_ADMIN + path, method=method)  # noqa: S310 - our own address
    try:
        with urllib.request.urlopen(request, timeout=_ADMIN_TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
            return bool(answer.status == 200)
    except OSError:
        return False
